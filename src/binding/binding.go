// Package binding finds the Postgres databases among an app's service bindings, in every form that
// the platform delivers them in.
//
// walk.go goes through the credentials, strings.go reads connection strings, and keys.go knows the
// keys. databases.go collects what belongs to one database, and modes.go finds its modes. read.go
// gets the bindings from the environment. redirect.go makes them name the tunnel; for that,
// document.go finds a value's place in the text.
package binding

import (
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Found is what an environment binds.
type Found struct {
	Databases  []Binding    // sorted by service
	ByOwner    bool         // no service holds one, but the app's owner set DATABASE_URL
	Others     []string     // services that hold no Postgres database
	CAs        []Credential // of services tagged postgres-ssl-ca, for databases that bring none
	Unresolved []string     // Postgres services whose credentials the platform left in CredHub
}

// Binding is one bound Postgres database.
type Binding struct {
	Name  string   // of the binding, or of the service instance if the binding has none
	Path  string   // the key where it was found; "" for the service's main database
	Tags  []string // as the broker gave them
	Hosts []string // lower case, no port, no trailing dot; the primary comes first
	Ports []string // one for each of Hosts, "" for the default

	WellKnown bool // under the keys that every broker uses; wins over others of its service
	Replicas  int  // how many of Hosts, counted from the end, are replicas

	Asked   []Asked // the modes that it writes, in any place
	AsksTLS string  // the place that asks for TLS without a mode, "" if none
	SSLFlag string  // the connection string that asks for TLS without a mode, "" if none
	System  string  // the place that says sslrootcert=system, "" if none

	CA         Credential   // under a well-known key, if there is one
	MoreCAs    []Credential // certificates under other keys that seem to mean the server's CA
	ClientCert Credential
	ClientKey  Credential

	Database string
	Username string
	Password Secret
}

// Asked is a mode that a binding asks for, and where it is written.
type Asked struct {
	Mode  sslmode.Mode
	Place string // "credential sslmode", "query of credential uri"
	By    By
}

// By is the kind of place where a mode is written. An app reads some kinds and not others.
type By int

const (
	ByKey    By = iota // a credential of its own
	ByURI              // the string that the platform passes on as DATABASE_URL, or that variable
	ByString           // another connection string
)

// Credential is the value of one key of the credentials. It holds the key, so that an error can
// name it.
type Credential struct {
	Key     string // "" if the credentials have no such key
	Value   Secret
	Missing bool // the value is the path of a file that is not in this container
}

// Secret is a text that must not be printed. It prints as "(secret)", both in fmt and in encoders.
type Secret string

// String hides the secret from fmt.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret from fmt's %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalText hides the secret from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Title is what people call the database: the name of its service. If it is not the service's main
// database, the key where it was found follows.
func (b Binding) Title() string {
	if b.Path == "" {
		return b.Name
	}
	return b.Name + " (" + b.Path + ")"
}

// Tagged says whether the binding has exactly this tag. Stratos finds its own tag the same way.
func (b Binding) Tagged(tag string) bool { return slices.Contains(b.Tags, tag) }

// Primaries returns the hosts that are not under a key for replicas.
func (b Binding) Primaries() []string { return b.Hosts[:len(b.Hosts)-b.Replicas] }
