package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/audit"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
)

const auditHelp = `Usage: postgres-ssl audit [--json] [--fail-on stops|ignored|none] FILE|FOLDER|- ...

Says which mode each bound Postgres asks for, and which one the app's variables give it, the worst
first. It connects to nothing, but reads answers of "cf curl" to /v3/apps/GUID/env, and for an app's
buildpacks to /v3/apps/GUID or /v3/apps, any number in a file or folder. "-" is standard input.

  --json               one object a line for programs, without the last lines of the report
  --fail-on stops      exit status 1 if an app would stop
  --fail-on ignored    also if an app is not known to be given the mode that is asked for
  --fail-on none       also if a Postgres has no mode that encrypts

Exit status: 0 done, 1 an app has what --fail-on names, 2 the command was not understood, or there
is no answer, 3 something could not be read, and no app has what --fail-on names.
`

func runAudit(c *call) error {
	asJSON := c.Bool("json", false, "")
	failOn := c.String("fail-on", "", "")
	paths, err := c.parse(len(c.args))
	mildest, isKnown := map[string]audit.State{"": -1, "stops": audit.Stops, "ignored": audit.Driver, "none": audit.None}[*failOn]
	switch {
	case err != nil:
		return err
	case !isKnown:
		return fmt.Errorf("%w: --fail-on must be stops, ignored or none", staging.ErrUsage)
	case len(paths) == 0:
		return fmt.Errorf("%w: name a file or a folder, or - for standard input", staging.ErrUsage)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil && path != "-" {
			return err
		}
	}
	store, err := current.TrustStore()
	if err != nil {
		return err
	}
	fleet, n, terminal := audit.New(store), 0, isTerminal(c.errOut)
	answers(paths, c.in, func(a cf.Answer) {
		fleet.Add(a)
		if n++; terminal && n%100 == 0 {
			fmt.Fprintf(c.errOut, "\r%s answers", plain.Number(n))
		}
	})
	if terminal {
		fmt.Fprint(c.errOut, "\r\x1b[K") // ECMA-48: erase to the end of the line
	}
	if n == 0 {
		return fmt.Errorf("there is no answer of cf curl in %s", strings.Join(paths, ", "))
	}
	report := fleet.Report()
	buffer := bufio.NewWriter(c.out) // Flush returns the first error
	if *asJSON {
		for _, row := range report.Rows {
			_ = writeJSON(buffer, row, "")
		}
	} else {
		writeTable(buffer, report)
	}
	if err := buffer.Flush(); err != nil {
		return err
	}
	switch {
	case len(report.Rows) > 0 && report.Rows[0].State <= mildest: // the worst comes first
		return said(1)
	case report.Unread > 0:
		return said(3)
	}
	return nil
}

const widest = 60 // so that one long name does not push the rest out of the window

func writeTable(out io.Writer, r audit.Report) {
	table := [][5]string{{"org/space/app", "database", "mode asked", "given", "why"}}
	for _, row := range r.Rows {
		app := strings.Join([]string{cmp.Or(row.Organization, "-"), cmp.Or(row.Space, "-"), row.App}, "/")
		if row.App == "" {
			app = cmp.Or(row.From, row.GUID)
		}
		table = append(table, [5]string{app, cmp.Or(row.Database, "-"), row.Asked, row.InForce, row.Why})
	}
	var widths [4]int
	for _, line := range table {
		for i := range widths {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(line[i]), widest))
		}
	}
	for _, line := range table {
		for i, width := range widths {
			fmt.Fprintf(out, "%-*s  ", width, line[i])
		}
		fmt.Fprintln(out, line[4])
	}
	n := func(state audit.State) string { return plain.Number(r.Count[state]) }
	fmt.Fprintf(out, "%s, %s with Postgres: %s would stop, %s ignored, %s up to the driver, "+
		"%s without a mode, %s given theirs; %s not read\n", plain.Count(r.Apps, "app"), plain.Number(r.Postgres),
		n(audit.Stops), n(audit.Ignored), n(audit.Driver), n(audit.None), n(audit.InForce), plain.Number(r.Unread))
	if r.Count[audit.InForce] > 0 {
		fmt.Fprintln(out, "An app may set TLS itself: only postgres-ssl verify, in the app, sees its sessions")
		fmt.Fprintln(out, "With this buildpack, such an app goes through the tunnel, if staging sees it and its written mode verifies")
	}
	if r.NoList > 0 {
		fmt.Fprintf(out, "The buildpacks of %s are not known; add the answers of /v3/apps\n", plain.Count(r.NoList, "app"))
	}
}

// answers reads everything that the paths name, one answer at a time. Below a folder, it follows no
// links to folders, because they may form a loop.
func answers(paths []string, in io.Reader, each func(cf.Answer)) {
	for _, path := range paths {
		if path == "-" {
			cf.Answers("standard input", in, each)
			continue
		}
		folder, root := os.DirFS(path), "."
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			folder, root = os.DirFS(filepath.Dir(path)), filepath.Base(path)
		}
		_ = fs.WalkDir(folder, root, func(at string, entry fs.DirEntry, err error) error {
			name := at
			if at == root {
				name = path
			} else if strings.Contains("/"+at, "/.") {
				return nil // hidden
			}
			if err == nil && !entry.IsDir() {
				err = file(folder, at, name, at == root, each)
			}
			if err != nil {
				each(cf.Answer{From: name, Err: err})
			}
			return nil
		})
	}
}

// file reads the answers in a file. One that nobody named has to be a regular file, because a pipe
// would block us. An empty file is an answer too: cf printed nothing.
func file(folder fs.FS, at, name string, isNamed bool, each func(cf.Answer)) error {
	if info, err := fs.Stat(folder, at); err == nil && !isNamed && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	f, err := folder.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	if cf.Answers(name, f, each) == 0 {
		return errors.New("the answer is empty")
	}
	return nil
}
