package launch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// The owner asks for the tunnel with this variable, or refuses one that nobody asked for.
const tunnelVariable, refused = "POSTGRES_SSL_TUNNEL", "no"

// chooseTunnelled finds the databases that the owner asks for: those of all services, or of some.
func (p *Plan) chooseTunnelled() {
	value := strings.TrimSpace(p.env[tunnelVariable])
	if value == "" || value == refused { // see Carry
		return
	}
	if p.byOwner {
		p.downgrade("%s changes nothing for DATABASE_URL, which the app's owner set: the app connects as it says", tunnelVariable)
	}
	var bound []string
	for _, db := range p.Databases {
		if db.Main && !p.byOwner {
			bound = append(bound, db.Name)
		}
	}
	wanted := bound
	switch {
	case value != "yes":
		wanted = strings.Split(value, ",")
		for i := range wanted {
			if wanted[i] = strings.TrimSpace(wanted[i]); !slices.Contains(bound, wanted[i]) {
				// Don't show the value: by mistake, it may be anything, even a password.
				p.stop(p.atLaunch(fmt.Errorf("%s names something that is not a bound Postgres database: write yes, or names of "+
					"services, separated by commas; bound are: %s", tunnelVariable, cmp.Or(strings.Join(bound, ", "), "none"))))
				return
			}
		}
	case bound == nil && !p.byOwner:
		p.downgrade("%s=yes, but no bound service has a Postgres database: the app connects without the tunnel", tunnelVariable)
	}
	for _, db := range p.Databases {
		switch {
		case !slices.Contains(wanted, db.Name):
		case db.ByKeys() && (len(db.Hosts) == 0 || db.Ports[0] == ""):
			p.downgrade("%s does not go through the tunnel: add its port to the binding", db.Title())
		case db.Mode.Encrypts() && len(db.Hosts) > 0:
			db.Tunnel = true
		case !db.Main, db.ByKeys():
			p.downgrade("%s does not go through the tunnel: it needs a host, and an sslmode of require or stricter", db.Title())
		default:
			p.stop(p.atLaunch(fmt.Errorf("%s: %s needs a host and an sslmode of require or stricter: "+
				"add them to the binding, or set POSTGRES_SSL_MODE", db.Title(), tunnelVariable)))
		}
	}
}

// Carried is what staging saw in the app's own files. The zero value needs no tunnel.
type Carried struct {
	Why     string // "config/database.js:12 sets ssl itself", "slonik 47.0.0 reads no variable"
	Setting bool   // Why is a setting of the app's own, not only its driver
	Against string // "the app has CAs of its own, global-bundle.pem", or ""
}

// Carry lets databases go through the tunnel that nobody asked for. It does so only where nothing
// else keeps the binding's word: their mode verifies and is written, and nothing speaks against it.
// Elsewhere it says who may get less, and what the owner can do.
func (p *Plan) Carry(c Carried) {
	value := strings.TrimSpace(p.env[tunnelVariable])
	if c.Why == "" || value != "" && value != refused {
		return
	}
	p.carried = c
	for _, db := range p.Databases {
		switch against := p.against(db); {
		case !db.Mode.Encrypts(), len(db.Hosts) == 0, db.Tunnel:
		case p.byOwner && db.Name == "DATABASE_URL":
			p.downgrade("%s may get less than %s: %s, and no tunnel changes what the app's owner set", db.Title(), db.Mode, c.Why)
		case against == "" && value == refused:
			p.downgrade("%s may get less than %s: %s, and %s=%s refuses the tunnel", db.Title(), db.Mode, c.Why, tunnelVariable, refused)
		case against == "":
			db.Tunnel = true
		case db.Main && value == "":
			p.downgrade("%s may get less than %s: %s; it does not go through the tunnel by itself, since %s; %s=yes lets it",
				db.Title(), db.Mode, c.Why, against, tunnelVariable)
		}
	}
}

// against says why a database does not go through the tunnel by itself, or "".
func (p *Plan) against(db *Database) string {
	if !db.Mode.Verifies() {
		return "sslmode " + db.Mode.String() + " does not verify"
	}
	isWritten := db.Writes() != sslmode.None || db.Source.IsOwners()
	for _, own := range []Owner{p.Libpq, p.Stratos} {
		if own.Value != "" && !own.Mode.Verifies() {
			return own.Variable + " is set to less"
		}
		isWritten = isWritten || own.Value != ""
	}
	switch {
	case !isWritten:
		return "its mode is not written, but " + db.Source.String()
	case p.carried.Against != "":
		return p.carried.Against
	case db.Direct != "":
		return "the credentials ask for " + db.Direct
	}
	for _, name := range []string{"PGSSLROOTCERT", "NODE_EXTRA_CA_CERTS"} {
		if file := p.env[name]; file != "" && !strings.Contains(file, "/.postgres-ssl/") { // not by an earlier script of ours
			return name + " is the app's own"
		}
	}
	return ""
}

// Forgo lets the app start without a tunnel that cannot be, if nobody asked for it and only a driver
// needs it. Otherwise the app must not start, and Forgo returns the error to show.
func (p *Plan) Forgo(err error) error {
	switch {
	case p.carried.Why == "":
		return err
	case p.carried.Setting:
		return fmt.Errorf("%w; %s, so the app needs the tunnel (POSTGRES_SSL_TUNNEL=no to refuse it)", err, p.carried.Why)
	}
	for _, db := range p.Databases {
		db.Tunnel = false
	}
	p.downgrade("the app starts without the tunnel, and connects as it does by itself, maybe in plain text, since %s; what is wrong: %s", p.carried.Why, err)
	return nil
}

// Tunnelled says whether any database goes through the tunnel, and whether all main ones do: the app
// is told nothing about the others.
func (p *Plan) Tunnelled() (any, all bool) {
	any = slices.ContainsFunc(p.Databases, func(db *Database) bool { return db.Tunnel })
	isBeside := func(db *Database) bool { return db.Main && !db.Tunnel }
	return any, any && !slices.ContainsFunc(p.Databases, isBeside)
}

// DescribeTunnel says in one line what goes through the tunnel, "" if nothing does. Each start repeats
// it if nobody asked for the tunnel.
func (p *Plan) DescribeTunnel() (line string, byItself bool) {
	var through []string
	for _, db := range p.Databases {
		if db.Tunnel {
			through = append(through, fmt.Sprintf("%s (%s)", db.Title(), db.Mode))
		}
	}
	if through == nil {
		return "", false
	}
	line = "the tunnel carries " + strings.Join(through, ", ")
	if p.carried.Why != "" {
		return fmt.Sprintf("%s, if the app takes the host from its binding: %s (%s=%s to refuse)", line, p.carried.Why, tunnelVariable, refused), true
	}
	return line + ": the bindings name addresses of 127.0.0.0/8 that each start chooses, and the app is told to trust the tunnel's own CA too", false
}

// Redirect finds the places in the bindings that must name the tunnel. If one of them cannot be
// changed, or the tunnel may not listen at its port, it returns an error, and the app must not start.
func (p *Plan) Redirect(env map[string]string) (*binding.Redirection, error) {
	through := slices.DeleteFunc(slices.Clone(p.Databases), func(db *Database) bool { return !db.Tunnel })
	if len(through) == 0 {
		return &binding.Redirection{}, nil
	}
	slices.SortStableFunc(through, func(a, b *Database) int { // the strictest first
		return -cmp.Or(cmp.Compare(a.Mode, b.Mode), cmp.Compare(a.Trust.narrowness(), b.Trust.narrowness()))
	})
	var wanted []binding.Binding
	for _, db := range through {
		wanted = append(wanted, db.Binding)
	}
	r, err := binding.Redirect(env, wanted)
	if err != nil {
		return nil, err
	}
	for i, e := range r.Endpoints {
		db := through[e.Database]
		r.Endpoints[i].Database = slices.Index(p.Databases, db)
		if e.Port < 1024 {
			return nil, fmt.Errorf("%s: the database's port %d is below 1024, and no app may listen there", db.Title(), e.Port)
		}
	}
	return r, nil
}
