package truststore

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// stackBundle is the file where Debian and Ubuntu, and so the platform's stacks, keep the CAs that
// they trust.
const stackBundle = "/etc/ssl/certs/ca-certificates.crt"

// SystemFiles lists the files of the stack's store and then the platform's. Some may not exist.
func SystemFiles(env map[string]string) []string {
	files := []string{cmp.Or(env["SSL_CERT_FILE"], stackBundle)}
	if dir := env["CF_SYSTEM_CERT_PATH"]; dir != "" {
		names, _ := fs.Glob(os.DirFS(dir), "*.crt") // Glob fails only for a malformed pattern
		for _, name := range names {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files
}

// System returns, in PEM, the CAs of the stack's and the platform's stores, as they are on this
// root file system now. It keeps only the certificates: Erlang and the java-buildpack's provider
// reject a file with any other block.
func System(env map[string]string) ([]byte, error) {
	var certs []byte
	for _, file := range SystemFiles(env) {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		data = onlyCertificates(data)
		if certs == nil { // there is mostly one file, and it is large: don't copy it
			certs = data
		} else {
			certs = append(certs, data...)
		}
	}
	return certs, nil
}

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
