package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// groups says where to look when packets do not arrive. On the platform, it is most often its own
// firewall.
const groups = "the database's firewall (on RDS: its security group) and the application security groups of the app's space"

// diagnose says what stopped an attempt. It returns nil if nothing did.
//
// It never passes on a library's error as it is. pgconn's errors hold user, host and database, and
// nobody promises what else they may hold.
func (t *Target) diagnose(a attempt, to Address) *Problem {
	address := to.String()
	if a.err == nil {
		if a.answer.refusal != nil {
			return t.refused(a, address)
		}
		return nil
	}
	if p := certificateProblem(a.err); p != nil {
		return p
	}
	var dns *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError // something else also begins with an S: "SSH-2.0…"
	switch {
	case errors.As(a.err, &dns):
		return &Problem{DNS, "DNS gives no address for " + to.Host, "check the host name in the binding, and that it can be resolved from where the app runs"}
	case isTimeout(a.err) && a.stage == dialing:
		return &Problem{TimedOut, address + " does not answer in time", "check the host and the port in the binding, " + groups}
	case isTimeout(a.err):
		return &Problem{TimedOut, fmt.Sprintf("%s takes the connection, but does not answer %s in time", address, a.stage.request()),
			"check that a PostgreSQL server runs there, and is not overloaded; try postgres-ssl verify with a larger --timeout"}
	case errors.Is(a.err, syscall.ECONNREFUSED):
		return &Problem{NotListened, "nothing listens at " + address, "check the host and the port in the binding, and that the database runs; also " + groups}
	case a.stage == dialing:
		return &Problem{Unreachable, address + " cannot be reached" + systemError(a.err), "check the host in the binding, " + groups}
	case errors.Is(a.err, errNoTLS):
		return &Problem{NoTLS, address + " does not speak TLS", "turn it on in the server (ssl = on, with a certificate), or bind a database that has it"}
	case errors.Is(a.err, errTooMuch), errors.Is(a.err, errIterations):
		return &Problem{ServerError, address + " sends or demands too much: " + innermost(a.err), "find out what answers there: a PostgreSQL server does not behave like this"}
	case errors.Is(a.err, errNotPostgres), errors.As(a.err, &record):
		return &Problem{NotPostgres, address + " does not answer as a PostgreSQL server does", "check the host and the port in the binding: something else listens there"}
	case errors.As(a.err, &op) && op.Op == "remote error":
		return t.alert(op.Err.Error(), address)
	case errors.Is(a.err, io.EOF), errors.Is(a.err, io.ErrUnexpectedEOF), errors.Is(a.err, syscall.ECONNRESET), errors.Is(a.err, syscall.EPIPE):
		return &Problem{Closed, fmt.Sprintf("%s closed the connection instead of answering %s", address, a.stage.request()),
			"check that a PostgreSQL server runs there (a load balancer without one also does this); then look into the server's log"}
	case a.stage == handshaking:
		return &Problem{HandshakeFailed, fmt.Sprintf("the TLS handshake with %s failed: %s", address, t.foreign(innermost(a.err))),
			"ask the database's operator to look into the server's log; TLS 1.2 is the least that is accepted here"}
	}
	return &Problem{ServerError, fmt.Sprintf("the login at %s failed: %s", address, t.foreign(innermost(a.err))), "look into the server's log"}
}

// request names what the server was asked at this stage.
func (s stage) request() string {
	return [...]string{"", "the request for TLS", "in the TLS handshake", "the startup message"}[s]
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// systemError returns the operating system's reason in brackets.
func systemError(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return " (" + number.Error() + ")"
	}
	return ""
}

// innermost returns the text of the last error in a chain, without what each layer has added.
func innermost(err error) string {
	for {
		switch wrapped := err.(type) {
		case interface{ Unwrap() error }:
			if wrapped.Unwrap() == nil {
				return err.Error()
			}
			err = wrapped.Unwrap()
		case interface{ Unwrap() []error }:
			err = wrapped.Unwrap()[0]
		default:
			return err.Error()
		}
	}
}

// alert explains a TLS alert: the server broke off the handshake, and gave a reason. crypto/tls has
// no type for it, but a fixed table of texts (RFC 8446, 6.2).
func (t *Target) alert(text, address string) *Problem {
	text = strings.TrimPrefix(text, "tls: ")
	switch {
	case text == "certificate required", strings.Contains(text, "certificate") && t.Client == nil:
		return clientCertificateWanted(address)
	case strings.Contains(text, "certificate"):
		return &Problem{ClientCertificateRefused, fmt.Sprintf("%s refuses the client certificate: %s", address, text),
			"check its issuer, its expiry, and that its common name is the user's (ssl_ca_file in the server); put a new one into the binding"}
	}
	return &Problem{HandshakeFailed, fmt.Sprintf("%s broke off the TLS handshake: %s", address, text),
		"ask the database's operator to look into the server's log; TLS 1.2 is the least that is accepted here"}
}

func clientCertificateWanted(address string) *Problem {
	return &Problem{ClientCertificateWanted, address + " wants a client certificate, and the app is given none",
		"put the certificate and its key into the binding as sslcert and sslkey, or set PGSSLCERT and PGSSLKEY"}
}

// refused explains an error of the server. The codes are those of PostgreSQL's manual, "PostgreSQL
// Error Codes". A code may stand for several things. Then the English message decides or, in
// another language, what the handshake has shown.
func (t *Target) refused(a attempt, address string) *Problem {
	r := *a.answer.refusal
	code := t.sqlstate(r.sqlstate)
	said := ": " + t.foreign(r.message) + code
	switch {
	case r.sqlstate == "28P01":
		p := &Problem{PasswordRefused, fmt.Sprintf("the server refuses the password of user %s%s", quoted(t.User), code),
			"unbind and bind the service, or correct the credentials username and password"}
		if t.Client != nil { // a certificate whose common name is not the user's gives the same error
			p.Do += "; or the client certificate is for another user"
		}
		return p
	case r.sqlstate == "3D000":
		return &Problem{DatabaseMissing, fmt.Sprintf("the server has no database %s%s", quoted(t.Database), code), "create it, or correct the credential dbname"}
	case r.sqlstate == "28000" && strings.Contains(r.message, "pg_hba.conf"):
		return &Problem{NotAllowed, "the server's pg_hba.conf does not let this user in from here with TLS" + said, "add a hostssl line for the user, the database and this address"}
	case r.sqlstate == "28000" && strings.Contains(r.message, "certificate"), r.sqlstate == "28000" && a.peer.wantsCerts && !strings.Contains(r.message, "role"):
		if t.Client == nil {
			return clientCertificateWanted(address)
		}
		return &Problem{ClientCertificateRefused, address + " refuses the client certificate" + said, "check that its common name is the user's, or put another one into the binding"}
	case r.sqlstate == "28000":
		return &Problem{NotAllowed, "the server does not let the user in" + said, "check the user in the binding, and on the server"}
	case r.sqlstate == "42501":
		return &Problem{NotAllowed, "the user may not connect to the database" + said, "grant connect on the database to the user"}
	}
	return &Problem{ServerError, "the server refuses the connection" + said, "look into the server's log"}
}

// outcome says what a mode would do, judging by its attempt.
func (t *Target) outcome(a attempt) Outcome {
	o := Outcome{Mode: a.mode.String()}
	if a.mode != sslmode.Disable {
		o.Result = Works
		if p := t.diagnose(a, t.address()); p != nil {
			o.Result, o.Why = Fails, p.Code
		}
		return o
	}
	o.Result, o.Why = t.plainText(a)
	if o.Result == Unknown {
		o.Why = t.diagnose(a, t.address()).Code
	}
	return o
}

// plainText says whether a server accepts plain text, judging by its answer to a connection that
// begins in it. A request for the password means yes: pg_hba.conf has let the connection pass. An
// authorization error means no (no pg_hba.conf entry, "no encryption"; RDS with rds.force_ssl = 1).
// So does an error that asks for SSL (PgBouncer, Azure). Any other error says nothing.
func (t *Target) plainText(a attempt) (result, why string) {
	switch {
	case a.answer.asks != "":
		return Accepted, "asks for " + a.answer.asks
	case a.answer.admits:
		return Accepted, "asks for nothing"
	case a.answer.refusal == nil:
		return Unknown, ""
	}
	r := a.answer.refusal
	if r.sqlstate == "28000" || strings.Contains(r.message, "SSL") || strings.Contains(r.message, "TLS") {
		return Refused, strings.Trim(t.sqlstate(r.sqlstate), " ()")
	}
	return Unknown, ""
}

// advicePlainText says how to make a server refuse plain text.
func advicePlainText(host string) string {
	if _, ok := rds.Parse(host); ok {
		return "set rds.force_ssl = 1 in its parameter group"
	}
	return "write hostssl for host in its pg_hba.conf"
}
