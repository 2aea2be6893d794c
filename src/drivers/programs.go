package drivers

import (
	"debug/buildinfo"
	"io"
	"io/fs"
	"path"
	"strings"
)

// programs reads the lists of modules in Go programs that were pushed as binaries.
func (s *scan) programs() {
	const most = 50 // an app has a few at most
	n := 0
	for _, dir := range []string{".", "bin"} {
		for _, name := range s.list(dir) {
			name = path.Join(dir, name)
			info, err := fs.Stat(s.app, name)
			if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && n < most {
				n++
				s.program(name)
			}
		}
	}
}

// program ignores any file that is no Go program.
func (s *scan) program(name string) {
	file, _ := s.open(name)
	if file == nil {
		return
	}
	defer file.Close()
	if at, ok := file.(io.ReaderAt); ok {
		s.add(golang, name, modules(&limited{at, &s.left}))
	}
}

// modules returns those of a Go program. debug/buildinfo was not made for hostile files: we read
// nothing of one that makes it panic.
func modules(at io.ReaderAt) (deps []dependency) {
	defer func() {
		if recover() != nil {
			deps = nil
		}
	}()
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

// limited reads at most the bytes that are left.
type limited struct {
	io.ReaderAt
	left *int64
}

func (l *limited) ReadAt(p []byte, offset int64) (int, error) {
	if int64(len(p)) > *l.left {
		return 0, io.ErrUnexpectedEOF
	}
	*l.left -= int64(len(p))
	return l.ReaderAt.ReadAt(p, offset)
}
