package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The code changes. If a mutant's text is gone, it breaks nothing. If it is there twice, the wrong
// place may break.
func TestEachMutantByHandIsStillInTheCode(t *testing.T) {
	t.Chdir("../..")
	mutants, err := located(byHand)
	require.NoError(t, err)
	for _, m := range mutants {
		assert.NotEqual(t, m.before, m.after, m.promise)
		assertTestsExist(t, m.run, m.tests...)
	}
	for _, p := range parts {
		assertTestsExist(t, p.run, p.dir)
	}
}

// assertTestsExist looks for a test of each name in a pattern. A test may have got a new name.
func assertTestsExist(t *testing.T, run string, dirs ...string) {
	t.Helper()
	var tests strings.Builder
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, dir)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			tests.Write(text)
		}
	}
	for name := range strings.SplitSeq(run, "|") {
		name, _, _ = strings.Cut(name, "/") // a subtest may have any name
		is := regexp.MustCompile(`\nfunc \w*` + name)
		assert.True(t, is.MatchString(tests.String()), "%v have no test %s", dirs, name)
	}
}

func TestTheControlTextThatIsGoneOrThereTwiceIsNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("code.go", []byte("if a {\n}\nif a {\n}\n"), 0o600))
	for before, want := range map[string]string{"if b {": "is 0 times in code.go", "if a {": "is 2 times in code.go"} {
		_, err := located([]mutant{{promise: "a promise", file: "code.go", before: before}})
		assert.ErrorContains(t, err, "a promise: "+want)
	}
}

func TestAChangeOfGremlinsIsFoundByLineAndColumn(t *testing.T) {
	source := []byte("package a\n\nvar ö = b >= c\n")
	at := offset(source, 3, 12) // columns count bytes
	before, after := change(mutations["CONDITIONALS_BOUNDARY"], source[at:])
	assert.Equal(t, []string{">=", ">"}, []string{before, after})
	assert.Equal(t, "src.go:3:12  >= to > in: var ö = b >= c", func() string {
		t.Chdir(t.TempDir())
		require.NoError(t, os.WriteFile("src.go", source, 0o600))
		return mutant{file: "src.go", at: at, before: before, after: after}.String()
	}())
}

// The real tests of a real package catch a real change, and pass after one that changes nothing.
func TestAMutantIsCaughtOrNot(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod":    "module example\n\ngo 1.25\n",
		"a.go":      "package example\n\nfunc positive(n int) bool { return n > 0 }\n",
		"a_test.go": "package example\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) {\n\tif !positive(1) || positive(-1) {\n\t\tt.Fail()\n\t}\n}\n",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	tree := t.TempDir()
	require.NoError(t, os.CopyFS(tree, os.DirFS(".")))
	source, err := os.ReadFile("a.go")
	require.NoError(t, err)
	for after, want := range map[string]ending{"n <= 0": killed, "n >= 0": lived, "n !! 0": noBuild} {
		mutants, err := located([]mutant{{file: "a.go", before: "n > 0", after: after, tests: []string{"."}}})
		require.NoError(t, err)
		count, err := runAll([]string{tree}, mutants)
		require.NoError(t, err)
		assert.Equal(t, map[ending]int{want: 1}, count, after)
		left, err := os.ReadFile(filepath.Join(tree, "a.go"))
		require.NoError(t, err)
		assert.Equal(t, string(source), string(left), "it is taken back")
	}

	// Tests that fail without the change, or do not exist, catch nothing.
	for _, run := range []string{"TestNone", "TestIt"} {
		mutants, err := located([]mutant{{file: "a.go", before: "n > 0", after: "n <= 0", tests: []string{"."}, run: run}})
		require.NoError(t, err)
		if run == "TestIt" {
			require.NoError(t, os.WriteFile("a.go", []byte(strings.Replace(string(source), "n > 0", "n < 0", 1)), 0o600))
		}
		_, err = runAll([]string{tree}, mutants)
		assert.ErrorContains(t, err, "they have to pass without a change", run)
	}
}

func TestAnArgumentIsAPartAFileOrALine(t *testing.T) {
	all, byHandToo, err := choose(nil)
	require.NoError(t, err)
	assert.Equal(t, parts, all)
	assert.True(t, byHandToo)

	chosen, byHandToo, err := choose([]string{"src/rds/", "src/binding/keys.go", "./src/binding/keys.go:72"})
	require.NoError(t, err)
	assert.False(t, byHandToo)
	assert.Equal(t, []part{
		{dir: "src/rds"},
		{dir: "src/binding", also: "src/launch", files: []string{"keys.go"}},
		{dir: "src/binding", also: "src/launch", files: []string{"keys.go"}, line: 72},
	}, chosen)

	for arg, wrong := range map[string]string{
		"rds": "there is no part rds", "src/staging": "there is no part src/staging", "src/rds/rds.go:x": "x is no line",
	} {
		_, _, err := choose([]string{arg})
		assert.ErrorContains(t, err, wrong)
	}
}
