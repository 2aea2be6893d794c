package main

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/audit"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
)

const auditHelp = `Usage: postgres-ssl audit [--json] [--fail-on ignored|none] FILE|FOLDER|- ...

Says which mode each bound Postgres asks for, and which one the app's variables give it. The worst
comes first. It connects to nothing. It reads answers of "cf curl": to /v3/apps/GUID/env, and for an
app's buildpacks to /v3/apps/GUID or /v3/apps. A file has any number of them, a folder any number of
files, and "-" is standard input.

  --json               one object a line for programs, without the last lines of the report
  --fail-on ignored    exit status 1 if an app is not known to be given the mode that is asked for,
                       or if it would stop
  --fail-on none       also if a Postgres has no mode that encrypts

Exit status: 0 done, 1 an app has what --fail-on names, 2 the command was not understood, or there
is no answer, 3 something could not be read, and no app has what --fail-on names.
`

// errUnread ends the command with exit status 3. The report already says what could not be read.
var errUnread = errors.New("something could not be read")

// runAudit reads the platform's answers about many apps, and prints a row for each bound database.
func runAudit(args []string, _ map[string]string, in io.Reader, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("audit", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	failOn := flags.String("fail-on", "", "")
	paths, err := parse(flags, args, len(args))
	switch {
	case err != nil:
		return err
	case *failOn != "" && *failOn != "ignored" && *failOn != "none":
		return fmt.Errorf("%w: --fail-on must be ignored or none", staging.ErrUsage)
	case len(paths) == 0:
		return fmt.Errorf("%w: name a file or a folder, or - for standard input", staging.ErrUsage)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil && path != "-" {
			return undecided{err}
		}
	}
	store, err := current.TrustStore()
	if err != nil {
		return undecided{err}
	}
	fleet, n, terminal := audit.New(store), 0, isTerminal(errOut)
	answers(paths, in, func(a cf.Answer) {
		fleet.Add(a)
		if n++; terminal && n%100 == 0 {
			fmt.Fprintf(errOut, "\r%s answers", plain.Number(n))
		}
	})
	if terminal {
		fmt.Fprint(errOut, "\r\x1b[K") // ECMA-48: erase to the end of the line
	}
	report := fleet.Report()
	if n == 0 {
		return undecided{fmt.Errorf("there is no answer of cf curl in %s", strings.Join(paths, ", "))}
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

// writeTable writes the report for people.
func writeTable(out io.Writer, r audit.Report) error {
	table := [][5]string{{"org/space/app", "database", "mode asked", "given", "why"}}
	for _, row := range r.Rows {
		app := strings.Join([]string{cmp.Or(row.Organization, "-"), cmp.Or(row.Space, "-"), cmp.Or(row.App, "-")}, "/")
		if row.App == "" {
			app = cmp.Or(row.From, row.GUID)
		}
		line := [5]string{app, cmp.Or(row.Database, "-"), row.Asked, row.InForce, cmp.Or(row.Why, "-")}
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

// widest limits a column, so that one long name does not push the rest out of the window.
const widest = 60

// summary returns the report's last lines.
func summary(r audit.Report) string {
	text := fmt.Sprintf("%s, %s with Postgres: %s with an ignored mode, ",
		plain.Count(r.Apps, "app"), plain.Number(r.Postgres), plain.Number(r.Count[audit.Ignored]))
	if n := r.Count[audit.Driver]; n > 0 {
		text += plain.Number(n) + " where the driver decides, "
	}
	text += plain.Number(r.Count[audit.None]) + " without one, "
	if n := r.Count[audit.Stops]; n > 0 {
		text += plain.Number(n) + " that would stop, "
	}
	text += plain.Number(r.Count[audit.InForce]) + " given theirs; " + plain.Number(r.Unread) + " could not be read\n"
	if r.Count[audit.InForce] > 0 {
		text += "An app may set TLS itself: only postgres-ssl verify, in the app, sees its sessions\n" +
			"With this buildpack, such an app goes through the tunnel, if staging sees it and its written mode verifies\n"
	}
	if r.NoList > 0 {
		text += fmt.Sprintf("The buildpacks of %s are not known; add the answers of /v3/apps\n", plain.Count(r.NoList, "app"))
	}
	return text
}

// writeLines writes the rows for programs.
func writeLines(out io.Writer, r audit.Report) error {
	for _, row := range r.Rows {
		if err := writeJSON(out, row, ""); err != nil {
			return err
		}
	}
	return nil
}
