package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// Each cloud's host is a local server here, with a chain of the form that the cloud presents. Its
// binding names no mode. This program and psql, with what a launch gives it, connect under
// verify-full, and refuse a chain of any of the other clouds.
func TestEachCloudIsVerifiedByItsOwnCAsAlone(t *testing.T) {
	china := pgtest.NewCA(t, "Amazon RDS cn-north-1 Root CA RSA2048 G1")
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	amazon := pgtest.NewCA(t, "Amazon Root CA 1")
	digicert := pgtest.NewCA(t, "DigiCert Global Root G2")
	issuers := map[string]struct{ root, issuer *pgtest.CA }{
		"China":  {china, china.Intermediate(t, "Amazon RDS cn-north-1 Subordinate CA RSA2048 G1.A.1")},
		"Oregon": {oregon, oregon.Intermediate(t, "Amazon RDS us-west-2 Subordinate CA RSA2048 G1.A.1")},
		"Amazon": {amazon, amazon.Intermediate(t, "Amazon RSA 2048 M02")},
		"stack":  {digicert, digicert.Intermediate(t, "Microsoft TLS G2 RSA CA OCSP 02")},
	}
	hosts := map[string]string{ // and who issues their certificates
		"db.abc123.rds.cn-north-1.amazonaws.com.cn":                       "China",
		"db.abc123.cn-north-1.rds.amazonaws.com.cn":                       "China",
		"p.proxy-abc123.rds.cn-north-1.amazonaws.com.cn":                  "Amazon or China",
		"db.abc123.us-west-2.rds.amazonaws.com":                           "Oregon",
		"abc123.dsql.us-east-1.on.aws":                                    "Amazon",
		"c.abc123.us-west-2.redshift.amazonaws.com":                       "Amazon",
		"wg.123456789012.cn-north-1.redshift-serverless.amazonaws.com.cn": "Amazon",
		"myserver.postgres.database.azure.com":                            "stack",
	}
	buildpack := t.TempDir()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	for _, name := range []string{"manifest.yml", "VERSION"} {
		require.NoError(t, os.Symlink(filepath.Join(root, name), filepath.Join(buildpack, name)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(buildpack, "ca"), 0o755))
	for name, ca := range map[string]*pgtest.CA{"aws-cn": china, "aws": oregon, "amazon-trust": amazon} {
		require.NoError(t, os.WriteFile(filepath.Join(buildpack, "ca", name+".pem"), ca.PEM, 0o644))
	}
	stack := filepath.Join(t.TempDir(), "ca-certificates.crt")
	require.NoError(t, os.WriteFile(stack, digicert.PEM, 0o644))
	program := stage(t, buildpack)

	server := pgtest.Start(t, pgtest.Config{SQL: "create role app login password '" + password + "'; create database app owner app"})
	script := `eval "$("$0" env)" && echo "$PGSSLMODE" && PGPASSWORD=$2 exec psql -h "$1" -p "$3" -U app -d app -Atc "select ssl from pg_stat_ssl where pid = pg_backend_pid()"`
	for host, own := range hosts {
		for name, issuer := range issuers {
			t.Run(host+" by "+name, func(t *testing.T) {
				pair := issuer.issuer.Issue(t, []string{host})
				server.Reload(t, pgtest.Config{Certificate: append(pair.CertPEM, issuer.issuer.PEM...), Key: pair.KeyPEM})
				bound := services(t, map[string]credentials{"db": {"host": host, "port": server.Port, "username": "app", "password": password, "dbname": "app"}})
				env := []string{"SSL_CERT_FILE=" + stack, "CF_SYSTEM_CERT_PATH="}
				seen, stderr, status := withTheseHosts(t, host, bound, env, program, "verify")
				psql, refused, psqlStatus := withTheseHosts(t, host, bound, env, "bash", "-c", script, program, host, password, fmt.Sprint(server.Port))
				assert.Contains(t, seen, "sslmode      verify-full, from the default for a host whose CA is known", stderr)
				if strings.Contains(own, name) {
					assert.Equal(t, 0, status, "%s%s", seen, stderr)
					assert.Equal(t, "verify-full\nt\n", psql, refused)
					return
				}
				assert.Equal(t, 1, status, seen)
				assert.Contains(t, seen, "comes from a CA that is not trusted")
				assert.NotEqual(t, 0, psqlStatus)
				assert.Contains(t, refused, "certificate verify failed")
			})
		}
	}
}

// A name of one's own before the endpoint, and an address: the certificate names neither.
func TestANameThatIsNotTheServersFailsUnderVerifyFull(t *testing.T) {
	own := pgtest.NewCA(t, "Server CA")
	program := stage(t, "../../..")
	server := pgtest.Start(t, pgtest.Config{SQL: "create role app login password '" + password + "'; create database app owner app"})
	for _, test := range []struct{ host, named, mode, do string }{
		{"db.example.com", west, "verify-full", "what to do bind the endpoint's own name, " + west + "; no certificate of the cloud names db.example.com"},
		{"127.0.0.1", "project:instance", "verify-full", "; under verify-ca, with a CA of the database's own, an address needs no name"},
		{"127.0.0.1", west, "verify-full", "; under verify-ca, with a CA of the database's own, an address needs no name"},
		{"127.0.0.1", "project:instance", "verify-ca", ""},
	} {
		pair := own.Issue(t, []string{test.named})
		server.Reload(t, pgtest.Config{Certificate: pair.CertPEM, Key: pair.KeyPEM})
		bound := services(t, map[string]credentials{"db": {"host": test.host, "port": server.Port, "username": "app", "password": password, "dbname": "app",
			"sslmode": test.mode, "sslrootcert": string(own.PEM)}})
		seen, stderr, status := withTheseHosts(t, test.host, bound, nil, program, "verify")
		if test.do == "" {
			assert.Equal(t, 0, status, "%s%s", seen, stderr)
			continue
		}
		assert.Equal(t, 1, status, seen)
		assert.Contains(t, seen, "is not issued for "+test.host+", but for "+test.named)
		assert.Contains(t, seen, test.do)
	}
}

// stage stages an app without bindings. It returns the program in the droplet.
func stage(t *testing.T, buildpack string) string {
	t.Helper()
	vcap := t.TempDir()
	for _, dir := range []string{"app", "deps/0", "cache"} {
		require.NoError(t, os.MkdirAll(filepath.Join(vcap, dir), 0o755))
	}
	cmd := exec.Command("postgres-ssl", "supply", filepath.Join(vcap, "app"), filepath.Join(vcap, "cache"), filepath.Join(vcap, "deps"), "0")
	cmd.Env = append(os.Environ(), "BUILDPACK_DIR="+buildpack, "VCAP_SERVICES=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(vcap, "deps", "0", "bin", "postgres-ssl")
}
