// Mutate changes the code in small ways, one at a time, and runs the tests after each change. If
// the tests still pass, they miss something. scripts/mutate.sh runs it.
//
// gremlins lists the changes, and this program makes them. By itself gremlins skips each condition
// of a `case`, because Go's coverage has no block for one, and counts a change that does not
// compile as caught. byhand.go lists the changes that gremlins cannot make.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// least is the efficacy, in percent, that each part must reach.
const least = 99

// part is a package that decides something.
type part struct {
	dir   string
	files []string // its files that decide; nil for all
	also  string   // another package whose tests check this one; "" for none
	run   string   // which tests; "" for all
	line  int      // the only line to change; 0 for all
}

// parts are in the order in which data flows through them (docs/architecture.md).
var parts = []part{
	{dir: "src/plain"},
	{dir: "src/sslmode"},
	{dir: "src/rds"},
	{dir: "src/binding", also: "src/launch"}, // its testdata/shapes.json covers both
	{dir: "src/launch"},
	{dir: "src/truststore"},
	{dir: "src/client"},
	{dir: "src/explain", also: "src/cmd/postgres-ssl"}, // there, its lines are shown whole
	{dir: "src/wire", also: "src/verify"},              // there, its connections are tried
	{dir: "src/verify"},
	{dir: "src/tunnel", files: []string{"startup.go", "journal.go"}, // the rest wants servers, and minutes
		run: "FuzzGreet|TestAPacket|TestOnlyAPassword|TestPasswordIsNot|TestWhatIsNoClient|TestNobodyAsks|TestWhatTheTunnelDoesNotSpeak|TestTheLogSays"},
	{dir: "src/cf"},
	{dir: "src/audit"},
	{dir: "src/seen"},
	{dir: "src/drivers", files: []string{"verdict.go"},
		run: "TestWhatEachDriver|TestWhatAnApp|TestOnlyWhatTheAppNames|TestTheTable|TestADriverThatReads|TestAMend|TestWhyAnAppNeeds|" +
			"TestALine|TestALaunch|TestTheLog|TestAnApps"},
}

// core lists the packages whose coverage is printed as one number.
var core = []string{"./src/sslmode", "./src/rds", "./src/binding", "./src/launch", "./src/truststore"}

const byHandName = "by-hand"

// mutant is one change.
type mutant struct {
	promise       string // the promise that it breaks; "" if gremlins made it
	file          string
	at            int // where before begins in the file, in bytes
	before, after string
	tests         []string // the packages whose tests have to fail
	run           string   // which of their tests; "" for all
}

// ending is what became of a mutant. If one of gremlins' does not compile, it does not count.
type ending string

const (
	killed   ending = "killed"
	lived    ending = "lived"
	timedOut ending = "timed out"
	noBuild  ending = "does not compile"
)

func main() {
	chosen, byHandToo, err := choose(os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate.sh:", err)
		os.Exit(2)
	}
	if err := mutate(os.Args[1], chosen, byHandToo); err != nil {
		fmt.Fprintln(os.Stderr, "mutate.sh:", err)
		os.Exit(1)
	}
}

// mutate copies the tree in the current folder to work, and breaks the copies.
func mutate(work string, chosen []part, byHandToo bool) error {
	trees, err := copies(work)
	if err != nil {
		return err
	}
	var rows, low []string
	measure := func(name string, mutants []mutant) error {
		start := time.Now()
		count, err := runAll(trees, mutants)
		if err != nil {
			return err
		}
		efficacy := 100 * float64(count[killed]) / float64(max(1, count[killed]+count[lived]))
		rows = append(rows, fmt.Sprintf("%-15s %6d %6d %10d %9.1f%% %8s", name, count[killed], count[lived],
			count[timedOut], efficacy, time.Since(start).Round(time.Second)))
		if len(mutants) > 0 && efficacy < least { // a line of a table may have nothing to change
			low = append(low, name)
		}
		return nil
	}
	for _, p := range chosen {
		fmt.Println("----->", p.dir)
		mutants, err := p.mutants(work)
		if err != nil {
			return err
		}
		if err := measure(p.dir, mutants); err != nil {
			return err
		}
	}
	if byHandToo {
		fmt.Println("----->", byHandName)
		mutants, err := located(byHand)
		if err != nil {
			return err
		}
		if err := measure(byHandName, mutants); err != nil {
			return err
		}
	}
	fmt.Println("-----> Result")
	fmt.Println("part            killed  lived  timed out  efficacy     time")
	fmt.Println(strings.Join(rows, "\n"))
	if len(chosen) == len(parts) {
		covered, err := coverage(work)
		if err != nil {
			return err
		}
		fmt.Printf("Tests of their own cover %s of the statements of %s.\n", covered, strings.Join(core, ", "))
	}
	if len(low) > 0 {
		return fmt.Errorf("below %d%%: %s; write a test for what lived", least, strings.Join(low, ", "))
	}
	return nil
}

// choose finds the parts that the arguments name. An argument may also be a file or one line of it,
// as in src/rds/rds.go:48: then only that is changed.
func choose(args []string) (chosen []part, byHandToo bool, err error) {
	if len(args) == 0 {
		return parts, true, nil
	}
	for _, arg := range args {
		if arg == byHandName {
			byHandToo = true
			continue
		}
		path, number, _ := strings.Cut(arg, ":")
		dir, file := filepath.Clean(path), ""
		if filepath.Ext(dir) == ".go" {
			dir, file = filepath.Dir(dir), filepath.Base(dir)
		}
		i := slices.IndexFunc(parts, func(p part) bool { return p.dir == dir })
		if i < 0 {
			return nil, false, fmt.Errorf("there is no part %s; see --help", arg)
		}
		p := parts[i]
		if file != "" {
			p.files = []string{file}
		}
		if number != "" {
			if p.line, err = strconv.Atoi(number); err != nil {
				return nil, false, fmt.Errorf("%s: %s is no line", arg, number)
			}
		}
		chosen = append(chosen, p)
	}
	return chosen, byHandToo, nil
}

// copies makes a copy of the tree for each processor.
func copies(work string) ([]string, error) {
	var trees []string
	for i := range runtime.NumCPU() {
		tree := filepath.Join(work, fmt.Sprint("tree-", i))
		if err := os.CopyFS(tree, os.DirFS(".")); err != nil {
			return nil, err
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

// mutations lists what gremlins calls its changes, and what they do. `-` has two names.
// Source: internal/engine/mappings.go of gremlins.
var mutations = map[string]map[string]string{
	"ARITHMETIC_BASE":       {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*"},
	"CONDITIONALS_BOUNDARY": {">=": ">", ">": ">=", "<=": "<", "<": "<="},
	"CONDITIONALS_NEGATION": {"==": "!=", "!=": "==", ">=": "<", "<": ">=", "<=": ">", ">": "<="},
	"INCREMENT_DECREMENT":   {"++": "--", "--": "++"},
	"INVERT_LOGICAL":        {"&&": "||", "||": "&&"},
	"INVERT_NEGATIVES":      {"-": "+"},
}

// mutants asks gremlins for the changes to a part. It does not run the tests for that.
func (p part) mutants(work string) ([]mutant, error) {
	list := filepath.Join(work, filepath.Base(p.dir)+".json")
	if _, err := os.Stat(list); err != nil { // an earlier argument may name the same part
		gremlins := exec.Command("go", "tool", "-modfile=tools/mutate.mod", "gremlins", "unleash", "./"+p.dir,
			"--dry-run", "--invert-logical", "--output", list)
		gremlins.Env = append(os.Environ(), "GOFLAGS=-run=^$")
		if out, err := gremlins.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", gremlins, err, out)
		}
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	var listed struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type         string
				Line, Column int
			}
		}
	}
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, fmt.Errorf("what gremlins wrote: %w", err)
	}
	var mutants []mutant
	tests := []string{"./" + p.dir}
	if p.also != "" {
		tests = append(tests, "./"+p.also)
	}
	for _, file := range listed.Files {
		if p.files != nil && !slices.Contains(p.files, file.Name) {
			continue
		}
		name := filepath.Join(p.dir, file.Name)
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, m := range file.Mutations {
			if p.line != 0 && m.Line != p.line {
				continue
			}
			at := offset(source, m.Line, m.Column)
			before, after := change(mutations[m.Type], source[at:])
			if after == "" {
				return nil, fmt.Errorf("%s:%d:%d: %s is not known", name, m.Line, m.Column, m.Type)
			}
			mutants = append(mutants, mutant{file: name, at: at, before: before, after: after, tests: tests, run: p.run})
		}
	}
	slices.SortFunc(mutants, func(a, b mutant) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.at, b.at), cmp.Compare(a.after, b.after))
	})
	twice := func(a, b mutant) bool { return a.file == b.file && a.at == b.at && a.after == b.after }
	return slices.CompactFunc(mutants, twice), nil
}

// offset returns the position of a line and a column in a text. Both count from 1.
func offset(text []byte, line, column int) int {
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(text[at:], '\n') + 1
	}
	return at + column - 1
}

// change returns the longest operator that the text begins with, and its replacement.
func change(of map[string]string, text []byte) (before, after string) {
	for b, a := range of {
		if len(b) > len(before) && bytes.HasPrefix(text, []byte(b)) {
			before, after = b, a
		}
	}
	return before, after
}

// located finds the texts of the hand-made mutants. Each must occur exactly once.
func located(mutants []mutant) ([]mutant, error) {
	var wrong []error
	for i, m := range mutants {
		source, err := os.ReadFile(m.file)
		if err != nil {
			return nil, err
		}
		if n := bytes.Count(source, []byte(m.before)); n != 1 {
			wrong = append(wrong, fmt.Errorf("%s: is %d times in %s: %q", m.promise, n, m.file, m.before))
		}
		mutants[i].at = bytes.Index(source, []byte(m.before))
	}
	return mutants, errors.Join(wrong...)
}

// runAll runs each mutant in one of the trees, prints those that the tests miss, and counts.
func runAll(trees []string, mutants []mutant) (map[ending]int, error) {
	control := controls(mutants)
	jobs := make(chan mutant)
	var group sync.WaitGroup
	var mutex sync.Mutex
	count, failed := map[ending]int{}, []error{}
	for _, tree := range trees {
		group.Go(func() {
			for m := range jobs {
				err := control(m)
				var end ending
				if err == nil {
					end, err = m.runIn(tree)
				}
				mutex.Lock()
				if err != nil {
					failed = append(failed, err)
				} else if end == lived || end == timedOut || end == noBuild && m.promise != "" {
					fmt.Printf("       %-9s %s\n", end, m)
				}
				if end == noBuild && m.promise != "" {
					end = lived // so no test checks that promise
				}
				count[end]++
				mutex.Unlock()
			}
		})
	}
	for _, m := range mutants {
		jobs <- m
	}
	close(jobs)
	group.Wait()
	return count, errors.Join(failed...)
}

// controls returns a function that runs the tests of a mutant, once, in the unchanged tree. If they
// fail there, they prove nothing about the mutant.
func controls(mutants []mutant) func(mutant) error {
	checks := map[string]func() error{}
	for _, m := range mutants {
		for _, dir := range m.tests {
			checks[dir+" "+m.run] = sync.OnceValue(func() error {
				end, out := goTest(".", dir, m.run)
				if end != lived || bytes.Contains(out, []byte("no tests to run")) {
					return fmt.Errorf("%s, tests %q: they have to pass without a change\n%s", dir, m.run, out[max(0, len(out)-2000):])
				}
				return nil
			})
		}
	}
	return func(m mutant) error {
		for _, dir := range m.tests {
			if err := checks[dir+" "+m.run](); err != nil {
				return err
			}
		}
		return nil
	}
}

// String says where the mutant is, and shows the line and the change.
func (m mutant) String() string {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return err.Error()
	}
	start := bytes.LastIndexByte(source[:m.at], '\n') + 1
	line, _, _ := strings.Cut(string(source[start:]), "\n")
	where := fmt.Sprintf("%s:%d:%d", m.file, bytes.Count(source[:m.at], []byte("\n"))+1, m.at-start+1)
	if m.promise != "" {
		return where + "  " + m.promise
	}
	return fmt.Sprintf("%s  %s to %s in: %s", where, m.before, m.after, strings.TrimSpace(line))
}

// patience is how long the tests of one package may take. Tests that need longer mostly loop
// forever.
const patience = 3 * time.Minute

// runIn makes the change in a tree, runs the tests, and undoes the change.
func (m mutant) runIn(tree string) (ending, error) {
	path := filepath.Join(tree, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	changed := slices.Concat(source[:m.at], []byte(m.after), source[m.at+len(m.before):])
	if err := os.WriteFile(path, changed, info.Mode()); err != nil {
		return "", err
	}
	end := m.test(tree)
	return end, os.WriteFile(path, source, info.Mode())
}

// test runs the packages one after the other, until one of them catches the change.
func (m mutant) test(tree string) ending {
	for _, dir := range m.tests {
		if end, _ := goTest(tree, dir, m.run); end != lived {
			return end
		}
	}
	return lived
}

// goTest runs tests anew: some packages test the program that a script builds, and the cache of go test
// does not see what that is made of.
func goTest(tree, dir, run string) (ending, []byte) {
	cmd := exec.Command("go", "test", "-count=1", "-vet=off", "-failfast", "-timeout", patience.String(), "-run", run, dir)
	cmd.Dir = tree
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return lived, out
	case bytes.Contains(out, []byte("test timed out")): // testing and testscript both say it
		return timedOut, out
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return noBuild, out
	}
	return killed, out
}

// coverage returns the share of the core's statements that its own tests run, as in "97.1%".
func coverage(work string) (string, error) {
	profile := filepath.Join(work, "coverage")
	test := exec.Command("go", append([]string{"test", "-coverprofile", profile}, core...)...)
	if out, err := test.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", test, err, out)
	}
	out, err := exec.Command("go", "tool", "cover", "-func", profile).Output()
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(out)) // the last line is "total: (statements) 97.1%"
	return fields[len(fields)-1], nil
}
