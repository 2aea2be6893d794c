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
)

// Addresses are the database's hosts, in the order to try them.
func (t *Target) Addresses() []Address { return append([]Address{t.address()}, t.Others...) }

func (t *Target) address() Address { return Address{t.Host, t.Port} }

// Connect connects to a host of the database with TLS as its mode asks, and never without TLS. at
// is the address to dial: the host's own, or one of its IP addresses. Either the connection or the
// problem is nil. ctx must have a deadline, which the connection gets too.
func (t *Target) Connect(ctx context.Context, to Address, at string) (net.Conn, *Problem) {
	if t.Problem != nil {
		return nil, t.Problem
	}
	a := Attempt{Mode: t.LoginMode()}
	conn := t.open(ctx, to, at, &a)
	return conn, t.Diagnose(a, to)
}

// Explain says what went wrong in a login over a connection of Connect, unless the server said so
// itself. user and password are the login's.
func (t *Target) Explain(err error, to Address, user string, password binding.Secret) *Problem {
	other := *t
	other.User, other.Password = user, password
	return other.Diagnose(Attempt{Mode: t.LoginMode(), stage: startingUp, err: err}, to)
}

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

// LogIn connects to the first host in the login's mode, verifies, and gives the password. Call it
// only after a probe in that mode has found nothing wrong. The connection is nil if it failed, and
// the attempt says why. ctx must have a deadline.
func (t *Target) LogIn(ctx context.Context) (*pgconn.PgConn, Attempt) {
	a := Attempt{Mode: t.LoginMode()}
	config, err := t.LoginConfig(ctx, t.address(), func(ctx context.Context) (net.Conn, error) {
		conn := t.open(ctx, t.address(), t.address().String(), &a)
		return conn, a.err
	}, nil)
	if err != nil {
		a.err = err
		return nil, a
	}
	config.User, config.Database, config.Password = t.User, t.Database, string(t.Password)
	config.RuntimeParams = map[string]string{"application_name": ApplicationName}
	conn, err := pgconn.ConnectConfig(ctx, config)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		a.Refusal = &Refusal{refused.Code, refused.Message}
	case err != nil:
		a.err = err
	default:
		a.Admits = true
		return conn, a
	}
	return nil, a
}

// LoginConfig returns a configuration of pgconn for one login at one host. connect makes the
// connection, TLS included. onMessage, if not nil, sees each message of the server before pgconn
// does, and its error ends the login. The server's messages are bounded. ctx must have a deadline. The
// caller fills in the user, the database and the password.
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
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		limited := newBounded(r, deadline)
		asked := false
		limited.onMessage = func(kind byte, body []byte) error {
			const authentication = 'R'
			if kind == authentication && !asked && len(body) >= 4 {
				asked = true
				if err := t.distrust(binary.BigEndian.Uint32(body) == pgproto3.AuthTypeSASL); err != nil {
					return err
				}
			}
			if onMessage != nil {
				return onMessage(kind, body)
			}
			return nil
		}
		return pgproto3.NewFrontend(limited, w)
	}
	if t.distrust(false) != nil {
		config.RequireAuth = "scram-sha-256" // it may ask for SCRAM, and then for something else
	}
	return config, nil
}

// distrust is the tunnel's rule for passwords. The worst mistake would be to give one to a server that
// was not verified. If the mode does not verify, the server may ask only for SCRAM, which proves the
// password without showing it. A server that asks for anything else gets no answer. The gate and
// verify keep the rule too, for the databases that the tunnel would let nobody into.
func (t *Target) distrust(asksForSCRAM bool) error {
	if !t.Tunnel || t.Mode.Verifies() || asksForSCRAM {
		return nil
	}
	return &certificateError{&Problem{unproven, "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
		"bind the database with sslmode verify-full and its CA, or let the server ask for scram-sha-256"}}
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
