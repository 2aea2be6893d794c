package drivers

import (
	"fmt"
	"slices"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Lines describes what was seen for people: a line for each driver and each sign, and a warning for
// each driver that the app asks for and for each sign that does not do as the mode says. They have
// the app's own words, so print them with plain.Line.
func (a App) Lines() (lines, warnings []string) {
	const mostShown = 50 // skipped files
	if len(a.Found) == 0 {
		lines = append(lines, "none recognised; a driver inside a bundle is not seen, "+
			"and postgres-ssl verify shows who is connected in plain text")
	}
	title, file := 19, 20 // columns
	for _, f := range a.Found {
		title, file = max(title, len([]rune(f.Title()))), max(file, len([]rune(f.File)))
	}
	isUnreached := false
	for _, f := range a.Found {
		v := a.Judge(f)
		lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", title, f.Title(), file, f.File, v.Says))
		if v.Warning != "" {
			warnings = append(warnings, v.Warning)
			isUnreached = isUnreached || !f.Driver.Answer.CanBeTold()
		}
	}
	for _, s := range a.Signs {
		says, isLess := a.means(s)
		lines = append(lines, s.Where()+"  "+says)
		if isLess {
			warnings = append(warnings, s.Where()+" "+says)
			isUnreached = true
		}
	}
	if isUnreached && !a.Tunnel {
		warnings = append(warnings, "POSTGRES_SSL_TUNNEL=yes lets whatever does not obey connect as its sslmode asks, with no change to the app")
	}
	for _, s := range a.Skipped[:min(len(a.Skipped), mostShown)] {
		lines = append(lines, s.File+" is skipped: "+s.Why)
	}
	return lines, warnings
}

// means describes a sign in this app, and says whether it is less than the mode in force. A sign
// whose mode is not known, and one that undoes what a launch gives, is less where the mode asks for
// TLS.
func (a App) means(s seen.Sign) (says string, isLess bool) {
	asks := a.inForce().Encrypts()
	switch s.Kind {
	case seen.Reads:
		return "reads " + s.Variable + " itself, so more than the driver may depend on it", asks
	case seen.Bundles:
		if time.Now().After(s.Until) {
			return "has RDS's CAs of the app's own, which have expired: whatever verifies by it refuses the database", true
		}
		return "has RDS's CAs of the app's own; the last one expires on " + plain.Day(s.Until), false
	case seen.Direct:
		return "asks for what only a direct connection can do: the tunnel cannot carry it", asks
	case seen.Pools:
		return "is a pooler's: PGSSLMODE is meant for the database, but the pooler's clients read it too", asks
	case seen.Undoes:
		if s.Variable == "" {
			return "is SonarQube's, which drops JAVA_TOOL_OPTIONS for the processes that it starts", asks
		}
		// That of JAVA_TOOL_OPTIONS has a warning of its own.
		return "sets " + s.Variable + ", so the app does not get ours", asks && s.Variable != "JAVA_TOOL_OPTIONS"
	}
	says, name := "sets ssl itself", a.toldByName(s)
	if s.Variable != "" {
		says += " by " + s.Variable
	}
	if name != "" && asks && !a.Tunnel {
		return says + "; a launch sets the variable of " + name, false
	}
	switch s.Mode {
	case sslmode.None:
		says += ": how is not known"
	case sslmode.Disable:
		says += ": plain text"
	case sslmode.Require:
		says += ": nothing is verified"
	case sslmode.Allow, sslmode.Prefer:
		says += ": " + s.Mode.String() + ", plain text where TLS fails"
	default:
		says += ": " + s.Mode.String()
	}
	cannotBeTold := func(f Found) bool { return !f.Driver.Answer.CanBeTold() }
	switch {
	case a.Tunnel && slices.ContainsFunc(a.Found, cannotBeTold):
		return says + "; " + throughTunnel, false
	case a.Tunnel:
		return says + "; " + throughTunnel + "; without this line, it needs no tunnel", false
	case !s.Mode.Verifies():
		says += "; our variables lose there"
	}
	return says, asks && s.Mode < a.inForce()
}
