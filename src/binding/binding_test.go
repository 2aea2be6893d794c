package binding

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vcap makes an environment with one user-provided service.
func vcap(t testing.TB, credentials map[string]any, tags ...string) map[string]string {
	t.Helper()
	doc, err := json.Marshal(map[string]any{"user-provided": []any{map[string]any{
		"name": "db", "label": "user-provided", "tags": tags, "credentials": credentials,
	}}})
	require.NoError(t, err)
	return map[string]string{"VCAP_SERVICES": string(doc)}
}

// modes lists what a binding asks for and where: "require by credential sslmode".
func modes(b Binding) string {
	var all []string
	for _, a := range b.Asked {
		all = append(all, a.Mode.String()+" by "+a.Place.String())
	}
	return strings.Join(all, ", ")
}

func one(t testing.TB, env map[string]string) Binding {
	t.Helper()
	found, err := Read(env)
	require.NoError(t, err)
	require.Len(t, found.Databases, 1)
	return found.Databases[0]
}

// pgjdbc reads ssl as verify-full, but only if no sslmode is set. So we tell the two apart.
func TestAConnectionStringThatSaysSSLAndNoModeIsNoted(t *testing.T) {
	for query, want := range map[string]string{
		"?user=u&ssl=true&sslfactory=x": "ssl in credential jdbcUrl", "?ssl": "ssl in credential jdbcUrl", "?ssl=": "ssl in credential jdbcUrl",
		"?ssl=true&sslmode=require": "", "?ssl=false": "", "": "",
	} {
		credentials := map[string]any{"host": "h.example.com", "ssl": true, "jdbcUrl": "jdbc:postgresql://h.example.com/d" + query}
		assert.Equal(t, want, one(t, vcap(t, credentials)).SSLFlag.String(), query)
	}
	for query, want := range map[string]string{"?ssl=true": "ssl in credential uri", "?ssl=true&requiressl=1": "requiressl in credential uri", "?sslmode=require&ssl=true": ""} {
		assert.Equal(t, want, one(t, vcap(t, map[string]any{"uri": "postgres://h.example.com/d" + query})).SSLFlag.String(), query)
	}
}

func TestRealBindingsAreUnderstood(t *testing.T) {
	type seen struct {
		Name, Modes   string
		Hosts         []string
		CA, Cert, Key string
	}
	for file, want := range map[string][]seen{
		"cups-seed.json": {{Name: "console_db", Modes: "verify-ca by credential sslmode",
			Hosts: []string{"something.xyx.us-west-2.rds.amazon.com"}}},
		"cups-rds.json": {{Name: "console_db", Modes: "verify-full by credential sslmode",
			Hosts: []string{"console.c9akciq32.us-west-2.rds.amazonaws.com"}}},
		"cups-uri-query.json": {{Name: "console_db", Modes: "verify-ca by sslmode in credential uri",
			Hosts: []string{"console.c9akciq32.us-gov-west-1.rds.amazonaws.com"}}},
		"cups-nested.json":   {{Name: "db", Modes: "verify-full by sslmode in credential database.uri", Hosts: []string{"db.example.com"}}},
		"cups-conninfo.json": {{Name: "db", Modes: "verify-full by sslmode in credential dsn", Hosts: []string{"db.example.com"}}},
		"cloud-gov-aws-rds.json": {{Name: "orders-db",
			Hosts: []string{"cg-aws-broker-prod1.c9akciq32.us-gov-west-1.rds.amazonaws.com", "cg-aws-broker-prod1-replica.c9akciq32.us-gov-east-1.rds.amazonaws.com"}}},
		"csb-aws-postgresql.json": {{Name: "orders-db",
			Hosts: []string{"csb-postgresql-4a1ec6b2.c9akciq32.eu-central-1.rds.amazonaws.com"}}},
		"csb-azure-flex.json":      {{Name: "db", Modes: "require by sslmode in credential jdbcUrl", Hosts: []string{"csb-1.postgres.database.azure.com"}}},
		"csb-google-postgres.json": {{Name: "orders-db", Hosts: []string{"10.0.3.9"}, CA: "sslrootcert", Cert: "sslcert", Key: "sslkey"}},
		"a9s.json": {{Name: "db", CA: "cacrt",
			Hosts: []string{"d67-psql-master-alias.node.dc1.consul", "d67-pg-0.node.dc1.consul", "d67-pg-1.node.dc1.consul"}}},
		"tanzu-postgres.json": {{Name: "db", Hosts: []string{"q-s0.postgres-instance.x.service-instance-1.bosh"}}},
		"sap-postgresql-db.json": {{Name: "db", CA: "sslrootcert", Cert: "sslcert",
			Hosts: []string{"postgres-1.cqryblsdrbcs.us-east-1.rds.amazonaws.com"}}},
		"ibm-cloud-databases.json": {{Name: "db", Hosts: []string{"h.databases.appdomain.cloud"},
			Modes: "verify-full by sslmode in credential connection.cli.arguments[0][0], verify-full by sslmode in credential connection.cli.composed[0], " +
				"verify-full by sslmode in credential connection.postgres.composed[0], verify-full by credential connection.postgres.query_options.sslmode"}},
		"cups-pg-keys.json":           {{Name: "ledger", Modes: "verify-ca by credential PGSSLMODE", Hosts: []string{"10.20.30.40"}}},
		"ca-service-on-database.json": {{Name: "main-db", Modes: "verify-full by credential sslmode", CA: "ca", Hosts: []string{"db.example.org"}}},
		"replica-list.json": {
			{Name: "read-db", Modes: "verify-full by sslmode in credential SQL_FOLLOWERS[0]", Hosts: []string{"r1.example.org"}},
			{Name: "read-db", Modes: "verify-full by sslmode in credential SQL_FOLLOWERS[1]", Hosts: []string{"r2.example.org"}},
		},
		"cups-flags-and-mode.json": {{Name: "reports", Modes: "prefer by credential sslmode", Hosts: []string{"db.example.org"}}},
		"cups-uri-alias.json": {{Name: "audit", Hosts: []string{"db.example.org"},
			Modes: "require by ssl in credential uri, verify-full by credential sslmode"}},
		"cups-keys-only.json":    {{Name: "orders-db", Hosts: []string{"orders.c9akciq32.eu-central-1.rds.amazonaws.com"}}},
		"no-database.json":       nil,
		"cups-credhub.json":      nil,
		"credhub-reference.json": nil,
		"two-databases-one-stratos.json": {
			{Name: "audit_db", Modes: "require by credential sslmode", Hosts: []string{"audit.example.com"}},
			{Name: "console_db", Modes: "verify-full by credential sslmode", Hosts: []string{"console.cluster-c9akciq32.us-west-2.rds.amazonaws.com"}},
		},
	} {
		t.Run(file, func(t *testing.T) {
			doc, err := os.ReadFile(filepath.Join("../../fixtures/services", file))
			require.NoError(t, err)
			found, err := Read(map[string]string{"VCAP_SERVICES": string(doc)})
			require.NoError(t, err)
			var got []seen
			for _, b := range found.Databases {
				got = append(got, seen{b.Name, modes(b), b.Hosts, b.CA.Path, b.ClientCert.Path, b.ClientKey.Path})
			}
			assert.Equal(t, want, got)
			assert.Equal(t, strings.Contains(file, "credhub"), len(found.Unresolved) == 1)
		})
	}
}

func TestPortUserPasswordAndDatabaseAreReadToo(t *testing.T) {
	b := one(t, vcap(t, map[string]any{"uri": "postgres://u:p%40ss@h.example:6432/orders?sslmode=require"}))
	assert.Equal(t, []string{"6432", "orders", "u", "p@ss"}, []string{b.Ports[0], b.Database, b.Username, string(b.Password)})

	b = one(t, vcap(t, map[string]any{"uri": "postgres://u:p@h:1/a", "username": "me", "password": "mine", "port": 5433, "dbname": "b", "hostname": "h"}))
	assert.Equal(t, []string{"5433", "b", "me", "mine"}, []string{b.Ports[0], b.Database, b.Username, string(b.Password)},
		"a key of its own wins over the URI")

	found, err := Read(vcap(t, map[string]any{"hostname": "h", "username": "me", "password": "mine", "dbname": "b", "sslmode": "require", "sslrootcert": "CA", "other": "postgres://u:p@i/a?sslrootcert=theirs"}))
	require.NoError(t, err)
	require.Len(t, found.Databases, 2)
	b = found.Databases[1]
	assert.Equal(t, []string{"a", "u", "p", "CA"}, []string{b.Database, b.Username, string(b.Password), string(b.CA.Value)},
		"but not over one of another host, apart from the certificates")
}

func TestWhatCountsAsAPostgresBinding(t *testing.T) {
	for name, test := range map[string]struct {
		credentials map[string]any
		tags        []string
		counts      bool
	}{
		"uri of scheme postgres":           {map[string]any{"uri": "postgres://h/db"}, nil, true},
		"uri of scheme postgresql":         {map[string]any{"uri": "postgresql://h/db"}, nil, true},
		"upper case":                       {map[string]any{"uri": "POSTGRES://h/db"}, nil, true},
		"bare postgres://":                 {map[string]any{"uri": "postgres://"}, nil, true},
		"jdbcUrl":                          {map[string]any{"jdbcUrl": "jdbc:postgresql://h/db"}, nil, true},
		"jdbc_url":                         {map[string]any{"jdbc_url": "jdbc:postgresql://h/db"}, nil, true},
		"jdbcUrl without a host":           {map[string]any{"jdbcUrl": "jdbc:postgresql:db"}, nil, true},
		"a tag, beside others":             {map[string]any{"host": "h"}, []string{"postgresql", "mysql"}, true},
		"a tag":                            {map[string]any{"host": "h"}, []string{"PostgreSQL"}, true},
		"an sslmode and a host":            {map[string]any{"host": "h", "sslmode": "require"}, nil, true},
		"a host, but no sslmode":           {map[string]any{"host": "h"}, nil, false},
		"mysql by uri":                     {map[string]any{"uri": "mysql://u:p@h/db", "sslmode": "require"}, nil, false},
		"mysql by tag, with MySQL's modes": {map[string]any{"host": "h", "ssl_mode": "REQUIRED"}, []string{"mysql"}, false},
		"mysql by tag, with no TLS":        {map[string]any{"host": "h", "sslmode": "disable"}, []string{"mysql"}, false},
		"redis":                            {map[string]any{"host": "h", "password": "p"}, []string{"redis"}, false},
		"a web service about postgres":     {map[string]any{"uri": "https://backup.example/api"}, []string{"postgres-backup"}, false},
		"no credentials":                   {nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Read(vcap(t, test.credentials, test.tags...))
			require.NoError(t, err)
			assert.Len(t, found.Databases, map[bool]int{true: 1}[test.counts])
		})
	}
	t.Run("a label", func(t *testing.T) {
		found, err := Read(map[string]string{"VCAP_SERVICES": `{"csb-aws-postgresql":[{"name":"db","credentials":{"host":"h"}}]}`})
		require.NoError(t, err)
		assert.Len(t, found.Databases, 1, "also where only the key has it")
	})
}

func TestHostsAreFoundWhereverBrokersPutThem(t *testing.T) {
	const tag = "postgresql"
	for name, test := range map[string]struct {
		credentials map[string]any
		hosts       []string
	}{
		"hostname":                      {map[string]any{"hostname": "a"}, []string{"a"}},
		"host":                          {map[string]any{"host": "a"}, []string{"a"}},
		"upper case, trailing dot":      {map[string]any{"host": "DB.Example.COM."}, []string{"db.example.com"}},
		"with a port":                   {map[string]any{"host": "a:5432"}, []string{"a"}},
		"IPv6 literal":                  {map[string]any{"host": "2001:db8::1"}, []string{"2001:db8::1"}},
		"IPv6 in a URI":                 {map[string]any{"uri": "postgres://u:p@[2001:DB8::1]:5432/db"}, []string{"2001:db8::1"}},
		"several hosts in a URI":        {map[string]any{"uri": "postgres://u:p@h1:5432,h2:5433/db"}, []string{"h1", "h2"}},
		"several hosts in a list":       {map[string]any{"hosts": []any{"h1", "h2:5433"}}, []string{"h1", "h2"}},
		"host in the query":             {map[string]any{"uri": "postgresql:///db?host=h1&port=5433"}, []string{"h1"}},
		"jdbcUrl":                       {map[string]any{"jdbcUrl": "jdbc:postgresql://h1:5432/db?user=a&password=b@c/d"}, []string{"h1"}},
		"jdbcUrl with several":          {map[string]any{"jdbcUrl": "jdbc:postgresql://h1:5432,h2/db"}, []string{"h1", "h2"}},
		"the primary first, each once":  {map[string]any{"uri": "postgres://u:p@b/db", "hostname": "a", "host": "b"}, []string{"a", "b"}},
		"replica_host":                  {map[string]any{"host": "a", "replica_host": "r"}, []string{"a", "r"}},
		"replica_uri":                   {map[string]any{"host": "a", "replica_uri": "postgres://u:p@r/db"}, []string{"a", "r"}},
		"reader_endpoint":               {map[string]any{"host": "a", "reader_endpoint": "r"}, []string{"a", "r"}},
		"readOnlyHost":                  {map[string]any{"host": "a", "readOnlyHost": "r"}, []string{"a", "r"}},
		"replica_hosts":                 {map[string]any{"host": "a", "replica_hosts": []any{"r1", "r2"}}, []string{"a", "r1", "r2"}},
		"a replica of something else":   {map[string]any{"host": "a", "replica_uri": "https://metrics.example/"}, []string{"a"}},
		"not a host":                    {map[string]any{"host": "user:secret@"}, nil},
		"a local socket":                {map[string]any{"uri": "postgres://%2Fvar%2Frun/db"}, nil},
		"an empty one among several":    {map[string]any{"uri": "postgres://h1,,h2/db"}, []string{"h1", "h2"}},
		"a number where a text belongs": {map[string]any{"host": 12}, []string{"12"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.hosts, one(t, vcap(t, test.credentials, tag)).Hosts)
		})
	}
}

func TestAPasswordThatIsNotEscapedHidesNeitherHostNorMode(t *testing.T) {
	for _, password := range []string{"p@ss", "p/ss", "p#ss", "p%ss", "p%zz", "p:ss", "p?ss", "p?a=b", "@", "a@b/c#d%e?f", "p@h2/x", "1?a=b", "1/b@c"} {
		t.Run(password, func(t *testing.T) {
			b := one(t, vcap(t, map[string]any{"uri": "postgres://user:" + password + "@db.example.com:5432/orders?sslmode=verify-ca"}))
			assert.Equal(t, []string{"db.example.com"}, b.Hosts)
			assert.Equal(t, "verify-ca by sslmode in credential uri", modes(b))
			assert.Equal(t, password, string(b.Password))

			b = one(t, vcap(t, map[string]any{"uri": "postgres://user:" + password + "@db.example.com:5432/orders"}))
			assert.Equal(t, []string{"db.example.com"}, b.Hosts, "without a query")
		})
	}
}

func TestWhereTheModeIsReadFrom(t *testing.T) {
	for name, test := range map[string]struct {
		credentials  map[string]any
		mode, source string
	}{
		"sslmode":                    {map[string]any{"sslmode": "require"}, "require", "credential sslmode"},
		"ssl_mode":                   {map[string]any{"ssl_mode": "require"}, "require", "credential ssl_mode"},
		"sslMode":                    {map[string]any{"sslMode": "require"}, "require", "credential sslMode"},
		"query of uri":               {map[string]any{"uri": "postgres://h/d?a=b&sslmode=verify%2Dca&c=d"}, "verify-ca", "sslmode in credential uri"},
		"query of jdbcUrl":           {map[string]any{"jdbcUrl": "jdbc:postgresql://h/d?sslmode=verify-ca"}, "verify-ca", "sslmode in credential jdbcUrl"},
		"the last of several":        {map[string]any{"uri": "postgres://h/d?sslmode=disable&sslmode=require"}, "disable by sslmode in credential uri, require", "sslmode in credential uri"},
		"beside a host that is none": {map[string]any{"uri": "postgres://u:p@h h/d?sslmode=require"}, "require", "sslmode in credential uri"},
		"an empty one is none":       {map[string]any{"sslmode": "", "uri": "postgres://h/d?sslmode=require"}, "require", "sslmode in credential uri"},
	} {
		t.Run(name, func(t *testing.T) {
			b := one(t, vcap(t, test.credentials, "postgresql"))
			assert.Equal(t, test.mode+" by "+test.source, modes(b))
		})
	}
}

func TestTheThreeWaysOfDelivery(t *testing.T) {
	doc := vcap(t, map[string]any{"uri": "postgres://h/db?sslmode=verify-ca"})["VCAP_SERVICES"]
	file := filepath.Join(t.TempDir(), "vcap_services")
	require.NoError(t, os.WriteFile(file, []byte(doc), 0o600))

	// As Kubernetes mounts a binding: the keys are links into ..data, which is itself a link to a
	// folder named for a date.
	root := t.TempDir()
	dated := filepath.Join(root, "db", "..2026_11_22")
	require.NoError(t, os.MkdirAll(dated, 0o755))
	for key, value := range map[string]string{"type": "csb-aws-postgresql\n", "provider": "csb", "host": "h", "sslmode": "verify-ca\n", "tags": `["a","stratos"]`} {
		require.NoError(t, os.WriteFile(filepath.Join(dated, key), []byte(value), 0o600))
		require.NoError(t, os.Symlink(filepath.Join("..data", key), filepath.Join(root, "db", key)))
	}
	require.NoError(t, os.Symlink("..2026_11_22", filepath.Join(root, "db", "..data")))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "..hidden"), 0o755))

	for name, env := range map[string]map[string]string{
		"VCAP_SERVICES":           {"VCAP_SERVICES": doc},
		"VCAP_SERVICES_FILE_PATH": {"VCAP_SERVICES_FILE_PATH": file},
		"SERVICE_BINDING_ROOT":    {"SERVICE_BINDING_ROOT": root},
	} {
		t.Run(name, func(t *testing.T) {
			b := one(t, env)
			assert.Equal(t, []string{"db", "h", "verify-ca"}, []string{b.Name, b.Hosts[0], b.Asked[0].Mode.String()})
		})
	}
	assert.Contains(t, one(t, map[string]string{"SERVICE_BINDING_ROOT": root}).Tags, "stratos")
}

func TestNothingBoundIsNoError(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"no variable":                    {},
		"empty":                          {"VCAP_SERVICES": ""},
		"no services":                    {"VCAP_SERVICES": "{}"},
		"null":                           {"VCAP_SERVICES": "null"},
		"a root that does not yet exist": {"SERVICE_BINDING_ROOT": filepath.Join(t.TempDir(), "none")},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Read(env)
			require.NoError(t, err)
			assert.Empty(t, found)
		})
	}
}

func TestErrorsNameVariableAndPositionAndShowNoContent(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, []byte(`{"s3cr3t"`), 0o600))
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"broken":             {map[string]string{"VCAP_SERVICES": `{"a": s3cr3t}`}, "VCAP_SERVICES is not valid JSON: broken at byte 7"},
		"cut off":            {map[string]string{"VCAP_SERVICES": `{"a": "s3cr3t`}, "VCAP_SERVICES is not valid JSON: broken at byte 13"},
		"a list":             {map[string]string{"VCAP_SERVICES": `["s3cr3t"]`}, "VCAP_SERVICES is JSON, but not an object of services"},
		"a number":           {map[string]string{"VCAP_SERVICES": `12345678`}, "VCAP_SERVICES is JSON, but not an object of services"},
		"a number too large": {map[string]string{"VCAP_SERVICES": `{"a": 12345678e999}`}, "VCAP_SERVICES: the service a does not have the form that the platform gives it"},
		"services of no use": {map[string]string{"VCAP_SERVICES": `{"a": ["s3cr3t"]}`}, "VCAP_SERVICES: the service a does not have the form that the platform gives it"},
		"credentials a text": {map[string]string{"VCAP_SERVICES": `{"a": [{"credentials": "s3cr3t"}]}`}, "VCAP_SERVICES: the service a does not have the form that the platform gives it"},
		"a broken file":      {map[string]string{"VCAP_SERVICES_FILE_PATH": broken}, "VCAP_SERVICES_FILE_PATH (" + broken + ") is not valid JSON: broken at byte 9"},
		"no such file":       {map[string]string{"VCAP_SERVICES_FILE_PATH": "/no/such/file"}, "VCAP_SERVICES_FILE_PATH (/no/such/file) cannot be read: no such file or directory"},
		"a file for a root":  {map[string]string{"SERVICE_BINDING_ROOT": broken}, "SERVICE_BINDING_ROOT: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(test.env)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "s3cr3t")
			assert.NotContains(t, err.Error(), "12345678")
		})
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	b := one(t, vcap(t, map[string]any{"uri": "postgres://u:s3cr3t@h/db", "sslkey": "s3cr3t", "sslrootcert": "s3cr3t"}))
	require.Equal(t, "s3cr3t", string(b.Password), "the control: it is there")
	asJSON, err := json.Marshal(b)
	require.NoError(t, err)
	for _, printed := range []string{fmt.Sprint(b), fmt.Sprintf("%+v", b), fmt.Sprintf("%#v", b), fmt.Sprintf("%q", b.Password), fmt.Sprintf("%x", b.Password), string(asJSON)} {
		assert.NotContains(t, printed, "s3cr3t")
		assert.NotContains(t, printed, fmt.Sprintf("%x", "s3cr3t"))
	}
}

func TestElsewhereNoFileIsOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, []byte("here"), 0o600))
	env := vcap(t, map[string]any{"uri": "postgres://h/db", "sslrootcert": file})
	tagged := vcap(t, map[string]any{"ca": file}, "postgres-ssl-ca")

	found, err := ReadElsewhere(env)
	require.NoError(t, err)
	assert.Equal(t, Credential{Place: Place{Path: "sslrootcert"}, Missing: true}, found.Databases[0].CA)
	found, err = ReadElsewhere(tagged)
	require.NoError(t, err)
	assert.Equal(t, []Credential{{Place: Place{Service: "db", Path: "ca"}, Missing: true}}, found.CAs)

	found, err = Read(env)
	require.NoError(t, err)
	assert.Equal(t, Secret("here"), found.Databases[0].CA.Value, "the control: in the container the file is read")
}

// A parameter without a name is nothing: here it is a part of a password that nobody escaped.
func TestAParameterWithoutANameIsNoPort(t *testing.T) {
	b := one(t, vcap(t, map[string]any{"jdbcUrl": "jdbc:postgresql://h.example.com/d?user=u&password=ab&=4711&sslmode=require"}))
	assert.Equal(t, []string{""}, b.Ports)
}

// DATABASE_URL may ask for a mode by another name, and an error has to name that.
func TestAnotherNameOfAModeInDatabaseURLIsNamed(t *testing.T) {
	bound := vcap(t, map[string]any{"uri": "postgres://u:p@h.example.com/d?sslmode=verify-full"})
	bound["DATABASE_URL"] = "postgres://u:p@h.example.com/d?ssl=true"
	assert.Equal(t, "verify-full by sslmode in credential uri, require by ssl in DATABASE_URL", modes(one(t, bound)))
}

// A password may be the word of a mode. It hides itself, and not the mode.
func TestAPasswordLikeAModeHidesNoMode(t *testing.T) {
	_, err := Read(vcap(t, map[string]any{"uri": "postgres://u:verify-full@h.example.com/d;sslmode=verify-full"}))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "u:")
	assert.Equal(t, "h.example.com", one(t, vcap(t, map[string]any{"uri": "postgres://u:verify-full@h.example.com/d"})).Hosts[0], "the control")
}

// libpq connects to hostaddr by TCP, whatever host says.
func TestASocketBesideHostaddrIsNoSocket(t *testing.T) {
	for uri, socket := range map[string]bool{"postgres://u:p@/d?host=/tmp&hostaddr=10.0.0.1": false, "postgres://u:p@/d?host=/tmp": true} {
		assert.Equal(t, socket, one(t, vcap(t, map[string]any{"uri": uri})).Socket, uri)
	}
}

func TestHowADriverReachesItsServer(t *testing.T) {
	uri := func(query string) map[string]any {
		return map[string]any{"uri": "postgres://u:p@h.example.com/d" + query}
	}
	type way struct {
		hostAddr          string
		directTLS, socket bool
	}
	for what, test := range map[string]struct {
		credentials map[string]any
		want        way
	}{
		"by the host's name":      {uri(""), way{}},
		"by an address":           {uri("?hostaddr=10.0.0.1"), way{hostAddr: "10.0.0.1"}},
		"the address is the host": {map[string]any{"uri": "postgres://u:p@/d?hostaddr=10.0.0.1"}, way{}},
		"TLS at once":             {uri("?sslnegotiation=direct"), way{directTLS: true}},
		"TLS when asked for":      {uri("?sslnegotiation=postgres"), way{}},
		"TLS at once, in one of two strings": {map[string]any{"a": uri("?sslnegotiation=direct")["uri"], "b": uri("")["uri"]},
			way{directTLS: true}},
		"a socket":               {map[string]any{"host": "/var/run/postgresql", "type": "postgres", "username": "u"}, way{socket: true}},
		"a host beside a socket": {map[string]any{"host": "/var/run/postgresql", "uri": uri("")["uri"]}, way{}},
	} {
		b := one(t, vcap(t, test.credentials, "postgres"))
		assert.Equal(t, test.want, way{b.HostAddr, b.DirectTLS, b.Socket}, what)
	}
}

func TestWhatIsAboutAnotherDatabaseIsNotTaken(t *testing.T) {
	inner := map[string]any{"type": "postgres", "host": "h.example.com", "dbname": "d"}
	outer := map[string]any{"username": "outer", "inner": inner}
	assert.Equal(t, "outer", one(t, vcap(t, outer)).Username, "the control")
	outer["host"] = "m.example.com"
	assert.Empty(t, one(t, vcap(t, outer, "mysql")).Username)
	assert.Empty(t, one(t, vcap(t, map[string]any{"host": "h.example.com", "dbname": ";Password=" + canary, "type": "postgres"})).Database)
}

func TestTLSAloneMakesNoPostgres(t *testing.T) {
	for what, credentials := range map[string]map[string]any{
		"beside the host":  {"x": map[string]any{"host": "h.example.com", "ssl": true}},
		"around the host":  {"ssl": true, "x": map[string]any{"host": "h.example.com", "username": "u"}},
		"a mode is enough": {"x": map[string]any{"host": "h.example.com", "sslmode": "require"}},
	} {
		found, err := Read(vcap(t, credentials))
		require.NoError(t, err)
		assert.Equal(t, what == "a mode is enough", len(found.Databases) == 1, what)
	}
}

func TestOnlyAStringIsGivenToADriver(t *testing.T) {
	assert.Equal(t, []bool{true, true, true, false, false},
		[]bool{ByURI.IsString(), ByString.IsString(), ByFirst.IsString(), ByKey.IsString(), ByProse.IsString()})
}

func FuzzBindingsAreReadOrRefusedInOneLine(f *testing.F) {
	files, _ := filepath.Glob("../../fixtures/services/*.json")
	for _, file := range files {
		doc, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(string(doc))
	}
	f.Add(`{"a":[{"credentials":{"uri":"postgres://u:p@[::1"}}]}`)
	f.Add(`{"a":[{"name":"\u0000","tags":null,"credentials":{"hosts":[["a"],{"b":1}],"uri":"postgres://@@/?sslmode"}}]}`)
	f.Add(`{"a":{"credentials":{"port":1e300,"uri":"jdbc:postgresql:"}}}`)
	f.Fuzz(func(t *testing.T, document string) {
		found, err := Read(map[string]string{"VCAP_SERVICES": document})
		if err != nil {
			assert.NotContains(t, err.Error(), "\n")
			return
		}
		for _, b := range found.Databases {
			for _, host := range b.Hosts {
				assert.NotEmpty(t, host)
				assert.Equal(t, strings.ToLower(host), host)
				assert.False(t, strings.ContainsAny(host, "@/?#%' \n"), host)
			}
		}
	})
}

// FuzzAPasswordNeverBecomesAHost puts the host in its right place, with any text as the password.
func FuzzAPasswordNeverBecomesAHost(f *testing.F) {
	for _, seed := range []string{"secret", "p@ss", "a/b", "a?b=c", "a#b", "%zz", "@h/?x=y", ":", "", "a:1@b/c?d=e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		uri, _ := parseURL("postgres://user:" + password + "@db.example.com:5432/orders")
		if strings.ContainsAny(password, "?") && strings.ContainsAny(password, "@/") {
			return // the URI can be read in two ways
		}
		assert.Equal(t, []address{{"db.example.com", "5432"}}, uri.hosts)
		uri, _ = parseURL("postgres://user:" + password + "@db.example.com:5432/orders?sslmode=verify-full")
		assert.Equal(t, []address{{"db.example.com", "5432"}}, uri.hosts)
		assert.Equal(t, []parameter{{key: "sslmode", value: "verify-full"}}, uri.modes)
	})
}

func TestAModeThatIsNotATextIsAnErrorThatNamesTheKey(t *testing.T) {
	for what, mode := range map[string]any{
		"true": true, "a number": 1, "an object": map[string]any{"a": "verify-full"},
		"a list": []any{"verify-full", "require"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := Read(vcap(t, map[string]any{"uri": "postgres://h/d", "ssl_mode": mode}))
			assert.EqualError(t, err, "db: credential ssl_mode is not a text; write one of disable, allow, prefer, require, verify-ca, verify-full")
		})
	}
	b := one(t, vcap(t, map[string]any{"uri": "postgres://h/d", "ssl_mode": []any{"require"}}))
	assert.Equal(t, "require by credential ssl_mode[0]", modes(b), "a list with one text is that text")
}

func TestCredentialsBeyondTheLimitsAreRefused(t *testing.T) {
	nested := func(levels int) map[string]any {
		credentials := map[string]any{"uri": "postgres://h/d"}
		for range levels {
			credentials = map[string]any{"a": credentials}
		}
		return credentials
	}
	lists := func(levels int) map[string]any {
		var list any = "postgres://h/d"
		for range levels {
			list = []any{list}
		}
		return map[string]any{"a": list}
	}
	pairs := func(levels int) map[string]any {
		var list any = "postgres://h/d"
		for range levels {
			list = []any{list, nil}
		}
		return map[string]any{"a": list}
	}
	hosts := func(n int) map[string]any {
		var list []any
		for i := range n {
			list = append(list, fmt.Sprintf("h%d", i))
		}
		return map[string]any{"uri": "postgres://", "hosts": list}
	}
	same := func(n int) map[string]any {
		return map[string]any{"host": "h", "uris": slices.Repeat([]any{"postgres://"}, n)}
	}
	list := func(n int) map[string]any {
		return map[string]any{"host": "h", "uris": strings.Repeat("postgres://h/d ", n)}
	}
	for name, test := range map[string]struct {
		good, bad map[string]any
		wrong     string
	}{
		"objects nested deep": {nested(32), nested(33), "the credentials are nested more than 32 levels deep"},
		"lists nested deep":   {lists(32), lists(33), "the credentials are nested more than 32 levels deep"},
		"pairs nested deep":   {pairs(32), pairs(33), "the credentials are nested more than 32 levels deep"},
		"very many strings":   {same(1000), same(1001), "the credentials have more than 1000 connection strings"},
		"very many in a text": {list(1000), list(1001), "the credentials have more than 1000 connection strings"},
		"very many hosts":     {hosts(100), hosts(101), "the credentials name more than 100 hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			one(t, vcap(t, test.good))
			_, err := Read(vcap(t, test.bad))
			assert.EqualError(t, err, "db: "+test.wrong)
		})
	}
}

func TestNothingIsTakenFromTheObjectOfAnotherDatabase(t *testing.T) {
	credentials := func(uri string) map[string]any {
		return map[string]any{"uri": uri, "username": "theirs", "ca": "their CA", "ssl_mode": "REQUIRED",
			"reports": map[string]any{"uri": "postgres://h/d"}}
	}
	b := one(t, vcap(t, credentials("mysql://m/d")))
	assert.Equal(t, [3]string{"", "", ""}, [3]string{b.Username, b.CA.Path, modes(b)})
	_, err := Read(vcap(t, credentials("https://console.example.com")))
	assert.ErrorContains(t, err, "credential ssl_mode", "the control: where the outer object is about no database, its mode counts")
}

func TestAPortBesideItsHostCountsMoreThanThePortOfTheObject(t *testing.T) {
	assert.Equal(t, []string{"6432", ""}, one(t, vcap(t, map[string]any{"hosts": []any{"a:6432", "b"}, "port": 5432}, "postgresql")).Ports)
	assert.Equal(t, []string{"5432", "5432"}, one(t, vcap(t, map[string]any{"hosts": []any{"a", "b"}, "port": 5432}, "postgresql")).Ports)
}
