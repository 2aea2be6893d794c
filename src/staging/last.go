package staging

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
)

// The builder keeps the platform's buildpacks in the first folder, and in the second those that it
// downloads before it runs any. Each buildpack has a folder of its own there. Both are in /tmp
// (buildpackapplifecycle, builder_config.go).
var buildpackFolders = []string{"buildpacks", "buildpackdownloads"}

// ofLast explains the builder's warning about a last buildpack without bin/finalize. The warning comes
// right after our log, and sounds as if nothing would work.
var ofLast = explain.Section{Title: "The platform is about to warn that the last buildpack is not compatible with multi-buildpack apps",
	Lines: []string{"This buildpack works all the same: its launch script is in the app's .profile.d too."}}

// lastCompiles says whether the app's last buildpack has only bin/compile. No variable names the
// app's buildpacks, so we look at their files. The builder accepts one without bin/supply only at
// the end of the chain (runner.go, validateSupplyBuildpacks). So one with neither bin/supply nor
// bin/finalize is the last.
func lastCompiles(buildpackDir string) bool {
	folder := filepath.Dir(buildpackDir)
	if !slices.Contains(buildpackFolders, filepath.Base(folder)) {
		folder = filepath.Dir(folder) // a zip may contain a single folder with everything in it
	}
	if !slices.Contains(buildpackFolders, filepath.Base(folder)) {
		return false // not on the platform
	}
	for _, name := range buildpackFolders {
		// Glob only fails for a malformed pattern.
		found, _ := filepath.Glob(filepath.Join(filepath.Dir(folder), name, "*"))
		for _, dir := range found {
			if inside, err := os.ReadDir(dir); err == nil && len(inside) == 1 && inside[0].Name() != "bin" {
				dir = filepath.Join(dir, inside[0].Name())
			}
			has := func(script string) bool {
				_, err := os.Stat(filepath.Join(dir, "bin", script))
				return err == nil
			}
			if has("compile") && !has("supply") && !has("finalize") {
				return true
			}
		}
	}
	return false
}
