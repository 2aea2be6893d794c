// Package current reads an app as it is now: its bindings and its droplet, or the folders of its
// staging. All that a launch reads from files is read here, so that launch and client are pure.
package current

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Home is where the platform unpacks a droplet.
const Home = "/home/vcap"

// JavaMark is a file in the droplet's deps/IDX. It names the app's file that configures pgjdbc's
// TLS, and exists only if there is one.
const JavaMark = "java-configures-tls"

// App is an app as it is now.
type App struct {
	Env       map[string]string
	Store     truststore.Store
	Plan      *launch.Plan
	Elsewhere bool // this is not its container
}

// Rules are launch.Decide or launch.Foresee.
type Rules func(env map[string]string, found binding.Bound, store truststore.Store) (*launch.Plan, error)

// Read reads the bindings that an environment names, and makes the plan.
func Read(env map[string]string, store truststore.Store, rules Rules) (App, error) {
	found, err := binding.Read(env)
	if err != nil {
		return App{}, err
	}
	plan, err := rules(env, found, store)
	return App{Env: env, Store: store, Plan: plan}, err
}

// Open is Read with the trust store of this program.
func Open(env map[string]string, rules Rules) (App, error) {
	store, err := TrustStore()
	if err != nil {
		return App{}, err
	}
	return Read(env, store, rules)
}

// Elsewhere is Open for an app that is not here: somebody brought its environment. It opens nothing
// that this environment names, because whoever wrote it must not choose what we read on this
// machine. This machine's store stands for the stack's.
func Elsewhere(env map[string]string) (App, error) {
	store, err := TrustStore()
	if err != nil {
		return App{}, err
	}
	found, err := binding.ReadElsewhere(env)
	if err != nil {
		return App{}, err
	}
	plan, err := launch.Elsewhere(env, found, store)
	if err != nil {
		return App{}, err
	}
	env = maps.Clone(env)
	for _, name := range []string{"SSL_CERT_FILE", "CF_SYSTEM_CERT_PATH"} {
		if env[name] != "" {
			plan.Warnings = append(plan.Warnings, name+" names files of the app's container, which cannot be seen from here: they are left out")
			delete(env, name)
		}
	}
	return App{env, store, plan, true}, nil
}

// TrustStore opens the trust store of this program. In a droplet it is beside the program. In a
// buildpack it is made from the certificates there, as an app's first buildpack does.
func TrustStore() (truststore.Store, error) {
	program, err := os.Executable()
	if err != nil {
		return truststore.Store{}, err
	}
	root := filepath.Dir(filepath.Dir(program))
	if _, err := os.Stat(filepath.Join(root, "manifest.yml")); err != nil {
		return truststore.Open(filepath.Join(root, "trust"))
	}
	sets, err := truststore.Read(filepath.Join(root, "ca"))
	if err != nil {
		return truststore.Store{}, err
	}
	return truststore.NewStore(filepath.Join(Home, "deps", "0", "trust"), sets), nil
}

// Roots returns, in PEM, the CAs that the app trusts. everyone adds the stack's and the platform's
// stores, if they are not among them.
func (a App) Roots(everyone bool) ([]byte, error) {
	trust := a.Plan.TrustAll()
	if everyone {
		trust = a.Plan.TrustStores(trust)
	}
	sets, err := a.Store.PEM(trust.Sets...)
	if err != nil {
		return nil, err
	}
	var stores []byte
	if trust.Everyone {
		stores, err = truststore.System(a.Env)
	}
	return slices.Concat(truststore.EncodePEM(trust.Own), sets, stores), err
}

// HandOutHere returns what the app is given in this container.
func (a App) HandOutHere() (*client.Handout, error) {
	if !a.Store.LaidOut() {
		return a.HandOut(Home, "", "", "") // no droplet
	}
	idx := filepath.Dir(a.Store.Dir)
	deps := filepath.Dir(idx)
	mark, err := os.ReadFile(filepath.Join(idx, JavaMark))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	home := filepath.Dir(deps)
	return a.HandOut(home, filepath.Join(home, "app"), deps, strings.TrimSpace(string(mark)))
}

// HandOut returns what the app is given: the files of app and deps show its languages. javaSays is
// for client.App.
func (a App) HandOut(home, app, deps, javaSays string) (*client.Handout, error) {
	c := client.App{Home: home, Env: a.Env, Store: a.Store, JavaSays: javaSays}
	c.Brings = client.Look(os.DirFS(app), os.DirFS(deps))
	var err error
	one, all := client.Wants(a.Plan, c)
	if one {
		if c.Roots, err = a.Roots(false); err != nil {
			return nil, err
		}
	}
	if all {
		if c.AllRoots, err = a.Roots(true); err != nil {
			return nil, err
		}
	}
	return client.For(a.Plan, c)
}
