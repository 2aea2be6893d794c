package truststore

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

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

// onlyCertificates returns the certificates in a text. Without any other block, it is the text itself.
func onlyCertificates(data []byte) []byte {
	if bytes.Count(data, []byte("-----BEGIN ")) == bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")) {
		return append(bytes.TrimSpace(data), '\n')
	}
	var certs []byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
	return certs
}
