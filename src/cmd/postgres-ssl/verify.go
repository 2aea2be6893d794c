package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/verify"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

const verifyHelp = `Usage: postgres-ssl verify [--services FILE] [--json] [--timeout 10s]

Connects to the bound databases as the app does, and says what is wrong, if anything.

  --json            the same for programs
  --timeout 10s     how long one database may take
` + servicesHelp + bindingsHelp + `
In colour on a terminal, unless NO_COLOR is set.

Exit status: 0 every database is encrypted as its mode asks, and no session of its user is in
plain text, 1 something is not, 2 the command was not understood, the bindings cannot be read,
or no database is bound.
`

func runVerify(c *call) error {
	services := c.String("services", "", "")
	asJSON := c.Bool("json", false, "")
	timeout := c.Duration("timeout", 10*time.Second, "")
	if _, err := c.parse(0); err != nil {
		return err
	}
	if *timeout <= 0 {
		return fmt.Errorf("%w: --timeout must be more than 0s", staging.ErrUsage)
	}
	app, _, err := c.boundTo(*services, launch.Decide)
	if err != nil {
		return err
	}
	switch {
	case len(app.Plan.Unresolved) > 0:
		return fmt.Errorf("%s: %s", app.Plan.Unresolved[0], launch.InCredHub)
	case len(app.Plan.Databases) == 0:
		return errors.New("no Postgres database is bound")
	}
	report := verify.Run(context.Background(), wire.Targets(app, false), app.Plan.Warnings, *timeout)
	if program, err := os.Executable(); err == nil && *services == "" {
		folder := filepath.Join(filepath.Dir(program), "..", "..", "..", "app")
		if look := drivers.LookIn(folder, app.Env); len(look.Found)+len(look.Signs) > 0 { // else there is no droplet, or no driver
			report.Drivers = append(report.Drivers, driverLines(look.In(app.Plan))...)
		}
		// cflinuxfs5's /etc/ssl/openssl.cnf includes this file (the stack's Dockerfile).
		if _, err := os.Stat(filepath.Join(folder, "openssl.cnf")); err == nil {
			report.Warnings = append(report.Warnings, "on cflinuxfs5, the app's openssl.cnf governs what uses OpenSSL: "+
				"its clients may ask for less, or for more, than is tried here")
		}
	}
	if *asJSON {
		err = writeJSON(c.out, report, "  ")
	} else {
		err = report.Write(c.out, c.env["NO_COLOR"] == "" && c.env["TERM"] != "dumb" && isTerminal(c.out)) // https://no-color.org
	}
	if err == nil && !report.OK {
		err = said(1)
	}
	return err
}

// writeJSON writes what a command has found, for programs. Without an indent, it is one line.
func writeJSON(out io.Writer, found any, indent string) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	return encoder.Encode(found)
}

const (
	gateVariable = "POSTGRES_SSL_VERIFY" // with it, the app's owner asks for a check at each start
	gateTimeout  = 10 * time.Second      // how long a start waits for a database that does not answer
)

// gate connects to the databases before the app starts, in the way that the app will, if its owner
// asks for that. It returns what to say, and whether the app may start. shell is the command line of
// the process that becomes the app, as in /proc: people need the tools that explain a bad server.
func gate(app current.App, shell []byte) (lines []string, open bool) {
	switch {
	case app.Env[gateVariable] == "" || isTool(shell):
		return nil, true
	case len(app.Plan.Databases) == 0:
		return []string{"no Postgres database is bound; there is nothing to verify"}, true
	}
	return verify.Gate(context.Background(), wire.Targets(app, true), gateTimeout)
}

// isTool says whether a shell of the platform will only run a tool: one simple command of this
// program, without operators, redirections and expansions (POSIX, "Shell Command Language", 2.9.1),
// or the bash that people get with cf ssh. The platform's launcher and shell both begin as
// bash -c SCRIPT NAME FOLDER COMMAND (buildpackapplifecycle, launcher_unix.go and exec_unix.go).
func isTool(shell []byte) bool {
	args := strings.Split(string(shell), "\x00")
	return len(args) > 5 && slices.Equal(args[:2], []string{"bash", "-c"}) && tool().MatchString(args[5])
}

var tool = lazyregexp.New(`^[ \t]*(bash|([\w./-]+/deps/\d+/bin/)?postgres-ssl([ \t]+[\w./:=,@%+-]+)*)[ \t]*$`)

func isTerminal(out io.Writer) bool {
	file, _ := out.(*os.File) // nil has no Stat
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
