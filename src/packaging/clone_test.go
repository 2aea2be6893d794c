package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

var testTime = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// What bin/supply of a git clone uses of the stack. The stacks have no go.
var stackTools = []string{"bash", "cat", "curl", "cut", "dirname", "find", "gzip", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "sort", "tar", "xargs"}

// A clone is a git clone of this buildpack, an app's staging folders, and the server that stands in
// for the one that has Go.
type clone struct {
	buildpack, stage, path string
	url                    string
	requests               atomic.Int32
	answer                 http.HandlerFunc
}

// newClone makes a clone that pins the tarball, and a server that has it.
func newClone(t *testing.T, tarball []byte) *clone {
	t.Helper()
	c := &clone{buildpack: checkout(t), stage: t.TempDir(), path: tools(t, stackTools...)}
	c.answer = func(w http.ResponseWriter, _ *http.Request) { w.Write(tarball) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		c.answer(w, r)
	}))
	t.Cleanup(server.Close)
	c.url = strings.Replace(server.URL, "http://", "http://someone:secret@", 1) + "/go.tgz?token=secret"
	c.pin(t, tarball)
	for _, dir := range []string{"app", "cache", "deps/0"} {
		require.NoError(t, os.MkdirAll(filepath.Join(c.stage, dir), 0o755))
	}
	return c
}

// pin writes the SHA-256 of the tarball over the one that the script pins, which nothing else can
// change.
func (c *clone) pin(t *testing.T, tarball []byte) {
	t.Helper()
	script := filepath.Join(c.buildpack, "scripts", "install_go.sh")
	sum := sha256.Sum256(tarball)
	pinned := regexp.MustCompile(`(?m)^GO_SHA256=[0-9a-f]{64}$`)
	text := read(t, script)
	require.Regexp(t, pinned, text)
	write(t, script, pinned.ReplaceAllString(text, "GO_SHA256="+hex.EncodeToString(sum[:])), 0o755)
}

// supply stages the app, and returns what the staging log shows. The modules come from this
// machine's own module cache.
func (c *clone) supply(t *testing.T, env ...string) result {
	t.Helper()
	r := finish(t, c.command(t, env...))
	assert.NotContains(t, r.out+r.err, "secret")
	return r
}

// command is the one that supply runs.
func (c *clone) command(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(filepath.Join(c.buildpack, "bin", "supply"), c.stage+"/app", c.stage+"/cache", c.stage+"/deps", "0")
	command.Dir = c.stage
	command.Env = append([]string{"PATH=" + c.path, "HOME=" + c.stage, "CF_STACK=cflinuxfs4", "POSTGRES_SSL_GO_URL=" + c.url,
		"GOPROXY=file://" + filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")}, env...)
	return command
}

// cached lists what the cache of the buildpack has, without the hashes.
func (c *clone) cached(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.stage, "cache", "postgres-ssl"))
	require.NoError(t, err)
	var kinds []string
	for _, e := range entries {
		kind, _, _ := strings.Cut(e.Name(), "-")
		kinds = append(kinds, kind)
	}
	return strings.Join(kinds, " ")
}

func (c *clone) glob(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.stage, "cache", "postgres-ssl", pattern))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// goTarball packs a Go as the field does, or with a folder around it as go.dev does. It stands in
// for the real one, of some 60 MB: its bin/go is a script that runs this machine's Go, with this
// machine's build cache, which saves half a minute of compiling the standard library.
func goTarball(t *testing.T, folder string) []byte {
	t.Helper()
	return makeTarball(t, map[string]string{folder + "bin/go": goScript(t, "")})
}

// goScript is a go that does something first, and then runs this machine's Go.
func goScript(t *testing.T, first string) string {
	t.Helper()
	return "#!/bin/bash\n" + first + "export GOCACHE='" + goEnv(t, "GOCACHE") + "'\nexec '" + filepath.Join(goEnv(t, "GOROOT"), "bin", "go") + "' \"$@\"\n"
}

func makeTarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for name, content := range files {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err := archive.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return b.Bytes()
}

func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files[strings.TrimPrefix(path, dir)] = read(t, path)
		}
		return err
	}))
	return files
}

func TestCloneIsBuiltOnce(t *testing.T) {
	t.Parallel()
	tarball := goTarball(t, "")
	c := newClone(t, tarball)
	start := time.Now()
	first := c.supply(t)
	require.Equal(t, 0, first.status, first.out+first.err)
	firstTook := time.Since(start)
	assert.Regexp(t, `^-----> This buildpack is a git clone: building postgres-ssl [0-9.]+
       Downloading Go 1\.25\.6 from 127\.0\.0\.1:[0-9]+/go\.tgz
       Compiling with Go 1\.25\.6
       Done in [0-9]+ s; the next staging uses the app's cache
-----> Postgres-Ssl Buildpack version `, first.out)
	assert.Empty(t, first.err)
	assert.EqualValues(t, 1, c.requests.Load())
	assert.Equal(t, "go mod program", c.cached(t))
	droplet := filesBelow(t, c.stage+"/deps")
	require.NoError(t, filepath.WalkDir(c.stage+"/cache", func(path string, entry fs.DirEntry, err error) error {
		if info, _ := entry.Info(); entry.IsDir() && info.Mode()&0o200 == 0 {
			t.Errorf("%s could not be cleared by the platform", path)
		}
		return err
	}))

	// The next staging: no Go that works, no server, no modules. What the program is not built from
	// has changed.
	write(t, filepath.Join(c.buildpack, "tools", "stage", "main.go"), "package main // another\n", 0o644)
	goProgram := filepath.Join(c.glob(t, "go-*"), "bin", "go")
	working := read(t, goProgram)
	require.NoError(t, os.WriteFile(goProgram, []byte("#!/bin/bash\necho compiled >&2; exit 1\n"), 0o755))
	require.NoError(t, os.RemoveAll(c.stage+"/deps/0"))
	start = time.Now()
	second := c.supply(t, "GOPROXY=off")
	t.Logf("first staging %s (standard library compiled before), second %s", firstTook.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	require.Equal(t, 0, second.status, second.out+second.err)
	assert.Equal(t, first.out[strings.Index(first.out, "-----> Postgres-Ssl"):], second.out)
	assert.EqualValues(t, 1, c.requests.Load())
	assert.Equal(t, droplet, filesBelow(t, c.stage+"/deps"), "same input, same droplet")

	// Another commit: compiled anew, with the Go that is there; what the old one was is gone.
	require.NoError(t, os.WriteFile(goProgram, []byte(working), 0o755))
	old := c.glob(t, "program-*")
	write(t, filepath.Join(c.buildpack, "VERSION"), "9.9.9\n", 0o644)
	third := c.supply(t, "GOPROXY=off")
	require.Equal(t, 0, third.status, third.out+third.err)
	assert.Contains(t, third.out, "building postgres-ssl 9.9.9\n       Compiling with Go 1.25.6\n")
	assert.EqualValues(t, 1, c.requests.Load())
	assert.Equal(t, "go mod program", c.cached(t))
	assert.NoFileExists(t, old)

	// Another Go, and bin/finalize, which finds what bin/supply has built.
	other := goTarball(t, "go/")
	c.answer = func(w http.ResponseWriter, _ *http.Request) { w.Write(other) }
	c.pin(t, other)
	oldGo := c.glob(t, "go-*")
	fourth := c.supply(t)
	require.Equal(t, 0, fourth.status, fourth.out+fourth.err)
	assert.EqualValues(t, 2, c.requests.Load())
	assert.Equal(t, "go mod program", c.cached(t))
	assert.NoDirExists(t, oldGo)
	finalize := execute(t, c.stage, []string{"PATH=" + c.path}, filepath.Join(c.buildpack, "bin", "finalize"),
		c.stage+"/app", c.stage+"/cache", c.stage+"/deps", "0", c.stage+"/profile.d")
	assert.Equal(t, result{}, finalize)
	assert.FileExists(t, c.stage+"/profile.d/0_postgres-ssl.sh")
}

func TestGoThatDoesNotComeLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	tarball := goTarball(t, "")
	notGo := makeTarball(t, map[string]string{"go/README": "no go in here"})
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		pinned []byte
		says   string
	}{
		"missing": {http.NotFound, tarball, "could not be downloaded from 127.0.0.1:PORT/go.tgz: curl: (22) The requested URL returned error: 404. Set POSTGRES_SSL_GO_URL to a mirror"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(tarball)))
			w.Write(tarball[:100])
		}, tarball, "could not be downloaded from 127.0.0.1:PORT/go.tgz: curl: (18)"},
		"another file": {func(w http.ResponseWriter, _ *http.Request) { w.Write(notGo) }, tarball, "is not Go 1.25.6: its SHA-256 is "},
		"a page":       {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Sign in</html>") }, tarball, "is not Go 1.25.6: its SHA-256 is "},
		"no tarball":   {func(w http.ResponseWriter, _ *http.Request) { w.Write(tarball[:100]) }, tarball[:100], "could not be unpacked: "},
		"no go in it":  {func(w http.ResponseWriter, _ *http.Request) { w.Write(notGo) }, notGo, "has no bin/go."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClone(t, test.pinned)
			c.answer = test.answer
			r := c.supply(t)
			assert.Equal(t, 1, r.status)
			lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
			require.Len(t, lines, 3, r.out)
			assert.True(t, strings.HasPrefix(lines[2], "       **ERROR** "), r.out)
			assert.Contains(t, regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).ReplaceAllString(lines[2], "127.0.0.1:PORT"), test.says)
			assert.Empty(t, r.err)
			assert.Empty(t, c.cached(t))
			assert.Empty(t, filesBelow(t, c.stage+"/deps"))
		})
	}
}

// A password that is not escaped looks like the host, the path or the query, also to curl.
func TestNothingOfAMirrorsPasswordIsPrinted(t *testing.T) {
	t.Parallel()
	for _, mirror := range []string{
		"http://someone:se?cret@127.0.0.1/go.tgz",
		"http://someone:se#cret@127.0.0.1/go.tgz",
		"http://someone:s@e?cret@127.0.0.1/go.tgz",
		fmt.Sprintf("http://localhost:%d/cret@127.0.0.1/go.tgz", pgtest.Nobody(t)), // nobody is found at such a user's port
	} {
		t.Run(mirror, func(t *testing.T) {
			t.Parallel()
			c := newClone(t, nil)
			r := c.supply(t, "POSTGRES_SSL_GO_URL="+mirror)
			assert.Equal(t, 1, r.status)
			_, said, _ := strings.Cut(r.out, "\n")
			assert.Equal(t, `       Downloading Go 1.25.6 from the mirror in POSTGRES_SSL_GO_URL
       **ERROR** Go 1.25.6 could not be downloaded from the mirror in POSTGRES_SSL_GO_URL: write a /, ?, # or @ in its password as %2F, %3F, %23 or %40. `+
				"Set POSTGRES_SSL_GO_URL to a mirror, or use the packaged buildpack, which needs no Go.\n", said)
		})
	}
	// The controls: as it should be written, it is understood, and the log names the mirror.
	c := newClone(t, goTarball(t, ""))
	c.answer = func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		assert.Equal(t, "someone p/?#@d", user+" "+password)
		http.NotFound(w, r)
	}
	mirror := strings.Replace(c.url, "someone:secret@", "someone:p%2F%3F%23%40d@", 1)
	assert.Regexp(t, `from 127\.0\.0\.1:[0-9]+/go\.tgz: curl: \(22\)`, c.supply(t, "POSTGRES_SSL_GO_URL="+mirror).out)
	assert.EqualValues(t, 1, c.requests.Load())
}

func TestProgramThatDoesNotCompileLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	c := newClone(t, goTarball(t, ""))
	r := c.supply(t, "GOPROXY=off")
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.out, "module lookup disabled by GOPROXY=off", "what go says is not lost")
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	assert.Equal(t, "       **ERROR** postgres-ssl could not be built. Where staging has no network, use the packaged buildpack, which needs neither Go nor a module proxy.",
		lines[len(lines)-1])
	assert.NotContains(t, c.cached(t), "program")
	assert.NotContains(t, c.cached(t), "unfinished")
}

// A staging container often has 1 GB, and its cell many cores. Everything is compiled, the standard
// library too, as at an app's first staging. One compiler a core would take 1.2 GB with 64 cores.
func TestBuildStaysUnder600MBWithManyCores(t *testing.T) {
	t.Parallel()
	realGo := filepath.Join(goEnv(t, "GOROOT"), "bin", "go")
	c := newClone(t, makeTarball(t, map[string]string{"bin/go": "#!/bin/bash\nexec '" + realGo + "' \"$@\"\n"}))
	command := c.command(t, "GOMAXPROCS=64", "GOGC=400") // 64 cores, and an app with wishes of its own
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, command.Start())
	done := make(chan error)
	go func() { done <- command.Wait() }()
	peak := 0
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			t.Logf("peak: %d MB", peak/1e6)
			assert.Less(t, peak, 600_000_000)
			assert.Greater(t, peak, 150_000_000, "the compilers were not seen")
			return
		case <-time.After(50 * time.Millisecond): // looking costs time that the compilers need
			peak = max(peak, residentMemory(t, command.Process.Pid))
		}
	}
}

// residentMemory sums up what the processes of a group have in memory (Linux, proc_pid_stat(5)).
func residentMemory(t *testing.T, group int) int {
	t.Helper()
	processes, err := os.Open("/proc")
	require.NoError(t, err)
	defer processes.Close()
	names, err := processes.Readdirnames(-1)
	require.NoError(t, err)
	pages := 0
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		content, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil { // it has ended
			continue
		}
		// The name, in brackets, may hold anything. Behind it: 0 is the state, 2 the group, 21 the
		// pages.
		fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
		if fields[2] == strconv.Itoa(group) {
			resident, err := strconv.Atoi(fields[21])
			require.NoError(t, err)
			pages += resident
		}
	}
	return pages * os.Getpagesize()
}

// On a developer's machine, Go is on PATH.
func TestGoOnPathIsUsedIfItIsNewEnough(t *testing.T) {
	t.Parallel()
	c := newClone(t, goTarball(t, ""))
	calls := filepath.Join(c.stage, "calls")
	shim := filepath.Join(t.TempDir(), "go")
	write(t, shim, goScript(t, "echo \"$1\" >>"+calls+"\nexport GOMODCACHE='"+goEnv(t, "GOMODCACHE")+"'\n"), 0o755)
	path := "PATH=" + filepath.Dir(shim) + ":" + c.path

	// The app's own variables for its own Go do no harm.
	r := c.supply(t, path, "GOFLAGS=-mod=vendor", "GO111MODULE=off", "GOOS=plan9", "GOEXPERIMENT=unheardof", "GOFIPS140=latest")
	require.Equal(t, 0, r.status, r.out+r.err)
	assert.Contains(t, r.out, "       Compiling with "+goEnv(t, "GOVERSION")+", found on PATH\n")
	assert.Equal(t, "program", c.cached(t))
	assert.Contains(t, read(t, calls), "build\n")
	require.NoError(t, os.Remove(calls))
	r = c.supply(t, path)
	require.Equal(t, 0, r.status, r.out+r.err)
	assert.NotContains(t, read(t, calls), "build\n", "the second staging compiles nothing")
	assert.EqualValues(t, 0, c.requests.Load())

	// A Go that is older than go.mod asks for says so of every go.mod.
	write(t, filepath.Join(c.buildpack, "go.mod"), regexp.MustCompile(`(?m)^go .*$`).ReplaceAllString(read(t, c.buildpack, "go.mod"), "go 1.999.0"), 0o644)
	r = c.supply(t, path)
	assert.EqualValues(t, 1, c.requests.Load(), "its own was fetched")
	assert.Contains(t, r.out, "       Downloading Go ")
}

func TestWrongArgumentsBuildNothing(t *testing.T) {
	c := newClone(t, nil)
	for script, usage := range map[string]string{
		"supply":   "Usage: bin/supply BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX\n",
		"finalize": "Usage: bin/finalize BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX PROFILE_DIR\n",
	} {
		r := execute(t, c.stage, []string{"PATH=" + c.path}, filepath.Join(c.buildpack, "bin", script), c.stage+"/app", c.stage+"/cache", c.stage+"/deps")
		assert.Equal(t, result{2, "", usage}, r)
		assert.NoDirExists(t, c.stage+"/cache/postgres-ssl")
	}
}
