package drivers

import (
	"debug/buildinfo"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/mod/modfile"
)

// lookGo reads go.mod, and the list of modules in a Go program that was pushed as a binary.
func lookGo(s *scan) {
	s.file("go.mod", golang, parseGoMod)
	const most = 50 // programs; an app has a few at most
	programs := 0
	for _, dir := range []string{".", "bin"} {
		names := s.names
		if dir != "." {
			names = s.list(dir)
		}
		for _, name := range names {
			name = path.Join(dir, name)
			if programs < most && s.executable(name) {
				programs++
				s.program(name)
			}
		}
	}
}

// parseGoMod reads a module's requirements.
func parseGoMod(text []byte) (deps []dependency, err error) {
	file, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil {
		return nil, err
	}
	for _, r := range file.Require {
		use := Direct
		if r.Indirect {
			use = Transitive
		}
		deps = append(deps, dependency{r.Mod.Path, goVersion(r.Mod.Version), use})
	}
	return deps, nil
}

func goVersion(version string) string {
	return strings.TrimSuffix(strings.TrimPrefix(version, "v"), "+incompatible")
}

func (s *scan) executable(name string) bool {
	info, err := fs.Stat(s.app, name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// program reads the list of modules in a Go program. It ignores any other file.
func (s *scan) program(name string) {
	file, _ := s.open(name)
	if file == nil {
		return
	}
	defer file.Close()
	at, ok := file.(io.ReaderAt)
	if !ok {
		return
	}
	// Drop the error: any other program gives one, and that is not worth a line in the log.
	reader := &limited{at, s.left}
	deps, ok := guard(s, name, func([]byte) ([]dependency, error) { deps, _ := parseProgram(reader); return deps, nil }, nil)
	if ok {
		s.left = reader.left
		s.add(golang, name, deps)
	}
}

func parseProgram(at io.ReaderAt) (deps []dependency, err error) {
	info, err := buildinfo.Read(at)
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		// A replacement by a local folder has no version.
		version := m.Version
		if m.Replace != nil && m.Replace.Version != "" {
			version = m.Replace.Version
		}
		deps = append(deps, dependency{m.Path, goVersion(version), Unknown})
	}
	return deps, nil
}

// limited reads at most the bytes that are left.
type limited struct {
	io.ReaderAt
	left int64
}

func (l *limited) ReadAt(p []byte, offset int64) (int, error) {
	if int64(len(p)) > l.left {
		return 0, io.ErrUnexpectedEOF
	}
	l.left -= int64(len(p))
	return l.ReaderAt.ReadAt(p, offset)
}
