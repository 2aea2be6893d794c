package sslmode

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModesAreOrderedFromWeakestToStrictest(t *testing.T) {
	var spelled []string
	for i, m := range All() {
		spelled = append(spelled, m.String())
		if i > 0 {
			assert.Less(t, All()[i-1], m)
		}
	}
	assert.Equal(t, []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}, spelled)
	assert.Less(t, None, Disable)
	assert.Empty(t, None.String())
}

func TestWhatAModePromises(t *testing.T) {
	for _, test := range []struct {
		mode               Mode
		encrypts, verifies bool
	}{
		{None, false, false},
		{Disable, false, false},
		{Allow, false, false},
		{Prefer, false, false},
		{Require, true, false},
		{VerifyCA, true, true},
		{VerifyFull, true, true},
	} {
		t.Run("mode "+test.mode.String(), func(t *testing.T) {
			assert.Equal(t, test.encrypts, test.mode.Encrypts(), "encrypts")
			assert.Equal(t, test.verifies, test.mode.Verifies(), "verifies")
		})
	}
}

func TestUpperCaseUnderscoresBlanksAndAMissingHyphenAreAccepted(t *testing.T) {
	for _, spelling := range []string{"verify-ca", "VERIFY-CA", "verify_ca", "Verify_CA", "VerifyCA", " verify-ca\n"} {
		mode, err := Parse(spelling)
		require.NoError(t, err, spelling)
		assert.Equal(t, VerifyCA, mode, spelling)
	}
}

func TestEachModeIsReadAsLibpqSpellsIt(t *testing.T) {
	for _, m := range All() {
		mode, err := Parse(m.String())
		require.NoError(t, err, m)
		assert.Equal(t, m, mode)
	}
}

// An error quotes a typo. A value that differs in more letters may be a password in the wrong field.
func TestATypoOfUpToTwoLettersStillResemblesAMode(t *testing.T) {
	for _, slip := range []string{"verify-full", "requier", "verify-caxx", "verify-fullxx", "VERIFY_FUL"} {
		assert.True(t, Resembles(slip), slip)
	}
	for _, other := range []string{"requxxx", "verify-caxxx", "verify-fullxxx", "s3cr3t", ""} {
		assert.False(t, Resembles(other), other)
	}
}

func TestAnythingElseIsAnErrorThatSuggestsTheNearestMode(t *testing.T) {
	const hidden = "(not shown, it does not look like a mode)"
	for _, test := range []struct{ value, shown, nearest string }{
		{"verify-caa", `"verify-caa"`, "verify-ca"},
		{"verify full", `"verify full"`, "verify-full"},
		{"verifyidentity", hidden, "verify-full"},
		{"required", `"required"`, "require"},
		{"disabled", `"disabled"`, "disable"},
		{"requier", `"requier"`, "require"},
		{"REQUIREZ", `"REQUIREZ"`, "require"},
		{"reqire", `"reqire"`, "require"},
		{"requuire", `"requuire"`, "require"},
		{"verify-fal", `"verify-fal"`, "verify-full"}, // as near to verify-ca: the stricter
		{"true", hidden, "verify-full"},
		{"on", hidden, "verify-full"},
		{"ssl", hidden, "verify-full"},
		{"tls", hidden, "verify-full"},
		{"enable", hidden, "verify-full"},
		{"full", hidden, "verify-full"},
		{"yes", hidden, "verify-full"},
		{"ca", hidden, "verify-full"},
		{"s3cr3t!", hidden, "verify-full"},
		{"requ1r3d!", hidden, "verify-full"},
		{strings.Repeat("verify", 40), hidden, "verify-full"},
		{"a\nb", hidden, "verify-full"},
	} {
		t.Run(test.value, func(t *testing.T) {
			_, err := Parse(test.value)
			require.ErrorContains(t, err, "sslmode "+test.shown+" is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean "+test.nearest+"?")
			if strings.HasPrefix(test.shown, "(") {
				assert.NotContains(t, strings.TrimSuffix(err.Error(), test.nearest+"?"), test.value+" ")
			}
		})
	}
}

func FuzzAnyTextIsAModeOrAnErrorOfOneLine(f *testing.F) {
	for _, seed := range []string{"", "verify-ca", "VERIFY_FULL", "require\n", "\x00", "p@ssw0rd", "ｖｅｒｉｆｙ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		mode, err := Parse(value)
		if err == nil {
			again, err := Parse(mode.String())
			require.NoError(t, err)
			assert.Equal(t, mode, again)
			assert.NotEqual(t, None, mode)
			return
		}
		assert.Equal(t, None, mode)
		assert.NotContains(t, err.Error(), "\n")
	})
}
