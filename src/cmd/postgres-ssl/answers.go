package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/cf"
)

// answers reads everything that the paths name, one answer at a time.
func answers(paths []string, in io.Reader) iter.Seq[cf.Answer] {
	return func(yield func(cf.Answer) bool) {
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case path == "-":
				if !stream("standard input", in, yield) {
					return
				}
			case err == nil && info.IsDir():
				if !folder(path, yield) {
					return
				}
			default:
				if !file(path, path, yield) {
					return
				}
			}
		}
	}
}

// folder reads the files below a folder. It opens regular files only, because a pipe would block
// us. It does not follow links to folders, because they may form a loop.
func folder(root string, yield func(cf.Answer) bool) bool {
	more := true
	walk := func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), string(filepath.Separator))
		switch {
		case err != nil:
			more = yield(cf.Answer{From: cmp.Or(name, root), Err: reason(err)})
		case path == root || entry.IsDir() && !hidden(entry):
		case hidden(entry):
			if entry.IsDir() {
				return fs.SkipDir
			}
		default:
			if info, err := os.Stat(path); err != nil {
				more = yield(cf.Answer{From: name, Err: reason(err)})
			} else if !info.Mode().IsRegular() {
				more = yield(cf.Answer{From: name, Err: errors.New("it is not a regular file")})
			} else {
				more = file(path, name, yield)
			}
		}
		if !more {
			return fs.SkipAll
		}
		return nil
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	return filepath.WalkDir(root, walk) == nil && more
}

func hidden(entry fs.DirEntry) bool { return strings.HasPrefix(entry.Name(), ".") }

// reason returns an error without its path, which the row has already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// file reads the answers in a file. An empty file is an answer too: cf printed nothing.
func file(path, name string, yield func(cf.Answer) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(cf.Answer{From: name, Err: reason(err)})
	}
	defer f.Close()
	n := 0
	more := stream(name, f, func(a cf.Answer) bool {
		n++
		return yield(a)
	})
	if n == 0 {
		return yield(cf.Answer{From: name, Err: cf.ErrEmpty})
	}
	return more
}

// stream yields the answers in a stream. It returns false if yield did.
func stream(name string, in io.Reader, yield func(cf.Answer) bool) bool {
	for a := range cf.Answers(name, in) {
		if a.Err = reason(a.Err); !yield(a) {
			return false
		}
	}
	return true
}
