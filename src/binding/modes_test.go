package binding

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

func TestAModeInAStringAboutAnotherHostIsForThatHostOnly(t *testing.T) {
	found, err := Read(vcap(t, m{"host": "h", "sslmode": "require", "dsn_a": "postgres://a/d?sslmode=verify-full", "dsn_b": "postgres://b/d",
		"dsn_c": "postgres://c/d?ssl=true", "dsn_d": "postgres://d/d?ssl=0", "dsn_e": "postgres://e/d?sslmode=disable"}))
	require.NoError(t, err)
	asked := map[string]string{}
	for _, b := range found.Databases {
		asked[b.Hosts[0]] = modes(b)
	}
	assert.Equal(t, map[string]string{
		"h": "require by credential sslmode",
		"a": "verify-full by sslmode in credential dsn_a",
		"b": "require by credential sslmode", // it has no mode, so the keys around it count
		"c": "require by ssl in credential dsn_c",
		"d": "require by credential sslmode", // ssl=0 alone lowers nothing
		"e": "disable by sslmode in credential dsn_e",
	}, asked)
}

func TestAQueryThatStandsAloneIsRead(t *testing.T) {
	for name, credentials := range map[string]m{
		"beside the host": {"host": "h", "dbname": "d", "options": "sslmode=verify-ca&connect_timeout=5"},
		"in an object of which nothing else is known": {"uri": "postgres://h/d", "more": m{"zzz": "?sslmode=verify-ca&a=b"}},
		"with semicolons or blanks":                   {"uri": "postgres://h/d", "more": "a=b;sslmode=verify-ca c=d"},
	} {
		t.Run(name, func(t *testing.T) {
			b := one(t, vcap(t, credentials, "postgresql"))
			require.Len(t, b.Asked, 1)
			assert.Equal(t, Asked{sslmode.VerifyCA, b.Asked[0].Place, ByString, false}, b.Asked[0])
		})
	}
	_, err := Read(vcap(t, m{"uri": "postgres://h/d", "options": "sslmode=requird&a=b"}))
	assert.ErrorContains(t, err, "sslmode in credential options: sslmode \"requird\" is not one of", "and refused where it makes no sense")
	b := one(t, vcap(t, m{"uri": "postgres://h/d?sslmode=verify-full", "x": "$DATABASE_URL?connect_timeout=5&sslmode=require"}))
	assert.Equal(t, "verify-full by sslmode in credential uri", modes(b), "an example is none")
}

// A binding may write its mode in very many places. We keep only some of them, but still find a
// contradiction.
func TestOfVeryManyPlacesOneOfEachKindIsEnough(t *testing.T) {
	objects := m{"host": "h"}
	for i := range 150 {
		objects[fmt.Sprintf("a%03d", i)] = m{"sslmode": "require"}
	}
	b := one(t, vcap(t, objects))
	assert.Len(t, b.Asked, 101)
	objects["b"] = m{"sslmode": "verify-full"}
	b = one(t, vcap(t, objects))
	require.Len(t, b.Asked, 102)
	assert.Equal(t, Asked{sslmode.VerifyFull, Place{Path: "b.sslmode"}, ByKey, false}, b.Asked[101])

	cas := m{"host": "h", "sslmode": "require"}
	for i := range 150 {
		cas[fmt.Sprintf("a%03d", i)] = m{"ca": somePEM}
	}
	assert.Len(t, one(t, vcap(t, cas)).MoreCAs, 101)

	strings := m{"host": "h"}
	for i := range 150 {
		strings[fmt.Sprintf("a%03d", i)] = "postgres://h/d?sslmode=require"
	}
	assert.Len(t, one(t, vcap(t, strings)).Asked, 101)
	strings["sslmode"] = "require"
	b = one(t, vcap(t, strings))
	require.Len(t, b.Asked, 102, "a key is another kind of place than a string")
	assert.Equal(t, ByKey, b.Asked[101].By)
}

// pgjdbc's manual: with this factory, no certificate is validated, whatever sslmode says.
func TestAFactoryThatValidatesNothingIsAModeOfItsOwn(t *testing.T) {
	const url = "jdbc:postgresql://h/d?sslfactory=org.postgresql.ssl.NonValidatingFactory"
	for _, query := range []string{"&sslmode=verify-full", "&ssl=true&sslmode=verify-full"} {
		assert.Equal(t, "verify-full by sslmode in credential uri, require by sslfactory in credential uri", modes(one(t, vcap(t, m{"uri": url + query}))))
	}
	alone := one(t, vcap(t, m{"uri": url}))
	assert.Equal(t, sslmode.None, alone.Writes(), "alone it lowers nothing")
	assert.Equal(t, "sslfactory in credential uri", alone.AsksTLS.String())
	for _, other := range []string{"postgres://h/d?sslfactory=org.postgresql.ssl.NonValidatingFactory", "jdbc:postgresql://h/d?sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"} {
		assert.Empty(t, modes(one(t, vcap(t, m{"uri": other}))), "the control")
	}
}

// Sources: Keycloak's guide "Configuring the database"; Greenplum for VMware Tanzu's credentials;
// Temporal's configuration of its stores; Spring Boot's and SonarQube's environment variables.
func TestKeysOfSingleProductsAreReadToo(t *testing.T) {
	for name, credentials := range map[string]m{
		"Keycloak":  {"KC_DB_URL_HOST": "h", "KC_DB_URL_PORT": "5433", "KC_DB_URL_DATABASE": "d", "KC_DB_USERNAME": "u", "sslmode": "require"},
		"Greenplum": {"master_host": "h", "master_port": 5433, "database": "d", "username": "u", "sslmode": "require"},
		"Spring":    {"SPRING_DATASOURCE_URL": "jdbc:postgresql://h:5433/d", "SPRING_DATASOURCE_USERNAME": "u", "sslmode": "require"},
		"SonarQube": {"SONAR_JDBC_URL": "jdbc:postgresql://h:5433/d", "SONAR_JDBC_USERNAME": "u", "sslmode": "require"},
		"Temporal":  {"connectAddr": "h:5433", "databaseName": "d", "user": "u", "sslmode": "require"},
	} {
		b := one(t, vcap(t, credentials))
		assert.Equal(t, []string{"h", "5433", "d", "u", "require"}, []string{b.Hosts[0], b.Ports[0], b.Database, b.Username, b.Writes().String()}, name)
	}
}

func TestWhatAsksForTLSWithoutAMode(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		value any
		asks  bool
	}{
		"true":              {"ssl", true, true},
		"a text":            {"require_ssl", " Yes ", true},
		"a number":          {"tls", 1, true},
		"false":             {"ssl", false, false},
		"no":                {"use_ssl", "no", false},
		"nothing":           {"ssl", "", false},
		"null":              {"ssl", nil, false},
		"a yes elsewhere":   {"dbname", "on", false},
		"a true elsewhere":  {"name", true, false},
		"a key of no sense": {"secure", true, false},
		"Sequelize's":       {"dialectOptions", m{"ssl": m{"require": true}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			want := ""
			if test.asks {
				want = "credential " + strings.Replace(test.key, "dialectOptions", "dialectOptions.ssl.require", 1)
			}
			assert.Equal(t, want, one(t, vcap(t, m{"host": "h", test.key: test.value}, "postgresql")).AsksTLS.String())
		})
	}
}

func TestAModeThatCannotBeReadIsNamed(t *testing.T) {
	long := strings.Repeat("x", 59) + "mysql" // no scheme is that long
	for name, test := range map[string]struct {
		credentials m
		wrong       string
	}{
		"in a file of options":     {m{"uri": "postgres://h/d", "note": "--set sslmode = verify-full"}, "credential note contains an sslmode that cannot be read"},
		"behind a semicolon":       {m{"uri": "postgres://h/d?a=b;sslmode%3Dverify-full"}, "credential uri contains an sslmode that cannot be read"},
		"a word alone":             {m{"uri": "postgres://h/d", "strictness": "verify-full"}, "credential strictness says verify-full"},
		"a word alone, in a list":  {m{"host": "h", "dbname": "d", "sslmode": "require", "flags": []any{"VERIFY_CA"}}, "credential flags[0] says verify-ca"},
		"a key that is hardly one": {m{"uri": "postgres://h/d", "my_sslmode_setting": "verify-full"}, "credential my_sslmode_setting is no key that is read; did you mean sslmode?"},
		"such a key, and a slip":   {m{"uri": "postgres://h/d", "my_sslmode_setting": "requird"}, "credential my_sslmode_setting is no key that is read; did you mean sslmode?"},
		"TLS's name":               {m{"uri": "postgres://h/d", "note": "--set tlsMode = verify-full"}, "credential note contains an sslmode that cannot be read"},
		"a half of some JSON":      {m{"uri": "postgres://h/d", "note": `{"MY_DB_SSL_MODE": "require"`}, "credential note contains an sslmode that cannot be read"},
		"a typo of the key":        {m{"uri": "postgres://h/d", "ssl_mdoe": "require"}, "credential ssl_mdoe is no key that is read; did you mean sslmode?"},
		"in prose, an example":     {m{"uri": "postgres://h/d", "note": "try sslmode=require, my_sslmode: verify-full"}, "credential note contains an sslmode that cannot be read"},
		"an item of YAML":          {m{"uri": "postgres://h/d?sslmode=disable", "config": "- sslmode: verify-full"}, "credential config contains an sslmode that cannot be read"},
		"a list of YAML":           {m{"uri": "postgres://h/d", "config": "params:\n  - PGSSLMODE: require"}, "credential config contains an sslmode that cannot be read"},
		"an app's own prefix":      {m{"uri": "postgres://h/d", "config": "x: y\n'POSTGRES_PRIMARY_SSL_MODE': require"}, "credential config contains an sslmode that cannot be read"},
		"Grafana's":                {m{"uri": "postgres://h/d", "config": "GF_DATABASE_SSL_MODE: require"}, "credential config contains an sslmode that cannot be read"},
		"words of a database":      {m{"uri": "postgres://h/d", "config": "DB SSL mode: require"}, "credential config contains an sslmode that cannot be read"},
		"an example of a query":    {m{"uri": "postgres://h/d", "x": "<uri>?connect_timeout=5&sslmode=disable"}, "credential x contains an sslmode that cannot be read"},
		"a link of another scheme": {m{"uri": "postgres://h/d", "x": long + "://h/?sslmode=verify-full"}, "credential x contains an sslmode that cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(vcap(t, test.credentials))
			assert.ErrorContains(t, err, test.wrong)
		})
	}
	for name, credentials := range map[string]m{
		"a password":           {"uri": "postgres://h/d", "password": "sslmode=verify-full"},
		"MySQL's":              {"uri": "postgres://h/d", "x": m{"uri": "mysql://m/d", "sslmode": "VERIFY_CA", "note": "sslmode = x"}},
		"MySQL's key":          {"uri": "postgres://h/d", "mysql_sslmode": "REQUIRED"},
		"a page with a query":  {"uri": "postgres://h/d", "docs": "https://docs.example.com/?a=b&sslmode=verify-full"},
		"prose":                {"uri": "postgres://h/d", "note": "sslmode require is fine; the sslmode: verify-full"},
		"ssl's own settings":   {"uri": "postgres://h/d", "note": "ssl_min_protocol_version=TLSv1.2 channel_binding=require sslnegotiation: require"},
		"of TLS, but no mode":  {"uri": "postgres://h/d", "note": "tls-mode=starttls", "tls_mdoe": "starttls"},
		"a mail server's":      {"uri": "postgres://h/d", "config": "smtp_tls_mode: require\nmail.tls-mode: require"},
		"other servers'":       {"uri": "postgres://h/d", "config": "redis-ssl-mode: require\nnginx.ssl-mode: require\nmqtt_tls_mode: require"},
		"MySQL's in a text":    {"uri": "postgres://h/d", "config": "TLS-M: require, SSLM=require\nMYSQL_DATABASE_SSL_MODE: require"},
		"how a proxy trusts":   {"uri": "postgres://h/d", "tls_mutual": "require", "ssl_match_hostname": "disable", "ssl_method": "require"},
		"a web page":           {"uri": "postgres://h/d", "docs": "https://docs.example.com/?sslmode=verify-full"},
		"an empty password":    {"uri": "postgres://h/d", "password": ""},
		"a word that is weak":  {"uri": "postgres://h/d", "strictness": "require"},
		"a long text":          {"uri": "postgres://h/d", "note": "write verify-full there"},
		"an empty one":         {"uri": "postgres://h/d", "my_sslmode_setting": " "},
		"another kind of link": {"uri": "postgres://h/d", "x": "mysql://h/?sslmode=verify-full"},
		"a long one, too":      {"uri": "postgres://h/d", "x": long[1:] + "://h/?sslmode=verify-full"},
	} {
		t.Run("not "+name, func(t *testing.T) {
			b := one(t, vcap(t, credentials))
			assert.Empty(t, b.Asked)
		})
	}
	b := one(t, vcap(t, m{"uri": "postgres://h/d?sslmode=require", "note": "--set sslmode = require"}))
	assert.Equal(t, "require by sslmode in credential uri", modes(b), "nor an example of what the binding writes")
}

func TestALinkOfAnotherKindTakesTheModeBesideIt(t *testing.T) {
	mysql := strings.Repeat("x", 58) + "mysql"
	for scheme, want := range map[string]string{mysql: "", "x" + mysql: "verify-ca by credential x.sslmode"} { // no scheme is that long
		credentials := m{"uri": "postgres://h/d", "x": m{"link": scheme + "://m/d", "sslmode": "verify-ca"}}
		assert.Equal(t, want, modes(one(t, vcap(t, credentials))), scheme)
	}
}

func TestAPostgresDatabaseInAServiceOfAnotherKindIsReadToo(t *testing.T) {
	credentials := m{"uri": "postgres://h/d", "note": "--set sslmode = verify-full"}
	_, err := Read(vcap(t, credentials, "mysql"))
	assert.ErrorContains(t, err, "credential note contains an sslmode that cannot be read")
	delete(credentials, "uri")
	found, err := Read(vcap(t, credentials, "mysql"))
	require.NoError(t, err, "without one, nothing in it is ours")
	assert.Equal(t, []string{"db"}, found.Others)
}

func TestAWordOfAnotherServiceIsNoMode(t *testing.T) {
	found, err := Read(vcap(t, m{"strictness": "verify-full"}))
	require.NoError(t, err)
	assert.Equal(t, []string{"db"}, found.Others)
	_, err = Read(vcap(t, m{"host": "h", "strictness": "verify-full"}))
	assert.ErrorContains(t, err, "credential strictness says verify-full", "but beside a host it may be meant for Postgres")
	_, err = Read(vcap(t, m{"host": "h", "strictness": "\n\n     verify-full    \n\n"}))
	assert.ErrorContains(t, err, "credential strictness says verify-full")
}

func TestAPlaceReadsAsPeopleSayIt(t *testing.T) {
	for want, place := range map[string]Place{
		"":                           {},
		"credential ssl.mode":        {Path: "ssl.mode"},
		"company-ca, credential ca":  {Service: "company-ca", Path: "ca"},
		"SSL Mode in credential dsn": {Path: "dsn", Of: "SSL Mode"},
		"sslmode in DATABASE_URL":    {Path: "DATABASE_URL", Of: "sslmode", Variable: true},
	} {
		assert.Equal(t, want, place.String())
	}
}

func TestFlatKeysAndOptionsAskAsNestedOnesDo(t *testing.T) {
	for _, credentials := range []m{
		{"ssl.require": true}, {"tls.enabled": "yes"}, {"ssl.rejectUnauthorized": true}, {"tls.level": "require"},
		{"force_ssl": true}, {"enable_ssl": "true"}, {"use_ssl": "require"}, {"encryption": "required"}, {"sslOptions": m{"required": true}},
		{"tlsConfig": m{"rejectUnauthorized": true}},
	} {
		credentials["uri"] = "postgres://h/d"
		assert.True(t, one(t, vcap(t, credentials)).AsksTLS.Known(), credentials)
	}
	b := one(t, vcap(t, m{"uri": "postgres://h/d", "ssl.rejectUnauthorized": false}))
	assert.Len(t, b.Notes, 1)
	assert.Equal(t, "require by credential sslOptions.mode", modes(one(t, vcap(t, m{"uri": "postgres://h/d", "sslOptions": m{"mode": "require"}}))))
	for key, flag := range map[string]any{"tls_settings": "enabled", "tls_config": "on", "ssl_options": 1} {
		b = one(t, vcap(t, m{"uri": "postgres://h/d", "sslmode": "disable", key: m{"mode": flag}}))
		assert.False(t, b.AsksTLS.Known(), "mode is no flag: %s", key)
	}
	assert.False(t, one(t, vcap(t, m{"uri": "postgres://h/d", "ssl.require": false, "encryption": "at-rest", "sslx": m{"required": true}})).AsksTLS.Known(), "the control")
}

func TestAModeInAPairOrAnotherWordForVerifyIsNoticed(t *testing.T) {
	for _, credentials := range []m{
		{"params": []any{m{"name": "sslmode", "value": "require"}}}, {"args": []any{"--sslmode", "require"}},
		{"options": []any{[]any{"sslmode", "require"}}}, {"ssl": "verify_identity"}, {"tls": "verify"}, {"encryption": "verify full"},
	} {
		credentials["uri"] = "postgres://h/d"
		_, err := Read(vcap(t, credentials))
		assert.ErrorContains(t, err, "asks for an sslmode, but it is not clear for which Postgres database", credentials)
		delete(credentials, "uri")
		credentials["host"] = "api"
		found, err := Read(vcap(t, credentials))
		_, isText := credentials["ssl"]
		if isText {
			assert.NoError(t, err)
			assert.Empty(t, found.Databases, "the control: of something else")
		}
	}
	assert.Equal(t, "verify-full by credential sslmode", modes(one(t, vcap(t, m{"uri": "postgres://h/d", "sslmode": "verify-full", "keys": []any{"sslmode", "host"}}))))
}
