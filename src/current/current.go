// Package current reads an app as it is now: its bindings and its droplet, or the folders of its
// staging. All that a launch reads from files is read here, so that launch and client are pure.
package current

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Home is where the platform unpacks a droplet.
const Home = "/home/vcap"

// SeenFile is the file in deps/IDX with a client.Seen as JSON.
const SeenFile = "seen.json"

// App is an app as it is now.
type App struct {
	Env       map[string]string
	Store     truststore.Store
	Plan      *launch.Plan
	Seen      client.Seen
	Elsewhere bool // this is not its container
}

// Rules are launch.Decide, launch.Foresee or launch.Elsewhere.
type Rules func(env map[string]string, found binding.Bound, store truststore.Store) (*launch.Plan, error)

// Read reads the bindings that the environment names, and makes the plan.
func (a App) Read(rules Rules) (App, error) {
	read := binding.Read
	if a.Elsewhere {
		read = binding.ReadElsewhere
	}
	found, err := read(a.Env)
	if err == nil {
		a.Plan, err = rules(a.Env, found, a.Store)
	}
	return a, err
}

// Open reads this app, with the trust store of this program and with what staging has seen.
func Open(env map[string]string, rules Rules) (App, error) {
	store, err := TrustStore()
	if err != nil {
		return App{}, err
	}
	app, err := App{Env: env, Store: store}.Read(rules)
	if err != nil || !store.LaidOut {
		return app, err
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(store.Dir), SeenFile))
	if err == nil {
		err = json.Unmarshal(text, &app.Seen)
	}
	app.Plan.Carry(app.Seen.Carried)
	return app, err
}

// Elsewhere is Open for an app that is not here. It opens nothing that this environment names:
// whoever wrote it must not choose what we read on this machine, whose store stands for the stack's.
func Elsewhere(env map[string]string) (App, error) {
	store, err := TrustStore()
	if err != nil {
		return App{}, err
	}
	app, err := App{Env: maps.Clone(env), Store: store, Elsewhere: true}.Read(launch.Elsewhere)
	for _, name := range []string{"SSL_CERT_FILE", "CF_SYSTEM_CERT_PATH"} {
		if err == nil && env[name] != "" {
			app.Plan.Warnings = append(app.Plan.Warnings, name+" names files of the app's container, "+
				"which cannot be seen from here: they are left out")
			delete(app.Env, name)
		}
	}
	return app, err
}

// TrustStore opens the trust store beside this program. In a buildpack, it is made from the
// certificates there, as for an app's first buildpack.
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

// Roots returns the CAs that the app trusts in PEM and, if everyone is set, the stores'.
func (a App) Roots(everyone bool) ([]byte, error) {
	trust := a.Plan.TrustAll()
	if everyone {
		trust = a.Plan.TrustStores(trust)
	}
	sets, err := a.Store.PEM(trust.Sets...)
	all := slices.Concat(truststore.EncodePEM(trust.Own), sets)
	if err != nil || !trust.Everyone {
		return all, err
	}
	stores, err := truststore.System(a.Env)
	for _, store := range stores {
		all = append(all, store.Content...)
	}
	return all, err
}

// HandOutHere returns what the app is given here. Without a droplet, no files of this machine count.
func (a App) HandOutHere(command string) (*client.Handout, error) {
	if !a.Store.LaidOut {
		return a.HandOut(client.App{Home: Home, Command: command}, "", "")
	}
	deps := filepath.Dir(filepath.Dir(a.Store.Dir))
	home := filepath.Dir(deps)
	return a.HandOut(client.App{Home: home, Command: command}, filepath.Join(home, "app"), deps)
}

// HandOut returns what an app is given with these folders of its own and of its buildpacks.
func (a App) HandOut(c client.App, app, deps string) (*client.Handout, error) {
	c.Env, c.Store, c.Seen, c.Roots = a.Env, a.Store, a.Seen, a.Roots
	c.Brings = client.Look(os.DirFS(app), os.DirFS(deps))
	return client.For(a.Plan, c)
}
