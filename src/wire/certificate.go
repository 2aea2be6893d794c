package wire

import (
	"bytes"
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

// verifier decides whether a server is believed, and explains why not.
type verifier struct {
	trust, known []Anchor // as in Target
	why, place   string   // as in Target
	Screen
}

func (t *Target) verifier() verifier {
	return verifier{t.Trust, t.known, t.trustWhy, t.trustPlace, t.screen()}
}

// verify decides whether a certificate is good enough for a mode. No other function does. It
// returns the verified chain, from the server's certificate to the root, or the problem. chain is
// what the server sent, its own certificate first.
//
// The certificate has to be good enough for Go and for OpenSSL, so also for libpq. A chain has to
// end at a root: Go and Java also accept a trusted intermediate as its end. docs/verify.md says
// which drivers refuse what verifies here.
func (v verifier) verify(chain []*x509.Certificate, host string, mode sslmode.Mode, now time.Time) (
	path []*x509.Certificate, problem *Problem,
) {
	if !mode.Verifies() {
		return nil, nil
	}
	leaf := chain[0]
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range v.trust {
		if truststore.IsRoot(a.Cert) {
			roots.AddCert(a.Cert)
		} else {
			intermediates.AddCert(a.Cert)
		}
	}
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	verified, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	if err != nil {
		return nil, v.whyUnverified(chain, host, now, err)
	}
	for _, path = range verified {
		if problem = v.refusedByOthers(path, host, now); problem == nil {
			break
		}
	}
	if problem != nil {
		return nil, problem
	}
	// Check the host name after the chain, as libpq does: anybody can write a name into a
	// certificate.
	if mode == sslmode.VerifyFull && leaf.VerifyHostname(host) != nil {
		return path, v.nameMismatch(leaf, host)
	}
	return path, nil
}

// refusedByOthers returns the problem of a chain that Go accepts and OpenSSL does not.
func (v verifier) refusedByOthers(path []*x509.Certificate, host string, now time.Time) *Problem {
	for _, c := range path {
		if p := v.outOfDate(c, path[0], host, now); p != nil { // in its last second
			return p
		}
	}
	if why := v.opensslRefuses(path); why != "" {
		return &Problem{certificateInvalid,
			fmt.Sprintf("the certificate of %s leads to a trusted root, but libpq and all that use OpenSSL refuse it: %s", host, why),
			"ask the database's operator to replace that certificate"}
	}
	return nil
}

func (v verifier) trusts(cert *x509.Certificate) bool {
	return slices.ContainsFunc(v.trust, func(a Anchor) bool { return a.Cert.Equal(cert) })
}

func (v verifier) anchor(cert *x509.Certificate) Anchor {
	i := slices.IndexFunc(v.trust, func(a Anchor) bool { return a.Cert.Equal(cert) })
	return v.trust[i]
}

// whyUnverified explains why a chain was refused. It decides nothing, and ignores dates.
func (v verifier) whyUnverified(chain []*x509.Certificate, host string, now time.Time, err error) *Problem {
	path := chainOf(chain[0], chain[1:], v.trust)
	top := path[len(path)-1]
	if !v.trusts(top) {
		return v.notTrusted(path, chain, host)
	}
	if !truststore.IsRoot(top) {
		return &Problem{chainIncomplete,
			fmt.Sprintf("the chain ends at %s (from %s), which is not a root; libpq does not accept that, "+
				"and there is no certificate of its issuer, %s", v.quoted(truststore.CommonName(top)), v.anchor(top).Origin, v.issuer(top)),
			"add the certificate of " + v.issuer(top) + " to the CAs that the database is verified by"}
	}
	for _, c := range path {
		if p := v.outOfDate(c, chain[0], host, now); p != nil {
			return p
		}
	}
	if c := mayNotSign(path); c != nil {
		return &Problem{certificateInvalid,
			fmt.Sprintf("the certificate of %s is signed by %s, which may not sign certificates", host, v.quoted(truststore.CommonName(c))),
			"ask the database's operator for a CA whose certificate has basicConstraints CA:TRUE and keyUsage keyCertSign"}
	}
	why := v.Shown(strings.TrimPrefix(err.Error(), "x509: "))
	if stricter := v.goRefuses(path); stricter != "" {
		why = stricter + "; drivers in Go and the tunnel refuse it, drivers on OpenSSL may accept it"
	}
	return &Problem{certificateInvalid,
		fmt.Sprintf("the certificate of %s leads to a trusted root, but is not valid: %s", host, why),
		"ask the database's operator to replace its certificate"}
}

// chainOf returns the certificates from the leaf up to the last issuer that it finds by signature. It
// looks first among the trusted certificates, then among those that the server sent.
func chainOf(leaf *x509.Certificate, sent []*x509.Certificate, trust []Anchor) []*x509.Certificate {
	var candidates []*x509.Certificate
	for _, a := range trust {
		candidates = append(candidates, a.Cert)
	}
	candidates = append(candidates, sent...)
	path := []*x509.Certificate{leaf}
	const longest = 10
	for top := leaf; !selfSigned(top) && len(path) < longest; path = append(path, top) {
		i := slices.IndexFunc(candidates, func(c *x509.Certificate) bool { return signed(top, c) })
		if i < 0 {
			break
		}
		top = candidates[i]
	}
	return path
}

// signed says whether an issuer has signed a certificate, may it or not.
func signed(cert, issuer *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, issuer.RawSubject) &&
		issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// selfSigned is stricter than truststore.IsRoot, because a server's certificate may bear its
// issuer's name. It misses old roots that are signed with SHA-1.
func selfSigned(c *x509.Certificate) bool {
	return truststore.IsRoot(c) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func (v verifier) outOfDate(c, leaf *x509.Certificate, host string, now time.Time) *Problem {
	name := v.quoted(truststore.CommonName(c))
	isRDS := isRDS(host)
	switch {
	case now.Before(c.NotBefore):
		return &Problem{notYetValid, fmt.Sprintf("the certificate of %s is valid only from %s on", name, plain.Day(c.NotBefore)),
			"check the clock of this machine, which says " + plain.Day(now)}
	case now.Before(c.NotAfter): // OpenSSL leaves out the last second, Go does not
		return nil
	case c == leaf:
		p := &Problem{certificateExpired,
			fmt.Sprintf("the certificate of %s, issued for %s, expired on %s", host, name,
				plain.Day(c.NotAfter)), "ask the database's operator to renew its certificate"}
		if isRDS {
			p.Do = "restart the database, or modify its certificate authority in RDS: either renews the certificate"
		}
		return p
	case truststore.IsRoot(c):
		p := &Problem{rootExpired, fmt.Sprintf("the root certificate %s expired on %s", name, plain.Day(c.NotAfter)),
			"give the database a certificate of a newer root, and trust that root"}
		if isRDS {
			p.Do = "modify the database's certificate authority in RDS to a newer one"
		}
		return p
	}
	return &Problem{certificateExpired, fmt.Sprintf("the intermediate certificate %s expired on %s", name, plain.Day(c.NotAfter)),
		"ask the database's operator to renew its certificate and the chain that it sends"}
}

// notTrusted explains a path that leads to no trusted certificate. Either the CA is not trusted, or
// a certificate on the way to a trusted one is missing.
func (v verifier) notTrusted(path, chain []*x509.Certificate, host string) *Problem {
	top := path[len(path)-1]
	// Try every CA in this buildpack. The path may lead to a trusted one after all, or to one that is
	// trusted only for other hosts.
	all := chainOf(chain[0], chain[1:], append(slices.Clone(v.trust), v.known...))
	end := all[len(all)-1]
	missing := slices.IndexFunc(all, func(c *x509.Certificate) bool { return !v.trusts(c) && !slices.ContainsFunc(chain, c.Equal) })
	if v.trusts(end) && missing >= 0 {
		return v.incomplete(all[missing], host, end)
	}
	home := "" // the set of this buildpack that the CA belongs to
	if i := slices.IndexFunc(v.known, func(a Anchor) bool { return a.Cert.Equal(end) }); i >= 0 {
		home = v.bundle(end)
	} else if root := v.likelyRoot(top); root != nil {
		return v.incomplete(nil, host, root, top)
	}

	who := fmt.Sprintf("its issuer is %s", v.issuer(top))
	if selfSigned(top) {
		who = "it leads to a root that is unknown here"
		if len(path) == 1 {
			who = "it is signed by itself"
		}
	}
	p := &Problem{Code: unknownCA,
		What: fmt.Sprintf("the certificate of %s comes from a CA that is not trusted: %s; the chain that was sent ends at %s, SHA-256 %s",
			host, who, v.quoted(truststore.CommonName(top)), truststore.Fingerprint(top))}
	endpoint, isEndpoint := rds.Parse(host)
	named := rds.CertificateRegion(end.Subject.CommonName)
	if named == "" {
		named = rds.CertificateRegion(end.Issuer.CommonName)
	}
	switch {
	case home != "":
		p.What += fmt.Sprintf("; that CA belongs to the bundle of %s, trusted are: %s", home, v.why)
		p.Do = "check that the binding names the right host; if it does, put that CA into " + v.place
		if isEndpoint {
			p.Do = fmt.Sprintf("check that the host name, which says %s, leads to the right database", place(endpoint))
		}
	case named != "":
		p.What += fmt.Sprintf("; it calls itself a CA of RDS in %s, but is none of those in this buildpack", named)
		p.Do = "if AWS has published it, bind it in a service tagged postgres-ssl-ca; otherwise something else is answering"
	case isEndpoint:
		p.What += fmt.Sprintf("; no bundle in this buildpack has it, trusted are: %s", v.why)
		p.Do = "something else answers at this address (a proxy, a tunnel, a wrong DNS entry): find out what before you send anything there"
	default:
		p.Do = "ask the database's operator to confirm the fingerprint, and put its CA into " + v.place
	}
	return p
}

// bundle names the most precise set that has a certificate: a region before its
// partition.
func (v verifier) bundle(cert *x509.Certificate) string {
	var sets []string
	for _, a := range v.known {
		if a.Cert.Equal(cert) {
			sets = append(sets, a.Origin)
		}
	}
	// Put "region …" before "partition …".
	slices.SortStableFunc(sets, func(a, b string) int { return strings.Compare(b, a) })
	return sets[0]
}

func place(e rds.Endpoint) string {
	switch {
	case e.Partition == "":
		return string(e.Service)
	case e.Service != rds.RDS:
		return string(e.Service) + " in " + e.Region
	case e.Region == "":
		return "partition " + e.Partition
	}
	return "region " + e.Region
}

func isCloud(host string) bool { _, ok := rds.Parse(host); return ok }

// isRDS says whether RDS signs the host's certificate itself.
func isRDS(host string) bool {
	endpoint, _ := rds.Parse(host)
	return endpoint.Service == rds.RDS
}

// incomplete reports a chain that lacks a certificate below a trusted root. missing is nil if we
// know only its name, from the topmost certificate.
func (v verifier) incomplete(missing *x509.Certificate, host string, root *x509.Certificate, top ...*x509.Certificate) *Problem {
	name, sure := "", "leads"
	if missing != nil {
		name = v.quoted(truststore.CommonName(missing))
	} else {
		name, sure = v.issuer(top[0]), "by its name leads"
	}
	return &Problem{chainIncomplete,
		fmt.Sprintf("%s does not send the intermediate certificate %s, which %s to the trusted root %s", host, name, sure,
			v.quoted(truststore.CommonName(root))),
		"append that certificate to the server's certificate file (ssl_cert_file), after its own"}
}

// likelyRoot guesses which trusted root the missing issuer of a certificate leads to. The
// certificate may name it as its issuer's issuer, or it is of the same RDS region, or of the same
// organization. likelyRoot returns nil if there is no such root, or if the issuer calls itself a
// root.
func (v verifier) likelyRoot(top *x509.Certificate) *x509.Certificate {
	if selfSigned(top) || strings.Contains(strings.ToLower(top.Issuer.CommonName), "root") {
		return nil
	}
	grandparent := authorityKey(top).issuer
	region := rds.CertificateRegion(top.Issuer.CommonName)
	for _, a := range v.trust {
		switch {
		case !truststore.IsRoot(a.Cert):
		case bytes.Equal(a.Cert.RawSubject, top.RawIssuer): // another CA of the same name
			return nil
		case grandparent != nil && bytes.Equal(a.Cert.RawSubject, grandparent),
			region != "" && region == rds.CertificateRegion(a.Cert.Subject.CommonName),
			len(top.Issuer.Organization) > 0 && slices.Equal(top.Issuer.Organization, a.Cert.Subject.Organization):
			return a.Cert
		}
	}
	return nil
}

// nameMismatch says which names would have matched. A certificate with only a common name is a
// special case. libpq falls back to the common name (libpq's manual, "Client Verification of Server
// Certificates"). Go's drivers do not (crypto/x509, VerifyHostname).
func (v verifier) nameMismatch(leaf *x509.Certificate, host string) *Problem {
	p := &Problem{Code: nameMismatch,
		Do: "put one of these names into the binding as its host, or ask the database's operator for a certificate for " + host}
	names := v.Names(leaf)
	if len(names) > 0 {
		p.What = fmt.Sprintf("the certificate is not issued for %s, but for %s", host, plain.List(names, 10))
		if i := slices.IndexFunc(names, isCloud); i >= 0 && !isCloud(host) {
			p.Do = "bind the endpoint's own name, " + names[i] + "; no certificate of the cloud names " + host
		} else if net.ParseIP(host) != nil {
			p.Do += "; under verify-ca, with a CA of the database's own, an address needs no name"
		}
		return p
	}
	p.Do = "ask the database's operator for a certificate with " + host + " as a subject alternative name"
	legacy := *leaf
	if ip := net.ParseIP(leaf.Subject.CommonName); ip != nil {
		legacy.IPAddresses = []net.IP{ip}
	} else {
		legacy.DNSNames = []string{leaf.Subject.CommonName}
	}
	if legacy.VerifyHostname(host) == nil {
		p.What = fmt.Sprintf("the certificate has no subject alternative names; its common name is %s, "+
			"which libpq accepts, but drivers in Go (lib/pq, pgx) do not", host)
	} else {
		p.What = fmt.Sprintf("the certificate is not issued for %s: it has no subject alternative names, and its common name is %s",
			host, v.quoted(leaf.Subject.CommonName))
	}
	return p
}

// Names returns the DNS names and IP addresses of a certificate.
func (s Screen) Names(c *x509.Certificate) []string {
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, s.Shown(name))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func (v verifier) issuer(c *x509.Certificate) string { return v.quoted(truststore.IssuerName(c)) }

// certificateError carries verify's problem through crypto/tls, and ends the handshake.
type certificateError struct{ problem *Problem }

func (e *certificateError) Error() string { return e.problem.What }

// certificateProblem finds a certificateError in an error.
func certificateProblem(err error) *Problem {
	var c *certificateError
	if errors.As(err, &c) {
		return c.problem
	}
	return nil
}
