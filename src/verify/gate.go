package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// stops says whether a problem keeps an app from starting. We only report the others, above all a
// server that does not answer. Nothing insecure has happened, and an app that restarts while its
// database fails over must come back.
func stops(p wire.Problem) bool { return p.Insecure() || p.Code == PlainTextMode }

// Gate connects to all databases at the same time, as the app is about to do. It returns one line
// for each, and whether the app may start. A database that only its keys tell stops nothing.
func Gate(ctx context.Context, targets []wire.Target, timeout time.Duration) (lines []string, open bool) {
	open = true
	for i, db := range runAll(ctx, targets, timeout, gateModes) {
		line, stop := gateLine(db, targets[i].ByKeys)
		lines, open = append(lines, line), open && !stop
	}
	return lines, open
}

// gateModes are the modes that a start tries. It tries plain text only if the mode allows that,
// because the attempt sends the user's name in plain text.
func gateModes(t *wire.Target) []sslmode.Mode {
	if t.Mode.Encrypts() {
		return []sslmode.Mode{t.LoginMode()}
	}
	return []sslmode.Mode{sslmode.Disable, t.LoginMode()}
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
	switch {
	case db.TLS == nil:
	case db.Mode == "":
		said = append(said, db.TLS.Version+", and no sslmode is in force")
	default:
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
	}
	if len(db.Problems) > 0 {
		said = append(said, "the app starts all the same")
	}
	return db.Name + ": " + strings.Join(said, "; "), false
}
