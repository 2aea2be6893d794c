package drivers

import (
	"cmp"
	"maps"
	"os"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Carried says why the app's connections need the tunnel, as far as its files show it, and what the
// tunnel would break. In doubt, something speaks against it.
func (l Look) Carried(env map[string]string) (c launch.Carried) {
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
		if wanted := f.Use == Direct || f.Use == Unknown && len(names) == 1; wanted && c.Why == "" && !f.Driver.Answer.CanBeTold() {
			c.Why = f.Title() + " reads no variable"
		}
	}
	if root, err := os.OpenRoot(l.dir); err == nil {
		defer root.Close()
		for _, name := range slices.Sorted(maps.Keys(client.Named(root.FS(), env))) {
			against(name + " is told the mode by its own variable")
		}
	}
	return c
}
