package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/atomicfile"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// handOut writes what only the bindings of this launch determine, below home: the CAs of all bound databases in one file, the
// CAs that bindings brought, the client certificate and its key. The folder is private, each name is the hash of what it holds, and
// each appears complete or not at all, because sidecars launch at the same time in the same container.
func handOut(plan *launch.Plan, env map[string]string, home string) (launch.Files, error) {
	dir := filepath.Join(home, ".postgres-ssl")
	var files launch.Files
	var err error
	if own := plan.TrustAll().Own; len(own) > 0 {
		if files.OwnFolder, err = writeFolder(dir, own); err != nil {
			return files, err
		}
	}
	if plan.HandsOutRoot() {
		if files.RootBundle = plan.ReadyBundle(); files.RootBundle == "" {
			if files.RootBundle, err = writeBundle(plan, env, dir, plan.TrustAll().Everyone); err != nil {
				return files, err
			}
		}
		if err := linkRoot(home, files.RootBundle); err != nil {
			return files, err
		}
		if hasErlang(home) {
			if files.ErlangBundle, err = writeBundle(plan, env, dir, true); err != nil {
				return files, err
			}
		}
	}
	if cert, key := plan.ClientCertificate(); cert != nil {
		if files.ClientCert, err = writeFile(dir, "client", ".crt", cert, 0o644); err != nil {
			return files, err
		}
		// libpq refuses a key that others may read (libpq's manual, "Client Certificates").
		if files.ClientKey, err = writeFile(dir, "client", ".key", key, 0o600); err != nil {
			return files, err
		}
	}
	return files, nil
}

// writeBundle writes a bundle to a file.
func writeBundle(plan *launch.Plan, env map[string]string, dir string, everyone bool) (string, error) {
	bundle, err := rootBundle(plan, env, everyone)
	if err != nil {
		return "", err
	}
	return writeFile(dir, "root", ".pem", bundle, 0o644)
}

// rootBundle returns, in PEM, the CAs of all bound databases and, with everyone, the stack's and the platform's.
func rootBundle(plan *launch.Plan, env map[string]string, everyone bool) ([]byte, error) {
	trust := plan.TrustAll()
	trust.Everyone = everyone
	bundle, err := plan.PEM(trust)
	if err != nil {
		return nil, err
	}
	if everyone {
		stores, err := commonStores(env)
		if err != nil {
			return nil, err
		}
		bundle = append(bundle, stores...)
	}
	return bundle, nil
}

// stackBundle is where Debian and Ubuntu, and so the platform's stacks, keep the CAs that they trust, in one file.
const stackBundle = "/etc/ssl/certs/ca-certificates.crt"

// commonFiles lists the files of the stack's store, the first, and of the platform's. Not all of them need to be there.
func commonFiles(env map[string]string) ([]string, error) {
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

// commonStores returns, in PEM, the CAs of the stack's store and of the platform's, as they are on this root file system at this
// moment. What else such a file holds is left out: Erlang refuses a whole file for one other block.
func commonStores(env map[string]string) ([]byte, error) {
	files, err := commonFiles(env)
	if err != nil {
		return nil, err
	}
	var certs bytes.Buffer
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if bytes.Count(data, []byte("-----BEGIN ")) == bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")) {
			certs.Write(append(bytes.TrimSpace(data), '\n'))
			continue
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" {
				certs.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
			}
		}
	}
	return certs.Bytes(), nil
}

// hasErlang says whether the droplet below home brings Erlang. The launch scripts of later buildpacks have not run yet, so that PATH
// does not tell.
func hasErlang(home string) bool {
	for _, place := range []string{
		"deps/*/bin/erl", "deps/*/erlang/bin/erl", "deps/*/apt/usr/lib/erlang/bin/erl", // supply buildpacks, apt-buildpack
		"app/.platform_tools/erlang/bin/erl", "app/otp/bin/erl", // the Elixir and the Erlang buildpacks
		"app/erts-*/bin/erlexec", "app/*/erts-*/bin/erlexec", "app/_build/*/rel/*/erts-*/bin/erlexec", // a release
	} {
		if found, _ := filepath.Glob(filepath.Join(home, place)); len(found) > 0 {
			return true
		}
	}
	return false
}

// privateFolder makes dir, and refuses one that somebody else put there as a link or a file.
func privateFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder; remove it", dir)
	}
	return err
}

// writeFile writes content to a file whose name is its hash, and returns the path.
func writeFile(dir, name, extension string, content []byte, mode fs.FileMode) (string, error) {
	if err := privateFolder(dir); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+"-"+shortHash(content)+extension)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return path, nil
	}
	return path, atomicfile.Write(path, content, mode)
}

// writeFolder writes CAs to a folder, indexed by name hash, whose name is the hash of its content, and returns the path.
func writeFolder(dir string, certs []*x509.Certificate) (string, error) {
	if err := privateFolder(dir); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "own-"+shortHash(truststore.EncodePEM(certs)))
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	temporary, err := os.MkdirTemp(dir, ".writing-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := truststore.WriteFolder(temporary, certs); err != nil {
		return "", err
	}
	if err := os.Rename(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return path, nil // whoever was faster has written the same
}

func shortHash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

// linkRoot makes the root certificate known to whoever looks for it in the home folder: pgjdbc, and libpq without PGSSLROOTCERT. What
// is there already is the app's own, and is neither changed nor followed.
func linkRoot(home, bundle string) error {
	dir := filepath.Join(home, ".postgresql")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := os.Lstat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return nil
	}
	if err := os.Symlink(bundle, filepath.Join(dir, "root.crt")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
