package binding

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// titles lists the databases of a service with their hosts: "db: h1 h2".
func titles(t testing.TB, env map[string]string) []string {
	t.Helper()
	found, err := Read(env)
	require.NoError(t, err)
	var all []string
	for _, b := range found.Databases {
		all = append(all, strings.TrimSpace(b.Title()+": "+strings.Join(b.Hosts, " ")))
	}
	return all
}

type m = map[string]any

func TestWhichObjectIsADatabase(t *testing.T) {
	for name, test := range map[string]struct {
		credentials m
		tags        []string
		databases   []string
	}{
		"a host by Postgres's port, in a Postgres service": {m{"primary": m{"host": "h", "port": 5432}}, []string{"postgresql"}, []string{"db: h"}},
		"a host with a login, in a Postgres service":       {m{"primary": m{"host": "h", "port": 6432, "username": "u"}}, []string{"postgresql"}, []string{"db: h"}},
		"but not a host of something else in it":           {m{"host": "h", "metrics": m{"host": "m", "port": 9090}}, []string{"postgresql"}, []string{"db: h"}},
		"a host with a login, where the service asks for a mode": {
			m{"sslmode": "verify-full", "main": m{"host": "h", "dbname": "d"}, "cache": m{"host": "c"}}, nil, []string{"db: h"}},
		"not the items of a list of hosts": {
			m{"hosts": []any{m{"hostname": "a", "port": 5432}, m{"hostname": "b", "port": 5432}}}, []string{"postgresql"}, []string{"db: a b"}},
		"a service, though a text in it is a link": {m{"docs": "https://docs.example.com/"}, []string{"postgresql"}, []string{"db:"}},
		"but not one whose uri is of a web page":   {m{"uri": "https://docs.example.com/"}, []string{"postgresql"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.databases, titles(t, vcap(t, test.credentials, test.tags...)))
		})
	}
}

func TestNeitherAPasswordNorANestedObjectSpeaksAgainstADatabase(t *testing.T) {
	credentials := m{"DB_HOST": "h.c9akciq32.eu-central-1.rds.amazonaws.com", "DB_USER": "u", "DB_PASSWORD": "x-db2-redis",
		"more": m{"cache": "redis"}, "text": `{"cache":"redis"}`}
	assert.Len(t, titles(t, vcap(t, credentials)), 1)
	credentials["DB_NAME"] = "redis"
	assert.Empty(t, titles(t, vcap(t, credentials)), "the control")
}

func TestAListOfOneSpeaksAgainstADatabaseAsItsItemDoes(t *testing.T) {
	credentials := m{"host": "h.c9akciq32.eu-central-1.rds.amazonaws.com", "user": "u", "dbname": "d"}
	for _, flavor := range []any{"mysql", []any{"MySQL 8"}, []any{[]any{"oracle"}}, `["mysql"]`, ` [["mysql"]]`, []any{`["mysql"]`}} {
		credentials["flavor"] = flavor
		assert.Empty(t, titles(t, vcap(t, credentials)), flavor)
	}
	for _, flavor := range []any{[]any{"mysql", "oracle"}, `["mysql","oracle"]`, []any{m{"cache": "redis"}}, []any{"x"}, []any{}} {
		credentials["flavor"] = flavor
		assert.Len(t, titles(t, vcap(t, credentials)), 1, flavor)
	}
}

func TestWhatBelongsToOneDatabase(t *testing.T) {
	for name, test := range map[string]struct {
		credentials m
		databases   []string
	}{
		"a bare postgres:// speaks of the host around it": {
			m{"host": "h", "sslmode": "require", "connection": m{"more": m{"uri": "postgres://"}}}, []string{"db: h"}},
		"a uri without a host is about the host beside it, and may ask for less": {
			m{"host": "h", "uri": "postgres://?sslmode=require"}, []string{"db: h"}},
		"a bare postgres:// takes the host of the only other string": {
			m{"uri": "postgres://", "x": "postgres://h/d?sslmode=require"}, []string{"db: h"}},
		"a string that asks for less takes no host of one that does": {
			m{"x": "postgres:///d?sslmode=require", "y": "postgres://h/d?sslmode=prefer"}, []string{"db (x):", "db (y): h"}},
		"two objects without a host are two": {
			m{"a": m{"uri": "postgres:///x"}, "b": m{"uri": "postgres:///y"}}, []string{"db (a.uri):", "db (b.uri):"}},
		"the same host in two objects is one": {
			m{"uri": "postgres://h/d", "copy": m{"uri": "postgres://h/d"}}, []string{"db: h"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.databases, titles(t, vcap(t, test.credentials)))
		})
	}
}

// The database under well-known keys decides for its service. If it is named again elsewhere, it
// must still decide.
func TestADatabaseStaysWellKnownIfItIsNamedAgain(t *testing.T) {
	for name, credentials := range map[string]m{
		"a string of another key, with its host": {"host": "h", "dsn": "postgres://h/d", "sslmode": "require"},
		"two strings":                            {"uri": "postgres://h/d", "dsn": "postgres://h/d"},
		"an object of its own":                   {"uri": "postgres://h/d", "copy": m{"uri": "postgres://h/d"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.True(t, one(t, vcap(t, credentials)).WellKnown)
		})
	}
	assert.False(t, one(t, vcap(t, m{"dsn": "postgres://h/d"})).WellKnown, "the control")
	assert.False(t, one(t, vcap(t, m{"dsn": "postgres://h/d", "x": m{"dsn": "postgres://h/d"}})).WellKnown, "the control")
}

func TestEachHostOfAListHasThePortBesideIt(t *testing.T) {
	hosts := []any{m{"hostname": "a", "port": 5433}, m{"hostname": "b", "port": 5434, "zone": "z1"}}
	b := one(t, vcap(t, m{"hosts": hosts}, "postgresql"))
	assert.Equal(t, []string{"a", "b"}, b.Hosts)
	assert.Equal(t, []string{"5433", "5434"}, b.Ports)
}

func TestReplicasCountTowardsTheMostHostsOfAService(t *testing.T) {
	list := func(name string, n int) []any {
		var all []any
		for i := range n {
			all = append(all, fmt.Sprint(name, i))
		}
		return all
	}
	_, err := Read(vcap(t, m{"hosts": list("h", 60), "replica_hosts": list("r", 41)}, "postgresql"))
	assert.EqualError(t, err, "db: the credentials name more than 100 hosts")
	most := one(t, vcap(t, m{"hosts": list("h", 60), "replica_hosts": list("r", 40)}, "postgresql"))
	assert.Len(t, most.Hosts, 100, "the control")
}

const somePEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

func TestACAMayBeTheNameOfAFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ca.pem", "ca"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(somePEM), 0o600))
	}
	there, withoutDot := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca")
	base64 := "/" + strings.Repeat("A", 1024) // it begins like a path, but is too long for one
	for name, test := range map[string]struct {
		value, read string
		missing     bool
	}{
		"a path":                      {there, somePEM, false},
		"a path without a dot":        {withoutDot, somePEM, false},
		"a path to nowhere":           {filepath.Join(dir, "none"), "", true},
		"a relative path to nowhere":  {"certificates.pem", "", true},
		"a device, not a file":        {"/dev/null", "", true},
		"PEM behind a word of notice": {"issued by ca.example.com\n" + somePEM, "issued by ca.example.com\n" + somePEM, false},
		"PEM":                         {somePEM, somePEM, false},
		"base64":                      {"LS0tLS1CRUdJTiBDRVJU", "LS0tLS1CRUdJTiBDRVJU", false},
		"a long text":                 {base64, base64, false},
		"a path as long as paths get": {base64[:1024], "", true},
	} {
		t.Run(name, func(t *testing.T) {
			ca := one(t, vcap(t, m{"uri": "postgres://h/d", "ca": test.value})).CA
			assert.Equal(t, Credential{Place: Place{Path: "ca"}, Value: Secret(test.read), Missing: test.missing}, ca)
		})
	}
}

func TestTheRootCertificateOfAStringIsTheCAIfNoKeyHoldsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "root.crt")
	require.NoError(t, os.WriteFile(file, []byte(somePEM), 0o600))
	uri := "postgres://h/d?sslrootcert=" + file
	assert.Equal(t, Credential{Place: Place{Path: "uri", Of: "sslrootcert"}, Value: somePEM}, one(t, vcap(t, m{"uri": uri})).CA)
	assert.Equal(t, "ca", one(t, vcap(t, m{"uri": uri, "ca": somePEM})).CA.Path, "a key says it more plainly")
	assert.Empty(t, one(t, vcap(t, m{"uri": "postgres://h/d"})).CA)
}

func TestWhichOtherCertificatesMayBeTheServersCA(t *testing.T) {
	for name, test := range map[string]struct {
		credentials m
		keys        []string
	}{
		"under a key that says nothing":   {m{"tls": m{"bundle": somePEM}}, nil},
		"one that speaks of a CA":         {m{"tls": m{"caBundle": somePEM}}, []string{"tls.caBundle"}},
		"a well-known key, nested":        {m{"tls": m{"ca": somePEM}}, []string{"tls.ca"}},
		"a well-known key, which is b.CA": {m{"ca": somePEM}, nil},
		"the client's":                    {m{"sslcert": somePEM}, nil},
		"in base64":                       {m{"certificate": m{"base64": "LS0tLS1CRUdJTiBD"}}, []string{"certificate.base64"}},
		"a sign-on's":                     {m{"saml": m{"certificate": somePEM}}, nil},
		"another database's":              {m{"mysql": m{"uri": "mysql://m/d", "root": somePEM}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.credentials["uri"] = "postgres://h/d"
			var keys []string
			for _, ca := range one(t, vcap(t, test.credentials)).MoreCAs {
				keys = append(keys, ca.Path)
			}
			assert.Equal(t, test.keys, keys)
		})
	}
}

func TestWhichPathsMeanTheServersCA(t *testing.T) {
	for _, path := range []string{"ca", "CA", ".tls.cas", "tls.ca-bundle", "tls.caBundle", "cabundle", "cachain", "capem[0]", "myCA", "root", "server", "certificate.certificate_base64"} {
		assert.True(t, speaksOfServerCA(path), path)
	}
	for _, path := range []string{"", "cat", "scar", "cache", "CASE", "notes", "saml_cert", "clientCA", "signing.ca", "jwt.cert"} {
		assert.False(t, speaksOfServerCA(path), path)
	}
}

func TestAPathIsSplitIntoWords(t *testing.T) {
	for path, want := range map[string]string{
		"tls.caBundle[0]": "tls ca bundle", "aAzZ": "a az z", "AZ": "az", "a_z-A": "a z a", "x509": "x", "zürich": "z rich", "{a`b@[c": "a b c",
	} {
		assert.Equal(t, strings.Fields(want), words(path), path)
	}
}

func TestAllSpellingsOfAKeyAreOneKey(t *testing.T) {
	for key, want := range map[string]string{"SSL Mode": "sslmode", "ca.cert": "cacert", "A-Z_az": "azaz", "@[`{": "@[`{", "ſslmode": "ſslmode"} {
		assert.Equal(t, want, fold(key), key)
	}
}

func TestManyKeysNameFurtherHostsOfADatabase(t *testing.T) {
	for _, key := range []string{"replica_host", "reader_endpoint", "replicaEndpoints", "READ_ONLY_HOSTS", "standby.address", "secondary-hostname"} {
		b := one(t, vcap(t, m{"host": "a", key: []any{"r1", "r2"}}, "postgresql"))
		assert.Equal(t, []string{"a", "r1", "r2"}, b.Hosts, key)
		assert.Equal(t, []string{"a"}, b.Primaries(), key)
	}
	for _, key := range []string{"replica_uri", "reader_url", "replica_uris", "ro_jdbc_url"} {
		b := one(t, vcap(t, m{"host": "a", key: []any{"postgres://r1/d"}}, "postgresql"))
		assert.Equal(t, []string{"a", "r1"}, b.Hosts, key)
		assert.Equal(t, 1, b.Replicas, key)
	}
	b := one(t, vcap(t, m{"reader_uri": "postgres://r1/d", "service_uri": "postgres://a/d"}))
	assert.Equal(t, []string{"a", "r1"}, b.Hosts, "also of one under an unknown key")
	for _, key := range []string{"replicas", "replica", "reader_name", "hosting", "uris"} {
		assert.Equal(t, []string{"a"}, one(t, vcap(t, m{"host": "a", key: []any{"r1", "r2"}}, "postgresql")).Hosts, key)
	}
}

// Grafana, Gitea and others name the kind of their database in a family's own key, and a port behind
// the host.
func TestAFamilyNamesItsKindAndAPortBehindTheHost(t *testing.T) {
	of := func(kind, host string) m {
		return m{"GF_DATABASE_TYPE": kind, "GF_DATABASE_HOST": host, "GF_DATABASE_USER": "u", "GF_DATABASE_SSL_MODE": "require"}
	}
	assert.Empty(t, titles(t, vcap(t, of("mysql", "h"))))
	assert.Equal(t, []string{"db: h"}, titles(t, vcap(t, of("postgres", "h:3306"))), "the control")
	assert.Empty(t, titles(t, vcap(t, m{"DB_HOST": "h:3306", "DB_USER": "u"}, "mysql")))

	keys := m{"PGHOST": "h", "PGUSER": "u"}
	assert.False(t, one(t, vcap(t, keys, "postgresql")).Guessed)
	keys["uri"] = "https://console.example.com"
	assert.True(t, one(t, vcap(t, keys, "postgresql")).Guessed, "beside a uri of something else")
}

// A mail server, a cache or a directory beside a database, or alone, is no Postgres, and its flags
// are not the database's. A mode in Postgres's own words still counts.
func TestOtherProtocolsAreNotTakenForPostgres(t *testing.T) {
	for name, test := range map[string]struct {
		credentials m
		tag         string
	}{
		"Redis":                   {m{"host": "r", "port": 6379, "password": "p", "ssl": "require"}, "redis"},
		"Redis with a mode":       {m{"host": "r", "port": 6379, "password": "p", "sslmode": "require"}, "redis"},
		"Redis without a tag":     {m{"host": "r", "port": 6380, "password": "p", "ssl": "require"}, "x"},
		"Redis without TLS":       {m{"host": "r", "port": 6380, "password": "p", "sslmode": "disable"}, "redis"},
		"MySQL that verifies":     {m{"host": "s", "username": "u", "ssl_mode": "VERIFY_CA"}, "mysql"},
		"Redis, as host:port":     {m{"host": "r:6380", "password": "p", "ssl": "require"}, "x"},
		"SQL Server":              {m{"host": "s", "port": 1433, "username": "u", "ssl": "require"}, "sqlserver"},
		"Oracle with TLS":         {m{"host": "s", "port": 2484, "username": "u", "ssl": "require"}, "oracle"},
		"SMTP":                    {m{"hostname": "s", "port": 587, "username": "u", "tls": "require"}, "smtp"},
		"SMTP with its own word":  {m{"hostname": "s", "port": 587, "username": "u", "ssl_mode": "STARTTLS"}, "smtp"},
		"LDAP":                    {m{"hostname": "s", "port": 389, "username": "u", "tls_mode": "starttls"}, "ldap"},
		"MongoDB":                 {m{"host": "s", "port": 27017, "username": "u", "tls": m{"mode": "requireTLS"}}, "x"},
		"a mail server's own key": {m{"SMTP_HOST": "mail", "SMTP_SSL_MODE": "require"}, "x"},
	} {
		t.Run(name, func(t *testing.T) { assert.Empty(t, titles(t, vcap(t, test.credentials, test.tag))) })
	}
	for key, beside := range map[string]m{
		"smtp": {"host": "mail", "port": 587, "username": "u", "tls": "require"}, "redis": {"host": "r", "ssl": true},
		"mail": {"host": "mail", "username": "u", "tls": "require"},
	} {
		b := one(t, vcap(t, m{key: beside, "database_url": "postgres://u:p@h/d"}))
		assert.Equal(t, []string{"h", ""}, []string{b.Hosts[0], b.AsksTLS.String() + modes(b)}, key)
	}
	for _, credentials := range []m{
		{"host": "h", "port": 6379, "sslmode": "require"}, {"host": "h", "port": 443, "username": "u", "ssl": "require"},
		{"mailings": m{"host": "h", "sslmode": "require"}}, {"db2": m{"host": "h", "port": 5432, "username": "u", "ssl": "require"}},
	} {
		assert.Equal(t, sslmode.Require, one(t, vcap(t, credentials)).Writes(), "the control: %v", credentials)
	}
}
