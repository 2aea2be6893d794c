package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
)

// answers reads everything that the paths name, one answer at a time.
func answers(paths []string, in io.Reader, each func(cf.Answer)) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case path == "-":
			cf.Answers("standard input", in, each)
		case err == nil && info.IsDir():
			folder(path, each)
		default:
			file(path, path, each)
		}
	}
}

// folder reads the files below a folder. It opens regular files only, because a pipe would block
// us. It does not follow links to folders, because they may form a loop.
func folder(root string, each func(cf.Answer)) {
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), string(filepath.Separator))
		hidden := path != root && err == nil && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			each(cf.Answer{From: cmp.Or(name, root), Err: reason(err)})
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden || entry.IsDir():
		default:
			if info, err := os.Stat(path); err != nil {
				each(cf.Answer{From: name, Err: reason(err)})
			} else if !info.Mode().IsRegular() {
				each(cf.Answer{From: name, Err: errors.New("it is not a regular file")})
			} else {
				file(path, name, each)
			}
		}
		return nil
	})
}

// reason returns an error without its path, which the row has already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// file reads the answers in a file. An empty file is an answer too: cf printed nothing.
func file(path, name string, each func(cf.Answer)) {
	f, err := os.Open(path)
	if err != nil {
		each(cf.Answer{From: name, Err: reason(err)})
		return
	}
	defer f.Close()
	if cf.Answers(name, f, each) == 0 {
		each(cf.Answer{From: name, Err: cf.ErrEmpty})
	}
}
