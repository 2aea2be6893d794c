package wire

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// What to do in several cases. If packets do not arrive, it is most often the platform's own
// firewall.
const (
	checkHost = "check the host and the port in the binding"
	groups    = "the database's firewall (on RDS: its security group) and the application security groups of the app's space"
)

// diagnose says what stopped an attempt at a host. It returns nil if nothing did.
//
// It never passes on a library's error as it is. pgconn's errors contain user, host and database,
// and nobody promises what else they may contain.
func (t *Target) diagnose(a Attempt, to Address) *Problem {
	address, said := to.String(), t.Said(a.err)
	var dns *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError // something else also begins with an S: "SSH-2.0…"
	isDNS := errors.As(a.err, &dns)
	isAlert := errors.As(a.err, &op) && op.Op == "remote error" // the server broke off the TLS handshake, and says why
	switch {
	case a.Refusal != nil:
		return t.refused(a, address)
	case a.err == nil || a.Unverified() != nil:
		return a.Unverified()
	case errors.Is(a.err, syscall.EMFILE), isDNS && strings.Contains(dns.Err, syscall.EMFILE.Error()): // never a server's words
		return &Problem{unreachable, "no file descriptor is left to connect to " + address, "let the app open fewer connections and files"}
	case isDNS:
		return &Problem{noAddress, "DNS gives no address for " + to.Host,
			"check the host name in the binding, and that it can be resolved from where the app runs"}
	case isTimeout(a.err) && a.stage == dialing:
		return &Problem{timedOut, address + " does not answer in time", checkHost + ", " + groups}
	case isTimeout(a.err):
		return &Problem{timedOut, fmt.Sprintf("%s takes the connection, but does not answer %s in time", address, a.stage),
			"check that a PostgreSQL server runs there, and is not overloaded; try postgres-ssl verify with a larger --timeout"}
	case errors.Is(a.err, syscall.ECONNREFUSED):
		return &Problem{notListened, "nothing listens at " + address, checkHost + ", and that the database runs; also " + groups}
	case a.stage == dialing:
		return &Problem{unreachable, address + " cannot be reached: " + said, "check the host in the binding, " + groups}
	case errors.Is(a.err, errNoTLS):
		return &Problem{noTLS, address + " does not speak TLS",
			"turn it on in the server (ssl = on, with a certificate), or bind a database that has it"}
	case errors.Is(a.err, errNotPostgres), errors.As(a.err, &record):
		return &Problem{notPostgres, address + " does not answer as a PostgreSQL server does", checkHost + ": something else listens there"}
	case isAlert && strings.Contains(said, "certificate"):
		return t.clientCertificate(address, strings.TrimPrefix(said, "tls: "))
	case isAny(a.err, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE):
		return &Problem{closed, fmt.Sprintf("%s closed the connection instead of answering %s", address, a.stage),
			"check that a PostgreSQL server runs there (a load balancer without one also does this); then look into the server's log"}
	case strings.Contains(said, "failed to parse certificate from server"): // crypto/tls has no type for it
		return &Problem{certificateInvalid, "Go cannot read the certificate of " + address + stricter + ": " + said,
			"ask the database's operator to replace that certificate"}
	case isAlert || a.stage == handshaking:
		return &Problem{handshakeFailed, fmt.Sprintf("the TLS handshake with %s failed: %s", address, said),
			"ask the database's operator to look into the server's log; TLS 1.2 is the least that is accepted here"}
	}
	return &Problem{serverError, fmt.Sprintf("the login at %s failed: %s", address, said), "look into the server's log"}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func isAny(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// Said returns the text of the last error in a chain, without what each layer has added. It is safe to
// print.
func (t *Target) Said(err error) string {
	var refusal *pgconn.PgError
	switch many, ok := err.(interface{ Unwrap() []error }); {
	case err == nil:
		return ""
	case errors.As(err, &refusal):
		return t.Shown(refusal.Message) + t.SQLState(refusal.Code)
	case isTimeout(err):
		return "no answer in time"
	case ok:
		return t.Said(many.Unwrap()[0])
	case errors.Unwrap(err) != nil:
		return t.Said(errors.Unwrap(err))
	}
	return t.Shown(err.Error())
}

func (t *Target) clientCertificate(address, said string) *Problem {
	if t.Cert == nil {
		return &Problem{clientCertificateWanted, address + " wants a client certificate, and the app is given none",
			"put the certificate and its key into the binding as sslcert and sslkey, or set PGSSLCERT and PGSSLKEY"}
	}
	return &Problem{clientCertificateRefused, address + " refuses the client certificate: " + said,
		"check its issuer, its expiry, and that its common name is the user's (ssl_ca_file in the server); put a new one into the binding"}
}

// refused explains an error of the server. The codes are those of PostgreSQL's manual, "PostgreSQL
// Error Codes". A code may stand for several things. Then the English message decides or, in
// another language, what the handshake has shown.
func (t *Target) refused(a Attempt, address string) *Problem {
	says := func(text string) bool { return strings.Contains(a.Refusal.Message, text) }
	code, said := t.SQLState(a.Refusal.Code), ": "+t.Said(a.Refusal)
	certificateMissing := a.wantsCerts && !says("role")
	_, isRDS := rds.Parse(t.Host)
	switch state := a.Refusal.Code; {
	case state == "28P01":
		p := &Problem{passwordRefused, fmt.Sprintf(`the server refuses the password of user "%s"%s`, t.User, code),
			"unbind and bind the service, or correct the credentials username and password"}
		if t.Cert != nil { // a certificate whose common name is not the user's gives the same error
			p.Do += "; or the client certificate is for another user"
		}
		return p
	case state == "3D000":
		return &Problem{databaseMissing, fmt.Sprintf(`the server has no database "%s"%s`, t.Database, code),
			"create it, or correct the credential dbname"}
	case state == "28000" && says("pg_hba.conf"):
		return &Problem{notAllowed, "the server's pg_hba.conf does not let this user in from here with TLS" + said,
			"add a hostssl line for the user, the database and this address"}
	case state == "28000" && (says("certificate") || certificateMissing):
		return t.clientCertificate(address, t.Said(a.Refusal))
	case says("PAM authentication failed") && isRDS: // how RDS checks IAM's tokens
		return &Problem{notAllowed,
			fmt.Sprintf(`the server wants IAM authentication of user "%s", and the password is no valid token%s`, t.User, code),
			"bind a user without the role rds_iam, or let the app get a token for each login"}
	case state == "28000", state == "42501": // insufficient_privilege
		return &Problem{notAllowed, "the server does not let the user in" + said, "check the user in the binding, and its rights on the server"}
	}
	return &Problem{serverError, "the server refuses the connection" + said, "look into the server's log"}
}

// notTrusted explains a path that leads to no trusted certificate. Either the CA is not trusted, or
// a certificate on the way to a trusted one is missing.
func (v verifier) notTrusted(path []*x509.Certificate) *Problem {
	top, home := path[len(path)-1], ""
	// Every CA in this buildpack may lead to a trusted one, or to one that is trusted for other hosts.
	all := v.path(slices.Concat(v.Trust, knownCAs()))
	end := all[len(all)-1]
	root := find(v.Trust, end)
	for _, a := range knownCAs() {
		if a.Cert.Equal(end) {
			home = max(home, a.Origin) // "region …" is more precise than "partition …"
		}
	}
	if root == nil && home == "" {
		root = v.likelyRoot(top)
	}
	if root != nil {
		return &Problem{chainIncomplete,
			fmt.Sprintf("%s does not send the intermediate certificate %s, which by its name leads to the trusted root %s",
				v.host, v.name(top.Issuer), v.name(root.Cert.Subject)),
			"append that certificate to the server's certificate file (ssl_cert_file), after its own"}
	}
	who := "its issuer is " + v.name(top.Issuer)
	if selfSigned(top) {
		who = v.name(top.Subject) + " is signed by itself, and unknown here"
	}
	p := &Problem{Code: unknownCA,
		What: fmt.Sprintf("the certificate of %s comes from a CA that is not trusted: %s; the chain that was sent ends at %s, SHA-256 %s",
			v.host, who, v.name(top.Subject), truststore.Fingerprint(top))}
	_, isEndpoint := rds.Parse(v.host)
	callsItselfRDS := rds.CertificateRegion(end.Subject.CommonName)+rds.CertificateRegion(end.Issuer.CommonName) != ""
	switch {
	case home != "":
		p.What += "; that CA belongs to the bundle of " + home
		p.Do = "check that the host name leads to the right database"
		if !isEndpoint {
			p.Do += "; if it does, put that CA into " + v.TrustPlace
		}
	case isEndpoint || callsItselfRDS:
		p.Do = "if AWS has published that CA, bind it in a service tagged postgres-ssl-ca; else something else answers at this address " +
			"(a proxy, a tunnel, a wrong DNS entry): find out what before you send anything there"
	default:
		p.Do = "ask the database's operator for the certificate of " + v.name(top.Issuer) + ", and put that into " + v.TrustPlace
	}
	if len(v.Trust) <= 5 { // more say nothing
		var trusted []string
		for _, a := range v.Trust {
			trusted = append(trusted, v.name(a.Cert.Subject)+" ("+a.Origin+")")
		}
		p.What += "; trusted are: " + cmp.Or(plain.List(trusted, 5), "none")
	}
	return p
}

// likelyRoot guesses which trusted root the missing issuer of a certificate leads to: that of the
// same organization. It returns nil if there is none, or if the issuer calls itself a root.
func (v verifier) likelyRoot(top *x509.Certificate) *Anchor {
	issuer := top.Issuer
	if selfSigned(top) || len(issuer.Organization) == 0 || strings.Contains(strings.ToLower(issuer.CommonName), "root") {
		return nil
	}
	for _, a := range v.Trust {
		isItself := bytes.Equal(a.Cert.RawSubject, top.RawIssuer) // by its name: it has not signed
		if truststore.IsRoot(a.Cert) && !isItself && slices.Equal(issuer.Organization, a.Cert.Subject.Organization) {
			return &a
		}
	}
	return nil
}

// nameMismatch says which names would have matched. Without one, libpq looks at the common name
// (libpq's manual, "Client Verification of Server Certificates"). Go's drivers do not (crypto/x509,
// VerifyHostname).
func (v verifier) nameMismatch() *Problem {
	leaf := v.chain[0]
	isCloud := func(host string) bool { _, ok := rds.Parse(host); return ok }
	if names := v.Names(leaf); len(names) > 0 {
		do := "put one of these names into the binding as its host, or ask the database's operator for a certificate for " + v.host
		if net.ParseIP(v.host) != nil {
			do += "; under verify-ca, with a CA of the database's own, an address needs no name"
		} else if i := slices.IndexFunc(names, isCloud); i >= 0 && !isCloud(v.host) {
			do = "bind the endpoint's own name, " + names[i] + "; no certificate of the cloud names " + v.host
		}
		return &Problem{nameMismatch, fmt.Sprintf("the certificate is not issued for %s, but for %s", v.host, plain.List(names, 10)), do}
	}
	return &Problem{nameMismatch,
		fmt.Sprintf("the certificate is not issued for %s: it has no subject alternative names; "+
			"its common name is %s, at which libpq looks, but drivers in Go (lib/pq, pgx) do not", v.host, v.name(leaf.Subject)),
		"ask the database's operator for a certificate with " + v.host + " as a subject alternative name"}
}

// Names returns the DNS names and IP addresses of a certificate.
func (t *Target) Names(c *x509.Certificate) []string {
	names, shown := []string{}, t.Screen()
	for _, name := range c.DNSNames {
		names = append(names, shown(name))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// name is in quotes, as it may contain spaces.
func (t *Target) name(of pkix.Name) string { return `"` + t.Shown(truststore.Name(of)) + `"` }
