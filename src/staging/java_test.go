package staging

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

func tree(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

// looking is what is seen in an app's files.
func looking(app fs.FS) drivers.Look {
	files := seen.New(app, app, func(string, string) bool { return false })
	return drivers.Look{Signs: files.Signs(), Skipped: files.Skipped}
}

func configures(app fs.FS) string { return configuresTLS(app, looking(app)) }

func TestTheAppsFilesThatConfigureTheTLSOfPgjdbcAreFound(t *testing.T) {
	const says = "spring.datasource.url: jdbc:postgresql://h/d?ssl=true\n"
	for _, name := range []string{
		"application.properties", "config/application.yml", "config/prod/application.yaml", "BOOT-INF/classes/application.properties",
		"BOOT-INF/classes/config/application-cloud.YML", "WEB-INF/classes/db.xml", "context.xml",
	} {
		assert.Equal(t, name, configures(tree("a.txt", says, name, says)), name)
	}
	for _, name := range []string{"readme.md", "src/application.yml", "BOOT-INF/lib/application.yml", "config/data.json", "docs/db.properties"} {
		assert.Empty(t, configures(tree(name, says)), name)
	}
	assert.Empty(t, configures(tree("config/application.yml", "server:\n  ssl:\n    enabled: true\n")))

	const own = "BOOT-INF/classes/org/postgresql/driverconfig.properties"
	assert.Equal(t, own, configures(tree(own, "loggerLevel=OFF")), "whatever is in it")
	assert.Equal(t, "org/postgresql/driverconfig.properties", configures(tree("org/postgresql/driverconfig.properties", "")))
}

func TestAFileThatIsNotReadCountsAsConfiguringIt(t *testing.T) {
	assert.Equal(t, "config/big.xml (not read: it is larger than 2 MB)", configures(tree("config/big.xml", strings.Repeat("x", seen.MostOfFile+1))))
	assert.Empty(t, configures(tree("config/big.xml", "x")), "the control")

	many := tree()
	for i := range 10_001 {
		many[fmt.Sprintf("lib/%d", i)] = &fstest.MapFile{}
	}
	assert.Regexp(t, `^lib \(not read: it cannot be listed`, configures(many), "what is in a folder may be Java's")
	app := tree()
	for i := range 51 {
		app[fmt.Sprintf("config/%d.js", i)] = &fstest.MapFile{Data: []byte("module.exports = { dialect: 'postgres', ssl: false }")}
	}
	assert.Regexp(t, `^config/9\.js \(not read: enough has been read`, configures(app), "and what comes behind it")
}

func TestNoLinkIsFollowedOutOfTheAppAndNoPipeIsWaitedFor(t *testing.T) {
	outside, app := t.TempDir(), t.TempDir()
	says := []byte("db.sslmode=require")
	require.NoError(t, os.WriteFile(filepath.Join(outside, "a.yml"), says, 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(app, "config")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "a.yml"), filepath.Join(app, "a.yml")))
	require.NoError(t, os.Symlink("loop.yml", filepath.Join(app, "loop.yml")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(app, "pipe.yml"), 0o644))
	require.NoError(t, syscall.Mkfifo(filepath.Join(app, ".profile"), 0o644))
	fsys := func() fs.FS {
		root, err := os.OpenRoot(app)
		require.NoError(t, err)
		t.Cleanup(func() { root.Close() })
		return root.FS()
	}
	assert.Empty(t, configures(fsys()))
	assert.Empty(t, replaces(fsys()))

	require.NoError(t, os.WriteFile(filepath.Join(app, "b.yml"), says, 0o644))
	assert.Equal(t, "b.yml", configures(fsys()), "the control")
}

// replaces returns the scripts that replace Java's options.
func replaces(app fs.FS) (names []string) {
	for _, s := range looking(app).Signs {
		if s.Kind == seen.Undoes && s.Variable == "JAVA_TOOL_OPTIONS" {
			names = append(names, s.File)
		}
	}
	return names
}

func TestScriptsThatReplaceJavasOptionsAreFound(t *testing.T) {
	for script, found := range map[string]bool{
		"export JAVA_TOOL_OPTIONS=-Xmx1g": true, "JAVA_TOOL_OPTIONS='' java -jar a.jar": true, "\n  JAVA_TOOL_OPTIONS=$AGENT\n": true,
		"unset JAVA_TOOL_OPTIONS": true, "exec env -u JAVA_TOOL_OPTIONS java": true,
		`export JAVA_TOOL_OPTIONS="$JAVA_TOOL_OPTIONS -Xmx1g"`:     false,
		`export JAVA_TOOL_OPTIONS="-Xmx1g ${JAVA_TOOL_OPTIONS:-}"`: false,
		`JAVA_TOOL_OPTIONS+=" -Xmx1g"`:                             false,
		"# JAVA_TOOL_OPTIONS=-Xmx1g":                               false, "echo $JAVA_TOOL_OPTIONS": false, "export MY_JAVA_TOOL_OPTIONS=x": false, "JAVA_OPTS=-Xmx1g": false,
	} {
		for _, name := range []string{".profile", ".profile.d/agent.sh", "Procfile", "start.sh", "bin/run"} {
			var want []string
			if found {
				want = []string{name}
			}
			assert.Equal(t, want, replaces(tree(name, script)), "%s: %s", name, script)
		}
		assert.Empty(t, replaces(tree("docs/readme", script, "lib/a.sh", script)))
	}
}

func notesOn(app fs.FS, mode sslmode.Mode, env map[string]string) (notes, warnings []string) {
	s := javaNotes(app, looking(app).Signs, mode, env)
	return s.Lines, s.Warnings
}

func TestWhatTheOwnerOfAJavaAppIsTold(t *testing.T) {
	notes, warnings := notesOn(tree(), sslmode.VerifyFull, nil)
	assert.Len(t, notes, 2)
	assert.Contains(t, notes[1], "Java 8")
	assert.Empty(t, warnings)
	notes, _ = notesOn(tree(), sslmode.VerifyFull, map[string]string{"JBP_CONFIG_OPEN_JDK_JRE": "{ jre: { version: 21.+ } }"})
	assert.Len(t, notes, 1)

	_, warnings = notesOn(tree(), sslmode.VerifyCA, nil)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "verify-ca in Java")

	own := "WEB-INF/classes/" + driverConfig
	_, warnings = notesOn(tree(own, ""), sslmode.VerifyFull, nil)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], own+" is the app's own")

	_, warnings = notesOn(tree(".profile", "export JAVA_TOOL_OPTIONS=x"), sslmode.VerifyFull, nil)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], ".profile:1 replaces JAVA_TOOL_OPTIONS")

	for _, option := range []string{"-Xshare:on", "-XX:SharedArchiveFile=a.jsa", "-XX:AOTCache=a.aot", "-XX:AOTMode=on", "-XX:+AutoCreateSharedArchive"} {
		_, warnings = notesOn(tree(), sslmode.VerifyFull, map[string]string{"JAVA_OPTS": "-Dkey=s3cr3t " + option})
		require.Len(t, warnings, 1, option)
		assert.Contains(t, warnings[0], "in JAVA_OPTS: ")
		assert.NotContains(t, warnings[0], "s3cr3t")
	}
}
