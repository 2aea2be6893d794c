package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

const west = "db.abc123.us-west-2.rds.amazonaws.com"

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
	organization, second := pgtest.NewCA(t, "Organization Root", inOrganization), pgtest.NewCA(t, "Second Root", inOrganization)
	sub := second.Intermediate(t, "Second Sub", inOrganization)
	region := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	far := pgtest.NewCA(t, "Amazon RDS af-south-1 Root CA RSA2048 G1")

	for name, test := range map[string]struct {
		chain   []*x509.Certificate
		trust   []Anchor
		known   []Anchor
		mode    sslmode.Mode
		host    string
		problem string // the code, "" for none
		says    string // a part of what is said
	}{
		"a root that is trusted":                    {chain: direct.Chain(), trust: trust("x", root)},
		"an intermediate that is sent":              {chain: indirect.Chain(middle), trust: trust("x", root)},
		"an intermediate beside the root":           {chain: indirect.Chain(), trust: trust("x", root, middle)},
		"more than is needed, in any order":         {chain: indirect.Chain(other, root, middle), trust: trust("x", other, root)},
		"no verification":                           {chain: late.Chain(), mode: sslmode.Require},
		"another name, verify-ca":                   {chain: direct.Chain(), trust: trust("x", root), mode: sslmode.VerifyCA, host: "h"},
		"another name, verify-full":                 {chain: direct.Chain(), trust: trust("x", root), host: "h", problem: nameMismatch, says: "not issued for h, but for " + west},
		"another name, from nobody":                 {chain: direct.Chain(), host: "h", problem: unknownCA},
		"nobody is trusted":                         {chain: direct.Chain(), problem: unknownCA, says: `its issuer is "Root"; the chain that was sent ends at "` + west + `", SHA-256 ` + truststore.Fingerprint(direct.Cert)},
		"another root is trusted, and which":        {chain: direct.Chain(), trust: trust("credential sslrootcert", other), problem: unknownCA, says: `its issuer is "Root"; the chain that was sent ends at "` + west + `", SHA-256 ` + truststore.Fingerprint(direct.Cert) + `; trusted are: "Other" (credential sslrootcert)`},
		"another root is trusted":                   {chain: direct.Chain(root), trust: trust("x", other), problem: unknownCA, says: `the chain that was sent ends at "Root", SHA-256 ` + truststore.Fingerprint(root.Cert)},
		"a root of the same name":                   {chain: direct.Chain(), trust: trust("x", imposter), problem: unknownCA},
		"signed by itself":                          {chain: []*x509.Certificate{root.Cert}, trust: trust("x", other), mode: sslmode.VerifyCA, problem: unknownCA, says: `"Root" is signed by itself, and unknown here`},
		"only an intermediate is trusted":           {chain: indirect.Chain(), trust: trust("credential ca", middle), problem: chainIncomplete, says: `ends at "Middle" (from credential ca), which is not a root`},
		"an intermediate of ours is not sent":       {chain: indirect.Chain(), trust: trust("x", root), known: trust("region r", middle, root), problem: chainIncomplete, says: `does not send the intermediate certificate "Middle", which by its name leads to the trusted root "Root"`},
		"an intermediate of the organization":       {chain: organization.Intermediate(t, "Sub", inOrganization).Issue(t, []string{west}).Chain(), trust: trust("x", other, organization), problem: chainIncomplete, says: `"Sub", which by its name leads to the trusted root "Organization Root"`},
		"an intermediate that nobody knows":         {chain: indirect.Chain(), trust: trust("x", other), problem: unknownCA, says: `its issuer is "Middle"`},
		"another region's":                          {chain: far.Issue(t, []string{west}).Chain(), trust: trust("region us-west-2", region), known: trust("region af-south-1", far), problem: unknownCA, says: "that CA belongs to the bundle of region af-south-1; trusted are: \"Amazon RDS us-west-2 Root CA RSA2048 G1\" (region us-west-2)"},
		"one region is named before its partition":  {chain: far.Issue(t, []string{west}).Chain(), known: append(trust("region af-south-1", far), trust("partition aws", far)...), problem: unknownCA, says: "bundle of region af-south-1"},
		"another region's of the same organization": {chain: sub.Issue(t, []string{west}).Chain(), trust: trust("x", organization), known: append(trust("region r", sub, second), trust("region of others", other)...), problem: unknownCA, says: "bundle of region r; trusted are"},
		"as many are trusted as are told":           {chain: direct.Chain(), trust: slices.Repeat(trust("x", other), 5), problem: unknownCA, says: `; trusted are: "Other" (x), "Other" (x), "Other" (x), "Other" (x), "Other" (x)`},
		"a new root of RDS":                         {chain: pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G9").Issue(t, []string{west}).Chain(), trust: trust("x", region), problem: unknownCA, says: `its issuer is "Amazon RDS us-west-2 Root CA RSA2048 G9"`},
		"expired":                                   {chain: late.Chain(middle), trust: trust("x", root), problem: certificateExpired, says: `the certificate of "` + west + `" in the chain`},
		"an intermediate that expired":              {chain: oldMiddle.Issue(t, []string{west}).Chain(oldMiddle), trust: trust("x", root), problem: certificateExpired, says: `the certificate of "Old Middle" in the chain of ` + west + " expired"},
		"a root as its own server, that expired":    {chain: []*x509.Certificate{oldRoot.Cert}, trust: trust("x", oldRoot), mode: sslmode.VerifyCA, problem: certificateExpired, says: `the certificate of "Old Root" in the chain`},
		"a root that expired":                       {chain: oldRoot.Issue(t, []string{west}).Chain(), trust: trust("x", oldRoot), problem: rootExpired, says: `the root certificate "Old Root" expired`},
		"a server with its issuer's name":           {chain: other.Issue(t, []string{west}, func(c *x509.Certificate) { c.Subject = other.Cert.Subject }).Chain(), trust: trust("x", root), problem: unknownCA, says: `its issuer is "Other"`},
		"an expired certificate from an unknown CA": {chain: late.Chain(middle), trust: trust("x", other), problem: unknownCA},
		"not for servers":                           {chain: root.Issue(t, []string{west}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }).Chain(), trust: trust("x", root), problem: certificateInvalid, says: "does not name serverAuth"},
		"a common name alone":                       {chain: root.Issue(t, []string{"h"}, func(c *x509.Certificate) { c.DNSNames = nil }).Chain(), trust: trust("x", root), problem: nameMismatch, says: `its common name is "h", at which libpq looks`},
	} {
		t.Run(name, func(t *testing.T) {
			if test.mode == sslmode.None {
				test.mode = sslmode.VerifyFull
			}
			if test.host == "" {
				test.host = west
			}
			defer func(before func() []Anchor) { knownCAs = before }(knownCAs)
			knownCAs = func() []Anchor { return test.known }
			target := Target{Trust: test.trust, TrustPlace: "the binding"}
			path, problem := target.verify(test.chain, test.host, test.mode, time.Now())
			if test.problem == "" {
				require.Nil(t, problem)
				assert.Equal(t, test.mode.Verifies(), path != nil)
				for i, c := range path {
					assert.Equal(t, i == len(path)-1, truststore.IsRoot(c), "it ends at the root")
				}
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

// A name proves nothing: nobody is sent to a stranger for the CA of RDS.
func TestACAThatCallsItselfRDSIsNoneToAskTheOperatorFor(t *testing.T) {
	const find, ask = "if AWS has published that CA", "ask the database's operator for the certificate"
	posing := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	for says, cas := range map[string][]*pgtest.CA{
		find: {posing, posing.Intermediate(t, "Subordinate"), pgtest.NewCA(t, "Root").Intermediate(t, "Amazon RDS us-west-2 Server CA")},
		ask:  {pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Amazon RDS")}, // the control
	} {
		for _, ca := range cas {
			for _, host := range []string{"db.internal", "10.0.0.7"} {
				target := Target{Trust: trust("x", pgtest.NewCA(t, "Own")), TrustPlace: "the binding"}
				_, problem := target.verify(ca.Issue(t, []string{host}).Chain(ca), host, sslmode.VerifyFull, time.Now())
				require.NotNil(t, problem)
				assert.Contains(t, problem.Do, says, problem.What)
			}
		}
	}
}

// An alias of a cloud's endpoint is sent to that endpoint's own name.
func TestWhichNameToBind(t *testing.T) {
	const ask, address, endpoint = "ask the database's operator for a certificate", "an address needs no name", "bind the endpoint's own name, " + west
	root := pgtest.NewCA(t, "Root")
	target := Target{Trust: trust("x", root)}
	for _, test := range []struct {
		host, says string
		names      []string
	}{
		{"db.example.com", endpoint, []string{west}},
		{"db.example.com", endpoint, []string{"other.example.com", west}},
		{"other." + west, ask, []string{west}},
		{"db.example.com", ask, []string{"other.example.com"}},
		{"10.0.0.7", address, []string{west}},
	} {
		_, problem := target.verify(root.Issue(t, test.names).Chain(), test.host, sslmode.VerifyFull, time.Now())
		require.NotNil(t, problem)
		assert.Contains(t, problem.Do, test.says, test.host)
		assert.Equal(t, test.says == address, strings.Contains(problem.Do, address), test.host)
	}
}

// RDS renews what it signs; elsewhere somebody has to.
func TestWhoRenewsACertificate(t *testing.T) {
	root, old := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Old Root", pgtest.Expired)
	for host, says := range map[string][2]string{
		west:             {"either renews the certificate", "in RDS to a newer one"},
		"db.example.com": {"ask the database's operator to renew its certificate", "a certificate of a newer root"},
	} {
		target := Target{Trust: trust("x", root, old)}
		for i, chain := range [][]*x509.Certificate{root.Issue(t, []string{host}, pgtest.Expired).Chain(), old.Issue(t, []string{host}).Chain()} {
			_, problem := target.verify(chain, host, sslmode.VerifyFull, time.Now())
			require.NotNil(t, problem)
			assert.Contains(t, problem.Do, says[i])
		}
	}
}

// Without an end at a root, the search for issuers ends by itself.
func TestTwoCAsThatSignEachOtherLeadNowhere(t *testing.T) {
	one, other := issued(t, nil, "One", nil, isCA), issued(t, nil, "Other", nil, isCA)
	byOther, byOne := issued(t, other, "One", one.key, isCA), issued(t, one, "Other", other.key, isCA)
	chain := certs([]*node{issued(t, byOther, "server", nil, isServer), byOther, byOne})
	_, problem := new(Target).verify(chain, chainHost, sslmode.VerifyFull, time.Now())
	require.NotNil(t, problem)
	assert.Equal(t, unknownCA, problem.Code)
	assert.Len(t, verifier{chain: chain, now: time.Now()}.path(nil), 10)
}

// What is remembered of a good signature counts for no other certificate, and for no other key.
func TestAGoodSignatureIsRememberedForItsCertificateAndKeyAlone(t *testing.T) {
	root, another := issued(t, nil, "Root", nil, isCA), issued(t, nil, "Root", nil, isCA)
	server := issued(t, root, "server", nil, isServer).cert
	require.True(t, signed(server, root.cert), "the control")
	assert.True(t, signed(server, root.cert), "from memory")
	assert.False(t, signed(server, another.cert), "a root with this name")
	der := bytes.Clone(server.Raw)
	der[len(der)-1] ^= 1
	forged, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	assert.False(t, signed(forged, root.cert), "the last byte is of the signature")
	for range 300 { // more than are remembered
		cert := issued(t, root, "server", root.key, isServer).cert
		assert.True(t, signed(cert, root.cert))
	}
	assert.True(t, signed(server, root.cert))
}

func TestServersErrors(t *testing.T) {
	for name, test := range map[string]struct {
		refusal    pgconn.PgError
		code, says string
	}{
		"password":           {pgconn.PgError{Code: "28P01", Message: `password authentication failed for user "app"`}, passwordRefused, "refuses the password"},
		"database":           {pgconn.PgError{Code: "3D000", Message: `database "app" does not exist`}, databaseMissing, "has no database"},
		"pg_hba.conf":        {pgconn.PgError{Code: "28000", Message: `no pg_hba.conf entry for host "::1", user "app", database "app", SSL encryption`}, notAllowed, "the server's pg_hba.conf"},
		"client certificate": {pgconn.PgError{Code: "28000", Message: "connection requires a valid client certificate"}, clientCertificateWanted, "wants a client certificate"},
		"a token of IAM":     {pgconn.PgError{Code: "28000", Message: `PAM authentication failed for user "app"`}, notAllowed, "does not let the user in"},
		"no such role":       {pgconn.PgError{Code: "28000", Message: `role "app" does not exist`}, notAllowed, "does not let the user in"},
		"no right":           {pgconn.PgError{Code: "42501", Message: `permission denied for database "app"`}, notAllowed, "does not let the user in"},
		"too many":           {pgconn.PgError{Code: "53300", Message: "sorry, too many clients already"}, serverError, "refuses the connection"},
		"unheard of":         {pgconn.PgError{Code: "ZZ999", Message: "what?"}, serverError, "refuses the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			target := Target{Address: Address{Host: "h", Port: 1}, User: "app", Database: "app", Password: "app"}
			problem := target.diagnose(Attempt{stage: startingUp, Refusal: &test.refusal}, target.Address)
			require.NotNil(t, problem)
			assert.Equal(t, test.code, problem.Code)
			assert.Contains(t, problem.What, test.says)
			if test.code != clientCertificateWanted {
				assert.Contains(t, problem.What, "SQLSTATE "+test.refusal.Code)
			}
		})
	}
	// In RDS, PAM's refusal is about IAM, and no other is.
	iam := Target{Address: Address{Host: west}, User: "app"}
	for message, isAboutIAM := range map[string]bool{`PAM authentication failed for user "app"`: true, `role "app" does not exist`: false} {
		problem := iam.diagnose(Attempt{stage: startingUp, Refusal: &pgconn.PgError{Code: "28000", Message: message}}, iam.Address)
		assert.Equal(t, isAboutIAM, strings.Contains(problem.What, `wants IAM authentication of user "app"`), problem.What)
	}

	// Nor does a certificate with another common name let its user in.
	for certificate, isBlamed := range map[string]bool{"": false, "in PEM": true} {
		target := Target{Address: Address{Host: "h", Port: 1}, User: "app"}
		if certificate != "" {
			target.Cert = []byte(certificate)
		}
		problem := target.diagnose(Attempt{stage: startingUp, Refusal: &pgconn.PgError{Code: "28P01"}}, target.Address)
		assert.Equal(t, isBlamed, strings.Contains(problem.Do, "the client certificate is for another user"), problem.Do)
	}

	// In another language, the handshake shows that the server wants a certificate: it asked, and
	// got none.
	target := Target{Address: Address{Host: "h", Port: 1}}
	foreign := Attempt{stage: startingUp, Refusal: &pgconn.PgError{Code: "28000", Message: "Verbindung erfordert ein gültiges Client-Zertifikat"}, wantsCerts: true}
	assert.Equal(t, clientCertificateWanted, target.diagnose(foreign, target.Address).Code)
}

func TestErrorsOfTheWay(t *testing.T) {
	target := Target{Address: Address{Host: "h", Port: 1}}
	for name, test := range map[string]struct {
		stage stage
		err   error
		code  string
	}{
		"a reset while it starts up": {startingUp, &net.OpError{Op: "read", Err: os.NewSyscallError("read", errors.New("reset"))}, serverError},
		"an end":                     {askingForTLS, io.ErrUnexpectedEOF, closed},
		"a deadline":                 {handshaking, fmt.Errorf("x: %w", context.DeadlineExceeded), timedOut},
		"an alert":                   {handshaking, &net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")}, handshakeFailed},
		"an alert about nothing":     {startingUp, &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, clientCertificateWanted},
		"TLS that is too old":        {handshaking, errors.New("tls: server selected unsupported protocol version 301"), handshakeFailed},
		"no way":                     {dialing, &net.OpError{Op: "dial", Err: errors.New("no route")}, unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.code, target.diagnose(Attempt{stage: test.stage, err: test.err}, target.Address).Code)
		})
	}
}

// plan decides for one binding with this mode, in this environment.
func plan(t *testing.T, env map[string]string, mode string) current.App {
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
	return current.App{Env: env, Plan: decided, Store: store}
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
		"two of the owner's alike":              {"verify-ca", map[string]string{"PGSSLMODE": "require", "DB_SSL_MODE": "require"}, sslmode.Require, "DB_SSL_MODE" + owners, ""},
		"the other way round":                   {"verify-ca", map[string]string{"PGSSLMODE": "disable", "DB_SSL_MODE": "require"}, sslmode.Disable, "PGSSLMODE" + owners, ""},
		"none":                                  {"", nil, sslmode.None, "the binding names none, and the CA of the host is not known", ""},
		"no mode":                               {"require", map[string]string{"PGSSLMODE": "strict"}, sslmode.Require, ours, modeUnknown},
		"no mode as drivers spell it":           {"require", map[string]string{"PGSSLMODE": "Verify-CA"}, sslmode.Require, ours, modeUnknown},
		"one for Stratos, which would not run":  {"require", map[string]string{"DB_SSL_MODE": "Verify-CA"}, sslmode.Require, ours, ""},
		"node-postgres's own word":              {"verify-full", map[string]string{"PGSSLMODE": "no-verify"}, sslmode.Require, "PGSSLMODE" + owners, ""},
		"require with a root":                   {"require", map[string]string{"PGSSLROOTCERT": root}, sslmode.VerifyCA, ours + " as require, which the root certificate in PGSSLROOTCERT turns into verify-ca", ""},
		"require with a root that is not there": {"require", map[string]string{"PGSSLROOTCERT": "/nowhere"}, sslmode.Require, ours, ""},
		"require with a root that is none":      {"require", map[string]string{"PGSSLROOTCERT": nothing}, sslmode.Require, ours, rootUnreadable},
		"prefer with a root":                    {"prefer", map[string]string{"PGSSLROOTCERT": root}, sslmode.Prefer, ours, ""},
		"verify-ca with a root that is away":    {"verify-ca", map[string]string{"PGSSLROOTCERT": "/nowhere"}, sslmode.VerifyCA, ours, rootUnreadable},
		"the system's roots":                    {"verify-full", map[string]string{"PGSSLROOTCERT": "system"}, sslmode.VerifyFull, ours, ""},
		"the system's roots alone":              {"", map[string]string{"PGSSLROOTCERT": "system"}, sslmode.VerifyFull, "PGSSLROOTCERT=system", ""},
		"the system's roots, and too weak":      {"verify-ca", map[string]string{"PGSSLROOTCERT": "system"}, sslmode.VerifyCA, ours, rootUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			targets := Targets(plan(t, test.env, test.mode), false)
			require.Len(t, targets, 1)
			assert.Equal(t, test.force, targets[0].Mode)
			assert.Equal(t, test.source, targets[0].Source)
			code := ""
			if p := targets[0].Problem; p != nil {
				code = p.Code
			}
			assert.Equal(t, test.problem, code)
		})
	}
}

func TestACertificateWithoutItsKeyIsUnusable(t *testing.T) {
	pair := pgtest.NewCA(t, "Clients").Issue(t, []string{"app"})
	file := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	cert, key := file("app.crt", pair.CertPEM), file("app.key", pair.KeyPEM)
	for code, envs := range map[string][]map[string]string{
		clientCertificateUnusable: {{"PGSSLCERT": cert}, {"PGSSLKEY": key}},
		"":                        {{"PGSSLCERT": cert, "PGSSLKEY": key}, {}},
	} {
		for _, env := range envs {
			problem := Targets(plan(t, env, "verify-full"), false)[0].Problem
			assert.Equal(t, code != "", problem != nil, "%v", env)
			if problem != nil {
				assert.Equal(t, code, problem.Code)
			}
		}
	}
}

// Nothing insecure has happened, so the app starts.
func TestAServerThatHangsUpAtTheStartupMessageIsNotThere(t *testing.T) {
	port := serveDirectTLS(t, pgtest.NewCA(t, "Root"), tls.NoClientCert, func(*tls.Conn) bool { return false })
	target := Target{Address: Address{Host: "db.example.com", Port: port}, HostAddr: "127.0.0.1", Direct: true, Mode: sslmode.Require}
	a := probe(t, &target, sslmode.Require)
	require.NotNil(t, a.Problem)
	assert.Equal(t, closed, a.Problem.Code)
}

// Closed: no connection is made with fewer CAs than the plan has.
func TestAStoreThatCannotBeReadIsAProblemOfTheDatabase(t *testing.T) {
	dir := t.TempDir()
	ca := pgtest.NewCA(t, "Root")
	own := filepath.Join(dir, "own.pem")
	require.NoError(t, os.WriteFile(own, ca.PEM, 0o600))
	laidOut := filepath.Join(dir, "trust")
	require.NoError(t, truststore.Write(laidOut, truststore.Sets{"aws": {ca.Cert}}))
	b := binding.Binding{Name: "db", Hosts: []string{"h"}, Ports: []string{""}, Username: "u"}
	for _, isDamaged := range []bool{false, true} {
		store, err := truststore.Open(laidOut)
		require.NoError(t, err)
		if isDamaged {
			require.NoError(t, os.Remove(store.Bundle("aws")))
		}
		for says, env := range map[string]map[string]string{
			"open " + store.Bundle("aws"): nil,
			"open " + laidOut:             {"PGSSLROOTCERT": own},
			"read " + dir:                 {"SSL_CERT_FILE": dir},
		} {
			plan, err := launch.Decide(env, binding.Bound{Databases: []binding.Binding{b}}, store)
			require.NoError(t, err)
			problem := Targets(current.App{Env: env, Plan: plan, Store: store}, false)[0].Problem
			if !isDamaged && env["SSL_CERT_FILE"] == "" {
				assert.Nil(t, problem, "the control")
				continue
			}
			require.NotNil(t, problem, says)
			assert.Equal(t, rootUnreadable, problem.Code)
			assert.True(t, problem.Insecure(), "it stops a start")
			if isDamaged == (env["SSL_CERT_FILE"] == "") {
				assert.Contains(t, problem.What, "the trusted CAs cannot be read: "+says)
			}
		}
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
		weakCert     []byte
		strictCert   []byte
	}{
		"its own":                           {true, nil, sslmode.Require, sslmode.VerifyFull, weakPair.CertPEM, strictPair.CertPEM},
		"the owner's, stricter":             {true, map[string]string{"PGSSLMODE": "verify-ca"}, sslmode.VerifyCA, sslmode.VerifyFull, weakPair.CertPEM, strictPair.CertPEM},
		"two of the owner's: the stricter":  {true, map[string]string{"PGSSLMODE": "verify-ca", "DB_SSL_MODE": "verify-full"}, sslmode.VerifyFull, sslmode.VerifyFull, weakPair.CertPEM, strictPair.CertPEM},
		"the owner's, weaker":               {true, map[string]string{"PGSSLMODE": "disable"}, sslmode.Require, sslmode.VerifyFull, weakPair.CertPEM, strictPair.CertPEM},
		"the owner's certificate":           {true, map[string]string{"PGSSLCERT": otherCert, "PGSSLKEY": otherKey}, sslmode.Require, sslmode.VerifyFull, other.CertPEM, other.CertPEM},
		"control: without a tunnel":         {false, nil, sslmode.Require, sslmode.Require, weakPair.CertPEM, weakPair.CertPEM},
		"control: the owner's, and no more": {false, map[string]string{"PGSSLMODE": "disable"}, sslmode.Disable, sslmode.Disable, weakPair.CertPEM, weakPair.CertPEM},
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
			targets := Targets(current.App{Env: env, Plan: plan, Store: store}, false)
			require.Len(t, targets, 2)
			for i, expected := range []struct {
				mode sslmode.Mode
				cert []byte
			}{{test.strict, test.strictCert}, {test.weak, test.weakCert}} {
				require.Nil(t, targets[i].Problem)
				assert.Equal(t, expected.mode, targets[i].Mode, targets[i].Name)
				assert.Equal(t, expected.cert, targets[i].Cert, targets[i].Name)
			}
			if name == "two of the owner's: the stricter" {
				assert.Equal(t, "credential sslmode", targets[0].Source, "the owner's is no stricter")
			}
			if name == "control: without a tunnel" {
				assert.Equal(t, "weak, which decides for the app: credential sslmode", targets[0].Source)
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
		targets := Targets(current.App{Env: env, Plan: plan, Store: store}, launching)
		assert.Equal(t, mode, targets[1].Mode, "launching: %v", launching)
	}
}

func TestATunnelDoesNotConnectIfTheTargetHasAProblem(t *testing.T) {
	targets := Targets(plan(t, map[string]string{"PGSSLMODE": "strict"}, "verify-full"), false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nobody := fmt.Sprintf("127.0.0.1:%d", pgtest.Nobody(t))
	conn, problem := targets[0].Connect(ctx, targets[0].Address, nobody)
	assert.Nil(t, conn)
	require.NotNil(t, problem)
	assert.Equal(t, modeUnknown, problem.Code)

	targets[0].Problem = nil
	_, problem = targets[0].Connect(ctx, targets[0].Address, nobody)
	require.NotNil(t, problem)
	assert.Equal(t, notListened, problem.Code, "control: without a problem, it tries")
}

// libpq 17 begins with TLS where it is told to, and some servers take nothing else.
func TestATargetIsReachedWhereAndAsItsDriverReachesIt(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	port := fmt.Sprint(serveDirectTLS(t, ca, tls.NoClientCert, func(conn *tls.Conn) bool { return conn.ConnectionState().NegotiatedProtocol == "postgresql" }))
	for query, works := range map[string]bool{"&hostaddr=127.0.0.1&sslnegotiation=direct": true, "&hostaddr=127.0.0.1": false, "&hostaddr=127.0.0.2&sslnegotiation=direct": false} {
		credentials := fmt.Sprintf(`{"uri": "postgres://u@db.example.com:%s/d?sslmode=verify-full%s"}`, port, query)
		found, err := binding.Read(map[string]string{"VCAP_SERVICES": `{"x": [{"name": "db", "credentials": ` + credentials + `}]}`})
		require.NoError(t, err)
		plan, err := launch.Decide(nil, found, truststore.Store{})
		require.NoError(t, err)
		targets := Targets(current.App{Plan: plan}, false)
		targets[0].Trust = trust("the test", ca)
		for _, target := range [][]Target{targets, passedOn(t, targets)} {
			a := probe(t, &target[0], sslmode.VerifyFull)
			assert.Equal(t, works, a.Asks != "", "%s: %v", query, a.err)
		}
	}
}

// Through the tunnel, in require, a server has to ask for SCRAM. That is about what it asks for, not about
// what it says first.
func TestAServerThatRefusesThroughTheTunnelIsHeard(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	refusal, err := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "53300", Message: "sorry, too many clients already"}).Encode(nil)
	require.NoError(t, err)
	greeting, err := (&pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: "welcome"}).Encode(nil)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		first []byte
		says  string
	}{"an error": {refusal, serverError}, "a notice": {greeting, unproven}, "SSPI, of Windows": {asksFor(9), unproven}} {
		port := serveDirectTLS(t, ca, tls.NoClientCert, func(conn *tls.Conn) bool {
			_, err := conn.Write(test.first)
			return err == nil && name == "a notice"
		})
		target := Target{Address: Address{Host: "db.example.com", Port: port}, HostAddr: "127.0.0.1", Direct: true, Mode: sslmode.Require, Tunnel: true}
		a := probe(t, &target, sslmode.Require)
		require.NotNil(t, a.Problem)
		assert.Equal(t, test.says, a.Problem.Code, name)
	}
}

// asksFor returns a request for authentication by a method's number.
func asksFor(method uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{'R', 0, 0, 0, 8}, method)
}

func TestAServerThatLetsAProbeInMayStillAsk(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	ready, err := (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(nil)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		then       []byte
		asks, code string
	}{
		"for the password":     {asksFor(pgproto3.AuthTypeCleartextPassword), "the password in clear", ""},
		"for what is unknown":  {asksFor(99), "", notPostgres},
		"control: for nothing": {ready, "nothing", ""},
	} {
		port := serveDirectTLS(t, ca, tls.NoClientCert, func(conn *tls.Conn) bool {
			_, _ = conn.Write(append(asksFor(pgproto3.AuthTypeOk), test.then...))
			_, _ = io.Copy(io.Discard, conn) // until the client hangs up
			return false
		})
		target := Target{Address: Address{Host: "db.example.com", Port: port}, HostAddr: "127.0.0.1", Direct: true, Mode: sslmode.Require}
		a := probe(t, &target, sslmode.Require)
		assert.Equal(t, test.asks, a.Asks, name)
		code := ""
		if a.Problem != nil {
			code = a.Problem.Code
		}
		assert.Equal(t, test.code, code, name)
	}
}

// A probe ends when it is asked for the password. If it went on, it would have none to give.
func TestAProbeHasNoPassword(t *testing.T) {
	ca, heard := pgtest.NewCA(t, "Root"), make(chan string, 1)
	port := serveDirectTLS(t, ca, tls.NoClientCert, func(conn *tls.Conn) bool {
		_, _ = conn.Write(asksFor(pgproto3.AuthTypeCleartextPassword))
		said := make([]byte, 1024)
		n, _ := conn.Read(said)
		heard <- string(said[:n])
		return false
	})
	target := Target{Address: Address{Host: "db.example.com", Port: port}, HostAddr: "127.0.0.1", Direct: true, Password: pgtest.Password}
	for _, isProbe := range []bool{true, false} { // the second one is the control
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _ = target.start(ctx, target.Address, sslmode.Require, Login{isProbe: isProbe})
		assert.Equal(t, isProbe, !strings.Contains(<-heard, pgtest.Password))
	}
}

// A session with replication=true takes no query, and what a tunnel copies is the app's own. pgconn
// asks one if a write took long and the answer was there before it ended.
func TestASessionThatIsHandedOverHasHeardNoQuery(t *testing.T) {
	ready, err := (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(asksFor(pgproto3.AuthTypeOk))
	require.NoError(t, err)
	asked := make(chan byte, 1)
	port := pgtest.Listen(t, func(conn net.Conn) {
		length := make([]byte, 4)
		_, _ = io.ReadFull(conn, length)
		_, _ = conn.Write(ready)
		time.Sleep(200 * time.Millisecond) // the client cannot write, since nobody reads
		_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(length))-4)
		kind := make([]byte, 1)
		_, _ = conn.Read(kind)
		asked <- kind[0]
	})
	target := Target{Address: Address{"127.0.0.1", uint16(port)}, User: "app"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	long := map[string]string{"application_name": strings.Repeat("x", 32<<20)}
	conn, attempt := target.start(ctx, target.Address, sslmode.Disable, Login{Parameters: long})
	require.NoError(t, attempt.err)
	session, err := conn.Hijack()
	require.NoError(t, err)
	_, err = session.Conn.Write([]byte{'X'})
	require.NoError(t, err)
	assert.Equal(t, "X", string(<-asked))
}

// pg_stat_activity tells whose a session is: verify's, or that of a client of the tunnel.
func TestAServerHearsWhoLogsIn(t *testing.T) {
	heard := make(chan map[string]string, 1)
	port := pgtest.Listen(t, func(conn net.Conn) {
		if message, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err == nil {
			heard <- message.(*pgproto3.StartupMessage).Parameters
		}
	})
	target := Target{Address: Address{"127.0.0.1", uint16(port)}, User: "app", Database: "d"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, test := range []struct{ says, want map[string]string }{
		{nil, map[string]string{"user": "app", "database": "d", "application_name": ApplicationName}},
		{map[string]string{"options": "-c a=b"}, map[string]string{"user": "app", "database": "d", "options": "-c a=b"}},
	} {
		_, _ = target.start(ctx, target.Address, sslmode.Disable, Login{Parameters: test.says})
		assert.Equal(t, test.want, <-heard)
	}
}

// verify's --timeout is as long as its user says.
func TestAServerHasAsLongAsItsCallerSaysToTakeAConnection(t *testing.T) {
	t.Parallel()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	at := Address{"127.0.0.1", uint16(name.(*syscall.SockaddrInet4).Port)}
	for err == nil { // until its queue is full
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp4", at.String(), time.Second); err == nil {
			defer conn.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 17*time.Second) // longer than the tunnel waits
	defer cancel()
	target := Target{Address: at, Mode: sslmode.Require}
	a := target.Probe(ctx, at, sslmode.Require)
	require.NotNil(t, a.Problem)
	assert.Equal(t, at.String()+" does not answer in time", a.Problem.What)
	deadline, _ := ctx.Deadline()
	assert.Less(t, time.Until(deadline), time.Second, "it did not give up before")
}

// A server may let a probe in, and ask for the password all the same.
func TestAProbeThatIsLetInGivesNoPasswordEither(t *testing.T) {
	for _, mode := range []sslmode.Mode{sslmode.Disable, sslmode.Require} {
		ca, heard := pgtest.NewCA(t, "Root"), make(chan string, 1)
		ask := func(conn net.Conn) {
			_, _ = conn.Write(append(asksFor(pgproto3.AuthTypeOk), asksFor(pgproto3.AuthTypeCleartextPassword)...))
			said := make([]byte, 1024)
			n, _ := conn.Read(said)
			heard <- string(said[:n])
		}
		port := pgtest.Listen(t, func(conn net.Conn) {
			if _, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err == nil {
				ask(conn)
			}
		})
		target := Target{Address: Address{"127.0.0.1", uint16(port)}, User: "app", Password: pgtest.Password, Mode: mode}
		if mode == sslmode.Require {
			target.Direct, target.Port = true, serveDirectTLS(t, ca, tls.NoClientCert, func(conn *tls.Conn) bool { ask(conn); return false })
		}
		probe(t, &target, mode)
		assert.NotContains(t, <-heard, pgtest.Password, mode)
		if mode == sslmode.Require {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, _ = target.LogIn(ctx, Login{})
			assert.Contains(t, <-heard, pgtest.Password, "control: a login does give it")
		}
	}
}

func TestWhatAServerAnswersToTheRequestForTLS(t *testing.T) {
	for answer, code := range map[string]string{"N": noTLS, "E": noTLS, "H": notPostgres, "": closed} {
		port := pgtest.Listen(t, func(conn net.Conn) {
			_, _ = pgproto3.NewBackend(conn, conn).ReceiveStartupMessage()
			_, _ = conn.Write([]byte(answer))
		})
		target := Target{Address: Address{Host: "127.0.0.1", Port: uint16(port)}, Mode: sslmode.Require}
		a := probe(t, &target, sslmode.Require)
		require.NotNil(t, a.Problem, answer)
		assert.Equal(t, code, a.Problem.Code, answer)
	}
}

func TestAServerThatAsksForAClientCertificateIsShownIt(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	client, shown := ca.Issue(t, []string{"app"}), make(chan string, 1)
	port := serveDirectTLS(t, ca, tls.RequireAnyClientCert, func(conn *tls.Conn) bool {
		shown <- conn.ConnectionState().PeerCertificates[0].Subject.CommonName
		return true
	})
	target := Target{Address: Address{Host: "db.example.com", Port: port}, HostAddr: "127.0.0.1", Direct: true, Mode: sslmode.Require}
	without := probe(t, &target, sslmode.Require)
	require.NotNil(t, without.Problem)
	assert.Equal(t, clientCertificateWanted, without.Problem.Code)
	target.Cert, target.Key = client.CertPEM, client.KeyPEM
	with := probe(t, &target, sslmode.Require)
	require.Nil(t, with.Problem)
	assert.Equal(t, "app", <-shown)
}

// probe probes a target's first host.
func probe(t *testing.T, target *Target, mode sslmode.Mode) Attempt {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return target.Probe(ctx, target.Address, mode)
}

// serveDirectTLS starts a server that begins with TLS, as db.example.com. It asks for the password of
// each client that is let in.
func serveDirectTLS(t *testing.T, ca *pgtest.CA, asks tls.ClientAuthType, isLetIn func(*tls.Conn) bool) (port uint16) {
	t.Helper()
	pair := ca.Issue(t, []string{"db.example.com"})
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"postgresql"}, ClientAuth: asks}
	return uint16(pgtest.Listen(t, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		defer secure.Close()
		backend := pgproto3.NewBackend(secure, secure)
		if _, err := backend.ReceiveStartupMessage(); err == nil && isLetIn(secure) {
			backend.Send(&pgproto3.AuthenticationCleartextPassword{})
			_ = backend.Flush()
		}
	}))
}

// A client of the tunnel has a password of its own.
func TestThePasswordOfALoginIsHidden(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	port := serveDirectTLS(t, ca, tls.NoClientCert, func(*tls.Conn) bool { return true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for password, isHidden := range map[binding.Secret]bool{"the-clients-own": true, "another": false} {
		target := Target{Address: Address{Host: "db.example.com", Port: port}, HostAddr: "127.0.0.1", Direct: true, Mode: sslmode.VerifyFull,
			Trust: trust("the test", ca), User: "app", Password: "the-bindings-own"}
		_, a := target.LogIn(ctx, Login{OnMessage: func(byte, []byte) error {
			target.Password = password
			return errors.New("the server said: THE clients/own")
		}})
		require.NotNil(t, a.Problem)
		assert.Equal(t, isHidden, !strings.Contains(a.Problem.What, "clients"), a.Problem.What)
	}
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
			target.setAddress(binding.Binding{Hosts: test.hosts, Ports: test.ports, Replicas: test.replicas, Username: "u"})
			if test.addresses == nil {
				require.NotNil(t, target.Problem)
				return
			}
			require.Nil(t, target.Problem)
			addresses := []string{target.Address.String()}
			for _, other := range target.Others {
				addresses = append(addresses, other.String())
			}
			assert.Equal(t, test.addresses, addresses)
		})
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
		targets := Targets(current.App{Plan: plan}, false)
		require.Len(t, targets[0].Trust, 1)
		assert.Equal(t, want, targets[0].Trust[0].Origin)
	}
}

// A file that PGSSLROOTCERT names is the owner's, unless a launch has put it there.
func TestWhoseRootCertificatesAreTrusted(t *testing.T) {
	app := plan(t, nil, "verify-full")
	ours, err := app.Roots(false)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"ours": ours, "owners": pgtest.NewCA(t, "Own").PEM} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		app.Env = map[string]string{"PGSSLROOTCERT": filepath.Join(dir, name)}
		app.Elsewhere = false
		target := Targets(app, false)[0]
		require.Nil(t, target.Problem, name)
		assert.Equal(t, name == "owners", target.TrustPlace == "the file that PGSSLROOTCERT names")
		app.Elsewhere = true
		problem := Targets(app, false)[0].Problem
		require.NotNil(t, problem, name)
		assert.Contains(t, problem.What, "which cannot be seen from here")
		app.Env = nil
		assert.Nil(t, Targets(app, false)[0].Problem, "control")
	}
}

func TestACASaysWhichSetItIsIn(t *testing.T) {
	sets := truststore.Sets{}
	for _, set := range []string{"us-west-2", "aws", truststore.AmazonTrust, truststore.Extra} {
		sets[set] = []*x509.Certificate{pgtest.NewCA(t, set).Cert}
	}
	store := truststore.NewStore("/trust", sets)
	for host, want := range map[string][]string{
		west: {"region us-west-2"},
		"h":  {"amazon-trust in this buildpack", "extra in this buildpack", "partition aws"},
	} {
		found := binding.Bound{Databases: []binding.Binding{{Name: "db", Hosts: []string{host}, Ports: []string{""}, Username: "u"}}}
		plan, err := launch.Decide(nil, found, store)
		require.NoError(t, err)
		var origins []string
		for _, anchor := range Targets(current.App{Plan: plan, Store: store}, false)[0].Trust {
			if !strings.Contains(anchor.Origin, "store") { // the stack's and the platform's
				origins = append(origins, anchor.Origin)
			}
		}
		slices.Sort(origins)
		assert.Equal(t, want, origins, host)
	}
}

// A server may know the password from an earlier login, and put it into its certificate.
func TestAPasswordInACertificateIsNotPrintedEither(t *testing.T) {
	for name, spelling := range pgtest.Spellings() {
		t.Run(name, func(t *testing.T) {
			ca := pgtest.NewCA(t, spelling)
			pair := ca.Issue(t, []string{spelling, "b"})
			pair.Cert.DNSNames = []string{spelling, "b"}
			target := Target{Name: "db", Address: Address{Host: "localhost", Port: 1}, Password: pgtest.Password, User: "app", Mode: sslmode.VerifyFull}
			var said []string
			for _, trusted := range [][]Anchor{nil, trust("x", ca)} {
				target.Trust = trusted
				_, problem := target.verify(pair.Chain(), "localhost", sslmode.VerifyFull, time.Now())
				require.NotNil(t, problem)
				said = append(said, problem.What, problem.Do)
			}
			said = append(said, strings.Join(target.Names(pair.Cert), " "))
			printed := strings.Join(said, "\n")
			assert.NotContains(t, pgtest.Letters(printed), pgtest.Letters(spelling))
			assert.Contains(t, printed, "(not shown: it contains the password)")
		})
	}
}

// A certificate may have tens of thousands of names. It is judged within the time of one login.
func TestThePasswordIsSpelledOnceForAllNamesOfACertificate(t *testing.T) {
	const many = 1000
	root, other := pgtest.NewCA(t, "Root"), pgtest.NewCA(t, "Other")
	leaf := root.Issue(t, []string{"localhost"}).Cert
	leaf.DNSNames = slices.Repeat([]string{"a name"}, many)
	target := Target{User: "app", Password: binding.Secret(strings.Repeat("aB3x9Kq7", 25)), Trust: slices.Repeat(trust("x", other), many)}
	v := verifier{&target, []*x509.Certificate{leaf}, "h", time.Now()}
	for where, judge := range map[string]func(){
		"a name in the report":      func() { assert.Len(t, target.Names(leaf), many) },
		"a name in the problem":     func() { assert.Equal(t, nameMismatch, v.nameMismatch().Code) },
		"a CA that is trusted here": func() { assert.Equal(t, unknownCA, v.notTrusted(v.chain).Code) },
	} {
		each := testing.AllocsPerRun(1, judge) / many
		assert.Less(t, each, 20.0, "allocations for "+where)
	}
	assert.Greater(t, testing.AllocsPerRun(1, func() { target.Shown("a name") }), 400.0, "control: allocations for a text alone")
}

func TestOnlyASQLSTATEIsShownAsOne(t *testing.T) {
	target := Target{Password: "ABC12"}
	for code, shown := range map[string]string{
		"28P01": " (SQLSTATE 28P01)", "": "", "28p01": "", "28P011": "", "28 01": "", "\x1b[31m": "", "ABC12": "",
	} {
		assert.Equal(t, shown, target.SQLState(code), code)
	}
}

func TestAPasswordThatIsAWordHidesNothingElse(t *testing.T) {
	// People use such passwords in development. A text that could be one stays hidden.
	target := Target{User: "postgres", Database: "app", Password: "postgres"}
	assert.Equal(t, "postgres", target.Shown("postgres"))
	assert.Equal(t, "sorry, too many clients already", target.Shown("sorry, too many clients already"))
	assert.Equal(t, "(not shown: it contains the password)", target.Shown(`role "postgres" is none`))
	target.Password = "four"
	assert.Equal(t, "(not shown: it contains the password)", target.Shown("F-O-U-R"), "the shortest that is looked for in disguise")
	target.Password = "a"
	assert.Equal(t, "SorrY, too mny", target.Shown("SorrY, too mny"))
	target.Password = ""
	assert.Equal(t, "anything", target.Shown("anything"))
}

// Nothing tells the pieces from other text.
func TestAPasswordInPiecesIsNotFound(t *testing.T) {
	target := Target{Password: "the-clients-own"}
	assert.Equal(t, "the-cli and then ents-own", target.Shown("the-cli and then ents-own"))
	assert.Equal(t, "(not shown: it contains the password)", target.Shown("the-cli. ents-own"), "control: with blanks and points between them it is")
}

func TestALongTextIsCut(t *testing.T) {
	whole := strings.Repeat("é", longestShown)
	assert.Equal(t, whole, new(Target).Shown(whole))
	shown := new(Target).Shown(strings.Repeat("é", 10_000))
	assert.Equal(t, longestShown+1, len([]rune(shown)))
}

func TestWhoRunsOutOfDescriptorsHearsIt(t *testing.T) {
	target := &Target{Address: Address{Host: "db.example.com", Port: 5432}, Password: "example"} // which hides the resolver's text
	for name, err := range map[string]error{
		"to dial":    &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)},
		"to resolve": &net.DNSError{Err: "dial udp 10.0.0.2:53: socket: too many open files", Name: "db.example.com"},
	} {
		problem := target.diagnose(Attempt{stage: dialing, err: err}, target.Address)
		assert.Equal(t, "no file descriptor is left to connect to db.example.com:5432", problem.What, name)
	}
	control := target.diagnose(Attempt{stage: dialing, err: &net.DNSError{Err: "no such host", Name: "db.example.com"}}, target.Address)
	assert.Equal(t, noAddress, control.Code)
}

// Go quotes a name that it cannot read. Who is out of descriptors starts all the same.
func TestNoServerPassesForAMissingDescriptorByItsCertificate(t *testing.T) {
	root := issued(t, nil, "Root", nil, isCA)
	for _, words := range []string{"too many open files", "control: any others"} {
		t.Run(words, func(t *testing.T) {
			uri := marshal(t, []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte("http://" + words + "/")}})
			template := &x509.Certificate{SerialNumber: big.NewInt(7)}
			with(asn1.ObjectIdentifier{2, 5, 29, 17}, false, uri...)(template)
			der, err := x509.CreateCertificate(rand.Reader, template, root.cert, root.key.Public(), root.key)
			require.NoError(t, err)
			port := pgtest.Listen(t, func(conn net.Conn) {
				_, _ = io.ReadFull(conn, make([]byte, 8)) // the request for TLS
				_, _ = conn.Write([]byte("S"))
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: root.key}}}).Handshake()
			})
			target := Target{Address: Address{Host: "localhost", Port: uint16(port)}, Mode: sslmode.VerifyFull}
			problem := probe(t, &target, sslmode.VerifyFull).Problem
			require.NotNil(t, problem)
			assert.Equal(t, certificateInvalid, problem.Code)
			assert.Contains(t, problem.What, words, "the server chose these")
			assert.True(t, problem.Insecure())
			assert.False(t, problem.NotThere())
		})
	}
}

// The tunnel gets its targets from another process.
func TestATargetThatIsPassedOnIsTheSame(t *testing.T) {
	ca := pgtest.NewCA(t, "Root")
	client := ca.Issue(t, []string{"app"})
	all := []Target{
		{Name: "a", Address: Address{Host: "h", Port: 1}, Mode: sslmode.VerifyFull, Source: "s", Tunnel: true, Trust: []Anchor{{ca.Cert, "the binding"}},
			TrustPlace: "place", Password: "mypass"},
		{Name: "b", Problem: &Problem{noTLS, "what", "do"}},
	}
	all[0].Cert, all[0].Key = client.CertPEM, client.KeyPEM
	read := passedOn(t, all)
	all[0].Password = ""
	assert.Equal(t, all, read)
}

// passedOn returns targets as another process reads them.
func passedOn(t *testing.T, targets []Target) (read []Target) {
	t.Helper()
	text, err := json.Marshal(targets)
	require.NoError(t, err)
	for _, target := range targets {
		if target.Password != "" {
			assert.NotContains(t, string(text), string(target.Password))
		}
	}
	require.NoError(t, json.Unmarshal(text, &read))
	return read
}
