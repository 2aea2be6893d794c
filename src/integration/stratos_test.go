// Package integration tests the whole buildpack: it stages and launches apps, with real drivers and
// real servers.
package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// The database of cups-seed.json: its host is no RDS endpoint, and its binding asks for verify-ca.
const seedHost = "something.xyx.us-west-2.rds.amazon.com"

// anyLogin lets in everybody with the password, encrypted or not. The test is about what the client
// does.
var anyLogin = []string{"host all all 127.0.0.1/32 password"}

const database = `create user myuser password 'mypass'; create database console_db owner myuser;`

// serving returns the configuration of a server whose certificate, for these names, comes from the
// CA.
func serving(t *testing.T, ca *pgtest.CA, names ...string) pgtest.Config {
	t.Helper()
	pair := ca.Issue(t, names)
	return pgtest.Config{Certificate: pair.CertPEM, Key: pair.KeyPEM, HBA: anyLogin, SQL: database}
}

// credentialsOf returns credentials like those of cups-seed.json, for a server of this test.
func credentialsOf(server *pgtest.Server, host, sslmode string) credentials {
	return credentials{"uri": "postgres://", "username": "myuser", "password": "mypass", "hostname": host, "port": server.Port,
		"dbname": "console_db", "sslmode": sslmode}
}

func TestStratosConnectsWithAVerifiedCertificate(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	other := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	complete, removed := buildpack(t, ca), filepath.Join(t.TempDir(), "removed")
	copyTree(t, complete, removed)
	fixture := filepath.Join(t.TempDir(), "stratos")
	copyTree(t, "../../fixtures/stratos", fixture)

	for _, final := range []string{"finalize", "compile"} {
		removeLaunchScripts(t, removed, final)
		t.Run("behind "+final, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Start(t, serving(t, ca, seedHost))
			services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, seedHost, "verify-ca")})
			app := launch(t, complete, fixture, final, services, hosts(seedHost))
			control := launch(t, removed, fixture, final, services, hosts(seedHost))

			said, err := app.run(t, "./portal-proxy")
			require.NoError(t, err, said)
			assert.Regexp(t, "^ssl=t version=TLSv1.3 .* mode=verify-ca$", said)

			// The control: without the launch scripts, the same app connects to the same server in
			// plain text.
			said, err = control.run(t, "./portal-proxy")
			require.NoError(t, err, said)
			assert.Equal(t, "ssl=f version=- cipher=- bits=- mode=disable", said)

			server.Reload(t, serving(t, other, seedHost))
			said, err = app.run(t, "./portal-proxy")
			assert.Error(t, err)
			assert.Contains(t, said, "certificate signed by unknown authority")
		})
	}
}

// removeLaunchScripts changes the stand-in for a final buildpack, in a copy of this buildpack. At
// the end, the stand-in removes our launch scripts from the droplet.
func removeLaunchScripts(t *testing.T, buildpack, final string) {
	t.Helper()
	script := filepath.Join(buildpack, "fixtures/buildpacks", final, "bin", final)
	require.NoError(t, os.Rename(script, script+".real"))
	require.NoError(t, os.WriteFile(script, []byte(strings.TrimSpace(`
#!/usr/bin/env bash
set -euo pipefail
"${BASH_SOURCE[0]}.real" "$@"
rm "$1"/.profile.d/*postgres-ssl.sh
rm -f "${5:-/nowhere}"/*postgres-ssl.sh
`)+"\n"), 0o755))
}
