package launch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

const (
	oregon    = "db.abc.us-west-2.rds.amazonaws.com"
	frankfurt = "db.abc.eu-central-1.rds.amazonaws.com"
	gov       = "db.abc.us-gov-west-1.rds.amazonaws.com"
	proxy     = "p.proxy-abc.us-west-2.rds.amazonaws.com"
	global    = "g.global-abc.global.rds.amazonaws.com"
	china     = "db.abc.rds.cn-north-1.amazonaws.com.cn"
	newRegion = "db.abc.xx-new-1.rds.amazonaws.com"
	sovereign = "db.abc.eusc-de-east-1.rds.amazonaws.eu"
	isolated  = "db.abc.rds.us-iso-east-1.c2s.ic.gov"
	dsql      = "abc.dsql.us-east-1.on.aws"
	redshift  = "c.abc.us-west-2.redshift.amazonaws.com"
	azure     = "x.postgres.database.azure.com"
	elsewhere = "db.example.com"
)

func store(t testing.TB) truststore.Store {
	t.Helper()
	sets, err := truststore.Read("../../ca")
	require.NoError(t, err)
	return truststore.NewStore("/home/vcap/deps/0/trust", sets)
}

func db(name, mode string, hosts ...string) binding.Binding {
	b := binding.Binding{Name: name, Hosts: hosts, Ports: make([]string, len(hosts)), WellKnown: true}
	if mode != "" {
		b.Asked = []binding.Asked{asked(mode, binding.Place{Path: "sslmode"}, binding.ByKey)}
	}
	return b
}

func asked(mode string, place binding.Place, by binding.By) binding.Asked {
	parsed, err := sslmode.Parse(mode)
	if err != nil {
		panic(err)
	}
	return binding.Asked{Mode: parsed, Place: place, By: by}
}

func decide(t testing.TB, env map[string]string, bindings ...binding.Binding) *Plan {
	t.Helper()
	plan, err := Decide(env, binding.Bound{Databases: bindings}, store(t))
	require.NoError(t, err)
	return plan
}

func TestTheRulesForTheModeInTheirOrder(t *testing.T) {
	for name, test := range map[string]struct {
		env          map[string]string
		binding      binding.Binding
		mode, source string
	}{
		"the binding's own":                                    {nil, db("db", "require", oregon), "require", "credential sslmode"},
		"the binding's own before the default":                 {map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, db("db", "disable", elsewhere), "disable", "credential sslmode"},
		"the owner's default":                                  {map[string]string{"POSTGRES_SSL_MODE": "VERIFY_CA"}, db("db", "", elsewhere), "verify-ca", "POSTGRES_SSL_MODE"},
		"the owner's default before RDS's":                     {map[string]string{"POSTGRES_SSL_MODE": "require"}, db("db", "", oregon), "require", "POSTGRES_SSL_MODE"},
		"RDS, whose CA is in this buildpack":                   {nil, db("db", "", oregon), "verify-full", "the default for a host whose CA is known"},
		"RDS Proxy":                                            {nil, db("db", "", proxy), "verify-full", "the default for a host whose CA is known"},
		"RDS without a region":                                 {nil, db("db", "", global), "verify-full", "the default for a host whose CA is known"},
		"RDS and a replica in another region":                  {nil, db("db", "", oregon, frankfurt), "verify-full", "the default for a host whose CA is known"},
		"RDS and a replica elsewhere":                          {nil, db("db", "", oregon, elsewhere), "", ""},
		"RDS of a region that is not in this buildpack":        {nil, db("db", "", newRegion), "", ""},
		"RDS of a partition that isn't in this buildpack":      {nil, db("db", "", sovereign), "", ""},
		"RDS in China":                                         {nil, db("db", "", china), "verify-full", "the default for a host whose CA is known"},
		"Aurora DSQL":                                          {nil, db("db", "", dsql), "verify-full", "the default for a host whose CA is known"},
		"Redshift":                                             {nil, db("db", "", redshift), "verify-full", "the default for a host whose CA is known"},
		"Redshift of a partition that isn't in this buildpack": {nil, db("db", "", "c.abc.eusc-de-east-1.redshift.amazonaws.eu"), "", ""},
		"Azure":        {nil, db("db", "", azure), "verify-full", "the default for a host whose CA is known"},
		"another host": {nil, db("db", "", elsewhere), "", ""},
		"no host":      {nil, db("db", ""), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, test.env, test.binding)
			assert.Equal(t, test.mode, plan.Mode.String())
			if test.source != "" {
				assert.Equal(t, test.source, plan.Databases[0].Source.String())
			}
		})
	}
}

func TestAnOwnersDefaultThatIsNoModeIsAnError(t *testing.T) {
	_, err := Decide(map[string]string{"POSTGRES_SSL_MODE": "on"}, binding.Bound{}, store(t))
	assert.ErrorContains(t, err, `POSTGRES_SSL_MODE: sslmode (not shown, it does not look like a mode) is not one of`)
}

func TestWhereAGuessedDatabaseAsksForWhatTheOwnerAsksForItsOwnWordCounts(t *testing.T) {
	guessed := db("a", "require", elsewhere)
	guessed.Guessed = true
	plan := decide(t, map[string]string{"POSTGRES_SSL_MODE": "require"}, guessed)
	assert.False(t, plan.Databases[0].Source.IsOwners())
	assert.Empty(t, plan.Warnings)
	plan = decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, guessed)
	assert.True(t, plan.Databases[0].Source.IsOwners(), "the control")
	assert.Len(t, plan.Warnings, 1)
}

func TestAWrongPOSTGRES_SSL_VERIFYIsAnErrorAndTheFirstReasonToStopIsTheOneThatIsSaid(t *testing.T) {
	decide := func(mode, verify string) error {
		_, err := Decide(map[string]string{"POSTGRES_SSL_MODE": mode, "POSTGRES_SSL_VERIFY": verify}, binding.Bound{}, store(t))
		return err
	}
	require.NoError(t, decide("", ""))
	require.NoError(t, decide("", "start"))
	assert.EqualError(t, decide("", "yes"), "POSTGRES_SSL_VERIFY has only one valid value, start: set it to that, or unset it")
	assert.ErrorContains(t, decide("on", "yes"), "POSTGRES_SSL_MODE: ")
}

func TestWhichOfSeveralDatabasesDecides(t *testing.T) {
	tagged := db("console_db", "verify-full", oregon)
	tagged.Tags = []string{"stratos"}
	other := db("audit_db", "require", elsewhere)
	for name, test := range map[string]struct {
		env      map[string]string
		bindings []binding.Binding
		mode     string
		wrong    string
	}{
		"the one that the owner names":       {map[string]string{"POSTGRES_SSL_SERVICE": "audit_db"}, []binding.Binding{other, tagged}, "require", ""},
		"else the one tagged stratos":        {nil, []binding.Binding{other, tagged}, "verify-full", ""},
		"else they agree":                    {nil, []binding.Binding{db("a", "require", elsewhere), db("b", "require", oregon)}, "require", ""},
		"else it is an error":                {nil, []binding.Binding{db("a", "require", elsewhere), db("b", "", oregon)}, "", "the bound databases ask for different things: a (require), b (verify-full); set POSTGRES_SSL_SERVICE to the name of the one that decides, tag it stratos, or give each its own mode with POSTGRES_SSL_TUNNEL=yes"},
		"no mode is not the same as one":     {nil, []binding.Binding{db("a", "", elsewhere), db("b", "", oregon)}, "", "the bound databases ask for different things: a (no mode), b (verify-full); set POSTGRES_SSL_SERVICE to the name of the one that decides, tag it stratos, or give each its own mode with POSTGRES_SSL_TUNNEL=yes"},
		"two tagged stratos must agree":      {nil, []binding.Binding{tagged, {Name: "z", Tags: []string{"stratos"}, Hosts: []string{oregon}, Asked: []binding.Asked{asked("require", binding.Place{Path: "sslmode"}, binding.ByKey)}}}, "", "console_db (verify-full), z (require)"},
		"a name that nothing has":            {map[string]string{"POSTGRES_SSL_SERVICE": "nobody"}, []binding.Binding{other, tagged}, "", "POSTGRES_SSL_SERVICE names no bound Postgres database; bound are: audit_db (require), console_db (verify-full)"},
		"a name, but nothing is bound":       {map[string]string{"POSTGRES_SSL_SERVICE": "nobody"}, nil, "", "POSTGRES_SSL_SERVICE names no bound Postgres database; bound are: none"},
		"Stratos looks for the tag as it is": {nil, []binding.Binding{db("a", "require", elsewhere), {Name: "b", Tags: []string{"Stratos"}, Hosts: []string{oregon}}}, "", "ask for different things"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Decide(test.env, binding.Bound{Databases: test.bindings}, store(t))
			if test.wrong != "" {
				require.ErrorContains(t, err, test.wrong)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.mode, plan.Mode.String())
		})
	}
}

func TestAnOwnersModeThatIsWeakerGetsAWarningThatNamesBoth(t *testing.T) {
	plan := decide(t, map[string]string{"DB_SSL_MODE": "require", "PGSSLMODE": "verify-full"}, db("console_db", "verify-ca", oregon))
	assert.Equal(t, []string{"DB_SSL_MODE=require is set by the app's owner, and stays; it is weaker than verify-ca, which console_db asks for"}, plan.Warnings)
	plan = decide(t, map[string]string{"PGSSLMODE": "no-verify"}, db("console_db", "verify-ca", oregon))
	assert.Equal(t, []string{"PGSSLMODE=no-verify is set by the app's owner, and stays; it is weaker than verify-ca, which console_db asks for"}, plan.Warnings)
	plan = decide(t, map[string]string{"PGSSLMODE": "verifyfulll"}, db("console_db", "prefer", oregon))
	require.Len(t, plan.Warnings, 1)
	assert.Contains(t, plan.Warnings[0], `PGSSLMODE, set by the app's owner: sslmode "verifyfulll" is not one of`)
}

func TestWhomToTrust(t *testing.T) {
	own := db("db", "verify-full", oregon)
	own.CA = binding.Credential{Place: binding.Place{Path: "cacrt"}, Value: caPEM(t)}
	for name, test := range map[string]struct {
		binding  binding.Binding
		sets     []string
		everyone bool
		own      int
		warning  string
	}{
		"its own CA, whatever the host is":          {own, nil, false, 1, ""},
		"RDS of a known region":                     {db("db", "", oregon), []string{"us-west-2"}, false, 0, ""},
		"GovCloud":                                  {db("db", "", gov), []string{"us-gov-west-1"}, false, 0, ""},
		"RDS Proxy":                                 {db("db", "", proxy), []string{"us-west-2", "amazon-trust"}, false, 0, ""},
		"no region in the name":                     {db("db", "", global), []string{"aws"}, false, 0, ""},
		"a region that is not in this buildpack":    {db("db", "", newRegion), []string{"aws"}, false, 0, "db: region xx-new-1 is not in this buildpack, so all of aws is trusted"},
		"a partition that is not in this buildpack": {db("db", "", sovereign), nil, true, 0, "db: " + sovereign + " is RDS of aws-eusc, whose CAs are not in this buildpack; bind its CA (in a service tagged postgres-ssl-ca, or as sslrootcert) or take a newer version of this buildpack; a platform team puts the CA into ca/extra"},
		"an isolated partition":                     {db("db", "", isolated), nil, true, 0, "RDS of aws-iso, whose CAs are not in this buildpack"},
		"China":                                     {db("db", "", china), []string{"cn-north-1"}, false, 0, ""},
		"a proxy in China":                          {db("db", "", "p.proxy-abc.rds.cn-north-1.amazonaws.com.cn"), []string{"cn-north-1", "amazon-trust"}, false, 0, ""},
		"a proxy in a region that is not in this buildpack": {db("db", "", "p.proxy-abc.xx-new-1.rds.amazonaws.com"), []string{"aws", "amazon-trust"}, false, 0, ""},
		"Aurora DSQL":                       {db("db", "", dsql), []string{"amazon-trust"}, false, 0, ""},
		"Redshift":                          {db("db", "", redshift), []string{"amazon-trust"}, false, 0, ""},
		"Redshift in China":                 {db("db", "", "c.abc.cn-north-1.redshift.amazonaws.com.cn"), []string{"amazon-trust"}, false, 0, ""},
		"Azure":                             {db("db", "", azure), nil, true, 0, ""},
		"another host":                      {db("db", "", elsewhere), []string{"amazon-trust", "aws", "aws-cn", "aws-us-gov"}, true, 0, ""},
		"no host":                           {db("db", ""), []string{"amazon-trust", "aws", "aws-cn", "aws-us-gov"}, true, 0, ""},
		"a replica in another region":       {db("db", "", oregon, frankfurt), []string{"us-west-2", "eu-central-1"}, false, 0, ""},
		"a replica elsewhere":               {db("db", "", oregon, elsewhere), []string{"amazon-trust", "aws", "aws-cn", "aws-us-gov"}, true, 0, ""},
		"the seed's host, which RDS is not": {db("db", "", "something.xyx.us-west-2.rds.amazon.com"), []string{"amazon-trust", "aws", "aws-cn", "aws-us-gov"}, true, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, nil, test.binding)
			trust := plan.Databases[0].Trust
			assert.Equal(t, test.sets, trust.Sets)
			assert.Equal(t, test.everyone, trust.Everyone)
			assert.Len(t, trust.Own, test.own)
			if test.warning == "" {
				assert.Empty(t, plan.Warnings)
			} else {
				require.Len(t, plan.Warnings, 1)
				assert.Contains(t, plan.Warnings[0], test.warning)
				assert.Equal(t, plan.Warnings, plan.Downgrades, "a database may be bound after staging, so each start says it")
			}
		})
	}
}

func TestOneFileHoldsTheCAsOfAllBoundDatabases(t *testing.T) {
	own := db("c", "verify-full", elsewhere)
	own.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: caPEM(t)}
	plan := decide(t, nil, db("a", "verify-full", oregon), db("b", "verify-full", frankfurt), own)
	assert.Empty(t, plan.TrustAll().OneSet(), "no file in this buildpack has just these")
	names := trusts(t, store(t), plan.TrustAll())
	assert.Len(t, names, 3+3+1)
	assert.Contains(t, strings.Join(names, ","), "us-west-2")
	assert.Contains(t, strings.Join(names, ","), "eu-central-1")
	assert.Contains(t, strings.Join(names, ","), "Test CA")
}

func TestABadCAOrClientCertificateIsAnErrorThatNamesServiceAndKey(t *testing.T) {
	cert, key := clientPair(t)
	_, otherKey := clientPair(t)
	for name, test := range map[string]struct {
		ca, cert, key binding.Credential
		want          string
	}{
		"a CA that is none":        {ca: binding.Credential{Place: binding.Place{Path: "cacrt"}, Value: "s3cr3t"}, want: "db: credential cacrt: is neither PEM nor base64 of PEM"},
		"a key, no certificate":    {key: key, want: "db: credential sslkey is a client key, but its certificate is missing: add sslcert"},
		"a key of somebody else":   {cert: cert, key: otherKey, want: "db: credentials sslcert and sslkey are no client certificate and its key in PEM"},
		"a certificate that is no": {cert: binding.Credential{Place: binding.Place{Path: "sslcert"}, Value: "s3cr3t"}, key: key, want: "db: credentials sslcert and sslkey are no client certificate and its key in PEM"},
		"a key that is none":       {cert: cert, key: binding.Credential{Place: binding.Place{Path: "sslkey"}, Value: "s3cr3t"}, want: "db: credentials sslcert and sslkey are no client certificate and its key in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			b := db("db", "verify-full", oregon)
			b.CA, b.ClientCert, b.ClientKey = test.ca, test.cert, test.key
			_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{b}}, store(t))
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "s3cr3t")
			assert.NotContains(t, err.Error(), "-----")
		})
	}
}

func TestWhatWasCopiedCarelesslyIsRepaired(t *testing.T) {
	b := db("db", "verify-full", elsewhere)
	b.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: binding.Secret(strings.ReplaceAll(string(caPEM(t)), "\n", `\n`))}
	b.ClientCert, b.ClientKey = clientPair(t)
	b.ClientKey.Value = binding.Secret(strings.ReplaceAll(string(b.ClientKey.Value), "\n", `\n`))
	plan := decide(t, nil, b)
	assert.Len(t, plan.Databases[0].Trust.Own, 1)
	_, key := plan.ClientCertificate()
	assert.NotContains(t, string(key), `\n`)
}

func TestDatabasesWithDifferentClientCertificatesNeedTheOwnersChoice(t *testing.T) {
	a, b := db("a", "require", elsewhere), db("b", "require", elsewhere)
	a.ClientCert, a.ClientKey = clientPair(t)
	_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{a, b}}, store(t))
	require.ErrorContains(t, err, "a (require with a client certificate), b (require)")
	plan := decide(t, map[string]string{"POSTGRES_SSL_SERVICE": "a"}, a, b)
	cert, _ := plan.ClientCertificate()
	assert.Equal(t, strings.TrimSpace(string(a.ClientCert.Value)), strings.TrimSpace(string(cert)))
}

// caPEM returns a CA certificate as credentials hold it.
func caPEM(t testing.TB) binding.Secret {
	t.Helper()
	return binding.Secret(pgtest.NewCA(t, "Test CA").PEM)
}

func clientPair(t testing.TB) (cert, key binding.Credential) {
	t.Helper()
	pair := pgtest.NewCA(t, "Test CA").Issue(t, []string{"client"})
	return binding.Credential{Place: binding.Place{Path: "sslcert"}, Value: binding.Secret(pair.CertPEM)},
		binding.Credential{Place: binding.Place{Path: "sslkey"}, Value: binding.Secret(pair.KeyPEM)}
}
