package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// identity is what the tunnel proves to the app that it is the app's own tunnel. It is made for one launch.
type identity struct {
	CA          []byte // PEM, for the app; the CA's key is forgotten as soon as it has signed
	Certificate []byte // DER
	Key         []byte // PKCS #8
}

func newIdentity(now time.Time) (*identity, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	number := make([]byte, 8)
	_, _ = rand.Read(number) // never fails (crypto/rand, Read)
	ca := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number),
		// A name of its own: where two launches share a container, their CAs may lie side by side.
		Subject:   pkix.Name{CommonName: "postgres-ssl tunnel " + hex.EncodeToString(number)},
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.AddDate(10, 0, 0), // containers do not live as long
		IsCA:      true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "127.0.0.1"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		// The address as a name is for libpq before 15, which knows no addresses in certificates (its release notes), and which
		// cflinuxfs4 has.
		DNSNames: []string{"localhost", "127.0.0.1"},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	return &identity{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), der, keyDER}, err
}

// serverConfig is the app's side of the tunnel. "postgresql" is what libpq asks for by ALPN from version 17 on (its manual,
// "sslnegotiation").
func (i *identity) serverConfig() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(i.Key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{i.Certificate}, PrivateKey: key}},
		NextProtos:   []string{"postgresql"},
	}, err
}
