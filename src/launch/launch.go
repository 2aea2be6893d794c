// Package launch decides what an app is given. It is a pure function from the environment, the
// bindings and the trust store to a plan.
package launch

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Plan is what an app is given, and why.
type Plan struct {
	Databases      []*Database // sorted by service
	Others         []string    // bound services that have no Postgres database
	Unresolved     []string    // those whose credentials are in CredHub
	Mode           sslmode.Mode
	Decider        *Database           // Mode and the client certificate are its own; may be nil
	Warnings       []string            // one line each, for the staging log
	Downgrades     []string            // those that each start repeats, since someone gets less than asked
	TunnelCA       []*x509.Certificate // of the tunnel, once there is one
	Libpq, Stratos Owner               // see Owners

	env       map[string]string
	sets      []string             // of the trust store
	unsure    string               // what to say of an error that may be gone at the launch; "" if it may not
	elsewhere bool                 // not in the app's container, nor in that of its staging
	fallback  sslmode.Mode         // POSTGRES_SSL_MODE
	mains     map[string]*Database // by service
	carried   Carried
	byOwner   bool  // the owner's DATABASE_URL is a database, which no tunnel changes
	err       error // why the app must not start: the first reason
}

// Database is a bound database and what we decided for it.
type Database struct {
	binding.Binding
	Main   bool // it is the main database of its service
	Mode   sslmode.Mode
	Source Source
	Trust  Trust
	Tunnel bool // the app connects through the tunnel, which uses this Mode

	Connect         Owner  // the variable with a connection string of the weakest mode, if below Mode
	CertPEM, KeyPEM []byte // the client's; nil if the credentials have none
}

// Source is the rule that a mode comes from, in words for people.
type Source string

const ofOwner Source = "POSTGRES_SSL_MODE"

func (s Source) String() string { return string(s) }

// IsOwners says whether the mode is the owner's POSTGRES_SSL_MODE.
func (s Source) IsOwners() bool { return s == ofOwner }

// Decide makes the plan of a launch, by the rules in docs/rules.md. After an error, which is one line
// without secrets, the app must not start.
func Decide(env map[string]string, found binding.Bound, store truststore.Store) (*Plan, error) {
	return makePlan(&Plan{env: env, sets: store.Names}, found)
}

// Foresee makes the plan that a launch with these bindings would make. An error that may be gone at
// the launch is only a warning: a reference to CredHub, a service not bound yet, a missing file.
func Foresee(env map[string]string, found binding.Bound, store truststore.Store) (*Plan, error) {
	return makePlan(&Plan{env: env, sets: store.Names, unsure: "; as it is, the app would not start"}, found)
}

// Elsewhere makes the plan from outside the app's container, with what binding.ReadElsewhere reads.
// Of a database whose CA is in a file, it does not know whom to trust.
func Elsewhere(env map[string]string, found binding.Bound, store truststore.Store) (*Plan, error) {
	p := &Plan{env: env, sets: store.Names, elsewhere: true}
	if len(found.Unresolved) > 0 {
		p.unsure = ", as far as can be seen from here"
	}
	return makePlan(p, found)
}

// InCredHub is what can be said from outside of a service whose credentials are in CredHub.
const InCredHub = "its credentials are in CredHub; only postgres-ssl in the app sees them"

func makePlan(p *Plan, found binding.Bound) (*Plan, error) {
	p.Others, p.byOwner, p.mains = found.Others, found.ByOwner, map[string]*Database{}
	p.Libpq, p.Stratos = Owners(p.env)
	p.unresolved(found.Unresolved)
	for _, note := range found.Notes {
		p.downgrade("%s", note)
	}
	mode, err := sslmode.Parse(p.env["POSTGRES_SSL_MODE"])
	if p.fallback = mode; err != nil && p.env["POSTGRES_SSL_MODE"] != "" {
		p.stop(fmt.Errorf("POSTGRES_SSL_MODE: %w", err))
	}
	if value := p.env["POSTGRES_SSL_VERIFY"]; value != "" && value != "start" {
		p.stop(p.atLaunch(errors.New("POSTGRES_SSL_VERIFY has only one valid value, start: set it to that, or unset it")))
	}
	for _, b := range found.Databases {
		switch db, err := p.decideDatabase(b, found.CAs); {
		case err == nil:
			p.Databases = append(p.Databases, db)
		case b.ByKeys():
			p.downgrade("%s: %s; without it, nothing is done for this database, since only its keys say that it is Postgres", b.Title(), err)
		default:
			p.stop(fmt.Errorf("%s: %w", b.Title(), err))
		}
	}
	p.chooseMains()
	p.chooseTunnelled()
	p.warnOfAliases()
	p.chooseDecider()
	if len(p.Databases) == 0 && p.fallback != sslmode.None {
		p.Mode = p.fallback
		p.warn("POSTGRES_SSL_MODE=%s is exported, but no bound service has a Postgres database", p.Mode)
	}
	p.warnOfOwner()
	p.warnOfStrings()
	if p.err != nil {
		return nil, p.err
	}
	return p, nil
}

func (p *Plan) unresolved(references []binding.Reference) {
	for _, r := range references {
		why := errors.New("the platform did not resolve the credentials: they are still a reference to CredHub")
		if r.InFile {
			why = errors.New("the credentials are still a reference to CredHub, and the platform resolves none in files; " +
				"turn off the app's feature file-based-vcap-services or service-binding-k8s, and restart")
		}
		switch {
		case p.elsewhere:
			p.warn("%s: %s", r.Service, InCredHub)
		case !r.Postgres:
			p.downgrade("%s: %s; nobody can see whether it is a Postgres database", r.Service, why)
		default:
			p.stop(p.atLaunch(fmt.Errorf("%s: %w", r.Service, why)))
		}
		if r.Postgres {
			p.Unresolved = append(p.Unresolved, r.Service)
		}
	}
}

func (p *Plan) stop(err error) { p.err = cmp.Or(p.err, err) }

// atLaunch returns the error at launch, and turns it into a warning where we are not sure.
func (p *Plan) atLaunch(err error) error {
	if p.unsure == "" {
		return err
	}
	p.warn("%s%s", err, p.unsure)
	return nil
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

func (p *Plan) downgrade(format string, args ...any) {
	p.warn(format, args...)
	p.Downgrades = append(p.Downgrades, fmt.Sprintf(format, args...))
}

func (p *Plan) decideDatabase(b binding.Binding, tagged []binding.Credential) (*Database, error) {
	db := &Database{Binding: b}
	own, err := p.ownCAs(b, tagged)
	if err != nil {
		return nil, err
	}
	more, named := moreCAs(b)
	if db.Mode, db.Source, err = p.mode(b, own.Place, named); err != nil {
		return nil, err
	}
	db.Trust = p.trust(b, own, more)
	for _, note := range b.Notes {
		p.warn("%s: %s", b.Title(), note)
	}
	if db.Mode == sslmode.Require && len(db.Trust.Own) > 0 {
		p.warn("%s: %s has its CA, so its sslmode can be verify-full instead of require, which trusts any server", b.Title(), db.Trust.Place)
	}
	return db, p.readClientCertificate(db)
}

// mode finds the mode of a database. bound is the place of the CA that is bound for it, and named
// that of one under another key which says that it is a CA.
func (p *Plan) mode(b binding.Binding, bound, named binding.Place) (sslmode.Mode, Source, error) {
	mode, source, err := p.settle(b)
	own := cmp.Or(bound, named)
	isUnknown := func(host string) bool {
		_, missing, isCloud := p.trustHost(host, false)
		return !isCloud || missing != "" && !bound.Known()
	}
	switch {
	case err != nil, mode != sslmode.None && !(b.Guessed && mode < p.fallback):
		return mode, source, err
	case mode != sslmode.None:
		p.warn("%s: %s says %s, but it may be no Postgres; POSTGRES_SSL_MODE=%s counts", b.Title(), source, mode, p.fallback)
		fallthrough
	case p.fallback != sslmode.None:
		return p.fallback, ofOwner, nil
	case len(b.Primaries()) > 0 && !slices.ContainsFunc(b.Primaries(), isUnknown):
		return sslmode.VerifyFull, "the default for a host whose CA is known", nil
	case own.Known():
		return sslmode.VerifyCA, Source("the default for a CA of its own, " + own.String()), nil
	case b.AsksTLS.Known():
		return sslmode.Require, Source(b.AsksTLS.String() + ", which asks for TLS"), nil
	}
	return sslmode.None, "the binding names none, and the CA of the host is not known", nil
}

// settle finds the one mode that a binding writes. A contradiction is an error, unless the owner's
// POSTGRES_SSL_MODE is at least as strict as all of them: the app may use either.
func (p *Plan) settle(b binding.Binding) (sslmode.Mode, Source, error) {
	asked := slices.Clone(b.Asked)
	if b.System.Known() {
		// libpq's manual, "sslrootcert": system works with verify-full only.
		place := binding.Place{Path: b.System.Path, Of: "sslrootcert=system"}
		asked = append(asked, binding.Asked{Mode: sslmode.VerifyFull, Place: place, By: binding.ByKey})
	} else if b.Writes() == sslmode.None {
		return sslmode.None, "", nil // an alias alone lowers nothing
	}
	byMode := func(a, b binding.Asked) int { return cmp.Compare(a.Mode, b.Mode) }
	most := slices.MaxFunc(asked, byMode).Mode
	asked = slices.DeleteFunc(asked, func(a binding.Asked) bool {
		isAside := a.By == binding.ByProse || a.By == binding.ByFirst
		return isAside && a.Mode < most
	})
	if b.AsksTLS.Known() && !slices.MinFunc(asked, byMode).Mode.Encrypts() {
		asked = append(asked, binding.Asked{Mode: sslmode.Require, Place: b.AsksTLS, By: binding.ByKey})
	}
	strictest := slices.MaxFunc(asked, byMode)
	first := slices.MinFunc(asked, func(a, b binding.Asked) int { return cmp.Compare(a.By, b.By) }) // a key wins over a string
	for _, a := range asked {
		switch {
		case a.Mode == strictest.Mode:
		case p.fallback >= strictest.Mode:
			p.warn("%s: %s says %s, and %s says %s; POSTGRES_SSL_MODE=%s settles it, but a driver that reads the binding itself may not obey",
				b.Title(), strictest.Place, strictest.Mode, a.Place, a.Mode, p.fallback)
			return p.fallback, ofOwner, nil
		case a.By != binding.ByString, first.By == binding.ByKey, a.Place.Whole() == strictest.Place.Whole(): // two strings may differ
			return sslmode.None, "", fmt.Errorf("%s asks for %s, but %s for %s; make them agree, or set POSTGRES_SSL_MODE=%s",
				strictest.Place, strictest.Mode, a.Place, a.Mode, strictest.Mode)
		default:
			p.downgrade("%s: %s asks for %s, and %s for %s; the stricter one wins, but a driver that is given the other string may not obey",
				b.Title(), strictest.Place, strictest.Mode, a.Place, a.Mode)
		}
	}
	if first.Mode < strictest.Mode {
		first = strictest
	}
	return first.Mode, Source(first.Place.String()), nil
}

// readClientCertificate reads sslcert and sslkey. A certificate without a key is no client's: SAP's
// postgresql-db puts the server's certificate in sslcert.
func (p *Plan) readClientCertificate(db *Database) error {
	cert, key := db.ClientCert, db.ClientKey
	switch {
	case !key.Known() && cert.Known():
		p.warn("%s: %s is not handed out as a client certificate: its key is missing", db.Title(), cert.Place)
		return nil
	case !key.Known():
		return nil
	case !cert.Known():
		return fmt.Errorf("%s is a client key, but its certificate is missing: add sslcert", key.Place)
	}
	db.CertPEM, db.KeyPEM = truststore.RepairPEM(string(cert.Value)), truststore.RepairPEM(string(key.Value))
	if _, err := tls.X509KeyPair(db.CertPEM, db.KeyPEM); err != nil { // don't pass it on: it may quote a key
		return fmt.Errorf("credentials %s and %s are no client certificate and its key in PEM, or the key has a passphrase", cert.Path, key.Path)
	}
	return nil
}

func (p *Plan) chooseMains() {
	for _, db := range p.Databases {
		if main := p.mains[db.Name]; main == nil || compareForMain(db, main) > 0 {
			p.mains[db.Name] = db
		}
	}
	for _, main := range p.mains {
		main.Main, main.Path = true, ""
		surer := func(db *Database) bool { return db.Name == main.Name && !db.Guessed }
		main.Guessed = main.Guessed && !slices.ContainsFunc(p.Databases, surer)
	}
}

// compareForMain prefers well-known keys, the strictest mode, the narrowest trust and a mode in
// writing. So another string in a binding never lowers a mode and never widens trust. One whose keys
// alone say that it is Postgres wins only by a mode that encrypts, or by its trust.
func compareForMain(a, b *Database) int {
	isGuess := a.ByKeys() || b.ByKeys()
	rank := func(db *Database) []int {
		rank := []int{0, int(db.Mode), db.Trust.narrowness(), int(db.Writes())}
		if db.WellKnown && !db.ByKeys() {
			rank[0] = 1
		}
		if isGuess {
			rank[1], rank[3] = max(rank[1], int(sslmode.Prefer)), 0
		}
		return rank
	}
	return slices.Compare(rank(a), rank(b))
}

// chooseDecider finds the database whose mode the app gets: an environment has room for one only.
func (p *Plan) chooseDecider() {
	name := p.env["POSTGRES_SSL_SERVICE"]
	isChosen := name != "" && p.mains[name] != nil
	candidates := prefer(p.Databases, func(db *Database) bool { return db.Main && (!isChosen || db.Name == name) })
	if !isChosen {
		candidates = prefer(candidates, func(db *Database) bool { return !db.Guessed })
		candidates = prefer(candidates, func(db *Database) bool { return !db.ByKeys() })
		if name != "" {
			p.stop(p.atLaunch(fmt.Errorf("POSTGRES_SSL_SERVICE names no bound Postgres database; bound are: %s",
				cmp.Or(listModes(candidates), "none"))))
		}
		candidates = prefer(candidates, func(db *Database) bool { return slices.Contains(db.Tags, "stratos") })
	}
	switch {
	case len(candidates) == 0:
		return
	case candidates[0].ByKeys(): // then all are, and none of them stops a start
		candidates = []*Database{slices.MinFunc(candidates, byMode)}
	}
	// In the tunnel, each has its own mode. The exported one matters to the others, if there are any.
	candidates = prefer(candidates, func(db *Database) bool { return !db.Tunnel })
	if candidates[0].Tunnel {
		candidates = []*Database{slices.MaxFunc(candidates, byMode)}
	}
	p.Decider, p.Mode = candidates[0], candidates[0].Mode
	for _, db := range candidates {
		if db.Mode != p.Mode || string(db.CertPEM) != string(p.Decider.CertPEM) {
			p.stop(fmt.Errorf("the bound databases ask for different things: %s; set POSTGRES_SSL_SERVICE to the name of the one that "+
				"decides, tag it stratos, or give each its own mode with POSTGRES_SSL_TUNNEL=yes", listModes(candidates)))
		}
	}
	p.compareOthers(isChosen)
}

// compareOthers looks at the databases that get less than their own mode. If one writes its mode,
// the app must not start, unless the owner chose the decider by name.
func (p *Plan) compareOthers(ownersChoice bool) {
	for _, db := range p.Databases {
		if db.Mode <= p.Mode || !db.Mode.Encrypts() || db.Tunnel {
			continue // below require nothing is promised; in the tunnel it has its own mode
		}
		written := db.Writes() > p.Mode
		switch {
		case written && p.fallback >= db.Mode: // then all may use it
			p.Mode, p.Decider.Mode, p.Decider.Source = p.fallback, p.fallback, ofOwner
		case written && db.Name == p.Decider.Name:
			p.stop(fmt.Errorf("%s asks for %s, but %s for %s, and both must use one mode; make them agree, or set POSTGRES_SSL_MODE=%s",
				p.Decider.Title(), modeName(p.Mode), db.Title(), db.Mode, db.Mode))
		case written && !ownersChoice:
			p.stop(fmt.Errorf("%s decides with %s, but %s asks for %s; set POSTGRES_SSL_SERVICE to the name of the one that decides",
				p.Decider.Title(), modeName(p.Mode), db.Title(), db.Mode))
		case db.Main:
			p.downgrade("%s would get %s by %s, but gets only %s: %s decides for the whole app",
				db.Title(), db.Mode, db.Source, modeName(p.Mode), p.Decider.Title())
		}
	}
}

func byMode(a, b *Database) int { return cmp.Compare(a.Mode, b.Mode) }

// prefer returns those of the databases that are wanted, or all of them if there are none.
func prefer(databases []*Database, isWanted func(*Database) bool) []*Database {
	if kept := slices.DeleteFunc(slices.Clone(databases), func(db *Database) bool { return !isWanted(db) }); len(kept) > 0 {
		return kept
	}
	return databases
}

func listModes(databases []*Database) string {
	var modes []string
	for _, db := range databases {
		mode := modeName(db.Mode)
		if db.CertPEM != nil {
			mode += " with a client certificate"
		}
		modes = append(modes, fmt.Sprintf("%s (%s)", db.Name, mode))
	}
	return strings.Join(modes, ", ")
}

func modeName(mode sslmode.Mode) string { return cmp.Or(mode.String(), "no mode") }

// warnOfAliases says what a driver makes of a string that gives less than the launch: by another name
// of sslmode, by the first of two, or as the service's uri beside keys about another host.
func (p *Plan) warnOfAliases() {
	for _, db := range p.Databases {
		main := p.mains[db.Name]
		for _, a := range db.Asked {
			driver := ""
			switch {
			case db.Tunnel, a.Mode >= main.Mode:
			case a.By == binding.ByFirst:
				driver = "pgx or lib/pq, if it"
			case a.Alias && db.Writes() == sslmode.None, db.WellKnown && !db.Main:
				driver = "a driver that"
			}
			if driver != "" {
				p.downgrade("%s: %s means %s to %s is given this string; others get %s, from %s",
					db.Title(), a.Place, a.Mode, driver, main.Mode, main.Source)
			}
		}
	}
}

func (p *Plan) warnOfOwner() {
	if p.Stratos.Wrong != nil {
		p.warn("%s; Stratos would not start with it, other apps do not read it", p.Stratos.Wrong)
	}
	if p.Libpq.Wrong != nil && p.Refuses(p.Libpq) == nil {
		p.warn("%s; %s", p.Libpq.Wrong, p.Libpq.Do)
	}
	if p.Decider == nil || p.Decider.Tunnel { // in the tunnel, the database's own mode counts
		return
	}
	for _, own := range []Owner{p.Stratos, p.Libpq} {
		if own.Mode != sslmode.None && own.Mode < p.Mode {
			p.warn("%s=%s is set by the app's owner, and stays; it is weaker than %s, which %s asks for",
				own.Variable, own.Value, p.Mode, p.Decider.Title())
		}
	}
}
