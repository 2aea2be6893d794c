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
	pattern   string // of its name, with one * at most, and perhaps its folder's
	ecosystem Ecosystem
	otherwise bool // not where another file of its ecosystem was read, in the same folder or above
	read      func(e Ecosystem, text string) ([]Found, error)
}

// readers are in the order in which we look. A Node app has one lock file. A Python app may list
// its packages in several files, and we cannot know which of them the buildpack uses.
//
// No reader takes more than linear time, and none has a limit of time: what staging finds depends
// on the files alone.
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
	{"deno.lock", deno, false, joined(quoted, linesOf(`"version`, `^"(?:https://)?(deno\.land/x/\w+|@\w+/[\w-]+)@v?([^"/]+)`, ""))},
	{"requirements*.txt", pypi, false, requirements},
	{"requirements/*.txt", pypi, false, requirements},
	{"Pipfile.lock", pypi, false, pipfileLock},
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
	{"*.deps.json", nuget, false, joined(quoted, linesOf(`"libraries`, `^"([\w.]+)/(\d[^"]*)`, ""))},
	{"*.csproj", nuget, true, linesOf("<Project",
		`^<Project.*\|\s*<PackageReference Include="(Npgsql)(?:\.EntityFrameworkCore\.PostgreSQL)?"(?: Version="([^"]*)")?`, "")},
	{"composer.lock", composer, true, linesOf("{", `^\{\|\s+"name": "([^"]+)()"`, "")},
	{"composer.json", composer, true, linesOf("{", `^\{\|\s+"([^"]+)()": "`, "")},
	{"schema.prisma", prisma, false, prismaSchema},
	{"apt.yml", debian, false, linesOf("packages:\n",
		`^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)(?:[=_]([^\s'"_]+))?`, `^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)`)},
	{"pgbouncer.ini", debian, false, func(Ecosystem, string) ([]Found, error) { return []Found{{Package: "pgbouncer", Use: Direct}}, nil }},
}

// errBroken replaces the parsers' own errors, which would quote the file.
var errBroken = errors.New(seen.Broken)

// linesOf returns a reader of a file with one package on each line. A line that matches pattern has
// its name, its version, and in a third group a word that it is there for development only. One
// that matches direct has names of those that the app itself asks for; without it, the file does
// not say so. sign begins such a file or one of its lines. It may be one of several, with | between
// them.
//
// The patterns see a line behind the last one that is not indented, "packages:|  - pg", and only
// lines that mention a driver: patterns are slow.
func linesOf(sign, pattern, direct string) func(Ecosystem, string) ([]Found, error) {
	const most = 512 << 10 // bytes of lines that mention a driver; no real file comes near
	each, ours := lazyregexp.New(pattern), lazyregexp.New(cmp.Or(direct, "^$"))
	return func(e Ecosystem, text string) (found []Found, err error) {
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
				if left -= len(full) + 100; left < 0 {
					return nil, errBroken
				}
				if m := each().FindStringSubmatch(full); m != nil && (len(m) < 4 || m[3] == "") {
					found = append(found, Found{Package: m[1], Version: strings.TrimSuffix(m[2], "+incompatible")})
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
		for i, f := range found {
			found[i].Use = used(direct != "", own[f.Package])
		}
		return found, nil
	}
}

// joined returns a reader of a file in which a package gets on a line of its own by replacing
// texts.
func joined(texts *strings.Replacer, read func(Ecosystem, string) ([]Found, error)) func(Ecosystem, string) ([]Found, error) {
	return func(e Ecosystem, text string) ([]Found, error) { return read(e, texts.Replace("\n"+text)) }
}

// tables puts each [[package]] of a lock file of Cargo, Poetry or uv on a line. In Cargo's and
// uv's, the app and its workspaces are packages too.
var tables = strings.NewReplacer("\n[[package]]\n", "\n[[package]] ", "\n[metadata]", "\n[metadata]", "\n", " ")

const packageTable = `^\[\[package\]\] name = "([^"]*)" version = "([^"]*)"`

// quoted puts each text of a JSON file on a line.
var quoted = strings.NewReplacer(`"`, "\n\"")

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

// decode reads JSON, but none with more members than 2 MB of a tool's own have.
func decode(text string, into any) bool {
	return strings.Count(text, `":`) < 60_000 && json.Unmarshal([]byte(text), into) == nil
}

// manifest is a package.json, or an entry of package-lock.json.
type manifest struct {
	Name, Version                      string
	Dev, Link                          bool
	Dependencies, OptionalDependencies map[string]string
}

// asks returns the ranges of what a package itself uses. A name may be an alias.
func (m manifest) asks() map[string]string {
	all := map[string]string{}
	maps.Copy(all, m.OptionalDependencies)
	maps.Copy(all, m.Dependencies)
	return all
}

// packageLock reads npm's lock file, in each of its three versions. From version 2 on, the places
// of the app and its workspaces do not contain node_modules. Version 1 does not say what the app
// asks for, but what is inside another package is that package's own; deeper, nothing is read.
//
// Source: https://docs.npmjs.com/cli/configuring-npm/package-lock-json
func packageLock(_ Ecosystem, text string) (found []Found, err error) {
	type old struct {
		Version string
		Dev     bool
	}
	var lock struct {
		LockfileVersion int
		Packages        map[string]manifest
		Dependencies    map[string]struct {
			old
			Dependencies map[string]old
		}
	}
	if !decode(text, &lock) || lock.LockfileVersion == 0 {
		return nil, errBroken
	}
	add := func(name, version string, isOut bool, use Use) {
		if name, version := unalias(name, version); !isOut {
			found = append(found, Found{Package: name, Version: version, Use: use})
		}
	}
	if lock.LockfileVersion == 1 {
		for name, d := range lock.Dependencies {
			add(name, d.Version, d.Dev, Unknown)
			for name, d := range d.Dependencies {
				add(name, d.Version, d.Dev, Transitive)
			}
		}
		return found, nil
	}
	own := map[string]string{}
	for place, p := range lock.Packages {
		if !strings.Contains(place, "node_modules/") {
			maps.Copy(own, p.asks())
		}
	}
	_, says := lock.Packages[""]
	for place, p := range lock.Packages {
		i := strings.LastIndex(place, "node_modules/")
		if i < 0 {
			continue
		}
		alias := place[i+len("node_modules/"):]
		_, isOwn := own[alias]
		use := used(says, isOwn)
		if strings.Contains(place[:i], "node_modules/") {
			use = Transitive
		}
		add(cmp.Or(p.Name, alias), p.Version, p.Dev || p.Link, use)
	}
	return found, nil
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
	if !decode(text, &app) {
		s.Skip(place, seen.Broken)
		return
	}
	asked := app.asks()
	var found []Found
	for _, name := range slices.Concat(slices.Collect(maps.Keys(asked)), namesOf(npm)) {
		spec, isAsked := asked[name]
		real, version := unalias(name, spec)
		if lookUp(npm, real, version) == nil {
			continue
		}
		var m manifest
		text, ok := s.Text(path.Join(modules, name, "package.json"))
		if ok && decode(text, &m) && m.Name == real {
			version = m.Version
		} else if !isAsked {
			continue
		}
		found = append(found, Found{Package: real, Version: version, Use: used(true, isAsked)})
	}
	s.add(npm, place, found)
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

// pipfileLock reads Pipenv's lock file without the development packages, which are not installed.
func pipfileLock(_ Ecosystem, text string) (found []Found, err error) {
	var lock struct {
		Meta    any `json:"_meta"`
		Default map[string]struct{ Version string }
	}
	if !decode(text, &lock) || lock.Meta == nil {
		return nil, errBroken
	}
	for name, p := range lock.Default {
		found = append(found, Found{Package: name, Version: p.Version})
	}
	return found, nil
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
func requirements(e Ecosystem, text string) (found []Found, err error) {
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
func rebarLock(e Ecosystem, text string) ([]Found, error) {
	text, _, _ = strings.Cut(strings.Join(strings.Fields(text), ""), "{pkg_hash,")
	return rebarTerms(e, strings.ReplaceAll(text, `{<<"`, "\n"+`{<<"`))
}

var rebarTerms = linesOf("{",
	`^\{(?:<<"\w+">>,\{pkg,)?<<"(\w+)">>,(?:<<"([^"]*)|\{git)`, `^\{(?:<<"\w+">>,\{pkg,)?<<"(\w+)">>.*\},0\}`)

// prismaSchema finds Prisma's own engine. With a driver adapter, node-postgres connects.
//
// Source: Prisma's documents, "Database drivers"
func prismaSchema(_ Ecosystem, text string) ([]Found, error) {
	if !strings.Contains(text, `"postgresql"`) || !strings.Contains(text, `"prisma-client-js"`) || strings.Contains(text, "driverAdapters") {
		return nil, nil
	}
	return []Found{{Package: "prisma"}}, nil
}
