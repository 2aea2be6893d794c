package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// ApplicationName is this command's name in pg_stat_activity.
const ApplicationName = "postgres-ssl verify"

// Attempt is the result of a probe or a login.
type Attempt struct {
	Mode    sslmode.Mode
	Problem *Problem // what stopped it, nil if nothing did

	// What the TLS handshake shows.
	tls.ConnectionState                     // also if the server's certificates don't verify
	Path                []*x509.Certificate // the verified chain, from the server's certificate to Root
	Root                *Anchor
	wantsCerts          bool // the server asked for a client certificate

	// The server's answer to the startup message.
	Asks    string          // what it asks for first, or ""
	Refusal *pgconn.PgError // its error
	PID     uint32          // the session's, if it admits a probe

	stage stage // how far it got
	err   error // what stopped it there
}

// Dialed says whether something took the connection.
func (a Attempt) Dialed() bool { return a.stage != dialing }

// Unverified returns the problem of a server that was not believed, or nil.
func (a Attempt) Unverified() (p *Problem) {
	errors.As(a.err, &p)
	return p
}

// stage is what the server is asked on the way to a session.
type stage string

const (
	dialing      stage = ""
	askingForTLS stage = "the request for TLS"
	handshaking  stage = "in the TLS handshake"
	startingUp   stage = "the startup message"
)

var (
	errNoTLS       = errors.New("the server does not speak TLS")
	errNotPostgres = errors.New("not an answer of PostgreSQL")
	errAsked       = errors.New("the server has asked for authentication") // ends a probe
)

// methods is what a server may ask for (PostgreSQL's manual, "Message Formats").
var methods = map[uint32]string{
	pgproto3.AuthTypeOk:                "nothing",
	pgproto3.AuthTypeCleartextPassword: "the password in clear",
	pgproto3.AuthTypeMD5Password:       "an MD5 password",
	pgproto3.AuthTypeSASL:              "a SCRAM password",
	pgproto3.AuthTypeGSS:               "Kerberos",
}

// Probe finds out what a mode would do, without the password. It begins as every libpq client does,
// and reads the server's first answer (PostgreSQL's manual, "Message Flow", "Start-up"). A request
// for authentication means that pg_hba.conf accepts this user from here, with this encryption. Then
// the probe hangs up. PostgreSQL logs no failure, as for psql, which asks its user for a password
// first (src/backend/libpq/auth.c, STATUS_EOF). ctx must have a deadline.
func (t *Target) Probe(ctx context.Context, to Address, mode sslmode.Mode) Attempt {
	as := *t
	as.Tunnel = t.Tunnel && mode == t.LoginMode() // the tunnel tries no other mode
	conn, a := as.start(ctx, to, mode, Login{isProbe: true, OnMessage: func(kind byte, body []byte) error {
		if kind == authentication && binary.BigEndian.Uint32(body) != pgproto3.AuthTypeOk {
			return errAsked
		}
		return nil
	}})
	var network net.Error
	switch {
	case errors.Is(a.err, errAsked):
		a.err = nil
	case conn != nil:
		a.PID = conn.PID()
		conn.Close(ctx) // its error does not matter: we have the answer
	case a.stage != startingUp, a.Refusal != nil, a.Unverified() != nil:
	case !errors.As(a.err, &network) && !isAny(a.err, io.ErrUnexpectedEOF, errTooMuch):
		a.err = errNotPostgres
	}
	a.Problem = t.diagnose(a, to)
	return a
}

// Login is how a client logs in as the target's user. The zero value is for verify.
type Login struct {
	Parameters map[string]string // further ones of the startup message
	// OnMessage sees each message of the server before pgconn does, and its error ends the login. When
	// the server asks for a password, it may still change the target's.
	OnMessage func(kind byte, body []byte) error
	Dial      time.Duration // for the connection, with TLS; 0: as long as the login

	isProbe bool // without the password
}

// LogIn makes a new connection to the first host in the login's mode, verifies the server, and gives
// the password. There is a connection if the attempt has no problem. ctx must have a deadline.
func (t *Target) LogIn(ctx context.Context, login Login) (*pgconn.PgConn, Attempt) {
	conn, a := t.start(ctx, t.Address, t.LoginMode(), login)
	a.Problem = t.diagnose(a, t.Address)
	return conn, a
}

// start connects as the mode asks, and logs in. If there is no session, the attempt has the error.
func (t *Target) start(ctx context.Context, to Address, mode sslmode.Mode, login Login) (*pgconn.PgConn, Attempt) {
	a := Attempt{Mode: mode}
	deadline, _ := ctx.Deadline()
	config := blankConfig().Copy()
	config.User, config.Database, config.RuntimeParams = t.User, t.Database, login.Parameters
	if login.Parameters == nil {
		config.RuntimeParams = map[string]string{"application_name": ApplicationName}
	}
	var once sync.Once
	config.DialFunc = func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = errors.New("there is only one connection") // pgconn would cancel a query with another
		once.Do(func() {
			ctx, cancel := context.WithTimeout(ctx, cmp.Or(login.Dial, time.Until(deadline)))
			defer cancel()
			if conn = t.open(ctx, to, to.String(), &a); conn != nil {
				a.err = conn.SetDeadline(deadline)
			}
			err = a.err
		})
		return conn, err
	}
	onMessage := func(kind byte, body []byte) (err error) {
		if kind == authentication {
			err = t.allows(body, &a, deadline)
		}
		if err == nil && login.OnMessage != nil {
			err = login.OnMessage(kind, body)
		}
		if err == nil && !login.isProbe {
			config.Password = string(t.Password)
		}
		return err
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		b := &bounded{from: r, to: w, left: mostBefore, onMessage: onMessage}
		return pgproto3.NewFrontend(b, b)
	}
	if t.wantsSCRAM() {
		config.RequireAuth = "scram-sha-256" // it may ask for SCRAM, and then for something else
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		err = conn.SyncConn(ctx) // a tunnel takes over, so no buffer may have what the server says next
	}
	errors.As(err, &a.Refusal)
	a.err = cmp.Or(a.err, err)
	return conn, a
}

// Connect connects to a host with TLS, verified as the login's mode asks. at is the address to dial:
// the host's own, or one of its IP addresses. Either the connection or the problem is nil. ctx must
// have a deadline, which the connection gets too.
func (t *Target) Connect(ctx context.Context, to Address, at string) (net.Conn, *Problem) {
	a := Attempt{Mode: t.LoginMode()}
	conn := t.open(ctx, to, at, &a)
	return conn, t.diagnose(a, to)
}

// open connects as the attempt's mode asks. If it fails, it returns nil, and the attempt says why.
func (t *Target) open(ctx context.Context, to Address, at string, a *Attempt) net.Conn {
	if t.Problem != nil {
		a.err = t.Problem
		return nil
	}
	if t.HostAddr != "" {
		at = Address{t.HostAddr, to.Port}.String()
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at) // it tries every address of a host
	if a.err = err; err != nil {
		return nil
	}
	deadline, _ := ctx.Deadline()
	a.err = conn.SetDeadline(deadline)
	if a.err == nil && a.Mode.Encrypts() && !t.Direct {
		a.stage = askingForTLS
		a.err = askForTLS(conn)
	}
	if a.err == nil && a.Mode.Encrypts() {
		a.stage = handshaking
		client := tls.Client(conn, t.tlsConfig(to.Host, a))
		a.err = client.HandshakeContext(ctx)
		conn = client
	}
	if a.err != nil {
		conn.Close() // the attempt has failed anyway
		return nil
	}
	a.stage = startingUp
	return conn
}

// tlsConfig verifies as the attempt's mode asks, by VerifyConnection, which runs in every handshake.
// Go's own verification is off: it knows only verify-full, and tells the diagnosis too little.
func (t *Target) tlsConfig(host string, a *Attempt) *tls.Config {
	return &tls.Config{
		ServerName:         host,
		InsecureSkipVerify: true,
		NextProtos:         []string{"postgresql"}, // a server wants it of those who begin with TLS
		VerifyConnection: func(state tls.ConnectionState) error {
			a.ConnectionState = state
			a.PeerCertificates = state.PeerCertificates[:min(len(state.PeerCertificates), longestChain)]
			path, problem := t.verify(a.PeerCertificates, host, a.Mode, time.Now())
			if a.Path = path; path != nil {
				a.Root = find(t.Trust, path[len(path)-1])
			}
			if problem != nil {
				return problem
			}
			return nil
		},
		// Like libpq, send it whatever CAs the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			a.wantsCerts = true
			if t.Cert == nil {
				return &tls.Certificate{}, nil
			}
			pair, err := tls.X509KeyPair(t.Cert, t.Key) // takes an eighth of the signature's time
			return &pair, err
		},
	}
}

// askForTLS reads exactly one byte of the answer ("SSL Session Encryption"): more in plain text, from
// an attacker perhaps, must not pass for a part of the encrypted conversation (CVE-2021-23222).
func askForTLS(conn net.Conn) error {
	request, _ := (&pgproto3.SSLRequest{}).Encode(nil) // never fails
	_, err := conn.Write(request)
	answer := make([]byte, 1)
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	switch {
	case err != nil || answer[0] == 'S':
		return err
	case answer[0] == 'N', answer[0] == 'E': // a very old server answers with an error
		return errNoTLS
	}
	return errNotPostgres
}

// wantsSCRAM is the tunnel's rule for passwords: a server that was not verified may ask only for
// SCRAM, which proves the password without showing it. The gate and verify keep the rule too, for the
// databases that the tunnel would let nobody into.
func (t *Target) wantsSCRAM() bool { return t.Tunnel && !t.Mode.Verifies() }

// allows says whether a server may ask for this.
func (t *Target) allows(request []byte, a *Attempt, deadline time.Time) error {
	method := binary.BigEndian.Uint32(request)
	// A server that has asked for nothing may still ask.
	switch first := a.Asks == "" || a.Asks == methods[pgproto3.AuthTypeOk]; {
	case method == pgproto3.AuthTypeSASLContinue && tooMuchWork(request[4:], deadline):
		return errTooMuch
	case first && t.wantsSCRAM() && method != pgproto3.AuthTypeSASL:
		return &Problem{unproven, "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
			"bind the database with sslmode verify-full and its CA, or let the server ask for scram-sha-256"}
	case first:
		if a.Asks = methods[method]; a.Asks == "" {
			return errNotPostgres
		}
	}
	return nil
}

// blankConfig returns a configuration without outside influence, for an address that nobody looks up.
// Only pgconn.ParseConfig can make it, which reads the process's PG* variables, the files that they
// name, ~/.pgpass and ~/.postgresql. So the variables go, which this program has read before.
var blankConfig = sync.OnceValue(func() *pgconn.Config {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") {
			os.Unsetenv(name)
		}
	}
	config, err := pgconn.ParseConfig("host=127.0.0.1 port=5432 user=nobody password=none sslmode=disable " +
		"sslrootcert='' sslcert='' sslkey='' passfile=''")
	if err != nil {
		panic(err) // it reads this string and nothing else
	}
	return config
})
