package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/atomicfile"
)

const (
	scriptName   = "postgres-ssl.sh"
	scriptMarker = "# postgres-ssl-buildpack: the sslmode of the bound database, put in force."
)

// The launcher sources the script in the app's own shell: it has to work in whatever state `set` is, and may leave no variable and
// no function behind. `env` prints all or nothing; whatever else goes wrong with it, the app does not start, also where the program is
// an empty file, which bash takes for a script that succeeds: then `false` is the last word.
//
// The launcher's shell is bash, with no option set (buildpackapplifecycle, launcher and shell). An
// earlier script may have set any: the script has no pipeline, and no assignment that "set -k"
// could take away. It holds in dash too, for whoever sources it by hand. $$ is the shell itself,
// which becomes the app: a tunnel goes with it.
const scriptWork = `eval "false; $("${DEPS_DIR:-../deps}/%[1]s/bin/postgres-ssl" env --launch $$ || echo exit 1)" || exit 1
`

// depsScript goes to deps/IDX/profile.d. A final buildpack built on libbuildpack copies it to the droplet's profile.d, as IDX_NAME.
func depsScript(idx string) string {
	return scriptMarker + "\n" +
		"# Sourced by the platform's launcher; what it exports is decided by the bindings of this moment.\n" +
		fmt.Sprintf(scriptWork, idx)
}

// appScript goes to the app's .profile.d, the only one that is sourced behind a final buildpack without bin/finalize, as all of
// Stratos's are. The launcher sources ../profile.d first: if the other copy is there, and has left its mark, the work is done.
func appScript(idx string) string {
	return scriptMarker + "\n" +
		"# Sourced by the platform's launcher, after ../profile.d. If the copy there has done the work, nothing is left to do.\n" +
		fmt.Sprintf(`case ${SSL_CERT_DIR:-} in
*"/deps/%[1]s/trust/"*) [ -f "${DEPS_DIR:-../deps}/../profile.d/%[1]s_`+scriptName+`" ] ;;
*) false ;;
esac || `+scriptWork, idx)
}

// writeAppScript puts the script into BUILD_DIR/.profile.d, the only thing of ours outside deps/IDX. Its name begins with zeros, so
// that a script of the app that already talks to the database comes after it. A file of the app's own with that name is kept.
func writeAppScript(buildDir, script string) error {
	dir := filepath.Join(buildDir, ".profile.d")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The app may have planted a link that leads out of BUILD_DIR.
	if info, err := os.Lstat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a folder; the launch script cannot be put there: rename it in the app", dir)
	}
	for n := 0; ; n++ {
		name := strings.Repeat("0", 3+n) + "_" + scriptName
		err := replaceOwn(filepath.Join(dir, name), script)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// replaceOwn writes the script if there is nothing at path, or an older script of ours; anything else gives fs.ErrExist.
func replaceOwn(path, script string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fs.ErrExist
	default:
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(old), scriptMarker+"\n") {
			return fs.ErrExist
		}
	}
	return atomicfile.Write(path, []byte(script), 0o755)
}
