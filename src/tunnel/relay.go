// Package tunnel lets drivers that read no variable connect as the mode asks. They connect to a port
// of 127.0.0.1, and this package to the database, with the TLS and the verification that verify knows.
//
// startup.go is how a client begins. relay.go logs in to the server with the client's own password,
// and then copies. process.go is the process in which this runs beside the app.
//
// It is not enough to pass on what server and client say about the password: SCRAM's channel binding
// would hold for the wrong connection, and a client without TLS signs that it wants none. So the
// tunnel ends the authentication on both sides. It keeps no password, and lets no client in that the
// server has not let in.
package tunnel

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/verify"
)

const (
	maxConnections = 1000
	startupTime    = 60 * time.Second // PostgreSQL's default of authentication_timeout
	dialTime       = 15 * time.Second // for each host to answer, with TLS
	lingerTime     = 5 * time.Second  // for a client to go whose server has gone
	copyBuffer     = 8192             // PostgreSQL's own; larger ones cost memory, and gain nothing
)

// relay is the tunnel without the process.
type relay struct {
	tls           *tls.Config // for the app's side
	log           *journal
	startup, dial time.Duration
	connections   atomic.Int64
	sessions      sync.Map // session → reconnect
}

// session is how a client names its session in a cancel request.
type session struct {
	target *verify.Target
	pid    uint32
	key    string
}

// reconnect connects to where a session is: to the same address of the same host.
type reconnect func(context.Context) (net.Conn, *verify.Problem)

// refusal is why there is no connection, as the client is told.
type refusal struct {
	pgproto3.ErrorResponse
	cause string // a verify.Problem's code; "" where these are the server's own words
}

func (r *refusal) Error() string { return r.Message }

func refuse(sqlstate string, p verify.Problem) *refusal {
	return &refusal{pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: sqlstate,
		Message: p.What, Hint: p.Do}, p.Code}
}

// The SQLSTATEs of the tunnel's own errors (PostgreSQL's manual, "PostgreSQL Error Codes").
const (
	unableToConnect    = "08001" // sqlclient_unable_to_establish_sqlconnection
	connectionFailure  = "08006" // connection_failure: it was there, and broke
	tooManyConnections = "53300"
)

func newRelay(config *tls.Config, log *journal) *relay {
	return &relay{tls: config, log: log, startup: startupTime, dial: dialTime}
}

// listen takes connections for a database until the listener is closed.
func (r *relay) listen(listener net.Listener, target *verify.Target) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			go r.serve(conn.(*net.TCPConn), target)
		case errors.Is(err, net.ErrClosed):
			return
		default: // most likely out of descriptors; connections that end give theirs back
			r.log.say(target.Name, "accept", "cannot take a connection: "+err.Error())
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// serve is one connection of the app. What goes wrong in it, a fault of this program included, ends it
// and no other.
func (r *relay) serve(conn *net.TCPConn, target *verify.Target) {
	defer conn.Close()
	defer r.survive(target)
	count := r.connections.Add(1)
	defer r.connections.Add(-1)
	if count > 2*maxConnections { // between one and two, a client is told, and may still cancel
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.startup)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if conn.SetDeadline(deadline) != nil {
		return
	}
	client, wish, err := greet(conn, r.tls)
	if err != nil {
		if errors.Is(err, errJunk) {
			r.log.say(target.Name, "junk", "dropped a connection that was "+err.Error())
		}
		return
	}
	startup, ok := wish.(*pgproto3.StartupMessage)
	if !ok {
		r.cancel(ctx, target, wish.(*pgproto3.CancelRequest))
		return
	}
	if send(client, negotiate(startup)...) != nil {
		return
	}
	if count > maxConnections {
		r.tell(client, target, refuse(tooManyConnections, verify.Problem{Code: "too-many-connections",
			What: fmt.Sprintf("the tunnel has %d connections, and takes no more", maxConnections),
			Do:   "let the app open fewer, or close them"}))
		return
	}
	server, err := r.logIn(ctx, target, client, startup.Parameters)
	if err != nil {
		r.tell(client, target, err)
		return
	}
	defer server.Conn.Close()
	name := session{target, server.PID, string(server.SecretKey)}
	r.sessions.Store(name, server.again)
	defer r.sessions.Delete(name)
	if server.handOver(client) == nil && client.SetDeadline(time.Time{}) == nil && server.Conn.SetDeadline(time.Time{}) == nil {
		r.copyBoth(client, server.Conn, target)
	}
}

// survive keeps a fault in one connection from ending the others. Nobody knows what the value of a
// panic holds, so it is not shown, unless it is the runtime's own.
func (r *relay) survive(target *verify.Target) {
	if fault := recover(); fault != nil {
		what := fmt.Sprintf("%T", fault)
		if known, ok := fault.(runtime.Error); ok {
			what = known.Error()
		}
		r.log.say(target.Name, "fault", "a fault in the tunnel ended a connection: "+what)
	}
}

// tell tells a client why there is no connection. A server's own words may hold anything: the client
// hears them, and the log only the SQLSTATE.
func (r *relay) tell(client net.Conn, target *verify.Target, err error) {
	why, ok := err.(*refusal)
	switch {
	case !ok: // it has gone
		return
	case why.cause == "":
		r.log.say(target.Name, why.Code, fmt.Sprintf("the server refuses the login, SQLSTATE %.5q", why.Code))
	default:
		r.log.say(target.Name, why.cause, why.Message+"; what to do: "+why.Hint)
	}
	_ = send(client, &why.ErrorResponse) // if it is still there
}

// logIn logs in at the first host that lets it. It does not go on to the next host after an error that
// would be the same there; which these are is pgconn's rule, and libpq's. An error is a *refusal, or
// says that the client did not give its password.
func (r *relay) logIn(ctx context.Context, target *verify.Target, client net.Conn, parameters map[string]string) (*login, error) {
	ask := sync.OnceValues(func() (string, error) { return askPassword(client) })
	var failed *refusal
	for _, host := range target.Addresses() {
		server, err := r.logInAt(ctx, target, host, parameters, ask)
		why, ok := err.(*refusal)
		switch {
		case !ok: // logged in, or no password
			return server, err
		case failed == nil || failed.cause != "" && why.cause == "": // the server's words tell more than ours
			failed = why
		case failed.cause != "" && !strings.Contains(failed.Message, why.Message):
			failed.Message += "; " + why.Message
		}
		if ctx.Err() != nil || why.cause == "" && slices.Contains([]string{"28P01", "3D000", "42501"}, why.Code) {
			break
		}
	}
	return nil, failed
}

// login is a session that the server has let in.
type login struct {
	*pgconn.HijackedConn
	said  []byte // the server's messages for the client, as they came
	again reconnect
}

// logInAt logs in at one host, as the client that sent these parameters. ask gets the client's
// password, if the server wants one. An error is a *refusal, or ask's.
//
// The worst mistake would be to give the client's password to a server that was not verified. Where
// the mode does not verify, a server may only ask for SCRAM, which proves the password and does not
// show it. One that asks for anything else gets no answer.
func (r *relay) logInAt(ctx context.Context, target *verify.Target, host verify.Address, parameters map[string]string, ask func() (string, error)) (*login, error) {
	made := &login{}
	var config *pgconn.Config
	var why error // the login ends, if we know it
	connect := func(ctx context.Context) (net.Conn, error) {
		deadline, _ := ctx.Deadline()
		ctx, cancel := context.WithTimeout(ctx, r.dial)
		defer cancel()
		conn, problem := target.Connect(ctx, host, host.String())
		if problem != nil {
			why = refuse(unableToConnect, *problem)
			return nil, why
		}
		at := conn.RemoteAddr().String() // one of the addresses that the host may have
		made.again = func(ctx context.Context) (net.Conn, *verify.Problem) { return target.Connect(ctx, host, at) }
		return conn, conn.SetDeadline(deadline)
	}
	asked := false
	look := func(kind byte, body []byte) error {
		switch {
		case kind == 'N' || kind == 'S' || kind == 'K': // notice, parameter status, the key for cancel requests
			made.said = binary.BigEndian.AppendUint32(append(made.said, kind), uint32(len(body)+4))
			made.said = append(made.said, body...)
		case kind == 'E':
			refused := &refusal{}
			if refused.Decode(body) == nil {
				why = refused
			}
		case kind == 'R' && !asked && len(body) >= 4:
			asked = true
			switch method := binary.BigEndian.Uint32(body); {
			case method != pgproto3.AuthTypeSASL && !target.Mode.Verifies():
				why = refuse(unableToConnect, verify.Problem{Code: "unverified",
					What: "the server does not ask for scram-sha-256, and sslmode require does not verify who it is",
					Do:   "bind the database with sslmode verify-full and its CA, or let the server ask for scram-sha-256"})
			case method != pgproto3.AuthTypeOk:
				config.Password, why = ask()
			}
			return why
		}
		return nil
	}
	config, err := verify.LoginConfig(ctx, host, connect, look)
	if err != nil {
		return nil, refuse(unableToConnect, verify.Problem{Code: "internal", What: "the tunnel cannot log in", Do: "report this"})
	}
	config.RuntimeParams = maps.Clone(parameters) // with user and database, which pgconn puts there again
	config.User, config.Database, config.Password = parameters["user"], parameters["database"], ""
	if !target.Mode.Verifies() {
		config.RequireAuth = "scram-sha-256" // pgconn's own lock on the same door
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		err = conn.SyncConn(ctx) // no buffer holds anything that the server says next
	}
	if err == nil {
		made.HijackedConn, err = conn.Hijack()
	}
	switch {
	case err == nil:
		return made, nil
	case why != nil:
		return nil, why
	}
	return nil, refuse(connectionFailure, *target.Explain(err, host, config.User, binding.Secret(config.Password)))
}

// handOver tells the client what the server has said: that it is let in, and the rest of the start-up.
func (l *login) handOver(client net.Conn) error {
	greeting, _ := (&pgproto3.AuthenticationOk{}).Encode(nil) // these are never too long
	greeting, _ = (&pgproto3.ReadyForQuery{TxStatus: l.TxStatus}).Encode(append(greeting, l.said...))
	_, err := client.Write(greeting)
	return err
}

// copyBoth copies in both directions until both ends have gone. When one end has said its last, the
// other hears of it, and may finish.
func (r *relay) copyBoth(client, server net.Conn, target *verify.Target) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.survive(target)
		copyOne(server, client)
	}()
	copyOne(client, server)
	if client.SetDeadline(time.Now().Add(lingerTime)) == nil {
		<-done
	}
}

// copyOne copies until from ends, and then ends to's half: a *net.TCPConn's, or a *tls.Conn's.
func copyOne(to, from net.Conn) {
	// Without the wrapping, io.CopyBuffer has the connections do it, with buffers of their own.
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, copyBuffer))
	_ = to.(interface{ CloseWrite() error }).CloseWrite()
}

// cancel passes a cancel request on to where its session is, with the same TLS. It waits until the
// server has done with it, since the client waits for that. A request for no session here is dropped,
// as PostgreSQL does.
func (r *relay) cancel(ctx context.Context, target *verify.Target, request *pgproto3.CancelRequest) {
	again, found := r.sessions.Load(session{target, request.ProcessID, string(request.SecretKey)})
	packet, err := request.Encode(nil)
	if !found || err != nil {
		return
	}
	conn, problem := again.(reconnect)(ctx)
	if problem != nil {
		r.log.say(target.Name, problem.Code, "a cancel request got lost: "+problem.What)
		return
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err == nil {
		_, _ = io.Copy(io.Discard, conn) // the end of it is the answer
	}
}
