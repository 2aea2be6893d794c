package integration

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// carriedApp is an app in one of the shapes that people push: its files, the command that connects, and
// what its log says of the tunnel, "" if it must not go through it.
type carriedApp struct {
	name    string
	files   map[string]string
	command string
	says    string
}

const (
	pgPackage  = `{"dependencies": {"pg": "8.23.1"}}`
	nodeSelect = `SELECT format('ssl=%s version=%s', ssl, version) AS row FROM pg_stat_ssl WHERE pid = pg_backend_pid()`
	// configuredApp connects with config/database.js, as most do.
	configuredApp = `const own = require('./config/database')
const { hostname, port, username, password, dbname } = Object.values(JSON.parse(process.env.VCAP_SERVICES))[0][0].credentials
const { Client } = require('pg')
const client = new Client({ host: hostname, port, user: username, password, database: dbname, ...own })
client.connect().then(() => client.query("` + nodeSelect + `")).then((r) => { console.log(r.rows[0].row); process.exit(0) })
  .catch((e) => { console.error(e.message); process.exit(1) })
`
	pythonRow = `import json, os
c = next(iter(json.loads(os.environ["VCAP_SERVICES"]).values()))[0]["credentials"]
`
	// psycopg2Row connects with the app's own options.
	psycopg2Row = pythonRow + `import psycopg2, sys
try:
    db = psycopg2.connect(host=c["hostname"], port=c["port"], user=c["username"], password=c["password"], dbname=c["dbname"], **own)
except psycopg2.Error as e:
    sys.exit(str(e))
cursor = db.cursor()
cursor.execute("` + nodeSelect + `")
print(cursor.fetchone()[0])
`
)

func nodeWith(config string, more ...string) map[string]string {
	files := map[string]string{"package.json": pgPackage, "app.js": configuredApp, "config/database.js": config}
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

const (
	off     = "// Postgres\nmodule.exports = { ssl: false }\n"
	runNode = "node app.js"
)

var carriedApps = []carriedApp{
	{"Strapi's template: off by default", nodeWith("// Postgres\nmodule.exports = {\n  ssl: process.env.DATABASE_SSL === 'true' && { rejectUnauthorized: true }\n}\n"), runNode, "config/database.js:3 sets ssl itself"},
	{"n8n, Heimdall2: ssl: false", nodeWith(off), runNode, "config/database.js:2 sets ssl itself"},
	{"Outline, Unleash: verifies nothing", nodeWith("// Postgres\nmodule.exports = { ssl: { rejectUnauthorized: false } }\n"), runNode, "config/database.js:2 sets ssl itself"},
	{"slonik, which reads no variable", map[string]string{"package.json": `{"dependencies": {"slonik": "47.0.0"}}`, "app.js": `async function main () {
  const { hostname, port, username, password, dbname } = Object.values(JSON.parse(process.env.VCAP_SERVICES))[0][0].credentials
  const { createPool, sql } = require('slonik')
  const pool = await createPool('postgres://' + username + ':' + password + '@' + hostname + ':' + port + '/' + dbname, { connectionRetryLimit: 0 })
  console.log((await pool.any(sql.unsafe` + "`" + nodeSelect + "`" + `))[0].row)
  process.exit(0)
}
main().catch((e) => { console.error(e.message); process.exit(1) })
`}, runNode, "slonik 47.0.0 reads no variable"},
	{"Laravel's older template: prefer", map[string]string{
		"composer.json":       `{"require": {"laravel/framework": "^9"}}`,
		"config/database.php": "<?php\nreturn ['connections' => ['pgsql' => [\n  'driver' => 'pgsql',\n  'sslmode' => 'prefer',\n]]];\n",
		"index.php": `<?php
$c = array_values(json_decode(getenv('VCAP_SERVICES'), true))[0][0]['credentials'];
$own = (require __DIR__ . '/config/database.php')['connections']['pgsql'];
try {
  $pdo = new PDO("pgsql:host={$c['hostname']};port={$c['port']};dbname={$c['dbname']};sslmode={$own['sslmode']}", $c['username'], $c['password']);
  echo $pdo->query("` + nodeSelect + `")->fetchColumn(), "\n";
} catch (PDOException $e) { fwrite(STDERR, $e->getMessage()); exit(1); }
`}, "php index.php", "config/database.php:4 sets ssl itself to prefer, which is plain text where the CA does not fit"},
	{"Rails with a mode in database.yml", map[string]string{
		"Gemfile.lock":        "GEM\n  specs:\n    pg (1.5.9)\n\nDEPENDENCIES\n  pg\n",
		"config/database.yml": "production:\n  adapter: postgresql\n  sslmode: disable\n",
		"main.rb": `require 'pg'; require 'yaml'; require 'erb'; require 'json'
own = YAML.safe_load(ERB.new(File.read('config/database.yml')).result)['production']
c = JSON.parse(ENV['VCAP_SERVICES']).values[0][0]['credentials']
begin
  db = PG.connect(host: c['hostname'], port: c['port'], user: c['username'], password: c['password'], dbname: c['dbname'], sslmode: own['sslmode'])
  puts db.exec("` + nodeSelect + `")[0]['row']
rescue PG::Error => e
  abort e.message
end
`}, "/usr/bin/ruby main.rb", "config/database.yml:3 sets ssl itself"},
	{"Django with ssl_require", map[string]string{
		"requirements.txt": "psycopg2==2.9.9\n",
		"settings.py":      "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql',\n    'OPTIONS': {'sslmode': 'require'}}}\n",
		"main.py":          "import settings\nown = settings.DATABASES['default']['OPTIONS']\n" + psycopg2Row}, "/usr/bin/python3 main.py", "settings.py:2 sets ssl itself"},
	{"pg8000, which reads no variable", map[string]string{"requirements.txt": "pg8000==1.10.6\n", "main.py": pythonRow + `import pg8000, sys
try:
    db = pg8000.connect(host=c["hostname"], port=int(c["port"]), user=c["username"], password=c["password"], database=c["dbname"])
    cursor = db.cursor()
    cursor.execute("SELECT 'ssl=' || ssl || ' version=' || coalesce(version, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    print(cursor.fetchone()[0])
except Exception as e:
    sys.exit(str(e))
`}, "/usr/bin/python3 main.py", "pg8000 1.10.6 reads no variable"},

	{"Gitea without SSL_MODE: its default is disable", map[string]string{
		"requirements.txt":    "psycopg2==2.9.9\n",
		"custom/conf/app.ini": "[database]\nDB_TYPE = postgres\n",
		"gitea.bin": `import configparser
ini = configparser.ConfigParser()
ini.read("custom/conf/app.ini")
own = {"sslmode": ini["database"].get("SSL_MODE", "disable")}
` + psycopg2Row}, "/usr/bin/python3 gitea.bin", "custom/conf/app.ini:2 sets ssl itself"},

	// Right today, and each might be mistaken.
	{"it sets nothing", nodeWith("module.exports = {}\n"), runNode, ""},
	{"it verifies", nodeWith("// Postgres\nmodule.exports = { ssl: { rejectUnauthorized: true } }\n"), runNode, ""},
	{"a test says ssl: false", nodeWith("module.exports = {}\n", "test/database.js", off), runNode, ""},
	{"docs say ssl: false", nodeWith("module.exports = {}\n", "docs/config.js", off), runNode, ""},
	{"redis without TLS", nodeWith("module.exports = {}\n", "config/redis.js", "module.exports = { redis: { host: 'r', ssl: false } }\n"), runNode, ""},
	{"another package brings slonik", nodeWith("module.exports = {}\n", "package-lock.json", `{"lockfileVersion": 3, "packages": {"": {"dependencies": {"pg": "8.23.1"}},
"node_modules/pg": {"version": "8.23.1"}, "node_modules/slonik": {"version": "47.0.0"}}}`), runNode, ""},
	{"a bundle of RDS's CAs", nodeWith("module.exports = {}\n", "certs/global-bundle.pem", "-----BEGIN CERTIFICATE-----\n"), runNode, ""},
	{"IAM tokens", nodeWith("module.exports = {}\n", "db.js", "const { Signer } = require('@aws-sdk/rds-signer')\n"), runNode, ""},
	{"a pooler's configuration", nodeWith("module.exports = {}\n", "pgbouncer.ini", "[databases]\n"), runNode, ""},
	{"mail and LDAP without TLS", nodeWith("module.exports = {}\n", "config/mail.js", "module.exports = { smtp: { host: 'm', ssl: false }, ldap: { ssl: false } }\n"), runNode, ""},
	{"an example of a configuration", nodeWith("module.exports = {}\n", "config/database.example.js", off), runNode, ""},
	{"two drivers that obey", nodeWith("module.exports = {}\n", "package.json", `{"dependencies": {"pg": "8.23.1", "postgres": "3.4.9"}}`), runNode, ""},
	{"a CA of its own in the code, which the server's is of", nodeWith("// Postgres\nmodule.exports = { ssl: { rejectUnauthorized: true, ca: require('fs').readFileSync(process.env.NODE_EXTRA_CA_CERTS) } }\n"), runNode, ""},
	{"a comment that quotes ssl: false", nodeWith("// Postgres\n// before: ssl: false\nmodule.exports = {}\n"), runNode, ""},
	{"a development setting", nodeWith("module.exports = {}\n", "config/database.dev.js", off), runNode, ""},
}

// TestCarried stages and launches these apps under a binding that writes verify-full. What it says is
// the server's row, and its log.
func TestCarried(t *testing.T) {
	t.Parallel()
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	pack := buildpack(t, oregon)
	modules, err := filepath.Abs("../../fixtures/drivers/node/node_modules")
	require.NoError(t, err)
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	start := func(a carriedApp, env ...string) *container {
		dir := t.TempDir()
		for file, text := range a.files {
			write(t, dir, file, text)
		}
		return launch(t, pack, dir, "compile", services, hosts(host), env...)
	}
	says := func(a carriedApp, c *container) string {
		return c.says(t, a.command, "NODE_PATH="+modules, "NODE_NO_WARNINGS=1")
	}
	eachApp := func(do func(i int, a carriedApp)) {
		var running sync.WaitGroup
		for i, a := range carriedApps {
			running.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				do(i, a)
			})
		}
		running.Wait()
	}
	launched := make([]*container, len(carriedApps))
	eachApp(func(i int, a carriedApp) {
		launched[i] = start(a)
		assert.Equal(t, a.says != "", strings.Contains(launched[i].variable("VCAP_SERVICES"), `"127.`), a.name)
		assert.Contains(t, says(a, launched[i]), "version=TLSv1.3", a.name)
	})
	require.NotContains(t, launched, (*container)(nil), "what the app that did not start says is above")
	for _, line := range logins(server.Log(t)) {
		assert.Contains(t, line, " SSL enabled (protocol=TLSv1.3")
	}
	refused := carriedApps[2] // the control: without the tunnel, this app takes whoever answers
	without := start(refused, "POSTGRES_SSL_TUNNEL=no")
	for _, bad := range []pgtest.Config{serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host), serving(t, oregon, otherHost), {}} {
		before := server.Log(t)
		server.Reload(t, withSCRAM(bad))
		eachApp(func(i int, a carriedApp) {
			assert.Contains(t, says(a, launched[i]), "refuses: ", a.name)
		})
		assert.Empty(t, logins(strings.TrimPrefix(server.Log(t), before)))
		if bad.Certificate != nil {
			assert.Equal(t, overTLS, says(refused, without), "control")
		}
	}
	for i, a := range carriedApps {
		log, err := launched[i].end()
		require.NoError(t, err)
		if a.says == "" {
			assert.NotContains(t, log, "the tunnel carries", a.name)
		} else {
			assert.Contains(t, log, "postgres-ssl: the tunnel carries console_db (verify-full), if the app takes the host from its binding: "+a.says+" (POSTGRES_SSL_TUNNEL=no to refuse)", a.name)
		}
		assert.NotContains(t, log, "mypass", a.name)
	}
}
