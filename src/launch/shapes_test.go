package launch

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// chapter is a part of testdata/shapes.json: bindings in shapes that brokers and people really use,
// and what a launch makes of each.
type chapter struct {
	Title, Why string
	Shapes     []shape
}

// shape is one or more bindings, and what we expect of them.
type shape struct {
	Name string
	Env  map[string]string // of the app's owner

	// A shape is the credentials of one service named db, or several services as in VCAP_SERVICES,
	// or files below SERVICE_BINDING_ROOT.
	Label       string
	Tags        []string
	Credentials map[string]any
	Services    map[string]any
	Files       map[string]string

	Mode      string            // in force, or "none"
	Hosts     []string          // of the database that decides
	CA        string            // that verifies it: own, region, "region and own", everyone
	Databases map[string]string // the mode of each, by title; left out if there is only one
	Refused   []string          // words in the error that refuses it
}

// secretWord stands for the password in each shape.
const secretWord = "Zq7xWv9k"

// placeholders replaces "$CA" and the like in the shapes.
func placeholders(t testing.TB) *strings.Replacer {
	own := pgtest.NewCA(t, "Own CA")
	pinned := pgtest.NewCA(t, "Own, pinned", func(c *x509.Certificate) { c.IsCA = false })
	client := own.Issue(t, []string{"Client"})
	inJSON := func(pem []byte) string {
		quoted, err := json.Marshal(string(pem))
		require.NoError(t, err)
		return strings.Trim(string(quoted), `"`)
	}
	return strings.NewReplacer(
		"$FORM_CA", url.QueryEscape(string(own.PEM)), "$BASE64_CA", base64.StdEncoding.EncodeToString(own.PEM),
		"$CA", inJSON(own.PEM), "$SAML", inJSON(pgtest.NewCA(t, "SAML").PEM), "$SELF_SIGNED", inJSON(pinned.PEM),
		"$SERVER_CERT", inJSON(own.Issue(t, []string{"Server"}).CertPEM), "$CLIENT_CERT", inJSON(client.CertPEM), "$CLIENT_KEY", inJSON(client.KeyPEM))
}

func readShapes(t testing.TB) []chapter {
	t.Helper()
	var all []chapter
	for _, file := range []string{"testdata/shapes.json", "testdata/ordinary.json"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		decoder := json.NewDecoder(strings.NewReader(placeholders(t).Replace(string(text))))
		decoder.DisallowUnknownFields()
		var chapters []chapter
		require.NoError(t, decoder.Decode(&chapters))
		all = append(all, chapters...)
	}
	return all
}

// environment is what the platform gives an app with such a binding.
func (s shape) environment(t testing.TB) map[string]string {
	env := map[string]string{}
	maps.Copy(env, s.Env)
	switch {
	case s.Files != nil:
		root := t.TempDir()
		for path, content := range s.Files {
			path = filepath.Join(root, path)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		}
		env["SERVICE_BINDING_ROOT"] = root
		return env
	case s.Services == nil:
		label := s.Label
		if label == "" {
			label = "user-provided"
		}
		service := map[string]any{"name": "db", "label": label, "tags": s.Tags, "credentials": s.Credentials}
		s.Services = map[string]any{label: []any{service}}
	}
	document, err := json.Marshal(s.Services)
	require.NoError(t, err)
	env["VCAP_SERVICES"] = string(document)
	return env
}

// outcome returns what a launch makes of a shape, in the fields of a shape.
func (s shape) outcome(env map[string]string, store truststore.Store) (shape, *Plan, error) {
	found, err := binding.Read(env)
	if err != nil {
		return shape{}, nil, err
	}
	plan, err := Decide(env, found, store)
	if err != nil {
		return shape{}, nil, err
	}
	got := shape{Mode: modeWord(plan.Mode.String())}
	switch {
	case plan.Decider != nil:
		got.Hosts, got.CA = plan.Decider.Hosts, trustWord(plan.Decider.Trust)
	case plan.Mode != sslmode.None:
		got.CA = trustWord(plan.TrustAll())
	}
	for _, db := range plan.Databases {
		if len(plan.Databases) > 1 {
			if got.Databases == nil {
				got.Databases = map[string]string{}
			}
			got.Databases[db.Title()] = modeWord(db.Mode.String())
		}
	}
	return got, plan, nil
}

func modeWord(mode string) string {
	if mode == "" {
		return "none"
	}
	return mode
}

func trustWord(t Trust) string {
	switch {
	case t.Everyone:
		return "everyone"
	case len(t.Own) > 0 && len(t.Sets) > 0:
		return "region and own"
	case len(t.Own) > 0:
		return "own"
	}
	return "region"
}

// shown returns everything that a launch or a staging may print about a plan.
func shown(plan *Plan) string {
	var text bytes.Buffer
	fmt.Fprintln(&text, plan.Warnings, plan.Downgrades, plan.Others)
	for _, db := range plan.Databases {
		fmt.Fprintln(&text, db.Title(), db.Source, db.Trust.Why, db.Hosts, db.Ports)
	}
	fmt.Fprintln(&text, plan.ModeSource())
	return text.String()
}

// problems lists where the outcome of a shape differs from what we expect.
func (s shape) problems(got shape, plan *Plan, err error) []string {
	var wrong []string
	if err != nil {
		if s.Refused == nil {
			return []string{"refused: " + err.Error()}
		}
		for _, word := range s.Refused {
			if !strings.Contains(err.Error(), word) {
				wrong = append(wrong, fmt.Sprintf("the error does not name %q: %s", word, err))
			}
		}
		if strings.Contains(err.Error(), "\n") {
			wrong = append(wrong, "the error has several lines")
		}
		if strings.Contains(err.Error(), secretWord) {
			wrong = append(wrong, "the error shows the password: "+err.Error())
		}
		return wrong
	}
	if s.Refused != nil {
		return []string{"is not refused, and gets " + got.Mode}
	}
	if got.Mode != s.Mode {
		wrong = append(wrong, fmt.Sprintf("mode %s, not %s", got.Mode, s.Mode))
	}
	if !slices.Equal(got.Hosts, s.Hosts) {
		wrong = append(wrong, fmt.Sprintf("hosts %v, not %v", got.Hosts, s.Hosts))
	}
	if got.CA != s.CA {
		wrong = append(wrong, fmt.Sprintf("verified by %q, not %q", got.CA, s.CA))
	}
	if !maps.Equal(got.Databases, s.Databases) {
		wrong = append(wrong, fmt.Sprintf("databases %v, not %v", got.Databases, s.Databases))
	}
	owners := slices.Collect(maps.Values(s.Env))
	if text := shown(plan); strings.Contains(text, secretWord) && !strings.Contains(strings.Join(owners, " "), secretWord) {
		wrong = append(wrong, "the password is shown: "+regexp.MustCompile(".*"+secretWord+".*").FindString(text))
	}
	return wrong
}

func TestEveryShapeOfABindingIsReadOrRefused(t *testing.T) {
	onBoard, names := store(t), map[string]bool{}
	for _, chapter := range readShapes(t) {
		t.Run(chapter.Title, func(t *testing.T) {
			for _, s := range chapter.Shapes {
				t.Run(s.Name, func(t *testing.T) {
					assert.False(t, names[s.Name], "the name is there twice")
					names[s.Name] = true
					got, plan, err := s.outcome(s.environment(t), onBoard)
					assert.Empty(t, s.problems(got, plan, err))
				})
			}
		})
	}
	assert.Greater(t, len(names), 150)
}

// Each expectation in the table can fail: the outcome of another shape, or another password, does
// not meet it.
func TestTheControlOfTheShapes(t *testing.T) {
	s := shape{Credentials: map[string]any{"uri": "postgres://u:" + secretWord + "@" + oregon + "/d"}, Mode: "verify-full", Hosts: []string{oregon}, CA: "region"}
	got, plan, err := s.outcome(s.environment(t), store(t))
	require.NoError(t, err)
	require.Empty(t, s.problems(got, plan, err))

	for wrong, change := range map[string]func(*shape){
		"mode verify-full, not require":   func(s *shape) { s.Mode = "require" },
		"hosts [" + oregon + "], not [h]": func(s *shape) { s.Hosts = []string{"h"} },
		`verified by "region", not "own"`: func(s *shape) { s.CA = "own" },
		"databases map[], not map[a:b]":   func(s *shape) { s.Databases = map[string]string{"a": "b"} },
		"is not refused":                  func(s *shape) { s.Refused = []string{"uri"} },
	} {
		other := s
		change(&other)
		problems := other.problems(got, plan, err)
		require.Len(t, problems, 1)
		assert.Contains(t, problems[0], wrong)
	}
	plan.Warnings = []string{"the password is " + secretWord}
	assert.Contains(t, s.problems(got, plan, nil), "the password is shown: [the password is "+secretWord+"] [] []")
	s.Refused = []string{"uri"}
	assert.Len(t, s.problems(got, nil, fmt.Errorf("credential dsn\nholds %s", secretWord)), 3)
}
