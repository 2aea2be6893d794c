package client

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

// shown has, for each app, a file that shows it, as small as it may be.
var shown = map[string][2]string{
	"Stratos":                            {"src/jetstream/main.go", "package main"},
	"Grafana":                            {"conf/defaults.ini", "[analytics]\n# sends usage to stats.grafana.org\n"},
	"Strapi":                             {"config/database.ts", "ssl: env.bool('DATABASE_SSL', false) && {"},
	"n8n":                                {"package.json", `{"dependencies": {"n8n": "1.90.0"}}`},
	"Heimdall2":                          {"apps/backend/config/app-config.ts", "if (!this.get('DATABASE_SSL'))"},
	"Concourse":                          {"concourse/bin/concourse", ""},
	"Kong":                               {"kong.conf", ""},
	"Laravel":                            {"config/database.php", "'sslmode' => env('DB_SSLMODE', 'prefer'),"},
	"Rails with DB_SSLMODE, as Mastodon": {"config/database.yml", "sslmode: <%= ENV['DB_SSLMODE'] || 'prefer' %>"},
}

// showing is what Shown finds in an app's folder with these files.
func showing(files ...[2]string) map[string]string {
	tree := fstest.MapFS{}
	for _, f := range files {
		tree[f[0]] = &fstest.MapFile{Data: []byte(f[1])}
	}
	return Shown(in(tree))
}

// in is an app's folder.
func in(app fs.FS) *seen.Files {
	return seen.New(app, app, func(string, string) bool { return false })
}

func TestAnAppWithANameOfItsOwnIsToldByIt(t *testing.T) {
	require.Len(t, shown, len(apps), "one file for each row")
	for _, a := range apps {
		file := shown[a.name]
		require.Equal(t, file[0], showing(file)[a.name], a.name)
		for i, mode := range words {
			h := app{looks: a.name}.given(t, db("db", mode, oregon))
			for _, s := range a.gives {
				want := strings.ReplaceAll(s.values[i], "FILE", "/home/vcap/deps/0/trust/us-west-2.pem")
				assert.Equal(t, want, h.exported()[s.name], "%s, %s", a.name, mode)
			}
			assert.Empty(t, h.Warnings)
		}
		for _, s := range a.gives {
			assert.NotContains(t, app{looks: a.name}.given(t, db("db", "prefer", oregon)).exported(), s.name, "only from require up")
			assert.NotContains(t, app{}.given(t, db("db", "verify-full", oregon)).exported(), s.name, "only for the app that reads it")
		}
	}
}

func TestTheOwnersModesForSuchAppsAreRead(t *testing.T) {
	for want, environment := range map[string]map[string]string{
		"":                           env("PGSSLMODE", "require", "MY_DB_SSLMODE", "require", "GF_DATABASE_SSL_MODE", ""),
		"DB_SSLMODE prefer":          env("DB_SSLMODE", "prefer"),
		"GF_DATABASE_SSL_MODE allow": env("GF_DATABASE_SSL_MODE", "allow", "CONCOURSE_POSTGRES_SSLMODE", "REQUIRE", "DB_SSLMODE", "off"),
		"KONG_PG_SSL disable":        env("KONG_PG_SSL", "off", "KONG_PG_SSL_REQUIRED", "on", "KONG_PG_SSL_VERIFY", "off"),
		"DATABASE_SSL disable":       env("DATABASE_SSL", "false", "DB_POSTGRESDB_SSL_ENABLED", "true"),
	} {
		var own []string
		for _, o := range OwnModes(environment) {
			own = append(own, o.Variable+" "+o.Mode.String())
			assert.Equal(t, environment[o.Variable], o.Value)
		}
		assert.Equal(t, want, strings.Join(slices.Compact(own), ", ")) // two apps read DATABASE_SSL
	}
}

func TestAnAppWhoseOwnerSetItsVariableIsNotTold(t *testing.T) {
	found := showing([2]string{"kong.conf", ""}, shown["Stratos"], [2]string{"Procfile", "web: node --use-system-ca ."})
	require.Len(t, found, 3)
	assert.Equal(t, map[string]string{"Kong": "kong.conf", "Stratos": "src/jetstream/main.go"}, Told(found, nil))
	assert.NotContains(t, Told(found, env("KONG_PG_SSL", "off")), "Kong")
	assert.Contains(t, Told(found, env("DB_SSL_MODE", "disable")), "Stratos", "a launch says more of that")
}

// docs/apps.md has one row for each app, with each of its variables.
func TestTheDocumentHasEachAppOnce(t *testing.T) {
	text, err := os.ReadFile("../../docs/apps.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(text), "## Told by name")
	for _, a := range apps {
		require.Equal(t, 1, strings.Count(string(text), "\n| "+a.name+" | "), a.name)
		_, row, _ := strings.Cut(table, "\n| "+a.name+" | ")
		row, _, _ = strings.Cut(row, "\n")
		cells := strings.Split(row, " | ")
		for _, s := range a.gives {
			assert.Contains(t, cells[len(cells)-1], "`"+s.name+"`", a.name)
		}
	}
	assert.Equal(t, 1, strings.Count(string(text), "\n| app |"), "the apps are in one table")
}

func TestNoAppGetsAnotherAppsVariable(t *testing.T) {
	for _, one := range apps {
		h := app{looks: one.name}.given(t, db("db", "verify-full", oregon)).exported()
		assert.Equal(t, one.name == "Stratos", h["DB_SSL_MODE"] != "", "it is Stratos's")
		for _, other := range apps {
			for _, s := range other.gives {
				if !slices.ContainsFunc(one.gives, func(own setting) bool { return own.name == s.name }) {
					assert.NotContains(t, h, s.name, "%s is not %s", one.name, other.name)
				}
			}
			if one.name != other.name {
				assert.Empty(t, showing(shown[one.name])[other.name])
			}
		}
	}
	assert.Contains(t, app{}.given(t, db("db", "verify-full", oregon)).exported(), "DB_SSL_MODE", "whoever it is may be Stratos")
}

func TestTemplatesThatReadNoVariableAreNotToldByOne(t *testing.T) {
	for _, file := range [][2]string{
		{"config/database.php", "'sslmode' => 'prefer',"}, {"config/database.js", "ssl: { rejectUnauthorized: false },"},
		{"config/database.yml", "sslmode: disable"}, {"package.json", `{"dependencies": {"n8n-nodes-base": "1"}}`},
	} {
		found := showing(file)
		for _, a := range apps {
			assert.Empty(t, found[a.name], file[0])
		}
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "config"), 0o755))
	for _, name := range []string{"config/database.php", "package.json", "a"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, name), 0o644))
	}
	assert.Empty(t, Shown(in(os.DirFS(dir))), "nobody waits for a pipe")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "config")))
	for _, name := range []string{"config", ".java-buildpack", "_build"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, name), 0o644))
	}
	files := in(os.DirFS(dir))
	assert.Empty(t, Shown(files), "nor for one in the place of a folder")
	assert.Empty(t, files.Skipped)
	assert.Equal(t, map[string]bool{"Stratos": false, "apps": false, "erlang": false, "golang": false, "java": false, "libpq": false, "node": false},
		Look(os.DirFS(dir), os.DirFS(dir)))
}

func TestAnOwnersWeakerVariableStaysAndIsNamed(t *testing.T) {
	for value, weaker := range map[string]bool{"require": true, "disable": true, "s3cr3t": true, "verify-full": false} {
		h := app{looks: "Grafana", env: env("GF_DATABASE_SSL_MODE", value)}.given(t, db("db", "verify-full", oregon))
		assert.NotContains(t, h.exported(), "GF_DATABASE_SSL_MODE="+"other")
		text := strings.Join(h.Warnings, "\n")
		assert.Equal(t, weaker, strings.Contains(text, "GF_DATABASE_SSL_MODE is set by the app's owner, and stays: Grafana connects with it, and that is less than verify-full"), value)
		assert.NotContains(t, text, "s3cr3t")
	}
	h := app{looks: "Grafana", env: env("GF_DATABASE_SSL_MODE", "prefer")}.given(t, db("db", "require", oregon))
	assert.Len(t, h.Warnings, 1)
}

// PGSSL is for postgres.js. Code that reads it otherwise verifies less with it.
func TestPGSSLIsNotGivenWhereItHasAnotherReader(t *testing.T) {
	b := db("db", "verify-full", oregon)
	assert.NotContains(t, app{pgssl: "db.js:3 reads it"}.given(t, b).exported(), "PGSSL")
	assert.Equal(t, "verify-full", app{}.given(t, b).exported()["PGSSL"], "the control")
	assert.Contains(t, app{pgssl: "db.js:3 reads it"}.given(t, b).exported(), "NODE_EXTRA_CA_CERTS")
}
