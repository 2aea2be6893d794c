package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// How much a server may send in one conversation, before and after the login. The server may be
// hostile. We keep what we read in memory, and SCRAM computes what the server asks for.
const (
	mostBytes      = 10 << 20
	mostBefore     = 64 << 10 // the login
	longestMessage = 1 << 16
	mostIterations = 1_000_000 // PostgreSQL's scram_iterations is 4096 by default
	longestChain   = 20        // certificates; each may be tried as the issuer of each
)

// authentication is the kind of message in which a server asks for the password.
const authentication = 'R'

var errTooMuch = fmt.Errorf("the server sends more than %d KB before the login or %d MB after it, or asks for more iterations of SCRAM "+
	"than %d or than there is time for", mostBefore>>10, mostBytes>>20, mostIterations)

// bounded is the network for pgconn. It reads what a server sends, message by message, up to these
// limits.
type bounded struct {
	from      io.Reader
	to        io.Writer
	deadline  time.Time
	onMessage func(kind byte, body []byte) error // sees each message; its error ends the reading
	left      int                                // bytes that the server may still send
	loggedIn  bool
	rest      []byte // the unread part of the current message
	err       error
}

// Write sends nothing after an error: to a probe's goodbye, PostgreSQL would log a failure. An
// error of its own it leaves to the reader: with TLS 1.3, a server refuses a client certificate
// only after the handshake, and its reason can be read even if writing fails.
func (b *bounded) Write(p []byte) (int, error) {
	if b.err == nil {
		_, _ = b.to.Write(p)
	}
	return len(p), nil
}

// Read returns a part of one message. After an error, there are no more messages.
func (b *bounded) Read(p []byte) (int, error) {
	if len(b.rest) == 0 && b.err == nil {
		b.rest, b.err = b.next()
	}
	if b.err != nil {
		return 0, b.err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next reads a message: one byte for its kind, four bytes for the length, and the body. The length
// includes its own four bytes (PostgreSQL's manual, "Messages").
func (b *bounded) next() ([]byte, error) {
	const header, readyForQuery, untilThen = 5, 'Z', "RSKENvZ"
	message := make([]byte, header)
	if _, err := io.ReadFull(b.from, message); err != nil {
		return nil, err
	}
	kind, length := message[0], int64(binary.BigEndian.Uint32(message[1:]))-4
	switch {
	case length < 0 || length > longestMessage, kind == authentication && length < 4,
		!b.loggedIn && strings.IndexByte(untilThen, kind) < 0:
		return nil, errNotPostgres
	case header+int(length) > b.left:
		return nil, errTooMuch
	}
	if b.left -= header + int(length); kind == readyForQuery && !b.loggedIn {
		b.loggedIn, b.left = true, mostBytes
	}
	message = append(message, make([]byte, length)...)
	_, err := io.ReadFull(b.from, message[header:])
	if err == nil {
		err = b.checkWork(kind, message[header:])
	}
	if err == nil {
		err = b.onMessage(kind, message[header:])
	}
	return message, err
}

// checkWork refuses a SCRAM message ("r=NONCE,s=SALT,i=ITERATIONS"; RFC 5802, 5.1) that asks for
// more work than there is time left. pgconn starts the work at once, and nothing can stop it then.
// We allow a microsecond for an iteration. Today's processors take a quarter of that.
func (b *bounded) checkWork(kind byte, body []byte) error {
	if kind != authentication || binary.BigEndian.Uint32(body) != pgproto3.AuthTypeSASLContinue {
		return nil
	}
	_, text, _ := bytes.Cut(body[4:], []byte(",i="))
	iterations, err := strconv.Atoi(string(text))
	if err != nil { // pgconn cannot read it either, and will refuse it
		return nil
	}
	if iterations > mostIterations || time.Duration(iterations)*time.Microsecond > time.Until(b.deadline) {
		return errTooMuch
	}
	return nil
}
