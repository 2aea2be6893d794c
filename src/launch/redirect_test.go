package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
)

const (
	noPort = " needs a port that the tunnel can stand in for: add the credential port, a number, beside it"
	noHost = "the tunnel needs a host to stand in for, but the credentials name none"
)

// notRedirected are the shapes that a tunnel cannot stand in for, and why. The tunnel's port is
// never the default, so the app needs a key that tells it the port.
var notRedirected = map[string]string{
	"gcp legacy broker":                   "db: credential host" + noPort,
	"jdbc no slashes":                     "db: " + noHost,
	"parts of rails tagged":               "db: credential host" + noPort,
	"rds with hostless object and its ca": "db: credential host" + noPort,
	"rds with hostless words":             "db (example): " + noHost,
	"rds with replica":                    "db: credential reader_host" + noPort,
	"rds with template uri":               "db: credential host" + noPort,
	"socket encoded host":                 "db: " + noHost,
}

// environmentOf returns what an app is given. The first listener has port 40000.
func environmentOf(t *testing.T, r *binding.Redirection) map[string]string {
	var ports []int
	for i := range r.Endpoints {
		ports = append(ports, 40000+i)
	}
	after := r.To(ports)
	env := map[string]string{"VCAP_SERVICES": after.Variables["VCAP_SERVICES"]}
	if after.Mounted != nil {
		env["SERVICE_BINDING_ROOT"] = t.TempDir()
	}
	for folder, files := range after.Mounted {
		folder = filepath.Join(env["SERVICE_BINDING_ROOT"], folder)
		require.NoError(t, os.Mkdir(folder, 0o755))
		for name, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), content, 0o600))
		}
	}
	return env
}

func TestATunnelStandsInForEveryShapeOrSaysWhyNot(t *testing.T) {
	redirected, refused := 0, map[string]string{}
	for _, chapter := range readShapes(t) {
		for _, s := range chapter.Shapes {
			env := s.environment(t)
			before, err := binding.Read(env)
			if err != nil || len(before.Databases) == 0 || before.ByOwner {
				continue
			}
			r, err := binding.Redirect(env, func(int) bool { return true })
			if err != nil {
				assert.NotContains(t, err.Error(), secretWord, s.Name)
				refused[s.Name] = err.Error()
				continue
			}
			redirected++
			after, err := binding.Read(environmentOf(t, r))
			if err != nil {
				assert.Greater(t, len(before.Databases), 1, "databases that disagree may now be on one host, %s: %v", s.Name, err)
				continue
			}
			for _, db := range after.Databases {
				for i, host := range db.Hosts {
					assert.Equal(t, "127.0.0.1", host, s.Name)
					assert.True(t, strings.HasPrefix(db.Ports[i], "4000"), "%s: %v", s.Name, db.Ports)
				}
			}
		}
	}
	assert.Equal(t, notRedirected, refused)
	assert.Greater(t, redirected, 100)
}
