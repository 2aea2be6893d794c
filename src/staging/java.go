package staging

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

const driverConfig = "org/postgresql/driverconfig.properties"

// configuresTLS returns the app's first file that configures pgjdbc's TLS, or "". One that was not
// read counts as configuring it.
func configuresTLS(app fs.FS, look drivers.Look) string {
	if own := ownConfig(app); own != "" {
		return own
	}
	isJavas := func(name string) bool {
		return slices.Contains([]string{".properties", ".yml", ".yaml", ".xml"}, strings.ToLower(path.Ext(name)))
	}
	for _, s := range look.Signs {
		if s.Kind == seen.Decides && isJavas(s.File) {
			return s.File
		}
	}
	for _, s := range look.Skipped {
		if s.More || isJavas(s.File) {
			return s.File + " (not read: " + s.Why + ")"
		}
	}
	return ""
}

// ownConfig returns pgjdbc's own file with defaults, if the app brings one.
func ownConfig(app fs.FS) string {
	for _, dir := range []string{"BOOT-INF/classes/", "WEB-INF/classes/", ""} {
		if _, err := fs.Stat(app, dir+driverConfig); err == nil {
			return dir + driverConfig
		}
	}
	return ""
}

// ownArchive matches the JVM's options that use or make an archive of classes. Tried on JDK 17 and 25
// (src/hotspot/share/cds/filemap.cpp, validate_boot_class_paths).
var ownArchive = lazyregexp.New(`-Xshare:on|-XX:SharedArchiveFile|-XX:ArchiveClassesAtExit|-XX:\+AutoCreateSharedArchive|-XX:AOT\w+`)

// javaNotes tells the owner of a Java app what to know, and what would undo our settings.
func javaNotes(app fs.FS, signs []seen.Sign, mode sslmode.Mode, env map[string]string) explain.Section {
	notes := explain.Section{Title: "Java"}
	notes.Add("JAVA_TOOL_OPTIONS tells pgjdbc its sslmode; one in the app's own URL or properties wins over it")
	if env["JBP_CONFIG_OPEN_JDK_JRE"] == "" {
		notes.Add("Java 8, the default of java-buildpack 4, was not tested; JBP_CONFIG_OPEN_JDK_JRE chooses another")
	}
	if mode == sslmode.VerifyCA {
		notes.Warn("verify-ca in Java: behind the java-buildpack, pgjdbc then accepts any CA that the stack trusts; " +
			"write verify-full into the binding")
	}
	if own := ownConfig(app); own != "" {
		notes.Warn("%s is the app's own; where both have a setting, the launch's wins", own)
	}
	for _, s := range signs {
		if s.Kind == seen.Undoes && s.Variable == "JAVA_TOOL_OPTIONS" {
			notes.Warn("%s replaces JAVA_TOOL_OPTIONS, so pgjdbc would not be told its sslmode; "+
				"write $JAVA_TOOL_OPTIONS into the new value", s.Where())
		}
	}
	for _, name := range []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS", "JBP_CONFIG_JAVA_OPTS"} {
		if option := ownArchive().FindString(env[name]); option != "" {
			notes.Warn("%s in %s: the launch adds a folder to the boot class path, so the JVM may not use or make "+
				"an archive of classes; with -Xshare:on it then does not start", option, name)
		}
	}
	return notes
}
