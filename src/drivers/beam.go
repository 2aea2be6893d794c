package drivers

import (
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// lookBEAM reads the lock files of Elixir's mix, Erlang's rebar3 and Gleam. All their packages are
// on Hex.
func lookBEAM(s *scan) {
	s.file("mix.lock", hex, parseMixLock(s.mixNames()))
	s.file("rebar.lock", hex, parseRebarLock)
	s.file("manifest.toml", hex, parseGleamManifest)
}

var (
	// {:postgrex, "~> 0.22"} in a mix.exs, which is a program, so we search its text.
	mixName = lazyregexp.New(`\{\s*:([a-z0-9_]+)\s*,`)
	// "postgrex": {:hex, :postgrex, "0.22.0", …} or {:git, URL, REVISION, …}, a line of a mix.lock.
	mixEntry = lazyregexp.New(`(?m)^\s*"([a-z0-9_]+)":\s*\{:(?:hex,\s*:[a-z0-9_]+,\s*"([^"\n]*)"|git,)`)
	// {<<"epgsql">>,{pkg,<<"epgsql">>,<<"4.8.0">>},0} in a rebar.lock. 0 marks the app's own
	// choices.
	rebarEntry = lazyregexp.New(`\{<<"([a-z0-9_]+)">>,\s*\{(?:pkg,\s*<<"([a-z0-9_]+)">>,\s*<<"([^"]*)">>[^{}]*|git[a-z_]*,\s*"[^"]*",\s*\{[a-z]+,\s*"[^"]*"\})[^{}]*\},\s*(\d+)\}`)
)

// mixNames returns the packages that an Elixir app names itself or, in an umbrella, its parts. It
// returns nil if there is no mix.exs.
func (s *scan) mixNames() map[string]bool {
	files := []string{"mix.exs"}
	for _, part := range s.list("apps") {
		files = append(files, "apps/"+part+"/mix.exs")
	}
	var own map[string]bool
	for _, file := range files {
		text := s.read(file)
		if text == nil {
			continue
		}
		if own == nil {
			own = map[string]bool{}
		}
		for line := range strings.Lines(string(text)) {
			code, _, _ := strings.Cut(line, "#")
			for _, m := range mixName().FindAllStringSubmatch(code, -1) {
				own[m[1]] = true
			}
		}
	}
	return own
}

// parseMixLock reads mix's lock file, an Elixir map. mix writes each entry on a line of its own.
//
// Source: Elixir, lib/mix/lib/mix/dep/lock.ex
func parseMixLock(own map[string]bool) func([]byte) ([]dependency, error) {
	return func(text []byte) (deps []dependency, err error) {
		if !strings.HasPrefix(strings.TrimSpace(string(text)), "%{") {
			return nil, errBroken
		}
		for _, m := range mixEntry().FindAllStringSubmatch(string(text), -1) {
			deps = append(deps, dependency{m[1], m[2], named(own, m[1])})
		}
		return deps, nil
	}
}

// parseRebarLock reads rebar3's lock file, which holds Erlang terms.
//
// Source: rebar3, apps/rebar/src/rebar_config.erl, format_version 1.2.0
func parseRebarLock(text []byte) (deps []dependency, err error) {
	if start := strings.TrimSpace(string(text)); start == "" || start[0] != '{' && start[0] != '[' {
		return nil, errBroken
	}
	for _, m := range rebarEntry().FindAllStringSubmatch(string(text), -1) {
		name, use := m[1], Transitive
		if m[2] != "" {
			name = m[2]
		}
		if m[4] == "0" {
			use = Direct
		}
		deps = append(deps, dependency{name, m[3], use})
	}
	return deps, nil
}

// parseGleamManifest reads Gleam's lock file. requirements lists the app's own choices.
func parseGleamManifest(text []byte) (deps []dependency, err error) {
	var manifest struct {
		Packages     []struct{ Name, Version string }
		Requirements map[string]any
	}
	if err := unmarshalTOML(text, &manifest); err != nil {
		return nil, err
	}
	if manifest.Packages == nil {
		return nil, errBroken
	}
	own := map[string]bool{}
	for name := range manifest.Requirements {
		own[name] = true
	}
	for _, p := range manifest.Packages {
		deps = append(deps, dependency{p.Name, p.Version, named(own, p.Name)})
	}
	return deps, nil
}
