// Package staging is the platform's side: bin/supply, bin/finalize and the staging log.
package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// ErrUsage says that the arguments are not those that the platform gives.
var ErrUsage = errors.New("the command was not understood")

// depsIndex is "0", or "00" with ten or more buildpacks. It becomes part of a shell script.
var depsIndex = lazyregexp.New(`^[0-9]+$`)

// ofLast explains the builder's warning about a last buildpack with only bin/compile, such as
// Stratos's. It comes right after our log, and sounds as if nothing would work.
var ofLast = explain.Section{Title: "If the platform warns that the last buildpack is not compatible with multi-buildpack apps",
	Lines: []string{"this buildpack works all the same: its launch script is in the app's .profile.d too"}}

// newStager reads BUILD_DIR CACHE_DIR DEPS_DIR DEPS_IDX, and PROFILE_DIR of bin/finalize.
func newStager(args []string, wanted int, log io.Writer) (*libbuildpack.Stager, *libbuildpack.Manifest, error) {
	if len(args) != wanted || !depsIndex().MatchString(args[3]) {
		return nil, nil, fmt.Errorf("%w: it takes %d arguments, and DEPS_IDX must be a number", ErrUsage, wanted)
	}
	buildpackDir, err := libbuildpack.GetBuildpackDir()
	if err != nil {
		return nil, nil, err
	}
	logger := libbuildpack.NewLogger(log)
	manifest, err := libbuildpack.NewManifest(buildpackDir, logger, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("the buildpack's manifest.yml cannot be read: %w", err)
	}
	return libbuildpack.NewStager(args, logger, manifest), manifest, nil
}

// Supply puts the trust store, this program and the launch script into the droplet. It logs what a
// launch would do with the present bindings, and fails if a launch would refuse them.
func Supply(args []string, env map[string]string, log io.Writer) error {
	stager, manifest, err := newStager(args, 4, log)
	if err != nil {
		return err
	}
	if err := stager.CheckBuildpackValid(); err != nil {
		return err
	}
	sets, err := truststore.Read(filepath.Join(manifest.RootDir(), "ca"))
	if err != nil {
		return err
	}
	store := truststore.NewStore(filepath.Join(current.Home, "deps", stager.DepsIdx(), "trust"), sets)
	app, err := current.App{Env: env, Store: store}.Read(launch.Foresee)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(stager.BuildDir()) // a link out of the app is not followed
	if err != nil {
		return err
	}
	defer root.Close()
	files, look := root.FS(), drivers.LookIn(stager.BuildDir(), env)
	app.Seen = client.Seen{JavaSays: plain.Line(configuresTLS(files, look)), PGSSLSays: plain.Line(look.WithoutPGSSL()),
		Carried: look.Carried(), Shows: look.Shows}
	app.Plan.Carry(app.Seen.Carried)
	if _, err := app.Plan.Redirect(env); err != nil {
		if err := app.Plan.Forgo(err); err != nil {
			app.Plan.Warnings = append(app.Plan.Warnings, err.Error()+"; as it is, the app would not start")
		}
	}
	// A later buildpack may add a language, and the launch may run on another version of the stack.
	handout, err := app.HandOut(client.App{Home: current.Home}, stager.BuildDir(), stager.DepsDir())
	if err != nil {
		return err
	}
	extra := explain.Section{Title: "Certificates of the platform team (ca/extra)"}
	for _, c := range sets[truststore.Extra] {
		extra.Add("%s, expires %s", truststore.Name(c.Subject), plain.Day(c.NotAfter))
	}
	plan, err := explain.Plan(app, handout, time.Now())
	if err != nil {
		return err
	}
	lines, warnings := look.In(app.Plan).Lines()
	says := append([]explain.Section{extra}, plan...)
	if handout.Gives("JAVA_TOOL_OPTIONS") {
		says = append(says, javaNotes(files, look.Signs, app.Plan.Mode, env))
	}
	says = append(says, explain.Section{Title: "Postgres drivers in this app", Lines: lines, Warnings: warnings})
	report(stager, says...)
	build, err := buildEnvironment(stager, app)
	if err != nil {
		return err
	}
	report(stager, ofLast)
	if err := install(stager, sets, app.Seen, build); err != nil {
		return err
	}
	stager.StagingComplete()
	return nil
}

func report(stager *libbuildpack.Stager, sections ...explain.Section) {
	log := stager.Logger()
	explain.Say(sections, log.BeginStep, log.Info, log.Warning)
}

// install writes the scripts first and this program last. The scripts refuse to start the app
// without the program, so an app that was staged halfway does not start.
func install(stager *libbuildpack.Stager, sets truststore.Sets, seen client.Seen, build []client.Variable) error {
	text, _ := json.Marshal(seen) // texts and a flag, which cannot fail
	dir := stager.DepDir()
	program := filepath.Join(dir, "bin", "postgres-ssl")
	steps := []func() error{
		func() error { return os.MkdirAll(dir, 0o755) },
		stager.ClearDepDir,
		func() error { return writeAppScript(stager.BuildDir(), appScript(stager.DepsIdx())) },
		func() error { return stager.WriteProfileD(scriptName, depsScript(stager.DepsIdx())) },
		func() error { return truststore.Write(filepath.Join(dir, "trust"), sets) },
		func() error { return os.WriteFile(filepath.Join(dir, current.SeenFile), text, 0o644) },
		func() error { return stager.WriteConfigYml(nil) },
	}
	for _, v := range build {
		steps = append(steps, func() error { return stager.WriteEnvFile(v.Name, v.Value) })
	}
	steps = append(steps,
		func() error { return libbuildpack.CopyFile("/proc/self/exe", program+".part") },
		func() error { return os.Rename(program+".part", program) })
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Finalize does what any finalize built on libbuildpack does: it collects the launch scripts of all
// buildpacks, and puts their folders on PATH and LD_LIBRARY_PATH.
func Finalize(args []string, _ map[string]string, log io.Writer) error {
	stager, _, err := newStager(args, 5, log)
	if err != nil {
		return err
	}
	if err := stager.SetLaunchEnvironment(); err != nil {
		return err
	}
	stager.StagingComplete()
	return nil
}
