package client

import (
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// libpq is inside psql, psycopg, ruby-pg, PHP and many more. asyncpg, pgx and lib/pq read the same
// variables, and Bun the mode. PGSSLROOTCERT replaces what they trust, so its file has the CAs of
// every bound database.
//
// Source: libpq's manual, "Environment Variables" and "SSL Support".
func giveLibpq(h *Handout) {
	own, _ := launch.Owners(h.app.Env)
	h.fail(h.plan.Refuses(own))
	if h.app.Env["PGSSLMODE"] != "" || h.plan.Mode != sslmode.None {
		h.give("PGSSLMODE", h.plan.Mode.String(), h.plan.ModeSource())
	}
	if h.verifies() {
		h.giveRoots("PGSSLROOTCERT", h.roots(false), "for libpq, lib/pq and pgx")
	}
	if cert, key := h.plan.ClientCertificate(); cert != nil {
		name := h.plan.Decider.Title()
		h.give("PGSSLCERT", h.file("client", ".crt", cert, 0o644), name+"'s client certificate")
		// libpq refuses a key that others may read (libpq's manual, "Client Certificates").
		h.give("PGSSLKEY", h.file("client", ".key", key, 0o600), "its key")
	}
}

// verifies says whether libpq and lib/pq may have a root certificate. With one, libpq, lib/pq and
// pgx treat require as verify-ca (libpq's manual, "libpq-ssl", on backward compatibility). So every
// mode in force has to verify, Stratos's too: its lib/pq reads the file. With a wrong mode, Stratos
// does not start.
func (h *Handout) verifies() bool {
	libpq, stratos := launch.Owners(h.app.Env)
	read := stratos.InForce(h.plan.Mode)
	return libpq.InForce(h.plan.Mode).Verifies() && (read.Verifies() || read == sslmode.None)
}
