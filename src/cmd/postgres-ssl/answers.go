package main

import (
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
		folder, root := os.DirFS(path), "."
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			folder, root = os.DirFS(filepath.Dir(path)), filepath.Base(path)
		}
		_ = fs.WalkDir(folder, root, func(at string, entry fs.DirEntry, err error) error {
			name := at
			if at == root {
				name = path
			} else if strings.Contains("/"+at, "/.") {
				return nil // hidden
			}
			if err == nil && !entry.IsDir() {
				err = file(folder, at, name, at == root, each)
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
func file(folder fs.FS, at, name string, isNamed bool, each func(cf.Answer)) error {
	if info, err := fs.Stat(folder, at); err != nil {
		return err
	} else if !isNamed && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	f, err := folder.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	if cf.Answers(name, f, each) == 0 {
		return errors.New("the answer is empty")
	}
	return nil
}
