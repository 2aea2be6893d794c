package tunnel

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// Who gets the password, and who does not. Each test has a control, in which the same attack
// succeeds on somebody else.

func certificate(t testing.TB, ca *pgtest.CA, names ...string) *tls.Config {
	t.Helper()
	pair := ca.Issue(t, names)
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// thief is a server that sends the messages in asks, and records all that it hears, in plain text
// and inside TLS.
func thief(t testing.TB, config *tls.Config, asks ...pgproto3.BackendMessage) (port int, heard *buffer) {
	heard = &buffer{}
	port = pgtest.Listen(t, func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(patience))
		backend := pgproto3.NewBackend(io.TeeReader(conn, heard), conn)
		message, err := backend.ReceiveStartupMessage()
		if _, ok := message.(*pgproto3.SSLRequest); ok && err == nil {
			if config == nil {
				_, _ = conn.Write([]byte("N"))
				_, _ = io.Copy(heard, conn) // if the client goes on in plain text
				return
			}
			_, _ = conn.Write([]byte("S"))
			conn = tls.Server(conn, config)
			backend = pgproto3.NewBackend(io.TeeReader(conn, heard), conn)
			_, err = backend.ReceiveStartupMessage()
		}
		if err != nil {
			return
		}
		for _, message := range asks {
			backend.Send(message)
		}
		backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'}) // if no password was asked for
		if backend.Flush() == nil {
			_, _ = io.Copy(heard, conn)
		}
	})
	return port, heard
}

func TestPasswordIsNotGivenToWhomTheModeDoesNotBelieve(t *testing.T) {
	t.Parallel()
	trusted, other := pgtest.NewCA(t, "Trusted Root"), pgtest.NewCA(t, "Other Root")
	clear, md5, admitted := &pgproto3.AuthenticationCleartextPassword{}, &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}}, &pgproto3.AuthenticationOk{}
	for name, test := range map[string]struct {
		mode   sslmode.Mode
		config *tls.Config
		asks   pgproto3.BackendMessage
		hears  string // "" if it must not hear anything of the client's
	}{
		"plain text":                              {sslmode.VerifyFull, nil, clear, ""},
		"plain text, require":                     {sslmode.Require, nil, clear, ""},
		"verify-full, another CA":                 {sslmode.VerifyFull, certificate(t, other, "localhost"), clear, ""},
		"verify-full, another name":               {sslmode.VerifyFull, certificate(t, trusted, "elsewhere"), clear, ""},
		"verify-ca, another CA":                   {sslmode.VerifyCA, certificate(t, other, "localhost"), clear, ""},
		"require, in clear":                       {sslmode.Require, certificate(t, other, "localhost"), clear, ""},
		"require, MD5":                            {sslmode.Require, certificate(t, other, "localhost"), md5, ""},
		"require, nothing: it wants the queries":  {sslmode.Require, certificate(t, other, "localhost"), admitted, ""},
		"require, nothing, behind a notice":       {sslmode.Require, certificate(t, other, "localhost"), admitted, ""},
		"require, in clear, behind a notice":      {sslmode.Require, certificate(t, other, "localhost"), clear, ""},
		"require, in clear, from a trusted CA":    {sslmode.Require, certificate(t, trusted, "localhost"), clear, ""},
		"require, SCRAM, and then in clear":       {sslmode.Require, certificate(t, other, "localhost"), clear, ""},
		"control: verify-full, in clear":          {sslmode.VerifyFull, certificate(t, trusted, "localhost"), clear, password},
		"control: verify-full, behind a notice":   {sslmode.VerifyFull, certificate(t, trusted, "localhost"), clear, password},
		"control: verify-full, MD5":               {sslmode.VerifyFull, certificate(t, trusted, "localhost"), md5, "md5"},
		"control: verify-full, nothing":           {sslmode.VerifyFull, certificate(t, trusted, "localhost"), admitted, "select 'a secret'"},
		"control: verify-ca, another name, clear": {sslmode.VerifyCA, certificate(t, trusted, "elsewhere"), clear, password},
	} {
		t.Run(name, func(t *testing.T) {
			asks := []pgproto3.BackendMessage{test.asks}
			if strings.Contains(name, "behind a notice") {
				asks = []pgproto3.BackendMessage{&pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: "hello"}, test.asks}
			}
			if strings.Contains(name, "SCRAM") {
				asks = []pgproto3.BackendMessage{&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, test.asks}
			}
			port, heard := thief(t, test.config, asks...)
			tunnel := openTunnel(t, target(port, test.mode, trusted))
			client := tunnel.dial(t)
			frontend := pgproto3.NewFrontend(client, client)
			frontend.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "app"}})
			require.NoError(t, frontend.Flush())
			refused := false
			for answered := false; !answered; {
				message, err := frontend.Receive()
				require.NoError(t, err)
				switch message := message.(type) {
				case *pgproto3.AuthenticationCleartextPassword: // the tunnel itself asks for it
					frontend.Send(&pgproto3.PasswordMessage{Password: password})
					require.NoError(t, frontend.Flush())
					answered = test.asks != admitted && test.hears != ""
				case *pgproto3.ReadyForQuery:
					frontend.Send(&pgproto3.Query{String: "select 'a secret'"})
					require.NoError(t, frontend.Flush())
					answered = true
				case *pgproto3.ErrorResponse:
					assert.Equal(t, "FATAL", message.Severity)
					assert.Contains(t, []string{"08001", "08006"}, message.Code)
					answered, refused = true, true
				}
			}
			if test.hears == "" {
				assert.True(t, refused)
				assert.NotContains(t, heard.String(), password)
				assert.NotContains(t, heard.String(), "md5")
				assert.NotContains(t, heard.String(), "secret")
				return
			}
			assert.Eventually(t, func() bool { return strings.Contains(heard.String(), test.hears) }, patience, time.Millisecond)
		})
	}
}

func TestAServerThatIsVerifiedMayStillBeHostile(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	notice := &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: strings.Repeat("x", 60_000)}
	long := &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: strings.Repeat("x", 70_000)}
	clear := &pgproto3.AuthenticationCleartextPassword{}
	many := func(message pgproto3.BackendMessage, n int) []pgproto3.BackendMessage {
		return slices.Repeat([]pgproto3.BackendMessage{message}, n)
	}
	for name, test := range map[string]struct {
		says  []pgproto3.BackendMessage
		hears string
	}{
		"a message that is too long": {many(long, 1), "does not answer as a PostgreSQL server does"},
		"messages without an end":    {many(notice, 200), "the server sends more than 64 KB before the login"},
		"too much work": {[]pgproto3.BackendMessage{
			&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}},
			&pgproto3.AuthenticationSASLContinue{Data: []byte("r=x,s=eA==,i=2000000")},
		}, "more iterations of SCRAM than 1000000"},
		"the password, in an error": {[]pgproto3.BackendMessage{clear, &pgproto3.ErrorResponse{Severity: "FATAL", Code: password, Message: password}}, password},
		"control: a few messages":   {append(many(notice, 1), &pgproto3.AuthenticationOk{}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := thief(t, certificate(t, ca, "localhost"), test.says...)
			tunnel := openTunnel(t, target(port, sslmode.VerifyFull, ca))
			_, err := connect(t, tunnel.settings())
			if test.hears == "" {
				require.NoError(t, err)
				return
			}
			var refused *pgconn.PgError
			require.ErrorAs(t, err, &refused)
			assert.Contains(t, refused.Message, test.hears)
			assert.Eventually(t, func() bool { return tunnel.log.String() != "" }, patience, time.Millisecond)
			assert.NotContains(t, tunnel.log.String(), password[:5])
		})
	}
}

// The server knows the password by then, and may choose its SQLSTATE.
func TestASQLSTATEThatIsTheClientsPasswordIsNotLogged(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	port, _ := thief(t, certificate(t, ca, "localhost"), &pgproto3.AuthenticationCleartextPassword{}, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "AB123"})
	for password, logged := range map[string]string{"AB123": "", "another": " (SQLSTATE AB123)"} { // the second one is the control
		tunnel := openTunnel(t, target(port, sslmode.VerifyFull, ca))
		_, err := connect(t, tunnel.settings("password="+password))
		require.Error(t, err)
		require.Eventually(t, func() bool { return tunnel.log.String() != "" }, patience, time.Millisecond)
		assert.Equal(t, "postgres-ssl tunnel: db: the server refuses the login"+logged+"\n", tunnel.log.String())
	}
}

func TestWhatACertificateSaysIsMadePrintable(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	for name, expected := range map[string]string{"else\x1b[31mwhere": "but for else?[31mwhere", "elsewhere": "but for elsewhere"} {
		port, _ := thief(t, certificate(t, ca, name))
		_, err := connect(t, openTunnel(t, target(port, sslmode.VerifyFull, ca)).settings())
		var refused *pgconn.PgError
		require.ErrorAs(t, err, &refused)
		assert.Contains(t, refused.Message, expected)
	}
}

func TestNothingLeavesInPlainText(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tapped := newTap(t, server.Port)
	tunnel := openTunnel(t, target(tapped.port, sslmode.VerifyFull, ca))
	for _, user := range []string{"app", "old", "clear"} {
		conn, err := connect(t, tunnel.settings("application_name=a-name user="+user))
		require.NoError(t, err)
		ask(t, conn, "select 'a query'")
		require.NoError(t, conn.Close(t.Context()))
	}
	for _, secret := range []string{password, "a-name", "user", "select", "a query"} {
		assert.NotContains(t, tapped.heard(), secret)
	}
	control, err := connect(t, strings.Replace(tunnel.settings("application_name=a-name"), fmt.Sprintf("port=%d", tunnel.port), fmt.Sprintf("port=%d", tapped.port), 1))
	require.NoError(t, err)
	ask(t, control, "select 'a query'")
	assert.Contains(t, tapped.heard(), "a query", "control: without the tunnel, it does")
}

// inTheMiddle is an attacker between a client and the server, with a certificate of his own. He
// passes on all that they say, but edit may change what the server says.
func inTheMiddle(t testing.TB, config *tls.Config, server *pgtest.Server, edit func([]byte) []byte) int {
	return pgtest.Listen(t, func(conn net.Conn) {
		if _, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err != nil {
			return
		}
		_, _ = conn.Write([]byte("S"))
		victim := tls.Server(conn, config)
		plain, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", server.Port))
		if err != nil {
			return
		}
		defer plain.Close()
		_, _ = plain.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), 80877103))
		_, _ = io.ReadFull(plain, make([]byte, 1))
		real := tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
		go func() {
			_, _ = io.Copy(real, victim)
			_ = real.Close()
		}()
		for {
			said := make([]byte, 16384)
			n, err := real.Read(said)
			if n > 0 {
				_, _ = victim.Write(edit(said[:n]))
			}
			if err != nil {
				return
			}
		}
	})
}

// withoutChannelBinding removes SCRAM-SHA-256-PLUS from what a server offers.
func withoutChannelBinding(said []byte) []byte {
	offer := string(said)
	if !strings.Contains(offer, "SCRAM-SHA-256-PLUS\x00") {
		return said
	}
	body := []byte(strings.Replace(offer[5:], "SCRAM-SHA-256-PLUS\x00", "", 1))
	return append(binary.BigEndian.AppendUint32([]byte{'R'}, uint32(len(body)+4)), body...)
}

func TestWhoeverIsInTheMiddleIsRefusedInRequire(t *testing.T) {
	t.Parallel()
	ca, his := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "His Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	asItIs := func(said []byte) []byte { return said }
	for _, test := range []struct {
		edit func([]byte) []byte
		says string
	}{
		{asItIs, "SCRAM channel binding check failed"},
		{withoutChannelBinding, "SCRAM channel binding negotiation error"},
	} {
		port := inTheMiddle(t, certificate(t, his, "localhost"), server, test.edit)
		_, err := connect(t, openTunnel(t, target(port, sslmode.Require)).settings())
		var refused *pgconn.PgError
		require.ErrorAs(t, err, &refused)
		assert.Contains(t, refused.Message, test.says)
	}
	assert.NotContains(t, server.Log(t), "connection authorized: user=app")

	// Control: a client that says it knows no channel binding.
	port := inTheMiddle(t, certificate(t, his, "localhost"), server, withoutChannelBinding)
	conn, err := connect(t, fmt.Sprintf("host=127.0.0.1 port=%d user=app password=%s dbname=app sslmode=require channel_binding=disable", port, password))
	require.NoError(t, err)
	assert.Equal(t, "1", ask(t, conn, "select 1"))
}

func TestWhatIsNoClientIsDropped(t *testing.T) {
	t.Parallel()
	tunnel := openTunnel(t, target(1, sslmode.VerifyFull))
	for name, test := range map[string]struct{ says, answer string }{
		"HTTP":                                  {"GET / HTTP/1.1\r\n\r\n", ""},
		"a length of nothing":                   {"\x00\x00\x00\x00", ""},
		"a length of less than nothing":         {"\xff\xff\xff\xff", ""},
		"a packet that is too long":             {packet(196608, "user\x00"+strings.Repeat("x", 10_000)+"\x00\x00"), ""},
		"the length of such a packet":           {"\x00\x00\x27\x15", ""},
		"another protocol":                      {packet(2<<16, "user\x00app\x00\x00"), ""},
		"no end":                                {packet(196608, "user\x00app\x00"), ""},
		"something after the end":               {packet(196608, "user\x00app\x00\x00\x00x\x00"), ""},
		"no parameters":                         {packet(196608, "\x00"), ""},
		"a cancel request without a key":        {packet(cancelRequest, ""), ""},
		"GSSENC twice":                          {packet(gssRequest, "") + packet(gssRequest, ""), "N"},
		"plain text behind the request for TLS": {packet(sslRequest, "") + packet(196608, "user\x00app\x00\x00"), "S"},
		"TLS twice":                             {packet(sslRequest, "") + packet(sslRequest, ""), "S"},
		"TLS after GSSENC":                      {packet(gssRequest, "") + "\x16\x03\x01\x00", "N"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := tunnel.dial(t)
			_, err := io.WriteString(conn, test.says)
			require.NoError(t, err)
			answer, err := io.ReadAll(conn) // a reset is as good as an end
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "and it is dropped at once")
			const alert = "\x15" // the first byte of a TLS alert
			first, _, _ := strings.Cut(string(answer), alert)
			assert.Equal(t, test.answer, first)
		})
	}
	assert.Eventually(t, func() bool { return tunnel.relay.connections.Load() == 0 }, patience, time.Millisecond)
	assert.Equal(t, 1, strings.Count(tunnel.log.String(), "\n"), "once a minute: %s", tunnel.log)
	assert.Equal(t, "postgres-ssl tunnel: db: dropped a connection that was not a client of PostgreSQL\n", tunnel.log.String())
}

func TestNobodyAsksForEncryptionInsideOfTLS(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]uint32{"TLS": sslRequest, "GSSENC": gssRequest} {
		t.Run(name, func(t *testing.T) {
			tunnel := openTunnel(t, target(1, sslmode.VerifyFull))
			conn := tunnel.dial(t)
			_, err := io.WriteString(conn, packet(sslRequest, ""))
			require.NoError(t, err)
			_, err = io.ReadFull(conn, make([]byte, 1))
			require.NoError(t, err)
			config := &pgconn.Config{}
			tunnel.sees("localhost")(config)
			secured := tls.Client(conn, config.TLSConfig)
			_, err = io.WriteString(secured, packet(request, ""))
			require.NoError(t, err)
			answer, err := io.ReadAll(secured)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is dropped at once")
			assert.Empty(t, answer)
			assert.Eventually(t, func() bool { return strings.Contains(tunnel.log.String(), "not a client of PostgreSQL") }, patience, time.Millisecond)
		})
	}
}

func TestProtocolsThatAreNewerAreNegotiated(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	tunnel := openTunnel(t, target(server.Port, sslmode.VerifyFull, ca))
	for name, test := range map[string]struct {
		version uint32
		option  string
		answer  *pgproto3.NegotiateProtocolVersion
	}{
		"3.0":                    {196608, "", nil},
		"3.2":                    {196610, "", &pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 196608, UnrecognizedOptions: []string{}}},
		"3.9999, libpq's grease": {3<<16 | 9999, "_pq_.test_protocol_negotiation", &pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 196608, UnrecognizedOptions: []string{"_pq_.test_protocol_negotiation"}}},
	} {
		t.Run(name, func(t *testing.T) {
			body := "user\x00app\x00"
			if test.option != "" {
				body += test.option + "\x00\x00"
			}
			conn := tunnel.dial(t)
			_, err := io.WriteString(conn, packet(test.version, body+"\x00"))
			require.NoError(t, err)
			frontend := pgproto3.NewFrontend(conn, conn)
			message, err := frontend.Receive()
			require.NoError(t, err)
			if test.answer != nil {
				assert.Equal(t, test.answer, message)
				message, err = frontend.Receive()
				require.NoError(t, err)
			}
			require.IsType(t, &pgproto3.AuthenticationCleartextPassword{}, message)
			frontend.Send(&pgproto3.PasswordMessage{Password: password})
			require.NoError(t, frontend.Flush())
			message, err = frontend.Receive()
			require.NoError(t, err)
			assert.IsType(t, &pgproto3.AuthenticationOk{}, message)
		})
	}
}

func TestTheLogSaysThingsOnceAMinuteAndNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &buffer{}
		j := newJournal(log)
		for range 100 {
			j.say("db", "a", "a cause")
			j.say("db", "b", "another\ncause\x1b[31m")
		}
		synctest.Wait()
		assert.Equal(t, "postgres-ssl tunnel: db: a cause\npostgres-ssl tunnel: db: another?cause?[31m\n", log.String())
		time.Sleep(time.Minute)
		j.say("db", "a", "a cause")
		synctest.Wait()
		assert.Equal(t, 3, strings.Count(log.String(), "\n"))
		for i := range 5000 {
			j.say("db", fmt.Sprint(i), "many causes")
			assert.LessOrEqual(t, len(j.said), 1000)
		}
		synctest.Wait()
		close(j.lines)
	})
	synctest.Test(t, func(t *testing.T) {
		log := stuck{make(chan struct{}), &buffer{}}
		j := newJournal(log)
		for range 500 {
			j.say("db", "a", "a cause")
		}
		j.say("other", "a", "another's")
		close(log.release)
		synctest.Wait()
		assert.Equal(t, "postgres-ssl tunnel: db: a cause\npostgres-ssl tunnel: other: another's\n", log.String(),
			"while nobody reads, one cause leaves room for another")
		close(j.lines)
	})
	synctest.Test(t, func(t *testing.T) {
		log := stuck{make(chan struct{}), &buffer{}}
		j := newJournal(log)
		before := time.Now()
		for i := range 500 {
			j.say("db", fmt.Sprint(i), "a cause") // if it did not return, synctest would report a deadlock
		}
		assert.Zero(t, time.Since(before))
		close(log.release)
		close(j.lines)
	})
}

// stuck is a log that nobody reads for a time.
type stuck struct {
	release chan struct{}
	*buffer
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.buffer.Write(p)
}

// A server may say as much as it likes before the login. The tunnel keeps a bounded part of it.
func TestServersCannotFillTheMemory(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	notice := &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: strings.Repeat("x", 30_000)}
	hello := &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: "hello"}
	connects := func(messages ...pgproto3.BackendMessage) error {
		port, _ := thief(t, certificate(t, ca, "localhost"), append(messages, &pgproto3.AuthenticationOk{})...)
		_, err := connect(t, openTunnel(t, target(port, sslmode.VerifyFull, ca)).settings())
		return err
	}
	assert.NoError(t, connects(hello, notice))
	assert.ErrorContains(t, connects(notice, notice, notice), "the server sends more than 64 KB before the login")
}

// So is how many say it at the same time.
func TestALoginWaitsForItsTurn(t *testing.T) {
	arrived := make(chan net.Conn, 3)
	port := pgtest.Listen(t, func(conn net.Conn) {
		arrived <- conn
		_, _ = io.Copy(io.Discard, conn)
	})
	tunnel := openTunnel(t, target(port, sslmode.VerifyFull), func(r *relay) { r.logins = make(chan struct{}, 1) })
	for range cap(arrived) {
		_, err := io.WriteString(tunnel.dial(t), packet(196608, "user\x00app\x00\x00"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return tunnel.relay.connections.Load() == 3 }, patience, time.Millisecond)
	for range cap(arrived) {
		conn := <-arrived
		assert.Empty(t, arrived, "the others wait")
		conn.Close()
	}
	assert.Eventually(t, func() bool { return len(tunnel.relay.logins) == 0 }, patience, time.Millisecond)
}
