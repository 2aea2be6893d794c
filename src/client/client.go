// Package client tells the database drivers of each language what a launch decided. Each language
// is a row: how to see that a droplet needs it, and what the app is then given. It writes no file.
package client

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// App is what the languages need to know, besides the plan.
type App struct {
	Home    string // where the platform unpacks the droplet: /home/vcap
	Env     map[string]string
	Store   truststore.Store
	Brings  map[string]bool                     // the languages that Look found
	Seen                                        // at staging
	Command string                              // the command line of the process that becomes the app, or ""
	Staging bool                                // it is for what later buildpacks run at staging, not for the app
	Roots   func(everyone bool) ([]byte, error) // of all bound databases, in PEM; everyone adds the stores'
}

// Handout is what an app is given.
type Handout struct {
	Variables []Variable // sorted by name, PATH last
	Files     []File     // below Dir; links come last
	Dir       string     // private to the app's user
	Warnings  []string   // each one line

	plan  *launch.Plan
	app   App
	mode  sslmode.Mode    // for drivers that read none of libpq's variables
	files map[bool]string // the results of roots
	err   error           // the first one
}

// Variable is an environment variable that the app gets.
type Variable struct {
	Name  string
	Value string
	Why   string
	Kept  bool   // set by the owner: not exported
	Added string // what we add to the owner's value, which must not get into a log
}

// String returns the variable for people, without anything of the owner's that may be secret.
func (v Variable) String() string {
	if v.Added != "" {
		return v.Name + " also has " + v.Added
	}
	return v.Name + "=" + v.Value
}

// File has to be in place before the variables are exported. A link is at a place that belongs to
// the app: an existing file stays, and if we cannot write there, the app still starts.
type File struct {
	Path    string
	Content []byte // for a link, its target
	Mode    fs.FileMode
}

// For returns what an app is given under a plan.
func For(plan *launch.Plan, app App) (*Handout, error) {
	h := &Handout{Dir: filepath.Join(app.Home, ".postgres-ssl"), plan: plan, app: app, files: map[bool]string{}}
	// An owner who sets PGSSLMODE means the whole app. A wrong one counts for nobody.
	h.mode = cmp.Or(plan.Libpq.Mode, plan.Mode)
	for _, l := range languages {
		isNeeded := l.places == nil || app.Brings[l.name]
		if isNeeded && !(l.launchOnly && app.Staging) {
			l.give(h)
		}
	}
	if h.err != nil {
		return nil, h.err
	}
	slices.SortStableFunc(h.Variables, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(h.Files, func(a, b File) int { return cmp.Compare(a.Mode.Type(), b.Mode.Type()) }) // links last
	if !app.Staging {
		bin := filepath.Join(filepath.Dir(app.Store.Dir), "bin") + PathMark
		h.add("PATH", appendPath(app.Env["PATH"], bin), "the command postgres-ssl", "")
	}
	return h, nil
}

// PathMark is the end of our folder in PATH. It tells the second launch script that the first has
// run: other buildpacks' scripts put the folder there without it.
const PathMark = "/."

func (h *Handout) fail(err error) { h.err = cmp.Or(h.err, err) }

func (h *Handout) warn(format string, args ...any) {
	h.Warnings = append(h.Warnings, fmt.Sprintf(format, args...))
}

// add exports a variable. What it adds to the owner's value is said alone: that may be a secret.
func (h *Handout) add(name, value, added, why string) {
	v := Variable{Name: name, Value: value, Why: why}
	if h.app.Env[name] != "" || name == "PATH" {
		v.Added = added
	}
	h.Variables = append(h.Variables, v)
}

// Gives says whether the app is given a variable.
func (h *Handout) Gives(name string) bool {
	return slices.ContainsFunc(h.Variables, func(v Variable) bool { return v.Name == name })
}

// Seen is what staging has seen in the app's own files.
type Seen struct {
	JavaSays  string            `json:",omitempty"` // the file that configures pgjdbc's TLS
	PGSSLSays string            `json:",omitempty"` // why PGSSL is not given
	Carried   launch.Carried    `json:",omitzero"`
	Shows     map[string]string `json:",omitempty"` // the result of Shown
}

// Look says which languages a droplet brings, in the app's own folder and in the buildpacks'. Only
// folders are opened: a pipe would wait.
func Look(app, deps fs.FS) map[string]bool {
	trees := map[string]tree{"app": {app, map[string][]fs.DirEntry{}}, "deps": {deps, map[string][]fs.DirEntry{}}}
	brings := map[string]bool{}
	for _, l := range languages {
		brings[l.name] = slices.ContainsFunc(l.places, func(place string) bool {
			of, pattern, _ := strings.Cut(place, "/")
			return trees[of].has(".", pattern)
		})
	}
	return brings
}

// tree reads each folder once, and not node_modules, which is large: a launch must be fast.
type tree struct {
	fs.FS
	read map[string][]fs.DirEntry
}

// has looks below dir, which may have a star in its own name.
func (t tree) has(dir, pattern string) bool {
	name, rest, _ := strings.Cut(pattern, "/")
	switch {
	case !strings.Contains(pattern, "*"):
		_, err := fs.Stat(t.FS, path.Join(dir, pattern))
		return err == nil
	case !strings.Contains(name, "*"):
		return t.has(path.Join(dir, name), rest)
	}
	if _, isRead := t.read[dir]; !isRead && path.Base(dir) != "node_modules" {
		t.read[dir], _ = fs.ReadDir(t.FS, dir) // one that cannot be read shows no language
	}
	return slices.ContainsFunc(t.read[dir], func(e fs.DirEntry) bool {
		isOne, _ := path.Match(name, e.Name())
		if !isOne || rest == "" {
			return isOne
		}
		return !e.Type().IsRegular() && t.has(path.Join(dir, e.Name()), rest)
	})
}

// give exports a variable, unless the app's owner set it. A variable that already has our value
// is ours: the script has run before, or the owner wants the same.
func (h *Handout) give(name, value, why string) {
	if own := h.app.Env[name]; own != "" && own != value {
		h.Variables = append(h.Variables, Variable{Name: name, Value: own, Why: "set by the app's owner", Kept: true})
		return
	}
	h.add(name, value, "", why)
}

// giveRoots gives a variable that names the result of roots.
func (h *Handout) giveRoots(name, root, why string) {
	if root == "" {
		return
	}
	h.give(name, root, why)
	own := h.app.Env[name]
	if through, _ := h.plan.Tunnelled(); through && own != "" && own != root {
		h.warn("%s is set by the app's owner, and stays: a driver that verifies by it refuses the tunnel, "+
			"whose CA is not in it. Unset it, and put the database's CA into the binding as sslrootcert", name)
	}
}

// file adds a file named after the hash of its content, since sidecars launch at the same time in
// the same container, and returns its path.
func (h *Handout) file(name, extension string, content []byte, mode fs.FileMode) string {
	return h.put(filepath.Join(h.Dir, name+"-"+hash(content)+extension), content, mode)
}

func (h *Handout) put(path string, content []byte, mode fs.FileMode) string {
	if !slices.ContainsFunc(h.Files, func(f File) bool { return f.Path == path }) {
		h.Files = append(h.Files, File{path, content, mode})
	}
	return path
}

func hash(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content))[:32] }

// roots returns the path of a file with the CAs of all bound databases and, if everyone is set, the
// stack's and the platform's, or "" if there are none.
func (h *Handout) roots(everyone bool) string {
	trust := h.plan.TrustAll()
	everyone = everyone || trust.Everyone
	switch set := trust.OneSet(); {
	case trust.Empty():
		return ""
	case set != "" && !everyone && !h.app.Staging:
		return h.app.Store.Bundle(set)
	case h.files[everyone] == "":
		text, err := h.app.Roots(everyone)
		h.fail(err)
		h.files[everyone] = h.file("root", ".pem", text, 0o644)
	}
	return h.files[everyone]
}

// appendPath adds a folder to a list that does not have it yet: a script may be sourced twice.
func appendPath(list, dir string) string {
	dirs := filepath.SplitList(list)
	if dir == "" || slices.Contains(dirs, dir) {
		return list
	}
	return strings.Join(append(dirs, dir), ":")
}
