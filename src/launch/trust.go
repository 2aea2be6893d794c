package launch

import (
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// ModeSource says which database and which rule the mode comes from.
func (p *Plan) ModeSource() string {
	if p.Decider == nil {
		return "from POSTGRES_SSL_MODE"
	}
	return p.Decider.Title() + ", from " + p.Decider.Source.String()
}

// TrustAll returns the trust of all bound databases together, with the tunnel's CA. It is for
// variables that name only one file.
func (p *Plan) TrustAll() Trust {
	var all Trust
	if len(p.Databases) == 0 && p.Mode != sslmode.None {
		return p.trustEveryone("no database was found")
	}
	for _, db := range p.Databases {
		if !db.Main {
			continue // it must not widen the trust of its service
		}
		for _, set := range db.Trust.Sets {
			if !slices.Contains(all.Sets, set) {
				all.Sets = append(all.Sets, set)
			}
		}
		for _, c := range db.Trust.Own {
			if !slices.ContainsFunc(all.Own, c.Equal) {
				all.Own = append(all.Own, c)
			}
		}
		all.Everyone = all.Everyone || db.Trust.Everyone
	}
	all.Own = append(all.Own, p.TunnelCA...)
	return all
}

// ClientCertificate returns the decider's client certificate and key in PEM, nil if it has none.
func (p *Plan) ClientCertificate() (cert, key []byte) {
	if p.Decider == nil {
		return nil, nil
	}
	return p.Decider.ClientCertificate()
}

// ClientCertificate returns the database's own client certificate and key in PEM, nil if its
// binding has none.
func (db Database) ClientCertificate() (cert, key []byte) { return db.clientCert, db.clientKey }

// Empty says whether there is nobody to trust.
func (t Trust) Empty() bool { return len(t.Sets) == 0 && len(t.Own) == 0 && !t.Everyone }

// TrustStores returns the trust with the stack's and the platform's stores. The platform team's own
// CAs in the buildpack belong to these.
func (p *Plan) TrustStores(t Trust) Trust {
	t.Everyone = true
	if p.has(truststore.Extra) && !slices.Contains(t.Sets, truststore.Extra) {
		t.Sets = append(slices.Clone(t.Sets), truststore.Extra)
	}
	return t
}

// OneSet returns the set of the trust store that has exactly the CAs of all bound databases, "" if
// there is none.
func (p *Plan) OneSet() string {
	if all := p.TrustAll(); len(all.Sets) == 1 && len(all.Own) == 0 && !all.Everyone {
		return all.Sets[0]
	}
	return ""
}
