package launch

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

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
// variables that hold only one file.
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

// Certificates returns the CAs of a trust, without those in the stack's and the platform's stores.
func (p *Plan) Certificates(t Trust) ([]*x509.Certificate, error) {
	certs := slices.Clone(t.Own)
	for _, set := range p.sets(t) {
		more, err := p.store.Certificates(set)
		if err != nil {
			return nil, err
		}
		certs = append(certs, more...)
	}
	return certs, nil
}

// PEM returns the same certificates as one text. A launch has no time to parse them all.
func (p *Plan) PEM(t Trust) ([]byte, error) {
	text := truststore.EncodePEM(t.Own)
	for _, set := range p.sets(t) {
		more, err := p.store.PEM(set)
		if err != nil {
			return nil, err
		}
		text = append(text, more...)
	}
	return text, nil
}

// sets returns the sets of the trust. If it includes the platform's store, the platform team's own
// CAs in the buildpack belong to it too.
func (p *Plan) sets(t Trust) []string {
	if t.Everyone && p.store.Has(truststore.Extra) {
		return append(slices.Clone(t.Sets), truststore.Extra)
	}
	return t.Sets
}

const expiryWarning = 90 * 24 * time.Hour

// Describe says briefly which CAs are trusted and why, and when the first root expires. It warns if
// that is soon.
func (p *Plan) Describe(db Database, now time.Time) (trusted string, warning string, err error) {
	certs, err := p.Certificates(db.Trust)
	if err != nil {
		return "", "", err
	}
	var who []string
	switch {
	case len(db.Trust.Own) > 0:
		who = append(who, "its own "+plural(len(db.Trust.Own), "CA"))
	case db.Trust.Everyone:
		who = append(who, "all "+plural(len(certs), "CA")+" on board", "the stack's store", "the platform's store")
	default:
		who = append(who, plural(len(certs), "CA"))
	}
	trusted = strings.Join(who, ", ") + " (" + db.Trust.Why + ")"
	expiry := truststore.EarliestExpiry(certs)
	if expiry.IsZero() {
		return trusted, "", nil
	}
	day := expiry.Format(time.DateOnly)
	if expiry.Before(now.Add(expiryWarning)) {
		warning = fmt.Sprintf("%s: a root certificate in use expires on %s; renew it before that day", db.Name, day)
	}
	return trusted + ", first root expires " + day, warning, nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// ReadyBundle returns the file in the trust store that holds exactly the CAs of all bound
// databases, "" if there is none.
func (p *Plan) ReadyBundle() string {
	if all := p.TrustAll(); len(all.Sets) == 1 && len(all.Own) == 0 && !all.Everyone {
		return p.store.Bundle(all.Sets[0])
	}
	return ""
}
