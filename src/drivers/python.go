package drivers

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// lookPython reads every file in which a Python app may list its packages. We cannot know which of
// them the buildpack will use.
func lookPython(s *scan) {
	seen := map[string]bool{}
	for _, name := range s.matching("requirements*.txt") {
		s.requirements(name, seen)
	}
	s.file("Pipfile.lock", pypi, parsePipfileLock(s.pythonNames("Pipfile", parsePipfile)))
	own := s.pythonNames("pyproject.toml", parsePyproject)
	s.file("poetry.lock", pypi, parsePoetryLock(own))
	s.file("uv.lock", pypi, parseUVLock)
}

// pythonNames returns what the app asks for in the file beside its lock file. It returns nil if
// that file is missing or skipped.
func (s *scan) pythonNames(file string, parse func([]byte) (map[string]bool, error)) map[string]bool {
	if text := s.read(file); text != nil {
		if own, ok := guard(s, file, parse, text); ok {
			return own
		}
	}
	return nil
}

// unmarshalTOML refuses very long lines. No tool writes them, and they take the parser very long.
func unmarshalTOML(text []byte, into any) error {
	const longestLine = 1 << 16
	rest := text
	for len(rest) > longestLine {
		i := bytes.LastIndexByte(rest[:longestLine], '\n')
		if i < 0 {
			return errBroken
		}
		rest = rest[i+1:]
	}
	return toml.Unmarshal(text, into)
}

// requirements reads a requirements file and the files that it includes.
func (s *scan) requirements(name string, seen map[string]bool) {
	const most = 50 // no app has that many
	if seen[name] || len(seen) > most {
		return
	}
	seen[name] = true
	text := s.read(name)
	if text == nil {
		return
	}
	listed, _ := guard(s, name, parseRequirements, text)
	s.add(pypi, name, listed.packages)
	for _, file := range listed.includes {
		s.requirements(path.Join(path.Dir(name), file), seen)
	}
}

var (
	requirement = lazyregexp.New(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;#)@]*)`)
	include     = lazyregexp.New(`^(?:-r|--requirement)[ =]?\s*([^\s#]+)`)
	separators  = lazyregexp.New(`[-_.]+`)
)

// pypiName normalises the spelling of a package's name.
//
// Source: https://peps.python.org/pep-0503/#normalized-names
func pypiName(name string) string { return separators().ReplaceAllString(strings.ToLower(name), "-") }

// requirements are the packages that a file asks for, and the files that it includes.
type requirements struct {
	packages []dependency
	includes []string
}

// parseRequirements reads pip's requirements file, also as "pip freeze" and "pip-compile" write it.
// Only pip-compile says, in a comment, who asks for a package.
//
// Source: https://pip.pypa.io/en/stable/reference/requirements-file-format
func parseRequirements(text []byte) (listed requirements, err error) {
	text = []byte(strings.ReplaceAll(strings.ReplaceAll(string(text), "\r", ""), "\\\n", " "))
	via := false
	for line := range strings.Lines(string(text)) {
		field := strings.TrimSpace(line)
		if m := include().FindStringSubmatch(field); m != nil {
			listed.includes = append(listed.includes, m[1])
			continue
		}
		if m := requirement().FindStringSubmatch(field); m != nil {
			// Hashes and other options follow after a blank.
			version, _, _ := strings.Cut(m[2], " --")
			version = strings.ReplaceAll(version, " ", "")
			if exact, ok := strings.CutPrefix(version, "=="); ok && !strings.Contains(exact, ",") {
				version = strings.TrimPrefix(exact, "=")
			}
			listed.packages = append(listed.packages, dependency{pypiName(m[1]), version, Unknown})
			via = false
		}
		if _, comment, ok := strings.Cut(field, "#"); ok && len(listed.packages) > 0 {
			who := strings.TrimSpace(comment)
			if rest, ok := strings.CutPrefix(who, "via"); ok {
				via, who = true, strings.TrimSpace(rest)
			}
			last := &listed.packages[len(listed.packages)-1]
			switch {
			case !via || who == "" || last.use == Direct:
			case strings.HasPrefix(who, "-r ") || strings.HasSuffix(who, ".in") || strings.Contains(who, "pyproject.toml"):
				last.use = Direct
			default:
				last.use = Transitive
			}
		}
	}
	return listed, nil
}

// parsePipfile returns what the app asks for.
func parsePipfile(text []byte) (map[string]bool, error) {
	var file struct{ Packages map[string]any }
	if err := unmarshalTOML(text, &file); err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for name := range file.Packages {
		own[pypiName(name)] = true
	}
	return own, nil
}

// parsePipfileLock reads Pipenv's lock file without the development packages, which are not
// installed.
//
// Source: https://github.com/pypa/pipfile#pipfilelock
func parsePipfileLock(own map[string]bool) func([]byte) ([]dependency, error) {
	return func(text []byte) (deps []dependency, err error) {
		var lock struct {
			Meta    map[string]any `json:"_meta"`
			Default map[string]struct{ Version string }
		}
		if err := json.Unmarshal(text, &lock); err != nil {
			return nil, err
		}
		if lock.Meta == nil {
			return nil, errBroken
		}
		for name, p := range lock.Default {
			name = pypiName(name)
			deps = append(deps, dependency{name, strings.TrimPrefix(p.Version, "=="), named(own, name)})
		}
		return deps, nil
	}
}

// parsePyproject returns what the app asks for, in the standard's or Poetry's format.
func parsePyproject(text []byte) (map[string]bool, error) {
	var file struct {
		Project struct {
			Dependencies         []string
			OptionalDependencies map[string][]string `toml:"optional-dependencies"`
		}
		Tool struct {
			Poetry struct{ Dependencies map[string]any }
		}
	}
	if err := unmarshalTOML(text, &file); err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for name := range file.Tool.Poetry.Dependencies {
		own[pypiName(name)] = true
	}
	lists := [][]string{file.Project.Dependencies}
	for _, list := range file.Project.OptionalDependencies {
		lists = append(lists, list)
	}
	for _, list := range lists {
		for _, text := range list {
			if m := requirement().FindStringSubmatch(text); m != nil {
				own[pypiName(m[1])] = true
			}
		}
	}
	return own, nil
}

// parsePoetryLock reads Poetry's lock file; what is there for development only is not installed.
func parsePoetryLock(own map[string]bool) func([]byte) ([]dependency, error) {
	return func(text []byte) (deps []dependency, err error) {
		var lock struct {
			Metadata map[string]any
			Package  []struct {
				Name, Version, Category string
				Groups                  []string
			}
		}
		if err := unmarshalTOML(text, &lock); err != nil {
			return nil, err
		}
		if lock.Metadata == nil {
			return nil, errBroken
		}
		for _, p := range lock.Package {
			name := pypiName(p.Name)
			development := p.Category == "dev" || len(p.Groups) > 0 && !strings.Contains(" "+strings.Join(p.Groups, " ")+" ", " main ")
			if !development {
				deps = append(deps, dependency{name, p.Version, named(own, name)})
			}
		}
		return deps, nil
	}
}

// parseUVLock reads uv's lock file. The app and its workspaces are packages too, recognised by
// their source.
//
// Source: https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile
func parseUVLock(text []byte) (deps []dependency, err error) {
	type names []struct{ Name string }
	var lock struct {
		Version int
		Package []struct {
			Name, Version        string
			Source               map[string]any
			Dependencies         names
			OptionalDependencies map[string]names `toml:"optional-dependencies"`
		}
	}
	if err := unmarshalTOML(text, &lock); err != nil {
		return nil, err
	}
	if lock.Version == 0 {
		return nil, errBroken
	}
	own := map[string]bool{}
	for _, p := range lock.Package {
		if p.Source["virtual"] == nil && p.Source["editable"] == nil {
			continue
		}
		lists := []names{p.Dependencies}
		for _, list := range p.OptionalDependencies {
			lists = append(lists, list)
		}
		for _, list := range lists {
			for _, d := range list {
				own[d.Name] = true
			}
		}
	}
	for _, p := range lock.Package {
		deps = append(deps, dependency{p.Name, p.Version, named(own, p.Name)})
	}
	return deps, nil
}
