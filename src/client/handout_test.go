package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
)

// What the owner sets counts where the binding says nothing, and Stratos is told nothing then.
func TestTheOwnersPGSSLMODEAloneBringsTheRoots(t *testing.T) {
	vars := app{env: env("PGSSLMODE", "verify-full")}.given(t, db("db", "", elsewhere)).exported()
	assert.NotEmpty(t, vars["PGSSLROOTCERT"])
	assert.NotContains(t, vars, "DB_SSL_MODE")

	vars = app{env: env("PGSSLMODE", "verify-full", "DB_SSL_MODE", "on")}.given(t, db("db", "", elsewhere)).exported()
	assert.NotEmpty(t, vars["PGSSLROOTCERT"], "Stratos does not start with such a word")

	wrong := app{env: env("PGSSLMODE", "verify_full", "POSTGRES_SSL_MODE", "verify-full")}.given(t).exported()
	assert.Equal(t, "verify-full", wrong["PGSSL"], "a wrong word lowers nothing for those that do not read it")
}

// Stratos may be given its database by DB_HOST alone.
func TestAnEndpointInTheOwnersVariablesCountsWhereNothingIsBound(t *testing.T) {
	for name, value := range map[string]string{"DB_HOST": oregon, "PGHOST": oregon + ":5432", "DATA_SOURCE_NAME": "host=" + oregon + " user=u"} {
		vars := app{env: env("PGSSLMODE", "verify-full", "DB_SSL_MODE", "verify-full", name, value)}.given(t).exported()
		assert.Equal(t, "/home/vcap/deps/0/trust/us-west-2.pem", vars["PGSSLROOTCERT"], name)
		assert.Equal(t, "/etc/ssl/certs:/home/vcap/deps/0/trust/us-west-2", vars["SSL_CERT_DIR"], name)
		vars = app{env: env("PGSSLMODE", "require", name, value)}.given(t).exported()
		assert.NotContains(t, vars, "PGSSLROOTCERT", "only where the owner asks to verify")
		vars = app{env: env("PGSSLMODE", "verify-full", name, value)}.given(t, db("db", "verify-full", frankfurt)).exported()
		assert.NotContains(t, vars["PGSSLROOTCERT"], "us-west-2", "what is bound counts")
	}
}

func TestWhereThereIsNobodyToTrustThereIsNoFile(t *testing.T) {
	h := app{env: env("PGSSLMODE", "verify-full"), brings: "java erlang"}.given(t)
	for _, name := range []string{"PGSSLROOTCERT", "NODE_EXTRA_CA_CERTS", "CF_CA_CERTS", "ERL_AFLAGS"} {
		assert.NotContains(t, h.exported(), name)
	}
	for _, f := range h.Files {
		assert.Contains(t, f.Path, "driverconfig.properties")
	}
}

// The command stops at the first file that it cannot write, so what the app can go without is last.
func TestWhatTheAppCanGoWithoutIsWrittenLast(t *testing.T) {
	b := db("db", "verify-full", elsewhere)
	b.ClientCert, b.ClientKey = clientPair(t)
	files := app{brings: "java"}.given(t, b).Files
	require.Greater(t, len(files), 4)
	for i, f := range files {
		assert.Equal(t, i == len(files)-1, !f.Mode.IsRegular(), f.Path)
	}
}

func TestALogShowsWhatIsAddedAndNothingOfTheOwners(t *testing.T) {
	text := func(env map[string]string) string {
		var lines []string
		for _, v := range (app{env: env, brings: "java erlang"}).given(t, db("db", "require", oregon)).Variables {
			lines = append(lines, v.String())
		}
		return strings.Join(lines, "\n")
	}
	owners := text(env("PATH", "/s3cr3t", "JAVA_TOOL_OPTIONS", "-Ds3cr3t", "ERL_AFLAGS", "-s3cr3t"))
	assert.NotContains(t, owners, "s3cr3t")
	assert.Contains(t, owners, "JAVA_TOOL_OPTIONS also has -Xbootclasspath/a:")
	ours := text(nil)
	assert.Contains(t, ours, "JAVA_TOOL_OPTIONS=-Xbootclasspath/a:")
	assert.Contains(t, ours, "ERL_AFLAGS=-public_key")
	for _, all := range []string{owners, ours} {
		assert.Contains(t, all, "PATH also has the command postgres-ssl")
	}
}

// Reading CAs costs time at each launch.
func TestCAsAreReadOnlyWhereAFileHasThem(t *testing.T) {
	own := db("db", "verify-full", elsewhere)
	own.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: caPEM(t)}
	for name, test := range map[string]struct {
		env        map[string]string
		bound      binding.Binding
		brings     string
		roots, all bool
	}{
		"RDS":                          {nil, db("db", "verify-full", oregon), "", false, false},
		"RDS, with Node":               {nil, db("db", "verify-full", oregon), "node", false, false},
		"RDS, with Erlang":             {nil, db("db", "verify-full", oregon), "erlang", false, true},
		"RDS, with Java":               {nil, db("db", "verify-full", oregon), "java", false, true},
		"two regions":                  {nil, db("db", "verify-full", oregon, frankfurt), "", true, false},
		"its own CA":                   {nil, own, "", true, false},
		"its own CA, with Java":        {nil, own, "java", true, true},
		"another host":                 {nil, db("db", "verify-full", elsewhere), "", false, true},
		"another host, require":        {nil, db("db", "require", elsewhere), "", false, true},
		"another host, nobody asks":    {nil, db("db", "prefer", elsewhere), "java", false, false},
		"another host, the owner asks": {env("PGSSLMODE", "verify-full"), db("db", "prefer", elsewhere), "", false, true},
		"the owner wants less":         {env("PGSSLMODE", "prefer"), db("db", "verify-full", elsewhere), "java", false, false},
		"in the tunnel":                {env("PGSSLMODE", "prefer", "POSTGRES_SSL_TUNNEL", "yes"), own, "", true, false},
	} {
		h := app{env: test.env, brings: test.brings}.given(t, test.bound)
		read := map[bool]int{}
		h.app.Roots = func(everyone bool) ([]byte, error) { read[everyone]++; return []byte("CAs"), nil }
		_, err := For(h.plan, h.app)
		require.NoError(t, err)
		assert.Equal(t, [2]bool{test.roots, test.all}, [2]bool{read[false] > 0, read[true] > 0}, name)
		assert.False(t, read[false] > 1 || read[true] > 1, "%s: %v", name, read)
		h.app.Roots = func(bool) ([]byte, error) { return nil, errors.New("no CAs") }
		_, err = For(h.plan, h.app)
		assert.Equal(t, test.roots || test.all, err != nil, name)
		for _, f := range h.Files {
			assert.NotEmpty(t, f.Content, "%s: %s", name, f.Path)
		}
	}
}

func TestWhatThePlatformsURLSaysOfTLSCountsOnlyWithoutAMode(t *testing.T) {
	for url, given := range map[string]bool{
		"postgres://u:p@h/d":                         true,
		"postgres://u:p@h/d?ssl=true":                false,
		"postgres://u:p@h/d?a=b&ssl":                 false,
		"postgres://u:p@h/d?ssl=true&sslmode=prefer": true,
	} {
		h := app{env: env("DATABASE_URL", url), brings: "java"}.given(t, db("db", "require", oregon))
		assert.Equal(t, given, driverConfigOf(t, h) != "", url)
	}
}

// libpq refuses a key that others may read. A certificate is no secret.
func TestOnlyTheKeysAreForTheAppsUserAlone(t *testing.T) {
	b := db("db", "verify-full", elsewhere)
	b.ClientCert, b.ClientKey = clientPair(t)
	keys := 0
	for _, f := range (app{brings: "java"}).given(t, b).Files {
		private := strings.HasSuffix(f.Path, ".key") || strings.HasSuffix(f.Path, ".pk8")
		if private {
			keys++
		}
		if f.Mode.IsRegular() { // a link, which has no mode of its own
			assert.Equal(t, private, f.Mode == 0o600, "%s: %s", f.Path, f.Mode)
		}
	}
	assert.Equal(t, 2, keys)
}
