// Mutate changes the code in small ways, one at a time, and runs the tests after each change. If
// the tests still pass, they miss something. scripts/mutate.sh runs it.
//
// Comparisons, && and || are changed all at once: each becomes a switch over an environment variable
// (switch.go), so that a test is compiled once for hundreds of changes. What cannot be switched is
// compiled anew for each change. byhand.go lists the changes that are more than one operator.
package main

import (
	"bytes"
	"context"
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
	alone bool     // compile each change by itself: the tests clear the environment of the program
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
	{dir: "src/explain", also: "src/cmd/postgres-ssl", alone: true}, // there, its lines are shown whole
	{dir: "src/wire", also: "src/verify"},                           // there, its connections are tried
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
	promise       string // the promise that it breaks; "" if it is one operator
	file          string
	at            int // where before begins in the file, in bytes
	before, after string
	tests         []string // the packages whose tests have to fail
	run           string   // which of their tests; "" for all
	from, to      int      // the whole condition that it is part of; 0 and 0 if it cannot be switched
	number        int      // switches it on; 0 if it is compiled by itself, none for no change
}

// ending is what became of a mutant. An operator's that does not compile does not count.
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
	var rows, low []string
	measure := func(name string, mutants []mutant) error {
		start := time.Now()
		count, err := runAll(work, mutants)
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
		mutants, err := p.mutants()
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

// runAll runs each mutant, prints those that the tests miss, and counts. What lives or loops in the
// switched program is compiled by itself too: a test may start a program without the variable, and
// the switches take time. In the end the tests have to pass without a change once more.
func runAll(work string, mutants []mutant) (map[ending]int, error) {
	trees, err := copies(work, mutants)
	if err != nil {
		return nil, err
	}
	control := controls(trees[0], mutants)
	var mutex sync.Mutex
	count, failed := map[ending]int{}, []error{}
	var together, alone []mutant
	for _, m := range mutants {
		if m.number != 0 {
			together = append(together, m)
		} else {
			alone = append(alone, m)
		}
	}
	run := func(tree string, m mutant) {
		end, err := ending(""), control(m)
		if err == nil {
			end, err = m.runIn(tree)
		}
		mutex.Lock()
		defer mutex.Unlock()
		switch {
		case err != nil:
			failed = append(failed, err)
			return
		case (end == lived || end == timedOut) && m.number != 0:
			m.number = 0
			alone = append(alone, m)
			return
		case end == lived, end == timedOut, end == noBuild && m.promise != "":
			fmt.Printf("       %-9s %s\n", end, m)
		}
		if end == noBuild && m.promise != "" {
			end = lived // so no test checks that promise
		}
		count[end]++
	}
	each(trees, together, run)
	each(trees[:runtime.NumCPU()], alone, run)
	again := controls(trees[0], mutants)
	for _, m := range slices.Concat(together, alone) {
		if err := again(m); err != nil {
			return nil, errors.Join(append(failed, err)...)
		}
	}
	return count, errors.Join(failed...)
}

// each runs the mutants, one at a time in each tree.
func each(trees []string, mutants []mutant, run func(tree string, m mutant)) {
	jobs := make(chan mutant)
	var group sync.WaitGroup
	for _, tree := range trees {
		group.Go(func() {
			for m := range jobs {
				run(tree, m)
			}
		})
	}
	for _, m := range mutants {
		jobs <- m
	}
	close(jobs)
	group.Wait()
}

// controls returns a function that runs the tests of a mutant, once, in the unchanged tree or in the
// switched one without a change. If they fail there, they prove nothing about the mutant.
func controls(switched string, mutants []mutant) func(mutant) error {
	checks := map[string]func() error{}
	key := func(m mutant, dir string) string { return fmt.Sprint(dir, " ", m.run, m.number != 0) }
	for _, m := range mutants {
		for _, number := range []int{0, none} {
			m := m
			m.number = number
			tree := "."
			if number == none {
				tree = switched
			}
			for _, dir := range m.tests {
				checks[key(m, dir)] = sync.OnceValue(func() error {
					end, out, err := m.test(tree, dir)
					if err == nil && (end != lived || bytes.Contains(out, []byte("no tests to run"))) {
						return fmt.Errorf("%s, tests %q: they have to pass without a change\n%s", dir, m.run, out[max(0, len(out)-2000):])
					}
					return err
				})
			}
		}
	}
	return func(m mutant) error {
		for _, dir := range m.tests {
			if err := checks[key(m, dir)](); err != nil {
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
var patience = 3 * time.Minute

// runIn makes the change in a tree, runs the tests, and undoes the change.
func (m mutant) runIn(tree string) (ending, error) {
	if m.number != 0 {
		return m.testAll(tree)
	}
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	path := filepath.Join(tree, m.file)
	before, err := os.ReadFile(path) // may be switched
	if err != nil {
		return "", err
	}
	changed := slices.Concat(source[:m.at], []byte(m.after), source[m.at+len(m.before):])
	if err := os.WriteFile(path, changed, 0); err != nil { // the mode stays
		return "", err
	}
	end, err := m.testAll(tree)
	return end, errors.Join(err, os.WriteFile(path, before, 0))
}

// testAll runs the packages one after the other, until one of them catches the change.
func (m mutant) testAll(tree string) (ending, error) {
	for _, dir := range m.tests {
		if end, _, err := m.test(tree, dir); end != lived || err != nil {
			return end, err
		}
	}
	return lived, nil
}

// test runs the tests of a package anew: some test the program that a script builds, and the cache of
// go test does not see what that is made of.
func (m mutant) test(tree, dir string) (ending, []byte, error) {
	cmd := exec.Command("go", "test", "-count=1", "-vet=off", "-failfast", "-timeout", patience.String(), "-run", m.run, dir)
	cmd.Dir = tree
	if m.number != 0 { // the same as go test does, with its limit for what loops before the tests begin
		limit, cancel := context.WithTimeout(context.Background(), patience+time.Minute)
		defer cancel()
		cmd = exec.CommandContext(limit, program(tree, dir), "-test.paniconexit0", "-test.failfast",
			"-test.timeout", patience.String(), "-test.run", m.run)
		cmd.Dir = filepath.Join(tree, dir)
		cmd.Env = append(cmd.Environ(), fmt.Sprintf("%s=%d", variable, m.number))
	}
	cmd.WaitDelay = 10 * time.Second // a child may outlive the tests
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return lived, out, nil
	case cmd.ProcessState == nil: // it did not start
		return "", nil, err
	case cmd.ProcessState.ExitCode() < 0, // a signal ended it: it loops before the tests, or takes all memory
		bytes.Contains(out, []byte("test timed out")): // testing and testscript both say it
		return timedOut, out, nil
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return noBuild, out, nil
	}
	return killed, out, nil
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
