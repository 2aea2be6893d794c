package drivers

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// App is what an app's own files show, and what its bindings ask for.
type App struct {
	Look
	// Bound says whether a database is bound. If not, the strictest mode counts: staging does not
	// run again when one is bound.
	Bound  bool
	Mode   sslmode.Mode // the mode that the bindings ask for
	URI    sslmode.Mode // the mode in the bound connection URI, or None
	Tunnel bool         // all its databases are reached through the tunnel
}

// In returns the app under a plan.
func (l Look) In(plan *launch.Plan) App {
	app := App{Look: l, Bound: len(plan.Databases) > 0, Mode: plan.Mode}
	_, app.Tunnel = plan.Tunnelled()
	if plan.Decider == nil {
		return app
	}
	for _, asked := range plan.Decider.Asked {
		if asked.By.IsString() { // we don't know which one the app uses, so the weakest counts
			app.URI = min(asked.Mode, cmp.Or(app.URI, asked.Mode))
		}
	}
	return app
}

const throughTunnel = "through the tunnel, if the app takes the host from its binding"

// Verdict is what a driver does in an app.
type Verdict struct {
	Says    string // in the table's words: "obeys"
	Warning string // one line, or ""
}

// inForce is the mode that the app is given: the owner's, else the bindings'. Of a wrong one,
// nobody knows what a driver makes, so the verdict is about the bindings' mode.
func (a App) inForce() sslmode.Mode {
	ours := a.Mode
	if !a.Bound && ours == sslmode.None {
		ours = sslmode.VerifyFull
	}
	own, _ := launch.Owners(a.env)
	return cmp.Or(own.InForce(ours), ours)
}

// Judge says what a driver does in this app.
func (a App) Judge(f Found) Verdict {
	v, measured := a.judge(f), f.Driver.Version // "4.18, 5.12"
	last := numbers(measured[strings.LastIndex(measured, " ")+1:])[0]
	if last > 0 && numbers(f.Version)[0] > last && !a.Tunnel {
		v.Says += "; measured with " + measured
	}
	if f.Use == Transitive {
		return Verdict{Says: v.Says + "; another package brings it"}
	}
	return v
}

func (a App) judge(f Found) Verdict {
	d, mode := f.Driver, a.inForce()
	if a.Tunnel {
		return Verdict{Says: throughTunnel}
	}
	warn := func(says, format string, args ...any) Verdict {
		return Verdict{says, f.Title() + " " + fmt.Sprintf(format, args...)}
	}
	own, _ := launch.Owners(a.env)
	switch noVerify := own.Value == "no-verify"; { // node-postgres's word alone
	case d.Variable != own.Variable:
	case noVerify && d.Answer == Verifies:
		return Verdict{Says: "obeys"}
	case noVerify, own.Wrong != nil:
		return Verdict{Says: "not known: PGSSLMODE is wrong"} // launch warns once for all drivers
	}
	if slices.Contains(d.Unknown, mode) {
		return warn("does not connect", "does not connect: it does not know sslmode=%s", mode)
	}
	// Of the signs that decide, the one that allows least counts. It has a warning of its own.
	var weakest *seen.Sign
	for i, s := range a.Signs {
		switch name := a.toldByName(s); {
		case s.Kind != seen.Decides, s.Language != "" && s.Language != language[d.Ecosystem]:
		case name != "" && mode.Encrypts():
			return Verdict{Says: "obeys " + name + "'s own variable"}
		case weakest == nil, s.Mode < weakest.Mode:
			weakest = &a.Signs[i]
		}
	}
	if weakest != nil && (weakest.Mode < mode || !d.Answer.CanBeTold()) {
		return Verdict{Says: "sets TLS itself (" + weakest.Where() + ")"}
	}
	if mode == sslmode.None && d.Answer != Untold {
		return Verdict{Says: "has no sslmode to obey"}
	}
	// Node's own switch turns verification off for everything that uses its TLS.
	isNodes := d.Ecosystem == npm && d.Answer != Misreads
	if isNodes && mode.Verifies() && a.env["NODE_TLS_REJECT_UNAUTHORIZED"] == "0" {
		return warn("verifies nothing", "verifies nothing: NODE_TLS_REJECT_UNAUTHORIZED=0 is set. Unset it")
	}
	// A mode in the URI that the app connects with beats every variable.
	isTaken := a.URI != sslmode.None && (d.URI == Believed || d.URI == Verified)
	isAsWritten := d.URI == Believed || a.URI < sslmode.Prefer
	switch {
	case isTaken && isAsWritten && a.URI < mode:
		return warn("obeys, unless it uses the bound URI",
			"obeys the bound URI if it uses that, and its sslmode=%s is weaker than %s", a.URI, mode)
	case d.Answer.CanBeTold():
	case isTaken, d.URI == OnlyRequire && a.URI == sslmode.Require:
		return Verdict{Says: "obeys, if it uses the bound URI"}
	case d.URI == OnlyRequire && a.URI.Verifies():
		return warn("cannot be told", "reads no variable: it %s, and does not take the bound URI's sslmode=%s. %s",
			d.Does, a.URI, mend(d, mode))
	case d.Answer == Misreads:
		return warn("does not connect", "does not connect: it %s. %s", d.Does, mend(d, mode))
	// It may happen to do all that the mode asks: in require, to refuse a server without TLS.
	case !mode.Encrypts(), mode == sslmode.Require && d.Outcomes == "TTTxTT":
		return Verdict{Says: "cannot be told"}
	default:
		return warn("cannot be told", "reads no variable: it %s. %s", d.Does, mend(d, mode))
	}
	says := "obeys"
	switch {
	case d.Answer == ObeysItsURL:
		says = d.Answer.String()
	case d.Answer == Verifies && (mode == sslmode.Prefer || mode == sslmode.Require):
		says = "obeys, and verifies too"
	case d.Answer != Obeys && mode == sslmode.VerifyCA:
		says = "obeys, and checks the name too"
	}
	// The owner may have set the driver's variable. Launch warns of a weak PGSSLMODE.
	set, err := sslmode.Parse(a.env[d.Variable])
	if err != nil || set >= mode {
		return Verdict{Says: says}
	}
	says = fmt.Sprintf("obeys %s=%s, which the app's owner set", d.Variable, set)
	return warn(says, "%s: it is weaker than %s", says, mode)
}

var language = map[Ecosystem]string{npm: "Node", deno: "Node", prisma: "Node", pypi: "Python", rubygems: "Ruby", golang: "Go",
	crates: "Rust", hex: "BEAM", nuget: ".NET", maven: "Java", composer: "PHP"}

// toldByName returns the app that a sign belongs to, if a launch tells that app by its own
// variable: the sign is in the file that shows it, or in its folder.
func (l Look) toldByName(s seen.Sign) string {
	for _, name := range slices.Sorted(maps.Keys(l.told)) {
		file := l.told[name]
		if dir := path.Dir(file); s.File == file || dir != "." && strings.HasPrefix(s.File, dir+"/") {
			return name
		}
	}
	return ""
}

// mend says what to change in the app, and how to keep the mode in force where a driver needs a
// weaker one in its URI, which may be the binding's.
func mend(d *Driver, mode sslmode.Mode) string {
	text := strings.ReplaceAll(d.Mend, "MODE", mode.String())
	if d.URI == OnlyRequire && mode > sslmode.Require {
		text += fmt.Sprintf(": it then verifies. Where that is the binding's URI, keep sslmode=%[1]s beside it, "+
			"and set POSTGRES_SSL_MODE=%[1]s, which settles the contradiction", mode)
	}
	return text
}

// Carried says why the app's connections need the tunnel, and what the tunnel would break. In
// doubt, something speaks against it.
func (l Look) Carried() (c launch.Carried) {
	if len(l.told) > 0 { // a launch tells it by its own variable
		return c
	}
	against := func(why string) { c.Against = cmp.Or(c.Against, why) }
	for _, s := range l.Signs {
		switch {
		case s.Kind == seen.Direct:
			against(s.Where() + " asks for what only a direct connection can do")
		case s.Kind == seen.Bundles:
			against(s.File + " has CAs of the app's own")
		case s.Kind == seen.Pools:
			against(s.File + " is a pooler's")
		case s.Kind != seen.Decides || s.Mode == sslmode.None: // how is not known
		case s.Mode.Verifies():
			against("the app verifies by itself (" + s.Where() + ")")
		case !c.Setting:
			c.Why, c.Setting = s.Where()+" sets ssl itself", true
			if s.Mode == sslmode.Allow || s.Mode == sslmode.Prefer { // libpq's manual, "Protection Provided in Different Modes"
				c.Why += " to " + s.Mode.String() + ", which is plain text where the CA does not fit"
			}
		}
	}
	for _, f := range l.Found {
		if f.Driver.Name == "pgbouncer" {
			against("the app brings a pooler, " + f.Title())
		}
		isOther := func(g Found) bool { return g.Driver.Name != f.Driver.Name }
		isWanted := f.Use == Direct || f.Use == Unknown && !slices.ContainsFunc(l.Found, isOther)
		if isWanted && c.Why == "" && !f.Driver.Answer.CanBeTold() {
			c.Why = f.Title() + " reads no variable"
		}
	}
	return c
}

// Lines describes what was seen, and warns of each driver that the app asks for and each sign that
// does not do as the mode says. They have the app's own words, so print them with plain.Line.
func (a App) Lines() (lines, warnings []string) {
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
	if isUnreached && !a.Tunnel && a.env["POSTGRES_SSL_TUNNEL"] != "no" { // its owner has refused it
		warnings = append(warnings, "POSTGRES_SSL_TUNNEL=yes lets whatever does not obey connect as its sslmode asks, with no change to the app")
	}
	for _, s := range a.Skipped[:min(len(a.Skipped), 50)] {
		lines = append(lines, s.File+" is skipped: "+s.Why)
	}
	return lines, warnings
}

// means describes a sign, and says whether it is less than the mode in force. One whose mode is not
// known, and one that undoes what a launch gives, is less where the mode asks for TLS.
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
	how := map[sslmode.Mode]string{sslmode.None: "how is not known", sslmode.Disable: "plain text", sslmode.Require: "nothing is verified",
		sslmode.Allow: "allow, plain text where TLS fails", sslmode.Prefer: "prefer, plain text where TLS fails"}
	says, name := "sets ssl itself", a.toldByName(s)
	if s.Variable != "" {
		says += " by " + s.Variable
	}
	if name != "" && asks && !a.Tunnel {
		return says + "; a launch sets the variable of " + name, false
	}
	says += ": " + cmp.Or(how[s.Mode], s.Mode.String())
	cannotBeTold := func(f Found) bool { return !f.Driver.Answer.CanBeTold() }
	switch {
	case a.Tunnel && (len(a.Found) == 0 || slices.ContainsFunc(a.Found, cannotBeTold)):
		return says + "; " + throughTunnel, false
	case a.Tunnel:
		return says + "; " + throughTunnel + "; without this line, it needs no tunnel", false
	case !s.Mode.Verifies():
		says += "; our variables lose there"
	}
	return says, asks && s.Mode < a.inForce()
}
