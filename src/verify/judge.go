package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Run verifies all databases at the same time, each within the timeout. warnings are the plan's.
func Run(ctx context.Context, targets []Target, warnings []string, timeout time.Duration) Report {
	report := Report{OK: true, Databases: make([]Database, len(targets)), Warnings: []string{}, Drivers: []string{}}
	var wait sync.WaitGroup
	for i, t := range targets {
		wait.Go(func() { report.Databases[i] = t.run(ctx, timeout, ladder) })
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

// run tries these modes, which include the login's, logs in, and judges the results.
func (t *Target) run(ctx context.Context, timeout time.Duration, modes []sslmode.Mode) Database {
	t.hidden = encodings(string(t.Password), t.User)
	if t.problem != nil {
		return t.judge(evidence{}, time.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var e evidence
	var wait sync.WaitGroup
	wait.Go(func() { e.others = t.probeOthers(ctx) })
	e.ladder = t.climb(ctx, modes)
	if t.diagnose(e.ladder[t.loginMode()], t.address()) == nil {
		e.login = t.logIn(ctx)
	}
	wait.Wait()
	return t.judge(e, time.Now())
}

// evidence holds the results of all attempts.
type evidence struct {
	ladder map[sslmode.Mode]attempt // by the mode that was tried
	others []attempt                // one for each of Others
	login  *login                   // nil if the probe in its mode failed
}

// judge turns the evidence into a finding. It is a pure function.
func (t *Target) judge(e evidence, now time.Time) Database {
	db := Database{
		Name: t.Name, Host: t.Host, Port: int(t.Port), Database: t.Database, User: t.User,
		Mode: t.Mode.String(), ModeSource: t.Source, Asked: t.Asked.String(), AskedSource: t.askedSource,
		Modes: []Outcome{}, OtherHosts: []OtherHost{}, Problems: []Problem{}, Warnings: []string{},
	}
	if t.problem != nil {
		t.complainTo(&db, *t.problem)
		return t.finish(db)
	}
	for _, mode := range ladder {
		if a, tried := e.ladder[mode]; tried {
			db.Modes = append(db.Modes, t.outcome(a))
		}
	}
	t.show(&db, e)
	p := t.connectionProblem(e)
	if p != nil {
		t.complainTo(&db, *p)
	}
	if t.Asked > t.Mode && (p == nil || p.Code != PlainTextMode) {
		db.Problems = append(db.Problems, t.weakerThanAsked())
	}
	if e.login != nil && e.login.answer.admits {
		var p *Problem
		if db.Sessions, p = t.judgeSessions(e); p != nil {
			db.Problems = append(db.Problems, *p)
		}
	}
	t.judgeOthers(&db, e.others)
	t.warn(&db, e, now)
	return t.finish(db)
}

// noWay are the problems of a server that is not there, or not yet.
var noWay = []string{BindingIncomplete, DNS, NotListened, Unreachable, TimedOut, Closed}

// complainTo records a problem. If there is no server at a service's further connection string,
// that is only a warning.
func (t *Target) complainTo(db *Database, p Problem) {
	if t.Further && slices.Contains(noWay, p.Code) {
		db.Warnings = append(db.Warnings, "a further connection string of the service: "+p.What)
		return
	}
	db.Problems = append(db.Problems, p)
}

// finish makes every text that comes from a binding or a server one printable line.
func (t *Target) finish(db Database) Database {
	db.OK = len(db.Problems) == 0
	p := func(texts ...*string) {
		for _, text := range texts {
			*text = plain.Line(*text)
		}
	}
	p(&db.Name, &db.Host, &db.Database, &db.User, &db.ModeSource, &db.AskedSource)
	if c := db.Certificate; c != nil {
		p(&c.Subject, &c.Issuer)
		for i := range c.Names {
			p(&c.Names[i])
		}
	}
	root := func(r *Root) {
		if r != nil {
			p(&r.Subject, &r.Origin)
		}
	}
	root(db.Root)
	for i := range db.OtherHosts {
		p(&db.OtherHosts[i].Host)
		root(db.OtherHosts[i].Root)
		if problem := db.OtherHosts[i].Problem; problem != nil {
			p(&problem.What, &problem.Do)
		}
	}
	for i := range db.Problems {
		p(&db.Problems[i].What, &db.Problems[i].Do)
	}
	for i := range db.Warnings {
		p(&db.Warnings[i])
	}
	return db
}

// show fills in what the handshake showed, the login's if there was one, else that of the probe in
// its mode.
func (t *Target) show(db *Database, e evidence) {
	seen := e.ladder[t.loginMode()].peer
	if e.login != nil && e.login.peer.chain != nil {
		seen = e.login.peer
	}
	if seen.chain == nil {
		return
	}
	db.Certificate = t.describeCertificate(seen.chain[0])
	db.Root = describeRoot(seen.root)
	db.TLS = describeTLS(seen)
}

// connectionProblem returns what keeps the app from a connection as secure as its mode asks.
func (t *Target) connectionProblem(e evidence) *Problem {
	p := t.diagnose(e.ladder[t.loginMode()], t.address())
	plain, _ := t.plainText(e.ladder[sslmode.Disable])
	reached := p == nil || plain != Unknown
	remedy := fmt.Sprintf("set %s to verify-full", t.lever)
	if best := t.strictest(e); best != sslmode.None {
		remedy = fmt.Sprintf("set %s to %s, which works on this server", t.lever, best)
	}
	switch {
	case t.Mode == sslmode.Disable && reached:
		return &Problem{PlainTextMode, "sslmode disable asks for plain text", remedy}
	case t.Mode == sslmode.Allow && reached && plain != Refused:
		return &Problem{PlainTextMode, "sslmode allow begins in plain text, and this server does not refuse it", remedy}
	case !t.Mode.Encrypts() && p != nil && plain == Accepted:
		return &Problem{PlainTextMode, fmt.Sprintf("sslmode %s falls back to plain text on this server, because TLS fails: %s", t.shownMode(), p.What), p.Do}
	case p != nil && certificateProblem(e.ladder[t.loginMode()].err) != nil:
		return &Problem{p.Code, p.What + t.withoutVerification(e), p.Do}
	case p != nil:
		return p
	case e.login != nil:
		return t.diagnose(e.login.attempt, t.address())
	}
	return nil
}

// withoutVerification says whether the certificate is the only thing that is wrong.
func (t *Target) withoutVerification(e evidence) string {
	unverified, tried := e.ladder[sslmode.Require]
	if !tried {
		return ""
	}
	if p := t.diagnose(unverified, t.address()); p != nil {
		return " (and without verification it fails, too: " + p.Code + ")"
	}
	return " (without verification the server answers, so it is the certificate alone)"
}

// weakerThanAsked reports a mode in force that is weaker than the binding's own.
func (t *Target) weakerThanAsked() Problem {
	force := "no sslmode is in force"
	if t.Mode != sslmode.None {
		force = "sslmode " + t.Mode.String() + " is in force"
	}
	remedy := fmt.Sprintf("set %s to %s", t.lever, t.Asked)
	if t.owned {
		remedy += ", or unset it"
	}
	return Problem{WeakerThanAsked, fmt.Sprintf("%s (%s), but the binding asks for %s", force, t.Source, t.Asked), remedy}
}

// strictest returns the strictest verifying mode that worked on the server, or None.
func (t *Target) strictest(e evidence) sslmode.Mode {
	for _, mode := range []sslmode.Mode{sslmode.VerifyFull, sslmode.VerifyCA} {
		if a, tried := e.ladder[mode]; tried && t.diagnose(a, t.address()) == nil {
			return mode
		}
	}
	return sslmode.None
}

// shownMode is the mode in force, or libpq's default if there is none.
func (t *Target) shownMode() string {
	if t.Mode == sslmode.None {
		return sslmode.Prefer.String()
	}
	return t.Mode.String()
}

// judgeSessions lists the user's sessions, and says whether one of them is in plain text.
func (t *Target) judgeSessions(e evidence) ([]Session, *Problem) {
	if e.login.asked != nil {
		return nil, &Problem{SessionsHidden, "the user's sessions cannot be listed" + t.whyUnasked(e.login.asked), "let the user read pg_stat_activity and pg_stat_ssl"}
	}
	sessions := []Session{}
	var plain, hidden []string
	for _, r := range e.login.sessions {
		s := t.session(r)
		if s.PID != 0 && !s.Own && s.Application == applicationName &&
			slices.ContainsFunc(ladder, func(m sslmode.Mode) bool { return e.ladder[m].answer.pid == uint32(s.PID) }) {
			continue // one of our probes, about to end
		}
		sessions = append(sessions, s)
		switch s.Transport {
		case OverPlain:
			name := fmt.Sprintf("pid %d (%s, %s)", s.PID, orNone(s.Application, "no application name"), s.Address)
			if s.Own {
				name += ", which is this command's own: a proxy ends the TLS between here and the database"
			}
			plain = append(plain, name)
		case Hidden:
			hidden = append(hidden, fmt.Sprintf("pid %d", s.PID))
		}
	}
	const most = 5
	switch {
	case len(plain) > 0:
		return sessions, &Problem{PlainTextSession, fmt.Sprintf("user %s has sessions in plain text: %s", t.User, shortList(plain, most)),
			"find out whose they are (an app with another binding, an old instance, a proxy), give them an sslmode, and let the server refuse plain text: " + advicePlainText(t.Host)}
	case len(hidden) > 0:
		return sessions, &Problem{SessionsHidden, fmt.Sprintf("user %s may not see whether its sessions are encrypted: %s", t.User, shortList(hidden, most)),
			"grant pg_read_all_stats to the user, or let it log in without another role set"}
	}
	return sessions, nil
}

func orNone(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

func (t *Target) whyUnasked(err error) string {
	var state interface{ SQLState() string }
	switch {
	case isTimeout(err):
		return " in time"
	case errors.Is(err, errTooMuch), errors.Is(err, errTooManyRows):
		return ": " + innermost(err)
	case errors.As(err, &state):
		return t.sqlstate(state.SQLState())
	}
	return ""
}

// session makes a Session of a row. It does not judge Unix sockets, which cross no network.
func (t *Target) session(r row) Session {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return t.foreign(*s)
	}
	s := Session{
		Database: text(r.database), PID: number(r.pid), Application: text(r.application), Address: text(r.address),
		Version: text(r.version), Cipher: text(r.cipher), Bits: number(r.bits), Own: r.own,
	}
	switch {
	case r.tls != nil && *r.tls == "t":
		s.Transport = OverTLS
	case r.concealed || r.tls == nil:
		s.Transport = Hidden
	case r.port != nil && *r.port == "-1":
		s.Transport = OverSocket
	default:
		s.Transport = OverPlain
	}
	return s
}

// judgeOthers reports what is wrong with the further hosts. One that cannot be reached is only a
// warning: a replica may be away, and nothing insecure has happened.
func (t *Target) judgeOthers(db *Database, others []attempt) {
	for i, a := range others {
		to := t.Others[i]
		other := OtherHost{Host: to.Host, Port: int(to.Port), Root: describeRoot(a.peer.root), Problem: t.diagnose(a, to)}
		db.OtherHosts = append(db.OtherHosts, other)
		switch {
		case other.Problem == nil:
		case a.stage == dialing:
			db.Warnings = append(db.Warnings, "further host: "+other.Problem.What)
		default:
			db.Problems = append(db.Problems, Problem{OtherHostFails, "further host: " + other.Problem.What, other.Problem.Do})
		}
	}
}

// certificateWarning is how long before its expiry we warn about a server's certificate. RDS renews
// it by itself.
const certificateWarning = 30 * 24 * time.Hour

// warn adds what is worth knowing, but not wrong.
func (t *Target) warn(db *Database, e evidence, now time.Time) {
	warn := func(format string, args ...any) { db.Warnings = append(db.Warnings, fmt.Sprintf(format, args...)) }
	advice := ""
	if best := t.strictest(e); best != sslmode.None {
		advice = fmt.Sprintf("; %s works on this server", best)
	}
	switch t.Mode {
	case sslmode.None:
		warn("no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text%s", advice)
	case sslmode.Allow, sslmode.Prefer, sslmode.Require:
		if advice != "" {
			warn("sslmode %s accepts any certificate%s", t.Mode, advice)
		}
	}
	// These drivers ask for more than their mode says, as measured in docs/drivers.md.
	if p := certificateProblem(e.ladder[sslmode.VerifyFull].err); p != nil && len(db.Problems) == 0 {
		if t.Mode == sslmode.VerifyCA {
			warn("lib/pq (and so Stratos), node-postgres and Erlang check the name with verify-ca, too, and refuse this server: %s", p.What)
		} else {
			warn("node-postgres and Erlang verify in every mode, and refuse this server: %s", p.What)
		}
	}
	if plain, _ := t.plainText(e.ladder[sslmode.Disable]); plain == Accepted {
		warn("the server accepts plain text; to have it refused, %s", advicePlainText(t.Host))
	}
	for _, mode := range ladder {
		chain := e.ladder[mode].peer.chain
		if chain == nil {
			continue
		}
		if end := chain[0].NotAfter; now.Before(end) && now.After(end.Add(-certificateWarning)) {
			warn("the server's certificate expires on %s", plain.Day(end))
		}
		break
	}
}
