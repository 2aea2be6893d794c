package launch

import (
	"os"
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
	company, _, err := truststore.ParseCredential(string(caPEM(t)))
	require.NoError(t, err)
	sets[truststore.Extra] = company
	return truststore.NewStore("/home/vcap/deps/0/trust", sets)
}

func TestACompanysCAIsTrustedWithEveryoneButNotForRDS(t *testing.T) {
	for host, trusted := range map[string]bool{elsewhere: true, oregon: false} {
		for name, store := range map[string]truststore.Store{"on board": withExtra(t), "not on board": store(t)} {
			plan, err := Decide(nil, binding.Found{Databases: []binding.Binding{db("db", "verify-full", host)}}, store)
			require.NoError(t, err)
			certs, err := plan.Certificates(plan.Databases[0].Trust)
			require.NoError(t, err)
			var names []string
			for _, c := range certs {
				names = append(names, truststore.CommonName(c))
			}
			if trusted && name == "on board" {
				assert.Contains(t, names, "Test CA", host)
			} else {
				assert.NotContains(t, names, "Test CA", "%s, %s", host, name)
			}
			pem, err := plan.PEM(plan.Databases[0].Trust)
			require.NoError(t, err)
			assert.Equal(t, string(truststore.EncodePEM(certs)), string(pem), "one text holds the same")
		}
	}
}

func TestADamagedTrustStoreInTheDropletIsAnError(t *testing.T) {
	dir := t.TempDir()
	sets, err := truststore.Read("../../ca")
	require.NoError(t, err)
	require.NoError(t, truststore.Write(dir, sets))
	store, err := truststore.Open(dir)
	require.NoError(t, err)
	plan, err := Decide(nil, binding.Found{Databases: []binding.Binding{db("db", "verify-full", oregon)}}, store)
	require.NoError(t, err)
	trust := plan.Databases[0].Trust
	text, err := plan.PEM(trust)
	require.NoError(t, err, "the control")
	assert.Equal(t, string(truststore.EncodePEM(sets["us-west-2"])), string(text))

	require.NoError(t, os.Remove(store.Bundle("us-west-2")))
	_, err = plan.PEM(trust)
	assert.ErrorContains(t, err, "us-west-2.pem")
	_, err = plan.Certificates(trust)
	assert.ErrorContains(t, err, "us-west-2.pem")
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
		"one region":                    {[]binding.Binding{db("db", "verify-full", oregon)}, "/home/vcap/deps/0/trust/us-west-2.pem"},
		"two databases in it":           {[]binding.Binding{db("a", "verify-full", oregon), db("b", "verify-full", oregon)}, "/home/vcap/deps/0/trust/us-west-2.pem"},
		"two regions":                   {[]binding.Binding{db("a", "verify-full", oregon), db("b", "verify-full", frankfurt)}, ""},
		"a region and a CA of its own":  {[]binding.Binding{withOwn}, ""},
		"a CA of its own":               {[]binding.Binding{onlyOwn}, ""},
		"everyone":                      {[]binding.Binding{db("db", "verify-full", elsewhere)}, ""},
		"one region, and no mode in it": {[]binding.Binding{db("db", "disable", oregon)}, "/home/vcap/deps/0/trust/us-west-2.pem"},
		"nothing bound":                 {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, decide(t, nil, test.bindings...).ReadyBundle())
		})
	}
	oneSet, err := Decide(nil, binding.Found{Databases: []binding.Binding{db("db", "verify-full", elsewhere)}},
		truststore.NewStore("/trust", truststore.Sets{"aws": nil}))
	require.NoError(t, err)
	assert.Empty(t, oneSet.ReadyBundle(), "everyone, though one set alone is on board")
}

func TestAModeThatAnotherDatabaseOwesToTheOwnersDefaultRaisesNoOthers(t *testing.T) {
	tagged, other := db("console_db", "require", elsewhere), says(key("require"), uri("disable"))
	tagged.Tags = []string{"stratos"}
	plan := decide(t, map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, tagged, other)
	assert.Equal(t, sslmode.VerifyFull, plan.Databases[1].Mode, "the default settles the contradiction")
	assert.Equal(t, sslmode.Require, plan.Mode)
	assert.Len(t, plan.Losses, 1, "and the log says what is lost")
}

func TestAnOwnersModeAsStrictAsTheBindingGetsNoWarning(t *testing.T) {
	for _, mode := range []string{"verify-ca", "verify-full"} {
		assert.Empty(t, decide(t, map[string]string{"PGSSLMODE": mode, "DB_SSL_MODE": mode}, db("db", "verify-ca", oregon)).Warnings, mode)
	}
}
