package client

import "github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"

// Stratos reads its mode from DB_SSL_MODE and ignores a binding's sslmode. Its driver is lib/pq
// 1.10, which reads SSL_CERT_DIR (golang.go) and PGSSLROOTCERT (libpq.go).
//
// It knows four of the six modes, and refuses to start with allow or prefer. We set them anyway:
// without the variable, it would connect in plain text even to a server that offers TLS.
//
// Source: Stratos, src/jetstream/datastore, the SSLMode constants and their validation.
func init() { languages["stratos"] = language{give: stratos} }

func stratos(h *Handout) error {
	if h.app.Env["DB_SSL_MODE"] != "" || h.plan.Mode != sslmode.None {
		h.give("DB_SSL_MODE", h.plan.Mode.String(), h.plan.ModeSource())
	}
	return nil
}
