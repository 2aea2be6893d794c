package drivers

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the table in docs/drivers.md")

const (
	document = "../../docs/drivers.md"
	begin    = "<!-- From src/drivers/table.go, by: go test ./src/drivers -update -->\n"
	end      = "<!-- end of the table -->\n"

	measuredOn = "2026-11-23" // the day of all measurements
)

// TestTheDocumentShowsTheTable makes sure that docs/drivers.md and the staging log say the same.
func TestTheDocumentShowsTheTable(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "docs/drivers.md has no place for the table")
	shown, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(before+begin+markdown()+end+after), 0o644))
		return
	}
	assert.Equal(t, markdown(), shown, "run: go test ./src/drivers -update")
}

func markdown() string {
	var b strings.Builder
	b.WriteString("| driver | found as | told the mode, it | measured | what its own code needs | tried |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- |\n")
	code := func(text string) string { return "`" + text + "`" }
	for _, d := range Table {
		name, does := d.Name, d.Answer.String()
		if d.Below != "" {
			name += " below " + d.Below
		}
		if d.Does != "" {
			does += ": it " + d.Does
		}
		measured := "only its source was read"
		if d.Outcomes != "" {
			measured = fmt.Sprintf("%s, %s: %s", d.Version, measuredOn, strings.Join(strings.Split(d.Outcomes, ""), " "))
		}
		if d.Clients != nil {
			measured += ", and in each test"
		}
		mend, tried := "", ""
		if d.Mend != "" {
			mend, tried = d.Mend, "not here"
			if d.Tried != "" {
				tried = d.Tried + ", " + measuredOn + ": T x x x"
			}
		}
		fmt.Fprintf(&b, "| %s | %s: %s | %s | %s | %s | %s |\n", name, d.Ecosystem, code(strings.Join(d.Packages, "`, `")), does, measured, mend, tried)
	}
	return b.String()
}
