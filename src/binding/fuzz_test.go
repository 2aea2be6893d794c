package binding

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// canary is in the middle of every password that a fuzz target makes up.
const canary = "Zq7xWv9k"

// spelling is a kind of connection string, with a password in the right place.
type spelling struct {
	name  string
	ends  string // ends the password for every reader; the rest may name another host
	uri   bool   // an "@" or "?" in the password can be read in two ways
	write func(password string) string
}

const rightHost = "db.example.com"

// spellings all ask for verify-full, and name one host.
var spellings = []spelling{
	{"a URI", "", true, func(password string) string {
		return "postgres://app:" + password + "@db.example.com:5432/orders?sslmode=verify-full"
	}},
	{"a URI of a driver", "", true, func(password string) string {
		return "postgresql+psycopg2://app:" + password + "@db.example.com:5432/orders?application_name=a&sslmode=verify-full"
	}},
	{"a pgjdbc URL", "", false, func(password string) string {
		return "jdbc:postgresql://db.example.com:5432/orders?user=app&password=" + password + "&sslmode=verify-full"
	}},
	{"a pgjdbc URL in a wrapper", "", false, func(password string) string {
		return "jdbc:aws-wrapper:postgresql://db.example.com/orders?password=" + password + "&ssl=true&sslmode=verify-full"
	}},
	{"an R2DBC URL", "", true, func(password string) string {
		return "r2dbc:postgresql://app:" + password + "@db.example.com:5432/orders?sslMode=verify-full"
	}},
	{"an R2DBC URL, pooled", "&", false, func(password string) string {
		return "r2dbc:pool:postgresql://db.example.com:5432/orders?password=" + password + "&sslMode=VERIFY_FULL"
	}},
	{"libpq's words", "", false, func(password string) string {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		return "host=db.example.com port=5432 dbname=orders user=app password='" + quoted + "' sslmode=verify-full"
	}},
	{"libpq's words, not quoted", " ", false, func(password string) string {
		return "host=db.example.com port=5432 dbname=orders user=app password=" + password + " sslmode=verify-full"
	}},
	{"ADO.NET", "", false, func(password string) string {
		return `Host=db.example.com;Database=orders;Username=app;Password="` + strings.ReplaceAll(password, `"`, `""`) + `";SSL Mode=VerifyFull`
	}},
	{"ADO.NET, not quoted", ";", false, func(password string) string {
		return "Server=db.example.com;Port=5432;Database=orders;User Id=app;Password=" + password + ";SSL Mode=VerifyFull"
	}},
}

// hidden says what went wrong when a string was read: another host, or a mode that was neither read
// nor refused. A refusal is fine for any password, if it does not show it.
func hidden(s spelling, password, text string, read func(string) (Bound, error)) string {
	found, err := read(text)
	if err != nil {
		if strings.Contains(err.Error(), canary) {
			return "the error shows the password: " + err.Error()
		}
		return ""
	}
	if len(found.Databases) == 0 {
		return "no database is found, and nobody says so"
	}
	for _, b := range found.Databases {
		if !slices.ContainsFunc(b.Asked, func(a Asked) bool { return a.Mode == sslmode.VerifyFull }) {
			return fmt.Sprintf("the mode is not heard: %v", b.Asked)
		}
		if shown := b.Title() + fmt.Sprint(b.Asked, b.AsksTLS, b.System, b.CA.Place); strings.Contains(shown, canary) {
			return "it shows the password: " + shown
		}
		// With "x@h/d?a=" in its password, a URI can be read in two ways. Any reader, libpq too,
		// may take the other host.
		if s.uri && strings.Contains(password, "?") && strings.ContainsAny(password, "@/") {
			continue
		}
		if s.ends != "" && strings.Contains(password, s.ends) {
			continue
		}
		for _, host := range b.Hosts {
			if host != rightHost {
				return "another host: " + host
			}
		}
	}
	return ""
}

func readURI(t testing.TB) func(string) (Bound, error) {
	return func(text string) (Bound, error) { return Read(vcap(t, map[string]any{"uri": text})) }
}

func TestAPasswordInItsRightPlaceHidesNothing(t *testing.T) {
	passwords := []string{"", "a/b@x?z=1", "p@ss", "p/ss", "p#ss", "p%ss", "p:ss", "p?ss", `p\ss`, `p"ss`, "p'ss", "p;ss", "p ss", "p&ss", "p=ss",
		"@other.example.com/", "a@other.example.com:5432", "?sslmode=disable", "&sslmode=disable", ";SSL Mode=Disable", " sslmode=disable",
		"postgres://u:p@other.example.com/d?sslmode=disable", "jdbc:postgresql://other.example.com/d", "{", "[", "%", "&amp;", "psql ", "://",
		strings.Repeat("?", 40), ";Host=other.example.com;", "&host=other.example.com", " host=other.example.com", `";Host=other.example.com;x="`}
	for _, s := range spellings {
		t.Run(s.name, func(t *testing.T) {
			for _, password := range passwords {
				for _, password := range []string{password + canary, canary + password} {
					assert.Empty(t, hidden(s, password, s.write(password), readURI(t)), "%q in %s", password, s.write(password))
				}
			}
			b := one(t, vcap(t, map[string]any{"uri": s.write(canary)}))
			assert.Equal(t, []string{rightHost, canary}, []string{b.Hosts[0], string(b.Password)}, "a simple password is read")
		})
	}
	t.Run("the control: a reader that takes the first host is caught", func(t *testing.T) {
		careless := func(text string) (Bound, error) {
			_, after, _ := strings.Cut(text, "@")
			host, _, _ := strings.Cut(after, "/")
			return Bound{Databases: []Binding{{Hosts: []string{host}, Asked: []Asked{{Mode: sslmode.VerifyFull}}}}}, nil
		}
		password := "a@other.example.com/" + canary
		assert.Contains(t, hidden(spellings[0], password, spellings[0].write(password), careless), "another host")
	})
}

// FuzzAPasswordInItsRightPlaceHidesNothing puts any password into each kind of connection string.
func FuzzAPasswordInItsRightPlaceHidesNothing(f *testing.F) {
	for i := range spellings {
		f.Add(byte(i), "a/b@x?z=1", "")
		f.Add(byte(i), "", "&sslmode=disable")
		f.Add(byte(i), "'", `";`)
	}
	f.Fuzz(func(t *testing.T, kind byte, before, after string) {
		s := spellings[int(kind)%len(spellings)]
		password := before + canary + after
		if problem := hidden(s, password, s.write(password), readURI(t)); problem != "" {
			t.Errorf("%s: %s", s.write(password), problem)
		}
	})
}

// FuzzAnyTextIsAConnectionStringOrNone reads any text, since a credential may hold anything.
func FuzzAnyTextIsAConnectionStringOrNone(f *testing.F) {
	for _, s := range spellings {
		f.Add(s.write("secret"))
	}
	for _, text := range []string{
		"", "postgres://", "postgres:///d?host=%2Fvar%2Frun", "jdbc:postgresql:d?sslmode=require", "r2dbcs:postgresql://h/d",
		"cockroachdb://h:26257/d?sslmode=verify-full", "\ufeff 'postgres://h/d' ", "psql 'host=h dbname=d'", "service=a sslmode=require",
		"pgsql:host=h;dbname=d", "postgres://[::1]:5432,h2/d", "mysql://h/d?sslmode=x", "https://h/?sslmode=x", "a=b", `host='a\' dbname=`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := parseString(text)
		if !ok {
			assert.Zero(t, c)
			return
		}
		for _, a := range c.hosts {
			assert.Regexp(t, `^([0-9a-z_][0-9a-z._-]*|[0-9a-f:.]+)$`, a.host)
			assert.Regexp(t, `^[0-9]*$`, a.port)
		}
		keys := map[string]bool{}
		for _, p := range c.modes {
			assert.NotEmpty(t, strings.TrimSpace(p.value))
			assert.False(t, keys[p.key], "a way of writing the mode counts once: %q", p.key)
			keys[p.key] = true
		}
		around, ok := parseString("\ufeff \"" + text + "\"\r\n")
		assert.True(t, ok, "quotes around the text are accepted")
		assert.Equal(t, c.hosts, around.hosts)
	})
}

// FuzzKeysFoldToLettersWithoutBlanks folds keys of every alphabet.
func FuzzKeysFoldToLettersWithoutBlanks(f *testing.F) {
	for _, key := range []string{"sslmode", "SSL Mode", "ssl.mode", "db-ssl_mode", " ", "ſslmode", "sslmode\u200b", "İ", "\xff", "K"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		key = strings.ToValidUTF8(key, "\ufffd") // JSON has only valid ones
		folded := fold(key)
		assert.Equal(t, folded, fold(folded), "folding twice changes nothing")
		assert.False(t, strings.ContainsAny(folded, "_-. ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		assert.Equal(t, folded, fold(strings.Map(swapCase, key)), "case does not matter")
		assert.Equal(t, folded, fold("-"+key+"_."), "nor do separators")
		assert.True(t, utf8.ValidString(folded), "no character is cut in two")
		foreign := func(r rune) bool { return r >= utf8.RuneSelf }
		assert.Equal(t, strings.ContainsFunc(key, foreign), strings.ContainsFunc(folded, foreign), "letters of other alphabets stay")
		_ = isReplicaKey(folded)
		for _, word := range words(key) {
			assert.Equal(t, strings.ToLower(word), word)
		}
	})
}

// swapCase swaps the case of ASCII letters.
func swapCase(r rune) rune {
	if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r ^ 0x20
	}
	return r
}

// leaves counts the texts in a value, also those in JSON within a text. It does not use the walk.
func leaves(key string, raw any) int {
	n := 0
	switch v := raw.(type) {
	case string:
		n = 1
	case []any:
		for _, item := range v {
			n += leaves("", item)
		}
	case map[string]any:
		for key, item := range v {
			if text, ok := item.(string); ok && !slices.Contains(secretKeys, fold(key)) {
				if nested, err := asJSON(text); err == nil {
					item = nested
				}
			}
			n += leaves(key, item)
		}
	}
	return n
}

// FuzzTheWalkReachesEveryText walks through any JSON. It also finds a connection string that is
// added.
func FuzzTheWalkReachesEveryText(f *testing.F) {
	for _, document := range []string{
		`{}`, `{"a":"b"}`, `{"a":["b",["c",{"d":"e"}]]}`, `{"a":"{\"b\":\"c\"}"}`, `{"a":"[1,\"b\"]"}`, `{"password":"{\"a\":1}"}`,
		`{"a":"{\"b\":\"{\\\"c\\\":1}\"}"}`, `{"a":null,"b":1e999,"c":true}`, `{"":{"":{"":""}}}`, `{"a":"[} "}`,
		strings.Repeat(`{"a":`, 31) + `"b"` + strings.Repeat("}", 31), strings.Repeat(`{"a":`, 40) + `"b"` + strings.Repeat("}", 40),
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		f.Add(document)
	}
	f.Fuzz(func(t *testing.T, document string) {
		raw, err := decodeJSON([]byte(document))
		credentials, ok := raw.(map[string]any)
		if err != nil || !ok {
			return
		}
		objects, err := walk(credentials)
		if err != nil {
			assert.Equal(t, errDeep, err)
			return
		}
		require.Nil(t, objects[0].parent)
		seen := map[*object]bool{}
		for _, o := range objects {
			assert.True(t, o.parent == nil || seen[o.parent], "outer ones come first")
			seen[o] = true
		}
		paths := textPaths(t, objects)
		assert.Len(t, paths, leaves("", raw))
		objects, _ = walk(credentials)
		require.Equal(t, paths, textPaths(t, objects), "the order is always the same")
		if _, there := credentials["uri"]; there {
			return
		}
		credentials["uri"] = "postgres://db.example.com/orders?sslmode=verify-full"
		objects, err = walk(credentials)
		require.NoError(t, err)
		assert.Len(t, textPaths(t, objects), len(paths)+1)
	})
}

// textPaths returns the paths of all texts in objects.
func textPaths(t testing.TB, objects []*object) (paths []string) {
	for _, o := range objects {
		for _, v := range slices.Concat(o.values, o.items) {
			assert.Same(t, o, v.in)
			assert.Equal(t, fold(v.key), v.key)
			if _, ok := v.raw.(string); ok {
				paths = append(paths, v.path())
			}
		}
	}
	return paths
}

// FuzzCredentialsAreReadOrRefusedWithoutTheSecret makes credentials of any JSON. The texts may
// contain the secret. The keys may not, because errors show keys.
func FuzzCredentialsAreReadOrRefusedWithoutTheSecret(f *testing.F) {
	for _, document := range []string{
		`{"uri":"postgres://u:SECRET@h/d?sslmode=SECRET"}`, `{"host":"h","sslmode":"SECRET","password":"SECRET"}`,
		`{"dsn":"host=h dbname=d password=SECRET sslmode='SECRET"}`, `{"sslmode":["SECRET","SECRET"],"host":"h"}`,
		`{"ssl":{"mode":"SECRET"},"host":"h","dbname":"d"}`, `{"jdbcUrl":"jdbc:postgresql://h/d?password=SECRET&sslmode=SECRET"}`,
		`{"uri":"postgres://h/d","sslrootcert":"/SECRET.pem"}`, `{"hosts":["SECRET@","h"],"sslmode":"verify-full"}`,
		`{"tenants":[{"url":"postgres://u:SECRET@h/d?ssl-mode=SECRET"}]}`, `{"credhub-ref":"/SECRET"}`, `{"options":"sslmode=SECRET&a=SECRET"}`,
		`{"uri":"mysql://u:SECRET@h/d","ssl_mode":"REQUIRED"}`, `{"a":"{\"sslmode\":\"SECRET\",\"host\":\"h\"}"}`,
	} {
		f.Add(document)
	}
	f.Fuzz(func(t *testing.T, document string) {
		raw, err := decodeJSON([]byte(strings.ReplaceAll(document, "SECRET", canary)))
		credentials, ok := raw.(map[string]any)
		if err != nil || !ok || holdsKey(credentials) {
			return
		}
		for _, env := range []map[string]string{vcap(t, credentials), vcap(t, credentials, "postgresql"), mounted(t, credentials)} {
			found, err := Read(env)
			if err != nil {
				assert.NotContains(t, err.Error(), canary)
				assert.NotContains(t, err.Error(), "\n")
				continue
			}
			for _, b := range found.Databases {
				shown := b.Title() + fmt.Sprint(b.Asked, b.AsksTLS, b.System, b.CA.Place, b.MoreCAs, b.ClientCert, b.ClientKey)
				assert.NotContains(t, shown, canary)
				assert.Len(t, b.Ports, len(b.Hosts))
				assert.LessOrEqual(t, b.Replicas, len(b.Hosts))
				assert.LessOrEqual(t, len(b.Hosts), mostHosts)
			}
		}
	})
}

// holdsKey says whether a key contains the secret, also in JSON within a text.
func holdsKey(raw any) bool {
	switch v := raw.(type) {
	case string:
		nested, err := asJSON(v)
		return err == nil && holdsKey(nested)
	case []any:
		return slices.ContainsFunc(v, holdsKey)
	case map[string]any:
		for key, item := range v {
			if strings.Contains(key, canary) || holdsKey(item) {
				return true
			}
		}
	}
	return false
}

// mounted is vcap with each credential as JSON in a text. SERVICE_BINDING_ROOT delivers them like
// this.
func mounted(t testing.TB, credentials map[string]any) map[string]string {
	texts := map[string]any{}
	for key, value := range credentials {
		if _, ok := value.(string); !ok {
			encoded, err := json.Marshal(value)
			require.NoError(t, err)
			value = string(encoded)
		}
		texts[key] = value
	}
	return vcap(t, texts)
}
