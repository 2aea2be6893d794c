package staging

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/atomicfile"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
)

const (
	scriptName   = "postgres-ssl.sh"
	scriptMarker = "# postgres-ssl-buildpack: the sslmode of the bound database, put in force."
)

// The launcher sources the script in the app's own shell. So it has to work under any `set` option,
// and must not leave a variable or a function behind. `env` prints everything or nothing. If
// anything goes wrong, the app does not start. The `false` covers a program that is an empty file:
// bash would run it as a script that succeeds.
//
// The launcher's shell is bash, with no option set (buildpackapplifecycle, launcher and shell). But
// an earlier script may set any, so ours has no pipeline, and exports in a way that "set -k" takes
// nothing away from. Under "set -x" and "set -v" the shell prints what it evaluates, passwords and
// all: they are off meanwhile. It works in dash too, if sourced by hand. $$ is the shell, which
// becomes the app: a tunnel ends with it. Go ends at once with a GOMEMLIMIT that it cannot read.
//
// It finds the program by its own place, since a helper for `cf ssh` may source it from any folder.
// dash does not tell that place. Where the program is missing, only an interactive shell goes on:
// a launch has none.
const scriptWork = `postgres_ssl=${BASH_SOURCE:-}
for postgres_ssl in %[2]s "${DEPS_DIR:-../deps}"; do
	if [ -x "$postgres_ssl/%[1]s/bin/postgres-ssl" ]; then break; fi
done
if [ ! -x "$postgres_ssl/%[1]s/bin/postgres-ssl" ]; then
	case $- in *i*)
		echo "postgres-ssl: the program is not here, so no sslmode is in force in this shell" >&2
		unset postgres_ssl
		return 1
		;;
	esac
fi
postgres_ssl_set=$-
set +xv
eval "false; $(unset -v GOMEMLIMIT; "$postgres_ssl/%[1]s/bin/postgres-ssl" env --launch $$ || echo exit 1)" || exit 1
case $postgres_ssl_set in *v*) set -v ;; esac
case $postgres_ssl_set in *x*) set -x ;; esac
unset postgres_ssl postgres_ssl_set
`

// depsScript goes to deps/IDX/profile.d. A finalize on libbuildpack copies it to profile.d/IDX_NAME.
func depsScript(idx string) string {
	return scriptMarker + "\n" +
		"# The platform's launcher sources this file. The current bindings decide what it exports.\n" +
		fmt.Sprintf(scriptWork, idx, `"${postgres_ssl%/*}/../deps" "${postgres_ssl%/*}/../../../deps"`)
}

// appScript goes to the app's .profile.d. The launcher sources only this one if the final buildpack
// has no bin/finalize, as all of Stratos's, or collects no launch scripts, as java-buildpack 4. The
// other copy runs before the scripts of the buildpacks behind us, which find our variables then;
// php-buildpack's start script sources it once more.
func appScript(idx string) string {
	return scriptMarker + "\n" +
		"# The platform's launcher sources this file after ../profile.d. If the copy there has done the\n" +
		"# work, there is nothing left to do.\n" +
		fmt.Sprintf(`case ":${PATH:-}:" in
*"/deps/%[1]s/bin`+client.PathMark+`:"*) [ -f "${DEPS_DIR:-../deps}/../profile.d/%[1]s_`+scriptName+`" ] ;;
*) false ;;
esac || {
`+scriptWork+"}\n", idx, `"${postgres_ssl%/*}/../../deps"`)
}

// writeAppScript puts the script into BUILD_DIR/.profile.d, our only file outside deps/IDX. Its name
// begins with zeros, so that it runs before the app's scripts, which may use the database. If the
// app has a file with that name, we keep it and choose another.
func writeAppScript(buildDir, script string) error {
	dir := filepath.Join(buildDir, ".profile.d")
	made := os.Mkdir(dir, 0o755)
	if info, err := os.Lstat(dir); err != nil {
		return cmp.Or(made, err)
	} else if !info.IsDir() { // the app may have planted a link that leads out of BUILD_DIR
		return fmt.Errorf("%s is not a folder; the launch script cannot be put there: rename it in the app", dir)
	}
	for n := 0; ; n++ {
		path := filepath.Join(dir, strings.Repeat("0", 3+n)+"_"+scriptName)
		info, err := os.Lstat(path)
		isFree := errors.Is(err, fs.ErrNotExist)
		if err == nil && info.Mode().IsRegular() { // an older script of ours is replaced
			var old []byte
			old, err = os.ReadFile(path)
			isFree = strings.HasPrefix(string(old), scriptMarker+"\n")
		}
		if isFree {
			return atomicfile.Write(path, []byte(script), 0o755)
		} else if err != nil {
			return err
		}
	}
}
