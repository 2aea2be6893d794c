// Package drivers finds the Postgres drivers in an app, and says which of them do as a launch tells
// them. It reads the few files that suffice for most apps, and walks no folder tree.
package drivers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
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
	if slices.Contains([]Ecosystem{golang, maven, debian, deno}, f.Driver.Ecosystem) {
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

// Skipped is a file that we did not read, and why.
type Skipped struct{ File, Why string }

// How much we read at most. No app may slow the staging down.
const (
	mostInAll  = 20 << 20
	mostOfFile = 2 << 20
	mostNames  = 10_000 // in one folder
)

// FindIn looks for drivers in a folder. It follows no link out of it.
func FindIn(dir string) ([]Found, []Skipped) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, []Skipped{{File: ".", Why: "it cannot be opened"}}
	}
	defer root.Close()
	return Find(root.FS())
}

// Find looks for drivers in an app's folder. Give it an os.Root's file system, which follows no
// link out of the app.
func Find(app fs.FS) ([]Found, []Skipped) {
	s := &scan{app: app, left: mostInAll, listed: map[string][]string{}, places: map[[3]string]int{}}
	isNodeDone := false
	for _, r := range readers {
		for _, name := range s.matching(r.pattern) {
			if r.ecosystem != npm || !isNodeDone {
				read := s.file(name, r)
				isNodeDone = isNodeDone || r.ecosystem == npm && read
			}
		}
	}
	if !isNodeDone {
		s.installed()
	}
	for _, dir := range []string{"BOOT-INF/lib", "WEB-INF/lib", "lib", "."} {
		s.add(maven, dir, jars(s.list(dir)))
	}
	s.programs()
	return s.found, s.skipped
}

// scan is one look through an app's folder.
type scan struct {
	app     fs.FS
	left    int64 // bytes that may still be read
	listed  map[string][]string
	found   []Found
	places  map[[3]string]int // in found: ecosystem, package and version
	skipped []Skipped
}

func (s *scan) skip(file, why string) { s.skipped = append(s.skipped, Skipped{file, why}) }

// list returns the names in a folder, sorted. It returns nil if there is no such folder.
func (s *scan) list(dir string) (names []string) {
	if names, ok := s.listed[dir]; ok {
		return names
	}
	defer func() { s.listed[dir] = names }()
	if info, err := fs.Stat(s.app, dir); err != nil || !info.IsDir() {
		return nil // opening a pipe could wait forever
	}
	file, err := s.app.Open(dir)
	if err != nil {
		return nil
	}
	defer file.Close()
	folder, ok := file.(fs.ReadDirFile)
	if !ok {
		return nil
	}
	entries, err := folder.ReadDir(mostNames + 1)
	if err != nil && !errors.Is(err, io.EOF) || len(entries) > mostNames {
		s.skip(dir, fmt.Sprintf("it cannot be listed, or has more than %d files", mostNames))
		return nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// matching returns the app's files whose name matches the pattern's last part, in the folder of its
// first.
func (s *scan) matching(pattern string) (names []string) {
	dir, last := path.Split(pattern)
	for _, name := range s.list(path.Clean(dir)) {
		if ok, _ := path.Match(last, name); ok {
			names = append(names, dir+name)
		}
	}
	return names
}

// open opens a regular file. It returns nil if there is none. It opens nothing else: reading a pipe
// could wait forever.
func (s *scan) open(name string) (fs.File, int64) {
	info, err := fs.Stat(s.app, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	if err != nil || !info.Mode().IsRegular() {
		s.skip(name, "it is not a file in the app")
		return nil, 0
	}
	file, err := s.app.Open(name)
	if err != nil {
		s.skip(name, "it cannot be opened")
		return nil, 0
	}
	return file, info.Size()
}

// read returns a file's content. It returns nil if there is no such file, or if we skip it.
func (s *scan) read(name string) []byte {
	file, size := s.open(name)
	if file == nil {
		return nil
	}
	defer file.Close()
	switch {
	case size > mostOfFile:
		s.skip(name, fmt.Sprintf("it is larger than %d MB", mostOfFile>>20))
		return nil
	case size > s.left:
		s.skip(name, fmt.Sprintf("%d MB have been read already", mostInAll>>20))
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(file, size))
	s.left -= int64(len(text))
	if err != nil {
		s.skip(name, "it cannot be read")
		return nil
	}
	if !utf8.Valid(text) {
		s.skip(name, errBroken.Error())
		return nil
	}
	return append([]byte{}, text...)
}

// file reads a file and keeps the drivers in it. It returns false if the file is skipped.
func (s *scan) file(name string, r reader) bool {
	text := s.read(name)
	if text == nil {
		return false
	}
	deps, err := r.read(strings.ReplaceAll(string(text), "\r\n", "\n"))
	if err != nil {
		s.skip(name, errBroken.Error())
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
