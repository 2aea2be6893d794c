package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// On a slow machine the work ends the connection by itself, so what a server sees does not show whether
// it was begun.
func TestWorkThatDoesNotFitIntoTheTimeIsNotBegun(t *testing.T) {
	isTooMuch := func(iterations int, left time.Duration) bool {
		return tooMuchWork(fmt.Appendf(nil, "r=nonce,s=salt,i=%d", iterations), time.Now().Add(left))
	}
	assert.False(t, isTooMuch(mostIterations, time.Hour))
	assert.True(t, isTooMuch(mostIterations, 100*time.Millisecond))
	assert.True(t, isTooMuch(1, -time.Second))
	assert.True(t, isTooMuch(mostIterations+1, time.Hour))
}

func TestEachMessageIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		kind     byte
		length   int
		loggedIn bool
		left     int
		err      error
	}{
		"without a body":             {'S', 0, false, mostBefore, nil},
		"the longest":                {'D', longestMessage, true, mostBytes, nil},
		"one byte longer":            {'D', longestMessage + 1, true, mostBytes, errNotPostgres},
		"all that is left":           {'S', 10, false, 15, nil},
		"one byte more":              {'S', 10, false, 14, errTooMuch},
		"rows before the login":      {'D', 10, false, mostBefore, errNotPostgres},
		"a request without a kind":   {authentication, 3, false, mostBefore, errNotPostgres},
		"a request and nothing else": {authentication, 4, false, mostBefore, nil},
	} {
		t.Run(name, func(t *testing.T) {
			seen := 0
			b := &bounded{loggedIn: test.loggedIn, left: test.left, onMessage: func(byte, []byte) error { seen++; return nil }}
			b.from = bytes.NewReader(append(binary.BigEndian.AppendUint32([]byte{test.kind}, uint32(test.length+4)), make([]byte, test.length)...))
			text, err := io.ReadAll(io.LimitReader(b, int64(5+test.length)))
			assert.ErrorIs(t, err, test.err)
			assert.Equal(t, test.err == nil, len(text) == 5+test.length)
			assert.Equal(t, test.err == nil, seen == 1)
		})
	}
}

// The end of the login lifts the limit, and only once.
func TestAServerMaySendMoreOnceTheLoginIsOver(t *testing.T) {
	const parameter, ready = "S\x00\x00\x00\x04", "Z\x00\x00\x00\x05I"
	b := &bounded{left: mostBefore, onMessage: func(byte, []byte) error { return nil }}
	for _, step := range []struct {
		message  string
		loggedIn bool
		left     int
	}{{parameter, false, mostBefore - 5}, {ready, true, mostBytes}, {parameter, true, mostBytes - 5}, {ready, true, mostBytes - 11}} {
		b.from = bytes.NewReader([]byte(step.message))
		_, err := io.ReadFull(b, make([]byte, len(step.message)))
		assert.NoError(t, err)
		assert.Equal(t, step.loggedIn, b.loggedIn)
		assert.Equal(t, step.left, b.left)
	}
}
