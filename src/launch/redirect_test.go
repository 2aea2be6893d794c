package launch

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
)

const noHost = "the tunnel needs a host to replace, but the credentials name none"

// notRedirected are the shapes that a tunnel cannot carry, and why.
var notRedirected = map[string]string{
	"RDS without a port":                  "db: the credentials name a host that the tunnel cannot replace alone: write host, port, user, password and database as credentials of their own",
	"jdbc no slashes":                     "db: " + noHost,
	"rds with hostless object and its ca": "db (pgbouncer.uri): " + noHost,
	"rds with hostless words":             "db (example): " + noHost,
	"rds with template uri":               "db (example): " + noHost,
	"socket encoded host":                 "db: " + noHost,
}

// environmentOf returns what an app is given.
func environmentOf(t *testing.T, r *binding.Redirection) map[string]string {
	tunnel := binding.Tunnel{CA: tunnelCA, Net: netip.MustParsePrefix("127.9.9.0/24"), Dir: "/tunnel"}
	variables, files := r.To(tunnel)
	env := map[string]string{"VCAP_SERVICES": variables["VCAP_SERVICES"]}
	root := t.TempDir()
	if variables["SERVICE_BINDING_ROOT"] != "" {
		env["SERVICE_BINDING_ROOT"] = filepath.Join(root, variables["SERVICE_BINDING_ROOT"])
	}
	for path, content := range files {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	return env
}

const tunnelCA = "-----BEGIN CERTIFICATE-----\nthe tunnel's\n-----END CERTIFICATE-----\n"

var otherPEM = regexp.MustCompile(`-----BEGIN [A-Z ]+-----(\\+n| |\n)[A-Za-z0-9+/=]{5}.*?-----END [A-Z ]+-----(\\+n| |\n)?|LS0tLS1CRUdJTi[A-Za-z0-9+/=]{200,}`)

// shownTo returns an app's bindings as one text, without the certificates that a test makes anew.
func shownTo(t *testing.T, env map[string]string) string {
	text := env["VCAP_SERVICES"]
	if root := env["SERVICE_BINDING_ROOT"]; root != "" {
		files := map[string]string{}
		paths, err := filepath.Glob(filepath.Join(root, "*", "*"))
		require.NoError(t, err)
		for _, path := range paths {
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			files[strings.TrimPrefix(path, root+"/")] = string(content)
		}
		mounted, err := json.Marshal(files)
		require.NoError(t, err)
		text += string(mounted)
	}
	return otherPEM.ReplaceAllString(text, "another certificate")
}

var update = flag.Bool("update", false, "write testdata/redirected.txt")

// TestATunnelCarriesEveryShapeOrSaysWhyNot compares what an app sees of each shape with
// testdata/redirected.txt.
func TestATunnelCarriesEveryShapeOrSaysWhyNot(t *testing.T) {
	redirected, refused := map[string]string{}, map[string]string{}
	for _, chapter := range readShapes(t) {
		for _, s := range chapter.Shapes {
			env := s.environment(t)
			before, err := binding.Read(env)
			if err != nil || len(before.Databases) == 0 || before.ByOwner {
				continue
			}
			r, err := binding.Redirect(env, before.Databases)
			if err != nil {
				assert.NotContains(t, err.Error(), secretWord, s.Name)
				refused[s.Name] = err.Error()
				continue
			}
			seen := environmentOf(t, r)
			redirected[s.Name] = shownTo(t, seen)
			after, err := binding.Read(seen)
			if err != nil {
				assert.Greater(t, len(before.Databases), 1, "databases that disagree may now be on one host, %s: %v", s.Name, err)
				continue
			}
			for _, db := range after.Databases {
				for _, host := range db.Hosts {
					assert.True(t, strings.HasPrefix(host, "127.9.9."), "%s: %s", s.Name, host)
				}
			}
		}
	}
	assert.Equal(t, notRedirected, refused)
	assert.Greater(t, len(redirected), 100)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(redirected)) {
		fmt.Fprintf(&text, "%s: %s\n", name, redirected[name])
	}
	const golden = "testdata/redirected.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(text.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), text.String())
}
