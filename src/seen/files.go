// Package seen reads an app's own files: it lists and reads them within limits, and finds the signs
// that the app decides about TLS by itself.
package seen

import (
	"cmp"
	"embed"
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
	// Folders are the app's own folder and those in it, the nearest first, then by name.
	Folders []string
	Listed  map[string][]fs.DirEntry // what New keeps of each, sorted by name
	Skipped []Skipped

	// OldPostgrex says that ssl: true verifies nothing in Elixir.
	// Source: postgrex, lib/postgrex/protocol.ex, 0.20 and 0.21
	OldPostgrex bool

	app      fs.FS    // opens files, and follows no link out of the app
	left     int64    // bytes that may still be read
	closely  int      // bytes of lines that may still be looked at
	deciding []string // files that may have signs
	defaults []Sign   // of Module
}

// Skipped is a file or a folder that is not read, and why.
type Skipped struct {
	File, Why string
	More      bool // other files are not read either: those in it, or those behind it
}

// How much we read at most. No app may slow the staging down.
const (
	mostInAll    = 20 << 20
	MostOfFile   = 2 << 20
	leastOfFile  = 4 << 10 // a small file counts as much: to open it takes time
	mostNames    = 60_000
	mostClosely  = 1 << 19 // bytes of lines that are looked at, which costs much more than reading
	mostOfFolder = 10_000
	deepest      = 4 // folders below the app's own
)

// Broken is why a file is skipped that is no text, or not what its name says.
const Broken = "its content does not match its name"

// In opens an app's folder for New. It follows no link out of it. Call done when you have read it.
func In(dir string, asks func(dir, name string) bool) (files *Files, done func()) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		files = New(embed.FS{}, embed.FS{}, asks)
		files.Skip(".", "it cannot be opened")
		return files, func() {}
	}
	// A folder that an os.Root opens is listed with a stat of each entry, which takes most of the
	// time with many files. The walk asks only for real folders, so it needs no os.Root.
	return New(os.DirFS(dir), root.FS(), asks), func() { root.Close() }
}

// New lists folders by tree, and opens files by app, which must follow no link out of the app. asks
// says which files Listed keeps: an app may have fifty thousand others.
func New(tree, app fs.FS, asks func(dir, name string) bool) *Files {
	f := &Files{app: app, left: mostInAll, closely: mostClosely, Folders: []string{"."}, Listed: map[string][]fs.DirEntry{}}
	names := mostNames
	for i := 0; i < len(f.Folders); i++ { // it grows
		dir := f.Folders[i]
		entries, ok := list(tree, dir, min(mostOfFolder, names))
		if !ok {
			why := fmt.Sprintf("it cannot be listed, or has more than %d files, or the app more than %d", mostOfFolder, mostNames)
			f.Skipped, entries = append(f.Skipped, Skipped{dir, why, true}), nil
		}
		names -= len(entries)
		tells := dir == "." || contains(dir+"/", telling)
		var below, deciding []string
		for _, e := range entries {
			name := e.Name()
			isHidden := name[0] == '.' && name != ".profile.d" && name != ".bp-config"
			isBelow := e.IsDir() && strings.Count(path.Join(dir, name), "/") < deepest
			switch {
			case isBelow && !isHidden && !elsewhere().MatchString(name):
				below = append(below, path.Join(dir, name))
			case e.Type().IsRegular() && mayDecide(dir, name, tells):
				deciding = append(deciding, path.Join(dir, name))
			}
			if asks(dir, name) {
				f.Listed[dir] = append(f.Listed[dir], e)
			}
		}
		slices.SortFunc(f.Listed[dir], func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
		f.Folders = append(f.Folders, slices.Sorted(slices.Values(below))...)
		f.deciding = append(f.deciding, slices.Sorted(slices.Values(deciding))...)
	}
	return f
}

// list returns what is in a folder, unsorted, or false if that cannot be read or is too much.
func list(tree fs.FS, dir string, most int) (entries []fs.DirEntry, ok bool) {
	folder, err := tree.Open(dir)
	if err != nil {
		return nil, false
	}
	defer folder.Close()
	entries, err = folder.(fs.ReadDirFile).ReadDir(most + 1)
	return entries, len(entries) <= most && (err == nil || errors.Is(err, io.EOF))
}

// elsewhere are folders that say nothing about the app that runs.
var elsewhere = lazyregexp.New(`(?i)^(?:node_modules|bower_components|vendor|site-packages|__pycache__|venv|` +
	`(?:.*[_.-])?(?:tests?|testutils?|specs?|fixtures|mocks?|e2e)_*|cypress|coverage|testdata|` +
	`docs?|documentation|examples?|samples?|demos?|tutorials?|public|static|assets|locales?|i18n|logs?|tmp|` +
	`docker|k8s|kubernetes|helm|charts|terraform|ansible)$`)

// Skip says that a file is not read.
func (f *Files) Skip(file, why string) { f.Skipped = append(f.Skipped, Skipped{file, why, false}) }

// Exists says whether there is such a file.
func (f *Files) Exists(name string) bool {
	info, err := fs.Stat(f.app, name)
	return err == nil && info.Mode().IsRegular()
}

// with lets a reader have a regular file and its size. It skips one for which that returns a
// reason, and opens no pipe, which it might wait for forever.
func (f *Files) with(name string, read func(file fs.File, size int64) (why string)) {
	info, err := fs.Stat(f.app, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil || !info.Mode().IsRegular():
		f.Skip(name, "it is not a file in the app")
	default:
		file, err := f.app.Open(name)
		if err != nil {
			f.Skip(name, "it cannot be opened")
			return
		}
		defer file.Close()
		if why := read(file, info.Size()); why != "" {
			f.Skip(name, why)
		}
	}
}

// Text returns a file's text, with lines that end in \n, or false if it is not there or skipped.
func (f *Files) Text(name string) (text string, ok bool) {
	f.with(name, func(file fs.File, size int64) string {
		switch {
		case size > MostOfFile:
			return fmt.Sprintf("it is larger than %d MB", MostOfFile>>20)
		case size > f.left:
			return fmt.Sprintf("%d MB have been read already", mostInAll>>20)
		}
		raw, err := io.ReadAll(io.LimitReader(file, size))
		f.left -= max(int64(len(raw)), leastOfFile)
		switch {
		case err != nil:
			return "it cannot be read"
		case !utf8.Valid(raw):
			return Broken
		}
		text = strings.ReplaceAll(strings.TrimPrefix(string(raw), "\ufeff"), "\r\n", "\n")
		ok = !strings.HasPrefix(text, "# postgres-ssl-buildpack:") // our own launch script
		return ""
	})
	return text, ok
}

// Parts lets a reader have parts of a file: MostOfFile bytes at most, out of the budget. The
// readers of the standard library were not made for hostile files, so one may panic.
func (f *Files) Parts(name string, read func(at io.ReaderAt, size int64)) {
	f.with(name, func(file fs.File, size int64) string {
		defer func() { _ = recover() }()
		read(&part{file.(io.ReaderAt), MostOfFile, &f.left}, size)
		return ""
	})
}

type part struct {
	io.ReaderAt
	most int64
	left *int64
}

func (p *part) ReadAt(b []byte, offset int64) (int, error) {
	n := int64(len(b))
	if n > p.most || n > *p.left {
		return 0, io.ErrUnexpectedEOF
	}
	p.most -= n
	*p.left -= n
	return p.ReaderAt.ReadAt(b, offset)
}
