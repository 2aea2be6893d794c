package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"time"
)

// identity is the certificate by which the app knows its tunnel, and its key (PKCS #8), in DER. It
// goes from process to process by a pipe, and into no file.
type identity struct{ Cert, Key []byte }

// newIdentity makes an identity, and the CA that signed it, in PEM. names are the tunnel's addresses
// and the databases' hosts: an app that verifies may check either. The CA's key is forgotten.
func newIdentity(names []string, now time.Time) (made identity, ca string, err error) {
	caKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // rand.Reader never fails
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	made.Key, _ = x509.MarshalPKCS8PrivateKey(key)
	issuer := &x509.Certificate{
		// A name of its own: the CAs of two launches in one container may end up in one list.
		Subject:   pkix.Name{CommonName: "postgres-ssl tunnel " + rand.Text()},
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.AddDate(10, 0, 0), // no container lives that long
		IsCA:      true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		NotBefore:   issuer.NotBefore,
		NotAfter:    issuer.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, // node-postgres checks it if the host is an IP address
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		}
		if !strings.Contains(name, ":") {
			// libpq reads IP addresses in certificates since 15 (its release notes). cflinuxfs4 has 14.
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	caDER, failed := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	made.Cert, err = x509.CreateCertificate(rand.Reader, leaf, issuer, key.Public(), caKey)
	return made, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})), errors.Join(failed, err)
}

func (i identity) config() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(i.Key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{i.Cert}, PrivateKey: key}},
		NextProtos:   []string{"postgresql"}, // libpq asks for it by ALPN since 17 ("sslnegotiation")
	}, err
}
