package tunnel

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzGreet begins a connection with any bytes. The client gets an answer, a session or nothing. If
// a startup message is passed on, it tells the server the same as it told the tunnel.
func FuzzGreet(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello",
		packet(196608, "user\x00app\x00database\x00app\x00options\x00-c a=b\x00\x00"),
		packet(196610, "user\x00app\x00_pq_.x\x00\x00\x00"),
		packet(sslRequest, "") + packet(196608, "user\x00app\x00\x00"),
		packet(gssRequest, "") + packet(196608, "user\x00app\x00replication\x00true\x00\x00"),
		packet(cancelRequest, "\x00\x00\x00\x01\x00\x00\x00\x02"),
		packet(cancelRequest, "\x00\x00\x00\x01"+strings.Repeat("k", 32)),
		packet(196608, "user\x00app\x00\x00\x00x\x00"), packet(196608, "\x00"), packet(2<<16, "user\x00app\x00\x00"),
		"\x7f\xff\xff\xff\x00\x03\x00\x00", "\x00\x00\x00\x07\x00\x03\x00",
	} {
		f.Add([]byte(seed))
	}
	config, listener := listening(f)
	answers := regexp.MustCompile(`^N?S?([\x14-\x17](?s:.*))?$`) // no to GSS, yes to TLS, and then TLS
	f.Fuzz(func(t *testing.T, says []byte) {
		client, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
		require.NoError(t, err)
		defer client.Close()
		conn, err := listener.AcceptTCP()
		require.NoError(t, err)
		answered := make(chan []byte)
		go func() {
			_, _ = client.Write(says)
			_ = client.CloseWrite()
			answer, _ := io.ReadAll(client)
			answered <- answer
		}()
		_, message, err := greet(conn, config)
		conn.Close()
		assert.Regexp(t, answers, string(<-answered))
		switch message := message.(type) {
		case nil:
			assert.Error(t, err)
		case *pgproto3.CancelRequest:
			assert.NotEmpty(t, message.SecretKey)
		case *pgproto3.StartupMessage:
			negotiate(message)
			message.ProtocolVersion = pgproto3.ProtocolVersion30
			passed, err := message.Encode(nil)
			require.NoError(t, err)
			again, err := readStartup(bytes.NewReader(passed))
			if len(message.Parameters) > 0 {
				require.NoError(t, err)
				assert.Equal(t, message, again)
			}
		default:
			t.Errorf("%T", message)
		}
	})
}

// listening is a tunnel's side: what it shows to its clients, and where they connect.
func listening(t testing.TB) (*tls.Config, *net.TCPListener) {
	identity, _, err := newIdentity([]string{"127.0.0.1"}, time.Now())
	require.NoError(t, err)
	config, err := identity.config()
	require.NoError(t, err)
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return config, listener
}

// A client that asks for TLS or GSS encryption and hangs up is no stranger, for which the log would
// blame another program. One that asks twice is.
func TestAClientThatHangsUpIsNoStranger(t *testing.T) {
	config, listener := listening(t)
	gss, err := (&pgproto3.GSSEncRequest{}).Encode(nil)
	require.NoError(t, err)
	tls, err := (&pgproto3.SSLRequest{}).Encode(nil)
	require.NoError(t, err)
	for says, isStranger := range map[string]bool{string(tls): false, string(gss): false, string(gss) + string(tls): false, string(gss) + string(gss): true} {
		client, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
		require.NoError(t, err)
		conn, err := listener.AcceptTCP()
		require.NoError(t, err)
		_, err = client.Write([]byte(says))
		require.NoError(t, err)
		require.NoError(t, client.CloseWrite())
		_, _, err = greet(conn, config)
		require.Error(t, err)
		assert.Equal(t, isStranger, errors.Is(err, errJunk), "%q: %v", says, err)
		conn.Close()
		client.Close()
	}
}

func TestOnlyAPasswordMessageIsAPassword(t *testing.T) {
	for says, want := range map[string]string{"p\x00\x00\x00\x07pw\x00": "pw", "Q\x00\x00\x00\x07pw\x00": "", "p\x00\x00\x00\x08pw": ""} {
		client, tunnel := net.Pipe()
		go func() {
			_, _ = io.ReadFull(client, make([]byte, 9)) // the request
			_, _ = io.WriteString(client, says)
			client.Close()
		}()
		password, err := askPassword(tunnel)
		assert.Equal(t, want, string(password))
		assert.Equal(t, want == "", err != nil, "%q", says)
	}
}

func TestAPacketMayBeEmptyButNotShorter(t *testing.T) {
	for text, want := range map[string]error{"p\x00\x00\x00\x04rest": nil, "p\x00\x00\x00\x03": errJunk, "p\x00\x00\x00\x06ab": nil, "p\x00\x00\x00\x07abc": errJunk} {
		packet, err := readPacket(strings.NewReader(text), 5, 2)
		assert.Equal(t, want, err, "%q", text)
		if want == nil {
			assert.Equal(t, strings.TrimSuffix(text, "rest"), string(packet))
		}
	}
}

func TestWhatTheTunnelDoesNotSpeakIsNegotiatedAway(t *testing.T) {
	for _, test := range []struct {
		version    uint32
		parameters string
		options    []string // nil if there is nothing to negotiate
	}{
		{196608, "", nil},
		{196609, "", []string{}},
		{196608, "_pq_.x\x00\x00", []string{"_pq_.x"}},
		{196608, "_pq_x\x00\x00", nil},
	} {
		message, err := readStartup(strings.NewReader(packet(test.version, "user\x00app\x00"+test.parameters+"\x00")))
		require.NoError(t, err)
		startup := message.(*pgproto3.StartupMessage)
		answer := negotiate(startup)
		assert.NotContains(t, startup.Parameters, "_pq_.x")
		assert.Equal(t, "app", startup.Parameters["user"])
		if test.options == nil {
			assert.Nil(t, answer)
			continue
		}
		require.NotNil(t, answer)
		assert.Equal(t, uint32(196608), answer.NewestMinorProtocol)
		assert.ElementsMatch(t, test.options, answer.UnrecognizedOptions)
	}
}

const (
	sslRequest    = 80877103
	gssRequest    = 80877104
	cancelRequest = 80877102
)

// packet makes a client's first packet.
func packet(code uint32, body string) string {
	p := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return string(binary.BigEndian.AppendUint32(p, code)) + body
}
