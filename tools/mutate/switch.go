package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// changes lists what each operator becomes.
var changes = map[token.Token][]token.Token{
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
	token.INC: {token.DEC}, token.DEC: {token.INC},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
}

// mutants lists the changes to a part.
func (p part) mutants() ([]mutant, error) {
	names, err := filepath.Glob(filepath.Join(p.dir, "*.go"))
	if err != nil {
		return nil, err
	}
	tests := []string{"./" + p.dir}
	if p.also != "" {
		tests = append(tests, "./"+p.also)
	}
	var mutants []mutant
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || p.files != nil && !slices.Contains(p.files, filepath.Base(name)) {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, m := range operators(file) {
			if p.line == 0 || p.line == set.Position(file.FileStart+token.Pos(m.at)).Line {
				m.file, m.tests, m.run = name, tests, p.run
				if p.alone {
					m.from, m.to = 0, 0
				}
				mutants = append(mutants, m)
			}
		}
	}
	return mutants, nil
}

// operators returns the changes to a file. What a constant is made of cannot be switched.
func operators(file *ast.File) []mutant {
	var found []mutant
	add := func(op token.Token, at token.Pos, whole ast.Node) {
		m := mutant{at: int(at - file.FileStart), before: op.String()}
		if whole != nil {
			m.from, m.to = int(whole.Pos()-file.FileStart), int(whole.End()-file.FileStart)
		}
		for _, after := range changes[op] {
			m.after = after.String()
			found = append(found, m)
		}
	}
	whole := map[ast.Node]ast.Node{} // the condition that an operand is part of
	var constants token.Pos          // where they end
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			if n.Tok == token.CONST {
				constants = n.End()
			}
		case *ast.UnaryExpr:
			add(n.Op, n.OpPos, nil)
		case *ast.IncDecStmt:
			add(n.Tok, n.TokPos, nil)
		case *ast.BinaryExpr:
			if n.Pos() < constants || n.Op.Precedence() > token.EQL.Precedence() {
				add(n.Op, n.OpPos, nil)
				break
			}
			condition := cmp.Or[ast.Node](whole[n], n)
			whole[n.X], whole[n.Y] = condition, condition
			add(n.Op, n.OpPos, condition)
		}
		return true
	})
	slices.SortStableFunc(found, func(a, b mutant) int { return a.at - b.at })
	return found
}

// variable says which change the switched program makes.
const variable = "MUTANT"

// none is the number of no change.
const none = -1

// switched returns a file's text in which each condition is a function that makes the change that the
// variable names. It is the changed text, so `a || b` in `a || b && c` stays what it is in Go.
func switched(source string, mutants []mutant) string {
	var text func(from, to int) string
	text = func(from, to int) string {
		var b strings.Builder
		for _, m := range mutants { // an outer condition comes before those in it
			if m.from < from || m.to > to {
				continue
			}
			b.WriteString(source[from:m.from] + "func() bool { switch mutant {")
			for _, o := range mutants {
				if o.from == m.from {
					fmt.Fprintf(&b, " case %d: return %s%s%s;", o.number, text(o.from, o.at), o.after, text(o.at+len(o.before), o.to))
				}
			}
			fmt.Fprintf(&b, " }; return %s%s%s }()", text(m.from, m.at), m.before, text(m.at+len(m.before), m.to))
			from = m.to
		}
		return b.String() + source[from:to]
	}
	slices.SortStableFunc(mutants, func(a, b mutant) int { return a.from - b.from })
	return text(0, len(source))
}

// copies makes two copies of the tree for each processor, with all that can be switched, and compiles
// the tests for it.
func copies(work string, mutants []mutant) ([]string, error) {
	var trees []string
	for i := range 2 * runtime.NumCPU() {
		tree, from := filepath.Join(work, fmt.Sprint("tree-", i)), "."
		if i > 0 {
			from = trees[0]
		}
		if err := os.RemoveAll(tree); err != nil {
			return nil, err
		}
		if err := os.CopyFS(tree, os.DirFS(from)); err != nil {
			return nil, err
		}
		if i == 0 {
			if err := compile(tree, mutants); err != nil {
				return nil, err
			}
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

// compile numbers the mutants that can be switched, and compiles their tests. If a file does not
// compile with all its changes, as where a condition has a type of its own, they stay without a number.
func compile(tree string, mutants []mutant) error {
	for i := range mutants {
		if mutants[i].to > 0 {
			mutants[i].number = i + 1
		}
	}
	isNumbered := func(m mutant) bool { return m.number != 0 }
	if !slices.ContainsFunc(mutants, isNumbered) {
		return nil
	}
	for {
		if err := writeSwitched(tree, mutants); err != nil || !slices.ContainsFunc(mutants, isNumbered) {
			return err
		}
		args := []string{"test", "-c", "-vet=off", "-o", filepath.Dir(tree) + "/"}
		cmd := exec.Command("go", append(args, mutants[0].tests...)...)
		cmd.Dir = tree
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		var failed bool
		for i := range mutants {
			m := &mutants[i]
			if m.number != 0 && bytes.Contains(out, []byte(filepath.Base(m.file)+":")) {
				m.number, failed = 0, true
			}
		}
		if !failed {
			return fmt.Errorf("%s, switched: %w\n%s", cmd, err, out)
		}
	}
}

// writeSwitched writes each file with its mutants, and beside it the variable that chooses one.
func writeSwitched(tree string, mutants []mutant) error {
	files := map[string][]mutant{}
	for _, m := range mutants {
		files[m.file] = append(files[m.file], m)
	}
	for name, all := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text := switched(string(source), slices.DeleteFunc(all, func(m mutant) bool { return m.number == 0 }))
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0); err != nil { // the mode stays
			return err
		}
		dir := filepath.Dir(name)
		chooses := fmt.Sprintf("package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\n"+
			"var mutant, _ = strconv.Atoi(os.Getenv(%q))\n", filepath.Base(dir), variable)
		if err := os.WriteFile(filepath.Join(tree, dir, "mutant.go"), []byte(chooses), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// program is where the compiled tests of a package are, outside the tree.
func program(tree, dir string) string {
	return filepath.Join(filepath.Dir(tree), filepath.Base(dir)+".test")
}
