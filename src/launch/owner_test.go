package launch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// No driver forgives what we forgive in a binding: with PGSSLMODE=VERIFY_FULL, node-postgres
// connects in plain text. src/integration shows it.
func TestOnlyTheExactWordsOfAnOwnerCount(t *testing.T) {
	for _, mode := range sslmode.All() {
		libpq, stratos := Owners(map[string]string{"PGSSLMODE": mode.String(), "DB_SSL_MODE": mode.String()})
		assert.Equal(t, Owner{Variable: "PGSSLMODE", Value: mode.String(), Mode: mode}, libpq)
		assert.Equal(t, Owner{Variable: "DB_SSL_MODE", Value: mode.String(), Mode: mode}, stratos)
	}
	for value, wrong := range map[string]string{
		"VERIFY_FULL":  `, set by the app's owner, is spelled "VERIFY_FULL"`,
		"verifyfull":   `, set by the app's owner, is spelled "verifyfull"`,
		" verify-full": `, set by the app's owner, is spelled " verify-full"`,
		"REQUIRED":     `, set by the app's owner: sslmode "REQUIRED" is not one of`,
		"true":         `, set by the app's owner: sslmode (not shown, it does not look like a mode) is not one of`,
	} {
		libpq, stratos := Owners(map[string]string{"PGSSLMODE": value, "DB_SSL_MODE": value})
		for _, own := range []Owner{libpq, stratos} {
			assert.ErrorContains(t, own.Wrong, own.Variable+wrong)
			assert.Equal(t, sslmode.None, own.Mode)
			assert.Equal(t, sslmode.None, own.InForce(sslmode.VerifyFull), "nobody knows what a driver makes of it")
			assert.NotEmpty(t, own.Do)
		}
	}
	libpq, stratos := Owners(map[string]string{"PGSSLMODE": "no-verify", "DB_SSL_MODE": "no-verify"})
	assert.Equal(t, Owner{Variable: "PGSSLMODE", Value: "no-verify", Mode: sslmode.Require}, libpq, "node-postgres's own word")
	assert.Error(t, stratos.Wrong, "Stratos has no such word")
	libpq, _ = Owners(map[string]string{"PGSSLMODE": ""})
	assert.Equal(t, sslmode.VerifyCA, libpq.InForce(sslmode.VerifyCA), "empty is unset")
}

func TestAWrongModeOfTheOwnersStopsAStartWhereADatabaseAsksForTLS(t *testing.T) {
	env := map[string]string{"PGSSLMODE": "VERIFY_FULL"}
	own, _ := Owners(env)
	for mode, stops := range map[string]bool{"": false, "disable": false, "allow": false, "prefer": false, "require": true, "verify-ca": true, "verify-full": true} {
		err := decide(t, env, db("console_db", mode, elsewhere)).Refuses(own)
		if stops {
			assert.EqualError(t, err, `PGSSLMODE, set by the app's owner, is spelled "VERIFY_FULL"; spell it verify-full, or unset it`, mode)
		} else {
			assert.NoError(t, err, mode)
		}
	}
	assert.NoError(t, decide(t, env).Refuses(own), "nothing is bound")
	right, _ := Owners(map[string]string{"PGSSLMODE": "disable"})
	assert.NoError(t, decide(t, env, db("console_db", "verify-full", elsewhere)).Refuses(right))

	decides := map[string]string{"POSTGRES_SSL_SERVICE": "a"}
	assert.Error(t, decide(t, decides, db("a", "prefer", elsewhere), db("b", "require", elsewhere)).Refuses(own), "any bound database counts")
}

// A connection string in any variable of the owner's, whatever it is called, says what its driver does.
func TestAWeakConnectionStringOfTheOwnersIsNamed(t *testing.T) {
	const host = "db.abc.us-west-2.rds.amazonaws.com"
	for value, weak := range map[string]bool{
		"postgres://u:s3cr3t@" + host + "/d?sslmode=disable":          true,
		"jdbc:postgresql://" + host + "/d?sslmode=require":            true,
		"host=" + host + " password=s3cr3t sslmode=prefer":            true,
		"postgres://u:s3cr3t@" + host + "/d?sslmode=no-verify":        true,
		"postgres://u:s3cr3t@" + host + "/d?sslmode=verify-full":      false,
		"postgres://u:s3cr3t@" + host + "/d":                          false,
		"postgres://u:s3cr3t@elsewhere.example.com/d?sslmode=disable": false,
		"mysql://u:s3cr3t@" + host + "/d?sslmode=disable":             false,
	} {
		for name, plan := range map[string]*Plan{
			"bound":         decide(t, map[string]string{"MM_SQLSETTINGS_DATASOURCE": value}, db("db", "verify-full", host)),
			"nothing bound": decide(t, map[string]string{"MM_SQLSETTINGS_DATASOURCE": value}),
		} {
			text := strings.Join(plan.Downgrades, "\n")
			assert.Equal(t, weak, strings.Contains(text, "MM_SQLSETTINGS_DATASOURCE, set by the app's owner, has a connection string with sslmode="), "%s, %s", value, name)
			assert.NotContains(t, text, "s3cr3t")
		}
	}
}

func TestTheWeakestConnectionStringOfTheOwnersIsKept(t *testing.T) {
	url := func(mode string) string { return "postgres://u:p@" + oregon + "/d?sslmode=" + mode }
	for want, env := range map[string]map[string]string{
		"A=prefer": {"A": url("prefer"), "B": url("require")},
		"B=prefer": {"A": url("require"), "B": url("prefer")},
		"A=allow":  {"A": url("allow"), "B": url("allow")},
		"=":        {"A": url("verify-full")},
	} {
		connect := decide(t, env, db("db", "verify-full", oregon)).Databases[0].Connect
		assert.Equal(t, want, connect.Variable+"="+connect.Value)
		assert.Equal(t, connect.Value, connect.Mode.String())
	}
}

func TestDATABASEURLIsReadWithTheBindingsAndNotOnceMore(t *testing.T) {
	const url = "postgres://u:p@" + oregon + "/d?sslmode=require"
	assert.Empty(t, decide(t, map[string]string{"DATABASE_URL": url}, db("db", "verify-full", oregon)).Downgrades)
	assert.Len(t, decide(t, map[string]string{"OTHER_URL": url}, db("db", "verify-full", oregon)).Downgrades, 1, "the control")
}
