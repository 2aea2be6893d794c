package drivers

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// App is what we know about the app that a driver is in.
type App struct {
	// Bound says whether a database is bound. If not, the strictest mode counts: staging does not
	// run again when one is bound.
	Bound bool
	Mode  sslmode.Mode      // the mode that the bindings ask for
	URI   sslmode.Mode      // the mode in the bound connection URI, or None
	Env   map[string]string // the app's environment, with what its owner set

	Tunnel bool        // all its databases are reached through the tunnel
	Signs  []seen.Sign // what its own files say about TLS

	named map[string]string // the apps that a launch tells by their own variables, and the file that shows each
}

// In returns what Judge needs to know about an app under a plan.
func (l Look) In(env map[string]string, plan *launch.Plan) App {
	app := App{Bound: len(plan.Databases) > 0, Mode: plan.Mode, Env: env, Signs: l.Signs}
	if root, err := os.OpenRoot(l.dir); err == nil {
		app.named = client.Named(root.FS(), env)
		root.Close()
	}
	_, app.Tunnel = plan.Tunnelled()
	if plan.Decider == nil {
		return app
	}
	for _, asked := range plan.Decider.Asked {
		// We don't know which string the app uses, so the weakest counts.
		if asked.By.IsString() && (app.URI == sslmode.None || asked.Mode < app.URI) {
			app.URI = asked.Mode
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

// inForce is the mode that the app is given: the owner's, else the bindings'. Of a wrong one, nobody
// knows what a driver makes, so the verdict is about the bindings' mode.
func (a App) inForce() sslmode.Mode {
	ours := a.Mode
	if !a.Bound && ours == sslmode.None {
		ours = sslmode.VerifyFull
	}
	own, _ := launch.Owners(a.Env)
	return cmp.Or(own.InForce(ours), ours)
}

// Judge says what a driver does in this app.
func Judge(f Found, app App) Verdict {
	v := judge(f, app)
	if f.Driver.isNewer(f.Version) && !app.Tunnel {
		v.Says += "; measured with " + f.Driver.Version
	}
	if f.Use == Transitive {
		v.Says += "; another package brings it"
		v.Warning = ""
	}
	return v
}

func judge(f Found, app App) Verdict {
	d, mode := f.Driver, app.inForce()
	if app.Tunnel {
		return Verdict{Says: throughTunnel}
	}
	warn := func(says, format string, args ...any) Verdict {
		return Verdict{says, f.Title() + " " + fmt.Sprintf(format, args...)}
	}

	own, _ := launch.Owners(app.Env)
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
	for _, s := range app.Signs {
		if name := app.toldByName(s); name != "" && concerns(s, d) && mode.Encrypts() {
			return Verdict{Says: "obeys " + name + "'s own variable"}
		}
	}
	if s := app.signOf(d); s != nil && (s.Mode < mode || !d.Answer.CanBeTold()) {
		return Verdict{Says: "sets TLS itself (" + s.Where() + ")"} // the sign has a warning of its own
	}

	// Node's own switch turns verification off for everything that uses its TLS.
	isNodes := d.Ecosystem == npm && d.Answer != Misreads
	if isNodes && mode.Verifies() && app.Env["NODE_TLS_REJECT_UNAUTHORIZED"] == "0" {
		return warn("verifies nothing", "verifies nothing: NODE_TLS_REJECT_UNAUTHORIZED=0 is set. Unset it")
	}

	// A mode in the URI that the app connects with beats every variable.
	if app.URI != sslmode.None {
		isBelieved := d.URI == Believed || d.URI == Verified && app.URI < sslmode.Prefer
		switch {
		case isBelieved && app.URI < mode:
			return warn("obeys, unless it uses the bound URI",
				"obeys the bound URI if it uses that, and its sslmode=%s is weaker than %s", app.URI, mode)
		case d.Answer.CanBeTold(), app.URI < mode && d.URI != OnlyRequire && d.URI != Verified:
		case d.URI == Believed, d.URI == Verified, d.URI == OnlyRequire && app.URI == sslmode.Require:
			return Verdict{Says: "obeys, if it uses the bound URI"}
		case d.URI == OnlyRequire && app.URI.Verifies():
			return warn("cannot be told", "reads no variable: it %s, and does not take the bound URI's sslmode=%s. %s",
				d.Does, app.URI, mend(d, mode))
		}
	}

	switch d.Answer {
	case Obeys:
		return obeys(f, app, "obeys")
	case ObeysItsURL:
		return obeys(f, app, d.Answer.String())
	case ChecksName:
		if mode == sslmode.VerifyCA {
			return obeys(f, app, "obeys, and checks the name too")
		}
		return obeys(f, app, "obeys")
	case Verifies:
		switch mode {
		case sslmode.Prefer, sslmode.Require:
			return obeys(f, app, "obeys, and verifies too")
		case sslmode.VerifyCA:
			return obeys(f, app, "obeys, and checks the name too")
		}
		return obeys(f, app, "obeys")
	case Misreads:
		if mode == sslmode.None {
			return Verdict{Says: "obeys"}
		}
		return warn("does not connect", "does not connect: it %s. %s", d.Does, mend(d, mode))
	}

	says := "cannot be told"
	if d.does(mode) {
		return Verdict{Says: says}
	}
	return warn(says, "reads no variable: it %s. %s", d.Does, mend(d, mode))
}

// language is what the apps that use an ecosystem's drivers are written in.
var language = map[Ecosystem]seen.Language{npm: seen.Node, deno: seen.Node, prisma: seen.Node, pypi: seen.Python, rubygems: seen.Ruby,
	golang: seen.Go, hex: seen.BEAM, nuget: seen.DotNet, maven: seen.Java, composer: seen.PHP}

// concerns says whether a sign decides for a driver.
func concerns(s seen.Sign, d *Driver) bool {
	return s.Kind == seen.Decides && (s.Language == "" || s.Language == language[d.Ecosystem])
}

// toldByName returns the app that a sign belongs to, if a launch tells that app by its own variable:
// the sign is in the file that shows it, or beside it.
func (a App) toldByName(s seen.Sign) string {
	for _, name := range slices.Sorted(maps.Keys(a.named)) {
		file := a.named[name]
		if dir := path.Dir(file); s.File == file || dir != "." && path.Dir(s.File) == dir {
			return name
		}
	}
	return ""
}

// signOf returns the sign that decides for a driver: the one that allows least. It returns nil if the
// app's files say nothing.
func (a App) signOf(d *Driver) (weakest *seen.Sign) {
	for i, s := range a.Signs {
		if concerns(s, d) && (weakest == nil || s.Mode < weakest.Mode) {
			weakest = &a.Signs[i]
		}
	}
	return weakest
}

// obeys is the verdict on a driver that obeys its variable, which the owner may have set. A weak
// PGSSLMODE is the mode in force. launch warns of it, once for all drivers.
func obeys(f Found, app App, says string) Verdict {
	mode, err := sslmode.Parse(app.Env[f.Driver.Variable])
	if err != nil || mode >= app.inForce() {
		return Verdict{Says: says}
	}
	said := fmt.Sprintf("obeys %s=%s, which the app's owner set", f.Driver.Variable, mode)
	return Verdict{said, fmt.Sprintf("%s %s: it is weaker than %s", f.Title(), said, app.inForce())}
}

// does says whether a driver that cannot be told happens to do all that the mode asks.
func (d *Driver) does(mode sslmode.Mode) bool {
	switch {
	case !mode.Encrypts():
		return true
	case mode == sslmode.Require && d.Outcomes != "":
		return d.Outcomes[goodRequire] == 'T' && d.Outcomes[noTLS] != 'P'
	}
	return false
}

// mend says what to change in the app. Some drivers need a weaker mode in their URI than the one in
// force. In the binding's URI, it would contradict or replace the binding's mode. So mend also says
// how to keep that in force.
func mend(d *Driver, mode sslmode.Mode) string {
	text := strings.ReplaceAll(d.Mend, "MODE", mode.String())
	if word, err := sslmode.Parse(d.MendMode); err == nil && word < mode {
		text += fmt.Sprintf(": it then verifies. Where that is the binding's URI, keep sslmode=%[1]s beside it, "+
			"and set POSTGRES_SSL_MODE=%[1]s, which settles the contradiction", mode)
	}
	return text
}
