package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

const driversHelp = `Usage: postgres-ssl drivers [DIR] [--json]

Names the Postgres drivers in an app's folder, by default this one, and what each does with the
sslmode of the bindings.

  --json    the same for programs
` + bindingsHelp + exitHelp

func runDrivers(c *call) error {
	asJSON := c.Bool("json", false, "")
	dirs, err := c.parse(1)
	if err != nil {
		return err
	}
	dir := append(dirs, ".")[0]
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a folder; name the app's folder", dir)
	}
	now, _, err := c.boundTo("", launch.Foresee)
	if err != nil {
		return err
	}
	look := drivers.LookIn(dir, now.Env)
	carried := look.Carried()
	now.Plan.Carry(carried)
	app := look.In(now.Plan)
	if *asJSON {
		return writeJSON(c.out, driversJSON(app), "  ")
	}
	lines := driverLines(app)
	switch {
	case carried.Why == "" || now.Env["POSTGRES_SSL_TUNNEL"] != "":
	case carried.Against != "":
		lines = append(lines, plain.Line("it does not go through the tunnel by itself, since "+carried.Against))
	default:
		lines = append(lines, plain.Line("under a written verify-ca or verify-full it goes through the tunnel by itself: "+carried.Why))
	}
	_, err = fmt.Fprintln(c.out, strings.Join(lines, "\n"))
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

func driversJSON(app drivers.App) any {
	type object map[string]any
	found, signs, skipped := []object{}, []object{}, []object{}
	for _, f := range app.Found {
		verdict := app.Judge(f)
		found = append(found, object{
			"driver": f.Driver.Name, "ecosystem": f.Driver.Ecosystem, "package": f.Package, "version": plain.Line(f.Version),
			"file": plain.Line(f.File), "use": f.Use.String(), // "direct", "transitive" or "unknown"
			"can_be_told": f.Driver.Answer.CanBeTold(), "verdict": verdict.Says, "warning": plain.Line(verdict.Warning),
		})
	}
	for _, s := range app.Signs { // of "decides", sslmode is the least that the line allows, if that is known
		signs = append(signs, object{"kind": s.Kind, "file": plain.Line(s.File), "line": s.Line, "sslmode": s.Mode.String(),
			"variable": s.Variable})
	}
	for _, s := range app.Skipped {
		skipped = append(skipped, object{"file": plain.Line(s.File), "why": s.Why})
	}
	return object{"sslmode": app.Mode.String(), "drivers": found, "signs": signs, "skipped": skipped}
}
