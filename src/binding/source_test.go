package binding

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// services makes VCAP_SERVICES of services without a label.
func services(t testing.TB, list ...m) map[string]string {
	t.Helper()
	document, err := json.Marshal(m{"user-provided": list})
	require.NoError(t, err)
	return map[string]string{"VCAP_SERVICES": string(document)}
}

// A FIFO or a device might never end, or hold nothing and look as if nothing were bound.
func TestOnlyARegularFileHoldsBindings(t *testing.T) {
	_, err := Read(map[string]string{"VCAP_SERVICES_FILE_PATH": "/dev/null"})
	assert.EqualError(t, err, "VCAP_SERVICES_FILE_PATH (/dev/null) cannot be read: not a regular file")
}

func TestServicesAreSortedAndNamed(t *testing.T) {
	credentials := m{"uri": "postgres://h/d"}
	found, err := Read(services(t,
		m{"name": "c", "credentials": credentials}, m{"binding_name": "b", "instance_name": "x", "credentials": credentials},
		m{"instance_name": "a", "credentials": credentials}, m{"credentials": credentials}, m{"name": "z", "credentials": nil}))
	require.NoError(t, err)
	var names []string
	for _, b := range found.Databases {
		names = append(names, b.Title())
	}
	assert.Equal(t, []string{"a", "b", "c", "user-provided"}, names)
	assert.Equal(t, []string{"z"}, found.Others)
}

func TestAServiceOfAnotherFormStopsTheAppUnlessItIsNotPostgres(t *testing.T) {
	for name, test := range map[string]struct{ document, wrong string }{
		"a text":             {`{"a": ["x"]}`, "VCAP_SERVICES: the service a does not have the form that the platform gives it"},
		"by its own name":    {`{"a": [{"name": "db", "credentials": 1}]}`, "VCAP_SERVICES: the service db does not have the form"},
		"not in a list":      {`{"a": "x"}`, "VCAP_SERVICES: the service a does not have the form"},
		"credentials a list": {`{"a": [{"name": "db", "credentials": []}]}`, "the service db does not have the form"},
		"null":               {`{"a": [null]}`, ""},
		"no list":            {`{"a": null}`, ""},
		"of Redis":           {`{"redis": ["x"]}`, ""},
		"one outside a list": {`{"a": {"name": "db", "credentials": {}}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(map[string]string{"VCAP_SERVICES": test.document})
			if test.wrong == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, test.wrong)
			}
		})
	}
}

func TestACredHubReferenceIsUnresolvedOnlyWhereItMayBePostgres(t *testing.T) {
	reference := m{"credhub-ref": "/c/x"}
	found, err := Read(services(t, m{"name": "db", "tags": []any{"postgresql"}, "credentials": reference}, m{"name": "mq", "tags": []any{"rabbitmq"}, "credentials": reference}))
	require.NoError(t, err)
	assert.Equal(t, []Reference{{Service: "db", Postgres: true}}, found.Unresolved)
	assert.Equal(t, []string{"mq"}, found.Others)
}

func TestATaggedServiceBringsACA(t *testing.T) {
	tagged := func(credentials m) (Bound, error) {
		return Read(services(t, m{"name": "company", "tags": []any{"postgres-ssl-ca"}, "credentials": credentials}))
	}
	found, err := tagged(m{"ca": somePEM, "note": "postgres"})
	require.NoError(t, err)
	assert.Equal(t, []Credential{{Place: Place{Service: "company", Path: "ca"}, Value: somePEM}}, found.CAs)
	assert.Empty(t, found.Databases)
	_, err = tagged(m{"note": somePEM})
	assert.EqualError(t, err, "company: is tagged postgres-ssl-ca, but contains no CA: add it as the credential ca, in PEM")
	found, err = tagged(m{"ca": "/no/such/file.pem"})
	require.NoError(t, err)
	assert.Equal(t, []Credential{{Place: Place{Service: "company", Path: "ca"}, Missing: true}}, found.CAs)
}

func TestDATABASE_URLIsOneMorePlaceForAMode(t *testing.T) {
	with := func(uri string, credentials m) (Binding, error) {
		env := vcap(t, credentials)
		env["DATABASE_URL"] = uri
		found, err := Read(env)
		if err != nil {
			return Binding{}, err
		}
		require.Len(t, found.Databases, 1)
		return found.Databases[0], nil
	}
	for name, test := range map[string]struct {
		url  string
		uri  string
		want string
	}{
		"another mode":        {"postgres://h/d?sslmode=require", "postgres://h/d?sslmode=verify-full", "verify-full by sslmode in credential uri, require by sslmode in DATABASE_URL"},
		"the same":            {"postgres://h/d?sslmode=require", "postgres://h/d?sslmode=require", "require by sslmode in credential uri"},
		"the only one":        {"postgres://h/d?sslmode=require", "postgres://h/d", "require by sslmode in DATABASE_URL"},
		"one of several":      {"postgres://a,h/d?sslmode=require", "postgres://h/d", "require by sslmode in DATABASE_URL"},
		"of another database": {"postgres://other/d?sslmode=require", "postgres://h/d", ""},
		"of no Postgres":      {"mysql://h/d?sslmode=require", "postgres://h/d", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := with(test.url, m{"uri": test.uri})
			require.NoError(t, err)
			assert.Equal(t, test.want, modes(b))
		})
	}
	b, err := with("postgres://h/d?sslmode=require", m{"uri": "postgres://h/d", "sslmode": "require"})
	require.NoError(t, err)
	assert.Equal(t, "require by credential sslmode, require by sslmode in DATABASE_URL", modes(b), "a key does not say it for the URL")
	assert.Equal(t, ByURI, b.Asked[1].By)
	_, err = with("postgres://h/d?sslmode=on", m{"uri": "postgres://h/d"})
	assert.ErrorContains(t, err, "DATABASE_URL: sslmode")

	alone := one(t, map[string]string{"DATABASE_URL": "postgres://h/d?sslmode=require"})
	assert.Equal(t, "DATABASE_URL", alone.Title())
	assert.Equal(t, "require by sslmode in DATABASE_URL", modes(alone))
	_, err = Read(map[string]string{"DATABASE_URL": "postgres://h/d?sslmode=on"})
	assert.Error(t, err)
}

func TestWhatAMountedBindingHolds(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o600))
	}
	put("orders/label", "csb-aws-postgresql")
	put("orders/tags", "a,stratos")
	put("orders/host", "h\r\n")
	put("orders/name", "not the database's name")
	put("orders/plan", "sslmode=verify-full host=x dbname=y")
	put("orders/.hidden", "postgres://other/d")
	put("orders/folder/uri", "postgres://other/d")
	put("cache/type", "redis")
	put("cache/host", "c")
	put("README", "postgres://other/d")
	found, err := Read(map[string]string{"SERVICE_BINDING_ROOT": root})
	require.NoError(t, err)
	require.Len(t, found.Databases, 1)
	b := found.Databases[0]
	assert.Equal(t, "orders", b.Name)
	assert.Equal(t, []string{"h"}, b.Hosts)
	assert.Contains(t, b.Tags, "stratos")
	assert.Empty(t, b.Database, "the platform's own files are no credentials")
	assert.Empty(t, b.Asked)
	assert.Equal(t, []string{"cache"}, found.Others)

	require.NoError(t, os.Symlink(filepath.Join(root, "none"), filepath.Join(root, "orders", "broken")))
	_, err = Read(map[string]string{"SERVICE_BINDING_ROOT": root})
	assert.ErrorContains(t, err, "SERVICE_BINDING_ROOT: ")
	assert.ErrorContains(t, err, "broken")
}

func TestAReferenceToCredHubSaysWhatIsKnownOfIt(t *testing.T) {
	reference := m{"credhub-ref": "/c/x"}
	document := services(t, m{"name": "db", "credentials": reference})
	found, err := Read(document)
	require.NoError(t, err)
	require.Len(t, found.Unresolved, 1)
	assert.Empty(t, found.Others, "nobody knows that it is not Postgres")
	assert.Equal(t, Reference{Service: "db"}, found.Unresolved[0])

	file := filepath.Join(t.TempDir(), "bindings.json")
	require.NoError(t, os.WriteFile(file, []byte(document["VCAP_SERVICES"]), 0o600))
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "db"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "db", "credhub-ref"), []byte("/c/x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "db", "type"), []byte("postgresql"), 0o600))
	for variable, path := range map[string]string{"VCAP_SERVICES_FILE_PATH": file, "SERVICE_BINDING_ROOT": root} {
		found, err := Read(map[string]string{variable: path})
		require.NoError(t, err)
		require.Len(t, found.Unresolved, 1, variable)
		assert.Equal(t, Reference{"db", variable == "SERVICE_BINDING_ROOT", true}, found.Unresolved[0])
	}
}

func TestTwoDocumentsAreNotRead(t *testing.T) {
	document := vcap(t, m{"uri": "postgres://h/d?sslmode=verify-full"})["VCAP_SERVICES"]
	for _, text := range []string{"{}" + document, document + "}", document + "]", "{}]", "{} {}", document + ",", document + "x"} {
		_, err := Read(map[string]string{"VCAP_SERVICES": text})
		assert.ErrorContains(t, err, "VCAP_SERVICES is not valid JSON: broken at byte", text)
	}
	_, err := Read(map[string]string{"VCAP_SERVICES": " " + document + "\n"})
	assert.NoError(t, err, "the control")
}

// It is an error, never "nothing bound".
func TestMoreThanAThousandServicesIsNotRead(t *testing.T) {
	document := func(texts int) string {
		all := strings.TrimSuffix(strings.Repeat(`"",`, texts), ",")
		return `{"a":[{"name":"db","credentials":{"uri":"postgres://h/d","more":[` + all + `]}}]}`
	}
	const others = 7 // signs
	assert.Equal(t, []string{"h"}, one(t, map[string]string{"VCAP_SERVICES": document(mostSigns - others + 1)}).Hosts)
	for _, read := range []func(map[string]string) (Bound, error){Read, ReadElsewhere} {
		_, err := read(map[string]string{"VCAP_SERVICES": document(mostSigns - others + 2)})
		assert.EqualError(t, err, "VCAP_SERVICES has more than 30000 commas and brackets: unbind some services")
	}
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "db"), 0o755))
	for name, text := range map[string]string{"uri": "postgres://h/d", "more": document(mostSigns)} {
		require.NoError(t, os.WriteFile(filepath.Join(root, "db", name), []byte(text), 0o600))
	}
	_, err := Read(map[string]string{"SERVICE_BINDING_ROOT": root})
	assert.EqualError(t, err, "db: more than 30000 commas and brackets: unbind some services")
}

func TestAnEmptyFileOfBindingsIsSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bindings.json")
	require.NoError(t, os.WriteFile(file, []byte("\n"), 0o600))
	found, err := Read(map[string]string{"VCAP_SERVICES_FILE_PATH": file})
	require.NoError(t, err)
	assert.Equal(t, []string{"VCAP_SERVICES_FILE_PATH (" + file + ") is empty: no binding can be seen"}, found.Notes)
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	found, err = Read(map[string]string{"VCAP_SERVICES_FILE_PATH": file})
	require.NoError(t, err)
	assert.Empty(t, found.Notes, "the control")
}

func TestAFileThatABindingNamesIsReadUpTo1MB(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("x"), largestFile), 0o600))
	binding := vcap(t, m{"uri": "postgres://h/d", "sslrootcert": file})
	assert.Len(t, string(one(t, binding).CA.Value), largestFile)
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("x"), largestFile+1), 0o600))
	assert.True(t, one(t, binding).CA.Missing)
	assert.True(t, one(t, vcap(t, m{"uri": "postgres://h/d", "sslrootcert": "/proc/self/pagemap"})).CA.Missing, "a regular file without an end")
}

func TestWhatPeopleShouldKnowOfABinding(t *testing.T) {
	for _, test := range []struct {
		credentials m
		note        string
	}{
		{m{"uri": "postgres://h/d?sslmode=no-verify"}, "sslmode in credential uri is no-verify, node-postgres's word for require: it verifies nothing"},
		{m{"uri": "postgres://h/d", "sslmode": "no-verify"}, "credential sslmode is no-verify, node-postgres's word for require: it verifies nothing"},
		{m{"uri": "postgres://h/d", "ssl": m{"rejectUnauthorized": false}}, "credential ssl.rejectUnauthorized asks for TLS that verifies nothing; for verified TLS, write sslmode verify-full"},
	} {
		assert.Equal(t, []string{test.note}, one(t, vcap(t, test.credentials)).Notes)
	}
	assert.Empty(t, one(t, vcap(t, m{"uri": "postgres://h/d?sslmode=require", "ssl": m{"rejectUnauthorized": true}})).Notes)
}

func TestAClientCertificateInAURIIsReadIfItIsPEM(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
	b := one(t, vcap(t, m{"uri": "postgres://h/d?sslcert=" + url.QueryEscape(somePEM) + "&sslkey=" + url.QueryEscape(key)}))
	assert.Equal(t, []string{somePEM, key, "sslcert in credential uri"}, []string{string(b.ClientCert.Value) + "\n", string(b.ClientKey.Value) + "\n", b.ClientCert.String()})
	b = one(t, vcap(t, m{"uri": "postgres://h/d?sslcert=/app/client.crt&sslkey=/app/client.key"}))
	assert.False(t, b.ClientCert.Known() || b.ClientKey.Known(), "the driver that reads the string opens these")
}

func TestABindingThatCannotBeReadIsNotLeftOut(t *testing.T) {
	root := t.TempDir()
	found, err := Read(map[string]string{"SERVICE_BINDING_ROOT": filepath.Join(root, "none")})
	require.NoError(t, err, "the control: without the folder, nothing is bound")
	assert.Empty(t, found.Others)
	require.NoError(t, os.Symlink(filepath.Join(root, "none"), filepath.Join(root, "orders")))
	_, err = Read(map[string]string{"SERVICE_BINDING_ROOT": root})
	assert.ErrorContains(t, err, "SERVICE_BINDING_ROOT: ")
}

func TestAHundredHostsInOneTextAreTheMost(t *testing.T) {
	hosts := func(n int) map[string]string {
		names := make([]string, n)
		for i := range names {
			names[i] = "h" + strconv.Itoa(i)
		}
		return vcap(t, m{"uri": "postgres://" + strings.Join(names, ",") + "/d"})
	}
	assert.Len(t, one(t, hosts(100)).Hosts, 100)
	_, err := Read(hosts(101))
	assert.ErrorContains(t, err, "the credentials name more than 100 hosts")
}
