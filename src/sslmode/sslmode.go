// Package sslmode knows the six values of libpq's sslmode, and how strict each one is.
//
// Source: https://www.postgresql.org/docs/current/libpq-ssl.html, table "SSL Mode Descriptions".
package sslmode

import (
	"fmt"
	"slices"
	"strings"
)

// Mode is one of libpq's six sslmodes, from the weakest to the strictest. The zero value, None,
// means that no mode is known.
type Mode int

// The modes, each stricter than the one before it.
const (
	None       Mode = iota
	Disable         // never TLS
	Allow           // TLS only if the server refuses without
	Prefer          // TLS if the server offers it; libpq's own default
	Require         // TLS, with any certificate
	VerifyCA        // TLS, with a certificate from a trusted CA
	VerifyFull      // as VerifyCA, and the certificate names the host
)

var names = [...]string{"", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// All returns the six modes, weakest first.
func All() []Mode { return []Mode{Disable, Allow, Prefer, Require, VerifyCA, VerifyFull} }

// String returns the mode as libpq spells it, and "" for None.
func (m Mode) String() string { return names[m] }

// Encrypts says whether a connection in this mode is always encrypted.
func (m Mode) Encrypts() bool { return m >= Require }

// Verifies says whether the server's certificate is checked against trusted CAs.
func (m Mode) Verifies() bool { return m >= VerifyCA }

// Parse reads a mode as people write it. It accepts upper case, "_" for "-", a missing "-" and
// surrounding blanks, nothing else. The error lists the six, and suggests the likely one.
func Parse(s string) (Mode, error) {
	if s := strings.TrimSpace(s); len(s) <= len("verify-full") {
		folded := normal(s)
		for _, m := range All() {
			if folded == m.String() || folded == strings.ReplaceAll(m.String(), "-", "") {
				return m, nil
			}
		}
	}
	return None, unknownError(s)
}

func normal(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "_", "-")
}

// Resembles says whether a text is a mode, or a typo of one.
func Resembles(s string) bool {
	_, ok := nearest(s)
	return ok
}

type unknownError string

func (e unknownError) Error() string {
	value := normal(string(e))
	shown := "(not shown, it does not look like a mode)"
	mode, isTypo := nearest(value)
	if isTypo && strings.Trim(value, "abcdefghijklmnopqrstuvwxyz-01 ") == "" {
		shown = fmt.Sprintf("%q", string(e))
	}
	return fmt.Sprintf("sslmode %s is not one of %s; did you mean %s?", shown, strings.Join(names[1:], ", "), mode)
}

// slip is how many letters a typo may differ in. Beyond that, the value may be a secret in the
// wrong field.
const slip = 2

// nearest returns the mode that a text is with the fewest typos, the stricter one of two. A text
// near none of them, such as true, ssl or yes, asks for TLS: advice must never lower security.
func nearest(s string) (mode Mode, ok bool) {
	s = normal(s)
	for typos := range slip + 1 {
		for _, m := range slices.Backward(All()) {
			if within(typos, s, m.String()) {
				return m, true
			}
		}
	}
	return VerifyFull, false
}

// within says whether n letters at most are to be inserted, deleted or replaced to turn a into b.
func within(n int, a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	if n == 0 || a == "" || b == "" {
		return len(a)+len(b) <= n
	}
	return within(n-1, a[1:], b) || within(n-1, a, b[1:]) || within(n-1, a[1:], b[1:])
}
