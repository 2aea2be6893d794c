package launch

import (
	"crypto/x509"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// withExtra returns a trust store with a company's CA in ca/extra.
func withExtra(t testing.TB) truststore.Store {
	t.Helper()
	sets, err := truststore.Read("../../ca")
	require.NoError(t, err)
	company, err := truststore.ParseCredential(string(caPEM(t)))
	require.NoError(t, err)
	sets[truststore.Extra] = company
	return truststore.NewStore("/home/vcap/deps/0/trust", sets)
}

// trusts returns the names of the CAs of a trust, without those of the stack and the platform.
func trusts(t testing.TB, store truststore.Store, trust Trust) (names []string) {
	t.Helper()
	certs, err := store.Certificates(trust.Sets...)
	require.NoError(t, err)
	for _, c := range slices.Concat(trust.Own, certs) {
		names = append(names, truststore.Name(c.Subject))
	}
	return names
}

func TestACompanysCAIsTrustedWithEveryoneButNotForRDS(t *testing.T) {
	for host, trusted := range map[string]bool{elsewhere: true, oregon: false} {
		for name, store := range map[string]truststore.Store{"in this buildpack": withExtra(t), "not there": store(t)} {
			plan, err := Decide(nil, binding.Bound{Databases: []binding.Binding{db("db", "verify-full", host)}}, store)
			require.NoError(t, err)
			names := trusts(t, store, plan.Databases[0].Trust)
			if trusted && name == "in this buildpack" {
				assert.Contains(t, names, "Test CA", host)
			} else {
				assert.NotContains(t, names, "Test CA", "%s, %s", host, name)
			}
		}
	}
}

func TestOnlyTheFileOfOneSetIsReadyInTheDroplet(t *testing.T) {
	withOwn := db("db", "verify-full", oregon)
	withOwn.MoreCAs = []binding.Credential{{Place: binding.Place{Path: "tls.bundle"}, Value: caPEM(t)}}
	onlyOwn := db("db", "verify-full", elsewhere)
	onlyOwn.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: caPEM(t)}
	for name, test := range map[string]struct {
		bindings []binding.Binding
		want     string
	}{
		"one region":                    {[]binding.Binding{db("db", "verify-full", oregon)}, "us-west-2"},
		"two databases in it":           {[]binding.Binding{db("a", "verify-full", oregon), db("b", "verify-full", oregon)}, "us-west-2"},
		"two regions":                   {[]binding.Binding{db("a", "verify-full", oregon), db("b", "verify-full", frankfurt)}, ""},
		"a region and a CA of its own":  {[]binding.Binding{withOwn}, ""},
		"a CA of its own":               {[]binding.Binding{onlyOwn}, ""},
		"everyone":                      {[]binding.Binding{db("db", "verify-full", elsewhere)}, ""},
		"one region, and no mode in it": {[]binding.Binding{db("db", "disable", oregon)}, "us-west-2"},
		"nothing bound":                 {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, decide(t, nil, test.bindings...).TrustAll().OneSet())
		})
	}
	oneSet, err := Decide(nil, binding.Bound{Databases: []binding.Binding{db("db", "verify-full", elsewhere)}},
		truststore.NewStore("/trust", truststore.Sets{"aws": nil}))
	require.NoError(t, err)
	assert.Empty(t, oneSet.TrustAll().OneSet(), "everyone, though the buildpack has only one set")
}

func TestTheStoresBringAPlatformTeamsCAs(t *testing.T) {
	plan, err := Decide(nil, binding.Bound{Databases: []binding.Binding{db("db", "verify-full", oregon)}}, withExtra(t))
	require.NoError(t, err)
	all := plan.TrustAll()
	with := plan.TrustStores(all)
	assert.Equal(t, []string{"us-west-2", truststore.Extra}, with.Sets)
	assert.True(t, with.Everyone)
	assert.Equal(t, with, plan.TrustStores(with), "once")
	assert.Equal(t, []string{"us-west-2"}, all.Sets, "the trust itself stays as it was")
	assert.Equal(t, []string{"us-west-2"}, decide(t, nil, db("db", "verify-full", oregon)).TrustStores(all).Sets, "the control: without ca/extra")
}

func TestTrustIsEmptyOnlyWhereNobodyIsTrusted(t *testing.T) {
	assert.True(t, Trust{Why: "x"}.Empty())
	for _, trust := range []Trust{{Sets: []string{"aws"}}, {Own: make([]*x509.Certificate, 1)}, {Everyone: true}} {
		assert.False(t, trust.Empty(), trust)
	}
}

func TestTheOwnersHostsAreTrustedWhereNothingIsBound(t *testing.T) {
	for name, test := range map[string]struct {
		env   map[string]string
		bound []binding.Binding
		want  []string
	}{
		"a mode for drivers":     {map[string]string{"PGSSLMODE": "verify-full", "DB_HOST": oregon}, nil, []string{"us-west-2"}},
		"a mode for Stratos":     {map[string]string{"DB_SSL_MODE": "verify-ca", "DB_HOST": oregon + ":5432"}, nil, []string{"us-west-2"}},
		"in a string":            {map[string]string{"PGSSLMODE": "verify-full", "URL": "postgres://u:p@" + oregon + "/d"}, nil, []string{"us-west-2"}},
		"nothing verifies":       {map[string]string{"PGSSLMODE": "require", "DB_HOST": oregon}, nil, nil},
		"something is bound":     {map[string]string{"PGSSLMODE": "verify-full", "DB_HOST": frankfurt}, []binding.Binding{db("db", "", oregon)}, []string{"us-west-2"}},
		"the host is no cloud's": {map[string]string{"PGSSLMODE": "verify-full", "DB_HOST": elsewhere}, nil, nil},
	} {
		assert.Equal(t, test.want, decide(t, test.env, test.bound...).TrustAll().Sets, name)
	}
}

func TestAModeThatAnotherDatabaseOwesToTheOwnersDefaultRaisesNoOthers(t *testing.T) {
	tagged, other := db("console_db", "require", elsewhere), says(key("require"), uri("disable"))
	tagged.Tags = []string{"stratos"}
	plan := decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, tagged, other)
	assert.Equal(t, sslmode.VerifyFull, plan.Databases[1].Mode, "the default settles the contradiction")
	assert.Equal(t, sslmode.Require, plan.Mode)
	assert.Len(t, plan.Downgrades, 1, "and the log says what is lost")
}

func TestAnOwnersModeAsStrictAsTheBindingGetsNoWarning(t *testing.T) {
	for _, mode := range []string{"verify-ca", "verify-full"} {
		assert.Empty(t, decide(t, map[string]string{"PGSSLMODE": mode, "DB_SSL_MODE": mode}, db("db", "verify-ca", oregon)).Warnings, mode)
	}
}
