package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

const driversHelp = `Usage: postgres-ssl drivers [DIR] [--json]

Names the Postgres drivers in an app's folder, by default this one, and what each does with the
sslmode of the bindings.

  --json    the same for programs
` + bindingsHelp + exitHelp

// runDrivers names the Postgres drivers in an app's folder, as staging does. With --json, it writes
// them for programs that look at many apps.
func runDrivers(args []string, env map[string]string, _ io.Reader, out, _ io.Writer) error {
	flags := flag.NewFlagSet("drivers", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	dirs, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	dir := append(dirs, ".")[0]
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a folder; name the app's folder", dir)
	}
	env, _, err = withOriginals(env)
	if err != nil {
		return err
	}
	now, err := current.Open(env, launch.Foresee)
	if err != nil {
		return err
	}
	look := drivers.LookIn(dir, env)
	carried := look.Carried()
	now.Plan.Carry(carried)
	app := look.In(now.Plan)
	if *asJSON {
		return writeJSON(out, driversJSON(app), "  ")
	}
	lines := driverLines(app)
	switch {
	case carried.Why == "" || env["POSTGRES_SSL_TUNNEL"] != "":
	case carried.Against != "":
		lines = append(lines, plain.Line("it does not go through the tunnel by itself, since "+carried.Against))
	default:
		lines = append(lines, plain.Line("under a written verify-ca or verify-full it goes through the tunnel by itself: "+carried.Why))
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

// driverLines describes the drivers for people, with the warnings last.
func driverLines(app drivers.App) []string {
	lines, warnings := app.Lines()
	for _, w := range warnings {
		lines = append(lines, "warning: "+w)
	}
	for i, line := range lines {
		lines[i] = plain.Line(line)
	}
	return lines
}

// foundJSON is a driver as programs get it.
type foundJSON struct {
	Driver    string            `json:"driver"`
	Ecosystem drivers.Ecosystem `json:"ecosystem"`
	Package   string            `json:"package"`
	Version   string            `json:"version"`
	File      string            `json:"file"`
	Use       string            `json:"use"` // "direct", "transitive" or "unknown"
	Told      bool              `json:"can_be_told"`
	Verdict   string            `json:"verdict"`
	Warning   string            `json:"warning,omitempty"`
}

type skippedJSON struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

type reportJSON struct {
	SSLMode string        `json:"sslmode"` // that the bindings ask for
	Drivers []foundJSON   `json:"drivers"`
	Signs   []signJSON    `json:"signs"` // what the app's own files say about TLS
	Skipped []skippedJSON `json:"skipped"`
}

// signJSON is a line of the app's own files as programs get it.
type signJSON struct {
	Kind     seen.Kind `json:"kind"` // "decides", "reads", "undoes", "pools", "bundles"
	File     string    `json:"file"`
	Line     int       `json:"line"`
	SSLMode  string    `json:"sslmode,omitempty"` // of "decides": the least that it allows, if that is known
	Variable string    `json:"variable,omitempty"`
}

func driversJSON(app drivers.App) reportJSON {
	report := reportJSON{SSLMode: app.Mode.String(), Drivers: []foundJSON{}, Signs: []signJSON{}, Skipped: []skippedJSON{}}
	for _, f := range app.Found {
		verdict := app.Judge(f)
		report.Drivers = append(report.Drivers, foundJSON{
			Driver: f.Driver.Name, Ecosystem: f.Driver.Ecosystem, Package: f.Package,
			Version: plain.Line(f.Version), File: plain.Line(f.File), Use: f.Use.String(),
			Told: f.Driver.Answer.CanBeTold(), Verdict: verdict.Says, Warning: plain.Line(verdict.Warning),
		})
	}
	for _, s := range app.Signs {
		report.Signs = append(report.Signs, signJSON{s.Kind, plain.Line(s.File), s.Line, s.Mode.String(), s.Variable})
	}
	for _, s := range app.Skipped {
		report.Skipped = append(report.Skipped, skippedJSON{plain.Line(s.File), s.Why})
	}
	return report
}
