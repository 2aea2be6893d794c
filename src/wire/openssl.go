package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Go and OpenSSL differ on a few chains. libpq uses OpenSSL, and so does nearly every driver that
// is not written in Go or Java. A server has to be good enough for both. chains_test.go holds this
// file beside OpenSSL's own commands.

// The extensions that we read ourselves (RFC 5280, 4.2.1; nsCertType is Netscape's).
var (
	keyUsage            = asn1.ObjectIdentifier{2, 5, 29, 15}
	extendedKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
	nameConstraints     = asn1.ObjectIdentifier{2, 5, 29, 30}
	authorityIdentifier = asn1.ObjectIdentifier{2, 5, 29, 35}
	netscapeType        = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 1}
)

func extension(c *x509.Certificate, id asn1.ObjectIdentifier) (value []byte, there bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value, true
		}
	}
	return nil, false
}

// opensslRefuses says why OpenSSL does not accept a chain for a TLS server that Go has accepted, or
// returns "". The chain ends at its root. Sources: check_purpose_ssl_server and X509_check_akid in
// OpenSSL's v3_purp.c, check_key_level in x509_vfy.c.
func (s Screen) opensslRefuses(chain []*x509.Certificate) string {
	for i, c := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		name := s.name(c)
		switch {
		case c != issuer && truststore.IsRoot(c) && identifies(c, c):
			return fmt.Sprintf("OpenSSL takes %s for a root: it has its issuer's name, and no authorityKeyIdentifier", name)
		case i == 0 && !forServers(c):
			return "its key usage is not that of a TLS server: it needs digitalSignature or keyEncipherment"
		case !forServerAuth(c):
			return "the extended key usage of " + name + " does not name serverAuth"
		case tooSmall(c):
			return fmt.Sprintf("the key of %s is too small: OpenSSL asks for RSA 2048 or P-224", name)
		case !identifies(c, issuer):
			return fmt.Sprintf("%s names another key as its issuer's (authorityKeyIdentifier) than that of %s",
				name, s.name(issuer))
		}
	}
	return ""
}

// forServers looks at the key usage of a server's own certificate, and at Netscape's older word.
func forServers(c *x509.Certificate) bool {
	const usages = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	if _, restricted := extension(c, keyUsage); restricted && c.KeyUsage&usages == 0 {
		return false
	}
	value, restricted := extension(c, netscapeType)
	var types asn1.BitString
	_, err := asn1.Unmarshal(value, &types)
	const server = 1
	return !restricted || err == nil && types.At(server) == 1
}

// forServerAuth looks at the extended key usage, which binds CAs too. Unlike Go, OpenSSL takes
// neither an empty one nor anyExtendedKeyUsage for serverAuth.
func forServerAuth(c *x509.Certificate) bool {
	_, restricted := extension(c, extendedKeyUsage)
	return !restricted || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

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

// identifies says whether what a certificate says about its issuer's key is true of the issuer. A
// root is its own.
func identifies(c, issuer *x509.Certificate) bool {
	name, serial := authorityKey(c)
	switch {
	case c.AuthorityKeyId != nil && issuer.SubjectKeyId != nil && !bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId):
		return false
	case serial != nil && serial.Cmp(issuer.SerialNumber) != 0:
		return false
	}
	return name == nil || bytes.Equal(name, issuer.RawIssuer)
}

// authorityKey reads what Go does not of a certificate's authorityKeyIdentifier: the name and the
// number of its issuer's certificate (RFC 5280, 4.2.1.1). Go has the key itself.
func authorityKey(c *x509.Certificate) (issuer []byte, serial *big.Int) {
	value, _ := extension(c, authorityIdentifier)
	var parts struct {
		ID     []byte        `asn1:"optional,tag:0"`
		Issuer asn1.RawValue `asn1:"optional,tag:1"`
		Serial *big.Int      `asn1:"optional,tag:2"`
	}
	if _, err := asn1.Unmarshal(value, &parts); err != nil {
		return nil, nil
	}
	var name asn1.RawValue // a directoryName, [4] EXPLICIT
	if _, err := asn1.Unmarshal(parts.Issuer.Bytes, &name); err == nil && name.Tag == 4 {
		issuer = name.Bytes
	}
	return issuer, parts.Serial
}

// goRefuses says why Go refuses a chain that OpenSSL may accept, or returns "".
func (s Screen) goRefuses(path []*x509.Certificate) string {
	below := 0 // intermediates that count for OpenSSL: those that are not their own issuer by name
	for i, c := range path {
		name := s.name(c)
		most := i // how many intermediates may be below it
		if c.MaxPathLen > 0 || c.MaxPathLenZero {
			most = c.MaxPathLen
		}
		switch {
		case slices.ContainsFunc(c.UnhandledCriticalExtensions, nameConstraints.Equal):
			return name + " has name constraints of a kind that Go does not know"
		case below <= most && i-1 > most:
			return name + " limits how many CAs may follow, and Go counts those that only renew a key"
		}
		if i > 0 && !truststore.IsRoot(c) {
			below++
		}
	}
	return ""
}

// mayNotSign returns the issuer on a path that may not sign certificates, or nil.
func mayNotSign(path []*x509.Certificate) *x509.Certificate {
	for _, c := range path[1:] {
		_, restricted := extension(c, keyUsage)
		mayNot := restricted && c.KeyUsage&x509.KeyUsageCertSign == 0
		if mayNot || c.Version >= 3 && !c.IsCA {
			return c
		}
	}
	return nil
}

// StrictlyRefused says why OpenSSL's strict mode refuses a chain that ends at its root, or returns
// "". Python's ssl.create_default_context asks for that mode since 3.13. Source: check_extensions
// in OpenSSL's x509_vfy.c.
func (s Screen) StrictlyRefused(chain []*x509.Certificate) string {
	if len(chain) < 2 { // a pinned certificate is not looked at
		return ""
	}
	for i, c := range chain {
		name := s.name(c)
		_, restricted := extension(c, keyUsage)
		switch {
		case c.IsCA && len(c.SubjectKeyId) == 0:
			return name + " has no subjectKeyIdentifier"
		case i < len(chain)-1 && c.AuthorityKeyId == nil:
			return name + " has no authorityKeyIdentifier"
		case i > 0 && !restricted:
			return name + " has no keyUsage"
		}
	}
	return ""
}
