package explain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// explained explains an app with these credentials, on a day.
func explained(t *testing.T, credentials string, day time.Time) (text, warnings string) {
	t.Helper()
	env := map[string]string{"VCAP_SERVICES": `{"user-provided": [{"name": "db", "credentials": ` + credentials + `}]}`}
	return explainedApp(t, current.App{Env: env}, day)
}

func explainedApp(t *testing.T, app current.App, day time.Time) (text, warnings string) {
	t.Helper()
	sets, err := truststore.Read("../../ca")
	require.NoError(t, err)
	app.Store = truststore.NewStore("/home/vcap/deps/0/trust", sets)
	app, err = app.Read(launch.Decide)
	require.NoError(t, err)
	handout, err := app.HandOut(client.App{Home: current.Home}, t.TempDir(), t.TempDir())
	require.NoError(t, err)
	sections, err := Plan(app, handout, day)
	require.NoError(t, err)
	var b strings.Builder
	var warned []string
	for _, s := range sections {
		b.WriteString(s.Title + "\n  " + strings.Join(s.Lines, "\n  ") + "\n")
		warned = append(warned, s.Warnings...)
	}
	return b.String(), strings.Join(warned, "\n")
}

func TestTheFirstExpiryIsSaidAndWarnedOfInTime(t *testing.T) {
	const rds = `{"uri": "postgres://u:p@db.abc.us-west-2.rds.amazonaws.com/d"}`
	expiry := time.Date(2061, 5, 24, 0, 0, 0, 0, time.UTC)
	text, warnings := explained(t, rds, time.Now())
	assert.Contains(t, text, "\n    trusts   3 CAs in this buildpack (RDS in us-west-2), first root expires 2061-05-24\n")
	assert.Empty(t, warnings)
	_, warnings = explained(t, rds, expiry.AddDate(0, 0, -92))
	assert.Empty(t, warnings, "92 days before")
	_, warnings = explained(t, rds, expiry.AddDate(0, 0, -88))
	assert.Equal(t, "db: a root certificate in use expires on 2061-05-24; renew it before that day", warnings)

	_, warnings = explained(t, `{"uri": "postgres://u:p@db.abc.rds.cn-northwest-1.amazonaws.com.cn/d"}`, expiry.AddDate(0, 0, -88))
	assert.Equal(t, "db: a root certificate in use expires on 2061-05-25; renew it before that day", warnings, "China's too")

	_, warnings = explained(t, `{"uri": "postgres://u:p@db.abc.us-gov-west-1.rds.amazonaws.com/d"}`, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	assert.Empty(t, warnings, "GovCloud's intermediates expire in January 2027, and anchor nothing")
}

func TestEachSourceOfTrustIsNamed(t *testing.T) {
	for credentials, trusts := range map[string]string{
		`{"uri": "postgres://u:p@db.example.com/d", "sslrootcert": "system"}`:         "the stack's store, the platform's store (sslrootcert=system)\n",
		`{"uri": "postgres://u:p@x.postgres.database.azure.com/d"}`:                   "the stack's store, the platform's store (Azure, whose CAs are in the stack's store)\n",
		`{"uri": "postgres://u:p@db.abc.eusc-de-east-1.rds.amazonaws.eu/d"}`:          "the stack's store, the platform's store (RDS of aws-eusc, whose CAs are not in this buildpack)\n",
		`{"uri": "postgres://u:p@db.example.com/d"}`:                                  "129 CAs in this buildpack, the stack's store, the platform's store (not an RDS endpoint), first root expires 2037-12-31\n",
		`{"uri": "redshift://u:p@c.abc.cn-north-1.redshift.amazonaws.com.cn:5439/d"}`: "5 CAs in this buildpack (Redshift in cn-north-1), first root expires 2037-12-31\n",
	} {
		text, _ := explained(t, credentials, time.Now())
		assert.Contains(t, text, "    trusts   "+trusts)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	text, warnings := explained(t, `{"uri": "postgres://u:p@db.abc.us-west-2.rds.amazon.com/d"}`, time.Now())
	assert.Contains(t, text, "\n    sslmode  none: the binding names none")
	assert.Contains(t, text, "\n  DB_SSL_MODE and PGSSLMODE are not set: put an sslmode into the binding, or set POSTGRES_SSL_MODE\n")
	assert.Equal(t, "db: the host db.abc.us-west-2.rds.amazon.com is not an RDS endpoint; did you mean db.abc.us-west-2.rds.amazonaws.com?", warnings)

	text, _ = explained(t, `{"uri": "postgres://", "sslmode": "require"}`, time.Now())
	assert.Contains(t, text, "\n    host     none in the credentials\n")
	assert.NotContains(t, text, "are not set")
}

func TestWhatTheAppsFilesDecideIsSaid(t *testing.T) {
	const pgssl, unseen = "PGSSL is not given, since db.js:3 reads it", "the app's files are not seen from here"
	for name, test := range map[string]struct {
		mode, own string
		elsewhere bool
		says      []string
	}{
		"a mode that encrypts":  {"require", "", false, []string{pgssl}},
		"one that does not":     {"prefer", "", false, nil},
		"the owner's own PGSSL": {"require", "true", false, nil},
		"from outside":          {"require", "", true, []string{pgssl, unseen}},
		"nothing bound":         {"", "", true, nil},
	} {
		app := current.App{Env: map[string]string{"PGSSL": test.own}, Elsewhere: test.elsewhere, Seen: client.Seen{PGSSLSays: "db.js:3 reads it"}}
		if test.mode != "" {
			app.Env["VCAP_SERVICES"] = `{"x": [{"name": "db", "credentials": {"uri": "postgres://u:p@db.example.com/d?sslmode=` + test.mode + `"}}]}`
		}
		text, _ := explainedApp(t, app, time.Now())
		for _, line := range []string{pgssl, unseen} {
			assert.Equal(t, slices.Contains(test.says, line), strings.Contains(text, "\n  "+line), "%s: %s", name, text)
		}
	}
}

func TestOnlyASectionWithSomethingToSayHasATitle(t *testing.T) {
	said := ""
	say := func(mark string) func(string, ...any) {
		return func(format string, args ...any) { said += mark + fmt.Sprintf(format, args...) + "\n" }
	}
	Say([]Section{{Title: "a"}, {Title: "b", Lines: []string{"1"}}, {Title: "c", Warnings: []string{"2\x1b"}},
		{Title: "d", Lines: []string{"100%"}, Warnings: []string{"4"}}}, say("# "), say(""), say("! "))
	assert.Equal(t, "# b\n1\n# c\n! 2?\n# d\n100%\n! 4\n", said)
}
