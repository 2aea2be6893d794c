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

// Title is the driver's name and version for people.
func (f Found) Title() string {
	name := f.Package
	if slices.Contains([]Ecosystem{golang, maven, debian, deno, composer, prisma}, f.Driver.Ecosystem) {
		name = f.Driver.Name
	}
	return strings.TrimSpace(name + " " + f.Version)
}

// Use says who wants the driver. If two files disagree, the greater one counts.
type Use int

const (
	Transitive Use = iota - 1 // only another package brings it
	Unknown                   // the file does not say
	Direct                    // the app itself asks for it
)

func (u Use) String() string { return [...]string{"transitive", "unknown", "direct"}[u+1] }

// Look is what an app's own files show.
type Look struct {
	Found   []Found
	Signs   []seen.Sign
	Skipped []seen.Skipped
	Shows   map[string]string // what else the files show, for a launch

	env  map[string]string
	told map[string]string // the apps that a launch tells by their own variables, and the file that shows each
}

// LookIn looks through an app's folder, and follows no link out of it. env is its environment.
func LookIn(dir string, env map[string]string) Look {
	files, done := seen.In(dir, asks)
	defer done()
	look := Look{Shows: client.Shown(files), Found: Find(files), env: env}
	verifies := func(f Found) bool { return f.Driver.Name == "postgrex" && isBelow("0.20", f.Version) }
	files.OldPostgrex = !slices.ContainsFunc(look.Found, verifies)
	signs := files.Signs()
	look.Skipped, look.told = files.Skipped, client.Told(look.Shows, env)

	// What an app does by default counts where nothing else decides.
	isDecided := len(look.told) > 0 || slices.ContainsFunc(signs, func(s seen.Sign) bool { return s.Kind == seen.Decides })
	for _, s := range signs {
		if s.Kind == seen.Defaults {
			if isDecided || env[s.Variable] != "" {
				continue
			}
			s.Kind = seen.Decides
		}
		look.Signs = append(look.Signs, s)
	}
	return look
}

// WithoutPGSSL says why the app must not be given PGSSL, postgres.js's word for the mode, or ""
// where nobody can tell. Either its own code reads it, or it has only other drivers of Node.
func (l Look) WithoutPGSSL() string {
	if i := slices.IndexFunc(l.Signs, func(s seen.Sign) bool { return s.Variable == "PGSSL" }); i >= 0 {
		return l.Signs[i].Where() + " reads it"
	}
	isOther := func(f Found) bool { return f.Driver.Ecosystem == npm }
	isReader := func(f Found) bool { return f.Driver.Variable == "PGSSL" }
	if i := slices.IndexFunc(l.Found, isOther); i >= 0 && !slices.ContainsFunc(l.Found, isReader) {
		return "the app has " + l.Found[i].Title() + ", and not postgres.js"
	}
	return ""
}

// Find looks for drivers in an app's files: in its own folder and two folders down, and for jars in
// whatever is below lib.
func Find(files *seen.Files) []Found {
	s := &scan{Files: files, versions: map[string]int{}, done: map[Ecosystem][]string{}}
	for _, dir := range files.Folders {
		if strings.Count(dir, "/") < 2 {
			s.folder(dir)
		}
		if dir == "." || slices.Contains(strings.Split(dir, "/"), "lib") {
			for _, e := range s.Listed[dir] {
				s.add(maven, dir, jar(e.Name()))
			}
		}
	}
	for _, d := range Table { // where the platform has unpacked a jar that has swallowed others
		for _, name := range d.Packages {
			if path.Ext(name) == ".class" && s.Exists(name) {
				s.add(maven, path.Dir(name), []Found{{Package: name}})
			}
		}
	}
	s.programs()
	if s.versions[prismaAdapter] > 0 { // then node-postgres connects, and not Prisma's engine
		s.found = slices.DeleteFunc(s.found, func(f Found) bool { return f.Driver.Ecosystem == prisma })
	}
	return s.found
}

// asks says whether a file may list packages, or may be a jar or a program.
func asks(dir, name string) bool {
	isAmongPrograms, extension := dir == "." || dir == "bin", path.Ext(name)
	fits := func(r reader) bool { return strings.HasSuffix(r.pattern, extension) && r.fits(dir, name) }
	return isAmongPrograms || extension == ".jar" || slices.ContainsFunc(readers(), fits)
}

func (s *scan) folder(dir string) {
	isDone := func(e Ecosystem) bool { // here, or in a folder around this one
		return slices.ContainsFunc(s.done[e], func(done string) bool { return done == "." || strings.HasPrefix(dir+"/", done+"/") })
	}
	for _, r := range readers() {
		for _, e := range s.Listed[dir] {
			isOne := r.fits(dir, e.Name()) && !(r.otherwise && isDone(r.ecosystem))
			if isOne && s.file(path.Join(dir, e.Name()), r) {
				s.done[r.ecosystem] = append(s.done[r.ecosystem], dir)
			}
		}
	}
	if !isDone(npm) {
		s.installed(dir)
	}
}

type scan struct {
	*seen.Files
	found    []Found
	versions map[string]int         // of a package
	done     map[Ecosystem][]string // folders of which a file has been read
}

// file reads a file and keeps the drivers in it. It returns false if the file is skipped.
func (s *scan) file(name string, r reader) bool {
	text, ok := s.Text(name)
	if !ok {
		return false
	}
	packages, ok := r.read(r.ecosystem, text)
	if !ok {
		s.Skip(name, seen.Broken)
	}
	if r.ecosystem == golang {
		_, module, _ := strings.Cut("\n"+text, "\nmodule ")
		module, _, _ = strings.Cut(module, "\n")
		s.Module(name, strings.Trim(module, ` "`))
	}
	s.add(r.ecosystem, name, packages)
	return ok
}

// add keeps a file's drivers, sorted. The same driver in two files counts once.
func (s *scan) add(e Ecosystem, file string, packages []Found) {
	const most = 10 // versions of a package; a lock file may have anything
	var found []Found
	for _, f := range packages {
		if e == pypi { // PEP 503 has the spelling of its names
			f.Package = strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(f.Package))
			f.Version = strings.TrimLeft(strings.ReplaceAll(f.Version, " ", ""), "=")
		}
		if f.Driver = lookUp(e, f.Package, f.Version); f.Driver != nil {
			f.Version, f.File = fmt.Sprintf("%.40s", strings.TrimSuffix(f.Version, "+incompatible")), file
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version))
	})
	for _, f := range found {
		isSame := func(g Found) bool { return g.Driver == f.Driver && g.Package == f.Package && g.Version == f.Version }
		if i := slices.IndexFunc(s.found, isSame); i >= 0 {
			s.found[i].Use = max(s.found[i].Use, f.Use)
			continue
		}
		if s.versions[f.Package]++; s.versions[f.Package] <= most {
			s.found = append(s.found, f)
		} else if s.versions[f.Package] == most+1 {
			s.Skip(file, fmt.Sprintf("it has more than %d versions of %s; the others are not shown", most, f.Package))
		}
	}
}
