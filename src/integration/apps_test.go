package integration

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// Apps that decide about TLS by a variable of their own, measured with their own options. Without the
// variable each connects to any server.
func TestAppsWithAVariableOfTheirOwnObeyTheBinding(t *testing.T) {
	t.Parallel()
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	ca := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	impostor := pgtest.NewCA(t, ca.Cert.Subject.CommonName)
	complete := buildpack(t, ca)
	for name, test := range map[string]struct{ command, variable, without string }{
		"strapi":  {"./main.js", "DATABASE_SSL", "ssl=f"},
		"n8n":     {"./main.js", "DB_POSTGRESDB_SSL_ENABLED", "ssl=f"},
		"laravel": {"./main.php", "DB_SSLMODE", "ssl=f"},
		"rails":   {"./main.rb", "DB_SSLMODE", "ssl=f"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), name)
			copyTree(t, filepath.Join("../../fixtures/apps", name), folder)
			linkNodesDrivers(t, folder)
			server := pgtest.Start(t, serving(t, ca, host))
			services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
			app := launch(t, complete, folder, "compile", services, hosts(host))

			said, err := app.run(t, test.command)
			require.NoError(t, err, said)
			assert.Regexp(t, "^ssl=t version=TLSv1.3", said, "a good server")
			for what, config := range map[string]pgtest.Config{
				"another CA": serving(t, impostor, host), "another name": serving(t, ca, otherHost), "no TLS": {HBA: anyLogin},
			} {
				server.Reload(t, config)
				said, err = app.run(t, test.command)
				assert.Error(t, err, "%s: %s", what, said)
			}
			// The control: without its variable, the app is in plain text there.
			server.Reload(t, pgtest.Config{HBA: anyLogin})
			said, err = app.run(t, "env -u "+test.variable+" "+test.command)
			require.NoError(t, err, said)
			assert.Contains(t, said, test.without)
		})
	}
}
