// Package drivers finds the Postgres drivers in an app's files, and says which of them do as a launch
// tells them.
package drivers

import (
	"fmt"
	"path"
	"slices"
	"strings"

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
	Transitive Use = iota // only another package brings it
	Unknown               // the file does not say
	Direct                // the app itself asks for it
)

// String is the use in the output for programs.
func (u Use) String() string { return [...]string{"transitive", "unknown", "direct"}[u] }

// Look is what an app's own files show.
type Look struct {
	Found   []Found
	Signs   []seen.Sign
	Skipped []seen.Skipped
	dir     string
}

// LookIn looks through an app's folder. It follows no link out of it.
func LookIn(dir string) Look {
	files, done := seen.In(dir)
	defer done()
	look := Look{Found: Find(files), Signs: files.Signs(), dir: dir}
	look.Skipped = files.Skipped
	return look
}

// WithoutPGSSL says why the app must not be given PGSSL, postgres.js's word for the mode: its own code
// reads it, or it has other drivers of Node and not this one. It returns "" where nobody can tell.
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
			s.jars(dir)
		}
	}
	s.programs()
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
		name := e.Name()
		if name == last || isPattern && strings.HasPrefix(name, begin) && strings.HasSuffix(name, end) {
			names = append(names, path.Join(dir, name))
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
	deps, err := r.read(r.ecosystem, text)
	if err != nil {
		s.Skip(name, seen.Broken)
		return false
	}
	s.add(r.ecosystem, name, deps)
	return true
}

// add keeps the drivers among a file's packages, sorted by name. The same driver in two files counts
// once.
func (s *scan) add(e Ecosystem, file string, deps []dependency) {
	brought := map[*Driver]bool{} // by a package that the app itself asks for
	var found []Found
	for _, dep := range deps {
		if e == pypi {
			dep.name, dep.version = pypiName(dep.name), strings.TrimLeft(strings.ReplaceAll(dep.version, " ", ""), "=")
		}
		if d := lookUp(e, dep.name, dep.version); d != nil {
			found = append(found, Found{Driver: d, Package: dep.name, Version: fmt.Sprintf("%.40s", dep.version), File: file, Use: dep.use})
		}
		for i, d := range Table {
			if dep.use == Direct && d.Ecosystem == e && slices.Contains(d.Through, dep.name) {
				brought[&Table[i]] = true
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Found) int {
		return strings.Compare(a.Package+" "+a.Version, b.Package+" "+b.Version)
	})
	for _, f := range found {
		if brought[f.Driver] {
			f.Use = Direct
		}
		key := [3]string{string(e), f.Package, f.Version}
		if i, known := s.places[key]; known {
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
