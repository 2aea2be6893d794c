package client

import (
	"path/filepath"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Go's crypto/x509 and OpenSSL trust every certificate in the folders of SSL_CERT_DIR. The variable
// replaces the stack's folder, so we list that one first. We leave SSL_CERT_FILE alone: it would
// replace the stack's file. OpenSSL finds a CA by its file's name, the hash of the CA's name.
//
// Source: Go, crypto/x509/root_unix.go, loadSystemRoots; OpenSSL, X509_LOOKUP_hash_dir(3).
var golang = language{name: "golang", give: giveGolang}

func giveGolang(h *Handout) error {
	dirs := h.app.Env["SSL_CERT_DIR"]
	if dirs == "" {
		dirs = "/etc/ssl/certs"
	}
	dirs = appendPath(dirs, h.app.Env["CF_SYSTEM_CERT_PATH"])
	if h.app.Store.Has(truststore.Extra) {
		dirs = appendPath(dirs, h.app.Store.Folder(truststore.Extra))
	}
	trust := h.plan.TrustAll()
	for _, set := range trust.Sets {
		dirs = appendPath(dirs, h.app.Store.Folder(set))
	}
	if len(trust.Own) > 0 {
		index, err := truststore.Index(trust.Own)
		if err != nil {
			return err
		}
		own := filepath.Join(h.Dir, "own-"+hash(truststore.EncodePEM(trust.Own)))
		for _, file := range index {
			h.put(filepath.Join(own, file.Name), file.Content, 0o644)
		}
		dirs = appendPath(dirs, own)
	}
	h.set("SSL_CERT_DIR", dirs, "for Go and OpenSSL")
	return nil
}
