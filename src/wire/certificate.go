package wire

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
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
				"and there is no certificate of its issuer, %s", v.name(top.Subject), anchor.Origin, v.name(top.Issuer)),
			"add the certificate of " + v.name(top.Issuer) + " to the CAs that the database is verified by"}
	}
	if p := v.outOfDate(path); p != nil {
		return p
	}
	for _, c := range path[1:] {
		// Of a certificate without a signature, since the path has checked those.
		if errors.Is(new(x509.Certificate).CheckSignatureFrom(c), x509.ConstraintViolationError{}) {
			return &Problem{certificateInvalid,
				fmt.Sprintf("the certificate of %s is signed by %s, which may not sign certificates", v.host, v.name(c.Subject)),
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
		why, who = v.Shown(strings.TrimPrefix(err.Error(), "x509: ")), "is not valid"
		// Go counts CAs that only renew a key, and knows neither gated cryptography nor name constraints
		// of other kinds.
		var invalid x509.CertificateInvalidError
		reasons := []x509.InvalidReason{x509.TooManyIntermediates, x509.IncompatibleUsage}
		isStricter := errors.As(err, &invalid) && slices.Contains(reasons, invalid.Reason)
		if isStricter || errors.As(err, new(x509.UnhandledCriticalExtension)) {
			why += stricter
		}
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

// signatures remembers some good ones, by the certificate and its issuer's key: a server sends the
// same chain each time, and one check of RDS's ECC384 takes almost a millisecond.
var signatures struct {
	sync.Mutex
	good [64][sha256.Size]byte
}

// signed says whether an issuer has signed a certificate, may it or not.
func signed(cert, issuer *x509.Certificate) bool {
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return false
	}
	id := sha256.Sum256(slices.Concat(cert.Raw, issuer.RawSubjectPublicKeyInfo))
	signatures.Lock()
	defer signatures.Unlock()
	known := &signatures.good[int(id[0])%len(signatures.good)]
	if *known != id && issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
		*known = id
	}
	return *known == id
}

// selfSigned is stricter than truststore.IsRoot, because a server's certificate may bear its
// issuer's name. It misses old roots that are signed with SHA-1.
func selfSigned(c *x509.Certificate) bool { return signed(c, c) }

// outOfDate returns the problem of the first certificate of a path that is not valid now.
func (v verifier) outOfDate(path []*x509.Certificate) *Problem {
	i := slices.IndexFunc(path, func(c *x509.Certificate) bool { return !v.isCurrent(c) })
	if i < 0 {
		return nil
	}
	renew := "ask the database's operator to renew its certificate and the chain that it sends"
	replace := "give the database a certificate of a newer root, and trust that root"
	if endpoint, _ := rds.Parse(v.host); endpoint.Service == rds.RDS { // which signs by itself
		renew = "restart the database, or modify its certificate authority in RDS: either renews the certificate"
		replace = "modify the database's certificate authority in RDS to a newer one"
	}
	c := path[i]
	name, end := v.name(c.Subject), plain.Day(c.NotAfter)
	switch {
	case v.now.Before(c.NotBefore):
		return &Problem{notYetValid, fmt.Sprintf("the certificate of %s is valid only from %s on", name, plain.Day(c.NotBefore)),
			"check the clock of this machine, which says " + plain.Day(v.now)}
	case i > 0 && truststore.IsRoot(c):
		return &Problem{rootExpired, fmt.Sprintf("the root certificate %s expired on %s", name, end), replace}
	}
	return &Problem{certificateExpired, fmt.Sprintf("the certificate of %s in the chain of %s expired on %s", name, v.host, end), renew}
}

// Go and OpenSSL differ on a few chains. libpq uses OpenSSL, and so does nearly every driver that is
// not written in Go or Java. chains_test.go holds this file beside OpenSSL's own commands.

// The extensions that we read ourselves (RFC 5280, 4.2.1).
var (
	keyUsage            = asn1.ObjectIdentifier{2, 5, 29, 15}
	extendedKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
	authorityIdentifier = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// stricter follows what may be refused by Go alone.
const stricter = "; drivers in Go and the tunnel refuse it, drivers on OpenSSL may accept it"

func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value
		}
	}
	return nil
}

// OpenSSLRefuses says why OpenSSL does not accept a chain for a TLS server, where it may differ from
// Go, or returns "". The chain ends at its root. Sources: check_purpose_ssl_server and X509_check_akid
// in OpenSSL's v3_purp.c, check_key_level in x509_vfy.c, NAME_CONSTRAINTS_check_CN in v3_ncons.c.
//
// The strict mode (check_extensions in x509_vfy.c) does not look at a pinned certificate.
func (t *Target) OpenSSLRefuses(chain []*x509.Certificate, strict bool) string {
	const ofServers = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	strict = strict && len(chain) > 1
	for i, c := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		key, isRSA := c.PublicKey.(*rsa.PublicKey)
		switch {
		case c != issuer && truststore.IsRoot(c) && identifies(c, c):
			return "OpenSSL takes " + t.name(c.Subject) + " for a root: it has its issuer's name, and no authorityKeyIdentifier"
		case i == 0 && extension(c, keyUsage) != nil && c.KeyUsage&ofServers == 0:
			return "its key usage is not that of a TLS server: it needs digitalSignature or keyEncipherment"
		// Unlike Go, OpenSSL takes neither an empty list nor anyExtendedKeyUsage for serverAuth.
		case extension(c, extendedKeyUsage) != nil && !slices.ContainsFunc(c.ExtKeyUsage, isForServers):
			return "the extended key usage of " + t.name(c.Subject) + " does not name serverAuth"
		case forbids(c, chain[0]):
			return t.name(c.Subject) + " may not sign for the common name " + t.name(chain[0].Subject) + ", which counts for want of a DNS name"
		// Security level 2, the default on the platform's stacks. Go reads no curve below it.
		case isRSA && key.N.BitLen() < 2048:
			return "the key of " + t.name(c.Subject) + " is too small: OpenSSL asks for RSA 2048 or P-224"
		case !identifies(c, issuer):
			return t.name(c.Subject) + " names another key as its issuer's (authorityKeyIdentifier) than that of " + t.name(issuer.Subject)
		case strict && c.IsCA && len(c.SubjectKeyId) == 0:
			return t.name(c.Subject) + " has no subjectKeyIdentifier"
		case strict && c != issuer && c.AuthorityKeyId == nil:
			return t.name(c.Subject) + " has no authorityKeyIdentifier"
		case strict && i > 0 && extension(c, keyUsage) == nil:
			return t.name(c.Subject) + " has no keyUsage"
		}
	}
	return ""
}

func isForServers(u x509.ExtKeyUsage) bool {
	gated := u == x509.ExtKeyUsageNetscapeServerGatedCrypto || u == x509.ExtKeyUsageMicrosoftServerGatedCrypto
	return gated || u == x509.ExtKeyUsageServerAuth
}

// forbids says whether a CA's name constraints exclude a server's common name. It counts if there
// is no DNS name beside it, and it could be one.
func forbids(ca, server *x509.Certificate) bool {
	name := strings.ToLower(server.Subject.CommonName)
	within := func(domain string) bool {
		domain = strings.ToLower(domain)
		return domain == "" || name == domain || strings.HasSuffix(name, "."+strings.TrimPrefix(domain, "."))
	}
	permitted := len(ca.PermittedDNSDomains) == 0 || slices.ContainsFunc(ca.PermittedDNSDomains, within)
	counts := len(server.DNSNames) == 0 && hostName().MatchString(name)
	return counts && (!permitted || slices.ContainsFunc(ca.ExcludedDNSDomains, within))
}

var hostName = lazyregexp.New(`^\w([\w-]*\w)?(\.\w([\w-]*\w)?)+$`)

// identifies says whether what a certificate says about its issuer's is true of that: the key, the
// number and the name of its own issuer (RFC 5280, 4.2.1.1). A root is its own issuer.
func identifies(c, issuer *x509.Certificate) bool {
	if c.AuthorityKeyId != nil && issuer.SubjectKeyId != nil && !bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId) {
		return false
	}
	var parts struct {
		ID     []byte        `asn1:"optional,tag:0"`
		Issuer asn1.RawValue `asn1:"optional,tag:1"`
		Serial *big.Int      `asn1:"optional,tag:2"`
	}
	if _, err := asn1.Unmarshal(extension(c, authorityIdentifier), &parts); err != nil {
		return true // it says nothing
	}
	var name asn1.RawValue // a directoryName, [4] EXPLICIT
	_, err := asn1.Unmarshal(parts.Issuer.Bytes, &name)
	isAnothers := err == nil && name.Tag == 4 && !bytes.Equal(name.Bytes, issuer.RawIssuer)
	return !isAnothers && (parts.Serial == nil || parts.Serial.Cmp(issuer.SerialNumber) == 0)
}
