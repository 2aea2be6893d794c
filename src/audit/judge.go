package audit

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// database is what an app's environment says about a bound database, whatever buildpacks the app
// has.
type database struct {
	name  string
	asked sslmode.Mode
	from  launch.Source // where asked comes from, or else gets

	inString binding.Place // a connection string that asks for at least asked
	strings  sslmode.Mode  // the weakest mode that a connection string asks for

	owner   owner
	connect launch.Owner // what connects with a string of the owner's gets no more than this

	gets       sslmode.Mode // the mode with this buildpack
	tunnel     bool         // through the tunnel, where no variable counts
	downgraded string       // why that is less than asked
	openCA     bool         // its CA is a file in the container, so gets may be stricter
	refused    string       // why a launch with this buildpack would stop
	unread     string       // why nothing is known
}

// decide reads an app's environment and decides as its launch would.
func decide(env map[string]string, store truststore.Store) []database {
	owner := ownerOf(env)
	found, err := binding.ReadElsewhere(env)
	if err != nil {
		return []database{{owner: owner, refused: cut(err.Error(), 300)}}
	}
	var databases []database
	for _, reference := range found.Unresolved {
		d := database{name: cut(reference.Service, 255), unread: launch.InCredHub}
		if !reference.Postgres {
			d.unread += "; it may be a Postgres database or not"
		}
		databases = append(databases, d)
	}
	plan, err := launch.Elsewhere(env, found, store)
	if err == nil {
		err = plan.Refuses(owner.libpq)
	}
	if err != nil {
		return append(databases, refused(err, found.Databases, owner))
	}
	for _, db := range plan.Databases {
		if !db.Main {
			continue // other connection strings of a service decide nothing
		}
		d := database{name: cut(db.Title(), 255), owner: owner, from: db.Source, connect: db.Connect, gets: plan.Mode, openCA: db.Trust.Unseen}
		if db.Writes() != sslmode.None || db.System.Known() || env["POSTGRES_SSL_MODE"] != "" {
			d.asked = db.Mode
		}
		if db.Tunnel {
			d.gets, d.tunnel = db.Mode, true
		} else if plan.Mode < db.Mode {
			d.downgraded = cut(plan.Decider.Title(), 100) + " decides"
		}
		d.hear(db.Asked)
		databases = append(databases, d)
	}
	return databases
}

// hear notes what connection strings ask for. A driver that gets such a string reads it itself.
func (d *database) hear(asked []binding.Asked) {
	for _, a := range asked {
		if !a.By.IsString() {
			continue
		}
		if a.Mode >= d.asked {
			d.inString = cmp.Or(d.inString, a.Place)
		}
		if d.strings == sslmode.None || a.Mode < d.strings {
			d.strings = a.Mode
		}
	}
}

// refused returns the one row of an app that would stop, whatever it has bound.
func refused(err error, bound []binding.Binding, owner owner) database {
	d := database{owner: owner, refused: err.Error()}
	var names []string
	for _, b := range bound {
		if len(names) == 0 || names[len(names)-1] != b.Name { // they are sorted
			names = append(names, b.Name)
		}
		d.asked = max(d.asked, b.Writes())
		d.hear(b.Asked)
	}
	d.name, d.refused = cut(strings.Join(names, ", "), 255), cut(d.refused, 300)
	return d
}

// owner is what the owner's variables say to drivers that read them.
type owner struct {
	libpq, stratos launch.Owner
	own            launch.Owner // the weakest that only one app reads
	notStratos     string       // why the app is not Stratos, if so; stratos is then empty
}

// ownerOf reads the owner's variables. We cannot see which app it is. With a wrong DB_SSL_MODE it
// is not Stratos, which would not run.
func ownerOf(env map[string]string) (o owner) {
	o.libpq, o.stratos = launch.Owners(env)
	if wrong := o.stratos.Wrong; wrong != nil {
		o.stratos, o.notStratos = launch.Owner{}, wrong.Error()
	}
	if own := client.OwnModes(env); len(own) > 0 {
		o.own = slices.MinFunc(own, compareModes)
	}
	return o
}

func compareModes(a, b launch.Owner) int { return cmp.Compare(a.Mode, b.Mode) }

// weakest returns the mode that the app is given. If it comes from the owner's variables, set names
// them. This buildpack puts gets in PGSSLMODE and DB_SSL_MODE, where the owner did not set them. We
// don't know which variable a driver reads, so the weakest one counts.
func (o owner) weakest(gets sslmode.Mode) (mode sslmode.Mode, set, but string) {
	told := []launch.Owner{{Mode: gets}, o.libpq, o.stratos, o.own}
	if o.libpq.Value != "" && o.stratos.Value != "" {
		told = told[1:]
	}
	told = slices.DeleteFunc(told, func(t launch.Owner) bool { return t.Mode == sslmode.None })
	if len(told) == 0 {
		return sslmode.None, "", ""
	}
	weakest := slices.MinFunc(told, compareModes)
	switch {
	case weakest.Value == "":
		return gets, "", ""
	case weakest == o.libpq && o.libpq.Mode == o.stratos.Mode:
		return weakest.Mode, "DB_SSL_MODE and PGSSLMODE, set by the owner", ""
	case len(told) > 1:
	case weakest == o.libpq:
		but = "; Stratos does not read it"
	case weakest == o.stratos:
		but = "; Stratos alone reads it"
	default:
		but = "; only the app that it is for reads it"
	}
	return weakest.Mode, weakest.Variable + "=" + weakest.Value + ", set by the owner", but
}

// row returns the row of a database. r says which app it is, and which buildpacks that has.
func (d database) row(r Row) Row {
	r.Database = d.name
	if d.unread != "" {
		return unreadable(r, d.unread)
	}
	ours, noBuildpack := r.Buildpack == yes, r.Lifecycle == "docker" || r.Lifecycle == "cnb"
	if noBuildpack {
		d.gets, d.downgraded, d.openCA = sslmode.None, "", false
	}
	r.Asked, r.InForce, r.WouldGet = word(d.asked), "unknown", word(d.gets)
	if d.openCA && d.asked == sslmode.None {
		r.WouldGet = "unknown"
	}
	var set, but string
	switch {
	case ours && d.tunnel:
		r.inForce = d.gets
	case ours:
		r.inForce, set, but = d.owner.weakest(d.gets)
	default:
		r.inForce, set, but = d.owner.weakest(sslmode.None)
	}
	// A connection string's own mode wins over a variable. This buildpack refuses one that is
	// weaker.
	if !ours && d.strings != sslmode.None && d.strings < r.inForce {
		r.inForce, set, but = d.strings, d.strings.String()+" in a connection string, which counts more than a variable", ""
	}
	if c := d.connect; c.Value != "" && c.Mode < r.inForce {
		r.inForce, set, but = c.Mode, "a connection string with "+c.Value+" in "+cut(c.Variable, 100)+", set by the owner", ""
	}
	known := d.owner.libpq.Wrong == nil && !(ours && d.refused != "")
	if known {
		r.InForce = word(r.inForce)
	}
	switch {
	case d.refused != "":
		r.State, r.WouldGet, r.Why = Stops, "stops", "would stop: "+d.refused
		if noBuildpack {
			r.State, r.WouldGet, r.Why = Ignored, "none", d.refused
		}
		if d.asked == sslmode.None {
			r.Asked = "unknown"
		}
		return r
	case known && r.inForce.Encrypts() && r.inForce >= d.asked:
		r.State = InForce
	case !d.asked.Encrypts():
		r.State = None
	case r.InForce == "none" && !ours && d.inString.Known():
		r.State, r.InForce = Driver, "unknown"
	default:
		r.State = Ignored
	}
	r.Why = d.why(r, set, but)
	if d.owner.notStratos != "" {
		r.Why += "; Stratos would not start: " + cut(d.owner.notStratos, 200)
	}
	return r
}

// why gives the reason for a row in a few words.
func (d database) why(r Row, set, but string) string {
	ours := r.Buildpack == yes
	box := " out of the box"
	if r.Lifecycle == unknown {
		box += ", unless it is a docker app"
	}
	switch {
	case d.owner.libpq.Wrong != nil:
		return cut(d.owner.libpq.Wrong.Error(), 300)
	case set != "" && r.State == Ignored:
		return set + ", is weaker"
	case set != "":
		return set + but
	case ours && d.downgraded != "":
		return "this buildpack, but " + d.downgraded
	case d.asked != sslmode.None && !d.asked.Encrypts():
		return d.asked.String() + " does not insist on TLS"
	case ours && d.gets == sslmode.None:
		return "this buildpack, but the binding names no mode; add sslmode"
	case ours && d.tunnel:
		return "this buildpack, through its tunnel"
	case ours:
		return "this buildpack"
	case r.State == Driver:
		return "a driver that is given " + stringOf(d.inString) + " obeys it, others do not"
	case r.State == Ignored && d.from.IsOwners():
		return "only this buildpack reads POSTGRES_SSL_MODE"
	case r.State == Ignored:
		return "no variable carries the " + cut(d.from.String(), 200)
	case r.Lifecycle == "docker", r.Lifecycle == "cnb":
		return "no buildpack of this kind runs for a " + r.Lifecycle + " app"
	case r.WouldGet == "unknown":
		return "its CA is a file in the container"
	case d.downgraded != "":
		return "with this buildpack, " + d.downgraded
	case d.from.Rule == launch.ForKnown:
		return "its CA is known; verify-full would work" + box
	case d.gets != sslmode.None:
		return d.gets.String() + " would be given" + box
	}
	return "the binding names no mode; add sslmode"
}

// word returns a mode as rows show it.
func word(mode sslmode.Mode) string { return cmp.Or(mode.String(), "none") }

// stringOf names the connection string that a place is in.
func stringOf(place binding.Place) string {
	if place.Variable {
		return place.Whole()
	}
	return "the " + cut(place.Whole(), 200)
}
