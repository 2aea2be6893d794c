package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/audit"
)

// buildpack sets up what an operator has: bin/postgres-ssl, and the certificates beside it.
func buildpack(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	for _, name := range []string{"ca", "manifest.yml"} {
		require.NoError(t, os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)))
	}
	program, err := exec.LookPath("postgres-ssl")
	require.NoError(t, err)
	content, err := os.ReadFile(program)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/postgres-ssl"), content, 0o755))
	return dir
}

// loops are the scripts in docs/fleet.md, word for word.
func loops(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/fleet.md")
	require.NoError(t, err)
	var all []string
	for _, part := range strings.Split(string(doc), "```bash\n")[1:] {
		script, _, _ := strings.Cut(part, "```")
		all = append(all, script)
	}
	require.Len(t, all, 7)
	return all
}

// TestTheLoopsOfTheDocs runs the scripts in docs/fleet.md word for word. Its cf answers as the
// platform does: with a list of two pages, and for some apps with a refusal, a missing app, a
// router's error or nothing at all.
func TestTheLoopsOfTheDocs(t *testing.T) {
	standIn, err := filepath.Abs("testdata/fleet")
	require.NoError(t, err)
	scripts := loops(t)
	dir := buildpack(t)
	bash := func(script string, env ...string) (stdout, said string, status int) {
		temp := t.TempDir()
		asked := filepath.Join(t.TempDir(), "said")
		require.NoError(t, os.WriteFile(asked, nil, 0o600)) // a script may ask nothing
		cmd := exec.Command("bash", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(append(os.Environ(), "PATH="+standIn+":"+os.Getenv("PATH"), "CF_SAID="+asked, "TMPDIR="+temp), env...)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil {
			require.ErrorAs(t, err, &exit)
		}
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		assert.Empty(t, left, "nothing is left behind")
		heard, err := os.ReadFile(asked)
		require.NoError(t, err)
		return string(out), string(heard), cmd.ProcessState.ExitCode()
	}

	stdout, said, status := bash(scripts[0])
	assert.Equal(t, 3, status)
	assert.Equal(t, `org/space/app      database    mode asked   given        why
acme/prod/console  console_db  verify-ca    none         no variable carries the credential sslmode
acme/prod/image    grafana-db  verify-full  require      GF_DATABASE_SSL_MODE=require, set by the owner, is weaker
acme/prod/shop     shop-db     none         none         with this buildpack, it would be given verify-full
acme/prod/api      api-db      verify-full  verify-full  this buildpack
-/-/gone           -           unknown      unknown      could not be read: there is no such app, or this user may not see it
-/-/lost           -           unknown      unknown      could not be read: the answer is empty
-/-/secret         -           unknown      unknown      could not be read: the platform refuses to show it to this user; it takes an admin, a read-only admin or a developer of the space
-/-/unlucky        -           unknown      unknown      could not be read: it is HTML, as a router or a proxy answers; ask again
4 apps, 4 with Postgres: 0 would stop, 2 ignored, 0 up to the driver, 1 without a mode, 1 given theirs; 4 not read
An app may set TLS itself: only postgres-ssl verify, in the app, sees its sessions
With this buildpack, such an app goes through the tunnel, if staging sees it and its written mode verifies
`, stdout)
	assert.Equal(t, 10, strings.Count(said, "\n"), "each page and each app is asked for once:\n%s", said)
	assert.Equal(t, 10, strings.Count(said, "(0077)"), "and only the owner may read what they say")
	assert.LessOrEqual(t, strings.Count(scripts[0], "\n"), 10, "the loop has ten lines")

	stdout, _, status = bash(scripts[0], "CF_REFUSES=1")
	assert.Equal(t, 3, status)
	assert.Contains(t, stdout, "apps-1.json    -         unknown     unknown  could not be read: the login has expired; run cf login\n0 apps")

	// Give it to the apps that need it, but not to one that it would stop.
	asJSON := strings.Replace(scripts[0], `audit "$dir"`, `audit --json "$dir" >rows.jsonl`, 1)
	_, _, status = bash(asJSON)
	assert.Equal(t, 3, status)
	give := func() (stdout, said string) {
		stdout, said, status := bash(scripts[2], "space=prod")
		assert.Equal(t, 0, status)
		return stdout, said
	}
	stdout, said = give()
	assert.Equal(t, "Restaging app console...\nRestaging app shop...\n", stdout)
	assert.Contains(t, said, `{"buildpacks":["postgres_ssl_buildpack","stratos"]}`)
	assert.Contains(t, said, `{"buildpacks":["postgres_ssl_buildpack","nodejs_buildpack"]}`)
	assert.Equal(t, 2, strings.Count(said, "PATCH"), "neither the app that has it nor the docker app")
	rows, err := os.ReadFile(filepath.Join(dir, "rows.jsonl"))
	require.NoError(t, err)
	stops := regexp.MustCompile(`("database":"shop-db".*"would_get":)"[a-z-]+"`).ReplaceAll(rows, []byte(`$1"stops"`))
	require.NotEqual(t, string(rows), string(stops))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rows.jsonl"), stops, 0o600))
	stdout, _, _ = bash(scripts[1])
	assert.Contains(t, stdout, "acme\tprod\tshop\t")
	assert.Equal(t, 1, strings.Count(stdout, "\n"))
	stdout, said = give()
	assert.Equal(t, "Restaging app console...\n", stdout)
	assert.Equal(t, 1, strings.Count(said, "PATCH"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rows.jsonl"), rows, 0o600))

	// Verify as a task, in the apps that have the buildpack.
	stdout, said, status = bash(scripts[3])
	assert.Equal(t, 0, status)
	assert.Regexp(t, `^verify-[0-9]+\n$`, stdout)
	assert.Regexp(t, `^curl -X POST /v3/apps/33333333-0000-0000-0000-000000000000/tasks -d \{"name": "verify-[0-9]+"`, said)
	assert.Equal(t, 1, strings.Count(said, "/tasks"))
	stdout, _, status = bash(scripts[4], "task="+strings.TrimSpace(stdout))
	assert.Equal(t, 0, status)
	assert.Equal(t, "FAILED\t22222222-0000-0000-0000-000000000000\nSUCCEEDED\t33333333-0000-0000-0000-000000000000\n", stdout)
	stdout, _, status = bash(scripts[5], "task=verify-7", "CF_TASK=verify-7", "app=shop")
	assert.Equal(t, 0, status)
	assert.Contains(t, stdout, `"code": "unknown-ca"`)

	stdout, _, status = bash(scripts[6])
	assert.Equal(t, 0, status)
	assert.Equal(t, "image\tgrafana-db\tverify-full\trequire\n", stdout)
}

// Anybody may have chosen the texts in an answer. A name must not control the terminal, or look
// like another row.
func TestNoNameSpeaksToTheTerminal(t *testing.T) {
	const evil = "a\x1b[2J\nacme/prod/x  db  verify-full\r\u202e\x00\u009b"
	document, err := json.Marshal(map[string]any{
		"system_env_json": map[string]any{"VCAP_SERVICES": map[string]any{evil: []any{map[string]any{"name": evil, "credentials": map[string]any{
			"uri": "postgres://h.example.com/d", evil: map[string]any{"sslmode": "require", "host": "h.example.com"}}}}}},
		"environment_variables": map[string]string{"PGSSLMODE": evil, evil: evil},
		"application_env_json": map[string]any{"VCAP_APPLICATION": map[string]any{
			"application_id": evil, "application_name": evil, "space_name": evil, "organization_name": evil}},
	})
	require.NoError(t, err)
	dir := buildpack(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "answers"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "answers", "a.json"), document, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "answers", "b\x1b[2J\n\xff.json"), nil, 0o600))
	for _, args := range [][]string{{"answers"}, {"--json", "answers"}, {"nowhere\x1b[2J\x00"[:11]}} {
		var out, errOut bytes.Buffer
		cmd := exec.Command("bin/postgres-ssl", append([]string{"audit"}, args...)...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errOut
		_ = cmd.Run()
		said := out.String() + errOut.String()
		require.NotEmpty(t, said)
		for _, r := range strings.ReplaceAll(said, "\n", "") {
			assert.False(t, r < ' ' || r == 0x7f || r == 0x9b || r == 0x202e, "%q in %q", r, said)
		}
		lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
		assert.False(t, slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "acme") }), said)
	}
}

func TestOneLongNameDoesNotPushTheRestOutOfTheWindow(t *testing.T) {
	var out strings.Builder
	long := strings.Repeat("service-", 30)
	writeTable(&out, audit.Report{Rows: []audit.Row{{App: "a", Database: long, Why: "w1"}, {App: "b", Database: "db", Why: "w2"}}})
	lines := strings.Split(out.String(), "\n")
	assert.Contains(t, lines[1], long)
	assert.Equal(t, 60+2, strings.Index(lines[2], "w2")-strings.Index(lines[2], "db")-len("mode asked  given  "), "%s", lines[2])
}
