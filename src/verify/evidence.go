package verify

import (
	"context"
	"os"
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
	byMode   map[sslmode.Mode]wire.Attempt // by the mode that was tried
	others   []wire.Attempt                // one for each of Others
	login    *wire.Attempt                 // nil if the probe in its mode failed
	sessions []row
	asked    error // why the query for the sessions failed
	ports    []int // of this container's own connections
}

// Run verifies all databases at the same time, each within the timeout. warnings are the plan's.
func Run(ctx context.Context, targets []wire.Target, warnings []string, timeout time.Duration) Report {
	report := Report{OK: true, Databases: make([]Database, len(targets)), Warnings: []string{}, Drivers: []string{}}
	var wait sync.WaitGroup
	for i, t := range targets {
		wait.Go(func() { report.Databases[i] = run(ctx, &t, timeout, ladder) })
	}
	wait.Wait()
	for _, db := range report.Databases {
		report.OK = report.OK && db.OK
	}
	for _, w := range warnings {
		report.Warnings = append(report.Warnings, plain.Line(w))
	}
	return report
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
	main, others := t.Addresses()[0], t.Addresses()[1:]
	tries := make([]wire.Attempt, len(modes))
	e.others = make([]wire.Attempt, len(others))
	var first, rest sync.WaitGroup
	for i, mode := range modes {
		first.Go(func() { tries[i] = t.Probe(ctx, main, mode) })
	}
	// Try the further hosts in the login's mode.
	for i, host := range others {
		rest.Go(func() { e.others[i] = t.Probe(ctx, host, t.LoginMode()) })
	}
	first.Wait()
	e.byMode = map[sslmode.Mode]wire.Attempt{}
	for _, a := range tries {
		e.byMode[a.Mode] = a
	}
	if e.byMode[t.LoginMode()].Problem == nil {
		e.logIn(ctx)
	}
	rest.Wait()
	return e.judge(time.Now())
}

// logIn logs in, and asks for the user's sessions.
func (e *evidence) logIn(ctx context.Context) {
	conn, attempt := e.LogIn(ctx)
	e.login = &attempt
	if conn == nil {
		return
	}
	defer conn.Close(ctx) // its error does not matter: we have the answers
	e.sessions, e.asked = askSessions(ctx, conn)
	e.ports = localPorts(os.DirFS("/proc"))
}
