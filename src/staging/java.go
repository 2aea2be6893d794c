package staging

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// JavaMark is a file of the droplet, in deps/IDX. It says where the app's own files configure the
// TLS of pgjdbc, and is there only if they do.
const JavaMark = "java-configures-tls"

const driverConfig = "org/postgresql/driverconfig.properties"

// What is read of an app, at most. An app that holds more may say anything in the rest.
const (
	maxTexts     = 2000
	maxTextBytes = 1 << 20
)

// configuresTLS returns the first of the app's own files that configures the TLS of pgjdbc, and ""
// if none does. It looks where Spring Boot, a servlet container and a plain app have their
// configuration. Links out of the app are not followed, if the file system refuses them.
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
	root, _ := fs.ReadDir(app, ".") // what cannot be read says nothing
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

// assignsOptions matches a line of a script that sets JAVA_TOOL_OPTIONS, or unsets it.
var assignsOptions = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[^#\n]*(?:\bJAVA_TOOL_OPTIONS=[^\n]*|(?:\bunset\b|-u)[^\n;&|]*\bJAVA_TOOL_OPTIONS\b)`)
})

// replacesOptions returns the app's own scripts that replace JAVA_TOOL_OPTIONS. The launcher sources
// .profile.d and .profile after ours; a start script runs last.
func replacesOptions(app fs.FS) []string {
	var scripts []string
	for _, pattern := range []string{".profile", ".profile.d/*", "Procfile", "*.sh", "bin/*"} {
		names, _ := fs.Glob(app, pattern)
		for _, name := range names {
			info, err := fs.Stat(app, name)
			if err != nil || !info.Mode().IsRegular() || info.Size() > maxTextBytes || len(scripts) > 10 {
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

// ownArchive matches options of a JVM that start it from an archive of its classes, or make one.
//
// Source: JDK, src/hotspot/share/cds/filemap.cpp, validate_boot_class_paths; tried on 17 and 25.
var ownArchive = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`-Xshare:on|-XX:SharedArchiveFile|-XX:ArchiveClassesAtExit|-XX:\+AutoCreateSharedArchive|-XX:AOT\w+`)
})

// javaNotes says what the owner of a Java app should know, and warns of what would undo what it is
// given.
func javaNotes(app fs.FS, mode sslmode.Mode, env map[string]string) (notes, warnings []string) {
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	notes = append(notes, "JAVA_TOOL_OPTIONS tells pgjdbc its sslmode, which counts where the app's own URL or properties name none")
	if env["JBP_CONFIG_OPEN_JDK_JRE"] == "" {
		notes = append(notes, "Java 8, the default of java-buildpack 4, was not measured; JBP_CONFIG_OPEN_JDK_JRE chooses another")
	}
	if mode == sslmode.VerifyCA {
		warn("verify-ca in Java: behind the java-buildpack, pgjdbc then accepts any CA that the stack trusts; write verify-full into the binding")
	}
	for _, dir := range []string{"BOOT-INF/classes/", "WEB-INF/classes/", ""} {
		if _, err := fs.Stat(app, dir+driverConfig); err == nil {
			warn("%s is the app's own; where both name a setting, the launch's counts", dir+driverConfig)
		}
	}
	for _, script := range replacesOptions(app) {
		warn("%s sets JAVA_TOOL_OPTIONS without what it was, so pgjdbc would not be told its sslmode; write $JAVA_TOOL_OPTIONS into the new value", script)
	}
	for _, name := range []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS", "JBP_CONFIG_JAVA_OPTS"} {
		if option := ownArchive().FindString(env[name]); option != "" {
			warn("%s in %s: the launch adds a folder to the boot class path, so the JVM may refuse an archive of classes, "+
				"and make none; with -Xshare:on it then does not start", option, name)
		}
	}
	return notes, warnings
}

// reportJava logs what the owner of a Java app should know.
func reportJava(log *libbuildpack.Logger, app fs.FS, mode sslmode.Mode, env map[string]string) {
	notes, warnings := javaNotes(app, mode, env)
	log.BeginStep("Java")
	for _, n := range notes {
		log.Info("%s", n)
	}
	for _, w := range warnings {
		log.Warning("%s", Printable(w))
	}
}
