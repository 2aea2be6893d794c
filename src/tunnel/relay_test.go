package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

const password = "s3cr3t-P4ssword"

// buffer is a log that goroutines may write and read at the same time.
type buffer struct {
	mutex sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.String()
}

// open is a tunnel in this process.
type open struct {
	relay *relay
	ca    string
	port  int
	log   *buffer
}

func openTunnel(t testing.TB, target *wire.Target, edits ...func(*relay)) *open {
	t.Helper()
	identity, ca, err := newIdentity([]string{"127.0.0.1", "db.example.com"}, time.Now())
	require.NoError(t, err)
	config, err := identity.config()
	require.NoError(t, err)
	log := &buffer{}
	o := &open{relay: newRelay(target, config, newJournal(log)), ca: ca, log: log}
	for _, edit := range edits {
		edit(o.relay)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	o.port = listener.Addr().(*net.TCPAddr).Port
	go o.relay.listen(listener)
	return o
}

// settings returns a connection string for a client of the tunnel.
func (o *open) settings(more ...string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=app user=app password=%s sslmode=disable %s", o.port, password, strings.Join(more, " "))
}

func (o *open) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", o.port))
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { conn.Close() })
	return conn
}

const patience = 30 * time.Second

func target(port int, mode sslmode.Mode, trust ...*pgtest.CA) *wire.Target {
	target := &wire.Target{Name: "db", Address: wire.Address{Host: "localhost", Port: uint16(port)}, Mode: mode, Source: "the test", Tunnel: true}
	for _, ca := range trust {
		target.Trust = append(target.Trust, wire.Anchor{Cert: ca.Cert, Origin: "the test"})
	}
	return target
}

func serving(t testing.TB, ca *pgtest.CA, names ...string) pgtest.Config {
	pair := ca.Issue(t, names)
	return pgtest.Config{
		Certificate: pair.CertPEM, Key: pair.KeyPEM,
		HBA: []string{"hostssl all old 127.0.0.1/32 md5", "hostssl all clear 127.0.0.1/32 password", "hostssl all certain 127.0.0.1/32 cert",
			"hostssl replication all 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"},
		SQL: fmt.Sprintf(`create user app replication password '%[1]s'; create user clear password '%[1]s'; create user certain;
			set password_encryption = md5; create user old password '%[1]s';
			create database app owner app`, password),
	}
}

func connect(t testing.TB, settings string, edits ...func(*pgconn.Config)) (*pgconn.PgConn, error) {
	t.Helper()
	config, err := pgconn.ParseConfig(settings)
	require.NoError(t, err)
	for _, edit := range edits {
		edit(config)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

func ask(t testing.TB, conn *pgconn.PgConn, query string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), query).ReadAll()
	require.NoError(t, err)
	var values []string
	for _, row := range results[0].Rows {
		for _, value := range row {
			values = append(values, string(value))
		}
	}
	return strings.Join(values, " ")
}

const whoAmI = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"

// sees makes a client trust the tunnel's CA for a host name.
func (o *open) sees(host string) func(*pgconn.Config) {
	return func(config *pgconn.Config) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(o.ca))
		config.TLSConfig = &tls.Config{RootCAs: pool, ServerName: host}
		config.Fallbacks = nil
	}
}

func TestWhoeverConnectsIsVerifiedAndEncrypted(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	for _, mode := range []sslmode.Mode{sslmode.Require, sslmode.VerifyCA, sslmode.VerifyFull} {
		tunnel := openTunnel(t, target(server.Port, mode, ca))
		for name, edit := range map[string]func(*pgconn.Config){
			"a client without TLS":                           func(*pgconn.Config) {},
			"a client that verifies the address":             tunnel.sees("127.0.0.1"),
			"a client that verifies the host name":           tunnel.sees("localhost"),
			"a client that verifies the database's own name": tunnel.sees("db.example.com"),
			"a client that begins with TLS": func(config *pgconn.Config) {
				tunnel.sees("127.0.0.1")(config)
				config.TLSConfig.NextProtos = []string{"postgresql"}
				config.SSLNegotiation = "direct"
			},
		} {
			t.Run(fmt.Sprint(mode, ", ", name), func(t *testing.T) {
				conn, err := connect(t, tunnel.settings(), edit)
				require.NoError(t, err)
				assert.Equal(t, "t TLSv1.3", ask(t, conn, whoAmI))
				if secured, ok := conn.Conn().(*tls.Conn); ok && strings.Contains(name, "begins") {
					assert.Equal(t, "postgresql", secured.ConnectionState().NegotiatedProtocol, "without which libpq goes no further")
				}
			})
		}
	}
	assert.Equal(t, 15, strings.Count(server.Log(t), "connection authorized: user=app database=app SSL enabled (protocol=TLSv1.3"))
}

func TestWhatASessionCarriesIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	direct := strings.Replace(tunnel.settings(), fmt.Sprintf("port=%d", tunnel.port), fmt.Sprintf("port=%d", server.Port), 1)

	t.Run("startup parameters", func(t *testing.T) {
		conn, err := connect(t, tunnel.settings("application_name='an app' options='-c search_path=mine -c work_mem=1234kB'"))
		require.NoError(t, err)
		assert.Equal(t, "an app mine 1234kB", ask(t, conn, "select current_setting('application_name'), current_setting('search_path'), current_setting('work_mem')"))
		plain, err := connect(t, direct)
		require.NoError(t, err)
		for _, name := range []string{"server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings"} {
			assert.Equal(t, plain.ParameterStatus(name), conn.ParameterStatus(name), name)
		}
	})
	t.Run("replication", func(t *testing.T) {
		conn, err := connect(t, tunnel.settings("replication=true"))
		require.NoError(t, err)
		assert.NotEmpty(t, ask(t, conn, "IDENTIFY_SYSTEM"))
	})
	t.Run("the server's errors", func(t *testing.T) {
		for name, wrong := range map[string]string{
			"password": "password=wrong", "database": "dbname=nowhere", "user": "user=nobody", "parameter": "options='-c nonsense=1'",
		} {
			_, err := connect(t, tunnel.settings(wrong))
			_, directly := connect(t, direct+" "+wrong)
			var through, expected *pgconn.PgError
			require.ErrorAs(t, err, &through, name)
			require.ErrorAs(t, directly, &expected, name)
			assert.Equal(t, expected, through, name)
		}
	})
	t.Run("a query that fails leaves the session as it is", func(t *testing.T) {
		conn, err := connect(t, tunnel.settings())
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "select 1/0").ReadAll()
		var refused *pgconn.PgError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, "22012", refused.Code)
		assert.Equal(t, "1", ask(t, conn, "select 1"))
	})
	t.Run("COPY", func(t *testing.T) {
		conn, err := connect(t, tunnel.settings())
		require.NoError(t, err)
		ask(t, conn, "create table big(id int, line text); select 1")
		var data bytes.Buffer
		for i := range 200_000 {
			fmt.Fprintf(&data, "%d\t%s\n", i, strings.Repeat("x", i%50))
		}
		_, err = conn.CopyFrom(t.Context(), bytes.NewReader(data.Bytes()), "copy big from stdin")
		require.NoError(t, err)
		var back bytes.Buffer
		_, err = conn.CopyTo(t.Context(), &back, "copy (select * from big order by id) to stdout")
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data.Bytes(), back.Bytes()), "what comes back is what was sent")
	})
	t.Run("notices of the start-up", func(t *testing.T) {
		server.SQL(t, "create database warned owner app; update pg_database set datcollversion = '0' where datname = 'warned'; "+
			"alter database warned set client_min_messages = debug1")
		var through, directly []string
		hear := func(heard *[]string) func(*pgconn.Config) {
			return func(config *pgconn.Config) {
				config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { *heard = append(*heard, n.Message) }
			}
		}
		_, err := connect(t, direct+" dbname=warned options='-c client_min_messages=debug5'", hear(&directly))
		require.NoError(t, err)
		_, err = connect(t, tunnel.settings("dbname=warned options='-c client_min_messages=debug5'"), hear(&through))
		require.NoError(t, err)
		require.NotEmpty(t, directly)
		assert.Equal(t, directly, through)
	})
}

func TestEveryPasswordThatTheServerAsksFor(t *testing.T) {
	t.Parallel()
	ca, clients := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Clients")
	config := serving(t, ca, "localhost")
	config.ClientCA = clients.PEM
	server := pgtest.Start(t, config)
	certain := clients.Issue(t, []string{"certain"})
	verified, required := target(server.Port, sslmode.VerifyFull, ca), target(server.Port, sslmode.Require)
	for _, target := range []*wire.Target{verified, required} {
		target.Cert, target.Key = certain.CertPEM, certain.KeyPEM
	}
	for user, refusal := range map[string]string{
		"app":     "",
		"old":     "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
		"clear":   "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
		"certain": "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
	} {
		t.Run(user, func(t *testing.T) {
			settings := "user=" + user
			if user == "certain" { // certain needs no password, so the tunnel must not ask
				settings += " password=''"
			}
			conn, err := connect(t, openTunnel(t, verified).settings(settings))
			require.NoError(t, err)
			assert.Equal(t, user+" t", ask(t, conn, "select session_user, ssl from pg_stat_ssl where pid = pg_backend_pid()"))

			_, err = connect(t, openTunnel(t, required).settings(settings))
			if refusal == "" {
				require.NoError(t, err)
				return
			}
			var refused *pgconn.PgError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, []string{"FATAL", "08001", refusal}, []string{refused.Severity, refused.Code, refused.Message})
			assert.Contains(t, refused.Hint, "verify-full")
		})
	}
}

func TestWhoeverIsNotVerifiedIsRefusedInVerifysWords(t *testing.T) {
	t.Parallel()
	ca, other := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Other Root")
	good := pgtest.Start(t, serving(t, ca, "localhost"))
	elsewhere := pgtest.Start(t, serving(t, ca, "elsewhere"))
	foreign := pgtest.Start(t, serving(t, other, "localhost"))
	plain := pgtest.Start(t, pgtest.Config{SQL: serving(t, ca, "localhost").SQL})
	for name, test := range map[string]struct {
		target     *wire.Target
		code, says string
	}{
		"another CA":             {target(foreign.Port, sslmode.VerifyFull, ca), "08001", "comes from a CA that is not trusted"},
		"another CA, verify-ca":  {target(foreign.Port, sslmode.VerifyCA, ca), "08001", "comes from a CA that is not trusted"},
		"another name":           {target(elsewhere.Port, sslmode.VerifyFull, ca), "08001", "the certificate is not issued for localhost, but for elsewhere"},
		"no TLS":                 {target(plain.Port, sslmode.VerifyFull, ca), "08001", "does not speak TLS"},
		"no TLS, require":        {target(plain.Port, sslmode.Require), "08001", "does not speak TLS"},
		"no mode, no TLS":        {target(plain.Port, sslmode.None), "08001", "does not speak TLS"},
		"nobody":                 {target(pgtest.Nobody(t), sslmode.VerifyFull, ca), "57P03", "nothing listens at"},
		"control: verify-full":   {target(good.Port, sslmode.VerifyFull, ca), "", ""},
		"control: another name":  {target(elsewhere.Port, sslmode.VerifyCA, ca), "", ""},
		"control: require":       {target(foreign.Port, sslmode.Require), "", ""},
		"control: the other's":   {target(foreign.Port, sslmode.VerifyFull, other), "", ""},
		"control: the other's 2": {target(foreign.Port, sslmode.VerifyFull, ca, other), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tunnel := openTunnel(t, test.target)
			_, err := connect(t, tunnel.settings())
			if test.code == "" {
				require.NoError(t, err)
				return
			}
			var refused *pgconn.PgError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, []string{"FATAL", test.code}, []string{refused.Severity, refused.Code})
			assert.Contains(t, refused.Message, test.says)
			assert.NotEmpty(t, refused.Hint, "the remedy")
			assert.Eventually(t, func() bool { return strings.Contains(tunnel.log.String(), refused.Message) }, patience, time.Millisecond)
			assert.NotContains(t, tunnel.log.String()+err.Error(), password)
		})
	}
	for _, server := range []*pgtest.Server{foreign, elsewhere, plain} {
		assert.NotContains(t, server.Log(t), "SSL enabled=false")
	}
	assert.NotContains(t, plain.Log(t), "user=app")
}

func TestCancelRequestsFindTheirSession(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tapped := newTap(t, server.Port)
	tunnel := openTunnel(t, target(tapped.port, sslmode.VerifyFull, ca))
	for name, edit := range map[string]func(*pgconn.Config){"in plain text": func(*pgconn.Config) {}, "with TLS": tunnel.sees("localhost")} {
		t.Run(name, func(t *testing.T) {
			conn, err := connect(t, tunnel.settings(), edit)
			require.NoError(t, err)
			done := make(chan error)
			go func() {
				_, err := conn.Exec(context.Background(), "select pg_sleep(600)").ReadAll()
				done <- err
			}()
			sleeps := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d and wait_event = 'PgSleep'", conn.PID())
			require.Eventually(t, func() bool { return server.SQL(t, sleeps) == "1" }, patience, 10*time.Millisecond)
			require.NoError(t, conn.CancelRequest(t.Context()))
			var refused *pgconn.PgError
			require.ErrorAs(t, <-done, &refused)
			assert.Equal(t, "57014", refused.Code)
			assert.Equal(t, "1", ask(t, conn, "select 1"), "the session goes on")
		})
	}
	assert.NotContains(t, tapped.heard(), "\x04\xd2\x16\x2e", "a cancel request in plain text")
	assert.Contains(t, tapped.heard(), "\x04\xd2\x16\x2f", "control: a request for TLS, which is in plain text")

	t.Run("but no other", func(t *testing.T) {
		conn := tunnel.dial(t)
		before := tapped.connections.Load()
		_, err := conn.Write([]byte("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"))
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		assert.NoError(t, err)
		assert.Empty(t, answer)
		assert.Equal(t, before, tapped.connections.Load(), "the server is not bothered")
	})
}

func TestASessionThatHasEndedIsForgotten(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	sessions := func() (n int) {
		tunnel.relay.sessions.Range(func(_, _ any) bool { n++; return true })
		return n
	}
	for name, end := range map[string]func(*pgconn.PgConn){
		"the client says goodbye": func(conn *pgconn.PgConn) { _ = conn.Close(t.Context()) },
		"the client hangs up":     func(conn *pgconn.PgConn) { _ = conn.Conn().Close() },
		"the server ends it":      func(conn *pgconn.PgConn) { server.SQL(t, fmt.Sprintf("select pg_terminate_backend(%d)", conn.PID())) },
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := connect(t, tunnel.settings())
			require.NoError(t, err)
			require.Equal(t, 1, sessions())
			end(conn)
			if strings.HasPrefix(name, "the server") {
				_, err := conn.Exec(t.Context(), "select 1").ReadAll()
				var refused *pgconn.PgError
				require.ErrorAs(t, err, &refused)
				assert.Equal(t, "57P01", refused.Code, "the server's last word arrives")
			}
			gone := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d", conn.PID())
			assert.Eventually(t, func() bool {
				return sessions() == 0 && tunnel.relay.connections.Load() == 0 && server.SQL(t, gone) == "0"
			}, patience, 10*time.Millisecond)
		})
	}
}

func TestASessionMayBeIdleForLongerThanItsStartMayTake(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca), func(r *relay) { r.startup, r.dial = 10*time.Second, 10*time.Second })
	conn, err := connect(t, tunnel.settings())
	require.NoError(t, err)
	ask(t, conn, "select pg_sleep(11)")
	idle := tunnel.dial(t)
	answer, err := io.ReadAll(idle)
	assert.NoError(t, err, "control: whoever does not begin is hung up on")
	assert.Empty(t, answer)
}

func TestAFaultInOneConnectionStaysThere(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	before, err := connect(t, tunnel.settings())
	require.NoError(t, err)

	// A target that Targets never makes.
	faulty := &wire.Target{Name: "faulty", Address: wire.Address{Host: "localhost", Port: uint16(server.Port)}, Mode: sslmode.VerifyFull, Trust: []wire.Anchor{{}}}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go newRelay(faulty, tunnel.relay.tls, tunnel.relay.log).listen(listener)
	_, err = connect(t, fmt.Sprintf("host=127.0.0.1 port=%d user=app password=%s sslmode=disable", listener.Addr().(*net.TCPAddr).Port, password))
	require.Error(t, err)
	assert.Eventually(t, func() bool {
		return strings.Contains(tunnel.log.String(), "faulty: a fault in the tunnel ended a connection: runtime.errorString\n")
	}, patience, time.Millisecond)
	func() {
		defer newRelay(&wire.Target{Name: "another"}, nil, tunnel.relay.log).recovered()
		panic(password)
	}()
	assert.Eventually(t, func() bool {
		return strings.Contains(tunnel.log.String(), "another: a fault in the tunnel ended a connection: string\n")
	}, patience, time.Millisecond, "nobody knows what is in it")

	assert.Equal(t, "1", ask(t, before, "select 1"))
	_, err = connect(t, tunnel.settings())
	assert.NoError(t, err)
}

func TestWhatIsTooMuchIsRefused(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	settings := tunnel.settings()
	conn, err := connect(t, settings)
	require.NoError(t, err)
	idle := make([]net.Conn, mostConnections-1)
	for i := range idle {
		idle[i] = tunnel.dial(t)
	}
	require.Eventually(t, func() bool { return tunnel.relay.connections.Load() == mostConnections }, patience, time.Millisecond)
	_, err = connect(t, settings)
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, []string{"FATAL", "53300", "the tunnel has 1000 connections, and takes no more"}, []string{refused.Severity, refused.Code, refused.Message})
	require.NoError(t, conn.CancelRequest(t.Context()), "a cancel request has room")
	for _, c := range idle {
		c.Close()
	}
	require.Eventually(t, func() bool { return tunnel.relay.connections.Load() == 1 }, patience, time.Millisecond)
	_, err = connect(t, settings)
	assert.NoError(t, err, "and when they are gone, there is room again")
}

// tap is a way to a server that records what clients send.
type tap struct {
	port        int
	connections atomic.Int64
	bytes       buffer
}

func newTap(t testing.TB, port int) *tap {
	t.Helper()
	w := &tap{}
	w.port = pgtest.Listen(t, func(client net.Conn) {
		w.connections.Add(1)
		server, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		defer server.Close()
		go func() {
			_, _ = io.Copy(io.MultiWriter(&w.bytes, server), client) // record first, then send
			_ = server.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(client, server)
	})
	return w
}

func (w *tap) heard() string { return w.bytes.String() }

// A database that is slow must not take the descriptors that another one needs.
func TestDescriptorsAreSharedAmongTheDatabases(t *testing.T) {
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)) })
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1024, Max: was.Max}))
	assert.Equal(t, int64(240), mostSessions(1))
	assert.Equal(t, int64(24), mostSessions(10))
	assert.Equal(t, int64(1), mostSessions(1000))
}

// libpq goes on to another host only if it is told so.
func TestAClientHearsThatItsServerDidNotAnswerInTime(t *testing.T) {
	t.Parallel()
	silent := pgtest.Listen(t, pgtest.Silent)
	app := newRelay(nil, nil, nil)
	assert.Equal(t, []time.Duration{time.Minute, 15 * time.Second}, []time.Duration{app.startup, app.dial}, "an app's, and here shorter")
	for name, limit := range map[string]func(*relay){
		"the time for a start":      func(r *relay) { r.startup = 5 * time.Second },
		"the time for a connection": func(r *relay) { r.startup, r.dial = time.Hour, 5*time.Second },
	} {
		tunnel := openTunnel(t, target(silent, sslmode.VerifyFull, pgtest.NewCA(t, "Root")), limit)
		_, err := connect(t, tunnel.settings())
		var refused *pgconn.PgError
		require.ErrorAs(t, err, &refused, name)
		assert.Equal(t, "57P03", refused.Code)
		assert.Contains(t, refused.Message, "takes the connection, but does not answer the request for TLS in time")
	}
}

func TestALoginMayTakeLongerThanItsConnection(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca), func(r *relay) { r.dial = 10 * time.Second })
	conn := tunnel.dial(t)
	_, err := io.WriteString(conn, packet(196608, "user\x00app\x00\x00"))
	require.NoError(t, err)
	client := pgproto3.NewFrontend(conn, conn)
	message, err := client.Receive()
	require.NoError(t, err)
	require.IsType(t, &pgproto3.AuthenticationCleartextPassword{}, message, "the connection is there")
	time.Sleep(11 * time.Second)
	client.Send(&pgproto3.PasswordMessage{Password: password})
	require.NoError(t, client.Flush())
	message, err = client.Receive()
	require.NoError(t, err)
	assert.IsType(t, &pgproto3.AuthenticationOk{}, message)
}

func TestASlowDatabaseTakesNoConnectionFromAnother(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	few := func(r *relay) { r.most = 3 }
	silent := pgtest.Listen(t, pgtest.Silent)
	slow := openTunnel(t, target(silent, sslmode.VerifyFull, ca), few)
	for range 3 {
		conn := slow.dial(t)
		_, err := io.WriteString(conn, packet(196608, "user\x00app\x00\x00"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return slow.relay.connections.Load() == 3 }, patience, time.Millisecond)
	_, err := connect(t, slow.settings())
	require.ErrorContains(t, err, "the tunnel has 3 connections, and takes no more")
	_, err = connect(t, openTunnel(t, target(server.Port, sslmode.VerifyFull, ca), few).settings())
	assert.NoError(t, err)
}
