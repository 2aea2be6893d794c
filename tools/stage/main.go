// Command stage stages an app as the platform's builder does, and starts it as the launcher does.
// With it, you can try this buildpack on your own bindings without a platform. scripts/stage.sh
// builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const usage = `Usage: scripts/stage.sh [--services FILE] [--final finalize|compile|none] APP_DIR [-- COMMAND...]

Stages the app in APP_DIR with this buildpack, as the platform's builder does, and starts it as the
launcher does. Prints the staging log and then the variables that the app would see, or runs COMMAND
with them. Does not change APP_DIR.

  APP_DIR           the app's folder, as for cf push; of a jar, what is in it
  --services FILE   the app's VCAP_SERVICES: {"LABEL": [{"name": ..., "credentials": {...}}]}
                    By default, those of the environment: VCAP_SERVICES, VCAP_SERVICES_FILE_PATH or
                    SERVICE_BINDING_ROOT. If none is set, fixtures/services/cups-seed.json.
  --final WHICH     the buildpack that comes after this one:
                      compile    has no bin/finalize, like stratos-buildpack (the default)
                      finalize   is built on libbuildpack, like binary_buildpack or go_buildpack
                      none       this buildpack is the only one
  COMMAND           runs with those variables, in the app's folder. A single word is a shell command
                    line. The staging log goes to stderr then.
                    As on the platform, it lasts until no process has its stdout or stderr open.

Other variables of the environment reach staging and the app as if set with cf set-env. Exceptions are
SSL_CERT_FILE, SSL_CERT_DIR and NODE_EXTRA_CA_CERTS, which tell this machine's programs whom to trust.

Exit status: COMMAND's, or 0 without one; that of the script that refused to start the app; 1 if
staging fails; 2 for wrong usage.

  scripts/stage.sh --services vcap_services.json ../console
  scripts/stage.sh --services vcap_services.json ../console -- postgres-ssl verify
  scripts/stage.sh fixtures/stratos -- ./portal-proxy
  DB_SSL_MODE=require scripts/stage.sh fixtures/stratos -- 'echo $DB_SSL_MODE'
`

// The part of an app's VCAP_APPLICATION that may matter to a buildpack.
const vcapApplication = `{"application_id":"0dd9b7a6-6d5f-4f0c-8a3c-3d1f6a1b5c11","application_name":"app","name":"app",` +
	`"application_uris":[],"organization_name":"local","space_name":"local"}`

func main() {
	// scripts/stage.sh built this program in a temporary file. Once it runs, it does not need the
	// file.
	if binary := os.Getenv("STAGE_BINARY"); binary != "" {
		os.Remove(binary)
		os.Unsetenv("STAGE_BINARY")
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "stage: the buildpack's folder is missing; run scripts/stage.sh instead")
		os.Exit(2)
	}
	// Catch SIGPIPE too: the folders must go even if the log is piped to head or grep -q.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	status := run(ctx, os.Args[1], os.Args[2:], environOf(os.Environ()), os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run does the work of scripts/stage.sh with the buildpack in the folder root. It returns the exit
// status.
func run(ctx context.Context, root string, args []string, env environ, stdout, stderr io.Writer) int {
	o, err := parse(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "stage.sh: %v\n\n%s", err, usage)
		return 2
	case o.help:
		fmt.Fprint(stdout, usage)
		return 0
	}
	log := stdout
	if o.command != "" {
		log = stderr
	}
	place, err := os.MkdirTemp("", "launch-")
	if err == nil {
		defer removeAll(place)
		env = maps.Clone(env)
		for _, machines := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"} {
			delete(env, machines)
		}
		err = stage(ctx, root, o, env, place, log, stderr)
	}
	status := 0
	if err == nil {
		l := launcher{vcap: filepath.Join(place, "home", "vcap"), env: env, stdout: stdout, stderr: stderr}
		if status, err = l.launch(ctx, o.command); err != nil {
			err = fmt.Errorf("stage.sh: cannot launch the app: %w", err)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("stage.sh: interrupted")
		}
		fmt.Fprintln(stderr, err)
		return 1
	}
	return status
}

// stage completes the environment, stages the app, and unpacks its droplet to home/vcap in place.
func stage(ctx context.Context, root string, o options, env environ, place string, log, stderr io.Writer) error {
	app, err := filepath.Abs(o.app)
	if err != nil {
		return err
	}
	if info, err := os.Stat(app); err != nil || !info.IsDir() {
		return fmt.Errorf("stage.sh: APP_DIR %s is not a folder; unpack a jar or a zip first, as cf push does", o.app)
	}
	bindings, err := env.bind(root, o.services)
	if err != nil {
		return err
	}
	fmt.Fprintln(log, "-----> Bindings:", bindings)
	fmt.Fprintf(log, "-----> Staging %s (final buildpack: %s)\n", o.app, o.final)

	env.setDefault("VCAP_APPLICATION", vcapApplication)
	b := builder{buildpacks: []string{root}, env: maps.Clone(env), log: log, stderr: stderr}
	b.env.setDefault("CF_STACK", "cflinuxfs4")
	if o.final != "none" {
		b.buildpacks = append(b.buildpacks, filepath.Join(root, "fixtures", "buildpacks", o.final))
	}
	droplet, vcap := filepath.Join(place, "droplet.tar"), filepath.Join(place, "home", "vcap")
	if err := b.build(ctx, app, droplet); err != nil {
		return err
	}
	if err := os.MkdirAll(vcap, 0o755); err != nil {
		return err
	}
	if output, err := command(ctx, "tar", "-xf", droplet, "-C", vcap).CombinedOutput(); err != nil {
		return fmt.Errorf("stage.sh: cannot unpack the droplet in %s: %w: %s", vcap, err, output)
	}
	return nil
}

type options struct {
	services, final, app string
	command              string // or ""
	help                 bool
}

func parse(args []string) (options, error) {
	o := options{final: "compile"}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "-h" || word == "--help":
			return options{help: true}, nil
		case word == "--services" && len(args) > 0:
			o.services, args = args[0], args[1:]
		case word == "--final" && len(args) > 0:
			o.final, args = args[0], args[1:]
		case word == "--":
			if o.command = strings.Join(args, " "); len(args) > 1 {
				o.command = quote(args...)
			}
			if o.command == "" {
				return o, errors.New("COMMAND is missing after --")
			}
			args = nil
		case word == "--services" || word == "--final":
			return o, fmt.Errorf("the value of %s is missing", word)
		case strings.HasPrefix(word, "-"):
			return o, fmt.Errorf("unknown option %s", word)
		case o.app != "":
			return o, fmt.Errorf("unexpected %s after APP_DIR; COMMAND comes after --", word)
		default:
			o.app = word
		}
	}
	if o.app == "" {
		return o, errors.New("APP_DIR is missing")
	}
	if !slices.Contains([]string{"finalize", "compile", "none"}, o.final) {
		return o, fmt.Errorf("--final %s: must be finalize, compile or none", o.final)
	}
	return o, nil
}

type environ map[string]string

func environOf(list []string) environ {
	env := environ{}
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

func (env environ) list() []string {
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

func (env environ) setDefault(name, value string) {
	if env[name] == "" {
		env[name] = value
	}
}

// bind puts the bindings into the environment and says where they come from. The platform delivers
// them in one of three forms, with absolute paths.
func (env environ) bind(root, file string) (string, error) {
	forms := []string{"VCAP_SERVICES", "VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT"}
	source := file
	if file == "" {
		for _, name := range forms {
			value, ok := env[name]
			if !ok {
				continue
			}
			if name != "VCAP_SERVICES" && !filepath.IsAbs(value) {
				absolute, err := filepath.Abs(value)
				if err != nil {
					return "", err
				}
				env[name] = absolute
			}
			return name + " of the environment", nil
		}
		file = filepath.Join(root, "fixtures", "services", "cups-seed.json")
		source = "fixtures/services/cups-seed.json (an example; --services FILE takes yours)"
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("stage.sh: cannot read the bindings: %w", err)
	}
	for _, name := range forms {
		delete(env, name)
	}
	env["VCAP_SERVICES"] = string(content)
	return source, nil
}

// quote joins words to a shell command line.
func quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// removeAll also removes read-only folders, which os.RemoveAll cannot. A buildpack may keep Go's
// module cache in its cache folder, and Go makes that read-only.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	os.RemoveAll(dir)
}
