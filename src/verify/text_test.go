package verify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOkIsGreenAndFailureIsRed(t *testing.T) {
	report := Report{Databases: []Database{{Name: "good", OK: true}, {Name: "bad"}}}
	var plain, coloured strings.Builder
	require.NoError(t, report.Write(&plain, false))
	require.NoError(t, report.Write(&coloured, true))
	assert.Contains(t, plain.String(), "good: ok\n")
	assert.Contains(t, plain.String(), "bad: FAILED\n")
	assert.Contains(t, coloured.String(), "good: \x1b[32mok\x1b[0m\n")
	assert.Contains(t, coloured.String(), "bad: \x1b[31mFAILED\x1b[0m\n")
	decoloured := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(coloured.String())
	assert.Equal(t, plain.String(), decoloured, "the words are the same")
}
