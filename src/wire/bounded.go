package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
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

var (
	// ErrTooMuch ends a conversation in which the server sends too much.
	ErrTooMuch    = fmt.Errorf("the server sends more than %d KB before the login, or %d MB after it", mostBefore>>10, mostBytes>>20)
	errIterations = fmt.Errorf("the server asks for more than %d iterations of SCRAM", mostIterations)
)

// bounded reads what a server sends, message by message, up to these limits.
type bounded struct {
	from     io.Reader
	deadline time.Time
	left     int // bytes that the server may still send
	loggedIn bool
	rest     []byte // the unread part of the current message
	err      error

	// onMessage, if not nil, sees each message. Its error ends the reading.
	onMessage func(kind byte, body []byte) error
}

func newBounded(from io.Reader, deadline time.Time) *bounded {
	return &bounded{from: from, deadline: deadline, left: mostBefore}
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
	const header = 5
	message := make([]byte, header)
	if _, err := io.ReadFull(b.from, message); err != nil {
		return nil, err
	}
	length := int64(binary.BigEndian.Uint32(message[1:])) - 4
	switch {
	case length < 0 || length > longestMessage:
		return nil, errNotPostgres
	case header+int(length) > b.left:
		return nil, ErrTooMuch
	}
	const readyForQuery = 'Z'
	if b.left -= header + int(length); message[0] == readyForQuery && !b.loggedIn {
		b.loggedIn, b.left = true, mostBytes
	}
	message = append(message, make([]byte, length)...)
	if _, err := io.ReadFull(b.from, message[header:]); err != nil {
		return nil, noEOF(err)
	}
	if err := b.checkWork(message[0], message[header:]); err != nil || b.onMessage == nil {
		return message, err
	}
	return message, b.onMessage(message[0], message[header:])
}

// noEOF turns an EOF in the middle of a message into an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkWork refuses a SCRAM message ("r=NONCE,s=SALT,i=ITERATIONS"; RFC 5802, 5.1) that asks for
// more work than there is time left. pgconn starts the work at once, and nothing can stop it then.
// We allow a microsecond for an iteration. Today's processors take a quarter of that.
func (b *bounded) checkWork(kind byte, body []byte) error {
	const authentication, saslContinue = 'R', 11
	if kind != authentication || len(body) < 4 || binary.BigEndian.Uint32(body) != saslContinue {
		return nil
	}
	_, text, _ := bytes.Cut(body[4:], []byte(",i="))
	iterations, err := strconv.Atoi(string(text))
	switch {
	case err != nil: // pgconn cannot read it either, and will refuse it
		return nil
	case iterations > mostIterations:
		return errIterations
	case time.Duration(iterations)*time.Microsecond > time.Until(b.deadline):
		return context.DeadlineExceeded
	}
	return nil
}
