package tunnel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// psql runs one query with these settings, without the environment of this process.
func psql(t testing.TB, settings, query string) (string, error) {
	t.Helper()
	cmd := exec.Command("psql", settings+" connect_timeout=30", "-X", "-A", "-t", "-c", query)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestPsqlConnectsHoweverItIsSet(t *testing.T) {
	t.Parallel()
	ca, other := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Other Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	folder := t.TempDir()
	root, foreign := filepath.Join(folder, "root.crt"), filepath.Join(folder, "foreign.crt")
	require.NoError(t, os.WriteFile(root, []byte(tunnel.ca), 0o600))
	require.NoError(t, os.WriteFile(foreign, other.PEM, 0o600))
	for name, test := range map[string]struct{ settings, refusal string }{
		"without TLS":                {"sslmode=disable", ""},
		"with TLS if there is":       {"sslmode=prefer", ""},
		"with TLS":                   {"sslmode=require", ""},
		"the CA":                     {"sslmode=verify-ca sslrootcert=" + root, ""},
		"the address":                {"sslmode=verify-full sslrootcert=" + root, ""},
		"the host name":              {"host=localhost sslmode=verify-full sslrootcert=" + root, ""},
		"no channel binding":         {"sslmode=require channel_binding=disable", ""},
		"Kerberos if there is":       {"sslmode=disable gssencmode=prefer", ""},
		"control: another CA":        {"sslmode=verify-ca sslrootcert=" + foreign, "certificate verify failed"},
		"channel binding, or no":     {"sslmode=require channel_binding=require", "channel binding required but not supported by server's authentication request"},
		"channel binding, plain":     {"sslmode=disable channel_binding=require", "channel binding required"},
		"a password that is wrong":   {"sslmode=require password=wrong", `password authentication failed for user "app"`},
		"a database that is no more": {"sslmode=require dbname=nowhere", `database "nowhere" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			before := strings.Count(server.Log(t), "connection authorized: user=app")
			said, err := psql(t, strings.Replace(tunnel.settings(test.settings), "sslmode=disable", "", 1), "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
			if test.refusal == "" {
				require.NoError(t, err, said)
				assert.Equal(t, "t", said)
				return
			}
			require.Error(t, err)
			assert.Contains(t, said, test.refusal)
			if !strings.Contains(test.settings, "dbname=nowhere") { // PostgreSQL looks for it after the login
				assert.Equal(t, before, strings.Count(server.Log(t), "connection authorized: user=app"), "nobody was logged in")
			}
		})
	}
	assert.NotContains(t, server.Log(t), "SSL enabled=false")
}

func TestPsqlShowsTheRemedy(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, pgtest.NewCA(t, "Other Root"), "localhost"))
	said, err := psql(t, openTunnel(t, target(server.Port, sslmode.VerifyFull, ca)).settings(), "select 1")
	require.Error(t, err)
	assert.Regexp(t, `FATAL:  the certificate of localhost comes from a CA that is not trusted`, said)
	assert.Regexp(t, `\nHINT:  .+`, said)
}

// This is pgx over TLS. If a server offers SCRAM without channel binding, pgx signs that it knows
// channel binding (the GS2 flag y; RFC 5802, 6), and a PostgreSQL with TLS refuses the login. That
// would happen if the tunnel passed the offer on. So it asks for the password instead.
func TestAClientThatKnowsChannelBindingMayGoWithoutIt(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	conn, err := connect(t, tunnel.settings(), tunnel.sees("localhost"))
	require.NoError(t, err)
	assert.Equal(t, "t TLSv1.3", ask(t, conn, whoAmI))

	_, err = connect(t, tunnel.settings("channel_binding=require"), tunnel.sees("localhost"))
	assert.ErrorContains(t, err, "channel binding required")
	assert.Equal(t, 1, strings.Count(server.Log(t), "connection authorized: user=app"), "that one stays outside")

	port := inTheMiddle(t, certificate(t, ca, "localhost"), server, withoutChannelBinding)
	_, err = connect(t, fmt.Sprintf("host=127.0.0.1 port=%d user=app password=%s dbname=app sslmode=require", port, password))
	assert.ErrorContains(t, err, "channel binding negotiation error", "control: what y does, where the offer is passed on")
}

// The client does as postgrex, pgo and epgsql do: it does not ask for TLS, answers every kind of
// request for a password, and uses prepared statements with binary results, Sync and Flush.
func TestAGleamOrElixirAppNeedsNoChange(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	conn := tunnel.dial(t)
	client := pgproto3.NewFrontend(conn, conn)
	say := func(messages ...pgproto3.FrontendMessage) {
		for _, m := range messages {
			client.Send(m)
		}
		require.NoError(t, client.Flush())
	}
	hear := func(kinds ...pgproto3.BackendMessage) (last pgproto3.BackendMessage) {
		for _, kind := range kinds {
			message, err := client.Receive()
			require.NoError(t, err)
			require.IsType(t, kind, message)
			last = message
		}
		return last
	}
	say(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{"user": "app", "database": "app", "application_name": "gleam"}})
	hear(&pgproto3.AuthenticationCleartextPassword{})
	say(&pgproto3.PasswordMessage{Password: password})
	hear(&pgproto3.AuthenticationOk{})
	parameters := map[string]string{}
	var key *pgproto3.BackendKeyData
	for ready := false; !ready; {
		message, err := client.Receive()
		require.NoError(t, err)
		switch message := message.(type) {
		case *pgproto3.ParameterStatus:
			parameters[message.Name] = message.Value
		case *pgproto3.BackendKeyData:
			copied := *message
			key = &copied
		default:
			require.Equal(t, &pgproto3.ReadyForQuery{TxStatus: 'I'}, message)
			ready = true
		}
	}
	require.NotNil(t, key)
	assert.Equal(t, "gleam", parameters["application_name"])
	assert.Equal(t, "on", parameters["integer_datetimes"], "which decides how a client reads binary times")

	say(&pgproto3.Parse{Name: "who", Query: "select $1::int8 * 2, ssl from pg_stat_ssl where pid = pg_backend_pid()"},
		&pgproto3.Describe{ObjectType: 'S', Name: "who"}, &pgproto3.Flush{})
	hear(&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{}, &pgproto3.RowDescription{})
	const binaryFormat = 1
	say(&pgproto3.Bind{PreparedStatement: "who", ParameterFormatCodes: []int16{binaryFormat}, ResultFormatCodes: []int16{binaryFormat},
		Parameters: [][]byte{binary.BigEndian.AppendUint64(nil, 21)}}, &pgproto3.Execute{}, &pgproto3.Close{ObjectType: 'P'}, &pgproto3.Sync{})
	row := hear(&pgproto3.BindComplete{}, &pgproto3.DataRow{}).(*pgproto3.DataRow)
	assert.Equal(t, [][]byte{{0, 0, 0, 0, 0, 0, 0, 42}, {1}}, row.Values, "the session has TLS, and the client knows nothing of it")
	hear(&pgproto3.CommandComplete{}, &pgproto3.CloseComplete{}, &pgproto3.ReadyForQuery{})
	say(&pgproto3.Terminate{})
	_, err := client.Receive()
	assert.Error(t, err)
}

func TestDatabasesOfOneAppEachGoByTheirOwnMode(t *testing.T) {
	t.Parallel()
	ca, other := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Other Root")
	strict, lax := pgtest.Start(t, serving(t, ca, "localhost")), pgtest.Start(t, serving(t, other, "elsewhere"))
	tunnel := openTunnel(t, target(strict.Port, sslmode.VerifyFull, ca))
	for name, test := range map[string]struct {
		port    int
		mode    sslmode.Mode
		refusal string
	}{
		"verify-full":           {strict.Port, sslmode.VerifyFull, ""},
		"require":               {lax.Port, sslmode.Require, ""},
		"control: the stricter": {lax.Port, sslmode.VerifyFull, "comes from a CA that is not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { listener.Close() })
			go newRelay(target(test.port, test.mode, ca), tunnel.relay.tls, tunnel.relay.log).listen(listener)
			port := listener.Addr().(*net.TCPAddr).Port
			conn, err := connect(t, strings.Replace(tunnel.settings(), fmt.Sprintf("port=%d", tunnel.port), fmt.Sprintf("port=%d", port), 1))
			if test.refusal != "" {
				assert.ErrorContains(t, err, test.refusal)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "t TLSv1.3", ask(t, conn, whoAmI))
		})
	}
}

func TestChangesAreStreamedToAReplica(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	conn, err := connect(t, openTunnel(t, target(server.Port, sslmode.VerifyFull, ca)).settings("replication=true"))
	require.NoError(t, err)
	var position string
	results, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll()
	require.NoError(t, err)
	position = string(results[0].Rows[0][2])
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION PHYSICAL " + position})
	require.NoError(t, conn.Frontend().Flush())
	message, err := conn.ReceiveMessage(t.Context())
	require.NoError(t, err)
	require.IsType(t, &pgproto3.CopyBothResponse{}, message)
	server.SQL(t, "create table changed(); select pg_switch_wal()")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for streamed := false; !streamed; {
		message, err := conn.ReceiveMessage(ctx)
		require.NoError(t, err)
		data, ok := message.(*pgproto3.CopyData)
		require.True(t, ok, "%T", message)
		streamed = data.Data[0] == 'w' // XLogData (PostgreSQL's manual, "Streaming Replication Protocol")
	}
}

func TestFiveHundredConnectionsAtOnce(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	const many = 500
	config := serving(t, ca, "localhost")
	config.Settings = map[string]string{"max_connections": fmt.Sprint(many + 10)}
	server := pgtest.Start(t, config)
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	conns := make([]*pgconn.PgConn, many)
	var group sync.WaitGroup
	turns := make(chan struct{}, 20)
	for i := range conns {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			settings, err := pgconn.ParseConfig(tunnel.settings())
			if assert.NoError(t, err) {
				conns[i], err = pgconn.ConnectConfig(t.Context(), settings)
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	require.False(t, t.Failed())
	assert.Equal(t, fmt.Sprint(many), server.SQL(t, "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'app' and ssl"))
	for i, conn := range conns {
		assert.Equal(t, fmt.Sprint(i), ask(t, conn, fmt.Sprint("select ", i)), "each has its own answer")
	}
	for _, conn := range conns {
		assert.NoError(t, conn.Close(t.Context()))
	}
	assert.Eventually(t, func() bool { return tunnel.relay.connections.Load() == 0 }, patience, time.Millisecond)
}

// The test looks at the keepalive timers of a session's two sockets. Once the session has begun,
// nothing else in the tunnel has a time limit, so a connection may be idle for hours.
func TestBothSidesAreKeptAlive(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	conn, err := connect(t, tunnel.settings())
	require.NoError(t, err)
	ask(t, conn, "select 1")
	// proc(5), /proc/net/tcp: local and remote address, state 01 (established), and timer 02
	// (keepalive) with its time.
	kept := func(field int, port int) bool {
		table, err := os.ReadFile("/proc/net/tcp")
		require.NoError(t, err)
		for line := range strings.SplitSeq(string(table), "\n") {
			if f := strings.Fields(line); len(f) > 5 && strings.HasSuffix(f[field], fmt.Sprintf(":%04X", port)) && f[3] == "01" {
				return strings.HasPrefix(f[5], "02:")
			}
		}
		return false
	}
	const local, remote = 1, 2
	assert.Eventually(t, func() bool { return kept(local, tunnel.port) }, patience, 10*time.Millisecond, "the app's side")
	assert.Eventually(t, func() bool { return kept(remote, server.Port) }, patience, 10*time.Millisecond, "the server's side")
}
