package faults

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// payloads are texts that make the file %s if a shell ever runs them.
var payloads = []string{
	"$(touch %s)", "`touch %s`", "'; touch %s; '", "'$(touch %s)'", `"; touch %s; "`, "\n touch %s\n", "; touch %s #", "a | touch %s &",
	"'\ntouch %s\n'", "\\'; touch %s; \\'", "${x:-$(touch %s)}", "a[$(touch %s)]", "' || touch %s || '", "\x00; touch %s;", "\u2028touch %s", "EOF\ntouch %s\nEOF",
	"../../../../../../../../../../..%s", "%s", "-n -- $(>%s)", "$'\\x27; touch %s; \\x27'",
	"\xff'; touch %s; '\xfe", "\xe2\x28'; touch %s; '\xa1",
}

// canary is a file that must not appear. Its path has no slash, since a slash would end a host name
// or a file name. So a payload makes it in the current folder of the app's shell.
const canary = "canary-that-must-not-be"

func hostile(payload string) string { return strings.ReplaceAll(payload, "%s", canary) }

// newFiles returns the paths below dir that are not in before.
func newFiles(t *testing.T, dir string, before map[string]string) []string {
	t.Helper()
	now := tree(t, dir, stamps)
	maps.DeleteFunc(now, func(path, text string) bool { return before[path] == text })
	return slices.Sorted(maps.Keys(now))
}

// assertOnlyOurs checks that a launch wrote only what it should, and that no payload ran.
func assertOnlyOurs(t *testing.T, c container, before map[string]string, about string) {
	t.Helper()
	for _, path := range newFiles(t, filepath.Dir(filepath.Dir(c.vcap)), before) {
		rel := strings.TrimPrefix(path, "home/vcap/")
		assert.Regexp(t, `^(\.|home/vcap|\.postgres-ssl(/(root|client|own|java)-[0-9a-f]{32}(\.(pem|crt|key|pk8)|(/[0-9a-f]{8}\.0|/org(/postgresql(/driverconfig\.properties)?)?)?))?|\.postgresql(/root\.crt)?)$`, rel, about)
	}
	_, err := os.Lstat(filepath.Join("/", canary))
	assert.ErrorIs(t, err, os.ErrNotExist, about)
}

func TestABindingCannotMakeTheLaunchScriptRunAnything(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	before := tree(t, filepath.Dir(filepath.Dir(c.vcap)), stamps)
	ca := string(pgtest.NewCA(t, "$(touch "+canary+")").PEM)
	for _, raw := range payloads {
		payload := hostile(raw)
		// The payload is in each field that decides nothing, and in the keys of the credentials.
		everywhere := map[string]any{
			"name": payload, "instance_name": payload, "binding_name": payload, "label": payload, "tags": []string{payload, "postgresql"}, "plan": payload, payload: payload,
			"credentials": map[string]any{
				"uri": "postgres://" + payload + ":" + payload + "@db.abc.us-west-2.rds.amazonaws.com/" + payload + "?sslmode=verify-ca", "sslrootcert": payload + "\n" + ca,
				"username": payload, "password": payload, "dbname": payload, "port": payload, "hostname": payload, "replica_host": payload, "host": payload, payload: payload,
			},
		}
		l := c.launch(t, services(t, everywhere))
		if assert.NotNil(t, l.env, "%q: %s", raw, l.stderr) {
			assert.Equal(t, "verify-ca", l.env["PGSSLMODE"])
			assert.NotContains(t, strings.Join(slices.Collect(maps.Values(c.given(l))), "\n"), payload)
		}
		assertOnlyOurs(t, c, before, "everywhere: "+raw)
		c.forget(t)

		// It is in a field that decides: the app does not start, and the log says so in one line.
		for field, credentials := range map[string]map[string]any{
			"sslmode":       {"uri": "postgres://h/d", "sslmode": payload},
			"query":         {"uri": "postgres://h/d?sslmode=" + payload},
			"sslrootcert":   {"uri": "postgres://h/d", "sslrootcert": payload},
			"a key for it":  {"uri": "postgres://h/d", "sslkey": payload},
			"host and mode": {"hostname": payload, "sslmode": payload, "uri": "postgres://"},
		} {
			l := c.launch(t, services(t, map[string]any{"name": payload, "credentials": credentials}))
			if l.env == nil {
				assert.Equal(t, 1, strings.Count(l.stderr, "\n"), "%s: %q", field, l.stderr)
			} else {
				assert.NotContains(t, c.given(l), "PGSSLMODE", "%s: %q", field, raw)
			}
			assertOnlyOurs(t, c, before, field+": "+raw)
			c.forget(t)
		}

		// It is in mounted files and in a path. Some payloads cannot be a file's name.
		if strings.ContainsAny(payload, "/\x00") {
			continue
		}
		root := filepath.Join(t.TempDir(), "bindings "+payload)
		for file, content := range map[string]string{"type": "postgresql", "host": "db.abc.us-west-2.rds.amazonaws.com", "sslmode": "verify-ca", payload: payload} {
			path := filepath.Join(root, payload, file)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		}
		l = c.launch(t, "SERVICE_BINDING_ROOT="+root)
		if assert.NotNil(t, l.env, "%q: %s", raw, l.stderr) {
			assert.Equal(t, "verify-ca", l.env["PGSSLMODE"], raw)
		}
		assert.Nil(t, c.launch(t, "VCAP_SERVICES_FILE_PATH="+root).env)
		assertOnlyOurs(t, c, before, "mounted: "+raw)
		c.forget(t)
	}
}

// The app owner's variables pass through the launch script too.
func TestNeitherCanAVariableOfTheAppsOwner(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	require.NoError(t, os.MkdirAll(c.path("app/erts-15/bin"), 0o755))
	require.NoError(t, os.WriteFile(c.path("app/erts-15/bin/erlexec"), nil, 0o755)) // for ERL_AFLAGS
	require.NoError(t, os.WriteFile(c.path("app/shop.jar"), nil, 0o644))            // for JAVA_TOOL_OPTIONS
	binding := ownServices(t)
	before := tree(t, filepath.Dir(filepath.Dir(c.vcap)), stamps)
	for _, raw := range payloads {
		payload := strings.ReplaceAll(hostile(raw), "\x00", "")
		l := c.launch(t, binding, "SSL_CERT_DIR="+payload, "CF_SYSTEM_CERT_PATH="+payload, "ERL_AFLAGS="+payload, "PATH=/usr/bin:/bin:"+payload,
			"PGSSLCERT="+payload, "PGSSLKEY="+payload, "PGSSL="+payload, "CF_CA_CERTS="+payload, "JAVA_TOOL_OPTIONS="+payload, "NODE_EXTRA_CA_CERTS="+payload)
		if assert.NotNil(t, l.env, "%q: %s", raw, l.stderr) {
			assert.True(t, strings.HasPrefix(l.env["SSL_CERT_DIR"], payload+":"), raw)
			assert.True(t, strings.HasSuffix(l.env["ERL_AFLAGS"], " -- "+payload), raw)
			assert.Equal(t, payload, l.env["NODE_EXTRA_CA_CERTS"])
			assert.Equal(t, payload, l.env["PGSSL"])
			assert.Equal(t, payload, l.env["CF_CA_CERTS"])
		}
		assertOnlyOurs(t, c, before, raw)
		c.forget(t)
		for _, name := range []string{"POSTGRES_SSL_MODE", "POSTGRES_SSL_SERVICE"} {
			l := c.launch(t, binding, name+"="+payload)
			assert.Nil(t, l.env)
			assert.Equal(t, 1, strings.Count(l.stderr, "\n"), "%q", l.stderr)
			assertOnlyOurs(t, c, before, name+": "+raw)
		}
	}
}

// So does the container's own path: scripts and programs are found by it.
func TestNeitherCanAPath(t *testing.T) {
	t.Parallel()
	binding := ownServices(t)
	for _, raw := range payloads {
		if payload := hostile(raw); !strings.ContainsAny(payload, "/\x00") {
			c := newContainer(t, smallBuildpack(t))
			c.vcap = filepath.Join(c.vcap, "it's "+payload)
			c.clear(t)
			c.mustStage(t, binding)
			before := tree(t, filepath.Dir(filepath.Dir(c.vcap)), stamps)
			l := c.launch(t, binding)
			if assert.NotNil(t, l.env, "%q: %s", raw, l.stderr) {
				assert.Equal(t, "verify-ca", l.env["PGSSLMODE"])
				assert.FileExists(t, l.env["PGSSLROOTCERT"])
			}
			for _, path := range newFiles(t, filepath.Dir(filepath.Dir(c.vcap)), before) {
				assert.NotEqual(t, canary, filepath.Base(path), raw)
			}
		}
	}
}

// This is the control of the tests above. A program prints the same lines and does not quote. The
// same check then finds that the same payloads ran.
func TestTheCanaryIsSeenWhereAScriptDoesNotQuote(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	careless := "#!/bin/sh\nprintf 'export SSL_CERT_DIR=%s\\n' \"$SSL_CERT_DIR\"\n"
	require.NoError(t, os.WriteFile(c.path("deps/0/bin/postgres-ssl"), []byte(careless), 0o755))
	before := tree(t, filepath.Dir(filepath.Dir(c.vcap)), stamps)
	caught := 0
	for _, raw := range payloads {
		c.launch(t, "SSL_CERT_DIR="+strings.ReplaceAll(hostile(raw), "\x00", ""))
		if slices.Contains(newFiles(t, filepath.Dir(filepath.Dir(c.vcap)), before), "home/vcap/app/"+canary) {
			caught++
			require.NoError(t, os.Remove(c.path("app", canary)))
		}
	}
	assert.Greater(t, caught, len(payloads)/2, "payloads that were run")
}

// A launch changes none of the app's commands: our folder comes last in PATH, and has one
// program.
func TestNoCommandIsShadowed(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	entries, err := os.ReadDir(c.path("deps/0/bin"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "postgres-ssl", entries[0].Name())

	// If the app has a program of that name, it runs its own. Remove libbuildpack's script first:
	// it is not ours, and puts the folders of all buildpacks in front.
	require.NoError(t, os.Remove(c.path("profile.d/000_multi-supply.sh")))
	own := filepath.Join(t.TempDir(), "bin")
	require.NoError(t, os.Mkdir(own, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(own, "postgres-ssl"), []byte("#!/bin/sh\n"), 0o755))
	for _, binding := range []string{rdsServices(t), ownServices(t), "VCAP_SERVICES={}"} {
		path := own + ":/usr/bin:/bin"
		assert.Equal(t, path+":"+c.path("deps/0/bin")+"/.", c.launch(t, binding, "PATH="+path).env["PATH"])
		c.forget(t)
	}
}

// the_apps_own_files.txtar plants links in the place of folders and of the launch script. Here they
// are in the place of the single files that a launch writes.
func TestAPlantedLinkIsNotFollowedAtLaunch(t *testing.T) {
	t.Parallel()
	binding := ownServices(t)
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	require.NoError(t, os.WriteFile(c.path("app/shop.jar"), nil, 0o644)) // a JVM gets root.crt
	whole := c.launch(t, binding)
	require.NotNil(t, whole.env, whole.stderr)
	outside := t.TempDir()
	names := []string{"PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"}
	for _, target := range []string{"missing", "file", "folder"} {
		t.Run(target, func(t *testing.T) {
			c.forget(t)
			require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), []byte("theirs"), 0o644))
			require.NoError(t, os.MkdirAll(filepath.Join(outside, "folder"), 0o755))
			before := tree(t, outside, stamps)
			require.NoError(t, os.Mkdir(c.path(".postgres-ssl"), 0o700))
			require.NoError(t, os.Mkdir(c.path(".postgresql"), 0o700))
			for _, name := range names {
				require.NoError(t, os.Symlink(filepath.Join(outside, target), whole.env[name]))
			}
			require.NoError(t, os.Symlink(filepath.Join(outside, target), c.path(".postgresql/root.crt")))
			l := c.launch(t, binding)
			require.NotNil(t, l.env, l.stderr)
			assert.Equal(t, whole.env, l.env)
			assert.Equal(t, before, tree(t, outside, stamps), "nothing outside has changed")
			for _, name := range names {
				info, err := os.Lstat(whole.env[name])
				require.NoError(t, err)
				assert.True(t, info.Mode().IsRegular(), "%s is the launch's own file, not the link", name)
			}
			link, err := os.Readlink(c.path(".postgresql/root.crt"))
			require.NoError(t, err)
			assert.Equal(t, filepath.Join(outside, target), link, "the app's own link stays")
			c.assertNothingUnfinished(t)
		})
	}
}

// A service's name may look like a path. The launch names files by their hash.
func TestABindingWritesNowhereElse(t *testing.T) {
	t.Parallel()
	c := newContainer(t, smallBuildpack(t))
	c.mustStage(t)
	outer := filepath.Dir(filepath.Dir(c.vcap))
	before := tree(t, outer, stamps)
	ca := string(pgtest.NewCA(t, "../../"+canary).PEM)
	for _, name := range []string{"../../" + canary, "/" + canary, c.path("app", canary), "..", ".", "~/" + canary, "a/../../" + canary} {
		l := c.launch(t, services(t, map[string]any{"name": name, "label": name, "credentials": map[string]any{
			"uri": fmt.Sprintf("postgres://%s.us-west-2.rds.amazonaws.com/d?sslmode=verify-full", name), "host": name, "sslrootcert": ca, "region": name}}))
		require.NotNil(t, l.env, l.stderr)
		assertOnlyOurs(t, c, before, name)
		c.forget(t)
	}
}
