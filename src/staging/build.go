package staging

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
)

// buildEnvironment returns the variables for the app's own code that the buildpacks behind us run at
// staging (npm's heroku-postbuild, Django's collectstatic, Rails' assets:precompile), and writes
// their files. Without them, such code connects in plain text. The files are outside the droplet, at
// a path that is the same in each staging: no two droplets may differ, and none may contain a key.
func buildEnvironment(stager *libbuildpack.Stager, app current.App) ([]client.Variable, error) {
	says := explain.Section{Title: "At staging, for build scripts"}
	switch app.Env["POSTGRES_SSL_STAGING"] {
	case "":
	case "no":
		says.Add("POSTGRES_SSL_STAGING=no: they connect as they like")
		report(stager, says)
		return nil, nil
	default:
		return nil, errors.New("POSTGRES_SSL_STAGING has only one valid value, no: set it to that, or unset it")
	}
	tmp := os.TempDir()
	if !filepath.IsAbs(tmp) {
		tmp = "/tmp"
	}
	handout, err := app.HandOut(client.App{Home: tmp, Staging: true}, stager.BuildDir(), stager.DepsDir())
	if err != nil {
		return nil, err
	}
	isOwners := func(v client.Variable) bool { return app.Env[v.Name] != "" } // a file would override it
	given := slices.DeleteFunc(handout.Variables, isOwners)
	if len(given) == 0 {
		return nil, nil
	}
	var names []string
	for _, v := range given {
		names = append(names, v.Name)
	}
	says.Add("those of the buildpacks behind this one connect as the launch does, or fail: %s", strings.Join(names, ", "))
	if why := app.Seen.Carried.Why; why != "" {
		says.Add("but %s, and there is no tunnel at staging: such code may get less there, even plain text", why)
	}
	says.Add("a last buildpack with only bin/compile does not read these: its own scripts connect as they like")
	says.Add("POSTGRES_SSL_STAGING=no leaves them alone, if staging cannot reach the database")
	report(stager, says)
	return given, current.Write(handout)
}
