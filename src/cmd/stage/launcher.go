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
	"syscall"
)

// The launcher's script: one bash without -e or -u, file names unquoted. $1 is the app's folder, $2 the command.
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
exec bash -c "$2"
`

type launcher struct {
	vcap                string // stands for /home/vcap
	env                 environ
	log, stdout, stderr io.Writer
}

// launch prints the variables that the app would see; then it runs command, if there is one, and returns its status.
func (l launcher) launch(ctx context.Context, command string) int {
	before := l.environment()
	after, status := l.source(ctx, before)
	if after == nil {
		fmt.Fprintf(l.stderr, "-----> Launch refused: one of the app's launch scripts ended with exit status %d\n", status)
		return max(status, 1)
	}
	fmt.Fprintln(l.log, "-----> Variables that the app sees, set at launch:")
	printVariables(l.log, before, after)
	if command == "" {
		return 0
	}
	return l.exec(after, command)
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

// source runs the launcher's script up to the point where the app would start, and returns the environment that it
// has there; nil and the exit status if it does not get there.
func (l launcher) source(ctx context.Context, env environ) (environ, int) {
	dump := l.vcap + ".env"
	cmd := command(ctx, "bash", "-c", launchScript, "launcher", env["HOME"], "/usr/bin/env -0 >"+quote(dump))
	cmd.Env, cmd.Stdout, cmd.Stderr = env.list(), l.log, l.stderr
	err := cmd.Run()
	content, missing := os.ReadFile(dump)
	os.Remove(dump)
	if err != nil || missing != nil {
		return nil, exitStatus(err, l.stderr)
	}
	return environOf(strings.Split(string(content), "\x00")), 0
}

// exec runs the command as the launcher's script would have: with its environment, in the folder it ended in.
func (l launcher) exec(env environ, command string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	cmd := exec.Command("bash", "-c", command)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = env.list(), env["PWD"], os.Stdin, l.stdout, l.stderr
	if err := cmd.Start(); err != nil {
		return exitStatus(err, l.stderr)
	}
	go func() {
		for s := range signals { // COMMAND decides what a signal does, as the app would
			cmd.Process.Signal(s)
		}
	}()
	return exitStatus(cmd.Wait(), l.stderr)
}

// exitStatus is the shell's: 128 and the signal's number for a program that a signal ended.
func exitStatus(err error, stderr io.Writer) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		fmt.Fprintln(stderr, "stage.sh:", err)
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// printVariables prints what differs from before, without what bash itself sets.
func printVariables(w io.Writer, before, after environ) {
	shown := 0
	for _, name := range slices.Sorted(maps.Keys(after)) {
		value := after[name]
		if old, ok := before[name]; ok && old == value || slices.Contains([]string{"_", "OLDPWD", "PWD", "SHLVL"}, name) {
			continue
		}
		shown++
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
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
