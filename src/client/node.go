package client

import "github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"

// Node's TLS adds the CAs in the file NODE_EXTRA_CA_CERTS to its own. node-postgres reads PGSSLMODE
// and verifies in every mode from prefer up, so it needs them for require too. They make no driver
// stricter: one that does not verify does not use them.
//
// postgres.js reads its option ssl from PGSSL. It takes any text as a request for TLS, even
// "disable", so the modes below require must not get there.
//
// Source: Node, doc/api/cli.md; node-postgres, lib/connection-parameters.js; postgres.js,
// src/index.js, parseOptions, and src/connection.js, secure.
var node = language{name: "node", give: giveNode}

func giveNode(h *Handout) error {
	mode := h.modeWithoutVariable()
	if mode >= sslmode.Require {
		h.give("PGSSL", mode.String(), "for postgres.js")
	} else if through, _ := h.plan.Tunnelled(); !through {
		return nil
	}
	h.giveRoots("NODE_EXTRA_CA_CERTS", "for node-postgres and postgres.js")
	return nil
}
