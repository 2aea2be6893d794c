package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/audit"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
)

const auditHelp = `Usage: postgres-ssl audit [--json] [--fail-on ignored|none] FILE|FOLDER|- ...

Says of each bound Postgres what mode it asks for, and whether that is in force: worst first. It
connects to nothing. It reads answers of "cf curl": to /v3/apps/GUID/env, and for an app's
buildpacks to /v3/apps/GUID or /v3/apps. A file holds any number of them, a folder any number of
files, and "-" is standard input.

  --json               one object a line for programs, without the last line of the report
  --fail-on ignored    exit status 1 if a mode that is asked for is not known to be in force, or
                       if an app would stop
  --fail-on none       also if a Postgres has no mode that encrypts

Exit status: 0 done, 1 there is what --fail-on names, 2 the command was not understood, or there is
no answer, 3 something could not be read, and there is nothing that --fail-on names.
`

// errUnread ends the command with exit status 3. The report says already what could not be read.
var errUnread = errors.New("something could not be read")

// runAudit reads the platform's answers about many apps, and prints a row for each bound database.
func runAudit(args []string, _ map[string]string, in io.Reader, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("audit", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	failOn := flags.String("fail-on", "", "")
	var paths []string
	for { // flags may stand behind paths too
		if err := parse(flags, args, len(args)); err != nil {
			return err
		}
		if flags.NArg() == 0 {
			break
		}
		paths, args = append(paths, flags.Arg(0)), flags.Args()[1:]
	}
	switch {
	case *failOn != "" && *failOn != "ignored" && *failOn != "none":
		return fmt.Errorf("%w: --fail-on is ignored or none", staging.ErrUsage)
	case len(paths) == 0:
		return fmt.Errorf("%w: name a file or a folder, or - for standard input", staging.ErrUsage)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil && path != "-" {
			return undecided{err}
		}
	}
	store, err := openStore()
	if err != nil {
		return undecided{err}
	}
	n := 0
	report := audit.Audit(counted(answers(paths, in), &n, errOut), store)
	if n == 0 {
		return undecided{fmt.Errorf("there is no answer in %s", strings.Join(paths, ", "))}
	}
	write := writeTable
	if *asJSON {
		write = writeLines
	}
	buffer := bufio.NewWriter(out)
	if err := cmp.Or(write(buffer, report), buffer.Flush()); err != nil {
		return undecided{err}
	}
	c := report.Count
	ignored := c[audit.Ignored] + c[audit.Driver] + c[audit.Stops]
	switch {
	case *failOn != "" && ignored > 0, *failOn == "none" && c[audit.None] > 0:
		return errSaid
	case report.Unread > 0:
		return errUnread
	}
	return nil
}

// counted counts the answers, and says on a terminal how far it is.
func counted(answers iter.Seq[audit.Answer], n *int, errOut io.Writer) iter.Seq[audit.Answer] {
	terminal := isTerminal(errOut)
	return func(yield func(audit.Answer) bool) {
		for a := range answers {
			if *n++; terminal && *n%100 == 0 {
				fmt.Fprintf(errOut, "\r%s answers", thousands(*n))
			}
			if !yield(a) {
				return
			}
		}
		if terminal {
			fmt.Fprint(errOut, "\r\x1b[K") // ECMA-48: erase to the end of the line
		}
	}
}

// writeTable writes the report for people.
func writeTable(out io.Writer, r audit.Report) error {
	table := [][5]string{{"org/space/app", "database", "mode asked", "in force", "why"}}
	for _, row := range r.Rows {
		app := strings.Join([]string{cmp.Or(row.Organization, "-"), cmp.Or(row.Space, "-"), cmp.Or(row.App, "-")}, "/")
		if row.App == "" {
			app = cmp.Or(row.From, row.GUID)
		}
		line := [5]string{app, cmp.Or(row.Database, "-"), row.Asked, row.InForce, row.Why}
		for i := range line {
			line[i] = cmp.Or(staging.Printable(line[i]), "-")
		}
		table = append(table, line)
	}
	var widths [4]int
	for _, line := range table {
		for i := range widths {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(line[i]), widest))
		}
	}
	if len(r.Rows) == 0 {
		table = nil
	}
	for _, line := range table {
		for i, width := range widths {
			fmt.Fprintf(out, "%-*s  ", width, line[i])
		}
		fmt.Fprintln(out, line[4])
	}
	_, err := fmt.Fprint(out, summary(r))
	return err
}

// widest bounds a column, so that one long name does not push everything else out of the window.
const widest = 60

// summary is the last line of the report, and what is to be known about it.
func summary(r audit.Report) string {
	text := fmt.Sprintf("%s, %s with Postgres: %s with an ignored mode, ", plural(r.Apps, "app"), thousands(r.Postgres), thousands(r.Count[audit.Ignored]))
	if n := r.Count[audit.Driver]; n > 0 {
		text += thousands(n) + " where the driver decides, "
	}
	text += thousands(r.Count[audit.None]) + " without one, "
	if n := r.Count[audit.Stops]; n > 0 {
		text += thousands(n) + " that would stop, "
	}
	text += thousands(r.Count[audit.InForce]) + " in force; " + thousands(r.Unread) + " could not be read\n"
	if r.NoList > 0 {
		text += fmt.Sprintf("The buildpacks of %s are not known; add the answers of /v3/apps\n", plural(r.NoList, "app"))
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// thousands writes 1204 as 1,204.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// writeLines writes the rows for programs.
func writeLines(out io.Writer, r audit.Report) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, row := range r.Rows {
		for _, text := range []*string{&row.Organization, &row.Space, &row.App, &row.GUID, &row.From, &row.Database, &row.Why} {
			*text = staging.Printable(*text)
		}
		if err := encoder.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

// answers reads all that the paths name, one answer at a time.
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

// folder reads the files below a folder. What is neither file nor folder is not opened: a pipe would
// keep everybody waiting. A link to a folder may lead in circles.
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

// reason is an error without the path, which stands beside it already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// file reads the answers in a file. An empty one is an answer too: cf said nothing.
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

// largest bounds one answer: a page of 5,000 apps, the most that the platform gives, has 15 MB.
const largest = 32 << 20

// split finds the answers in a stream, one after the other: on a line each, over many lines, or with
// nothing between them. It looks at braces and quotes only. A brace at the beginning of a line begins
// an answer, whatever was before it, so that a broken one takes no other with it: neither cf nor jq
// writes one there within an answer. It returns false if yield did.
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

// splitter is an answer while it is being found.
type splitter struct {
	name  string
	yield func(audit.Answer) bool

	line, first int    // the line, and the one where the answer begins
	begins      bool   // a line begins here
	inside      bool   // an answer is being read
	text        []byte // of it
	err         error  // it cannot be read
	depth       int    // of braces; 0 is something that is no JSON object
	quoted      bool
	escaped     bool
}

func (s *splitter) take(chunk []byte) bool {
	from := 0 // where the answer begins in the chunk, or goes on
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
		case s.depth == 0: // whatever it is, it ends where a line begins with a brace
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

// blank says whether a byte between two answers says nothing: white space, and UTF-8's byte order mark.
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

// end hands over the answer that was read, if there is one.
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
