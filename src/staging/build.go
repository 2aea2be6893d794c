package staging

import (
	"errors"
	"io"
	"strings"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
)

// stagingVariable is the variable with which the app's owner leaves staging alone.
const stagingVariable = "POSTGRES_SSL_STAGING"

// buildEnvironment returns the variables for the app's own code that the buildpacks behind us run at
// staging (npm's heroku-postbuild, Django's collectstatic, Rails' assets:precompile), and writes
// their files. Without them, such code connects in plain text.
//
// The files are outside the droplet, under names that are the hashes of their content: no two
// droplets may differ by a path, and none may contain a key. last says that the last buildpack has
// only bin/compile, which reads no variables of ours.
func buildEnvironment(stager *libbuildpack.Stager, app current.App, seen client.Seen, last bool) ([]client.Variable, error) {
	switch app.Env[stagingVariable] {
	case "":
	case "no":
		stager.Logger().BeginStep("At staging, for build scripts")
		stager.Logger().Info(stagingVariable + "=no: they connect as they like")
		return nil, nil
	default:
		return nil, errors.New(stagingVariable + " has only one valid value, no: set it to that, or unset it")
	}
	handout, err := app.AtStaging(stager.BuildDir(), stager.DepsDir(), seen)
	if err != nil {
		return nil, err
	}
	var given []client.Variable
	var names []string
	for _, v := range handout.Variables {
		if app.Env[v.Name] == "" { // a file would override the owner's
			given, names = append(given, v), append(names, v.Name)
		}
	}
	if given == nil {
		return nil, nil
	}
	stager.Logger().BeginStep("At staging, for build scripts")
	stager.Logger().Info("those of the buildpacks behind this one connect as the launch does, or fail: %s", strings.Join(names, ", "))
	if last {
		stager.Logger().Info("the last buildpack does not read these: its own scripts connect as they like")
	}
	stager.Logger().Info(stagingVariable + "=no leaves them alone, if staging cannot reach the database")
	return given, current.Write(handout, io.Discard)
}
