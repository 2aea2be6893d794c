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

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

func tree(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

func TestTheAppsFilesThatConfigureTheTLSOfPgjdbcAreFound(t *testing.T) {
	const says = "spring.datasource.url: jdbc:postgresql://h/d?ssl=true\n"
	for _, name := range []string{
		"application.properties", "config/application.yml", "config/prod/application.yaml", "BOOT-INF/classes/application.properties",
		"BOOT-INF/classes/config/application-cloud.YML", "WEB-INF/classes/db.xml", "context.xml",
	} {
		assert.Equal(t, name, configuresTLS(tree("a.txt", says, name, says)), name)
	}
	for _, name := range []string{"readme.md", "src/application.yml", "BOOT-INF/lib/application.yml", "config/data.json", "lib/x/db.properties"} {
		assert.Empty(t, configuresTLS(tree(name, says)), name)
	}
	assert.Empty(t, configuresTLS(tree("config/application.yml", "server:\n  ssl:\n    enabled: true\n")))

	const own = "BOOT-INF/classes/org/postgresql/driverconfig.properties"
	assert.Equal(t, own, configuresTLS(tree(own, "loggerLevel=OFF")), "whatever it holds")
	assert.Equal(t, "org/postgresql/driverconfig.properties", configuresTLS(tree("org/postgresql/driverconfig.properties", "")))
}

func TestAnAppThatHoldsMoreThanWeReadCountsAsConfiguringIt(t *testing.T) {
	assert.Equal(t, "config/big.xml (one more than staging reads)", configuresTLS(tree("config/big.xml", strings.Repeat("x", maxTextBytes+1))))
	many := fstest.MapFS{}
	for i := range maxTexts {
		many[fmt.Sprintf("config/%05d.yml", i)] = &fstest.MapFile{}
	}
	assert.Empty(t, configuresTLS(many))
	many["config/last.yml"] = &fstest.MapFile{}
	assert.Equal(t, "config/last.yml (one more than staging reads)", configuresTLS(many))
}

func TestNoLinkIsFollowedOutOfTheAppAndNoPipeIsWaitedFor(t *testing.T) {
	outside, app := t.TempDir(), t.TempDir()
	says := []byte("sslmode=require")
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
	assert.Empty(t, configuresTLS(fsys()))
	assert.Empty(t, replacesOptions(fsys()))

	require.NoError(t, os.WriteFile(filepath.Join(app, "b.yml"), says, 0o644))
	assert.Equal(t, "b.yml", configuresTLS(fsys()), "the control")
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
			assert.Equal(t, want, replacesOptions(tree(name, script)), "%s: %s", name, script)
		}
		assert.Empty(t, replacesOptions(tree("docs/readme", script, "lib/a.sh", script)))
	}
}

func TestWhatTheOwnerOfAJavaAppIsTold(t *testing.T) {
	notes, warnings := javaNotes(tree(), sslmode.VerifyFull, nil)
	assert.Len(t, notes, 2)
	assert.Contains(t, notes[1], "Java 8")
	assert.Empty(t, warnings)
	notes, _ = javaNotes(tree(), sslmode.VerifyFull, map[string]string{"JBP_CONFIG_OPEN_JDK_JRE": "{ jre: { version: 21.+ } }"})
	assert.Len(t, notes, 1)

	_, warnings = javaNotes(tree(), sslmode.VerifyCA, nil)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "verify-ca in Java")

	own := "WEB-INF/classes/" + driverConfig
	_, warnings = javaNotes(tree(own, ""), sslmode.VerifyFull, nil)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], own+" is the app's own")

	_, warnings = javaNotes(tree(".profile", "export JAVA_TOOL_OPTIONS=x"), sslmode.VerifyFull, nil)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], ".profile replaces JAVA_TOOL_OPTIONS")

	for _, option := range []string{"-Xshare:on", "-XX:SharedArchiveFile=a.jsa", "-XX:AOTCache=a.aot", "-XX:AOTMode=on", "-XX:+AutoCreateSharedArchive"} {
		_, warnings = javaNotes(tree(), sslmode.VerifyFull, map[string]string{"JAVA_OPTS": "-Dkey=s3cr3t " + option})
		require.Len(t, warnings, 1, option)
		assert.Contains(t, warnings[0], "in JAVA_OPTS: ")
		assert.NotContains(t, warnings[0], "s3cr3t")
	}
}
