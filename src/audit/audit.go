// Package audit looks at many apps at once and says whose Postgres gets less than it asks for. It
// is a pure function from the platform's answers, which cf reads, to rows. It reads bindings and
// decides as a launch does, so the two always agree. judge.go makes the rows of one app.
package audit

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// State is what we know of a database, worst first.
type State int

const (
	Ignored    State = iota // a mode is asked for, and the app is given a weaker one or none
	Driver                  // a connection string asks for a mode, and only some drivers read it
	None                    // no mode that encrypts is asked for or given
	Stops                   // a launch with this buildpack would be refused
	InForce                 // the app is given the mode asked for; what its code does, nobody sees
	Unreadable              // nothing is known
)

// States are the names of the states in JSON.
var States = [...]string{"ignored", "driver", "none", "stops", "in-force", "unreadable"}

// MarshalText returns the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(States[s]), nil }

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

// guid matches the platform's id of an app. A caller may name an answer's file after it.
var guid = lazyregexp.New(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// this matches the buildpack's name: that of an admin buildpack, or the end of a URL.
var this = lazyregexp.New(`(?i)postgres[-_]ssl`)

const (
	yes     = "yes"
	no      = "no"
	unknown = "unknown"
)

// Fleet is what the answers so far say. If two are about the same app, the later one counts.
type Fleet struct {
	store  truststore.Store
	apps   []app
	known  map[string]int     // index in apps, by GUID
	listed map[string]*listed // by GUID, from answers that name buildpacks
	unread []Row
}

// New returns a fleet without apps. The store is this buildpack's.
func New(store truststore.Store) *Fleet {
	return &Fleet{store: store, known: map[string]int{}, listed: map[string]*listed{}}
}

// Add adds an answer. It keeps only what the rows need.
func (f *Fleet) Add(a cf.Answer) {
	if a.Err != nil {
		row := Row{GUID: guid().FindString(a.From), From: cut(a.From, 300)}
		f.unread = append(f.unread, unreadable(row, cut(a.Err.Error(), 300)))
	}
	for _, app := range a.Apps {
		f.add(a.From, app)
	}
}

// listed is an app in such an answer.
type listed struct {
	Row
	read bool // there is an answer about its environment
}

// app is what an answer says about an app and its databases.
type app struct {
	Row
	databases []database
}

// add reads what an answer says about an app.
func (f *Fleet) add(from string, said cf.App) {
	next := app{Row: Row{GUID: cut(said.GUID, 255), From: cut(from, 300),
		Organization: cut(said.Organization, 255), Space: cut(said.Space, 255), App: cut(said.Name, 255)}}
	switch {
	case said.Lifecycle != "":
		next.Buildpack, next.Lifecycle, next.From = no, cut(said.Lifecycle, 20), ""
		if said.Lifecycle == "buildpack" && slices.ContainsFunc(said.Buildpacks, this().MatchString) {
			next.Buildpack = yes
		}
		f.listed[next.GUID] = &listed{Row: next.Row}
		return
	case said.Hidden != nil:
		next.databases = []database{{unread: said.Hidden.Error()}}
	default:
		next.databases = decide(said.Env, f.store)
	}
	i, again := f.known[next.GUID]
	if !again {
		i, f.apps = len(f.apps), append(f.apps, app{})
	}
	if f.apps[i] = next; next.GUID != "" {
		f.known[next.GUID] = i
	}
}

// list adds what the list of apps says about a row's app.
func (f *Fleet) list(r Row) Row {
	l := f.listed[r.GUID]
	if l == nil {
		r.Buildpack, r.Lifecycle = unknown, unknown
		return r
	}
	l.read = true
	r.App, r.Buildpack, r.Lifecycle = cmp.Or(r.App, l.App), l.Buildpack, l.Lifecycle
	return r
}

// Report makes the rows.
func (f *Fleet) Report() Report {
	r := Report{Apps: len(f.apps)}
	for _, a := range f.apps {
		a.Row = f.list(a.Row)
		worst := Unreadable
		for _, db := range a.databases {
			row := db.row(a.Row)
			r.Rows = append(r.Rows, row)
			worst = min(worst, row.State)
		}
		if worst < Unreadable {
			r.Postgres++
			r.Count[worst]++
			if a.Buildpack == unknown {
				r.NoList++
			}
		}
	}
	for _, row := range f.unread {
		r.Rows = append(r.Rows, f.list(row))
	}
	for _, l := range f.listed {
		if !l.read {
			r.Rows = append(r.Rows, unreadable(l.Row, "it is in the list of apps, but there is no answer about its environment"))
		}
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.inForce, b.inForce),
			strings.Compare(a.Organization, b.Organization), strings.Compare(a.Space, b.Space), strings.Compare(a.App, b.App),
			strings.Compare(a.Database, b.Database), strings.Compare(a.GUID, b.GUID), strings.Compare(a.From, b.From))
	})
	for _, row := range r.Rows {
		if row.State == Unreadable {
			r.Unread++
		}
	}
	return r
}

// unreadable returns a row that only says why nothing is known.
func unreadable(r Row, why string) Row {
	r.State, r.Asked, r.InForce, r.WouldGet, r.Why = Unreadable, unknown, unknown, unknown, "could not be read: "+why
	return r
}

// cut makes one short printable line of a text that anybody may have written. It makes a copy, so
// that the rest need not stay in memory.
func cut(text string, letters int) string {
	text = plain.Line(text)
	for i := range text {
		if letters == 0 {
			return text[:i] + "…"
		}
		letters--
	}
	return strings.Clone(text)
}
