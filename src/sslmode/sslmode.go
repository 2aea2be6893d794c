// Package sslmode knows the six values of libpq's sslmode, and how strict each one is.
//
// Source: https://www.postgresql.org/docs/current/libpq-ssl.html, table "SSL Mode Descriptions".
package sslmode

import (
	"fmt"
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
			if folded == m.String() || m.Verifies() && folded == strings.ReplaceAll(m.String(), "-", "") {
				return m, nil
			}
		}
	}
	return None, unknownError(s)
}

// normal lowers letters, replaces "_" by "-" and trims blanks.
func normal(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "_", "-")
}

// slip is how many letters a typo may differ in. Beyond that, the value may be a secret in the
// wrong field.
const slip = 2

// Resembles says whether a text is a mode, or a typo of one.
func Resembles(s string) bool {
	_, letters := nearest(s)
	return letters <= slip
}

// unknownError is a value that is no sslmode.
type unknownError string

func (e unknownError) Error() string {
	value := normal(string(e))
	shown := "(not shown, it does not look like a mode)"
	mode, letters := nearest(value)
	switch {
	case value == "ca":
		mode = VerifyCA
	case letters > slip:
		// A value near none of them, such as true, on, ssl or yes, asks for TLS. Advice must never lower
		// security.
		mode = VerifyFull
	case strings.Trim(value, "abcdefghijklmnopqrstuvwxyz-01 ") == "":
		shown = fmt.Sprintf("%q", string(e))
	}
	return fmt.Sprintf("sslmode %s is not one of %s; did you mean %s?", shown, strings.Join(names[1:], ", "), mode)
}

// nearest returns the mode that differs in the fewest letters, and their number. The strictest mode
// wins a tie.
func nearest(s string) (Mode, int) {
	value := normal(s)
	if len(value) > len("verify-full")+slip {
		return VerifyFull, len(value) // far from any mode, and long texts take time
	}
	mode, least := VerifyFull, 1<<30
	for _, m := range All() {
		if d := distance(value, m.String()); d <= least {
			mode, least = m, d
		}
	}
	return mode, least
}

// distance is the Levenshtein distance: how many letters to insert, delete or replace to turn a
// into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
