package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// Chains of certificates, each with something unusual. Three judge them: this package, OpenSSL's
// command as for a TLS server, and psql, which is libpq. Where they differ, the table says why.

// node is a certificate of a chain, with its key.
type node struct {
	cert *x509.Certificate
	key  crypto.Signer
}

type edit func(*x509.Certificate)

// issued makes a certificate. issuer is nil for a root. The key is one of P-256, unless one is
// given.
func issued(t *testing.T, issuer *node, name string, key crypto.Signer, edits ...edit) *node {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	serial.SetBit(serial, 62, 1) // so that no byte is missing, and none has a sign
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().AddDate(-1, 0, 0).Truncate(time.Second), NotAfter: time.Now().AddDate(1, 0, 0).Truncate(time.Second),
	}
	for _, edit := range edits {
		edit(template)
	}
	if key == nil {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &node{cert, key}
}

func isCA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

func isServer(c *x509.Certificate) {
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	c.DNSNames = []string{chainHost}
}

func with(id asn1.ObjectIdentifier, critical bool, value ...byte) edit {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}
}

func usage(u x509.KeyUsage) edit { return func(c *x509.Certificate) { c.KeyUsage = u } }

func extUsage(u ...x509.ExtKeyUsage) edit {
	return func(c *x509.Certificate) { c.ExtKeyUsage = u }
}

func names(n ...string) edit { return func(c *x509.Certificate) { c.DNSNames = n } }

func pathLen(n int) edit {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

func permitted(domains ...string) edit {
	return func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = domains, true
	}
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	require.NoError(t, err)
	return der
}

const chainHost = "db.example.com"

var (
	nameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	netscapeType    = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 1}
)

// judged is one chain of the table.
type judged struct {
	leaf  *node
	sent  []*node // after it
	trust []*node
	host  string    // instead of chainHost
	at    time.Time // instead of now, for all but psql

	accept string // who accepts it: "all", "none" or some of "we, openssl, psql"
	strict string // what OpenSSL's strict mode misses in a chain that all accept
	says   string // a part of what we say
	why    string // the reason of a difference
}

func chains(t *testing.T) map[string]judged {
	t.Helper()
	rsaKey := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		return key
	}
	curve := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return key
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	anyUsage := x509.ExtKeyUsageAny
	root := issued(t, nil, "Root", nil, isCA)
	middle := issued(t, root, "Middle", nil, isCA)
	server := func(issuer *node, edits ...edit) *node {
		return issued(t, issuer, "server", nil, append([]edit{isServer}, edits...)...)
	}
	// below makes a chain whose intermediate is changed.
	below := func(edits ...edit) judged {
		ca := issued(t, root, "Changed", nil, append([]edit{isCA}, edits...)...)
		return judged{leaf: server(ca), sent: []*node{ca}, trust: []*node{root}}
	}
	// under makes a chain whose root is changed.
	under := func(edits ...edit) judged {
		ca := issued(t, nil, "Changed", nil, append([]edit{isCA}, edits...)...)
		return judged{leaf: server(ca), trust: []*node{ca}}
	}
	direct := func(edits ...edit) judged { return judged{leaf: server(root, edits...), trust: []*node{root}} }
	all := func(j judged) judged { j.accept = "all"; return j }
	none := func(j judged, says string) judged { j.accept, j.says = "none", says; return j }
	differs := func(j judged, accept, says, why string) judged { j.accept, j.says, j.why = accept, says, why; return j }
	strictly := func(j judged, strict string) judged { j.accept, j.strict = "all", strict; return j }
	excluded := func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example.com"} }
	// addressed makes a chain with a constraint, and a certificate for an address that has this name.
	addressed := func(constraint edit, name string) judged {
		ca := issued(t, root, "Changed", nil, isCA, constraint)
		leaf := server(ca, names(), func(c *x509.Certificate) {
			c.IPAddresses, c.Subject = []net.IP{net.IPv4(127, 0, 0, 1)}, pkix.Name{CommonName: name}
		})
		return judged{leaf: leaf, sent: []*node{ca}, trust: []*node{root}}
	}
	at := func(j judged, when time.Time) judged { j.at = when; return j }
	called := func(j judged, host string) judged { j.host = host; return j }

	directory := marshal(t, pkix.Name{CommonName: "x"}.ToRDNSequence())
	constrained := func(general []byte) []byte { // nameConstraints with one permitted subtree
		subtree := marshal(t, asn1.RawValue{Class: 0, Tag: 16, IsCompound: true, Bytes: general})
		return marshal(t, asn1.RawValue{Class: 0, Tag: 16, IsCompound: true,
			Bytes: marshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: subtree})})
	}
	ofServers := func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "x"} }
	directoryName := constrained(marshal(t, asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: directory}))
	otherName := constrained(marshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true,
		Bytes: append(marshal(t, asn1.ObjectIdentifier{1, 2, 3}), marshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: marshal(t, "x")})...)}))
	directories := issued(t, root, "Changed", nil, isCA, with(nameConstraints, true, directoryName...))
	keyID := func(id ...byte) []byte {
		return marshal(t, asn1.RawValue{Class: 0, Tag: 16, IsCompound: true, Bytes: marshal(t, asn1.RawValue{Class: 2, Tag: 0, Bytes: id})})
	}
	issuerSerial := func(issuer *x509.Certificate, serial *big.Int) []byte {
		name := marshal(t, asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: issuer.RawIssuer})
		return marshal(t, asn1.RawValue{Class: 0, Tag: 16, IsCompound: true, Bytes: append(
			marshal(t, asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: name}),
			marshal(t, asn1.RawValue{Class: 2, Tag: 2, Bytes: serial.Bytes()})...)})
	}
	// authorityCertIssuer with a DNS name, which no certificate's issuer is.
	otherNamed := marshal(t, asn1.RawValue{Class: 0, Tag: 16, IsCompound: true, Bytes: append(
		marshal(t, asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: marshal(t, asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte("x")})}),
		marshal(t, asn1.RawValue{Class: 2, Tag: 2, Bytes: root.cert.SerialNumber.Bytes()})...)})
	// A CA without a key identifier: CreateCertificate adds one to each template that says IsCA.
	bare := func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid = false, false
		with(asn1.ObjectIdentifier{2, 5, 29, 19}, true, 0x30, 3, 1, 1, 0xff)(c)
	}
	bareRoot := issued(t, nil, "Bare", nil, isCA, bare)

	pinned := issued(t, nil, "pinned", nil, isServer)
	bareServer := issued(t, nil, "pinned", nil, isServer, bare, usage(x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature))
	pinnedCA := issued(t, nil, "pinned", nil, isCA, names(chainHost))
	imposter := issued(t, nil, "Root", nil, isCA)
	short := issued(t, root, "Short", nil, isCA, pathLen(0))
	// A CA that renews its own key: the issuer has the same name.
	renewed := issued(t, short, "Short", nil, isCA, func(c *x509.Certificate) { c.AuthorityKeyId = short.cert.SubjectKeyId })
	long := issued(t, root, "Long", nil, isCA)
	unnamed := issued(t, long, "Long", nil, isCA)
	named := issued(t, long, "Long", nil, isCA, func(c *x509.Certificate) { c.AuthorityKeyId = long.cert.SubjectKeyId })
	likeItsIssuer := issued(t, root, "Root", nil, isServer)
	twoBelowShort := issued(t, short, "Deeper", nil, isCA)
	weakRoot := issued(t, nil, "Weak", rsaKey(1024), isCA)
	shaRoot := issued(t, nil, "SHA", rsaKey(2048), isCA)
	sha1 := issued(t, shaRoot, "server", nil, isServer, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	rsaRoot := issued(t, nil, "RSA", rsaKey(2048), isCA)
	pss := issued(t, rsaRoot, "server", nil, isServer, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS })
	p224Root := issued(t, nil, "P-224", curve(elliptic.P224()), isCA)
	edRoot := issued(t, nil, "Ed", edKey, isCA)
	twin := curve(elliptic.P256())
	goodTwin, badTwin := issued(t, root, "Twin", twin, isCA), issued(t, root, "Twin", twin, isCA, extUsage(anyUsage))
	lateTwin, clientTwin := issued(t, root, "Twin", twin, isCA, expired), issued(t, root, "Twin", twin, isCA, extUsage(x509.ExtKeyUsageClientAuth))
	nonCA := issued(t, root, "no CA", nil, isServer)
	old := issued(t, nil, "Old", nil, isCA, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = c.NotBefore.AddDate(-9, 0, 0), c.NotAfter.AddDate(9, 0, 0)
	})
	soon := judged{leaf: server(old), trust: []*node{old}}
	begin, end := soon.leaf.cert.NotBefore, soon.leaf.cert.NotAfter

	constrainedCA := issued(t, root, "Constrained", nil, isCA, permitted("example.com"))
	besideDNS := judged{leaf: server(constrainedCA, func(c *x509.Certificate) { c.Subject.CommonName = "db.example.org" }),
		sent: []*node{constrainedCA}, trust: []*node{root}}

	const openssl = "openssl, psql"
	return map[string]judged{
		"a chain as it should be":               all(judged{leaf: server(middle), sent: []*node{middle}, trust: []*node{root}}),
		"one without an intermediate":           all(direct()),
		"the intermediate lies beside the root": all(judged{leaf: server(middle), trust: []*node{root, middle}}),
		"the root is sent too":                  all(judged{leaf: server(middle), sent: []*node{middle, root}, trust: []*node{root}}),
		"in the wrong order":                    all(judged{leaf: server(middle), sent: []*node{root, middle}, trust: []*node{root}}),
		"no intermediate is sent":               none(judged{leaf: server(middle), trust: []*node{root}}, "comes from a CA that is not trusted"),
		"only the intermediate is trusted":      none(judged{leaf: server(middle), sent: []*node{middle}, trust: []*node{middle}}, "which is not a root"),
		"another root of the same name":         none(judged{leaf: server(root), trust: []*node{imposter}}, "comes from a CA that is not trusted"),
		"a pinned certificate":                  all(judged{leaf: pinned, trust: []*node{pinned}}),
		"a pinned CA that may be a server too":  all(judged{leaf: bareServer, trust: []*node{bareServer}}),
		"a pinned CA as the server's":           none(judged{leaf: pinnedCA, trust: []*node{pinnedCA}}, "key usage is not that of a TLS server"),
		"a server signs":                        none(judged{leaf: server(nonCA), sent: []*node{nonCA}, trust: []*node{root}}, `signed by "no CA", which may not sign`),

		// Key usage of the server's certificate.
		"keyUsage digitalSignature":     all(direct(usage(x509.KeyUsageDigitalSignature))),
		"keyUsage keyEncipherment":      all(direct(usage(x509.KeyUsageKeyEncipherment))),
		"keyUsage keyAgreement":         all(direct(usage(x509.KeyUsageKeyAgreement))),
		"no keyUsage":                   all(direct(usage(0))),
		"keyUsage keyCertSign":          none(direct(usage(x509.KeyUsageCertSign)), "key usage is not that of a TLS server"),
		"keyUsage cRLSign":              none(direct(usage(x509.KeyUsageCRLSign)), "key usage is not that of a TLS server"),
		"keyUsage contentCommitment":    none(direct(usage(x509.KeyUsageContentCommitment)), "key usage is not that of a TLS server"),
		"keyUsage dataEncipherment":     none(direct(usage(x509.KeyUsageDataEncipherment)), "key usage is not that of a TLS server"),
		"keyUsage of nothing":           none(direct(usage(0), with(keyUsage, true, 3, 1, 0)), "key usage is not that of a TLS server"),
		"a CA as the server's":          none(direct(isCA, names(chainHost)), "key usage is not that of a TLS server"),
		"a CA that may be a server too": all(direct(isCA, names(chainHost), usage(x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature))),

		// Extended key usage.
		"no extended key usage":              all(direct(extUsage())),
		"serverAuth among others":            all(direct(extUsage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth))),
		"clientAuth":                         none(direct(extUsage(x509.ExtKeyUsageClientAuth)), "does not name serverAuth"),
		"anyExtendedKeyUsage":                none(direct(extUsage(anyUsage)), `extended key usage of "server" does not name serverAuth`),
		"anyExtendedKeyUsage and serverAuth": all(direct(extUsage(anyUsage, x509.ExtKeyUsageServerAuth))),
		"an empty extended key usage":        none(direct(extUsage(), with(extendedKeyUsage, false, 0x30, 0)), `extended key usage of "server" does not name serverAuth`),
		"Netscape's gated cryptography": differs(direct(extUsage(x509.ExtKeyUsageNetscapeServerGatedCrypto)), openssl, "incompatible key usage",
			"Go no longer knows the usage of the nineties; RFC 5280 has no such usage"),
		"Microsoft's gated cryptography": differs(direct(extUsage(x509.ExtKeyUsageMicrosoftServerGatedCrypto)), openssl, "incompatible key usage", "as Netscape's"),
		"an intermediate for servers":    all(below(extUsage(x509.ExtKeyUsageServerAuth))),
		"an intermediate for clients":    none(below(extUsage(x509.ExtKeyUsageClientAuth)), "does not name serverAuth"),
		"an intermediate for anything":   none(below(extUsage(anyUsage)), `extended key usage of "Changed" does not name serverAuth`),
		"a root for clients":             none(under(extUsage(x509.ExtKeyUsageClientAuth)), "does not name serverAuth"),
		"a root for anything":            none(under(extUsage(anyUsage)), `extended key usage of "Changed" does not name serverAuth`),
		"Netscape's type of a server":    all(direct(with(netscapeType, false, 3, 2, 6, 0x40))),
		"Netscape's type of a client": differs(direct(with(netscapeType, false, 3, 2, 7, 0x80)), "we", "",
			"a usage of the nineties, which CAs do not write any more; docs/verify.md says that it is not looked at"),

		// CAs.
		"an intermediate without keyUsage":                 strictly(below(usage(0)), `"Changed" has no keyUsage`),
		"an intermediate that may not sign":                none(below(usage(x509.KeyUsageDigitalSignature)), `signed by "Changed", which may not sign certificates`),
		"an intermediate that is no CA":                    none(below(func(c *x509.Certificate) { c.IsCA = false }), "may not sign certificates"),
		"a root without keyUsage":                          strictly(under(usage(0)), `"Changed" has no keyUsage`),
		"a root that may not sign":                         none(under(usage(x509.KeyUsageDigitalSignature)), `signed by "Changed", which may not sign certificates`),
		"a path length that fits":                          all(below(pathLen(0))),
		"a path length that does not":                      none(judged{leaf: server(twoBelowShort), sent: []*node{twoBelowShort, short}, trust: []*node{root}}, "too many intermediates"),
		"a path length, and a CA that renews a key":        differs(judged{leaf: server(renewed), sent: []*node{renewed, short}, trust: []*node{root}}, openssl, "too many intermediates for path length constraint; drivers in Go and the tunnel refuse it", "RFC 5280 does not count self-issued CAs; Go does"),
		"a CA that renews a key":                           all(judged{leaf: server(named), sent: []*node{named, long}, trust: []*node{root}}),
		"a CA that renews a key without naming it":         none(judged{leaf: server(unnamed), sent: []*node{unnamed, long}, trust: []*node{root}}, `OpenSSL takes "Long" for a root`),
		"a server with its issuer's name":                  none(judged{leaf: likeItsIssuer, trust: []*node{root}}, `OpenSSL takes "Root" for a root`),
		"one key, two CAs, one out of date":                all(judged{leaf: server(goodTwin), sent: []*node{lateTwin, goodTwin}, trust: []*node{root}}),
		"one key, two CAs, one for clients":                none(judged{leaf: server(goodTwin), sent: []*node{clientTwin, goodTwin}, trust: []*node{root}}, "does not name serverAuth"),
		"one key, two CAs, the trusted first":              all(judged{leaf: server(goodTwin), sent: []*node{badTwin}, trust: []*node{root, goodTwin}}),
		"one key, two CAs, both out of date":               none(judged{leaf: server(goodTwin), sent: []*node{lateTwin, lateTwin}, trust: []*node{root}}, "expired on"),
		"one key, two CAs, the good one first":             all(judged{leaf: server(goodTwin), sent: []*node{goodTwin, badTwin}, trust: []*node{root}}),
		"one key, two CAs, the bad one first":              none(judged{leaf: server(goodTwin), sent: []*node{badTwin, goodTwin}, trust: []*node{root}}, `extended key usage of "Twin"`),
		"an unknown critical extension":                    none(direct(with(asn1.ObjectIdentifier{1, 2, 3, 4}, true, 5, 0)), "unhandled critical extension"),
		"a list of what is revoked, which nobody asks for": all(direct(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://127.0.0.1:1/crl"} })),
		"an unknown extension":                             all(direct(with(asn1.ObjectIdentifier{1, 2, 3, 4}, false, 5, 0))),

		// Names of CAs and keys.
		"no authorityKeyIdentifier":            strictly(judged{leaf: server(bareRoot), trust: []*node{bareRoot}}, "has no"),
		"… of an issuer that has none itself":  strictly(judged{leaf: server(bareRoot, with(authorityIdentifier, false, keyID(1, 2, 3)...)), trust: []*node{bareRoot}}, "has no"),
		"another key's authorityKeyIdentifier": none(direct(with(authorityIdentifier, false, keyID(1, 2, 3)...)), "names another key as its issuer's"),
		"a root that names another key":        none(under(with(authorityIdentifier, false, keyID(1, 2, 3)...)), "names another key as its issuer's"),
		"an issuer's name and number":          strictly(direct(with(authorityIdentifier, false, issuerSerial(root.cert, root.cert.SerialNumber)...)), "has no authorityKeyIdentifier"),
		"an issuer's name of another kind":     strictly(direct(with(authorityIdentifier, false, otherNamed...)), "has no authorityKeyIdentifier"),
		"an issuer's other number":             none(direct(with(authorityIdentifier, false, issuerSerial(root.cert, big.NewInt(1))...)), "names another key as its issuer's"),
		"an issuer's other name":               none(direct(with(authorityIdentifier, false, issuerSerial(bareRoot.cert, root.cert.SerialNumber)...)), "names another key as its issuer's"),

		// Constraints on names.
		"a constraint that fits":     all(below(permitted("example.com"))),
		"a constraint that does not": none(below(permitted("example.org")), "not permitted"),
		"an excluded domain":         none(below(excluded), "excluded"),
		"a constraint on directory names": differs(judged{leaf: server(directories, ofServers), sent: []*node{directories}, trust: []*node{root}}, openssl,
			"unhandled critical extension; drivers in Go and the tunnel refuse it", "Go reads constraints on DNS names, addresses, mail and URIs"),
		// Without a DNS name in the certificate, OpenSSL holds the common name against the constraints.
		"a constraint, and a common name beside DNS names":  all(besideDNS),
		"a constraint, and a common name beside an address": none(called(addressed(permitted("example.com"), "db.example.org"), "127.0.0.1"), "common name"),
		"… that fits":                         all(called(addressed(permitted("example.com"), "DB.Example.com"), "127.0.0.1")),
		"… that is the domain":                all(called(addressed(permitted("example.com"), "example.com"), "127.0.0.1")),
		"… that ends like it":                 none(called(addressed(permitted("example.com"), "badexample.com"), "127.0.0.1"), "common name"),
		"… of one label":                      all(called(addressed(permitted("example.com"), "server"), "127.0.0.1")),
		"… that is no host name":              all(called(addressed(permitted("example.com"), "db example.org"), "127.0.0.1")),
		"… below a domain that begins by dot": all(called(addressed(permitted(".example.com"), "db.example.com"), "127.0.0.1")),
		"… in an excluded domain":             none(called(addressed(excluded, "db.example.com"), "127.0.0.1"), "common name"),
		"… outside of it":                     all(called(addressed(excluded, "db.example.org"), "127.0.0.1")),
		"a constraint on other names":         differs(below(with(nameConstraints, true, otherName...)), openssl, "unhandled critical extension", "as for directory names"),

		// Time.
		"before its time":         none(at(soon, begin.Add(-time.Second)), "valid only from"),
		"in its last second":      none(at(soon, end), "expired on"),
		"in the second before":    all(at(soon, end.Add(-time.Second))),
		"in its first second":     all(at(soon, begin)),
		"expired":                 none(direct(expired), "expired on"),
		"a root that expired":     none(under(expired), "expired on"),
		"an intermediate expired": none(below(expired), "expired on"),

		// Keys and signatures.
		"RSA 2048":           all(judged{leaf: issued(t, rsaRoot, "server", rsaKey(2048), isServer), trust: []*node{rsaRoot}}),
		"RSA-PSS":            all(judged{leaf: pss, trust: []*node{rsaRoot}}),
		"a root of P-224":    all(judged{leaf: server(p224Root), trust: []*node{p224Root}}),
		"P-521":              all(judged{leaf: issued(t, root, "server", curve(elliptic.P521()), isServer), trust: []*node{root}}),
		"Ed25519":            all(judged{leaf: issued(t, edRoot, "server", nil, isServer), trust: []*node{edRoot}}),
		"RSA 1024":           none(judged{leaf: issued(t, root, "server", rsaKey(1024), isServer), trust: []*node{root}}, `the key of "server" is too small`),
		"a root of RSA 1024": none(judged{leaf: server(weakRoot), trust: []*node{weakRoot}}, `the key of "Weak" is too small`),
		"signed with SHA-1":  none(judged{leaf: sha1, trust: []*node{shaRoot}}, "insecure algorithm"),

		// The server's names.
		"a wildcard":                  all(direct(names("*.example.com"))),
		"a wildcard of two labels":    none(called(direct(names("*.example.com")), "a.b.example.com"), "not issued for"),
		"in capitals":                 all(direct(names("DB.Example.COM"))),
		"a part of a label":           differs(direct(names("d*.example.com")), "openssl", "not issued for", "libpq and Go want a whole label; OpenSSL's own check takes a part"),
		"a wildcard for a whole zone": differs(called(direct(names("*.internal")), "db.internal"), "we, psql", "", "OpenSSL's own check wants two dots, as Node does; libpq and Go take one"),
		"a common name alone":         differs(judged{leaf: issued(t, root, chainHost, nil, isServer, names()), trust: []*node{root}}, openssl, "at which libpq looks", "Go looks at subject alternative names alone"),
		"another name":                none(direct(names("db.example.org")), "not issued for"),
	}
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(0, 0, -1)
}

func TestEachJudgeOfAChain(t *testing.T) {
	for name, c := range chains(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.host == "" {
				c.host = chainHost
			}
			live := c.at.IsZero()
			if live {
				c.at = time.Now()
			}
			target := Target{}
			for _, n := range c.trust {
				target.Trust = append(target.Trust, Anchor{n.cert, "the test"})
			}
			path, problem := target.verify(certs(append([]*node{c.leaf}, c.sent...)), c.host, sslmode.VerifyFull, c.at)
			var accept []string
			if problem == nil {
				accept = append(accept, "we")
			} else {
				assert.Contains(t, problem.What, c.says)
			}
			files := written(t, c)
			if files.openssl(c) {
				accept = append(accept, "openssl")
			}
			if problem != nil && problem.Code == certificateInvalid {
				isOpen := strings.Contains(problem.What, "too many intermediates") || strings.Contains(problem.What, "unhandled critical")
				mayAccept := isOpen || slices.Contains(accept, "openssl") // of the two that are open, we do not know whether it does
				assert.Equal(t, mayAccept, strings.Contains(problem.What, stricter), problem.What)
			}
			judges := 2
			if live {
				judges++
				if files.psql(t, c) {
					accept = append(accept, "psql")
				}
			}
			said := strings.Join(accept, ", ")
			switch len(accept) {
			case 0:
				said = "none"
			case judges:
				said = "all"
			}
			assert.Equal(t, c.accept, said, "%v", problem)
			assert.Equal(t, c.accept == "all" || c.accept == "none", c.why == "", "a difference has its reason")
			if said != "all" {
				return
			}
			strict := target.OpenSSLRefuses(path, true)
			assert.Equal(t, c.strict == "", strict == "", strict)
			assert.Contains(t, strict, c.strict)
			assert.Equal(t, c.strict == "", files.openssl(c, "-x509_strict"), "OpenSSL's strict mode")
		})
	}
}

func certs(nodes []*node) (all []*x509.Certificate) {
	for _, n := range nodes {
		all = append(all, n.cert)
	}
	return all
}

// chainFiles are a chain's files for OpenSSL and psql.
type chainFiles struct{ trust, sent, leaf string }

func written(t *testing.T, c judged) chainFiles {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, nodes ...*node) string {
		var b bytes.Buffer
		for _, n := range nodes {
			require.NoError(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: n.cert.Raw}))
		}
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
		return file
	}
	return chainFiles{write("trust.pem", c.trust...), write("sent.pem", append(slices.Clone(c.sent), c.leaf)...), write("leaf.pem", c.leaf)}
}

func (f chainFiles) openssl(c judged, options ...string) bool {
	return exec.Command("openssl", slices.Concat([]string{
		"verify", "-purpose", "sslserver", f.name(c), c.host, "-auth_level", "2", "-attime", fmt.Sprint(c.at.Unix()),
		"-no-CApath", "-no-CAstore", "-CAfile", f.trust, "-untrusted", f.sent,
	}, options, []string{f.leaf})...).Run() == nil
}

// name is OpenSSL's option for the host's name or address.
func (f chainFiles) name(c judged) string {
	if net.ParseIP(c.host) != nil {
		return "-verify_ip"
	}
	return "-verify_hostname"
}

// psql connects to a server with this chain, which refuses everybody after the handshake. It
// returns whether psql went that far.
func (f chainFiles) psql(t *testing.T, c judged) bool {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{{PrivateKey: c.leaf.key}}}
	for _, cert := range certs(append([]*node{c.leaf}, c.sent...)) {
		config.Certificates[0].Certificate = append(config.Certificates[0].Certificate, cert.Raw)
	}
	port := pgtest.Listen(t, func(conn net.Conn) {
		if _, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err != nil {
			return
		}
		_, _ = conn.Write([]byte("S"))
		secure := tls.Server(conn, config)
		backend := pgproto3.NewBackend(secure, secure)
		if _, err := backend.ReceiveStartupMessage(); err != nil {
			return
		}
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P03", Message: "verified"})
		_ = backend.Flush()
	})
	return psqlVerifies(t, port, c.host, f.trust)
}

// psqlVerifies says whether psql goes so far as to hear the server's refusal.
func psqlVerifies(t *testing.T, port int, host, trust string) bool {
	t.Helper()
	psql := exec.Command("psql", fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%d user=u dbname=d sslmode=verify-full sslrootcert=%s gssencmode=disable connect_timeout=60",
		host, port, trust))
	psql.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	said, err := psql.CombinedOutput()
	require.Error(t, err)
	return strings.Contains(string(said), "verified")
}

// Go reads neither of these certificates. psql is given a server of OpenSSL's.
func TestEachJudgeOfACertificateThatGoCannotRead(t *testing.T) {
	root := issued(t, nil, "Root", nil, isCA)
	for name, test := range map[string]struct {
		curve, serial string // of the intermediate's key, of the server's certificate
		accept        bool   // OpenSSL and psql do
		says          string
	}{
		"control: P-256": {"P-256", "5", true, ""},
		"P-192":          {"prime192v1", "5", false, "x509: unsupported elliptic curve"},
		"a serial number below 0; RFC 5280 forbids it, and OpenSSL does not look": {"P-256", "-5", true, "x509: negative serial number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run := func(args ...string) {
				cmd := exec.Command("openssl", args...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, string(out))
			}
			write := func(name, kind string, content []byte) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
			}
			key, err := x509.MarshalPKCS8PrivateKey(root.key)
			require.NoError(t, err)
			write("root.pem", "CERTIFICATE", root.cert.Raw)
			write("root.key", "PRIVATE KEY", key)
			for of, extensions := range map[string]string{
				"ca":   "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\n",
				"leaf": "subjectAltName=DNS:" + chainHost + "\nextendedKeyUsage=serverAuth\n",
			} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, of), []byte(extensions), 0o600))
			}
			run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:"+test.curve, "-nodes", "-keyout", "ca.key", "-subj", "/CN=Middle", "-out", "ca.csr")
			run("x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "7", "-extfile", "ca", "-out", "sent.pem")
			run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "leaf.key", "-subj", "/CN=server", "-out", "leaf.csr")
			run("x509", "-req", "-in", "leaf.csr", "-CA", "sent.pem", "-CAkey", "ca.key", "-set_serial", test.serial, "-extfile", "leaf", "-out", "leaf.pem")

			files := chainFiles{filepath.Join(dir, "root.pem"), filepath.Join(dir, "sent.pem"), filepath.Join(dir, "leaf.pem")}
			chain := judged{host: chainHost, at: time.Now()}
			assert.Equal(t, test.accept, files.openssl(chain), "openssl")

			port := files.serve(t)
			assert.Equal(t, test.accept, psqlVerifies(t, port, chainHost, files.trust), "psql")
			target := Target{Address: Address{Host: chainHost, Port: uint16(port)}, HostAddr: "127.0.0.1", Mode: sslmode.VerifyFull,
				Trust: []Anchor{{root.cert, "the test"}}}
			a := probe(t, &target, sslmode.VerifyFull)
			if test.says == "" {
				assert.Equal(t, "verified", a.Refusal.Message)
				return
			}
			assert.Equal(t, certificateInvalid, a.Problem.Code)
			assert.Contains(t, a.Problem.What, test.says)
			assert.Contains(t, a.Problem.What, "drivers on OpenSSL may accept it")
		})
	}
}

// serve shows the chain with OpenSSL's server, and refuses everybody after the handshake. It returns
// its port.
func (f chainFiles) serve(t *testing.T) int {
	t.Helper()
	refusal, err := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P03", Message: "verified"}).Encode(nil)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "") // shorter than t.TempDir, as a socket's path must be
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	var connections atomic.Int32
	return pgtest.Listen(t, func(conn net.Conn) {
		if _, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err != nil {
			return
		}
		_, _ = conn.Write([]byte("S"))
		socket := fmt.Sprint(connections.Add(1))
		server := exec.CommandContext(t.Context(), "openssl", "s_server", "-quiet", "-naccept", "1", "-unix", socket,
			"-cert", f.leaf, "-key", filepath.Join(filepath.Dir(f.leaf), "leaf.key"), "-cert_chain", f.sent, "-cipher", "DEFAULT@SECLEVEL=0")
		server.Dir = dir // OpenSSL takes a socket's path of 31 characters at most: BIO_ADDR's addr_strings
		in, err := server.StdinPipe()
		if err != nil || server.Start() != nil {
			return
		}
		defer server.Wait()
		var tls net.Conn
		for tls == nil {
			if t.Context().Err() != nil {
				return
			}
			time.Sleep(time.Millisecond) // until the server listens
			tls, _ = net.Dial("unix", filepath.Join(dir, socket))
		}
		defer tls.Close()
		go func() {
			_, _ = in.Write(refusal)
			_, _ = io.Copy(tls, conn)
			_ = server.Process.Kill()
		}()
		_, _ = io.Copy(conn, tls)
		conn.Close()
	})
}
