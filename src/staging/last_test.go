package staging

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheWarningAboutTheLastBuildpackIsForeseenFromItsFiles(t *testing.T) {
	for name, test := range map[string]struct {
		ours  string
		files []string
		want  bool
	}{
		"both downloaded":                   {"buildpackdownloads/a", []string{"buildpackdownloads/b/bin/compile", "buildpackdownloads/b/bin/detect"}, true},
		"both of the platform":              {"buildpacks/a", []string{"buildpacks/b/bin/compile"}, true},
		"ours of the platform":              {"buildpacks/a", []string{"buildpackdownloads/b/bin/compile"}, true},
		"the last of the platform":          {"buildpackdownloads/a", []string{"buildpacks/b/bin/compile"}, true},
		"folders around both":               {"buildpackdownloads/a/ours-main", []string{"buildpackdownloads/b/stratos-main/bin/compile"}, true},
		"it can supply: perhaps not last":   {"buildpacks/a", []string{"buildpacks/b/bin/compile", "buildpacks/b/bin/supply"}, false},
		"it can finalize":                   {"buildpacks/a", []string{"buildpacks/b/bin/compile", "buildpacks/b/bin/finalize"}, false},
		"a folder of its own files":         {"buildpacks/a", []string{"buildpacks/b/bin/finalize", "buildpacks/b/old/bin/compile"}, false},
		"ours alone":                        {"buildpacks/a", nil, false},
		"a checkout, not on the platform":   {"one/two/a", []string{"one/b/bin/compile", "buildpacks/c/bin/compile"}, false},
		"the other folder lies elsewhere":   {"one/buildpacks/a", []string{"two/buildpackdownloads/b/bin/compile"}, false},
		"a file where a buildpack would be": {"buildpacks/a", []string{"buildpacks/b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range append(test.files, test.ours+"/bin/supply", test.ours+"/bin/finalize") {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o755))
			}
			assert.Equal(t, test.want, lastCompiles(filepath.Join(dir, test.ours)))
		})
	}
}
