package drivers

import (
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// lookJava looks at the names of jars, where a Spring Boot app, a WAR and most others keep them.
// The names do not say who wants a jar.
func lookJava(s *scan) {
	for _, dir := range []string{"BOOT-INF/lib", "WEB-INF/lib", "lib", "."} {
		names := s.names
		if dir != "." {
			names = s.list(dir)
		}
		s.add(maven, dir, parseJars(names))
	}
}

// jar matches NAME-VERSION.jar of Maven and Gradle, and Debian's NAME.jar.
var jar = lazyregexp.New(`^(.+?)(?:-(\d[^/]*))?\.jar$`)

func parseJars(names []string) (deps []dependency) {
	for _, name := range names {
		// Testcontainers has a jar postgresql-1.x. No version of pgjdbc begins with 1.
		if m := jar().FindStringSubmatch(name); m != nil && !strings.HasPrefix(name, "postgresql-1.") {
			deps = append(deps, dependency{m[1], m[2], Unknown})
		}
	}
	return deps
}
