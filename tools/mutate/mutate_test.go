package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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

// example is a package in which each change ends in a way of its own.
var example = map[string]string{
	"go.mod": "module example\n\ngo 1.25\n",
	"example/a.go": `package example

import "time"

const least = 1 < 2 // not switched; <= lives

func positive(n int) bool { return n > 0 } // >= lives

func greet(name string) string { return name + "!" } // - does not compile

func halves(n int) (times int) {
	for n > 0 { // >= loops
		time.Sleep(time.Millisecond)
		n /= 2
		times++
	}
	return times
}

func inChild(n int) bool { return n == 7 } // caught where no variable is
`,
	"example/b.go": `package example

type answer bool

func yes(n int) answer { return n == 1 } // a function of bool does not compile
`,
	"example/c.go": `package example

func no(n int) answer { return n != 1 } // nor here
`,
	"example/a_test.go": `package example

import (
	"os"
	"os/exec"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 1 {
		if !inChild(7) {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestIt(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = []string{"HOME=/"}
	if !least || !positive(1) || positive(-1) || greet("a") != "a!" || halves(2) != 2 || !bool(yes(1)) || bool(no(1)) || child.Run() != nil {
		t.Fail()
	}
}
`,
}

func writeExample(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("example", 0o700))
	for name, text := range example {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
}

// The real tests of a real package catch a real change, and pass after one that changes nothing.
func TestAMutantIsCaughtOrNot(t *testing.T) {
	writeExample(t)
	limit := patience
	t.Cleanup(func() { patience = limit })
	patience = 15 * time.Second // for a busy machine
	mutants, err := part{dir: "example"}.mutants()
	require.NoError(t, err)
	work := t.TempDir()
	count, err := runAll(work, mutants)
	require.NoError(t, err)
	assert.Equal(t, map[ending]int{killed: 7, lived: 2, noBuild: 1, timedOut: 1}, count)
	var switched []string
	for _, m := range mutants {
		if m.number != 0 {
			where, _, _ := strings.Cut(m.String(), " in: ")
			switched = append(switched, where)
		}
	}
	assert.Equal(t, []string{"example/a.go:7:38  > to >=", "example/a.go:7:38  > to <=", "example/a.go:12:8  > to >=",
		"example/a.go:12:8  > to <=", "example/a.go:20:37  == to !="}, switched)
	end, err := mutants[3].testAll(filepath.Join(work, "tree-0"))
	require.NoError(t, err)
	assert.Equal(t, killed, end, "before it is compiled by itself")
	for i := range 2 * runtime.NumCPU() {
		left, err := os.ReadFile(filepath.Join(work, fmt.Sprint("tree-", i), "example/b.go"))
		require.NoError(t, err)
		assert.Equal(t, example["example/b.go"], string(left), "it is taken back")
	}
}

func TestWhatCannotBeSwitchedIsCompiledByItself(t *testing.T) {
	writeExample(t)
	mutants, err := part{dir: "example", files: []string{"b.go", "c.go"}}.mutants()
	require.NoError(t, err)
	count, err := runAll(t.TempDir(), mutants)
	require.NoError(t, err)
	assert.Equal(t, map[ending]int{killed: 2}, count)

	mutants, err = part{dir: "example", alone: true}.mutants()
	require.NoError(t, err)
	assert.False(t, slices.ContainsFunc(mutants, func(m mutant) bool { return m.to != 0 }), "no change is switched")
}

func TestAMutantByHandThatDoesNotCompileChecksNothing(t *testing.T) {
	writeExample(t)
	mutants, err := located([]mutant{{promise: "a promise", file: "example/a.go", before: "n > 0 }", after: "n !! 0 }", tests: []string{"./example"}}})
	require.NoError(t, err)
	count, err := runAll(t.TempDir(), mutants)
	require.NoError(t, err)
	assert.Equal(t, map[ending]int{lived: 1}, count)
}

// Tests that fail without a change, or do not exist, catch nothing.
func TestTheControlTestsThatFailAreAnError(t *testing.T) {
	for name, p := range map[string]part{
		"none, switched": {dir: "example", line: 7, run: "TestNone"}, "none, alone": {dir: "example", line: 5, run: "TestNone"},
		"failing, switched": {dir: "example", line: 7}, "failing, alone": {dir: "example", line: 5},
		"failing at the end": {dir: "example", line: 5, run: "TestIt"},
	} {
		writeExample(t)
		switch name {
		case "failing at the end":
			once := strings.Replace(example["example/a_test.go"], "if !least", "if os.Mkdir(\"once\", 0o700) != nil || !least", 1)
			require.NoError(t, os.WriteFile("example/a_test.go", []byte(once), 0o600))
		case "failing, switched", "failing, alone":
			broken := strings.ReplaceAll(example["example/a.go"], "times++", "times--")
			require.NoError(t, os.WriteFile("example/a.go", []byte(broken), 0o600))
		}
		mutants, err := p.mutants()
		require.NoError(t, err)
		_, err = runAll(t.TempDir(), mutants)
		assert.ErrorContains(t, err, "they have to pass without a change", name)
	}
}

func TestAConditionIsSwitchedAsItsTextSays(t *testing.T) {
	source := "package a\n\nvar ö = f(a<b) || c && d\n"
	file, err := parser.ParseFile(token.NewFileSet(), "a.go", source, 0)
	require.NoError(t, err)
	mutants := operators(file)
	for i := range mutants {
		mutants[i].number = i + 1
	}
	inner := "func() bool { switch mutant { case 1: return a<=b; case 2: return a>=b; }; return a<b }()"
	assert.Equal(t, "package a\n\nvar ö = func() bool { switch mutant { case 3: return f("+inner+") && c && d; case 4: return f("+inner+
		") || c || d; }; return f("+inner+") || c && d }()\n", switched(source, mutants))
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
