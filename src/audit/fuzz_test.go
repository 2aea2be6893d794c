package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const canary = "Zq7xWv9k"

// FuzzAnyAnswerIsRowsOrOneLine reads any text in place of an answer.
func FuzzAnyAnswerIsRowsOrOneLine(f *testing.F) {
	for _, document := range []string{
		"", "{}", "null", "<html>", `{"errors":[]}`, `{"errors":[{}]}`, `{"errors":[{"code":10003}]}`, `{"resources":[]}`, `{"resources":[{}]}`,
		`{"guid":"a","lifecycle":{}}`, `{"lifecycle":null}`, `{"system_env_json":null}`, `{"system_env_json":{}}`, `{"system_env_json":{"VCAP_SERVICES":null}}`,
		`{"system_env_json":{"VCAP_SERVICES":{"a":[{"credentials":{"uri":"postgres://h/d?sslmode=require"}}]}}}`,
		`{"system_env_json":{"VCAP_SERVICES":{"a":"b"}},"application_env_json":{"VCAP_APPLICATION":{"application_id":1}}}`,
		`{"system_env_json":{"VCAP_SERVICES":{}},"environment_variables":{"DATABASE_URL":"postgres://h/d?sslmode=verify-full","PGSSLMODE":"require"}}`,
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		r := of(t, read("a.json", document))
		count := 0
		for _, n := range r.Count {
			count += n
		}
		assert.Equal(t, r.Postgres, count, "each app counts once")
		assert.LessOrEqual(t, r.Postgres, r.Apps)
		if r.Apps == 0 {
			assert.True(t, r.Unread == len(r.Rows), "no app, and rows about databases")
		}
		for _, row := range r.Rows {
			_, err := json.Marshal(row)
			require.NoError(t, err)
			assert.NotEmpty(t, row.Why)
			assert.Less(t, len(fmt.Sprint(row)), 8192)
		}
	})
}

// FuzzNoSecretGetsIntoARow puts a secret into the texts of credentials and variables. Keys and
// names may be shown.
func FuzzNoSecretGetsIntoARow(f *testing.F) {
	for _, document := range []string{
		`{"uri":"postgres://u:SECRET@h/d?sslmode=SECRET"}`, `{"host":"h","sslmode":"SECRET","password":"SECRET"}`,
		`{"uri":"postgres://h/d","sslrootcert":"/SECRET.pem"}`, `{"uri":"postgres://h/d","sslrootcert":"-----BEGIN SECRET"}`,
		`{"tenants":[{"url":"postgres://u:SECRET@h/d?ssl-mode=SECRET"}]}`, `{"credhub-ref":"/SECRET"}`, `{"uri":"postgres://SECRET/d?sslmode=require","sslmode":"disable"}`,
	} {
		f.Add(document, "SECRET")
	}
	f.Fuzz(func(t *testing.T, document, value string) {
		var c credentials
		if json.Unmarshal([]byte(strings.ReplaceAll(document, "SECRET", canary)), &c) != nil || holdsKey(c) {
			return
		}
		value = strings.ReplaceAll(value, "SECRET", canary)
		variables := map[string]string{"PGSSLMODE": value, "POSTGRES_SSL_SERVICE": value, "POSTGRES_SSL_MODE": "", "OTHER": value}
		for _, env := range []map[string]string{nil, variables, {"DATABASE_URL": value}, {"POSTGRES_SSL_MODE": value}} {
			r := of(t, answer(t, "shop", env, bound(map[string]credentials{"db": c})))
			assert.NotContains(t, string(encode(t, r.Rows)), canary)
		}
	})
}

// holdsKey says whether a key contains the secret, also in JSON within a text.
func holdsKey(raw any) bool {
	switch v := raw.(type) {
	case string:
		var nested any
		return strings.Contains(v, canary) && json.Unmarshal([]byte(v), &nested) == nil && holdsKey(nested)
	case []any:
		for _, item := range v {
			if holdsKey(item) {
				return true
			}
		}
	case map[string]any:
		for key, item := range v {
			if strings.Contains(key, canary) || holdsKey(item) {
				return true
			}
		}
	}
	return false
}

// The control: a secret in the place of a name is found.
func TestTheControlOfTheSecrets(t *testing.T) {
	r := of(t, answer(t, "shop", nil, bound(map[string]credentials{canary: {"uri": "postgres://h/d"}})))
	assert.Contains(t, string(encode(t, r.Rows)), canary)
}
