package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadme stages Stratos with the service that the README creates. It looks for the log that the
// README shows.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	readme := string(text)
	assert.LessOrEqual(t, strings.Count(readme, "\n"), 110, "two minutes")

	service := regexp.MustCompile(`(?m)^cf cups (\S+) -p '(.+)'$`).FindStringSubmatch(readme)
	require.NotNil(t, service)
	app, deps := t.TempDir(), t.TempDir()
	require.NoError(t, os.CopyFS(app, os.DirFS(filepath.Join(root, "fixtures", "stratos"))))
	t.Setenv("BUILDPACK_DIR", root)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("VCAP_SERVICES", fmt.Sprintf(`{"user-provided":[{"name":%q,"credentials":%s}]}`, service[1], service[2]))
	var log bytes.Buffer
	require.Zero(t, run([]string{"supply", app, t.TempDir(), deps, "0"}, strings.NewReader(""), &log, io.Discard), &log)

	_, shown, found := strings.Cut(readme, "\n```\n-----> ")
	require.True(t, found)
	shown, _, _ = strings.Cut("-----> "+shown, "\n```\n")
	rest := log.String()
	for _, part := range strings.Split(shown, "       …\n") {
		_, after, found := strings.Cut(rest, strings.TrimSuffix(part, "\n")+"\n")
		require.True(t, found, "README.md shows\n%s\nand the log is\n%s", part, &log)
		rest = after
	}

	try := regexp.MustCompile(`(?m)^(\S+) --services (\S+) (\S+)$`).FindStringSubmatch(readme)
	require.NotNil(t, try)
	assert.FileExists(t, filepath.Join(root, try[1]))
	assert.FileExists(t, filepath.Join(root, try[2]))
	assert.DirExists(t, filepath.Join(root, try[3]))
}
