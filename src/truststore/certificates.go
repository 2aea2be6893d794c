// Package truststore reads CA certificates, indexes them as OpenSSL does, and lays them out in a
// droplet, where Go, OpenSSL and libpq all find them.
package truststore

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Parse reads one or more CA certificates in PEM, with any text around them. It fails if there is
// none, or one that cannot be read or is not a CA. No error shows the input.
func Parse(data []byte) ([]*x509.Certificate, error) { return parse(data, isCA) }

func parse(data []byte, accept func(*x509.Certificate) bool) ([]*x509.Certificate, error) {
	certs := ParseAny(data)
	for i, cert := range certs {
		if !accept(cert) {
			return nil, fmt.Errorf("certificate %d (%s) is not a CA", i+1, Name(cert.Subject))
		}
	}
	switch blocks := bytes.Count(data, []byte("-----BEGIN")); blocks {
	case 0:
		return nil, errors.New("has no PEM certificate")
	case len(certs):
		return certs, nil
	default:
		return nil, fmt.Errorf("only %d of %d PEM blocks can be read as a certificate; the rest is a key, damaged or cut off",
			len(certs), blocks)
	}
}

// ParseAny reads the certificates in PEM, and skips what it cannot read, as OpenSSL and Go do.
func ParseAny(data []byte) (certs []*x509.Certificate) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			certs = append(certs, cert)
		}
	}
	return certs
}

// isCA says whether OpenSSL accepts the certificate as a CA, by its basic constraints. X.509 version
// 1 has none, so there a self-issued certificate is a CA (crypto/x509/v3_purp.c, check_ca).
func isCA(cert *x509.Certificate) bool {
	says := cert.BasicConstraintsValid && cert.IsCA
	return says || cert.Version == 1 && IsRoot(cert)
}

// isAnchor also accepts a self-signed certificate that is no CA, as libpq and Go do: this is how
// people pin a server's own certificate.
func isAnchor(cert *x509.Certificate) bool {
	return isCA(cert) || IsRoot(cert) && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// ParseCredential reads the CA certificates of a service credential, PEM as for Parse or base64 of
// it. A self-signed certificate counts as a CA.
func ParseCredential(value string) ([]*x509.Certificate, error) {
	if !strings.Contains(value, "-----BEGIN") {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
		if err != nil {
			return nil, errors.New("is neither PEM nor base64 of PEM")
		}
		value = string(decoded)
	}
	return parse(RepairPEM(value), isAnchor)
}

// RepairPEM replaces line ends written as `\n`, as in hand-copied JSON, and adds a final one.
func RepairPEM(text string) []byte {
	return []byte(strings.TrimSpace(strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", "\r\n", "\n").Replace(text)) + "\n")
}

// IsRoot says whether the certificate is self-issued: every client lets a chain end there.
func IsRoot(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }

// Name returns the common name of a subject or an issuer, or the whole name if it has none.
func Name(of pkix.Name) string { return cmp.Or(of.CommonName, of.String()) }

// Fingerprint returns the certificate's SHA-256 in lower-case hexadecimal.
func Fingerprint(cert *x509.Certificate) string {
	return fmt.Sprintf("%x", sha256.Sum256(cert.Raw))
}

// EarliestExpiry returns when the first root expires. Intermediates count only if there is no root.
// Without certificates it returns the zero time.
func EarliestExpiry(certs []*x509.Certificate) (first time.Time) {
	hasRoot := slices.ContainsFunc(certs, IsRoot)
	for _, c := range certs {
		if IsRoot(c) == hasRoot && (first.IsZero() || c.NotAfter.Before(first)) {
			first = c.NotAfter
		}
	}
	return first
}

// EncodePEM returns the certificates in PEM, with nothing between them.
func EncodePEM(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer takes everything
	}
	return b.Bytes()
}

// stackBundle is where Debian and Ubuntu, and so the platform's stacks, keep the CAs that they trust.
const stackBundle = "/etc/ssl/certs/ca-certificates.crt"

// System returns the files of the stack's store, which is the first, and the platform's, as they are
// now. One that does not exist is empty. Only certificates are kept: Erlang and the java-buildpack's
// provider reject a file with any other block.
func System(env map[string]string) (files []Entry, err error) {
	bundle := env["SSL_CERT_FILE"]
	if bundle == "" || IsOurs(bundle) {
		bundle = stackBundle
	}
	paths := []string{bundle}
	if dir := env["CF_SYSTEM_CERT_PATH"]; dir != "" {
		names, _ := fs.Glob(os.DirFS(dir), "*.crt") // Glob fails only for a malformed pattern
		for _, name := range names {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			data = onlyCertificates(data)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		files = append(files, Entry{path, data})
	}
	return files, nil
}

// IsOurs says whether a launch has written the file in SSL_CERT_FILE, with more than the stack's CAs.
func IsOurs(file string) bool { return strings.Contains(file, "/.postgres-ssl/root-") }

// onlyCertificates returns the certificates in a text, also those that Go cannot read. Without any
// other block, it is the text itself.
func onlyCertificates(data []byte) (certs []byte) {
	if bytes.Count(data, []byte("-----BEGIN ")) == bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")) {
		return append(bytes.TrimSpace(data), '\n')
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
	return certs
}
