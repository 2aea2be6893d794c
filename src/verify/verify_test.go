package verify

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// Tests without a server. Those with one are in password_test.go and in the tests of the command.

const west = "db.abc123.us-west-2.rds.amazonaws.com"

func chain(pair pgtest.Pair, cas ...*pgtest.CA) []*x509.Certificate {
	certs := []*x509.Certificate{pair.Cert}
	for _, ca := range cas {
		certs = append(certs, ca.Cert)
	}
	return certs
}

func trust(origin string, cas ...*pgtest.CA) []Anchor {
	var all []Anchor
	for _, ca := range cas {
		all = append(all, Anchor{ca.Cert, origin})
	}
	return all
}

func TestVerifyChain(t *testing.T) {
	root, other := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Other")
	middle := root.Intermediate(t, "Middle")
	direct, indirect := root.Issue(t, []string{west}), middle.Issue(t, []string{west})
	imposter := pgtest.NewCA(t, "Root") // the same name, another key
	late := middle.Issue(t, []string{west}, pgtest.Expired)
	oldMiddle := root.Intermediate(t, "Old Middle", pgtest.Expired)
	oldRoot := pgtest.NewCA(t, "Old Root", pgtest.Expired)
	inOrganization := func(c *x509.Certificate) { c.Subject.Organization = []string{"Organization"} }
	organization := pgtest.NewCA(t, "Organization Root", inOrganization)
	region := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	far := pgtest.NewCA(t, "Amazon RDS af-south-1 Root CA RSA2048 G1")
	named := organization.Intermediate(t, "Intermediate", func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "Nameless"} })
	toNamed := named.Issue(t, []string{west}, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{authorityKey(t, organization.Cert)} })

	for name, test := range map[string]struct {
		chain   []*x509.Certificate
		trust   []Anchor
		known   []Anchor
		mode    sslmode.Mode
		host    string
		problem string // the code, "" for none
		says    string // a part of what is said
	}{
		"a root that is trusted":                    {chain: chain(direct), trust: trust("x", root)},
		"an intermediate that is sent":              {chain: chain(indirect, middle), trust: trust("x", root)},
		"an intermediate beside the root":           {chain: chain(indirect), trust: trust("x", root, middle)},
		"more than is needed, in any order":         {chain: chain(indirect, other, root, middle), trust: trust("x", other, root)},
		"no verification":                           {chain: chain(late), mode: sslmode.Require},
		"another name, verify-ca":                   {chain: chain(direct), trust: trust("x", root), mode: sslmode.VerifyCA, host: "h"},
		"another name, verify-full":                 {chain: chain(direct), trust: trust("x", root), host: "h", problem: NameMismatch, says: "not issued for h, but for " + west},
		"another name, from nobody":                 {chain: chain(direct), host: "h", problem: UnknownCA},
		"nobody is trusted":                         {chain: chain(direct), problem: UnknownCA, says: `its issuer is "Root"; the chain that was sent ends at "` + west + `", SHA-256 ` + truststore.Fingerprint(direct.Cert)},
		"another root is trusted":                   {chain: chain(direct, root), trust: trust("x", other), problem: UnknownCA, says: `the chain that was sent ends at "Root", SHA-256 ` + truststore.Fingerprint(root.Cert)},
		"a root of the same name":                   {chain: chain(direct), trust: trust("x", imposter), problem: UnknownCA},
		"signed by itself":                          {chain: []*x509.Certificate{root.Cert}, trust: trust("x", other), mode: sslmode.VerifyCA, problem: UnknownCA, says: "it is signed by itself"},
		"only an intermediate is trusted":           {chain: chain(indirect), trust: trust("credential ca", middle), problem: ChainIncomplete, says: `ends at "Middle" (from credential ca), which is not a root`},
		"an intermediate on board is not sent":      {chain: chain(indirect), trust: trust("x", root), known: trust("region r", middle), problem: ChainIncomplete, says: `does not send the intermediate certificate "Middle", which leads to the trusted root "Root"`},
		"an intermediate of the organization":       {chain: chain(organization.Intermediate(t, "Sub", inOrganization).Issue(t, []string{west})), trust: trust("x", other, organization), problem: ChainIncomplete, says: `"Sub", which by its name leads to the trusted root "Organization Root"`},
		"an intermediate of the region":             {chain: chain(region.Intermediate(t, "Amazon RDS us-west-2 Subordinate CA RSA2048 G1.A.1").Issue(t, []string{west})), trust: trust("x", far, region), problem: ChainIncomplete, says: `the trusted root "Amazon RDS us-west-2`},
		"an issuer whose issuer is named":           {chain: chain(toNamed), trust: trust("x", other, organization), problem: ChainIncomplete, says: `the trusted root "Organization Root"`},
		"an intermediate that nobody knows":         {chain: chain(indirect), trust: trust("x", other), problem: UnknownCA, says: `its issuer is "Middle"`},
		"another region's":                          {chain: chain(far.Issue(t, []string{west})), trust: trust("region us-west-2", region), known: trust("region af-south-1", far), problem: UnknownCA, says: "that CA belongs to the bundle of region af-south-1, trusted are: the rule"},
		"one region is named before its partition":  {chain: chain(far.Issue(t, []string{west})), known: append(trust("partition aws", far), trust("region af-south-1", far)...), problem: UnknownCA, says: "bundle of region af-south-1"},
		"a new root of RDS":                         {chain: chain(pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G9").Issue(t, []string{west})), trust: trust("x", region), problem: UnknownCA, says: "it calls itself a CA of RDS in us-west-2"},
		"expired":                                   {chain: chain(late, middle), trust: trust("x", root), problem: CertificateExpired, says: "the certificate of " + west},
		"an intermediate that expired":              {chain: chain(oldMiddle.Issue(t, []string{west}), oldMiddle), trust: trust("x", root), problem: CertificateExpired, says: `the intermediate certificate "Old Middle" expired`},
		"a root that expired":                       {chain: chain(oldRoot.Issue(t, []string{west})), trust: trust("x", oldRoot), problem: RootExpired, says: `the root certificate "Old Root" expired`},
		"a server with its issuer's name":           {chain: chain(other.Issue(t, []string{west}, func(c *x509.Certificate) { c.Subject = other.Cert.Subject })), trust: trust("x", root), problem: UnknownCA, says: `its issuer is "Other"`},
		"an expired certificate from an unknown CA": {chain: chain(late, middle), trust: trust("x", other), problem: UnknownCA},
		"not for servers":                           {chain: chain(root.Issue(t, []string{west}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })), trust: trust("x", root), problem: CertificateInvalid, says: "incompatible key usage"},
		"a common name that is another":             {chain: chain(root.Issue(t, []string{"h"}, func(c *x509.Certificate) { c.DNSNames = nil })), trust: trust("x", root), problem: NameMismatch, says: `its common name is "h"`},
		"a common name that would do for libpq":     {chain: chain(root.Issue(t, []string{"10.0.0.1"}, func(c *x509.Certificate) { c.IPAddresses = nil })), trust: trust("x", root), host: "10.0.0.1", problem: NameMismatch, says: "which libpq accepts"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.mode == sslmode.None {
				test.mode = sslmode.VerifyFull
			}
			if test.host == "" {
				test.host = west
			}
			target := Target{Trust: test.trust, known: test.known, trustWhy: "the rule", trustPlace: "the binding"}
			anchor, problem := target.verifyChain(test.chain, test.host, test.mode, time.Now())
			if test.problem == "" {
				require.Nil(t, problem)
				assert.Equal(t, test.mode.Verifies(), anchor != nil)
				return
			}
			require.NotNil(t, problem)
			assert.Equal(t, test.problem, problem.Code)
			assert.Contains(t, problem.What, test.says)
			assert.NotEmpty(t, problem.Do)
			assert.NotContains(t, problem.What+problem.Do, "\n")
		})
	}
}

// authorityKey names the issuer of an issuer, as OpenSSL's `authorityKeyIdentifier = keyid, issuer`
// does.
func authorityKey(t *testing.T, grandparent *x509.Certificate) pkix.Extension {
	t.Helper()
	wrap := func(tag byte, content []byte) []byte {
		require.Less(t, len(content), 128)
		return append([]byte{tag, byte(len(content))}, content...)
	}
	return pkix.Extension{Id: []int{2, 5, 29, 35}, Value: wrap(0x30, append(wrap(0x80, []byte{1, 2, 3}), wrap(0xa1, wrap(0xa4, grandparent.RawSubject))...))}
}

func TestServersAnswerToPlainText(t *testing.T) {
	refuses := func(sqlstate, message string) answer { return answer{refusal: &refusal{sqlstate, message}} }
	for name, test := range map[string]struct {
		answer answer
		result string
	}{
		"asks for a password":              {answer{asks: "a SCRAM password"}, Accepted},
		"asks for nothing":                 {answer{admits: true}, Accepted},
		"admits, but has no such database": {answer{admits: true, refusal: &refusal{"3D000", ""}}, Accepted},
		"no entry in pg_hba.conf":          {refuses("28000", `no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption`), Refused},
		"in another language":              {refuses("28000", "kein pg_hba.conf-Eintrag"), Refused},
		"Azure":                            {refuses("28000", "SSL connection is required. Please specify SSL options and retry."), Refused},
		"PgBouncer":                        {refuses("08P01", "SSL required"), Refused},
		"too many clients":                 {refuses("53300", "sorry, too many clients already"), Unknown},
		"starting up":                      {refuses("57P03", "the database system is starting up"), Unknown},
		"no answer":                        {answer{}, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			result, _ := new(Target).plainText(attempt{mode: sslmode.Disable, answer: test.answer})
			assert.Equal(t, test.result, result)
		})
	}
}

func TestServersErrors(t *testing.T) {
	for name, test := range map[string]struct {
		refusal refusal
		code    string
	}{
		"password":           {refusal{"28P01", `password authentication failed for user "app"`}, PasswordRefused},
		"database":           {refusal{"3D000", `database "app" does not exist`}, DatabaseMissing},
		"pg_hba.conf":        {refusal{"28000", `no pg_hba.conf entry for host "::1", user "app", database "app", SSL encryption`}, NotAllowed},
		"client certificate": {refusal{"28000", "connection requires a valid client certificate"}, ClientCertificateWanted},
		"no such role":       {refusal{"28000", `role "app" does not exist`}, NotAllowed},
		"no right":           {refusal{"42501", `permission denied for database "app"`}, NotAllowed},
		"too many":           {refusal{"53300", "sorry, too many clients already"}, ServerError},
		"unheard of":         {refusal{"ZZ999", "what?"}, ServerError},
	} {
		t.Run(name, func(t *testing.T) {
			target := Target{Host: "h", Port: 1, User: "app", Database: "app", Password: "app"}
			problem := target.diagnose(attempt{stage: startingUp, answer: answer{refusal: &test.refusal}}, target.address())
			require.NotNil(t, problem)
			assert.Equal(t, test.code, problem.Code)
			if test.code != ClientCertificateWanted {
				assert.Contains(t, problem.What, "SQLSTATE "+test.refusal.sqlstate)
			}
		})
	}
	// In another language, the handshake shows that the server wants a certificate: it asked, and
	// got none.
	target := Target{Host: "h", Port: 1}
	foreign := attempt{stage: startingUp, answer: answer{refusal: &refusal{"28000", "Verbindung erfordert ein gültiges Client-Zertifikat"}}, peer: peer{wantsCerts: true}}
	assert.Equal(t, ClientCertificateWanted, target.diagnose(foreign, target.address()).Code)
}

func TestErrorsOfTheWay(t *testing.T) {
	target := Target{Host: "h", Port: 1}
	for name, test := range map[string]struct {
		stage stage
		err   error
		code  string
	}{
		"a reset while it starts up": {startingUp, &net.OpError{Op: "read", Err: os.NewSyscallError("read", errors.New("reset"))}, ServerError},
		"an end":                     {askingForTLS, io.ErrUnexpectedEOF, Closed},
		"a deadline":                 {handshaking, fmt.Errorf("x: %w", context.DeadlineExceeded), TimedOut},
		"an alert":                   {handshaking, &net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")}, HandshakeFailed},
		"an alert about nothing":     {startingUp, &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, ClientCertificateWanted},
		"TLS that is too old":        {handshaking, errors.New("tls: server selected unsupported protocol version 301"), HandshakeFailed},
		"no way":                     {dialing, &net.OpError{Op: "dial", Err: errors.New("no route")}, Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.code, target.diagnose(attempt{stage: test.stage, err: test.err}, target.address()).Code)
		})
	}
}

func text(s string) *string { return &s }

func session(pid, application, tls string) row {
	return row{database: text("app"), pid: text(pid), application: text(application), address: text("10.0.0.9"), port: text("5000"), tls: text(tls)}
}

func TestSessionsOfTheUser(t *testing.T) {
	socket := session("4", "cron", "f")
	socket.port, socket.address = text("-1"), nil
	hidden := row{database: text("app"), pid: text("5"), application: text(""), concealed: true}
	own := session("6", applicationName, "f")
	own.own = true
	probe := session("7", applicationName, "f")

	for name, test := range map[string]struct {
		rows    []row
		asked   error
		problem string
		says    string
		listed  int
	}{
		"encrypted":                      {rows: []row{session("1", "a", "t")}, listed: 1},
		"over a socket":                  {rows: []row{session("1", "a", "t"), socket}, listed: 2},
		"in plain text":                  {rows: []row{session("1", "a", "t"), session("2", "b", "f")}, problem: PlainTextSession, says: "user app has sessions in plain text: pid 2 (b, 10.0.0.9)", listed: 2},
		"in plain text, without a name":  {rows: []row{session("2", "", "f")}, problem: PlainTextSession, says: "pid 2 (no application name, 10.0.0.9)", listed: 1},
		"many":                           {rows: []row{session("1", "a", "f"), session("2", "a", "f"), session("3", "a", "f"), session("4", "a", "f"), session("5", "a", "f"), session("6", "a", "f"), session("8", "a", "f")}, problem: PlainTextSession, says: "pid 5 (a, 10.0.0.9), 2 more", listed: 7},
		"hidden":                         {rows: []row{session("1", "a", "t"), hidden}, problem: SessionsHidden, says: "pid 5", listed: 2},
		"behind a proxy":                 {rows: []row{own}, problem: PlainTextSession, says: "which is this command's own: a proxy ends the TLS", listed: 1},
		"a probe on its way out":         {rows: []row{session("1", "a", "t"), probe}, listed: 1},
		"a session with a probe's name":  {rows: []row{session("8", applicationName, "f")}, problem: PlainTextSession, says: "pid 8", listed: 1},
		"the query fails":                {asked: &pgconn.PgError{Code: "42P01"}, problem: SessionsHidden, says: "cannot be listed (SQLSTATE 42P01)"},
		"the query takes too long":       {asked: context.DeadlineExceeded, problem: SessionsHidden, says: "cannot be listed in time"},
		"a name that holds the password": {rows: []row{session("1", "x"+password, "f")}, problem: PlainTextSession, says: "pid 1 ((not shown: it holds the password), 10.0.0.9)", listed: 1},
		"numbers that make no sense":     {rows: []row{session("many", "a", "t")}, listed: 1},
		"no word about encryption":       {rows: []row{{port: text("5")}}, problem: SessionsHidden, listed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			target := Target{Host: "h", User: "app", Database: "app", Password: password}
			e := evidence{ladder: map[sslmode.Mode]attempt{sslmode.Disable: {answer: answer{pid: 7, admits: true}}}, login: &login{sessions: test.rows, asked: test.asked}}
			sessions, problem := target.judgeSessions(e)
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

func TestACertificateThatExpiresSoonGivesAWarning(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	pair := ca.Issue(t, []string{"h"})
	asks := attempt{stage: startingUp, answer: answer{asks: "a SCRAM password"}, peer: peer{chain: chain(pair)}}
	e := evidence{ladder: map[sslmode.Mode]attempt{
		sslmode.Disable: {answer: answer{refusal: &refusal{"28000", ""}}}, sslmode.Require: asks, sslmode.VerifyCA: asks, sslmode.VerifyFull: asks,
	}}
	target := Target{Host: "h", Mode: sslmode.VerifyFull}
	for left, warnings := range map[time.Duration][]string{
		31 * 24 * time.Hour: {},
		29 * 24 * time.Hour: {"the server's certificate expires on " + plain.Day(pair.Cert.NotAfter)},
	} {
		assert.Equal(t, warnings, target.judge(e, pair.Cert.NotAfter.Add(-left)).Warnings)
	}
}

func TestTextIsAligned(t *testing.T) {
	report := Report{Databases: []Database{{
		Name: "console_db", Host: "h", Port: 5432, Database: "app", User: "app", Mode: "verify-full", ModeSource: "credential sslmode",
		TLS:         &TLS{"TLS 1.3", "TLS_AES_128_GCM_SHA256"},
		Certificate: &Certificate{"h", []string{"h", "10.0.0.1"}, "Root", "2030-01-02", "RSA 2048", "ab12"},
		Root:        &Root{"Root", "2060-01-02", "cd34", "region us-west-2"},
		Modes:       []Outcome{{"disable", Refused, "SQLSTATE 28000"}, {"require", Works, ""}, {"verify-ca", Works, ""}, {"verify-full", Fails, NameMismatch}},
		Sessions: []Session{
			{"app", 7, "psql", "10.0.0.9", OverTLS, "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, false},
			{"größer", 12345, "", "fd00::1", OverPlain, "", "", 0, false},
			{"app", 99, "cron", "", OverSocket, "", "", 0, false},
		},
		OtherHosts: []OtherHost{{"replica", 5433, nil, nil}},
		Warnings:   []string{"a warning"},
		Problems:   []Problem{{NameMismatch, "what is wrong", "what helps"}},
	}}, Warnings: []string{"of the plan"}}
	var b strings.Builder
	require.NoError(t, report.Write(&b, false))
	assert.Equal(t, `console_db: FAILED
  server       h port 5432, database app, user app
  sslmode      verify-full, from credential sslmode
  connection   TLS 1.3, TLS_AES_128_GCM_SHA256
  certificate  h, RSA 2048, expires 2030-01-02
    names      h, 10.0.0.1
    issuer     Root
    SHA-256    ab12
  verified to  Root, expires 2060-01-02
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
	assert.Contains(t, coloured.String(), "    \x1b[31mgrößer    12345               fd00::1   NO\x1b[0m\n")
	assert.Equal(t, b.String(), strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(coloured.String()))
}

// plan decides for one binding with this mode, in this environment.
func plan(t *testing.T, env map[string]string, mode string) Given {
	t.Helper()
	store := truststore.NewStore("/trust", truststore.Sets{})
	b := binding.Binding{Name: "db", Hosts: []string{"h"}, Ports: []string{""}, Username: "u"}
	if mode != "" {
		asked, err := sslmode.Parse(mode)
		require.NoError(t, err)
		b.Asked = []binding.Asked{{Mode: asked, Place: binding.Place{Path: "sslmode"}}}
	}
	decided, err := launch.Decide(env, binding.Bound{Databases: []binding.Binding{b}}, store)
	require.NoError(t, err)
	return Given{Env: env, Plan: decided, Store: store}
}

func TestModeInForce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(root, pgtest.NewCA(t, "Root").PEM, 0o600))
	nothing := filepath.Join(t.TempDir(), "nothing.pem")
	require.NoError(t, os.WriteFile(nothing, []byte("nothing"), 0o600))
	const ours, owners = "credential sslmode", ", set by the app's owner"
	for name, test := range map[string]struct {
		mode    string
		env     map[string]string
		force   sslmode.Mode
		source  string
		problem string
	}{
		"the binding's":                         {"verify-ca", nil, sslmode.VerifyCA, ours, ""},
		"exported by the launch script":         {"verify-ca", map[string]string{"PGSSLMODE": "verify-ca", "DB_SSL_MODE": "verify-ca"}, sslmode.VerifyCA, ours, ""},
		"the owner's, weaker":                   {"verify-ca", map[string]string{"PGSSLMODE": "require"}, sslmode.Require, "PGSSLMODE" + owners, ""},
		"the owner's, stricter":                 {"require", map[string]string{"PGSSLMODE": "verify-full"}, sslmode.VerifyFull, "PGSSLMODE" + owners, ""},
		"the owner's, beside the script's":      {"verify-ca", map[string]string{"PGSSLMODE": "verify-ca", "DB_SSL_MODE": "disable"}, sslmode.Disable, "DB_SSL_MODE" + owners, ""},
		"two of the owner's: the weaker":        {"verify-ca", map[string]string{"PGSSLMODE": "verify-full", "DB_SSL_MODE": "require"}, sslmode.Require, "DB_SSL_MODE" + owners, ""},
		"the other way round":                   {"verify-ca", map[string]string{"PGSSLMODE": "disable", "DB_SSL_MODE": "require"}, sslmode.Disable, "PGSSLMODE" + owners, ""},
		"none":                                  {"", nil, sslmode.None, "the binding names none, and the host is no RDS endpoint whose CA is in this buildpack", ""},
		"no mode":                               {"require", map[string]string{"PGSSLMODE": "strict"}, sslmode.Require, ours, ModeUnknown},
		"no mode as drivers spell it":           {"require", map[string]string{"PGSSLMODE": "Verify-CA"}, sslmode.Require, ours, ModeUnknown},
		"one for Stratos, which would not run":  {"require", map[string]string{"DB_SSL_MODE": "Verify-CA"}, sslmode.Require, ours, ""},
		"node-postgres's own word":              {"verify-full", map[string]string{"PGSSLMODE": "no-verify"}, sslmode.Require, "PGSSLMODE" + owners, ""},
		"require with a root":                   {"require", map[string]string{"PGSSLROOTCERT": root}, sslmode.VerifyCA, ours + " as require, which the root certificate in PGSSLROOTCERT turns into verify-ca", ""},
		"require with a root that is not there": {"require", map[string]string{"PGSSLROOTCERT": "/nowhere"}, sslmode.Require, ours, ""},
		"require with a root that is none":      {"require", map[string]string{"PGSSLROOTCERT": nothing}, sslmode.Require, ours, RootUnreadable},
		"prefer with a root":                    {"prefer", map[string]string{"PGSSLROOTCERT": root}, sslmode.Prefer, ours, ""},
		"verify-ca with a root that is away":    {"verify-ca", map[string]string{"PGSSLROOTCERT": "/nowhere"}, sslmode.VerifyCA, ours, RootUnreadable},
		"the system's roots":                    {"verify-full", map[string]string{"PGSSLROOTCERT": "system"}, sslmode.VerifyFull, ours, ""},
		"the system's roots alone":              {"", map[string]string{"PGSSLROOTCERT": "system"}, sslmode.VerifyFull, "PGSSLROOTCERT=system", ""},
		"the system's roots, and too weak":      {"verify-ca", map[string]string{"PGSSLROOTCERT": "system"}, sslmode.VerifyCA, ours, RootUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			targets, err := Targets(plan(t, test.env, test.mode))
			require.NoError(t, err)
			require.Len(t, targets, 1)
			assert.Equal(t, test.force, targets[0].Mode)
			assert.Equal(t, test.source, targets[0].Source)
			code := ""
			if p := targets[0].problem; p != nil {
				code = p.Code
			}
			assert.Equal(t, test.problem, code)
		})
	}
}

func TestBehindATunnelEachDatabaseHasItsOwnMode(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, content, 0o600))
		return file
	}
	ca := pgtest.NewCA(t, "Clients")
	bound := func(name string, mode sslmode.Mode) (binding.Binding, pgtest.Pair) {
		pair := ca.Issue(t, []string{name})
		return binding.Binding{
			Name: name, Hosts: []string{name}, Ports: []string{""}, Username: "u",
			Asked:      []binding.Asked{{Mode: mode, Place: binding.Place{Path: "sslmode"}}},
			ClientCert: binding.Credential{Place: binding.Place{Path: "sslcert"}, Value: binding.Secret(pair.CertPEM)},
			ClientKey:  binding.Credential{Place: binding.Place{Path: "sslkey"}, Value: binding.Secret(pair.KeyPEM)},
		}, pair
	}
	weak, weakPair := bound("weak", sslmode.Require)
	strict, strictPair := bound("strict", sslmode.VerifyFull)
	other := ca.Issue(t, []string{"other"})
	otherCert, otherKey := write("other.crt", other.CertPEM), write("other.key", other.KeyPEM)
	// The launch script exports the mode of the database that decides.
	exported := map[string]string{"POSTGRES_SSL_SERVICE": "weak", "PGSSLMODE": "require", "DB_SSL_MODE": "require",
		"PGSSLCERT": write("ours.crt", weakPair.CertPEM), "PGSSLKEY": write("ours.key", weakPair.KeyPEM)}
	for name, test := range map[string]struct {
		own          bool
		env          map[string]string
		weak, strict sslmode.Mode
		weakCert     *x509.Certificate
		strictCert   *x509.Certificate
	}{
		"its own":                           {true, nil, sslmode.Require, sslmode.VerifyFull, weakPair.Cert, strictPair.Cert},
		"the owner's, stricter":             {true, map[string]string{"PGSSLMODE": "verify-ca"}, sslmode.VerifyCA, sslmode.VerifyFull, weakPair.Cert, strictPair.Cert},
		"two of the owner's: the stricter":  {true, map[string]string{"PGSSLMODE": "verify-ca", "DB_SSL_MODE": "verify-full"}, sslmode.VerifyFull, sslmode.VerifyFull, weakPair.Cert, strictPair.Cert},
		"the owner's, weaker":               {true, map[string]string{"PGSSLMODE": "disable"}, sslmode.Require, sslmode.VerifyFull, weakPair.Cert, strictPair.Cert},
		"the owner's certificate":           {true, map[string]string{"PGSSLCERT": otherCert, "PGSSLKEY": otherKey}, sslmode.Require, sslmode.VerifyFull, other.Cert, other.Cert},
		"control: without a tunnel":         {false, nil, sslmode.Require, sslmode.Require, weakPair.Cert, weakPair.Cert},
		"control: the owner's, and no more": {false, map[string]string{"PGSSLMODE": "disable"}, sslmode.Disable, sslmode.Disable, weakPair.Cert, weakPair.Cert},
	} {
		t.Run(name, func(t *testing.T) {
			env := maps.Clone(exported)
			maps.Copy(env, test.env)
			if test.own {
				env["POSTGRES_SSL_TUNNEL"] = "yes"
			}
			store := truststore.NewStore("/trust", truststore.Sets{})
			plan, err := launch.Decide(env, binding.Bound{Databases: []binding.Binding{strict, weak}}, store)
			require.NoError(t, err)
			targets, err := Targets(Given{Env: env, Plan: plan, Store: store})
			require.NoError(t, err)
			require.Len(t, targets, 2)
			for i, expected := range []struct {
				mode sslmode.Mode
				cert *x509.Certificate
			}{{test.strict, test.strictCert}, {test.weak, test.weakCert}} {
				require.Nil(t, targets[i].problem)
				assert.Equal(t, expected.mode, targets[i].Mode, targets[i].Name)
				assert.Equal(t, expected.cert.Raw, targets[i].Client.Certificate[0], targets[i].Name)
			}
		})
	}
}

// At a launch, PGSSLMODE is the owner's, even if another database asks for the same mode.
func TestTheOwnersModeHoldsInTheTunnelThoughAnotherDatabaseAsksForIt(t *testing.T) {
	bound := func(name string, mode sslmode.Mode) binding.Binding {
		return binding.Binding{Name: name, Hosts: []string{name}, Ports: []string{""}, Username: "u",
			Asked: []binding.Asked{{Mode: mode, Place: binding.Place{Path: "sslmode"}}}}
	}
	found := binding.Bound{Databases: []binding.Binding{bound("strict", sslmode.VerifyFull), bound("weak", sslmode.Require)}}
	env := map[string]string{"POSTGRES_SSL_TUNNEL": "yes", "PGSSLMODE": "verify-full"}
	store := truststore.NewStore("/trust", truststore.Sets{})
	plan, err := launch.Decide(env, found, store)
	require.NoError(t, err)
	for launching, mode := range map[bool]sslmode.Mode{true: sslmode.VerifyFull, false: sslmode.Require} {
		targets, err := Targets(Given{Env: env, Plan: plan, Store: store, Launch: launching})
		require.NoError(t, err)
		assert.Equal(t, mode, targets[1].Mode, "launching: %v", launching)
	}
}

func TestATunnelDoesNotConnectIfTheTargetHasAProblem(t *testing.T) {
	targets, err := Targets(plan(t, map[string]string{"PGSSLMODE": "strict"}, "verify-full"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, problem := targets[0].Connect(ctx, targets[0].address(), "127.0.0.1:1")
	assert.Nil(t, conn)
	require.NotNil(t, problem)
	assert.Equal(t, ModeUnknown, problem.Code)

	targets[0].problem = nil
	_, problem = targets[0].Connect(ctx, targets[0].address(), "127.0.0.1:1")
	require.NotNil(t, problem)
	assert.Equal(t, NotListened, problem.Code, "control: without a problem, it tries")
}

func TestExplainHidesThePasswordOfThatLogin(t *testing.T) {
	target := Target{Host: "h", Port: 5432, Mode: sslmode.VerifyFull, User: "u", Password: "the-bindings-own"}
	said := errors.New("the server said: THE clients/own")
	assert.NotContains(t, target.Explain(said, target.address(), "app", "the-clients-own").What, "clients")
	assert.Contains(t, target.Explain(said, target.address(), "app", "another").What, "clients", "control")
}

func TestDatabasesAreTriedSideBySideWithinTheTimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // queues connections, and never answers
	require.NoError(t, err)
	defer listener.Close()
	silent := Target{Host: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port), User: "u", Mode: sslmode.VerifyFull, Others: []Address{{"localhost", uint16(listener.Addr().(*net.TCPAddr).Port)}}}
	const timeout = time.Second
	begin := time.Now()
	report := Run(context.Background(), []Target{silent, silent, silent, silent, silent}, nil, timeout)
	assert.Less(t, time.Since(begin), 4*timeout, "five of them")
	assert.False(t, report.OK)
	for _, db := range report.Databases {
		require.NotEmpty(t, db.Problems)
		assert.Equal(t, TimedOut, db.Problems[0].Code)
	}
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
	target := Target{Name: "db", Host: "localhost", Port: uint16(server.Port), Database: "app", User: "app", Password: password, Mode: sslmode.VerifyFull, Trust: trust("x", ca)}
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	config, err := LoginConfig(ctx, target.address(), func(ctx context.Context) (net.Conn, error) {
		conn, problem := target.Connect(ctx, target.address(), target.address().String())
		require.Nil(t, problem)
		return conn, nil
	}, nil)
	require.NoError(t, err)
	config.User, config.Database, config.Password = target.User, target.Database, password
	conn, err := pgconn.ConnectConfig(ctx, config)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	begin, rest, _ := strings.Cut(sessionsQuery, ";")
	require.NotEmpty(t, rest)
	_, err = conn.Exec(t.Context(), begin+"; create table t ()").ReadAll()
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "25006", refused.Code, "read_only_sql_transaction")
}

func TestEachHostHasAPortOfItsOwn(t *testing.T) {
	for name, test := range map[string]struct {
		hosts, ports []string
		replicas     int
		addresses    []string
	}{
		"one, and none is named":        {[]string{"a"}, []string{""}, 0, []string{"a:5432"}},
		"a list":                        {[]string{"a", "b", "c"}, []string{"6001", "6002", ""}, 0, []string{"a:6001", "b:6002", "c:5432"}},
		"a replica with a port":         {[]string{"a", "b"}, []string{"6001", "6002"}, 1, []string{"a:6001", "b:6002"}},
		"a replica without one":         {[]string{"a", "b"}, []string{"6001", ""}, 1, []string{"a:6001", "b:6001"}},
		"an IPv6 address":               {[]string{"fd00::1"}, []string{"6001"}, 0, []string{"[fd00::1]:6001"}},
		"a further one that is no port": {[]string{"a", "b"}, []string{"6001", "0"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var target Target
			problem := target.setAddress(binding.Binding{Hosts: test.hosts, Ports: test.ports, Replicas: test.replicas, Username: "u"})
			if test.addresses == nil {
				require.NotNil(t, problem)
				return
			}
			require.Nil(t, problem)
			addresses := []string{target.address().String()}
			for _, other := range target.Others {
				addresses = append(addresses, other.String())
			}
			assert.Equal(t, test.addresses, addresses)
		})
	}
}

// A service may hold an example, or the address of a pooler in another container.
func TestAFurtherConnectionStringWithoutAServerIsAWarning(t *testing.T) {
	target := Target{Name: "db (example.uri)", Host: "127.0.0.1", Port: 1, User: "u", Mode: sslmode.VerifyFull}
	for further, ok := range map[bool]bool{true: true, false: false} {
		target.Further = further
		db := Run(t.Context(), []Target{target}, nil, 5*time.Second).Databases[0]
		assert.Equal(t, ok, db.OK)
		assert.Len(t, db.Warnings, map[bool]int{true: 1, false: 0}[further])
		lines, open := Gate(t.Context(), []Target{target}, 5*time.Second)
		assert.True(t, open)
		assert.Contains(t, lines[0], "nothing listens at 127.0.0.1:1")
	}
}

func TestACASaysWhichCredentialItComesFrom(t *testing.T) {
	bound := binding.Binding{Name: "db", Hosts: []string{"h.example.com"}, Ports: []string{""}, Username: "app"}
	value := binding.Secret(pgtest.NewCA(t, "Own").PEM)
	nested, tagged := bound, bound
	nested.MoreCAs = []binding.Credential{{Place: binding.Place{Path: "tls.bundle"}, Value: value}}
	found := binding.Bound{Databases: []binding.Binding{tagged}, CAs: []binding.Credential{{Place: binding.Place{Service: "company", Path: "ca"}, Value: value}}}
	for want, found := range map[string]binding.Bound{
		"company, credential ca": found,
		"credential tls.bundle":  {Databases: []binding.Binding{nested}},
	} {
		plan, err := launch.Decide(nil, found, truststore.Store{})
		require.NoError(t, err)
		targets, err := Targets(Given{Plan: plan})
		require.NoError(t, err)
		require.Len(t, targets[0].Trust, 1)
		assert.Equal(t, want, targets[0].Trust[0].Origin)
	}
}
