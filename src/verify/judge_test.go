package verify

import (
	"context"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// What the tries of the modes have shown, and what verify says of it.
func TestWhatTheTriesShowIsJudged(t *testing.T) {
	const disable, require, verifyCA, verifyFull = sslmode.Disable, sslmode.Require, sslmode.VerifyCA, sslmode.VerifyFull
	type tries map[sslmode.Mode]wire.Attempt
	works := wire.Attempt{Asks: "a SCRAM password"}
	refuses := wire.Attempt{Refusal: &pgconn.PgError{Code: "28000"}, Problem: &wire.Problem{Code: "not-allowed"}}
	fails := func(code string) wire.Attempt {
		return wire.Attempt{Problem: &wire.Problem{Code: code, What: "it fails", Do: "mend it"}}
	}
	good := tries{disable: refuses, require: works, verifyCA: works, verifyFull: works}
	on := func(base tries, change tries) tries {
		all := tries{}
		for _, from := range []tries{base, change} {
			for mode, a := range from {
				all[mode] = a
			}
		}
		return all
	}
	untrusted := on(good, tries{verifyCA: fails("unknown-ca"), verifyFull: fails("unknown-ca")})
	misnamed := on(good, tries{verifyFull: fails("name-mismatch")})
	away := tries{disable: fails("refused"), require: fails("refused"), verifyCA: fails("refused"), verifyFull: fails("refused")}
	noTLS := tries{disable: works, require: fails("no-tls"), verifyCA: fails("no-tls"), verifyFull: fails("no-tls")}
	ca := pgtest.NewCA(t, "Root", func(c *x509.Certificate) { c.KeyUsage = 0 })
	bare := good[verifyFull]
	bare.Path = ca.Issue(t, []string{"h"}).Chain(ca)

	for name, test := range map[string]struct {
		mode, asked sslmode.Mode
		tries       tries
		login       *wire.Attempt
		others      []wire.Attempt
		edit        func(*wire.Target)
		problems    []wire.Problem
		warnings    []string
	}{
		"all is well":      {mode: verifyFull, asked: verifyFull, tries: good},
		"the login fails":  {mode: verifyFull, tries: good, login: &wire.Attempt{Problem: &wire.Problem{Code: "password-refused"}}, problems: []wire.Problem{{Code: "password-refused"}}},
		"the login works":  {mode: verifyFull, tries: good, login: &wire.Attempt{}},
		"it is refused":    {mode: verifyFull, tries: untrusted, problems: []wire.Problem{{Code: "unknown-ca", What: "it fails", Do: "mend it"}}},
		"nobody is there":  {mode: disable, tries: away, problems: []wire.Problem{{Code: "refused", What: "it fails", Do: "mend it"}}},
		"allow, and away":  {mode: sslmode.Allow, tries: away, problems: []wire.Problem{{Code: "refused", What: "it fails", Do: "mend it"}}},
		"prefer, and away": {mode: sslmode.Prefer, tries: away, problems: []wire.Problem{{Code: "refused", What: "it fails", Do: "mend it"}}},
		"none in force": {tries: good,
			warnings: []string{"no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text, as Stratos does; verify-full works on this server"}},
		"none in force, and no better one": {tries: untrusted,
			warnings: []string{"no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text, as Stratos does"}},
		"require, and verify-full works": {mode: require, tries: good, warnings: []string{"sslmode require accepts any certificate; verify-full works on this server"}},
		"require, and verify-ca works":   {mode: require, tries: misnamed, warnings: []string{"sslmode require accepts any certificate; verify-ca works on this server"}},
		"require, and nothing better":    {mode: require, tries: untrusted},
		"disable": {mode: disable, tries: good,
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode disable asks for plain text", Do: "set PGSSLMODE to verify-full"}}},
		"disable, and verify-ca works": {mode: disable, tries: misnamed,
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode disable asks for plain text", Do: "set PGSSLMODE to verify-ca"}}},
		"disable, without TLS": {mode: disable, tries: noTLS, warnings: []string{"the server accepts plain text; to have it refused, write hostssl for host in its pg_hba.conf"},
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode disable asks for plain text", Do: "set PGSSLMODE to verify-full"}}},
		"allow, where plain text is refused": {mode: sslmode.Allow, tries: good, warnings: []string{"sslmode allow accepts any certificate; verify-full works on this server"}},
		"allow, where it is not": {mode: sslmode.Allow, tries: on(untrusted, tries{disable: works}), warnings: []string{"the server accepts plain text; to have it refused, write hostssl for host in its pg_hba.conf"},
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode allow asks for plain text", Do: "set PGSSLMODE to verify-full"}}},
		"prefer, without TLS": {mode: sslmode.Prefer, tries: noTLS, warnings: []string{"the server accepts plain text; to have it refused, write hostssl for host in its pg_hba.conf"},
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode prefer falls back to plain text on this server, because TLS fails: it fails", Do: "mend it"}}},
		"none in force, without TLS": {tries: noTLS, warnings: []string{"no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text, as Stratos does",
			"the server accepts plain text; to have it refused, write hostssl for host in its pg_hba.conf"},
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode prefer falls back to plain text on this server, because TLS fails: it fails", Do: "mend it"}}},
		"require, without TLS": {mode: require, tries: noTLS, warnings: []string{"the server accepts plain text; to have it refused, write hostssl for host in its pg_hba.conf"},
			problems: []wire.Problem{{Code: "no-tls", What: "it fails", Do: "mend it"}}},
		"weaker than asked": {mode: verifyCA, asked: verifyFull, tries: good,
			problems: []wire.Problem{{Code: WeakerThanAsked, What: "sslmode verify-ca is in force (a rule), but the binding asks for verify-full", Do: "set PGSSLMODE to verify-full"}}},
		"weaker than asked, by the owner": {mode: verifyCA, asked: verifyFull, tries: good, edit: func(t *wire.Target) { t.Owned = true },
			problems: []wire.Problem{{Code: WeakerThanAsked, What: "sslmode verify-ca is in force (a rule), but the binding asks for verify-full", Do: "set PGSSLMODE to verify-full, or unset it"}}},
		"none, and one is asked for": {asked: verifyFull, tries: untrusted, warnings: []string{"no sslmode is in force; tried as prefer, libpq's default, but a driver may choose plain text, as Stratos does"},
			problems: []wire.Problem{{Code: WeakerThanAsked, What: "no sslmode is in force (a rule), but the binding asks for verify-full", Do: "set PGSSLMODE to verify-full"}}},
		"weaker than asked, and refused": {mode: verifyCA, asked: verifyFull, tries: untrusted, problems: []wire.Problem{{Code: "unknown-ca", What: "it fails", Do: "mend it"},
			{Code: WeakerThanAsked, What: "sslmode verify-ca is in force (a rule), but the binding asks for verify-full", Do: "set PGSSLMODE to verify-full"}}},
		"disable, and verify-full is asked for": {mode: disable, asked: verifyFull, tries: untrusted,
			problems: []wire.Problem{{Code: PlainTextMode, What: "sslmode disable asks for plain text", Do: "set PGSSLMODE to verify-full"}}},
		"plain text is accepted": {mode: verifyFull, tries: on(good, tries{disable: works}),
			warnings: []string{"the server accepts plain text; to have it refused, write hostssl for host in its pg_hba.conf"}},
		"plain text is accepted by RDS": {mode: verifyFull, tries: on(good, tries{disable: works}), edit: func(t *wire.Target) { t.Host = "db.abc123.us-west-2.rds.amazonaws.com" },
			warnings: []string{"the server accepts plain text; to have it refused, set rds.force_ssl = 1 in its parameter group"}},
		"a CA that Python refuses": {mode: verifyFull, tries: on(good, tries{verifyFull: bare}),
			warnings: []string{`"Root" has no keyUsage; Python 3.13 and later refuse that where a driver uses the default context: ` +
				"make the CA's certificates again, with subjectKeyIdentifier, authorityKeyIdentifier and keyUsage"}},
		"further hosts, one of them away": {mode: verifyFull, tries: good, others: []wire.Attempt{{}, fails("refused")}, warnings: []string{"further host: it fails"}},
		"a problem without a connection": {mode: verifyFull, asked: verifyFull, edit: func(t *wire.Target) { t.Problem = &wire.Problem{Code: "mode-unknown"} },
			problems: []wire.Problem{{Code: "mode-unknown"}}},
	} {
		t.Run(name, func(t *testing.T) {
			target := wire.Target{Address: wire.Address{Host: "h"}, User: "app", Mode: test.mode, Asked: test.asked, Source: "a rule", Lever: "PGSSLMODE", Others: []wire.Address{{Host: "a", Port: 1}, {Host: "b", Port: 2}}}
			if test.edit != nil {
				test.edit(&target)
			}
			e := evidence{Target: &target, login: test.login, others: test.others}
			for mode, a := range test.tries {
				a.Mode = mode
				e.byMode[mode] = a
			}
			db := e.judge(time.Now())
			assert.Equal(t, append([]wire.Problem{}, test.problems...), db.Problems)
			assert.Equal(t, append([]string{}, test.warnings...), db.Warnings)
			assert.Equal(t, len(test.problems) == 0, db.OK)
			assert.Len(t, db.Modes, len(test.tries))
			assert.Len(t, db.OtherHosts, len(test.others))
		})
	}
}

// A replica that nobody can reach is a warning. One that takes the connection and does not answer is
// a problem, and it stops a checked start.
func TestAFurtherHostThatTakesTheConnectionHasToAnswer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	judged := func(port int) Database {
		target := wire.Target{Address: wire.Address{Host: "h"}, User: "app", Mode: sslmode.VerifyFull, Others: []wire.Address{{Host: "127.0.0.1", Port: uint16(port)}}}
		e := evidence{Target: &target, others: []wire.Attempt{target.Probe(ctx, target.Others[0], target.Mode)}}
		db := Database{}
		e.judgeOthers(&db, time.Now())
		return db
	}
	db := judged(pgtest.Listen(t, func(net.Conn) {}))
	require.Len(t, db.Problems, 1)
	assert.Equal(t, OtherHostFails, db.Problems[0].Code)
	assert.Empty(t, db.Warnings)

	db = judged(pgtest.Nobody(t)) // the control
	assert.Empty(t, db.Problems)
	assert.Len(t, db.Warnings, 1)
}
