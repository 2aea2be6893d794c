package client

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever adds a language begins with the example of CONTRIBUTING.md.
func TestTheExampleOfALanguageCompiles(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(text), "   ```go\n   // Zig")
	example, _, found := strings.Cut(example, "```")
	require.True(t, found)
	zig, overlay := filepath.Join(t.TempDir(), "zig.go"), filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(zig, []byte("package client\n\n// Zig"+example), 0o600))
	here, err := filepath.Abs("zig.go")
	require.NoError(t, err)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{here: zig}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))
	out, err := exec.Command("go", "build", "-overlay", overlay, ".").CombinedOutput()
	require.NoError(t, err, string(out))
}
