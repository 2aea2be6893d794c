// Package drivers finds the Postgres drivers in an app, and says which of them do as a launch tells
// them. It reads the few files that suffice for most apps, and walks no folder tree.
package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Found is a driver in the app's files.
type Found struct {
	Driver  *Driver
	Package string // as the file names it
	Version string // "" if the file has none; without a lock file, the requested range
	File    string // below the app's folder; for a jar, its folder
	Use     Use
}

// Title is the driver's name and version for people. A module's path or a jar's name is no such
// name.
func (f Found) Title() string {
	name := f.Package
	if f.Driver.Ecosystem == golang || f.Driver.Ecosystem == maven || f.Driver.Ecosystem == debian || f.Driver.Ecosystem == deno {
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
	mostOfFile = 5 << 20
	mostNames  = 10_000 // in one folder
	mostTime   = 2 * time.Second
)

// Find looks for drivers in an app's folder. Give it an os.Root's file system, which follows no
// link out of the app.
func Find(app fs.FS) ([]Found, []Skipped) {
	ctx, cancel := context.WithTimeout(context.Background(), mostTime)
	defer cancel()
	s := &scan{app: app, left: mostInAll, ctx: ctx, places: map[[3]string]int{}}
	s.names = s.list(".")
	for _, look := range []func(*scan){lookNPM, lookDeno, lookPython, lookRuby, lookGo, lookRust, lookBEAM, lookDotNet, lookJava, lookDebian} {
		look(s)
	}
	return s.found, s.skipped
}

// scan is one look through an app's folder.
type scan struct {
	app     fs.FS
	names   []string // in the app's own folder, sorted
	left    int64    // bytes that may still be read
	ctx     context.Context
	found   []Found
	places  map[[3]string]int // in found: ecosystem, package and version
	skipped []Skipped
}

// dependency is a package in a file.
type dependency struct {
	name, version string
	use           Use
}

// These replace the parsers' own errors, which would quote the file.
var (
	errBroken = errors.New("its content does not match its name")
	errSlow   = errors.New("it takes too long to read")
)

func (s *scan) skip(file, why string) { s.skipped = append(s.skipped, Skipped{file, why}) }

// list returns the names in a folder, sorted. It returns nil if there is no such folder.
func (s *scan) list(dir string) []string {
	if info, err := fs.Stat(s.app, dir); err != nil || !info.IsDir() {
		return nil
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
		s.skip(dir, fmt.Sprintf("it cannot be listed, or holds more than %d files", mostNames))
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return names
}

// matching returns the names in the app's top folder that match the pattern.
func (s *scan) matching(pattern string) []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool {
		ok, err := path.Match(pattern, name)
		return err != nil || !ok
	})
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

// file parses a file and keeps the drivers in it. It returns false if the file is missing or
// skipped.
func (s *scan) file(name string, e Ecosystem, parse func(text []byte) ([]dependency, error)) bool {
	text := s.read(name)
	if text == nil {
		return false
	}
	deps, ok := guard(s, name, parse, text)
	if ok {
		s.add(e, name, deps)
	}
	return ok
}

// guard parses a file. It skips the file if the parser fails, panics or takes too long: nothing
// here may stop a staging or slow it down. Some hostile files take the TOML parser quadratic time.
// A parser that we give up on goes on until the program ends, so it must share nothing.
func guard[T any](s *scan, name string, parse func([]byte) (T, error), text []byte) (result T, ok bool) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	if s.ctx.Err() == nil {
		go func() {
			o := outcome{err: errBroken}
			defer func() {
				if recover() != nil {
					o = outcome{err: errBroken}
				}
				done <- o
			}()
			o.result, o.err = parse(text)
		}()
	}
	select {
	case o := <-done:
		if o.err != nil {
			s.skip(name, errBroken.Error())
		}
		return o.result, o.err == nil
	case <-s.ctx.Done():
		s.skip(name, errSlow.Error())
		return result, false
	}
}

// add keeps the drivers among a file's packages, sorted by name.
func (s *scan) add(e Ecosystem, file string, deps []dependency) {
	direct := map[string]bool{}
	for _, d := range deps {
		direct[d.name] = direct[d.name] || d.use == Direct
	}
	slices.SortStableFunc(deps, func(a, b dependency) int {
		return strings.Compare(a.name+" "+a.version, b.name+" "+b.version)
	})
	for _, dep := range deps {
		driver := lookUp(e, dep.name, dep.version)
		if driver == nil {
			continue
		}
		f := Found{Driver: driver, Package: dep.name, Version: clip(dep.version), File: file, Use: dep.use}
		if slices.ContainsFunc(driver.Through, func(name string) bool { return direct[name] }) {
			f.Use = Direct
		}
		// The same driver in two files counts once.
		key := [3]string{string(e), f.Package, f.Version}
		if i, known := s.places[key]; known {
			s.found[i].Use = max(s.found[i].Use, f.Use)
			continue
		}
		s.places[key] = len(s.found)
		s.found = append(s.found, f)
	}
}

// clip shortens a version that is too long to be one.
func clip(version string) string {
	const longest = 40
	if runes := []rune(version); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return version
}

// named returns the use of a package. own are the packages that the app itself asks for, or nil if
// that is not known.
func named(own map[string]bool, name string) Use {
	switch {
	case own == nil:
		return Unknown
	case own[name]:
		return Direct
	}
	return Transitive
}
