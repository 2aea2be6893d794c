package tunnel

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// direct is an app that connects to a port of 127.0.0.1 itself.
func direct(t *testing.T, port int) {
	t.Helper()
	cmd := exec.Command("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d && echo connected && exec cat", port))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	_, err = io.ReadFull(out, make([]byte, len("connected")))
	require.NoError(t, err)
}

func TestAConnectionThatBypassesTheTunnelIsSaidOnce(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	another := pgtest.Start(t, serving(t, ca, "localhost"))
	bypassed := launchApp(t, server, ca, "", untilItsInputEnds)
	allowed := launchApp(t, server, ca, "export BESIDE=localhost\n", untilItsInputEnds)
	_, err := connect(t, bypassed.settings()) // of the tunnel's own, and of this test, which is the same program
	require.NoError(t, err)
	_, err = connect(t, strings.Replace(bypassed.settings(), bypassed.address.Addr().String(), "127.0.0.1", 1))
	require.NoError(t, err)
	direct(t, another.Port)
	time.Sleep(3 * lookEvery)
	require.NoError(t, bypassed.errPipe.SetReadDeadline(time.Now().Add(time.Second)))
	_, err = bypassed.stderr.Peek(1)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "what is ours is not said")
	require.NoError(t, bypassed.errPipe.SetReadDeadline(time.Time{}))
	direct(t, server.Port)
	direct(t, server.Port)
	line, err := bypassed.stderr.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("postgres-ssl tunnel: db: a connection to 127.0.0.1:%d, where its server is, bypasses the tunnel; "+
		"the app takes the host from elsewhere: let it take the host from the binding\n", server.Port), line)
	time.Sleep(3 * lookEvery)
	for _, a := range []*app{bypassed, allowed} {
		require.NoError(t, a.in.Close())
		log, err := io.ReadAll(a.stderr)
		require.NoError(t, err)
		assert.Empty(t, string(log))
	}
}

func TestAnAddressIsWrittenAsTheKernelListsIt(t *testing.T) {
	assert.Equal(t, "0100007F:1538", listed(netip.MustParseAddrPort("127.0.0.1:5432")))
	assert.Equal(t, "0000000000000000FFFF00000100007F:1538", listed(netip.MustParseAddrPort("[::ffff:127.0.0.1]:5432")))
	assert.Equal(t, "B80D0120000000000000000001000000:FFFF", listed(netip.MustParseAddrPort("[2001:db8::1]:65535")))
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	assert.Contains(t, string(table), " "+listed(netip.MustParseAddrPort(listener.Addr().String()))+" 01 ")
}
