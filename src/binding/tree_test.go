package binding

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// A key comes from the binding too. If it does not look like a key, it may be a connection string
// or a password in the wrong place.
func TestAKeyThatDoesNotLookLikeOneIsNotShown(t *testing.T) {
	const hidden = "(a key that is not shown)"
	for key, want := range map[string]string{
		"uri":                   "uri",
		"SSL Mode":              "SSL Mode",
		"a/b":                   "a/b",
		"what?":                 "what?",
		"urn:x":                 "urn:x",
		strings.Repeat("k", 64): strings.Repeat("k", 64),
		strings.Repeat("k", 65): hidden,
		"postgres://u:p@h/d":    hidden,
		"password=s3cr3t":       hidden,
		"me@h":                  hidden,
		"a b:c":                 hidden,
	} {
		assert.Equal(t, want, shownKey(key), key)
	}
}

func TestATextThatHoldsJSONIsReadAsJSON(t *testing.T) {
	for text, is := range map[string]bool{
		`{}`: true, `[]`: true, " {\"a\":1}\n": true, `["a"]`: true,
		``: false, `{`: false, `[`: false, `{]`: false, `[}`: false, `a{}`: false, `{}a`: false, `"a"`: false, `12`: false, `{} {}`: false, `[1] [2]`: false, `{a}`: false,
	} {
		_, err := asJSON(text)
		assert.Equal(t, is, err == nil, text)
	}
	_, err := decodeJSON([]byte(`{} {}`))
	assert.EqualError(t, err, "not one value")
}

func TestAListIsReadAsItsTexts(t *testing.T) {
	assert.Equal(t, "a,1,b", asText([]any{"a", nil, "", true, []any{}, jsonNumber(t, "1"), "b"}))
	assert.Empty(t, asText(true))
	assert.Empty(t, asText(map[string]any{"a": "b"}))
}

func jsonNumber(t testing.TB, text string) any {
	t.Helper()
	number, err := decodeJSON([]byte(text))
	require.NoError(t, err)
	return number
}

func TestWhichKeysAreForModes(t *testing.T) {
	for name, test := range map[string]struct {
		credentials m
		want        string
	}{
		"mode, below ssl":           {m{"ssl": m{"mode": "require"}}, "require by credential ssl.mode"},
		"mode, below tls":           {m{"tls": m{"mode": "verify-ca"}}, "verify-ca by credential tls.mode"},
		"mode, below something":     {m{"cluster": m{"mode": "disable"}}, ""},
		"ssl with a mode":           {m{"ssl": "verify-full"}, "verify-full by credential ssl"},
		"tls with a mode in a list": {m{"tls": []any{"verify-full"}}, "verify-full by credential tls[0]"},
		"ssl with a yes":            {m{"ssl": "yes"}, ""},
		"two in a list are none":    {m{"tls": []any{"verify", "it"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.credentials["host"] = "h"
			assert.Equal(t, test.want, modes(one(t, vcap(t, test.credentials, "postgresql"))))
		})
	}
	_, err := Read(vcap(t, m{"host": "h", "ssl": "verify-fulll"}, "postgresql"))
	assert.ErrorContains(t, err, `credential ssl: sslmode "verify-fulll" is not one of`, "a slip is one too")
	_, err = Read(vcap(t, m{"host": "h", "ssl": m{"mode": "on"}}, "postgresql"))
	assert.ErrorContains(t, err, "credential ssl.mode: sslmode (not shown, it does not look like a mode) is not one of", "and what is none, where nothing else can be meant")
}

func TestAPasswordIsNeverReadAsAConnectionStringButAListMayHoldOne(t *testing.T) {
	const other = "postgres://other/d?sslmode=disable"
	for _, key := range []string{"password", "pass", "pwd", "secret", "token"} {
		assert.Equal(t, []string{"db: h"}, titles(t, vcap(t, m{"uri": "postgres://h/d", key: other})), key)
		assert.Equal(t, []string{"db: h"}, titles(t, vcap(t, m{"uri": "postgres://h/d", key: `{"uri":"postgres://other/d"}`})), key)
		assert.Len(t, titles(t, vcap(t, m{"uri": "postgres://h/d", key: []any{other}})), 2, key)
	}
}

func TestTheFirstKeyWithAValueCounts(t *testing.T) {
	b := one(t, vcap(t, m{"host": "h", "username": "", "user": "u", "dbname": nil, "database": []any{}, "name": "n", "port": 5433}, "postgresql"))
	assert.Equal(t, []string{"u", "n", "5433"}, []string{b.Username, b.Database, b.Ports[0]})
}

func TestKindKeysTellWhatAnObjectIsAbout(t *testing.T) {
	for name, test := range map[string]struct {
		inner m
		want  []string
	}{
		"Postgres, though the service does not say so": {m{"host": "h", "engine": "aurora-postgresql"}, []string{"db: h"}},
		"MySQL":                         {m{"host": "h", "type": "mysql", "sslmode": "REQUIRED"}, nil},
		"MySQL by its port":             {m{"host": "h", "port": 3306, "username": "u", "ssl_mode": "REQUIRED"}, nil},
		"a Postgres at that port":       {m{"host": "h", "port": 3306, "scheme": "postgres"}, []string{"db: h"}},
		"the word under another key":    {m{"host": "h", "note": "postgres"}, nil},
		"a mode beside the host, alone": {m{"host": "h", "sslmode": "require"}, []string{"db: h"}},
		"an empty mode is none":         {m{"host": "h", "sslmode": " "}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, titles(t, vcap(t, m{"inner": test.inner})))
		})
	}
}

func TestAPortOfMySQLsHidesNoServiceWhoseLabelSaysPostgres(t *testing.T) {
	b := one(t, vcap(t, m{"port": 3306, "username": "u", "sslmode": "verify-ca"}, "postgresql"))
	assert.Equal(t, "verify-ca by credential sslmode", modes(b))
	assert.True(t, b.Guessed)
	assert.Empty(t, titles(t, vcap(t, m{"port": 3306, "username": "u"}, "mysql")), "the control")
}

func TestOnlyAQueryWithAModeIsReadAlone(t *testing.T) {
	_, ok := parseParameters("sslmode=require")
	assert.True(t, ok)
	for _, text := range []string{"a=b", "sslmode", "=x&sslmode=require", "sslmode=require words of a sentence", "/path?x=y", ""} {
		_, ok := parseParameters(text)
		assert.False(t, ok, text)
	}
	c, _ := parseParameters("?sslmode=verify-full&host=other")
	assert.Empty(t, c.hosts, "it belongs to the host beside it, and names none")
	assert.Equal(t, []parameter{{key: "sslmode", value: sslmode.VerifyFull.String()}}, c.modes)
}

func TestAModeThatWasNotReadIsNoticed(t *testing.T) {
	for text, more := range map[string]bool{
		"postgres://h/d?sslmode=require":                          false,
		"postgres://h/d?sslmode=verify-ca&a=verify-ca":            false,
		"postgres://h/d?sslmode=verify-full&a=verify-ca":          false,
		"postgres://h/d?sslmode=verify-ca&a=verify-full":          true,
		"postgres://h/d?sslmode=require&a=verify_ca":              true,
		"postgres://h/d?a=verify-full":                            true,
		"postgres://u:verify-full@h/d?sslmode=require":            false,
		"postgres://u:verify-full@h/d?sslmode=require&a=verifyCA": true,
		"postgres://u:verifyca@h/d?sslmode=require":               false,
		"postgres://h/verify?sslmode=on":                          false,
	} {
		c, ok := parseString(text)
		require.True(t, ok, text)
		assert.Equal(t, more, c.unread(text) != sslmode.None, text)
	}
}

func TestTextsAreReadInOrderAndKeysOfAFamilyHaveTheirOwnPath(t *testing.T) {
	credentials := m{"a": "postgres://h1/d", "b": "postgres://h2/d", "k": []any{"postgres://h3/d", "postgres://h4/d"}, "z": "postgres://h5/d"}
	assert.Equal(t, []string{"db (a): h1", "db (b): h2", "db (k[0]): h3", "db (k[1]): h4", "db (z): h5"}, titles(t, vcap(t, credentials)))
	found, err := Read(vcap(t, m{"host": "app", "port": 5432, "username": "u", "PGHOST": "h", "PGUSER": "u", "PGSSLMODE": "require"}))
	require.NoError(t, err)
	require.Len(t, found.Databases, 2)
	assert.Equal(t, "db (PGHOST): require by credential PGSSLMODE", found.Databases[1].Title()+": "+modes(found.Databases[1]))
}
