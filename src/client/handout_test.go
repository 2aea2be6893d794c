package client

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the owner sets counts where the binding says nothing, and Stratos is told nothing then.
func TestTheOwnersPGSSLMODEAloneBringsTheRoots(t *testing.T) {
	vars := app{env: env("PGSSLMODE", "verify-full")}.given(t, db("db", "", elsewhere)).exported()
	assert.NotEmpty(t, vars["PGSSLROOTCERT"])
	assert.NotContains(t, vars, "DB_SSL_MODE")

	vars = app{env: env("PGSSLMODE", "verify-full", "DB_SSL_MODE", "on")}.given(t, db("db", "", elsewhere)).exported()
	assert.NotEmpty(t, vars["PGSSLROOTCERT"], "Stratos does not start with such a word")
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
		assert.Equal(t, i == len(files)-1, f.Optional, f.Path)
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
	assert.Contains(t, owners, "JAVA_TOOL_OPTIONS also holds -Xbootclasspath/a:")
	ours := text(nil)
	assert.Contains(t, ours, "JAVA_TOOL_OPTIONS=-Xbootclasspath/a:")
	assert.Contains(t, ours, "ERL_AFLAGS=-public_key")
	for _, all := range []string{owners, ours} {
		assert.Contains(t, all, "PATH also holds the command postgres-ssl")
	}
}

// Reading the stores costs time at each launch.
func TestTheStoresAreReadOnlyWhereAFileHoldsThem(t *testing.T) {
	for name, test := range map[string]struct {
		host, brings string
		want         bool
	}{
		"RDS":              {oregon, "", false},
		"RDS, with Node":   {oregon, "node", false},
		"RDS, with Erlang": {oregon, "erlang", true},
		"RDS, with Java":   {oregon, "java", true},
		"another host":     {elsewhere, "", true},
	} {
		plan := app{}.given(t, db("db", "verify-full", test.host)).plan
		assert.Equal(t, test.want, WantsStores(plan, map[string]bool{test.brings: true}), name)
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

func TestAPropertyShowsWhatIsPrintableAsItIs(t *testing.T) {
	assert.Equal(t, `~ }!\u007F\u001F`, propertyValue("~ }!\x7f\x1f"))
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
		if !f.Optional { // a link, which has no mode of its own
			assert.Equal(t, private, f.Mode == 0o600, "%s: %s", f.Path, f.Mode)
		}
	}
	assert.Equal(t, 2, keys)
}
