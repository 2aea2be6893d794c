package wire

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Connect connects to a host of the database with TLS as its mode asks, and never without TLS. at
// is the address to dial: the host's own, or one of its IP addresses. Either the connection or the
// problem is nil. ctx must have a deadline, which the connection gets too.
func (t *Target) Connect(ctx context.Context, to Address, at string) (net.Conn, *Problem) {
	if t.Problem != nil {
		return nil, t.Problem
	}
	a := Attempt{Mode: t.LoginMode()}
	conn := t.open(ctx, to, at, &a)
	return conn, t.diagnose(a, to)
}

// Explain says what went wrong in a login over a connection of Connect, unless the server said so
// itself. user and password are the login's.
func (t *Target) Explain(err error, to Address, user string, password binding.Secret) *Problem {
	other := *t
	other.User, other.Password = user, password
	return other.diagnose(Attempt{Mode: t.LoginMode(), stage: startingUp, err: err}, to)
}

// dial connects for probes and logins. Go's dialer tries every address of a host.
var dial = (&net.Dialer{}).DialContext

// open connects with TLS as the attempt's mode asks. If it fails, it returns nil, and the attempt
// says where and why.
func (t *Target) open(ctx context.Context, to Address, at string, a *Attempt) net.Conn {
	a.stage = dialing
	if t.HostAddr != "" {
		at = net.JoinHostPort(t.HostAddr, strconv.Itoa(int(to.Port)))
	}
	conn, err := dial(ctx, "tcp", at)
	if a.err = err; err != nil {
		return nil
	}
	deadline, _ := ctx.Deadline()
	a.err = conn.SetDeadline(deadline)
	if a.err == nil && a.Mode.Encrypts() {
		a.stage = askingForTLS
		if !t.Direct {
			a.err = askForTLS(conn)
		}
		if a.err == nil {
			a.stage = handshaking
			client := tls.Client(conn, t.tlsConfig(to.Host, a.Mode, time.Now(), &a.Peer))
			a.err = client.HandshakeContext(ctx)
			conn = client
		}
	}
	if a.err != nil {
		conn.Close() // the attempt has failed anyway
		return nil
	}
	a.stage = startingUp
	return conn
}

// tlsConfig verifies as a mode does. Go's own verification is off, because it knows only
// verify-full, and because the diagnosis needs whatever the server shows. Instead, VerifyConnection
// does the work. It runs in every handshake.
func (t *Target) tlsConfig(host string, mode sslmode.Mode, now time.Time, seen *Peer) *tls.Config {
	return &tls.Config{
		ServerName:         host,
		InsecureSkipVerify: true,
		NextProtos:         []string{"postgresql"}, // a server wants it of those who begin with TLS
		VerifyConnection: func(state tls.ConnectionState) error {
			seen.Chain = state.PeerCertificates[:min(len(state.PeerCertificates), longestChain)]
			seen.Version, seen.Cipher, seen.Group = state.Version, state.CipherSuite, state.CurveID
			path, problem := t.verify(seen.Chain, host, mode, now)
			if path != nil {
				seen.Path, seen.Root = path, find(t.Trust, path[len(path)-1])
			}
			if problem != nil {
				return problem
			}
			return nil
		},
		// Like libpq, send it whatever CAs the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			seen.wantsCerts = true
			if t.Client.Cert == nil {
				return &tls.Certificate{}, nil
			}
			pair, err := tls.X509KeyPair(t.Client.Cert, t.Client.Key)
			return &pair, err
		},
	}
}

// askForTLS sends an SSLRequest, and reads exactly one byte. The server, or an attacker in between,
// may send more in plain text. That must not pass for a part of the encrypted conversation
// (CVE-2021-23222).
func askForTLS(conn net.Conn) error {
	request, err := (&pgproto3.SSLRequest{}).Encode(nil)
	if err == nil {
		_, err = conn.Write(request)
	}
	var answer [1]byte
	if err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	switch {
	case err != nil || answer[0] == 'S':
		return err
	case answer[0] == 'N', answer[0] == 'E': // a very old server answers with an error
		return errNoTLS
	}
	return errNotPostgres
}

// LoginConfig returns a configuration of pgconn for one login at one host. connect makes the
// connection, TLS included. onMessage sees each message of the server before pgconn does, and its
// error ends the login. The server's messages are bounded. ctx must have a deadline. The caller fills
// in the user, the database and the password.
func (t *Target) LoginConfig(ctx context.Context, to Address, connect func(context.Context) (net.Conn, error),
	onMessage func(kind byte, body []byte) error,
) (*pgconn.Config, error) {
	config, err := blankConfig()
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	config = config.Copy()
	config.Host, config.Port = to.Host, to.Port
	config.Fallbacks = nil // no second try, and none without TLS
	config.DialFunc = once(connect)
	// connect resolves the host.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	asked := false
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		b := &bounded{from: r, to: w, deadline: deadline, left: mostBefore, onMessage: func(kind byte, body []byte) error {
			if kind == authentication && !asked {
				asked = true
				if err := t.distrust(binary.BigEndian.Uint32(body)); err != nil {
					return err
				}
			}
			return onMessage(kind, body)
		}}
		return pgproto3.NewFrontend(b, b)
	}
	if t.distrust(pgproto3.AuthTypeOk) != nil {
		config.RequireAuth = "scram-sha-256" // it may ask for SCRAM, and then for something else
	}
	return config, nil
}

// distrust is the tunnel's rule for passwords. The worst mistake would be to give one to a server that
// was not verified. If the mode does not verify, the server may ask only for SCRAM, which proves the
// password without showing it. A server that asks for anything else gets no answer. The gate and
// verify keep the rule too, for the databases that the tunnel would let nobody into.
func (t *Target) distrust(asks uint32) error {
	if !t.Tunnel || t.Mode.Verifies() || asks == pgproto3.AuthTypeSASL {
		return nil
	}
	return &Problem{unproven, "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
		"bind the database with sslmode verify-full and its CA, or let the server ask for scram-sha-256"}
}

// once connects only once. After an error, pgconn connects again in the background to cancel the
// query. We don't: a server that misbehaves gets no second connection.
func once(connect func(context.Context) (net.Conn, error)) pgconn.DialFunc {
	var dialed atomic.Bool
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, errors.New("there is only one connection")
		}
		return connect(ctx)
	}
}

// blankConfig returns a configuration without outside influence: only bindings and plan decide.
// Only pgconn.ParseConfig can make one. It reads the process's PG* variables, the files that they
// name, ~/.pgpass and ~/.postgresql. So we hide the variables from it, and give it a connection
// string that names no such file. LoginConfig's caller replaces the rest.
var blankConfig = sync.OnceValues(func() (*pgconn.Config, error) {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
		defer os.Setenv(name, value) // it worked before
	}
	return pgconn.ParseConfig("host=localhost port=5432 user=nobody password=none sslmode=disable " +
		"sslrootcert='' sslcert='' sslkey='' passfile=''")
})
