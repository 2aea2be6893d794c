package verify

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

// What a server may send in one conversation, before the login and after it. Whoever answers may be
// hostile: what is read is held in memory, and what SCRAM is asked to compute is computed.
const (
	mostBytes      = 10 << 20
	longestMessage = 1 << 16 // of all that a server has to say here
	mostSessions   = 10_000
	mostIterations = 1_000_000 // PostgreSQL's scram_iterations is 4096, unless somebody raised it
	longestChain   = 20        // certificates; each may have to be tried as the issuer of each
)

var (
	errTooMuch     = fmt.Errorf("the server sends more than %d MB", mostBytes>>20)
	errTooManyRows = fmt.Errorf("the user has more than %d sessions", mostSessions)
	errIterations  = fmt.Errorf("the server asks for more than %d iterations of SCRAM", mostIterations)
)

// bounded reads what a server sends, a message at a time, up to these limits.
type bounded struct {
	from     io.Reader
	deadline time.Time
	left     int    // bytes that the server may still send
	rest     []byte // of the message that is being read
	err      error
	look     func(kind byte, body []byte) error // may be nil; it sees each message, and its error ends the reading
}

func newBounded(from io.Reader, deadline time.Time) *bounded {
	return &bounded{from: from, deadline: deadline, left: mostBytes}
}

// Read returns a part of one message. After an error there is no other message.
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

// next reads a message: a byte for the kind, the length of what follows in four bytes, these included,
// and the body (PostgreSQL's manual, "Messages").
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
		return nil, errTooMuch
	}
	b.left -= header + int(length)
	message = append(message, make([]byte, length)...)
	if _, err := io.ReadFull(b.from, message[header:]); err != nil {
		return nil, noEOF(err)
	}
	if err := b.checkWork(message[0], message[header:]); err != nil || b.look == nil {
		return message, err
	}
	return message, b.look(message[0], message[header:])
}

// noEOF is for an end in the middle of a message.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkWork refuses a first message of SCRAM ("r=NONCE,s=SALT,i=ITERATIONS"; RFC 5802, 5.1) that asks
// for more work than there is time left. pgconn starts on it at once, and nothing stops it then. An
// iteration is allowed a microsecond; a processor of today takes a quarter of that.
func (b *bounded) checkWork(kind byte, body []byte) error {
	const authentication, saslContinue = 'R', 11
	if kind != authentication || len(body) < 4 || binary.BigEndian.Uint32(body) != saslContinue {
		return nil
	}
	_, text, _ := bytes.Cut(body[4:], []byte(",i="))
	iterations, err := strconv.Atoi(string(text))
	switch {
	case err != nil: // pgconn reads it the same way, and will refuse it
		return nil
	case iterations > mostIterations:
		return errIterations
	case time.Duration(iterations)*time.Microsecond > time.Until(b.deadline):
		return context.DeadlineExceeded
	}
	return nil
}
