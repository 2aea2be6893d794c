// Launch: what Diego's launcher does with a droplet (buildpackapplifecycle, launcher and env).

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The launcher's script: one bash without -e or -u, with unquoted file names, which becomes the app
// by exec. $1 is the app's folder, $2 the command.
//
// The two lines with $3 and $4 are ours. The shell writes the app's environment to the file $3, and
// stops itself until stage has printed it. $4 is the app's stdout. Both are paths: a launch
// script's children would inherit descriptors.
const launchScript = `
cd "$1"
for script in ../profile.d/* .profile.d/*; do
  if [ -e "$script" ]; then
    source $script
  fi
done
if [ -f .profile ]; then
  source .profile
fi
{ /usr/bin/env -0 >|"$3" && kill -STOP $$; } || exit
exec bash -c "$2" >"$4"
`

type launcher struct {
	vcap                string // in place of /home/vcap
	env                 environ
	log, stdout, stderr io.Writer
}

// launch runs the app's launch scripts and prints the variables that the app would see. Then the
// same process becomes command, or ends if there is none. Like the platform, launch waits until
// nobody holds its outputs open any more. It returns the process's exit status.
func (l launcher) launch(ctx context.Context, command string) (int, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	stdout, err := newOutput(l.stdout)
	if err != nil {
		return 0, err
	}
	defer stdout.close()
	stderr, err := newOutput(l.stderr)
	if err != nil {
		return 0, err
	}
	defer stderr.close()

	before, dump := l.environment(), l.vcap+".env"
	cmd := exec.Command("bash", "-c", launchScript, "launcher", before["HOME"], command, dump, stdout.path())
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = before.list(), os.Stdin, stdout.w, stderr.w
	if l.log == l.stderr {
		cmd.Stdout = stderr.w // what the launch scripts print belongs to the log
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals { // COMMAND handles the signal, as the app would
			if cmd.Process.Signal(s) != nil { // COMMAND is gone: stop waiting for its children
				stdout.interrupt()
				stderr.interrupt()
			}
		}
	}()

	stdout.start()
	stderr.start()
	status := waitFor(cmd.Process.Pid, syscall.WUNTRACED)
	for status.Stopped() && status.StopSignal() != syscall.SIGSTOP { // Ctrl-Z
		status = waitFor(cmd.Process.Pid, syscall.WUNTRACED)
	}
	launched := status.Stopped()
	if launched {
		stdout.pause()
		stderr.pause()
		err = l.report(before, dump)
		stdout.start()
		stderr.start()
		cmd.Process.Signal(syscall.SIGCONT)
		status = waitFor(cmd.Process.Pid, 0)
	}
	stdout.finish()
	stderr.finish()
	if !launched {
		fmt.Fprintf(l.stderr, "-----> Launch refused: one of the app's launch scripts ended with exit status %d\n", exitStatus(status))
		return max(exitStatus(status), 1), nil
	}
	return exitStatus(status), err
}

// environment returns the environment of the launcher's bash, as env.go's CalcEnv does.
func (l launcher) environment() environ {
	env := maps.Clone(l.env)
	env["HOME"] = filepath.Join(l.vcap, "app")
	env["TMPDIR"] = filepath.Join(l.vcap, "tmp")
	env["DEPS_DIR"] = filepath.Join(l.vcap, "deps")
	if uri := databaseURL(env["VCAP_SERVICES"]); uri != "" {
		env["DATABASE_URL"] = uri
	}
	return env
}

// databaseURL returns the first credential uri with a known scheme, as Rails spells it, or "". Like
// the platform, it understands only a string. The platform takes the labels in random order, we
// take them in alphabetical order.
//
// Source: buildpackapplifecycle, databaseuri.
func databaseURL(vcapServices string) string {
	var services map[string][]struct {
		Credentials struct{ URI string }
	}
	if json.Unmarshal([]byte(vcapServices), &services) != nil {
		return ""
	}
	schemes := map[string]string{"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres"}
	for _, label := range slices.Sorted(maps.Keys(services)) {
		for _, service := range services[label] {
			uri, err := url.Parse(service.Credentials.URI)
			if err != nil || schemes[uri.Scheme] == "" {
				continue
			}
			uri.Scheme = schemes[uri.Scheme]
			return uri.String()
		}
	}
	return ""
}

// report prints the variables that the app sees. The launch script wrote them to dump.
func (l launcher) report(before environ, dump string) error {
	content, err := os.ReadFile(dump)
	if err != nil {
		return err
	}
	fmt.Fprintln(l.log, "-----> Variables that the app sees, set at launch:")
	printVariables(l.log, before, environOf(strings.Split(string(content), "\x00")))
	return os.Remove(dump)
}

// waitFor waits until a child process ends or, with WUNTRACED, stops. os.Process cannot wait for a
// stop.
func waitFor(pid, options int) (status syscall.WaitStatus) {
	for {
		if _, err := syscall.Wait4(pid, &status, options, nil); err != syscall.EINTR {
			return status
		}
	}
}

// exitStatus returns the status as a shell does: 128 plus the signal's number, if a signal ended
// the program.
func exitStatus(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// secret are the variables with bindings. A launch with a tunnel changes them.
var secret = []string{"DATABASE_URL", "POSTGRES_SSL_ORIGINALS", "VCAP_SERVICES"}

// printVariables prints the variables that differ from before, except those that bash itself sets.
func printVariables(w io.Writer, before, after environ) {
	shown := 0
	for _, name := range slices.Sorted(maps.Keys(after)) {
		value := after[name]
		if old, ok := before[name]; ok && old == value || slices.Contains([]string{"_", "OLDPWD", "PWD", "SHLVL"}, name) {
			continue
		}
		shown++
		switch {
		case slices.Contains(secret, name):
			value = "... (not shown: it holds passwords)"
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }):
			value = strconv.Quote(value)
		}
		fmt.Fprintf(w, "       %s=%s\n", name, value)
		if name == "SSL_CERT_DIR" {
			for _, dir := range strings.Split(value, ":") {
				fmt.Fprintf(w, "       %5d certificate files in %s\n", certificateFiles(dir), dir)
			}
		}
	}
	if shown == 0 {
		fmt.Fprintln(w, "       none")
	}
}

func certificateFiles(dir string) int {
	entries, _ := os.ReadDir(dir) // OpenSSL and Go treat a missing folder as empty
	count := 0
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err == nil && bytes.Contains(content, []byte("-----BEGIN CERTIFICATE-----")) {
			count++
		}
	}
	return count
}
