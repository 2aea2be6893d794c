// Package packaging tries the ways in which the buildpack reaches a platform: as a zip, as a git clone, as a release.
package packaging

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudfoundry/libbuildpack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checkout copies what a commit of this tree would hold, as a git clone has it.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "postgres-ssl-buildpack")
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) { // deleted, and not committed yet
			continue
		}
		require.NoError(t, err)
		info, err := os.Stat(filepath.Join(root, name))
		require.NoError(t, err)
		write(t, filepath.Join(dir, name), string(content), info.Mode())
	}
	return dir
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), mode))
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elements...))
	require.NoError(t, err)
	return string(content)
}

type result struct {
	status   int
	out, err string
}

// execute runs a command line in dir; env nil is the environment of the test.
func execute(t *testing.T, dir string, env []string, args ...string) result {
	t.Helper()
	command := exec.Command(args[0], args[1:]...)
	command.Dir, command.Env = dir, env
	return finish(t, command)
}

// finish runs a command to its end.
func finish(t *testing.T, command *exec.Cmd) result {
	t.Helper()
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	if err := command.Run(); err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return result{command.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// tools makes a folder for PATH that has the named commands and nothing else: no go.
func tools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	return dir
}

// pack runs scripts/package.sh in a checkout and returns the zip's path and its files' contents.
func pack(t *testing.T, tree string, flags ...string) (string, map[string]string) {
	t.Helper()
	return packWith(t, tree, nil, append([]string{filepath.Join(tree, "scripts", "package.sh")}, flags...)...)
}

// packWith is pack with an environment, and the whole command line.
func packWith(t *testing.T, tree string, env []string, args ...string) (string, map[string]string) {
	t.Helper()
	r := execute(t, t.TempDir(), env, args...)
	require.Equal(t, 0, r.status, r.err+r.out)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	name, _, _ := strings.Cut(strings.TrimPrefix(lines[len(lines)-1], "-----> "), ":")
	sum := sha256.Sum256([]byte(read(t, filepath.Join(tree, name))))
	assert.Regexp(t, `bytes, SHA-256 `+hex.EncodeToString(sum[:])+`, go1\.[0-9.]+, (no git clone|[0-9a-f]{7,}(-changed)?)$`, lines[len(lines)-1])
	archive, err := zip.OpenReader(filepath.Join(tree, name))
	require.NoError(t, err)
	defer archive.Close()
	files := map[string]string{}
	for _, f := range archive.File {
		content, err := f.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(content)
		require.NoError(t, err)
		files[f.Name] = string(data)
		assert.Regexp(t, fmt.Sprintf(`(?m)^ *%d .*%s$`, len(data), regexp.QuoteMeta(f.Name)), r.out, "the size of each file is printed")
	}
	t.Logf("%s: %s", name, lines[len(lines)-1])
	return filepath.Join(tree, name), files
}

func sums(files map[string]string) []string {
	var list []string
	for name, content := range files {
		sum := sha256.Sum256([]byte(content))
		list = append(list, name+" "+hex.EncodeToString(sum[:]))
	}
	slices.Sort(list)
	return list
}

func unzip(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	r := execute(t, dir, nil, "unzip", "-q", path)
	require.Equal(t, 0, r.status, r.err)
	return dir
}

const onboard = "ca/amazon-trust.pem ca/aws-cn.pem ca/aws-us-gov.pem ca/aws.pem"

// commit makes the checkout a repository with one commit of that time.
func commit(t *testing.T, tree, date string) {
	t.Helper()
	r := execute(t, tree, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE="+date), "bash", "-ec",
		"git init -q && git add -A && git -c user.name=n -c user.email=e commit -qm all")
	require.Equal(t, 0, r.status, r.err)
}

func TestZip(t *testing.T) {
	t.Parallel()
	first, second := checkout(t), checkout(t)
	commit(t, first, "2026-11-22T12:34:56Z")
	path, files := pack(t, first)
	assert.Equal(t, "postgres-ssl_buildpack-v"+strings.TrimSpace(read(t, first, "VERSION"))+".zip", filepath.Base(path))
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	assert.Equal(t, "CHANGELOG.md LICENSE README.md VERSION bin/detect bin/finalize bin/postgres-ssl bin/release bin/run.sh bin/supply "+onboard+
		" manifest.yml", strings.Join(names, " "))
	stated := regexp.MustCompile(`about ([0-9.]+) MB`).FindStringSubmatch(read(t, "../../docs/admin-buildpack.md"))
	require.NotNil(t, stated)
	size, err := strconv.ParseFloat(stated[1], 64)
	require.NoError(t, err)
	assert.InDelta(t, size, float64(len(read(t, path)))/1e6, 0.2, "docs/admin-buildpack.md states the zip's size")
	assert.NotContains(t, files["bin/postgres-ssl"], first, "a path of the machine")
	assert.NoFileExists(t, filepath.Join(first, "bin", "postgres-ssl"), "packaging leaves the checkout as it was")

	// Built again: from another folder, with what an earlier build and a person may have left there, and whatever go's variables say.
	write(t, filepath.Join(second, "bin", "postgres-ssl"), "stale", 0o755)
	write(t, filepath.Join(second, "old.zip"), "stale", 0o644)
	env := append(os.Environ(), "GOFLAGS=-tags=other", "GOAMD64=v3", "TZ=Pacific/Auckland")
	commit(t, second, "2026-11-22T12:34:56Z")
	for name := range files { // written at another time, with another umask
		if name != "bin/postgres-ssl" {
			file := filepath.Join(second, name)
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(file, info.Mode()|0o060))
			require.NoError(t, os.Chtimes(file, testTime, testTime))
		}
	}
	cachedPath, cached := packWith(t, second, env, "bash", "-c", `umask 002; exec "$0"/scripts/package.sh --cached --any-stack`, second)
	assert.Equal(t, strings.Replace(filepath.Base(path), "buildpack", "buildpack-cached", 1), filepath.Base(cachedPath))
	assert.Equal(t, sums(files), sums(cached), "two builds of one commit")
	assert.True(t, read(t, path) == read(t, cachedPath), "two zips of one commit are the same, byte for byte")
	archive, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer archive.Close()
	for _, file := range archive.File {
		assert.Equal(t, "2026-11-22T12:34:56Z", file.Modified.UTC().Format(time.RFC3339), file.Name)
		assert.Equal(t, strings.HasPrefix(file.Name, "bin/"), file.Mode() == 0o755, "%s has mode %s", file.Name, file.Mode())
	}
	assert.Equal(t, "stale", read(t, second, "bin", "postgres-ssl"))

	t.Run("stages without Go and without network", func(t *testing.T) {
		buildpack := unzip(t, path)
		stage := t.TempDir()
		for _, dir := range []string{"app", "cache", "deps/0"} {
			require.NoError(t, os.MkdirAll(filepath.Join(stage, dir), 0o755))
		}
		command := []string{filepath.Join(buildpack, "bin", "supply"), stage + "/app", stage + "/cache", stage + "/deps", "0"}
		if exec.Command("unshare", "--net", "--map-root-user", "true").Run() == nil {
			unshare, err := exec.LookPath("unshare")
			require.NoError(t, err)
			command = append([]string{unshare, "--net", "--map-root-user"}, command...)
		}
		r := execute(t, stage, []string{"PATH=" + tools(t, "bash", "dirname"), "CF_STACK=cflinuxfs4"}, command...)
		require.Equal(t, 0, r.status, r.out+r.err)
		assert.True(t, strings.HasPrefix(r.out, "-----> Postgres-Ssl Buildpack version "), r.out)
		cache, err := filepath.Glob(stage + "/cache/*")
		require.NoError(t, err)
		assert.Equal(t, []string{stage + "/cache/BUILDPACK_METADATA"}, cache)

		var raw int
		require.NoError(t, filepath.Walk(stage, func(path string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() && !strings.HasPrefix(path, stage+"/cache") {
				raw += int(info.Size())
			}
			return err
		}))
		droplet := filepath.Join(t.TempDir(), "growth.tgz")
		require.Equal(t, 0, execute(t, stage, nil, "tar", "-czf", droplet, "deps", "app").status)
		info, err := os.Stat(droplet)
		require.NoError(t, err)
		t.Logf("the droplet grows by %d bytes, unpacked %d", info.Size(), raw)
		assert.Less(t, info.Size(), int64(6_000_000))
	})
}

func TestZipWithTheValidatedCryptographicModule(t *testing.T) {
	t.Parallel()
	path, files := pack(t, checkout(t), "--fips")
	assert.Equal(t, "postgres-ssl_buildpack-fips-v"+files["VERSION"]+".zip", filepath.Base(path))
	info, err := buildinfo.Read(strings.NewReader(files["bin/postgres-ssl"]))
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Key == "GOFIPS140" && strings.HasPrefix(s.Value, "v1.0.0")
	}), "%v", info.Settings)
	program := filepath.Join(unzip(t, path), "bin", "postgres-ssl")
	assert.Equal(t, "postgres-ssl "+files["VERSION"]+"\n", execute(t, t.TempDir(), []string{"GODEBUG=fips140=only"}, program, "version").out)
}

func TestZipOfAPlatformTeam(t *testing.T) {
	tree := checkout(t)
	acme := read(t, tree, "ca", "amazon-trust.pem")
	write(t, filepath.Join(tree, "ca", "extra", "acme's own.pem"), acme, 0o644)
	write(t, filepath.Join(tree, "ca", "extra", "forgotten.crt"), acme, 0o644)
	write(t, filepath.Join(tree, "ca", "aws-mars.pem"), acme, 0o644) // as scripts/update-rds-ca.sh would write it
	path, files := pack(t, tree, "--stack", "cflinuxfs4")
	assert.True(t, strings.HasSuffix(path, "postgres-ssl_buildpack-cflinuxfs4-v"+files["VERSION"]+".zip"), path)
	assert.Equal(t, acme, files["ca/extra/acme's own.pem"])
	assert.Equal(t, acme, files["ca/aws-mars.pem"])
	assert.NotContains(t, files, "ca/extra/forgotten.crt")

	buildpack := unzip(t, path)
	manifest, err := libbuildpack.NewManifest(buildpack, libbuildpack.NewLogger(io.Discard), testTime)
	require.NoError(t, err)
	assert.Equal(t, "postgres-ssl", manifest.Language())
	t.Setenv("CF_STACK", "cflinuxfs4")
	assert.NoError(t, manifest.CheckStackSupport())
	t.Setenv("CF_STACK", "cflinuxfs5")
	assert.Error(t, manifest.CheckStackSupport(), "a zip for one stack says so")

	stage := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(stage, "deps", "0"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(stage, "app"), 0o755))
	r := execute(t, stage, []string{"PATH=" + tools(t, "bash", "dirname"), "CF_STACK=cflinuxfs4"},
		filepath.Join(buildpack, "bin", "supply"), stage+"/app", stage+"/cache", stage+"/deps", "0")
	require.Equal(t, 0, r.status, r.out+r.err)
	assert.Contains(t, r.out, "(ca/extra)\n       Amazon Root CA 1, expires 2038-01-17\n")
	assert.DirExists(t, filepath.Join(stage, "deps", "0", "trust", "extra"))
}

func TestNothingIsPackagedThatCannotStage(t *testing.T) {
	t.Parallel()
	tree := checkout(t)
	write(t, filepath.Join(tree, "ca", "extra", "acme.pem"), "PKCS#12, really", 0o644)
	r := execute(t, tree, nil, "scripts/package.sh")
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.err, "ca/extra/acme.pem: has no PEM certificate\n")

	require.NoError(t, os.RemoveAll(filepath.Join(tree, "ca", "extra")))
	write(t, filepath.Join(tree, "src", "cmd", "postgres-ssl", "broken.go"), "package main\n\nfunc broken() { missing() }\n", 0o644)
	r = execute(t, tree, nil, "scripts/package.sh")
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.err, "undefined: missing", "what the compiler says is not lost")

	zips, err := filepath.Glob(filepath.Join(tree, "*.zip"))
	require.NoError(t, err)
	assert.Empty(t, zips)
}

func TestUsageOfThePackagingScripts(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"scripts/package.sh", "--help"}, 0, "Usage: scripts/package.sh [--stack STACK | --any-stack] [--cached]"},
		{[]string{"scripts/package.sh", "--uncached"}, 2, "package.sh: --uncached was not understood"},
		{[]string{"scripts/package.sh", "--stack"}, 2, "package.sh: the value of --stack is missing"},
		{[]string{"scripts/package.sh", "--stack", "--cached"}, 2, "package.sh: the value of --stack is missing"},
		{[]string{"scripts/release.sh", "-h"}, 0, "Usage: scripts/release.sh"},
		{[]string{"scripts/release.sh", "now"}, 2, "release.sh: now was not understood"},
		{[]string{"scripts/test.sh", "--help"}, 0, "Usage: scripts/test.sh"},
		{[]string{"scripts/test.sh", "./src/rds"}, 2, "test.sh: ./src/rds was not understood"},
		{[]string{"scripts/bench.sh", "-h", "all"}, 2, "bench.sh: -h all was not understood"},
		{[]string{"scripts/fuzz.sh", "soon"}, 2, "fuzz.sh: soon was not understood"},
		{[]string{"scripts/check-rds-ca.sh", "now"}, 2, "check-rds-ca.sh: now was not understood"},
		{[]string{"scripts/update-rds-ca.sh", "--help"}, 0, "Usage: scripts/update-rds-ca.sh"},
		{[]string{"scripts/build.sh", "--help"}, 0, "scripts/build.sh [PROGRAM [FLAG...]]"},
	} {
		r := execute(t, "../..", nil, test.args...)
		assert.Equal(t, test.status, r.status, test.args)
		assert.Contains(t, r.out+r.err, test.says)
	}
}

// A tool that is missing is named, with where to get it.
func TestScriptsNameTheToolThatIsMissing(t *testing.T) {
	path := []string{"PATH=" + tools(t, "bash", "dirname")}
	for script, says := range map[string]string{
		"package.sh":       "package.sh: go is not on the PATH; install it (see https://go.dev/dl) and try again\n",
		"stage.sh":         "stage.sh: go is not on the PATH; install it (see https://go.dev/dl) and try again\n",
		"check-rds-ca.sh":  "check-rds-ca.sh: go is not on the PATH; install it (see https://go.dev/dl) and try again\n",
		"update-rds-ca.sh": "update-rds-ca.sh: go is not on the PATH; install it (see https://go.dev/dl) and try again\n",
	} {
		assert.Equal(t, result{1, "", says}, execute(t, "../..", path, "scripts/"+script), script)
	}
	path[0] = "PATH=" + tools(t, "bash", "dirname", "go")
	assert.Equal(t, result{1, "", "package.sh: unzip is not on the PATH; install it (apt-get install unzip) and try again\n"},
		execute(t, "../..", path, "scripts/package.sh"))
}

// The newest entry of the changelog is the version that is built, and the one that people are told to pin.
func TestVersionAndDocsAgree(t *testing.T) {
	entry := regexp.MustCompile(`(?m)^## \[([0-9]+\.[0-9]+\.[0-9]+)\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	newest := entry.FindStringSubmatch(read(t, "../../CHANGELOG.md"))
	require.NotNil(t, newest, "CHANGELOG.md has no entry of the form ## [1.2.3] - 2026-01-02")
	version := strings.TrimSpace(read(t, "../../VERSION"))
	assert.Equal(t, version, newest[1])

	readme, manual := read(t, "../../README.md"), read(t, "../../docs/admin-buildpack.md")
	assert.Contains(t, readme, "  - "+zipURL(t)+"\n")
	for _, text := range []string{readme, manual} {
		pins := regexp.MustCompile(`/postgres-ssl-buildpack#v([0-9.]+[0-9])`).FindAllStringSubmatch(text, -1)
		assert.NotEmpty(t, pins)
		for _, pin := range pins {
			assert.Equal(t, version, pin[1], pin[0])
		}
	}
	assert.Contains(t, manual, "git checkout v"+version+"\n")
	assert.Contains(t, manual, "postgres-ssl_buildpack-v"+version+".zip")
	for _, text := range []string{"download v" + version + " ", "verify postgres-ssl_buildpack-v" + version + ".zip ", "refs/tags/v" + version} {
		assert.Contains(t, read(t, "../../SECURITY.md"), text)
	}
}

// zipURL is where the release workflow puts the zip of this version.
func zipURL(t *testing.T) string {
	version := strings.TrimSpace(read(t, "../../VERSION"))
	return "https://github.com/cloudfoundry-community/postgres-ssl-buildpack/releases/download/v" + version + "/postgres-ssl_buildpack-v" + version + ".zip"
}

// CI runs what the README tells a newcomer to run.
func TestTheTestCommandIsInTheREADME(t *testing.T) {
	commands := strings.Split(strings.TrimSpace(read(t, "../../.ci/run")), "\n")
	command := strings.TrimPrefix(commands[len(commands)-1], "exec ")
	assert.Regexp(t, `(?m)^`+regexp.QuoteMeta(command)+` `, read(t, "../../README.md"))
	assert.FileExists(t, filepath.Join("../..", command))
}

const changelog = `# Changelog

## [Unreleased]

- Not yet.

## [1.2.3] - 2026-11-22

### Will my app stop?

Perhaps, if it
is old.

- **It contradicts itself**, as [the docs
  say](docs/verify.md).
- The [format](https://keepachangelog.com) stays:
  - with
    lists.

## [0.0.9] - 2026-01-01

- Long ago.

[1.2.3]: https://example.com
`

const asNotes = `### Will my app stop?

Perhaps, if it is old.

- **It contradicts itself**, as [the docs say](https://github.com/cloudfoundry-community/postgres-ssl-buildpack/blob/v1.2.3/docs/verify.md).
- The [format](https://keepachangelog.com) stays:
  - with lists.

### Checksums
`

func TestVersionWithoutASectionIsNotReleased(t *testing.T) {
	tree := checkout(t)
	write(t, filepath.Join(tree, "CHANGELOG.md"), changelog, 0o644)
	write(t, filepath.Join(tree, "VERSION"), "1.2.4\n", 0o644)
	assert.Equal(t, result{1, "", "release.sh: CHANGELOG.md has no section ## [1.2.4], the version in VERSION; write it and try again\n"},
		execute(t, tree, nil, "scripts/release.sh"))
	assert.NoDirExists(t, filepath.Join(tree, "dist"))
}

func TestRelease(t *testing.T) {
	t.Parallel()
	tree := checkout(t)
	write(t, filepath.Join(tree, "dist", "of-last-time.zip"), "", 0o644)
	write(t, filepath.Join(tree, "CHANGELOG.md"), changelog, 0o644)
	write(t, filepath.Join(tree, "VERSION"), "1.2.3\n", 0o644)
	r := execute(t, t.TempDir(), nil, filepath.Join(tree, "scripts", "release.sh"))
	require.Equal(t, 0, r.status, r.out+r.err)
	dist := filepath.Join(tree, "dist")
	entries, err := os.ReadDir(dist)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	version := strings.TrimSpace(read(t, tree, "VERSION"))
	assert.Equal(t, []string{"SHA256SUMS", "notes.md", "postgres-ssl_buildpack-cached-v" + version + ".zip", "postgres-ssl_buildpack-v" + version + ".cdx.json",
		"postgres-ssl_buildpack-v" + version + ".zip"}, names)
	check := execute(t, dist, nil, "sha256sum", "--check", "--strict", "SHA256SUMS")
	assert.Equal(t, 0, check.status, check.out)
	assert.Equal(t, 3, strings.Count(check.out, ": OK\n"))

	notes := read(t, dist, "notes.md")
	assert.True(t, strings.HasPrefix(notes, asNotes), notes)
	assert.True(t, strings.HasSuffix(r.out, "-----> What to paste into the notes of v"+version+"\n"+notes), "the last that is printed")
	assert.Contains(t, notes, "```\n"+read(t, dist, "SHA256SUMS")+"```\n")
	// What the notes say to check a download with tells a good one from a bad one.
	commands := regexp.MustCompile("(?m)^sha256sum --check .*$").FindAllString(notes, -1)
	require.Len(t, commands, 1)
	download := t.TempDir()
	write(t, filepath.Join(download, "SHA256SUMS"), read(t, dist, "SHA256SUMS"), 0o644)
	write(t, filepath.Join(download, names[4]), read(t, dist, names[4]), 0o644)
	assert.Equal(t, result{0, names[4] + ": OK\n", ""}, execute(t, download, nil, "bash", "-c", commands[0]))
	write(t, filepath.Join(download, names[4]), "something else", 0o644)
	assert.Equal(t, 1, execute(t, download, nil, "bash", "-c", commands[0]).status)
	// And the program is the one in the zip.
	program := sha256.Sum256([]byte(read(t, unzip(t, filepath.Join(dist, names[4])), "bin", "postgres-ssl")))
	assert.Contains(t, notes, "```\n"+hex.EncodeToString(program[:])+"  bin/postgres-ssl\n```\n")

	var sbom struct {
		Format       string `json:"bomFormat"`
		SerialNumber string
		Metadata     struct {
			Timestamp string
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name, Version, Purl string
			Hashes              []struct{ Content string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, dist, names[3])), &sbom))
	assert.Equal(t, "CycloneDX", sbom.Format)
	assert.Empty(t, sbom.SerialNumber+sbom.Metadata.Timestamp, "the same release gives the same bytes")
	assert.Equal(t, "v"+version, sbom.Metadata.Component.Version)
	found := map[string]string{}
	for _, c := range sbom.Components {
		found[c.Name] = c.Version
	}
	assert.Contains(t, found, "std", "Go's own library, for which there are advisories too")
	for _, module := range []string{"github.com/cloudfoundry/libbuildpack", "github.com/cloudfoundry-community/go-cfenv"} {
		assert.Contains(t, read(t, tree, "go.mod"), module+" "+found[module], module)
	}
	// Another program, Go's own, sees the same modules in the program.
	seen := execute(t, dist, nil, "go", "version", "-m", filepath.Join(unzip(t, filepath.Join(dist, names[4])), "bin", "postgres-ssl"))
	modules := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)\th1:(\S+)$`).FindAllStringSubmatch(seen.out, -1)
	assert.Len(t, sbom.Components, len(modules)+1, "and std")
	for i, m := range modules {
		c := sbom.Components[i+1]
		sum, err := base64.StdEncoding.DecodeString(m[3])
		require.NoError(t, err)
		assert.Equal(t, []string{m[1], m[2], "pkg:golang/" + m[1] + "@" + strings.Replace(m[2], "+", "%2B", 1), hex.EncodeToString(sum)},
			[]string{c.Name, c.Version, c.Purl, c.Hashes[0].Content})
	}
	assert.NotContains(t, found, "github.com/stretchr/testify", "only what is in the program")
}

// The manifests that the manual for platform teams points to.
func TestManifests(t *testing.T) {
	manifests, err := filepath.Glob("../../fixtures/manifests/*.yml")
	require.NoError(t, err)
	assert.Len(t, manifests, 7)
	manual := read(t, "../../docs/admin-buildpack.md")
	for _, path := range manifests {
		var manifest struct {
			Applications []struct {
				Name, Command string
				Buildpacks    []string
				Services      []string
			}
		}
		require.NoError(t, libbuildpack.NewYAML().Load(path, &manifest), path)
		require.Len(t, manifest.Applications, 1, path)
		app := manifest.Applications[0]
		require.NotEmpty(t, app.Buildpacks, path)
		assert.Equal(t, zipURL(t), app.Buildpacks[0], path)
		assert.True(t, len(app.Buildpacks) == 2 || app.Command != "", "%s: an app with this buildpack alone has its own start command", path)
		assert.Len(t, app.Services, 1, path)
		assert.Contains(t, manual, "(../fixtures/manifests/"+filepath.Base(path)+")")
	}
}
