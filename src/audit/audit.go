// Package audit says of many apps at once whose Postgres gets less than it asks for: a pure function
// from the platform's answers to rows. It reads bindings and decides as a launch does, so that it
// never says otherwise.
//
// answer.go reads an answer, judge.go makes rows of it.
package audit

import (
	"cmp"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Answer is an answer of the platform: to /v3/apps/GUID/env, and to /v3/apps/GUID or /v3/apps, which
// say what buildpacks an app has.
type Answer struct {
	From     string // for people: "standard input, line 3"
	Document []byte // until the next answer
	Err      error  // why there is no document
}

// State is what is known of a database, worst first.
type State int

// The states.
const (
	Ignored    State = iota // a mode is asked for, and not in force
	Driver                  // a mode is asked for in a connection string, which some drivers read
	None                    // no mode that encrypts is asked for or in force
	Stops                   // a launch with this buildpack would be refused
	InForce                 // what is asked for is in force
	Unreadable              // nothing is known
)

// States are the names of the states in JSON.
var States = [...]string{"ignored", "driver", "none", "stops", "in-force", "unreadable"}

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(States[s]), nil }

// Row is one bound database of one app, or an answer that could not be read.
type Row struct {
	State        State  `json:"state"`
	Organization string `json:"organization"`
	Space        string `json:"space"`
	App          string `json:"app"`
	GUID         string `json:"guid"`
	From         string `json:"from"`
	Database     string `json:"database"`
	Asked        string `json:"asked"`     // a mode, "none" or "unknown"
	InForce      string `json:"in_force"`  // a mode, "none" or "unknown"
	Buildpack    string `json:"buildpack"` // whether the app has this one: "yes", "no" or "unknown"
	WouldGet     string `json:"would_get"` // with this buildpack: a mode, "none", "unknown" or "stops"
	Why          string `json:"why"`

	inForce sslmode.Mode
}

// Report is what a fleet's answers say.
type Report struct {
	Rows     []Row           // worst first
	Apps     int             // that were read
	Postgres int             // of those, that bind one; each counts once, for the worst of its databases
	Count    [Unreadable]int // of those, by state
	Unread   int             // rows that say why something could not be read
	NoList   int             // apps with Postgres whose buildpacks no answer names
}

// Audit reads the answers, one after the other, and keeps of each what a row needs. Of two answers
// about one app the later one counts.
func Audit(answers iter.Seq[Answer], store truststore.Store) Report {
	f := fleet{store: store, known: map[string]int{}, listed: map[string]listed{}}
	for a := range answers {
		if err := f.read(a); err != nil {
			row := Row{GUID: guid.FindString(a.From), From: cut(a.From, 300)}
			f.unread = append(f.unread, unreadable(row, cut(err.Error(), 300)))
		}
	}
	return f.report()
}

// guid is how the platform names an app, and how a caller may name the file with its answer.
var guid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// fleet is what was read so far.
type fleet struct {
	store  truststore.Store
	apps   []app
	known  map[string]int    // the index of an app by its GUID
	listed map[string]listed // apps by their GUID, of answers that name buildpacks
	unread []Row
}

// listed is what an app's own answer says.
type listed struct {
	name string
	ours bool // this buildpack is among its buildpacks
	read bool // there is an answer about its environment
}

func (f *fleet) report() Report {
	r := Report{Apps: len(f.apps)}
	for _, a := range f.apps {
		ours := unknown
		if l, ok := f.listed[a.GUID]; ok {
			ours = no
			if l.ours {
				ours = yes
			}
			l.read = true
			f.listed[a.GUID] = l
		}
		worst := Unreadable
		for _, db := range a.databases {
			row := db.row(a.Row, ours)
			r.Rows = append(r.Rows, row)
			worst = min(worst, row.State)
		}
		if worst < Unreadable {
			r.Postgres++
			r.Count[worst]++
			if ours == unknown {
				r.NoList++
			}
		}
	}
	for _, row := range f.unread {
		if l, ok := f.listed[row.GUID]; ok {
			row.App, l.read = l.name, true
			f.listed[row.GUID] = l
		}
		r.Rows = append(r.Rows, row)
	}
	for id, l := range f.listed {
		if !l.read {
			r.Rows = append(r.Rows, unreadable(Row{App: l.name, GUID: id}, "it is in the list of apps, and the answer about its environment is missing"))
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

// unreadable is a row of which nothing is known but why.
func unreadable(r Row, why string) Row {
	r.State, r.Asked, r.InForce, r.WouldGet, r.Why = Unreadable, "unknown", "unknown", "unknown", "could not be read: "+why
	r.Buildpack = cmp.Or(r.Buildpack, string(unknown))
	return r
}

// cut bounds a text that may be anybody's. It copies: the rest of the text is not kept in memory.
func cut(text string, letters int) string {
	for i := range text {
		if letters == 0 {
			return text[:i] + "…"
		}
		letters--
	}
	return strings.Clone(text)
}
