package integration

import (
	"bytes"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// buildScript connects to each bound service, with each client, and prints a line for each:
// SERVICE/CLIENT, a tab, and what it did.
const buildScript = `
for service in $(jq -r '.[][].name' <<<"$VCAP_SERVICES" | sort); do
  for client in psql/main.sh django/main.py node/pg.js; do
    printf '%s/%s\t' "$service" "${client%/*}"
    VCAP_SERVICES=$(jq -c --arg name "$service" 'map_values(map(select(.name == $name)))' <<<"$VCAP_SERVICES") "$client" 2>&1 | tr '\n' ' '
    echo
  done
done
`

const nodePostgres = `#!/usr/bin/env node
const { Client } = require('pg')
const { hostname, port, username, password, dbname } = Object.values(JSON.parse(process.env.VCAP_SERVICES))[0][0].credentials
const client = new Client({ host: hostname, port, user: username, password, database: dbname, connectionTimeoutMillis: 300000 })
client.connect()
  .then(() => client.query("SELECT format('ssl=%s version=%s', ssl, version) AS row FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
  .then(({ rows }) => { console.log(rows[0].row); process.exit(0) })
  .catch((error) => { console.log(error.message); process.exit(1) })
`

// A later buildpack runs the app's own code at staging. It connects as the binding asks, or fails,
// and nobody in between gets the password.
func TestBuildScriptsConnectAsTheBindingAsks(t *testing.T) {
	t.Parallel()
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	app := buildApp(t, map[string]string{"build.sh": buildScript, "node/pg.js": nodePostgres,
		"package.json": `{"scripts": {"heroku-postbuild": "node node/pg.js"}}`})
	host := func(name string) string { return name + ".abc123.us-west-2.rds.amazonaws.com" }
	eavesdropper := eavesdrop(t)
	databases := map[string]*pgtest.Server{
		"good": pgtest.Start(t, serving(t, oregon, host("good"))), "plain": pgtest.Start(t, pgtest.Config{HBA: anyLogin, SQL: database}),
		"forged":  pgtest.Start(t, serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host("forged"))),
		"renamed": pgtest.Start(t, serving(t, oregon, host("other"))), "between": {Port: eavesdropper.port},
	}
	services, names := map[string]credentials{}, []string{}
	for name, server := range databases {
		services[name] = credentialsOf(server, host(name), "verify-full")
		names = append(names, host(name))
	}
	buildpack := buildpack(t, oregon)
	build := func(variables ...string) map[string]string {
		c := launch(t, buildpack, app, "finalize", vcapServices(t, services), hosts(names...), variables...)
		output, err := c.end()
		require.NoError(t, err, output)
		assert.NotContains(t, output, "mypass")
		said := map[string]string{}
		for line := range strings.Lines(output) {
			if name, text, ok := strings.Cut(line, "\t"); ok {
				said[name] = strings.TrimSpace(text)
			}
		}
		return said
	}

	said := build()
	for _, client := range []string{"psql", "django", "node"} {
		assert.Equal(t, "ssl=t version=TLSv1.3", said["good/"+client], client)
		assert.Regexp(t, untrusted, said["forged/"+client], client)
		assert.Regexp(t, misnamed, said["renamed/"+client], client)
		assert.Regexp(t, withoutTLS, said["plain/"+client], client)
		assert.Regexp(t, withoutTLS, said["between/"+client], client)
	}
	assert.Empty(t, eavesdropper.passwords(), "nobody tells the password")

	left := build("POSTGRES_SSL_STAGING=no")
	assert.Equal(t, "ssl=f version=", left["good/node"], "the control: without the files, Node is in plain text")
	for _, name := range []string{"forged", "renamed"} {
		for _, client := range []string{"psql", "django"} {
			assert.Equal(t, "ssl=t version=TLSv1.3", left[name+"/"+client], "the control: libpq verifies nothing")
		}
	}
	assert.Equal(t, []string{"mypass", "mypass", "mypass"}, eavesdropper.passwords(), "the control: all tell the password")
}

// npm downloads at staging from a company's registry, whose CA a buildpack behind ours brings. A CA
// of ours would hide it, unless it is the platform's too.
func TestNPMStillReachesACompanysRegistry(t *testing.T) {
	t.Parallel()
	company := pgtest.NewCA(t, "Company Root")
	registry := registry(t, company)
	files := map[string]string{"build.sh": `npm ci --no-audit --no-fund --fetch-retries 0 --no-update-notifier --userconfig /dev/null --globalconfig /nowhere --cache "$(mktemp -d)" 2>&1 && echo "npm: $(node -p 'require("tame")')"`,
		"package.json": `{"dependencies": {"tame": "1.0.0"}}`, "package-lock.json": registry}
	withPostbuild := map[string]string{"package.json": `{"dependencies": {"tame": "1.0.0"}, "scripts": {"heroku-postbuild": ":"}}`}
	brought := map[string]string{"company.pem": string(company.PEM)}
	platform := t.TempDir()
	write(t, platform, "company.crt", string(company.PEM))

	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	buildpack := buildpack(t, oregon)
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	services := vcapServices(t, map[string]credentials{"console_db": {"hostname": host, "port": 5432, "username": "u", "password": "p", "sslmode": "verify-full", "uri": "postgres://"}})
	for _, test := range []struct {
		name      string
		more      []map[string]string
		variables []string
		works     bool
	}{
		{"the CA from a buildpack behind", []map[string]string{brought}, nil, true},
		{"the control: without it", nil, nil, false},
		{"a build script, and the platform's CA", []map[string]string{brought, withPostbuild}, []string{"CF_SYSTEM_CERT_PATH=" + platform}, true},
		{"the control: ours hides that of the buildpack", []map[string]string{brought, withPostbuild}, nil, false},
		{"… unless staging is left alone", []map[string]string{brought, withPostbuild}, []string{"POSTGRES_SSL_STAGING=no"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all := maps.Clone(files)
			for _, more := range test.more {
				maps.Copy(all, more)
			}
			c, err := tryLaunch(t, buildpack, buildApp(t, all), "finalize", services, hosts(host), test.variables...)
			said := fmt.Sprint(err)
			if err == nil {
				said, err = c.end()
			}
			if test.works {
				require.NoError(t, err)
				assert.Contains(t, said, "npm: it is here")
			} else {
				require.Error(t, err)
				assert.Regexp(t, "UNABLE_TO_|SELF_SIGNED_CERT|unable to (get|verify)|self-signed", said)
			}
		})
	}
}

// buildApp makes an app of these files, with Node's drivers, psql and Django.
func buildApp(t *testing.T, files map[string]string) string {
	t.Helper()
	app := t.TempDir()
	for name, content := range files {
		write(t, app, name, content)
		require.NoError(t, os.Chmod(filepath.Join(app, name), 0o755))
	}
	for _, client := range []string{"psql", "django"} {
		copyTree(t, "../../fixtures/drivers/"+client, filepath.Join(app, client))
	}
	linkNodesDrivers(t, filepath.Join(app, "node"))
	return app
}

// between is a server without TLS that asks for the password.
type between struct {
	port  int
	mutex sync.Mutex
	told  []string
}

func eavesdrop(t *testing.T) *between {
	t.Helper()
	b := &between{}
	b.port = pgtest.Listen(t, b.listen)
	return b
}

func (b *between) listen(conn net.Conn) {
	backend := pgproto3.NewBackend(conn, conn)
	for {
		message, err := backend.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, ok := message.(*pgproto3.StartupMessage); ok {
			break
		}
		if _, err := conn.Write([]byte("N")); err != nil { // no TLS, no GSS
			return
		}
	}
	backend.Send(&pgproto3.AuthenticationCleartextPassword{})
	if backend.Flush() != nil || backend.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return
	}
	if message, err := backend.Receive(); err == nil {
		if password, ok := message.(*pgproto3.PasswordMessage); ok {
			b.mutex.Lock()
			b.told = append(b.told, password.Password)
			b.mutex.Unlock()
		}
	}
}

func (b *between) passwords() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.told
}

// registry serves the package tame over https, and returns a package-lock.json that names it there.
func registry(t *testing.T, ca *pgtest.CA) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "package/package.json", `{"name": "tame", "version": "1.0.0", "main": "index.js"}`)
	write(t, dir, "package/index.js", "module.exports = 'it is here'\n")
	tarball, err := exec.Command("tar", "-czC", dir, "package").Output()
	require.NoError(t, err)
	pair := ca.Issue(t, []string{"localhost"})
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(tarball) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that refuse its certificate
	server.StartTLS()
	t.Cleanup(server.Close)
	sum := sha512.Sum512(tarball)
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/tame/-/tame-1.0.0.tgz"
	var lock bytes.Buffer
	require.NoError(t, json.NewEncoder(&lock).Encode(map[string]any{"lockfileVersion": 3, "packages": map[string]any{
		"":                  map[string]any{"dependencies": map[string]string{"tame": "1.0.0"}},
		"node_modules/tame": map[string]string{"version": "1.0.0", "resolved": url, "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:])},
	}}))
	return lock.String()
}
