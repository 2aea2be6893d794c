// Package audit looks at many apps at once and says whose Postgres gets less than it asks for. It
// is a pure function from the platform's answers, which cf reads, to rows. It reads bindings and
// decides as a launch does, so the two always agree. judge.go makes the rows of one app.
package audit

import (
	"cmp"
	"slices"
	"strconv"
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
	Stops      State = iota // a launch with this buildpack would be refused
	Ignored                 // a mode is asked for, and the app is given a weaker one or none
	Driver                  // a connection string asks for a mode, and only some drivers read it
	None                    // no mode that encrypts is asked for or given
	InForce                 // the app is given the mode asked for; what its code does, nobody sees
	Unreadable              // nothing is known
)

// States are the names of the states in JSON.
var States = [...]string{"stops", "ignored", "driver", "none", "in-force", "unreadable"}

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
}

// guid matches the platform's id of an app. A caller may name an answer's file after it.
var guid = lazyregexp.New(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// this matches the buildpack's name: that of an admin buildpack, or the end of a URL.
var this = lazyregexp.New(`(?i)postgres[-_]ssl`)

const unknown = "unknown"

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
		if a.isRead {
			r.Apps++
		} else if len(a.unread) == 0 {
			a.unread = []database{{unread: "it is in the list of apps, but there is no answer about its environment"}}
		}
		worst := Unreadable
		for _, db := range slices.Concat(a.databases, a.unread) {
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
