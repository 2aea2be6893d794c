// Command bench measures what staging and launch cost, compares each with something else, and
// prints a Markdown table. scripts/bench.sh builds what it needs, and runs it.
//
// What is compared runs in turns, and each number is the median of its runs. On a busy machine, the
// numbers are off, but the ratios hold.
package main

import (
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "pool":
		timePool()
	case len(os.Args) == 3:
		b := bench{work: os.Args[1], root: os.Args[2]}
		b.run()
	default:
		fmt.Fprintln(os.Stderr, "bench: run scripts/bench.sh instead")
		os.Exit(2)
	}
}

type bench struct {
	work string // a temporary folder, with the programs in it
	root string // of the repository
	rows []row
}

// row is a row of the table: what was measured, what it is compared with, and the ratio of the two.
type row struct{ what, value, beside, ratio, aim, runs string }

func (b *bench) run() {
	b.staging()
	b.drivers()
	b.launch()
	b.java()
	b.gate()
	b.tunnel()
	b.sameWork()
	b.scale()
	b.audit()
	b.pools()
	b.clone()

	fmt.Printf("%s, %d × %s, Linux %s, %s\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), cpu(), release(), runtime.Version())
	fmt.Println("| what | median | beside it | ratio | aim | runs |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for _, r := range b.rows {
		fmt.Println("|", strings.Join([]string{r.what, r.value, r.beside, r.ratio, r.aim, r.runs}, " | "), "|")
	}
}

// staging measures bin/supply of a packaged buildpack.
func (b *bench) staging() {
	d := b.newDroplet("staging")
	services := b.fixture("cups-rds.json")
	bare := command{argv: []string{"bash", "-c", "true"}}
	supply := command{argv: d.supply(), env: append(d.env(), services), before: d.clear}
	syscall.Sync() // the builds before this have written a lot: don't measure that
	const runs = 40
	t := times(runs, bare, supply)
	b.add("staging: `bin/supply` of the packaged buildpack", ms(t[1].median()), "`bash -c true` "+ms(t[0].median()),
		ratio(t[1].median(), t[0].median()), "< 60 ms", runs)
	b.add("… memory, peak RSS", mb(b.memory(supply)), "", "", "", memoryRuns)

	size, files := d.size()
	packed := len(output(command{argv: []string{"tar", "-czf", "-", "-C", d.vcap, "."}}))
	b.add(fmt.Sprintf("… size in the droplet, which is a compressed archive: %d files", files), mb(int64(packed)), "unpacked "+mb(size), ratio(int64(packed), size), "< 6 MB", 1)
}

// launch measures what our script adds to a launch: the launcher's bash with and without it, in
// turns.
func (b *bench) launch() {
	d, plain := b.newDroplet("launch"), b.newDroplet("plain")
	output(command{argv: d.supply(), env: d.env()})
	region := command{argv: d.launch(), env: append(d.env(), b.fixture("cups-rds.json")), before: d.forget}
	other := command{argv: d.launch(), env: append(d.env(), b.fixture("cups-seed.json")), before: d.forget}
	none := command{argv: d.launch(), env: d.env()}
	own := command{argv: d.launch(), env: append(d.env(), b.fixture("csb-google-postgres.json"), "POSTGRES_SSL_MODE=verify-ca"), before: d.forget}
	bare := command{argv: plain.launch(), env: append(plain.env(), b.fixture("cups-rds.json"))}
	empty := command{argv: []string{filepath.Join(b.work, "empty")}}
	// The least that any Go program costs if a launch script evaluates its output.
	least := b.newDroplet("least")
	write(filepath.Join(least.app(), ".profile.d/least.sh"), `eval "true; $("`+empty.argv[0]+`" env || echo exit 1)" || exit 1`)
	floor := command{argv: least.launch(), env: append(least.env(), b.fixture("cups-rds.json"))}
	both := b.newDroplet("both")
	output(command{argv: both.supply(), env: both.env()})
	output(command{argv: both.finalize(), env: both.env()})
	// libbuildpack writes this script for any chain.
	check(os.Remove(filepath.Join(both.vcap, "profile.d/000_multi-supply.sh")))
	twice := command{argv: both.launch(), env: append(both.env(), b.fixture("cups-rds.json")), before: both.forget}

	const runs = 150
	t := times(runs, bare, region, empty, other, none, own, twice, floor)
	b.add("launch: the launcher's bash alone", ms(t[0].median()), "an empty Go program alone "+ms(t[2].median()), ratio(t[0].median(), t[2].median()), "", runs)
	atLeast := t[7].minus(t[0]).median()
	beside := "an empty Go program in its place + " + ms(atLeast)
	for _, c := range []struct {
		what  string
		t     series
		limit string
	}{
		{"… our script adds, with RDS of a known region", t[1], "< 5 ms"},
		{"… the same behind a final buildpack that collects launch scripts, so that both copies are sourced", t[6], "< 5 ms"},
		{"… with a host that is no RDS endpoint: all CAs in one new file", t[3], ""},
		{"… with the binding's own CA and client certificate", t[5], ""},
		{"… with nothing bound", t[4], "< 5 ms"},
	} {
		added := c.t.minus(t[0]).median()
		b.add(c.what, "+ "+ms(added), beside, ratio(added, atLeast), c.limit, runs)
	}
	helper := filepath.Join(d.vcap, "deps/0/bin/postgres-ssl")
	smallest := b.memory(empty)
	for _, c := range []struct {
		what string
		env  []string
	}{{"RDS of a known region", region.env}, {"a host that is no RDS endpoint", other.env}, {"nothing bound", none.env}} {
		peak := b.memory(command{argv: []string{helper, "env"}, env: c.env, before: d.forget})
		b.add("memory of a launch, peak RSS, "+c.what, mb(peak), "an empty Go program "+mb(smallest), ratio(peak, smallest), "< 15 MB", memoryRuns)
	}
}

// sameWork measures launches that give OpenSSL and Go the same certificates with common tools.
func (b *bench) sameWork() {
	services := b.fixture("cups-rds.json")
	ours, plain := b.newDroplet("ours"), b.newDroplet("nothing")
	output(command{argv: ours.supply(), env: ours.env()})
	region := command{argv: ours.launch(), env: append(ours.env(), services), before: ours.forget}
	all := command{argv: ours.launch(), env: append(ours.env(), b.fixture("cups-seed.json")), before: ours.forget}
	bare := command{argv: plain.launch(), env: append(plain.env(), services)}

	// The same certificates, one file each, with openssl rehash in place of our script.
	rehash := func(name string, sets ...string) command {
		d := b.newDroplet(name)
		certs := filepath.Join(d.app(), "certs")
		for _, set := range sets {
			files, err := filepath.Glob(filepath.Join(ours.vcap, "deps/0/trust", set, "*"))
			check(err)
			for _, file := range files {
				pem, err := os.ReadFile(file)
				check(err)
				write(filepath.Join(certs, set+"-"+filepath.Base(file)+".pem"), string(pem))
			}
		}
		write(filepath.Join(d.app(), ".profile.d/rehash.sh"), `openssl rehash "$HOME/certs"; export SSL_CERT_DIR=/etc/ssl/certs:$HOME/certs`)
		return command{argv: d.launch(), env: append(d.env(), services), before: func() {
			links, err := filepath.Glob(filepath.Join(certs, "????????.*"))
			check(err)
			for _, link := range links {
				if info, err := os.Lstat(link); err == nil && info.Mode().Type() == fs.ModeSymlink {
					check(os.Remove(link))
				}
			}
		}}
	}
	rehashRegion := rehash("rehash-region", "us-west-2")
	rehashAll := rehash("rehash-all", "aws", "aws-us-gov", "amazon-trust")

	hand := b.newDroplet("by-hand")
	script, err := os.ReadFile(filepath.Join(b.root, "tools/bench/by-hand.sh"))
	check(err)
	bundle, err := os.ReadFile(filepath.Join(ours.vcap, "deps/0/trust/aws.pem"))
	check(err)
	write(filepath.Join(hand.app(), ".profile.d/by-hand.sh"), string(script))
	write(filepath.Join(hand.app(), "rds-bundle.pem"), string(bundle))
	byHand := command{argv: hand.launch(), env: append(hand.env(), services), before: func() {
		check(os.RemoveAll(filepath.Join(hand.app(), "rds-certs")))
	}}

	const runs = 30
	t := times(runs, bare, region, rehashRegion, all, rehashAll, byHand)
	for i := 1; i < len(t); i++ {
		t[i] = t[i].minus(t[0])
	}
	b.add("the same by `openssl rehash`, every CA that a host that is no RDS endpoint needs", "+ "+ms(t[4].median()), "ours + "+ms(t[3].median()),
		ratio(t[4].median(), t[3].median()), "> 5", runs)
	b.add("… one region's", "+ "+ms(t[2].median()), "ours + "+ms(t[1].median()), ratio(t[2].median(), t[1].median()), "", runs)
	b.add("the same by hand, with jq, awk and `openssl rehash` (`tools/bench/by-hand.sh`)", "+ "+ms(t[5].median()), "ours + "+ms(t[1].median()),
		ratio(t[5].median(), t[1].median()), "> 5", runs)
	peak, our := b.memory(byHand), b.memory(region)
	b.add("… memory of such a launch, peak RSS", mb(peak), "ours "+mb(our), ratio(peak, our), "", memoryRuns)
}

// scale measures a launch with very many services, 50 of them Postgres databases in 30 regions.
func (b *bench) scale() {
	d := b.newDroplet("scale")
	output(command{argv: d.supply(), env: d.env()})
	plain := b.newDroplet("scale-plain")
	cases := []command{{argv: plain.launch(), env: plain.env()}}
	sizes := []int{250, 500, 1000} // bindings in a file have at most 1 MB
	for _, services := range sizes {
		file := filepath.Join(b.work, fmt.Sprintf("services-%d.json", services))
		write(file, b.manyServices(services, filepath.Join(d.vcap, "deps/0/trust")))
		cases = append(cases, command{argv: d.launch(), env: append(d.env(), "VCAP_SERVICES_FILE_PATH="+file), before: d.forget})
	}
	const runs = 20
	t := times(runs, cases...)
	for i, services := range sizes {
		info, err := os.Stat(filepath.Join(b.work, fmt.Sprintf("services-%d.json", services)))
		check(err)
		added := t[i+1].minus(t[0]).median()
		r := row{what: fmt.Sprintf("launch with %d services, %.2f MB, %d of them Postgres", services, float64(info.Size())/1e6, services/20), value: "+ " + ms(added)}
		if services == 1000 {
			r.aim = "< 50 ms"
		}
		if i > 0 {
			before := t[i].minus(t[0]).median()
			r.beside, r.ratio = "half as many + "+ms(before), ratio(added, before)
		}
		r.runs = strconv.Itoa(runs)
		b.rows = append(b.rows, r)
	}
	b.add("… memory of a launch with 1000, peak RSS", mb(b.memory(command{argv: []string{filepath.Join(d.vcap, "deps/0/bin/postgres-ssl"), "env"}, env: cases[3].env, before: d.forget})),
		"", "", "< 15 MB", memoryRuns)
}

// manyServices returns a VCAP_SERVICES with n services of about a kilobyte each. One in twenty is a
// Postgres database, in one of 30 regions.
func (b *bench) manyServices(n int, trust string) string {
	bundles, err := filepath.Glob(filepath.Join(trust, "*-*-[0-9].pem"))
	check(err)
	if len(bundles) < 30 {
		check(fmt.Errorf("%s has %d regions, and 30 are needed", trust, len(bundles)))
	}
	var services []string
	for i := range n {
		uri := fmt.Sprintf("https://service-%d.example.com/", i)
		if i%20 == 0 {
			region := strings.TrimSuffix(filepath.Base(bundles[i/20%30]), ".pem")
			uri = fmt.Sprintf("postgres://u:p@db-%d.c9akciq32.%s.rds.amazonaws.com:5432/d?sslmode=verify-full", i, region)
		}
		services = append(services, fmt.Sprintf(`{"name":"service-%d","label":"user-provided","tags":["a","b"],"credentials":{"uri":%q,"token":%q}}`,
			i, uri, strings.Repeat("x", 850)))
	}
	return `{"user-provided":[` + strings.Join(services, ",") + `]}`
}

// pools measures what more CAs cost a Go program, in its x509.SystemCertPool.
func (b *bench) pools() {
	d := b.newDroplet("pools")
	output(command{argv: d.supply(), env: d.env()})
	trust := filepath.Join(d.vcap, "deps/0/trust/")
	self := []string{filepath.Join(b.work, "bench"), "pool"}
	stack := command{argv: self}
	region := command{argv: self, env: []string{"SSL_CERT_DIR=/etc/ssl/certs:" + trust + "/us-west-2"}}
	all := command{argv: self, env: []string{"SSL_CERT_DIR=/etc/ssl/certs:" + trust + "/aws"}}
	const runs = 60
	var t [3]series
	for range runs {
		for i, c := range []command{stack, region, all} {
			ns, err := strconv.ParseInt(strings.TrimSpace(string(output(c))), 10, 64)
			check(err)
			t[i] = append(t[i], time.Duration(ns))
		}
	}
	beside := "the stack's store alone " + ms(t[0].median())
	b.add("Go's `x509.SystemCertPool`, with one region's CAs", ms(t[1].median()), beside, ratio(t[1].median(), t[0].median()), "", runs)
	b.add("… with all RDS CAs of the partition", ms(t[2].median()), beside, ratio(t[2].median(), t[0].median()), "", runs)
}

// timePool times what a Go program does before its first TLS connection.
func timePool() {
	start := time.Now()
	_, err := x509.SystemCertPool()
	took := time.Since(start)
	check(err)
	fmt.Println(took.Nanoseconds())
}

// clone measures the first and the second staging of a git clone, with the Go on PATH. Its build
// cache is empty at first.
func (b *bench) clone() {
	d := b.newDroplet("clone")
	gopath := strings.TrimSpace(string(output(command{argv: []string{"go", "env", "GOMODCACHE"}, env: os.Environ()})))
	supply := command{argv: d.supply(), before: d.clear, env: append(d.env(), b.fixture("cups-rds.json"),
		"PATH="+os.Getenv("PATH"), "GOCACHE="+filepath.Join(b.work, "go-build"), "GOMODCACHE="+gopath)}
	supply.argv[0] = filepath.Join(b.work, "clone/bin/supply")
	first := once(supply)
	// From now on, any compilation fails.
	supply.env = append(supply.env, "GOCACHE=off")
	const runs = 15
	second := times(runs, supply)[0].median()
	b.add("first staging of a git clone, Go on `PATH`, modules at hand, nothing compiled yet", fmt.Sprintf("%.1f s", first.Seconds()), "", "", "", 1)
	b.add("… second: the program is in the app's cache", ms(second), fmt.Sprintf("first %.1f s", first.Seconds()), ratio(second, first), "compiles nothing", runs)
}

// droplet is an app's home in a container, before or after staging.
type droplet struct{ vcap, cache, supplyScript string }

func (b *bench) newDroplet(name string) droplet {
	d := droplet{filepath.Join(b.work, name, "home/vcap"), filepath.Join(b.work, name, "cache"), filepath.Join(b.work, "buildpack/bin/supply")}
	check(os.MkdirAll(d.cache, 0o755))
	d.clear()
	return d
}

func (d droplet) app() string { return filepath.Join(d.vcap, "app") }

// clear makes new folders, as the platform does before a staging, and keeps the app's cache. It
// moves the old ones aside, because a disk is slow right after it removes much.
func (d droplet) clear() {
	if _, err := os.Stat(d.vcap); err == nil {
		aside, err := os.MkdirTemp(filepath.Dir(d.vcap), "aside-")
		check(err)
		check(os.Rename(d.vcap, filepath.Join(aside, "vcap")))
	}
	for _, dir := range []string{"app", "deps/0", "profile.d", "tmp"} {
		check(os.MkdirAll(filepath.Join(d.vcap, dir), 0o755))
	}
}

// forget removes what a launch wrote. On the platform, each launch has a new container.
func (d droplet) forget() {
	check(os.RemoveAll(filepath.Join(d.vcap, ".postgres-ssl")))
	check(os.RemoveAll(filepath.Join(d.vcap, ".postgresql")))
}

func (d droplet) env() []string {
	return []string{"HOME=" + d.app(), "TMPDIR=" + filepath.Join(d.vcap, "tmp"), "DEPS_DIR=" + filepath.Join(d.vcap, "deps")}
}

func (d droplet) supply() []string {
	return []string{d.supplyScript, d.app(), d.cache, filepath.Join(d.vcap, "deps"), "0"}
}

func (d droplet) finalize() []string {
	return []string{filepath.Join(filepath.Dir(d.supplyScript), "finalize"), d.app(), d.cache, filepath.Join(d.vcap, "deps"), "0", filepath.Join(d.vcap, "profile.d")}
}

// launch is the launcher's script, up to the point where the app would start.
func (d droplet) launch() []string {
	const script = `cd "$1"
for script in ../profile.d/* .profile.d/*; do
  if [ -e "$script" ]; then
    source $script
  fi
done
if [ -f .profile ]; then
  source .profile
fi`
	return []string{"bash", "-c", script, "launcher", d.app()}
}

// size returns the total size of the droplet's files, and their number.
func (d droplet) size() (bytes int64, files int) {
	check(filepath.WalkDir(d.vcap, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes, files = bytes+info.Size(), files+1
		}
		return err
	}))
	return bytes, files
}

func (b *bench) fixture(name string) string {
	services, err := os.ReadFile(filepath.Join(b.root, "fixtures/services", name))
	check(err)
	return "VCAP_SERVICES=" + string(services)
}

// command is a process to measure. env is added to the environment of a new container. before is
// not measured.
type command struct {
	argv   []string
	env    []string
	before func()
}

func (c command) process() *exec.Cmd {
	if c.before != nil {
		c.before()
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8"}, c.env...)
	cmd.Dir = "/"
	return cmd
}

// output runs the command, which must succeed, and returns its output.
func output(c command) []byte {
	cmd := c.process()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	check(err)
	return out
}

type series []time.Duration

// times runs the commands in turns. It returns how long each took in each round, without the first
// round, which warms the caches.
func times(rounds int, commands ...command) []series {
	all := make([]series, len(commands))
	for round := range rounds + 1 {
		for i, c := range commands {
			if took := once(c); round > 0 {
				all[i] = append(all[i], took)
			}
		}
	}
	return all
}

// once runs the command, which must succeed, and returns how long it took.
func once(c command) time.Duration {
	cmd := c.process()
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		check(fmt.Errorf("%s: %w\n%s", strings.Join(c.argv, " "), err, out))
	}
	return took
}

func (s series) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)/2]
}

// minus returns the differences, round by round.
func (s series) minus(t series) series {
	d := make(series, len(s))
	for i := range s {
		d[i] = s[i] - t[i]
	}
	return d
}

const memoryRuns = 7

// memory returns the median of the command's peak memory in bytes, measured by the command peak.
func (b *bench) memory(c command) int64 {
	var peaks []int64
	for range memoryRuns {
		program, err := exec.LookPath(c.argv[0])
		check(err)
		measured := c
		measured.argv = append([]string{filepath.Join(b.work, "peak"), program}, c.argv[1:]...)
		peak, err := strconv.ParseInt(string(output(measured)), 10, 64)
		check(err)
		peaks = append(peaks, peak)
	}
	slices.Sort(peaks)
	return peaks[len(peaks)/2]
}

func (b *bench) add(what, value, beside, ratio, aim string, runs int) {
	b.rows = append(b.rows, row{what, value, beside, ratio, aim, strconv.Itoa(runs)})
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func mb(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

func ratio[T time.Duration | int64](a, b T) string {
	if r := float64(a) / float64(b); r < 0.1 {
		return fmt.Sprintf("%.4f", r)
	} else {
		return fmt.Sprintf("%.1f", r)
	}
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	check(err)
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func release() string {
	version, err := os.ReadFile("/proc/sys/kernel/osrelease")
	check(err)
	return strings.TrimSpace(string(version))
}

func write(path, content string) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, []byte(content), 0o644))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
