package launch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// through returns an environment where the app's owner has set POSTGRES_SSL_TUNNEL.
func through(value string) map[string]string { return map[string]string{tunnelVariable: value} }

// tunnelled returns the titles of the databases that go through the tunnel.
func tunnelled(p *Plan) (titles []string) {
	for _, db := range p.Databases {
		if db.Tunnel {
			titles = append(titles, db.Title())
		}
	}
	return titles
}

func TestWhatGoesThroughTheTunnel(t *testing.T) {
	example := db("a", "", elsewhere)
	example.Path, example.WellKnown = "example", false
	pooler := db("a", "require", elsewhere)
	pooler.Path, pooler.WellKnown = "pooler", false
	bound := []binding.Binding{db("a", "verify-full", oregon), example, pooler, db("b", "verify-full", frankfurt)}
	for name, test := range map[string]struct {
		env      map[string]string
		through  []string
		any, all bool
	}{
		"nothing, unless the owner asks":  {nil, nil, false, false},
		"an empty variable is none":       {through(" "), nil, false, false},
		"yes: all":                        {through("yes"), []string{"a", "a (pooler)", "b"}, true, true},
		"one service, with its strings":   {through("a"), []string{"a", "a (pooler)"}, true, false},
		"several, with blanks in between": {through(" b , a "), []string{"a", "a (pooler)", "b"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, test.env, bound...)
			assert.Equal(t, test.through, tunnelled(plan))
			anyOf, all := plan.Tunnelled()
			assert.Equal(t, [2]bool{test.any, test.all}, [2]bool{anyOf, all})
		})
	}
	t.Run("an app without a database has no tunnel, and does not connect through one only", func(t *testing.T) {
		anyOf, all := decide(t, nil).Tunnelled()
		assert.Equal(t, [2]bool{false, false}, [2]bool{anyOf, all})
	})
	t.Run("a warning names what is left out", func(t *testing.T) {
		const left = "a (example) does not go through the tunnel: it needs a host, and an sslmode of require or stricter"
		plan := decide(t, through("yes"), bound...)
		assert.Contains(t, plan.Warnings, left)
		assert.Equal(t, []string{left}, plan.Downgrades, "each start says it, since the bindings may be newer than the droplet")
	})
	t.Run("a start says that there is nothing to go through it", func(t *testing.T) {
		assert.Equal(t, []string{"POSTGRES_SSL_TUNNEL=yes, but no bound service has a Postgres database: the app connects without the tunnel"},
			decide(t, through("yes")).Downgrades)
		assert.Empty(t, decide(t, nil).Downgrades)
	})
	t.Run("a service may have the name yes", func(t *testing.T) {
		assert.Equal(t, []string{"a", "yes"}, tunnelled(decide(t, through("yes"), db("a", "require", oregon), db("yes", "require", oregon))))
	})
}

func described(line string, _ bool) string { return line }

func TestStagingSaysWhatGoesThroughTheTunnel(t *testing.T) {
	bound := []binding.Binding{db("a", "verify-full", oregon), db("b", "require", elsewhere)}
	assert.Empty(t, described(decide(t, nil, bound[:1]...).DescribeTunnel()))
	assert.Contains(t, described(decide(t, through("b"), bound...).DescribeTunnel()), "the tunnel carries b (require): ")
	assert.Contains(t, described(decide(t, through("yes"), bound...).DescribeTunnel()), "the tunnel carries a (verify-full), b (require): ")
}

func TestATunnelThatMakesNoSenseStopsTheApp(t *testing.T) {
	const unknown = "POSTGRES_SSL_TUNNEL names something that is not a bound Postgres database: write yes, or names of services, separated by commas; bound are: "
	const weak = "a: POSTGRES_SSL_TUNNEL needs a host and an sslmode of require or stricter: " +
		"add them to the binding, or set POSTGRES_SSL_MODE"
	for name, test := range map[string]struct {
		value string
		bound []binding.Binding
		wrong string
	}{
		"a name that is not bound":       {"a,shop", []binding.Binding{db("a", "require", oregon)}, unknown + "a"},
		"another word for yes":           {"true", []binding.Binding{db("a", "require", oregon)}, unknown + "a"},
		"Yes":                            {"Yes", []binding.Binding{db("a", "require", oregon)}, unknown + "a"},
		"a comma too many":               {"a,", []binding.Binding{db("a", "require", oregon)}, unknown + "a"},
		"nothing is bound":               {"a", nil, unknown + "none"},
		"a database without a mode":      {"yes", []binding.Binding{db("a", "", elsewhere)}, weak},
		"a mode that may be plain text":  {"a", []binding.Binding{db("a", "prefer", elsewhere)}, weak},
		"a mode that is plain text":      {"a", []binding.Binding{db("a", "disable", elsewhere)}, weak},
		"a database without a host":      {"a", []binding.Binding{db("a", "require")}, weak},
		"a value that is a password":     {"mypass", []binding.Binding{db("a", "require", oregon)}, unknown + "a"},
		"a database whose string is not": {"a (pooler)", []binding.Binding{db("a", "require", oregon)}, unknown + "a"},
	} {
		t.Run(name, func(t *testing.T) {
			found := binding.Bound{Databases: test.bound}
			_, err := Decide(through(test.value), found, store(t))
			require.EqualError(t, err, test.wrong)

			// At staging, a later binding can still fix it.
			plan, err := Foresee(through(test.value), found, store(t))
			require.NoError(t, err)
			assert.Contains(t, plan.Warnings, test.wrong+"; as it is, the app would not start")
			assert.Empty(t, tunnelled(plan))
		})
	}
}

func TestTheOwnersDatabaseURLDoesNotGoThroughTheTunnel(t *testing.T) {
	found := binding.Bound{Databases: []binding.Binding{db("DATABASE_URL", "verify-full", oregon)}, ByOwner: true}
	plan, err := Decide(through("yes"), found, store(t))
	require.NoError(t, err)
	assert.Empty(t, tunnelled(plan))
	const stays = "POSTGRES_SSL_TUNNEL changes nothing for DATABASE_URL, which the app's owner set: the app connects as it says"
	assert.Contains(t, plan.Warnings, stays)
	assert.Equal(t, []string{stays}, plan.Downgrades, "each start says it")
	_, err = Decide(through("DATABASE_URL"), found, store(t))
	assert.ErrorContains(t, err, "bound are: none")
	plan, err = Foresee(through("DATABASE_URL"), found, store(t))
	require.NoError(t, err)
	assert.Contains(t, plan.Warnings, stays, "a staging says why none is")
}

func TestInTheTunnelEachDatabaseHasItsOwnMode(t *testing.T) {
	weak, strict := db("weak", "require", oregon), db("strict", "verify-full", elsewhere)
	modes := func(p *Plan) []string { return []string{p.Databases[0].Mode.String(), p.Databases[1].Mode.String()} }

	t.Run("control: without it they contradict each other", func(t *testing.T) {
		_, err := Decide(nil, binding.Bound{Databases: []binding.Binding{strict, weak}}, store(t))
		require.ErrorContains(t, err, "the bound databases ask for different things")
	})
	t.Run("the strictest mode is exported, for drivers that ask the tunnel for TLS", func(t *testing.T) {
		plan := decide(t, through("yes"), strict, weak)
		assert.Equal(t, []string{"verify-full", "require"}, modes(plan))
		assert.Equal(t, "verify-full", plan.Mode.String())
		assert.Empty(t, plan.Downgrades)
	})
	t.Run("a database beside the tunnel decides what is exported", func(t *testing.T) {
		plan := decide(t, through("strict"), strict, weak)
		assert.Equal(t, []string{"verify-full", "require"}, modes(plan))
		assert.Equal(t, "require", plan.Mode.String())
		assert.Equal(t, "weak", plan.Decider.Name)
		assert.Empty(t, plan.Downgrades)
	})
	t.Run("the owner may still name the one that decides", func(t *testing.T) {
		plan := decide(t, map[string]string{tunnelVariable: "yes", "POSTGRES_SSL_SERVICE": "weak"}, strict, weak)
		assert.Equal(t, "require", plan.Mode.String())
		assert.Equal(t, []string{"verify-full", "require"}, modes(plan))
	})
	t.Run("a contradiction within one binding is still one", func(t *testing.T) {
		torn := db("torn", "verify-full", oregon)
		torn.Asked = append(torn.Asked, asked("disable", binding.Place{Path: "uri", Of: "sslmode"}, binding.ByURI))
		_, err := Decide(through("yes"), binding.Bound{Databases: []binding.Binding{torn}}, store(t))
		require.ErrorContains(t, err, "asks for verify-full")
	})
	t.Run("the owner's weaker variable is for the way to the tunnel", func(t *testing.T) {
		env := map[string]string{tunnelVariable: "yes", "PGSSLMODE": "disable"}
		assert.Empty(t, decide(t, env, strict).Warnings)
		delete(env, tunnelVariable)
		assert.Len(t, decide(t, env, strict).Warnings, 1, "control: without the tunnel there is a warning")
	})
}

func TestAnAppThatTrustsTheDatabasesTrustsTheTunnel(t *testing.T) {
	plan := decide(t, through("yes"), db("a", "verify-full", oregon))
	require.NotEmpty(t, plan.TrustAll().OneSet(), "control: a file with the region's CAs exists")
	tunnel, err := truststore.ParseCredential(string(caPEM(t)))
	require.NoError(t, err)
	plan.TunnelCA = tunnel
	assert.Empty(t, plan.TrustAll().OneSet())
	assert.Equal(t, tunnel, plan.TrustAll().Own)
	t.Run("the database itself is verified by its own CAs only", func(t *testing.T) {
		assert.NotContains(t, plan.Databases[0].Trust.Own, tunnel[0])
	})
}

func TestADatabaseKnownByItsKeysAloneNeedsItsPort(t *testing.T) {
	const says = "a does not go through the tunnel: add its port to the binding"
	for port, goes := range map[string]bool{"": false, "5432": true} {
		guessed := db("a", "", oregon)
		guessed.Guessed, guessed.Ports[0] = true, port
		plan := decide(t, through("yes"), guessed)
		assert.Equal(t, goes, len(tunnelled(plan)) == 1, port)
		assert.Equal(t, !goes, slices.Contains(plan.Downgrades, says), port)
	}
	none := db("a", "")
	none.Guessed = true
	assert.Contains(t, decide(t, through("yes"), none).Downgrades, says)
}

// Two databases of a service may name one address. The tunnel verifies it by the stricter one, and by
// the narrower trust.
func TestTheStrictestDatabaseIsFirst(t *testing.T) {
	own, err := json.Marshal(string(caPEM(t)))
	require.NoError(t, err)
	const one, two = `{"uri":"postgres://u:p@a.example.com/d?sslmode=%s"}`, `{"uri":"postgres://u:p@a.example.com,b.example.com/d?sslmode=%s"%s}`
	ca := `,"ca":` + string(own)
	for name, test := range map[string]struct {
		first, second string
		decides       int
	}{
		"the mode":             {fmt.Sprintf(one, "require"), fmt.Sprintf(two, "verify-full", ""), 1},
		"the mode, first":      {fmt.Sprintf(one, "verify-full"), fmt.Sprintf(two, "require", ""), 0},
		"the trust":            {fmt.Sprintf(one, "verify-full"), fmt.Sprintf(two, "verify-full", ca), 1},
		"the trust, first":     {fmt.Sprintf(two, "verify-full", ca), fmt.Sprintf(one, "verify-full"), 0},
		"the mode comes first": {fmt.Sprintf(two, "require", ca), fmt.Sprintf(one, "verify-full"), 1},
	} {
		env := through("yes")
		env["VCAP_SERVICES"] = `{"x":[{"name":"db","credentials":{"one":` + test.first + `,"two":` + test.second + `}}]}`
		found, err := binding.Read(env)
		require.NoError(t, err)
		plan, err := Decide(env, found, store(t))
		require.NoError(t, err, name)
		r, err := plan.Redirect(env)
		require.NoError(t, err, name)
		require.Len(t, plan.Databases, 2, name)
		assert.Equal(t, test.decides, r.Endpoints[0].Database, name)
	}
}

func TestADatabaseAtAPortThatNoAppMayHaveHasNoTunnel(t *testing.T) {
	for port, says := range map[string]string{"1023": "db: the database's port 1023 is below 1024, and no app may listen there", "1024": ""} {
		env := through("yes")
		env["VCAP_SERVICES"] = `{"x":[{"name":"db","credentials":{"uri":"postgres://u:p@a.example.com:` + port + `/d?sslmode=verify-full"}}]}`
		found, err := binding.Read(env)
		require.NoError(t, err)
		plan, err := Decide(env, found, store(t))
		require.NoError(t, err)
		_, err = plan.Redirect(env)
		if says == "" {
			assert.NoError(t, err, "control")
			continue
		}
		assert.EqualError(t, err, says)
	}
}

// What Decide leaves out, and what DATABASE_URL adds or replaces, shifts no other database.
func TestTheTunnelReplacesTheHostsOfTheDatabasesThatItCarries(t *testing.T) {
	uri := func(host string) string { return `{"uri":"postgres://u:p@` + host + `:5432/d?sslmode=verify-full"}` }
	const guess = `{"host":"a.example.com","port":5432,"username":"u","password":"p","ca":"none"}`
	read := func(url string, carried Carried, credentials ...string) (*Plan, []string) {
		env := map[string]string{"DATABASE_URL": url}
		var services []string
		for i, c := range credentials {
			services = append(services, fmt.Sprintf(`{"name":"s%d","credentials":%s}`, i, c))
		}
		env["VCAP_SERVICES"] = `{"x":[` + strings.Join(services, ",") + `]}`
		found, err := binding.Read(env)
		require.NoError(t, err)
		plan, err := Decide(env, found, store(t))
		require.NoError(t, err)
		plan.Carry(carried)
		r, err := plan.Redirect(env)
		require.NoError(t, err)
		var hosts []string
		for _, e := range r.Endpoints {
			hosts = append(hosts, plan.Databases[e.Database].Name+" "+e.Host)
			assert.Contains(t, plan.Databases[e.Database].Hosts, e.Host)
		}
		return plan, hosts
	}
	_, hosts := read("", bySetting, guess, uri("b.example.com"), uri("c.example.com"))
	assert.Equal(t, []string{"s1 b.example.com", "s2 c.example.com"}, hosts)

	plan, hosts := read("postgres://u:p@h.example.com:5432/d?sslmode=verify-full", bySetting)
	assert.Empty(t, hosts)
	assert.Contains(t, plan.Downgrades, "DATABASE_URL may get less than verify-full: config/database.js:12 sets ssl itself, and no tunnel changes what the app's owner set")
}
