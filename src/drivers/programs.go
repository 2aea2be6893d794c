package drivers

import (
	"archive/zip"
	"debug/buildinfo"
	"io"
	"path"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// programs looks into the programs and jars in the app's own folder, and into the programs in bin.
// Nothing of it says who wants a driver.
func (s *scan) programs() {
	const most = 50 // an app has a few
	n := 0
	for _, dir := range []string{".", "bin"} {
		for _, e := range s.List(dir) {
			name, read := path.Join(dir, e.Name()), modules
			info, err := e.Info()
			isProgram := err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
			ecosystem := golang
			if path.Ext(name) == ".jar" && dir == "." {
				ecosystem, read = maven, entries
			} else if !isProgram {
				continue
			}
			if n++; n <= most {
				s.Parts(name, func(at io.ReaderAt, size int64) {
					packages := read(at, size)
					if ecosystem == golang && packages != nil {
						s.Module(name, packages[0].Package)
					}
					s.add(ecosystem, name, packages)
				})
			}
		}
	}
}

// modules returns those of a Go program, its own first, and nothing of any other file.
func modules(at io.ReaderAt, _ int64) []Found {
	info, err := buildinfo.Read(at)
	if err != nil {
		return nil
	}
	found := []Found{{Package: info.Main.Path}}
	for _, m := range info.Deps {
		// A replacement by a local folder has no version.
		version := m.Version
		if m.Replace != nil && m.Replace.Version != "" {
			version = m.Replace.Version
		}
		found = append(found, Found{Package: m.Path, Version: strings.TrimSuffix(strings.TrimPrefix(version, "v"), "+incompatible")})
	}
	return found
}

// entries returns the packages in a jar that contains jars, or has swallowed their classes.
func entries(at io.ReaderAt, size int64) []Found {
	archive, err := zip.NewReader(at, size)
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	return jars(names)
}

// jar matches NAME-VERSION.jar of Maven and Gradle, and Debian's NAME.jar.
var jar = lazyregexp.New(`^(?:.*/)?([^/]+?)(?:-(\d[^/]*))?\.jar$`)

// jars returns the packages of jars, and the classes by which a driver is known.
func jars(names []string) (found []Found) {
	for _, name := range names {
		switch m := jar().FindStringSubmatch(name); {
		case path.Ext(name) == ".class" && lookUp(maven, name, "") != nil:
			found = append(found, Found{Package: name})
		// Testcontainers has a jar postgresql-1.x. No version of pgjdbc begins with 1.
		case m != nil && !strings.HasPrefix(path.Base(name), "postgresql-1."):
			found = append(found, Found{Package: m[1], Version: m[2]})
		}
	}
	return found
}
