package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

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

// Attempt is the result of a probe or a login. Answer is empty if the server gave none.
type Attempt struct {
	Mode sslmode.Mode
	Answer
	Peer

	stage stage // how far it got
	err   error // what stopped it there; nil if the server gave any answer to the startup message
}

// Dialed says whether the server, or something else, took the connection.
func (a Attempt) Dialed() bool { return a.stage > dialing }

// Unverified returns the problem of a server's certificate that was refused, or nil.
func (a Attempt) Unverified() *Problem { return certificateProblem(a.err) }

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

// Answer is the server's first answer.
type Answer struct {
	Asks    string // what it asks for, such as "a SCRAM password", or ""
	Admits  bool   // it asks for nothing
	Refusal *Refusal
	PID     uint32 // the session's, if the server admits
}

const scram = "a SCRAM password"

// Refusal is a server's error: the parts that we look at.
type Refusal struct{ SQLState, Message string }

// The errors of a probe that are not the network's.
var (
	errNoTLS       = errors.New("the server does not speak TLS")
	errNotPostgres = errors.New("not an answer of PostgreSQL")
)

// dial connects for probes and logins. Go's dialer tries every address of a host.
var dial = (&net.Dialer{}).DialContext

// Probe finds out what a mode would do. ctx has a deadline.
func (t *Target) Probe(ctx context.Context, to Address, mode sslmode.Mode) Attempt {
	a := Attempt{Mode: mode}
	conn := t.open(ctx, to, to.String(), &a)
	if conn == nil {
		return a
	}
	defer conn.Close() // its error does not matter: we have the answer
	deadline, _ := ctx.Deadline()
	a.Answer, a.err = startUp(conn, deadline, t.User, t.Database)
	if a.err == nil && a.Refusal == nil && mode == t.LoginMode() {
		a.err = t.distrust(a.Asks == scram)
	}
	return a
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
			chain := state.PeerCertificates[:min(len(state.PeerCertificates), longestChain)]
			seen.Chain, seen.Version, seen.Cipher, seen.Group = chain, state.Version, state.CipherSuite, state.CurveID
			verifier := t.verifier()
			path, problem := verifier.verify(chain, host, mode, now)
			if seen.Path = path; path != nil {
				root := verifier.anchor(path[len(path)-1])
				seen.Root = &root
			}
			if problem != nil {
				return &certificateError{problem}
			}
			return nil
		},
		// Like libpq, send it whatever CAs the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			seen.wantsCerts = true
			if t.Client == nil {
				return &tls.Certificate{}, nil
			}
			return t.Client, nil
		},
	}
}

// askForTLS sends an SSLRequest, and reads exactly one byte. The server, or an attacker in between,
// may send more in plain text. That must not pass for a part of the encrypted conversation
// (CVE-2021-23222).
func askForTLS(conn net.Conn) error {
	request := binary.BigEndian.AppendUint32(nil, 8)
	request = binary.BigEndian.AppendUint32(request, 80877103)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N', 'E': // a very old server answers with an error
		return errNoTLS
	}
	return errNotPostgres
}

// startUp sends the startup message and returns the answer. Whatever the server asks for, it sends
// nothing else, except a goodbye if the server admits it.
func startUp(conn net.Conn, deadline time.Time, user, database string) (Answer, error) {
	server := pgproto3.NewFrontend(newBounded(conn, deadline), conn)
	parameters := map[string]string{"user": user, "application_name": ApplicationName}
	if database != "" {
		parameters["database"] = database
	}
	server.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: parameters})
	// With TLS 1.3, a server refuses a client certificate only now. We can read its reason even if
	// writing fails.
	writeErr := server.Flush()
	var a Answer
	for {
		message, err := server.Receive()
		var network net.Error
		switch {
		case err == nil:
		case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF):
			if writeErr != nil && errors.Is(err, io.ErrUnexpectedEOF) {
				err = writeErr
			}
			return a, err
		case errors.Is(err, ErrTooMuch):
			return a, err
		default:
			return a, errNotPostgres
		}
		switch message := message.(type) {
		case *pgproto3.AuthenticationOk:
			a.Admits = true
		case *pgproto3.AuthenticationCleartextPassword:
			a.Asks = "the password in clear"
			return a, nil
		case *pgproto3.AuthenticationMD5Password:
			a.Asks = "an MD5 password"
			return a, nil
		case *pgproto3.AuthenticationSASL:
			a.Asks = scram
			return a, nil
		case *pgproto3.AuthenticationGSS:
			a.Asks = "Kerberos"
			return a, nil
		case *pgproto3.ErrorResponse:
			a.Refusal = &Refusal{message.Code, message.Message}
			return a, nil
		case *pgproto3.BackendKeyData:
			a.PID = message.ProcessID
		case *pgproto3.ReadyForQuery:
			server.Send(&pgproto3.Terminate{})
			_ = server.Flush() // a courtesy
			return a, nil
		case *pgproto3.ParameterStatus, *pgproto3.NoticeResponse, *pgproto3.NegotiateProtocolVersion:
		default:
			return a, errNotPostgres
		}
	}
}
