// Command postgres-ssl puts the sslmode of bound Postgres databases in force: supply and finalize at staging, env at launch.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cloudfoundry-community/go-cfenv"
	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/tunnel"
)

const usage = `Usage:
    postgres-ssl env [--launch PID]              print the export lines of a launch; PID is the process
                                                 that a tunnel goes with
    postgres-ssl env --explain                   say what a launch would export, and why
    postgres-ssl env --explain --services FILE   the same for other bindings: the JSON of
                                                 VCAP_SERVICES, an answer of
                                                 "cf curl /v3/apps/GUID/env", or the text
                                                 of "cf env APP"; "-" is standard input
    postgres-ssl verify [--services FILE] [--json] [--timeout 10s]
                                                 connect to the bound databases as the app
                                                 does, and say what is wrong, if anything
    postgres-ssl drivers [DIR] [--json]          name the Postgres drivers in an app's folder, and
                                                 what each does with the bindings' sslmode
    postgres-ssl help                            this text
    postgres-ssl version                         the version

For the platform, called by bin/supply and bin/finalize:
    postgres-ssl supply   BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX
    postgres-ssl finalize BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX PROFILE_DIR

The bindings are read from VCAP_SERVICES, VCAP_SERVICES_FILE_PATH or SERVICE_BINDING_ROOT.

What the app's owner can set:
    DB_SSL_MODE, PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY, PGSSL, NODE_EXTRA_CA_CERTS,
    CF_CA_CERTS             stay as they are
    POSTGRES_SSL_MODE       the sslmode of bindings that carry none
    POSTGRES_SSL_SERVICE    the name of the service that decides, where several are bound
    POSTGRES_SSL_VERIFY     "start": the app starts only if each bound database that answers
                            is encrypted and verified
    POSTGRES_SSL_TUNNEL     "yes", or names of services, separated by commas: their databases are
                            reached through a tunnel on 127.0.0.1, for drivers that read no variable

Exit status: 0 done, 1 something is wrong, 2 the command was not understood. Of verify: 0 every
database is encrypted as its mode asks, and no session of its user is in plain text, 1 something
is not, 2 the command was not understood, the bindings cannot be read, or no database is bound.
`

// version is stamped by the build.
var version = "unknown"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the command without the process: it returns the exit status.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "supply":
		var helper string
		if helper, err = os.Executable(); err == nil {
			err = staging.Supply(args, cfenv.CurrentEnv(), helper, out)
		}
	case "finalize":
		err = staging.Finalize(args, out)
	case "env":
		err = runEnv(args, cfenv.CurrentEnv(), in, out, errOut)
	case "verify":
		return runVerify(args, cfenv.CurrentEnv(), in, out, errOut)
	case "tunnel":
		err = tunnel.Run(in, tunnelTargets)
	case "drivers":
		err = runDrivers(args, cfenv.CurrentEnv(), out)
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
	case "version", "--version":
		fmt.Fprintln(out, "postgres-ssl", version)
	default:
		err = staging.ErrUsage
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, staging.ErrUsage):
		fmt.Fprint(errOut, usage)
		return 2
	case errors.Is(err, errGateClosed):
	case command == "supply" || command == "finalize":
		staging.Fail(libbuildpack.NewLogger(out), err)
	default:
		fmt.Fprintf(errOut, "postgres-ssl: %s\n", staging.Printable(err.Error()))
	}
	return 1
}
