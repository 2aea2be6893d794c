package drivers

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
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

// A plan may ask for a mode in many places. The app may connect with any of the strings.
func TestWhatAnAppIsBoundTo(t *testing.T) {
	with := func(asked ...binding.Asked) *launch.Plan {
		db := &launch.Database{Binding: binding.Binding{Asked: asked}, Main: true}
		return &launch.Plan{Databases: []*launch.Database{db}, Decider: db, Mode: sslmode.VerifyCA}
	}
	in := func(mode sslmode.Mode, by binding.By) binding.Asked { return binding.Asked{Mode: mode, By: by} }
	disable, require_, full := sslmode.Disable, sslmode.Require, sslmode.VerifyFull
	tunnelled := with()
	tunnelled.Databases[0].Tunnel = true
	for name, c := range map[string]struct {
		plan *launch.Plan
		want App
	}{
		"no database":        {&launch.Plan{Mode: full}, App{Mode: full}},
		"no decider":         {&launch.Plan{Databases: with().Databases}, App{Bound: true}},
		"no mode":            {with(), App{Bound: true, Mode: sslmode.VerifyCA}},
		"a key alone":        {with(in(disable, binding.ByKey)), App{Bound: true, Mode: sslmode.VerifyCA}},
		"a key beside a URI": {with(in(disable, binding.ByKey), in(require_, binding.ByURI)), App{Bound: true, Mode: sslmode.VerifyCA, URI: require_}},
		"a weaker string":    {with(in(full, binding.ByURI), in(require_, binding.ByString)), App{Bound: true, Mode: sslmode.VerifyCA, URI: require_}},
		"a stricter string":  {with(in(require_, binding.ByURI), in(full, binding.ByString)), App{Bound: true, Mode: sslmode.VerifyCA, URI: require_}},
		"through the tunnel": {tunnelled, App{Bound: true, Mode: sslmode.VerifyCA, Tunnel: true}},
	} {
		assert.Equal(t, c.want, Look{}.In(c.plan), name)
	}
}

func TestWhatEachDriverDoesIsMeasuredWithAVersion(t *testing.T) {
	app, tunnel := bound(sslmode.VerifyFull), bound(sslmode.VerifyFull)
	tunnel.Tunnel = true
	pgx := func(version string) Found { return the(t, golang, "github.com/jackc/pgx/v5", version) }
	assert.Equal(t, "obeys", app.Judge(pgx("5.13.0")).Says)
	assert.Equal(t, "obeys", app.Judge(pgx("4.18.0")).Says)
	assert.Equal(t, "obeys; measured with 4.18, 5.12", app.Judge(pgx("6.0.0")).Says)
	assert.Equal(t, throughTunnel, tunnel.Judge(pgx("6.0.0")).Says)
	assert.Equal(t, "cannot be told", app.Judge(the(t, nuget, "Npgsql", "9.0.3")).Says, "of which only the source was read")
}

// The app's own lines beat what a launch tells its drivers, unless the launch tells the app.
func TestWhatEachDriverDoesBesideTheAppsOwnLines(t *testing.T) {
	pg, psycopg, slonik := the(t, npm, "pg", "8.16.3"), the(t, pypi, "psycopg2", "2.9.10"), the(t, npm, "slonik", "47.3.0")
	sign := func(file, language string, mode sslmode.Mode) seen.Sign {
		return seen.Sign{Kind: seen.Decides, File: file, Line: 7, Language: language, Mode: mode}
	}
	reads := seen.Sign{Kind: seen.Reads, File: "reads.js", Line: 7}
	off, unverified := sign("off.js", "Node", sslmode.Disable), sign("unverified.js", "Node", sslmode.Require)
	verified := sign("verified.js", "Node", sslmode.VerifyFull)
	of := func(mode sslmode.Mode, signs ...seen.Sign) App {
		a := bound(mode)
		a.Signs, a.told = signs, map[string]string{"Shop": "shop/package.json", "Root": "package.json"}
		return a
	}
	const full = sslmode.VerifyFull
	for name, c := range map[string]struct {
		found Found
		app   App
		says  string
	}{
		"another language's":                 {psycopg, of(full, off), "obeys"},
		"its own language's":                 {pg, of(full, off), "sets TLS itself (off.js:7)"},
		"every language's":                   {psycopg, of(full, sign("x.json", "", sslmode.Disable)), "sets TLS itself (x.json:7)"},
		"one that decides nothing":           {pg, of(full, reads), "obeys"},
		"the weakest comes last":             {pg, of(full, unverified, off), "sets TLS itself (off.js:7)"},
		"the weakest comes first":            {pg, of(full, off, unverified), "sets TLS itself (off.js:7)"},
		"the first of two":                   {pg, of(full, off, sign("off2.js", "Node", sslmode.Disable)), "sets TLS itself (off.js:7)"},
		"all that is asked for":              {pg, of(full, verified), "obeys"},
		"… of a driver that cannot be told":  {slonik, of(full, verified), "sets TLS itself (verified.js:7)"},
		"the file that shows a told app":     {pg, of(full, sign("package.json", "", sslmode.Disable)), "obeys Root's own variable"},
		"in the folder of a told app":        {pg, of(full, sign("shop/db.js", "Node", sslmode.Disable)), "obeys Shop's own variable"},
		"a folder whose name begins so":      {pg, of(full, sign("shop2/db.js", "Node", sslmode.Disable)), "sets TLS itself (shop2/db.js:7)"},
		"a told app, and no TLS is asked":    {pg, of(sslmode.Prefer, sign("shop/db.js", "Node", sslmode.Disable)), "sets TLS itself (shop/db.js:7)"},
		"a told app of another language":     {psycopg, of(full, sign("shop/db.js", "Node", sslmode.Disable)), "obeys"},
		"a told app's line that only reads":  {pg, of(full, seen.Sign{Kind: seen.Reads, File: "shop/db.js", Line: 7}), "obeys"},
		"a told app's line after another":    {pg, of(full, off, sign("shop/db.js", "Node", sslmode.Disable)), "obeys Shop's own variable"},
		"as weak as what is asked for":       {pg, of(sslmode.Require, unverified), "obeys, and verifies too"},
		"how it sets TLS is not known":       {pg, of(full, sign("x.js", "Node", sslmode.None)), "sets TLS itself (x.js:7)"},
		"nothing asked, and the app decides": {slonik, of(sslmode.None, off), "sets TLS itself (off.js:7)"},
	} {
		assert.Equal(t, c.says, c.app.Judge(c.found).Says, name)
	}
}

func TestALineOfAnAppIsSaidAsItIsMeant(t *testing.T) {
	const asksNothing, full = sslmode.Disable, sslmode.VerifyFull
	decides := func(mode sslmode.Mode) seen.Sign { return seen.Sign{Kind: seen.Decides, Mode: mode} }
	tunnel := bound(full)
	tunnel.Tunnel = true
	pg := tunnel
	pg.Found = []Found{the(t, npm, "pg", "8.16.3")}
	none, told, toldTunnel := App{}, bound(full), tunnel
	told.told = map[string]string{"Shop": "x.js"}
	toldTunnel.told = told.told
	day := func(year int) time.Time { return time.Date(year, 2, 1, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		app    App
		sign   seen.Sign
		says   string
		isLess bool
	}{
		{bound(full), seen.Sign{Kind: seen.Reads, Variable: "PGSSL"}, "reads PGSSL itself, so more than the driver may depend on it", true},
		{bound(asksNothing), seen.Sign{Kind: seen.Reads, Variable: "PGSSL"}, "reads PGSSL itself, so more than the driver may depend on it", false},
		{bound(full), seen.Sign{Kind: seen.Bundles, Until: day(2020)}, "has RDS's CAs of the app's own, which have expired: whatever verifies by it refuses the database", true},
		{bound(full), seen.Sign{Kind: seen.Bundles, Until: day(2120)}, "has RDS's CAs of the app's own; the last one expires on 2120-02-01", false},
		{bound(full), seen.Sign{Kind: seen.Undoes}, "is SonarQube's, which drops JAVA_TOOL_OPTIONS for the processes that it starts", true},
		{bound(full), seen.Sign{Kind: seen.Undoes, Variable: "PGSSLCERT"}, "sets PGSSLCERT, so the app does not get ours", true},
		{bound(asksNothing), seen.Sign{Kind: seen.Undoes, Variable: "PGSSLCERT"}, "sets PGSSLCERT, so the app does not get ours", false},
		{bound(full), seen.Sign{Kind: seen.Undoes, Variable: "JAVA_TOOL_OPTIONS"}, "sets JAVA_TOOL_OPTIONS, so the app does not get ours", false},
		{bound(full), decides(sslmode.Disable), "sets ssl itself: plain text; our variables lose there", true},
		{none, decides(sslmode.Require), "sets ssl itself: nothing is verified; our variables lose there", true},
		{bound(sslmode.Require), decides(sslmode.Require), "sets ssl itself: nothing is verified; our variables lose there", false},
		{bound(sslmode.Prefer), decides(sslmode.Disable), "sets ssl itself: plain text; our variables lose there", false},
		{bound(full), decides(sslmode.None), "sets ssl itself: how is not known; our variables lose there", true},
		{bound(full), decides(sslmode.VerifyCA), "sets ssl itself: verify-ca", true},
		{bound(full), decides(full), "sets ssl itself: verify-full", false},
		{bound(full), seen.Sign{Kind: seen.Decides, Mode: sslmode.Allow, Variable: "DB_SSL"}, "sets ssl itself by DB_SSL: allow, plain text where TLS fails; our variables lose there", true},
		{tunnel, decides(sslmode.Disable), "sets ssl itself: plain text; " + throughTunnel, false},
		{pg, decides(sslmode.Disable), "sets ssl itself: plain text; " + throughTunnel + "; without this line, it needs no tunnel", false},
		{told, seen.Sign{Kind: seen.Decides, File: "x.js"}, "sets ssl itself; a launch sets the variable of Shop", false},
		{told, seen.Sign{Kind: seen.Decides, File: "y.js"}, "sets ssl itself: how is not known; our variables lose there", true},
		{toldTunnel, seen.Sign{Kind: seen.Decides, File: "x.js"}, "sets ssl itself: how is not known; " + throughTunnel, false},
	} {
		says, isLess := c.app.means(c.sign)
		assert.Equal(t, c.says, says)
		assert.Equal(t, c.isLess, isLess, says)
	}
}

func TestTheLogNamesTheTunnelWhereItHelps(t *testing.T) {
	tunnel, noTunnel := bound(sslmode.VerifyFull), bound(sslmode.VerifyFull)
	tunnel.Tunnel, noTunnel.env = true, map[string]string{"POSTGRES_SSL_TUNNEL": "no"}
	decides := func(mode sslmode.Mode) []seen.Sign { return []seen.Sign{{Kind: seen.Decides, Mode: mode}} }
	const full = sslmode.VerifyFull
	const hint = "POSTGRES_SSL_TUNNEL=yes lets whatever does not obey connect as its sslmode asks, with no change to the app"
	slonik, pgOff := the(t, npm, "slonik", "47.3.0"), the(t, npm, "pg", "8.16.3")
	for name, c := range map[string]struct {
		app   App
		found *Found
		signs []seen.Sign
		uri   sslmode.Mode
		want  int  // warnings
		hint  bool // the last one
	}{
		"nothing found":                   {app: bound(full)},
		"it obeys":                        {app: bound(full), found: &pgOff},
		"it obeys the URI":                {app: bound(full), found: &pgOff, uri: sslmode.Disable, want: 1},
		"it cannot be told":               {app: bound(full), found: &slonik, want: 2, hint: true},
		"the owner refused the tunnel":    {app: noTunnel, found: &slonik, want: 1},
		"it connects through the tunnel":  {app: tunnel, found: &slonik},
		"the app decides":                 {app: bound(full), signs: decides(sslmode.Disable), want: 2, hint: true},
		"… and then a driver obeys a URI": {app: bound(full), found: &pgOff, uri: sslmode.Disable, signs: decides(full), want: 1},
	} {
		app := c.app
		app.URI, app.Signs = c.uri, c.signs
		if c.found != nil {
			app.Found = []Found{*c.found}
		}
		lines, warnings := app.Lines()
		assert.Len(t, warnings, c.want, name)
		assert.Equal(t, c.hint, c.want > 0 && warnings[c.want-1] == hint, name)
		assert.Equal(t, c.found == nil, strings.HasPrefix(lines[0], "none recognised; "), name)
	}
}

func TestTheLogShowsFiftySkippedFiles(t *testing.T) {
	skipping := bound(sslmode.VerifyFull)
	skipping.Skipped = make([]seen.Skipped, 60)
	lines, _ := skipping.Lines()
	assert.Len(t, lines, 1+50)
	skipping.Skipped = skipping.Skipped[:3]
	lines, _ = skipping.Lines()
	assert.Len(t, lines, 1+3)
}
