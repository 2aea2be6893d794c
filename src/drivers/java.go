package drivers

import "strings"

// lookJava looks at the names of jars, where a Spring Boot app, a WAR and most others have them. They do not
// say who wants a jar.
func lookJava(s *scan) {
	for _, dir := range []string{"BOOT-INF/lib", "WEB-INF/lib", "lib", "."} {
		names := s.names
		if dir != "." {
			names = s.list(dir)
		}
		s.add(maven, dir, parseJars(names))
	}
}

// jar is NAME-VERSION.jar, as Maven and Gradle write it; Debian has NAME.jar too.
var jar = lazily(`^(.+?)(?:-(\d[^/]*))?\.jar$`)

func parseJars(names []string) (deps []dependency) {
	for _, name := range names {
		// Testcontainers calls a jar of its own postgresql-1.x; pgjdbc's versions never began with 1.
		if m := jar().FindStringSubmatch(name); m != nil && !strings.HasPrefix(name, "postgresql-1.") {
			deps = append(deps, dependency{m[1], m[2], Unknown})
		}
	}
	return deps
}
