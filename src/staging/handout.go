package staging

import (
	"os"
	"path/filepath"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Home is where the platform unpacks a droplet.
const Home = "/home/vcap"

// handOut returns what a launch would give the app, as far as staging can tell. A later buildpack
// may add a language, and the launch may run on another version of the stack.
func handOut(stager *libbuildpack.Stager, plan *launch.Plan, env map[string]string, store truststore.Store, javaSays string) (*client.Handout, error) {
	app := client.App{Home: Home, Env: env, Store: store, JavaSays: javaSays}
	app.Brings = client.Look(os.DirFS(stager.BuildDir()), os.DirFS(filepath.Dir(stager.DepDir())))
	var err error
	if client.WantsStores(plan, app.Brings) {
		if app.Stores, err = truststore.System(env); err != nil {
			return nil, err
		}
	}
	return client.For(plan, app)
}
