package staging

import (
	"cmp"
	"fmt"
	"os"
	"slices"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// mostDrivers limits how many drivers and skipped files the log shows. An app has one or two
// drivers, but a lock file may hold anything.
const mostDrivers = 50

// reportDrivers lists the app's Postgres drivers in the staging log, and warns of those that no
// variable reaches. It never stops the staging, and names the files that it cannot read.
func reportDrivers(log *libbuildpack.Logger, dir string, env map[string]string, plan *launch.Plan) {
	found, skipped := Drivers(dir)
	lines, warnings := DriverLines(found, skipped, App(env, plan))
	log.BeginStep("Postgres drivers in this app")
	for _, line := range lines {
		log.Info("%s", line)
	}
	for _, warning := range warnings {
		log.Warning("%s", warning)
	}
}

// Drivers finds the Postgres drivers in a folder. It follows no link out of it.
func Drivers(dir string) ([]drivers.Found, []drivers.Skipped) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, []drivers.Skipped{{File: ".", Why: "it cannot be opened"}}
	}
	defer root.Close()
	return drivers.Find(root.FS())
}

// App returns what drivers.Judge needs to know about the app.
func App(env map[string]string, plan *launch.Plan) drivers.App {
	app := drivers.App{Bound: len(plan.Databases) > 0, Mode: plan.Mode, Env: env}
	_, app.Tunnel = plan.Tunnelled()
	if plan.Decider == nil {
		return app
	}
	for _, asked := range plan.Decider.Asked {
		// We don't know which string the app uses, so the weakest counts.
		if asked.By != binding.ByKey && (app.URI == sslmode.None || asked.Mode < app.URI) {
			app.URI = asked.Mode
		}
	}
	return app
}

// DriverLines describes the drivers for people: one line each, and a warning for each one that the
// app asks for and that does not do as the mode says.
func DriverLines(found []drivers.Found, skipped []drivers.Skipped, app drivers.App) (lines, warnings []string) {
	if len(found) == 0 {
		lines = append(lines, "none recognised; postgres-ssl verify shows who is connected in plain text")
	}
	// If there are too many to show, those with a warning come first.
	more := max(len(found)-mostDrivers, 0)
	if more > 0 {
		found = slices.Clone(found)
		slices.SortStableFunc(found, func(a, b drivers.Found) int {
			return cmp.Compare(min(len(drivers.Judge(b, app).Warning), 1), min(len(drivers.Judge(a, app).Warning), 1))
		})
	}
	found = found[:len(found)-more]
	rows := make([][3]string, len(found))
	widths := [2]int{19, 20}
	unreached := false
	for i, f := range found {
		verdict := drivers.Judge(f, app)
		rows[i] = [3]string{Printable(f.Title()), Printable(f.File), verdict.Says}
		for column := range widths {
			widths[column] = max(widths[column], len([]rune(rows[i][column])))
		}
		if verdict.Warning != "" {
			warnings = append(warnings, Printable(verdict.Warning))
			unreached = unreached || !f.Driver.Answer.CanBeTold()
		}
	}
	if unreached {
		warnings = append(warnings, "POSTGRES_SSL_TUNNEL=yes encrypts and verifies for each driver that reads no variable, with no change to the app")
	}
	for _, row := range rows {
		lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", widths[0], row[0], widths[1], row[1], row[2]))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	for _, s := range skipped[:min(len(skipped), mostDrivers)] {
		lines = append(lines, Printable(s.File)+" is skipped: "+s.Why)
	}
	return lines, warnings
}
