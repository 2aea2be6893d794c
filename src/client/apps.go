package client

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// named is an app, or a way to start one, that a file of its own shows; see docs/apps.md.
type named struct {
	name  string
	files []string // below the app's folder: one of them shows it
	says  string   // a pattern that its text matches, "" if its name is enough
	gives []setting
}

// setting is a variable of such an app, and what it takes for require, verify-ca and verify-full.
// FILE stands for a file with the databases' CAs.
type setting struct {
	name   string
	values [3]string
}

var (
	words = [3]string{"require", "verify-ca", "verify-full"}
	on    = [3]string{"on", "on", "on"}
	yes   = [3]string{"true", "true", "true"} // Node then verifies in each of them, as node-postgres does
)

// What Stratos is given is in languages.go.
//
// Sources: Stratos, deploy/cloud-foundry/build.sh, and stratos-buildpack, bin/release; Grafana,
// pkg/services/sqlstore (its lib/pq needs no more than SSL_CERT_DIR); Strapi's templates,
// config/database; n8n, config/src/configs/database.config.ts; Heimdall2, apps/backend/config;
// Concourse, flag/postgres_config.go; Kong, kong.conf.default; Laravel, config/database.php since
// 11; Mastodon, config/database.yml.
var apps = []named{
	{"Stratos", []string{"src/jetstream/main.go", "jetstream", "portal-proxy"}, "", nil},
	{"Grafana", []string{"conf/defaults.ini"}, `(?i)grafana`, []setting{{"GF_DATABASE_SSL_MODE", words}}},
	{"Strapi", []string{"config/database.js", "config/database.ts", "dist/config/database.js"},
		`env\.bool\(\s*['"]DATABASE_SSL['"]`, []setting{{"DATABASE_SSL", yes}}},
	{"n8n", []string{"package.json"}, `"n8n"\s*:`, []setting{{"DB_POSTGRESDB_SSL_ENABLED", yes}}},
	{"Heimdall2", []string{"apps/backend/config/app-config.ts", "apps/backend/config/app_config.ts", "apps/backend/dist/config/app_config.js"},
		`DATABASE_SSL`, []setting{{"DATABASE_SSL", yes}}},
	{"Concourse", []string{"bin/concourse", "concourse/bin/concourse"}, "",
		[]setting{{"CONCOURSE_POSTGRES_SSLMODE", words}, {"CONCOURSE_POSTGRES_CA_CERT", [3]string{"", "FILE", "FILE"}}}},
	{"Kong", []string{"kong.conf"}, "", []setting{{"KONG_PG_SSL", on}, {"KONG_PG_SSL_REQUIRED", on},
		{"KONG_PG_SSL_VERIFY", [3]string{"", "on", "on"}}, {"KONG_LUA_SSL_TRUSTED_CERTIFICATE", [3]string{"", "system,FILE", "system,FILE"}}}},
	{"Laravel", []string{"config/database.php"}, `env\(\s*['"]DB_SSLMODE['"]`, []setting{{"DB_SSLMODE", words}}},
	{"Rails with DB_SSLMODE, as Mastodon", []string{"config/database.yml"},
		`ENV(?:\[|\.fetch\()\s*['"]DB_SSLMODE['"]`, []setting{{"DB_SSLMODE", words}}},
}

// Shown returns what an app's own files show, each with its file.
func Shown(app *seen.Files) map[string]string {
	found, skipped := map[string]string{}, app.Skipped
	for _, a := range slices.Concat(apps, nodes) {
		isShown := func(name string) bool {
			if a.says == "" {
				return app.Exists(name)
			}
			text, ok := app.Text(name)
			return ok && regexp.MustCompile(a.says).MatchString(text)
		}
		if i := slices.IndexFunc(a.files, isShown); i >= 0 {
			found[a.name] = a.files[i]
		}
	}
	app.Skipped = skipped // none of these has to be there
	return found
}

// Told returns those of the apps shown that a launch tells by their own variable. One whose owner
// set it is left out, but for Stratos.
func Told(shown, env map[string]string) map[string]string {
	told := map[string]string{}
	for _, a := range apps {
		isOwners := slices.ContainsFunc(a.gives, func(s setting) bool { return env[s.name] != "" })
		if file := shown[a.name]; file != "" && !isOwners {
			told[a.name] = file
		}
	}
	return told
}

// OwnModes returns the modes that the owner set in such variables. Of a flag, only off says one.
func OwnModes(env map[string]string) (own []launch.Owner) {
	for _, a := range apps {
		for _, s := range a.gives {
			isFlag := s.values == on || s.values == yes
			switch o := launch.OwnerOf(env, s.name); {
			case s.values == words && o.Mode != sslmode.None:
				own = append(own, o)
			case isFlag && (o.Value == "false" || o.Value == "off"):
				own = append(own, launch.Owner{Variable: s.name, Value: o.Value, Mode: sslmode.Disable})
			}
		}
	}
	return own
}

func giveNamed(h *Handout) {
	if !h.mode.Encrypts() {
		return
	}
	for _, a := range apps {
		file := h.app.Shows[a.name]
		if file == "" {
			continue
		}
		for _, s := range a.gives {
			enough := s.values[h.mode-sslmode.Require:]
			value, after, isFile := strings.Cut(enough[0], "FILE")
			if isFile {
				value += h.roots(false) + after
			}
			if value == "" {
				continue
			}
			h.give(s.name, value, fmt.Sprintf("for %s, by %s", a.name, file))
			own := h.app.Env[s.name]
			isOwn := func(value string) bool { return strings.EqualFold(value, own) }
			if own != "" && !filepath.IsAbs(own) && !slices.ContainsFunc(enough, isOwn) {
				h.warn("%s is set by the app's owner, and stays: %s connects with it, and that is less than %s", s.name, a.name, h.mode)
			}
		}
	}
}
