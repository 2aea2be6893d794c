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
	"strings"
	"time"
)

// newIdentity makes the certificate by which the app knows its tunnel, and the CA that signs it, in
// PEM. names are the tunnel's addresses and the databases' hosts: an app that verifies may check
// either. newIdentity forgets the CA's key. The certificate's key never leaves this process.
func newIdentity(names []string, now time.Time) (config *tls.Config, ca []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	number := make([]byte, 8)
	_, _ = rand.Read(number) // never fails (crypto/rand, Read)
	issuer := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number),
		// A name of its own: the CAs of two launches in one container may end up in one list.
		Subject:   pkix.Name{CommonName: "postgres-ssl tunnel " + hex.EncodeToString(number)},
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.AddDate(10, 0, 0), // no container lives that long
		IsCA:      true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    issuer.NotBefore,
		NotAfter:     issuer.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"}, // node-postgres checks it if the host is an IP address
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
	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, key.Public(), caKey)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"postgresql"}, // libpq asks for it by ALPN since 17 ("sslnegotiation")
	}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), err
}
