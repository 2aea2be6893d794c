// Package faults gives staging and launch a hard time: full and read-only disks, files in the way,
// kills, many launches at once, hostile bindings, very many services. Whatever happens, the app
// gets its whole environment, or it does not start.
//
// The processes are real: bin/supply and bin/finalize of the packaged buildpack, and the bash of
// the launcher.
package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// TestMain runs the tests in a mount namespace of their own, so that they may mount small file
// systems.
func TestMain(m *testing.M) {
	const inside = "FAULTS_INSIDE_NAMESPACE"
	if os.Getenv(inside) == "" {
		unshare, err := exec.LookPath("unshare")
		if err == nil {
			args := []string{unshare, "--mount"}
			if os.Geteuid() != 0 {
				args = append(args, "--user", "--map-root-user")
			}
			err = syscall.Exec(unshare, append(args, os.Args...), append(os.Environ(), inside+"=yes"))
		}
		fmt.Fprintln(os.Stderr, "faults: these tests need unshare, of Debian's package util-linux:", err)
		os.Exit(1)
	}
	status := m.Run()
	if packaged.dir != "" {
		os.RemoveAll(packaged.dir)
	}
	os.Exit(status)
}

// packaged has two buildpacks, unpacked and built once: this one, and one with few certificates.
// With the small one a test can afford to let each single write of a staging fail.
var packaged struct {
	once sync.Once
	dir  string
	err  error
}

func buildpack(t testing.TB) string { return filepath.Join(build(t), "whole") }

func smallBuildpack(t testing.TB) string { return filepath.Join(build(t), "small") }

func build(t testing.TB) string {
	t.Helper()
	packaged.once.Do(func() {
		if packaged.dir, packaged.err = os.MkdirTemp("", "faults-"); packaged.err != nil {
			return
		}
		script := `cd ../.. && mkdir "$1/whole" && cp -R bin ca manifest.yml VERSION "$1/whole" && scripts/build.sh "$1/whole/bin/postgres-ssl" &&
			cp -R "$1/whole" "$1/small" && rm -R "$1/small/ca" && mkdir "$1/small/ca"`
		if out, err := exec.Command("bash", "-c", script, "bash", packaged.dir).CombinedOutput(); err != nil {
			packaged.err = fmt.Errorf("%w\n%s", err, out)
			return
		}
		var aws []byte
		for _, name := range []string{"RSA2048", "RSA4096"} {
			aws = append(aws, pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA "+name+" G1").PEM...)
		}
		packaged.err = errors.Join(os.WriteFile(filepath.Join(packaged.dir, "small/ca/aws.pem"), aws, 0o644),
			os.WriteFile(filepath.Join(packaged.dir, "small/ca/amazon-trust.pem"), pgtest.NewCA(t, "Amazon Root CA 1").PEM, 0o644))
	})
	require.NoError(t, packaged.err)
	return packaged.dir
}

// container is where an app is staged and launched: its folder vcap stands for /home/vcap. On the
// platform, staging has a container of its own. Here that makes no difference.
type container struct {
	buildpack, vcap, cache string
}

func newContainer(t testing.TB, buildpack string) container {
	t.Helper()
	dir := t.TempDir()
	c := container{buildpack, filepath.Join(dir, "home/vcap"), filepath.Join(dir, "cache")}
	require.NoError(t, os.Mkdir(c.cache, 0o755))
	c.clear(t)
	return c
}

// clear makes the folders that the platform makes before a staging.
func (c container) clear(t testing.TB) {
	t.Helper()
	for _, dir := range []string{"app", "deps", "profile.d", "tmp"} {
		require.NoError(t, os.RemoveAll(c.path(dir)))
		require.NoError(t, os.MkdirAll(c.path(dir), 0o755))
	}
	require.NoError(t, os.Mkdir(c.path("deps/0"), 0o755))
}

func (c container) path(parts ...string) string {
	return filepath.Join(append([]string{c.vcap}, parts...)...)
}

// environment is what the platform gives to staging and to an app, and env on top of it. An entry
// of env without "=" removes that variable.
func (c container) environment(env []string) []string {
	all := map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": c.path("app"), "TMPDIR": c.path("tmp"), "DEPS_DIR": c.path("deps"), "LC_ALL": "C.UTF-8",
	}
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok {
			all[name] = value
		} else {
			delete(all, name)
		}
	}
	var list []string
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	return list
}

func (c container) supply(env ...string) *exec.Cmd {
	return c.staging(env, "supply")
}

func (c container) staging(env []string, script string, more ...string) *exec.Cmd {
	args := append([]string{c.path("app"), c.cache, c.path("deps"), "0"}, more...)
	cmd := exec.Command(filepath.Join(c.buildpack, "bin", script), args...)
	cmd.Env = c.environment(env)
	return cmd
}

// stage runs bin/supply and bin/finalize, as if ours were the app's only buildpack, and returns the
// log.
func (c container) stage(env ...string) (string, error) {
	log, err := c.supply(env...).CombinedOutput()
	if err == nil {
		var more []byte
		more, err = c.staging(env, "finalize", c.path("profile.d")).CombinedOutput()
		log = append(log, more...)
	}
	return string(log), err
}

func (c container) mustStage(t testing.TB, env ...string) {
	t.Helper()
	log, err := c.stage(env...)
	require.NoError(t, err, log)
}

// launcherScript is the platform's script. Where that starts the app, this prints the environment.
const launcherScript = `cd "$1"
for script in ../profile.d/* .profile.d/*; do
  if [ -e "$script" ]; then
    source $script
  fi
done
exec /usr/bin/env -0`

// launched is how a launch ended: with an environment, or with a reason in stderr.
type launched struct {
	env    map[string]string // of the app; nil if it did not start
	stderr string
}

func (c container) launch(t testing.TB, env ...string) launched {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("bash", "-c", launcherScript, "launcher", c.path("app"))
	cmd.Env, cmd.Stdout, cmd.Stderr = c.environment(env), &stdout, &stderr
	err := cmd.Run()
	l := launched{stderr: stderr.String()}
	if err != nil {
		assert.Empty(t, stdout.String(), "what started nevertheless")
		return l
	}
	l.env = map[string]string{}
	for _, e := range strings.Split(strings.TrimSuffix(stdout.String(), "\x00"), "\x00") {
		name, value, _ := strings.Cut(e, "=")
		l.env[name] = value
	}
	return l
}

// given returns the variables that a launch may set, with /home/vcap for the container's folder.
func (c container) given(l launched) map[string]string {
	given := map[string]string{}
	for name, value := range l.env {
		if strings.HasPrefix(name, "PG") || slices.Contains([]string{"DB_SSL_MODE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "PATH", "ERL_AFLAGS", "JAVA_TOOL_OPTIONS", "CF_CA_CERTS"}, name) {
			given[name] = strings.ReplaceAll(value, c.vcap, "/home/vcap")
		}
	}
	return given
}

// forget removes what a launch wrote, as if the next one were in a new container.
func (c container) forget(t testing.TB) {
	t.Helper()
	require.NoError(t, os.RemoveAll(c.path(".postgres-ssl")))
	require.NoError(t, os.RemoveAll(c.path(".postgresql")))
}

// tree lists everything below dir by its path, with its mode and what describe says about it.
func tree(t testing.TB, dir string, describe func(path string, info fs.FileInfo) (string, error)) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text, err := describe(path, info)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		found[rel] = info.Mode().String() + " " + text
		return err
	}))
	return found
}

// contents describes a file by the hash of its content, and a link by its target.
func contents(path string, info fs.FileInfo) (string, error) {
	switch {
	case info.Mode().IsRegular():
		content, err := os.ReadFile(path)
		return fmt.Sprintf("%x", sha256.Sum256(content)), err
	case info.Mode()&fs.ModeSymlink != 0:
		return os.Readlink(path)
	}
	return "", nil
}

// stamps describes a file by size and time. So a test sees that it was written again, without
// reading it.
func stamps(path string, info fs.FileInfo) (string, error) {
	if info.IsDir() {
		return "", nil
	}
	return fmt.Sprint(info.Size(), " ", info.ModTime()), nil
}

// droplet lists what goes into the droplet, without what a launch adds.
func (c container) droplet(t testing.TB) map[string]string {
	t.Helper()
	found := tree(t, c.vcap, contents)
	maps.DeleteFunc(found, func(path, _ string) bool {
		top, _, _ := strings.Cut(path, "/")
		return !slices.Contains([]string{"app", "deps", "profile.d"}, top)
	})
	return found
}

// assertNeverHalf checks what a staging that stopped half-way left behind: the app gets the whole
// environment or does not start. If the staging could not even write our first file, nothing of
// ours can stop the app, so it may start. PATH is not compared, because finalize changes it for all
// buildpacks.
func (c container) assertNeverHalf(t testing.TB, whole map[string]string, env ...string) {
	t.Helper()
	l := c.launch(t, env...)
	given := c.given(l)
	given["PATH"] = whole["PATH"]
	if l.env != nil && !maps.Equal(whole, given) {
		var ours []string
		for path, text := range c.droplet(t) {
			if strings.HasPrefix(text, "-") && !strings.HasSuffix(text, emptyHash) {
				ours = append(ours, path)
			}
		}
		require.Empty(t, ours, "the app starts without its environment, in a droplet with these files")
	}
	c.forget(t)
}

var emptyHash = fmt.Sprintf("%x", sha256.Sum256(nil))

// assertNothingUnfinished checks that every file that a launch wrote has the content that its name
// stands for.
func (c container) assertNothingUnfinished(t testing.TB) {
	t.Helper()
	for _, complaint := range c.unfinished() {
		assert.Fail(t, complaint)
	}
}

// unfinished returns a complaint for each file whose content is not what its name stands for. It
// may run while launches write: a file whose name begins with a dot is not complete yet, and no app
// is told about it.
func (c container) unfinished() []string {
	var complaints []string
	dir := c.path(".postgres-ssl")
	entries, _ := os.ReadDir(dir) // if it is missing, no launch has written yet
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		_, hash, _ := strings.Cut(strings.TrimSuffix(name, filepath.Ext(name)), "-")
		var content []byte
		if e.IsDir() { // no app is told about a folder before all its files are there; a file is never half
			whole := true
			_ = filepath.WalkDir(filepath.Join(dir, name), func(path string, file fs.DirEntry, err error) error {
				if err != nil || file.IsDir() || strings.HasPrefix(file.Name(), ".") {
					return nil
				}
				part, _ := os.ReadFile(path)
				whole = whole && (bytes.HasSuffix(part, []byte("-----END CERTIFICATE-----\n")) || file.Name() == "driverconfig.properties")
				content = append(content, part...)
				return nil
			})
			if whole && (len(content) == 0 || strings.HasPrefix(name, "own-")) {
				continue
			}
		} else {
			content, _ = os.ReadFile(filepath.Join(dir, name))
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:16]) != hash {
			complaints = append(complaints, fmt.Sprintf("%s has %d bytes that are not what its name says", name, len(content)))
		}
	}
	return complaints
}

// services writes a VCAP_SERVICES variable of user-provided services.
func services(t testing.TB, list ...map[string]any) string {
	t.Helper()
	document, err := json.Marshal(map[string]any{"user-provided": list})
	require.NoError(t, err)
	return "VCAP_SERVICES=" + string(document)
}

// rdsServices binds a database in a region whose CAs are in the buildpack. The launch then writes
// nothing.
func rdsServices(t testing.TB) string {
	return services(t, map[string]any{"name": "orders", "credentials": map[string]any{
		"uri": "postgres://u:p@db.abc.us-west-2.rds.amazonaws.com/d?sslmode=verify-full"}})
}

// ownServices binds databases that make a launch write everything: CAs from the binding, a client
// certificate and its key, and, because the second is not an RDS endpoint, a file with all CAs.
func ownServices(t testing.TB) string {
	own, client := pgtest.NewCA(t, "Own CA"), pgtest.NewCA(t, "Client CA").Issue(t, []string{"client"})
	credentials := func(host string) map[string]any {
		return map[string]any{"uri": "postgres://u:p@" + host + "/d?sslmode=verify-ca",
			"sslcert": string(client.CertPEM), "sslkey": string(client.KeyPEM)}
	}
	first, second := credentials("first.example.com"), credentials("second.example.com")
	first["sslrootcert"] = string(own.PEM)
	return services(t, map[string]any{"name": "first", "credentials": first}, map[string]any{"name": "second", "credentials": second})
}

// mount mounts a small file system at dir until the test ends. The function that it returns changes
// the options.
func mount(t *testing.T, dir, options string) (remount func(options string)) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, syscall.Mount("none", dir, "tmpfs", 0, options))
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return func(options string) {
		t.Helper()
		flags := uintptr(syscall.MS_REMOUNT)
		if options == "ro" {
			flags, options = flags|syscall.MS_RDONLY, ""
		}
		// The kernel refuses a size below what is in use. A removed program counts until the last
		// process that ran it is gone.
		var err error
		for range 100 {
			if err = syscall.Mount("none", dir, "tmpfs", flags, options); err != syscall.EINVAL {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		require.NoError(t, err)
	}
}

// used returns how many pages, and how many files and folders, the file system of dir has.
func used(t *testing.T, dir string) (pages, files int) {
	t.Helper()
	var s syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &s))
	return int(s.Blocks - s.Bfree), int(s.Files - s.Ffree)
}

// errorLine is the last line of a staging that failed.
func errorLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

func TestEachWriteOfAStagingMayBeTheOneThatFindsTheDiskFull(t *testing.T) {
	t.Parallel()
	pack, binding := smallBuildpack(t), rdsServices(t)
	c := newContainer(t, pack)
	remount := mount(t, c.vcap, "size=64m,nr_inodes=1000")
	require.NoError(t, os.WriteFile(c.path("one page"), []byte("so that there can be none for us: size=0 is no limit"), 0o644))
	c.clear(t)
	noPages, noFiles := used(t, c.vcap)
	c.mustStage(t, binding)
	whole := c.given(c.launch(t, binding))
	c.forget(t)
	reference := c.droplet(t)
	pages, files := used(t, c.vcap)

	failed := map[string]bool{}
	try := func(options string) {
		remount("size=64m,nr_inodes=1000")
		c.clear(t)
		remount(options)
		log, err := c.stage(binding)
		if err == nil {
			assert.Equal(t, reference, c.droplet(t), options)
			return
		}
		line := errorLine(log)
		assert.Regexp(t, `\*\*ERROR\*\*.* .*`+c.vcap+`/[^ ]+: (copy_file_range: )?no space left on device$`, line, options)
		assert.NotContains(t, log, "panic", options)
		if _, path, ok := strings.Cut(line, c.vcap+"/"); ok {
			path, _, _ = strings.Cut(path, ":")
			failed[strings.TrimSuffix(path, ".part")] = true // the program gets its name at the end
		}
		// Now the same disk with room again, for a launch and for a second staging.
		remount("size=64m,nr_inodes=1000")
		c.assertNeverHalf(t, whole, binding)
		c.mustStage(t, binding)
		assert.Equal(t, reference, c.droplet(t), "a second try after "+options)
	}
	for n := noFiles; n <= files; n++ {
		try(fmt.Sprintf("nr_inodes=%d,size=64m", n))
	}
	step := max(1, (pages-60)/8) // big steps through the program, which is most of it
	for n := noPages; n <= pages; n++ {
		try(fmt.Sprintf("size=%d,nr_inodes=1000", n*os.Getpagesize()))
		if n > 30 && n+step < pages-30 {
			n += step - 1
		}
	}

	for path := range reference {
		if strings.HasPrefix(reference[path], "-") {
			assert.Contains(t, slices.Collect(maps.Keys(failed)), path, "the sweep finds the disk full at every file")
		}
	}
}

func TestEachWriteOfALaunchMayBeTheOneThatFindsTheDiskFull(t *testing.T) {
	t.Parallel()
	binding := ownServices(t)
	c := newContainer(t, buildpack(t))
	remount := mount(t, c.vcap, "size=64m,nr_inodes=4000")
	c.clear(t)
	c.mustStage(t, binding)
	require.NoError(t, os.MkdirAll(c.path("app/erts-15/bin"), 0o755))
	require.NoError(t, os.WriteFile(c.path("app/erts-15/bin/erlexec"), nil, 0o755)) // then the launch writes Erlang's file
	require.NoError(t, os.WriteFile(c.path("app/shop.jar"), nil, 0o644))            // and Java's files
	noPages, noFiles := used(t, c.vcap)
	l := c.launch(t, binding)
	whole := c.given(l)
	require.Contains(t, whole, "PGSSLKEY", l.stderr)
	require.Contains(t, whole, "ERL_AFLAGS")
	require.Contains(t, whole, "JAVA_TOOL_OPTIONS")
	pages, files := used(t, c.vcap)

	failed, without := map[string]bool{}, false
	try := func(options string) {
		remount("size=64m,nr_inodes=4000")
		c.forget(t)
		remount(options)
		l := c.launch(t, binding)
		if l.env == nil {
			assert.Regexp(t, `^postgres-ssl: [^\n]*`+c.vcap+`/[^ \n]+: no space left on device\n$`, l.stderr, options)
			_, path, _ := strings.Cut(l.stderr, c.vcap+"/")
			failed[strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == ':' })[0]] = true
		} else {
			assert.Equal(t, whole, c.given(l), options)
			if l.stderr != "" {
				assert.Regexp(t, `^postgres-ssl: continues without this file: [^\n]*/\.postgresql(/root\.crt)?: no space left on device\n$`, l.stderr, options)
				without = true
			}
		}
		c.assertNothingUnfinished(t)
		left, err := filepath.Glob(c.path(".postgres-ssl/.*"))
		assert.NoError(t, err)
		assert.Empty(t, left, options)
		remount("size=64m,nr_inodes=4000")
		assert.Equal(t, whole, c.given(c.launch(t, binding)), "with room again")
	}
	for n := noFiles; n <= files; n++ {
		try(fmt.Sprintf("nr_inodes=%d,size=64m", n))
	}
	for n := noPages; n <= pages; n += 4 {
		try(fmt.Sprintf("size=%d,nr_inodes=4000", n*os.Getpagesize()))
	}
	assert.Equal(t, map[string]bool{".postgres-ssl": true}, failed, "the sweep finds the disk full in the folder that the app needs")
	assert.True(t, without, "and in the one that it can go without")
}

func TestAReadOnlyFolderIsNamed(t *testing.T) {
	t.Parallel()
	pack, binding := smallBuildpack(t), rdsServices(t)
	for _, folder := range []string{"app", "deps", "profile.d"} {
		t.Run(folder, func(t *testing.T) {
			c := newContainer(t, pack)
			remount := mount(t, c.path(folder), "size=16m")
			require.NoError(t, os.MkdirAll(c.path("deps/0"), 0o755))
			remount("ro")
			log, err := c.stage(binding)
			require.Error(t, err)
			assert.Regexp(t, `\*\*ERROR\*\*.* .*`+c.path(folder)+`[^ ]*: read-only file system$`, errorLine(log))
		})
	}
	t.Run("at launch", func(t *testing.T) {
		c := newContainer(t, pack)
		remount := mount(t, c.vcap, "size=64m")
		c.clear(t)
		c.mustStage(t, binding)
		remount("ro")
		l := c.launch(t, binding)
		assert.Equal(t, "verify-full", l.env["PGSSLMODE"], "the droplet has all that it needs")
		assert.Empty(t, l.stderr)
		l = c.launch(t, ownServices(t))
		assert.Nil(t, l.env)
		assert.Regexp(t, `^postgres-ssl: [^\n]*`+c.vcap+`/[^ \n]+: read-only file system\n$`, l.stderr)
	})
	t.Run("at launch, where Java needs a file", func(t *testing.T) {
		c := newContainer(t, pack)
		remount := mount(t, c.vcap, "size=64m")
		c.clear(t)
		c.mustStage(t, binding)
		require.NoError(t, os.WriteFile(c.path("app/shop.jar"), nil, 0o644))
		remount("ro")
		l := c.launch(t, binding)
		assert.Nil(t, l.env)
		assert.Equal(t, "postgres-ssl: mkdir "+c.path(".postgres-ssl")+": read-only file system\n", l.stderr)
	})
	t.Run("the cache, which nothing depends on", func(t *testing.T) {
		c := newContainer(t, pack)
		mount(t, c.cache, "size=4k,nr_inodes=1")("ro")
		c.mustStage(t, binding)
	})
}

func TestAFileInTheWayOfAFolderIsNamedOrLeftAlone(t *testing.T) {
	t.Parallel()
	pack, binding := smallBuildpack(t), ownServices(t)
	file := func(t *testing.T, path string) {
		t.Helper()
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.WriteFile(path, []byte("mine"), 0o644))
	}
	for _, path := range []string{"app", "app/.profile.d", "deps", "profile.d"} {
		t.Run(path, func(t *testing.T) {
			c := newContainer(t, pack)
			file(t, c.path(path))
			log, err := c.stage(binding)
			require.Error(t, err)
			assert.Regexp(t, `\*\*ERROR\*\*.* .*`+c.path(path)+`.*(not a directory|is not a folder)`, errorLine(log))
			content, err := os.ReadFile(c.path(path))
			require.NoError(t, err)
			assert.Equal(t, "mine", string(content))
		})
	}
	c := newContainer(t, pack)
	c.mustStage(t, binding)
	require.NoError(t, os.WriteFile(c.path("app/shop.jar"), nil, 0o644))
	whole := c.launch(t, binding)
	require.NotNil(t, whole.env, whole.stderr)
	require.FileExists(t, c.path(".postgresql/root.crt"), "the control: a JVM gets one")

	t.Run("at launch, the folder of what it writes", func(t *testing.T) {
		c.forget(t)
		file(t, c.path(".postgres-ssl"))
		l := c.launch(t, binding)
		assert.Nil(t, l.env)
		assert.Equal(t, "postgres-ssl: "+c.path(".postgres-ssl")+" is not a folder; remove it\n", l.stderr)
	})
	t.Run("at launch, the folder of pgjdbc, which is the app's to use", func(t *testing.T) {
		c.forget(t)
		file(t, c.path(".postgresql"))
		assert.Equal(t, c.given(whole), c.given(c.launch(t, binding)))
	})
	t.Run("at launch, a folder in the way of a file", func(t *testing.T) {
		c.forget(t)
		require.NoError(t, os.MkdirAll(filepath.Join(whole.env["PGSSLROOTCERT"], "folder"), 0o755))
		l := c.launch(t, binding)
		assert.Nil(t, l.env)
		assert.Contains(t, l.stderr, whole.env["PGSSLROOTCERT"]+": file exists\n")
		left, err := filepath.Glob(c.path(".postgres-ssl/.*"))
		require.NoError(t, err)
		assert.Empty(t, left)
	})
	t.Run("at launch, a file that is not what its name says", func(t *testing.T) {
		c.forget(t)
		require.NoError(t, os.Mkdir(c.path(".postgres-ssl"), 0o700))
		for _, name := range []string{"PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"} {
			file(t, whole.env[name])
		}
		assert.Equal(t, c.given(whole), c.given(c.launch(t, binding)))
		c.assertNothingUnfinished(t)
	})
}

func TestAStagingThatIsKilledLeavesNoDropletThatLaunches(t *testing.T) {
	t.Parallel()
	binding := rdsServices(t)
	c := newContainer(t, buildpack(t))
	start := time.Now()
	c.mustStage(t, binding)
	took := time.Since(start)
	whole, reference := c.given(c.launch(t, binding)), c.droplet(t)
	c.forget(t)

	// Kill at several moments, until enough of the kills came in the middle.
	const moments, middles = 10, 3
	half := 0
	for round := range 20 {
		for moment := range moments {
			c.clear(t)
			cmd := c.supply(binding)
			require.NoError(t, cmd.Start())
			time.Sleep(took * time.Duration(moment*20+round) / time.Duration(moments*20))
			_ = cmd.Process.Kill() // it may have ended already
			_ = cmd.Wait()
			if n := len(tree(t, c.vcap, stamps)); n > 20 && n < len(reference)-10 {
				half++
			}
			c.assertNeverHalf(t, whole, binding)
			if moment%5 == 0 { // run again, in the same folders
				c.mustStage(t, binding)
				assert.Equal(t, reference, c.droplet(t))
			}
		}
		if half >= middles {
			return
		}
	}
	t.Errorf("of %d stagings, %d were killed in the middle, too few to tell", 20*moments, half)
}

func TestALaunchThatIsKilledIsRefusedAndTheNextIsComplete(t *testing.T) {
	t.Parallel()
	binding := ownServices(t)
	c := newContainer(t, buildpack(t))
	c.mustStage(t, binding)
	start := time.Now()
	whole := c.given(c.launch(t, binding))
	took := time.Since(start)

	// Put a script in the place of the program. It runs the program, and kills it after a while.
	program := c.path("deps/0/bin/postgres-ssl")
	require.NoError(t, os.Rename(program, program+"-itself"))
	killer := `#!/bin/bash
"$0-itself" "$@" &
if [[ -n ${AFTER-} ]]; then
  (sleep "$AFTER"; kill -KILL $!) >/dev/null 2>&1 &
fi
wait %1
`
	require.NoError(t, os.WriteFile(program, []byte(killer), 0o755))
	refused := 0
	for moment := range 30 {
		c.forget(t)
		l := c.launch(t, binding, fmt.Sprintf("AFTER=%.4f", took.Seconds()*float64(moment)/30))
		if l.env == nil {
			refused++
		} else {
			assert.Equal(t, whole, c.given(l))
		}
		c.assertNothingUnfinished(t)
		assert.Equal(t, whole, c.given(c.launch(t, binding)), "run again")
	}
	assert.NotZero(t, refused, "none was killed in time to tell")
}

func TestNothingDependsOnTheVariablesOfTheLauncher(t *testing.T) {
	t.Parallel()
	for name, binding := range map[string]string{"RDS": rdsServices(t), "own CA": ownServices(t)} {
		c := newContainer(t, smallBuildpack(t))
		c.mustStage(t, binding)
		whole := c.given(c.launch(t, binding))
		require.NotEmpty(t, whole["PGSSLROOTCERT"])
		// This script is libbuildpack's, and puts /0/bin into PATH if there is no DEPS_DIR.
		require.NoError(t, os.Remove(c.path("profile.d/000_multi-supply.sh")))
		whole["PATH"] = c.given(c.launch(t, binding))["PATH"]
		for _, env := range [][]string{
			{"TMPDIR"}, {"TMPDIR="}, {"TMPDIR=" + c.path("missing")}, {"TMPDIR=relative"}, {"DEPS_DIR"}, {"HOME"}, {"HOME=" + c.path("missing")},
			{"TMPDIR", "DEPS_DIR", "HOME"}, {"LC_ALL"}, {"LC_ALL=C"},
		} {
			c.forget(t)
			l := c.launch(t, append(env, binding)...)
			assert.Equal(t, whole, c.given(l), "%s, %q: %s", name, env, l.stderr)
			c.clear(t)
			log, err := c.stage(append(env, binding)...)
			assert.NoError(t, err, "%s, %q: %s", name, env, log)
			t.Cleanup(func() { _ = os.RemoveAll("/tmp/.postgres-ssl") }) // where a staging without TMPDIR writes
			require.NoError(t, os.Remove(c.path("profile.d/000_multi-supply.sh")))
		}
	}
}
