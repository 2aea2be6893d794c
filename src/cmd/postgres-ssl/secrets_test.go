package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNoSecretLeavesTheEnvironment puts a secret in every field of a binding that may hold one. It
// stages and launches, both where all is well and with each error. Then it looks for the secrets in
// the droplet, the cache, the logs and the errors.
func TestNoSecretLeavesTheEnvironment(t *testing.T) {
	pki := newPKI(t)
	const marker = "S3cr3t-Mark#r"
	credentials := func(change map[string]any) map[string]any {
		c := map[string]any{
			"uri":      "postgres://" + marker + ":" + marker + "@db.abc.us-west-2.rds.amazonaws.com:5432/" + marker + "?password=" + marker + "&sslmode=verify-full",
			"jdbcUrl":  "jdbc:postgresql://db.abc.us-west-2.rds.amazonaws.com/d?user=" + marker + "&password=" + marker,
			"username": marker, "password": marker, "dbname": marker, "pass": marker, "token": marker,
			"nested":      map[string]any{"password": marker},
			"sslrootcert": marker + "\n" + pki.ca, "sslcert": pki.cert, "sslkey": pki.key,
		}
		for key, value := range change {
			c[key] = value
		}
		return c
	}
	service := func(c map[string]any) string {
		doc, err := json.Marshal(map[string]any{marker: []any{map[string]any{
			"name": "console_db", "label": "user-provided", "credentials": c, "plan": marker, "syslog_drain_url": marker,
		}}})
		require.NoError(t, err)
		return string(doc)
	}
	for name, test := range map[string]struct {
		services string
		fails    string // a part of the error, "" if all is well
	}{
		"all is well":               {service(credentials(nil)), ""},
		"broken JSON":               {strings.TrimSuffix(service(credentials(nil)), "}"), "not valid JSON"},
		"a wrong form":              {`{"a": "` + marker + `"}`, "does not have the form"},
		"a mode that is none":       {service(credentials(map[string]any{"sslmode": marker})), "is not one of"},
		"one in the URI":            {service(credentials(map[string]any{"uri": "postgres://u:" + marker + "@h/d?sslmode=" + marker})), "is not one of"},
		"a URI that makes no sense": {service(credentials(map[string]any{"uri": "postgres://" + marker + "@" + marker + "@[::1/" + marker, "sslmode": "nonsense"})), "is not one of"},
		"a CA that is none":         {service(credentials(map[string]any{"sslrootcert": marker})), "neither PEM nor base64"},
		"a key for a CA":            {service(credentials(map[string]any{"sslrootcert": pki.key})), "0 of 1 PEM blocks can be read as a certificate"},
		"a key that is none":        {service(credentials(map[string]any{"sslkey": marker})), "are no client certificate and its key"},
		"somebody else's key":       {service(credentials(map[string]any{"sslkey": newPKI(t).key})), "are no client certificate and its key"},
		"a host that is none":       {service(credentials(map[string]any{"hostname": "u:" + marker + "@h", "host": marker + "/x"})), ""},
	} {
		t.Run(name, func(t *testing.T) {
			keyLine := strings.Split(pki.key, "\n")[1]
			secrets := []string{marker, keyLine, base64.StdEncoding.EncodeToString([]byte(marker)), fmt.Sprintf("%x", marker)}
			place, outside := t.TempDir(), t.TempDir()
			dir := func(parts ...string) string { return filepath.Join(append([]string{place}, parts...)...) }
			for _, d := range []string{dir("home/vcap/app"), dir("home/vcap/deps/0"), dir("home/vcap/profile.d"), dir("cache")} {
				require.NoError(t, os.MkdirAll(d, 0o755))
			}
			root, err := filepath.Abs("../../..")
			require.NoError(t, err)
			run := func(program string, args ...string) string {
				cmd := exec.Command(program, args...)
				cmd.Env = append(os.Environ(), "BUILDPACK_DIR="+root, "VCAP_SERVICES="+test.services, "TMPDIR="+outside)
				out, _ := cmd.CombinedOutput()
				return string(out)
			}
			staging := []string{"supply", dir("home/vcap/app"), dir("cache"), dir("home/vcap/deps"), "0"}
			log := run("postgres-ssl", staging...)
			if test.fails != "" {
				require.Contains(t, log, test.fails)
				// A droplet staged before the binding went wrong.
				good := exec.Command("postgres-ssl", staging...)
				good.Env = append(os.Environ(), "BUILDPACK_DIR="+root, "TMPDIR="+outside)
				require.NoError(t, good.Run())
			}
			assertNone(t, secrets, "the droplet, before a launch", contents(t, place))
			log += run("postgres-ssl", append([]string{"finalize"}, append(staging[1:], dir("home/vcap/profile.d"))...)...)
			helper := dir("home/vcap/deps/0/bin/postgres-ssl")
			launched := run(helper, "env")
			explained := run(helper, "env", "--explain")
			if test.fails == "" {
				assert.Contains(t, launched, "export 'PGSSLMODE=verify-full'")
			} else {
				assert.Contains(t, launched, test.fails)
				assert.NotContains(t, launched, "export")
			}
			assertNone(t, secrets, "the logs", map[string][]byte{"staging": []byte(log), "launch": []byte(launched), "explain": []byte(explained)})

			answer := filepath.Join(t.TempDir(), "answer.json")
			require.NoError(t, os.WriteFile(answer, []byte(`{"running_env_json": {"GROUP": "`+marker+`"}, "environment_variables": {"PGSSLMODE": "`+marker+`", "OWN": "`+marker+`"},
				"system_env_json": {"VCAP_SERVICES": `+test.services+`}}`), 0o600))
			audited := run(helper, "audit", answer)
			assert.Regexp(t, "\n1 app, 1 with Postgres: |could not be read: it is not valid JSON|would stop: ", audited, "the control: it was read")
			assertNone(t, secrets, "the audit", map[string][]byte{"for people": []byte(audited), "for programs": []byte(run(helper, "audit", "--json", answer))})

			files := contents(t, place)
			for path := range files {
				// The container keeps keys for libpq outside the droplet, for its user only.
				if strings.HasSuffix(path, ".key") {
					assert.Contains(t, string(files[path]), keyLine, "the control: the search finds what is there")
					delete(files, path)
				}
			}
			assertNone(t, secrets, "what a launch wrote", files)
		})
	}
}

func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		// The copy of the program is this test's binary, which contains the secrets.
		if err != nil || !entry.Type().IsRegular() || filepath.Base(path) == "postgres-ssl" {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	}))
	return files
}

func assertNone(t *testing.T, secrets []string, where string, texts map[string][]byte) {
	t.Helper()
	for name, text := range texts {
		for _, secret := range secrets {
			assert.False(t, bytes.Contains(text, []byte(secret)), "%s: %s has a secret", where, name)
		}
	}
}

// pki is what a database with certificates of its own brings, in PEM.
type pki struct{ ca, cert, key string }

func newPKI(t *testing.T) pki {
	t.Helper()
	dir := t.TempDir()
	openssl := func(args ...string) {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.crt")
	openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=client", "-keyout", "client.key", "-out", "client.crt")
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(data)
	}
	return pki{read("ca.crt"), read("client.crt"), read("client.key")}
}
