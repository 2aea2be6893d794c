package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// How much a server may send in one conversation. It may be hostile: what we read is in memory, and
// SCRAM computes what the server asks for.
const (
	mostBytes      = 10 << 20 // after the login
	mostBefore     = 64 << 10
	longestMessage = 1 << 16
	mostIterations = 1_000_000 // PostgreSQL's scram_iterations is 4096 by default
	longestChain   = 20        // certificates; each may be tried as the issuer of each
)

// authentication is the kind of the messages by which a server asks for the password.
const authentication = 'R'

var errTooMuch = fmt.Errorf("the server sends more than %d KB before the login or %d MB after it, or asks for more iterations of SCRAM "+
	"than %d or than there is time for", mostBefore>>10, mostBytes>>20, mostIterations)

// bounded is the network for pgconn. It reads message by message, up to these limits.
type bounded struct {
	from      io.Reader
	to        io.Writer
	onMessage func(kind byte, body []byte) error // its error ends the reading
	left      int                                // bytes that the server may still send
	loggedIn  bool
	rest      []byte // the unread part of the current message
	err       error
}

// Write sends nothing after an error: PostgreSQL would log a probe's goodbye as a failure. Its own
// errors it leaves to the reader: with TLS 1.3, a server refuses a client certificate only after the
// handshake, and its reason can be read even if writing fails.
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

// next reads a message: its kind in one byte, its length in four, which count too, and the body
// (PostgreSQL's manual, "Messages").
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
		err = b.onMessage(kind, message[header:])
	}
	return message, err
}

// tooMuchWork says whether a SCRAM message ("r=NONCE,s=SALT,i=ITERATIONS"; RFC 5802, 5.1) asks for
// more work than there is time left: pgconn starts at once, and nothing can stop it. We allow a
// microsecond for an iteration. Today's processors take a quarter of that.
func tooMuchWork(message []byte, deadline time.Time) bool {
	_, text, _ := bytes.Cut(message, []byte(",i="))
	iterations, _ := strconv.Atoi(string(text)) // pgconn refuses what is no number
	return iterations > mostIterations || time.Duration(iterations)*time.Microsecond > time.Until(deadline)
}
