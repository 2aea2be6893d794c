package launch

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
)

var (
	bySetting = Carried{Why: "config/database.js:12 sets ssl itself", Setting: true}
	byDriver  = Carried{Why: "slonik 47.0.0 reads no variable"}
)

const goes = "the tunnel carries a (verify-full), if the app takes the host from its binding: config/database.js:12 sets ssl itself (POSTGRES_SSL_TUNNEL=no to refuse)"

func TestWhatGoesThroughTheTunnelByItself(t *testing.T) {
	direct := db("a", "verify-full", oregon)
	direct.Direct = "channel_binding=require"
	inferred := db("a", "", oregon)
	const stays = "a may get less than verify-full: config/database.js:12 sets ssl itself; it does not go through the tunnel by itself, since "
	const yes = "; POSTGRES_SSL_TUNNEL=yes lets it"
	against := bySetting
	against.Against = "global-bundle.pem has CAs of the app's own"
	for name, test := range map[string]struct {
		env     map[string]string
		bound   binding.Binding
		carried Carried
		through bool
		says    []string
	}{
		"a setting":                     {nil, db("a", "verify-full", oregon), bySetting, true, nil},
		"verify-ca":                     {nil, db("a", "verify-ca", elsewhere), bySetting, true, nil},
		"a service named DATABASE_URL":  {nil, db("DATABASE_URL", "verify-full", oregon), bySetting, true, nil},
		"by POSTGRES_SSL_MODE":          {map[string]string{"POSTGRES_SSL_MODE": "verify-full"}, inferred, bySetting, true, nil},
		"by PGSSLMODE":                  {map[string]string{"PGSSLMODE": "verify-full"}, inferred, bySetting, true, nil},
		"nothing was seen":              {nil, db("a", "verify-full", oregon), Carried{Against: "x"}, false, nil},
		"the owner asked":               {through("yes"), db("a", "verify-full", oregon), bySetting, true, nil},
		"the owner refuses":             {through("no"), db("a", "verify-full", oregon), bySetting, false, []string{"a may get less than verify-full: config/database.js:12 sets ssl itself, and POSTGRES_SSL_TUNNEL=no refuses the tunnel"}},
		"the owner refuses what is not": {through("no"), db("a", "verify-full", oregon), Carried{}, false, nil},
		"the mode is inferred":          {nil, inferred, bySetting, false, []string{stays + "its mode is not written, but the default for a host whose CA is known" + yes}},
		"require": {nil, db("a", "require", oregon), bySetting, false,
			[]string{"a may get less than require: config/database.js:12 sets ssl itself; it does not go through the tunnel by itself, since sslmode require does not verify" + yes}},
		"the owner refuses what would not be": {through("no"), db("a", "require", oregon), bySetting, false, nil},
		"no host":                             {nil, db("a", "verify-full"), bySetting, false, nil},
		"no mode that encrypts":               {nil, db("a", "prefer", oregon), bySetting, false, nil},
		"require, which a launch has set": {map[string]string{"PGSSLMODE": "require"}, db("a", "require", oregon), bySetting, false,
			[]string{"a may get less than require: config/database.js:12 sets ssl itself; it does not go through the tunnel by itself, since sslmode require does not verify" + yes}},
		"the owner's weaker one":            {map[string]string{"PGSSLMODE": "require"}, db("a", "verify-full", oregon), bySetting, false, []string{stays + "PGSSLMODE is set to less" + yes}},
		"the owner's CA":                    {map[string]string{"PGSSLROOTCERT": "/app/ca.pem"}, db("a", "verify-full", oregon), bySetting, false, []string{stays + "PGSSLROOTCERT is the app's own" + yes}},
		"Node's":                            {map[string]string{"NODE_EXTRA_CA_CERTS": "ca.pem"}, db("a", "verify-full", oregon), bySetting, false, []string{stays + "NODE_EXTRA_CA_CERTS is the app's own" + yes}},
		"that of an earlier script of ours": {map[string]string{"PGSSLROOTCERT": "/home/vcap/.postgres-ssl/root-1.pem"}, db("a", "verify-full", oregon), bySetting, true, nil},
		"a binding for direct connections":  {nil, direct, bySetting, false, []string{stays + "the credentials ask for channel_binding=require" + yes}},
		"the app's files":                   {nil, db("a", "verify-full", oregon), against, false, []string{stays + "global-bundle.pem has CAs of the app's own" + yes}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, test.env, test.bound)
			before := len(plan.Downgrades)
			plan.Carry(test.carried)
			assert.Equal(t, test.through, len(tunnelled(plan)) == 1)
			line, byItself := plan.DescribeTunnel()
			assert.Equal(t, test.through && test.env[tunnelVariable] == "", byItself, "each start says it")
			if byItself {
				db := plan.Databases[0]
				assert.Equal(t, strings.Replace(goes, "a (verify-full)", db.Title()+" ("+db.Mode.String()+")", 1), line)
			}
			assert.ElementsMatch(t, test.says, plan.Downgrades[before:], "each start says it")
			assert.Subset(t, plan.Warnings, test.says, "and staging")
		})
	}
}

func TestWhereTheTunnelCannotStandOnlyASettingStopsTheApp(t *testing.T) {
	wrong := errors.New("a: the port is below 1024")
	plan := decide(t, nil, db("a", "verify-full", oregon))
	assert.Equal(t, wrong, plan.Forgo(wrong), "the owner asked for it")

	plan.Carry(bySetting)
	assert.EqualError(t, plan.Forgo(wrong), "a: the port is below 1024; config/database.js:12 sets ssl itself, so the app needs the tunnel (POSTGRES_SSL_TUNNEL=no to refuse it)")

	plan = decide(t, nil, db("a", "verify-full", oregon))
	plan.Carry(byDriver)
	require.Len(t, tunnelled(plan), 1)
	require.NoError(t, plan.Forgo(wrong))
	assert.Empty(t, tunnelled(plan))
	assert.Equal(t, []string{"the app starts without the tunnel, and connects as it does by itself, maybe in plain text, since slonik 47.0.0 reads no variable; what is wrong: a: the port is below 1024"}, plan.Downgrades)
}
