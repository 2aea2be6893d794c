package wire

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// How much a server may send in one conversation. It may be hostile: what we read is in memory, and
// SCRAM computes what the server asks for.
const (
	mostBytes      = 10 << 20 // after the login
	mostBefore     = 64 << 10
	longestMessage = 1 << 16
	mostIterations = 1_000_000 // PostgreSQL's scram_iterations is 4096 by default
	longestChain   = 20        // certificates; each may be tried as the issuer of each
)

// authentication is the kind of the messages by which a server asks for the password.
const authentication = 'R'

var errTooMuch = fmt.Errorf("the server sends more than %d KB before the login or %d MB after it, or asks for more iterations of SCRAM "+
	"than %d or than there is time for", mostBefore>>10, mostBytes>>20, mostIterations)

// bounded is the network for pgconn. It reads message by message, up to these limits.
type bounded struct {
	from      io.Reader
	to        io.Writer
	onMessage func(kind byte, body []byte) error // its error ends the reading
	left      int                                // bytes that the server may still send
	loggedIn  bool
	unsent    []byte
	message   bytes.Reader // the current one
	err       error
}

// Write leaves what belongs to the login to the reader. During a long write, pgconn reads in the
// background, and may end that only by a query (SyncConn), which a session for replication refuses.
func (b *bounded) Write(p []byte) (int, error) {
	if b.unsent = append(b.unsent, p...); b.loggedIn {
		b.send()
	}
	return len(p), nil
}

// send sends nothing after an error: PostgreSQL would log a probe's goodbye as a failure. Its own
// errors it leaves to the reader: with TLS 1.3, a server refuses a client certificate only after the
// handshake, and its reason can be read even if writing fails.
func (b *bounded) send() {
	if b.err == nil && len(b.unsent) > 0 {
		_, _ = b.to.Write(b.unsent)
	}
	b.unsent = nil
}

// Read returns a part of one message. After an error, there are no more messages.
func (b *bounded) Read(p []byte) (int, error) {
	if b.message.Len() == 0 && b.err == nil {
		b.send()
		b.err = b.next()
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.message.Read(p)
}

// next reads a message: its kind in one byte, its length in four, which count too, and the body
// (PostgreSQL's manual, "Messages").
func (b *bounded) next() error {
	const header, readyForQuery, untilThen = 5, 'Z', "RSKENvZ"
	message := make([]byte, header)
	if _, err := io.ReadFull(b.from, message); err != nil {
		return err
	}
	kind, length := message[0], int64(binary.BigEndian.Uint32(message[1:]))-4
	switch {
	case length < 0 || length > longestMessage, kind == authentication && length < 4,
		!b.loggedIn && strings.IndexByte(untilThen, kind) < 0:
		return errNotPostgres
	case header+int(length) > b.left:
		return errTooMuch
	}
	if b.left -= header + int(length); kind == readyForQuery && !b.loggedIn {
		b.loggedIn, b.left = true, mostBytes
	}
	message = append(message, make([]byte, length)...)
	_, err := io.ReadFull(b.from, message[header:])
	if err == nil {
		err = b.onMessage(kind, message[header:])
	}
	b.message.Reset(message)
	return err
}

// tooMuchWork says whether a SCRAM message ("r=NONCE,s=SALT,i=ITERATIONS"; RFC 5802, 5.1) asks for
// more work than there is time left: pgconn starts at once, and nothing can stop it. We allow a
// microsecond for an iteration. Today's processors take a quarter of that.
func tooMuchWork(message []byte, deadline time.Time) bool {
	_, text, _ := bytes.Cut(message, []byte(",i="))
	iterations, _ := strconv.Atoi(string(text)) // pgconn refuses what is no number
	return iterations > mostIterations || time.Now().Add(time.Duration(iterations)*time.Microsecond).After(deadline)
}

const longestShown = 300 // characters of a server's text; no honest one needs more

// Shown makes one printable line of a server's text, or hides it: a hostile server that got the
// password could make this program print it into a log.
func (t *Target) Shown(text string) string { return t.Screen()(text) }

// Screen returns Shown for many texts. It spells the password once: that takes up to milliseconds,
// and a server may send tens of thousands of names.
func (t *Target) Screen() (shown func(text string) string) {
	hasPassword := t.passwordFinder()
	return func(text string) string {
		if hasPassword(text) && text != t.User && text != t.Database {
			return "(not shown: it contains the password)"
		}
		runes := []rune(plain.Line(text))
		if len(runes) > longestShown {
			return string(runes[:longestShown]) + "…"
		}
		return string(runes)
	}
}

// SQLState returns a code as " (SQLSTATE 28P01)", or "" if it is no code (PostgreSQL's manual,
// "PostgreSQL Error Codes").
func (t *Target) SQLState(code string) string {
	if !isSQLSTATE().MatchString(code) || t.passwordFinder()(code) {
		return ""
	}
	return " (SQLSTATE " + code + ")"
}

var isSQLSTATE = lazyregexp.New(`^[0-9A-Z]{5}$`)

// passwordFinder returns what says whether a text contains the password, as it is or in a common
// encoding, whatever case, blanks and punctuation disguise it.
func (t *Target) passwordFinder() func(text string) bool {
	password := string(t.Password)
	encoded := encodings(password, t.User)
	return func(text string) bool {
		folded := fold(text)
		isIn := func(encoded string) bool { return strings.Contains(folded, encoded) }
		return password != "" && (strings.Contains(text, password) || slices.ContainsFunc(encoded, isIn))
	}
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
	reversed := []rune(password)
	slices.Reverse(reversed)
	quoted, _ := json.Marshal(password) // a string never fails
	raw := []byte(password)
	hex := fmt.Sprintf("% x", raw)
	all := []string{
		password, string(reversed), fmt.Sprintf("%x", md5.Sum([]byte(password+user))),
		url.QueryEscape(password), url.PathEscape(password), html.EscapeString(password), string(quoted),
		hex, strings.ReplaceAll(hex, " ", "x"), strings.ReplaceAll(hex, " ", "u00"), // as in \x70\x77 and \u0070\u0077
		fmt.Sprintf("%d", raw), fmt.Sprintf("%03o", raw), fmt.Sprintf("%08b", raw),
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
