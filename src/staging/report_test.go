package staging

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestALogStaysOnItsLineAndReadsInItsDirection(t *testing.T) {
	for _, r := range []rune{
		0, '\t', '\n', '\r', 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9b, 0x9f, // they move the cursor, or end a line
		0x2028, 0x2029, // they end a line elsewhere
		0x200e, 0x200f, 0x202a, 0x202e, 0x2066, 0x2069, // they turn the direction
	} {
		assert.Equal(t, "a?b", Printable("a"+string(r)+"b"), "%#x", r)
	}
	for _, r := range []rune{' ', '~', 0xa0, 'é', 0x200d, 0x2010, 0x2027, 0x202f, 0x2065, 0x206a, '界'} {
		assert.Equal(t, "a"+string(r)+"b", Printable("a"+string(r)+"b"), "%#x", r)
	}
	assert.Equal(t, "a?b", Printable("a\xffb"), "what is no character")
}
