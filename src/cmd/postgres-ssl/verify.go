package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/verify"
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

// runVerify connects to the bound databases, and prints what it finds.
func runVerify(args []string, env map[string]string, in io.Reader, out, _ io.Writer) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	services := flags.String("services", "", "")
	asJSON := flags.Bool("json", false, "")
	timeout := flags.Duration("timeout", 10*time.Second, "")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	if *timeout <= 0 {
		return fmt.Errorf("%w: --timeout must be more than 0s", staging.ErrUsage)
	}
	app, running, err := boundTo(env, *services, in)
	if err != nil {
		return undecided{err}
	}
	targets, plan, err := verifyTargets(app, running)
	if err != nil {
		return undecided{err}
	}
	report := verify.Run(context.Background(), targets, plan.Warnings, *timeout)
	if *services == "" {
		report.Drivers = append(report.Drivers, appDrivers(app, plan)...)
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = report.Write(out, colourful(out, env))
	}
	if err == nil && !report.OK {
		err = errSaid
	}
	return err
}

// appDrivers names the Postgres drivers of the app in this program's droplet, as staging does.
func appDrivers(env map[string]string, plan *launch.Plan) []string {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	found, skipped := drivers.FindIn(filepath.Join(filepath.Dir(program), "..", "..", "..", "app"))
	if len(found) == 0 {
		return nil // no driver, or no droplet
	}
	return driverLines(found, skipped, drivers.In(env, plan))
}

// verifyTargets reads the bindings and decides as a launch does.
func verifyTargets(env map[string]string, running *originals) ([]verify.Target, *launch.Plan, error) {
	store, err := openStore()
	if err != nil {
		return nil, nil, err
	}
	bindings, err := binding.Read(env)
	if err != nil {
		return nil, nil, err
	}
	plan, err := launch.Decide(env, bindings, store)
	if err != nil {
		return nil, nil, err
	}
	if len(plan.Databases) == 0 {
		return nil, nil, errors.New("no Postgres database is bound")
	}
	running.trust(plan)
	targets, err := planTargets(env, plan, store, false)
	return targets, plan, err
}

// planTargets returns what to verify in an app with this plan and this environment, one target for
// each of the plan's databases. launching says that the environment is a launch's own.
func planTargets(env map[string]string, plan *launch.Plan, store truststore.Store, launching bool) ([]verify.Target, error) {
	stores, err := truststore.SystemFiles(env)
	if err != nil {
		return nil, err
	}
	trust := plan.TrustAll()
	var system []byte
	if trust.Everyone {
		if system, err = truststore.System(env); err != nil {
			return nil, err
		}
	}
	bundle, err := client.Bundle(plan, trust, system)
	if err != nil {
		return nil, err
	}
	return verify.Targets(verify.Given{Env: env, Plan: plan, Store: store, Stores: stores, Bundle: bundle, Launch: launching})
}

// gateVariable is the variable with which the app's owner asks for a check at each start.
const gateVariable = "POSTGRES_SSL_VERIFY"

// gateTimeout is how long a start waits for a database that does not answer.
const gateTimeout = 10 * time.Second

// gate connects to the databases before the app starts, in the way that the app will: with the
// owner's variables, and the plan's for the rest. It does nothing unless its variable is set. If
// the app must not start, it prints why, a line for each database.
func gate(env map[string]string, plan *launch.Plan, store truststore.Store, errOut io.Writer) error {
	switch env[gateVariable] {
	case "":
		return nil
	case "start":
	default:
		return errors.New(gateVariable + " has only one valid value, start: set it to that, or unset it")
	}
	if len(plan.Databases) == 0 {
		fmt.Fprintln(errOut, "postgres-ssl: no Postgres database is bound; there is nothing to verify")
		return nil
	}
	targets, err := planTargets(env, plan, store, true)
	if err != nil {
		return err
	}
	lines, open := verify.Gate(context.Background(), targets, gateTimeout)
	for _, line := range lines {
		fmt.Fprintln(errOut, "postgres-ssl:", line)
	}
	if !open {
		return errSaid
	}
	return nil
}

// colourful says whether out is a terminal whose user wants colours (https://no-color.org).
func colourful(out io.Writer, env map[string]string) bool {
	return env["NO_COLOR"] == "" && env["TERM"] != "dumb" && isTerminal(out)
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
