// Package seen reads an app's own files: it lists and reads them within limits, and finds the signs
// that the app decides about TLS by itself.
package seen

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// Files are an app's files. All that is found in them shares one budget of bytes and names, and
// never a limit of time: what staging finds goes into the droplet, and depends on the files alone.
type Files struct {
	app     fs.FS
	left    int64 // bytes that may still be read
	names   int   // that may still be listed
	listed  map[string][]fs.DirEntry
	Skipped []Skipped
}

// Skipped is a file that we did not read, and why.
type Skipped struct{ File, Why string }

// How much we read at most. No app may slow the staging down.
const (
	mostInAll    = 20 << 20
	MostOfFile   = 2 << 20
	mostNames    = 60_000
	mostOfFolder = 10_000
	deepest      = 4 // folders below the app's own
)

// Broken is why a file is skipped that is no text, or not what its name says. A parser's own error
// would quote the file.
const Broken = "its content does not match its name"

// In opens an app's folder. It follows no link out of it. Call done when you have read it.
func In(dir string) (files *Files, done func()) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		files = New(nothing{})
		files.Skip(".", "it cannot be opened")
		return files, func() {}
	}
	return New(root.FS()), func() { root.Close() }
}

// nothing is a folder without files.
type nothing struct{}

func (nothing) Open(string) (fs.File, error) { return nil, fs.ErrNotExist }

// New returns the files of an app. Give it an os.Root's file system, which follows no link out of
// the app.
func New(app fs.FS) *Files {
	return &Files{app: app, left: mostInAll, names: mostNames, listed: map[string][]fs.DirEntry{}}
}

// Skip says that a file is not read.
func (f *Files) Skip(file, why string) { f.Skipped = append(f.Skipped, Skipped{file, why}) }

// List returns what is in a folder, sorted by name. It returns nil if there is no such folder.
func (f *Files) List(dir string) (entries []fs.DirEntry) {
	if entries, ok := f.listed[dir]; ok {
		return entries
	}
	defer func() { f.listed[dir] = entries }()
	if info, err := fs.Stat(f.app, dir); err != nil || !info.IsDir() {
		return nil // opening a pipe could wait forever
	}
	file, err := f.app.Open(dir)
	if err != nil {
		return nil
	}
	defer file.Close()
	folder, ok := file.(fs.ReadDirFile)
	if !ok {
		return nil
	}
	entries, err = folder.ReadDir(min(mostOfFolder, f.names) + 1)
	if err != nil && !errors.Is(err, io.EOF) || len(entries) > min(mostOfFolder, f.names) {
		f.Skip(dir, fmt.Sprintf("it cannot be listed, or has more than %d files, or the app more than %d", mostOfFolder, mostNames))
		return nil
	}
	f.names -= len(entries)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

// elsewhere are folders that say nothing about the app that runs: other people's code, tests,
// documents, what a browser gets, and what other platforms read.
var elsewhere = lazyregexp.New(`(?i)^(?:node_modules|bower_components|vendor|site-packages|__pycache__|venv|` +
	`(?:.*[_.-])?(?:tests?|specs?|fixtures|mocks?|e2e)_*|cypress|coverage|testdata|` +
	`docs?|documentation|examples?|samples?|demos?|tutorials?|public|static|assets|locales?|i18n|logs?|tmp|` +
	`docker|k8s|kubernetes|helm|charts|terraform|ansible)$`)

// Folders returns the app's folders that are no more than depth folders below its own, in the order
// in which we look: the nearest first, then by name. Links are not followed.
func (f *Files) Folders(depth int) []string {
	level, all := []string{"."}, []string{"."}
	for range depth {
		var next []string
		for _, dir := range level {
			for _, e := range f.List(dir) {
				hidden := e.Name()[0] == '.' && e.Name() != ".profile.d" && e.Name() != ".bp-config"
				if e.IsDir() && !hidden && !elsewhere().MatchString(e.Name()) {
					next = append(next, path.Join(dir, e.Name()))
				}
			}
		}
		all, level = append(all, next...), next
	}
	return all
}

// Has says whether a folder has an entry.
func (f *Files) Has(dir, name string) bool {
	return slices.ContainsFunc(f.List(dir), func(e fs.DirEntry) bool { return e.Name() == name })
}

// Open opens a regular file for a reader of parts. It returns nil if there is none. It opens nothing
// else: reading a pipe could wait forever.
func (f *Files) Open(name string) (fs.File, fs.FileInfo) {
	info, err := fs.Stat(f.app, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		f.Skip(name, "it is not a file in the app")
		return nil, nil
	}
	file, err := f.app.Open(name)
	if err != nil {
		f.Skip(name, "it cannot be opened")
		return nil, nil
	}
	return file, info
}

// Text returns a file's text, with lines that end in \n. It returns false if there is no such file,
// or if it is skipped.
func (f *Files) Text(name string) (string, bool) {
	file, info := f.Open(name)
	if file == nil {
		return "", false
	}
	defer file.Close()
	size := info.Size()
	switch {
	case size > MostOfFile:
		f.Skip(name, fmt.Sprintf("it is larger than %d MB", MostOfFile>>20))
		return "", false
	case size > f.left:
		f.Skip(name, fmt.Sprintf("%d MB have been read already", mostInAll>>20))
		return "", false
	}
	text, err := io.ReadAll(io.LimitReader(file, size))
	f.left -= int64(len(text))
	if err != nil {
		f.Skip(name, "it cannot be read")
		return "", false
	}
	if strings.HasPrefix(string(text), "# postgres-ssl-buildpack:") { // our own launch script
		return "", false
	}
	if !utf8.Valid(text) {
		f.Skip(name, Broken)
		return "", false
	}
	return strings.ReplaceAll(strings.TrimPrefix(string(text), "\ufeff"), "\r\n", "\n"), true
}

// Part reads at most a number of bytes of a file, out of the budget.
type Part struct {
	io.ReaderAt
	Most  int64
	files *Files
}

// Limit returns a reader of at most so many bytes of an opened file. It returns nil if the file
// cannot be read in parts.
func (f *Files) Limit(file fs.File, most int64) *Part {
	at, ok := file.(io.ReaderAt)
	if !ok {
		return nil
	}
	return &Part{at, most, f}
}

// ReadAt implements io.ReaderAt.
func (p *Part) ReadAt(b []byte, offset int64) (int, error) {
	n := int64(len(b))
	if n > p.Most || n > p.files.left {
		return 0, io.ErrUnexpectedEOF
	}
	p.Most -= n
	p.files.left -= n
	return p.ReaderAt.ReadAt(b, offset)
}
