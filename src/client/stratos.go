package client

import "github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"

// Stratos reads its mode from DB_SSL_MODE, and no sslmode of a binding. Its driver is lib/pq 1.10,
// which finds the CAs as golang.go says, and PGSSLROOTCERT as libpq.go says.
//
// It knows four of the six modes, and refuses to start on allow and prefer. They are handed out all
// the same: without the variable, it would connect in plain text to a server that offers TLS.
//
// Source: Stratos, src/jetstream/datastore, the SSLMode constants and their validation.
func init() { languages["stratos"] = language{give: stratos} }

func stratos(h *Handout) error {
	if h.app.Env["DB_SSL_MODE"] != "" || h.plan.Mode != sslmode.None {
		h.give("DB_SSL_MODE", h.plan.Mode.String(), h.plan.ModeSource())
	}
	return nil
}
