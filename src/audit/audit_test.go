package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

const (
	oregon    = "db.abc.us-west-2.rds.amazonaws.com"
	elsewhere = "db.example.com"
)

type credentials = map[string]any

var onBoard = sync.OnceValues(func() (truststore.Store, error) {
	sets, err := truststore.Read("../../ca")
	return truststore.NewStore("/home/vcap/deps/0/trust", sets), err
})

func store(t testing.TB) truststore.Store {
	t.Helper()
	store, err := onBoard()
	require.NoError(t, err)
	return store
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}

// read returns what cf reads in a document.
func read(from string, document []byte) cf.Answer {
	answer := cf.Answer{From: from, Err: errors.New("the answer is empty")}
	cf.Answers(from, bytes.NewReader(document), func(a cf.Answer) { answer = a })
	return answer
}

// answer returns what the platform says about an app's environment.
func answer(t testing.TB, app string, variables map[string]string, services any) cf.Answer {
	return read(app+".json", encode(t, map[string]any{
		"staging_env_json": map[string]string{}, "running_env_json": map[string]string{},
		"environment_variables": variables,
		"system_env_json":       map[string]any{"VCAP_SERVICES": services},
		"application_env_json": map[string]any{"VCAP_APPLICATION": map[string]any{
			"application_id": app, "application_name": app, "space_name": "prod", "organization_name": "acme"}},
	}))
}

// bound returns VCAP_SERVICES with user-provided services.
func bound(services map[string]credentials) any {
	var list []any
	for _, name := range slices.Sorted(maps.Keys(services)) {
		list = append(list, map[string]any{"name": name, "label": "user-provided", "credentials": services[name]})
	}
	return map[string]any{"user-provided": list}
}

// lists returns an app's own answer, with its buildpacks.
func lists(t testing.TB, app string, buildpacks ...string) cf.Answer {
	return read("", encode(t, map[string]any{"guid": app, "name": app, "lifecycle": map[string]any{
		"type": "buildpack", "data": map[string]any{"buildpacks": buildpacks}}}))
}

func of(t testing.TB, answers ...cf.Answer) Report {
	t.Helper()
	f := New(store(t))
	for _, a := range answers {
		f.Add(a)
	}
	return f.Report()
}

func TestARowSaysWhatIsAskedAndWhatIsInForce(t *testing.T) {
	const this, other = "https://github.com/cloudfoundry-community/postgres-ssl-buildpack#v0.1.0", "nodejs_buildpack"
	uri := "postgres://u:p@" + elsewhere + "/d"
	key := credentials{"uri": uri, "sslmode": "verify-full"}
	query := credentials{"uri": uri + "?sslmode=verify-full"}
	rds := credentials{"uri": "postgres://u:p@" + oregon + "/d"}
	ca := credentials{"uri": uri, "sslrootcert": pem(t)}
	type env = map[string]string
	for _, test := range []struct {
		name      string
		bound     credentials
		env       env
		buildpack string // "" for: not known
		want      string // state, asked, in force, would get
		why       string
	}{
		{"a key that nothing reads", key, nil, other, "ignored verify-full none verify-full", "no variable carries the credential sslmode"},
		{"… as far as variables say", key, nil, "", "ignored verify-full none verify-full", "no variable carries the credential sslmode"},
		{"… with this buildpack", key, nil, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"… as the platform team named it", key, nil, "postgres_ssl_buildpack", "in-force verify-full verify-full verify-full", "this buildpack"},
		{"… and a variable for libpq", key, env{"PGSSLMODE": "verify-full"}, other, "in-force verify-full verify-full verify-full", "PGSSLMODE=verify-full, set by the owner"},
		{"… and one for Stratos", key, env{"DB_SSL_MODE": "verify-full"}, other, "in-force verify-full verify-full verify-full", "DB_SSL_MODE=verify-full, set by the owner"},
		{"… and both", key, env{"DB_SSL_MODE": "verify-full", "PGSSLMODE": "verify-full"}, other, "in-force verify-full verify-full verify-full", "PGSSLMODE=verify-full, set by the owner"},
		{"… and both, one weaker", key, env{"DB_SSL_MODE": "verify-full", "PGSSLMODE": "require"}, other, "ignored verify-full require verify-full", "PGSSLMODE=require, set by the owner, is weaker"},
		{"… and the other weaker", key, env{"DB_SSL_MODE": "disable", "PGSSLMODE": "verify-full"}, other, "ignored verify-full disable verify-full", "DB_SSL_MODE=disable, set by the owner, is weaker"},
		{"… and a weaker one for libpq", key, env{"PGSSLMODE": "require"}, other, "ignored verify-full require verify-full", "PGSSLMODE=require, set by the owner, is weaker"},
		{"… a weaker one, despite this buildpack", key, env{"PGSSLMODE": "require"}, this, "ignored verify-full require verify-full", "PGSSLMODE=require, set by the owner, is weaker"},
		{"… a stricter one changes nothing", credentials{"uri": uri, "sslmode": "require"}, env{"PGSSLMODE": "verify-full"}, this, "in-force require require require", "this buildpack"},
		{"… two stricter ones are all that drivers read", credentials{"uri": uri, "sslmode": "require"}, env{"PGSSLMODE": "verify-full", "DB_SSL_MODE": "verify-full"}, this, "in-force require verify-full require", "PGSSLMODE=verify-full, set by the owner"},
		{"… and a variable that is no mode", key, env{"PGSSLMODE": "p4ssw0rd"}, this, "stops verify-full unknown stops", "would stop: PGSSLMODE, set by the app's owner: sslmode (not shown, it does not look like a mode) is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean verify-full?; set PGSSLMODE to one of the modes, or unset it"},
		{"… and a variable that Stratos does not read", key, env{"DB_SSL_MODE": "VERIFY_FULL"}, other, "ignored verify-full none verify-full", "no variable carries the credential sslmode; Stratos would not start: DB_SSL_MODE, set by the app's owner, is spelled \"VERIFY_FULL\""},
		{"… and a word that is not for Stratos", key, env{"DB_SSL_MODE": "REQUIRED"}, this, "in-force verify-full verify-full verify-full", "this buildpack; Stratos would not start: DB_SSL_MODE, set by the app's owner: sslmode \"REQUIRED\" is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean require?"},
		{"… and node-postgres's own word", key, env{"PGSSLMODE": "no-verify"}, this, "ignored verify-full require verify-full", "PGSSLMODE=no-verify, set by the owner, is weaker"},
		{"no TLS asked, and a variable that drivers do not read", credentials{"uri": uri}, env{"PGSSLMODE": "Require"}, this, "none none unknown none", "PGSSLMODE, set by the app's owner, is spelled \"Require\""},
		{"a mode in the connection string", query, nil, other, "driver verify-full unknown verify-full", "a driver that is given the connection string obeys it, others do not"},
		{"… is weaker than what the owner settled", credentials{"uri": uri + "?sslmode=require", "sslmode": "verify-full"}, env{"POSTGRES_SSL_MODE": "verify-full", "PGSSLMODE": "verify-full"}, other, "ignored verify-full require verify-full", "require in a connection string, which counts more than a variable, is weaker"},
		{"… the weaker of two", credentials{"uri": uri + "?sslmode=require", "jdbcUrl": "jdbc:postgresql://" + elsewhere + "/d?sslmode=verify-full"}, env{"POSTGRES_SSL_MODE": "verify-full", "PGSSLMODE": "verify-full"}, other, "ignored verify-full require verify-full", "require in a connection string, which counts more than a variable, is weaker"},
		{"… and a variable alike", credentials{"uri": uri + "?sslmode=require"}, env{"PGSSLMODE": "require"}, other, "in-force require require require", "PGSSLMODE=require, set by the owner"},
		{"… and a variable that is no mode", credentials{"uri": uri + "?sslmode=require"}, env{"PGSSLMODE": "Verify-Full"}, other, "stops require unknown stops", "would stop: PGSSLMODE, set by the app's owner, is spelled \"Verify-Full\"; spell it verify-full, or unset it"},
		{"… with this buildpack", query, nil, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"… in DATABASE_URL", credentials{}, env{"DATABASE_URL": uri + "?sslmode=require"}, other, "driver require unknown require", "a driver that is given the connection string obeys it, others do not"},
		{"… counts more than a variable", credentials{"uri": uri + "?sslmode=require"}, env{"PGSSLMODE": "verify-full"}, other, "in-force require require require", "require in a connection string, which counts more than a variable"},
		{"POSTGRES_SSL_MODE, which nothing reads", credentials{"uri": uri}, env{"POSTGRES_SSL_MODE": "require"}, other, "ignored require none require", "only this buildpack reads POSTGRES_SSL_MODE"},
		{"sslrootcert=system is verify-full", credentials{"uri": uri, "sslrootcert": "system"}, nil, other, "ignored verify-full none verify-full", "no variable carries the sslrootcert=system in credential sslrootcert"},
		{"RDS without a mode", rds, nil, other, "none none none verify-full", "with this buildpack, it would be given verify-full"},
		{"… in an app whose buildpacks are not known", rds, nil, "", "none none none verify-full", "with this buildpack, it would be given verify-full"},
		{"… with this buildpack", rds, nil, this, "in-force none verify-full verify-full", "this buildpack"},
		{"… and a variable", rds, env{"PGSSLMODE": "require"}, other, "in-force none require verify-full", "PGSSLMODE=require, set by the owner"},
		{"… and one that forbids TLS", rds, env{"PGSSLMODE": "disable"}, this, "none none disable verify-full", "PGSSLMODE=disable, set by the owner"},
		{"a CA and no mode", ca, nil, other, "none none none verify-ca", "with this buildpack, it would be given verify-ca"},
		{"a CA that is a file", credentials{"uri": uri, "sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}, nil, other, "none none none unknown", "its CA is a file in the container"},
		{"… and a mode", credentials{"uri": uri, "sslmode": "verify-ca", "sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}, nil, this, "in-force verify-ca verify-ca verify-ca", "this buildpack"},
		{"TLS without a mode", credentials{"uri": uri, "require_ssl": true}, nil, other, "none none none require", "with this buildpack, it would be given require"},
		{"an app's own variable", key, env{"GF_DATABASE_SSL_MODE": "verify-full"}, other, "in-force verify-full verify-full verify-full", "GF_DATABASE_SSL_MODE=verify-full, set by the owner"},
		{"… that is weaker", key, env{"GF_DATABASE_SSL_MODE": "require"}, other, "ignored verify-full require verify-full", "GF_DATABASE_SSL_MODE=require, set by the owner, is weaker"},
		{"… despite this buildpack", key, env{"CONCOURSE_POSTGRES_SSLMODE": "require"}, this, "ignored verify-full require verify-full", "CONCOURSE_POSTGRES_SSLMODE=require, set by the owner, is weaker"},
		{"… and variables that are strict enough", key, env{"DB_SSLMODE": "prefer", "PGSSLMODE": "verify-full", "DB_SSL_MODE": "verify-full"}, other, "ignored verify-full prefer verify-full", "DB_SSLMODE=prefer, set by the owner, is weaker"},
		{"… that is strict enough, with this buildpack", key, env{"GF_DATABASE_SSL_MODE": "verify-full"}, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"… and a weaker one", key, env{"GF_DATABASE_SSL_MODE": "verify-full", "CONCOURSE_POSTGRES_SSLMODE": "require", "DB_SSLMODE": "verify-full"}, other, "ignored verify-full require verify-full", "CONCOURSE_POSTGRES_SSLMODE=require, set by the owner, is weaker"},
		{"… that is a flag, and off", key, env{"KONG_PG_SSL": "off"}, this, "ignored verify-full disable verify-full", "KONG_PG_SSL=off, set by the owner, is weaker"},
		{"… in the words of Node", key, env{"DATABASE_SSL": "false"}, other, "ignored verify-full disable verify-full", "DATABASE_SSL=false, set by the owner, is weaker"},
		{"… and on, which may mean anything", key, env{"DATABASE_SSL": "true", "KONG_PG_SSL_VERIFY": "off"}, other, "ignored verify-full none verify-full", "no variable carries the credential sslmode"},
		{"a weaker string of the owner's", key, env{"DATA_SOURCE_NAME": uri + "?sslmode=require", "DB_DSN": uri + "?sslmode=prefer", "URL": uri + "?sslmode=verify-ca"}, this, "ignored verify-full prefer verify-full", "a connection string with prefer in DB_DSN, set by the owner, is weaker"},
		{"… and variables that are strict enough", key, env{"DATA_SOURCE_NAME": uri + "?sslmode=require", "PGSSLMODE": "verify-full", "DB_SSL_MODE": "verify-full"}, other, "ignored verify-full require verify-full", "a connection string with require in DATA_SOURCE_NAME, set by the owner, is weaker"},
		{"… and weaker variables", key, env{"DATA_SOURCE_NAME": uri + "?sslmode=require", "PGSSLMODE": "prefer"}, this, "ignored verify-full prefer verify-full", "PGSSLMODE=prefer, set by the owner, is weaker"},
		{"… and a variable alike", key, env{"DATA_SOURCE_NAME": uri + "?sslmode=require", "PGSSLMODE": "require"}, this, "ignored verify-full require verify-full", "PGSSLMODE=require, set by the owner, is weaker"},
		{"… for another host", key, env{"DATA_SOURCE_NAME": "postgres://u:p@other.example.com/d?sslmode=require"}, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"… of another kind of database", key, env{"MYSQL_SSL_MODE": "require", "REDIS_SSLMODE": "require", "SSL_MODE": "disable", "POSTGRES_SSL_MODE_NOTE": "require", "DB_SSLMODE": "REQUIRED", "X_DB_SSLMODE": "Require"}, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"no word about TLS", credentials{"uri": uri}, nil, other, "none none none none", "the binding names no mode; add sslmode"},
		{"… with this buildpack", credentials{"uri": uri}, nil, this, "none none none none", "the binding names no mode; add sslmode"},
		{"a mode that does not insist", credentials{"uri": uri, "sslmode": "prefer"}, nil, this, "none prefer prefer prefer", "prefer does not insist on TLS"},
		{"… and a variable that insists less", credentials{"uri": uri, "sslmode": "prefer"}, env{"DB_SSL_MODE": "disable"}, this, "none prefer disable prefer", "DB_SSL_MODE=disable, set by the owner"},
		{"… without this buildpack", credentials{"uri": uri, "sslmode": "prefer"}, nil, other, "none prefer none prefer", "prefer does not insist on TLS"},
		{"a contradiction", credentials{"uri": uri + "?sslmode=disable", "sslmode": "verify-full"}, nil, other, "stops verify-full none stops", "would stop: db: credential sslmode asks for verify-full, but sslmode in credential uri for disable; make them agree, or set POSTGRES_SSL_MODE=verify-full"},
		{"… that the owner settled", credentials{"uri": uri + "?sslmode=require", "sslmode": "verify-full"}, env{"POSTGRES_SSL_MODE": "verify-full"}, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"a contradiction with this buildpack", credentials{"uri": uri + "?sslmode=disable", "sslmode": "verify-full"}, nil, this, "stops verify-full unknown stops", "would stop: db: credential sslmode asks for verify-full, but sslmode in credential uri for disable; make them agree, or set POSTGRES_SSL_MODE=verify-full"},
		{"a mode that cannot be understood", credentials{"uri": uri, "sslmode": "verify-fu11"}, nil, other, "stops unknown none stops", "would stop: db: credential sslmode: sslmode \"verify-fu11\" is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean verify-full?"},
		{"POSTGRES_SSL_VERIFY with another value than start", key, env{"POSTGRES_SSL_VERIFY": "yes"}, other, "stops verify-full none stops", "would stop: POSTGRES_SSL_VERIFY has only one valid value, start: set it to that, or unset it"},
		{"… and start", key, env{"POSTGRES_SSL_VERIFY": "start"}, this, "in-force verify-full verify-full verify-full", "this buildpack"},
		{"POSTGRES_SSL_SERVICE that names nothing", key, env{"POSTGRES_SSL_SERVICE": "nobody"}, other, "stops verify-full none stops", "would stop: POSTGRES_SSL_SERVICE names no bound Postgres database; bound are: db (verify-full)"},
		{"a CA that is none", credentials{"uri": uri, "sslmode": "verify-full", "sslrootcert": "-----BEGIN NOTHING"}, nil, other, "stops verify-full none stops", ""},
		{"a variable in force, and yet it would stop", credentials{"uri": uri + "?sslmode=require", "sslmode": "verify-full"}, env{"PGSSLMODE": "verify-full"}, other, "stops verify-full require stops", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			services := map[string]credentials{"db": test.bound}
			if len(test.bound) == 0 {
				services = nil
			}
			answers := []cf.Answer{answer(t, "shop", test.env, bound(services))}
			if test.buildpack != "" {
				answers = append(answers, lists(t, "shop", test.buildpack, "go_buildpack"))
			}
			r := of(t, answers...)
			require.Len(t, r.Rows, 1)
			row := r.Rows[0]
			assert.Equal(t, test.want, strings.Join([]string{states[row.State], row.Asked, row.InForce, row.WouldGet}, " "))
			if test.why != "" {
				assert.Equal(t, test.why, row.Why)
			}
			assert.Equal(t, []string{"acme", "prod", "shop", "shop"}, []string{row.Organization, row.Space, row.App, row.GUID})
			assert.NotContains(t, string(encode(t, row)), "p4ssw0rd")
		})
	}
}

func pem(t testing.TB) string { return string(pgtest.NewCA(t, "Company Root").PEM) }

func TestWhatSeveralDatabasesOfAnAppGet(t *testing.T) {
	rows := func(env map[string]string, services any, buildpacks ...string) string {
		r := of(t, answer(t, "shop", env, services), lists(t, "shop", buildpacks...))
		var lines []string
		for _, row := range r.Rows {
			lines = append(lines, strings.Join([]string{row.Database, states[row.State], row.Asked, row.InForce, row.WouldGet, row.Why}, " | "))
		}
		return strings.Join(lines, "\n")
	}
	full := credentials{"host": oregon, "sslmode": "verify-full"}
	require := credentials{"host": elsewhere, "sslmode": "require"}
	two := bound(map[string]credentials{"a": full, "b": require})
	assert.Equal(t, "a, b | stops | verify-full | none | stops | would stop: the bound databases ask for different things: "+
		"a (verify-full), b (require); set POSTGRES_SSL_SERVICE to the name of the one that decides, tag it stratos, or give each its own mode with POSTGRES_SSL_TUNNEL=yes", rows(nil, two))
	decides := map[string]string{"POSTGRES_SSL_SERVICE": "b"}
	assert.Equal(t, "a | ignored | verify-full | require | require | this buildpack, but b decides\n"+
		"b | in-force | require | require | require | this buildpack", rows(decides, two, "postgres_ssl_buildpack"))

	for why, strict := range map[string]credentials{"in a key": full, "in a string": {"uri": "postgres://u:p@" + oregon + "/d?sslmode=verify-full"}} {
		unwritten := bound(map[string]credentials{"a": strict, "b": {"uri": "postgres://u:p@" + elsewhere + "/d"}})
		assert.Equal(t, "a | ignored | verify-full | none | none | this buildpack, but b decides\n"+
			"b | none | none | none | none | the binding names no mode; add sslmode", rows(decides, unwritten, "postgres_ssl_buildpack"), why)
	}
	console := map[string]any{"user-provided": []any{
		map[string]any{"name": "console", "tags": []string{"stratos"}, "credentials": credentials{"uri": "postgres://u:p@" + elsewhere + "/d"}},
		map[string]any{"name": "shift", "credentials": credentials{"uri": "postgres://u:p@c.abc.us-west-2.redshift.amazonaws.com:5439/d"}}}}
	assert.Contains(t, rows(nil, console, "postgres_ssl_buildpack"), "shift | none | none | none | none | this buildpack, but console decides")
	assert.Contains(t, rows(nil, console), "shift | none | none | none | none | with this buildpack, but console decides")

	beside := bound(map[string]credentials{"db": {"uri": "postgres://u:p@" + oregon + "/d?sslmode=verify-full", "read_uri": "postgres://u:p@r." + oregon + "/d?sslmode=require"}})
	assert.Equal(t, "db | driver | verify-full | unknown | verify-full | a driver that is given the connection string obeys it, others do not",
		rows(nil, beside), "a driver with the stricter string obeys")

	r := of(t, answer(t, "shop", decides, two), lists(t, "shop", "postgres_ssl_buildpack"))
	assert.Equal(t, [...]int{0, 1, 0, 0, 0}, r.Count, "the app counts once, for its worst")

	tunnel := map[string]string{"POSTGRES_SSL_TUNNEL": "yes", "PGSSLMODE": "disable"}
	assert.Equal(t, "b | in-force | require | require | require | this buildpack, through its tunnel\n"+
		"a | in-force | verify-full | verify-full | verify-full | this buildpack, through its tunnel", rows(tunnel, two, "postgres_ssl_buildpack"),
		"the variable is for the way to the tunnel")
	assert.Equal(t, "a | ignored | verify-full | disable | verify-full | PGSSLMODE=disable, set by the owner, is weaker\n"+
		"b | ignored | require | disable | require | PGSSLMODE=disable, set by the owner, is weaker", rows(tunnel, two), "nobody else reads the other one")

	tenants := bound(map[string]credentials{"db": {"uri": "postgres://u:p@" + elsewhere + "/d?sslmode=require",
		"tenants": []any{"postgres://u:p@t1.example.com/d?sslmode=require", "postgres://u:p@t2.example.com/d?sslmode=require"}}})
	assert.Equal(t, "db | driver | require | unknown | require | a driver that is given the connection string obeys it, others do not",
		rows(nil, tenants), "a further connection string decides nothing")

	reference := map[string]any{"postgresql": []any{map[string]any{"name": "hub", "credentials": credentials{"credhub-ref": "/c/p"}}},
		"user-provided": []any{map[string]any{"name": "db", "credentials": full}}}
	const hub = "hub | unreadable | unknown | unknown | unknown | could not be read: its credentials are in CredHub; only postgres-ssl in the app sees them"
	assert.Equal(t, "db | ignored | verify-full | none | verify-full | no variable carries the credential sslmode\n"+hub, rows(nil, reference))
	assert.Equal(t, "db | ignored | verify-full | none | verify-full | no variable carries the credential sslmode\n"+hub,
		rows(map[string]string{"POSTGRES_SSL_SERVICE": "hub"}, reference), "the one that decides may be in CredHub")
}

// What is in CredHub is never "no Postgres", unless the service itself says so.
func TestWhatIsInCredHubIsNotPassedOver(t *testing.T) {
	reference := credentials{"credhub-ref": "/c/p"}
	r := of(t, answer(t, "shop", nil, map[string]any{
		"postgresql":    []any{map[string]any{"name": "db", "credentials": reference}},
		"user-provided": []any{map[string]any{"name": "console_db", "credentials": reference}},
		"p-redis":       []any{map[string]any{"name": "cache", "credentials": reference}},
	}))
	var rows []string
	for _, row := range r.Rows {
		rows = append(rows, row.Database+" "+states[row.State]+": "+row.Why)
	}
	const hub = "could not be read: its credentials are in CredHub; only postgres-ssl in the app sees them"
	assert.Equal(t, []string{"console_db unreadable: " + hub + "; it may be a Postgres database or not", "db unreadable: " + hub}, rows)
	assert.Equal(t, []int{1, 0, 2}, []int{r.Apps, r.Postgres, r.Unread})
}

// A file in the container may exist or not. We don't look for it on this machine.
func TestATaggedCAInAFileIsNotLookedFor(t *testing.T) {
	services := map[string]any{"user-provided": []any{
		map[string]any{"name": "ca", "tags": []string{"postgres-ssl-ca"}, "credentials": credentials{"ca": "/etc/hostname"}},
		map[string]any{"name": "db", "credentials": credentials{"uri": "postgres://" + elsewhere + "/d"}},
		map[string]any{"name": "rds", "credentials": credentials{"uri": "postgres://" + oregon + "/d"}},
	}}
	r := of(t, answer(t, "shop", map[string]string{"POSTGRES_SSL_SERVICE": "rds"}, services))
	require.Len(t, r.Rows, 2)
	assert.Equal(t, "db unknown", r.Rows[0].Database+" "+r.Rows[0].WouldGet)
	assert.Equal(t, "rds unknown", r.Rows[1].Database+" "+r.Rows[1].WouldGet, "it counts for RDS too; without the file, the app does not start")
}

func TestTheWorstComesFirstAndAnAppCountsOnce(t *testing.T) {
	mode := func(mode string) any {
		return bound(map[string]credentials{"db": {"host": elsewhere, "sslmode": mode}})
	}
	r := of(t,
		answer(t, "e", map[string]string{"PGSSLMODE": "verify-full"}, mode("require")),
		answer(t, "d", nil, mode("nonsense")),
		answer(t, "c", nil, bound(map[string]credentials{"db": {"uri": "postgres://h/d"}})),
		answer(t, "b", nil, bound(map[string]credentials{"db": {"uri": "postgres://h/d?sslmode=require"}})),
		answer(t, "a", nil, bound(map[string]credentials{"x": {"host": "x.example.com", "sslmode": "require"}, "y": {"host": "y.example.com", "sslmode": "require"}})),
		answer(t, "f", nil, bound(nil)),
		read("g", []byte("<html>")),
		lists(t, "a"),
	)
	var order []string
	for _, row := range r.Rows {
		order = append(order, row.App+row.From+" "+row.Database+" "+states[row.State])
	}
	assert.Equal(t, []string{"dd.json  stops", "aa.json x ignored", "aa.json y ignored", "bb.json db driver", "cc.json db none", "ee.json db in-force", "g  unreadable"}, order)
	assert.Equal(t, Report{Rows: r.Rows, Apps: 6, Postgres: 5, Count: [...]int{1, 1, 1, 1, 1}, Unread: 1, NoList: 4}, r)
}

func TestOfTwoAnswersAboutOneAppTheLaterCounts(t *testing.T) {
	services := bound(map[string]credentials{"db": {"host": elsewhere, "sslmode": "require"}})
	r := of(t, answer(t, "shop", nil, services), lists(t, "shop", "go_buildpack"), answer(t, "shop", map[string]string{"PGSSLMODE": "require"}, services), lists(t, "shop", "postgres_ssl_buildpack"))
	require.Len(t, r.Rows, 1)
	assert.Equal(t, 1, r.Apps)
	assert.Equal(t, "in-force yes", states[r.Rows[0].State]+" "+r.Rows[0].Buildpack)
}

// No buildpack runs for a Docker image, and none of this form for a cloud-native build.
func TestAnAppWithoutBuildpacksIsPromisedNothing(t *testing.T) {
	uri := "postgres://u:p@" + elsewhere + "/d"
	for _, test := range []struct {
		bound     credentials
		env       map[string]string
		want, why string
	}{
		{credentials{"uri": "postgres://u:p@" + oregon + "/d"}, nil, "none none none none", "a docker app: no buildpack of this kind runs for it"},
		{credentials{"uri": uri, "sslrootcert": pem(t)}, nil, "none none none none", "a docker app: no buildpack of this kind runs for it"},
		{credentials{"uri": uri, "sslrootcert": "/etc/ca.pem"}, nil, "none none none none", "a docker app: no buildpack of this kind runs for it"},
		{credentials{"uri": uri, "sslmode": "verify-full"}, nil, "ignored verify-full none none", "a docker app: no buildpack of this kind runs for it"},
		{credentials{"uri": uri, "sslmode": "require"}, map[string]string{"PGSSLMODE": "require"}, "in-force require require none", "PGSSLMODE=require, set by the owner"},
		{credentials{"uri": uri + "?sslmode=disable", "sslmode": "verify-full"}, nil, "ignored verify-full none none",
			"db: credential sslmode asks for verify-full, but sslmode in credential uri for disable; make them agree, or set POSTGRES_SSL_MODE=verify-full"},
		{credentials{"uri": uri, "sslmode": "verify-fu11"}, nil, "ignored unknown none none",
			"db: credential sslmode: sslmode \"verify-fu11\" is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean verify-full?"},
	} {
		list := lists(t, "shop")
		list.Apps[0].Lifecycle.Type = "docker"
		row := of(t, answer(t, "shop", test.env, bound(map[string]credentials{"db": test.bound})), list).Rows[0]
		assert.Equal(t, test.want, strings.Join([]string{states[row.State], row.Asked, row.InForce, row.WouldGet}, " "))
		assert.Equal(t, test.why, row.Why)
		assert.Equal(t, "docker no", row.Lifecycle+" "+row.Buildpack)
	}
	row := of(t, answer(t, "shop", nil, bound(map[string]credentials{"db": {"uri": "postgres://u:p@" + oregon + "/d"}})), lists(t, "shop")).Rows[0]
	assert.Equal(t, "with this buildpack, it would be given verify-full", row.Why, "the control: it has buildpacks")
}

// A supply buildpack is no part of a Docker image or a cloud-native build.
func TestOnlyAnAppWithBuildpacksHasThisOne(t *testing.T) {
	services := bound(map[string]credentials{"db": {"host": elsewhere, "sslmode": "require"}})
	for kind, want := range map[string]string{"buildpack": "yes", "docker": "no", "cnb": "no"} {
		list := lists(t, "shop", "postgres_ssl_buildpack")
		list.Apps[0].Lifecycle.Type = kind
		assert.Equal(t, want, of(t, answer(t, "shop", nil, services), list).Rows[0].Buildpack, kind)
	}
}

// What the platform hides is one line about the app, and never "no Postgres".
func TestWhatIsHiddenBecomesOneLine(t *testing.T) {
	const hidden = "the platform does not show the bindings to this user; it takes an admin, a read-only admin or a developer of the space"
	for document, why := range map[string]string{
		`<html>`: "it is HTML, as a router or a proxy answers; ask again",
		`{"system_env_json":{"redacted_message":"[PRIVATE DATA HIDDEN]"},"environment_variables":{}}`:                         hidden,
		`{"system_env_json":{"VCAP_SERVICES_FILE_PATH":"/etc/cf-service-bindings/vcap_services"}}`:                            "the app gets its bindings in files of its container; only postgres-ssl in the app sees them",
		`{"system_env_json":{"VCAP_SERVICES":{"postgresql":[{"credentials":{"redacted_message":"[PRIVATE DATA HIDDEN]"}}]}}}`: hidden,
	} {
		r := of(t, read("a.json", []byte(document)))
		require.Len(t, r.Rows, 1, document)
		assert.Equal(t, "could not be read: "+why, r.Rows[0].Why, document)
		assert.Equal(t, []any{Unreadable, "unknown", "unknown", "unknown", "a.json"}, []any{r.Rows[0].State, r.Rows[0].Asked, r.Rows[0].InForce, r.Rows[0].WouldGet, r.Rows[0].From}, document)
		assert.Equal(t, 1, r.Unread)
	}
}

func TestAnAppInTheListIsNeverForgotten(t *testing.T) {
	const id, other = "6d4a1b4e-93ba-4ea1-b0e5-0c7e6a0ab4a1", "11111111-93ba-4ea1-b0e5-0c7e6a0ab4a1"
	list := read("", []byte(`{"pagination":{},"resources":[`+
		`{"guid":"`+id+`","name":"shop","lifecycle":{"type":"buildpack","data":{"buildpacks":[]}}},`+
		`{"guid":"`+other+`","name":"lost","lifecycle":{"type":"docker","data":{}}}]}`))
	r := of(t, list, read(id+".env.json", nil))
	require.Len(t, r.Rows, 2)
	assert.Equal(t, "shop "+id+" could not be read: the answer is empty", r.Rows[1].App+" "+r.Rows[1].GUID+" "+r.Rows[1].Why)
	assert.Equal(t, "lost "+other+" could not be read: it is in the list of apps, but there is no answer about its environment",
		r.Rows[0].App+" "+r.Rows[0].GUID+" "+r.Rows[0].Why)
}

func TestANameOfAnyLengthIsCut(t *testing.T) {
	long := strings.Repeat("ü", 1<<20)
	r := of(t, answer(t, long, nil, bound(map[string]credentials{long: {"host": elsewhere, "sslmode": "require"}})))
	assert.Less(t, len(fmt.Sprint(r.Rows)), 4096)
	assert.Equal(t, strings.Repeat("ü", 255)+"…", r.Rows[0].App)
}

func TestCuttingALongTextTakesLittleMemory(t *testing.T) {
	assert.Equal(t, "äb…", cut("äbc", 2))
	assert.Equal(t, "äbc", cut("äbc", 3))
	long := strings.Repeat("x", 30<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	assert.Equal(t, "x…", cut(long, 1))
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(60<<20), "a few copies at most")
}
