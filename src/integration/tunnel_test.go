package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
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

// What the tunnel says of a server that it refuses. A driver that refuses by itself has others.
const (
	tunnelUntrusted  = `comes from a CA that is not trusted`
	tunnelMisnamed   = `the certificate is not issued for db\.abc123`
	tunnelWithoutTLS = `does not speak TLS`
)

// everyDriverThroughTheTunnel runs all drivers of the table through the tunnel. Those that no
// variable reaches talk to it in plain text. Those that obey use TLS and verify the tunnel. What
// they do without it is in the table.
func everyDriverThroughTheTunnel(t *testing.T, buildpack, app string, oregon *pgtest.CA) {
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	launched := launch(t, buildpack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes")
	assert.NotContains(t, launched.variable("VCAP_SERVICES"), host)
	assert.Equal(t, "verify-full", launched.variable("PGSSLMODE"), "as strict as it is without the tunnel")

	all := append(slices.Clone(drivers), driver{name: "Django", command: "django/main.py"})
	for name, o := range connectAll(t, launched, server, all) {
		assert.True(t, o.tls, "%s does not get through the tunnel: %s", name, o.said)
	}
	for _, line := range logins(server.Log(t)) {
		assert.Contains(t, line, " SSL enabled (protocol=TLSv1.3")
	}
	for _, bad := range []struct {
		serving pgtest.Config
		says    string
	}{
		{serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host), tunnelUntrusted},
		{serving(t, oregon, otherHost), tunnelMisnamed},
		{pgtest.Config{}, tunnelWithoutTLS},
	} {
		before := server.Log(t)
		server.Reload(t, withSCRAM(bad.serving))
		for name, o := range connectAll(t, launched, server, all) {
			assert.False(t, o.connected, "%s connects: %s", name, o.said)
			assert.Regexp(t, bad.says, o.said, name)
		}
		assert.Empty(t, logins(strings.TrimPrefix(server.Log(t), before)))
	}
}

// withSCRAM makes a server ask for SCRAM. It takes plain text as well: who is encrypted is the
// client's doing.
func withSCRAM(config pgtest.Config) pgtest.Config {
	config.HBA = []string{"host all all 127.0.0.1/32 scram-sha-256"}
	return config
}

// logins returns the lines of a server's log about successful logins of the app's user.
func logins(log string) []string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "connection authorized: user=myuser ") {
			found = append(found, line)
		}
	}
	return found
}

// The app's clients in TestTunnel. unaware stands for a driver that reads no variable: it asks for
// no TLS.
const (
	aware   = "psql/main.sh"
	unaware = "PGSSLMODE=disable " + aware
	asked   = `"select format('ssl=%s version=%s', ssl, version) from pg_stat_ssl where pid = pg_backend_pid()"`
	overTLS = "ssl=t version=TLSv1.3"
)

func TestTunnel(t *testing.T) {
	t.Parallel()
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	pack, app := buildpack(t, oregon), t.TempDir()
	copyTree(t, "../../fixtures/drivers/psql", filepath.Join(app, "psql"))
	for name, test := range map[string]func(t *testing.T, pack, app string, oregon *pgtest.CA){
		"takes each database by its own mode":           takesEachByItsMode,
		"stands in wherever the platform puts bindings": standsInEverywhere,
		"takes a list of hosts":                         takesAListOfHosts,
		"is not what verify looks at":                   verifyLooksPastIt,
		"ends SCRAM":                                    endsSCRAM,
		"leaves an app its own TLS settings":            leavesOwnSettings,
		"goes with its launch":                          goesWithItsLaunch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, pack, app, oregon)
		})
	}
}

// bound is VCAP_SERVICES as the app sees it, cut down to one service: a client takes the first that
// it finds.
func (c *container) bound(t *testing.T, name string) string {
	t.Helper()
	var services map[string][]map[string]any
	require.NoError(t, json.Unmarshal([]byte(c.variable("VCAP_SERVICES")), &services))
	for label, list := range services {
		services[label] = slices.DeleteFunc(list, func(s map[string]any) bool { return s["name"] != name })
	}
	text, err := json.Marshal(services)
	require.NoError(t, err)
	return "VCAP_SERVICES=" + string(text)
}

// tunnelAddress is where the app finds its first database.
func (c *container) tunnelAddress(t *testing.T) string {
	t.Helper()
	var services map[string][]struct {
		Credentials struct {
			Hostname string
			Port     int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(c.variable("VCAP_SERVICES")), &services))
	at := services["user-provided"][0].Credentials
	require.Regexp(t, `^127\.[0-9]+\.[0-9]+\.1$`, at.Hostname)
	return fmt.Sprintf("%s:%d", at.Hostname, at.Port)
}

// says runs a client in the app, and returns what the database says of its connection.
func (c *container) says(t *testing.T, client string, variables ...string) string {
	t.Helper()
	said, err := c.run(t, client, variables...)
	if err != nil {
		return "refuses: " + said
	}
	return said
}

// takesEachByItsMode binds databases that disagree, and one that does not go through the tunnel.
func takesEachByItsMode(t *testing.T, _, app string, oregon *pgtest.CA) {
	const strictHost, laxHost, besideHost = "strict.abc123.us-west-2.rds.amazonaws.com", "lax.example.com", "beside.abc123.us-west-2.rds.amazonaws.com"
	stranger, southern := pgtest.NewCA(t, oregon.Cert.Subject.CommonName), pgtest.NewCA(t, "Amazon RDS af-south-1 Root CA RSA2048 G1")
	pack := buildpack(t, oregon, southern)
	strict := pgtest.Start(t, withSCRAM(serving(t, oregon, strictHost)))
	lax := pgtest.Start(t, withSCRAM(serving(t, stranger, laxHost)))
	beside := pgtest.Start(t, withSCRAM(serving(t, oregon, besideHost)))
	services := vcapServices(t, map[string]credentials{
		"strict": credentialsOf(strict, strictHost, "verify-full"),
		"lax":    credentialsOf(lax, laxHost, "require"),
		"beside": credentialsOf(beside, besideHost, "verify-full"),
	})
	launched := launch(t, pack, app, "compile", services, hosts(strictHost, laxHost, besideHost), "POSTGRES_SSL_TUNNEL=strict,lax")
	assert.Equal(t, overTLS, launched.says(t, unaware, launched.bound(t, "strict")))
	assert.Equal(t, overTLS, launched.says(t, unaware, launched.bound(t, "lax")))
	assert.Contains(t, launched.bound(t, "beside"), besideHost)
	assert.Equal(t, overTLS, launched.says(t, aware, launched.bound(t, "beside")))
	assert.Equal(t, "ssl=f version=", launched.says(t, unaware, launched.bound(t, "beside")), "the control: beside the tunnel, a driver is on its own")

	strict.Reload(t, withSCRAM(serving(t, stranger, strictHost)))
	assert.Regexp(t, tunnelUntrusted, launched.says(t, unaware, launched.bound(t, "strict")), "lax may show this certificate, strict may not")
	strict.Reload(t, withSCRAM(serving(t, southern, strictHost)))
	assert.Contains(t, launched.says(t, unaware, launched.bound(t, "strict")), "that CA belongs to the bundle of region af-south-1; trusted are: \"Amazon RDS us-west-2")
	lax.Reload(t, withSCRAM(pgtest.Config{}))
	assert.Regexp(t, tunnelWithoutTLS, launched.says(t, unaware, launched.bound(t, "lax")))
	for _, server := range []*pgtest.Server{strict, lax} {
		assert.Len(t, logins(server.Log(t)), 1, "the server's log shows the login over TLS, and no other")
		assert.Contains(t, logins(server.Log(t))[0], "SSL enabled (protocol=TLSv1.3")
	}
}

// takesAListOfHosts lets libpq choose one of three hosts: nobody listens at the first, and the second
// only reads.
func takesAListOfHosts(t *testing.T, pack, app string, oregon *pgtest.CA) {
	names := []string{"a.abc123.us-west-2.rds.amazonaws.com", "b.abc123.us-west-2.rds.amazonaws.com", "c.abc123.us-west-2.rds.amazonaws.com"}
	reading, writing := withSCRAM(serving(t, oregon, names[1])), withSCRAM(serving(t, oregon, names[2]))
	reading.SQL += "alter database console_db set default_transaction_read_only = on;"
	second, third := pgtest.Start(t, reading), pgtest.Start(t, writing)
	list := fmt.Sprintf("%s:%d,%s:%d,%s:%d", names[0], pgtest.Nobody(t), names[1], second.Port, names[2], third.Port)
	services := vcapServices(t, map[string]credentials{"console_db": {"uri": "postgres://myuser:mypass@" + list + "/console_db?sslmode=verify-full"}})
	launched := launch(t, pack, app, "compile", services, hosts(names...), "POSTGRES_SSL_TUNNEL=yes")
	const client = `psql "$(jq -r '.[][0].credentials.uri' <<<"$VCAP_SERVICES")$ASKS" -XqAt -c ` + asked
	for asks, server := range map[string]*pgtest.Server{"&target_session_attrs=any": second, "&target_session_attrs=read-write": third} {
		before := len(logins(server.Log(t)))
		assert.Equal(t, overTLS, launched.says(t, client, "ASKS="+asks))
		assert.Len(t, logins(server.Log(t)), before+1, asks)
	}
}

// standsInEverywhere reads the database's address from each place where the platform puts it.
func standsInEverywhere(t *testing.T, pack, app string, oregon *pgtest.CA) {
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	bindings := t.TempDir()
	write(t, bindings, "services.json", services)
	for name, content := range map[string]string{"type": "postgresql", "host": host, "port": fmt.Sprint(server.Port), "username": "myuser",
		"password": "mypass", "database": "console_db", "sslmode": "verify-full"} {
		write(t, bindings, filepath.Join("mounted/console_db", name), content)
	}
	uri := url.URL{Scheme: "postgres", User: url.UserPassword("myuser", "mypass"), Host: fmt.Sprintf("%s:%d", host, server.Port), Path: "console_db"}
	withURI := vcapServices(t, map[string]credentials{"console_db": {"uri": uri.String(), "sslmode": "verify-full"}})

	launched := map[string]*container{}
	for client, bound := range map[string][2]string{
		`VCAP_SERVICES=$(<"$VCAP_SERVICES_FILE_PATH") ` + unaware: {"", "VCAP_SERVICES_FILE_PATH=" + filepath.Join(bindings, "services.json")},
		`cd "$SERVICE_BINDING_ROOT/console_db" && PGHOST=$(<host) PGPORT=$(<port) PGUSER=$(<username) PGPASSWORD=$(<password) PGDATABASE=$(<database) ` +
			`PGSSLMODE=disable psql -XqAt -c ` + asked: {"", "SERVICE_BINDING_ROOT=" + filepath.Join(bindings, "mounted")},
		`PGSSLMODE=disable psql "$DATABASE_URL" -XqAt -c ` + asked: {withURI, "LANG=C"},
	} {
		launched[client] = launch(t, pack, app, "compile", bound[0], hosts(host), bound[1], "POSTGRES_SSL_TUNNEL=yes")
		assert.Equal(t, overTLS, launched[client].says(t, client))
	}
	assert.Len(t, logins(server.Log(t)), len(launched))
	server.Reload(t, withSCRAM(serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host)))
	for client, app := range launched {
		assert.Regexp(t, tunnelUntrusted, app.says(t, client))
	}
	assert.Len(t, logins(server.Log(t)), len(launched), "no login more")
}

// verifyLooksPastIt runs verify in the container, and at the start of the app.
func verifyLooksPastIt(t *testing.T, pack, app string, oregon *pgtest.CA) {
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	launched := launch(t, pack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes", "POSTGRES_SSL_VERIFY=start")
	connect := func(address, name string) {
		conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("postgres://myuser:mypass@%s/console_db?sslmode=disable&application_name=%s", address, name))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close(t.Context()) })
	}
	const verify = "../deps/0/bin/postgres-ssl verify"
	connect(launched.tunnelAddress(t), "through")
	said, err := launched.run(t, verify)
	assert.NoError(t, err, said)
	assert.Regexp(t, "through +127.0.0.1 +yes +TLSv1.3", said, "the session as the database sees it")
	assert.Contains(t, said, fmt.Sprintf("%s port %d,", host, server.Port))
	connect(fmt.Sprintf("127.0.0.1:%d", server.Port), "past")
	said, err = launched.run(t, verify)
	assert.Error(t, err)
	assert.Regexp(t, "past +127.0.0.1 +NO", said)

	log, err := launched.end()
	assert.NoError(t, err)
	assert.Regexp(t, `postgres-ssl: console_db: TLS 1\.3, as verify-full asks`, log, "the gate of the start")
	server.Reload(t, withSCRAM(serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host)))
	_, err = tryLaunch(t, pack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes", "POSTGRES_SSL_VERIFY=start")
	assert.ErrorContains(t, err, "exit status 1", "the tunnel of an app that does not start is gone, too")
	assert.ErrorContains(t, err, "console_db: the app does not start: the certificate of "+host)
}

// endsSCRAM tries the clients that break where a proxy passes SCRAM on, with or without its channel
// binding.
func endsSCRAM(t *testing.T, pack, app string, oregon *pgtest.CA) {
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	launched := launch(t, pack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes")

	for _, withTLS := range []bool{false, true} {
		assert.NoError(t, logInAsNpgsql(t, launched.tunnelAddress(t), withTLS))
	}
	err := logInAsNpgsql(t, fmt.Sprintf("127.0.0.1:%d", server.Port), true)
	assert.ErrorContains(t, err, "channel binding", "the control: a server that can bind channels refuses this client")

	// This client wants nobody between itself and the server, so it refuses the tunnel.
	before := server.Log(t)
	const binds = "PGCHANNELBINDING=require " + aware
	assert.Regexp(t, "^refuses: .*channel binding required", launched.says(t, binds))
	assert.Empty(t, logins(strings.TrimPrefix(server.Log(t), before)))
	assert.Equal(t, overTLS, launched.says(t, binds, "VCAP_SERVICES="+services), "the control: it connects directly")

	// A driver that obeys verifies the tunnel as it would verify the database.
	said := launched.says(t, `PGSSLROOTCERT="$DEPS_DIR/0/trust/us-west-2.pem" `+aware)
	assert.Regexp(t, "^refuses: .*certificate verify failed", said, "a tunnel that is not this launch's")

	// The driver's error says what is wrong and what to do.
	server.Reload(t, withSCRAM(serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host)))
	said = launched.says(t, aware)
	assert.Regexp(t, "^refuses: .*FATAL: +the certificate of "+host+" comes from a CA that is not trusted: .* HINT: +if AWS has published that CA, ", said)
	log, err := launched.end()
	assert.NoError(t, err)
	assert.Regexp(t, "(?m)^postgres-ssl tunnel: console_db: the certificate of "+host+".*; what to do: ", log)
}

// logInAsNpgsql answers SCRAM with the GS2 flag y, as Npgsql does: "I can bind channels, and think
// that the server cannot". A server that can knows from this that somebody is in between, and
// refuses (RFC 5802, section 6).
func logInAsNpgsql(t *testing.T, address string, withTLS bool) error {
	t.Helper()
	var conn net.Conn
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	if withTLS {
		request, err := (&pgproto3.SSLRequest{}).Encode(nil)
		require.NoError(t, err)
		_, err = conn.Write(request)
		require.NoError(t, err)
		answer := make([]byte, 1)
		_, err = io.ReadFull(conn, answer)
		require.NoError(t, err)
		require.Equal(t, "S", string(answer))
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the certificate does not matter here
	}
	frontend := pgproto3.NewFrontend(conn, conn)
	send := func(message pgproto3.FrontendMessage) {
		frontend.Send(message)
		require.NoError(t, frontend.Flush())
	}
	send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "myuser", "database": "console_db"}})
	for {
		message, err := frontend.Receive()
		require.NoError(t, err)
		switch message := message.(type) {
		case *pgproto3.AuthenticationSASL:
			send(&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("y,,n=,r=abcdefghijklmnopqrstuvwx")})
		case *pgproto3.AuthenticationCleartextPassword:
			send(&pgproto3.PasswordMessage{Password: "mypass"})
		case *pgproto3.ErrorResponse:
			return errors.New(message.Message)
		case *pgproto3.ReadyForQuery:
			return nil
		}
	}
}

// leavesOwnSettings runs apps that set TLS themselves: what connects directly connects through the
// tunnel, and whatever they say of the way to it, the way to the server is verified.
func leavesOwnSettings(t *testing.T, pack, _ string, oregon *pgtest.CA) {
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	app := t.TempDir()
	copyTree(t, "../../fixtures/drivers/psycopg2", filepath.Join(app, "psycopg2"))
	linkNodesDrivers(t, filepath.Join(app, "node"))
	copyTree(t, "../../fixtures/drivers/node/own.js", filepath.Join(app, "node/own.js"))
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	bound := credentialsOf(server, host, "verify-full")
	bound["sslrootcert"] = string(oregon.PEM)
	services := vcapServices(t, map[string]credentials{"console_db": bound})
	launched := launch(t, pack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes")
	settings := func() (all []string) {
		for _, command := range []string{"node/own.js " + host, "psycopg2/own.py"} {
			said, err := launched.run(t, command)
			require.NoError(t, err, said)
			for line := range strings.Lines(said) {
				if strings.Contains(line, "\t") { // the rest is what Node warns of
					all = append(all, strings.TrimSpace(line))
				}
			}
		}
		return all
	}
	all := settings()
	require.Greater(t, len(all), 25)
	for _, line := range all {
		name, said, _ := strings.Cut(line, "\t")
		if name == "psycopg2, channel_binding=require" {
			assert.Contains(t, said, "refused: ", name)
		} else {
			assert.Contains(t, []string{overTLS, "ssl=true version=TLSv1.3"}, said, name)
		}
	}
	var seen map[string][]struct{ Credentials struct{ SSLRootCert string } }
	require.NoError(t, json.Unmarshal([]byte(launched.variable("VCAP_SERVICES")), &seen))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(seen["user-provided"][0].Credentials.SSLRootCert)))
	config, err := pgconn.ParseConfig(fmt.Sprintf("postgres://myuser:mypass@%s/console_db?sslmode=require", launched.tunnelAddress(t)))
	require.NoError(t, err)
	config.TLSConfig = &tls.Config{RootCAs: pool, ServerName: host}
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	require.NoError(t, err, "pgx with RootCAs and the real host as ServerName")
	require.NoError(t, conn.Close(t.Context()))

	server.Reload(t, withSCRAM(serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host)))
	before := len(logins(server.Log(t)))
	for _, line := range settings() {
		assert.Contains(t, line, "\trefused: ")
	}
	assert.Len(t, logins(server.Log(t)), before, "whatever the app says, nobody else is let in")
}

// goesWithItsLaunch starts two sidecars while the app is up. Each is a launch of its own in the
// same container.
func goesWithItsLaunch(t *testing.T, pack, app string, oregon *pgtest.CA) {
	const host = "db.abc123.us-west-2.rds.amazonaws.com"
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	launched := launch(t, pack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes")
	sidecar := &container{pid: launched.pid, env: append(machineEnv(), "HOME=/home/vcap/app", "TMPDIR=/home/vcap/tmp", "DEPS_DIR=/home/vcap/deps",
		"VCAP_SERVICES="+services, "POSTGRES_SSL_TUNNEL=yes")}
	const start = `for script in ../profile.d/* .profile.d/*; do if [ -e "$script" ]; then source "$script"; fi; done; ` +
		`jq -r '[.[][]][0].credentials | "\(.hostname):\(.port)"' <<<"$VCAP_SERVICES"; PGSSLMODE=disable exec ` + aware

	addresses := make([]string, 2)
	var running sync.WaitGroup
	for i := range addresses {
		running.Go(func() {
			// run fails if the output does not end with the sidecar.
			said, err := sidecar.run(t, start)
			assert.NoError(t, err, said)
			address, said, _ := strings.Cut(said, "\n")
			assert.Equal(t, overTLS, said)
			addresses[i] = address
		})
	}
	running.Wait()
	addresses = append(addresses, launched.tunnelAddress(t))
	assert.Equal(t, overTLS, launched.says(t, unaware), "the sidecars' end is not the app's")

	// Somebody is connected, so the tunnel stays. The launch and its outputs end all the same.
	conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("postgres://myuser:mypass@%s/console_db?sslmode=disable", launched.tunnelAddress(t)))
	require.NoError(t, err)
	log, err := launched.end()
	assert.NoError(t, err)
	assert.NotContains(t, log, "mypass")
	assert.NoError(t, conn.Exec(t.Context(), "select 1").Close(), "the control: the tunnel is still there")
	require.NoError(t, conn.Close(t.Context()))
	for _, address := range addresses {
		assert.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
			}
			return err != nil && strings.Contains(err.Error(), "refused")
		}, patience, 10*time.Millisecond, address) // 2 s on an idle machine
	}
}
