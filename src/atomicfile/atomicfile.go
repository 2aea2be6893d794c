// Package atomicfile writes a whole file or nothing.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write creates or replaces the file at path. If it fails, nothing has changed, and the error names
// path.
func Write(path string, content []byte, mode fs.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err == nil {
		defer os.Remove(temporary.Name()) // does nothing after the rename
		_, err = temporary.Write(content)
		err = errors.Join(err, temporary.Chmod(mode), temporary.Close())
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = fmt.Errorf("%s: %w", path, cause.Err) // not the temporary name, which means nothing to anyone
	}
	return err
}
