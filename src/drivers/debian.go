package drivers

import (
	"path"
	"strings"

	"gopkg.in/yaml.v2"
)

// lookDebian reads what the apt-buildpack will install. It recognises pgbouncer by its
// configuration too.
func lookDebian(s *scan) {
	s.file("apt.yml", debian, parseAptYML)
	for _, name := range []string{"pgbouncer.ini", "config/pgbouncer.ini"} {
		if s.read(name) != nil {
			s.add(debian, name, []dependency{{"pgbouncer", "", Direct}})
		}
	}
}

// parseAptYML reads package names, NAME=VERSION, and URLs that end in
// NAME_VERSION_ARCHITECTURE.deb.
//
// Source: https://github.com/cloudfoundry/apt-buildpack
func parseAptYML(text []byte) (deps []dependency, err error) {
	var file struct{ Packages []string }
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	for _, p := range file.Packages {
		name, version, _ := strings.Cut(p, "=")
		if deb, ok := strings.CutSuffix(path.Base(p), ".deb"); ok {
			name, version, _ = strings.Cut(deb, "_")
			version, _, _ = strings.Cut(version, "_")
		}
		deps = append(deps, dependency{strings.TrimSpace(name), version, Direct})
	}
	return deps, nil
}
