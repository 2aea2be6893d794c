package drivers

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// the returns a driver that the app itself asks for.
func the(t *testing.T, e Ecosystem, name, version string) Found {
	t.Helper()
	driver := lookUp(e, name, version)
	require.NotNil(t, driver, name)
	return Found{driver, name, version, "file", Direct}
}

func bound(mode sslmode.Mode) App { return App{Bound: true, Mode: mode} }

func TestWhatEachDriverDoesInThisApp(t *testing.T) {
	pg, native := the(t, npm, "pg", "8.16.3"), the(t, npm, "pg-native", "3.5.2")
	postgresJS, slonik := the(t, npm, "postgres", "3.4.5"), the(t, npm, "slonik", "47.3.0")
	psycopg, pg8000 := the(t, pypi, "psycopg2-binary", "2.9.10"), the(t, pypi, "pg8000", "1.31.2")
	oldPQ, newPQ := the(t, golang, "github.com/lib/pq", "1.10.9"), the(t, golang, "github.com/lib/pq", "1.11.0")
	pgdriver, pgbouncer := the(t, golang, "github.com/uptrace/bun/driver/pgdriver", "1.2.18"), the(t, debian, "pgbouncer", "")
	pgjdbc := the(t, maven, "postgresql", "42.7.7")

	with := func(a App, uri sslmode.Mode, env ...string) App {
		a.URI, a.env = uri, map[string]string{}
		for i := 0; i < len(env); i += 2 {
			a.env[env[i]] = env[i+1]
		}
		return a
	}
	const none = sslmode.None
	full, ca, require_ := bound(sslmode.VerifyFull), bound(sslmode.VerifyCA), bound(sslmode.Require)
	for _, c := range []struct {
		name    string
		found   Found
		app     App
		says    string
		warning string // a part of it; "" for none
	}{
		{"node-postgres", pg, full, "obeys", ""},
		{"node-postgres verifies in require", pg, require_, "obeys, and verifies too", ""},
		{"node-postgres checks the name in verify-ca", pg, ca, "obeys, and checks the name too", ""},
		{"node-postgres, the bound URI says disable", pg, with(full, sslmode.Disable), "obeys, unless it uses the bound URI", "sslmode=disable is weaker than verify-full"},
		{"node-postgres takes require in the URI for verify-full", pg, with(full, sslmode.Require), "obeys", ""},
		{"node-postgres takes prefer in the URI for verify-full, too", pg, with(full, sslmode.Prefer), "obeys", ""},
		{"node-postgres, plain text asked for and in the URI", pg, with(bound(sslmode.Disable), sslmode.Disable), "obeys", ""},
		{"verification is off", pg, with(full, none, "NODE_TLS_REJECT_UNAUTHORIZED", "0"), "verifies nothing", "NODE_TLS_REJECT_UNAUTHORIZED=0 is set"},
		{"it is off, and nobody asks for it", pg, with(require_, none, "NODE_TLS_REJECT_UNAUTHORIZED", "0"), "obeys, and verifies too", ""},
		{"not Python's switch", psycopg, with(full, none, "NODE_TLS_REJECT_UNAUTHORIZED", "0"), "obeys", ""},
		{"lib/pq of Stratos checks the name in verify-ca", oldPQ, ca, "obeys, and checks the name too", ""},
		{"lib/pq from 1.11 on does not", newPQ, ca, "obeys", ""},
		{"pgjdbc", pgjdbc, full, "obeys, unless its URL says otherwise", ""},
		{"node-postgres, a word that it does not know", pg, with(full, none, "PGSSLMODE", "VERIFY_FULL"), "not known: PGSSLMODE is wrong", ""},
		{"postgres.js, a word that it does not read", postgresJS, with(full, none, "PGSSLMODE", "VERIFY_FULL"), "obeys", ""},
		{"slonik, a word that it does not read", slonik, with(require_, none, "PGSSLMODE", "VERIFY_FULL"), "cannot be told", "Put ?sslmode=require into its URI"},
		{"node-postgres, its own word", pg, with(full, none, "PGSSLMODE", "no-verify"), "obeys", ""},
		{"psycopg, a word of node-postgres", psycopg, with(full, none, "PGSSLMODE", "no-verify"), "not known: PGSSLMODE is wrong", ""},
		{"postgres.js", postgresJS, require_, "obeys", ""},
		{"postgres.js checks the name in verify-ca", postgresJS, ca, "obeys, and checks the name too", ""},
		{"postgres.js, the owner's own variable", postgresJS, with(full, none, "PGSSL", "require"), "obeys PGSSL=require, which the app's owner set", "weaker than verify-full"},
		{"postgres.js, one as strict", postgresJS, with(full, none, "PGSSL", "verify-full"), "obeys", ""},
		{"postgres.js, a stricter one", postgresJS, with(require_, none, "PGSSL", "verify-full"), "obeys", ""},
		{"psycopg in an app whose URI says less", psycopg, with(full, sslmode.Require), "obeys, unless it uses the bound URI", "sslmode=require is weaker than verify-full"},
		{"pg-native", native, full, "does not connect", "Put ?sslmode=verify-full into its URI"},
		{"pg-native, the mode in the URI", native, with(full, sslmode.VerifyFull), "obeys, if it uses the bound URI", ""},
		{"pg-native takes require in the URI for verify-full", native, with(full, sslmode.Require), "obeys, if it uses the bound URI", ""},
		{"pg-native, nothing asked", native, bound(none), "has no sslmode to obey", ""},
		{"node-postgres, nothing asked", pg, bound(none), "has no sslmode to obey", ""},
		{"slonik", slonik, full, "cannot be told", "Put ?sslmode=require into its URI: it then verifies. Where that is the binding's URI, keep sslmode=verify-full beside it, and set POSTGRES_SSL_MODE=verify-full, which settles the contradiction"},
		{"slonik in require: its word contradicts nothing", slonik, require_, "cannot be told", "Put ?sslmode=require into its URI"},
		{"slonik, its word in the URI", slonik, with(full, sslmode.Require), "obeys, if it uses the bound URI", ""},
		{"slonik does not know the stricter words", slonik, with(full, sslmode.VerifyFull), "cannot be told", "does not take the bound URI's sslmode=verify-full"},
		{"slonik, prefer in the URI and asked for", slonik, with(bound(sslmode.Prefer), sslmode.Prefer), "cannot be told", ""},
		{"slonik, nothing asked", slonik, bound(sslmode.Prefer), "cannot be told", ""},
		{"slonik, the owner asks for less", slonik, with(full, none, "PGSSLMODE", "disable"), "cannot be told", ""},
		{"slonik, nothing bound yet", slonik, App{}, "cannot be told", "POSTGRES_SSL_MODE=verify-full"},
		{"slonik, bound without a mode", slonik, bound(none), "cannot be told", ""},
		{"pg8000", pg8000, full, "cannot be told", "verifies nothing"},
		{"pg8000 in require: plain text where the server has no TLS", pg8000, require_, "cannot be told", "connects in plain text to a server without TLS"},
		{"pgdriver", pgdriver, full, "cannot be told", "Put ?sslmode=verify-full into its DSN"},
		{"pgdriver, the mode in the URI", pgdriver, with(full, sslmode.VerifyFull), "obeys, if it uses the bound URI", ""},
		{"pgdriver, a weaker mode in the URI", pgdriver, with(full, sslmode.Require), "obeys, unless it uses the bound URI", "sslmode=require is weaker"},
		{"pgdriver does what require asks", pgdriver, require_, "cannot be told", ""},
		{"pgbouncer, whatever is behind it", pgbouncer, ca, "cannot be told", "server_tls_sslmode = verify-ca"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.app.Judge(c.found)
			assert.Equal(t, c.says, v.Says)
			if c.warning == "" {
				assert.Empty(t, v.Warning)
			} else {
				assert.True(t, strings.HasPrefix(v.Warning, c.found.Title()+" "), v.Warning)
				assert.Contains(t, v.Warning, c.warning)
			}
		})
	}
}

func TestADriverThatReadsNoURIIsNotBlamedForOne(t *testing.T) {
	pgbouncer, app := the(t, debian, "pgbouncer", ""), bound(sslmode.VerifyFull)
	app.URI = sslmode.VerifyFull
	assert.NotContains(t, app.Judge(pgbouncer).Warning, "the bound URI's")
	slonik := the(t, npm, "slonik", "47.3.0")
	assert.Contains(t, app.Judge(slonik).Warning, "the bound URI's", "the control")
}

func TestAMendInTheModesOwnWordContradictsNothing(t *testing.T) {
	const settles = "which settles the contradiction"
	slonik, pgdriver := the(t, npm, "slonik", "47.3.0"), the(t, golang, "github.com/uptrace/bun/driver/pgdriver", "1.2.18")
	assert.Contains(t, bound(sslmode.VerifyCA).Judge(slonik).Warning, settles, "its only word is require")
	assert.NotContains(t, bound(sslmode.Require).Judge(slonik).Warning, settles)
	assert.NotContains(t, bound(sslmode.VerifyFull).Judge(pgdriver).Warning, settles, "it takes each word")
}

func TestOnlyWhatTheAppNamesIsWarnedOf(t *testing.T) {
	slonik := the(t, npm, "slonik", "47.3.0")
	for use, loud := range map[Use]bool{Direct: true, Unknown: true, Transitive: false} {
		slonik.Use = use
		v := bound(sslmode.VerifyFull).Judge(slonik)
		assert.Equal(t, loud, v.Warning != "", use)
		assert.Equal(t, !loud, v.Says == "cannot be told; another package brings it", use)
	}
}

// TestTheTableAgreesWithItself compares each row's words with its measured outcomes.
func TestTheTableAgreesWithItself(t *testing.T) {
	for _, d := range Table {
		if d.Outcomes != "" {
			require.Regexp(t, "^[TPx]{6}$", d.Outcomes, d.Name)
			assert.NotEmpty(t, d.Version, d.Name)
		}
		assert.Equal(t, d.Answer.CanBeTold(), d.Mend == "", "%s: only a driver that cannot be told has a mend", d.Name)
		assert.Equal(t, d.Mend == "", d.Does == "", d.Name)
		switch d.Answer {
		case Obeys, ObeysItsURL:
			assert.Equal(t, "TxxxTT", d.Outcomes, d.Name)
		case ChecksName, Verifies:
			assert.Equal(t, "TxxxxT", d.Outcomes, d.Name)
		case Misreads:
			assert.Equal(t, "xxxxxx", d.Outcomes, d.Name)
		case Untold:
			assert.Regexp(t, "^$|^PPPPPP$|^TTT[Px]TT$", d.Outcomes, d.Name)
		}
		for _, name := range d.Packages {
			if d.Ecosystem == pypi {
				assert.Equal(t, strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name)), name)
			}
		}
	}
}
