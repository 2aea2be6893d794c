package launch

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Trust says which CAs may vouch for a database.
type Trust struct {
	Sets     []string            // of the trust store
	Own      []*x509.Certificate // from the binding
	Place    binding.Place       // of the first of Own
	Everyone bool                // the stack's and the platform's stores too
	Unseen   bool                // its own are in a file of the app's container; see Elsewhere
	Why      string              // for people
}

// narrowness ranks trust: everyone, the CAs of RDS, its own CAs only.
func (t Trust) narrowness() int {
	switch {
	case t.Everyone:
		return 0
	case len(t.Own) == 0 && !t.Unseen:
		return 1
	}
	return 2
}

// ModeSource says which database and which rule the mode comes from.
func (p *Plan) ModeSource() string {
	if p.Decider == nil {
		return "from POSTGRES_SSL_MODE"
	}
	return p.Decider.Title() + ", from " + p.Decider.Source.String()
}

// TrustAll returns the trust of all bound databases together, with the tunnel's CA, for one file.
func (p *Plan) TrustAll() (all Trust) {
	if len(p.Databases) == 0 {
		if all = p.trustOwners(); all.Empty() && p.Mode != sslmode.None {
			return p.trustEveryone("no database was found")
		}
	}
	sure := p.Decider != nil && !p.Decider.ByKeys()
	for _, db := range p.Databases {
		if !db.Main || db.ByKeys() && sure {
			continue // it must not widen the trust of its service, or of a database that is surely one
		}
		all.add(db.Trust)
	}
	all.add(Trust{Own: p.TunnelCA})
	return all
}

func (t *Trust) add(more Trust) {
	isIn := func(set string) bool { return slices.Contains(t.Sets, set) }
	t.Sets = append(t.Sets, slices.DeleteFunc(slices.Clone(more.Sets), isIn)...)
	t.Own, t.Place, t.Everyone = truststore.Union(t.Own, more.Own...), cmp.Or(t.Place, more.Place), t.Everyone || more.Everyone
	if more.Why != "" && !strings.Contains(", "+t.Why+", ", ", "+more.Why+", ") {
		t.Why = strings.TrimPrefix(t.Why+", "+more.Why, ", ")
	}
}

// trustOwners returns whom to trust where nothing is bound, and the owner asks for a mode that
// verifies: the CAs of the endpoints that the owner's variables name, such as Stratos's DB_HOST.
func (p *Plan) trustOwners() (all Trust) {
	if max(p.Libpq.Mode, p.Stratos.Mode) < sslmode.VerifyCA {
		return all
	}
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		hosts, _ := binding.InString(p.env[name])
		host, _, _ := strings.Cut(p.env[name], ":") // or a bare host, with a port
		for _, host := range append(hosts, host) {
			if t, _, isCloud := p.trustHost(host, true); isCloud {
				all.add(t)
			}
		}
	}
	return all
}

// ClientCertificate returns the decider's client certificate and key in PEM, nil if it has none.
func (p *Plan) ClientCertificate() (cert, key []byte) {
	decider := cmp.Or(p.Decider, &Database{})
	return decider.CertPEM, decider.KeyPEM
}

func (t Trust) Empty() bool { return len(t.Sets) == 0 && len(t.Own) == 0 && !t.Everyone }

// TrustStores adds the stack's and the platform's stores, and the platform team's CAs.
func (p *Plan) TrustStores(t Trust) Trust {
	t.Everyone = true
	if p.has(truststore.Extra) && !slices.Contains(t.Sets, truststore.Extra) {
		t.Sets = append(slices.Clone(t.Sets), truststore.Extra)
	}
	return t
}

// OneSet returns the set that has exactly these CAs, "" if there is none.
func (t Trust) OneSet() string {
	if len(t.Sets) == 1 && len(t.Own) == 0 && !t.Everyone {
		return t.Sets[0]
	}
	return ""
}

func (p *Plan) has(set string) bool { return slices.Contains(p.sets, set) }

func isAWS(host string) bool {
	endpoint, _ := rds.Parse(host)
	return endpoint.Partition != ""
}

// ownCAs is the trust in the CAs of the binding, or else of the services tagged postgres-ssl-ca.
func (p *Plan) ownCAs(b binding.Binding, cas []binding.Credential) (t Trust, err error) {
	switch {
	case b.CA.Known():
		cas = []binding.Credential{b.CA}
	case b.System.Known():
		cas = nil
	}
	for _, ca := range cas {
		if ca.Missing && p.elsewhere {
			return Trust{Place: ca.Place, Unseen: true, Why: ca.Place.String() + ", a file of the app's container"}, nil
		} else if ca.Missing {
			return Trust{}, p.atLaunch(fmt.Errorf("%s names a file that is not in this container; "+
				"put the certificate itself there, in PEM", ca.Place))
		}
		certs, err := truststore.ParseCredential(string(ca.Value))
		if err != nil {
			return Trust{}, fmt.Errorf("%s: %w", ca.Place, err)
		}
		t.add(Trust{Own: certs, Place: ca.Place, Why: ca.Place.String()})
	}
	return t, nil
}

// trust finds which CAs to trust: the database's own, or else those that its hosts call for. Those of
// a tagged service and those of moreCAs add to AWS's.
func (p *Plan) trust(b binding.Binding, own, more Trust) (t Trust) {
	switch {
	case own.Unseen, b.CA.Known(), own.Place.Known() && !slices.ContainsFunc(b.Hosts, isAWS):
		return own
	case b.System.Known():
		return p.TrustStores(Trust{Why: "sslrootcert=system"})
	}
	own.add(more)
	hasOwn := len(own.Own) > 0
	if len(b.Hosts) == 0 && !hasOwn {
		return p.trustEveryone("the binding names no host")
	}
	for i, host := range b.Hosts {
		of, missing, isCloud := p.trustHost(host, hasOwn)
		switch replica := i >= len(b.Primaries()); {
		case isCloud:
			if missing != "" && !hasOwn {
				p.downgrade("%s: %s", b.Title(), missing)
			}
			t.add(of)
		case hasOwn:
		case replica && len(t.Sets) > 0:
			p.warn("%s: the replica %s is not RDS; it is verified by the CAs of the main host, and the connection may fail", b.Title(), host)
		default:
			return p.trustEveryone("not an RDS endpoint")
		}
	}
	t.add(own)
	return t
}

// moreCAs is the trust in CAs under keys that are not well-known. named is the place of the first
// whose key says that it is a CA.
func moreCAs(b binding.Binding) (t Trust, named binding.Place) {
	for _, ca := range b.MoreCAs {
		certs, err := truststore.ParseCredential(string(ca.Value))
		if err != nil {
			continue
		}
		t.add(Trust{Own: certs, Place: ca.Place, Why: cmp.Or(t.Why, ca.Place.String())})
		if ca.IsCA {
			named = cmp.Or(named, ca.Place)
		}
	}
	return t, named
}

// bindCA is what to do for AWS's CAs that are not in this buildpack. An app's owner has no ca/extra.
const bindCA = "bind its CA (in a service tagged postgres-ssl-ca, or as sslrootcert) or take a newer version of this buildpack; " +
	"a platform team puts the CA into ca/extra"

// trustHost returns the trust in a cloud's endpoint, and false for any other host. missing says which
// CAs this buildpack lacks, and what to do. If the database has CAs of its own, they stand for those,
// and for the stack's.
func (p *Plan) trustHost(host string, own bool) (t Trust, missing string, isCloud bool) {
	e, ok := rds.Parse(host)
	of := fmt.Sprintf("%s of %s", e.Service, e.Partition)
	t = Trust{Sets: []string{cmp.Or(e.Region, e.Partition)}, Why: fmt.Sprintf("%s in %s", e.Service, e.Region)}
	switch {
	case !ok || e.Service == rds.Azure && own:
		return Trust{}, "", false
	case e.Service == rds.Azure:
		return p.TrustStores(Trust{Why: "Azure, whose CAs are in the stack's store"}), "", true
	case !p.has(e.Partition):
		t = Trust{Why: of + ", whose CAs are not in this buildpack"}
		missing = fmt.Sprintf("%s is %s; %s", host, t.Why, bindCA)
		if !own {
			t = p.TrustStores(t)
		}
		return t, missing, true
	case e.Service == rds.DSQL || e.Service == rds.Redshift:
		t.Sets = nil
	case e.Region == "":
		t.Why = of + ", no region in the host name"
	case !p.has(e.Region):
		t.Sets, t.Why = []string{e.Partition}, of+", region "+e.Region+" not in this buildpack"
		if p.has(truststore.Extra) {
			t.Sets = append(t.Sets, truststore.Extra) // where a platform team puts a new region's
		}
		if e.Service == rds.RDS {
			missing = fmt.Sprintf("region %s is not in this buildpack, so all of %s is trusted; if the connection fails, %s",
				e.Region, e.Partition, bindCA)
		}
	}
	if e.Service != rds.RDS {
		t.Sets = append(t.Sets, truststore.AmazonTrust)
	}
	return t, missing, true
}

func (p *Plan) trustEveryone(why string) Trust {
	isOthers := func(set string) bool { return set != truststore.AmazonTrust && !strings.HasPrefix(set, "aws") }
	return p.TrustStores(Trust{Sets: slices.DeleteFunc(slices.Clone(p.sets), isOthers), Why: why})
}
