package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// The tests here provoke each diagnosis of `postgres-ssl verify` on a real server. They compare its
// text and exit status with testdata/verify/NAME.txt. With -update, they write these files anew;
// read the difference before you commit it.
var update = flag.Bool("update", false, "write testdata/verify anew")

// The command sees a hosts file that gives these names the loopback address.
const (
	west  = "db.abc123.us-west-2.rds.amazonaws.com"
	south = "db.abc123.af-south-1.rds.amazonaws.com"
)

// These must not be printed.
const (
	password = "s3cr3t-P4ssword"
	wrong    = "wr0ng-P4ssword"
)

// authorities are the test's CAs.
type authorities struct {
	west, south *pgtest.CA // in the buildpack, as the CAs of RDS in two regions
	company     *pgtest.CA // a company's own
	expired     *pgtest.CA // the company's former one
	client      *pgtest.CA // of client certificates
}

func newAuthorities(t *testing.T) authorities {
	of := func(organization string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.Organization = []string{organization} }
	}
	return authorities{
		west:    pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1", of("Amazon Web Services, Inc.")),
		south:   pgtest.NewCA(t, "Amazon RDS af-south-1 Root CA RSA2048 G1", of("Amazon Web Services, Inc.")),
		company: pgtest.NewCA(t, "Company Root", of("Company")),
		expired: pgtest.NewCA(t, "Former Company Root", pgtest.Expired),
		client:  pgtest.NewCA(t, "Client Root"),
	}
}

// newDroplet stages with our CAs in place of those of RDS. It returns the helper program in the
// droplet.
func newDroplet(t *testing.T, cas authorities) string {
	t.Helper()
	buildpack := t.TempDir()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	write := func(name string, content []byte) {
		path := filepath.Join(buildpack, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o644))
	}
	for _, name := range []string{"manifest.yml", "VERSION", "ca/amazon-trust.pem", "ca/aws-us-gov.pem"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		write(name, content)
	}
	write("ca/aws.pem", append(bytes.Clone(cas.west.PEM), cas.south.PEM...))
	return stage(t, buildpack)
}

type credentials map[string]any

func (c credentials) with(more credentials) credentials {
	all := maps.Clone(c)
	maps.Copy(all, more)
	return all
}

// services returns VCAP_SERVICES with these bindings, by name.
func services(t *testing.T, bindings map[string]credentials) string {
	t.Helper()
	var list []map[string]any
	for name, c := range bindings {
		list = append(list, map[string]any{"name": name, "label": "user-provided", "tags": []string{"postgresql"}, "credentials": c})
	}
	doc, err := json.Marshal(map[string]any{"user-provided": list})
	require.NoError(t, err)
	return string(doc)
}

// verifyCommand runs `postgres-ssl verify` in the droplet. It returns the output and the exit
// status. On a busy machine, ten seconds are too short.
func verifyCommand(t *testing.T, program, services string, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return withHosts(t, services, env, append([]string{program, "verify", "--timeout", "2m"}, args...)...)
}

// withHosts returns a command line with the services bound and its own hosts file.
func withHosts(t *testing.T, services string, env []string, command ...string) (stdout, stderr string, status int) {
	t.Helper()
	return withTheseHosts(t, west+" "+south, services, env, command...)
}

func withTheseHosts(t *testing.T, names, services string, env []string, command ...string) (stdout, stderr string, status int) {
	t.Helper()
	hosts := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(hosts, []byte("127.0.0.1 localhost "+names+"\n"), 0o644))
	unshare := []string{"--mount"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	line := append(unshare, "sh", "-c", `mount --bind "$1" /etc/hosts && shift && exec "$@"`, "sh", hosts)
	cmd := exec.Command("unshare", append(line, command...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "VCAP_SERVICES=" + services}, env...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// volatile is what differs from run to run, with its placeholders.
var volatile = []struct {
	pattern *regexp.Regexp
	stands  string
}{
	{regexp.MustCompile(`(port |127\.0\.0\.1:|localhost:|amazonaws\.com:)[0-9]+`), "${1}PORT"},
	{regexp.MustCompile(`"(port|pid)": [0-9]+`), `"$1": NUMBER`},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b`), "DATE"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "FINGERPRINT"},
	{regexp.MustCompile(`\bpid [0-9]+`), "pid PID"},
	{regexp.MustCompile(`TLS_[A-Z0-9_]+`), "CIPHER"},
	{regexp.MustCompile(`X25519\w*|CurveP\d+`), "GROUP"},
	{regexp.MustCompile(`\bin \d+ days?\b`), "in N days"},
	{regexp.MustCompile(`"days_left": -?\d+`), `"days_left": NUMBER`},
	{regexp.MustCompile(`(?m)^    (\S+) +[0-9]+ +(.*?) {2,}(\S*) *(yes|NO|socket|\?)( +TLSv1.3)?( +CIPHER)?( +[0-9]+)?$`), "    $1 PID $2 $3 $4$5$6"},
	{regexp.MustCompile(`(?m)^    database +pid +application.*$`), "    database pid application address TLS version cipher bits"},
	{regexp.MustCompile(`/[-/\w.]*/(\w+\.(pem|crt|key))`), "FOLDER/$1"},
	{regexp.MustCompile(` {2,}(TLSv1.3) +CIPHER`), " $1 CIPHER"},
}

func TestVerifyTellsOneThingFromAnother(t *testing.T) {
	cas := newAuthorities(t)
	program := newDroplet(t, cas)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}

	good := cas.west.Issue(t, []string{west, "localhost", "127.0.0.1"})
	config := pgtest.Config{
		Certificate: good.CertPEM, Key: good.KeyPEM, ClientCA: cas.client.PEM,
		HBA: []string{
			"hostssl all app,nobody 127.0.0.1/32 scram-sha-256",
			"hostssl all certain 127.0.0.1/32 scram-sha-256 clientcert=verify-full",
			"host all loose,concealed 127.0.0.1/32 scram-sha-256",
			"local all loose trust",
			"host all guest 127.0.0.1/32 trust",
			"hostssl all barred 127.0.0.1/32 reject",
		},
		SQL: `
			create user app password '` + password + `'; create user certain password '` + password + `';
			create user loose password '` + password + `'; create user guest; create user barred password '` + password + `';
			create role other; create user concealed password '` + password + `' in role other; alter role concealed set role = other;
			create database app owner app; create database console_db;`,
	}
	server := pgtest.Start(t, config)
	changing := pgtest.Start(t, config) // each case may give it another certificate
	plain := pgtest.Start(t, pgtest.Config{SQL: "create user app password '" + password + "'; create database app owner app;"})

	at := func(host string, port int) credentials {
		return credentials{"hostname": host, "port": port, "username": "app", "password": password, "dbname": "app", "sslmode": "verify-full"}
	}
	bound := at(west, server.Port)

	cert := cas.client.Issue(t, []string{"certain"})
	stranger := cas.company.Issue(t, []string{"certain"})
	other := cas.client.Issue(t, []string{"somebody"})

	intermediate := cas.west.Intermediate(t, "Amazon RDS us-west-2 Subordinate CA RSA2048 G1.A.1", func(c *x509.Certificate) { c.Subject.Organization = []string{"Amazon Web Services, Inc."} })
	throughIntermediate := intermediate.Issue(t, []string{"localhost", west})
	noNames := func(c *x509.Certificate) { c.DNSNames, c.Subject = nil, pkix.Name{CommonName: "localhost"} }
	serving := func(pair pgtest.Pair, chain ...[]byte) *pgtest.Config {
		c := config
		c.Certificate, c.Key = bytes.Join(append([][]byte{pair.CertPEM}, chain...), nil), pair.KeyPEM
		return &c
	}

	for _, test := range []struct {
		name     string
		binding  credentials
		env      []string
		args     []string
		presents *pgtest.Config // given to the changing server first
		during   func(t *testing.T)
		status   int
	}{
		{name: "all-is-well", binding: bound},
		{name: "all-is-well-json", binding: bound, args: []string{"--json"}},
		{name: "ca-of-the-binding", binding: at("127.0.0.1", changing.Port).with(credentials{"sslrootcert": string(cas.company.PEM)}), presents: serving(cas.company.Issue(t, []string{"127.0.0.1"}))},
		{name: "ca-of-the-stack", binding: at("localhost", changing.Port), presents: serving(cas.company.Issue(t, []string{"localhost"})), env: []string{"SSL_CERT_FILE=" + file("stack.pem", cas.company.PEM)}},
		{name: "ca-of-the-platform", binding: at("localhost", changing.Port), env: []string{"CF_SYSTEM_CERT_PATH=" + filepath.Dir(file("operator.crt", cas.company.PEM))}},
		{name: "ca-of-the-owner", binding: at("localhost", changing.Port), env: []string{"PGSSLROOTCERT=" + file("company.pem", cas.company.PEM)}},
		{name: "chain-sent", binding: at(west, changing.Port), presents: serving(throughIntermediate, intermediate.PEM)},
		{name: "owner-weakens", binding: bound, env: []string{"PGSSLMODE=require"}, status: 1},
		{name: "owner-disables", binding: bound.with(credentials{"username": "loose"}), env: []string{"DB_SSL_MODE=disable"}, status: 1},

		{name: "unknown-ca", binding: at("localhost", changing.Port), presents: serving(cas.company.Issue(t, []string{"localhost"})), status: 1},
		{name: "unknown-ca-json", binding: at("localhost", changing.Port), args: []string{"--json"}, status: 1},
		{name: "unknown-ca-at-an-rds-name", binding: at(west, changing.Port), status: 1},
		{name: "unknown-ca-of-another-region", binding: at(west, changing.Port), presents: serving(cas.south.Issue(t, []string{west})), status: 1},
		{name: "unknown-ca-beside-the-bindings-own", binding: at("localhost", changing.Port).with(credentials{"ca": string(cas.company.PEM)}), status: 1},
		{name: "unknown-ca-that-calls-itself-rds", binding: at(west, changing.Port), presents: serving(pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA4096 G2").Issue(t, []string{west})), status: 1},
		{name: "unknown-ca-that-calls-itself-rds-at-another-name", binding: at("localhost", changing.Port), status: 1},
		{name: "chain-incomplete", binding: at(west, changing.Port), presents: serving(throughIntermediate), status: 1},
		{name: "certificate-expired", binding: at(west, changing.Port), presents: serving(cas.west.Issue(t, []string{west}, pgtest.Expired)), status: 1},
		{name: "root-expired", binding: at("localhost", changing.Port).with(credentials{"sslrootcert": string(cas.expired.PEM)}), presents: serving(cas.expired.Issue(t, []string{"localhost"})), status: 1},
		{name: "not-yet-valid", binding: at(west, changing.Port), presents: serving(cas.west.Issue(t, []string{west}, func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(0, 1, 0) })), status: 1},
		{name: "certificate-invalid", binding: at(west, changing.Port), presents: serving(cas.west.Issue(t, []string{west}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), status: 1},
		{name: "name-mismatch", binding: at("localhost", changing.Port), presents: serving(cas.west.Issue(t, []string{west, "10.0.0.7"})), status: 1},
		{name: "name-mismatch-does-not-matter-to-verify-ca", binding: at("localhost", changing.Port).with(credentials{"sslmode": "verify-ca"})},
		{name: "name-mismatch-common-name-only", binding: at("localhost", changing.Port), presents: serving(cas.west.Issue(t, []string{"localhost"}, noNames)), status: 1},
		{name: "certificate-does-not-matter-to-require", binding: at("localhost", changing.Port).with(credentials{"sslmode": "require"}), presents: serving(cas.company.Issue(t, []string{"elsewhere"}, pgtest.Expired))},
		{name: "owners-root-makes-require-verify", binding: at("localhost", changing.Port).with(credentials{"sslmode": "require"}), env: []string{"PGSSLROOTCERT=" + file("west.pem", cas.west.PEM)}, status: 1},

		{name: "client-certificate", binding: bound.with(credentials{"username": "certain", "sslcert": string(cert.CertPEM), "sslkey": string(cert.KeyPEM)})},
		{name: "client-certificate-of-the-owner", binding: bound.with(credentials{"username": "certain"}), env: []string{"PGSSLCERT=" + file("owner.crt", cert.CertPEM), "PGSSLKEY=" + file("owner.key", cert.KeyPEM)}},
		{name: "client-certificate-wanted", binding: bound.with(credentials{"username": "certain"}), status: 1},
		{name: "client-certificate-refused", binding: bound.with(credentials{"username": "certain", "sslcert": string(stranger.CertPEM), "sslkey": string(stranger.KeyPEM)}), status: 1},
		{name: "client-certificate-of-another-user", binding: bound.with(credentials{"username": "certain", "sslcert": string(other.CertPEM), "sslkey": string(other.KeyPEM)}), status: 1},
		{name: "client-certificate-unusable", binding: bound, env: []string{"PGSSLCERT=" + file("owner.crt", cert.CertPEM), "PGSSLKEY=" + file("other.key", other.KeyPEM)}, status: 1},
		{name: "password-refused", binding: bound.with(credentials{"password": wrong}), status: 1},
		{name: "database-missing", binding: bound.with(credentials{"dbname": "nowhere"}), status: 1},
		{name: "not-allowed", binding: bound.with(credentials{"username": "barred"}), status: 1},
		{name: "not-listed", binding: bound.with(credentials{"username": "unheard"}), status: 1},
		{name: "root-unreadable", binding: bound, env: []string{"PGSSLROOTCERT=/nowhere/root.pem"}, status: 1},
		{name: "mode-unknown", binding: bound, env: []string{"PGSSLMODE=verify"}, status: 1},
		{name: "mode-misspelt", binding: bound, env: []string{"PGSSLMODE=VERIFY_FULL"}, status: 1},
		{name: "no-host", binding: credentials{"uri": "postgres://", "username": "app", "password": password}, status: 1},
		{name: "no-user", binding: credentials{"uri": "postgres://localhost/app"}, status: 1},
		{name: "no-port", binding: bound.with(credentials{"port": password}), status: 1},

		{name: "dns", binding: at("nosuchhost.invalid", 5432), status: 1},
		{name: "refused", binding: at("localhost", pgtest.Nobody(t)), status: 1},
		{name: "timeout", binding: at("localhost", pgtest.Listen(t, pgtest.Silent)), args: []string{"--timeout", "300ms"}, status: 1},
		{name: "closed", binding: at("localhost", pgtest.Listen(t, func(net.Conn) {})), status: 1},
		{name: "not-postgres", binding: at("localhost", pgtest.Listen(t, pgtest.Greeting("220 mail.example.com ESMTP"))), status: 1},
		{name: "not-postgres-either", binding: at("localhost", pgtest.Listen(t, pgtest.Greeting("SSH-2.0-OpenSSH_9.2p1"))), status: 1},
		{name: "no-tls", binding: at("localhost", plain.Port), status: 1},

		{name: "mode-disable", binding: bound.with(credentials{"sslmode": "disable"}), status: 1},
		{name: "mode-allow", binding: bound.with(credentials{"sslmode": "allow", "username": "loose"}), status: 1},
		{name: "mode-allow-where-plain-text-is-refused", binding: bound.with(credentials{"sslmode": "allow"})},
		{name: "mode-prefer", binding: bound.with(credentials{"sslmode": "prefer"})},
		{name: "mode-prefer-without-tls", binding: at("localhost", plain.Port).with(credentials{"sslmode": "prefer"}), status: 1},
		{name: "no-mode", binding: at("localhost", server.Port).with(credentials{"sslmode": ""})},
		{name: "no-mode-without-tls", binding: at("localhost", plain.Port).with(credentials{"sslmode": ""}), status: 1},
		{name: "plain-text-accepted", binding: bound.with(credentials{"username": "loose"})},
		{name: "plain-text-accepted-without-a-password", binding: bound.with(credentials{"username": "guest"})},
		{name: "plain-text-session", binding: bound.with(credentials{"username": "loose"}), status: 1, during: func(t *testing.T) {
			hold(t, fmt.Sprintf("host=127.0.0.1 port=%d user=loose password=%s dbname=console_db sslmode=disable application_name='an old app'", server.Port, password))
			hold(t, fmt.Sprintf("host=127.0.0.1 port=%d user=loose password=%s dbname=console_db sslmode=require application_name='a new app'", server.Port, password))
		}},
		{name: "local-session", binding: bound.with(credentials{"username": "loose"}), during: func(t *testing.T) {
			hold(t, fmt.Sprintf("host=%s port=%d user=loose dbname=console_db application_name=cron", server.SocketDir(), server.Port))
		}},
		{name: "sessions-hidden", binding: bound.with(credentials{"username": "concealed"}), status: 1},

		{name: "further-hosts", binding: bound.with(credentials{"replica_host": "localhost"})},
		{name: "further-host-fails", binding: bound.with(credentials{"replica_host": south}), status: 1},
		{name: "further-host-on-its-own-port", binding: bound.with(credentials{"replica_uri": fmt.Sprintf("postgres://app:%s@localhost:%d/app", password, plain.Port)}), status: 1},
		{name: "further-connection-string", binding: bound.with(credentials{"example": map[string]any{"uri": "postgres://nobody@localhost:1/example?sslmode=verify-full"}})},
		{name: "further-host-is-away", binding: bound.with(credentials{"replica_host": "nosuchhost.invalid"})},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.presents != nil {
				changing.Reload(t, *test.presents)
			}
			if test.during != nil {
				test.during(t)
			}
			waitForTheEndOfVerify(t, server, changing)
			stdout, stderr, status := verifyCommand(t, program, services(t, map[string]credentials{"console_db": test.binding}), test.env, test.args...)
			for _, secret := range []string{password, wrong, keyLine(cert), keyLine(stranger), keyLine(other)} {
				assert.NotContains(t, stdout+stderr, secret)
			}
			assert.Equal(t, test.status, status, "exit status")
			assert.Empty(t, stderr)
			golden(t, test.name, fmt.Sprintf("%sexit status %d\n", stdout, status))
		})
	}
}

// waitForTheEndOfVerify: a session of the command before may still be ending, and be listed.
func waitForTheEndOfVerify(t *testing.T, servers ...*pgtest.Server) {
	t.Helper()
	for _, server := range servers {
		require.Eventually(t, func() bool {
			return strings.TrimSpace(server.SQL(t, "select count(*) from pg_stat_activity where application_name = 'postgres-ssl verify'")) == "0"
		}, time.Minute, time.Millisecond)
	}
}

func keyLine(pair pgtest.Pair) string { return strings.Split(string(pair.KeyPEM), "\n")[1] }

// golden compares a text with the file in testdata/verify, after it has replaced what is volatile.
func golden(t *testing.T, name, text string) {
	t.Helper()
	text = normalised(text)
	path := filepath.Join("testdata", "verify", name+".txt")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	expected, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(expected), text)
}

func normalised(text string) string {
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.stands)
	}
	return text
}

// The run on the page is that of a case above. The page cuts long lines.
func TestThePageShowsARealRun(t *testing.T) {
	page, err := os.ReadFile("../../../docs/verify.md")
	require.NoError(t, err)
	_, run, found := strings.Cut(string(page), "```\nconsole_db: FAILED\n")
	require.True(t, found)
	run, _, _ = strings.Cut(run, "```")
	real, err := os.ReadFile(filepath.Join("testdata", "verify", "plain-text-session.txt"))
	require.NoError(t, err)
	shown := strings.Split(normalised("console_db: FAILED\n"+run)+"exit status 1\n", "\n")
	lines := strings.Split(string(real), "\n")
	require.Len(t, shown, len(lines))
	for i, line := range lines {
		if start, cut := strings.CutSuffix(shown[i], "…"); cut {
			require.True(t, strings.HasPrefix(line, start), shown[i])
			shown[i] = line
		}
	}
	assert.Equal(t, lines, shown)
}

// The page's command lines run word for word, with a stand-in for the platform's cf.
func TestThePagesCommandLinesRun(t *testing.T) {
	page, err := os.ReadFile("../../../docs/verify.md")
	require.NoError(t, err)
	program := newDroplet(t, newAuthorities(t))
	vcap := services(t, map[string]credentials{"console_db": {"hostname": "localhost", "port": pgtest.Nobody(t), "username": "app", "sslmode": "verify-full"}})
	dir := t.TempDir()
	cf := `#!/bin/bash
case $1,$#,$* in
  run-task,4,*APP\ --command*) VCAP_SERVICES=$APPS exec bash -c "$4" ;;
  ssh,5,*"APP -t -c /tmp/lifecycle/shell") VCAP_SERVICES=$APPS exec postgres-ssl verify ;;
  app,3,*"APP --guid") echo 0815 ;;
  curl,2,*/v3/apps/0815/env) echo "{\"system_env_json\": {\"VCAP_SERVICES\": $APPS}}" ;;
  set-env,4,*) [[ $2 = APP ]] && echo "$3=$4" ;;
  *) exit 9 ;;
esac
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cf"), []byte(cf), 0o755))
	require.NoError(t, os.Symlink(filepath.Dir(program), filepath.Join(dir, "bin")))
	ran := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "cf ") {
			continue
		}
		cmd := exec.Command("bash", "-c", line)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":" + filepath.Dir(program) + ":" + os.Getenv("PATH"), "APPS=" + vcap, "HOME=" + dir}
		said, _ := cmd.CombinedOutput()
		shows := "nothing listens at localhost:"
		if strings.HasPrefix(line, "cf set-env ") {
			shows = gateVariable + "=start"
		}
		assert.Contains(t, string(said), shows, line)
		ran++
	}
	assert.Equal(t, 4, ran)
	assert.Contains(t, string(page), "a slow one holds up a start for ten seconds at most")
	assert.Equal(t, 10*time.Second, gateTimeout)
}

// hold keeps a session open until the test ends.
func hold(t *testing.T, settings string) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), settings)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close(context.Background())) })
}

// TestVerifyInTheContainer runs the command after the launch script has run, in an environment with
// much else.
func TestVerifyInTheContainer(t *testing.T) {
	cas := newAuthorities(t)
	program := newDroplet(t, cas)
	config := pgtest.Config{
		ClientCA: cas.client.PEM,
		HBA:      []string{"hostssl all app 127.0.0.1/32 scram-sha-256", "hostssl all certain 127.0.0.1/32 cert"},
		SQL:      "create user app password '" + password + "'; create user certain; create database app owner app;",
	}
	start := func(pair pgtest.Pair) *pgtest.Server {
		config.Certificate, config.Key = pair.CertPEM, pair.KeyPEM
		return pgtest.Start(t, config)
	}
	server := start(cas.west.Issue(t, []string{west, "localhost"}))
	company := start(cas.company.Issue(t, []string{"localhost"}))
	bound := credentials{"hostname": west, "port": server.Port, "username": "app", "password": password, "dbname": "app", "sslmode": "verify-full"}
	own := bound.with(credentials{"hostname": "localhost", "port": company.Port, "ca_cert": string(cas.company.PEM)})
	client := cas.client.Issue(t, []string{"certain"})

	for name, bindings := range map[string]map[string]credentials{
		"a region":             {"console_db": bound},
		"everyone":             {"console_db": bound.with(credentials{"hostname": "localhost"})},
		"a CA of its own":      {"console_db": own},
		"a client certificate": {"console_db": bound.with(credentials{"username": "certain", "sslcert": string(client.CertPEM), "sslkey": string(client.KeyPEM)})},
		"two databases":        {"console_db": bound, "other_db": own},
	} {
		t.Run("the same as outside: "+name, func(t *testing.T) {
			vcap := services(t, bindings)
			waitForTheEndOfVerify(t, server, company)
			outside, _, status := verifyCommand(t, program, vcap, nil)
			require.Equal(t, 0, status, outside)
			// In a file, because bash's -c would need quotes.
			script := filepath.Join(t.TempDir(), "app.sh")
			require.NoError(t, os.WriteFile(script, []byte(`eval "$("$1" env || echo exit 1)" || exit 1
printf '%s ' "$PGSSLMODE" "$PGSSLROOTCERT" >&2
exec "$1" verify
`), 0o644))
			waitForTheEndOfVerify(t, server, company)
			inside, exported, status := withHosts(t, vcap, nil, "bash", script, program)
			assert.Equal(t, 0, status, inside)
			assert.Regexp(t, `^verify-full /\S+\.pem $`, exported)
			assert.Equal(t, normalised(outside), normalised(inside))
			assert.NotContains(t, outside+inside+exported, password)
		})
	}

	t.Run("variables of libpq have no say", func(t *testing.T) {
		vcap := services(t, map[string]credentials{"console_db": bound})
		waitForTheEndOfVerify(t, server, company)
		plain, _, _ := verifyCommand(t, program, vcap, nil)
		home := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(home, ".pgpass"), []byte("*:*:*:*:"+password+"\n"), 0o600))
		env := []string{
			"HOME=" + home, "PGHOST=/nowhere", "PGPORT=none", "PGDATABASE=other", "PGUSER=other", "PGPASSWORD=" + wrong, "PGSERVICE=nowhere",
			"PGSERVICEFILE=/nowhere", "PGPASSFILE=/nowhere", "PGOPTIONS=-c nonsense=1", "PGAPPNAME=other", "PGCONNECT_TIMEOUT=none",
			"PGTARGETSESSIONATTRS=none", "PGREQUIREAUTH=none", "PGCHANNELBINDING=none", "PGSSLCERTMODE=none", "PGSSLNEGOTIATION=direct",
			"PGMINPROTOCOLVERSION=9", "PGTZ=none",
		}
		waitForTheEndOfVerify(t, server, company)
		stdout, stderr, status := verifyCommand(t, program, vcap, env)
		assert.Equal(t, 0, status, stderr)
		assert.Equal(t, normalised(plain), normalised(stdout))

		without := services(t, map[string]credentials{"console_db": bound.with(credentials{"password": ""})})
		stdout, _, status = verifyCommand(t, program, without, env)
		assert.Equal(t, 1, status)
		assert.Contains(t, stdout, `the server refuses the password of user "app"`)
	})

	t.Run("OpenSSL's configuration in the app's folder", func(t *testing.T) {
		vcap := services(t, map[string]credentials{"console_db": bound})
		const says = "warning: on cflinuxfs5, the app's openssl.cnf governs what uses OpenSSL"
		without, _, _ := verifyCommand(t, program, vcap, nil)
		assert.NotContains(t, without, says, "control")
		file := filepath.Join(filepath.Dir(program), "../../../app/openssl.cnf")
		require.NoError(t, os.WriteFile(file, []byte("CipherString = DEFAULT@SECLEVEL=0\n"), 0o644))
		defer os.Remove(file)
		with, _, _ := verifyCommand(t, program, vcap, nil)
		assert.Contains(t, with, says)
	})

	t.Run("another decides", func(t *testing.T) {
		waitForTheEndOfVerify(t, server, company)
		stdout, stderr, status := verifyCommand(t, program, services(t, map[string]credentials{
			"console_db": bound, "other_db": own.with(credentials{"sslmode": "require"}),
		}), []string{"POSTGRES_SSL_SERVICE=other_db"})
		assert.Equal(t, 1, status)
		assert.Empty(t, stderr)
		golden(t, "another-decides", fmt.Sprintf("%sexit status %d\n", stdout, status))
	})

	t.Run("one of several fails", func(t *testing.T) {
		waitForTheEndOfVerify(t, server, company)
		stdout, stderr, status := verifyCommand(t, program, services(t, map[string]credentials{
			"a_db": bound, "b_db": bound.with(credentials{"password": wrong}), "c_db": own.with(credentials{"ca_cert": string(cas.expired.PEM)}),
		}), nil)
		assert.Equal(t, 1, status)
		assert.Empty(t, stderr)
		golden(t, "one-of-several-fails", fmt.Sprintf("%sexit status %d\n", stdout, status))
	})
}

// TestNobodysShellDecides has a server that the binding's CA does not know, and that asks for
// passwords in clear text. An operator who looks at an app from outside may have set any variable
// for another purpose.
func TestNobodysShellDecides(t *testing.T) {
	cas := newAuthorities(t)
	program := newDroplet(t, cas)
	pair := cas.company.Issue(t, []string{"localhost"})
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	heard := make(chan pgproto3.FrontendMessage, 10)
	var served sync.WaitGroup // done once every client's message is read
	port := pgtest.Listen(t, func(conn net.Conn) {
		served.Add(1)
		defer served.Done()
		if message, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err != nil {
			return
		} else if _, ok := message.(*pgproto3.SSLRequest); !ok {
			return
		}
		_, _ = conn.Write([]byte("S"))
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		server := pgproto3.NewBackend(secure, secure)
		if _, err := server.ReceiveStartupMessage(); err != nil {
			return
		}
		server.Send(&pgproto3.AuthenticationCleartextPassword{})
		_ = server.SetAuthType(pgproto3.AuthTypeCleartextPassword)
		if server.Flush() == nil {
			if message, err := server.Receive(); err == nil {
				heard <- message
			}
		}
	})
	bound := credentials{"hostname": "localhost", "port": port, "username": "app", "password": password, "dbname": "app", "sslmode": "verify-full",
		"sslrootcert": string(cas.client.PEM)}
	vcap := services(t, map[string]credentials{"console_db": bound})
	dir := t.TempDir()
	file := filepath.Join(dir, "services.json")
	require.NoError(t, os.WriteFile(file, []byte(vcap), 0o600))
	company := filepath.Join(dir, "company.crt")
	require.NoError(t, os.WriteFile(company, cas.company.PEM, 0o600))

	for _, operators := range [][]string{
		{"PGSSLMODE=require"}, {"DB_SSL_MODE=require"}, {"PGSSLROOTCERT=" + company}, {"PGSSLROOTCERT=system", "SSL_CERT_FILE=" + company},
		{"POSTGRES_SSL_MODE=require"}, {"POSTGRES_SSL_SERVICE=other_db"}, {"CF_SYSTEM_CERT_PATH=" + dir}, {"PGSSLCERT=/nowhere", "PGSSLKEY=/nowhere"},
		{"VCAP_SERVICES_FILE_PATH=/nowhere"}, {"SERVICE_BINDING_ROOT=/nowhere"}, {"DATABASE_URL=postgres://app:" + password + "@localhost/d?sslmode=require"},
	} {
		t.Run(strings.Join(operators, " "), func(t *testing.T) {
			stdout, _, status := verifyCommand(t, program, "", operators, "--services", file)
			assert.Equal(t, 1, status)
			assert.Contains(t, stdout, "sslmode      verify-full, from credential sslmode\n")
			assert.Contains(t, stdout, "the certificate of localhost comes from a CA that is not trusted")
			assert.NotContains(t, stdout, "owner")
			served.Wait()
			assert.Empty(t, heard, "who was given the password")
		})
	}
	t.Run("control: in the app's container the same variables are the app's", func(t *testing.T) {
		_, _, _ = verifyCommand(t, program, vcap, []string{"PGSSLMODE=require"})
		served.Wait()
		require.Len(t, heard, 1)
		assert.Equal(t, &pgproto3.PasswordMessage{Password: password}, <-heard)
	})
	t.Run("control: and so they are in the app's document", func(t *testing.T) {
		document := fmt.Sprintf(`{"system_env_json": {"VCAP_SERVICES": %s}, "environment_variables": {"PGSSLMODE": "require"}}`, vcap)
		require.NoError(t, os.WriteFile(file, []byte(document), 0o600))
		_, _, _ = verifyCommand(t, program, "", nil, "--services", file)
		served.Wait()
		assert.Len(t, heard, 1)
	})
}
