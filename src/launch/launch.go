// Package launch decides what an app is given: a pure function from the environment, the bindings and the trust store to a plan.
package launch

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Plan is what an app is given, and why.
type Plan struct {
	Databases []Database // sorted by name
	Mode      sslmode.Mode
	Decider   *Database // the database that Mode, and the client certificate, are taken from; nil where there is none
	Warnings  []string  // each one line, for whoever stages the app

	env   map[string]string
	store truststore.Store
}

// Database is a bound database with what was decided for it.
type Database struct {
	binding.Binding
	Mode   sslmode.Mode
	Source string // the rule that Mode comes from, as people read it
	Trust  Trust

	clientCert, clientKey []byte // PEM; nil where the credentials hold none
}

// Trust is whom to believe that the database is the database.
type Trust struct {
	Sets     []string            // of the trust store
	Own      []*x509.Certificate // that the binding brought
	Everyone bool                // the stack's store and the platform's too
	Why      string
}

// Decide makes the plan. An error is one line that names the service and holds no secret; whoever gets it must not start the app.
//
// The rules stand in the order in which they count: the README's "Which mode" and "Whom to trust".
func Decide(env map[string]string, bindings []binding.Binding, store truststore.Store) (*Plan, error) {
	plan := &Plan{env: env, store: store}
	fallback := sslmode.None
	if value := env["POSTGRES_SSL_MODE"]; value != "" {
		var err error
		if fallback, err = sslmode.Parse(value); err != nil {
			return nil, fmt.Errorf("POSTGRES_SSL_MODE: %w", err)
		}
	}
	for _, b := range bindings {
		db, err := plan.decideDatabase(b, fallback)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name, err)
		}
		plan.Databases = append(plan.Databases, db)
	}
	if err := plan.chooseDecider(); err != nil {
		return nil, err
	}
	plan.warnOfOwner()
	return plan, nil
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

func (p *Plan) decideDatabase(b binding.Binding, fallback sslmode.Mode) (Database, error) {
	db := Database{Binding: b}
	var err error
	switch {
	case b.SSLMode != "":
		if db.Mode, err = sslmode.Parse(b.SSLMode); err != nil {
			return db, fmt.Errorf("%s: %w", b.ModeSource, err)
		}
		db.Source = b.ModeSource
	case fallback != sslmode.None:
		db.Mode, db.Source = fallback, "POSTGRES_SSL_MODE"
	case p.knowsAll(b.Hosts):
		db.Mode, db.Source = sslmode.VerifyFull, "the default for RDS, whose CA is on board"
	default:
		db.Source = "the binding names none, and the host is no RDS endpoint whose CA is on board"
	}
	if db.Trust, err = p.trust(b); err != nil {
		return db, err
	}
	db.clientCert, db.clientKey, err = clientCertificate(b)
	return db, err
}

// knowsAll says whether every host is an RDS endpoint whose CA is on board.
func (p *Plan) knowsAll(hosts []string) bool {
	return len(hosts) > 0 && !slices.ContainsFunc(hosts, func(host string) bool {
		endpoint, ok := rds.Parse(host)
		return !ok || !p.store.Has(homeSet(endpoint))
	})
}

// homeSet is the set of the trust store that the endpoint's certificate comes from.
func homeSet(e rds.Endpoint) string {
	switch {
	case e.Proxy:
		return truststore.AmazonTrust
	case e.Region == "":
		return e.Partition
	}
	return e.Region
}

// trust finds whom to believe: the binding's own CA, else what its hosts say about theirs.
func (p *Plan) trust(b binding.Binding) (Trust, error) {
	if b.CA.Key != "" {
		certs, repaired, err := truststore.ParseCredential(string(b.CA.Value))
		if err != nil {
			return Trust{}, fmt.Errorf("credential %s: %w", b.CA.Key, err)
		}
		if repaired {
			p.warn(`%s: credential %s holds the two characters \n where line ends should be; they were repaired, mend the binding`, b.Name, b.CA.Key)
		}
		return Trust{Own: certs, Why: "credential " + b.CA.Key}, nil
	}
	var t Trust
	var why []string
	for _, host := range b.Hosts {
		sets, reason := p.trustHost(b.Name, host)
		if sets == nil {
			return p.trustEveryone(reason), nil
		}
		for _, set := range sets {
			if !slices.Contains(t.Sets, set) {
				t.Sets = append(t.Sets, set)
			}
		}
		if !slices.Contains(why, reason) {
			why = append(why, reason)
		}
	}
	if len(b.Hosts) == 0 {
		return p.trustEveryone("the binding names no host"), nil
	}
	t.Why = strings.Join(why, ", ")
	return t, nil
}

// trustHost returns the sets that an RDS endpoint needs, and nil if the host is none, or of a partition that is not on board.
func (p *Plan) trustHost(service, host string) (sets []string, why string) {
	endpoint, ok := rds.Parse(host)
	switch {
	case !ok:
		return nil, "not an RDS endpoint"
	case !p.store.Has(endpoint.Partition):
		p.warn("%s: the CAs of partition %s are not on board, so %s cannot be verified by them; run scripts/update-rds-ca.sh and package the buildpack anew",
			service, endpoint.Partition, host)
		return nil, "RDS of " + endpoint.Partition + ", whose CAs are not on board"
	case endpoint.Region == "":
		return []string{endpoint.Partition}, "RDS of " + endpoint.Partition + ", no region in the host name"
	case endpoint.Proxy && p.store.Has(endpoint.Region):
		return []string{endpoint.Region, truststore.AmazonTrust}, "RDS Proxy in " + endpoint.Region
	case endpoint.Proxy:
		return []string{endpoint.Partition, truststore.AmazonTrust}, "RDS Proxy in " + endpoint.Region + ", a region not on board"
	case !p.store.Has(endpoint.Region):
		p.warn("%s: region %s is not on board, so all of %s is trusted; if the connection fails, run scripts/update-rds-ca.sh and package the buildpack anew",
			service, endpoint.Region, endpoint.Partition)
		return []string{endpoint.Partition}, "RDS of " + endpoint.Partition + ", region " + endpoint.Region + " not on board"
	}
	return []string{endpoint.Region}, "RDS in " + endpoint.Region
}

// trustEveryone is for a host that says nothing about its CA.
func (p *Plan) trustEveryone(why string) Trust {
	t := Trust{Everyone: true, Why: why}
	for _, name := range p.store.Names {
		if name == truststore.AmazonTrust || strings.HasPrefix(name, "aws") {
			t.Sets = append(t.Sets, name)
		}
	}
	return t
}

// clientCertificate reads sslcert and sslkey of the credentials, and refuses a pair that does not belong together.
func clientCertificate(b binding.Binding) (cert, key []byte, err error) {
	switch {
	case b.ClientCert.Key == "" && b.ClientKey.Key == "":
		return nil, nil, nil
	case b.ClientKey.Key == "":
		return nil, nil, fmt.Errorf("credential %s is a client certificate, but its key is missing: add sslkey", b.ClientCert.Key)
	case b.ClientCert.Key == "":
		return nil, nil, fmt.Errorf("credential %s is a client key, but its certificate is missing: add sslcert", b.ClientKey.Key)
	}
	cert, key = repairPEM(b.ClientCert.Value), repairPEM(b.ClientKey.Value)
	if block, _ := pem.Decode(cert); block == nil || block.Type != "CERTIFICATE" {
		return nil, nil, fmt.Errorf("credential %s is not a certificate in PEM", b.ClientCert.Key)
	}
	if block, _ := pem.Decode(key); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, nil, fmt.Errorf("credential %s is not a private key in PEM", b.ClientKey.Key)
	}
	// The error of crypto/tls is not passed on: nobody promises that it never quotes a key.
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return nil, nil, fmt.Errorf("credentials %s and %s do not belong together, or the key has a passphrase", b.ClientCert.Key, b.ClientKey.Key)
	}
	return cert, key, nil
}

// repairPEM mends line ends written as the two characters `\n`, and adds the last one.
func repairPEM(s binding.Secret) []byte {
	text := strings.TrimSpace(strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", "\r\n", "\n").Replace(string(s)))
	return []byte(text + "\n")
}

// chooseDecider finds the database whose mode holds for the app: an environment has room for one.
func (p *Plan) chooseDecider() error {
	candidates := p.Databases
	if name := p.env["POSTGRES_SSL_SERVICE"]; name != "" && len(candidates) > 0 {
		candidates = slices.DeleteFunc(slices.Clone(candidates), func(db Database) bool { return db.Name != name })
		if len(candidates) == 0 {
			return fmt.Errorf("POSTGRES_SSL_SERVICE names no bound Postgres database; bound are: %s", p.listModes(p.Databases))
		}
	} else if tagged := slices.DeleteFunc(slices.Clone(candidates), func(db Database) bool { return !db.Tagged("stratos") }); len(tagged) > 0 {
		candidates = tagged
	}
	for i := range candidates {
		if candidates[i].Mode != candidates[0].Mode || string(candidates[i].clientCert) != string(candidates[0].clientCert) {
			return fmt.Errorf("the bound databases ask for different things: %s; set POSTGRES_SSL_SERVICE to the name of the one that decides, or tag it stratos", p.listModes(candidates))
		}
	}
	if len(candidates) > 0 {
		p.Decider, p.Mode = &candidates[0], candidates[0].Mode
	}
	return nil
}

func (p *Plan) listModes(databases []Database) string {
	var modes []string
	for _, db := range databases {
		mode := db.Mode.String()
		if db.Mode == sslmode.None {
			mode = "no mode"
		}
		if db.clientCert != nil {
			mode += " with a client certificate"
		}
		modes = append(modes, fmt.Sprintf("%s (%s)", db.Name, mode))
	}
	return strings.Join(modes, ", ")
}

// warnOfOwner compares the variables that the app's owner set with what the bindings ask for, and says what Stratos will not read.
func (p *Plan) warnOfOwner() {
	for _, name := range []string{"DB_SSL_MODE", "PGSSLMODE"} {
		value := p.env[name]
		if value == "" {
			continue
		}
		mode, err := sslmode.Parse(value)
		switch {
		case err != nil:
			p.warn("%s is set by the app's owner, and stays, but: %s", name, err)
		case mode < p.Mode:
			p.warn("%s=%s is set by the app's owner, and stays; it is weaker than %s, which %s asks for", name, mode, p.Mode, p.Decider.Name)
		}
	}
	if p.env["DB_SSL_MODE"] == "" && p.Mode != sslmode.None && !p.Mode.Stratos() {
		p.warn("%s asks for %s, which Stratos refuses; DB_SSL_MODE stays unset, and Stratos would connect in plain text", p.Decider.Name, p.Mode)
	}
}
