package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
)

// FuzzBashGivesBackTheIntendedValues lets a real bash evaluate what env prints, in a strict state,
// in a lax one and in odd ones.
func FuzzBashGivesBackTheIntendedValues(f *testing.F) {
	for _, seed := range []string{
		"", "verify-full", "it's", `"`, "a\nb", "\n\n", "$(touch /tmp/owned)", "`id`", "$HOME", `\`, `\'`, "'; exit 3; '", "!", "*", "~",
		"\x01\x7f", "\xff\xfe", "é", "-n", "a=b", "#", "\r", "\t ", "${IFS}", "$'\\x41'",
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if strings.ContainsRune(one+two, 0) {
			return // an environment cannot hold it
		}
		lines := exportLines([]client.Variable{
			{Name: "PGSSLROOTCERT", Value: one},
			{Name: "PGSSLMODE", Value: "not exported", Kept: true},
			{Name: "SSL_CERT_DIR", Value: two},
		})
		for _, state := range []string{"set -euo pipefail", "set +e; IFS=\"'x\"", "set -k", "set -o posix"} {
			cmd := exec.Command("bash", "-c", state+`; eval "$1" || exit; printf '%s\0%s\0%s' "$PGSSLROOTCERT" "$SSL_CERT_DIR" "${PGSSLMODE-unset}"`, "bash", lines)
			cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
			out, err := cmd.Output()
			require.NoError(t, err)
			assert.Equal(t, one+"\x00"+two+"\x00unset", string(out))
		}
	})
}
