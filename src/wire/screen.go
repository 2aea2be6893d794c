package wire

import (
	"crypto/md5"
	"encoding/base64"
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

const longestShown = 300 // characters of a server's text; no honest one needs more

// Shown makes one printable line of a server's text, or hides it: a hostile server that got the
// password could make this program print it into a log.
func (t *Target) Shown(text string) string {
	if t.hasPassword(text) && text != t.User && text != t.Database {
		return "(not shown: it contains the password)"
	}
	runes := []rune(plain.Line(text))
	if len(runes) > longestShown {
		return string(runes[:longestShown]) + "…"
	}
	return string(runes)
}

// SQLState returns a code as " (SQLSTATE 28P01)", or "" if it is no code (PostgreSQL's manual,
// "PostgreSQL Error Codes").
func (t *Target) SQLState(code string) string {
	if !isSQLSTATE().MatchString(code) || t.hasPassword(code) {
		return ""
	}
	return " (SQLSTATE " + code + ")"
}

var isSQLSTATE = lazyregexp.New(`^[0-9A-Z]{5}$`)

// hasPassword says whether a text contains the password, as it is or in a common encoding, whatever
// case, blanks and punctuation disguise it.
func (t *Target) hasPassword(text string) bool {
	password, folded := string(t.Password), fold(text)
	isIn := func(encoded string) bool { return strings.Contains(folded, encoded) }
	return password != "" && (strings.Contains(text, password) || slices.ContainsFunc(encodings(password, t.User), isIn))
}

func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// encodings returns the folded forms in which a text may contain a password. Hexadecimal stands for
// percent-encoding and quoted-printable too. The md5 hash is as good as the password where a server
// stores it.
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
	all := []string{
		password, string(reversed), fmt.Sprintf("%x", md5.Sum([]byte(password+user))),
		url.QueryEscape(password), url.PathEscape(password), html.EscapeString(password), string(quoted),
		each("%02x"), each(`\x%02x`), each(`\u%04x`), each("%d,"), each("%03o"), each("%08b"),
	}
	// In base64, it may begin at each of the three bytes of a group. What is beside it may change the
	// first and the last character.
	for skip := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, skip), password...))
		from, to := (skip*8+5)/6, (skip+len(password))*8/6
		all = append(all, encoded[min(from, to):to])
	}
	const least = 4 // fewer letters and digits would match too much
	for i := range all {
		all[i] = fold(all[i])
	}
	return slices.DeleteFunc(all, func(encoded string) bool { return len(encoded) < least })
}
