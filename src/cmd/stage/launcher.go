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

// The launcher's script: one bash without -e or -u, file names unquoted, which becomes the app by exec.
// $1 is the app's folder, $2 the command. The two lines with $3 and $4 are ours: the shell writes the
// environment that the app gets to the file $3, and stops itself until stage has printed it; $4 is the
// app's stdout. They are paths, not descriptors, as what a launch script starts would inherit those.
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
	vcap                string // stands for /home/vcap
	env                 environ
	log, stdout, stderr io.Writer
}

// launch runs the app's launch scripts and prints the variables that the app would see. Then the same
// process becomes command, or ends if there is none. launch returns its exit status as soon as nobody
// holds its outputs open any more: the platform waits for their end, too.
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
		for s := range signals { // COMMAND decides what a signal does, as the app would
			if cmd.Process.Signal(s) != nil { // it is gone: we wait for what it left behind, but no longer
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

// environment is the one that the launcher starts its bash with: env.go's CalcEnv.
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

// databaseURL is the first credential uri of a known scheme, in the form that Rails knows; empty if there is none.
// buildpackapplifecycle, databaseuri: there, too, nothing but a string as uri is understood. The labels come in
// random order there, in alphabetical order here.
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

// report prints the variables that the app sees, from the file that the launch script wrote.
func (l launcher) report(before environ, dump string) error {
	content, err := os.ReadFile(dump)
	if err != nil {
		return err
	}
	fmt.Fprintln(l.log, "-----> Variables that the app sees, set at launch:")
	printVariables(l.log, before, environOf(strings.Split(string(content), "\x00")))
	return os.Remove(dump)
}

// waitFor waits until a child process has ended or, with WUNTRACED, is stopped: os.Process cannot.
func waitFor(pid, options int) (status syscall.WaitStatus) {
	for {
		if _, err := syscall.Wait4(pid, &status, options, nil); err != syscall.EINTR {
			return status
		}
	}
}

// exitStatus is the shell's: 128 and the signal's number for a program that a signal ended.
func exitStatus(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// secret are the variables with the bindings, which a launch with a tunnel changes.
var secret = []string{"DATABASE_URL", "POSTGRES_SSL_ORIGINALS", "VCAP_SERVICES"}

// printVariables prints what differs from before, without what bash itself sets.
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
	entries, _ := os.ReadDir(dir) // OpenSSL and Go take a missing folder for an empty one
	count := 0
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err == nil && bytes.Contains(content, []byte("-----BEGIN CERTIFICATE-----")) {
			count++
		}
	}
	return count
}
