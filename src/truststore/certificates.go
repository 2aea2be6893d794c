// Package truststore reads CA certificates, indexes them as OpenSSL does, and lays them out in a droplet so that Go, OpenSSL and
// libpq all find them.
package truststore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Parse reads CA certificates in PEM: one or several, with any text around them, and with Windows line ends.
// No certificate at all, one that cannot be read, and one that is not a CA are errors; none of them shows the input.
func Parse(data []byte) ([]*x509.Certificate, error) { return parse(data, isCA) }

func parse(data []byte, accept func(*x509.Certificate) bool) ([]*x509.Certificate, error) {
	// pem.Decode skips an armour that it cannot read; a certificate that got lost that way must not go unnoticed.
	blocks := bytes.Count(data, []byte("-----BEGIN"))
	var certs []*x509.Certificate
	for n := 1; ; n++ {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is not a certificate", n)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read", n)
		}
		if !accept(cert) {
			return nil, fmt.Errorf("certificate %d (%s) is not a CA", n, CommonName(cert))
		}
		certs = append(certs, cert)
	}
	switch {
	case blocks == 0:
		return nil, errors.New("holds no PEM certificate")
	case blocks != len(certs):
		return nil, fmt.Errorf("holds %d PEM certificates, of which only %d can be read; one is damaged or cut off", blocks, len(certs))
	}
	return certs, nil
}

// isCA says whether OpenSSL would take the certificate as a CA: by its basic constraints, or, being of X.509 version 1, which has
// none, by being self-issued (crypto/x509/v3_purp.c, check_ca).
func isCA(cert *x509.Certificate) bool {
	return cert.BasicConstraintsValid && cert.IsCA || cert.Version == 1 && IsRoot(cert)
}

// isAnchor also takes a self-signed certificate that is no CA. It vouches for itself alone, and libpq and Go accept it as a root:
// that is how a server's own certificate is pinned.
func isAnchor(cert *x509.Certificate) bool {
	return isCA(cert) || IsRoot(cert) && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// ParseCredential reads the CA certificates of a service credential: PEM as Parse takes it, or base64 of that. A pinned self-signed
// certificate counts as a CA.
// Line ends that were written as the two characters `\n`, a common slip in JSON that was copied by hand, are repaired, and repaired is true.
func ParseCredential(value string) (certs []*x509.Certificate, repaired bool, err error) {
	text := value
	if !strings.Contains(text, "-----BEGIN") {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return nil, false, errors.New("is neither PEM nor base64 of PEM")
		}
		text = string(decoded)
	}
	if strings.Contains(text, `\n`) {
		repaired = true
		text = strings.NewReplacer(`\r\n`, "\n", `\n`, "\n").Replace(text)
	}
	certs, err = parse([]byte(text), isAnchor)
	return certs, repaired, err
}

// IsRoot says whether the certificate is self-issued. Only roots anchor a chain everywhere; an intermediate helps to build one.
func IsRoot(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }

// CommonName returns the subject's common name, or its whole subject where it has none.
func CommonName(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return cert.Subject.CommonName
	}
	return cert.Subject.String()
}

// Fingerprint returns the certificate's SHA-256 in lower-case hexadecimal.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// EarliestExpiry returns the first day on which one of the roots stops being trusted. Intermediates beside roots do not count: they anchor
// nothing. Without a root, the first of all certificates counts; without any, it is the zero time.
func EarliestExpiry(certs []*x509.Certificate) time.Time {
	if roots := slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return !IsRoot(c) }); len(roots) > 0 {
		certs = roots
	}
	var earliest time.Time
	for _, c := range certs {
		if earliest.IsZero() || c.NotAfter.Before(earliest) {
			earliest = c.NotAfter
		}
	}
	return earliest
}

// EncodePEM returns the certificates in PEM, one after the other, with nothing around them.
func EncodePEM(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		// Writing to a bytes.Buffer does not fail, and neither does encoding a block without headers.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}
