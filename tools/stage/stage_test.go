// Tests of staging and launch, with throw-away buildpacks and apps. Each runs the whole program of
// scripts/stage.sh.
package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A supply buildpack that prints its arguments, and writes a launch script to each possible place.
const supply = `#!/usr/bin/env bash
set -eu
echo "supply: $# arguments, DEPS_IDX $4, CF_STACK $CF_STACK, cache $(ls -A "$2" | wc -l), app at $1"
mkdir -p "$3/$4/profile.d" "$3/$4/bin" "$1/.profile.d"
echo 'export FROM_DEPS=yes' >"$3/$4/profile.d/deps.sh"
echo 'export FROM_APP=yes STAGED_AT='"$1" >"$1/.profile.d/app.sh"
`

// write puts executable files into a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o755))
	}
	return dir
}

// buildpack makes a buildpack with the given files, an example binding and the repository's final
// buildpacks.
func buildpack(t *testing.T, files map[string]string) string {
	t.Helper()
	all := map[string]string{
		"bin/supply":                       supply,
		"bin/finalize":                     "#!/bin/sh\necho \"finalize: $# arguments, DEPS_IDX $4\"; echo 'export FROM_FINALIZE=yes' >$5/f.sh\n",
		"bin/release":                      "#!/bin/sh\n",
		"fixtures/services/cups-seed.json": `{"user-provided": [{"name": "db", "credentials": {"uri": "postgresql://h/d"}}]}`,
	}
	maps.Copy(all, files)
	root := write(t, all)
	finals, err := filepath.Abs("../../fixtures/buildpacks")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(finals, filepath.Join(root, "fixtures", "buildpacks")))
	return root
}

type result struct {
	status         int
	stdout, stderr string
}

// stageApp runs stage.sh and checks that it leaves nothing behind. env is added to the test's own
// environment.
func stageApp(t *testing.T, root string, env environ, args ...string) result {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	all := environOf(os.Environ())
	for _, name := range []string{"VCAP_SERVICES", "VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT", "VCAP_APPLICATION", "CF_STACK", "DATABASE_URL"} {
		delete(all, name)
	}
	all["LC_ALL"] = "C"
	maps.Copy(all, env)
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), root, args, all, &stdout, &stderr)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, left, "no temporary folder is left behind")
	return result{status, stdout.String(), stderr.String()}
}

func TestCompileOnlyFinalSourcesOnlyTheAppsOwnScripts(t *testing.T) {
	r := stageApp(t, buildpack(t, nil), nil, "--final", "compile", write(t, map[string]string{"a file": ""}))
	require.Equal(t, 0, r.status, r.stderr)
	assert.Contains(t, r.stdout, "supply: 4 arguments, DEPS_IDX 0, CF_STACK cflinuxfs4, cache 0")
	assert.NotContains(t, r.stdout, "finalize:")
	assert.Contains(t, r.stderr, "Warning: the last buildpack is not compatible with multi-buildpack apps")
	assert.Contains(t, r.stderr, "No start command specified by buildpack or via Procfile.")
	assert.Contains(t, r.stdout, "       FROM_APP=yes\n")
	assert.NotContains(t, r.stdout, "FROM_DEPS")

	r = stageApp(t, buildpack(t, nil), nil, write(t, nil), "--", "ls -A ../profile.d ../deps ..")
	assert.Equal(t, "..:\napp\ndeps\nlogs\nprofile.d\nstaging_info.yml\ntmp\n\n../deps:\n0\n\n../profile.d:\n", r.stdout)
}

func TestFinalizeFinalCopiesLaunchScriptsOfAllBuildpacks(t *testing.T) {
	r := stageApp(t, buildpack(t, nil), nil, "--final", "finalize", write(t, nil), "--", "ls ../profile.d ../deps")
	require.Equal(t, 0, r.status, r.stderr)
	assert.Equal(t, "../deps:\n0\n1\n\n../profile.d:\n000_multi-supply.sh\n0_deps.sh\n", r.stdout)
	assert.NotContains(t, r.stderr, "Warning")
	r = stageApp(t, buildpack(t, nil), nil, "--final", "finalize", write(t, nil))
	assert.Contains(t, r.stdout, "       FROM_DEPS=yes\n")
	assert.Contains(t, r.stdout, "       FROM_APP=yes\n")
}

func TestOnlyBuildpackRunsSupplyThenFinalize(t *testing.T) {
	r := stageApp(t, buildpack(t, nil), nil, "--final", "none", write(t, nil))
	require.Equal(t, 0, r.status, r.stderr)
	assert.Regexp(t, `(?s)supply: 4 arguments, DEPS_IDX 0.*finalize: 5 arguments, DEPS_IDX 0`, r.stdout)
	assert.Contains(t, r.stdout, "       FROM_FINALIZE=yes\n")
	assert.NotContains(t, r.stdout, "FROM_DEPS", "finalize, not the builder, copies deps/*/profile.d")
}

func TestDropletIsLaunchedElsewhereAndStagingIsGone(t *testing.T) {
	r := stageApp(t, buildpack(t, nil), nil, write(t, map[string]string{"file": "x"}), "--",
		`cmp -s file "$HOME/file" && [ "$PWD" = "$HOME" ] && [ "$PWD" != "$STAGED_AT" ] && [ ! -e "$STAGED_AT" ] &&
		 [[ $HOME == */home/vcap/app && $TMPDIR == */home/vcap/tmp && $DEPS_DIR == */home/vcap/deps && -d $TMPDIR && -d $DEPS_DIR/0 ]]`)
	assert.Equal(t, 0, r.status, r.stderr)
}

func TestAppDirIsCopiedWithItsLinksAndLeftAsItIs(t *testing.T) {
	root, app := buildpack(t, nil), write(t, map[string]string{"target": "x", ".git/HEAD": "x"})
	require.NoError(t, os.Symlink("target", filepath.Join(app, "link")))
	t.Chdir(filepath.Dir(app))
	r := stageApp(t, root, nil, filepath.Base(app), "--", "readlink link; ls -A")
	assert.Equal(t, "target\n.profile.d\nlink\ntarget\n", r.stdout, r.stderr)
	assert.NoDirExists(t, filepath.Join(app, ".profile.d"))
}

func TestStartCommand(t *testing.T) {
	program := map[string]string{"go.mod": "module app\n\ngo 1.25\n", "main.go": "package main\n\nfunc main() { println(`ran`) }\n"}
	r := stageApp(t, buildpack(t, nil), nil, write(t, program), "--", "cat ../staging_info.yml; ./portal-proxy")
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Contains(t, r.stdout, `"start_command":"./portal-proxy"`)
	assert.Contains(t, r.stderr, "-----> Start command: ./portal-proxy\n")
	assert.Contains(t, r.stderr, "ran\n")

	r = stageApp(t, buildpack(t, nil), nil, write(t, map[string]string{"Procfile": "web: run me\n"}))
	assert.Contains(t, r.stdout, "-----> Start command: run me\n")
}

func TestBindings(t *testing.T) {
	root, app := buildpack(t, nil), write(t, nil)
	files := write(t, map[string]string{"vcap.json": `{"file": []}`, "bindings/db/type": "postgresql"})
	show := `echo "$VCAP_SERVICES|$VCAP_SERVICES_FILE_PATH|$SERVICE_BINDING_ROOT"`
	for name, test := range map[string]struct {
		env              environ
		args             []string
		variables, first string
	}{
		"example": {nil, nil, `{"user-provided": [{"name": "db", "credentials": {"uri": "postgresql://h/d"}}]}||`, "fixtures/services/cups-seed.json"},
		"file": {environ{"VCAP_SERVICES": "{}", "SERVICE_BINDING_ROOT": "/b"}, []string{"--services", "vcap.json"},
			`{"file": []}||`, "vcap.json"},
		"environment":        {environ{"VCAP_SERVICES": `not { JSON`}, nil, `not { JSON||`, "VCAP_SERVICES of the environment"},
		"environment's file": {environ{"VCAP_SERVICES_FILE_PATH": "vcap.json"}, nil, "|" + files + "/vcap.json|", "VCAP_SERVICES_FILE_PATH of"},
		"environment's root": {environ{"SERVICE_BINDING_ROOT": files + "/bindings"}, nil, "||" + files + "/bindings", "SERVICE_BINDING_ROOT of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(files)
			r := stageApp(t, root, test.env, append(test.args, app, "--", show)...)
			assert.Equal(t, test.variables+"\n", r.stdout)
			first, _, _ := strings.Cut(r.stderr, "\n")
			assert.Contains(t, first, "-----> Bindings: "+test.first)
		})
	}
}

func TestDatabaseURL(t *testing.T) {
	for services, want := range map[string]string{
		``:       "",
		`broken`: "",
		`{"a": [{"credentials": {"uri": "amqp://h"}}, {"credentials": {"uri": "postgresql://u:p@h:1/d"}}]}`: "postgres://u:p@h:1/d",
		`{"a": [{"credentials": {"uri": "mysql://h/d?x=1"}}]}`:                                              "mysql2://h/d?x=1",
		`{"a": [{"credentials": {"uri": "mysql2://h/d"}}]}`:                                                 "mysql2://h/d",
		`{"a": [{}], "b": [{"credentials": {"uri": "postgres://"}}]}`:                                       "postgres:",
		`{"a": [{"credentials": {"uri": 5}}], "b": [{"credentials": {"uri": "postgres://h/d"}}]}`:           "",
		`{"a": [{"credentials": {"uri": "postgres://h/%a"}}]}`:                                              "",
	} {
		assert.Equal(t, want, databaseURL(services), services)
	}
}

func TestListShowsOnlyWhatLaunchScriptsSet(t *testing.T) {
	certs := write(t, map[string]string{
		"a.0": "-----BEGIN CERTIFICATE-----\n", "b.0": "-----BEGIN CERTIFICATE-----\n", "README": "no certificate"})
	r := stageApp(t, buildpack(t, nil), environ{"OWN": "same", "CHANGED": "before"}, write(t, map[string]string{
		".profile": "export SSL_CERT_DIR=" + certs + ":/nowhere CHANGED=after OWN=same LINES_='one\ntwo'; unexported=1\n"}))
	require.Equal(t, 0, r.status, r.stderr)
	_, list, _ := strings.Cut(r.stdout, "set at launch:\n")
	list, at, _ := strings.Cut(list, "       STAGED_AT=")
	assert.Equal(t, "       CHANGED=after\n       FROM_APP=yes\n       LINES_=\"one\\ntwo\"\n       SSL_CERT_DIR="+certs+":/nowhere\n"+
		"           2 certificate files in "+certs+"\n           0 certificate files in /nowhere\n", list)
	assert.Equal(t, 1, strings.Count(at, "\n"), "nothing after STAGED_AT")
}

func TestCommandRunsAsAStartCommand(t *testing.T) {
	root, app := buildpack(t, nil), write(t, map[string]string{".profile": "echo chatty >&2; cd /; umask 077\n"})
	for _, test := range []struct {
		command []string
		status  int
		stdout  string
	}{
		{[]string{`echo $FROM_APP "$(pwd)"; exit 7`}, 7, "yes /\n"},
		{[]string{"printf", "%s|", "a b", "it's", "$FROM_APP"}, 0, "a b|it's|$FROM_APP|"},
		{[]string{"kill -KILL $$"}, 137, ""},
		{[]string{"no-such-program"}, 127, ""},
	} {
		r := stageApp(t, root, nil, append([]string{app, "--"}, test.command...)...)
		assert.Equal(t, test.status, r.status, test.command)
		assert.Equal(t, test.stdout, r.stdout, test.command)
		assert.Regexp(t, "^-----> Bindings: (?s:.*)\nchatty\n", r.stderr)
		assert.NotContains(t, r.stderr, "-----> Variables", "they are in COMMAND's environment")
	}
}

func TestLaunchScriptThatExitsRefusesTheLaunch(t *testing.T) {
	for script, status := range map[string]int{"exit 3": 3, "exit 0": 1, "set -e; false": 1} {
		r := stageApp(t, buildpack(t, nil), nil, write(t, map[string]string{".profile": script}), "--", "echo started")
		assert.Equal(t, status, r.status, script)
		assert.Empty(t, r.stdout, script)
		assert.Contains(t, r.stderr, "-----> Launch refused")
	}
}

func TestAppIsTheProcessThatSourcedItsLaunchScripts(t *testing.T) {
	app := write(t, map[string]string{".profile": "export SOURCED_BY=$$; umask 027"})
	r := stageApp(t, buildpack(t, nil), nil, app, "--", `[ "$SOURCED_BY" = $$ ] && [ "$(umask)" = 0027 ]`)
	assert.Equal(t, 0, r.status, r.stderr)
}

// The scripts print so much that they fill their pipe.
func TestOutputOfScriptsThenList(t *testing.T) {
	chatter := strings.Repeat("chatter\n", 20000)
	r := stageApp(t, buildpack(t, nil), nil, write(t, map[string]string{"chatter": chatter, ".profile": "cat chatter; cat chatter >&2; echo error >&2"}))
	assert.Equal(t, 0, r.status)
	assert.True(t, strings.HasSuffix(r.stderr, chatter+"error\n"))
	_, printed, _ := strings.Cut(r.stdout, chatter)
	assert.Regexp(t, `^-----> Variables .*\n       FROM_APP=yes\n       STAGED_AT=.*\n$`, printed)
}

func TestNothingOfStageIsInherited(t *testing.T) {
	list := `for fd in /proc/$$/fd/*; do [ ! -e $fd ] || echo "descriptor ${fd##*/}"; done; echo done; `
	inherited, err := exec.Command("bash", "-c", list).Output() // some are this test's own
	require.NoError(t, err)
	app := write(t, map[string]string{".profile": list})
	r := stageApp(t, buildpack(t, nil), nil, app, "--", list)
	assert.Equal(t, strings.Repeat(string(inherited), 2), r.stdout, "once for the scripts, once for the app")
}

// waits is a line of a launch script. It starts a background process that lasts until the app is
// gone.
const waits = "tail --pid=$$ -s 0.01 -f /dev/null; "

// forever is a process that outlasts these tests.
const forever = "exec tail --pid=$PPID -s 0.1 -f /dev/null"

func TestLaunchLastsUntilItsOutputsEnd(t *testing.T) {
	root := buildpack(t, nil)
	r := stageApp(t, root, nil, write(t, map[string]string{".profile": "(" + waits + "echo last words >&2) &"}), "--", "echo app; exit 4")
	assert.Equal(t, 4, r.status)
	assert.Equal(t, "app\n", r.stdout)
	assert.Regexp(t, "last words\n$", r.stderr)
	r = stageApp(t, root, nil, write(t, nil), "--", "("+waits+"echo last words) & echo app; exit 4")
	assert.Equal(t, 4, r.status)
	assert.Equal(t, "app\nlast words\n", r.stdout)

	// It does not wait for a process that holds neither output. The test is that this ends.
	stageApp(t, root, nil, write(t, map[string]string{".profile": "(" + forever + ") >/dev/null 2>&1 &"}), "--", "echo app")
}

func TestSignalsReachTheApp(t *testing.T) {
	root := buildpack(t, nil)
	hang := "mkfifo hang; read line <>hang"  // until a signal
	terminate := "kill -TERM $PPID; " + hang // the parent is stage

	r := stageApp(t, root, nil, write(t, nil), "--", "trap 'echo terminated; exit 5' TERM; "+terminate)
	assert.Equal(t, result{5, "terminated\n", r.stderr}, r)

	r = stageApp(t, root, nil, write(t, map[string]string{".profile": terminate}), "--", "echo started")
	assert.Equal(t, result{143, "", r.stderr}, r)
	assert.Contains(t, r.stderr, "-----> Launch refused")

	// The app is gone, and stage waits for a process that it left behind. A signal ends the wait.
	// The test is that this ends.
	r = stageApp(t, root, nil, write(t, map[string]string{".profile": "(" + waits + "kill -TERM $PPID; " + forever + ") &"}), "--", "echo app; exit 6")
	assert.Equal(t, result{6, "app\n", r.stderr}, r)
}

func TestAnAppWhoseOutputNobodyReadsGetsASignal(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	defer w.Close()
	var stderr bytes.Buffer
	status := run(t.Context(), buildpack(t, nil), []string{write(t, nil), "--", "exec yes"}, environOf(os.Environ()), w, &stderr)
	assert.Equal(t, 128+int(syscall.SIGPIPE), status, stderr.String())
}

func TestFailingBuildpackStopsStaging(t *testing.T) {
	fails := "#!/bin/sh\necho why >&2; exit 2\n"
	for _, test := range []struct{ script, final, message string }{
		{"bin/supply", "compile", "Failed to run all supply scripts: exit status 2\n"},
		{"bin/supply", "none", "Failed to compile droplet: Failed to run all supply scripts: exit status 2\n"},
		{"bin/finalize", "none", "Failed to compile droplet: Failed to run finalize script: exit status 2\n"},
		{"bin/release", "none", "Failed to build droplet release: exit status 2\n"},
	} {
		r := stageApp(t, buildpack(t, map[string]string{test.script: fails}), nil, "--final", test.final, write(t, nil))
		assert.Equal(t, 1, r.status)
		assert.Equal(t, "why\n"+test.message, r.stderr)
	}
	r := stageApp(t, buildpack(t, map[string]string{"bin/release": "#!/bin/sh\necho '\t'\n"}), nil, "--final", "none", write(t, nil))
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stderr, "Failed to build droplet release: buildpack's release output invalid: ")
	r = stageApp(t, buildpack(t, nil), nil, write(t, map[string]string{"Procfile": "web\n"}))
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stderr, "Failed to read command from Procfile")
}

func TestUnwritableFoldersInTheCacheAreRemoved(t *testing.T) {
	readOnly := "#!/bin/sh\nmkdir -p $2/mod/pkg; touch $2/mod/pkg/file; chmod -R a-w $2/mod\n"
	r := stageApp(t, buildpack(t, map[string]string{"bin/supply": readOnly}), nil, write(t, nil))
	assert.Equal(t, 0, r.status, r.stderr)
}

func TestInterruptedStagingLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := filepath.Join(t.TempDir(), "started")
	root := buildpack(t, map[string]string{"bin/supply": "#!/bin/sh\necho >" + started + "; sleep 600; echo survived\n"})
	go func() {
		for !exists(started) && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	var stdout, stderr bytes.Buffer
	start := time.Now()
	assert.Equal(t, 1, run(ctx, root, []string{write(t, nil)}, environOf(os.Environ()), &stdout, &stderr))
	assert.Less(t, time.Since(start), time.Minute)
	assert.Equal(t, "stage.sh: interrupted\n", stderr.String())
	left, _ := os.ReadDir(tmp)
	assert.Empty(t, left)
}

func TestUsage(t *testing.T) {
	app := write(t, nil)
	for _, help := range [][]string{{"-h"}, {"--help"}, {app, "--final", "none", "--help"}} {
		r := stageApp(t, "", nil, help...)
		assert.Equal(t, result{0, usage, ""}, r)
	}
	for message, args := range map[string][]string{
		"APP_DIR is missing":                                  {},
		"COMMAND is missing after --":                         {app, "--"},
		"unknown option --verbose":                            {"--verbose", app},
		"the value of --final is missing":                     {app, "--final"},
		"--final supply: must be finalize, compile or none":   {"--final", "supply", app},
		"unexpected ls after APP_DIR; COMMAND comes after --": {app, "ls"},
	} {
		r := stageApp(t, "", nil, args...)
		assert.Equal(t, result{2, "", "stage.sh: " + message + "\n\n" + usage}, r)
	}
	for message, args := range map[string][]string{
		"APP_DIR nowhere is not a folder; unpack a jar or a zip first, as cf push does": {"nowhere"},
		"cannot read the bindings: open nowhere: no such file or directory":             {"--services", "nowhere", app},
	} {
		r := stageApp(t, "", nil, args...)
		assert.Equal(t, result{1, "", "stage.sh: " + message + "\n"}, r)
	}
}
