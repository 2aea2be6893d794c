package faults

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// POSTGRES_SSL_VERIFY=start: the app starts only if each database that answers is encrypted and
// verified as the mode in force asks.

const (
	atStart        = "POSTGRES_SSL_VERIFY=start"
	gatesPassword  = "s3cr3t-P4ssword"
	somebodyElses  = "wr0ng-P4ssword"
	databaseOfGate = "create user app password '" + gatesPassword + "'; create user certain; create database app owner app; grant connect on database app to certain"
)

// gated is a server, and the CA in its binding.
type gated struct {
	*pgtest.Server
	ca *pgtest.CA
}

func gatedServer(t *testing.T, names []string, edit func(*pgtest.Config), edits ...func(*x509.Certificate)) gated {
	t.Helper()
	ca := pgtest.NewCA(t, "Company Root")
	pair := ca.Issue(t, names, edits...)
	config := pgtest.Config{Certificate: pair.CertPEM, Key: pair.KeyPEM, SQL: databaseOfGate, HBA: []string{"hostssl all app 127.0.0.1/32 scram-sha-256"}}
	if edit != nil {
		edit(&config)
	}
	return gated{pgtest.Start(t, config), ca}
}

// binding binds the server. change replaces some of its credentials.
func (g gated) binding(t testing.TB, change map[string]any) string {
	t.Helper()
	return services(t, map[string]any{"name": "orders", "credentials": g.credentials(change)})
}

func (g gated) credentials(change map[string]any) map[string]any {
	credentials := map[string]any{
		"uri": "postgres://", "hostname": "localhost", "port": g.Port, "username": "app", "password": gatesPassword, "dbname": "app",
		"sslmode": "verify-full", "sslrootcert": string(g.ca.PEM),
	}
	for key, value := range change {
		credentials[key] = value
	}
	return credentials
}

// logins counts the logins so far.
func (g gated) logins(t testing.TB) int {
	t.Helper()
	return strings.Count(g.Log(t), "connection authorized: user=app database=app application_name=postgres-ssl verify SSL enabled")
}

// startEnv is the environment of a started app, without the variable that asks for the gate.
func startEnv(l launched) map[string]string {
	delete(l.env, "POSTGRES_SSL_VERIFY")
	return l.env
}

func TestTheGateOfAStart(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	here := []string{"localhost"}
	good := gatedServer(t, here, nil)
	elsewhere := gatedServer(t, []string{"elsewhere.example.com"}, nil)
	expired := gatedServer(t, here, nil, pgtest.Expired)
	ending := gatedServer(t, here, nil, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 12).Add(time.Hour) })
	clients := pgtest.NewCA(t, "Client Root")
	particular := gatedServer(t, here, func(config *pgtest.Config) {
		config.ClientCA, config.HBA = clients.PEM, []string{"hostssl all certain 127.0.0.1/32 cert"}
	})
	plain := gatedServer(t, here, func(config *pgtest.Config) {
		config.Certificate, config.Key, config.HBA = nil, nil, []string{"host all app 127.0.0.1/32 scram-sha-256"}
	})
	both := gatedServer(t, here, func(config *pgtest.Config) { config.HBA = []string{"host all app 127.0.0.1/32 scram-sha-256"} })
	other := map[string]any{"sslrootcert": string(pgtest.NewCA(t, "Another Root").PEM)}
	client := clients.Issue(t, []string{"certain"})
	stranger := pgtest.NewCA(t, "Unheard-of Root").Issue(t, []string{"certain"})
	silent := pgtest.Listen(t, pgtest.Silent)
	hangsUp := pgtest.Listen(t, func(net.Conn) {})
	junk := pgtest.Listen(t, pgtest.Greeting("220 mail.example.com ESMTP"))
	at := func(port int) map[string]any { return map[string]any{"port": port} }

	for name, test := range map[string]struct {
		binding string
		env     []string
		starts  bool
		says    string
	}{
		"a good server":               {good.binding(t, nil), nil, true, "orders: TLS 1.3, as verify-full asks"},
		"a certificate that ends":     {ending.binding(t, nil), nil, true, ", in 12 days\n"},
		"a client certificate":        {particular.binding(t, map[string]any{"username": "certain", "sslcert": string(client.CertPEM), "sslkey": string(client.KeyPEM)}), nil, true, "orders: TLS 1.3, as verify-full asks"},
		"another name, verify-ca":     {elsewhere.binding(t, map[string]any{"sslmode": "verify-ca"}), nil, true, "orders: TLS 1.3, as verify-ca asks"},
		"another CA, require":         {good.binding(t, map[string]any{"sslmode": "require", "sslrootcert": other["sslrootcert"]}), nil, true, "orders: TLS 1.3, as require asks"},
		"prefer, where TLS works":     {good.binding(t, map[string]any{"sslmode": "prefer"}), nil, true, "orders: TLS 1.3, as prefer asks"},
		"the owner's weaker word":     {good.binding(t, other), []string{"PGSSLMODE=require", "DB_SSL_MODE=require"}, true, "orders: TLS 1.3, as require asks; sslmode require is in force ("},
		"another CA":                  {good.binding(t, other), nil, false, "orders: the app does not start: the certificate of localhost comes from a CA that is not trusted"},
		"another name":                {elsewhere.binding(t, nil), nil, false, "orders: the app does not start: the certificate is not issued for localhost, but for elsewhere.example.com"},
		"an expired certificate":      {expired.binding(t, nil), nil, false, "orders: the app does not start: the certificate of \"localhost\" in the chain of localhost expired"},
		"a server without TLS":        {plain.binding(t, nil), nil, false, "does not speak TLS"},
		"prefer, without TLS":         {plain.binding(t, map[string]any{"sslmode": "prefer"}), nil, false, "orders: the app does not start: sslmode prefer falls back to plain text"},
		"the owner's disable":         {both.binding(t, nil), []string{"PGSSLMODE=disable"}, false, "orders: the app does not start: sslmode disable asks for plain text; set PGSSLMODE to verify-full\n"},
		"a refused certificate":       {particular.binding(t, map[string]any{"username": "certain", "sslcert": string(stranger.CertPEM), "sslkey": string(stranger.KeyPEM)}), nil, false, "refuses the client certificate"},
		"something else that listens": {good.binding(t, at(junk)), nil, false, "does not answer as a PostgreSQL server does"},
		"a further host":              {good.binding(t, map[string]any{"replica_host": "127.0.0.1"}), nil, false, "orders: the app does not start: further host: the certificate is not issued for 127.0.0.1"},
		"nobody listens":              {good.binding(t, map[string]any{"port": pgtest.Nobody(t)}), nil, true, "; the app starts all the same"},
		"a name without an address":   {good.binding(t, map[string]any{"hostname": "nosuchhost.invalid"}), nil, true, "orders: DNS gives no address for nosuchhost.invalid; the app starts all the same"},
		"whoever hangs up":            {good.binding(t, at(hangsUp)), nil, true, "; the app starts all the same"},
		"no answer for ten seconds":   {good.binding(t, at(silent)), nil, true, "does not answer the request for TLS in time; the app starts all the same"},
		"a wrong password":            {good.binding(t, map[string]any{"password": somebodyElses}), nil, true, "orders: TLS 1.3, as verify-full asks; the server refuses the password of user \"app\" (SQLSTATE 28P01); the app starts all the same"},
		"nothing bound":               {"VCAP_SERVICES={}", nil, true, "no Postgres database is bound; there is nothing to verify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := c.launch(t, append(test.env, test.binding)...)
			require.NotNil(t, before.env, before.stderr)
			assert.Empty(t, before.stderr, "the control: without the variable, every one of them starts, and nothing is said")
			l := c.launch(t, append(test.env, test.binding, atStart)...)
			assert.Equal(t, 1, strings.Count(l.stderr, "\n"), "one line: %s", l.stderr)
			assert.True(t, strings.HasPrefix(l.stderr, "postgres-ssl: "), l.stderr)
			assert.Contains(t, l.stderr, test.says)
			for _, secret := range []string{gatesPassword, somebodyElses} {
				assert.NotContains(t, l.stderr, secret)
			}
			if !test.starts {
				assert.Nil(t, l.env)
				return
			}
			require.NotNil(t, l.env, l.stderr)
			assert.Equal(t, before.env, startEnv(l), "the same environment as without")
		})
	}
}

func TestOnlyTheOneValueOpensTheGateAndNothingElseSendsAPacket(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	var connections atomic.Int64
	port := pgtest.Listen(t, func(net.Conn) { connections.Add(1) })
	server := gated{&pgtest.Server{Port: port}, pgtest.NewCA(t, "Root")}
	binding := server.binding(t, nil)
	for _, value := range []string{"yes", "START", "start ", "true", "1", "launch", "off", "no", "0", "\n"} {
		l := c.launch(t, binding, "POSTGRES_SSL_VERIFY="+value)
		assert.Nil(t, l.env, value)
		assert.Equal(t, "postgres-ssl: POSTGRES_SSL_VERIFY has only one valid value, start: set it to that, or unset it\n", l.stderr)
	}
	for _, env := range [][]string{{binding}, {binding, "POSTGRES_SSL_VERIFY="}} {
		l := c.launch(t, env...)
		assert.NotNil(t, l.env)
		assert.Empty(t, l.stderr)
	}
	assert.Zero(t, connections.Load())

	assert.NotNil(t, c.launch(t, binding, atStart).env)
	assert.NotZero(t, connections.Load(), "the control: it can be seen")
}

// The platform may end a start while the gate waits for a database.
func TestWhatALaunchWarnsOfIsSaidBeforeTheGateWaits(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer log.Close()
	said := make(chan string, 100)
	port := pgtest.Listen(t, func(conn net.Conn) {
		text, _ := os.ReadFile(log.Name())
		said <- string(text)
		conn.Close()
	})
	binding := gated{&pgtest.Server{Port: port}, pgtest.NewCA(t, "Root")}.binding(t, nil)
	weaker := fmt.Sprintf("DB_DSN=postgres://u:p@localhost:%d/d?sslmode=require", port)
	cmd := exec.Command("bash", "-c", launcherScript, "launcher", c.path("app"))
	cmd.Env, cmd.Stderr = c.environment([]string{binding, weaker, atStart}), log
	_ = cmd.Run()
	require.NotEmpty(t, said, "the gate has connected")
	assert.Contains(t, <-said, "DB_DSN, set by the app's owner, has a connection string with sslmode=require")
}

// One wrong database of several stops the start, and each database has its line.
func TestTheGateLooksAtEveryDatabase(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	good, bad := gatedServer(t, []string{"localhost"}, nil), gatedServer(t, []string{"elsewhere"}, nil)
	bind := func(second gated) string {
		return services(t, map[string]any{"name": "first", "credentials": good.credentials(nil)}, map[string]any{"name": "second", "credentials": second.credentials(nil)})
	}
	l := c.launch(t, bind(good), atStart)
	assert.NotNil(t, l.env)
	assert.Equal(t, "postgres-ssl: first: TLS 1.3, as verify-full asks\npostgres-ssl: second: TLS 1.3, as verify-full asks\n", l.stderr)
	l = c.launch(t, bind(bad), atStart)
	assert.Nil(t, l.env)
	assert.Regexp(t, `^postgres-ssl: first: TLS 1.3, as verify-full asks\npostgres-ssl: second: the app does not start: .*\n$`, l.stderr)
}

// Such sessions belong to an older instance, which goes when this one is up.
func TestASessionInPlainTextStopsNoStart(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	server := gatedServer(t, []string{"localhost"}, func(config *pgtest.Config) { config.HBA = []string{"host all app 127.0.0.1/32 scram-sha-256"} })
	old := exec.Command("psql", fmt.Sprintf("host=127.0.0.1 port=%d user=app dbname=app sslmode=disable application_name=old", server.Port),
		"-X", "-q", "-c", "select 'up'", "-f", "-")
	old.Env = append(os.Environ(), "PGPASSWORD="+gatesPassword)
	stdin, err := old.StdinPipe() // psql waits for its end, connected
	require.NoError(t, err)
	stdout, err := old.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, old.Start())
	t.Cleanup(func() { assert.NoError(t, stdin.Close()); assert.NoError(t, old.Wait()) })
	_, err = stdout.Read(make([]byte, 1)) // it is connected
	require.NoError(t, err)

	l := c.launch(t, server.binding(t, nil), atStart)
	assert.NotNil(t, l.env)
	assert.Regexp(t, `^postgres-ssl: orders: TLS 1.3, as verify-full asks; user app has sessions in plain text: pid [0-9]+ \(old, 127.0.0.1\), likely this app's; the app starts all the same\n$`, l.stderr)
}

// Sidecars and tasks launch in the same way, and at the same time.
func TestFiveSidecarsAtOnceEachVerify(t *testing.T) {
	t.Parallel()
	server := gatedServer(t, []string{"localhost"}, nil)
	other := map[string]any{"sslrootcert": string(pgtest.NewCA(t, "Another Root").PEM)}
	const crowd = 5
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	launch := func(binding string) []launched {
		results := make([]launched, crowd)
		start := make(chan struct{})
		var wait sync.WaitGroup
		for i := range results {
			wait.Go(func() {
				<-start
				results[i] = c.launch(t, binding, atStart)
			})
		}
		close(start)
		wait.Wait()
		c.assertNothingUnfinished(t)
		c.forget(t)
		return results
	}
	alone := c.launch(t, server.binding(t, nil))
	require.NotNil(t, alone.env)
	c.forget(t)
	for _, l := range launch(server.binding(t, nil)) {
		require.NotNil(t, l.env, l.stderr)
		assert.Equal(t, alone.env, startEnv(l))
		assert.Equal(t, "postgres-ssl: orders: TLS 1.3, as verify-full asks\n", l.stderr)
	}
	assert.Equal(t, crowd, server.logins(t), "each on its own")
	assert.NotContains(t, server.Log(t), "no encryption", "nobody says in plain text who connects")
	for _, l := range launch(server.binding(t, other)) {
		assert.Nil(t, l.env)
		assert.Equal(t, 1, strings.Count(l.stderr, "\n"), l.stderr)
		assert.Contains(t, l.stderr, "orders: the app does not start: ")
	}
	assert.Equal(t, crowd, server.logins(t), "nobody logs in where the certificate is not believed")
}

// The script is in both places where a launcher looks. Whatever `set` says in the app's shell, the
// database is verified once, and nothing is left behind.
func TestTheGateInEveryShellAndOnce(t *testing.T) {
	t.Parallel()
	server := gatedServer(t, []string{"localhost"}, nil)
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	require.FileExists(t, c.path("profile.d/0_postgres-ssl.sh"))
	require.FileExists(t, c.path("app/.profile.d/000_postgres-ssl.sh"))
	other := map[string]any{"sslrootcert": string(pgtest.NewCA(t, "Another Root").PEM)}
	const state = `{ compgen -v; declare -F; alias; shopt; set +o; trap; }`
	run := func(before string, env ...string) (string, string) {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command("bash", "-c", `cd "$1"; `+before+`
for f in ../profile.d/0_postgres-ssl.sh .profile.d/*; do source "$f"; done
echo started; `+state, "launcher", c.path("app"))
		cmd.Env, cmd.Stdout, cmd.Stderr = c.environment(env), &stdout, &stderr
		_ = cmd.Run() // stdout says whether it got to the end
		return stdout.String(), stderr.String()
	}
	for n, before := range []string{
		"true", "set -euo pipefail", "set -euo pipefail; set -o noclobber -o posix; shopt -s nullglob nocasematch", "IFS=/.s; trap 'echo trapped' ERR",
	} {
		without, _ := run(before, server.binding(t, nil))
		with, stderr := run(before, server.binding(t, nil), atStart)
		require.Contains(t, with, "started\n", stderr)
		assert.Equal(t, without, with, before)
		assert.Equal(t, "postgres-ssl: orders: TLS 1.3, as verify-full asks\n", stderr, before)
		assert.Equal(t, n+1, server.logins(t), "once a start, though both scripts were sourced: %s", before)
		with, stderr = run(before, server.binding(t, other), atStart)
		assert.Empty(t, with, before)
		assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
}

// With a bad server, people need the tools that explain it. The scripts are those of the platform's
// launcher and shell, which give the same arguments.
func TestTheGateLetsItsOwnToolsThroughAndNothingElse(t *testing.T) {
	t.Parallel()
	server := gatedServer(t, []string{"localhost"}, nil)
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	binding := server.binding(t, map[string]any{"sslrootcert": string(pgtest.NewCA(t, "Another Root").PEM)})
	const script = `cd "$1"
for env_file in ../profile.d/* .profile.d/*; do [ -e "$env_file" ] && source $env_file; done
shift
exec bash -c "$@"`
	run := func(command, typed string, arguments ...string) (string, string) {
		var stdout, stderr bytes.Buffer
		if arguments == nil {
			arguments = []string{"-c", script, "/tmp/lifecycle/launcher", c.path("app"), command}
		}
		cmd := exec.Command("bash", arguments...)
		cmd.Env = c.environment([]string{"PATH=" + c.path("deps/0/bin") + ":/usr/bin:/bin", binding, atStart})
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(typed), &stdout, &stderr
		_ = cmd.Run()
		return stdout.String(), stderr.String()
	}
	for _, test := range []struct{ command, typed, prints string }{
		{"postgres-ssl verify --json", "", `"code": "unknown-ca"`},
		{" " + c.path("deps/0/bin/postgres-ssl") + " verify\t--timeout 5s ", "", "orders: FAILED"},
		{"postgres-ssl env --explain", "", "verify-full"},
		{"bash", "echo typed; echo ${POSTGRES_SSL_VERIFY-gone}", "typed\ngone\n"},
	} {
		stdout, stderr := run(test.command, test.typed)
		assert.Contains(t, stdout, test.prints, test.command)
		assert.NotContains(t, stderr, "does not start", test.command)
	}
	started := func(text string) string { return strings.ReplaceAll(text, "APP", "echo started") }
	for _, command := range []string{
		"APP", "bash -c 'APP'", "bash -i", "postgres-ssl env; APP", "postgres-ssl verify && APP", "postgres-ssl verify || APP", "postgres-ssl verify & APP",
		"postgres-ssl help | APP", "postgres-ssl help\nAPP", "postgres-ssl help $(APP >&2)", "postgres-ssl help `APP`", "postgres-ssl help <(APP)",
		"postgres-ssl help > out", "./postgres-ssl help", "postgres-ssl-server", "x=postgres-ssl; APP", "postgres-ssl() { APP; }; postgres-ssl help", "",
	} {
		stdout, stderr := run(started(command), "echo started")
		assert.NotContains(t, stdout+stderr, "started\n", command)
		assert.Contains(t, stderr, "orders: the app does not start: ", command)
	}
	_, stderr := run("", "", "-c", script+"\n# postgres-ssl help", "launcher", c.path("app"))
	assert.Contains(t, stderr, "orders: the app does not start: ", "without a command")
}
