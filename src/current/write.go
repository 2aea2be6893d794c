package current

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/atomicfile"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
)

// Write writes the files of a handout. It stops at the first that fails, and leaves those before it,
// because a sidecar may use them already. Of a link that fails, the handout warns.
func Write(h *client.Handout) error {
	if slices.ContainsFunc(h.Files, func(f client.File) bool { return f.Mode.IsRegular() }) {
		if err := privateFolder(h.Dir); err != nil {
			return err
		}
	}
	for _, f := range h.Files {
		err := writeFile(f)
		if err != nil && !f.Mode.IsRegular() {
			h.Warnings = append(h.Warnings, "continues without this file: "+err.Error())
		} else if err != nil {
			return err
		}
	}
	return nil
}

func writeFile(f client.File) error {
	if f.Mode.Type() == fs.ModeSymlink {
		return link(string(f.Content), f.Path)
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	if old, err := os.ReadFile(f.Path); err == nil && bytes.Equal(old, f.Content) {
		return nil
	}
	return atomicfile.Write(f.Path, f.Content, f.Mode)
}

// privateFolder makes dir, for this user alone. It fails if something else is in its place.
func privateFolder(dir string) error {
	err := os.MkdirAll(dir, 0o700) // TMPDIR need not be there
	if info, gone := os.Lstat(dir); gone == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a folder; remove it", dir)
	} else if gone == nil && info.Mode().Perm() == 0o700 {
		return err // a read-only one may have our files already
	}
	return cmp.Or(err, os.Chmod(dir, 0o700))
}

// link makes a link. An existing file is the app's own: it stays, and is not followed.
func link(target, path string) error {
	dir := filepath.Dir(path)
	err := os.Mkdir(dir, 0o700)
	if info, gone := os.Lstat(dir); gone == nil && info.IsDir() {
		err = os.Symlink(target, path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
