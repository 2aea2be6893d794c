package drivers

import (
	"encoding/json"
	"strings"
)

// lookDotNet reads the lists of libraries that a published .NET app loads.
func lookDotNet(s *scan) {
	for _, name := range s.matching("*.deps.json") {
		s.file(name, nuget, parseDepsJSON)
	}
}

// parseDepsJSON reads a published app's dependencies. Those of its own projects are the app's own
// choices.
//
// Source: https://github.com/dotnet/sdk/blob/main/documentation/specs/runtime-configuration-file.md
func parseDepsJSON(text []byte) (deps []dependency, err error) {
	var file struct {
		Targets map[string]map[string]struct{ Dependencies map[string]string }
		// The type is "project" or "package".
		Libraries map[string]struct{ Type string }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	if file.Libraries == nil {
		return nil, errBroken
	}
	own := map[string]bool{}
	for _, target := range file.Targets {
		for key, t := range target {
			if file.Libraries[key].Type == "project" {
				for name := range t.Dependencies {
					own[name] = true
				}
			}
		}
	}
	for key, library := range file.Libraries {
		if name, version, ok := strings.Cut(key, "/"); ok && library.Type == "package" {
			deps = append(deps, dependency{name, version, named(own, name)})
		}
	}
	return deps, nil
}
