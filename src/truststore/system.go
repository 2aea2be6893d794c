package truststore

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// stackBundle is where Debian and Ubuntu, and so the platform's stacks, keep the CAs that they
// trust, in one file.
const stackBundle = "/etc/ssl/certs/ca-certificates.crt"

// SystemFiles lists the files of the stack's store, the first, and of the platform's. Not all of
// them need to be there.
func SystemFiles(env map[string]string) ([]string, error) {
	files := []string{stackBundle}
	if file := env["SSL_CERT_FILE"]; file != "" {
		files[0] = file
	}
	if dir := env["CF_SYSTEM_CERT_PATH"]; dir != "" {
		platform, err := filepath.Glob(filepath.Join(dir, "*.crt"))
		if err != nil {
			return nil, err
		}
		files = append(files, platform...)
	}
	return files, nil
}

// System returns, in PEM, the CAs of the stack's store and of the platform's, as they are on this
// root file system at this moment. It keeps only the certificates: Erlang and the java-buildpack's
// provider reject a file with any other block.
func System(env map[string]string) ([]byte, error) {
	files, err := SystemFiles(env)
	if err != nil {
		return nil, err
	}
	var certs []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		data = onlyCertificates(data)
		if certs == nil { // mostly there is one, and it is large: do not copy it
			certs = data
		} else {
			certs = append(certs, data...)
		}
	}
	return certs, nil
}

// onlyCertificates returns the certificates of a text. Where there is nothing else, that is the text.
func onlyCertificates(data []byte) []byte {
	begin, rest := []byte("-----BEGIN "), data
	for {
		i := bytes.Index(rest, begin)
		if i < 0 {
			return append(bytes.TrimSpace(data), '\n')
		}
		if rest = rest[i+len(begin):]; !bytes.HasPrefix(rest, []byte("CERTIFICATE-----")) {
			break
		}
	}
	var certs []byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
	return certs
}
