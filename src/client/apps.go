package client

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// named is an app that reads its mode from a variable of its own, with a default that allows less.
// docs/apps.md has what was measured.
type named struct {
	name  string
	files []string // patterns of fs.Glob below the app's folder: one of them shows it
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

// apps are those of which this is known. Stratos, the first of its kind, is in stratos.go.
//
// Sources: Grafana, pkg/services/sqlstore (its lib/pq needs no more than SSL_CERT_DIR); Strapi's
// templates, config/database; n8n, config/src/configs/database.config.ts; Heimdall2,
// apps/backend/config; Concourse, flag/postgres_config.go; Kong, kong.conf.default; Laravel,
// config/database.php since 11; Mastodon, config/database.yml.
var apps = []named{
	{"Grafana", []string{"conf/defaults.ini"}, `(?i)grafana`, []setting{{"GF_DATABASE_SSL_MODE", words}}},
	{"Strapi", []string{"config/database.[jt]s", "dist/config/database.js"},
		`env\.bool\(\s*['"]DATABASE_SSL['"]`, []setting{{"DATABASE_SSL", yes}}},
	{"n8n", []string{"package.json"}, `"n8n"\s*:`, []setting{{"DB_POSTGRESDB_SSL_ENABLED", yes}}},
	{"Heimdall2", []string{"apps/backend/config/app?config.ts", "apps/backend/dist/config/app?config.js"},
		`DATABASE_SSL`, []setting{{"DATABASE_SSL", yes}}},
	{"Concourse", []string{"bin/concourse", "concourse/bin/concourse"}, "",
		[]setting{{"CONCOURSE_POSTGRES_SSLMODE", words}, {"CONCOURSE_POSTGRES_CA_CERT", [3]string{"", "FILE", "FILE"}}}},
	{"Kong", []string{"kong.conf"}, "", []setting{{"KONG_PG_SSL", on}, {"KONG_PG_SSL_REQUIRED", on},
		{"KONG_PG_SSL_VERIFY", [3]string{"", "on", "on"}}, {"KONG_LUA_SSL_TRUSTED_CERTIFICATE", [3]string{"", "system,FILE", "system,FILE"}}}},
	{"Laravel", []string{"config/database.php"}, `env\(\s*['"]DB_SSLMODE['"]`, []setting{{"DB_SSLMODE", words}}},
	{"Rails with DB_SSLMODE, as Mastodon", []string{"config/database.yml"},
		`ENV(?:\[|\.fetch\()\s*['"]DB_SSLMODE['"]`, []setting{{"DB_SSLMODE", words}}},
}

// Named returns the apps in a folder that a launch tells by a variable of their own, each with the file
// that shows it. But for Stratos, one whose owner set that variable is left out.
func Named(folder fs.FS, env map[string]string) map[string]string {
	found, app := map[string]string{}, remember(folder)
	lookForNamed(app, found)
	for _, a := range apps {
		if slices.ContainsFunc(a.gives, func(s setting) bool { return env[s.name] != "" }) {
			delete(found, a.name)
		}
	}
	if file := stratosApp.shownBy(map[string]fs.FS{"app": app}); file != "" {
		found["Stratos"] = file
	}
	return found
}

// OwnModes returns the modes that the owner set in variables of such apps, whichever app it is. Of a
// flag, only the word that turns it off tells anything.
func OwnModes(env map[string]string) (own []launch.Owner) {
	for _, a := range apps {
		for _, s := range a.gives {
			value := env[s.name]
			mode, _ := sslmode.Parse(value) // None, if it is none
			isFlag := s.values == on || s.values == yes
			switch {
			case isFlag && (value == "false" || value == "off"):
				own = append(own, launch.Owner{Variable: s.name, Value: value, Mode: sslmode.Disable})
			case s.values == words && value != "" && mode.String() == value:
				own = append(own, launch.Owner{Variable: s.name, Value: value, Mode: mode})
			}
		}
	}
	return own
}

var namedApps = language{name: "apps", give: giveNamed, look: lookForNamed}

// lookForNamed finds the file that shows each app.
func lookForNamed(app fs.FS, found map[string]string) {
	for _, a := range apps {
		for _, pattern := range a.files {
			names, _ := fs.Glob(app, pattern)
			i := slices.IndexFunc(names, func(name string) bool {
				return a.says == "" || lazyregexp.New(a.says)().MatchString(textOf(app, name))
			})
			if i >= 0 && found[a.name] == "" {
				found[a.name] = names[i]
			}
		}
	}
}

// giveNamed gives each app that was found its own variables, from require up. The owner's own stay.
func giveNamed(h *Handout) {
	mode := h.modeWithoutVariable()
	if !mode.Encrypts() {
		return
	}
	for _, a := range apps {
		file := h.app.Brings[a.name]
		if file == "" {
			continue
		}
		for _, s := range a.gives {
			value := s.values[mode-sslmode.Require]
			if strings.Contains(value, "FILE") {
				value = strings.ReplaceAll(value, "FILE", h.roots(false))
			}
			if value == "" {
				continue
			}
			h.give(s.name, value, fmt.Sprintf("for %s, by %s", a.name, file))
			if own := h.app.Env[s.name]; own != "" && s.allowsLess(own, mode) {
				h.Warnings = append(h.Warnings, fmt.Sprintf("%s is set by the app's owner, and stays: %s connects with it, and that is less than %s",
					s.name, a.name, mode))
			}
		}
	}
}

// allowsLess says whether an owner's value allows less than a mode. One that is none of ours does.
func (s setting) allowsLess(own string, mode sslmode.Mode) bool {
	i := -1
	for j, value := range s.values {
		if strings.EqualFold(value, own) {
			i = j
		}
	}
	return i < int(mode-sslmode.Require) && !filepath.IsAbs(own)
}
