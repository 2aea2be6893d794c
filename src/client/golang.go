package client

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Go's crypto/x509 and OpenSSL trust every certificate in the folders of SSL_CERT_DIR. The variable
// replaces the stack's folder, so we list that one first. OpenSSL finds a CA by its file's name, the
// hash of the CA's name.
//
// SSL_CERT_FILE replaces the stack's file, and OpenSSL loads all of it for each context. So we give
// that only where a list does harm, and then the file has the stack's CAs too.
//
// Source: Go, crypto/x509/root_unix.go, loadSystemRoots; OpenSSL, X509_LOOKUP_hash_dir(3).
func giveGolang(h *Handout) {
	libpq, stratos := launch.Owners(h.app.Env)
	if len(h.plan.Databases) == 0 && h.plan.Mode == sslmode.None && libpq.Value+stratos.Value == "" {
		return // nobody asks for anything
	}
	if h.oneFile() {
		h.giveFile()
		return
	}
	dirs := h.app.Env["SSL_CERT_DIR"]
	if dirs == "" {
		dirs = "/etc/ssl/certs"
	}
	dirs = appendPath(dirs, h.app.Env["CF_SYSTEM_CERT_PATH"])
	if slices.Contains(h.app.Store.Names, truststore.Extra) {
		dirs = appendPath(dirs, h.app.Store.Folder(truststore.Extra))
	}
	trust := h.plan.TrustAll()
	for _, set := range trust.Sets {
		dirs = appendPath(dirs, h.app.Store.Folder(set))
	}
	if len(trust.Own) > 0 {
		index, err := truststore.Index(trust.Own)
		h.fail(err)
		own := filepath.Join(h.Dir, "own-"+hash(truststore.EncodePEM(trust.Own)))
		for _, file := range index {
			h.put(filepath.Join(own, file.Name), file.Content, 0o644)
		}
		dirs = appendPath(dirs, own)
	}
	h.set("SSL_CERT_DIR", dirs, "for Go and OpenSSL")
}

// giveFile gives SSL_CERT_FILE, unless it is the owner's.
func (h *Handout) giveFile() {
	const name = "SSL_CERT_FILE"
	if own := h.app.Env[name]; own != "" && !IsOurs(own) {
		h.Variables = append(h.Variables, Variable{Name: name, Value: own, Why: "set by the app's owner", Kept: true})
		h.Warnings = append(h.Warnings, name+" is set by the app's owner, and stays: put the databases' CAs into that file "+
			"for drivers in Go and on OpenSSL")
	} else if all := h.roots(true); all != "" {
		h.set(name, all, "for Go and OpenSSL; Node takes a list in SSL_CERT_DIR for the name of one folder")
	}
}

// IsOurs says whether SSL_CERT_FILE names a file that a launch has written.
func IsOurs(file string) bool { return strings.Contains(file, privateFolder+"/root-") }
