// Package verify connects to the bound databases as the app does, and proves what happens on the
// wire.
//
// evidence.go connects. The rest are pure functions, which judge what that shows (judge.go,
// sessions.go) and write it down (text.go).
package verify

import "github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"

// Report is the result of `postgres-ssl verify`. With --json, it is the output. New versions may
// add fields, but rename or remove none, and change no meaning. Every text is one line without
// control characters.
type Report struct {
	OK        bool       `json:"ok"` // exit status 0
	Databases []Database `json:"databases"`
	Warnings  []string   `json:"warnings"` // about the bindings and the app's own variables
	Drivers   []string   `json:"drivers"`  // found in the app's files; we cannot see what they verify
}

// Database is one bound database.
type Database struct {
	Name        string         `json:"name"`
	OK          bool           `json:"ok"` // no problems; there may be warnings
	Host        string         `json:"host"`
	Port        int            `json:"port"`
	Database    string         `json:"database"`
	User        string         `json:"user"`
	Mode        string         `json:"mode"` // in force; "" if there is none
	ModeSource  string         `json:"mode_source"`
	Asked       string         `json:"asked"` // what the binding asks for
	AskedSource string         `json:"asked_source"`
	TLS         *TLS           `json:"tls"`         // null if there was no TLS connection
	Certificate *Certificate   `json:"certificate"` // the server's, or null if it showed none
	Root        *Root          `json:"root"`        // the end of the verified chain, or null
	Modes       []Outcome      `json:"modes"`       // weakest first; empty if we tried nothing
	Sessions    []Session      `json:"sessions"`    // the user's sessions, or null if the query failed
	OtherHosts  []OtherHost    `json:"other_hosts"` // the binding's further hosts
	Problems    []wire.Problem `json:"problems"`
	Warnings    []string       `json:"warnings"`
}

// TLS is how a connection is encrypted.
type TLS struct {
	Version string `json:"version"` // "TLS 1.3"
	Cipher  string `json:"cipher"`  // as IANA names it
	Group   string `json:"group"`   // of the key exchange; X25519MLKEM768 is post-quantum, "" is RSA's
}

// Certificate is a server's certificate.
type Certificate struct {
	Issued
	Names  []string `json:"names"` // its DNS names and IP addresses
	Issuer string   `json:"issuer"`
	Key    string   `json:"key"` // "RSA 2048", "ECDSA P-256"
}

// Root is a root certificate, and who brought it.
type Root struct {
	Issued
	Origin string `json:"origin"` // "region us-west-2", "credential sslrootcert", "the stack's store (FILE)", …
}

// Issued is for both.
type Issued struct {
	Subject     string `json:"subject"`
	NotAfter    string `json:"not_after"` // a day, 2027-03-01
	DaysLeft    int    `json:"days_left"` // until then; below 0 if it has expired
	Fingerprint string `json:"sha256"`    // hexadecimal
}

// Outcome is what one mode would do on this server.
type Outcome struct {
	Mode   string `json:"mode"`
	Result string `json:"result"` // "works" or "fails"; for disable, "accepted", "refused" or "unknown"
	Why    string `json:"why"`    // the code of the problem; for disable, the server's answer
}

// The results of an Outcome.
const (
	Works    = "works"
	Fails    = "fails"
	Accepted = "accepted" // the server accepts plain text
	Refused  = "refused"  // the server refuses plain text
	Unknown  = "unknown"  // the server's answer does not say
)

// Session is a row of pg_stat_activity and pg_stat_ssl.
type Session struct {
	Database    string `json:"database"`
	PID         int    `json:"pid"`
	Application string `json:"application"`
	Address     string `json:"address"`   // of the client; "" for a Unix socket
	Transport   string `json:"transport"` // "tls", "plain", "socket", or "hidden" if the user may not see it
	Version     string `json:"version"`   // "TLSv1.3", "" without TLS
	Cipher      string `json:"cipher"`    // as OpenSSL names it
	Bits        int    `json:"bits"`
	Own         bool   `json:"own"` // this command's session
}

// The transports of a Session.
const (
	OverTLS    = "tls"
	OverPlain  = "plain"
	OverSocket = "socket" // crosses no network, and cannot be encrypted
	Hidden     = "hidden"
)

// OtherHost is a further host of a binding: a replica, a reader endpoint.
type OtherHost struct {
	Host    string        `json:"host"`
	Port    int           `json:"port"`
	Root    *Root         `json:"root"`
	Problem *wire.Problem `json:"problem"` // null if there is none
}

// The codes of problems beside those of wire.
const (
	PlainTextMode    = "plain-text-mode"   // the mode leads to plain text on this server
	WeakerThanAsked  = "weaker-than-asked" // the mode in force is not the binding's
	PlainTextSession = "plain-text-session"
	SessionsHidden   = "sessions-hidden"
	OtherHostFails   = "other-host"
)
