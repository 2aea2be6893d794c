package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// The owner's PGSSLMODE reaches node-postgres as it is, and a word that it does not know is plain
// text to it. So such a word must stop the app.
func TestNodePostgresAndTheOwnersMode(t *testing.T) {
	t.Parallel()
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	good, forged, plain := serving(t, oregon, host), serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host), pgtest.Config{HBA: anyLogin}
	buildpack, app := buildpack(t, oregon), buildApp(t, map[string]string{"node/pg.js": nodePostgres})
	server := pgtest.Start(t, good)
	services := func(mode string) string {
		return vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, mode)})
	}
	says := func(c *container, variables ...string) string { return c.says(t, "node/pg.js", variables...) }
	start := func(mode, owners string) *container {
		return launch(t, buildpack, app, "compile", services(mode), hosts(host), "PGSSLMODE="+owners, "POSTGRES_SSL_TUNNEL=no")
	}
	const encrypted, inPlainText = "ssl=t version=TLSv1.3", "ssl=f version="

	full, noVerify := start("verify-full", "verify-full"), start("verify-full", "no-verify")
	assert.Equal(t, encrypted, says(full))
	assert.Equal(t, encrypted, says(noVerify))
	for _, word := range []string{"VERIFY_FULL", "verify_full", "verifyfull"} {
		assert.Equal(t, inPlainText, says(full, "PGSSLMODE="+word), "the control: this is what it does with such a word")
		_, err := tryLaunch(t, buildpack, app, "compile", services("verify-full"), hosts(host), "PGSSLMODE="+word, "POSTGRES_SSL_TUNNEL=no")
		assert.ErrorContains(t, err, `PGSSLMODE, set by the app's owner, is spelled "`+word+`"; spell it verify-full, or unset it`)
	}
	assert.Equal(t, inPlainText, says(start("prefer", "VERIFY_FULL")), "where nobody asks for TLS, it is only a line")

	server.Reload(t, forged)
	assert.Regexp(t, untrusted, says(full))
	assert.Equal(t, encrypted, says(noVerify), "it counts as require")
	server.Reload(t, plain)
	assert.Regexp(t, withoutTLS, says(noVerify))
}

// linkNodesDrivers makes a folder in which Node finds its drivers. They are large, and the machine's
// like other drivers.
func linkNodesDrivers(t *testing.T, folder string) {
	t.Helper()
	modules, err := filepath.Abs("../../fixtures/drivers/node/node_modules")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.Symlink(modules, filepath.Join(folder, "node_modules")))
}
