package cf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatOperatorsHaveAtHandIsUnderstood(t *testing.T) {
	const services = `{"user-provided":[{"name":"db","credentials":{"uri":"postgres://h/db?sslmode=verify-ca"}}]}`
	for name, document := range map[string]string{
		"the bare JSON":                services,
		"with its name around it":      `{"VCAP_SERVICES": ` + services + `}`,
		"cf curl /v3/apps/GUID/env":    `{"system_env_json": {"VCAP_SERVICES": ` + services + `}, "environment_variables": {"PGSSLMODE": "require"}}`,
		"with a byte order mark":       "\ufeff" + services,
		"with a name beside it":        `{"VCAP_SERVICES": ` + services + `, "name": ["x"]}`,
		"with its name before it":      "VCAP_SERVICES" + services,
		"cf env APP":                   "Getting env variables for app a in org o / space s as me...\nSystem-Provided:\nVCAP_SERVICES: " + services + "\n\n\nVCAP_APPLICATION: {\n}\n\nUser-Provided:\nPGSSLMODE: require\n\nNo running env variables have been set\n",
		"cf env APP of an older cf":    "OK\n\nSystem-Provided:\n{\n \"VCAP_SERVICES\": " + services + "\n}\n\nUser-Provided:\nPGSSLMODE: require\n",
		"cf env APP with Windows ends": "System-Provided:\r\nVCAP_SERVICES: " + services + "\r\n\r\nUser-Provided:\r\nPGSSLMODE: require\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			env, err := Environment([]byte(document))
			require.NoError(t, err)
			assert.Equal(t, services, env["VCAP_SERVICES"])
			assert.Equal(t, strings.Contains(document, "PGSSLMODE"), env["PGSSLMODE"] == "require", "the owner's variables come along")
		})
	}
	for _, label := range []string{"name", "guid", "lifecycle"} {
		services := `{"` + label + `":[{"credentials":{"uri":"postgres://h/db"}}]}`
		env, err := Environment([]byte(services))
		require.NoError(t, err, label)
		assert.Equal(t, services, env["VCAP_SERVICES"], "a service's label may be any word")
	}
	t.Run("cf env APP with nothing bound", func(t *testing.T) {
		env, err := Environment([]byte("System-Provided:\nVCAP_APPLICATION: {}\n"))
		require.NoError(t, err)
		assert.Empty(t, env)
	})
	const neither = "it is neither the JSON of VCAP_SERVICES, nor an answer of `cf curl /v3/apps/GUID/env`, nor the text of `cf env APP`"
	for document, want := range map[string]string{
		"s3cr3t":   neither,
		"":         neither,
		`{"s3cr3t`: "it is not valid JSON, or it is cut off",
		`{"guid":"a","lifecycle":{"type":"docker"}}`: neither,
		`{"resources":[]}`:                           neither,
		`{"resources":[{"guid":"a","lifecycle":{"type":"docker"}},{"guid":"b","lifecycle":{"type":"docker"}}]}`: neither,
		`{"errors":[{"code":10010,"title":"CF-ResourceNotFound","detail":"s3cr3t"}]}`:                           "there is no such app, or this user may not see it",
		`{"system_env_json":{"VCAP_SERVICES":{}},"environment_variables":["s3cr3t"]}`:                           "it is an app's environment, but not in the form that the platform gives it",
	} {
		_, err := Environment([]byte(document))
		assert.EqualError(t, err, want, document)
	}
}

func TestAnAnswerOfThePlatformHasTheVariablesThatALaunchHas(t *testing.T) {
	env, err := Environment([]byte(`{
		"staging_env_json": {"DB_SSL_MODE": "disable"},
		"running_env_json": {"PGSSLMODE": "require", "PGSSLROOTCERT": "/group.crt", "PGSSLCERT": "/group.crt"},
		"environment_variables": {"PGSSLMODE": "verify-full", "PGSSLCERT": ""},
		"system_env_json": {"VCAP_SERVICES": {}}}`))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"VCAP_SERVICES": "{}", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/group.crt", "PGSSLCERT": ""}, env,
		"the running group is for every app, the app's own variables win, and staging's do not count")
}

// An answer without the bindings must not look like an app that has none.
func TestAnAnswerThatDoesNotShowTheBindingsIsRefused(t *testing.T) {
	const hidden = "the platform does not show the bindings to this user; it takes an admin, a read-only admin or a developer of the space"
	const inFiles = "the app gets its bindings in files of its container; only postgres-ssl in the app sees them"
	for document, want := range map[string]string{
		`{"system_env_json": {"redacted_message": "[PRIVATE DATA HIDDEN]"}}`:                                                       hidden,
		`{"system_env_json": {"VCAP_SERVICES": {"a": [{"credentials": {"redacted_message": "[PRIVATE DATA HIDDEN IN LISTS]"}}]}}}`: hidden,
		`{"system_env_json": {"VCAP_SERVICES": {}}, "environment_variables": {"redacted_message": "[PRIVATE DATA HIDDEN]"}}`:       hidden,
		`{"system_env_json": {}}`:                                                                      hidden,
		`{"system_env_json": []}`:                                                                      hidden,
		`{"system_env_json": null}`:                                                                    hidden,
		"User-Provided:\nVCAP_SERVICES_FILE_PATH: /etc/passwd\n":                                       inFiles,
		`{"system_env_json": {"SERVICE_BINDING_ROOT": "/etc/cf-service-bindings"}}`:                    inFiles,
		`{"system_env_json": {"VCAP_SERVICES_FILE_PATH": "/etc/passwd"}}`:                              inFiles,
		`{"system_env_json": {"VCAP_SERVICES": {}}, "running_env_json": {"SERVICE_BINDING_ROOT":"/"}}`: inFiles,
	} {
		_, err := Environment([]byte(document))
		assert.EqualError(t, err, want, document)
	}
}

// A credential may hold one of the words that the platform hides values with.
func TestAnAnswerWithOneOfThePlatformsWordsIsNotHidden(t *testing.T) {
	for _, credential := range []string{`"redacted_message": "x"`, `"note": "PRIVATE DATA HIDDEN"`} {
		services := `{"a": [{"credentials": {` + credential + `}}]}`
		env, err := Environment([]byte(`{"system_env_json": {"VCAP_SERVICES": ` + services + `}}`))
		require.NoError(t, err)
		assert.Equal(t, services, env["VCAP_SERVICES"])
	}
}

func TestATextOfCFEnvThatIsCutOffIsRefused(t *testing.T) {
	for _, text := range []string{"System-Provided:\nVCAP_SERVICES: ", "System-Provided:\nVCAP_SERVICES: {\"a\": [", "VCAP_SERVICES"} {
		_, err := Environment([]byte(text))
		assert.EqualError(t, err, "its VCAP_SERVICES is cut off, or is not valid JSON", text)
	}
}

func TestWhatAnOperatorHasAtHandIsNotMixedUp(t *testing.T) {
	for name, test := range map[string]struct{ document, vcap, wrong string }{
		"an answer of the platform's API": {`{"system_env_json": {"VCAP_SERVICES": {"a":[]}}, "environment_variables": {"N": 1, "L": [], "X": null}}`, `{"a":[]}`, ""},
		"VCAP_SERVICES by its name":       {`{"VCAP_SERVICES": {"a":[]}}`, `{"a":[]}`, ""},
		"VCAP_SERVICES itself":            {`{"a":[]}`, `{"a":[]}`, ""},
		"cf env":                          {"VCAP_SERVICES: {\"a\":[]}\n", `{"a":[]}`, ""},
		"cf env, cut off":                 {"VCAP_SERVICES: {\"a\":", "", "its VCAP_SERVICES is cut off"},
		"cf env with a heading alone":     {"User-Provided:\nA: b\n", "", ""},
		"a word":                          {"VCAP", "", "it is neither the JSON of VCAP_SERVICES"},
	} {
		t.Run(name, func(t *testing.T) {
			env, err := Environment([]byte(test.document))
			if test.wrong != "" {
				assert.ErrorContains(t, err, test.wrong)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.vcap, env["VCAP_SERVICES"])
		})
	}
	env, err := Environment([]byte(`{"system_env_json": {"VCAP_SERVICES": {}}, "environment_variables": {"L": ["a"], "N": 5432.0, "X": null, "T": "t"}}`))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"T": "t", "L": `["a"]`, "N": "5432.0", "X": "", "VCAP_SERVICES": "{}"}, env, "a variable is a text")
	env, err = Environment([]byte("User-Provided:\nA: b\nno pair\nC: d\n"))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"A": "b"}, env, "what follows the owner's variables does not count")
}

// Whatever the platform says instead of an answer becomes one line in plain words.
func TestAnythingButAnAnswerBecomesOneLine(t *testing.T) {
	for document, why := range map[string]string{
		``:                                      "it is not JSON",
		`null`:                                  "it is not JSON",
		`[]`:                                    "it is not JSON",
		`{}`:                                    "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"guid":1}`:                            "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"guid":"a","name":"a space"}`:         "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"resources":[{"guid":"a"}]}`:          "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"system_env_json":{"VCAP_SERVICES":{`: "it is not valid JSON, or it is cut off",
		"<html>\n<h1>502 Bad Gateway: s3cr3t":   "it is HTML, as a router or a proxy answers; ask again",
		"502 Bad Gateway: s3cr3t":               "it is not JSON",
		"FAILED\nNot logged in.":                "it is not JSON",
		"\xff\xfe{\x00}\x00":                    "it is in UTF-16; write it as UTF-8",
		`{"user-provided":[{"name":"db","credentials":{"uri":"postgres://h/d"}}]}`: "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"errors":[{}]}`:             "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"guid":"a","lifecycle":{}}`: "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps",
		`{"errors":[{"code":10003,"title":"CF-NotAuthorized","detail":"You are not authorized"}]}`: "the platform refuses to show it to this user; it takes an admin, a read-only admin or a developer of the space",
		`{"errors":[{"code":10010,"title":"CF-ResourceNotFound","detail":"App not found"}]}`:       "there is no such app, or this user may not see it",
		`{"errors":[{"code":1000,"title":"CF-InvalidAuthToken"}]}`:                                 "the login has expired; run cf login",
		`{"errors":[{"code":10002,"title":"CF-NotAuthenticated"}]}`:                                "the login has expired; run cf login",
		`{"errors":[{"code":10013,"title":"CF-RateLimitExceeded"}]}`:                               "the platform was asked too often; wait, and ask for less at a time",
		`{"errors":[{"code":330002,"title":"CF-FeatureDisabled"}]}`:                                "the platform team has switched this off, by the feature flag env_var_visibility or space_developer_env_var_visibility",
		`{"errors":[{"code":10001,"title":"CF-UnknownError","detail":"s3cr3t"}]}`:                  "the platform answers with error 10001",
		`{"errors":[{"code":7,"title":"s3cr3t: \u001b[2J"}]}`:                                      "the platform answers with error 7",
	} {
		apps, _, err := read([]byte(document))
		assert.EqualError(t, err, why, document)
		assert.Nil(t, apps)
	}
}

func listed(guid, name, kind string, buildpacks ...string) App {
	app := App{GUID: guid, Name: name}
	app.Lifecycle.Type, app.Lifecycle.Data.Buildpacks = kind, buildpacks
	return app
}

func TestAnAnswerTellsTheEnvironmentOrTheLifecycle(t *testing.T) {
	for document, want := range map[string][]App{
		`{"system_env_json":{"VCAP_SERVICES":{}},"application_env_json":{"VCAP_APPLICATION":{"application_id":"g","application_name":"a","space_name":"s","organization_name":"o"}}}`: {
			{GUID: "g", Name: "a", Space: "s", Organization: "o", Env: map[string]string{"VCAP_SERVICES": "{}"}}},
		`{"guid":"g","name":"a","lifecycle":{"type":"buildpack","data":{"buildpacks":["b"],"stack":"s"}}}`: {listed("g", "a", "buildpack", "b")},
		`{"pagination":{},"resources":[{"guid":"g","lifecycle":{"type":"docker","data":{}}},{"guid":"h","lifecycle":{"type":"cnb"}}]}`: {
			listed("g", "", "docker"), listed("h", "", "cnb")},
		`{"resources":[]}`: {},
	} {
		apps, _, err := read([]byte(document))
		require.NoError(t, err)
		assert.Equal(t, want, apps, document)
	}
	apps, _, err := read([]byte(`{"system_env_json":{"redacted_message":"[PRIVATE DATA HIDDEN]"},"application_env_json":{"VCAP_APPLICATION":{"application_id":"g"}}}`))
	require.NoError(t, err)
	assert.Equal(t, []App{{GUID: "g", Hidden: errHidden}}, apps, "what is hidden has an app all the same")
}

// FuzzAnyDocumentIsReadOrRefusedInOneLine reads any text in place of what cf prints.
func FuzzAnyDocumentIsReadOrRefusedInOneLine(f *testing.F) {
	for _, document := range []string{"", "{}", "null", "<html>", `{"errors":[]}`, `{"errors":[{}]}`, `{"resources":[{}]}`, `{"lifecycle":null}`,
		`{"system_env_json":null}`, `{"system_env_json":{"VCAP_SERVICES":null},"environment_variables":{"A":[{}]}}`, `{"VCAP_SERVICES":{}}`,
		"VCAP_SERVICES: {\"a\":[]}\n\nUser-Provided:\nA: b\n"} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		apps, _, err := read(document)
		env, wrong := Environment(document)
		for _, err := range []error{err, wrong} {
			assert.NotContains(t, fmt.Sprint(err), "\n")
		}
		assert.True(t, wrong != nil || env != nil, "an environment, or why not")
		for _, app := range apps {
			assert.Equal(t, 1, count(app.Env != nil)+count(app.Hidden != nil)+count(app.Lifecycle.Type != ""), "one of three")
		}
	})
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
