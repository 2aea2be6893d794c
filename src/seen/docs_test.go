package seen

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the table in docs/apps.md")

const (
	document = "../../docs/apps.md"
	begin    = "<!-- From src/seen/signs.go, by: go test ./src/seen -update -->\n"
	end      = "<!-- end of the table -->\n"
)

// TestTheDocumentShowsTheTable makes sure that docs/apps.md and the staging log know the same
// signs.
func TestTheDocumentShowsTheTable(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "docs/apps.md has no place for the table")
	shown, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	var b strings.Builder
	b.WriteString("| in the app's files | it means |\n| --- | --- |\n")
	for _, r := range rows() {
		fmt.Fprintf(&b, "| %s | %s |\n", r.shape, r.means)
	}
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(before+begin+b.String()+end+after), 0o644))
		return
	}
	assert.Equal(t, b.String(), shown, "run: go test ./src/seen -update")
}
