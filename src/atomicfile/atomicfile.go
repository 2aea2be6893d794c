// Package atomicfile writes files that are there complete or not at all.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts content at path with the given mode, in the place of what was there. Nobody ever sees a part of it, and where it fails,
// nothing has changed; the error names path.
func Write(path string, content []byte, mode fs.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err == nil {
		defer os.Remove(temporary.Name()) // nothing to remove once it has its name
		_, err = temporary.Write(content)
		err = errors.Join(err, temporary.Chmod(mode), temporary.Close())
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = fmt.Errorf("%s: %w", path, cause.Err) // the temporary name would tell nobody anything
	}
	return err
}
