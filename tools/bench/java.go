package main

import (
	"os"
	"path/filepath"
	"strings"
)

// java measures what Java costs: the extra files at a launch, and the folder on the boot class path
// at each start of a JVM. The JVM loads pgjdbc, finds no server, and ends.
func (b *bench) java() {
	services := b.fixture("cups-rds.json")
	d, without := b.newDroplet("java"), b.newDroplet("no-java")
	output(command{argv: d.supply(), env: d.env()})
	output(command{argv: without.supply(), env: without.env()})
	write(filepath.Join(d.app(), "app.jar"), "")
	with := command{argv: d.launch(), env: append(d.env(), services), before: d.forget}
	region := command{argv: without.launch(), env: append(without.env(), services), before: without.forget}
	const launches = 150
	t := times(launches, region, with)
	b.add("launch of an app with Java, RDS of a known region: what it adds", "+ "+ms(t[1].minus(t[0]).median()),
		"without Java "+ms(t[0].median()), ratio(t[1].median(), t[0].median()), "< 1 ms", launches)

	output(with)
	config, err := filepath.Glob(filepath.Join(d.vcap, ".postgres-ssl/java-*"))
	check(err)
	classes := filepath.Join(b.work, "classes")
	write(filepath.Join(classes, "Start.java"), `
public class Start {
    public static void main(String[] args) {
        try {
            java.sql.DriverManager.getConnection("jdbc:postgresql://127.0.0.1:1/d", "u", "p");
        } catch (java.sql.SQLException refused) {
        }
    }
}`)
	output(command{argv: []string{"javac", "--release", "11", "-d", classes, filepath.Join(classes, "Start.java")}})
	jdks, err := filepath.Glob("/usr/lib/jvm/*/bin/java")
	check(err)
	seen := map[string]bool{}
	for _, jdk := range jdks {
		path, err := filepath.EvalSymlinks(jdk)
		check(err)
		if seen[path] {
			continue
		}
		seen[path] = true
		release, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "release"))
		check(err)
		_, version, _ := strings.Cut(string(release), `JAVA_VERSION="`)
		version, _, _ = strings.Cut(version, `"`)
		start := command{argv: []string{path, "-cp", classes + ":/usr/share/java/postgresql.jar", "Start"}}
		told := start
		told.env = []string{"JAVA_TOOL_OPTIONS=-Xbootclasspath/a:" + config[0]}
		const starts = 40
		t := times(starts, start, told)
		b.add("start of a JVM "+version+" with pgjdbc's defaults on its boot class path", ms(t[1].median()), "without "+ms(t[0].median()),
			ratio(t[1].median(), t[0].median()), "", starts)
	}
}
