// Package tunnel lets drivers that read no variable connect as the mode asks: they connect to a port of 127.0.0.1, and this package
// to the database, with the TLS and the verification that verify knows.
//
// startup.go is how a client begins; relay.go logs in at the server with the client's own password, and then copies; process.go is the
// process in which this runs beside the app.
//
// Passing on what server and client say to each other about the password does not do: SCRAM's channel binding would hold for the
// wrong connection, and a client without TLS signs that it wants none. So the tunnel ends the authentication on both sides. It keeps
// no password, and admits no client that the server has not admitted.
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
	// copyBuffer is the size of PostgreSQL's own. Larger ones were measured: they change nothing but the memory.
	copyBuffer = 8192
)

// relay is the tunnel without the process.
type relay struct {
	tls           *tls.Config // for the app's side
	log           *journal
	startup, dial time.Duration

	connections atomic.Int64
	mutex       sync.Mutex
	sessions    map[session]place // what a cancel request can be for
}

// session is how a client names its session in a cancel request.
type session struct {
	target *verify.Target
	pid    uint32
	key    string
}

// place is where a session is: a host may have several addresses.
type place struct {
	host verify.Address
	at   string
}

// failure is a problem as an error, with its SQLSTATE.
type failure struct {
	code    string
	problem verify.Problem
}

func (f *failure) Error() string { return f.problem.What }

// The SQLSTATEs of the tunnel's own errors (PostgreSQL's manual, "PostgreSQL Error Codes").
const (
	unableToConnect    = "08001" // sqlclient_unable_to_establish_sqlconnection
	connectionFailure  = "08006" // connection_failure: it was there, and broke
	tooManyConnections = "53300"
)

func newRelay(config *tls.Config, log *journal) *relay {
	return &relay{tls: config, log: log, startup: startupTime, dial: dialTime, sessions: map[session]place{}}
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
		default: // out of descriptors, most likely; those that there are come back
			r.log.say("accept", "cannot take a connection: "+err.Error())
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// serve is one connection of the app. What goes wrong in it, a fault of this program included, ends it, and no other.
func (r *relay) serve(conn *net.TCPConn, target *verify.Target) {
	defer conn.Close() // nobody is left to be told how
	defer r.survive(target)
	count := r.connections.Add(1)
	defer r.connections.Add(-1)
	if count > 2*maxConnections { // beyond the limit, there is room to be told of it, and for cancel requests, but not for everybody
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
			r.log.say(target.Name+" junk", target.Name+": dropped a connection that was "+err.Error())
		}
		return
	}
	startup, ok := wish.(*pgproto3.StartupMessage)
	if !ok {
		r.cancel(ctx, target, wish.(*pgproto3.CancelRequest))
		return
	}
	if count > maxConnections {
		r.refuse(client, target, &failure{tooManyConnections, verify.Problem{Code: "too-many-connections",
			What: fmt.Sprintf("the tunnel has %d connections, and takes no more", maxConnections), Do: "let the app open fewer, or close them"}})
		return
	}
	if answer := negotiate(startup); answer != nil {
		if send(client, answer) != nil {
			return
		}
	}
	server, err := r.logIn(ctx, target, client, startup.Parameters)
	if err != nil {
		r.refuse(client, target, err)
		return
	}
	defer server.Conn.Close()
	name := session{target, server.PID, string(server.SecretKey)}
	r.setSession(name, &server.place)
	defer r.setSession(name, nil)
	if handOver(client, server) != nil || client.SetDeadline(time.Time{}) != nil || server.Conn.SetDeadline(time.Time{}) != nil {
		return
	}
	r.copyBoth(client, server.Conn, target)
}

// survive keeps a fault in one connection from ending the others. The value of a panic is not shown, since nobody knows what it holds,
// unless it is the runtime's own.
func (r *relay) survive(target *verify.Target) {
	if fault := recover(); fault != nil {
		what := fmt.Sprintf("%T", fault)
		if known, ok := fault.(runtime.Error); ok {
			what = known.Error()
		}
		r.log.say("fault", target.Name+": a fault in the tunnel ended a connection: "+what)
	}
}

// setSession keeps where a session is, or forgets it.
func (r *relay) setSession(name session, where *place) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if where == nil {
		delete(r.sessions, name)
	} else {
		r.sessions[name] = *where
	}
}

// login is a session that the server has admitted.
type login struct {
	*pgconn.HijackedConn
	place
	notices []pgproto3.BackendMessage // that came on the way
}

// errClientGone says that the client did not give its password, and needs no answer.
var errClientGone = errors.New("the client has gone")

// logIn logs in at the first host that lets it. Which errors end the search is pgconn's rule, and libpq's: the next host would not
// say otherwise.
func (r *relay) logIn(ctx context.Context, target *verify.Target, client net.Conn, parameters map[string]string) (*login, error) {
	var failed error
	ask := sync.OnceValues(func() (string, error) {
		password, err := askPassword(client)
		if err != nil {
			return "", errClientGone
		}
		return password, nil
	})
	for _, host := range target.Addresses() {
		server, err := r.logInAt(ctx, target, host, parameters, ask)
		if err == nil {
			return server, nil
		}
		failed = moreTelling(failed, err)
		var refused *pgconn.PgError
		if ctx.Err() != nil || errors.Is(err, errClientGone) ||
			errors.As(err, &refused) && slices.Contains([]string{"28P01", "3D000", "42501"}, refused.Code) {
			break
		}
	}
	return nil, failed
}

// moreTelling puts the errors of two hosts together. What a server says itself tells more than what kept us from another.
func moreTelling(first, second error) error {
	a, _ := first.(*failure)
	b, _ := second.(*failure)
	switch {
	case first == nil || a != nil && b == nil:
		return second
	case a != nil && b != nil && !strings.Contains(a.problem.What, b.problem.What):
		both := *a
		both.problem.What += "; " + b.problem.What
		return &both
	}
	return first
}

// logInAt logs in at one host, as the client that sent these parameters. ask gets the client's password, if the server wants one.
//
// The worst mistake would be to give the client's password to a server that was not verified. Where the mode does not verify, a server
// may only ask for SCRAM, which proves the password and does not show it. One that asks for anything else gets no answer.
func (r *relay) logInAt(ctx context.Context, target *verify.Target, host verify.Address, parameters map[string]string, ask func() (string, error)) (*login, error) {
	made := &login{place: place{host: host}}
	connect := func(ctx context.Context) (net.Conn, error) {
		deadline, _ := ctx.Deadline()
		ctx, cancel := context.WithTimeout(ctx, r.dial)
		defer cancel()
		conn, problem := target.Connect(ctx, host, host.String())
		if problem != nil {
			return nil, &failure{unableToConnect, *problem}
		}
		made.at = conn.RemoteAddr().String()
		return conn, conn.SetDeadline(deadline)
	}
	var config *pgconn.Config
	asked := false
	look := func(kind byte, body []byte) (err error) {
		if kind != 'R' || len(body) < 4 || asked {
			return nil
		}
		asked = true
		method := binary.BigEndian.Uint32(body)
		if method != pgproto3.AuthTypeSASL && !target.Mode.Verifies() {
			return &failure{unableToConnect, unverified(method)}
		}
		if method != pgproto3.AuthTypeOk {
			config.Password, err = ask()
		}
		return err
	}
	config, err := verify.LoginConfig(ctx, host, connect, look)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams = maps.Clone(parameters) // with user and database, which pgconn puts there again
	config.User, config.Database, config.Password = parameters["user"], parameters["database"], ""
	if !target.Mode.Verifies() {
		config.RequireAuth = "scram-sha-256" // look sees to it before; this is pgconn's own lock on the same door
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		notice := pgproto3.NoticeResponse(*response((*pgconn.PgError)(n)))
		made.notices = append(made.notices, &notice)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		err = conn.SyncConn(ctx) // nothing of what the server says next is in a buffer
	}
	if err == nil {
		made.HijackedConn, err = conn.Hijack()
	}
	var refused *pgconn.PgError
	var known *failure
	switch {
	case err == nil:
		return made, nil
	case errors.Is(err, errClientGone):
		return nil, errClientGone
	case errors.As(err, &refused):
		return nil, refused
	case errors.As(err, &known):
		return nil, known
	}
	return nil, &failure{connectionFailure, *target.Explain(err, host, config.User, binding.Secret(config.Password))}
}

// unverified is the problem with a server that was not verified, and does not ask for SCRAM.
func unverified(method uint32) verify.Problem {
	asks := map[uint32]string{
		pgproto3.AuthTypeOk:                "asks for no password",
		pgproto3.AuthTypeCleartextPassword: "asks for the password in clear",
		pgproto3.AuthTypeMD5Password:       "asks for an MD5 password",
	}[method]
	if asks == "" {
		asks = "asks for something else than a password"
	}
	return verify.Problem{Code: "unverified", What: "the server " + asks + ", and sslmode require does not verify who it is",
		Do: "bind the database with sslmode verify-full and its CA, or let the server ask for scram-sha-256"}
}

// refuse tells the client why there is no connection: in the server's words if it has said something, else in verify's.
func (r *relay) refuse(client net.Conn, target *verify.Target, err error) {
	var refused *pgconn.PgError
	var known *failure
	switch {
	case errors.Is(err, errClientGone):
	case errors.As(err, &refused):
		// Not logged: it is for the client, and may hold anything. The SQLSTATE tells enough.
		r.log.say(target.Name+refused.Code, fmt.Sprintf("%s: the server refuses the login, SQLSTATE %.5q", target.Name, refused.Code))
		_ = send(client, response(refused)) // whoever does not want to hear it has gone
	case errors.As(err, &known):
		r.log.say(target.Name+known.problem.Code, target.Name+": "+known.problem.What+"; what to do: "+known.problem.Do)
		_ = send(client, &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: known.code,
			Message: known.problem.What, Hint: known.problem.Do})
	default:
		r.log.say(target.Name+" internal", fmt.Sprintf("%s: the tunnel cannot log in: %T", target.Name, err))
	}
}

// response is a server's error as it came.
func response(e *pgconn.PgError) *pgproto3.ErrorResponse {
	return &pgproto3.ErrorResponse{
		Severity: e.Severity, SeverityUnlocalized: e.SeverityUnlocalized, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint,
		Position: e.Position, InternalPosition: e.InternalPosition, InternalQuery: e.InternalQuery, Where: e.Where,
		SchemaName: e.SchemaName, TableName: e.TableName, ColumnName: e.ColumnName, DataTypeName: e.DataTypeName,
		ConstraintName: e.ConstraintName, File: e.File, Line: e.Line, Routine: e.Routine,
	}
}

// handOver tells the client what the server has told the tunnel: that it is admitted, and the rest of the start-up.
func handOver(client net.Conn, server *login) error {
	messages := append([]pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}, server.notices...)
	for _, name := range slices.Sorted(maps.Keys(server.ParameterStatuses)) {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: server.ParameterStatuses[name]})
	}
	if len(server.SecretKey) > 0 {
		messages = append(messages, &pgproto3.BackendKeyData{ProcessID: server.PID, SecretKey: server.SecretKey})
	}
	return send(client, append(messages, &pgproto3.ReadyForQuery{TxStatus: server.TxStatus})...)
}

// copyBoth copies in both directions until both ends have gone. When one has said its last, the other hears of it, and may finish.
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

// copyOne copies until from ends, and then ends to's half.
func copyOne(to, from net.Conn) {
	// Without the wrapping, io.CopyBuffer would ask the connections to do it, with buffers of their own.
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, copyBuffer)) // a connection that breaks ends
	if secured, ok := to.(*tls.Conn); ok {
		_ = secured.CloseWrite()
		to = secured.NetConn()
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// cancel passes a cancel request on to where its session is, with the same TLS, and waits until the server has done with it, which is
// what the client waits for. A request for no session here is dropped, as PostgreSQL does.
func (r *relay) cancel(ctx context.Context, target *verify.Target, request *pgproto3.CancelRequest) {
	r.mutex.Lock()
	where, found := r.sessions[session{target, request.ProcessID, string(request.SecretKey)}]
	r.mutex.Unlock()
	packet, err := request.Encode(nil)
	if !found || err != nil {
		return
	}
	conn, problem := target.Connect(ctx, where.host, where.at)
	if problem != nil {
		r.log.say(target.Name+problem.Code, target.Name+": a cancel request got lost: "+problem.What)
		return
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err == nil {
		_, _ = io.Copy(io.Discard, conn) // the end of it is the answer
	}
}
