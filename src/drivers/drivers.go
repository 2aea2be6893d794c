// Package drivers finds the Postgres drivers in an app's files, and says which of them do as a
// launch tells them.
package drivers

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

// Found is a driver in the app's files.
type Found struct {
	Driver  *Driver
	Package string // as the file names it
	Version string // 40 characters at most, or ""; without a lock file, the requested range
	File    string // below the app's folder; for a jar, its folder
	Use     Use
}

// Title is the driver's name and version for people. A module's path or a jar's name is no such
// name.
func (f Found) Title() string {
	name := f.Package
	if slices.Contains([]Ecosystem{golang, maven, debian, deno, composer, prisma}, f.Driver.Ecosystem) {
		name = f.Driver.Name
	}
	return strings.TrimSpace(name + " " + f.Version)
}

// Use says who wants the driver. If two files disagree, the greater value counts.
type Use int

// The uses.
const (
	Transitive Use = iota - 1 // only another package brings it
	Unknown                   // the file does not say
	Direct                    // the app itself asks for it
)

// String is the use in the output for programs.
func (u Use) String() string { return [...]string{"transitive", "unknown", "direct"}[u+1] }

// Look is what an app's own files show.
type Look struct {
	Found   []Found
	Signs   []seen.Sign
	Skipped []seen.Skipped

	Shows map[string]string // what else the files show, for a launch

	env  map[string]string
	told map[string]string // the apps that a launch tells by their own variables, and the file that shows each
}

// LookIn looks through an app's folder. It follows no link out of it. env is the app's environment,
// with what its owner set.
func LookIn(dir string, env map[string]string) Look {
	files, done := seen.In(dir)
	defer done()
	look := Look{Found: Find(files), Signs: files.Signs(), Shows: client.Shown(files.App), env: env}
	look.Skipped, look.told = files.Skipped, client.Told(look.Shows, env)
	return look
}

// WithoutPGSSL says why the app must not be given PGSSL, postgres.js's word for the mode: its own
// code reads it, or it has other drivers of Node and not this one. It returns "" where nobody can
// tell.
func (l Look) WithoutPGSSL() string {
	for _, s := range l.Signs {
		if s.Variable == "PGSSL" {
			return s.Where() + " reads it"
		}
	}
	other := ""
	for _, f := range l.Found {
		switch {
		case f.Driver.Variable == "PGSSL":
			return ""
		case f.Driver.Ecosystem == npm && other == "":
			other = "the app has " + f.Title() + ", and not postgres.js"
		}
	}
	return other
}

// Find looks for drivers in an app's files: in its own folder and two folders down, and for jars in
// whatever is below lib.
func Find(files *seen.Files) []Found {
	s := &scan{Files: files, places: map[[3]string]int{}, done: map[string]bool{}}
	for _, dir := range files.Folders {
		if strings.Count(dir, "/") < 2 {
			s.folder(dir)
		}
		if dir == "." || slices.Contains(strings.Split(dir, "/"), "lib") {
			var names []string
			for _, e := range s.List(dir) {
				names = append(names, e.Name())
			}
			s.add(maven, dir, jars(names))
		}
	}
	for _, class := range classes {
		if s.Exists(class.file) {
			s.add(maven, path.Dir(class.file), jars([]string{class.file}))
		}
	}
	s.programs()
	isAdapter := func(f Found) bool { return f.Package == prismaAdapter }
	if slices.ContainsFunc(s.found, isAdapter) { // then node-postgres connects, and not Prisma's engine
		s.found = slices.DeleteFunc(s.found, func(f Found) bool { return f.Driver.Ecosystem == prisma })
	}
	return s.found
}

// folder reads what lists packages in a folder.
func (s *scan) folder(dir string) {
	for _, r := range readers {
		for _, name := range s.matching(dir, r.pattern) {
			if isLater := r.otherwise && s.isDone(r.ecosystem, dir); !isLater && s.file(name, r) {
				s.done[string(r.ecosystem)+" "+dir] = true
			}
		}
	}
	if !s.isDone(npm, dir) {
		s.installed(dir)
	}
}

// matching returns the files of a folder that match a pattern. The pattern may name the folder too.
func (s *scan) matching(dir, pattern string) (names []string) {
	folder, last := path.Split(pattern)
	if folder != "" && path.Base(dir)+"/" != folder {
		return nil
	}
	begin, end, isPattern := strings.Cut(last, "*")
	for _, e := range s.List(dir) {
		isOne := e.Name() == last
		if isPattern { // path.Match takes twenty times as long
			isOne = strings.HasPrefix(e.Name(), begin) && strings.HasSuffix(e.Name(), end)
		}
		if isOne {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	return names
}

// scan is one look through an app's files.
type scan struct {
	*seen.Files
	found  []Found
	places map[[3]string]int // in found: ecosystem, package and version
	done   map[string]bool   // ecosystem and folder of which a file has been read
}

// isDone says whether a file of this ecosystem has been read in this folder, or in one around it.
func (s *scan) isDone(e Ecosystem, dir string) bool {
	for ; ; dir = path.Dir(dir) {
		if s.done[string(e)+" "+dir] {
			return true
		}
		if dir == "." {
			return false
		}
	}
}

// file reads a file and keeps the drivers in it. It returns false if the file is skipped.
func (s *scan) file(name string, r reader) bool {
	text, ok := s.Text(name)
	if !ok {
		return false
	}
	packages, err := r.read(r.ecosystem, text)
	if err != nil {
		s.Skip(name, seen.Broken)
		return false
	}
	s.add(r.ecosystem, name, packages)
	return true
}

// add keeps the drivers among a file's packages, sorted by name. The same driver in two files
// counts once.
func (s *scan) add(e Ecosystem, file string, packages []Found) {
	asked := map[string]bool{}
	for i, f := range packages {
		if e == pypi {
			f.Package, f.Version = pypiName(f.Package), strings.TrimLeft(strings.ReplaceAll(f.Version, " ", ""), "=")
		}
		f.Driver, f.Version, f.File = lookUp(e, f.Package, f.Version), fmt.Sprintf("%.40s", f.Version), file
		packages[i], asked[f.Package] = f, f.Use == Direct
	}
	packages = slices.DeleteFunc(packages, func(f Found) bool { return f.Driver == nil })
	slices.SortStableFunc(packages, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version))
	})
	for _, f := range packages {
		if slices.ContainsFunc(f.Driver.Through, func(name string) bool { return asked[name] }) {
			f.Use = Direct
		}
		key := [3]string{string(e), f.Package, f.Version}
		if i, isKnown := s.places[key]; isKnown {
			s.found[i].Use = max(s.found[i].Use, f.Use)
			continue
		}
		s.places[key] = len(s.found)
		s.found = append(s.found, f)
	}
}

// pypiName normalises the spelling of a package's name.
//
// Source: https://peps.python.org/pep-0503/#normalized-names
func pypiName(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("-_.", r) })
	return strings.ToLower(strings.Join(parts, "-"))
}
