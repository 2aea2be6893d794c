package integration

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// patience is how long a program may take before it counts as hung, even where a busy machine compiles
// it.
const patience = 5 * time.Minute

// programs are the buildpack's and that of scripts/stage.sh. No test changes them, so the first that
// needs them builds them for all.
var programs struct {
	sync.Once
	postgresSSL, stage []byte
}

// build builds the programs in a copy of the sources. copyTree reads each of them, so that go test
// knows that the result depends on them.
func build(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"VERSION", "go.mod", "go.sum", "src", "scripts", "tools/stage"} {
		copyTree(t, filepath.Join("../..", name), filepath.Join(dir, name))
	}
	mustRun(t, filepath.Join(dir, "scripts/build.sh"), filepath.Join(dir, "postgres-ssl"))
	mustRun(t, "go", "build", "-C", dir, "-o", "stage", "./tools/stage")
	var err error
	programs.postgresSSL, err = os.ReadFile(filepath.Join(dir, "postgres-ssl"))
	require.NoError(t, err)
	programs.stage, err = os.ReadFile(filepath.Join(dir, "stage"))
	require.NoError(t, err)
}

// buildpack copies this buildpack to a folder of its own, with the given CAs in place of those of
// the partition aws, with its program and that of scripts/stage.sh. It returns the folder.
func buildpack(t *testing.T, rds ...*pgtest.CA) string {
	t.Helper()
	dir := t.TempDir()
	// The packaged files, and the stand-ins for final buildpacks. One of them is compiled where it
	// is, with libbuildpack.
	for _, name := range []string{"VERSION", "manifest.yml", "bin", "ca", "go.mod", "go.sum", "fixtures/buildpacks"} {
		copyTree(t, filepath.Join("../..", name), filepath.Join(dir, name))
	}
	programs.Do(func() { build(t) })
	require.NotEmpty(t, programs.stage, "the test that ran first says why")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "postgres-ssl"), programs.postgresSSL, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "stage"), programs.stage, 0o755))
	var bundle []byte
	for _, ca := range rds {
		bundle = append(bundle, ca.PEM...)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca", "aws.pem"), bundle, 0o644))
	return dir
}

// copyTree copies a file or a folder.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	require.NoError(t, err)
	if info.IsDir() {
		require.NoError(t, os.CopyFS(to, os.DirFS(from)))
		return
	}
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, info.Mode()))
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
}

// credentials of a service binding.
type credentials map[string]any

// vcapServices returns a VCAP_SERVICES with user-provided services of these names.
func vcapServices(t *testing.T, services map[string]credentials) string {
	t.Helper()
	type service struct {
		Name        string      `json:"name"`
		Tags        []string    `json:"tags"`
		Credentials credentials `json:"credentials"`
	}
	var list []service
	for name, c := range services {
		list = append(list, service{name, []string{}, c})
	}
	document, err := json.Marshal(map[string][]service{"user-provided": list})
	require.NoError(t, err)
	return string(document)
}

// container is a running app that scripts/stage.sh's program staged and launched. It has a mount
// namespace of its own. There, as on the platform, the droplet is /home/vcap, the user's home
// folder.
type container struct {
	pid int
	env []string               // what the app sees
	end func() (string, error) // ends the app, waits until its outputs have ended, and returns the log
}

// enterContainer runs in bash in the new namespace. $1 is a folder: the files in $1/files replace
// the machine's own. The other arguments are the command line. The other folders in /home stay,
// because this repository may be in one of them; a user vcap's own does not.
const enterContainer = `
set -eu
files=$1/files homes=$1/homes
shift
mkdir "$homes"
mount --rbind /home "$homes"
mount -t tmpfs none /home
for home in "$homes"/*/; do
  if [ -d "$home" ] && [ "$home" != "$homes/vcap/" ]; then
    mkdir "/home/$(basename "$home")"
    mount --rbind "$home" "/home/$(basename "$home")"
  fi
done
if [ -e "$files/etc/ssl/certs" ]; then # these files are beside the machine's
  cp -an /etc/ssl/certs/. "$files/etc/ssl/certs"
  mount --bind "$files/etc/ssl/certs" /etc/ssl/certs
fi
(cd "$files" && find . -path ./etc/ssl/certs -prune -o -type f -print) | while read -r file; do
  mount --bind "$files/$file" "/$file"
done
exec "$@"
`

// keepUp is the app's start command. It writes the app's environment to a file, and lasts until its
// standard input ends.
const keepUp = `ln -s "$(dirname "$HOME")" /home/vcap && env -0 >%s && echo up && exec cat`

// A machine may have a user vcap: the droplet takes the place of his folder, and nothing gets into
// it. The control is another user's folder, which stays.
func TestTheMachinesOwnHomeOfVcapIsHidden(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "outer/files/etc/hostname", "outer\n")
	write(t, dir, "inner/files/etc/hostname", "inner\n")
	const machine = `mkdir /home/vcap /home/someone; touch /home/vcap/own /home/someone/own; script=$1; shift; bash -c "$script" "$@"`
	const look = `ln -s /droplet /home/vcap; readlink /home/vcap; ls /home/someone; ls "$0/homes/vcap"`
	inner := filepath.Join(dir, "inner")
	args := append(unshare(), "bash", "-c", enterContainer, "container", filepath.Join(dir, "outer"),
		"bash", "-euc", machine, "machine", enterContainer, "container", inner, "bash", "-euc", look, inner)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "/droplet\nown\nown\n", string(out))
}

// launch stages the app with a final buildpack, launches it with the services bound and the owner's
// variables, and keeps it up until the test ends. files are the container's own files by path.
func launch(t *testing.T, buildpack, app, final, services string, files map[string]string, variables ...string) *container {
	t.Helper()
	c, err := tryLaunch(t, buildpack, app, final, services, files, variables...)
	require.NoError(t, err, "the app does not start")
	t.Cleanup(func() {
		_, err := c.end()
		assert.NoError(t, err, "the end of the app")
	})
	return c
}

// tryLaunch is launch for an app that may not start. Its error has the log. Without services, the
// variables say what is bound.
func tryLaunch(t *testing.T, buildpack, app, final, services string, files map[string]string, variables ...string) (*container, error) {
	t.Helper()
	dir := t.TempDir()
	passwd, err := os.ReadFile("/etc/passwd")
	require.NoError(t, err)
	// The first entry for a user's ID counts, so the home folder is the platform's.
	write(t, dir, "files/etc/passwd", "vcap:x:0:0::/home/vcap:/bin/bash\n"+string(passwd))
	for path, content := range files {
		write(t, dir, "files"+path, content)
	}

	environment := filepath.Join(dir, "env")
	args := append(unshare(), "bash", "-c", enterContainer, "container", dir, filepath.Join(buildpack, "stage"), buildpack, "--final", final)
	if services != "" {
		write(t, dir, "services.json", services)
		args = append(args, "--services", filepath.Join(dir, "services.json"))
	}
	args = append(args, app, "--", fmt.Sprintf(keepUp, environment))
	cmd := exec.Command(args[0], args[1:]...)
	var logged strings.Builder
	cmd.Env, cmd.Stderr = append(append(machineEnv(), "TMPDIR="+dir), variables...), &logged
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	end := sync.OnceValues(func() (string, error) {
		defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
		err := errors.Join(stdin.Close(), cmd.Wait())
		return logged.String(), err
	})
	hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	up, _ := bufio.NewReader(stdout).ReadString('\n') // an error gives another text than "up"
	hung.Stop()
	if up != "up\n" {
		said, err := end()
		return nil, fmt.Errorf("%w\n%s", cmp.Or(err, errors.New("it ended at once")), said)
	}
	env, err := os.ReadFile(environment)
	require.NoError(t, err)
	return &container{pid: cmd.Process.Pid, env: strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00"), end: end}, nil
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// unshare and nsenter create and enter a mount namespace. A user who is not root becomes root in a
// user namespace.
func unshare() []string {
	if os.Geteuid() == 0 {
		return []string{"unshare", "--mount"}
	}
	return []string{"unshare", "--mount", "--map-root-user"}
}

func nsenter(pid int) []string {
	args := []string{"nsenter", "--target", strconv.Itoa(pid), "--mount"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--preserve-credentials")
	}
	return args
}

// machineEnv returns the test's environment without variables for databases or TLS, which a
// developer may have set.
func machineEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name != "PATH" && name != "HOME" && name != "CGO_ENABLED" && !strings.HasPrefix(name, "GO")
	})
}

// run runs a command line in the app's folder, with the app's variables and more. It returns the
// output.
func (c *container) run(t *testing.T, command string, variables ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := append(nsenter(c.pid), "bash", "-c", `cd "$HOME" && `+command)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(slices.Clone(c.env), variables...)
	cmd.WaitDelay = time.Minute // a tunnel lets go of its output within 0.1 s on an idle machine
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// variable returns the value of one of the app's variables.
func (c *container) variable(name string) string {
	for _, variable := range c.env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// hosts returns an /etc/hosts with the databases on this machine.
func hosts(names ...string) map[string]string {
	return map[string]string{"/etc/hosts": "127.0.0.1 localhost " + strings.Join(names, " ") + "\n"}
}
