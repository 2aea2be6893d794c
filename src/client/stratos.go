package client

import (
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Stratos reads its mode from DB_SSL_MODE and ignores a binding's sslmode. Its driver is lib/pq
// 1.10, which reads SSL_CERT_DIR (golang.go) and PGSSLROOTCERT (libpq.go).
//
// It knows four of the six modes, and refuses to start with allow or prefer. We set them anyway:
// without the variable, it would connect in plain text even to a server that offers TLS.
//
// Any app may have a variable DB_SSL_MODE, with words that are not ours (MySQL's REQUIRED). A wrong
// one stops only an app that is Stratos.
//
// Source: Stratos, src/jetstream/datastore, the SSLMode constants and their validation.
func giveStratos(h *Handout) {
	if h.app.Shows["Stratos"] != "" {
		if len(h.plan.Databases) > 0 && h.plan.Mode == sslmode.None && h.app.Env["DB_SSL_MODE"] == "" {
			h.Warnings = append(h.Warnings, "Stratos connects in plain text, as no sslmode is in force: "+
				"write one into the binding, or set POSTGRES_SSL_MODE")
		}
		_, own := launch.Owners(h.app.Env)
		h.fail(h.plan.Refuses(own))
		for _, name := range []string{"VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT"} {
			if h.app.Env[name] != "" && len(h.plan.Databases) > 0 {
				h.Warnings = append(h.Warnings, "Stratos does not read bindings in files ("+name+"), and uses SQLite: "+
					"turn off the app's feature file-based-vcap-services or service-binding-k8s, and restart")
			}
		}
	}
	isAnother := slices.ContainsFunc(apps, func(a named) bool { return a.gives != nil && h.app.Shows[a.name] != "" })
	if h.app.Env["DB_SSL_MODE"] != "" || h.plan.Mode != sslmode.None && !isAnother {
		h.give("DB_SSL_MODE", h.plan.Mode.String(), h.plan.ModeSource())
	}
}
