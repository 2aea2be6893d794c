package tunnel

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// A server may look at the connection while it works for a client (client_connection_check_interval
// in PostgreSQL's manual). What it looks for is the end of TCP, not that of TLS.
func TestAServerHearsThatItsClientIsGone(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	config := serving(t, ca, "localhost")
	config.Settings = map[string]string{"client_connection_check_interval": "100ms"}
	server := pgtest.Start(t, config)
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	conn, err := connect(t, tunnel.settings())
	require.NoError(t, err)
	hijacked, err := conn.Hijack()
	require.NoError(t, err)
	query, err := (&pgproto3.Query{String: "select pg_sleep(600)"}).Encode(nil)
	require.NoError(t, err)
	_, err = hijacked.Conn.Write(query)
	require.NoError(t, err)
	sleeps := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d and wait_event = 'PgSleep'", hijacked.PID)
	require.Eventually(t, func() bool { return server.SQL(t, sleeps) == "1" }, patience, 10*time.Millisecond)
	require.NoError(t, hijacked.Conn.Close())
	assert.Eventually(t, func() bool { return server.SQL(t, sleeps) == "0" }, patience/3, 10*time.Millisecond)
}

// Client and server both write, and neither reads: a client that is killed with queries in flight.
func TestAClientThatIsGoneEndsItsSessionThoughBothDirectionsAreFull(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	conn, err := connect(t, tunnel.settings())
	require.NoError(t, err)
	hijacked, err := conn.Hijack()
	require.NoError(t, err)
	query, err := (&pgproto3.Query{String: "select repeat('x', 100000000)"}).Encode(nil)
	require.NoError(t, err)
	more, err := (&pgproto3.Query{String: "select '" + strings.Repeat("y", 1<<20) + "'"}).Encode(nil)
	require.NoError(t, err)
	_, err = hijacked.Conn.Write(query)
	require.NoError(t, err)
	sends := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d and wait_event = 'ClientWrite'", hijacked.PID)
	require.Eventually(t, func() bool { return server.SQL(t, sends) == "1" }, patience, 10*time.Millisecond)
	for err == nil { // until nothing fits into any buffer
		require.NoError(t, hijacked.Conn.SetWriteDeadline(time.Now().Add(time.Second)))
		_, err = hijacked.Conn.Write(more)
	}
	require.NoError(t, hijacked.Conn.(*net.TCPConn).SetLinger(0))
	require.NoError(t, hijacked.Conn.Close())
	gone := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d", hijacked.PID)
	assert.Eventually(t, func() bool { return tunnel.relay.connections.Load() == 0 && server.SQL(t, gone) == "0" }, patience, 100*time.Millisecond)
}
