package drivers

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// fuzz gives any text to the reader of a file, and to Find, as a file of an app. Both must end
// without a panic, and find only drivers, with versions of limited length.
func fuzz(f *testing.F, name string) {
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := fstest.MapFS{name: {Data: text, Mode: 0o755}}
		found, skipped := find(folder)
		for _, driver := range found {
			assert.Contains(t, driver.Driver.Packages, driver.Package)
			assert.LessOrEqual(t, utf8.RuneCountInString(driver.Version), 41)
		}
		for _, s := range skipped {
			assert.NotContains(t, s.Why, "\n")
			assert.Empty(t, found, "a broken file has no drivers")
		}
		again, _ := find(folder)
		assert.Equal(t, lines(found), lines(again))
	})
}

func FuzzPackageJSON(f *testing.F)  { fuzz(f, "package.json") }
func FuzzPackageLock(f *testing.F)  { fuzz(f, "package-lock.json") }
func FuzzYarnLock(f *testing.F)     { fuzz(f, "yarn.lock") }
func FuzzPNPMLock(f *testing.F)     { fuzz(f, "pnpm-lock.yaml") }
func FuzzDenoLock(f *testing.F)     { fuzz(f, "deno.lock") }
func FuzzRequirements(f *testing.F) { fuzz(f, "requirements.txt") }
func FuzzPipfileLock(f *testing.F)  { fuzz(f, "Pipfile.lock") }
func FuzzPoetryLock(f *testing.F)   { fuzz(f, "poetry.lock") }
func FuzzUVLock(f *testing.F)       { fuzz(f, "uv.lock") }
func FuzzGemfileLock(f *testing.F)  { fuzz(f, "Gemfile.lock") }
func FuzzGoMod(f *testing.F)        { fuzz(f, "go.mod") }
func FuzzCargoLock(f *testing.F)    { fuzz(f, "Cargo.lock") }
func FuzzMixLock(f *testing.F)      { fuzz(f, "mix.lock") }
func FuzzRebarLock(f *testing.F)    { fuzz(f, "rebar.lock") }
func FuzzGleamLock(f *testing.F)    { fuzz(f, "manifest.toml") }
func FuzzDepsJSON(f *testing.F)     { fuzz(f, "x.deps.json") }
func FuzzAptYML(f *testing.F)       { fuzz(f, "apt.yml") }

func FuzzGoProgram(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzed := modules(bytes.NewReader(text))
		assert.Equal(t, fuzzed, modules(bytes.NewReader(text)))
	})
}

func FuzzJars(f *testing.F) {
	f.Fuzz(func(t *testing.T, names string) {
		for _, name := range strings.Split(names, "\n") {
			for _, d := range jar(name) {
				assert.NotEmpty(t, d.Package)
			}
		}
	})
}
