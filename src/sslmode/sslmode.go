// Package sslmode knows the six values of libpq's sslmode, how strict each one is, and which of them Stratos accepts.
//
// Source: https://www.postgresql.org/docs/current/libpq-ssl.html, table "SSL Mode Descriptions".
package sslmode

import (
	"fmt"
	"strings"
)

// Mode is one of libpq's six sslmodes, ordered from the weakest to the strictest. The zero value means that no mode is known.
type Mode int

// The modes, each stricter than the one before it.
const (
	None       Mode = iota
	Disable         // never TLS
	Allow           // TLS only if the server refuses without
	Prefer          // TLS if the server offers it; libpq's own default
	Require         // TLS, and whoever answers is believed
	VerifyCA        // TLS, and the certificate comes from a trusted CA
	VerifyFull      // and it is made out for the host that was asked for
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

// Stratos says whether Stratos accepts the mode in DB_SSL_MODE. It refuses to start on any but these four.
//
// Source: Stratos, src/jetstream/datastore, the SSLMode constants and validation of its database configuration.
func (m Mode) Stratos() bool {
	return m == Disable || m == Require || m == VerifyCA || m == VerifyFull
}

// Parse reads a mode as people write it: upper case and "_" for "-" are forgiven, nothing else.
// An unknown value gives an *UnknownError.
func Parse(s string) (Mode, error) {
	folded := strings.ReplaceAll(strings.ToLower(s), "_", "-")
	for _, m := range All() {
		if folded == m.String() {
			return m, nil
		}
	}
	return None, &UnknownError{Value: s}
}

// UnknownError says that a value is not an sslmode, which six there are, and which was probably meant.
type UnknownError struct{ Value string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("sslmode %s is not one of %s; did you mean %s?",
		e.shown(), strings.Join(names[1:], ", "), e.Nearest())
}

// shown quotes a value that may be a slip of the pen. Anything longer, or with characters that no slip would have,
// might be a secret in the wrong field, and stays unsaid.
func (e *UnknownError) shown() string {
	const longest = 20
	slip := len(e.Value) <= longest && strings.IndexFunc(e.Value, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_ 01", r)
	}) < 0
	if !slip {
		return "(not shown, it does not look like a mode)"
	}
	return fmt.Sprintf("%q", e.Value)
}

// Nearest returns the mode that differs in the fewest letters; of several, the strictest, so that advice is never a step down.
func (e *UnknownError) Nearest() Mode {
	value := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(e.Value)), "_", "-")
	const longest = 64 // no mode is near to a longer value, and the distance costs time
	if len(value) > longest {
		value = value[:longest]
	}
	nearest, least := VerifyFull, 1<<30
	for _, m := range All() {
		if d := distance(value, m.String()); d <= least {
			nearest, least = m, d
		}
	}
	return nearest
}

// distance is the Levenshtein distance: how many letters to insert, delete or replace to get from a to b.
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
