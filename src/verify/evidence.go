package verify

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// evidence is what all attempts at a database have shown.
type evidence struct {
	*wire.Target
	wire.Screen
	byMode   [sslmode.VerifyFull + 1]wire.Attempt // by its mode, which is None in those that were not tried
	others   []wire.Attempt                       // one for each of Others
	login    *wire.Attempt                        // nil if the probe in its mode failed
	sessions []row
	asked    error // why the query for the sessions failed
	ports    []int // of this container's own connections
}

// Run verifies all databases, each within the timeout. warnings are the plan's.
func Run(ctx context.Context, targets []wire.Target, warnings []string, timeout time.Duration) Report {
	report := Report{Warnings: []string{}, Drivers: []string{}}
	report.Databases = runAll(ctx, targets, timeout, func(*wire.Target) []sslmode.Mode { return ladder })
	report.OK = !slices.ContainsFunc(report.Databases, func(db Database) bool { return !db.OK })
	for _, w := range warnings {
		report.Warnings = append(report.Warnings, plain.Line(w))
	}
	return report
}

// runAll tries all databases at the same time, each in these modes and within the timeout.
func runAll(ctx context.Context, targets []wire.Target, timeout time.Duration, modes func(*wire.Target) []sslmode.Mode) []Database {
	found := make([]Database, len(targets))
	var wait sync.WaitGroup
	for i := range targets {
		wait.Go(func() { found[i] = run(ctx, &targets[i], timeout, modes(&targets[i])) })
	}
	wait.Wait()
	return found
}

// ladder lists the modes to try, weakest first.
var ladder = []sslmode.Mode{sslmode.Disable, sslmode.Require, sslmode.VerifyCA, sslmode.VerifyFull}

// run tries these modes, which include the login's, logs in, and judges the results.
func run(ctx context.Context, t *wire.Target, timeout time.Duration, modes []sslmode.Mode) Database {
	e := evidence{Target: t, Screen: t.Screen()}
	if t.Problem != nil {
		return e.judge(time.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	hosts := t.Addresses()
	e.others = make([]wire.Attempt, len(hosts)-1)
	var first, rest sync.WaitGroup
	for _, mode := range modes {
		first.Go(func() { e.byMode[mode] = t.Probe(ctx, hosts[0], mode) })
	}
	for i, host := range hosts[1:] {
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
