package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is a certificate authority that exists for one test.
type CA struct {
	Cert *x509.Certificate
	PEM  []byte

	key *ecdsa.PrivateKey
}

// Pair is a certificate with its key, for a server or a client.
type Pair struct {
	Cert    *x509.Certificate
	CertPEM []byte
	KeyPEM  []byte
}

// Chain returns the certificate and those of these CAs, as a server sends them.
func (p Pair) Chain(cas ...*CA) []*x509.Certificate {
	certs := []*x509.Certificate{p.Cert}
	for _, ca := range cas {
		certs = append(certs, ca.Cert)
	}
	return certs
}

// NewCA makes a root. Here and below, edits change the certificate before it is signed.
func NewCA(t testing.TB, name string, edits ...func(*x509.Certificate)) *CA {
	t.Helper()
	return newCA(t, nil, name, edits)
}

// Intermediate makes a CA below this one.
func (ca *CA) Intermediate(t testing.TB, name string, edits ...func(*x509.Certificate)) *CA {
	t.Helper()
	return newCA(t, ca, name, edits)
}

func newCA(t testing.TB, parent *CA, name string, edits []func(*x509.Certificate)) *CA {
	t.Helper()
	template := template(t, name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	cert, key := sign(t, parent, template, edits)
	return &CA{Cert: cert, PEM: encode("CERTIFICATE", cert.Raw), key: key}
}

// Issue makes a certificate for a server with these names and IP addresses, or for a client. The
// first name is the common name, and the client's user.
func (ca *CA) Issue(t testing.TB, names []string, edits ...func(*x509.Certificate)) Pair {
	t.Helper()
	template := template(t, names[0])
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, key := sign(t, ca, template, edits)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{Cert: cert, CertPEM: encode("CERTIFICATE", cert.Raw), KeyPEM: encode("PRIVATE KEY", der)}
}

// Expired is an edit: the certificate expired a day ago.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(0, 0, -1)
}

func template(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().AddDate(-1, 0, 0),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

// sign makes a key and its certificate, signed by the parent, or by itself if there is none.
func sign(t testing.TB, parent *CA, template *x509.Certificate, edits []func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	for _, edit := range edits {
		edit(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
