package launch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// given is what decides an app's variables.
type given struct {
	Mode     sslmode.Mode
	Sets     []string
	Everyone bool
}

func giving(plan *Plan) given {
	trust := plan.TrustAll()
	return given{plan.Mode, trust.Sets, trust.Everyone}
}

// says returns a binding that asks for these modes.
func says(modes ...binding.Asked) binding.Binding {
	b := db("db", "", elsewhere)
	b.Asked = modes
	return b
}

func key(mode string) binding.Asked {
	return asked(mode, binding.Place{Path: "sslmode"}, binding.ByKey)
}
func uri(mode string) binding.Asked {
	return asked(mode, binding.Place{Path: "uri", Of: "sslmode"}, binding.ByURI)
}
func jdbc(mode string) binding.Asked {
	return asked(mode, binding.Place{Path: "jdbcUrl", Of: "sslmode"}, binding.ByString)
}
func dsn(mode string) binding.Asked {
	return asked(mode, binding.Place{Path: "dsn", Of: "sslmode"}, binding.ByString)
}

func TestABindingThatContradictsItselfStopsTheAppAndNamesBothPlaces(t *testing.T) {
	for name, test := range map[string]struct {
		binding binding.Binding
		wrong   string
	}{
		"a key and a weaker uri":    {says(key("verify-full"), uri("disable")), "db: credential sslmode asks for verify-full, but sslmode in credential uri for disable; make them agree, or set POSTGRES_SSL_MODE=verify-full"},
		"a key and a stricter uri":  {says(key("require"), uri("verify-full")), "db: sslmode in credential uri asks for verify-full, but credential sslmode for require; make them agree, or set POSTGRES_SSL_MODE=verify-full"},
		"a key and another string":  {says(key("verify-full"), jdbc("require")), "credential sslmode asks for verify-full, but sslmode in credential jdbcUrl for require"},
		"two keys":                  {says(key("verify-full"), asked("require", binding.Place{Path: "sslMode"}, binding.ByKey)), "credential sslmode asks for verify-full, but credential sslMode for require"},
		"a uri that is too weak":    {says(uri("require"), jdbc("verify-full")), "sslmode in credential jdbcUrl asks for verify-full, but sslmode in credential uri for require"},
		"one string that is no uri": {says(jdbc("verify-full"), asked("require", binding.Place{Path: "jdbcUrl", Of: "sslfactory"}, binding.ByString)), "sslmode in credential jdbcUrl asks for verify-full, but sslfactory in credential jdbcUrl for require"},
		"of several, the first":     {says(uri("disable"), asked("require", binding.Place{Path: "uri", Of: "ssl"}, binding.ByURI), key("verify-full")), "credential sslmode asks for verify-full, but sslmode in credential uri for disable"},
		"… of the strictest, too":   {says(uri("verify-full"), key("verify-full"), key("disable")), "sslmode in credential uri asks for verify-full, but credential sslmode for disable"},
		"… beside a key":            {says(uri("disable"), key("require"), key("verify-full")), "credential sslmode asks for verify-full, but sslmode in credential uri for disable"},
		"DATABASE_URL, set by hand": {says(uri("verify-full"), asked("disable", binding.Place{Path: "DATABASE_URL", Of: "sslmode", Variable: true}, binding.ByURI)), "sslmode in credential uri asks for verify-full, but sslmode in DATABASE_URL for disable"},
	} {
		t.Run(name, func(t *testing.T) {
			found := binding.Bound{Databases: []binding.Binding{test.binding}}
			_, err := Decide(nil, found, store(t))
			require.ErrorContains(t, err, test.wrong)
			_, err = Foresee(nil, found, store(t))
			require.ErrorContains(t, err, test.wrong, "at staging too")

			_, err = Decide(map[string]string{"POSTGRES_SSL_MODE": "require"}, found, store(t))
			require.ErrorContains(t, err, test.wrong, "an owner's mode that is weaker settles nothing")
			plan, err := Decide(map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, found, store(t))
			require.NoError(t, err)
			assert.Equal(t, sslmode.VerifyFull, plan.Mode)
			assert.Contains(t, plan.Decider.Source.String(), "POSTGRES_SSL_MODE")
			require.Len(t, plan.Warnings, 1)
			assert.Contains(t, plan.Warnings[0], "a driver that reads the binding itself may not obey")
		})
	}
}

func TestOfTwoOtherStringsTheStricterWinsWithAWarning(t *testing.T) {
	plan := decide(t, nil, says(jdbc("require"), dsn("verify-full")))
	assert.Equal(t, sslmode.VerifyFull, plan.Mode)
	assert.Equal(t, []string{"db: sslmode in credential dsn asks for verify-full, and sslmode in credential jdbcUrl for require; the stricter one wins, but a driver that is given the other string may not obey"}, plan.Downgrades)
}

func TestWhatAgreesIsNoContradiction(t *testing.T) {
	for name, b := range map[string]binding.Binding{
		"everywhere the same":       says(key("require"), uri("require"), jdbc("require")),
		"the uri is the stricter":   says(uri("verify-full"), jdbc("verify-full")),
		"one string that says none": says(jdbc("verify-ca")),
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, nil, b)
			assert.Equal(t, b.Asked[0].Mode, plan.Mode)
			assert.Empty(t, plan.Warnings)
		})
	}
}

func TestOfTwoThatAgreeTheKeyIsNamed(t *testing.T) {
	plan := decide(t, nil, says(uri("verify-full"), key("verify-full")))
	assert.Equal(t, key("verify-full").Place.String(), plan.Databases[0].Source.String())
}

func TestFromOutsideAnErrorIsSureUnlessCredentialsAreUnresolved(t *testing.T) {
	env := map[string]string{"POSTGRES_SSL_SERVICE": "later"}
	found := binding.Bound{Databases: []binding.Binding{db("a", "verify-full", oregon)}}
	_, sure := Elsewhere(env, found, store(t))
	require.ErrorContains(t, sure, "POSTGRES_SSL_SERVICE names no bound Postgres database")
	found.Unresolved = []binding.Reference{{Service: "later", Postgres: true}}
	plan, err := Elsewhere(env, found, store(t))
	require.NoError(t, err)
	assert.Contains(t, plan.Warnings, sure.Error()+", as far as can be seen from here")
}

func TestAModeIsInferredFromTheStrongestSign(t *testing.T) {
	own := db("db", "", elsewhere)
	own.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: caPEM(t)}
	asks := db("db", "", elsewhere)
	asks.AsksTLS = binding.Place{Path: "require_ssl"}
	both := own
	both.AsksTLS = asks.AsksTLS
	rds := both
	rds.Hosts = []string{oregon}
	more := db("db", "", elsewhere)
	more.MoreCAs = []binding.Credential{{Place: binding.Place{Path: "tls.bundle"}, Value: caPEM(t)}}
	system := db("db", "", elsewhere)
	system.System = binding.Place{Path: "sslrootcert"}
	for name, test := range map[string]struct {
		binding      binding.Binding
		mode, source string
	}{
		"RDS, before its own CA":             {rds, "verify-full", "the default for a host whose CA is known"},
		"a CA of its own, before asking":     {both, "verify-ca", "the default for a CA of its own, credential ca"},
		"asking for TLS":                     {asks, "require", "credential require_ssl, which asks for TLS"},
		"a CA under another key asks for no": {more, "", ""},
		"sslrootcert=system":                 {system, "verify-full", "sslrootcert=system in credential sslrootcert"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, nil, test.binding)
			assert.Equal(t, test.mode, plan.Mode.String())
			if test.source != "" {
				assert.Equal(t, test.source, plan.Decider.Source.String())
			}
			owners := decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-ca"}, test.binding)
			if !test.binding.System.Known() {
				assert.Equal(t, "POSTGRES_SSL_MODE", owners.Decider.Source.String(), "the owner's default comes before")
			}
		})
	}
}

func TestSSLRootCertSystemTrustsTheStoresAndNothingWeaker(t *testing.T) {
	b := db("db", "", elsewhere)
	b.System = binding.Place{Path: "sslrootcert"}
	trust := decide(t, nil, b).Databases[0].Trust
	assert.True(t, trust.Everyone)
	assert.Empty(t, trust.Sets, "none of ours")
	b.Asked = []binding.Asked{key("require")}
	_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{b}}, store(t))
	assert.ErrorContains(t, err, "sslrootcert=system in credential sslrootcert asks for verify-full, but credential sslmode for require")
}

func TestOneDatabaseDoesNotSilentlyWeakenAnother(t *testing.T) {
	tagged := db("console_db", "require", elsewhere)
	tagged.Tags = []string{"stratos"}
	writes, inferred := db("orders", "verify-full", elsewhere), db("orders", "", oregon)

	_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{tagged, writes}}, store(t))
	require.EqualError(t, err, "console_db decides with require, but orders asks for verify-full; set POSTGRES_SSL_SERVICE to the name of the one that decides")

	const downgrade = "orders would get verify-full by %s, but gets only require: console_db decides for the whole app"
	chosen := decide(t, map[string]string{"POSTGRES_SSL_SERVICE": "console_db"}, tagged, writes)
	assert.Equal(t, []string{fmt.Sprintf(downgrade, "credential sslmode")}, chosen.Downgrades, "the owner may, and the log of each start says what it costs")
	assert.Subset(t, chosen.Warnings, chosen.Downgrades, "and so does staging")

	weaker := decide(t, nil, tagged, inferred)
	assert.Equal(t, []string{fmt.Sprintf(downgrade, "the default for a host whose CA is known")}, weaker.Downgrades)

	assert.Empty(t, decide(t, map[string]string{"POSTGRES_SSL_SERVICE": "orders"}, tagged, writes).Downgrades, "the control: nothing is lost")
	settled := decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, tagged, writes)
	assert.Equal(t, sslmode.VerifyFull, settled.Mode, "the owner's mode is as strict as the strictest")
}

func TestFurtherDatabasesOfAServiceChangeNothingUnlessTheyWriteMore(t *testing.T) {
	main := db("db", "", oregon)
	further := func(mode string, hosts ...string) binding.Binding {
		b := db("db", "", hosts...)
		b.WellKnown, b.Path = false, "other"
		if mode != "" {
			b.Asked = []binding.Asked{asked(mode, binding.Place{Path: "other", Of: "sslmode"}, binding.ByString)}
		}
		return b
	}
	alone := giving(decide(t, nil, main))
	for name, other := range map[string]binding.Binding{
		"a pgbouncer":              further("", "127.0.0.1"),
		"an example":               further("disable", "localhost"),
		"a tenant elsewhere":       further("", frankfurt),
		"a tenant that verifies":   further("verify-full", elsewhere),
		"one that comes before it": further("verify-full", "a.example.com"),
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, nil, main, other)
			assert.Equal(t, alone, giving(plan))
			assert.Equal(t, "db", plan.Decider.Title())
			assert.Equal(t, alone, giving(decide(t, nil, other, main)), "in any order")
		})
	}

	require := db("db", "require", elsewhere)
	_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{require, further("verify-full", "a.example.com")}}, store(t))
	assert.EqualError(t, err, "db asks for require, but db (other) for verify-full, and both must use one mode; make them agree, or set POSTGRES_SSL_MODE=verify-full")

	// Without a well-known key, the strictest mode and the narrowest trust make the main database.
	plan := decide(t, nil, further("", elsewhere), further("verify-full", oregon))
	assert.Equal(t, []string{oregon}, plan.Decider.Hosts)
}

func TestACAOfATaggedServiceIsForDatabasesWithoutOne(t *testing.T) {
	own := db("own", "", elsewhere)
	own.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: caPEM(t)}
	company := caPEM(t)
	plan, err := Decide(map[string]string{"POSTGRES_SSL_SERVICE": "broker"}, binding.Bound{
		Databases: []binding.Binding{db("broker", "", elsewhere), own, db("rds", "", oregon)},
		CAs:       []binding.Credential{{Place: binding.Place{Service: "company-db-ca", Path: "ca"}, Value: company}},
	}, store(t))
	require.NoError(t, err)
	broker, brings, rds := plan.Databases[0], plan.Databases[1], plan.Databases[2]
	assert.Equal(t, "company-db-ca, credential ca", broker.Trust.Why)
	assert.Equal(t, sslmode.VerifyCA, broker.Mode)
	assert.Equal(t, "credential ca", brings.Trust.Why)
	assert.Len(t, rds.Trust.Own, 1, "added to those of the region")
	assert.Equal(t, []string{"us-west-2"}, rds.Trust.Sets)
	assert.Equal(t, "RDS in us-west-2, company-db-ca, credential ca", rds.Trust.Why)

	plan = decideWith(t, "a-ca", "ca", "a-ca")
	assert.Equal(t, "a-ca, credential ca, ca, credential ca", plan.Databases[0].Trust.Why, "each is named, and once")
}

func decideWith(t *testing.T, cas ...string) *Plan {
	t.Helper()
	found := binding.Bound{Databases: []binding.Binding{db("db", "verify-full", elsewhere)}}
	for _, name := range cas {
		found.CAs = append(found.CAs, binding.Credential{Place: binding.Place{Service: name, Path: "ca"}, Value: caPEM(t)})
	}
	plan, err := Decide(nil, found, store(t))
	require.NoError(t, err)
	return plan
}

func TestATaggedServiceWithoutACertificateStopsTheApp(t *testing.T) {
	for _, host := range []string{oregon, azure, elsewhere} {
		_, err := Decide(nil, binding.Bound{
			Databases: []binding.Binding{db("db", "", host)},
			CAs:       []binding.Credential{{Place: binding.Place{Service: "new-ca", Path: "ca"}, Value: "no certificate"}},
		}, store(t))
		assert.EqualError(t, err, "db: new-ca, credential ca: is neither PEM nor base64 of PEM", host)
	}
}

// A tagged service is the way to a region or a partition that is newer than the buildpack.
func TestATaggedCAStandsForOneThatThisBuildpackLacks(t *testing.T) {
	for host, want := range map[string]Trust{
		newRegion: {Sets: []string{"aws"}, Why: "RDS of aws, region xx-new-1 not in this buildpack, new-ca, credential ca"},
		sovereign: {Why: "RDS of aws-eusc, whose CAs are not in this buildpack, new-ca, credential ca"},
		dsql:      {Sets: []string{"amazon-trust"}, Why: "Aurora DSQL in us-east-1, new-ca, credential ca"},
		azure:     {Why: "new-ca, credential ca"},
	} {
		plan, err := Decide(nil, binding.Bound{
			Databases: []binding.Binding{db("db", "", host)},
			CAs:       []binding.Credential{{Place: binding.Place{Service: "new-ca", Path: "ca"}, Value: caPEM(t)}},
		}, store(t))
		require.NoError(t, err)
		assert.Empty(t, plan.Warnings, host)
		got := plan.Databases[0]
		assert.Equal(t, sslmode.VerifyFull, got.Mode, host)
		assert.Len(t, got.Trust.Own, 1, host)
		assert.False(t, got.Trust.Everyone, host)
		assert.Equal(t, want.Sets, got.Trust.Sets, host)
		assert.Equal(t, want.Why, got.Trust.Why, host)
	}
}

func TestACAUnderAnotherKeyAddsToRDSAndReplacesEveryone(t *testing.T) {
	withMore := func(host string) Trust {
		b := db("db", "verify-full", host)
		b.MoreCAs = []binding.Credential{{Place: binding.Place{Path: "certificate.base64"}, Value: caPEM(t)}, {Place: binding.Place{Path: "server.note"}, Value: "no certificate"}}
		return decide(t, nil, b).Databases[0].Trust
	}
	rds := withMore(oregon)
	assert.Len(t, rds.Own, 1)
	assert.Equal(t, []string{"us-west-2"}, rds.Sets)
	for _, host := range []string{elsewhere, azure} {
		other := withMore(host)
		assert.Len(t, other.Own, 1, host)
		assert.False(t, other.Everyone, host)
		assert.Empty(t, other.Sets, host)
	}
}

func TestAReplicaThatIsNotRDSNeitherLowersTheModeNorWidensTheTrust(t *testing.T) {
	b := db("db", "", oregon, frankfurt, "replica.example.com")
	b.Replicas = 2
	plan := decide(t, nil, b)
	assert.Equal(t, sslmode.VerifyFull, plan.Mode)
	assert.Equal(t, []string{"us-west-2", "eu-central-1"}, plan.Databases[0].Trust.Sets)
	assert.Equal(t, []string{"db: the replica replica.example.com is not RDS; it is verified by the CAs of the main host, and the connection may fail"}, plan.Warnings)
}

func TestACertificateWithoutItsKeyIsNotHandedOut(t *testing.T) {
	b := db("db", "verify-full", oregon)
	b.ClientCert, _ = clientPair(t)
	plan := decide(t, nil, b)
	cert, _ := plan.ClientCertificate()
	assert.Nil(t, cert)
	assert.Equal(t, []string{"db: credential sslcert is not handed out as a client certificate: its key is missing"}, plan.Warnings)
}

func TestWhatMayStillChangeIsAWarningAtStagingAndStopsALaunch(t *testing.T) {
	missing := db("db", "verify-full", elsewhere)
	missing.CA = binding.Credential{Place: binding.Place{Path: "sslrootcert"}, Missing: true}
	for name, test := range map[string]struct {
		env   map[string]string
		found binding.Bound
		wrong string
	}{
		"a reference to CredHub": {nil, binding.Bound{Unresolved: []binding.Reference{{Service: "db", Postgres: true}}}, "db: the platform did not resolve the credentials"},
		"a service not yet there": {map[string]string{"POSTGRES_SSL_SERVICE": "later"}, binding.Bound{Databases: []binding.Binding{db("db", "require", elsewhere)}},
			"POSTGRES_SSL_SERVICE names no bound Postgres database; bound are: db (require)"},
		"a file of the container": {nil, binding.Bound{Databases: []binding.Binding{missing}}, "db: credential sslrootcert names a file that is not in this container; put the certificate itself there, in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(test.env, test.found, store(t))
			require.ErrorContains(t, err, test.wrong)
			plan, err := Foresee(test.env, test.found, store(t))
			require.NoError(t, err)
			require.NotEmpty(t, plan.Warnings)
			assert.Contains(t, plan.Warnings[0], "as it is, the app would not start")
		})
	}
}

func TestTheOwnersModeIsExportedWithNoDatabaseAtAll(t *testing.T) {
	plan := decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"})
	assert.Equal(t, given{sslmode.VerifyFull, plan.trustEveryone("").Sets, true}, giving(plan), "with the trust of any other host")
	assert.Len(t, plan.Warnings, 1)
	assert.Equal(t, given{}, giving(decide(t, nil)), "the control")
}

// libpqs is another name of sslmode in a connection string.
func libpqs(mode, name string) binding.Asked {
	a := asked(mode, binding.Place{Path: "uri", Of: name}, binding.ByURI)
	a.Alias = true
	return a
}

func TestAnAliasContradictsAModeLikeAnyOther(t *testing.T) {
	for name, test := range map[string]struct {
		binding binding.Binding
		wrong   string
	}{
		"a weaker one behind a sslmode":   {says(uri("verify-full"), libpqs("prefer", "requiressl")), "sslmode in credential uri asks for verify-full, but requiressl in credential uri for prefer"},
		"a weaker one beside a key":       {says(key("verify-full"), libpqs("require", "ssl")), "credential sslmode asks for verify-full, but ssl in credential uri for require"},
		"a stricter one beside a key":     {says(key("prefer"), libpqs("require", "ssl")), "ssl in credential uri asks for require, but credential sslmode for prefer"},
		"a stricter one behind a sslmode": {says(uri("disable"), libpqs("require", "ssl")), "ssl in credential uri asks for require, but sslmode in credential uri for disable"},
	} {
		t.Run(name, func(t *testing.T) {
			found := binding.Bound{Databases: []binding.Binding{test.binding}}
			_, err := Decide(nil, found, store(t))
			assert.ErrorContains(t, err, test.wrong)
			plan, err := Decide(map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, found, store(t))
			require.NoError(t, err)
			assert.Equal(t, sslmode.VerifyFull, plan.Mode)
		})
	}
	plan := decide(t, nil, says(key("require"), libpqs("require", "ssl")))
	assert.Equal(t, sslmode.Require, plan.Mode, "the control")
}

func TestAnAliasAloneLowersNothingAndTheLogSaysWhatLibpqGets(t *testing.T) {
	for name, test := range map[string]struct {
		env   map[string]string
		host  string
		alias binding.Asked
		mode  string
		line  string
	}{
		"RDS":                  {nil, oregon, libpqs("require", "ssl"), "verify-full", "db: ssl in credential uri means require to a driver that is given this string; others get verify-full, from the default for a host whose CA is known"},
		"the owner's default":  {map[string]string{"POSTGRES_SSL_MODE": "verify-ca"}, elsewhere, libpqs("prefer", "requiressl"), "verify-ca", "means prefer to a driver that is given this string"},
		"another host":         {nil, elsewhere, libpqs("require", "ssl"), "require", ""},
		"another host, weaker": {nil, elsewhere, libpqs("prefer", "requiressl"), "", ""},
		"in the tunnel":        {through("yes"), oregon, libpqs("require", "ssl"), "verify-full", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := db("db", "", test.host)
			b.Asked = []binding.Asked{test.alias}
			if test.alias.Mode == sslmode.Require {
				b.AsksTLS = test.alias.Place
			}
			plan := decide(t, test.env, b)
			assert.Equal(t, test.mode, plan.Mode.String())
			lines := strings.Join(append(slices.Clone(plan.Downgrades), plan.Warnings...), "\n")
			assert.Equal(t, test.line != "", strings.Contains(lines, "given this string"), lines)
			assert.Contains(t, lines, test.line)
		})
	}
}

// A driver that is given the string itself may make less of it than the launch does.
func TestWhatAStringGivesLessThanTheLaunchIsSaidAtEachStart(t *testing.T) {
	for credentials, line := range map[string]string{
		`"uri":"postgres://h.example.com/d?sslmode=disable&sslmode=verify-full"`:                                              "db: sslmode in credential uri means disable to pgx or lib/pq, if it is given this string",
		`"uri":"postgres://` + oregon + `/d?ssl=0"`:                                                                           "db: ssl in credential uri means disable to a driver",
		`"hostname":"h.internal","username":"u","sslmode":"verify-full","uri":"postgres://u@h.example.com/d?sslmode=disable"`: "db (uri): sslmode in credential uri means disable to a driver",
		`"uri":"postgres://h.example.com/d?sslmode=verify-full","url":"postgres://h.example.com/d?ssl=true"`:                  "db: sslmode in credential uri asks for verify-full, and ssl in credential url for require",
		`"uri":"postgres://h.example.com/d?sslmode=verify-full&sslmode=verify-full&ssl=true&sslmode=verify-full"`:             "",
		`"hostname":"h.internal","username":"u","sslmode":"verify-full","other":"postgres://u@h.example.com/d?sslmode=allow"`: "",
		`"jdbcUrl":"jdbc:postgresql://h.example.com/d?sslmode=disable&sslmode=verify-full"`:                                   "",
		`"uri":"postgres://h.example.com/d?sslmode=nonsense&sslmode=verify-full"`:                                             "",
	} {
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","tags":["postgresql"],"credentials":{` + credentials + `}}]}`})
		require.NoError(t, err, credentials)
		plan, err := Decide(nil, found, store(t))
		require.NoError(t, err, credentials)
		assert.Equal(t, sslmode.VerifyFull, plan.Mode, credentials)
		said := strings.Join(plan.Downgrades, "\n")
		assert.Equal(t, line == "", said == "", "%s: %s", credentials, said)
		assert.Contains(t, said, line)
		assert.NotContains(t, said, "\n", "it is said once")
	}
}

func TestWhatStandsBesideADatabaseSilencesNoModeOfIts(t *testing.T) {
	const host = `"hostname":"h.example.com","port":5432,"username":"u","password":"p","dbname":"d"`
	for credentials, want := range map[string]string{
		host + `,"sslmode":"verify-full","cache_db_type":"redis"`:                                                    "db h.example.com verify-full",
		host + `,"sslmode":"verify-full","other_url":"postgres://u:p@h2.example.com/d?ssl=0"`:                        "db h.example.com verify-full, db h2.example.com verify-full",
		`"uri":"postgres://u:p@h.example.com/d?sslmode=verify-full","params":[{"name":"sslmode","value":"require"}]`: "db h.example.com verify-full",
		`"sslmode":"require","uri":"postgres://u:p@h.example.com/d","supported":["host","sslmode"]`:                  "db h.example.com require",
		`"mailer_database":{"host":"` + oregon + `","port":5432,"username":"u","dbname":"d"}`:                        "db " + oregon + " verify-full",
		host + `,"ssl_mode":"require","tls_settings":{"mode":"mutual"}`:                                              "db h.example.com require",
		`"uri":"postgres://secret:p@h.example.com/token?sslmode=verify-full"`:                                        "db h.example.com verify-full",
		`"host":"` + oregon + `","username":"u","password":"p","dbname":"d","DB_HOST":"x","DB_ENGINE":"mysql"`:       "",
	} {
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","credentials":{` + credentials + `}}]}`})
		require.NoError(t, err, credentials)
		plan, err := Decide(nil, found, store(t))
		require.NoError(t, err, credentials)
		var got []string
		for _, db := range plan.Databases {
			got = append(got, strings.Join([]string{db.Name, db.Hosts[0], db.Mode.String()}, " "))
			assert.NotEmpty(t, db.Username+db.Database, credentials)
		}
		assert.Equal(t, want, strings.Join(got, ", "), credentials)
	}
}

// Whoever sends mails may keep them in a Postgres.
func TestAPostgresOfAMailerKeepsItsMode(t *testing.T) {
	for port, want := range map[string]int{"5432": 1, "587": 0} {
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","tags":["email"],"credentials":
			{"host":"h.example.com","port":` + port + `,"username":"u","password":"p","dbname":"d","ssl":"require"}}]}`})
		require.NoError(t, err, port)
		require.Len(t, found.Databases, want, port)
		if want > 0 {
			assert.Equal(t, "require", decide(t, nil, found.Databases...).Mode.String())
		}
	}
}

func TestTwoModesInDATABASE_URLAreNotLostBesideABoundService(t *testing.T) {
	read := func(query string) (*Plan, error) {
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","credentials":{"uri":"postgres://u@h.example.com/d"}}]}`,
			"DATABASE_URL": "postgres://u@h.example.com/d" + query})
		if err != nil {
			return nil, err
		}
		return Decide(nil, found, store(t))
	}
	_, err := read("?sslmode=verify-full&sslmode=disable")
	assert.ErrorContains(t, err, "DATABASE_URL contains an sslmode that cannot be read")
	plan, err := read("?sslmode=disable&sslmode=verify-full")
	require.NoError(t, err)
	assert.Equal(t, sslmode.VerifyFull, plan.Mode)
	assert.Contains(t, strings.Join(plan.Downgrades, "\n"), "db: sslmode in DATABASE_URL means disable to pgx or lib/pq")
}

func TestADatabaseKnownByItsKeysAloneStopsNothingAndSaysWhatItWouldGet(t *testing.T) {
	guess, sure := db("guess", "", oregon), db("sure", "disable", elsewhere)
	guess.Guessed = true
	plan := decide(t, nil, guess, sure)
	assert.Equal(t, "sure", plan.Decider.Name)
	assert.Contains(t, strings.Join(plan.Downgrades, "\n"), "guess would get verify-full by the default for")

	guess.Guessed = false
	_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{guess, sure}}, store(t))
	assert.ErrorContains(t, err, "the bound databases ask for different things", "the control")

	guess.Guessed = true
	guess.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: "none"}
	plan = decide(t, nil, guess, sure)
	assert.Len(t, plan.Databases, 1)
	assert.Contains(t, strings.Join(plan.Downgrades, "\n"), "guess: credential ca: has no PEM certificate; without it, nothing is done for this database")
}

func TestAReferenceToCredHubStopsTheAppOnlyIfItSaysPostgres(t *testing.T) {
	for _, test := range []struct {
		reference binding.Reference
		stops     bool
		line      string
	}{
		{binding.Reference{Service: "db"}, false, "db: the platform did not resolve the credentials: they are still a reference to CredHub; nobody can see whether it is a Postgres database"},
		{binding.Reference{Service: "db", InFile: true}, false, "the platform resolves none in files; turn off the app's feature file-based-vcap-services or service-binding-k8s, and restart; nobody can see"},
		{binding.Reference{Service: "db", Postgres: true, InFile: true}, true, "db: the credentials are still a reference to CredHub, and the platform resolves none in files; turn off"},
	} {
		found := binding.Bound{Unresolved: []binding.Reference{test.reference}}
		plan, err := Decide(nil, found, store(t))
		if test.stops {
			require.ErrorContains(t, err, test.line)
		} else {
			require.NoError(t, err)
			assert.Contains(t, strings.Join(plan.Downgrades, "\n"), test.line, "the log of each start")
		}
		plan, err = Foresee(nil, found, store(t))
		require.NoError(t, err)
		assert.Contains(t, strings.Join(plan.Warnings, "\n"), test.line, "staging names it too")
	}
}

func TestACABesideRequireIsSaid(t *testing.T) {
	b := says(key("require"))
	b.CA = binding.Credential{Place: binding.Place{Path: "ca_cert"}, Value: caPEM(t)}
	assert.Contains(t, strings.Join(decide(t, nil, b).Warnings, "\n"), "db: credential ca_cert has its CA, so its sslmode can be verify-full instead of require")
	b.Asked = []binding.Asked{key("verify-full")}
	assert.Empty(t, decide(t, nil, b).Warnings, "the control")
}

func TestAFlagContradictsAModeThatAllowsPlainText(t *testing.T) {
	for _, mode := range []string{"disable", "allow", "prefer"} {
		for _, asked := range []binding.Asked{key(mode), uri(mode), jdbc(mode), dsn(mode)} {
			b := says(asked)
			b.AsksTLS = binding.Place{Path: "require_ssl"}
			found := binding.Bound{Databases: []binding.Binding{b}}
			_, err := Decide(nil, found, store(t))
			assert.ErrorContains(t, err, "db: credential require_ssl asks for require, but "+asked.Place.String()+" for "+mode+"; make them agree, or set POSTGRES_SSL_MODE=require")
			plan, err := Decide(map[string]string{"POSTGRES_SSL_MODE": "require"}, found, store(t))
			require.NoError(t, err)
			assert.Equal(t, sslmode.Require, plan.Mode)
			b.AsksTLS = binding.Place{}
			assert.Equal(t, mode, decide(t, nil, b).Mode.String(), "the control")
		}
	}
	b := says(key("require"))
	b.AsksTLS = binding.Place{Path: "require_ssl"}
	assert.Equal(t, sslmode.Require, decide(t, nil, b).Mode, "they agree")
}

func TestAFamilyOfKeysBesideAStringLowersNothing(t *testing.T) {
	read := func(credentials string) *Plan {
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","tags":["postgresql"],"credentials":` + credentials + `}]}`})
		require.NoError(t, err)
		plan, err := Decide(nil, found, store(t))
		require.NoError(t, err)
		return plan
	}
	const dsn = `"dsn":"jdbc:postgresql://h.example.com:6432/d?ssl=true"`
	assert.Equal(t, sslmode.Require, read(`{`+dsn+`,"DB_HOST":"10.0.0.5","DB_USER":"u","DB_PORT":"5432"}`).Mode)
	assert.Equal(t, sslmode.None, read(`{`+dsn+`,"host":"10.0.0.5","user":"u","port":"5432"}`).Mode, "the control: the plain keys are the service's own")
}

func TestADatabaseKnownByItsKeysAloneWidensNoTrust(t *testing.T) {
	guess, sure := db("guess", "", elsewhere), db("sure", "verify-full", oregon)
	guess.Guessed = true
	assert.Equal(t, []string{"us-west-2"}, decide(t, nil, guess, sure).TrustAll().Sets)
	assert.False(t, decide(t, nil, guess, sure).TrustAll().Everyone)
	assert.True(t, decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, guess).TrustAll().Everyone, "alone, it is what is trusted")
	guess.Guessed = false
	assert.True(t, decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, guess, sure).TrustAll().Everyone, "the control")
}

// The tag speaks against the outer host, so its mode must not lower what the inner one gets. A service
// with one sure database counts, whatever its main one is.
func TestADoubtfulOrGuessedDatabaseDecidesForNoSureOne(t *testing.T) {
	found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","tags":["redis"],"credentials":{
		"host":"h.example.com","user":"u","sslmode":"require","inner":{"uri":"postgres://u:p@` + oregon + `/d"}}}]}`})
	require.NoError(t, err)
	plan, err := Decide(nil, found, store(t))
	require.NoError(t, err)
	assert.Equal(t, []string{oregon}, plan.Decider.Hosts)
	assert.Equal(t, sslmode.VerifyFull, plan.Mode)

	guess, inner, other := db("db", "", oregon), db("db", "verify-ca", oregon), db("other", "", elsewhere)
	guess.Guessed, inner.WellKnown = true, false
	_, err = Decide(nil, binding.Bound{Databases: []binding.Binding{guess, inner, other}}, store(t))
	assert.ErrorContains(t, err, "the bound databases ask for different things: db (verify-full), other (no mode)")
}
