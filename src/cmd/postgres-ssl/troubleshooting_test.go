package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These files make the errors that stop a staging or a launch. The command's other files, audit and
// cf are for people at a terminal.
var erring = []string{
	"../../binding/*.go", "../../client/*.go", "../../current/*.go", "../../launch/*.go", "../../sslmode/*.go", "../../staging/*.go",
	"../../truststore/*.go", "../../tunnel/*.go", "../../verify/*.go", "../../wire/*.go",
	"env.go", "main.go", "tunnel.go", "verify.go",
}

// unseen are the errors that no log of a staging or a launch shows, each with the reason.
var unseen = map[string]string{
	"--services works only with --explain":                                                       "an option of a command at a terminal",
	"--timeout must be more than 0s":                                                             "an option of a command at a terminal",
	"there are too many arguments":                                                               "a command at a terminal",
	"the command was not understood":                                                             "a command at a terminal",
	"it takes … arguments, and DEPS_IDX must be a number":                                        "the platform calls bin/supply as it should",
	"env is for the launch of a staged app; anywhere else, use env --explain":                    "a command at a terminal",
	"tunnel is for the launch of a staged app, which starts it where POSTGRES_SSL_TUNNEL is set": "a command at a terminal",
	"no Postgres database is bound":                                                              "verify at a terminal or in a task; a launch says that there is nothing to verify",
	"not one value":                                                                              "the text is then not read as JSON",
	"POSTGRES_SSL_MODE: …":                                                                       "says only where another error is",
}

// TestTroubleshootingHasEveryError compares the page with the code. Each error has its row, and the
// code still makes the error of each row.
func TestTroubleshootingHasEveryError(t *testing.T) {
	page, err := os.ReadFile("../../../docs/troubleshooting.md")
	require.NoError(t, err)
	made, rows := errorsMade(t), errorRows(string(page))
	var seen []*regexp.Regexp
	for _, text := range made {
		if _, ok := unseen[text]; ok {
			continue
		}
		pattern := asPattern(text)
		assert.True(t, slices.ContainsFunc(rows, pattern.MatchString), "docs/troubleshooting.md has no row for: %s", text)
		seen = append(seen, pattern)
	}
	for _, row := range rows {
		assert.True(t, slices.ContainsFunc(seen, func(pattern *regexp.Regexp) bool { return pattern.MatchString(row) }),
			"docs/troubleshooting.md has a row for what no code says: %s", row)
	}
	for text := range unseen {
		assert.Contains(t, made, text, "unseen has what no code says")
	}
}

// errorRows returns the texts in the first column of the page's tables.
func errorRows(page string) []string {
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(page, -1) {
		rows = append(rows, m[1])
	}
	return rows
}

// hole stands for a name or a number in an error. The page may fill it in.
const hole = "…"

func asPattern(text string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(text), hole, ".+") + "$")
}

// errorsMade returns the texts of the errors in the code, sorted and with holes.
func errorsMade(t *testing.T) []string {
	made := map[string]bool{}
	add := func(text string) {
		text = regexp.MustCompile(hole+"+").ReplaceAllString(text, hole)
		text = strings.TrimPrefix(text, hole+": ") // the service, or the place
		if strings.Trim(text, hole+":;, ") != "" {
			made[text] = true
		}
	}
	for _, pattern := range erring {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, paths, pattern)
		var files []*ast.File
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
				require.NoError(t, err)
				files = append(files, file)
			}
		}
		texts := reader{texts: map[string]string{}, stops: map[string]bool{}}
		for _, file := range files {
			ast.Inspect(file, texts.define)
		}
		verifies := strings.Contains(pattern, "/verify/") || strings.Contains(pattern, "/wire/") // their other errors become problems
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if text, ok := texts.problem(n); ok {
					add(text)
				} else if text, ok := texts.error(n); ok && !verifies {
					add(text)
				}
				return true
			})
		}
	}
	for _, script := range []string{"../../../scripts/program.sh", "../../../scripts/install_go.sh"} {
		text, err := os.ReadFile(script)
		require.NoError(t, err)
		fails := regexp.MustCompile(`(?m)\bfail ["'](.+)["']$`).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, fails, script)
		for _, m := range fails {
			add(regexp.MustCompile(`\$\{[^}]*\}|\$\w+`).ReplaceAllString(m[1], hole))
		}
	}
	return slices.Sorted(maps.Keys(made))
}

// reader reads texts in a package's source.
type reader struct {
	texts map[string]string // its constants
	stops map[string]bool   // the problems that keep an app from starting
}

// define notes the package's constants, and the list of problems that keep an app from starting.
func (r reader) define(n ast.Node) bool {
	if is, ok := n.(*ast.BinaryExpr); ok && is.Op == token.EQL { // p.Code == PlainTextMode
		of, isField := is.X.(*ast.SelectorExpr)
		if code, ok := is.Y.(*ast.Ident); ok && isField && of.Sel.Name == "Code" {
			r.stops[code.Name] = true
		}
	}
	spec, ok := n.(*ast.ValueSpec)
	if !ok || len(spec.Values) != len(spec.Names) {
		return true
	}
	for i, value := range spec.Values {
		switch value := value.(type) {
		case *ast.BasicLit:
			r.texts[spec.Names[i].Name] = r.text(value)
		case *ast.CompositeLit:
			for _, e := range value.Elts {
				if code, ok := e.(*ast.Ident); ok && spec.Names[i].Name == "insecure" {
					r.stops[code.Name] = true
				}
			}
		}
	}
	return true
}

// error finds the texts of errors.New and fmt.Errorf, of the fmt.Sprintf in a method Error, and of
// what the binding's redirector says about a credential.
func (r reader) error(n ast.Node) (string, bool) {
	if method, ok := n.(*ast.FuncDecl); ok && method.Name.Name == "Error" {
		if result, ok := method.Body.List[len(method.Body.List)-1].(*ast.ReturnStmt); ok && r.text(result.Results[0]) != hole {
			return r.text(result.Results[0]), true
		}
	}
	call, ok := n.(*ast.CallExpr)
	switch {
	case !ok:
	case calls(call, "errors", "New"), calls(call, "fmt", "Errorf"):
		return r.text(call.Args[0]), true
	case calls(call, "r", "fail"):
		return "credential " + hole + " " + r.text(call.Args[1]), true
	}
	return "", false
}

// problem finds what a Problem says, or a target's fail: all of the tunnel's, and those of wire and verify that stop a launch.
func (r reader) problem(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.CompositeLit:
		var name string
		switch kind := n.Type.(type) {
		case *ast.Ident:
			name = kind.Name
		case *ast.SelectorExpr:
			name = kind.Sel.Name
		}
		if name != "Problem" {
			return "", false
		}
		fields := map[string]ast.Expr{}
		for i, e := range n.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				fields[pair.Key.(*ast.Ident).Name] = pair.Value
			} else {
				fields[[]string{"Code", "What", "Do"}[i]] = e
			}
		}
		code, ok := fields["Code"].(*ast.Ident)
		return r.text(fields["What"]), !ok || r.stops[code.Name]
	case *ast.CallExpr:
		if calls(n, "t", "fail") && len(n.Args) == 3 {
			code, ok := n.Args[0].(*ast.Ident)
			return r.text(n.Args[1]), !ok || r.stops[code.Name]
		}
	case *ast.AssignStmt:
		to, ok := n.Lhs[0].(*ast.SelectorExpr)
		return r.text(n.Rhs[0]), ok && to.Sel.Name == "What" && n.Tok == token.ASSIGN
	}
	return "", false
}

// text returns what an expression says, with holes for what only a run can know.
func (r reader) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return regexp.MustCompile(`%[-+#.\d]*[a-z]`).ReplaceAllString(text, hole)
		}
	case *ast.BinaryExpr:
		return r.text(e.X) + r.text(e.Y)
	case *ast.CallExpr:
		switch {
		case calls(e, "fmt", "Sprintf"):
			return r.text(e.Args[0])
		case calls(e, "cmp", "Or"):
			return r.text(e.Args[len(e.Args)-1])
		}
	case *ast.Ident:
		if text, ok := r.texts[e.Name]; ok {
			return text
		}
	}
	return hole
}

func calls(call *ast.CallExpr, of, name string) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != name {
		return false
	}
	p, ok := f.X.(*ast.Ident)
	return ok && p.Name == of
}
