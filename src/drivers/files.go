package drivers

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

// reader knows one kind of file that lists packages.
type reader struct {
	pattern   string // of its name, with one * at most, and perhaps its folder's
	ecosystem Ecosystem
	otherwise bool // not where another file of its ecosystem was read, in the same folder or above
	read      func(e Ecosystem, text string) ([]dependency, error)
}

// readers are in the order in which we look. A Node app has one lock file. A Python app may list its
// packages in several files, and we cannot know which of them the buildpack uses.
//
// No reader takes more than linear time, and none has a limit of time: what staging finds depends on
// the files alone.
//
// Sources: classic.yarnpkg.com/en/docs/yarn-lock and yarnpkg/berry; pypa/pipfile; PEP 508.
var readers = []reader{
	{"npm-shrinkwrap.json", npm, true, packageLock}, // npm prefers it
	{"package-lock.json", npm, true, packageLock},
	{"yarn.lock", npm, true, joined(strings.NewReplacer("\n  version", " version", "@workspace:", " "), // which is the app's own
		linesOf("# yarn lockfile v1|__metadata:",
			`^"?(?:(?:@[\w.-]+/)?[\w.-]+@npm:)?((?:@[\w.-]+/)?[\w.-]+)@[^|]*: version:? "?([^"\s|]+)"?$`, ""))},
	// From version 9 of pnpm on, the second half of the file only says which package needs which.
	{"pnpm-lock.yaml", npm, true, joined(strings.NewReplacer("\n    ", " "),
		linesOf("lockfileVersion:", `^packages:\|  '?/?((?:@[^/@\s]+/)?[^/@\s]+)[@/]([^(_':\s]+).*?( dev: true)?(?: optional: true)?$`, ""))},
	{"deno.lock", deno, false, jsonOf("version", `^(?:(?:packages\|)?jsr\||remote\|https://)(deno\.land/x/\w+|@\w+/[\w-]+)@v?([^|/=]+)`)},
	{"requirements*.txt", pypi, false, requirements},
	{"requirements/*.txt", pypi, false, requirements},
	{"Pipfile.lock", pypi, false, jsonOf("_meta", `^default\|([^|]+)\|version=(.*)`)},
	{"poetry.lock", pypi, false, joined(tables,
		linesOf("[metadata]", packageTable+`(?:.*( category = "dev"| groups = \["(?:[^"m]|m[^"a])))?`, ""))},
	{"uv.lock", pypi, false, joined(tables, linesOf(" version = ", packageTable,
		`^\[\[package\]\] .* source = \{ ?(?:virtual|editable)[^}]*\}.* dependencies = \[(.*?)(?: \[package\.(?:dev|metadata)|$)`))},
	{"environment.yml", pypi, false, linesOf("dependencies:\n",
		`^dependencies:\|\s*- ['"]?([a-z][\w.-]*)(?:\s*[=<>~!]+\s*([\w.]+))?`, "")}, // conda's
	{"pyproject.toml", pypi, true, pythonProject},
	{"setup.py", pypi, true, pythonProject},
	{"Gemfile.lock", rubygems, false, linesOf("DEPENDENCIES\n", `^[A-Z]+\|    ([\w.-]+) \(([^)-]+)`, `^DEPENDENCIES\|  ([\w.-]+)`)},
	{"go.mod", golang, false, linesOf("module ",
		`^require(?: \(\|)?\s+"?([^\s"]+)"? v(\S+)`, `^require(?: \(\|)?\s+"?([^\s"]+)"? v\S+(?:\s*//\s*[^i\s].*)?$`)},
	{"Cargo.lock", crates, false, joined(tables, linesOf("[[package]]", packageTable, packageTable+` dependencies = \[(.*)`))},
	{"mix.lock", hex, false, linesOf("%{", `^%\{\|  "(\w+)": \{:(?:hex, :\w+, "([^"]*)"|git,)`, "")},
	{"rebar.lock", hex, false, rebarLock},
	{"manifest.toml", hex, false, linesOf("packages = [", `^packages = \[\|  \{ ?name = "(\w+)", version = "([^"]*)"`, `^(\w+) = \{`)},
	{"*.deps.json", nuget, false, jsonOf("libraries", `^libraries\|([\w.]+)/([^|]+)`)},
	{"*.csproj", nuget, true, linesOf("<Project",
		`^<Project.*\|\s*<PackageReference Include="(Npgsql)(?:\.EntityFrameworkCore\.PostgreSQL)?"(?: Version="([^"]*)")?`, "")},
	{"composer.lock", composer, true, jsonOf("packages", `^packages\|\|name=([^|]+)()`)},
	{"composer.json", composer, true, jsonOf("", `^require\|([^|=]+)()`)},
	{"schema.prisma", prisma, false, prismaSchema},
	{"apt.yml", debian, false, linesOf("packages:\n",
		`^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)(?:[=_]([^\s'"_]+))?`, `^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)`)},
	{"pgbouncer.ini", debian, false, func(Ecosystem, string) ([]dependency, error) { return []dependency{{"pgbouncer", "", Direct}}, nil }},
}

// dependency is a package in a file.
type dependency struct {
	name, version string
	use           Use
}

// errBroken replaces the parsers' own errors, which would quote the file.
var errBroken = errors.New(seen.Broken)

// linesOf returns a reader of a file with one package on each line. A line that matches pattern has
// its name, its version, and in a third group a word that it is there for development only. One that
// matches direct has names of those that the app itself asks for; without it, the file does not say
// so. sign begins such a file or one of its lines. It may be one of several, with | between them.
//
// The patterns see a line behind the last one that is not indented, "packages:|  - pg", and only
// lines that mention a driver: patterns are slow.
func linesOf(sign, pattern, direct string) func(Ecosystem, string) ([]dependency, error) {
	const most = 5000 // lines that mention a driver; no real file comes near
	each, ours := lazyregexp.New(pattern), lazyregexp.New(cmp.Or(direct, "^$"))
	return func(e Ecosystem, text string) (deps []dependency, err error) {
		begins := func(sign string) bool { return strings.Contains("\n"+text, "\n"+sign) }
		if !slices.ContainsFunc(strings.Split(sign, "|"), begins) {
			return nil, errBroken
		}
		own, left, section, names := map[string]bool{}, most, "", namesOf(e)
		for line := range strings.Lines(text) {
			isIndented := strings.IndexByte(" \t-", line[0]) >= 0
			if mentions(line, names) {
				full := strings.TrimRight(line, " \n")
				if isIndented {
					full = section + full
				}
				if left--; left < 0 {
					return nil, errBroken
				}
				if m := each().FindStringSubmatch(full); m != nil && (len(m) < 4 || m[3] == "") {
					deps = append(deps, dependency{m[1], strings.TrimSuffix(m[2], "+incompatible"), Unknown})
				}
				if m := ours().FindStringSubmatch(full); m != nil {
					for _, name := range strings.FieldsFunc(m[len(m)-1], func(r rune) bool { return strings.ContainsRune(` "=,{}[]`, r) }) {
						own[name] = true
					}
				}
			}
			if !isIndented && line != "\n" {
				section = strings.TrimRight(line[:min(len(line), 30)], " \n") + "|"
			}
		}
		for i, d := range deps {
			deps[i].use = used(direct != "", own[d.name])
		}
		return deps, nil
	}
}

// joined returns a reader of a file in which a package gets on a line of its own by replacing texts.
func joined(texts *strings.Replacer, read func(Ecosystem, string) ([]dependency, error)) func(Ecosystem, string) ([]dependency, error) {
	return func(e Ecosystem, text string) ([]dependency, error) { return read(e, texts.Replace("\n"+text)) }
}

// tables puts each [[package]] of a lock file of Cargo, Poetry or uv on a line. In Cargo's and uv's,
// the app and its workspaces are packages too.
var tables = strings.NewReplacer("\n[[package]]\n", "\n[[package]] ", "\n[metadata]", "\n[metadata]", "\n", " ")

const packageTable = `^\[\[package\]\] name = "([^"]*)" version = "([^"]*)"`

// mentions says whether a text has one of these names, in capitals or not.
func mentions(text string, names []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) })
}

// namesOf returns the names of an ecosystem's drivers, and of what brings them, in small letters.
func namesOf(e Ecosystem) (names []string) {
	for _, d := range Table {
		if d.Ecosystem == e {
			for _, name := range slices.Concat(d.Packages, d.Through) {
				names = append(names, strings.ToLower(name))
			}
		}
	}
	return names
}

// used returns the use of a package, if its file says which ones the app itself asks for.
func used(says, isOwn bool) Use {
	switch {
	case !says:
		return Unknown
	case isOwn:
		return Direct
	}
	return Transitive
}

// jsonOf returns a reader of a JSON file. Its pattern sees each text with the keys that lead to it, in
// an array "": "default|pg8000|version===1.31.2". The file has the key must, or is none of its kind.
func jsonOf(must, pattern string) func(Ecosystem, string) ([]dependency, error) {
	read := linesOf("", pattern, "")
	return func(e Ecosystem, text string) ([]dependency, error) {
		var lines strings.Builder
		names, isOne := namesOf(e), must == ""
		err := objects(text, func(keys []string, texts map[string]string) {
			isOne = isOne || texts[must] != "" || len(keys) > 0 && keys[0] == must
			for key, value := range texts {
				line := strings.Join(append(keys, key), "|") + "=" + value
				if len(keys) <= 3 && mentions(line, names) {
					lines.WriteString(strings.ReplaceAll(line, "\n", " ") + "\n")
				}
			}
		})
		if err != nil || !isOne {
			return nil, errBroken
		}
		return read(e, lines.String())
	}
}

// objects reads a JSON text as a stream, since as a tree it may take a hundred times its size. It calls
// visit for each object and array that ends, with the keys that lead to it, and its own texts and numbers.
func objects(text string, visit func(keys []string, texts map[string]string)) error {
	s := stream{json.NewDecoder(strings.NewReader(text)), visit}
	if _, err := s.value(nil); err != nil {
		return errBroken
	}
	if _, err := s.Token(); !errors.Is(err, io.EOF) {
		return errBroken
	}
	return nil
}

type stream struct {
	*json.Decoder
	visit func(keys []string, texts map[string]string)
}

// value reads the next value, and returns it if it is a text or a number.
func (s stream) value(keys []string) (string, error) {
	const longest, deepest = 300, 100 // npm's names have 214 characters at most
	token, err := s.Token()
	open, isOpen := token.(json.Delim)
	switch {
	case err != nil || len(keys) > deepest:
		return "", errBroken
	case !isOpen:
		return fmt.Sprint(token), nil
	}
	texts := map[string]string{}
	for s.More() {
		key := ""
		if open == '{' {
			if key, err = s.value(nil); err != nil {
				return "", err
			}
		}
		key = key[:min(len(key), longest)]
		text, err := s.value(append(keys, key))
		if err != nil {
			return "", err
		}
		if text != "" {
			texts[key] = text
		}
	}
	s.visit(keys, texts)
	_, err = s.Token() // the closing one
	return "", err
}

// packageLock reads npm's lock file, in each of its three versions. From version 2 on, the places of
// the app and its workspaces do not contain node_modules. Version 1 does not say what the app asks
// for, but what is inside another package is that package's own.
//
// Source: https://docs.npmjs.com/cli/configuring-npm/package-lock-json
func packageLock(_ Ecosystem, text string) (deps []dependency, err error) {
	type entry struct{ prefix, alias, name, version string }
	version, own, says, packages := "", map[string]bool{}, false, []entry{}
	err = objects(text, func(keys []string, texts map[string]string) {
		last := len(keys) - 1
		switch {
		case last < 0:
			version = texts["lockfileVersion"]
		case texts["dev"] == "true" || texts["link"] == "true":
		case last%2 == 1 && keys[0] == "dependencies" && keys[last-1] == keys[0]: // in version 1
			use := Unknown
			if last > 1 {
				use = Transitive
			}
			name, version := unalias(keys[last], texts["version"])
			deps = append(deps, dependency{name, version, use})
		case keys[0] != "packages":
		case last == 1:
			says = says || keys[1] == ""
			if i := strings.LastIndex(keys[1], "node_modules/"); i >= 0 {
				alias := keys[1][i+len("node_modules/"):]
				packages = append(packages, entry{keys[1][:i], alias, cmp.Or(texts["name"], alias), texts["version"]})
			}
		case last == 2 && keys[2] != "dependencies" && keys[2] != "optionalDependencies":
		case last == 2 && !strings.Contains(keys[1], "node_modules/"):
			for name := range texts {
				own[name] = true
			}
		}
	})
	switch {
	case err != nil || version == "":
		return nil, errBroken
	case version == "1":
		return deps, nil
	}
	deps = nil
	for _, p := range packages {
		use := used(says, own[p.alias])
		if strings.Contains(p.prefix, "node_modules/") {
			use = Transitive
		}
		deps = append(deps, dependency{p.name, p.version, use})
	}
	return deps, nil
}

// manifest is a package.json.
type manifest struct {
	Name, Version                      string
	Dependencies, OptionalDependencies map[string]string
}

// installed looks into node_modules for each driver, by its own name and by its alias in
// package.json. It counts where there is no lock file but npm's own list of what it installed.
func (s *scan) installed(dir string) {
	place, modules := path.Join(dir, "package.json"), path.Join(dir, "node_modules")
	text, ok := s.Text(place)
	if !ok || s.file(path.Join(modules, ".package-lock.json"), reader{"", npm, true, packageLock}) {
		return
	}
	var app manifest
	if json.Unmarshal([]byte(text), &app) != nil {
		s.Skip(place, seen.Broken)
		return
	}
	asked := map[string]string{}
	maps.Copy(asked, app.OptionalDependencies)
	maps.Copy(asked, app.Dependencies)
	names := slices.Collect(maps.Keys(asked))
	var deps []dependency
	for _, name := range append(names, namesOf(npm)...) {
		spec, isAsked := asked[name]
		real, version := unalias(name, spec)
		if lookUp(npm, real, version) == nil {
			continue
		}
		var m manifest
		text, ok := s.Text(path.Join(modules, name, "package.json"))
		if ok && json.Unmarshal([]byte(text), &m) == nil && m.Name == real {
			version = m.Version
		} else if !isAsked {
			continue
		}
		deps = append(deps, dependency{real, version, used(true, isAsked)})
	}
	s.add(npm, place, deps)
}

// unalias returns the real package and range of a dependency: "db": "npm:pg@^8" is pg.
func unalias(name, spec string) (string, string) {
	rest, isAlias := strings.CutPrefix(spec, "npm:")
	if !isAlias {
		return name, spec
	}
	if i := strings.LastIndex(rest, "@"); i > 0 { // not that of @scope/name
		return rest[:i], rest[i+1:]
	}
	return name, rest
}

// specifier is a package and its version or range, before its markers, hashes and comments.
const specifier = `([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)@#"\\]*?)(?:\s--|[;)@#"\\]|$)`

var (
	frozenRequirements   = linesOf("", "^"+specifier, "")
	compiledRequirements = linesOf("", "^"+specifier, `^([\w.-]+).*# via\b.*(?:-r |\.in\b|pyproject\.toml)`)
	requirementLines     = strings.NewReplacer("\n    ", " ", "\n-", "\n#") // a line for a package, and none for options
)

// requirements reads pip's requirements file, also as "pip freeze" and "pip-compile" write it. Only
// pip-compile says who asks for a package, in a comment behind or below it: "# via -r base.in".
func requirements(e Ecosystem, text string) (deps []dependency, err error) {
	text = requirementLines.Replace("\n" + text)
	if strings.Contains(text, "# via") {
		return compiledRequirements(e, text)
	}
	return frozenRequirements(e, text)
}

// pythonProject reads what a pyproject.toml or a setup.py asks for: in quotes, or as Poetry's keys.
// What a table for development asks for is left out.
var pythonProject = joined(
	strings.NewReplacer("\n[", "\n[", "\n", "\n ", " = ", "\n = ", "'", "\n \"", `"`, "\n \""),
	linesOf("", `^(?:\[tool\.poetry\.dep[^|]*\|\s*|(?:\[(?:project|tool\.flit)[^|]*\|)?\s*")`+specifier, ""))

// rebarLock reads rebar3's lock file, whose terms may go over several lines. 0 marks the app's own
// choices.
func rebarLock(e Ecosystem, text string) ([]dependency, error) {
	text, _, _ = strings.Cut(strings.Join(strings.Fields(text), ""), "{pkg_hash,")
	return rebarTerms(e, strings.ReplaceAll(text, `{<<"`, "\n"+`{<<"`))
}

var rebarTerms = linesOf("{",
	`^\{(?:<<"\w+">>,\{pkg,)?<<"(\w+)">>,(?:<<"([^"]*)|\{git)`, `^\{(?:<<"\w+">>,\{pkg,)?<<"(\w+)">>.*\},0\}`)

// prismaSchema finds Prisma's own engine. With a driver adapter, node-postgres connects.
//
// Source: Prisma's documents, "Database drivers"
func prismaSchema(_ Ecosystem, text string) ([]dependency, error) {
	if !strings.Contains(text, `"postgresql"`) || !strings.Contains(text, `"prisma-client-js"`) || strings.Contains(text, "driverAdapters") {
		return nil, nil
	}
	return []dependency{{"prisma", "", Unknown}}, nil
}
