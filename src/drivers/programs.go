package drivers

import (
	"archive/zip"
	"debug/buildinfo"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// mostPrograms is how many programs and jars we open. An app has a few at most.
const mostPrograms = 50

// programs reads the lists of modules in Go programs that were pushed as binaries.
func (s *scan) programs() {
	n := 0
	for _, dir := range []string{".", "bin"} {
		for _, e := range s.List(dir) {
			if !e.Type().IsRegular() {
				continue
			}
			info, err := e.Info()
			if err != nil || info.Mode()&0o111 == 0 {
				continue
			}
			if n++; n <= mostPrograms {
				name := path.Join(dir, e.Name())
				s.Parts(name, func(at io.ReaderAt, _ int64) { s.add(golang, name, modules(at)) })
			}
		}
	}
}

// modules returns those of a Go program, and nothing of any other file.
func modules(at io.ReaderAt) (deps []dependency) {
	info, err := buildinfo.Read(at)
	if err != nil {
		return nil
	}
	for _, m := range info.Deps {
		// A replacement by a local folder has no version.
		version := m.Version
		if m.Replace != nil && m.Replace.Version != "" {
			version = m.Replace.Version
		}
		deps = append(deps, dependency{m.Path, strings.TrimSuffix(strings.TrimPrefix(version, "v"), "+incompatible"), Unknown})
	}
	return deps
}

// classes are in a jar that has swallowed others, by the driver that they belong to.
var classes = map[string]string{
	"org/postgresql/Driver.class":                           "postgresql",
	"io/r2dbc/postgresql/PostgresqlConnectionFactory.class": "r2dbc-postgresql",
	"io/vertx/pgclient/PgConnectOptions.class":              "vertx-pg-client",
}

// jar matches NAME-VERSION.jar of Maven and Gradle, and Debian's NAME.jar.
var jar = lazyregexp.New(`^(?:.*/)?([^/]+?)(?:-(\d[^/]*))?\.jar$`)

// jars finds drivers by the names in a folder, and by what is in the jars of the app's own folder, or
// was when the platform unpacked one there. Nothing of it says who wants a jar.
func (s *scan) jars(dir string) {
	var names []string
	for _, e := range s.List(dir) {
		names = append(names, e.Name())
	}
	s.add(maven, dir, packages(names))
	if dir != "." {
		return
	}
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".jar") && n < mostPrograms {
			n++
			s.Parts(name, func(at io.ReaderAt, size int64) {
				archive, err := zip.NewReader(at, size)
				if err != nil {
					return
				}
				var entries []string
				for _, f := range archive.File {
					entries = append(entries, f.Name)
				}
				s.add(maven, name, packages(entries))
			})
		}
	}
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		if s.Exists(class) {
			s.add(maven, path.Dir(class), packages([]string{class}))
		}
	}
}

// packages returns those of jars and of classes.
func packages(names []string) (deps []dependency) {
	for _, name := range names {
		// Testcontainers has a jar postgresql-1.x. No version of pgjdbc begins with 1.
		if m := jar().FindStringSubmatch(name); m != nil && !strings.HasPrefix(path.Base(name), "postgresql-1.") {
			deps = append(deps, dependency{m[1], m[2], Unknown})
		}
		if known := classes[name]; known != "" {
			deps = append(deps, dependency{known, "", Unknown})
		}
	}
	return deps
}
