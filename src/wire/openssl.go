package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

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
		switch {
		case c != issuer && truststore.IsRoot(c) && identifies(c, c):
			return "OpenSSL takes " + t.name(c) + " for a root: it has its issuer's name, and no authorityKeyIdentifier"
		case i == 0 && extension(c, keyUsage) != nil && c.KeyUsage&ofServers == 0:
			return "its key usage is not that of a TLS server: it needs digitalSignature or keyEncipherment"
		// Unlike Go, OpenSSL takes neither an empty list nor anyExtendedKeyUsage for serverAuth.
		case extension(c, extendedKeyUsage) != nil && !slices.ContainsFunc(c.ExtKeyUsage, isForServers):
			return "the extended key usage of " + t.name(c) + " does not name serverAuth"
		case forbids(c, chain[0]):
			return t.name(c) + " may not sign for the common name " + t.name(chain[0]) + ", which counts for want of a DNS name"
		case tooSmall(c):
			return "the key of " + t.name(c) + " is too small: OpenSSL asks for RSA 2048 or P-224"
		case !identifies(c, issuer):
			return t.name(c) + " names another key as its issuer's (authorityKeyIdentifier) than that of " + t.name(issuer)
		case strict && c.IsCA && len(c.SubjectKeyId) == 0:
			return t.name(c) + " has no subjectKeyIdentifier"
		case strict && c != issuer && c.AuthorityKeyId == nil:
			return t.name(c) + " has no authorityKeyIdentifier"
		case strict && i > 0 && extension(c, keyUsage) == nil:
			return t.name(c) + " has no keyUsage"
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

// tooSmall applies OpenSSL's security level 2, the default on the platform's stacks: 112 bits.
func tooSmall(c *x509.Certificate) bool {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() < 2048
	case *ecdsa.PublicKey:
		return key.Curve.Params().BitSize < 224
	}
	return false
}

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
