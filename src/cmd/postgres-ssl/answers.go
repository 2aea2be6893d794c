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

// answers reads everything that the paths name, one answer at a time. Below a folder, it follows no
// links to folders, because they may form a loop.
func answers(paths []string, in io.Reader, each func(cf.Answer)) {
	for _, path := range paths {
		if path == "-" {
			cf.Answers("standard input", in, each)
			continue
		}
		root := path
		if real, err := filepath.EvalSymlinks(path); err == nil {
			root = real
		}
		_ = filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
			name := cmp.Or(strings.Trim(strings.TrimPrefix(at, root), "/"), path)
			hidden := at != root && err == nil && strings.HasPrefix(entry.Name(), ".")
			switch {
			case err != nil:
			case hidden && entry.IsDir():
				return fs.SkipDir
			case !hidden && !entry.IsDir():
				err = file(at, name, at == root, each)
			}
			if path := (*fs.PathError)(nil); errors.As(err, &path) {
				err = path.Err // the row has the path already
			}
			if err != nil {
				each(cf.Answer{From: name, Err: err})
			}
			return nil
		})
	}
}

// file reads the answers in a file. One that nobody named has to be a regular file, because a pipe
// would block us. An empty file is an answer too: cf printed nothing.
func file(path, name string, isNamed bool, each func(cf.Answer)) error {
	if info, err := os.Stat(path); err != nil {
		return err
	} else if !isNamed && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if cf.Answers(name, f, each) == 0 {
		return cf.ErrEmpty
	}
	return nil
}
