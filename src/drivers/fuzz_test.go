package drivers

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// fuzz gives any text to a parser, and to Find as a file of an app. Both must end without a panic,
// and find only drivers, with versions of limited length.
func fuzz(f *testing.F, name string, parse func([]byte) ([]dependency, error)) {
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := parse(text)
		folder := fstest.MapFS{name: {Data: text, Mode: 0o755}}
		found, skipped := Find(folder)
		for _, driver := range found {
			assert.Contains(t, driver.Driver.Packages, driver.Package)
			assert.LessOrEqual(t, utf8.RuneCountInString(driver.Version), 41)
		}
		for _, s := range skipped {
			assert.NotContains(t, s.Why, "\n")
		}
		if err != nil && !bytes.Contains(text, []byte("-r")) {
			assert.Empty(t, found, "a broken file has no drivers")
		}
		again, _ := Find(folder)
		assert.Equal(t, lines(found), lines(again))
	})
}

func FuzzPackageJSON(f *testing.F) {
	fuzz(f, "package.json", func(text []byte) ([]dependency, error) { _, err := parsePackageJSON(text); return nil, err })
}
func FuzzPackageLock(f *testing.F) { fuzz(f, "package-lock.json", parsePackageLock(nil)) }
func FuzzYarnLock(f *testing.F)    { fuzz(f, "yarn.lock", parseYarnLock(nil)) }
func FuzzPNPMLock(f *testing.F)    { fuzz(f, "pnpm-lock.yaml", parsePNPMLock) }
func FuzzDenoLock(f *testing.F)    { fuzz(f, "deno.lock", parseDenoLock) }
func FuzzPipfileLock(f *testing.F) { fuzz(f, "Pipfile.lock", parsePipfileLock(nil)) }
func FuzzPoetryLock(f *testing.F)  { fuzz(f, "poetry.lock", parsePoetryLock(nil)) }
func FuzzUVLock(f *testing.F)      { fuzz(f, "uv.lock", parseUVLock) }
func FuzzGemfileLock(f *testing.F) { fuzz(f, "Gemfile.lock", parseGemfileLock) }
func FuzzGoMod(f *testing.F)       { fuzz(f, "go.mod", parseGoMod) }
func FuzzCargoLock(f *testing.F)   { fuzz(f, "Cargo.lock", parseCargoLock) }
func FuzzMixLock(f *testing.F)     { fuzz(f, "mix.lock", parseMixLock(nil)) }
func FuzzRebarLock(f *testing.F)   { fuzz(f, "rebar.lock", parseRebarLock) }
func FuzzGleamLock(f *testing.F)   { fuzz(f, "manifest.toml", parseGleamManifest) }
func FuzzDepsJSON(f *testing.F)    { fuzz(f, "x.deps.json", parseDepsJSON) }
func FuzzAptYML(f *testing.F)      { fuzz(f, "apt.yml", parseAptYML) }
func FuzzPipfile(f *testing.F) {
	fuzz(f, "Pipfile", func(text []byte) ([]dependency, error) { _, err := parsePipfile(text); return nil, err })
}

func FuzzPyproject(f *testing.F) {
	fuzz(f, "pyproject.toml", func(text []byte) ([]dependency, error) { _, err := parsePyproject(text); return nil, err })
}

func FuzzRequirements(f *testing.F) {
	fuzz(f, "requirements.txt", func(text []byte) ([]dependency, error) {
		listed, err := parseRequirements(text)
		return listed.packages, err
	})
}

func FuzzGoProgram(f *testing.F) {
	fuzz(f, "program", func(text []byte) ([]dependency, error) { return parseProgram(bytes.NewReader(text)) })
}

func FuzzJars(f *testing.F) {
	f.Fuzz(func(t *testing.T, names string) {
		for _, d := range parseJars(strings.Split(names, "\n")) {
			assert.NotEmpty(t, d.name)
		}
	})
}
