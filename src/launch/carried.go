package launch

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Carried is what staging saw in the app's own files: why its connections need the tunnel, and what
// it would break. The zero value needs none.
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
	for i := range p.Databases {
		db := &p.Databases[i]
		if !db.Mode.Encrypts() || len(db.Hosts) == 0 || db.Tunnel {
			continue
		}
		switch against := p.against(db); {
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

// refused is the owner's word against a tunnel that nobody asked for.
const refused = "no"

// against says why a database does not go through the tunnel by itself, "" if nothing speaks against
// it.
func (p *Plan) against(db *Database) string {
	if !db.Mode.Verifies() {
		return "sslmode " + db.Mode.String() + " does not verify"
	}
	libpq, stratos := Owners(p.env)
	for _, own := range []Owner{libpq, stratos} {
		if own.Value != "" && !own.Mode.Verifies() {
			return own.Variable + " is set to less"
		}
	}
	isWritten := db.Writes() != sslmode.None || db.Source.IsOwners() || cmp.Or(libpq.Value, stratos.Value) != ""
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
	for i := range p.Databases {
		p.Databases[i].Tunnel = false
	}
	p.downgrade("the app starts without the tunnel, and connects as it does by itself, maybe in plain text, since %s; what is wrong: %s", p.carried.Why, err)
	return nil
}
