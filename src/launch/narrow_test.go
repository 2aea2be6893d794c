package launch

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

func TestOfTwoWithTheSameModeTheNarrowerTrustMakesTheMainOne(t *testing.T) {
	further := func(path, host string) binding.Binding {
		b := db("db", "", host)
		b.WellKnown, b.Path = false, path
		b.Asked = []binding.Asked{asked("verify-full", binding.Place{Path: path, Of: "sslmode"}, binding.ByString)}
		return b
	}
	own, rds, anyone := further("own", "own.example.com"), further("rds", oregon), further("anyone", elsewhere)
	own.CA = binding.Credential{Place: binding.Place{Path: "own.ca"}, Value: caPEM(t)}
	for name, bindings := range map[string][]binding.Binding{
		"its own CA before those of RDS":      {rds, own},
		"in any order":                        {own, rds},
		"and before everybody":                {anyone, rds, own},
		"and RDS before everybody":            {anyone, rds},
		"… of which the first does not count": {rds, anyone},
	} {
		t.Run(name, func(t *testing.T) {
			want := oregon
			if len(bindings) == 3 || bindings[0].Path == "own" || bindings[1].Path == "own" {
				want = "own.example.com"
			}
			assert.Equal(t, []string{want}, decide(t, nil, bindings...).Decider.Hosts)
		})
	}
}

func TestOfTwoWithTheSameTrustTheWrittenModeMakesTheMainOne(t *testing.T) {
	inferred, written := db("db", "", oregon), db("db", "verify-full", frankfurt)
	inferred.WellKnown, written.WellKnown = false, false
	assert.Equal(t, written.Hosts, decide(t, nil, inferred, written).Decider.Hosts)
	assert.Equal(t, written.Hosts, decide(t, nil, written, inferred).Decider.Hosts, "in any order")
	again := inferred
	again.Hosts = []string{frankfurt}
	assert.Equal(t, inferred.Hosts, decide(t, nil, inferred, again).Decider.Hosts, "else the first")
}

// The first of several CAs is missing, or the last, or the only one. The app must not connect with
// the rest.
func TestATaggedServicesCAThatIsNotInTheContainerStopsTheApp(t *testing.T) {
	there := binding.Credential{Place: binding.Place{Service: "company", Path: "ca"}, Value: caPEM(t)}
	missing := binding.Credential{Place: binding.Place{Service: "region", Path: "ca"}, Missing: true}
	for name, cas := range map[string][]binding.Credential{"only": {missing}, "first": {missing, there}, "last": {there, missing}} {
		t.Run(name, func(t *testing.T) {
			found := binding.Bound{Databases: []binding.Binding{db("db", "verify-full", elsewhere)}, CAs: cas}
			want := "db: region, credential ca names a file that is not in this container; put the certificate itself there, in PEM"
			_, err := Decide(nil, found, store(t))
			assert.EqualError(t, err, want)
			plan, err := Foresee(nil, found, store(t))
			require.NoError(t, err, "staging and launch have different root file systems")
			assert.Contains(t, plan.Warnings[0], "names a file that is not in this container")

			found.CAs = []binding.Credential{there, there}
			plan, err = Decide(nil, found, store(t))
			require.NoError(t, err, "the control")
			assert.Equal(t, "company, credential ca", plan.Databases[0].Trust.Why)
		})
	}
}

// From outside, nobody knows what is in a file of the app's container. The CAs of RDS do not stand for
// it: without the file, the app does not start.
func TestFromOutsideNothingStandsForACAInAFile(t *testing.T) {
	missing := binding.Credential{Place: binding.Place{Path: "ca"}, Missing: true}
	want := Trust{Place: missing.Place, Unseen: true, Why: "credential ca, a file of the app's container"}
	for _, host := range []string{oregon, elsewhere} {
		own := db("db", "verify-full", host)
		own.CA = missing
		for _, found := range []binding.Bound{{Databases: []binding.Binding{own}},
			{Databases: []binding.Binding{db("db", "verify-full", host)}, CAs: []binding.Credential{missing}}} {
			plan, err := Elsewhere(nil, found, store(t))
			require.NoError(t, err)
			assert.Equal(t, want, plan.Databases[0].Trust, host)
		}
	}
}

func TestTheFirstReplicaCountsAsOneAndALoneReplicaAsAHost(t *testing.T) {
	b := db("db", "verify-full", oregon, "replica.example.com")
	b.Replicas = 1
	trust := decide(t, nil, b).Databases[0].Trust
	assert.False(t, trust.Everyone)
	assert.Equal(t, []string{"us-west-2"}, trust.Sets)

	alone := db("db", "verify-full", "replica.example.com")
	alone.Replicas = 1
	plan := decide(t, nil, alone)
	assert.True(t, plan.Databases[0].Trust.Everyone, "nothing else says who signs its certificate")
	assert.Empty(t, plan.Warnings)
	assert.Equal(t, sslmode.VerifyFull, plan.Mode)
}

func TestStagingForeseesWhoDecidesUntilTheNamedServiceIsBound(t *testing.T) {
	tagged, other := db("console_db", "verify-full", oregon), db("audit_db", "require", elsewhere)
	tagged.Tags = []string{"stratos"}
	for name, test := range map[string]struct {
		bindings []binding.Binding
		want     sslmode.Mode
	}{
		"the tagged one": {[]binding.Binding{other, tagged}, sslmode.VerifyFull},
		"the only one":   {[]binding.Binding{other}, sslmode.Require},
		"nobody":         {nil, sslmode.None},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Foresee(map[string]string{"POSTGRES_SSL_SERVICE": "later"}, binding.Bound{Databases: test.bindings}, store(t))
			require.NoError(t, err)
			assert.Equal(t, test.want, plan.Mode)
		})
	}
}
