package verify

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/verify.md has every field of --json and every code of a problem, and no other.
func TestThePageHasEachFieldAndEachCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/verify.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "\n## What it can tell apart\n")
	codes, fields, found := strings.Cut(rest, "\n## `--json`\n")
	require.True(t, found)

	var known []string
	for _, file := range []string{"report.go", "../wire/wire.go"} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		_, list, found := strings.Cut(string(source), "\n// The codes of problems")
		require.True(t, found, file)
		list, _, _ = strings.Cut(list, "\n)\n")
		for _, m := range regexp.MustCompile(`(?m)^\t\w+ += "([a-z-]+)"`).FindAllStringSubmatch(list, -1) {
			known = append(known, m[1])
		}
	}
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(codes, -1) {
		first := ""
		for _, code := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(m[1], -1) {
			if first == "" {
				first = code[1][:strings.LastIndex(code[1], "-")+1]
			}
			if strings.HasPrefix(code[1], "-") { // `client-certificate-wanted`, `-refused`
				code[1] = strings.TrimSuffix(first, "-") + code[1]
			}
			if code[1] != "--json" {
				named = append(named, code[1])
			}
		}
	}
	assert.ElementsMatch(t, known, named, "codes")

	var columns []string // the first ones, of a database
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(fields, -1) {
		for _, name := range regexp.MustCompile("`([a-z_]+)(?:\\[\\])?`").FindAllStringSubmatch(m[1], -1) {
			columns = append(columns, name[1])
		}
	}
	var of []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Database]()) {
		of = append(of, field.Tag.Get("json"))
	}
	assert.ElementsMatch(t, of, columns, "the fields of a database")
	var check func(of reflect.Type)
	check = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice:
			check(of.Elem())
		case reflect.Struct:
			for _, field := range reflect.VisibleFields(of) {
				assert.Regexp(t, "[`\"]"+field.Tag.Get("json")+"(\\[\\])?[`\"]", fields, of.Name())
				check(field.Type)
			}
		}
	}
	check(reflect.TypeFor[Report]())
}
