// Package wire reaches a database as its mode asks, or says why not. `postgres-ssl verify`, the
// check before an app starts, and the tunnel connect with it.
//
// target.go works out how the app connects; connect.go and hostile.go use the network; the rest are
// pure functions.
package wire

import (
	"crypto/x509"
	"encoding/json"
	"net"
	"slices"
	"strconv"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Target is a database with everything that decides how to connect to it. A tunnel gets it as JSON.
type Target struct {
	Name    string
	ByKeys  bool // nothing but its keys tells that it is Postgres
	Further bool // nobody need be there: a service's further connection string, such as an example; a Unix socket
	Address
	Others   []Address // its further hosts
	Database string
	User     string
	Password binding.Secret `json:"-"` // a tunnel's clients have their own

	Mode        sslmode.Mode // the mode in force in the app, or None
	Source      string       // the rule that Mode comes from
	Lever       string       // what to set to change Mode
	Owned       bool         // the app's owner set Mode
	Tunnel      bool         // the app connects through the tunnel
	Asked       sslmode.Mode // what the binding asks for; an app has one set of variables for all
	AskedSource string       // the rule that Asked comes from

	Trust      []Anchor
	TrustPlace string // where to put a CA so that it is trusted

	Cert, Key []byte   // for a server that asks, in PEM; nil if there is none
	Direct    bool     // begin with TLS, without asking for it
	HostAddr  string   // where to connect instead of to Host, whose name is verified all the same
	Problem   *Problem // found before connecting, so we don't connect
}

// LoginMode is how strictly to verify before the password goes over a connection: never without TLS.
func (t *Target) LoginMode() sslmode.Mode { return max(t.Mode, sslmode.Require) }

// Address is where a server listens.
type Address struct {
	Host string
	Port uint16
}

func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// Anchor is a CA certificate, and where it comes from.
type Anchor struct {
	Cert   *x509.Certificate
	Origin string
}

// MarshalJSON writes the certificate itself.
func (a Anchor) MarshalJSON() ([]byte, error) {
	return json.Marshal([2][]byte{a.Cert.Raw, []byte(a.Origin)})
}

// UnmarshalJSON reads it.
func (a *Anchor) UnmarshalJSON(text []byte) (err error) {
	var parts [2][]byte
	if err = json.Unmarshal(text, &parts); err == nil {
		a.Origin = string(parts[1])
		a.Cert, err = x509.ParseCertificate(parts[0])
	}
	return err
}

func find(anchors []Anchor, cert *x509.Certificate) *Anchor {
	for _, a := range anchors {
		if a.Cert.Equal(cert) {
			return &a
		}
	}
	return nil
}

// Problem is one thing that is wrong, and what to do about it: an error, and a part of
// `verify --json`.
type Problem struct {
	Code string `json:"code"` // docs/verify.md has them all
	What string `json:"what"`
	Do   string `json:"do"`
}

// The codes of problems: before a connection, on the way to the server, of TLS, of the login.
const (
	modeUnknown               = "mode-unknown"
	bindingIncomplete         = "binding-incomplete" // or its port is none
	rootUnreadable            = "root-unreadable"
	clientCertificateUnusable = "client-certificate-unusable"

	noAddress   = "dns"
	notListened = "refused"
	unreachable = "unreachable"
	timedOut    = "timeout"
	closed      = "closed" // without an answer
	notPostgres = "not-postgres"

	noTLS                    = "no-tls"
	handshakeFailed          = "tls-handshake"
	unknownCA                = "unknown-ca"
	chainIncomplete          = "chain-incomplete"
	certificateExpired       = "certificate-expired"
	rootExpired              = "root-expired"
	notYetValid              = "not-yet-valid"
	certificateInvalid       = "certificate-invalid"
	unproven                 = "unproven" // through the tunnel: neither a certificate nor SCRAM says who it is
	nameMismatch             = "name-mismatch"
	clientCertificateWanted  = "client-certificate-wanted"
	clientCertificateRefused = "client-certificate-refused"

	notAllowed      = "not-allowed"
	passwordRefused = "password-refused"
	databaseMissing = "database-missing"
	serverError     = "server-error" // anything else that the server says
)

func (p *Problem) Error() string { return p.What }

// Insecure says whether the server's answer was not encrypted and verified as the mode asks, or the
// app's settings cannot lead to such a connection.
func (p Problem) Insecure() bool { return slices.Contains(insecure, p.Code) }

var insecure = []string{
	modeUnknown, bindingIncomplete, rootUnreadable, clientCertificateUnusable, notPostgres, noTLS, handshakeFailed,
	unknownCA, chainIncomplete, certificateExpired, rootExpired, notYetValid, certificateInvalid, nameMismatch,
	clientCertificateRefused, unproven,
}

// NotThere says whether there is no server, or not yet.
func (p Problem) NotThere() bool {
	return slices.Contains([]string{bindingIncomplete, noAddress, notListened, unreachable, timedOut, closed}, p.Code)
}
