package verify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
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

// Where the password goes, and where it does not. The server in these tests asks everybody for it
// in clear text, and writes down all that it hears. Each test has a control, in which the same
// server does hear the password. Without the control, hearing nothing would prove nothing.

const password = pgtest.Password

// thief is a server that wants passwords.
type thief struct {
	port  uint16
	certs func(n int) *tls.Certificate // for the nth TLS connection, from 0; nil: no TLS
	stop  func()                       // takes no more connections, and waits until the others end

	mutex   sync.Mutex
	secured int
	heard   bytes.Buffer // everything after a startup message
	users   int          // number of startup messages
}

func newThief(t *testing.T, certs func(n int) *tls.Certificate) *thief {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	th := &thief{port: uint16(listener.Addr().(*net.TCPAddr).Port), certs: certs}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				th.serve(conn)
			})
		}
	})
	th.stop = sync.OnceFunc(func() {
		listener.Close()
		wait.Wait()
	})
	t.Cleanup(th.stop)
	return th
}

func (th *thief) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	backend := pgproto3.NewBackend(conn, conn)
	message, err := backend.ReceiveStartupMessage()
	if _, ok := message.(*pgproto3.SSLRequest); ok && err == nil {
		if th.certs == nil {
			_, _ = conn.Write([]byte("N"))
			return
		}
		_, _ = conn.Write([]byte("S"))
		th.mutex.Lock()
		cert := th.certs(th.secured)
		th.secured++
		th.mutex.Unlock()
		conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*cert}})
		backend = pgproto3.NewBackend(conn, conn)
		message, err = backend.ReceiveStartupMessage()
	}
	if _, ok := message.(*pgproto3.StartupMessage); !ok || err != nil {
		return
	}
	th.mutex.Lock()
	th.users++
	th.mutex.Unlock()
	backend.Send(&pgproto3.AuthenticationCleartextPassword{})
	if backend.Flush() != nil {
		return
	}
	heard := make([]byte, 1024)
	n, _ := conn.Read(heard)
	th.mutex.Lock()
	th.heard.Write(heard[:n])
	th.mutex.Unlock()
	if n > 0 { // send it back in an error
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: "thanks for\n\x1b[31m" + string(bytes.Trim(heard[5:n], "\x00"))})
		_ = backend.Flush()
	}
	_, _ = io.Copy(io.Discard, conn)
}

// hears returns what the server has heard, once all clients are gone.
func (th *thief) hears() string {
	th.stop()
	return th.heard.String()
}

func (th *thief) target(mode sslmode.Mode, trust ...*pgtest.CA) wire.Target {
	t := wire.Target{Name: "db", Address: wire.Address{Host: "localhost", Port: th.port}, Database: "app", User: "app", Password: password, Mode: mode, Source: "the test"}
	for _, ca := range trust {
		t.Trust = append(t.Trust, wire.Anchor{Cert: ca.Cert, Origin: "the test"})
	}
	return t
}

// verified runs the whole command on one target. It returns the finding, and the output in both
// forms.
func verified(t *testing.T, target wire.Target) (Database, string) {
	t.Helper()
	report := Run(context.Background(), []wire.Target{target}, nil, 2*time.Minute)
	var text strings.Builder
	require.NoError(t, report.Write(&text, false))
	asJSON, err := json.Marshal(report)
	require.NoError(t, err)
	return report.Databases[0], text.String() + string(asJSON)
}

func certificate(t *testing.T, ca *pgtest.CA, names ...string) *tls.Certificate {
	t.Helper()
	pair := ca.Issue(t, names)
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	return &cert
}

func always(cert *tls.Certificate) func(int) *tls.Certificate {
	return func(int) *tls.Certificate { return cert }
}

func TestPasswordIsNeverSentInPlainText(t *testing.T) {
	for _, mode := range append(sslmode.All(), sslmode.None) {
		t.Run(mode.String(), func(t *testing.T) {
			th := newThief(t, nil)
			db, _ := verified(t, th.target(mode))
			assert.False(t, db.OK)
			assert.Equal(t, Outcome{"disable", Accepted, "asks for the password in clear"}, db.Modes[0])
			assert.Empty(t, th.hears())
			assert.Equal(t, 1, th.users, "only the probe for plain text")
		})
	}
	t.Run("control: a login does send it", func(t *testing.T) {
		th := newThief(t, nil)
		_, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=localhost port=%d user=app password=%s dbname=app sslmode=disable", th.port, password))
		require.Error(t, err)
		assert.Contains(t, th.hears(), password)
	})
}

func TestPasswordIsNotSentToAServerThatTheModeRefuses(t *testing.T) {
	trusted, other := pgtest.NewCA(t, "Trusted Root"), pgtest.NewCA(t, "Other Root")
	for name, test := range map[string]struct {
		mode    sslmode.Mode
		cert    *tls.Certificate
		problem string
		told    bool
	}{
		"verify-ca, another CA":               {sslmode.VerifyCA, certificate(t, other, "localhost"), "unknown-ca", false},
		"verify-full, another CA":             {sslmode.VerifyFull, certificate(t, other, "localhost"), "unknown-ca", false},
		"verify-full, another name":           {sslmode.VerifyFull, certificate(t, trusted, "elsewhere"), "name-mismatch", false},
		"control: verify-ca, another name":    {sslmode.VerifyCA, certificate(t, trusted, "elsewhere"), "server-error", true},
		"control: verify-full":                {sslmode.VerifyFull, certificate(t, trusted, "localhost"), "server-error", true},
		"control: require accepts any server": {sslmode.Require, certificate(t, other, "localhost"), "server-error", true},
	} {
		t.Run(name, func(t *testing.T) {
			th := newThief(t, always(test.cert))
			db, printed := verified(t, th.target(test.mode, trusted))
			require.Len(t, db.Problems, 1)
			assert.Equal(t, test.problem, db.Problems[0].Code)
			assert.Equal(t, test.told, strings.Contains(th.hears(), password))
			if probes := len(ladder) - 1; test.told {
				assert.Equal(t, probes+1, th.secured, "connections with TLS: the probes, and the login")
			} else {
				assert.Equal(t, probes, th.secured, "connections with TLS: the probes, and no login")
			}
			assert.NotContains(t, printed, password, "even if the server sends it back")
		})
	}
}

// The probes find nothing wrong, and then another server answers.
func TestLoginVerifiesAgain(t *testing.T) {
	trusted, other := pgtest.NewCA(t, "Trusted Root"), pgtest.NewCA(t, "Other Root")
	good, bad := certificate(t, trusted, "localhost"), certificate(t, other, "localhost")
	probes := len(ladder) - 1 // those with TLS

	th := newThief(t, func(n int) *tls.Certificate {
		if n < probes {
			return good
		}
		return bad
	})
	db, _ := verified(t, th.target(sslmode.VerifyFull, trusted))
	assert.Equal(t, Outcome{"verify-full", Works, ""}, db.Modes[3])
	require.Len(t, db.Problems, 1)
	assert.Equal(t, "unknown-ca", db.Problems[0].Code)
	assert.Equal(t, "Other Root", db.Certificate.Issuer)
	assert.Empty(t, th.hears())

	control := newThief(t, always(good))
	verified(t, control.target(sslmode.VerifyFull, trusted))
	assert.Contains(t, control.hears(), password)
}

func TestWhatAServerOrABindingSaysStaysOnItsLine(t *testing.T) {
	evil := "evil\n\x1b[2J\u009b\u2028"
	ca := pgtest.NewCA(t, evil)
	// Its issuer has the same name.
	pair := ca.Issue(t, []string{"localhost"}, func(c *x509.Certificate) { c.Subject.CommonName = evil })
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	th := newThief(t, always(&cert))
	target := th.target(sslmode.VerifyFull, ca)
	target.Name, target.Database, target.User, target.Source, target.Trust[0].Origin = evil, evil, evil, evil, evil
	_, printed := verified(t, target)
	assert.Contains(t, printed, "evil??[2J??")
	for _, control := range []string{"\x1b", "\u009b", "\u2028"} {
		assert.NotContains(t, printed, control)
	}
	assert.NotContains(t, printed, "evil\n")
	assert.NotContains(t, printed, password)

	lines, _ := Gate(t.Context(), []wire.Target{target}, 2*time.Minute)
	assert.Contains(t, lines[0], "evil??[2J??")
	assert.NotContains(t, lines[0], "\n")
	target.Trust = nil // now the certificate's diagnosis shows the name
	_, printed = verified(t, target)
	assert.Contains(t, printed, `its issuer is "evil??[2J??"`)
	assert.NotContains(t, printed, "\x1b")
}

// The tunnel gives no password to a server that nobody has verified, so the gate and verify do not
// either: behind the tunnel, the app would not connect.
func TestWhereTheTunnelGivesNoPasswordNeitherDoesTheGate(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	for name, test := range map[string]struct {
		mode   sslmode.Mode
		tunnel bool
		hears  bool
	}{
		"require, through the tunnel":              {sslmode.Require, true, false},
		"control: require, without it":             {sslmode.Require, false, true},
		"control: verify-full, through the tunnel": {sslmode.VerifyFull, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			for command, run := range map[string]func(wire.Target) string{
				"the gate": func(target wire.Target) string {
					lines, open := Gate(t.Context(), []wire.Target{target}, 2*time.Minute)
					assert.Equal(t, test.hears, open)
					return lines[0]
				},
				"verify": func(target wire.Target) string { _, text := verified(t, target); return text },
			} {
				cert := certificate(t, ca, "localhost")
				th := newThief(t, func(int) *tls.Certificate { return cert })
				target := th.target(test.mode, ca)
				target.Tunnel = test.tunnel
				said := run(target)
				assert.Equal(t, test.hears, strings.Contains(th.hears(), password), command)
				if command == "verify" {
					assert.Equal(t, !test.hears, strings.Contains(said, "require      fails: unproven"))
					assert.Contains(t, said, "verify-ca    works", "the tunnel's rule is for the mode in force")
				}
				assert.Equal(t, !test.hears, strings.Contains(said, "the server does not ask for scram-sha-256, and sslmode require does not verify who it is"), command)
			}
		})
	}
}

// That would send the user's name in plain text.
func TestTheGateTriesPlainTextOnlyWhereTheModeAllowsIt(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	for mode, startups := range map[sslmode.Mode]int{sslmode.VerifyFull: 2, sslmode.Prefer: 3} {
		th := newThief(t, always(certificate(t, ca, "localhost")))
		Gate(t.Context(), []wire.Target{th.target(mode, ca)}, 2*time.Minute)
		th.hears()
		assert.Equal(t, startups, th.users, "a probe, the login, and perhaps plain text: %s", mode)
	}
}
