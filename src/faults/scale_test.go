package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// regionsOfAWS returns n regions of the partition aws whose CAs are in this buildpack.
func regionsOfAWS(t *testing.T, n int) []string {
	t.Helper()
	sets, err := truststore.Read(filepath.Join(buildpack(t), "ca"))
	require.NoError(t, err)
	regions := slices.DeleteFunc(sets.Names(), func(name string) bool {
		return name == truststore.AmazonTrust || strings.HasPrefix(name, "aws") || rds.Partition(name) != "aws"
	})
	require.GreaterOrEqual(t, len(regions), n)
	return regions[:n]
}

// manyServices writes a document of a megabyte with 1,000 services. 50 are Postgres databases in
// the given regions, and edit may change their credentials. The document is too long for an
// environment variable, so manyServices returns the variable that names its file.
func manyServices(t *testing.T, regions []string, edit func(n int, credentials map[string]any)) string {
	t.Helper()
	var all []map[string]any
	for n := range 1000 {
		credentials := map[string]any{"uri": fmt.Sprintf("https://service-%d.example.com", n), "token": strings.Repeat("x", 900)}
		if n%20 == 0 {
			credentials["uri"] = fmt.Sprintf("postgres://u:p@db-%d.abc.%s.rds.amazonaws.com:5432/d", n, regions[n/20%len(regions)])
			credentials["sslmode"] = "verify-full"
			edit(n, credentials)
		}
		all = append(all, map[string]any{"name": fmt.Sprintf("service-%03d", n), "tags": []string{"a", "b"}, "credentials": credentials})
	}
	document, err := json.Marshal(map[string]any{"user-provided": all})
	require.NoError(t, err)
	require.Greater(t, len(document), 1_000_000)
	file := filepath.Join(t.TempDir(), "services.json")
	require.NoError(t, os.WriteFile(file, document, 0o644))
	return "VCAP_SERVICES_FILE_PATH=" + file
}

// scripts/bench.sh measures how long this takes, and that the time grows no faster than the
// document.
func TestAThousandServicesFiftyOfThemPostgresInThirtyRegions(t *testing.T) {
	t.Parallel()
	regions := regionsOfAWS(t, 30)
	c := newContainer(t, buildpack(t))
	c.mustStage(t)
	dirs := []string{"/etc/ssl/certs"}
	for _, region := range regions {
		dirs = append(dirs, "/home/vcap/deps/0/trust/"+region)
	}
	sets, err := truststore.Read(filepath.Join(buildpack(t), "ca"))
	require.NoError(t, err)
	wanted := map[string]bool{}
	for _, region := range regions {
		for _, cert := range sets[region] {
			wanted[truststore.Fingerprint(cert)] = true
		}
	}
	check := func(l launched, mode string) {
		t.Helper()
		require.NotNil(t, l.env, l.stderr)
		assert.Equal(t, mode, l.env["PGSSLMODE"])
		assert.Equal(t, mode, l.env["DB_SSL_MODE"])
		assert.ElementsMatch(t, dirs, strings.Split(c.given(l)["SSL_CERT_DIR"], ":"))
		if mode == "require" {
			assert.NotContains(t, l.env, "PGSSLROOTCERT")
			return
		}
		bundle, err := os.ReadFile(l.env["PGSSLROOTCERT"])
		require.NoError(t, err)
		certs, err := truststore.Parse(bundle)
		require.NoError(t, err)
		found := map[string]bool{}
		for _, cert := range certs {
			found[truststore.Fingerprint(cert)] = true
		}
		assert.Equal(t, wanted, found, "the CAs of these regions and no others")
		assert.Equal(t, l.env["PGSSLROOTCERT"], l.env["NODE_EXTRA_CA_CERTS"])
	}

	t.Run("all agree", func(t *testing.T) {
		binding := manyServices(t, regions, func(int, map[string]any) {})
		log, err := c.stage(binding)
		require.NoError(t, err, log)
		check(c.launch(t, binding), "verify-full")
	})
	t.Run("one decides", func(t *testing.T) {
		binding := manyServices(t, regions, func(n int, credentials map[string]any) {
			credentials["sslmode"] = []string{"verify-full", "verify-ca", "require"}[n/20%3]
		})
		l := c.launch(t, binding)
		assert.Nil(t, l.env)
		assert.Equal(t, 1, strings.Count(l.stderr, "\n"))
		assert.Contains(t, l.stderr, "the bound databases ask for different things: service-000 (verify-full), service-020 (verify-ca), ")
		for service, mode := range map[string]string{"service-000": "verify-full", "service-020": "verify-ca", "service-980": "verify-ca", "service-040": "require"} {
			c.forget(t)
			check(c.launch(t, binding, "POSTGRES_SSL_SERVICE="+service), mode)
		}
	})
}
