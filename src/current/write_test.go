package current

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
)

// At staging, the folder is in /tmp, where anybody may have made it before.
func TestAFolderThatIsAlreadyThereBecomesPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private")
	require.NoError(t, os.Mkdir(dir, 0o755))
	h := &client.Handout{Dir: dir, Files: []client.File{{Path: filepath.Join(dir, "key"), Content: []byte("key"), Mode: 0o600}}}
	require.NoError(t, Write(h))
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "key"): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}
