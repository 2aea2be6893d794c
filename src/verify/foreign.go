package verify

import (
	"crypto/md5"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// longestShown is how many characters of a server's text we show. No honest server needs more.
const longestShown = 300

// foreign makes one printable line of a server's text, or hides it. A hostile server that got the
// password could otherwise make this command print it into a log.
func (t *Target) foreign(text string) string {
	if t.holdsPassword(text) && text != t.User && text != t.Database {
		return "(not shown: it holds the password)"
	}
	runes := []rune(plain.Line(text))
	if len(runes) > longestShown {
		return string(runes[:longestShown]) + "…"
	}
	return string(runes)
}

// sqlstate returns a code as " (SQLSTATE 28P01)", or "" if it is no code (PostgreSQL's manual,
// "PostgreSQL Error Codes").
func (t *Target) sqlstate(code string) string {
	if !isSQLSTATE().MatchString(code) || t.holdsPassword(code) {
		return ""
	}
	return " (SQLSTATE " + code + ")"
}

var isSQLSTATE = lazyregexp.New(`^[0-9A-Z]{5}$`)

// holdsPassword says whether a text holds the password, as it is or in a common encoding. It
// ignores case, blanks and punctuation, so these cannot disguise it.
func (t *Target) holdsPassword(text string) bool {
	password := string(t.Password)
	if password == "" {
		return false
	}
	if strings.Contains(text, password) {
		return true
	}
	hidden := t.hidden
	if hidden == nil {
		hidden = encodings(password, t.User)
	}
	folded := fold(text)
	return slices.ContainsFunc(hidden, func(encoded string) bool { return strings.Contains(folded, encoded) })
}

// fold keeps letters and digits, in lower case.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// encodings returns the folded forms in which a text may hold a password. Forms that fold into the
// same text are listed once: hexadecimal stands for percent-encoding and quoted-printable too. A
// server may store the md5 hash, and there it is as good as the password.
func encodings(password, user string) []string {
	each := func(format string) string {
		var b strings.Builder
		for _, c := range []byte(password) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	reversed := []rune(password)
	slices.Reverse(reversed)
	quoted, _ := json.Marshal(password) // a string never fails
	hash := md5.Sum([]byte(password + user))
	all := []string{
		password, string(reversed), hex.EncodeToString(hash[:]),
		url.QueryEscape(password), url.PathEscape(password), html.EscapeString(password), string(quoted),
		each("%02x"), each(`\x%02x`), each(`\u%04x`), each("%d,"), each("%03o"), each("%08b"),
	}
	// In base64 or base32, the password may begin anywhere in a group.
	for skip := range 3 {
		all = append(all, inner(base64.RawStdEncoding.EncodeToString, password, skip, 6))
	}
	for skip := range 5 {
		all = append(all, inner(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString, password, skip, 5))
	}
	const least = 4 // fewer letters and digits would match too much
	for i := range all {
		all[i] = fold(all[i])
	}
	return slices.DeleteFunc(all, func(encoded string) bool { return len(encoded) < least })
}

// inner encodes text after skip other bytes. It returns only the characters that depend on text
// alone. bits is how many bits a character holds.
func inner(encode func([]byte) string, text string, skip, bits int) string {
	encoded := encode(append(make([]byte, skip), text...))
	from, to := (skip*8+bits-1)/bits, (skip+len(text))*8/bits
	return encoded[min(from, to):to]
}
