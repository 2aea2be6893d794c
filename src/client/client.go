// Package client tells the database drivers of each language what a launch decided. There is one
// file a language. It says which drivers it serves and what they read, how to see that the droplet
// needs it, and what it gives.
//
// Nothing here writes: a Handout is a value, and its files have their final names before they exist.
package client

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// language is what one file of this package adds to languages.
type language struct {
	// places are where a droplet that needs the language shows it, as patterns of fs.Glob below
	// app/ and deps/. Without any, every droplet needs it.
	places []string
	give   func(*Handout) error
}

// languages holds each by its name. A file registers its own, so that a new one needs no other.
var languages = map[string]language{}

// App is what the languages need to know of an app, beside what was decided for it.
type App struct {
	Home     string // where the droplet is unpacked: /home/vcap
	Env      map[string]string
	Store    truststore.Store
	Stores   []byte          // the stack's and the platform's CAs, in PEM; see WantsStores
	Brings   map[string]bool // the languages that Look found
	JavaSays string          // where the app's files configure pgjdbc's TLS, as staging found it
}

// Handout is what an app is given.
type Handout struct {
	Variables []Variable // sorted by name, PATH last
	Files     []File     // below Dir, and behind these the optional ones
	Dir       string     // private to the app's user
	Warnings  []string   // each one line

	plan  *launch.Plan
	app   App
	files map[bool]string // of roots, each put together once
}

// Variable is an environment variable that is exported, or left as the app's owner set it.
type Variable struct {
	Name  string
	Value string
	Why   string
	Kept  bool   // set by the owner: not exported
	Added string // what the owner's value gets more; the rest of it is not for a log
}

// String says for people what the variable holds.
func (v Variable) String() string {
	if v.Added != "" {
		return v.Name + " also holds " + v.Added
	}
	return v.Name + "=" + v.Value
}

// File is to be there before the variables are exported.
type File struct {
	Path    string
	Content []byte // of a link: where it leads
	Mode    fs.FileMode
	// Optional is for a place that is the app's own to use. What is there stays, and where nothing
	// can be written, the app starts all the same.
	Optional bool
}

// For returns what the app is given.
func For(plan *launch.Plan, app App) (*Handout, error) {
	h := &Handout{Dir: filepath.Join(app.Home, ".postgres-ssl"), plan: plan, app: app, files: map[bool]string{}}
	for _, name := range slices.Sorted(maps.Keys(languages)) {
		if l := languages[name]; len(l.places) == 0 || app.Brings[name] {
			if err := l.give(h); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(h.Variables, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(h.Files, func(a, b File) int { return order(a.Optional) - order(b.Optional) })
	bin := filepath.Join(filepath.Dir(app.Store.Dir), "bin")
	h.add("PATH", appendPath(app.Env["PATH"], bin), "the command postgres-ssl", "")
	return h, nil
}

// add exports a variable that holds what the owner set, which may be a secret, and more.
func (h *Handout) add(name, value, added, why string) {
	v := Variable{Name: name, Value: value, Why: why}
	if h.app.Env[name] != "" || name == "PATH" {
		v.Added = added
	}
	h.Variables = append(h.Variables, v)
}

// Gives says whether a variable is among what the app is given.
func (h *Handout) Gives(name string) bool {
	return slices.ContainsFunc(h.Variables, func(v Variable) bool { return v.Name == name })
}

// order puts what the app can go without behind what it cannot.
func order(optional bool) int {
	if optional {
		return 1
	}
	return 0
}

// Look finds the languages that an app brings, in its folder and in that of the buildpacks.
func Look(app, deps fs.FS) map[string]bool {
	found := map[string]bool{}
	trees := map[string]fs.FS{"app": remembering{app, map[string][]fs.DirEntry{}}, "deps": remembering{deps, map[string][]fs.DirEntry{}}}
	for name, l := range languages {
		found[name] = slices.ContainsFunc(l.places, func(place string) bool {
			tree, pattern, _ := strings.Cut(place, "/")
			matches, _ := fs.Glob(trees[tree], pattern)
			return len(matches) > 0
		})
	}
	return found
}

// remembering reads each folder once: the patterns share most of them, and a launch has no time.
type remembering struct {
	fs.FS
	read map[string][]fs.DirEntry
}

// ReadDir implements fs.ReadDirFS.
func (r remembering) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := r.read[name]
	if !ok {
		entries, _ = fs.ReadDir(r.FS, name) // what cannot be read brings no language
		r.read[name] = entries
	}
	return entries, nil
}

// WantsStores says whether the content of a file depends on App.Stores.
func WantsStores(plan *launch.Plan, brings map[string]bool) bool {
	return plan.TrustAll().Everyone || brings["erlang"] || brings["java"]
}

// give exports a variable, unless the app's owner set it. What holds our own value is ours: the script
// has been at work, or the owner says the same.
func (h *Handout) give(name, value, why string) {
	if own := h.app.Env[name]; own != "" && own != value {
		h.Variables = append(h.Variables, Variable{Name: name, Value: own, Why: "set by the app's owner", Kept: true})
		if through, _ := h.plan.Tunnelled(); through && (name == "PGSSLROOTCERT" || name == "NODE_EXTRA_CA_CERTS") {
			h.Warnings = append(h.Warnings, name+" is set by the app's owner, and stays: a driver that verifies by it refuses the tunnel, "+
				"whose CA is not in it. Unset it, and put the database's CA into the binding as sslrootcert")
		}
		return
	}
	h.set(name, value, why)
}

// set exports a variable.
func (h *Handout) set(name, value, why string) {
	h.Variables = append(h.Variables, Variable{Name: name, Value: value, Why: why})
}

// file adds a file whose name is the hash of what it holds, and returns its path. Sidecars launch at
// the same time in the same container: whoever comes second writes the same.
func (h *Handout) file(name, extension string, content []byte, mode fs.FileMode) string {
	path := filepath.Join(h.Dir, name+"-"+hash(content)+extension)
	return h.put(path, content, mode)
}

func (h *Handout) put(path string, content []byte, mode fs.FileMode) string {
	same := func(f File) bool { return f.Path == path }
	if !slices.ContainsFunc(h.Files, same) {
		h.Files = append(h.Files, File{Path: path, Content: content, Mode: mode})
	}
	return path
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

// roots returns the path of one file with the CAs of all bound databases and, with everyone, the
// stack's and the platform's. It is "" where there is nobody to trust.
func (h *Handout) roots(everyone bool) (string, error) {
	trust := h.plan.TrustAll()
	if len(trust.Sets) == 0 && len(trust.Own) == 0 && !trust.Everyone {
		return "", nil
	}
	if ready := h.plan.ReadyBundle(); ready != "" && !everyone {
		return ready, nil
	}
	trust.Everyone = trust.Everyone || everyone
	if path := h.files[trust.Everyone]; path != "" {
		return path, nil
	}
	bundle, err := Bundle(h.plan, trust, h.app.Stores)
	if err != nil {
		return "", err
	}
	h.files[trust.Everyone] = h.file("root", ".pem", bundle, 0o644)
	return h.files[trust.Everyone], nil
}

// Bundle returns the CAs of the trust, in PEM: its own, those on board, and the stores'.
func Bundle(plan *launch.Plan, trust launch.Trust, stores []byte) ([]byte, error) {
	bundle, err := plan.PEM(trust)
	if trust.Everyone {
		bundle = append(bundle, stores...)
	}
	return bundle, err
}

// mode returns what a mode variable will hold: the owner's word, else the plan's. It is None where
// the variable is unset or makes no sense.
func (h *Handout) mode(name string) sslmode.Mode {
	if own := h.app.Env[name]; own != "" {
		mode, _ := sslmode.Parse(own)
		return mode
	}
	return h.plan.Mode
}

// untold returns the mode for drivers that read no variable of libpq's: PGSSLMODE's, because the
// owner who sets it means the app. The plan's counts where it makes no sense: closed, not open.
func (h *Handout) untold() sslmode.Mode {
	if mode := h.mode("PGSSLMODE"); mode != sslmode.None {
		return mode
	}
	return h.plan.Mode
}

// appendPath adds a folder to a list of folders unless it is there: a script that is sourced twice
// must not grow it.
func appendPath(list, dir string) string {
	switch {
	case dir == "" || slices.Contains(filepath.SplitList(list), dir):
		return list
	case list == "":
		return dir
	}
	return list + ":" + dir
}
