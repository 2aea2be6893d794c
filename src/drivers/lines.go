package drivers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// mostShown limits how many drivers and skipped files a log shows. An app has one or two drivers,
// but a lock file may have anything.
const mostShown = 50

// Lines describes what was seen for people: a line for each driver and each sign, and a warning for
// each driver that the app asks for and for each sign that does not do as the mode says. They have
// the app's own words, so print them with plain.Line.
func (l Look) Lines(app App) (lines, warnings []string) {
	if len(l.Found) == 0 {
		lines = append(lines, "none recognised; a driver inside a bundle is not seen, "+
			"and postgres-ssl verify shows who is connected in plain text")
	}
	// If there are too many to show, those with a warning come first.
	found := l.Found
	more := max(len(found)-mostShown, 0)
	if more > 0 {
		found = slices.Clone(found)
		slices.SortStableFunc(found, func(a, b Found) int {
			return cmp.Compare(min(len(Judge(b, app).Warning), 1), min(len(Judge(a, app).Warning), 1))
		})
	}
	found = found[:len(found)-more]
	rows := make([][3]string, len(found))
	widths := [2]int{19, 20}
	unreached := false
	for i, f := range found {
		verdict := Judge(f, app)
		rows[i] = [3]string{f.Title(), f.File, verdict.Says}
		for column := range widths {
			widths[column] = max(widths[column], len([]rune(rows[i][column])))
		}
		if verdict.Warning != "" {
			warnings = append(warnings, verdict.Warning)
			unreached = unreached || !f.Driver.Answer.CanBeTold()
		}
	}
	for _, row := range rows {
		lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", widths[0], row[0], widths[1], row[1], row[2]))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	for _, s := range l.Signs {
		lines = append(lines, s.Where()+"  "+app.says(s))
		if app.isWeaker(s) {
			warnings = append(warnings, s.Where()+" "+app.says(s))
			unreached = true
		}
	}
	if unreached && !app.Tunnel {
		warnings = append(warnings, "POSTGRES_SSL_TUNNEL=yes encrypts and verifies for whatever does not obey, with no change to the app")
	}
	for _, s := range l.Skipped[:min(len(l.Skipped), mostShown)] {
		lines = append(lines, s.File+" is skipped: "+s.Why)
	}
	return lines, warnings
}

// says describes a sign in this app.
func (a App) says(s seen.Sign) string {
	by := ""
	if s.Variable != "" {
		by = " by " + s.Variable
	}
	switch s.Kind {
	case seen.Reads:
		return "reads " + s.Variable + " itself, so more than the driver may depend on it"
	case seen.Bundles:
		if time.Now().After(s.Until) {
			return "has RDS's CAs of the app's own, which have expired: whatever verifies by it refuses the database"
		}
		return "has RDS's CAs of the app's own; the last one expires on " + plain.Day(s.Until)
	case seen.Direct:
		return "asks for what only a direct connection can do: the tunnel cannot carry it"
	case seen.Pools:
		return "is a pooler's: PGSSLMODE is meant for the database, but the pooler's clients read it too"
	case seen.Undoes:
		if s.Variable == "" {
			return "is SonarQube's, which drops JAVA_TOOL_OPTIONS for the processes that it starts"
		}
		return "sets " + s.Variable + ", so the app does not get ours"
	}
	if a.Tunnel {
		return "sets ssl itself" + by + ": " + throughTunnel
	}
	if name := a.toldByName(s); name != "" {
		return "sets ssl itself" + by + "; a launch sets the variable of " + name
	}
	const lost = "; our variables lose there"
	switch s.Mode {
	case sslmode.None:
		return "sets ssl itself" + by + ", and how is not known" + lost
	case sslmode.Disable:
		return "sets ssl itself" + by + ": plain text" + lost
	case sslmode.Allow, sslmode.Prefer:
		return "sets sslmode=" + s.Mode.String() + " itself" + by + ": plain text where TLS fails" + lost
	case sslmode.Require:
		return "sets ssl itself" + by + ": nothing is verified" + lost
	}
	return "sets ssl itself" + by + ": " + s.Mode.String()
}

// isWeaker says whether a sign means less than the mode in force. A sign whose mode is not known, and
// one that undoes what a launch gives, count where the mode asks for TLS.
func (a App) isWeaker(s seen.Sign) bool {
	mode := a.inForce()
	switch {
	case s.Kind == seen.Bundles:
		return time.Now().After(s.Until)
	case !mode.Encrypts(), s.Variable == "JAVA_TOOL_OPTIONS": // which has a warning of its own
		return false
	case s.Kind == seen.Decides:
		return s.Mode < mode && !a.Tunnel && a.toldByName(s) == ""
	}
	return true
}
