package staging

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

const driverConfig = "org/postgresql/driverconfig.properties"

// How much of an app we read at most. We assume that the rest configures pgjdbc's TLS.
const (
	maxTexts     = 2000
	maxTextBytes = 1 << 20
)

// configuresTLS returns the app's first file that configures pgjdbc's TLS, or "". It looks where
// Spring Boot, a servlet container and a plain app have their configuration. Give it an os.Root's
// file system, which follows no link out of the app.
func configuresTLS(app fs.FS) string {
	found, texts := "", 0
	look := func(name string, entry fs.DirEntry) error {
		isText := slices.Contains([]string{".properties", ".yml", ".yaml", ".xml"}, strings.ToLower(path.Ext(name)))
		if !isText || entry.IsDir() {
			return nil
		}
		info, err := fs.Stat(app, name)
		if err != nil || !info.Mode().IsRegular() { // a link that leads nowhere, a pipe
			return nil
		}
		texts++
		if texts > maxTexts || info.Size() > maxTextBytes {
			found = name + " (one more than staging reads)"
			return fs.SkipAll
		}
		text, err := fs.ReadFile(app, name)
		if err == nil && (strings.HasSuffix(name, driverConfig) || client.ConfiguresTLS(string(text))) {
			found = name
			return fs.SkipAll
		}
		return nil
	}
	root, _ := fs.ReadDir(app, ".") // a folder that cannot be read configures nothing
	for _, entry := range root {
		if found == "" {
			_ = look(entry.Name(), entry)
		}
	}
	for _, dir := range []string{"BOOT-INF/classes", "WEB-INF/classes", "config", "org/postgresql"} {
		if found != "" {
			break
		}
		_ = fs.WalkDir(app, dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			return look(name, entry)
		})
	}
	return found
}

// assignsOptions matches a line of a script that sets or unsets JAVA_TOOL_OPTIONS.
var assignsOptions = lazyregexp.New(`(?m)^[^#\n]*(?:\bJAVA_TOOL_OPTIONS=[^\n]*|(?:\bunset\b|-u)[^\n;&|]*\bJAVA_TOOL_OPTIONS\b)`)

// replacesOptions returns the app's scripts that replace JAVA_TOOL_OPTIONS. They all run after
// ours: the launcher sources .profile.d and .profile later, and a start script runs last.
func replacesOptions(app fs.FS) []string {
	var scripts []string
	for _, pattern := range []string{".profile", ".profile.d/*", "Procfile", "*.sh", "bin/*"} {
		names, _ := fs.Glob(app, pattern)
		for _, name := range names {
			info, err := fs.Stat(app, name)
			readable := err == nil && info.Mode().IsRegular() && info.Size() <= maxTextBytes
			if !readable || len(scripts) > 10 {
				continue
			}
			text, err := fs.ReadFile(app, name)
			if err != nil {
				continue
			}
			for _, line := range assignsOptions().FindAllString(string(text), -1) {
				_, value, _ := strings.Cut(line, "JAVA_TOOL_OPTIONS=")
				if !strings.Contains(value, "$JAVA_TOOL_OPTIONS") && !strings.Contains(value, "${JAVA_TOOL_OPTIONS") {
					scripts = append(scripts, name)
					break
				}
			}
		}
	}
	return scripts
}

// ownArchive matches the JVM's options that use or make an archive of classes.
//
// Source: JDK, src/hotspot/share/cds/filemap.cpp, validate_boot_class_paths; tried on 17 and 25.
var ownArchive = lazyregexp.New(`-Xshare:on|-XX:SharedArchiveFile|-XX:ArchiveClassesAtExit|-XX:\+AutoCreateSharedArchive|-XX:AOT\w+`)

// javaNotes tells the owner of a Java app what to know, and warns of anything that would undo our
// settings.
func javaNotes(app fs.FS, mode sslmode.Mode, env map[string]string) (notes, warnings []string) {
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	notes = append(notes, "JAVA_TOOL_OPTIONS tells pgjdbc its sslmode; one in the app's own URL or properties wins over it")
	if env["JBP_CONFIG_OPEN_JDK_JRE"] == "" {
		notes = append(notes, "Java 8, the default of java-buildpack 4, was not tested; JBP_CONFIG_OPEN_JDK_JRE chooses another")
	}
	if mode == sslmode.VerifyCA {
		warn("verify-ca in Java: behind the java-buildpack, pgjdbc then accepts any CA that the stack trusts; write verify-full into the binding")
	}
	for _, dir := range []string{"BOOT-INF/classes/", "WEB-INF/classes/", ""} {
		if _, err := fs.Stat(app, dir+driverConfig); err == nil {
			warn("%s is the app's own; where both have a setting, the launch's wins", dir+driverConfig)
		}
	}
	for _, script := range replacesOptions(app) {
		warn("%s replaces JAVA_TOOL_OPTIONS, so pgjdbc would not be told its sslmode; "+
			"write $JAVA_TOOL_OPTIONS into the new value", script)
	}
	for _, name := range []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS", "JBP_CONFIG_JAVA_OPTS"} {
		if option := ownArchive().FindString(env[name]); option != "" {
			warn("%s in %s: the launch adds a folder to the boot class path, so the JVM may not use or make "+
				"an archive of classes; with -Xshare:on it then does not start", option, name)
		}
	}
	return notes, warnings
}

// reportJava logs what javaNotes says.
func reportJava(log *libbuildpack.Logger, app fs.FS, mode sslmode.Mode, env map[string]string) {
	notes, warnings := javaNotes(app, mode, env)
	log.BeginStep("Java")
	for _, n := range notes {
		log.Info("%s", n)
	}
	for _, w := range warnings {
		log.Warning("%s", plain.Line(w))
	}
}
