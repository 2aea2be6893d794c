package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// drivers measures what the search for Postgres drivers adds to a staging. It runs the same command
// in an empty app, and in one with 50,000 files in node_modules and each package manager's lock
// file, or none.
func (b *bench) drivers() {
	d := b.newDroplet("drivers")
	output(command{argv: d.supply(), env: d.env()})
	look := func(app string) command {
		return command{argv: []string{filepath.Join(d.vcap, "deps/0/bin/postgres-ssl"), "drivers", app}, env: append(d.env(), b.fixture("cups-rds.json"))}
	}
	const packages, filesOfEach = 1500, 34 // about 50,000 files, as in a real app
	installed := filepath.Join(b.work, "node-app")
	write(filepath.Join(installed, "package.json"), `{"dependencies": {"slonik": "^47.0.0", "package-7": "^1.0.0"}}`)
	for p := range packages {
		dir := filepath.Join(installed, "node_modules", fmt.Sprintf("package-%d", p))
		write(filepath.Join(dir, "package.json"), fmt.Sprintf(`{"name": "package-%d", "version": "1.0.%d"}`, p, p))
		for f := range filesOfEach - 1 {
			write(filepath.Join(dir, fmt.Sprintf("file-%d.js", f)), "")
		}
	}
	write(filepath.Join(installed, "node_modules/slonik/package.json"), `{"name": "slonik", "version": "47.3.0"}`)

	// For each lock file, there is another folder with the same files.
	integrity := "sha512-" + strings.Repeat("A", 86) + "=="
	var npm, yarn, pnpm, snapshots strings.Builder
	npm.WriteString(`{"lockfileVersion": 3, "packages": {"": {"dependencies": {"slonik": "^47.0.0"}}`)
	yarn.WriteString("# yarn lockfile v1\n\n")
	pnpm.WriteString("lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      slonik:\n        specifier: ^47.0.0\n        version: 47.3.0\n\npackages:\n\n")
	for p := range packages {
		name, version := fmt.Sprintf("package-%d", p), fmt.Sprintf("1.0.%d", p)
		if p == packages/2 {
			name, version = "slonik", "47.3.0"
		}
		needs := fmt.Sprintf("package-%d", (p+1)%packages)
		fmt.Fprintf(&npm, ",\n    \"node_modules/%s\": {\n      \"version\": %q,\n      \"integrity\": %q,\n      \"license\": \"MIT\",\n      \"dependencies\": {\n        %q: \"^1.0.0\"\n      }\n    }",
			name, version, integrity, needs)
		fmt.Fprintf(&yarn, "%s@^%s:\n  version %q\n  integrity %s\n  dependencies:\n    %s \"^1.0.0\"\n\n", name, version, version, integrity, needs)
		fmt.Fprintf(&pnpm, "  %s@%s:\n    resolution: {integrity: %s}\n    engines: {node: '>= 16.0.0'}\n\n", name, version, integrity)
		fmt.Fprintf(&snapshots, "  %s@%s:\n    dependencies:\n      %s: 1.0.0\n\n", name, version, needs)
	}
	npm.WriteString("}}\n")
	pnpm.WriteString("snapshots:\n\n" + snapshots.String())
	cases := []struct{ what, lock, text string }{
		{"`package-lock.json`", "package-lock.json", npm.String()},
		{"`yarn.lock`", "yarn.lock", yarn.String()},
		{"`pnpm-lock.yaml`", "pnpm-lock.yaml", pnpm.String()},
		{"no lock file", "", ""},
	}
	commands := []command{look(filepath.Join(b.work, "no-app"))}
	write(filepath.Join(b.work, "no-app/index.html"), "")
	for i, c := range cases {
		app := installed
		if c.lock != "" {
			app = filepath.Join(b.work, fmt.Sprintf("node-app-%d", i))
			output(command{argv: []string{"cp", "-al", installed, app}})
			write(filepath.Join(app, c.lock), c.text)
		}
		commands = append(commands, look(app))
		if said := string(output(commands[i+1])); !strings.Contains(said, "slonik 47.3.0") {
			check(fmt.Errorf("%s: slonik was not found:\n%s", c.what, said))
		}
	}
	const runs = 30
	t := times(runs, commands...)
	for i, c := range cases {
		what := fmt.Sprintf("looking for drivers among %d files in `node_modules`, %s", packages*filesOfEach+1, c.what)
		if i > 0 {
			what = "… " + c.what
		}
		b.add(what, "+ "+ms(t[i+1].minus(t[0]).median()), "an app with none "+ms(t[0].median()), ratio(t[i+1].median(), t[0].median()), "< 50 ms", runs)
	}
	b.add("… memory with `pnpm-lock.yaml`, peak RSS", mb(b.memory(commands[3])), "an app with none "+mb(b.memory(commands[0])), "", "", memoryRuns)
}
