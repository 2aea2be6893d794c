package drivers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path"
	"strings"

	"gopkg.in/yaml.v2"
)

// lookNPM reads the first of a Node app's lock files that can be read, or else looks at what is
// installed. package.json says what the app itself asks for.
func lookNPM(s *scan) {
	var app manifest
	own := map[string]bool(nil)
	if text := s.read("package.json"); text != nil {
		var ok bool
		if app, ok = guard(s, "package.json", parsePackageJSON, text); ok && len(app.Workspaces) == 0 {
			own = app.own()
		}
	}
	for _, lock := range []struct {
		file  string
		parse func([]byte) ([]dependency, error)
	}{
		{"npm-shrinkwrap.json", parsePackageLock(own)}, // npm prefers it
		{"package-lock.json", parsePackageLock(own)},
		{"yarn.lock", parseYarnLock(own)},
		{"pnpm-lock.yaml", parsePNPMLock},
		{"node_modules/.package-lock.json", parsePackageLock(own)}, // npm's list of what it installed
	} {
		if s.file(lock.file, npm, lock.parse) {
			return
		}
	}
	if app.own() != nil {
		s.installed(app)
	}
}

// manifest is a package.json.
type manifest struct {
	Name, Version        string
	Dependencies         map[string]string
	OptionalDependencies map[string]string
	Workspaces           json.RawMessage // if there are any, they have a package.json each
}

func parsePackageJSON(text []byte) (m manifest, err error) {
	return m, json.Unmarshal(text, &m)
}

// own returns the names that the app itself uses, which may be aliases.
func (m manifest) own() map[string]bool {
	own := map[string]bool{}
	for _, names := range []map[string]string{m.Dependencies, m.OptionalDependencies} {
		for name := range names {
			own[name] = true
		}
	}
	return own
}

// installed looks into node_modules for each driver, by its own name and by its alias in
// package.json.
func (s *scan) installed(app manifest) {
	wanted := map[string]string{}
	for _, d := range Table {
		if d.Ecosystem == npm {
			for _, name := range d.Packages {
				wanted[name] = ""
			}
		}
	}
	for _, names := range []map[string]string{app.Dependencies, app.OptionalDependencies} {
		for name, spec := range names {
			if real, version := unalias(name, spec); lookUp(npm, real, version) != nil {
				wanted[name] = spec
			}
		}
	}
	own := app.own()
	var deps []dependency
	for name, spec := range wanted {
		real, version := unalias(name, spec)
		file := path.Join("node_modules", name, "package.json")
		if text := s.read(file); text != nil {
			if m, ok := guard(s, file, parsePackageJSON, text); ok && m.Name == real {
				deps = append(deps, dependency{real, m.Version, named(own, name)})
				continue
			}
		}
		if own[name] {
			deps = append(deps, dependency{real, version, Direct})
		}
	}
	s.add(npm, "package.json", deps)
}

// unalias returns the real package and range of a dependency: "db": "npm:pg@^8" is pg.
func unalias(name, spec string) (string, string) {
	if rest, ok := strings.CutPrefix(spec, "npm:"); ok {
		if real, version := splitAt(rest); version != "" {
			return real, version
		}
		return name, rest
	}
	return name, spec
}

// splitAt splits NAME@REST, where the name may be @scope/name.
func splitAt(text string) (name, rest string) {
	if text == "" {
		return "", ""
	}
	if i := strings.IndexByte(text[1:], '@'); i >= 0 {
		return text[:i+1], text[i+2:]
	}
	return text, ""
}

// parsePackageLock reads npm's lock file, in each of its three versions.
//
// Source: https://docs.npmjs.com/cli/configuring-npm/package-lock-json
func parsePackageLock(own map[string]bool) func([]byte) ([]dependency, error) {
	type version1 struct {
		Version      string
		Dev          bool
		Dependencies map[string]json.RawMessage
	}
	return func(text []byte) (deps []dependency, err error) {
		var lock struct {
			LockfileVersion int
			Packages        map[string]struct {
				Name, Version                      string
				Dev, Link                          bool
				Dependencies, OptionalDependencies map[string]string
			}
			Dependencies map[string]json.RawMessage
		}
		if err := json.Unmarshal(text, &lock); err != nil {
			return nil, err
		}
		if lock.LockfileVersion == 0 {
			return nil, errBroken
		}
		// The places of the app and its workspaces do not contain node_modules.
		own := own
		places := map[string]bool{"": true}
		for place, p := range lock.Packages {
			if !strings.Contains(place, "node_modules/") {
				places[place] = true
				more := manifest{Dependencies: p.Dependencies, OptionalDependencies: p.OptionalDependencies}.own()
				for name := range own {
					more[name] = true
				}
				own = more
			}
		}
		for place, p := range lock.Packages {
			i := strings.LastIndex(place, "node_modules/")
			if i < 0 || p.Dev || p.Link {
				continue
			}
			name := place[i+len("node_modules/"):]
			use := Transitive
			if places[strings.TrimSuffix(place[:i], "/")] {
				use = named(own, name)
			}
			if p.Name != "" {
				name = p.Name
			}
			deps = append(deps, dependency{name, p.Version, use})
		}
		if lock.Packages != nil {
			return deps, nil
		}
		var walk func(list map[string]json.RawMessage, top bool) error
		walk = func(list map[string]json.RawMessage, top bool) error {
			for name, raw := range list {
				var d version1
				if err := json.Unmarshal(raw, &d); err != nil {
					return err
				}
				use := Transitive
				if top {
					use = named(own, name)
				}
				if real, version := unalias(name, d.Version); !d.Dev {
					deps = append(deps, dependency{real, version, use})
				}
				if err := walk(d.Dependencies, false); err != nil {
					return err
				}
			}
			return nil
		}
		return deps, walk(lock.Dependencies, true)
	}
}

// parseYarnLock reads the lock files of all yarn versions, line by line. Of each entry it takes the
// names, which are not indented, and the version.
//
// Source: https://classic.yarnpkg.com/en/docs/yarn-lock, https://github.com/yarnpkg/berry
func parseYarnLock(own map[string]bool) func([]byte) ([]dependency, error) {
	return func(text []byte) (deps []dependency, err error) {
		if !bytes.Contains(text, []byte("# yarn lockfile v1")) && !bytes.Contains(text, []byte("__metadata:")) {
			return nil, errBroken
		}
		own := own
		var keys []string
		workspace, inDependencies := false, false
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			line := lines.Text()
			field := strings.TrimSpace(line)
			switch indent := len(line) - len(strings.TrimLeft(line, " ")); {
			case field == "" || field[0] == '#':
			case indent == 0:
				keys = strings.Split(strings.ReplaceAll(strings.TrimSuffix(field, ":"), `"`, ""), ", ")
				workspace, inDependencies = strings.Contains(field, "@workspace:"), false
			case indent == 2:
				inDependencies = field == "dependencies:"
				version, ok := strings.CutPrefix(field, "version")
				if !ok || workspace || len(keys) == 0 {
					continue
				}
				name, spec := splitAt(keys[0])
				real, _ := unalias(name, spec)
				deps = append(deps, dependency{real, strings.Trim(version, `: "`), named(own, name)})
			case workspace && inDependencies:
				if own == nil {
					own = map[string]bool{}
				}
				name, _, _ := strings.Cut(field, ": ")
				own[strings.Trim(name, `"`)] = true
			}
		}
		// A workspace may come after the packages that it asks for.
		for i, d := range deps {
			if d.use != Direct {
				deps[i].use = named(own, d.name)
			}
		}
		return deps, lines.Err()
	}
}

// parsePNPMLock reads pnpm's lock file, versions 5 to 9. It also says what the app and its
// workspaces ask for.
//
// Source: https://github.com/pnpm/spec/tree/master/lockfile
func parsePNPMLock(text []byte) (deps []dependency, err error) {
	// From version 9 on, the second half of the file only says which package needs which.
	text, _, _ = bytes.Cut(text, []byte("\nsnapshots:"))
	type importer struct {
		Dependencies         map[string]any
		OptionalDependencies map[string]any `yaml:"optionalDependencies"`
	}
	var lock struct {
		LockfileVersion any `yaml:"lockfileVersion"`
		importer        `yaml:",inline"`
		Importers       map[string]importer
		Packages        map[string]struct {
			Name, Version string
			Dev           bool
		}
	}
	if err := yaml.Unmarshal(text, &lock); err != nil {
		return nil, err
	}
	if lock.LockfileVersion == nil {
		return nil, errBroken
	}
	own := map[string]bool{}
	importers := []importer{lock.importer}
	for _, i := range lock.Importers {
		importers = append(importers, i)
	}
	for _, i := range importers {
		for _, list := range []map[string]any{i.Dependencies, i.OptionalDependencies} {
			for name, value := range list {
				// The resolved value of an alias such as "db: npm:pg@8.16.3" is NAME@VERSION or
				// /NAME/VERSION.
				if fields, ok := value.(map[any]any); ok {
					value = fields["version"]
				}
				if version, ok := value.(string); ok {
					if real, v := splitPNPM(version); v != "" {
						name = real
					}
				}
				own[name] = true
			}
		}
	}
	for key, p := range lock.Packages {
		if name, version := splitPNPM(key); !p.Dev {
			deps = append(deps, dependency{name, version, named(own, name)})
		}
	}
	return deps, nil
}

// splitPNPM splits pnpm's key of a package, such as pg@8.16.3, /pg@8.11.0(pg-native@3.0.1) or
// /pg/8.7.1_pg-native@3.0.0.
func splitPNPM(key string) (name, version string) {
	key, _, _ = strings.Cut(strings.TrimPrefix(key, "/"), "(")
	slash := strings.LastIndexByte(key, '/')
	last := key[slash+1:]
	if at := strings.IndexByte(last, '@'); at > 0 && !strings.Contains(last[:at], "_") {
		return key[:slash+1+at], last[at+1:]
	}
	if slash < 0 {
		return key, ""
	}
	version, _, _ = strings.Cut(last, "_")
	return key[:slash], version
}
