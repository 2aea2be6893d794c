package verify

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// evidence is what all attempts at a database have shown.
type evidence struct {
	*wire.Target
	byMode   [sslmode.VerifyFull + 1]wire.Attempt // by its mode, which is None in those that were not tried
	others   []wire.Attempt                       // one for each of Others
	login    *wire.Attempt                        // nil if the probe in its mode failed
	sessions []row
	asked    error // why the query for the sessions failed
	ports    []int // of this container's own connections
}

// Run verifies all databases at the same time, each within the timeout. warnings are the plan's.
func Run(ctx context.Context, targets []wire.Target, warnings []string, timeout time.Duration) Report {
	report := Report{Warnings: append([]string{}, warnings...), Drivers: []string{}}
	report.Databases = runAll(ctx, targets, timeout, false)
	report.OK = !slices.ContainsFunc(report.Databases, func(db Database) bool { return !db.OK })
	printable(reflect.ValueOf(&report))
	return report
}

// runAll tries all databases, each in every mode, or only in those that a start has to try.
func runAll(ctx context.Context, targets []wire.Target, timeout time.Duration, starts bool) []Database {
	found := make([]Database, len(targets))
	var wait sync.WaitGroup
	for i := range targets {
		wait.Go(func() { found[i] = run(ctx, &targets[i], timeout, starts) })
	}
	wait.Wait()
	return found
}

// ladder lists the modes to try, weakest first.
var ladder = []sslmode.Mode{sslmode.Disable, sslmode.Require, sslmode.VerifyCA, sslmode.VerifyFull}

func run(ctx context.Context, t *wire.Target, timeout time.Duration, starts bool) Database {
	e := evidence{Target: t}
	if t.Problem != nil {
		return e.judge(time.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e.others = make([]wire.Attempt, len(t.Others))
	var first, rest sync.WaitGroup
	for _, mode := range ladder {
		inPlainText := mode == sslmode.Disable && !t.Mode.Encrypts() // so goes the user's name, too
		if !starts || inPlainText || mode == t.LoginMode() {
			first.Go(func() { e.byMode[mode] = t.Probe(ctx, t.Address, mode) })
		}
	}
	for i, host := range t.Others {
		rest.Go(func() { e.others[i] = t.Probe(ctx, host, t.LoginMode()) })
	}
	first.Wait()
	if e.byMode[t.LoginMode()].Problem == nil {
		conn, attempt := t.LogIn(ctx, wire.Login{})
		if e.login = &attempt; attempt.Problem == nil {
			e.sessions, e.asked = askSessions(ctx, conn)
			e.ports = localPorts(os.DirFS("/proc"))
			conn.Close(ctx) // its error does not matter: we have the answers
		}
	}
	rest.Wait()
	return e.judge(time.Now())
}

// stops says whether a problem keeps an app from starting. A server that does not answer must not:
// nothing insecure has happened, and an app that restarts while its database fails over comes back.
func stops(p wire.Problem) bool { return p.Insecure() || p.Code == PlainTextMode }

// Gate connects to all databases as the app is about to do. It returns one line for each, and
// whether the app may start. A database that only its keys tell stops nothing.
func Gate(ctx context.Context, targets []wire.Target, timeout time.Duration) (lines []string, open bool) {
	open = true
	for i, db := range runAll(ctx, targets, timeout, true) {
		line, stop := gateLine(db, targets[i].ByKeys)
		lines, open = append(lines, plain.Line(line)), open && !stop
	}
	return lines, open
}

// gateLine makes one line of a finding, and says whether it stops the start.
func gateLine(db Database, byKeys bool) (line string, stop bool) {
	problems := slices.Clone(db.Problems)
	for _, o := range db.OtherHosts {
		if p := o.Problem; p != nil {
			problems = append(problems, wire.Problem{Code: p.Code, What: "further host: " + p.What, Do: p.Do})
		}
	}
	if i := slices.IndexFunc(problems, stops); i >= 0 && !byKeys {
		return fmt.Sprintf("%s: the app does not start: %s; %s", db.Name, problems[i].What, problems[i].Do), true
	}
	var said []string
	if db.TLS != nil && db.Mode == "" {
		said = append(said, db.TLS.Version+", and no sslmode is in force")
	} else if db.TLS != nil {
		said = append(said, db.TLS.Version+", as "+db.Mode+" asks")
	}
	if c := db.Certificate; c.endsSoon() {
		said = append(said, fmt.Sprintf("the server's certificate expires on %s, in %s", c.NotAfter, plain.Count(c.DaysLeft, "day")))
	}
	for _, p := range db.Problems {
		said = append(said, p.What)
	}
	if len(said) == 0 { // no server answers at a further connection string
		said = db.Warnings
	} else if len(db.Problems) > 0 {
		said = append(said, "the app starts all the same")
	}
	return db.Name + ": " + strings.Join(said, "; "), false
}
