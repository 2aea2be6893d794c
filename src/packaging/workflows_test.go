package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v2"
)

type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Steps       []struct{ Name, Uses, Run string }
	}
}

func readWorkflow(t *testing.T, path string) workflow {
	t.Helper()
	var w workflow
	require.NoError(t, yaml.Unmarshal([]byte(read(t, path)), &w), path)
	return w
}

// A tag of somebody else's action can be moved to other code; a commit cannot. Only the jobs that
// write something may.
func TestWorkflowsPinTheirActionsAndMayOnlyRead(t *testing.T) {
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	require.Len(t, files, 4)
	writing := map[string]map[string]string{
		"certificates": {"contents": "write", "pull-requests": "write"},
		"publish":      {"contents": "write", "id-token": "write", "attestations": "write"},
	}
	for _, file := range files {
		w := readWorkflow(t, file)
		assert.Equal(t, map[string]string{"contents": "read"}, w.Permissions, file)
		for name, job := range w.Jobs {
			assert.Equal(t, writing[name], job.Permissions, "%s: %s", file, name)
			for _, step := range job.Steps {
				if step.Uses != "" {
					assert.Regexp(t, `^actions/(checkout|setup-go|upload-artifact|download-artifact|attest)@[0-9a-f]{40}$`, step.Uses, file)
				}
			}
		}
	}
}

// The job that may publish checks nothing out and builds nothing: what it publishes has come from the
// job before, and it attests that first.
func TestWhatIsPublishedIsAttestedAndBuiltElsewhere(t *testing.T) {
	jobs := readWorkflow(t, "../../.github/workflows/release.yml").Jobs
	var uses []string
	for _, step := range jobs["publish"].Steps {
		action, _, _ := strings.Cut(step.Uses, "@")
		uses = append(uses, strings.TrimSpace(action+" "+strings.Join(strings.Fields(step.Run)[:min(3, len(strings.Fields(step.Run)))], " ")))
	}
	assert.Equal(t, []string{"actions/download-artifact", "actions/attest", "gh release create"}, uses)
	assert.Contains(t, read(t, "../../SECURITY.md"), "gh attestation verify ")
}

// The step itself, with a real git, and a gh that writes down what it is asked for.
func TestRenewedCertificatesAreProposedOnce(t *testing.T) {
	run := ""
	for _, step := range readWorkflow(t, "../../.github/workflows/weekly.yml").Jobs["certificates"].Steps {
		if step.Name == "Propose" {
			run = step.Run
		}
	}
	require.NotEmpty(t, run)
	dir := t.TempDir()
	checkout, asked := filepath.Join(dir, "checkout"), filepath.Join(dir, "asked")
	write(t, filepath.Join(checkout, "ca", "aws.pem"), "old\n", 0o644)
	write(t, filepath.Join(dir, "renewal"), "Renew the RDS certificates: 1 added, 0 removed\n\nAdded: one\n", 0o644)
	write(t, filepath.Join(dir, "bin", "gh"), "#!/bin/bash\necho \"$*\" >>"+asked+"\nif [[ $2 == list ]]; then echo \"$OPEN\"; fi\n", 0o755)
	env := []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir, "RUNNER_TEMP=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	bash := func(script string, more ...string) string {
		t.Helper()
		r := execute(t, checkout, append(env, more...), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
		require.Equal(t, 0, r.status, r.out+r.err)
		return r.out
	}
	bash(`git init -qb main && git init -q --bare ../remote && git remote add origin ../remote
		git add . && git -c user.name=n -c user.email=e commit -qm first && git push -q origin main`)

	// Nothing was renewed.
	write(t, filepath.Join(checkout, "left-over"), "", 0o644)
	bash(run)
	assert.NoFileExists(t, asked)
	assert.Equal(t, "main\n", bash("git -C ../remote branch --format='%(refname:short)'"))

	// One file was, and another is new.
	write(t, filepath.Join(checkout, "ca", "aws.pem"), "new\n", 0o644)
	write(t, filepath.Join(checkout, "ca", "aws-cn.pem"), "new\n", 0o644)
	bash(run, "OPEN=0")
	assert.Equal(t, "auth setup-git\npr list --head renew-rds-ca --json number --jq length\npr create --head renew-rds-ca --fill\n", read(t, asked))
	assert.Equal(t, "Renew the RDS certificates: 1 added, 0 removed\n\nAdded: one\n\n\nca/aws-cn.pem\nca/aws.pem\n",
		bash("git -C ../remote log -1 --format=%B --name-only renew-rds-ca"))

	// A week later the pull request is still open, and gets what is new.
	bash("git switch -q main")
	write(t, filepath.Join(checkout, "ca", "aws.pem"), "newer\n", 0o644)
	require.NoError(t, os.Remove(asked))
	bash(run, "OPEN=1")
	assert.NotContains(t, read(t, asked), "pr create")
	assert.Equal(t, "newer\n", bash("git -C ../remote show renew-rds-ca:ca/aws.pem"))
	assert.Equal(t, "2\n", bash("git -C ../remote rev-list --count renew-rds-ca"), "on top of main alone")
}
