package audit

import (
	"cmp"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// database is what an app's environment says about a bound database, whatever buildpacks the app
// has.
type database struct {
	name  string
	asked sslmode.Mode
	from  launch.Source // where asked comes from

	inString binding.Place // a connection string that asks for at least asked
	strings  sslmode.Mode  // the weakest mode that a connection string asks for

	owner owner

	gets    sslmode.Mode // the mode with this buildpack
	tunnel  bool         // through the tunnel, where no variable counts
	loses   string       // why that is less than asked
	openCA  bool         // its CA is a file in the container, so gets may be stricter
	refused string       // why a launch with this buildpack would stop
	unread  string       // why nothing is known
}

// decide reads an app's environment and decides as its launch would.
func decide(env map[string]string, store truststore.Store) []database {
	owner := ownerOf(env)
	found, err := binding.ReadElsewhere(env)
	if err != nil {
		return []database{{owner: owner, refused: cut(err.Error(), 300)}}
	}
	var databases []database
	for _, name := range found.Unresolved {
		databases = append(databases, database{name: cut(name, 255), unread: launch.InCredHub})
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
		d := database{name: cut(db.Title(), 255), owner: owner, gets: plan.Mode, openCA: db.Trust.Unseen}
		if db.Writes() != sslmode.None || db.System.Known() || env["POSTGRES_SSL_MODE"] != "" {
			d.asked, d.from = db.Mode, db.Source
		}
		if db.Tunnel {
			d.gets, d.tunnel = db.Mode, true
		} else if plan.Mode < db.Mode {
			d.loses = cut(plan.Decider.Title(), 100) + " decides"
		}
		d.hear(db.Asked)
		databases = append(databases, d)
	}
	return databases
}

// hear notes what connection strings ask for. A driver that gets such a string reads it itself.
func (d *database) hear(asked []binding.Asked) {
	for _, a := range asked {
		if a.By == binding.ByKey {
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
	if len(names) == 1 {
		d.refused = strings.TrimPrefix(d.refused, names[0]+": ")
	}
	d.name, d.refused = cut(strings.Join(names, ", "), 255), cut(d.refused, 300)
	return d
}

// owner is what the owner's variables say to drivers that read them.
type owner struct {
	libpq, stratos launch.Owner
	notStratos     string // why the app is not Stratos, if so; stratos is then empty
}

// ownerOf reads the owner's variables. We cannot see whether an app is Stratos. With a wrong
// DB_SSL_MODE, it is not: Stratos would not run.
func ownerOf(env map[string]string) owner {
	var o owner
	o.libpq, o.stratos = launch.Owners(env)
	if wrong := o.stratos.Wrong; wrong != nil {
		o.stratos, o.notStratos = launch.Owner{}, wrong.Error()
	}
	return o
}

// weakest returns the mode in force. If it comes from the owner's variables, set names them. This
// buildpack puts gets in each variable that the owner did not set. We don't know which of the two a
// driver reads, so the weaker one counts.
func (o owner) weakest(gets sslmode.Mode) (mode sslmode.Mode, set, but string) {
	libpq, stratos := o.libpq.InForce(gets), o.stratos.InForce(gets)
	by := func(own launch.Owner) string { return own.Variable + "=" + own.Value + ", set by the owner" }
	switch {
	case stratos == sslmode.None && libpq != sslmode.None:
		return libpq, by(o.libpq), "; Stratos does not read it"
	case libpq == sslmode.None && stratos != sslmode.None:
		return stratos, by(o.stratos), "; Stratos alone reads it"
	case libpq < stratos && o.libpq.Value != "":
		return libpq, by(o.libpq), ""
	case stratos < libpq && o.stratos.Value != "":
		return stratos, by(o.stratos), ""
	case o.libpq.Value != "" && o.stratos.Value != "":
		return libpq, "DB_SSL_MODE and PGSSLMODE, set by the owner", ""
	}
	return min(stratos, libpq), "", ""
}

// has says whether an app has this buildpack.
type has string

const (
	yes     has = "yes"
	no      has = "no"
	unknown has = "unknown"
)

// row returns the row of a database. ours says whether the app has this buildpack.
func (d database) row(r Row, ours has) Row {
	r.Database, r.Buildpack = d.name, string(ours)
	r.Asked, r.InForce, r.WouldGet = word(d.asked), "unknown", word(d.gets)
	if d.openCA && d.asked == sslmode.None {
		r.WouldGet = "unknown"
	}
	if d.unread != "" {
		return unreadable(r, d.unread)
	}
	gets := sslmode.None
	if ours == yes {
		gets = d.gets
	}
	var set, but string
	if ours == yes && d.tunnel {
		r.inForce = gets
	} else {
		r.inForce, set, but = d.owner.weakest(gets)
	}
	readable := d.owner.libpq.Wrong == nil
	if readable && !(ours == yes && d.refused != "") {
		r.InForce = word(r.inForce)
	}
	// A connection string's own mode wins over a variable. This buildpack refuses one that is
	// weaker.
	if ours != yes && d.strings != sslmode.None && d.strings < r.inForce && readable {
		r.inForce, r.InForce = d.strings, word(d.strings)
		set, but = d.strings.String()+" in a connection string, which counts more than a variable", ""
	}
	switch {
	case d.refused != "":
		r.State, r.WouldGet, r.Why = Stops, "stops", "would stop: "+d.refused
		if d.asked == sslmode.None {
			r.Asked = "unknown"
		}
		return r
	case d.asked.Encrypts() && r.inForce >= d.asked && r.InForce != "unknown",
		!d.asked.Encrypts() && r.inForce.Encrypts() && r.InForce != "unknown":
		r.State = InForce
	case !d.asked.Encrypts():
		r.State = None
	case r.InForce == "none" && ours != yes && d.inString.Known():
		r.State, r.InForce = Driver, "unknown"
	default:
		r.State = Ignored
	}
	r.Why = d.why(r, ours, set, but)
	if d.owner.notStratos != "" {
		r.Why += "; Stratos would not start: " + cut(d.owner.notStratos, 200)
	}
	return r
}

// why gives the reason for a row in a few words.
func (d database) why(r Row, ours has, set, but string) string {
	switch {
	case d.owner.libpq.Wrong != nil:
		return d.owner.libpq.Wrong.Error()
	case set != "" && r.State == Ignored:
		return set + ", is weaker"
	case set != "":
		return set + but
	case ours == yes && d.loses != "":
		return "this buildpack, but " + d.loses
	case d.asked != sslmode.None && !d.asked.Encrypts():
		return d.asked.String() + " does not insist on TLS"
	case ours == yes && d.gets == sslmode.None:
		return "this buildpack, but the binding names no mode; add sslmode"
	case ours == yes && d.tunnel:
		return "this buildpack, through its tunnel"
	case ours == yes:
		return "this buildpack"
	case r.State == Driver:
		return "a driver that is given " + stringOf(d.inString) + " obeys it, others do not"
	case r.State == Ignored && ours == no:
		return "nothing reads " + the(d.from)
	case r.State == Ignored:
		return "no variable puts " + the(d.from) + " in force"
	case r.WouldGet == "unknown":
		return "its CA is a file in the container"
	case d.loses != "":
		return "with this buildpack, " + d.loses
	case d.gets == sslmode.VerifyFull:
		return "RDS; verify-full would work out of the box"
	case d.gets != sslmode.None:
		return d.gets.String() + " would be in force out of the box"
	}
	return "the binding names no mode; add sslmode"
}

// word returns a mode as rows show it.
func word(mode sslmode.Mode) string { return cmp.Or(mode.String(), "none") }

// the names the source of a mode, with an article before a place.
func the(source launch.Source) string {
	if source.IsOwners() {
		return source.String()
	}
	return "the " + cut(source.String(), 200)
}

// stringOf names the connection string that a place is in.
func stringOf(place binding.Place) string {
	if place.Kind == binding.Variable {
		return place.Whole()
	}
	return "the " + cut(place.Whole(), 200)
}
