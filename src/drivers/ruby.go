package drivers

import (
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// lookRuby reads Bundler's lock file.
func lookRuby(s *scan) { s.file("Gemfile.lock", rubygems, parseGemfileLock) }

var (
	gemSpec = lazyregexp.New(`^    ([A-Za-z0-9._-]+) \(([^)]+)\)$`)
	gemName = lazyregexp.New(`^  ([A-Za-z0-9._-]+)!?( |$)`)
)

// parseGemfileLock reads Bundler's lock file. Gems are indented by four blanks, and DEPENDENCIES
// lists what the app asks for. A version may end in the platform's name.
//
// Source: Bundler, lib/bundler/lockfile_parser.rb
func parseGemfileLock(text []byte) (deps []dependency, err error) {
	own := map[string]bool{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && line[0] != ' ' {
			section = line
		} else if m := gemName().FindStringSubmatch(line); m != nil && section == "DEPENDENCIES" {
			own[m[1]] = true
		} else if m := gemSpec().FindStringSubmatch(line); m != nil && (section == "GEM" || section == "GIT" || section == "PATH") {
			version, _, _ := strings.Cut(m[2], "-")
			deps = append(deps, dependency{m[1], version, Unknown})
		}
	}
	if section == "" {
		return nil, errBroken
	}
	for i, d := range deps {
		deps[i].use = named(own, d.name)
	}
	return deps, nil
}
