package drivers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

func TestWhyAnAppNeedsTheTunnelAndWhatSpeaksAgainstIt(t *testing.T) {
	const pg, slonik = `{"dependencies": {"pg": "^8.16.0"}}`, `{"dependencies": {"slonik": "47.0.0"}}`
	const off = "const { Pool } = require('pg')\nmodule.exports = new Pool({ connection: 'postgres', ssl: false })\n"
	const why = "config/database.js:2 sets ssl itself"
	for name, test := range map[string]struct {
		files map[string]string
		want  launch.Carried
	}{
		"plain text":            {map[string]string{"package.json": pg, "config/database.js": off}, launch.Carried{Why: why, Setting: true}},
		"nothing":               {map[string]string{"package.json": pg}, launch.Carried{}},
		"a driver":              {map[string]string{"package.json": slonik}, launch.Carried{Why: "slonik 47.0.0 reads no variable"}},
		"a setting counts more": {map[string]string{"package.json": slonik, "config/database.js": off}, launch.Carried{Why: why, Setting: true}},
		"another's driver": {map[string]string{"package.json": pg, "package-lock.json": `{"lockfileVersion": 3, "packages": {"": {"dependencies": {"pg": "8"}},` +
			`"node_modules/pg": {"version": "8.16.0"}, "node_modules/slonik": {"version": "47.0.0"}}}`}, launch.Carried{}},
		"a driver that a file names": {map[string]string{"requirements.txt": "pg8000==1.31.2\n"}, launch.Carried{Why: "pg8000 1.31.2 reads no variable"}},
		"one in two files": {map[string]string{"requirements.txt": "pg8000==1.31.2\n", "api/requirements.txt": "pg8000==1.31.2\n"},
			launch.Carried{Why: "pg8000 1.31.2 reads no variable"}},
		"one of two drivers, and nobody knows which": {map[string]string{"requirements.txt": "pg8000==1.31.2\npsycopg2==2.9.10\n"}, launch.Carried{}},
		"a setting that is not known":                {map[string]string{"package.json": pg, "config/database.js": strings.Replace(off, "false", "sslConfig", 1)}, launch.Carried{}},
		"a setting of libpq's": {map[string]string{"config/database.yml": "production:\n  adapter: postgresql\n  sslmode: prefer\n"},
			launch.Carried{Why: "config/database.yml:3 sets ssl itself to prefer, which is plain text where the CA does not fit", Setting: true}},
		"another of libpq's": {map[string]string{"config/database.yml": "production:\n  adapter: postgresql\n  sslmode: allow\n"},
			launch.Carried{Why: "config/database.yml:3 sets ssl itself to allow, which is plain text where the CA does not fit", Setting: true}},
		"a test's setting": {map[string]string{"package.json": pg, "test/database.js": off}, launch.Carried{}},
		"redis":            {map[string]string{"package.json": pg, "config/redis.js": "module.exports = { redis: { host: 'r', ssl: false } }"}, launch.Carried{}},
		"it verifies": {map[string]string{"package.json": pg, "config/database.js": off, "config/db.js": "new Pool({ connection: 'postgres', ssl: { rejectUnauthorized: true } })"},
			launch.Carried{Why: why, Setting: true, Against: "the app verifies by itself (config/db.js:1)"}},
		"it verifies elsewhere in the same file": {map[string]string{"package.json": pg, "config/database.js": off + "new Pool({ ssl: { ca: readFileSync('ca.pem') } })\n"},
			launch.Carried{Why: why, Setting: true, Against: "the app verifies by itself (config/database.js:3)"}},
		"control: only TLS is switched on there": {map[string]string{"package.json": pg, "config/database.js": off + "new Pool({ ssl: true })\n"},
			launch.Carried{Why: why, Setting: true}},
		"IAM": {map[string]string{"package.json": pg, "config/database.js": off, "src/db-token.js": "const { Signer } = require('@aws-sdk/rds-signer')"},
			launch.Carried{Why: why, Setting: true, Against: "src/db-token.js:1 asks for what only a direct connection can do"}},
		"channel binding": {map[string]string{"package.json": pg, "config/database.js": off, "config/other.ini": "[db]\nchannel_binding = require\n"},
			launch.Carried{Why: why, Setting: true, Against: "config/other.ini:2 asks for what only a direct connection can do"}},
		"CAs": {map[string]string{"package.json": pg, "config/database.js": off, "certs/global-bundle.pem": "-----BEGIN CERTIFICATE-----\n"},
			launch.Carried{Why: why, Setting: true, Against: "certs/global-bundle.pem has CAs of the app's own"}},
		"Stratos, whose sources say disable": {map[string]string{"src/jetstream/main.go": "package main", "src/jetstream/go.mod": "module x\nrequire github.com/lib/pq v1.10.9\n",
			"src/jetstream/datastore/config.go": "package datastore\n// postgres\nvar c = Config{SSLMode: \"disable\"}\n"},
			launch.Carried{}},
		"control: another app with the same line": {map[string]string{"src/store/config.go": "package datastore\n// postgres\nvar c = Config{SSLMode: \"disable\"}\n"},
			launch.Carried{Why: "src/store/config.go:3 sets ssl itself", Setting: true}},
		"Gitea, by its source": {map[string]string{"go.mod": "module code.gitea.io/gitea\n\nrequire github.com/lib/pq v1.10.9\n"},
			launch.Carried{Why: "go.mod:1 sets ssl itself", Setting: true}},
		"Gitea, by its settings": {map[string]string{"custom/conf/app.ini": "[database]\nDB_TYPE = postgres\n"},
			launch.Carried{Why: "custom/conf/app.ini:2 sets ssl itself", Setting: true}},
		"Gitea that verifies": {map[string]string{"go.mod": "module code.gitea.io/gitea\n", "custom/conf/app.ini": "[database]\nDB_TYPE = postgres\nSSL_MODE = verify-full\n"},
			launch.Carried{Against: "the app verifies by itself (custom/conf/app.ini:3)"}},
		"Gitea with MySQL": {map[string]string{"custom/conf/app.ini": "[database]\nDB_TYPE = mysql\n"}, launch.Carried{}},
		"Mattermost, in a folder": {map[string]string{"server/go.mod": "module github.com/mattermost/mattermost/server/v8\n"},
			launch.Carried{Why: "server/go.mod:1 sets ssl itself", Setting: true}},
		"Concourse, which a launch tells": {map[string]string{"go.mod": "module github.com/concourse/concourse\n", "bin/concourse": ""}, launch.Carried{}},
		"what only uses Gitea's modules":  {map[string]string{"go.mod": "module example.com/x\n\nrequire code.gitea.io/gitea v1.22.0\n"}, launch.Carried{}},
		"a pooler": {map[string]string{"package.json": pg, "config/database.js": off, "pgbouncer.ini": "[databases]\n"},
			launch.Carried{Why: why, Setting: true, Against: "pgbouncer.ini is a pooler's"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range test.files {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644))
			}
			assert.Equal(t, test.want, LookIn(dir, nil).Carried())
		})
	}
}

// The owner's word in an app's own variable counts, and not the app's default.
func TestAnAppsDefaultCountsWhereItsVariableIsNotSet(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module github.com/mattermost/mattermost-server/v6\n"), 0o644))
	lines, warnings := LookIn(dir, nil).In(&launch.Plan{}).Lines()
	assert.Contains(t, lines, "go.mod:1  sets ssl itself by MM_SQLSETTINGS_DATASOURCE: plain text; our variables lose there")
	assert.Len(t, warnings, 2)
	look := LookIn(dir, map[string]string{"MM_SQLSETTINGS_DATASOURCE": "postgres://h/d?sslmode=verify-full"})
	assert.Empty(t, look.Signs)
}

func TestAProgramIsKnownByItsModule(t *testing.T) {
	source, app := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "go.mod"), "module code.gitea.io/gitea\n\ngo 1.25\n")
	write(t, filepath.Join(source, "main.go"), "package main\n\nfunc main() {}\n")
	out, err := exec.Command("go", "build", "-C", source, "-o", filepath.Join(app, "forge"), ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, launch.Carried{Why: "forge:1 sets ssl itself", Setting: true}, LookIn(app, nil).Carried())
}

func TestALineOfAnAppIsSaidWithItsMode(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "package.json"), `{"dependencies": {"pg": "8.16.3"}}`)
	write(t, filepath.Join(dir, "config/database.js"), "new Pool({ connection: 'postgres', sslmode: 'prefer' })\n")
	app := App{Look: LookIn(dir, nil), Bound: true, Mode: sslmode.VerifyFull, Tunnel: true}
	const line = "config/database.js:1  sets ssl itself: prefer, plain text where TLS fails; "
	lines, warnings := app.Lines()
	assert.Contains(t, lines, line+"through the tunnel, if the app takes the host from its binding; without this line, it needs no tunnel")
	assert.Empty(t, warnings)
	write(t, filepath.Join(dir, "package.json"), `{"dependencies": {"pg": "8.16.3", "slonik": "47"}}`)
	app.Look = LookIn(dir, nil)
	lines, _ = app.Lines()
	assert.Contains(t, lines, line+"through the tunnel, if the app takes the host from its binding", "slonik needs it all the same")
	app.Tunnel = false
	lines, _ = app.Lines()
	assert.Contains(t, lines, line+"our variables lose there")
}

func TestALaunchThatAsksForNothingTellsNoApp(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "conf/defaults.ini"), "# grafana\n[database]\nssl_mode = disable\n")
	lines := func(mode sslmode.Mode) (lines []string) {
		lines, _ = App{Look: LookIn(dir, nil), Bound: true, Mode: mode}.Lines()
		return lines
	}
	assert.Contains(t, lines(sslmode.None), "conf/defaults.ini:3  sets ssl itself: plain text; our variables lose there")
	assert.Contains(t, lines(sslmode.Require), "conf/defaults.ini:3  sets ssl itself; a launch sets the variable of Grafana", "the control")
}
