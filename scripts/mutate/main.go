// Mutate changes the code in small ways, one at a time, and runs the tests after each change. Tests
// that pass all the same do not hold the code to what it does. scripts/mutate.sh runs it.
//
// gremlins names the changes, and the program makes them. By itself gremlins leaves out each
// condition of a `case`, as Go's coverage has no block for one, and counts what does not compile as
// caught. byhand.go lists the changes that gremlins cannot name.
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

// least is the efficacy, in percent, that each part has to reach.
const least = 97

// part is a package that decides something.
type part struct {
	dir   string
	files []string // the files of it that decide; nil for all of them
	also  string   // another package whose tests hold this one to its rules; "" for none
	run   string   // which tests; "" for all
	line  int      // the only one to change; 0 for all
}

// parts are in the order of the data's way: docs/architecture.md.
var parts = []part{
	{dir: "src/sslmode"},
	{dir: "src/rds"},
	{dir: "src/binding", also: "src/launch"}, // testdata/shapes.json: what is read, and what it means
	{dir: "src/launch"},
	{dir: "src/truststore"},
	{dir: "src/client"},
	{dir: "src/drivers", files: []string{"verdict.go"}, run: "TestWhatEachDriver|TestOnlyWhatTheAppNames|TestTheTable|TestADriverThatReads|TestAMend"},
}

// core are the parts whose coverage is one number.
var core = []string{"./src/sslmode", "./src/rds", "./src/binding", "./src/launch", "./src/truststore"}

const byHandName = "by-hand"

// mutant is one change.
type mutant struct {
	promise       string // what it breaks; "" for one of gremlins
	file          string
	at            int // where before stands, in bytes
	before, after string
	tests         []string // the packages whose tests have to fail
	run           string   // which of their tests; "" for all
}

// A mutant ends in one of these ways. One of gremlins that does not compile counts for nothing.
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

// mutate breaks copies of the tree in the current folder, which it makes in work.
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
		if efficacy < least {
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

// choose finds the parts that the arguments name. A file, or a line of it, stands for a part of which
// nothing else decides: src/rds/rds.go:48.
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

// mutations are what gremlins calls each of its changes, and what it does. `-` has two names.
// Source: internal/engine/mappings.go of gremlins.
var mutations = map[string]map[string]string{
	"ARITHMETIC_BASE":       {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*"},
	"CONDITIONALS_BOUNDARY": {">=": ">", ">": ">=", "<=": "<", "<": "<="},
	"CONDITIONALS_NEGATION": {"==": "!=", "!=": "==", ">=": "<", "<": ">=", "<=": ">", ">": "<="},
	"INCREMENT_DECREMENT":   {"++": "--", "--": "++"},
	"INVERT_LOGICAL":        {"&&": "||", "||": "&&"},
	"INVERT_NEGATIVES":      {"-": "+"},
}

// mutants asks gremlins for the changes to a part. It needs no test run for that, and gets none.
func (p part) mutants(work string) ([]mutant, error) {
	list := filepath.Join(work, filepath.Base(p.dir)+".json")
	if _, err := os.Stat(list); err != nil { // several arguments may name the same part
		gremlins := exec.Command("go", "tool", "-modfile=scripts/mutate.mod", "gremlins", "unleash", "./"+p.dir,
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

// offset returns where a line and a column, which count from 1, are in a text.
func offset(text []byte, line, column int) int {
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(text[at:], '\n') + 1
	}
	return at + column - 1
}

// change returns the longest operator that the text begins with, and what becomes of it.
func change(of map[string]string, text []byte) (before, after string) {
	for b, a := range of {
		if len(b) > len(before) && bytes.HasPrefix(text, []byte(b)) {
			before, after = b, a
		}
	}
	return before, after
}

// located finds the texts of hand-made mutants. Each has to be there, and only once.
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

// runAll runs each mutant in one of the trees, prints those that the tests did not catch, and counts.
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
					end = lived // nobody has looked at that promise
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

// controls returns what runs the tests of a mutant once in the tree without a change. Those that fail
// there would catch every mutant.
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

// patience is how long the tests of one package may take. Most that are cut short loop for ever.
const patience = 3 * time.Minute

// runIn makes the change in a tree, runs the tests, and takes the change back.
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

func goTest(tree, dir, run string) (ending, []byte) {
	cmd := exec.Command("go", "test", "-vet=off", "-failfast", "-timeout", patience.String(), "-run", run, dir)
	cmd.Dir = tree
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return lived, out
	case bytes.Contains(out, []byte("test timed out")): // of the testing package, and of testscript
		return timedOut, out
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return noBuild, out
	}
	return killed, out
}

// coverage returns the share of the core's statements that its tests run: "97.1%".
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
