package launch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Owner is a mode that the app's owner set in a variable. It reaches the drivers as it is.
type Owner struct {
	Variable string
	Value    string       // as the owner wrote it, "" if the variable is not set
	Mode     sslmode.Mode // None without a value, and for a wrong one
	Wrong    error        // why no driver reads Value as a mode, in one line; nil if they do
	Do       string       // what to do about that
}

// Owners returns what the owner set for all drivers, in PGSSLMODE, and for Stratos, in DB_SSL_MODE.
// Only the exact word counts: of a misspelled PGSSLMODE, node-postgres makes plain text, and it has
// the word no-verify of its own (lib/connection-parameters.js, readSSLConfigFromEnvironment).
func Owners(env map[string]string) (libpq, stratos Owner) {
	return OwnerOf(env, "PGSSLMODE"), OwnerOf(env, "DB_SSL_MODE")
}

// OwnerOf returns what the owner set in a variable.
func OwnerOf(env map[string]string, name string) Owner {
	o := Owner{Variable: name, Value: env[name]}
	mode, err := sslmode.Parse(o.Value)
	switch {
	case o.Value == "":
	case o.Value == "no-verify" && name == "PGSSLMODE":
		o.Mode = sslmode.Require
	case err != nil:
		o.Wrong = fmt.Errorf("%s, set by the app's owner: %w", name, err)
		o.Do = "set " + name + " to one of the modes, or unset it"
	case mode.String() != o.Value:
		o.Wrong = fmt.Errorf("%s, set by the app's owner, is spelled %q", name, o.Value)
		o.Do = "spell it " + mode.String() + ", or unset it"
	default:
		o.Mode = mode
	}
	return o
}

// InForce returns the mode of drivers that read the variable: the owner's, or else ours. It is None
// if the owner's is wrong.
func (o Owner) InForce(ours sslmode.Mode) sslmode.Mode {
	if o.Value != "" {
		return o.Mode
	}
	return ours
}

// Refuses returns the error for which the app must not start: its owner set a wrong mode, and a
// bound database asks for TLS.
func (p *Plan) Refuses(o Owner) error {
	asksTLS := func(db *Database) bool { return db.Mode.Encrypts() }
	if o.Wrong == nil || !slices.ContainsFunc(p.Databases, asksTLS) {
		return nil
	}
	return fmt.Errorf("%w; %s", o.Wrong, o.Do)
}

// warnOfStrings names the owner's variables that contain a connection string with a weaker mode than
// its database has or, where nothing is bound, one for an RDS endpoint. DATABASE_URL is read with
// the bindings.
func (p *Plan) warnOfStrings() {
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		ofPlatform := name == "DATABASE_URL" || name == "VCAP_SERVICES"
		if ofPlatform || !strings.Contains(strings.ToLower(p.env[name]), "ssl") {
			continue
		}
		hosts, mode := binding.InString(p.env[name])
		if mode == sslmode.None {
			continue
		}
		say := func(of string, asked sslmode.Mode) {
			p.downgrade("%s, set by the app's owner, has a connection string with sslmode=%s for %s: "+
				"what connects with it gets no more, and %s is asked for", name, mode, of, asked)
		}
		isIn := func(host string) bool { return slices.Contains(hosts, host) }
		for _, db := range p.Databases {
			if mode >= db.Mode || !slices.ContainsFunc(db.Hosts, isIn) {
				continue
			}
			say(db.Title(), db.Mode)
			if db.Connect.Value == "" || mode < db.Connect.Mode {
				db.Connect = Owner{Variable: name, Value: mode.String(), Mode: mode}
			}
		}
		asked := cmp.Or(p.Mode, sslmode.VerifyFull)
		for _, host := range hosts {
			if _, isRDS := rds.Parse(host); isRDS && len(p.Databases) == 0 && mode < asked {
				say(host, asked)
			}
		}
	}
}
