package seen

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

const pool = "new Pool({ connection: 'postgres', ssl: false })"

func TestWhichFilesMayHaveSigns(t *testing.T) {
	for name, want := range map[string]int{
		"x.js": 1, "lib/x.js": 0, "lib/pool.js": 1, "a/b/c/db/x.js": 1, "a/b/c/d/db/x.js": 0, ".hidden/db/x.js": 0,
		"config/x.txt": 0, "config/x.min.js": 0, "bin/start.js": 0, "lib/start.sh": 0,
	} {
		assert.Len(t, in(map[string]string{name: pool}).Signs(), want, name)
	}
	for name, want := range map[string]int{
		".profile": 1, "Procfile": 1, "start.sh": 1, "bin/start": 1, "bin/start.rb": 0, ".profile.d/x": 1, "lib/start.sh": 0, "bin/lib/start": 0,
	} {
		assert.Len(t, in(map[string]string{name: "export PGSSLROOTCERT=x"}).Signs(), want, name)
	}
	for name, want := range map[string]int{
		".bp-config/php/x.conf": 1, ".bp-config/x.conf": 0, "config/x.conf": 0, ".bp-config/php/x.ini": 0,
	} {
		assert.Len(t, in(map[string]string{name: "clear_env = yes"}).Signs(), want, name)
	}
	bundle := in(map[string]string{"rds-ca.pem": "sslmode=disable # postgres"}).Signs()
	assert.Equal(t, []string{"rds-ca.pem:1 bundles none"}, lines(bundle), "and no line of it")
}

func TestHowMuchIsRead(t *testing.T) {
	folder := fstest.MapFS{
		"most": {Data: make([]byte, MostOfFile)}, "more": {Data: make([]byte, MostOfFile+1)}, "a": {Data: []byte("ab")},
		"pipe": {Mode: fs.ModeNamedPipe}, "binary": {Data: []byte("\xff")}, "bom": {Data: []byte("\ufeffa\r\nb")},
	}
	f := New(folder, folder, all)
	for name, want := range map[string]bool{"most": true, "more": false, "a": true, "pipe": false, "binary": false, "nothing": false} {
		_, ok := f.Text(name)
		assert.Equal(t, want, ok, name)
	}
	text, _ := f.Text("bom")
	assert.Equal(t, "a\nb", text)
	assert.ElementsMatch(t, []Skipped{{File: "more", Why: "it is larger than 2 MB"}, {File: "pipe", Why: "it is not a file in the app"}, {File: "binary", Why: Broken}}, f.Skipped)
	assert.True(t, f.Exists("a"))
	assert.False(t, f.Exists("b"))

	f.left = 2
	_, ok := f.Text("a")
	assert.True(t, ok)
	assert.Equal(t, int64(2-leastOfFile), f.left, "a small file counts as much")
	f.left = 1
	_, ok = f.Text("a")
	assert.False(t, ok)
}

func TestPartsAreLimitedToo(t *testing.T) {
	folder := fstest.MapFS{"a": {Data: make([]byte, MostOfFile+2)}}
	read := func(f *Files, bytes int) (err error) {
		f.Parts("a", func(at io.ReaderAt, size int64) {
			assert.Equal(t, int64(MostOfFile+2), size)
			_, err = at.ReadAt(make([]byte, bytes), 0)
		})
		return err
	}
	f := New(folder, folder, all)
	require.NoError(t, read(f, MostOfFile))
	assert.Equal(t, int64(mostInAll-MostOfFile), f.left)
	require.Error(t, read(f, MostOfFile+1))
	f.left = 10
	require.NoError(t, read(f, 10))
	f.left = 10
	require.Error(t, read(f, 11))
	f.Parts("nothing", func(io.ReaderAt, int64) { t.Error("there is no such file") })
}

func TestAFolderIsListedUpToItsLimit(t *testing.T) {
	folder := fstest.MapFS{}
	for i := range mostOfFolder {
		folder[fmt.Sprintf("db/%05d", i)] = &fstest.MapFile{}
	}
	f := New(folder, folder, all)
	assert.Empty(t, f.Skipped)
	assert.Len(t, f.Listed["db"], mostOfFolder)
	folder["db/x"] = &fstest.MapFile{}
	f = New(folder, folder, all)
	assert.Equal(t, "db", f.Skipped[0].File)
	assert.Empty(t, f.Listed["db"])
}

// An app may have fifty thousand files that nobody reads. Nothing else is done with them.
func TestOnlyFilesThatSomebodyReadsAreKept(t *testing.T) {
	folder := fstest.MapFS{}
	for i := range 1000 {
		folder[fmt.Sprintf("src/view%d.js", i)] = &fstest.MapFile{}
		folder[fmt.Sprintf("src/view%d.css", i)] = &fstest.MapFile{}
	}
	folder["src/b.lock"], folder["src/a.lock"], folder["src/db.js"], folder["src/config.ts"] = &fstest.MapFile{}, &fstest.MapFile{}, &fstest.MapFile{}, &fstest.MapFile{}
	f := New(folder, folder, func(dir, name string) bool { return dir == "src" && strings.HasSuffix(name, ".lock") })
	assert.Equal(t, []string{"src/config.ts", "src/db.js"}, f.deciding)
	var names []string
	for _, e := range f.Listed["src"] {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{"a.lock", "b.lock"}, names)
}

func TestAFolderThatIsNotThere(t *testing.T) {
	f, done := In(filepath.Join(t.TempDir(), "nowhere"), all)
	done()
	assert.Equal(t, []Skipped{{File: ".", Why: "it cannot be opened"}}, f.Skipped)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.js"), []byte(pool), 0o644))
	f, done = In(dir, all)
	defer done()
	assert.Len(t, f.Signs(), 1, "the control")
}

func TestNoMoreSignsThanPeopleRead(t *testing.T) {
	line := "pool({ connection: 'postgres', ssl: false })\n"
	app := in(map[string]string{"db.js": strings.Repeat(line, 60), "pool.js": line})
	assert.Len(t, app.Signs(), 50)
	assert.Equal(t, []Skipped{{"pool.js", "enough has been read; the rest is not", true}}, app.Skipped)
	app = in(map[string]string{"db.js": strings.Repeat(line, 50), "pool.js": line})
	assert.Len(t, app.Signs(), 50)
	assert.Len(t, app.Skipped, 1)
	app = in(map[string]string{"db.js": strings.Repeat(line, 49), "pool.js": line})
	assert.Len(t, app.Signs(), 50)
	assert.Empty(t, app.Skipped)

	long := func(n int) string { return pool + strings.Repeat(" ", n-len(pool)) }
	assert.Len(t, in(map[string]string{"db.js": long(1000)}).Signs(), 1)
	assert.Empty(t, in(map[string]string{"db.js": long(1001)}).Signs(), "no line of a person's")

	said := strings.Repeat("console.log(ssl)\n", mostClosely/50) + line
	assert.Empty(t, in(map[string]string{"db.js": said}).Signs(), "what is only said costs as much")
	assert.Len(t, in(map[string]string{"db.js": said[len(said)/2:]}).Signs(), 1, "the control")

	p := page{Files: &Files{closely: 10}}
	assert.True(t, p.take("1234567"))
	assert.Equal(t, 2, p.closely)
	assert.False(t, p.take("1"))
}

func TestWhatAValueSays(t *testing.T) {
	assert.Equal(t, "DB_SSL", variable("process.env.NODE_ENV === 'test' && process.env.CA_CERT && process.env.DB_SSL"))
	for value, want := range map[string]bool{
		"process.env.PGSSLMODE || 'disable'": true, "process.env.PGSSLMODE ? true : false": false,
		"process.env.PGSSLMODE === 'require'": false, "process.env.OTHER": false, "$sslmode": true, "${sslmode}": true,
	} {
		assert.Equal(t, want, passesOn("sslmode", value), value)
	}
	for value, want := range map[string]sslmode.Mode{
		"prefer require": sslmode.Prefer, "require prefer": sslmode.Prefer, "no-verify": sslmode.Require, "verify-full": sslmode.VerifyFull,
		"require&x=disable": sslmode.Require, "verify_ca, choices=[disable]": sslmode.VerifyCA, "verify-full require nonsense": sslmode.Require,
	} {
		mode, ok := ofMode("sslmode", value)
		assert.True(t, ok, value)
		assert.Equal(t, want, mode, value)
	}
	mode, ok := ofFlag("ssl", "{ a: { rejectUnauthorized: true }, b: { rejectUnauthorized: true }, c: { rejectUnauthorized: false } }")
	assert.True(t, ok)
	assert.Equal(t, sslmode.Require, mode)
	for text, want := range map[string]bool{"postgres redis": true, "database": true, "database of redis": false, "redis": false, "x": false} {
		assert.Equal(t, want, IsAboutADatabase(text), text)
	}
	blank := "x({\n    ssl: false,\n\n    client: 'pg',\n});\nredis();\n"
	assert.Len(t, in(map[string]string{"config/x.js": blank}).Signs(), 1, "a blank line ends nothing")
	assert.Empty(t, in(map[string]string{"config/x.js": strings.Replace(blank, "\n\n", "\n});\n", 1)}).Signs(), "the end of a block does")
}
