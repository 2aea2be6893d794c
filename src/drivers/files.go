package drivers

import (
	"archive/zip"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
)

type reader struct {
	pattern   string // of its name, with one * at most; what begins so may be its folder's name, too
	ecosystem Ecosystem
	otherwise bool // not where another file of its ecosystem was read, in the same folder or above
	// read returns the packages, or false if the content does not match the name.
	read func(e Ecosystem, text string) ([]Found, bool)
}

// fits says whether a file is of this kind. path.Match takes twenty times as long.
func (r reader) fits(dir, name string) bool {
	begin, end, isPattern := strings.Cut(r.pattern, "*")
	if !isPattern {
		return name == begin
	}
	return strings.HasSuffix(name, end) && (strings.HasPrefix(name, begin) || strings.HasPrefix(path.Base(dir), begin))
}

// readers are in the order in which we look. A Python app may list its packages in several files,
// and we cannot know which of them the buildpack uses. Each takes linear time.
//
// Sources: classic.yarnpkg.com/en/docs/yarn-lock and yarnpkg/berry; pypa/pipfile; PEP 508.
var readers = sync.OnceValue(func() []reader {
	// A package is a table in the lock files of Cargo, where the app is one too, Poetry and uv.
	tables := []string{"\n[[package]]\n", "\n[[package]] ", "\n[metadata]", "\n[metadata]", "\n", " "}
	const table = `^\[\[package\]\] name = "([^"]*)" version = "([^"]*)"`
	// In JSON, each text gets on a line.
	quoted := []string{`"`, "\n\""}
	// A package and its version or range, before its markers, hashes and comments.
	const specifier = `([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)@#"\\]*?)(?:\s--|[;)@#"\\]|$)`
	// A specifier may go on below. A line that begins with - is an option.
	specifiers := []string{"\n    ", " ", "\n-", "\n#"}
	frozen := linesOf("", "^"+specifier, "", specifiers...)
	compiled := linesOf("", "^"+specifier, `^([\w.-]+).*# via\b.*(?:-r |\.in\b|pyproject\.toml)`, specifiers...)
	requirements := func(e Ecosystem, text string) ([]Found, bool) {
		if strings.Contains(text, "# via") { // by pip-compile, which alone says who asks for a package
			return compiled(e, text)
		}
		return frozen(e, text)
	}
	// What a table for development asks for does not count.
	pythonProject := linesOf("", `^(?:\[tool\.poetry\.dep[^|]*\|\s*|(?:\[(?:project|tool\.flit)[^|]*\|)?\s*")`+specifier, "",
		"\n[", "\n[", "\n", "\n ", " = ", "\n = ", "'", "\n \"", `"`, "\n \"")
	return []reader{
		{"npm-shrinkwrap.json", npm, true, packageLock}, // npm prefers it
		{"package-lock.json", npm, true, packageLock},
		{"yarn.lock", npm, true, linesOf("# yarn lockfile v1|__metadata:",
			`^"?(?:(?:@[\w.-]+/)?[\w.-]+@npm:)?((?:@[\w.-]+/)?[\w.-]+)@[^|]*: version:? "?([^"\s|]+)"?$`, "",
			"\n  version", " version", "@workspace:", " ")}, // a workspace is the app's own
		// From version 9 of pnpm on, the second half only says which package needs which.
		{"pnpm-lock.yaml", npm, true, linesOf("lockfileVersion:",
			`^packages:\|  '?/?((?:@[^/@\s]+/)?[^/@\s]+)[@/]([^(_':\s]+).*?( dev: true)?(?: optional: true)?$`, "", "\n    ", " ")},
		{"deno.lock", deno, false, linesOf(`"version`, `^"(?:https://)?(deno\.land/x/\w+|@\w+/[\w-]+)@v?([^"/]+)`, "", quoted...)},
		{"requirements*.txt", pypi, false, requirements},
		{"Pipfile.lock", pypi, false, linesOf(`"default": {`,
			`^"default": \{\|        "([^"]+)": \{(?:.* "version": "([^"]*)")?`, "", "\n            ", " ", "\n    \"", "\n\"")},
		{"poetry.lock", pypi, false, linesOf("[metadata]",
			table+`(?:.*( category = "dev"| groups = \["(?:[^"m]|m[^"a])))?`, "", tables...)},
		{"uv.lock", pypi, false, linesOf(" version = ", table, "", tables...)},
		{"environment.yml", pypi, false, linesOf("dependencies:\n", // conda's
			`^dependencies:\|\s*- ['"]?([a-z][\w.-]*)(?:\s*[=<>~!]+\s*([\w.]+))?`, "")},
		{"pyproject.toml", pypi, true, pythonProject},
		{"setup.py", pypi, true, pythonProject},
		{"Gemfile.lock", rubygems, false, linesOf("DEPENDENCIES\n", `^[A-Z]+\|    ([\w.-]+) \(([^)-]+)`, `^DEPENDENCIES\|  ([\w.-]+)`)},
		{"go.mod", golang, false, linesOf("module ",
			`^require(?: \(\|)?\s+"?([^\s"]+)"? v(\S+)`, `^require(?: \(\|)?\s+"?([^\s"]+)"? v\S+(?:\s*//\s*[^i\s].*)?$`)},
		{"Cargo.lock", crates, false, linesOf("[[package]]", table, table+` dependencies = \[(.*)`, tables...)},
		{"mix.lock", hex, false, linesOf("%{", `^%\{\|  "(\w+)": \{:(?:hex, :\w+, "([^"]*)"|git,)`, "")},
		{"rebar.lock", hex, false, linesOf("[{|{\"",
			`^(?:.*\| )?\[?\{<<"(?:\w+">>,\{pkg,<<")?(\w+)">>,(?:<<"([^"]*)|\{git)`, "", ",\n  {", ",{")},
		{"manifest.toml", hex, false, linesOf("packages = [", `^packages = \[\|  \{ ?name = "(\w+)", version = "([^"]*)"`, `^(\w+) = \{`)},
		{"*.deps.json", nuget, false, linesOf(`"libraries`, `^"([\w.]+)/(\d[^"]*)`, "", quoted...)},
		{"*.csproj", nuget, true, linesOf("<Project",
			`^<Project.*\|\s*<PackageReference Include="(Npgsql)(?:\.EntityFrameworkCore\.PostgreSQL)?"(?: Version="([^"]*)")?`, "")},
		{"composer.lock", composer, true, linesOf("{", `^\{\|\s+"name": "([^"]+)()"`, "")},
		{"composer.json", composer, true, linesOf("{", `^\{\|\s+"([^"]+)()": "`, "")},
		{"schema.prisma", prisma, false, prismaSchema},
		{"apt.yml", debian, false, linesOf("packages:\n", `^packages:\|\s*- ['"]?(?:\S*/)?([a-z0-9.+-]+)(?:[=_]([^\s'"_]+))?`, "")},
		{"pgbouncer.ini", debian, false, func(Ecosystem, string) ([]Found, bool) { return []Found{{Package: "pgbouncer"}}, true }},
	}
})

// linesOf reads a file with one package on each line, once pairs of texts are replaced. pattern
// finds its name, its version, and in a third group a word that it is there for development only;
// direct finds names of those that the app itself asks for. sign begins such a file or one of its
// lines; | separates several. The patterns see a line behind the last one that is not indented,
// "packages:|  - pg", and only lines that mention a driver: patterns are slow.
func linesOf(sign, pattern, direct string, pairs ...string) func(Ecosystem, string) ([]Found, bool) {
	const most = 512 << 10 // bytes of lines that mention a driver; no real file comes near
	each, ours := lazyregexp.New(pattern), lazyregexp.New(cmp.Or(direct, "^$"))
	texts := strings.NewReplacer(pairs...)
	return func(e Ecosystem, text string) (found []Found, ok bool) {
		text = "\n" + texts.Replace("\n"+text)
		begins := func(sign string) bool { return strings.Contains(text, "\n"+sign) }
		if !slices.ContainsFunc(strings.Split(sign, "|"), begins) {
			return nil, false
		}
		own, left, section, names := map[string]bool{}, most, "", namesOf(e)
		for line := range strings.Lines(text) {
			isIndented := strings.IndexByte(" \t-", line[0]) >= 0
			lower := strings.ToLower(line)
			if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(lower, name) }) {
				full := strings.TrimRight(line, " \n")
				if isIndented {
					full = section + full
				}
				if left -= len(full) + 100; left < 0 {
					return nil, false
				}
				if m := each().FindStringSubmatch(full); m != nil && (len(m) < 4 || m[3] == "") {
					found = append(found, Found{Package: m[1], Version: m[2]})
				}
				if m := ours().FindStringSubmatch(full); m != nil {
					isBetween := func(r rune) bool { return strings.ContainsRune(` "=,{}[]`, r) }
					for _, name := range strings.FieldsFunc(m[len(m)-1], isBetween) {
						own[name] = true
					}
				}
			}
			if !isIndented && line != "\n" {
				section = strings.TrimRight(line[:min(len(line), 30)], " \n") + "|"
			}
		}
		for i, f := range found {
			if direct != "" {
				found[i].Use = useOf[own[f.Package]]
			}
		}
		return found, true
	}
}

// namesOf returns the names of an ecosystem's drivers, in small letters.
func namesOf(e Ecosystem) (names []string) {
	for _, d := range Table {
		if d.Ecosystem == e {
			names = append(names, strings.Fields(strings.ToLower(strings.Join(d.Packages, " ")))...)
		}
	}
	return names
}

var useOf = map[bool]Use{true: Direct, false: Transitive} // by whether the app itself asks for it

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

// packageLock reads npm's lock file, in each of its three versions. The first does not say what the
// app asks for; what is inside another package is that package's own.
//
// Source: https://docs.npmjs.com/cli/configuring-npm/package-lock-json
func packageLock(_ Ecosystem, text string) (found []Found, ok bool) {
	var lock struct {
		LockfileVersion int
		Packages        map[string]manifest
		Dependencies    map[string]struct {
			Version string
			Dev     bool
		}
	}
	if !decode(text, &lock) || lock.LockfileVersion == 0 {
		return nil, false
	}
	if lock.LockfileVersion > 1 {
		return packagesOf(lock.Packages), true
	}
	for name, d := range lock.Dependencies {
		if !d.Dev {
			found = append(found, Found{Package: name, Version: d.Version})
		}
	}
	return found, true
}

// packagesOf returns the packages in node_modules. The places of the app and its workspaces are
// outside. Without one of the app, nobody knows what it asks for.
func packagesOf(places map[string]manifest) (found []Found) {
	own := map[string]string{}
	for place, p := range places {
		if !strings.Contains(place, "node_modules/") {
			maps.Copy(own, p.OptionalDependencies)
			maps.Copy(own, p.Dependencies)
		}
	}
	_, says := places[""]
	for place, p := range places {
		i := strings.LastIndex(place, "node_modules/")
		if i < 0 || p.Dev || p.Link {
			continue
		}
		name, isNested := place[i+len("node_modules/"):], strings.Contains(place[:i], "node_modules/")
		f := Found{Package: cmp.Or(p.Name, name), Version: p.Version} // the place may be an alias
		if _, isOwn := own[name]; says || isNested {
			f.Use = useOf[isOwn && !isNested]
		}
		found = append(found, f)
	}
	return found
}

// installed counts where neither the app nor its node_modules has a lock file.
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
	asked := map[string]string{}
	maps.Copy(asked, app.OptionalDependencies)
	maps.Copy(asked, app.Dependencies)
	places := map[string]manifest{"": app}
	for _, name := range namesOf(npm) {
		version, isAsked := asked[name]
		var m manifest
		text, ok := s.Text(path.Join(modules, name, "package.json"))
		if ok && decode(text, &m) {
			version = m.Version
		} else if !isAsked {
			continue
		}
		places["node_modules/"+name] = manifest{Version: version}
	}
	s.add(npm, place, packagesOf(places))
}

// prismaSchema finds Prisma's own engine. With a driver adapter, node-postgres connects. Source:
// Prisma's documents, "Database drivers".
func prismaSchema(_ Ecosystem, text string) ([]Found, bool) {
	if !strings.Contains(text, `"postgresql"`) || !strings.Contains(text, `"prisma-client-js"`) || strings.Contains(text, "driverAdapters") {
		return nil, true
	}
	return []Found{{Package: "prisma"}}, true
}

// programs looks into the programs in the app's own folder and in bin, and into jars in the first.
func (s *scan) programs() {
	left := 50 // an app has a few
	for _, dir := range []string{".", "bin"} {
		for _, e := range s.Listed[dir] {
			info, err := e.Info()
			isProgram := err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
			isJar := path.Ext(e.Name()) == ".jar" && dir == "."
			if left == 0 || !isProgram && !isJar {
				continue
			}
			left--
			name := path.Join(dir, e.Name())
			s.Parts(name, func(at io.ReaderAt, size int64) {
				if packages := modules(at); packages != nil {
					s.Module(name, packages[0].Package)
					s.add(golang, name, packages)
				} else if isJar {
					s.add(maven, name, entries(at, size))
				}
			})
		}
	}
}

// modules returns those of a Go program, its own first, and nothing of any other file.
func modules(at io.ReaderAt) []Found {
	info, err := buildinfo.Read(at)
	if err != nil {
		return nil
	}
	found := []Found{{Package: info.Main.Path}}
	for _, m := range info.Deps {
		version := m.Version
		if m.Replace != nil {
			version = cmp.Or(m.Replace.Version, version) // a local folder has none
		}
		found = append(found, Found{Package: m.Path, Version: strings.TrimPrefix(version, "v")})
	}
	return found
}

// entries returns the packages of the jars that a jar contains, and of the classes that it has
// swallowed.
func entries(at io.ReaderAt, size int64) (found []Found) {
	archive, err := zip.NewReader(at, size)
	if err != nil {
		return nil
	}
	for _, f := range archive.File {
		found = append(found, jar(f.Name)...)
	}
	return found
}

// jarName matches NAME-VERSION.jar of Maven and Gradle, and Debian's NAME.jar.
var jarName = lazyregexp.New(`^(.+?)(?:-(\d.*))?\.jar$`)

// jar returns the package of a jar, or the class by which a driver is known; none for other names.
func jar(name string) []Found {
	base := path.Base(name)
	m := jarName().FindStringSubmatch(base[:min(len(base), 200)]) // a jar may have 20 MB of names
	switch {
	case path.Ext(name) == ".class" && lookUp(maven, name, "") != nil:
		return []Found{{Package: name}}
	// Testcontainers has a jar postgresql-1.x. No version of pgjdbc begins with 1.
	case m == nil, strings.HasPrefix(base, "postgresql-1."):
		return nil
	}
	return []Found{{Package: m[1], Version: m[2]}}
}
