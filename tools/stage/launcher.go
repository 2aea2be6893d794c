// Launch: what Diego's launcher does with a droplet (buildpackapplifecycle, launcher and env).

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	"sync"
	"syscall"
	"time"
)

// The launcher's script: one bash without -e or -u, with unquoted file names, which becomes the app
// by exec. $1 is the app's folder, $2 the command. The line with $3 is ours: it writes the app's
// environment to that file, so that we know of it, and that no script refused the launch.
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
/usr/bin/env -0 >|"$3" || exit
exec bash -c "$2"
`

type launcher struct {
	vcap           string // in place of /home/vcap
	env            environ
	stdout, stderr io.Writer
}

// launch runs the app's launch scripts. Then the same process becomes command, or ends if there is
// none: then launch prints the variables that the app would see. Like the platform, it waits until
// nobody has the process's outputs open any more. It returns the process's exit status.
func (l launcher) launch(ctx context.Context, command string) (int, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	before, dump := l.environment(), l.vcap+".env"
	cmd := exec.Command("bash", "-c", launchScript, "launcher", before["HOME"], command, dump)
	cmd.Env, cmd.Stdin = before.list(), os.Stdin
	outputs, err := start(cmd, l.stdout, l.stderr)
	if err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // its ProcessState says how it went
		outputs.copying.Wait()
		close(ended)
	}()
	for waiting := true; waiting; {
		select {
		case s := <-signals: // COMMAND handles the signal, as the app would
			if cmd.Process.Signal(s) != nil { // COMMAND is gone: stop waiting for its children
				outputs.interrupt()
			}
		case <-ended:
			waiting = false
		}
	}
	status := exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus))
	content, err := os.ReadFile(dump)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(l.stderr, "-----> Launch refused: one of the app's launch scripts ended with exit status %d\n", status)
		return max(status, 1), nil
	}
	if err == nil && command == "" {
		fmt.Fprintln(l.stdout, "-----> Variables that the app sees, set at launch:")
		printVariables(l.stdout, before, environOf(strings.Split(string(content), "\x00")))
	}
	return status, err
}

// outputs are the pipes that a process and its children write to. We pass on what they write.
type outputs struct {
	pipes   []*os.File
	copying sync.WaitGroup // done when nobody has a pipe open any more
}

// start starts a process whose outputs go to stdout and stderr.
func start(cmd *exec.Cmd, stdout, stderr io.Writer) (*outputs, error) {
	o := &outputs{}
	pipe := func(to io.Writer) (*os.File, error) {
		r, w, err := os.Pipe()
		if err == nil {
			o.pipes = append(o.pipes, r)
			o.copying.Go(func() {
				defer r.Close() // if we cannot write any more, the app must get a SIGPIPE
				io.Copy(to, r)
			})
		}
		return w, err
	}
	out, err := pipe(stdout)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	errOut, err := pipe(stderr)
	if err != nil {
		return nil, err
	}
	defer errOut.Close()
	cmd.Stdout, cmd.Stderr = out, errOut
	return o, cmd.Start()
}

// interrupt ends the copying, though the pipes may still be open.
func (o *outputs) interrupt() {
	for _, r := range o.pipes {
		r.SetReadDeadline(time.Now())
	}
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
			value = "... (not shown: it has passwords)"
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
