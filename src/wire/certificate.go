package wire

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// verifier decides whether one server is believed, and explains why not.
type verifier struct {
	*Target
	chain []*x509.Certificate // what the server sent, its own certificate first
	host  string
	now   time.Time
}

// verify decides whether a server's chain is good enough for a mode. No other function does. It
// returns the verified path, from the server's certificate to the root, or the problem.
//
// The one path that OpenSSL tries, and so libpq, has to be good enough for it and for Go. It has to
// end at a root: Go and Java also accept a trusted intermediate.
func (t *Target) verify(chain []*x509.Certificate, host string, mode sslmode.Mode, now time.Time) (
	path []*x509.Certificate, problem *Problem,
) {
	if !mode.Verifies() {
		return nil, nil
	}
	v := verifier{t, chain, host, now}
	path = v.path(t.Trust)
	if problem = v.refuses(path); problem != nil {
		return nil, problem
	}
	// Check the host name after the chain, as libpq does: anybody can write a name into a
	// certificate.
	if mode == sslmode.VerifyFull && chain[0].VerifyHostname(host) != nil {
		problem = v.nameMismatch()
	}
	return path, problem
}

func (v verifier) refuses(path []*x509.Certificate) *Problem {
	top, roots, intermediates := path[len(path)-1], x509.NewCertPool(), x509.NewCertPool()
	switch anchor := find(v.Trust, top); {
	case anchor == nil:
		return v.notTrusted(path)
	case !truststore.IsRoot(top):
		return &Problem{chainIncomplete,
			fmt.Sprintf("the chain ends at %s (from %s), which is not a root; libpq does not accept that, "+
				"and there is no certificate of its issuer, %s", v.name(top), anchor.Origin, v.issuer(top)),
			"add the certificate of " + v.issuer(top) + " to the CAs that the database is verified by"}
	}
	if p := v.outOfDate(path); p != nil {
		return p
	}
	for i, c := range path[1:] {
		if errors.Is(path[i].CheckSignatureFrom(c), x509.ConstraintViolationError{}) {
			return &Problem{certificateInvalid,
				fmt.Sprintf("the certificate of %s is signed by %s, which may not sign certificates", v.host, v.name(c)),
				"ask the database's operator for a CA whose certificate has basicConstraints CA:TRUE and keyUsage keyCertSign"}
		}
		intermediates.AddCert(c)
	}
	roots.AddCert(top)
	_, err := path[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: v.now})
	why, who := v.OpenSSLRefuses(path, false), "libpq and all that use OpenSSL refuse it"
	switch {
	case why == "" && err == nil:
		return nil
	case why == "":
		why, who = v.Shown(strings.TrimPrefix(err.Error(), "x509: "))+stricter, "is not valid"
	}
	return &Problem{certificateInvalid,
		fmt.Sprintf("the certificate of %s leads to a trusted root, but %s: %s", v.host, who, why),
		"ask the database's operator to replace that certificate"}
}

// path returns the certificates from the server's up to the last issuer that it finds by signature.
// As OpenSSL does (build_chain in x509_vfy.c), it looks first among these anchors, then among those
// that the server sent, and takes the first that is valid now, else the first.
func (v verifier) path(anchors []Anchor) []*x509.Certificate {
	var candidates []*x509.Certificate
	for _, a := range anchors {
		candidates = append(candidates, a.Cert)
	}
	candidates = append(candidates, v.chain[1:]...)
	path := v.chain[:1:1]
	const longest = 10
	for top := path[0]; !selfSigned(top) && len(path) < longest; path = append(path, top) {
		others := func(c *x509.Certificate) bool { return !signed(top, c) }
		issuers := slices.DeleteFunc(slices.Clone(candidates), others)
		if len(issuers) == 0 {
			break
		}
		top = issuers[max(slices.IndexFunc(issuers, v.isCurrent), 0)]
	}
	return path
}

// isCurrent: unlike Go, OpenSSL refuses a certificate in its last second.
func (v verifier) isCurrent(c *x509.Certificate) bool {
	return !v.now.Before(c.NotBefore) && v.now.Before(c.NotAfter)
}

// signed says whether an issuer has signed a certificate, may it or not.
func signed(cert, issuer *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, issuer.RawSubject) &&
		issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// selfSigned is stricter than truststore.IsRoot, because a server's certificate may bear its
// issuer's name. It misses old roots that are signed with SHA-1.
func selfSigned(c *x509.Certificate) bool { return signed(c, c) }

// outOfDate returns the problem of the first certificate of a path that is not valid now.
func (v verifier) outOfDate(path []*x509.Certificate) *Problem {
	renew := "ask the database's operator to renew its certificate and the chain that it sends"
	replace := "give the database a certificate of a newer root, and trust that root"
	if endpoint, _ := rds.Parse(v.host); endpoint.Service == rds.RDS { // which signs by itself
		renew = "restart the database, or modify its certificate authority in RDS: either renews the certificate"
		replace = "modify the database's certificate authority in RDS to a newer one"
	}
	for i, c := range path {
		name, end := v.name(c), plain.Day(c.NotAfter)
		switch {
		case v.isCurrent(c):
		case v.now.Before(c.NotBefore):
			return &Problem{notYetValid, fmt.Sprintf("the certificate of %s is valid only from %s on", name, plain.Day(c.NotBefore)),
				"check the clock of this machine, which says " + plain.Day(v.now)}
		case i > 0 && truststore.IsRoot(c):
			return &Problem{rootExpired, fmt.Sprintf("the root certificate %s expired on %s", name, end), replace}
		default:
			return &Problem{certificateExpired, fmt.Sprintf("the certificate of %s in the chain of %s expired on %s", name, v.host, end), renew}
		}
	}
	return nil
}

// notTrusted explains a path that leads to no trusted certificate. Either the CA is not trusted, or
// a certificate on the way to a trusted one is missing.
func (v verifier) notTrusted(path []*x509.Certificate) *Problem {
	top, home := path[len(path)-1], ""
	// Every CA in this buildpack may lead to a trusted one, or to one that is trusted for other hosts.
	all := v.path(slices.Concat(v.Trust, knownCAs()))
	end := all[len(all)-1]
	root := find(v.Trust, end)
	for _, a := range knownCAs() {
		if root == nil && a.Cert.Equal(end) {
			home = max(home, a.Origin) // "region …" is more precise than "partition …"
		}
	}
	if root == nil && home == "" {
		root = v.likelyRoot(top)
	}
	if root != nil {
		return &Problem{chainIncomplete,
			fmt.Sprintf("%s does not send the intermediate certificate %s, which by its name leads to the trusted root %s",
				v.host, v.issuer(top), v.name(root.Cert)),
			"append that certificate to the server's certificate file (ssl_cert_file), after its own"}
	}
	who := "its issuer is " + v.issuer(top)
	if selfSigned(top) {
		who = v.name(top) + " is signed by itself, and unknown here"
	}
	p := &Problem{Code: unknownCA,
		What: fmt.Sprintf("the certificate of %s comes from a CA that is not trusted: %s; the chain that was sent ends at %s, SHA-256 %s",
			v.host, who, v.name(top), truststore.Fingerprint(top))}
	_, isEndpoint := rds.Parse(v.host)
	callsItselfRDS := rds.CertificateRegion(end.Subject.CommonName)+rds.CertificateRegion(end.Issuer.CommonName) != ""
	switch {
	case home != "" && isEndpoint:
		p.Do = "check that the host name leads to the right database"
	case home != "":
		p.Do = "check that the binding names the right host; if it does, put that CA into " + v.TrustPlace
	case callsItselfRDS || isEndpoint:
		p.Do = "if AWS has published that CA, bind it in a service tagged postgres-ssl-ca; else something else answers at this address " +
			"(a proxy, a tunnel, a wrong DNS entry): find out what before you send anything there"
	default:
		p.Do = "ask the database's operator for the certificate of " + v.issuer(top) + ", and put that into " + v.TrustPlace
	}
	if home != "" {
		p.What += "; that CA belongs to the bundle of " + home
	}
	var trusted []string
	for _, a := range v.Trust {
		trusted = append(trusted, v.name(a.Cert)+" ("+a.Origin+")")
	}
	if len(trusted) <= 5 { // more say nothing
		p.What += "; trusted are: " + cmp.Or(plain.List(trusted, 5), "none")
	}
	return p
}

// likelyRoot guesses which trusted root the missing issuer of a certificate leads to: that of the
// same organization. It returns nil if there is none, or if the issuer calls itself a root.
func (v verifier) likelyRoot(top *x509.Certificate) *Anchor {
	issuer := top.Issuer
	if selfSigned(top) || len(issuer.Organization) == 0 || strings.Contains(strings.ToLower(issuer.CommonName), "root") {
		return nil
	}
	for _, a := range v.Trust {
		isItself := bytes.Equal(a.Cert.RawSubject, top.RawIssuer) // by its name: it has not signed
		if truststore.IsRoot(a.Cert) && !isItself && slices.Equal(issuer.Organization, a.Cert.Subject.Organization) {
			return &a
		}
	}
	return nil
}

// nameMismatch says which names would have matched. Without one, libpq looks at the common name
// (libpq's manual, "Client Verification of Server Certificates"). Go's drivers do not (crypto/x509,
// VerifyHostname).
func (v verifier) nameMismatch() *Problem {
	leaf := v.chain[0]
	isCloud := func(host string) bool { _, ok := rds.Parse(host); return ok }
	if names := v.Names(leaf); len(names) > 0 {
		do := "put one of these names into the binding as its host, or ask the database's operator for a certificate for " + v.host
		if net.ParseIP(v.host) != nil {
			do += "; under verify-ca, with a CA of the database's own, an address needs no name"
		} else if i := slices.IndexFunc(names, isCloud); i >= 0 && !isCloud(v.host) {
			do = "bind the endpoint's own name, " + names[i] + "; no certificate of the cloud names " + v.host
		}
		return &Problem{nameMismatch, fmt.Sprintf("the certificate is not issued for %s, but for %s", v.host, plain.List(names, 10)), do}
	}
	return &Problem{nameMismatch,
		fmt.Sprintf("the certificate is not issued for %s: it has no subject alternative names; "+
			"its common name is %s, at which libpq looks, but drivers in Go (lib/pq, pgx) do not", v.host, v.name(leaf)),
		"ask the database's operator for a certificate with " + v.host + " as a subject alternative name"}
}

// Names returns the DNS names and IP addresses of a certificate.
func (t *Target) Names(c *x509.Certificate) []string {
	names := []string{}
	for _, name := range c.DNSNames {
		names = append(names, t.Shown(name))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// name and issuer are in quotes, as they may contain spaces.
func (t *Target) name(c *x509.Certificate) string {
	return `"` + t.Shown(truststore.CommonName(c)) + `"`
}
func (t *Target) issuer(c *x509.Certificate) string {
	return `"` + t.Shown(truststore.IssuerName(c)) + `"`
}
