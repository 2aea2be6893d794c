package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/audit"
)

// answers reads everything that the paths name, one answer at a time.
func answers(paths []string, in io.Reader) iter.Seq[audit.Answer] {
	return func(yield func(audit.Answer) bool) {
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case path == "-":
				if !split("standard input", in, yield) {
					return
				}
			case err == nil && info.IsDir():
				if !folder(path, yield) {
					return
				}
			default:
				if !file(path, path, yield) {
					return
				}
			}
		}
	}
}

// folder reads the files below a folder. It opens regular files only, because a pipe would block
// us. It does not follow links to folders, because they may form a loop.
func folder(root string, yield func(audit.Answer) bool) bool {
	more := true
	walk := func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), string(filepath.Separator))
		switch {
		case err != nil:
			more = yield(audit.Answer{From: cmp.Or(name, root), Err: reason(err)})
		case path == root || entry.IsDir() && !hidden(entry):
		case hidden(entry):
			if entry.IsDir() {
				return fs.SkipDir
			}
		default:
			if info, err := os.Stat(path); err != nil {
				more = yield(audit.Answer{From: name, Err: reason(err)})
			} else if !info.Mode().IsRegular() {
				more = yield(audit.Answer{From: name, Err: errors.New("it is not a regular file")})
			} else {
				more = file(path, name, yield)
			}
		}
		if !more {
			return fs.SkipAll
		}
		return nil
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	return filepath.WalkDir(root, walk) == nil && more
}

func hidden(entry fs.DirEntry) bool { return strings.HasPrefix(entry.Name(), ".") }

// reason returns an error without its path, which the row has already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// file reads the answers in a file. An empty file is an answer too: cf printed nothing.
func file(path, name string, yield func(audit.Answer) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(audit.Answer{From: name, Err: reason(err)})
	}
	defer f.Close()
	n := 0
	more := split(name, f, func(a audit.Answer) bool {
		n++
		return yield(a)
	})
	if n == 0 {
		return yield(audit.Answer{From: name})
	}
	return more
}

// largest limits one answer. The largest page of apps, with 5,000 of them, has 15 MB.
const largest = 32 << 20

// split finds the answers in a stream: one on each line, over many lines, or with nothing between
// them. It looks only at braces and quotes. A brace at the start of a line always begins a new
// answer, because neither cf nor jq writes one there within an answer. So a broken answer takes no
// other with it. split returns false if yield did.
func split(name string, in io.Reader, yield func(audit.Answer) bool) bool {
	s := splitter{name: name, line: 1, begins: true, yield: yield}
	chunk := make([]byte, 64<<10)
	for {
		n, err := in.Read(chunk)
		if !s.take(chunk[:n]) {
			return false
		}
		if err != nil {
			if err != io.EOF {
				s.err = cmp.Or(s.err, reason(err))
			}
			return s.end()
		}
	}
}

// splitter is an answer that is being found.
type splitter struct {
	name  string
	yield func(audit.Answer) bool

	line, first int    // the current line, and the one where the answer begins
	begins      bool   // at the start of a line
	inside      bool   // in an answer
	text        []byte // the answer so far
	err         error  // why it cannot be read
	depth       int    // of braces; 0 if this is no JSON object
	quoted      bool
	escaped     bool
}

func (s *splitter) take(chunk []byte) bool {
	from := 0 // where the answer begins or continues in the chunk
	for i, c := range chunk {
		if s.begins && c == '{' && s.inside {
			s.add(chunk[from:i])
			if !s.end() {
				return false
			}
		}
		s.begins = c == '\n'
		if !s.inside {
			if c == '\n' {
				s.line++
			}
			if blank(c) {
				continue
			}
			s.inside, s.first, from = true, s.line, i
			if c == '{' {
				s.depth = 1
			}
			continue
		}
		switch {
		case c == '\n':
			s.line++
		case s.escaped:
			s.escaped = false
		case s.quoted:
			s.escaped, s.quoted = c == '\\', c != '"'
		case s.depth == 0: // no JSON object; it ends where a line begins with a brace
		case c == '"':
			s.quoted = true
		case c == '{':
			s.depth++
		case c == '}':
			if s.depth--; s.depth == 0 {
				s.add(chunk[from : i+1])
				if !s.end() {
					return false
				}
			}
		}
	}
	if s.inside {
		s.add(chunk[from:])
	}
	return true
}

// blank says whether a byte between two answers means nothing: white space, or UTF-8's byte order
// mark.
func blank(c byte) bool { return strings.IndexByte(" \t\r\n\xef\xbb\xbf", c) >= 0 }

func (s *splitter) add(text []byte) {
	if s.err != nil {
		return
	}
	if len(s.text)+len(text) > largest {
		s.text, s.err = nil, fmt.Errorf("it is larger than %d MB", largest>>20)
		return
	}
	s.text = append(s.text, text...)
}

// end yields the current answer, if there is one.
func (s *splitter) end() bool {
	if !s.inside && s.err == nil {
		return true
	}
	a := audit.Answer{From: s.name, Document: s.text, Err: s.err}
	if s.first > 1 {
		a.From = fmt.Sprintf("%s, line %d", s.name, s.first)
	}
	more := s.yield(a)
	s.inside, s.text, s.err, s.depth, s.quoted, s.escaped = false, s.text[:0], nil, 0, false, false
	return more
}
