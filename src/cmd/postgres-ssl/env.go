package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

const envHelp = `Usage: postgres-ssl env [--launch PID]
       postgres-ssl env --explain [--services FILE]

Prints the export lines of a launch. The launch script evaluates them.

  --launch PID      the process that becomes the app: a tunnel ends with it
  --explain         say what a launch would export, and why
` + servicesHelp + bindingsHelp + `
What the app's owner can set:
    DB_SSL_MODE, PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY, PGSSL, NODE_EXTRA_CA_CERTS,
    CF_CA_CERTS             stay as they are
    POSTGRES_SSL_MODE       the sslmode of bindings that carry none
    POSTGRES_SSL_SERVICE    the name of the service that decides, where several are bound
    POSTGRES_SSL_VERIFY     "start": the app starts only if each bound database that answers
                            is encrypted and verified
    POSTGRES_SSL_STAGING    "no": what later buildpacks run at staging is left alone
    POSTGRES_SSL_TUNNEL     "yes", or names of services, separated by commas: the app reaches their
                            databases through a tunnel, for drivers that read no variable;
                            "no": no tunnel, not even one that a start would take by itself

Exit status: 0 done, 1 something is wrong, and an app would not start, 2 the command was not
understood.
`

func runEnv(c *call) error {
	explained := c.Bool("explain", false, "")
	services := c.String("services", "", "")
	pid := c.Int("launch", 0, "")
	if _, err := c.parse(0); err != nil {
		return err
	}
	if *services != "" && !*explained {
		return fmt.Errorf("%w: --services works only with --explain", staging.ErrUsage)
	}
	app, running, err := c.boundTo(*services, launch.Decide)
	if err != nil {
		return err
	}
	if *explained {
		if _, err := app.Plan.Redirect(app.Env); err != nil {
			return err
		}
		handout, err := app.HandOutHere("")
		if err != nil {
			return err
		}
		sections, err := explain.Plan(app, handout, time.Now())
		if err != nil {
			return err
		}
		buffer := bufio.NewWriter(c.out) // Flush returns the first error
		explain.Say(sections, printer(buffer, ""), printer(buffer, "  "), printer(buffer, "warning: "))
		return buffer.Flush()
	}
	if !app.Store.LaidOut {
		return errors.New("env is for the launch of a staged app; anywhere else, use env --explain")
	}
	wanted, _ := app.Plan.Tunnelled()
	redirection, running, err := startTunnel(app, running, *pid)
	if err != nil {
		return err
	}
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", *pid)) // no process, or no word of Node's switch in it
	handout, err := app.HandOutHere(string(command))
	if err != nil {
		return err
	}
	if redirection != nil {
		if err := redirect(handout, app.Env, redirection, running); err != nil {
			return err
		}
	} else if wanted { // what is asked in this app later must not say that it has a tunnel
		handout.Variables = append(handout.Variables, client.Variable{Name: "POSTGRES_SSL_TUNNEL", Value: "no"})
	}
	if err := current.Write(handout); err != nil {
		return err
	}
	says := slices.Concat(app.Plan.Downgrades, handout.Warnings)
	if tunnel, byItself := app.Plan.DescribeTunnel(); byItself {
		says = append(says, tunnel)
	}
	say := func(lines []string) {
		for _, line := range lines {
			fmt.Fprintf(c.errOut, "postgres-ssl: %s\n", plain.Line(line))
		}
	}
	say(says) // the gate may wait
	found, open := gate(app, command)
	say(found)
	if !open {
		return said(1)
	}
	lines := exportLines(handout.Variables)
	if app.Env[gateVariable] != "" {
		lines += "unset " + gateVariable + "\n" // once per start: the script may be sourced again
	}
	_, err = io.WriteString(c.out, lines)
	return err
}

// boundTo returns this app, with the bindings as the platform gave them, or the app of a document. path
// is the document's file, "-" for standard input, or "" for none. A document replaces the whole
// environment, because an operator may have set PGSSLMODE for something else. If a launch has
// started a tunnel, boundTo returns it as running, and the app trusts it.
func (c *call) boundTo(path string, rules current.Rules) (app current.App, running *originals, err error) {
	var env map[string]string
	var document []byte
	switch path {
	case "":
		if env, running, err = withOriginals(c.env); err == nil {
			app, err = current.Open(env, rules)
		}
		if err == nil && running != nil {
			app.Plan.TunnelCA, err = truststore.ParseCredential(running.CA)
		}
		return app, running, err
	case "-":
		path = "standard input"
		document, err = io.ReadAll(c.in)
	default:
		document, err = os.ReadFile(path)
	}
	if err != nil {
		return app, nil, err
	}
	if env, err = cf.Environment(document); err != nil {
		return app, nil, fmt.Errorf("%s: %w", path, err)
	}
	app, err = current.Elsewhere(env)
	return app, nil, err
}

// exportLines writes the variables for the app's shell, but not those that the owner set. The
// quotes are around name and value together: with "set -k" a shell takes NAME='value' away from
// export, which then sets nothing and prints the whole environment. Between single quotes, each byte
// except the single quote stands for itself (bash's manual, "Single Quotes"). If a script has made a
// variable readonly, the app does not start.
func exportLines(vars []client.Variable) string {
	var b strings.Builder
	for _, v := range vars {
		if !v.Kept {
			fmt.Fprintf(&b, "export '%s' || exit 1\n", strings.ReplaceAll(v.Name+"="+v.Value, "'", `'\''`))
		}
	}
	return b.String()
}

func printer(out io.Writer, prefix string) func(format string, args ...any) {
	return func(format string, args ...any) { fmt.Fprintf(out, prefix+format+"\n", args...) }
}
