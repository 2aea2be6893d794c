// Package tunnel lets drivers that read no variable connect as the mode asks: they connect to a
// loopback address, and this package to the database, with the TLS and the checks of package wire.
//
// startup.go reads how a client begins, relay.go logs in to the server and copies both ways. start.go
// is what a launch does, process.go the process beside the app, and watch.go looks for connections
// that bypass it.
//
// The tunnel cannot just pass on what server and client say about the password. SCRAM's channel
// binding would be for the wrong connection, and a client without TLS signs that it wants none. So
// the tunnel authenticates on both sides: it asks the client for the password, and logs in to the
// server itself. It keeps no password, and lets no client in before the server has let it in.
package tunnel

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

const (
	mostConnections = 1000             // to one database
	startupTime     = 60 * time.Second // PostgreSQL's default of authentication_timeout
	dialTime        = 15 * time.Second // with TLS; after a failover, the host has another address soon
	mostLogins      = 128              // at once, to all databases; each keeps 64 KB of its server at most
	tooMany         = "too-many-connections"
)

type relay struct {
	target        *wire.Target
	tls           *tls.Config // for the app's side
	log           *journal
	startup, dial time.Duration
	most          int64         // connections
	logins        chan struct{} // has room for one for each login at the same time
	connections   atomic.Int64
	sessions      sync.Map // cancel request → the address of its server, as the host may have several
}

// refusal is what we tell a client that gets no connection, and the log.
type refusal struct {
	pgproto3.ErrorResponse
	cause, line string
}

func (r *refusal) Error() string { return r.Message }

// refuse says what is wrong, with a SQLSTATE of PostgreSQL's manual, "PostgreSQL Error Codes". A libpq
// that has several hosts goes on to the next one after 57P03 alone (fe-connect.c, PQconnectPoll).
func refuse(p wire.Problem) *refusal {
	code := "08006" // connection_failure: the connection broke
	switch {
	case p.Code == tooMany:
		code = "53300" // too_many_connections
	case p.NotThere():
		code = "57P03" // cannot_connect_now
	case p.Insecure():
		code = "08001" // sqlclient_unable_to_establish_sqlconnection
	}
	return &refusal{pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code,
		Message: p.What, Hint: p.Do}, p.Code, p.What + "; what to do: " + p.Do}
}

func newRelay(target *wire.Target, config *tls.Config, log *journal) *relay {
	return &relay{target: target, tls: config, log: log, startup: startupTime, dial: dialTime,
		most: mostConnections, logins: make(chan struct{}, mostLogins)}
}

func (r *relay) listen(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			go r.serve(conn.(*net.TCPConn))
		case errors.Is(err, net.ErrClosed):
			return
		default: // most likely out of descriptors, until other connections end
			r.log.say(r.target.Name, "accept", "cannot take a connection: "+err.Error())
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// serve handles one connection of the app. If anything goes wrong, even a panic, it ends this
// connection and no other.
func (r *relay) serve(conn *net.TCPConn) {
	defer conn.Close()
	defer r.recovered()
	count := r.connections.Add(1)
	defer r.connections.Add(-1)
	if count > 2*r.most { // below that, a client may still cancel, or hear why not
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
			r.log.say(r.target.Name, "junk", "dropped a connection that was "+err.Error())
		}
		return
	}
	if request, ok := wish.(*pgproto3.CancelRequest); ok {
		r.cancel(ctx, request)
		return
	}
	startup := wish.(*pgproto3.StartupMessage)
	if answer := negotiate(startup); answer != nil && send(client, answer) != nil {
		return
	}
	if count > r.most {
		r.tell(client, refuse(wire.Problem{Code: tooMany, Do: "let the app open fewer, or close them",
			What: fmt.Sprintf("the tunnel has %d connections, and takes no more", r.most)}))
		return
	}
	var server *pgconn.HijackedConn
	var greeting []byte
	done := make(chan struct{})
	go func() { // its stack is several times a session's, and is free afterwards
		defer close(done)
		defer r.recovered()
		server, greeting, err = r.logIn(ctx, client, startup.Parameters)
	}()
	if <-done; server == nil || err != nil {
		r.tell(client, err)
		return
	}
	defer server.Conn.Close()
	request, _ := (&pgproto3.CancelRequest{ProcessID: server.PID, SecretKey: server.SecretKey}).Encode(nil)
	r.sessions.Store(string(request), server.Conn.RemoteAddr().String())
	defer r.sessions.Delete(string(request))
	_, err = client.Write(greeting)
	greeting = nil
	if err == nil && client.SetDeadline(time.Time{}) == nil && server.Conn.SetDeadline(time.Time{}) == nil {
		r.copyBoth(client, server.Conn)
	}
}

// recovered keeps a panic in one connection from ending the others. Its value may contain anything, so
// only its type is shown.
func (r *relay) recovered() {
	if fault := recover(); fault != nil {
		r.log.say(r.target.Name, "fault", fmt.Sprintf("a fault in the tunnel ended a connection: %T", fault))
	}
}

func (r *relay) tell(client net.Conn, err error) {
	if why, ok := err.(*refusal); ok { // or the client has left
		r.log.say(r.target.Name, why.cause, why.line)
		_ = client.SetDeadline(time.Now().Add(time.Second)) // the time for a start may be over
		_ = send(client, &why.ErrorResponse)                // the client may have left
	}
}

// logIn logs in when it is its turn, and asks the client for the password that the server wants.
// greeting is for the client: that the login worked, and what the server says besides, unchanged. The
// error is a *refusal, or the client's end.
func (r *relay) logIn(ctx context.Context, client net.Conn, parameters map[string]string) (server *pgconn.HijackedConn, greeting []byte, err error) {
	select {
	case r.logins <- struct{}{}:
		defer func() { <-r.logins }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	greeting, _ = (&pgproto3.AuthenticationOk{}).Encode(nil) // it is never too long
	as := *r.target
	as.User, as.Database = parameters["user"], parameters["database"]
	var why error // why the login fails, if wire does not know
	asked := false
	conn, attempt := as.LogIn(ctx, wire.Login{Parameters: parameters, Dial: r.dial, OnMessage: func(kind byte, body []byte) error {
		switch {
		case kind == 'N' || kind == 'S' || kind == 'K': // notice, parameter status, cancel key
			greeting = binary.BigEndian.AppendUint32(append(greeting, kind), uint32(len(body)+4))
			greeting = append(greeting, body...)
		case kind == 'E':
			refused := &refusal{}
			if refused.Decode(body) == nil {
				// The server's words go to the client alone: they may contain anything, even the password.
				refused.cause, why = as.SQLState(refused.Code), refused
				refused.line = "the server refuses the login" + refused.cause
			}
		case kind == 'R' && !asked:
			asked = true
			if binary.BigEndian.Uint32(body) != pgproto3.AuthTypeOk {
				as.Password, why = askPassword(client)
			}
			return why
		}
		return nil
	}})
	if why == nil && attempt.Problem != nil {
		why = refuse(*attempt.Problem)
	}
	if why != nil {
		return nil, nil, why
	}
	if server, err = conn.Hijack(); err == nil {
		greeting, err = (&pgproto3.ReadyForQuery{TxStatus: server.TxStatus}).Encode(greeting)
	}
	return server, greeting, err
}

// copyBoth copies until both sides have closed. One that stops sending may still receive.
func (r *relay) copyBoth(client, server net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.recovered()
		copyOne(server, client)
	}()
	copyOne(client, server)
	// The server's too: it may be stuck in an answer that nobody takes any more, and so not read.
	soon := time.Now().Add(5 * time.Second)
	if client.SetDeadline(soon) == nil && server.SetDeadline(soon) == nil {
		<-done
	}
}

// copyOne copies until from ends. Then it closes to for writing, with TLS the connection below too:
// a busy server looks for the end of TCP (client_connection_check_interval).
func copyOne(to, from net.Conn) {
	// The two structs hide ReadFrom and WriteTo: with these, io.CopyBuffer ignores our buffer. It is as
	// in PostgreSQL; a larger one costs memory and gains nothing.
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 8192))
	type half interface{ CloseWrite() error }
	_ = to.(half).CloseWrite()
	if secure, ok := to.(*tls.Conn); ok {
		_ = secure.NetConn().(half).CloseWrite()
	}
}

// cancel passes a cancel request on to the server of its session, and waits until that is done, as
// the client does. It drops one for an unknown session, as PostgreSQL does.
func (r *relay) cancel(ctx context.Context, request *pgproto3.CancelRequest) {
	packet, _ := request.Encode(nil) // a key that is too long is nobody's
	at, found := r.sessions.Load(string(packet))
	if !found {
		return
	}
	conn, problem := r.target.Connect(ctx, r.target.Address, at.(string))
	if problem != nil {
		r.log.say(r.target.Name, problem.Code, "a cancel request got lost: "+problem.What)
		return
	}
	defer conn.Close()
	_, _ = conn.Write(packet)
	_, _ = io.Copy(io.Discard, conn) // the server closes when it is done, or is gone already
}
