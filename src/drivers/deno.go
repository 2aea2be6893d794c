package drivers

import (
	"encoding/json"
	"strings"
)

// lookDeno reads Deno's lock file. It does not tell the app's own imports from its packages'.
func lookDeno(s *scan) { s.file("deno.lock", deno, parseDenoLock) }

// parseDenoLock reads the packages of JSR and the modules of deno.land, in versions 3 to 5 of the
// file.
//
// Source: https://docs.deno.com/runtime/fundamentals/modules/#integrity-checking-and-lock-files
func parseDenoLock(text []byte) (deps []dependency, err error) {
	var lock struct {
		Version  string
		JSR      map[string]json.RawMessage
		Packages struct{ JSR map[string]json.RawMessage }
		Remote   map[string]string
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, err
	}
	for _, list := range []map[string]json.RawMessage{lock.JSR, lock.Packages.JSR} {
		for key := range list {
			name, version := splitAt(key)
			deps = append(deps, dependency{name, version, Unknown})
		}
	}
	for url := range lock.Remote {
		if rest, ok := strings.CutPrefix(url, "https://deno.land/x/"); ok {
			module, _, _ := strings.Cut(rest, "/")
			name, version := splitAt(module)
			deps = append(deps, dependency{"deno.land/x/" + name, strings.TrimPrefix(version, "v"), Unknown})
		}
	}
	return deps, nil
}
