package client

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// language is one that an app may be written in, or a driver that several share.
type language struct {
	name       string
	places     []string // that show it: patterns of path.Match below app/ and deps/; nil for each droplet
	launchOnly bool     // it is given nothing at staging
	give       func(*Handout)
}

var languages = []language{
	{"Stratos", nil, false, giveStratos},
	{"apps", nil, false, giveNamed},
	{"erlang", erlangPlaces, true, giveErlang},
	{"golang", nil, true, giveGolang},
	{"java", javaPlaces, true, giveJava},
	{"libpq", nil, false, giveLibpq},
	{"node", nil, false, giveNode},
}

// libpq is inside psql, psycopg, ruby-pg, PHP and many more. asyncpg, pgx and lib/pq read the same
// variables (libpq's manual, "Environment Variables" and "SSL Support"), and Bun the mode.
func giveLibpq(h *Handout) {
	h.fail(h.plan.Refuses(h.plan.Libpq))
	if h.plan.Libpq.Value != "" || h.plan.Mode != sslmode.None {
		h.give("PGSSLMODE", h.plan.Mode.String(), h.plan.ModeSource())
	}
	if h.verifies() {
		h.giveRoots("PGSSLROOTCERT", h.roots(false), "for libpq, lib/pq and pgx")
	}
	if cert, key := h.plan.ClientCertificate(); cert != nil {
		h.give("PGSSLCERT", h.file("client", ".crt", cert, 0o644), h.plan.Decider.Title()+"'s client certificate")
		h.give("PGSSLKEY", h.file("client", ".key", key, 0o600), "its key") // libpq refuses one that others may read
	}
}

// verifies says whether every mode in force verifies, Stratos's too: a root certificate makes
// verify-ca of require (libpq's manual, "libpq-ssl"). With a wrong mode, Stratos does not start.
func (h *Handout) verifies() bool {
	read := h.plan.Stratos.InForce(h.plan.Mode)
	return h.plan.Libpq.InForce(h.plan.Mode).Verifies() && (read.Verifies() || read == sslmode.None)
}

// node-postgres verifies in every mode from prefer up (lib/connection-parameters.js), so it needs the
// CAs for require too. postgres.js reads its option ssl from PGSSL, and takes any text as a request
// for TLS, even "disable" (src/index.js, parseOptions; src/connection.js, secure). Other code
// verifies less with it: it is not given where staging saw such code, or only other drivers.
func giveNode(h *Handout) {
	if h.mode.Encrypts() {
		if h.app.PGSSLSays == "" || h.app.Env["PGSSL"] != "" {
			h.give("PGSSL", h.mode.String(), "for postgres.js")
		}
	} else if through, _ := h.plan.Tunnelled(); !through {
		return
	}
	// At staging, it hides the file of a buildpack behind us, for npm and the platform's CAs. So
	// there it has these too, and only an app whose own JavaScript runs there gets it.
	if !h.app.Staging || h.app.Shows[nodeBuilds] != "" {
		h.giveRoots("NODE_EXTRA_CA_CERTS", h.roots(h.app.Staging), "for node-postgres and postgres.js")
	}
}

const (
	nodeSystemCAs = "Node with the system's CAs"
	nodeBuilds    = "Node's build scripts"
)

// nodes are what an app's files say of Node. Its build scripts are what runs at staging
// (nodejs-buildpack, src/nodejs/supply/supply.go; npm, "Life Cycle Operation Order", npm ci).
var nodes = []named{
	{nodeSystemCAs, []string{"package.json", "Procfile"}, `--use[-_]system[-_]ca`, nil},
	{nodeBuilds, []string{"package.json"},
		`"(?:heroku-(?:pre|post)build|(?:pre|post)?install|prepublish|preprepare|prepare|postprepare)"`, nil},
}

// Stratos reads its mode from DB_SSL_MODE and ignores a binding's sslmode. Its driver is lib/pq
// 1.10, which reads SSL_CERT_DIR and PGSSLROOTCERT. It does not start with allow or prefer
// (src/jetstream/datastore, SSLMode), but without the variable, it would connect in plain text even
// to a server with TLS. Any app may have a variable of this name, with other words (MySQL's
// REQUIRED): a wrong one stops only Stratos.
func giveStratos(h *Handout) {
	mode, own := h.plan.Mode, h.plan.Stratos
	if h.app.Shows["Stratos"] != "" {
		h.fail(h.plan.Refuses(own))
		switch {
		case len(h.plan.Databases) == 0:
		case h.app.Env["VCAP_SERVICES_FILE_PATH"]+h.app.Env["SERVICE_BINDING_ROOT"] != "":
			h.warn("Stratos does not read bindings in files, and uses SQLite: " +
				"turn off the app's feature file-based-vcap-services or service-binding-k8s, and restart")
		case mode == sslmode.None && own.Value == "":
			h.warn("Stratos connects in plain text, as no sslmode is in force: write one into the binding, or set POSTGRES_SSL_MODE")
		}
	}
	isAnother := slices.ContainsFunc(apps, func(a named) bool { return a.gives != nil && h.app.Shows[a.name] != "" })
	if own.Value != "" || mode != sslmode.None && !isAnother {
		h.give("DB_SSL_MODE", mode.String(), h.plan.ModeSource())
	}
}

// Go (crypto/x509/root_unix.go, loadSystemRoots) and OpenSSL (X509_LOOKUP_hash_dir(3)) trust every
// certificate in the folders of SSL_CERT_DIR, in place of the stack's folder, so we list that one
// first. SSL_CERT_FILE replaces the stack's file, and OpenSSL loads all of it for each context. So
// we give that only where Node, with its switch for the system's CAs, takes a list for the name of
// one folder (src/crypto/crypto_context.cc, GetSystemStoreCACertificates).
func giveGolang(h *Handout) {
	options := strings.ReplaceAll(h.app.Env["NODE_OPTIONS"]+" "+h.app.Command, "_", "-")
	isSwitched := strings.Contains(options, "--use-system-ca") || h.app.Env["NODE_USE_SYSTEM_CA"] == "1" ||
		h.app.Shows[nodeSystemCAs] != ""
	isAsked := h.plan.Mode != sslmode.None || h.plan.Libpq.Value+h.plan.Stratos.Value != ""
	switch file := h.app.Env["SSL_CERT_FILE"]; {
	case len(h.plan.Databases) == 0 && !isAsked:
		return
	case isSwitched && file != "" && !truststore.IsOurs(file):
		h.give("SSL_CERT_FILE", "", "")
		h.warn("SSL_CERT_FILE is set by the app's owner, and stays: put the databases' CAs into that file for drivers in Go and on OpenSSL")
		return
	case isSwitched, truststore.IsOurs(file):
		if all := h.roots(true); all != "" {
			h.add("SSL_CERT_FILE", all, "", "for Go and OpenSSL; Node takes a list in SSL_CERT_DIR for the name of one folder")
		}
		return
	}
	dirs := cmp.Or(h.app.Env["SSL_CERT_DIR"], "/etc/ssl/certs")
	dirs = appendPath(dirs, h.app.Env["CF_SYSTEM_CERT_PATH"])
	trust := h.plan.TrustStores(h.plan.TrustAll())
	for _, set := range trust.Sets {
		dirs = appendPath(dirs, h.app.Store.Folder(set))
	}
	if len(trust.Own) > 0 {
		own := filepath.Join(h.Dir, "own-"+hash(truststore.EncodePEM(trust.Own)))
		for _, file := range truststore.Index(trust.Own) {
			h.put(filepath.Join(own, file.Name), file.Content, 0o644)
		}
		dirs = appendPath(dirs, own)
	}
	h.add("SSL_CERT_DIR", dirs, "", "for Go and OpenSSL")
}

// Erlang's clients have no modes. Those that verify call public_key:cacerts_get(), which finds only
// the stack's CAs. So we point it to a file with these and the databases'. PATH cannot tell whether
// there is an Erlang: later buildpacks' launch scripts run after ours.
var erlangPlaces = []string{
	"deps/*/bin/erl", "deps/*/erlang/bin/erl", "deps/*/apt/usr/lib/erlang/bin/erl", // supply buildpacks, apt
	"app/.platform_tools/erlang/bin/erl", "app/otp/bin/erl", // the Elixir and the Erlang buildpacks
	"app/erts-*/bin/erlexec", "app/*/erts-*/bin/erlexec", "app/_build/*/rel/*/erts-*/bin/erlexec", // a release
}

func giveErlang(h *Handout) {
	if !h.mode.Encrypts() {
		return
	}
	if root := h.roots(true); root != "" {
		h.add("ERL_AFLAGS", erlangFlags(h.app.Env["ERL_AFLAGS"], root), "a flag that names "+root, "for Erlang's public_key:cacerts_get()")
	}
}

// erlangFlags makes public_key:cacerts_get() return the CAs of a file: from OTP 27.2 on by a
// parameter of public_key, and before by the -eval at the end of the boot. A release without
// public_key boots all the same. The owner's flags come last, since they may end in "-extra", which
// swallows what follows, and behind "--", or they become arguments of our -eval. Nothing escapes
// between quotes (OTP, erts/etc/common/erlexec.c, build_args_from_string).
func erlangFlags(owners, file string) string {
	if strings.Contains(owners, file) {
		return owners
	}
	text := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(file) + `"`
	word := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	flags := "-public_key cacerts_path " + word(text) +
		" -eval " + word("try public_key:cacerts_load("+text+") catch _:_ -> ok end")
	if owners != "" {
		flags += " -- " + owners
	}
	return flags
}
