package plain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestATextStaysOnItsLineAndReadsInItsDirection(t *testing.T) {
	for _, r := range []rune{
		0, '\t', '\n', '\r', 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9b, 0x9f, // they move the cursor, or end a line
		0x2028, 0x2029, // they end a line elsewhere
		0x061c, 0x200e, 0x200f, 0x202a, 0x202e, 0x2066, 0x2069, // they turn the direction
		0x00ad, 0x200b, 0x200c, 0x200d, 0xfeff, 0xe0001, 0xe0041, 0xe007f, // nobody sees them
	} {
		assert.Equal(t, "a?b", Line("a"+string(r)+"b"), "%#x", r)
	}
	for _, r := range []rune{' ', '~', 0xa0, 'é', 0x2010, 0x2027, 0x202f, 0x2065, '界'} {
		assert.Equal(t, "a"+string(r)+"b", Line("a"+string(r)+"b"), "%#x", r)
	}
	assert.Equal(t, "a?b", Line("a\xffb"), "what is no character")
}

func TestANumberAndItsNounAgree(t *testing.T) {
	assert.Equal(t, "0 CAs, 1 CA, 2 CAs", Count(0, "CA")+", "+Count(1, "CA")+", "+Count(2, "CA"))
	assert.Equal(t, "1,000,000 CAs, 12,345 CAs, 999 CAs", Count(1000000, "CA")+", "+Count(12345, "CA")+", "+Count(999, "CA"))
}

func TestAListSaysHowManyItLeavesOut(t *testing.T) {
	texts := []string{"a", "b", "c"}
	assert.Equal(t, []string{"3 more", "a, 2 more", "a, b, c"}, []string{List(texts, 0), List(texts, 1), List(texts, 3)})
	assert.Equal(t, []string{"a", "b", "c"}, texts)
}

func TestADayIsThatOfUTC(t *testing.T) {
	evening := time.Date(2027, 2, 28, 23, 30, 0, 0, time.FixedZone("west of Greenwich", -3600))
	assert.Equal(t, "2027-03-01", Day(evening))
}
