package cf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
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
	// mostUnread limits the answers of a stream that cannot be read. Each is a row of its own, so a
	// stream of nonsense would take more memory than it has bytes.
	mostUnread = 20_000
)

// Answers reads the answers in a stream, with name for people. Each begins a line with a brace, as cf
// and jq print it, or follows another one. It returns how many there are.
func Answers(name string, in io.Reader, each func(Answer)) (n int) {
	parts := bufio.NewScanner(in)
	parts.Buffer(nil, largest)
	parts.Split(part)
	line, unread := 1, 0
	say := func(apps []App, err error) {
		from := name
		if line > 1 {
			from = fmt.Sprintf("%s, line %d", name, line)
		}
		if n++; err != nil {
			unread++
		}
		each(Answer{from, apps, err})
	}
	for parts.Scan() {
		text := parts.Bytes()
		goOnAt := func(rest []byte) {
			line += bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
			text = rest
		}
		for goOnAt(trim(text)); len(text) > 0; {
			if unread == mostUnread {
				say(nil, fmt.Errorf("%d answers before it could not be read; the rest of it was not tried", mostUnread))
				return n
			}
			apps, rest, err := read(text)
			isBinary := err != nil && bytes.IndexByte(text[:len(text)-len(rest)], 0) >= 0
			if isBinary {
				err = fmt.Errorf("%w; the rest was not tried", err)
			}
			if say(apps, err); isBinary {
				return n
			}
			goOnAt(rest)
		}
	}
	switch err := parts.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		say(nil, fmt.Errorf("it is larger than %d MB; the rest was not tried", largest>>20))
	case err != nil:
		say(nil, err)
	}
	return n
}

// part finds where the next line with a brace begins, for a bufio.Scanner. Neither cf nor jq writes such a
// line within an answer. So a broken answer takes no other with it.
func part(text []byte, isAll bool) (int, []byte, error) {
	if i := bytes.Index(text, []byte("\n{")); i >= 0 {
		return i + 1, text[:i+1], nil
	}
	if isAll && len(text) > 0 {
		return len(text), text, nil
	}
	return 0, nil, nil
}
