package verify

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// judge turns the evidence into a finding. It is a pure function.
func (e *evidence) judge(now time.Time) Database {
	db := Database{
		Name: e.Name, Host: e.Host, Port: int(e.Port), Database: e.Database, User: e.User,
		Mode: e.Mode.String(), ModeSource: e.Source, Asked: e.Asked.String(), AskedSource: e.AskedSource,
		Modes: []Outcome{}, OtherHosts: []OtherHost{}, Problems: []wire.Problem{}, Warnings: []string{},
	}
	if e.Problem != nil {
		e.addProblem(&db, *e.Problem)
		return finish(db)
	}
	for _, mode := range ladder {
		if a, tried := e.byMode[mode]; tried {
			db.Modes = append(db.Modes, e.outcome(a))
		}
	}
	e.show(&db, now)
	p := e.connectionProblem()
	if p != nil {
		e.addProblem(&db, *p)
	}
	if e.Asked > e.Mode && (p == nil || p.Code != PlainTextMode) {
		db.Problems = append(db.Problems, e.weakerThanAsked())
	}
	if e.login != nil && e.login.Admits {
		var p *wire.Problem
		if db.Sessions, p = e.judgeSessions(); p != nil {
			db.Problems = append(db.Problems, *p)
		}
	}
	e.judgeOthers(&db, now)
	e.warn(&db)
	return finish(db)
}

// addProblem records a problem. If there is no server at a service's further connection string,
// that is only a warning.
func (e *evidence) addProblem(db *Database, p wire.Problem) {
	if e.Further && p.NotThere() {
		db.Warnings = append(db.Warnings, "a further connection string of the service: "+p.What)
		return
	}
	db.Problems = append(db.Problems, p)
}

// finish makes every text one printable line: it may come from a binding or a server.
func finish(db Database) Database {
	db.OK = len(db.Problems) == 0
	printable(reflect.ValueOf(&db))
	return db
}

func printable(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(plain.Line(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			printable(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			printable(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			printable(v.Index(i))
		}
	}
}

// seen is what the handshake showed, the login's if there was one, else that of the probe in its
// mode.
func (e *evidence) seen() wire.Peer {
	if e.login != nil && e.login.Chain != nil {
		return e.login.Peer
	}
	return e.byMode[e.LoginMode()].Peer
}

// show fills in what the handshake showed.
func (e *evidence) show(db *Database, now time.Time) {
	seen := e.seen()
	if seen.Chain == nil {
		return
	}
	db.Certificate = e.describeCertificate(seen.Chain[0], now)
	db.Root = describeRoot(seen.Root, now)
	db.TLS = &TLS{Version: tls.VersionName(seen.Version), Cipher: tls.CipherSuiteName(seen.Cipher)}
	if seen.Group != 0 {
		db.TLS.Group = seen.Group.String()
	}
}

// connectionProblem returns what keeps the app from a connection as secure as its mode asks.
func (e *evidence) connectionProblem() *wire.Problem {
	p := e.diagnose(e.byMode[e.LoginMode()])
	answer, _ := e.plainText(e.byMode[sslmode.Disable])
	reached := p == nil || answer != Unknown
	remedy := fmt.Sprintf("set %s to verify-full", e.Lever)
	if best := e.strictest(); best != sslmode.None {
		remedy = fmt.Sprintf("set %s to %s, which works on this server", e.Lever, best)
	}
	switch {
	case e.Mode == sslmode.Disable && reached:
		return &wire.Problem{Code: PlainTextMode, What: "sslmode disable asks for plain text", Do: remedy}
	case e.Mode == sslmode.Allow && reached && answer != Refused:
		return &wire.Problem{Code: PlainTextMode, What: "sslmode allow begins in plain text, and this server does not refuse it", Do: remedy}
	case !e.Mode.Encrypts() && p != nil && answer == Accepted:
		return &wire.Problem{Code: PlainTextMode,
			What: fmt.Sprintf("sslmode %s falls back to plain text on this server, because TLS fails: %s", e.shownMode(), p.What), Do: p.Do}
	case p != nil && e.byMode[e.LoginMode()].Unverified() != nil:
		return &wire.Problem{Code: p.Code, What: p.What + e.withoutVerification(), Do: p.Do}
	case p != nil:
		return p
	case e.login != nil:
		return e.diagnose(*e.login)
	}
	return nil
}

// withoutVerification says whether the certificate is the only thing that is wrong.
func (e *evidence) withoutVerification() string {
	unverified, tried := e.byMode[sslmode.Require]
	if !tried {
		return ""
	}
	if p := e.diagnose(unverified); p != nil {
		return " (and without verification it fails, too: " + p.Code + ")"
	}
	return " (without verification the server answers, so it is the certificate alone)"
}

// weakerThanAsked reports a mode in force that is weaker than the binding's own.
func (e *evidence) weakerThanAsked() wire.Problem {
	force := "no sslmode is in force"
	if e.Mode != sslmode.None {
		force = "sslmode " + e.Mode.String() + " is in force"
	}
	remedy := fmt.Sprintf("set %s to %s", e.Lever, e.Asked)
	if e.Owned {
		remedy += ", or unset it"
	}
	return wire.Problem{Code: WeakerThanAsked, What: fmt.Sprintf("%s (%s), but the binding asks for %s", force, e.Source,
		e.Asked), Do: remedy}
}

// strictest returns the strictest verifying mode that worked on the server, or None.
func (e *evidence) strictest() sslmode.Mode {
	for _, mode := range []sslmode.Mode{sslmode.VerifyFull, sslmode.VerifyCA} {
		if a, tried := e.byMode[mode]; tried && e.diagnose(a) == nil {
			return mode
		}
	}
	return sslmode.None
}

// shownMode is the mode in force, or libpq's default if there is none.
func (e *evidence) shownMode() string {
	if e.Mode == sslmode.None {
		return sslmode.Prefer.String()
	}
	return e.Mode.String()
}

// outcome says what a mode would do, judging by its attempt.
func (e *evidence) outcome(a wire.Attempt) Outcome {
	o := Outcome{Mode: a.Mode.String()}
	if a.Mode != sslmode.Disable {
		o.Result = Works
		if p := e.diagnose(a); p != nil {
			o.Result, o.Why = Fails, p.Code
		}
		return o
	}
	o.Result, o.Why = e.plainText(a)
	if o.Result == Unknown {
		o.Why = e.diagnose(a).Code
	}
	return o
}

// plainText says whether a server accepts plain text, judging by its answer to a connection that
// begins in it. A request for the password means yes: pg_hba.conf has let the connection pass. An
// authorization error means no (no pg_hba.conf entry, "no encryption"; RDS with rds.force_ssl = 1).
// So does an error that asks for SSL (PgBouncer, Azure). Any other error says nothing.
func (e *evidence) plainText(a wire.Attempt) (result, why string) {
	switch {
	case a.Asks != "":
		return Accepted, "asks for " + a.Asks
	case a.Admits:
		return Accepted, "asks for nothing"
	case a.Refusal == nil:
		return Unknown, ""
	}
	r := a.Refusal
	if r.SQLState == "28000" || strings.Contains(r.Message, "SSL") || strings.Contains(r.Message, "TLS") {
		return Refused, strings.Trim(e.SQLState(r.SQLState), " ()")
	}
	return Unknown, ""
}

// advicePlainText says how to make a server refuse plain text.
func advicePlainText(host string) string {
	if endpoint, _ := rds.Parse(host); endpoint.Service == rds.RDS {
		return "set rds.force_ssl = 1 in its parameter group"
	}
	return "write hostssl for host in its pg_hba.conf"
}

func (e *evidence) describeCertificate(c *x509.Certificate, now time.Time) *Certificate {
	return &Certificate{
		Subject:     e.Shown(truststore.CommonName(c)),
		Names:       append([]string{}, e.Names(c)...),
		Issuer:      e.Shown(truststore.IssuerName(c)),
		NotAfter:    plain.Day(c.NotAfter),
		DaysLeft:    daysLeft(c, now),
		Key:         describeKey(c),
		Fingerprint: truststore.Fingerprint(c),
	}
}

func describeRoot(a *wire.Anchor, now time.Time) *Root {
	if a == nil {
		return nil
	}
	return &Root{
		Subject:     truststore.CommonName(a.Cert),
		NotAfter:    plain.Day(a.Cert.NotAfter),
		DaysLeft:    daysLeft(a.Cert, now),
		Fingerprint: truststore.Fingerprint(a.Cert),
		Origin:      a.Origin,
	}
}

func daysLeft(c *x509.Certificate, now time.Time) int {
	return int(math.Floor(c.NotAfter.Sub(now).Hours() / 24))
}

func describeKey(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	}
	return c.PublicKeyAlgorithm.String()
}

// judgeOthers reports what is wrong with the further hosts. One that cannot be reached is only a
// warning: a replica may be away, and nothing insecure has happened.
func (e *evidence) judgeOthers(db *Database, now time.Time) {
	for i, a := range e.others {
		to := e.Others[i]
		other := OtherHost{Host: to.Host, Port: int(to.Port), Root: describeRoot(a.Root, now), Problem: e.Diagnose(a, to)}
		db.OtherHosts = append(db.OtherHosts, other)
		switch {
		case other.Problem == nil:
		case !a.Dialed():
			db.Warnings = append(db.Warnings, "further host: "+other.Problem.What)
		default:
			db.Problems = append(db.Problems, wire.Problem{Code: OtherHostFails, What: "further host: " + other.Problem.What,
				Do: other.Problem.Do})
		}
	}
}

// endsSoon says whether to warn of a server's certificate. RDS renews it by itself.
func (c *Certificate) endsSoon() bool { return c != nil && c.DaysLeft >= 0 && c.DaysLeft < 30 }

// warn adds what is worth knowing, but not wrong.
func (e *evidence) warn(db *Database) {
	warn := func(format string, args ...any) { db.Warnings = append(db.Warnings, fmt.Sprintf(format, args...)) }
	advice := ""
	if best := e.strictest(); best != sslmode.None {
		advice = fmt.Sprintf("; %s works on this server", best)
	}
	switch e.Mode {
	case sslmode.None:
		warn("no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text%s", advice)
	case sslmode.Allow, sslmode.Prefer, sslmode.Require:
		if advice != "" {
			warn("sslmode %s accepts any certificate%s", e.Mode, advice)
		}
	}
	// These drivers ask for more than their mode says, as measured in docs/drivers.md.
	if p := e.byMode[sslmode.VerifyFull].Unverified(); p != nil && len(db.Problems) == 0 {
		if e.Mode == sslmode.VerifyCA {
			warn("lib/pq (and so Stratos), node-postgres and Erlang check the name with verify-ca, too, and refuse this server: %s", p.What)
		} else {
			warn("node-postgres and Erlang verify in every mode, and refuse this server: %s", p.What)
		}
	}
	if why := e.StrictlyRefused(e.seen().Path); why != "" {
		warn("%s; Python 3.13 and later refuse that where a driver uses the default context: "+
			"make the CA's certificates again, with subjectKeyIdentifier, authorityKeyIdentifier and keyUsage", why)
	}
	if answer, _ := e.plainText(e.byMode[sslmode.Disable]); answer == Accepted {
		warn("the server accepts plain text; to have it refused, %s", advicePlainText(e.Host))
	}
	if c := db.Certificate; c.endsSoon() {
		warn("the server's certificate expires on %s", c.NotAfter)
	}
}
