package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFileIsReplacedWithItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"one", "two"} {
		require.NoError(t, Write(path, []byte(content), 0o600))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, content, string(data))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestWhatFailsNamesThePathAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	assert.EqualError(t, Write(filepath.Join(dir, "none", "file"), nil, 0o600), filepath.Join(dir, "none", "file")+": no such file or directory")

	occupied := filepath.Join(dir, "folder")
	require.NoError(t, os.MkdirAll(filepath.Join(occupied, "full"), 0o755))
	assert.Error(t, Write(occupied, []byte("x"), 0o600))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file is left")
}
