// Package drivers finds the Postgres drivers that an app brings, and says which of them do as a launch
// tells them. It reads the few files that answer for most apps, and walks no tree.
package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Found is a driver in the app's files.
type Found struct {
	Driver  *Driver
	Package string // as the file names it
	Version string // "" where the file says none; without a lock file, the range that is asked for
	File    string // below the app's folder; of a jar, its folder
	Use     Use
}

// Title is the driver as people know it, with its version. A module's path or a jar's name is no name.
func (f Found) Title() string {
	name := f.Package
	if f.Driver.Ecosystem == golang || f.Driver.Ecosystem == maven || f.Driver.Ecosystem == debian || f.Driver.Ecosystem == deno {
		name = f.Driver.Name
	}
	return strings.TrimSpace(name + " " + f.Version)
}

// Use says who wants the driver. The order is that in which one file outdoes another.
type Use int

// The uses.
const (
	Transitive Use = iota // only another package brings it
	Unknown               // the file does not say
	Direct                // the app itself names it
)

// String is the use as programs read it.
func (u Use) String() string { return [...]string{"transitive", "unknown", "direct"}[u] }

// Skipped is a file that was not read, and why.
type Skipped struct{ File, Why string }

// What is read at most: a staging must not get slow, whatever the app brings.
const (
	mostInAll  = 20 << 20
	mostOfFile = 5 << 20
	mostNames  = 10_000 // in one folder
	mostTime   = 2 * time.Second
)

// Find looks for drivers in an app's folder. Links that lead out of app are not followed if app does not
// follow them: give it os.Root's.
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

// dependency is a package that a file names.
type dependency struct {
	name, version string
	use           Use
}

// This is all that is said of a file that cannot be parsed: errors of parsers quote it.
var (
	errBroken = errors.New("it is not what its name promises")
	errSlow   = errors.New("it takes too long to read")
)

func (s *scan) skip(file, why string) { s.skipped = append(s.skipped, Skipped{file, why}) }

// list returns the names in a folder, sorted, and nil where there is none.
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

// matching returns the names in the app's own folder that path.Match matches.
func (s *scan) matching(pattern string) []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool {
		ok, err := path.Match(pattern, name)
		return err != nil || !ok
	})
}

// open opens a regular file, and returns nil where there is none. Whatever else has that name might never end.
func (s *scan) open(name string) (fs.File, int64) {
	info, err := fs.Stat(s.app, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	if err != nil || !info.Mode().IsRegular() {
		s.skip(name, "it is no file of the app")
		return nil, 0
	}
	file, err := s.app.Open(name)
	if err != nil {
		s.skip(name, "it cannot be opened")
		return nil, 0
	}
	return file, info.Size()
}

// read returns what is in a file, and nil where there is none, or where it is skipped.
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

// file parses a file if it is there, and keeps the drivers of the ecosystem that it names. It says whether it could.
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

// guard parses a file, and skips it if the parser fails, panics or is not done in time: nothing here may stop a
// staging or slow it down. The TOML parser's time grows with the square of what some hostile files hold. A
// parser that is given up goes on until the program ends, so it may share nothing.
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

// add keeps the drivers among the packages that a file names, in the order of their names.
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
		// The same in two places is one.
		key := [3]string{string(e), f.Package, f.Version}
		if i, known := s.places[key]; known {
			s.found[i].Use = max(s.found[i].Use, f.Use)
			continue
		}
		s.places[key] = len(s.found)
		s.found = append(s.found, f)
	}
}

// clip shortens what a file gives for a version: no version is that long.
func clip(version string) string {
	const longest = 40
	if runes := []rune(version); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return version
}

// named is Direct for what the app names itself, else Transitive; Unknown where nothing says what it names.
func named(own map[string]bool, name string) Use {
	switch {
	case own == nil:
		return Unknown
	case own[name]:
		return Direct
	}
	return Transitive
}

// lazily compiles a pattern when it is needed first: a launch, which is the same program, does not wait for it.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
