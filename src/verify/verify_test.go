package verify

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// Tests without a server. Those with one are in password_test.go and in the tests of the command.

func trust(origin string, cas ...*pgtest.CA) []wire.Anchor {
	var all []wire.Anchor
	for _, ca := range cas {
		all = append(all, wire.Anchor{Cert: ca.Cert, Origin: origin})
	}
	return all
}

func TestServersAnswerToPlainText(t *testing.T) {
	refuses := func(sqlstate, message string) wire.Attempt {
		return wire.Attempt{Refusal: &pgconn.PgError{Code: sqlstate, Message: message}}
	}
	for name, test := range map[string]struct {
		answer wire.Attempt
		result string
	}{
		"asks for a password":              {wire.Attempt{Asks: "a SCRAM password"}, Accepted},
		"asks for nothing":                 {wire.Attempt{Asks: "nothing"}, Accepted},
		"admits, but has no such database": {wire.Attempt{Asks: "nothing", Refusal: &pgconn.PgError{Code: "3D000"}}, Accepted},
		"no entry in pg_hba.conf":          {refuses("28000", `no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption`), Refused},
		"in another language":              {refuses("28000", "kein pg_hba.conf-Eintrag"), Refused},
		"Azure":                            {refuses("28000", "SSL connection is required. Please specify SSL options and retry."), Refused},
		"PgBouncer":                        {refuses("08P01", "SSL required"), Refused},
		"too many clients":                 {refuses("53300", "sorry, too many clients already"), Unknown},
		"starting up":                      {refuses("57P03", "the database system is starting up"), Unknown},
		"a SQLSTATE that is none":          {refuses("no such", "SSL required"), Refused},
		"no answer":                        {wire.Attempt{}, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			e := evidence{Target: &wire.Target{}, byMode: [sslmode.VerifyFull + 1]wire.Attempt{sslmode.Disable: test.answer}}
			result, why := e.plainText()
			assert.Equal(t, test.result, result)
			assert.NotContains(t, why, "no such")
		})
	}
}

func session(pid int, application string, tls bool) row {
	return row{Session: Session{Database: "app", PID: pid, Application: application, Address: "10.0.0.9"}, Port: 5000, TLS: &tls}
}

func TestSessionsOfTheUser(t *testing.T) {
	socket := session(4, "cron", false)
	socket.Port, socket.Address = -1, ""
	hidden := row{Session: Session{Database: "app", PID: 5}, Concealed: true}
	own := session(6, wire.ApplicationName, false)
	own.Own = true
	probe := session(7, wire.ApplicationName, false)

	for name, test := range map[string]struct {
		rows    []row
		asked   error
		problem string
		says    string
		listed  int
	}{
		"encrypted":                     {rows: []row{session(1, "a", true)}, listed: 1},
		"over a socket":                 {rows: []row{session(1, "a", true), socket}, listed: 2},
		"in plain text":                 {rows: []row{session(1, "a", true), session(2, "b", false)}, problem: PlainTextSession, says: "user app has sessions in plain text: pid 2 (b, 10.0.0.9)", listed: 2},
		"in plain text, without a name": {rows: []row{session(2, "", false)}, problem: PlainTextSession, says: "pid 2 (no application name, 10.0.0.9)", listed: 1},
		"many":                          {rows: []row{session(1, "a", false), session(2, "a", false), session(3, "a", false), session(4, "a", false), session(5, "a", false), session(6, "a", false), session(8, "a", false)}, problem: PlainTextSession, says: "pid 5 (a, 10.0.0.9), 2 more", listed: 7},
		"hidden":                        {rows: []row{session(1, "a", true), hidden}, problem: SessionsHidden, says: "pid 5", listed: 2},
		"behind a proxy":                {rows: []row{own}, problem: PlainTextSession, says: "which is this command's own: a proxy ends the TLS", listed: 1},
		"a probe on its way out":        {rows: []row{session(1, "a", true), probe}, listed: 1},
		"a session with a probe's name": {rows: []row{session(8, wire.ApplicationName, false)}, problem: PlainTextSession, says: "pid 8", listed: 1},
		"the query fails":               {asked: &pgconn.PgError{Code: "42P01", Message: "no such view"}, problem: SessionsHidden, says: "cannot be listed: no such view (SQLSTATE 42P01)"},
		"the query takes too long":      {asked: context.DeadlineExceeded, problem: SessionsHidden, says: "cannot be listed: no answer in time"},
		"a name with the password":      {rows: []row{session(1, "x"+password, false)}, problem: PlainTextSession, says: "pid 1 ((not shown: it contains the password), 10.0.0.9)", listed: 1},
		"no word about encryption":      {rows: []row{{Port: 5}}, problem: SessionsHidden, listed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			target := wire.Target{Address: wire.Address{Host: "h"}, User: "app", Database: "app", Password: password}
			e := evidence{Target: &target, sessions: test.rows, asked: test.asked,
				byMode: [sslmode.VerifyFull + 1]wire.Attempt{sslmode.Disable: {PID: 7, Asks: "nothing"}}}
			sessions, problem := e.judgeSessions()
			assert.Len(t, sessions, test.listed)
			if test.problem == "" {
				assert.Nil(t, problem)
				return
			}
			require.NotNil(t, problem)
			assert.Equal(t, test.problem, problem.Code)
			assert.Contains(t, problem.What, test.says)
		})
	}
}

// A server may list ten thousand.
func TestThePasswordIsSpelledOnceForAllSessions(t *testing.T) {
	target := wire.Target{User: "app", Password: binding.Secret(strings.Repeat("aB3x9Kq7", 25))}
	e := evidence{Target: &target, sessions: slices.Repeat([]row{session(2, "an application", true)}, 1000)}
	spelling := testing.AllocsPerRun(1, func() { target.Shown("an application") })
	each := testing.AllocsPerRun(1, func() { _, _ = e.judgeSessions() }) / 1000
	assert.Greater(t, spelling, 400.0, "control: allocations for a text alone")
	assert.Less(t, each, 100.0, "allocations for a session's five texts")
}

// The server sees the client's port, and the container knows its own.
func TestASessionFromThisContainersPortIsLikelyTheApps(t *testing.T) {
	proc := fstest.MapFS{"net/tcp": {Data: []byte("  sl  local_address rem_address   st\n   0: 0100007F:1387 0200007F:1538 01\n   1: bad\n   2: 0100007F:1388 0200007F:1538 01\n")}}
	target := wire.Target{Address: wire.Address{Host: "h"}, User: "app", Database: "app"}
	e := evidence{Target: &target, sessions: []row{session(2, "b", false)}, ports: localPorts(proc)}
	_, problem := e.judgeSessions()
	require.NotNil(t, problem)
	assert.Contains(t, problem.What, "pid 2 (b, 10.0.0.9), likely this app's")
	assert.Contains(t, problem.Do, "POSTGRES_SSL_TUNNEL=yes")
	e.ports = nil
	_, problem = e.judgeSessions()
	assert.NotContains(t, problem.What, "likely", "the control")
}

func TestACertificateThatExpiresSoonGivesAWarning(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	pair := ca.Issue(t, []string{"h"})
	asks := wire.Attempt{Asks: "a SCRAM password", ConnectionState: tls.ConnectionState{PeerCertificates: pair.Chain()}}
	e := evidence{Target: &wire.Target{Address: wire.Address{Host: "h"}, Mode: sslmode.VerifyFull}, byMode: [sslmode.VerifyFull + 1]wire.Attempt{
		sslmode.Disable: {Refusal: &pgconn.PgError{Code: "28000"}}, sslmode.Require: asks, sslmode.VerifyCA: asks, sslmode.VerifyFull: asks,
	}}
	for left, warnings := range map[time.Duration][]string{
		30 * 24 * time.Hour: {},
		29 * 24 * time.Hour: {"the server's certificate expires on " + plain.Day(pair.Cert.NotAfter)},
	} {
		assert.Equal(t, warnings, e.judge(pair.Cert.NotAfter.Add(-left)).Warnings)
	}
}

func TestTextIsAligned(t *testing.T) {
	report := Report{Databases: []Database{{
		Name: "console_db", Host: "h", Port: 5432, Database: "app", User: "app", Mode: "verify-full", ModeSource: "credential sslmode",
		TLS:         &TLS{"TLS 1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768"},
		Certificate: &Certificate{Issued{"h", "2030-01-02", 1, "ab12"}, []string{"h", "10.0.0.1"}, "Root", "RSA 2048"},
		Root:        &Root{Issued{"Root", "2020-01-02", -3, "cd34"}, "region us-west-2"},
		Modes:       []Outcome{{"disable", Refused, "SQLSTATE 28000"}, {"require", Works, ""}, {"verify-ca", Works, ""}, {"verify-full", Fails, "name-mismatch"}},
		Sessions: []Session{
			{"app", 7, "psql", "10.0.0.9", OverTLS, "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, false},
			{"größer", 12345, "", "fd00::1", OverPlain, "", "", 0, false},
			{"app", 99, "cron", "", OverSocket, "", "", 0, false},
		},
		OtherHosts: []OtherHost{{"replica", 5433, nil, nil}},
		Warnings:   []string{"a warning"},
		Problems:   []wire.Problem{{Code: "name-mismatch", What: "what is wrong", Do: "what helps"}},
	}}, Warnings: []string{"of the plan"}}
	var b strings.Builder
	require.NoError(t, report.Write(&b, false))
	assert.Equal(t, `console_db: FAILED
  server       h port 5432, database app, user app
  sslmode      verify-full, from credential sslmode
  connection   TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768
  certificate  h, RSA 2048, expires 2030-01-02, in 1 day
    names      h, 10.0.0.1
    issuer     Root
    SHA-256    ab12
  verified to  Root, expired 2020-01-02
    from       region us-west-2
  modes        disable      refused: SQLSTATE 28000
               require      works
               verify-ca    works
               verify-full  fails: name-mismatch  <- in force
  sessions     3 of user app
    database  pid    application  address   TLS     version  cipher                  bits
    app       7      psql         10.0.0.9  yes     TLSv1.3  TLS_AES_256_GCM_SHA384  256
    größer    12345               fd00::1   NO
    app       99     cron                   socket
  further host replica port 5433: ok
  warning      a warning
  problem      what is wrong
    what to do what helps

warning: of the plan
`, b.String())

	// Colours do not change the alignment.
	var coloured strings.Builder
	require.NoError(t, report.Write(&coloured, true))
	assert.Contains(t, coloured.String(), "  \x1b[31mproblem\x1b[0m      what is wrong\n")
	assert.Equal(t, b.String(), strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(coloured.String()))
}

func TestDatabasesAreTriedSideBySideWithinTheTimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // queues connections, and never answers
	require.NoError(t, err)
	defer listener.Close()
	silent := wire.Target{Address: wire.Address{Host: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port)}, User: "u", Mode: sslmode.VerifyFull, Others: []wire.Address{{Host: "localhost", Port: uint16(listener.Addr().(*net.TCPAddr).Port)}}}
	const timeout = time.Second
	begin := time.Now()
	report := Run(context.Background(), []wire.Target{silent, silent, silent, silent, silent}, nil, timeout)
	assert.Less(t, time.Since(begin), 4*timeout, "five of them")
	assert.False(t, report.OK)
	for _, db := range report.Databases {
		require.NotEmpty(t, db.Problems)
		assert.Equal(t, "timeout", db.Problems[0].Code)
	}
	begin = time.Now()
	_, open := Gate(t.Context(), []wire.Target{silent, silent, silent, silent, silent}, timeout)
	assert.Less(t, time.Since(begin), 4*timeout, "and before a start")
	assert.True(t, open)
}

func TestNothingIsWrittenToTheDatabase(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	pair := ca.Issue(t, []string{"localhost"})
	server := pgtest.Start(t, pgtest.Config{
		Certificate: pair.CertPEM, Key: pair.KeyPEM,
		HBA:      []string{"hostssl all app 127.0.0.1/32 scram-sha-256"},
		Settings: map[string]string{"log_statement": "'all'", "log_line_prefix": "'%u '", "log_error_verbosity": "'terse'"},
		SQL:      "create user app password '" + password + "'; create database app owner app;",
	})
	target := wire.Target{Name: "db", Address: wire.Address{Host: "localhost", Port: uint16(server.Port)}, Database: "app", User: "app", Password: password, Mode: sslmode.VerifyFull, Trust: trust("x", ca)}
	db, _ := verified(t, target)
	require.Empty(t, db.Problems)

	var statements, failures []string
	for line := range strings.Lines(server.Log(t)) {
		if rest, ok := strings.CutPrefix(line, "app LOG:  statement: "); ok {
			statements = append(statements, strings.TrimSpace(rest))
		}
		if strings.Contains(line, "FATAL") {
			failures = append(failures, strings.TrimSpace(line))
		}
	}
	assert.Equal(t, []string{"begin read only;"}, statements, "the first line of the only statement")
	assert.Equal(t, []string{`app FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "app", database "app", no encryption`}, failures, "the probe for plain text leaves this in the log")

	// The transaction cannot write.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, attempt := target.LogIn(ctx, wire.Login{})
	require.Nil(t, attempt.Problem)
	defer conn.Close(context.Background())
	begin, rest, _ := strings.Cut(sessionsQuery, ";")
	require.NotEmpty(t, rest)
	_, err := conn.Exec(t.Context(), begin+"; create table t ()").ReadAll()
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "25006", refused.Code, "read_only_sql_transaction")
}

// A service may hold an example, or the address of a pooler in another container.
func TestAFurtherConnectionStringWithoutAServerIsAWarning(t *testing.T) {
	target := wire.Target{Name: "db (example.uri)", Address: wire.Address{Host: "127.0.0.1", Port: 1}, User: "u", Mode: sslmode.VerifyFull}
	for further, ok := range map[bool]bool{true: true, false: false} {
		target.Further = further
		db := Run(t.Context(), []wire.Target{target}, nil, 2*time.Minute).Databases[0]
		assert.Equal(t, ok, db.OK)
		assert.Len(t, db.Warnings, map[bool]int{true: 1, false: 0}[further])
		lines, open := Gate(t.Context(), []wire.Target{target}, 2*time.Minute)
		assert.True(t, open)
		assert.Contains(t, lines[0], "nothing listens at 127.0.0.1:1")
	}
}

func TestOverAUnixSocketThereIsNothingToVerify(t *testing.T) {
	for credentials, isSocket := range map[string]bool{
		`"uri": "postgres://u@/d?host=/var/run/postgresql&sslmode=verify-full"`:              true,
		`"uri": "postgres://u@%2Fvar%2Frun%2Fpostgresql/d?sslmode=verify-full"`:              true,
		`"uri": "host=/var/run/postgresql user=u dbname=d sslmode=verify-full"`:              true,
		`"hostname": "/cloudsql/project:region:name", "username": "u", "sslmode": "require"`: true,
		`"uri": "postgres://u@/d?sslmode=verify-full"`:                                       false,
	} {
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x": [{"name": "db", "tags": ["postgresql"], "credentials": {` + credentials + `}}]}`})
		require.NoError(t, err)
		plan, err := launch.Decide(nil, found, truststore.Store{})
		require.NoError(t, err)
		targets := wire.Targets(current.App{Plan: plan}, false)
		report := Run(t.Context(), targets, nil, time.Minute)
		assert.Equal(t, isSocket, report.OK, credentials)
		lines, open := Gate(t.Context(), targets, time.Minute)
		assert.Equal(t, isSocket, open, "the control: without a host, an app does not start")
		assert.Equal(t, isSocket, strings.Contains(lines[0], "names a Unix socket, which crosses no network: there is nothing to verify"), lines[0])
	}
}

// A host and a database on port 5432 are very likely Postgres, but nobody said so.
func TestTheGateStopsNothingForADatabaseKnownByItsKeysAlone(t *testing.T) {
	b := binding.Binding{Name: "db", Hosts: []string{"h.example.com"}, Ports: []string{"5432"}, Database: "d"}
	for _, byKeys := range []bool{true, false} {
		b.Guessed = byKeys
		plan, err := launch.Decide(nil, binding.Bound{Databases: []binding.Binding{b}}, truststore.Store{})
		require.NoError(t, err)
		targets := wire.Targets(current.App{Plan: plan}, false)
		lines, open := Gate(t.Context(), targets, 2*time.Minute)
		assert.Equal(t, byKeys, open, "the control: else a binding without a user stops the start")
		assert.Contains(t, lines[0], "the binding names no user")
		assert.Equal(t, byKeys, strings.HasSuffix(lines[0], "the app starts all the same"), lines[0])
	}
}
