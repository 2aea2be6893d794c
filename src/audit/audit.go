// Package audit says of many apps at once whose Postgres gets less than it asks for. It is a pure
// function from the platform's answers to rows, and decides as a launch does, so the two always agree.
package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// State is what we know of a database, worst first.
type State int

const (
	Stops      State = iota // a launch with this buildpack would be refused
	Ignored                 // a mode is asked for, and the app is given a weaker one or none
	Driver                  // a connection string asks for a mode, and only some drivers read it
	None                    // no mode that encrypts is asked for or given
	InForce                 // the app is given the mode asked for; what its code does, nobody sees
	Unreadable              // nothing is known
)

var states = [...]string{"stops", "ignored", "driver", "none", "in-force", "unreadable"}

// MarshalText returns the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(states[s]), nil }

// Row is one bound database of an app, or an answer that could not be read.
type Row struct {
	State        State  `json:"state"`
	Organization string `json:"organization"`
	Space        string `json:"space"`
	App          string `json:"app"`
	GUID         string `json:"guid"`
	From         string `json:"from"`
	Database     string `json:"database"`
	Asked        string `json:"asked"`     // a mode, "none" or "unknown"
	InForce      string `json:"in_force"`  // what the app is given: a mode, "none" or "unknown"
	Buildpack    string `json:"buildpack"` // does the app have this one? "yes", "no" or "unknown"
	Lifecycle    string `json:"lifecycle"` // "buildpack", "docker", "cnb" or "unknown"
	WouldGet     string `json:"would_get"` // with it: a mode, "none", "unknown" or "stops"
	Why          string `json:"why"`

	inForce sslmode.Mode
}

// Report is what the answers say about all apps.
type Report struct {
	Rows     []Row           // worst first
	Apps     int             // the apps that were read
	Postgres int             // those with a Postgres; each counts for its worst database
	Count    [Unreadable]int // the apps with a Postgres, by state
	Unread   int             // the rows that say why something could not be read
	NoList   int             // the apps with a Postgres whose buildpacks no answer names
}

var (
	guid = lazyregexp.New(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`) // the name of an answer's file may have it
	this = lazyregexp.New(`(?i)postgres[-_]ssl`)                       // as an admin named it, or in a URL
)

const unknown, byUs = "unknown", "this buildpack"

// Fleet is what the answers so far say. If two are about the same app, the later one counts.
type Fleet struct {
	store truststore.Store
	apps  map[string]*app // by GUID
}

// app is what the answers say about an app: the list of apps its buildpacks, another its databases.
type app struct {
	Row
	isRead    bool // there is an answer about its environment
	databases []database
	unread    []database // the answers that could not be read
}

// New returns a fleet without apps. The store is this buildpack's.
func New(store truststore.Store) *Fleet { return &Fleet{store, map[string]*app{}} }

func (f *Fleet) app(guid string) *app {
	guid = cut(guid, 255)
	key := cmp.Or(guid, " "+strconv.Itoa(len(f.apps))) // one without is an app of its own
	if f.apps[key] == nil {
		f.apps[key] = &app{Row: Row{GUID: guid, Buildpack: unknown, Lifecycle: unknown}}
	}
	return f.apps[key]
}

// Add adds an answer. It keeps only what the rows need.
func (f *Fleet) Add(answer cf.Answer) {
	from := cut(answer.From, 300)
	if answer.Err != nil {
		a := f.app(guid().FindString(answer.From))
		a.unread = append(a.unread, database{answer: from, unread: cut(answer.Err.Error(), 300)})
	}
	for _, said := range answer.Apps {
		a := f.app(said.GUID)
		if cycle := said.Lifecycle; cycle.Type != "" {
			a.App, a.Buildpack, a.Lifecycle = cmp.Or(a.App, cut(said.Name, 255)), "no", cut(cycle.Type, 20)
			if cycle.Type == "buildpack" && slices.ContainsFunc(cycle.Data.Buildpacks, this().MatchString) {
				a.Buildpack = "yes"
			}
			continue
		}
		a.isRead, a.From, a.App = true, from, cmp.Or(cut(said.Name, 255), a.App)
		a.Organization, a.Space = cut(said.Organization, 255), cut(said.Space, 255)
		a.databases = decide(said, f.store)
	}
}

// Report makes the rows.
func (f *Fleet) Report() Report {
	var r Report
	for _, a := range f.apps {
		databases, worst := slices.Concat(a.databases, a.unread), Unreadable
		if a.isRead {
			r.Apps++
		} else if len(a.unread) == 0 {
			databases = []database{{unread: "it is in the list of apps, but there is no answer about its environment"}}
		}
		for _, db := range databases {
			row := db.row(a.Row)
			r.Rows = append(r.Rows, row)
			worst = min(worst, row.State)
			if row.State == Unreadable {
				r.Unread++
			}
		}
		if worst < Unreadable {
			r.Postgres++
			r.Count[worst]++
			if a.Buildpack == unknown {
				r.NoList++
			}
		}
	}
	texts := func(r Row) []string {
		return []string{r.Organization, r.Space, r.App, r.Database, r.GUID, r.From, r.Why}
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.inForce, b.inForce), slices.Compare(texts(a), texts(b)))
	})
	return r
}

// database is what an app's environment says about a bound database.
type database struct {
	name     string
	asked    sslmode.Mode
	from     launch.Source // where asked comes from, or else gets
	strings  sslmode.Mode  // the weakest mode that a connection string asks for
	inString bool          // one asks for at least asked

	libpq, stratos launch.Owner   // what the owner set
	own            []launch.Owner // what only one app each reads
	connect        launch.Owner   // what connects with a string of the owner's gets no more than this

	gets    sslmode.Mode // the mode with this buildpack
	by      string       // how it gives that
	tunnel  bool         // through the tunnel, where no variable counts
	openCA  bool         // its CA is a file in the container, so gets may be stricter
	refused string       // why a launch with this buildpack would stop
	unread  string       // why nothing is known
	answer  string       // the answer that could not be read
}

// decide reads an app's environment and decides as its launch would.
func decide(said cf.App, store truststore.Store) (databases []database) {
	if said.Hidden != nil {
		return []database{{unread: said.Hidden.Error()}}
	}
	app := database{own: client.OwnModes(said.Env)}
	app.libpq, app.stratos = launch.Owners(said.Env)
	var plan *launch.Plan
	found, err := binding.ReadElsewhere(said.Env)
	if err == nil {
		plan, err = launch.Elsewhere(said.Env, found, store)
	}
	if err == nil {
		err = plan.Refuses(app.libpq)
	}
	for _, reference := range found.Unresolved {
		d := database{name: cut(reference.Service, 255), unread: launch.InCredHub}
		if !reference.Postgres {
			d.unread += "; it may be a Postgres database or not"
		}
		databases = append(databases, d)
	}
	if err != nil { // one row for the app, whatever it has bound
		var names []string
		for _, b := range found.Databases {
			names = append(names, b.Name)
			app.asked = max(app.asked, b.Writes())
			app.hear(b.Asked)
		}
		app.name, app.refused = cut(strings.Join(slices.Compact(names), ", "), 255), cut(err.Error(), 300) // they are sorted
		return append(databases, app)
	}
	for _, db := range plan.Databases {
		if !db.Main {
			continue // other connection strings of a service decide nothing
		}
		d := app
		d.name, d.from, d.connect, d.openCA = cut(db.Title(), 255), db.Source, db.Connect, db.Trust.Unseen
		d.gets, d.by = plan.Mode, byUs
		if db.Writes() != sslmode.None || db.System.Known() || said.Env["POSTGRES_SSL_MODE"] != "" {
			d.asked = db.Mode
		}
		if db.Tunnel {
			d.gets, d.by, d.tunnel = db.Mode, byUs+", through its tunnel", true
		} else if plan.Mode < db.Mode {
			d.by = byUs + ", but " + cut(plan.Decider.Title(), 100) + " decides"
		}
		d.hear(db.Asked)
		databases = append(databases, d)
	}
	return databases
}

// hear notes what connection strings ask for. A driver that gets such a string reads it itself.
func (d *database) hear(asked []binding.Asked) {
	for _, a := range asked {
		if a.By.IsString() {
			d.inString = d.inString || a.Mode >= d.asked
			d.strings = min(cmp.Or(d.strings, a.Mode), a.Mode)
		}
	}
}

// inForce returns the weakest mode that reaches the app, since we don't know what its driver reads, and
// what sets it. This buildpack sets PGSSLMODE and DB_SSL_MODE where the owner did not. The mode of a
// connection string wins over a variable's; this buildpack refuses a binding's that is weaker.
func (d database) inForce(ours bool) (weakest sslmode.Mode, by string) {
	hear := func(mode sslmode.Mode, from string) {
		if mode != sslmode.None && (weakest == sslmode.None || mode < weakest) {
			weakest, by = mode, from
		}
	}
	if isSet := min(d.libpq.Mode, d.stratos.Mode) != sslmode.None; ours && (d.tunnel || !isSet) {
		hear(d.gets, d.by)
	}
	for _, own := range append([]launch.Owner{d.libpq, d.stratos}, d.own...) {
		if !ours || !d.tunnel {
			hear(own.Mode, own.Variable+"="+own.Value+", set by the owner")
		}
	}
	if weakest == sslmode.None {
		return sslmode.None, ""
	}
	if !ours {
		hear(d.strings, d.strings.String()+" in a connection string, which counts more than a variable")
	}
	hear(d.connect.Mode, "a connection string with "+d.connect.Value+" in "+cut(d.connect.Variable, 100)+", set by the owner")
	return weakest, by
}

// row returns the row of a database. r says which app it is, and which buildpacks that has.
func (d database) row(r Row) Row {
	r.Database, r.From, r.Asked, r.InForce, r.WouldGet = d.name, cmp.Or(d.answer, r.From), unknown, unknown, unknown
	if d.unread != "" {
		r.State, r.Why = Unreadable, "could not be read: "+d.unread
		return r
	}
	ours, noBuildpack := r.Buildpack == "yes", r.Lifecycle == "docker" || r.Lifecycle == "cnb"
	if noBuildpack {
		d.gets, d.openCA = sslmode.None, false
	}
	if d.asked != sslmode.None || d.refused == "" {
		r.Asked = word(d.asked)
	}
	if d.asked != sslmode.None || !d.openCA {
		r.WouldGet = word(d.gets)
	}
	is, by := d.inForce(ours)
	isKnown := d.libpq.Wrong == nil && !(ours && d.refused != "")
	switch {
	case d.refused != "" && noBuildpack:
		r.State, r.Why = Ignored, d.refused
	case d.refused != "":
		r.State, r.WouldGet, r.Why = Stops, "stops", "would stop: "+d.refused
	case d.libpq.Wrong != nil: // and no bound database asks for TLS
		r.State, r.Why = None, cut(d.libpq.Wrong.Error(), 300)
	case is == sslmode.None && d.asked.Encrypts() && !ours && d.inString:
		r.State, r.Why = Driver, "a driver that is given the connection string obeys it, others do not"
		isKnown = false
	default:
		r.State, r.Why = d.judge(r, is, by)
	}
	if r.inForce = is; isKnown {
		r.InForce = word(is)
	}
	if d.stratos.Wrong != nil && d.refused == "" {
		r.Why += "; Stratos would not start: " + cut(d.stratos.Wrong.Error(), 200)
	}
	return r
}

// judge compares what is in force, and by what, to what is asked for.
func (d database) judge(r Row, is sslmode.Mode, by string) (State, string) {
	state := Ignored
	if !d.asked.Encrypts() {
		state = None
	}
	switch {
	case is.Encrypts() && is >= d.asked:
		return InForce, by
	case by != "" && by != d.by && state == Ignored:
		return Ignored, by + ", is weaker"
	case by != "" && by != d.by:
		return state, by
	case r.Buildpack == "yes" && d.by != byUs:
		return state, d.by
	case state == None && d.asked != sslmode.None:
		return None, d.asked.String() + " does not insist on TLS"
	case by != "":
		return state, by
	case r.Lifecycle == "docker", r.Lifecycle == "cnb":
		return state, "a " + r.Lifecycle + " app: no buildpack of this kind runs for it"
	case state == Ignored && d.from.IsOwners():
		return Ignored, "only this buildpack reads POSTGRES_SSL_MODE"
	case state == Ignored:
		return Ignored, "no variable carries the " + cut(d.from.String(), 200)
	case r.WouldGet == unknown:
		return None, "its CA is a file in the container"
	case d.gets != sslmode.None:
		return None, "with this buildpack, it would be given " + d.gets.String()
	case d.by != byUs:
		return None, "with " + d.by
	}
	return None, "the binding names no mode; add sslmode"
}

func word(mode sslmode.Mode) string { return cmp.Or(mode.String(), "none") }

// cut makes one short printable line of a text that anybody may have written. It makes a copy, so
// that the rest need not stay in memory.
func cut(text string, letters int) string {
	text = plain.Line(text)
	short := fmt.Sprintf("%.*s", letters, text)
	if len(short) < len(text) {
		short += "…"
	}
	return short
}
