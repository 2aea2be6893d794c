package drivers

import (
	"cmp"
	"os"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Carried says why the app's connections need the tunnel, as far as its files show it, and what the
// tunnel would break. In doubt, something speaks against it.
func (l Look) Carried(env map[string]string) (c launch.Carried) {
	if l.isToldByItself(env) {
		return c
	}
	against := func(why string) { c.Against = cmp.Or(c.Against, why) }
	for _, s := range l.Signs {
		switch {
		case s.Kind == seen.Direct:
			against(s.Where() + " asks for what only a direct connection can do")
		case s.Kind == seen.Bundles:
			against(s.File + " has CAs of the app's own")
		case s.Kind == seen.Pools:
			against(s.File + " is a pooler's")
		case s.Kind != seen.Decides || s.Mode == sslmode.None: // how is not known
		case s.Mode.Verifies():
			against("the app verifies by itself (" + s.Where() + ")")
		case !c.Setting:
			c.Why, c.Setting = s.Where()+" sets ssl itself", true
		}
	}
	names := map[string]bool{}
	for _, f := range l.Found {
		names[f.Driver.Name] = true
		if f.Driver.Name == "pgbouncer" {
			against("the app brings a pooler, " + f.Title())
		}
	}
	for _, f := range l.Found {
		isWanted := f.Use == Direct || f.Use == Unknown && len(names) == 1
		if isWanted && c.Why == "" && !f.Driver.Answer.CanBeTold() {
			c.Why = f.Title() + " reads no variable"
		}
	}
	return c
}

// isToldByItself says whether a launch tells the app the mode by a variable of the app's own.
func (l Look) isToldByItself(env map[string]string) bool {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return false
	}
	defer root.Close()
	return len(client.Named(root.FS(), env)) > 0 || client.Look(root.FS(), root.FS())["stratos"] != ""
}
