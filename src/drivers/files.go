package drivers

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

// reader knows one kind of file that lists packages.
type reader struct {
	pattern   string // path.Match of its name
	ecosystem Ecosystem
	otherwise bool // not where another file of its ecosystem was read, in the same folder or above
	read      func(text string) ([]dependency, error)
}

// readers are in the order in which we look. A Node app has one lock file. A Python app may list its
// packages in several files, and we cannot know which of them the buildpack uses.
//
// No reader takes more than linear time, and none has a limit of time: what staging finds depends on
// the files alone.
var readers = []reader{
	{"npm-shrinkwrap.json", npm, true, packageLock}, // npm prefers it
	{"package-lock.json", npm, true, packageLock},
	{"yarn.lock", npm, true, yarnLock},
	{"pnpm-lock.yaml", npm, true, pnpmLock},
	{"deno.lock", deno, false, quotedOf(deno, `"version`, `^"(?:https://)?(deno\.land/x/\w+|@\w+/[\w-]+)@v?([^"/]+)`)},
	{"requirements*.txt", pypi, false, requirements},
	{"requirements/*.txt", pypi, false, requirements},
	{"Pipfile.lock", pypi, false, pipfileLock},
	{"poetry.lock", pypi, false, tablesOf("[metadata]", func(string) bool { return false })},
	{"uv.lock", pypi, false, tablesOf("version = ", func(table string) bool { return ownSource().MatchString(table) })},
	{"environment.yml", pypi, false, linesOf(pypi, "dependencies:\n",
		`^dependencies:\|\s*- ['"]?([a-z][\w.-]*)(?:\s*[=<>~!]+\s*([\w.]+))?`, "")}, // conda's
	{"pyproject.toml", pypi, true, pythonProject},
	{"setup.py", pypi, true, pythonProject},
	{"Gemfile.lock", rubygems, false, linesOf(rubygems, "DEPENDENCIES\n", `^[A-Z]+\|    ([\w.-]+) \(([^)-]+)`, `^DEPENDENCIES\|  ([\w.-]+)`)},
	{"go.mod", golang, false, linesOf(golang, "module ",
		`^require(?: \(\|)?\s+"?([^\s"]+)"? v(\S+)`, `^require(?: \(\|)?\s+"?([^\s"]+)"? v\S+(?:\s*//\s*[^i\s].*)?$`)},
	{"Cargo.lock", crates, false, tablesOf("[[package]]", func(table string) bool { return !strings.Contains(table, "\nsource = ") })},
	{"mix.lock", hex, false, linesOf(hex, "%{", `^%\{\|  "(\w+)": \{:(?:hex, :\w+, "([^"]*)"|git,)`, "")},
	{"rebar.lock", hex, false, rebarLock},
	{"manifest.toml", hex, false, linesOf(hex, "packages = [", `^packages = \[\|  \{ ?name = "(\w+)", version = "([^"]*)"`, `^(\w+) = \{`)},
	{"*.deps.json", nuget, false, quotedOf(nuget, `"libraries`, `^"([\w.]+)/(\d[^"]*)`)},
	{"*.csproj", nuget, true, linesOf(nuget, "<Project",
		`^<Project.*\|\s*<PackageReference Include="(Npgsql)(?:\.EntityFrameworkCore\.PostgreSQL)?"(?: Version="([^"]*)")?`, "")},
	{"composer.lock", composer, true, linesOf(composer, "{", `^\{\|\s+"name": "([^"]+)()"`, "")},
	{"composer.json", composer, true, linesOf(composer, "{", `^\{\|\s+"([^"]+)()": "`, "")},
	{"schema.prisma", prisma, false, prismaSchema},
	{"apt.yml", debian, false, linesOf(debian, "packages:\n",
		`^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)(?:[=_]([^\s'"_]+))?`, `^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)`)},
	{"pgbouncer.ini", debian, false, pgbouncer},
}

// linesOf returns a reader of a file with one package on each line: its name, and its version if
// there is one. The pattern direct finds the names of those that the app itself asks for. Without
// it, the file does not say so. sign begins such a file, or one of its lines.
//
// The patterns see a line behind the last one that is not indented, "packages:|  - pg", and only
// lines that mention a driver: patterns are slow.
func linesOf(e Ecosystem, sign, pattern, direct string) func(string) ([]dependency, error) {
	each, ours := lazyregexp.New(pattern), lazyregexp.New(direct)
	return func(text string) (deps []dependency, err error) {
		if !strings.Contains("\n"+text, "\n"+sign) {
			return nil, errBroken
		}
		var own map[string]bool
		if direct != "" {
			own = map[string]bool{}
		}
		left, section, names := mostMentions, "", namesOf(e)
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
				if m := each().FindStringSubmatch(full); m != nil && m[len(m)-1] != isDev {
					deps = append(deps, dependency{m[1], strings.TrimSuffix(m[2], "+incompatible"), Unknown})
				}
				if m := ours().FindStringSubmatch(full); direct != "" && m != nil {
					own[m[1]] = true
				}
			}
			if !isIndented && line != "\n" {
				section = strings.TrimRight(line[:min(len(line), 30)], " \n") + "|"
			}
		}
		for i, d := range deps {
			deps[i].use = named(own, d.name)
		}
		return deps, nil
	}
}

// mostMentions is how many lines of a file may mention a driver. No real file comes near.
const mostMentions = 5000

func mentions(text string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) })
}

// namesOf returns the names of an ecosystem's drivers, and of what brings them.
func namesOf(e Ecosystem) (names []string) {
	for _, d := range Table {
		if d.Ecosystem == e {
			names = slices.Concat(names, d.Packages, d.Through)
		}
	}
	return names
}

// quotedOf returns a reader of a JSON file in which each package is a text of its own.
func quotedOf(e Ecosystem, sign, pattern string) func(string) ([]dependency, error) {
	read := linesOf(e, sign, pattern, "")
	return func(text string) ([]dependency, error) {
		return read(strings.ReplaceAll(text, `"`, "\n\""))
	}
}

// dependency is a package in a file.
type dependency struct {
	name, version string
	use           Use
}

// errBroken replaces the parsers' own errors, which would quote the file.
var errBroken = errors.New(seen.Broken)

// named returns the use of a package. own are the packages that the app itself asks for, or nil if
// the file does not say it.
func named(own map[string]bool, name string) Use {
	switch {
	case own == nil:
		return Unknown
	case own[name]:
		return Direct
	}
	return Transitive
}

// manifest is a package.json, or an entry of package-lock.json.
type manifest struct {
	Name, Version                      string
	Dev, Link                          bool
	Dependencies, OptionalDependencies map[string]string
}

// addNames adds the names that the app itself uses, which may be aliases.
func (m manifest) addNames(own map[string]bool) {
	for _, names := range []map[string]string{m.Dependencies, m.OptionalDependencies} {
		for name := range names {
			own[name] = true
		}
	}
}

// installed looks into node_modules for each driver, by its own name and by its alias in
// package.json. It counts where there is no lock file but npm's own list of what it installed.
func (s *scan) installed(dir string) {
	if !s.Has(dir, "package.json") {
		return
	}
	modules := path.Join(dir, "node_modules")
	if s.Has(modules, ".package-lock.json") && s.file(path.Join(modules, ".package-lock.json"), reader{"", npm, true, packageLock}) {
		return
	}
	place := path.Join(dir, "package.json")
	text, ok := s.Text(place)
	if !ok {
		return
	}
	var app manifest
	if json.Unmarshal([]byte(text), &app) != nil {
		s.Skip(place, seen.Broken)
		return
	}
	own := map[string]bool{}
	app.addNames(own)
	names := maps.Clone(own)
	for _, d := range Table {
		for _, name := range d.Packages {
			names[name] = own[name]
		}
	}
	var deps []dependency
	for _, name := range slices.Sorted(maps.Keys(names)) {
		real, version := unalias(name, cmp.Or(app.Dependencies[name], app.OptionalDependencies[name]))
		if lookUp(npm, real, version) == nil {
			continue
		}
		var m manifest
		if text, ok := s.Text(path.Join(modules, name, "package.json")); ok && json.Unmarshal([]byte(text), &m) == nil && m.Name == real {
			version = m.Version
		} else if !own[name] {
			continue
		}
		deps = append(deps, dependency{real, version, named(own, name)})
	}
	s.add(npm, place, deps)
}

// unalias returns the real package and range of a dependency: "db": "npm:pg@^8" is pg.
func unalias(name, spec string) (string, string) {
	rest, ok := strings.CutPrefix(spec, "npm:")
	if !ok {
		return name, spec
	}
	if real, version := splitAt(rest); version != "" {
		return real, version
	}
	return name, rest
}

// splitAt splits NAME@REST, where the name may be @scope/name.
func splitAt(text string) (name, rest string) {
	if scoped, ok := strings.CutPrefix(text, "@"); ok {
		name, rest, _ = strings.Cut(scoped, "@")
		return "@" + name, rest
	}
	name, rest, _ = strings.Cut(text, "@")
	return name, rest
}

// nested is an entry of package-lock.json in version 1.
type nested struct {
	Version      string
	Dev          bool
	Dependencies map[string]nested
}

// packageLock reads npm's lock file, in each of its three versions. From version 2 on, the places of
// the app and its workspaces do not contain node_modules. Version 1 does not say what the app asks
// for, but what is inside another package is that package's own.
//
// Source: https://docs.npmjs.com/cli/configuring-npm/package-lock-json
func packageLock(text string) (deps []dependency, err error) {
	var version struct{ LockfileVersion int }
	if json.Unmarshal([]byte(text), &version) != nil || version.LockfileVersion == 0 {
		return nil, errBroken
	}
	if version.LockfileVersion == 1 {
		var lock nested
		err = json.Unmarshal([]byte(text), &lock)
		lock.addTo(&deps, Unknown)
		return deps, err
	}
	var lock struct{ Packages map[string]manifest }
	if json.Unmarshal([]byte(text), &lock) != nil {
		return nil, errBroken
	}
	own := map[string]bool{}
	for place, p := range lock.Packages {
		if !strings.Contains(place, "node_modules/") {
			p.addNames(own)
		}
	}
	if _, ok := lock.Packages[""]; !ok {
		own = nil
	}
	for place, p := range lock.Packages {
		i := strings.LastIndex(place, "node_modules/")
		if i < 0 || p.Dev || p.Link {
			continue
		}
		d := dependency{cmp.Or(p.Name, place[i+len("node_modules/"):]), p.Version, Transitive}
		if !strings.Contains(place[:i], "node_modules/") {
			d.use = named(own, place[i+len("node_modules/"):])
		}
		deps = append(deps, d)
	}
	return deps, nil
}

func (n nested) addTo(deps *[]dependency, use Use) {
	for name, d := range n.Dependencies {
		if real, version := unalias(name, d.Version); !d.Dev {
			*deps = append(*deps, dependency{real, version, use})
		}
		d.addTo(deps, Transitive)
	}
}

// yarnLock reads the lock files of all yarn versions. Another package's alias is NAME@npm:PACKAGE@…
//
// Source: https://classic.yarnpkg.com/en/docs/yarn-lock, https://github.com/yarnpkg/berry
func yarnLock(text string) (deps []dependency, err error) {
	if !strings.Contains(text, "# yarn lockfile v1") && !strings.Contains(text, "__metadata:") {
		return nil, errBroken
	}
	text = strings.ReplaceAll(text, "@workspace:", " ") // the app's own
	return yarnPackages(strings.ReplaceAll(text, "\n  version", " version"))
}

var yarnPackages = linesOf(npm, "", `^"?(?:(?:@[\w.-]+/)?[\w.-]+@npm:)?((?:@[\w.-]+/)?[\w.-]+)@[^|]*: version:? "?([^"\s|]+)"?$`, "")

const isDev = " dev: true"

// pnpmLock reads pnpm's lock file, versions 5 to 9. What is there for development only is not
// installed. From version 9 on, the second half of the file only says which package needs which.
func pnpmLock(text string) ([]dependency, error) {
	return pnpmPackages(strings.ReplaceAll(text, "\n    ", " ")) // a package on a line
}

var pnpmPackages = linesOf(npm, "lockfileVersion:",
	`^packages:\|  '?/?((?:@[^/@\s]+/)?[^/@\s]+)[@/]([^(_':\s]+).*?(`+isDev+`)?(?: optional: true)?$`, "")

// pypiName normalises the spelling of a package's name.
//
// Source: https://peps.python.org/pep-0503/#normalized-names
func pypiName(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("-_.", r) })
	return strings.ToLower(strings.Join(parts, "-"))
}

const nameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// pypiVersion returns what stands behind a package's name, without extras, markers, hashes and blanks.
// A single exact version loses its ==.
func pypiVersion(text string) string {
	if extras, rest, ok := strings.Cut(text, "]"); ok && strings.HasPrefix(strings.TrimSpace(extras), "[") {
		text = rest
	}
	text = strings.TrimLeft(text, " (")
	if end := strings.IndexAny(text, ";)@\\"); end >= 0 {
		text = text[:end]
	}
	text, _, _ = strings.Cut(text, " --")
	text = strings.ReplaceAll(text, " ", "")
	if strings.Contains(text, ",") {
		return text
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "=="), "=")
}

// requirements reads pip's requirements file, also as "pip freeze" and "pip-compile" write it. Only
// pip-compile says who asks for a package, in a comment behind or below it: "# via -r base.in".
//
// Source: https://pip.pypa.io/en/stable/reference/requirements-file-format
func requirements(text string) (deps []dependency, err error) {
	names, via := namesOf(pypi), false
	var last *dependency // of a driver, above the comment
	for line := range strings.Lines(text) {
		line, comment, _ := strings.Cut(strings.TrimSpace(line), "#")
		rest := strings.TrimLeft(line, nameCharacters)
		if name := line[:len(line)-len(rest)]; name != "" && name[0] != '-' { // no option
			last, via = nil, false
			if mentions(strings.ToLower(name), names) {
				deps = append(deps, dependency{pypiName(name), pypiVersion(rest), Unknown})
				last = &deps[len(deps)-1]
			}
			if len(deps) > mostMentions {
				return nil, errBroken
			}
		}
		who := strings.TrimSpace(comment)
		if rest, ok := strings.CutPrefix(who, "via"); ok {
			via, who = true, strings.TrimSpace(rest)
		}
		if last != nil && via && who != "" {
			use := Transitive
			if strings.HasPrefix(who, "-r ") || strings.HasSuffix(who, ".in") || strings.Contains(who, "pyproject.toml") {
				use = Direct
			}
			if last.use != Direct {
				last.use = use
			}
		}
	}
	return deps, nil
}

// pipfileLock reads Pipenv's lock file without the development packages, which are not installed.
//
// Source: https://github.com/pypa/pipfile#pipfilelock
func pipfileLock(text string) (deps []dependency, err error) {
	var lock struct {
		Meta    map[string]json.RawMessage `json:"_meta"`
		Default map[string]struct{ Version string }
	}
	if json.Unmarshal([]byte(text), &lock) != nil || lock.Meta == nil {
		return nil, errBroken
	}
	for name, p := range lock.Default {
		deps = append(deps, dependency{pypiName(name), strings.TrimPrefix(p.Version, "=="), Unknown})
	}
	return deps, nil
}

var (
	tableHead = lazyregexp.New(`^name = "([^"]*)"\nversion = "([^"]*)"`)
	ownSource = lazyregexp.New(`\nsource = \{ ?(?:virtual|editable)`)
	ownGroups = lazyregexp.New(`\ngroups = \[.*"main".*\]`)
)

// tablesOf returns a reader of the tables [[package]] in a lock file of Cargo, Poetry or uv. In
// Cargo's and uv's, the app and its workspaces are packages too, and the app itself asks for whatever
// they name. What Poetry has for development only is not installed.
func tablesOf(sign string, isOwn func(table string) bool) func(string) ([]dependency, error) {
	return func(text string) (deps []dependency, err error) {
		if !strings.Contains("\n"+text, "\n"+sign) {
			return nil, errBroken
		}
		var own map[string]bool
		tables := strings.Split("\n"+text, "\n[[package]]\n")[1:]
		for _, table := range tables {
			if !isOwn(table) {
				continue
			}
			if own == nil {
				own = map[string]bool{}
			}
			table, _, _ = strings.Cut(table, "\n[package.dev-dependencies]")
			table, _, _ = strings.Cut(table, "\n[package.metadata]") // what is for development, too
			for i, quoted := range strings.Split(table, `"`) {
				if name, _, _ := strings.Cut(quoted, " "); i%2 == 1 { // Cargo may add a version
					own[name] = true
				}
			}
		}
		for _, table := range tables {
			m := tableHead().FindStringSubmatch(table)
			isDev := strings.Contains(table, "\ncategory = \"dev\"") || strings.Contains(table, "\ngroups = ") && !ownGroups().MatchString(table)
			if m != nil && !isDev && !isOwn(table) {
				deps = append(deps, dependency{pypiName(m[1]), m[2], named(own, m[1])})
			}
		}
		return deps, nil
	}
}

// rebarLock reads rebar3's lock file, whose terms may go over several lines. 0 marks the app's own
// choices.
func rebarLock(text string) ([]dependency, error) {
	text, _, _ = strings.Cut(strings.Join(strings.Fields(text), ""), "{pkg_hash,")
	return rebarTerms(strings.ReplaceAll(text, `{<<"`, "\n"+`{<<"`))
}

var rebarTerms = linesOf(hex, "{",
	`^\{(?:<<"\w+">>,\{pkg,)?<<"(\w+)">>,(?:<<"([^"]*)|\{git)`, `^\{(?:<<"\w+">>,\{pkg,)?<<"(\w+)">>.*\},0\}`)

// pythonProject reads what a pyproject.toml or a setup.py asks for: in quotes, or as Poetry's keys.
// What a table for development asks for is left out.
func pythonProject(text string) (deps []dependency, err error) {
	table, names := "", namesOf(pypi)
	for line := range strings.Lines(strings.ReplaceAll(text, "'", `"`)) {
		if strings.HasPrefix(line, "[") {
			table = line
		}
		if !mentions(strings.ToLower(line), names) || strings.Contains(table, "dev") || strings.Contains(table, "group") {
			continue
		}
		if len(deps) > mostMentions {
			return nil, errBroken
		}
		parts := strings.Split(line, `"`)
		if key, _, ok := strings.Cut(line, " = "); ok && strings.Contains(table, "poetry.dependencies") {
			parts = []string{"", key}
		}
		for i, part := range parts {
			rest := strings.TrimLeft(part, nameCharacters)
			if name := part[:len(part)-len(rest)]; i%2 == 1 && name != "" {
				deps = append(deps, dependency{pypiName(name), pypiVersion(rest), Unknown})
			}
		}
	}
	return deps, nil
}

// prismaSchema finds Prisma's own engine. With a driver adapter, node-postgres connects.
//
// Source: Prisma's documents, "Database drivers"
func prismaSchema(text string) ([]dependency, error) {
	if !strings.Contains(text, `"postgresql"`) || !strings.Contains(text, `"prisma-client-js"`) || strings.Contains(text, "driverAdapters") {
		return nil, nil
	}
	return []dependency{{"prisma", "", Unknown}}, nil
}

func pgbouncer(string) ([]dependency, error) {
	return []dependency{{"pgbouncer", "", Direct}}, nil
}
