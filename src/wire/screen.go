package wire

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// longestShown is how many characters of a server's text we show. No honest server needs more.
const longestShown = 300

// Screen keeps a password out of the texts that a server sends.
type Screen struct {
	password, user, database string
	encoded                  func() []string // the password's encodings
}

// Screen returns the target's screen.
func (t *Target) Screen() Screen {
	password := string(t.Password)
	return Screen{password, t.User, t.Database, sync.OnceValue(func() []string { return encodings(password, t.User) })}
}

// Shown makes one printable line of a server's text, or hides it. A hostile server that got the
// password could otherwise make this program print it into a log.
func (s Screen) Shown(text string) string {
	if s.hasPassword(text) && text != s.user && text != s.database {
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
func (s Screen) SQLState(code string) string {
	if !isSQLSTATE().MatchString(code) || s.hasPassword(code) {
		return ""
	}
	return " (SQLSTATE " + code + ")"
}

var isSQLSTATE = lazyregexp.New(`^[0-9A-Z]{5}$`)

// hasPassword says whether a text contains the password, as it is or in a common encoding. It
// ignores case, blanks and punctuation, so these cannot disguise it.
func (s Screen) hasPassword(text string) bool {
	if s.password == "" {
		return false
	}
	if strings.Contains(text, s.password) {
		return true
	}
	folded := fold(text)
	return slices.ContainsFunc(s.encoded(), func(encoded string) bool { return strings.Contains(folded, encoded) })
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

// encodings returns the folded forms in which a text may contain a password. Forms that fold into
// the same text are listed once: hexadecimal stands for percent-encoding and quoted-printable too.
// A server may store the md5 hash, and there it is as good as the password.
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
	// In base64, it may begin at each of the three bytes of a group. The first and the last character may
	// also depend on what is beside it.
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
