package cf

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Answer is one answer in a stream.
type Answer struct {
	From string // for people: "standard input, line 3"
	Apps []App
	Err  error // why it cannot be read
}

const (
	// largest limits one answer. The largest page of apps, with 5,000 of them, has 15 MB.
	largest = 32 << 20
	// mostUnread limits the answers of a stream that cannot be read. Each is a row of its own for
	// whoever has to ask again, so a stream of nonsense would take more memory than it has bytes.
	mostUnread = 20_000
)

// Answers reads the answers in a stream, with name for people: one on each line, over many lines,
// or with nothing between them. It returns how many there are.
func Answers(name string, in io.Reader, each func(Answer)) (n int) {
	s := stream{in: bufio.NewReaderSize(in, 64<<10), line: 1, begins: true}
	for unread := 0; ; n++ {
		err := s.next()
		ended := err != nil && !errors.Is(err, errLarge)
		if len(s.text) == 0 && errors.Is(err, io.EOF) {
			return n
		}
		a := Answer{From: name, Err: err}
		if s.first > 1 {
			a.From = fmt.Sprintf("%s, line %d", name, s.first)
		}
		if err == nil || errors.Is(err, io.EOF) {
			a.Apps, a.Err = Read(s.text)
		}
		if a.Err != nil {
			unread++
		}
		if unread > mostUnread {
			a.Err, ended = fmt.Errorf("%d answers before it could not be read; the rest of it was not tried", mostUnread), true
		}
		if each(a); ended {
			return n + 1
		}
	}
}

// stream is where we are in a stream of answers.
type stream struct {
	in          *bufio.Reader
	line, first int    // the current line, and the one where the answer begins
	begins      bool   // the next byte is at the start of a line
	text        []byte // the answer; valid until the next one
}

var errLarge = fmt.Errorf("it is larger than %d MB", largest>>20)

// next finds the next answer. It looks only at braces and quotes. A brace at the start of a line
// always begins a new answer, because neither cf nor jq writes one there within an answer. So a
// broken answer takes no other with it. The error is io.EOF at the end of the stream.
func (s *stream) next() (err error) {
	s.text = s.text[:0]
	depth, quoted, escaped := 0, false, false
	for {
		c, failed := s.in.ReadByte()
		if failed != nil {
			return cmp.Or(err, failed)
		}
		if s.begins && c == '{' && len(s.text) > 0 {
			_ = s.in.UnreadByte()
			return err
		}
		if len(s.text) == 0 {
			s.first = s.line
		}
		if s.begins = c == '\n'; s.begins {
			s.line++
		}
		switch {
		case len(s.text) == 0 && strings.IndexByte(blanks, c) >= 0:
			continue
		case len(s.text) < largest:
			s.text = append(s.text, c)
		default:
			err = errLarge
		}
		switch {
		case s.text[0] != '{': // no JSON object; it ends where a line begins with a brace
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return err
			}
		}
	}
}

// blanks mean nothing between two answers: white space, and UTF-8's byte order mark.
const blanks = " \t\r\n\ufeff"
