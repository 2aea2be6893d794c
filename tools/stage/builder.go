// Staging: what Diego's builder does with an app and its buildpacks (buildpackapplifecycle,
// buildpackrunner/runner.go).

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"gopkg.in/yaml.v2"
)

// The builder's messages (buildpackapplifecycle, models.go).
const (
	supplyFailed    = "Failed to run all supply scripts"
	finalizeFailed  = "Failed to run finalize script"
	compileFailed   = "Failed to compile droplet"
	releaseFailed   = "Failed to build droplet release"
	procfileFailed  = "Failed to read command from Procfile"
	compressFailed  = "Failed to compress droplet filesystem"
	missingFinalize = "Warning: the last buildpack is not compatible with multi-buildpack apps and cannot make use of any " +
		"dependencies supplied by the buildpacks specified before it"
	noStartCommand = "No start command specified by buildpack or via Procfile.\n" +
		"App will not start unless a command is provided at runtime."
)

type builder struct {
	buildpacks  []string // their folders, in order; the last is the final buildpack
	env         environ
	log, stderr io.Writer

	dir                                     string // one staging's files, at a random path
	buildDir, depsDir, profileDir, cacheDir string
}

// build stages the app and packs the droplet. It removes everything else, so that no droplet can
// depend on it.
func (b builder) build(ctx context.Context, app, droplet string) (err error) {
	if b.dir, err = os.MkdirTemp("", "staging-"); err != nil {
		return err
	}
	defer removeAll(b.dir)
	contents := filepath.Join(b.dir, "contents")
	b.buildDir, b.depsDir = filepath.Join(contents, "app"), filepath.Join(contents, "deps")
	b.profileDir, b.cacheDir = filepath.Join(contents, "profile.d"), filepath.Join(b.dir, "cache")
	downloads := filepath.Join(b.dir, "buildpackdownloads")
	b.env["TMPDIR"] = filepath.Join(b.dir, "tmp") // the platform's containers have a /tmp of their own
	dirs := []string{downloads, b.env["TMPDIR"], b.buildDir, b.profileDir, filepath.Join(contents, "tmp"), filepath.Join(contents, "logs")}
	for i := range b.buildpacks {
		dirs = append(dirs, filepath.Join(b.depsDir, strconv.Itoa(i)), filepath.Join(b.cacheDir, strconv.Itoa(i)))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for i, buildpack := range b.buildpacks {
		b.buildpacks[i] = filepath.Join(downloads, strconv.Itoa(i))
		if err := os.Symlink(buildpack, b.buildpacks[i]); err != nil {
			return err
		}
	}
	if err := b.run(ctx, b.log, "cp", "-a", app+"/.", b.buildDir); err != nil {
		return fmt.Errorf("stage.sh: cannot copy APP_DIR %s: %w", app, err)
	}
	// cf push does not upload .git.
	if err := os.RemoveAll(filepath.Join(b.buildDir, ".git")); err != nil {
		return err
	}

	last := len(b.buildpacks) - 1
	for i := range last {
		if err := b.supply(ctx, i); err != nil {
			return err
		}
	}
	if err := b.finalize(ctx, last); err != nil {
		return fmt.Errorf("%s: %w", compileFailed, err)
	}
	start, err := b.startCommand(ctx, b.buildpacks[last])
	if err != nil {
		return err
	}
	if start == "" {
		fmt.Fprintln(b.stderr, noStartCommand)
	} else {
		fmt.Fprintln(b.log, "-----> Start command:", start)
	}
	info, err := json.Marshal(map[string]string{"detected_buildpack": "", "start_command": start})
	if err == nil {
		err = os.WriteFile(filepath.Join(contents, "staging_info.yml"), info, 0o644)
	}
	if err != nil {
		return err
	}
	// The droplet is unpacked once, and right away: compressing it would take a third of a staging.
	if err := b.run(ctx, b.log, "tar", "-cf", droplet, "-C", contents, "."); err != nil {
		return fmt.Errorf("%s: %w", compressFailed, err)
	}
	return nil
}

// supply runs bin/supply of the i-th buildpack.
func (b builder) supply(ctx context.Context, i int) error {
	idx := strconv.Itoa(i)
	if err := b.run(ctx, b.log, b.bin(i, "supply"), b.buildDir, filepath.Join(b.cacheDir, idx), b.depsDir, idx); err != nil {
		return fmt.Errorf("%s: %w", supplyFailed, err)
	}
	return nil
}

// finalize runs the final buildpack, the i-th, as runner.go's runFinalize does.
func (b builder) finalize(ctx context.Context, i int) error {
	idx := strconv.Itoa(i)
	cacheDir := filepath.Join(b.cacheDir, idx)
	if !exists(b.bin(i, "finalize")) {
		if i > 0 {
			fmt.Fprintln(b.stderr, missingFinalize)
		}
		if err := os.RemoveAll(filepath.Join(b.depsDir, idx)); err != nil {
			return err
		}
		return b.run(ctx, b.log, b.bin(i, "compile"), b.buildDir, cacheDir)
	}
	if exists(b.bin(i, "supply")) {
		if err := b.supply(ctx, i); err != nil {
			return err
		}
	}
	if err := b.run(ctx, b.log, b.bin(i, "finalize"), b.buildDir, cacheDir, b.depsDir, idx, b.profileDir); err != nil {
		return fmt.Errorf("%s: %w", finalizeFailed, err)
	}
	return nil
}

// startCommand returns the start command of the process type web. It comes from bin/release, and a
// Procfile overrides it. The builder also reads a launch.yml, if there is one, instead of
// bin/release. We leave that out, because this buildpack writes none.
func (b builder) startCommand(ctx context.Context, buildpack string) (string, error) {
	var output bytes.Buffer
	if err := b.run(ctx, &output, filepath.Join(buildpack, "bin", "release"), b.buildDir); err != nil {
		return "", fmt.Errorf("%s: %w", releaseFailed, err)
	}
	var release struct {
		ProcessTypes map[string]string `yaml:"default_process_types"`
	}
	if err := yaml.Unmarshal(output.Bytes(), &release); err != nil {
		return "", fmt.Errorf("%s: buildpack's release output invalid: %w", releaseFailed, err)
	}
	start := release.ProcessTypes["web"]
	content, err := os.ReadFile(filepath.Join(b.buildDir, "Procfile"))
	if errors.Is(err, os.ErrNotExist) {
		return start, nil
	}
	procfile := map[string]string{"web": start}
	if err == nil {
		err = yaml.Unmarshal(content, &procfile)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", procfileFailed, err)
	}
	return procfile["web"], nil
}

func (b builder) bin(i int, script string) string {
	return filepath.Join(b.buildpacks[i], "bin", script)
}

// run runs a program in the staging's folder, so that nothing can depend on the caller's.
func (b builder) run(ctx context.Context, stdout io.Writer, name string, args ...string) error {
	cmd := command(ctx, name, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = b.env.list(), b.dir, stdout, b.stderr
	return cmd.Run()
}

// command returns an exec.Cmd that ends, with its children, when ctx ends.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
