package drivers

import "strings"

// lookRust reads Cargo's lock file.
func lookRust(s *scan) { s.file("Cargo.lock", crates, parseCargoLock) }

// parseCargoLock reads Cargo's lock file. Packages without a source are the app's own, so it asks
// itself for what they depend on.
//
// Source: https://doc.rust-lang.org/cargo/guide/cargo-toml-vs-cargo-lock.html
func parseCargoLock(text []byte) (deps []dependency, err error) {
	var lock struct {
		Package []struct {
			Name, Version, Source string
			Dependencies          []string
		}
	}
	if err := unmarshalTOML(text, &lock); err != nil {
		return nil, err
	}
	if lock.Package == nil {
		return nil, errBroken
	}
	own := map[string]bool{}
	for _, p := range lock.Package {
		if p.Source == "" {
			for _, d := range p.Dependencies {
				name, _, _ := strings.Cut(d, " ") // a version follows if there are several
				own[name] = true
			}
		}
	}
	for _, p := range lock.Package {
		if p.Source != "" {
			deps = append(deps, dependency{p.Name, p.Version, named(own, p.Name)})
		}
	}
	return deps, nil
}
