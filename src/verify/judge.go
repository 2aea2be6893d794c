package verify

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// judge turns the evidence into a finding.
func (e *evidence) judge(now time.Time) Database {
	db := Database{
		Name: e.Name, Host: e.Host, Port: int(e.Port), Database: e.Database, User: e.User,
		Mode: e.Mode.String(), ModeSource: e.Source, Asked: e.Asked.String(), AskedSource: e.AskedSource,
		Modes: []Outcome{}, OtherHosts: []OtherHost{}, Problems: []wire.Problem{}, Warnings: []string{},
	}
	p := e.connectionProblem()
	if p != nil && e.Further && p.NotThere() {
		db.Warnings = append(db.Warnings, "not verified: "+p.What)
	} else {
		db.add(p)
	}
	if e.Problem == nil {
		e.describe(&db, now)
		if e.Asked > e.Mode && (p == nil || p.Code != PlainTextMode) {
			db.add(e.weakerThanAsked())
		}
		if e.login != nil && e.login.Problem == nil {
			db.Sessions, p = e.judgeSessions()
			db.add(p)
		}
		e.judgeOthers(&db, now)
		e.warn(&db)
	}
	db.OK = len(db.Problems) == 0
	return db
}

func (db *Database) add(p *wire.Problem) {
	if p != nil {
		db.Problems = append(db.Problems, *p)
	}
}

// printable makes every text one printable line: it may come from a binding or a server.
func printable(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(plain.Line(v.String()))
	case reflect.Pointer:
		printable(v.Elem()) // of none, which is of no kind
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

// seen is the login if there was one, else the probe in its mode.
func (e *evidence) seen() wire.Attempt {
	if e.login != nil && e.login.PeerCertificates != nil {
		return *e.login
	}
	return e.byMode[e.LoginMode()]
}

func (e *evidence) describe(db *Database, now time.Time) {
	for _, a := range e.byMode {
		o := Outcome{a.Mode.String(), Works, ""}
		switch {
		case a.Mode == sslmode.None:
			continue
		case a.Mode == sslmode.Disable:
			o.Result, o.Why = e.plainText()
		case a.Problem != nil:
			o.Result, o.Why = Fails, a.Problem.Code
		}
		db.Modes = append(db.Modes, o)
	}
	seen := e.seen()
	if seen.PeerCertificates == nil {
		return
	}
	c := seen.PeerCertificates[0]
	db.Certificate = &Certificate{e.issued(c, now), e.Names(c), e.Shown(truststore.Name(c.Issuer)), describeKey(c)}
	db.Root = e.root(seen, now)
	db.TLS = &TLS{Version: tls.VersionName(seen.Version), Cipher: tls.CipherSuiteName(seen.CipherSuite)}
	if seen.CurveID != 0 {
		db.TLS.Group = seen.CurveID.String()
	}
}

func (e *evidence) issued(c *x509.Certificate, now time.Time) Issued {
	left := math.Floor(c.NotAfter.Sub(now).Hours() / 24)
	return Issued{e.Shown(truststore.Name(c.Subject)), plain.Day(c.NotAfter), int(left), truststore.Fingerprint(c)}
}

func (e *evidence) root(a wire.Attempt, now time.Time) (root *Root) {
	if a.Root != nil {
		root = &Root{e.issued(a.Root.Cert, now), a.Root.Origin}
	}
	return root
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

// connectionProblem returns what keeps the app from a connection as secure as its mode asks.
func (e *evidence) connectionProblem() *wire.Problem {
	if e.Problem != nil {
		return e.Problem
	}
	p := e.byMode[e.LoginMode()].Problem
	answer, _ := e.plainText()
	isReached := p == nil || answer != Unknown
	wantsPlain := e.Mode == sslmode.Disable || e.Mode == sslmode.Allow && answer != Refused
	switch {
	case isReached && wantsPlain:
		return &wire.Problem{Code: PlainTextMode, What: "sslmode " + e.Mode.String() + " asks for plain text",
			Do: fmt.Sprintf("set %s to %s", e.Lever, cmp.Or(e.strictest(), sslmode.VerifyFull))}
	case p == nil && e.login != nil:
		return e.login.Problem
	case p != nil && !e.Mode.Encrypts() && answer == Accepted:
		return &wire.Problem{Code: PlainTextMode, Do: p.Do,
			What: fmt.Sprintf("sslmode %s falls back to plain text on this server, because TLS fails: %s", cmp.Or(e.Mode, sslmode.Prefer), p.What)}
	}
	return p
}

func (e *evidence) weakerThanAsked() *wire.Problem {
	remedy := fmt.Sprintf("set %s to %s", e.Lever, e.Asked)
	if e.Owned {
		remedy += ", or unset it"
	}
	force := "sslmode " + e.Mode.String()
	if e.Mode == sslmode.None {
		force = "no sslmode"
	}
	return &wire.Problem{Code: WeakerThanAsked, Do: remedy,
		What: fmt.Sprintf("%s is in force (%s), but the binding asks for %s", force, e.Source, e.Asked)}
}

// strictest returns the strictest verifying mode that worked on the server, or None.
func (e *evidence) strictest() sslmode.Mode {
	for _, mode := range []sslmode.Mode{sslmode.VerifyFull, sslmode.VerifyCA} {
		if a := e.byMode[mode]; a.Mode == mode && a.Problem == nil {
			return mode
		}
	}
	return sslmode.None
}

// plainText says whether a server accepts plain text. A request for the password means yes:
// pg_hba.conf has let the connection pass. An authorization error means no (no pg_hba.conf entry, "no
// encryption"; RDS with rds.force_ssl = 1). So does an error that asks for SSL (PgBouncer, Azure).
func (e *evidence) plainText() (result, why string) {
	a := e.byMode[sslmode.Disable]
	switch r := cmp.Or(a.Refusal, &pgconn.PgError{}); {
	case a.Asks != "":
		return Accepted, "asks for " + a.Asks
	case r.Code == "28000", strings.Contains(r.Message, "SSL"), strings.Contains(r.Message, "TLS"):
		return Refused, strings.Trim(e.SQLState(r.Code), " ()")
	case a.Problem != nil:
		return Unknown, a.Problem.Code
	}
	return Unknown, ""
}

func (e *evidence) refusePlainText() string {
	if endpoint, _ := rds.Parse(e.Host); endpoint.Service == rds.RDS {
		return "set rds.force_ssl = 1 in its parameter group"
	}
	return "write hostssl for host in its pg_hba.conf"
}

// judgeOthers: a further host that cannot be reached is only a warning, as a replica may be away.
func (e *evidence) judgeOthers(db *Database, now time.Time) {
	for i, a := range e.others {
		to, p := e.Others[i], a.Problem
		db.OtherHosts = append(db.OtherHosts, OtherHost{Host: to.Host, Port: int(to.Port), Root: e.root(a, now), Problem: p})
		if p != nil && a.Dialed() {
			db.add(&wire.Problem{Code: OtherHostFails, What: "further host: " + p.What, Do: p.Do})
		} else if p != nil {
			db.Warnings = append(db.Warnings, "further host: "+p.What)
		}
	}
}

// endsSoon says whether to warn of a server's certificate. RDS renews it by itself.
func (c *Certificate) endsSoon() bool { return c != nil && c.DaysLeft >= 0 && c.DaysLeft < 30 }

func (e *evidence) warn(db *Database) {
	warn := func(format string, args ...any) { db.Warnings = append(db.Warnings, fmt.Sprintf(format, args...)) }
	advice := ""
	if best := e.strictest(); best != sslmode.None {
		advice = fmt.Sprintf("; %s works on this server", best)
	}
	switch {
	case e.Mode == sslmode.None:
		warn("no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text, as Stratos does%s", advice)
	case e.Mode != sslmode.Disable && !e.Mode.Verifies() && advice != "":
		warn("sslmode %s accepts any certificate%s", e.Mode, advice)
	}
	// These drivers ask for more than their mode says, as measured in docs/drivers.md.
	if p := e.byMode[sslmode.VerifyFull].Unverified(); p != nil && len(db.Problems) == 0 {
		who := "node-postgres and Erlang verify in every mode"
		if e.Mode == sslmode.VerifyCA {
			who = "lib/pq (and so Stratos), node-postgres and Erlang check the name with verify-ca, too"
		}
		warn("%s, and refuse this server: %s", who, p.What)
	}
	if why := e.OpenSSLRefuses(e.seen().Path, true); why != "" {
		warn("%s; Python 3.13 and later refuse that where a driver uses the default context: "+
			"make the CA's certificates again, with subjectKeyIdentifier, authorityKeyIdentifier and keyUsage", why)
	}
	if answer, _ := e.plainText(); answer == Accepted {
		warn("the server accepts plain text; to have it refused, %s", e.refusePlainText())
	}
	if c := db.Certificate; c.endsSoon() {
		warn("the server's certificate expires on %s", c.NotAfter)
	}
}
