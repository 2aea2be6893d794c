package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// tunnel measures an app that goes through the tunnel beside one that has TLS itself, with a server on
// loopback: how much longer a launch takes, a round trip, a connect, COPY of 100 MB out and in, and the
// tunnel's memory.
func (b *bench) tunnel() {
	const most = 500
	s := &stand{}
	defer s.end()
	server, ca, services := s.database(map[string]string{
		"max_connections": strconv.Itoa(most + 20), "wal_level": "minimal", "max_wal_senders": "0",
	})
	d := b.newDroplet("tunnel")
	output(command{argv: d.supply(), env: d.env()})
	without := append(d.env(), "VCAP_SERVICES="+services)
	with := append(without[:len(without):len(without)], "POSTGRES_SSL_TUNNEL=yes")

	const launches = 40
	starts := inTurns(launches, func() { launchApp(d, without).end() }, func() { launchApp(d, with).end() })
	added := starts[1].minus(starts[0]).median()
	b.add("tunnel: what `POSTGRES_SSL_TUNNEL=yes` adds to a launch, and to the app's end", "+ "+ms(added), "without "+ms(starts[0].median()),
		ratio(starts[1].median(), starts[0].median()), "", launches)

	app := launchApp(d, with)
	defer app.end()
	root := filepath.Join(b.work, "tunnel-root.pem")
	write(root, string(ca.PEM))
	const login = " user=app password=secret dbname=app"
	direct := fmt.Sprintf("host=localhost port=%d sslmode=verify-full sslrootcert=%s", server.Port, root) + login
	through := fmt.Sprintf("host=%s port=%d sslmode=disable", app.at.Hostname, app.at.Port) + login
	memory := func(n int) string { return fmt.Sprintf("… memory with %d connections, RSS", n) }
	b.add(memory(0), mb(app.memory()), "", "", "", 1)

	const trips = 4000
	one, other := open(direct), open(through)
	t := inTurns(trips, func() { query(one, "select 1") }, func() { query(other, "select 1") })
	more := t[1].minus(t[0]).median()
	b.add("… a round trip, `select 1`", micro(t[1].median()), "direct TLS "+micro(t[0].median())+", + "+micro(more), fine(t), "+ 0.15 ms", trips)

	const connects = 300
	var first, second *pgconn.PgConn
	t = inTurns(connects, func() { first = open(direct) }, func() { second = open(through) }, func() { closeIt(first); closeIt(second) })
	b.add("… a connect, with SCRAM, from Go", micro(t[1].median()), "direct TLS "+micro(t[0].median()), fine(t), "< 1", connects)
	psql := func(settings string) command {
		return command{argv: []string{"psql", settings, "-X", "-c", "select 1"}}
	}
	const logins = 100
	t = times(logins, psql(direct), psql(through))
	b.add("… the same by `psql -c 'select 1'`", micro(t[1].median()), "direct TLS "+micro(t[0].median()), fine(t), "< 1", logins)

	// 100 MB, of lines of 100 bytes. COPY into a table of its own transaction writes no log ahead.
	const copies, lines = 15, 1_000_000
	query(one, fmt.Sprintf("create unlogged table data as select lpad(n::text, 99, 'x') as line from generate_series(1, %d) n", lines))
	var data bytes.Buffer
	_, err := one.CopyTo(context.Background(), &data, "copy data to stdout")
	check(err)
	out := func(conn *pgconn.PgConn) func() {
		return func() {
			var count counter
			_, err := conn.CopyTo(context.Background(), &count, "copy data to stdout")
			check(err)
			same(int(count), data.Len())
		}
	}
	t = inTurns(copies, out(one), out(other))
	b.add("… COPY of 100 MB out", ms(t[1].median()), "direct TLS "+ms(t[0].median()), fine(t), "< 1.25", copies)
	in := func(conn *pgconn.PgConn) func() {
		return func() {
			query(conn, "begin; create temporary table copied(line text) on commit drop")
			_, err := conn.CopyFrom(context.Background(), bytes.NewReader(data.Bytes()), "copy copied from stdin")
			check(err)
			query(conn, "commit")
		}
	}
	t = inTurns(copies, in(one), in(other))
	b.add("… COPY of 100 MB in", ms(t[1].median()), "direct TLS "+ms(t[0].median()), fine(t), "< 1.25", copies)
	var back bytes.Buffer
	query(other, "create unlogged table sent(line text)")
	_, err = other.CopyFrom(context.Background(), bytes.NewReader(data.Bytes()), "copy sent from stdin")
	check(err)
	_, err = other.CopyTo(context.Background(), &back, "copy sent to stdout")
	check(err)
	if !bytes.Equal(data.Bytes(), back.Bytes()) {
		check(fmt.Errorf("what comes back through the tunnel is not what was sent"))
	}
	closeIt(one)
	closeIt(other)
	b.add("… memory after all that, no connection, RSS", mb(app.memory()), "", "", "", 1)

	// Another tunnel, since this one's memory has seen 100 MB.
	fresh := launchApp(d, with)
	defer fresh.end()
	through = fmt.Sprintf("host=%s port=%d sslmode=disable", fresh.at.Hostname, fresh.at.Port) + login
	var conns []*pgconn.PgConn
	for _, n := range []int{100, most} {
		for len(conns) < n {
			conns = append(conns, open(through))
			query(conns[len(conns)-1], "select 1")
		}
		limit := ""
		if n == most {
			limit = "< 50 MB"
		}
		b.add(memory(n), mb(fresh.memory()), "", "", limit, 1)
	}
	for _, conn := range conns {
		closeIt(conn)
	}
}

// inTurns is times, for what this program does itself.
func inTurns(rounds int, work ...func()) []series {
	all := make([]series, len(work))
	for round := range rounds + 1 {
		for i, do := range work {
			start := time.Now()
			do()
			if took := time.Since(start); round > 0 {
				all[i] = append(all[i], took)
			}
		}
	}
	return all
}

func open(settings string) *pgconn.PgConn {
	conn, err := pgconn.Connect(context.Background(), settings)
	check(err)
	return conn
}

func closeIt(conn *pgconn.PgConn) { check(conn.Close(context.Background())) }

func query(conn *pgconn.PgConn, sql string) {
	_, err := conn.Exec(context.Background(), sql).ReadAll()
	check(err)
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func same(a, b int) {
	if a != b {
		check(fmt.Errorf("%d bytes, not %d", a, b))
	}
}

// fine is the ratio of the second to the first of two series, round by round.
func fine(t []series) string {
	parts := make(series, len(t[0]))
	for i := range parts {
		parts[i] = time.Duration(1000 * float64(t[1][i]) / float64(t[0][i]))
	}
	return fmt.Sprintf("%.2f", float64(parts.median())/1000)
}

func micro(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// app is a launched app, which lasts until it is ended.
type app struct {
	cmd  *exec.Cmd
	in   io.Closer
	out  *bufio.Reader
	home string
	at   at // where it is told that its first database is
}

type at struct {
	Hostname string
	Port     int
}

// launchApp launches an app, and returns when the app runs.
func launchApp(d droplet, env []string) *app {
	argv := d.launch()
	argv[2] += "\nprintf '%s\\n' \"$VCAP_SERVICES\"\nexec cat"
	d.forget()
	a := &app{cmd: command{argv: argv, env: env}.process(), home: d.vcap}
	a.cmd.Stderr = os.Stderr
	in, err := a.cmd.StdinPipe()
	check(err)
	out, err := a.cmd.StdoutPipe()
	check(err)
	check(a.cmd.Start())
	a.in, a.out = in, bufio.NewReader(out)
	line, err := a.out.ReadBytes('\n')
	check(err)
	var services map[string][]struct{ Credentials at }
	check(json.Unmarshal(line, &services))
	a.at = services["user-provided"][0].Credentials
	return a
}

// end ends the app, and waits for the end of its output.
func (a *app) end() {
	check(a.in.Close())
	_, err := io.Copy(io.Discard, a.out)
	check(err)
	check(a.cmd.Wait())
}

// memory is the resident memory of the app's tunnel and its heir, in bytes.
func (a *app) memory() int64 {
	time.Sleep(time.Second) // for what is in flight to end
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	check(err)
	var kilobytes int64
	for _, link := range links {
		program, _ := os.Readlink(link) // of a process that may be gone
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "status"))
		stat, _ := os.Readlink(filepath.Join(filepath.Dir(link), "fd/3"))
		if !strings.HasPrefix(program, a.home) || stat != fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid) {
			continue
		}
		_, text, _ := strings.Cut(string(status), "VmRSS:")
		n, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
		check(err)
		kilobytes += n
	}
	if kilobytes == 0 {
		check(fmt.Errorf("the app has no tunnel"))
	}
	return kilobytes << 10
}
