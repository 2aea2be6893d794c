package drivers

import (
	"fmt"
	"path"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

// TestHostileFilesCostNoMoreThanTheirSize gives each reader the most that it reads of one file, and
// counts what it allocates: whatever takes more than linear time does that too.
func TestHostileFilesCostNoMoreThanTheirSize(t *testing.T) {
	fill := func(head, unit string) string {
		return head + strings.Repeat(unit, (seen.MostOfFile-len(head))/len(unit))
	}
	var packages strings.Builder
	for i := range 80_000 {
		fmt.Fprintf(&packages, `"node_modules/%d":{},`, i)
	}
	for name, text := range map[string]string{
		"requirements.txt":  fill("", "pg8000==1\n"),
		"Gemfile.lock":      fill("DEPENDENCIES\n", "  pg\n"),
		"apt.yml":           fill("packages:\n", "- libpq5\n"),
		"go.mod":            fill("module x\nrequire (\n", "\tgithub.com/lib/pq v1\n"),
		"Cargo.lock":        fill("", "[[package]]\nname = \"postgres\"\nversion = \"1\"\n"),
		"yarn.lock":         fill("# yarn lockfile v1\n", "pg@1:\n  version 1\n"),
		"pnpm-lock.yaml":    fill("lockfileVersion: 9\npackages:\n", "    pg dev: true"),
		"composer.lock":     fill("{\n", "  \"name\": \"ext-pgsql\"\n"),
		"pyproject.toml":    fill("", "\"pg8000\"\n"),
		"rebar.lock":        fill("[", "{<<\"pgo\">>,{pkg,<<\"pgo\">>,<<\"1\">>},0}\n"),
		"Shop.deps.json":    fill(`{"libraries`, `"Npgsql/1"`),
		"package-lock.json": `{"lockfileVersion":3,"packages":{` + packages.String() + `"":{}}}`,
		"npm-shrinkwrap.json": `{"lockfileVersion":1,"dependencies":` + strings.Repeat(`{"a":{"dependencies":`, 4900) +
			"{" + strings.Repeat(`"pg":{},`, 150_000) + `"b":{}}` + strings.Repeat("}}", 4900) + "}",
		"config/db.js":       fill("", "  ssl: x ? true : false,\n"),
		"config/database.js": fill("", strings.Repeat("[", 900)+"ssl\n"),
		"db/pool.js":         fill("ssl", "\n"),
		"app.jar":            fill("", "PK\x05\x06"),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			app := fstest.MapFS{name: {Data: []byte(text), Mode: 0o755}}
			files := seen.New(app, app, asks)
			runtime.ReadMemStats(&before)
			Find(files)
			files.Signs()
			runtime.ReadMemStats(&after)
			assert.Less(t, (after.TotalAlloc-before.TotalAlloc)>>20, uint64(100), "MB allocated for a file of 2 MB")
		})
	}
}

// TestAFileWithMoreThanAnyToolWritesIsSkipped has the limits that keep the time short.
func TestAFileWithMoreThanAnyToolWritesIsSkipped(t *testing.T) {
	lock := func(n int) string {
		return `{"lockfileVersion": 3, "packages": {"node_modules/slonik": {"version": "47.3.0"}` + strings.Repeat(`,"x":{}`, n) + `}}`
	}
	mod := func(n int) string {
		return "module x\nrequire github.com/lib/pq v1.10.9\n" + strings.Repeat("// github.com/lib/pq\n", n)
	}
	for file, text := range map[string]func(int) string{"package-lock.json": lock, "go.mod": mod} {
		found, skipped := find(app(map[string]string{file: text(4_000)}))
		assert.Len(t, found, 1, file)
		assert.Empty(t, skipped, file)
		found, skipped = find(app(map[string]string{file: text(60_000)}))
		assert.Empty(t, found, file)
		assert.Equal(t, skips(file, seen.Broken), skipped)
	}
}

// TestWhatNobodyReadsCostsNothing: an app may have fifty thousand files, and a jar 20 MB of names.
func TestWhatNobodyReadsCostsNothing(t *testing.T) {
	for name, want := range map[string]bool{
		"src/view.js": false, "src/view.json": false, "src/x.txt": false, "src/start": false,
		"src/setup.py": true, "src/go.mod": true, "src/a.jar": true, "requirements/x.txt": true, "src/requirements-dev.txt": true, "bin/start": true,
	} {
		assert.Equal(t, want, asks(path.Dir(name), path.Base(name)), name)
	}
	assert.True(t, asks(".", "start"))
	assert.Len(t, jar("lib/"+strings.Repeat("x", 196)+".jar"), 1)
	assert.Empty(t, jar("lib/"+strings.Repeat("x", 197)+".jar"))
}
