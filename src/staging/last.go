package staging

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/cloudfoundry/libbuildpack"
)

// The folders in which the builder has an app's buildpacks, each in one of its own: those of the
// platform, and those that it downloads before it runs the first (buildpackapplifecycle,
// builder_config.go). They are folders of the same one, /tmp.
var buildpackFolders = []string{"buildpacks", "buildpackdownloads"}

// reportLast explains the builder's warning about a last buildpack without bin/finalize. It follows
// our log, and looks as if nothing here would work.
func reportLast(log *libbuildpack.Logger, buildpackDir string) {
	if lastCompiles(buildpackDir) {
		log.BeginStep("The platform is about to warn that the last buildpack is not compatible with multi-buildpack apps")
		log.Info("This buildpack works all the same: its launch script is in the app's .profile.d too.")
	}
}

// lastCompiles says whether the app's last buildpack has only bin/compile, as far as its files
// show. No variable names the app's buildpacks. But the builder refuses one without bin/supply
// anywhere else in the chain (runner.go, validateSupplyBuildpacks), so one that has neither that
// nor bin/finalize is last.
func lastCompiles(buildpackDir string) bool {
	folder := filepath.Dir(buildpackDir)
	if !slices.Contains(buildpackFolders, filepath.Base(folder)) {
		folder = filepath.Dir(folder) // a zip may have one folder around everything
	}
	if !slices.Contains(buildpackFolders, filepath.Base(folder)) {
		return false // not where the platform would have it
	}
	for _, name := range buildpackFolders {
		found, _ := filepath.Glob(filepath.Join(filepath.Dir(folder), name, "*")) // the pattern is well-formed
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
