// Command postgres-ssl puts the sslmode of bound Postgres databases in force: supply and finalize
// at staging, env at launch.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cloudfoundry-community/go-cfenv"
	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
)

// version is set by the build.
var version = "unknown"

type command struct {
	name  string
	does  string // its line in the overview, "" if the command is not for people
	help  string // all that --help prints
	fails int    // the exit status of an error
	run   func(*call) error
}

type call struct {
	flag.FlagSet
	args        []string
	env         map[string]string
	in          io.Reader
	out, errOut io.Writer
}

// In the order of the overview.
var commands = []command{
	{"env", "print the export lines of a launch, or explain them", envHelp, 1, runEnv},
	{"verify", "connect to the bound databases as the app does, and say what is wrong", verifyHelp, 2, runVerify},
	{"drivers", "name the Postgres drivers in an app's folder, and whether they obey", driversHelp, 1, runDrivers},
	{"audit", "say which of many apps ask for a mode that they are not given", auditHelp, 2, runAudit},
	{"supply", "stage an app: for the platform, called by bin/supply", supplyHelp, 1, inLog(staging.Supply)},
	{"finalize", "the same, if this is the last buildpack: called by bin/finalize", finalizeHelp, 1, inLog(staging.Finalize)},
	{"tunnel", "", tunnelHelp, 1, runTunnel},
}

func overview() string {
	var b strings.Builder
	b.WriteString("Usage: postgres-ssl COMMAND [ARGUMENT...]\n\nPuts the sslmode of bound Postgres databases in force.\n\n")
	row := func(name, does string) { fmt.Fprintf(&b, "    %-10s %s\n", name, does) }
	for _, c := range commands {
		if c.does != "" {
			row(c.name, c.does)
		}
	}
	row("help", "this text, or the help of a command: postgres-ssl help env")
	row("version", "the version of this program")
	b.WriteString("\nThe help of a command lists its arguments and exit statuses.\n")
	return b.String()
}

// Parts of the help of several commands.
const (
	bindingsHelp = `
The bindings are read from VCAP_SERVICES, VCAP_SERVICES_FILE_PATH or SERVICE_BINDING_ROOT.
`
	servicesHelp = `  --services FILE   other bindings: the JSON of VCAP_SERVICES, an answer of
                    "cf curl /v3/apps/GUID/env", or the text of "cf env APP". "-" is standard
                    input. Only FILE counts then, nothing of your own environment, and no file that
                    it names is opened.
`
	exitHelp = `
Exit status: 0 done, 1 something is wrong, 2 the command was not understood.
`
)

const supplyHelp = `Usage: postgres-ssl supply BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX

Lays trust store, program and launch script into the droplet, and logs what a launch would do now.
` + bindingsHelp + exitHelp

const finalizeHelp = `Usage: postgres-ssl finalize BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX PROFILE_DIR

Puts the launch scripts of all buildpacks into PROFILE_DIR, and their programs on PATH.
` + exitHelp

// said is the exit status of a command that has already printed what is wrong.
type said int

func (s said) Error() string { return strconv.Itoa(int(s)) }

func main() {
	if err := dropGoVariables(); err != nil {
		fmt.Fprintln(os.Stderr, "postgres-ssl: cannot start without the app's Go variables:", err)
		os.Exit(1)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// dropGoVariables starts this program anew without the variables of Go's runtime, if there are any.
// They are meant for the app, and the runtime reads them before main (package runtime, "Environment
// Variables"). GODEBUG=fips140=only has no SHA-1, others change which certificates are accepted,
// and GOTRACEBACK=crash leaves passwords in a core dump.
func dropGoVariables() error {
	rest := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"}, name)
	})
	if len(rest) == len(os.Environ()) {
		return nil
	}
	self, err := os.Executable() // ps would show /proc/self/exe as "exe"
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, rest)
}

// run is the program without its process. It returns the exit status.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(errOut, overview())
		return 2
	}
	isHelp := func(arg string) bool { return arg == "--help" || arg == "-h" }
	asked := args[0] == "help" || slices.ContainsFunc(args, isHelp)
	name, args := args[0], args[1:]
	if len(args) > 0 && (name == "help" || isHelp(name)) {
		name = args[0]
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == name })
	switch {
	case name == "version" || name == "--version":
		fmt.Fprintln(out, "postgres-ssl", version)
		return 0
	case name == "help" || isHelp(name):
		fmt.Fprint(out, overview())
		return 0
	case i < 0:
		fmt.Fprint(errOut, "postgres-ssl: there is no such command\n\n", overview())
		return 2
	case asked:
		fmt.Fprint(out, commands[i].help)
		return 0
	}
	c := commands[i]
	// The product was asked to build on go-cfenv. This is all that it serves: one malformed service hides
	// the others from it, and it takes half of a launch's time. So src/binding reads the bindings.
	err := c.run(&call{args: args, env: cfenv.CurrentEnv(), in: in, out: out, errOut: errOut})
	var status said
	if err == nil || errors.As(err, &status) {
		return int(status)
	}
	fmt.Fprintf(errOut, "postgres-ssl: %s\n", plain.Line(err.Error()))
	if errors.Is(err, staging.ErrUsage) {
		fmt.Fprint(errOut, "\n", c.help)
		return 2
	}
	return c.fails
}

// parse reads the flags and the other arguments, of which there are so many at most, in any order.
func (c *call) parse(most int) (others []string, err error) {
	c.SetOutput(io.Discard)
	for err = c.Parse(c.args); err == nil && c.NArg() > 0; err = c.Parse(c.Args()[1:]) {
		others = append(others, c.Arg(0))
	}
	if err == nil && len(others) > most {
		err = errors.New("there are too many arguments")
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", staging.ErrUsage, err)
	}
	return others, err
}

// inLog makes a command of a part of the staging. The platform's log says why it stops.
func inLog(stage func([]string, map[string]string, io.Writer) error) func(*call) error {
	return func(c *call) error {
		err := stage(c.args, c.env, c.out)
		if err == nil || errors.Is(err, staging.ErrUsage) {
			return err
		}
		libbuildpack.NewLogger(c.out).Error("%s", plain.Line(err.Error()))
		return said(1)
	}
}
