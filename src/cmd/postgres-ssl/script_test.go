package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postgres-ssl": main})
}

// TestScripts shows the command's behaviour as sessions in a terminal: testdata/script/*.txtar.
// Each staging has a folder ($BUILD, $CACHE, $DEPS). `postgres-ssl` is this program, and the
// droplet has a copy of it.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			vcap := filepath.Join(env.WorkDir, "home", "vcap")
			for name, value := range map[string]string{
				"DOLLAR":        "$",
				"ESC":           "\x1b",
				"BUILDPACK_DIR": root,
				"SERVICES":      filepath.Join(root, "fixtures", "services"),
				"BUILD":         filepath.Join(vcap, "app"),
				"CACHE":         filepath.Join(env.WorkDir, "cache"),
				"DEPS":          filepath.Join(vcap, "deps"),
				"PROFILE":       filepath.Join(vcap, "profile.d"),
			} {
				env.Setenv(name, value)
			}
			for _, dir := range []string{"app", "deps/0", "profile.d"} {
				if err := os.MkdirAll(filepath.Join(vcap, dir), 0o755); err != nil {
					return err
				}
			}
			return os.Mkdir(filepath.Join(env.WorkDir, "cache"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// setenv-file NAME FILE sets a variable to the content of a file.
			"setenv-file": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Setenv(args[0], ts.ReadFile(ts.MkAbs(args[1])))
			},
		},
	})
}
