package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// How this command finds out what a mode would do, without giving the password away:
//
// A probe connects as the mode asks. It sends the startup message with the user and the database,
// as every libpq client does, and reads the server's first answer. A request for authentication
// means that the server's pg_hba.conf accepts this user from here, with this encryption. An error
// says why not. Then the probe hangs up.
//
// A probe does not know the password. So a server that accepts plain text cannot get it, and
// neither can one whose certificate does not verify. To PostgreSQL, the probe looks like a client
// that asks its user for a password first, as psql does, so it logs no failure
// (src/backend/libpq/auth.c, STATUS_EOF).
//
// Whoever logs in, does so only after the probe in the login's mode has found nothing wrong. The
// login makes a new connection, and verifies again.
//
// Sources: PostgreSQL's manual, "Message Flow", sections "Start-up" and "SSL Session Encryption".

// ApplicationName is this command's name in pg_stat_activity.
const ApplicationName = "postgres-ssl verify"

// Attempt is the result of a probe or a login.
type Attempt struct {
	Mode    sslmode.Mode
	Problem *Problem // what stopped it, nil if nothing did
	Answer
	Peer

	stage stage // how far it got
	err   error // what stopped it there
}

// Dialed says whether the server, or something else, took the connection.
func (a Attempt) Dialed() bool { return a.stage > dialing }

// Unverified returns the problem of a server's certificate that was refused, or nil.
func (a Attempt) Unverified() (p *Problem) {
	errors.As(a.err, &p)
	return p
}

// stage is a step on the way to a session.
type stage int

const (
	dialing stage = iota
	askingForTLS
	handshaking
	startingUp
)

// Peer is what a TLS handshake shows about the server.
type Peer struct {
	Chain   []*x509.Certificate // the certificates that it sent, even if they don't verify
	Version uint16
	Cipher  uint16
	Group   tls.CurveID         // of the key exchange; 0 if it was RSA's
	Path    []*x509.Certificate // the verified chain, from the server's certificate to Root
	Root    *Anchor

	wantsCerts bool // it asked for a client certificate
}

// Answer is the server's answer to the startup message, empty if it gave none.
type Answer struct {
	Asks    string          // what it asks for, such as "a SCRAM password", or ""
	Admits  bool            // it asks for nothing, or for nothing more
	Refusal *pgconn.PgError // its error
	PID     uint32          // the session's, if the server admits
}

var (
	errNoTLS       = errors.New("the server does not speak TLS")
	errNotPostgres = errors.New("not an answer of PostgreSQL")
	errAsked       = errors.New("the server has asked for authentication") // ends a probe
)

// asked is what a server may ask for (PostgreSQL's manual, "Message Formats").
var asked = map[uint32]string{
	pgproto3.AuthTypeCleartextPassword: "the password in clear",
	pgproto3.AuthTypeMD5Password:       "an MD5 password",
	pgproto3.AuthTypeSASL:              "a SCRAM password",
	pgproto3.AuthTypeGSS:               "Kerberos",
}

// Probe finds out what a mode would do. Whatever the server asks for, it sends nothing more, except
// a goodbye if the server admits it. ctx must have a deadline.
func (t *Target) Probe(ctx context.Context, to Address, mode sslmode.Mode) Attempt {
	a, as := Attempt{Mode: mode}, *t
	as.Tunnel = t.Tunnel && mode == t.LoginMode() // the tunnel tries no other mode
	conn := as.start(ctx, to, &a, "", func(method uint32) error {
		if a.Admits = method == pgproto3.AuthTypeOk; a.Admits {
			return nil
		}
		if a.Asks = asked[method]; a.Asks == "" {
			return errNotPostgres
		}
		return errAsked
	})
	var network net.Error
	switch {
	case errors.Is(a.err, errAsked):
		a.err = nil
	case conn != nil:
		a.PID = conn.PID()
		conn.Close(ctx) // its error does not matter: we have the answer
	case a.stage < startingUp, a.Refusal != nil, a.Unverified() != nil:
	case !errors.As(a.err, &network) && !isAny(a.err, io.ErrUnexpectedEOF, ErrTooMuch):
		a.err = errNotPostgres
	}
	a.Problem = t.diagnose(a, to)
	return a
}

// LogIn connects to the first host in the login's mode, verifies, and gives the password. Call it
// only after a probe in that mode has found nothing wrong. The connection is nil if it failed, and
// the attempt says why. ctx must have a deadline.
func (t *Target) LogIn(ctx context.Context) (*pgconn.PgConn, Attempt) {
	a, to := Attempt{Mode: t.LoginMode()}, t.Addresses()[0]
	conn := t.start(ctx, to, &a, t.Password, nil)
	a.Admits, a.Problem = conn != nil, t.diagnose(a, to)
	return conn, a
}

// start connects as the attempt's mode asks, and sends the startup message. asks, if not nil, hears
// what the server asks for. The connection is nil if there is no session, and the attempt says why.
func (t *Target) start(ctx context.Context, to Address, a *Attempt, password binding.Secret,
	asks func(method uint32) error,
) *pgconn.PgConn {
	config, err := t.LoginConfig(ctx, to, func(ctx context.Context) (net.Conn, error) {
		conn := t.open(ctx, to, to.String(), a)
		return conn, a.err
	}, func(kind byte, body []byte) error {
		if kind != authentication || asks == nil || len(body) < 4 {
			return nil
		}
		return asks(binary.BigEndian.Uint32(body))
	})
	if err != nil {
		a.err = err
		return nil
	}
	config.User, config.Database, config.Password = t.User, t.Database, string(password)
	config.RuntimeParams = map[string]string{"application_name": ApplicationName}
	conn, err := pgconn.ConnectConfig(ctx, config)
	errors.As(err, &a.Refusal)
	if a.err == nil {
		a.err = err
	}
	return conn
}
