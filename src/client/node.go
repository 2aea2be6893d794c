package client

import (
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Node's TLS adds the CAs in the file NODE_EXTRA_CA_CERTS to its own. node-postgres reads PGSSLMODE
// and verifies in every mode from prefer up, so it needs them for require too. They make no driver
// stricter: one that does not verify does not use them.
//
// postgres.js reads its option ssl from PGSSL. It takes any text as a request for TLS, even
// "disable", so the modes below require must not get there. Other code reads PGSSL too, and verifies
// less with it: it is not given where staging saw such code, or only other drivers.
//
// Source: Node, doc/api/cli.md; node-postgres, lib/connection-parameters.js; postgres.js,
// src/index.js, parseOptions, and src/connection.js, secure.
func giveNode(h *Handout) {
	mode := h.modeWithoutVariable()
	if mode >= sslmode.Require {
		if h.app.PGSSLSays == "" || h.app.Env["PGSSL"] != "" {
			h.give("PGSSL", mode.String(), "for postgres.js")
		}
	} else if through, _ := h.plan.Tunnelled(); !through {
		return
	}
	// At staging, the file hides one that a buildpack behind us gives npm, for the platform's CAs.
	// So there it has these too, and only an app whose own JavaScript runs there gets it.
	if !h.app.Staging || h.app.Shows[nodeBuilds] != "" {
		h.giveRoots("NODE_EXTRA_CA_CERTS", h.roots(h.app.Staging), "for node-postgres and postgres.js")
	}
}

const (
	nodeSystemCAs = "Node with the system's CAs"
	nodeBuilds    = "Node's build scripts"
)

// nodes are what an app's files say of Node. Its build scripts are those that nodejs-buildpack and
// npm run at staging.
//
// Source: nodejs-buildpack, src/nodejs/supply/supply.go; npm, "scripts", "Life Cycle Operation
// Order", npm ci.
var nodes = []named{
	{nodeSystemCAs, []string{"package.json", "Procfile"}, `--use[-_]system[-_]ca`, nil},
	{nodeBuilds, []string{"package.json"},
		`"(?:heroku-(?:pre|post)build|(?:pre|post)?install|prepublish|preprepare|prepare|postprepare)"`, nil},
}

// oneFile says whether the app is given the databases' CAs in SSL_CERT_FILE, and not in a list of
// folders. With its switch for the system's CAs, Node takes the list for the name of one folder, and
// finds none of them.
//
// Source: Node, src/crypto/crypto_context.cc, GetSystemStoreCACertificates.
func (h *Handout) oneFile() bool {
	options := strings.ReplaceAll(h.app.Env["NODE_OPTIONS"]+" "+h.app.Command, "_", "-")
	isSwitched := h.app.Env["NODE_USE_SYSTEM_CA"] == "1" || h.app.Shows[nodeSystemCAs] != ""
	return isSwitched || strings.Contains(options, "--use-system-ca") || IsOurs(h.app.Env["SSL_CERT_FILE"])
}
