package client

import "github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"

// Node's TLS adds the CAs of NODE_EXTRA_CA_CERTS, one file, to its own. node-postgres reads
// PGSSLMODE and verifies in every mode from prefer up, so it needs them for require too. There they
// change no driver's meaning: who does not verify, does not read them.
//
// postgres.js reads each of its options from PG and the option's name: PGSSL. It must not be given
// the other modes: it takes any text, also disable, for a wish for TLS.
//
// Source: Node, doc/api/cli.md; node-postgres, lib/connection-parameters.js; postgres.js,
// src/index.js, parseOptions, and src/connection.js, secure.
func init() { languages["node"] = language{give: node} }

func node(h *Handout) error {
	mode := h.untold()
	if mode >= sslmode.Require {
		h.give("PGSSL", mode.String(), "for postgres.js")
	} else if through, _ := h.plan.Tunnelled(); !through {
		return nil
	}
	root, err := h.roots(false)
	if root != "" {
		h.give("NODE_EXTRA_CA_CERTS", root, "for node-postgres and postgres.js")
	}
	return err
}
