// Package binding finds the Postgres databases among an app's service bindings, in whichever form the platform delivers them.
//
// walk.go goes through the credentials, strings.go reads connection strings, keys.go knows the keys, databases.go puts together what
// belongs to one database, modes.go finds the modes that are written for it, and read.go gets the bindings from the environment.
package binding

import (
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Found is what an environment binds.
type Found struct {
	Databases  []Binding    // sorted by service
	ByOwner    bool         // no service holds one; the app's owner set DATABASE_URL
	Others     []string     // services that hold no Postgres database
	CAs        []Credential // of services tagged postgres-ssl-ca, for databases that bring none
	Unresolved []string     // Postgres services whose credentials the platform left in CredHub
}

// Binding is one bound Postgres database.
type Binding struct {
	Name  string   // of the binding if it has one, else of the service instance
	Path  string   // "" for the service's main database, else the key that another one was found under
	Tags  []string // as the broker gave them
	Hosts []string // lower case, without port and trailing dot, the primary first; empty where the credentials name none
	Ports []string // one for each of Hosts, "" for the default

	WellKnown bool // it stands under the keys that every broker uses, and so comes before others of the same service
	Replicas  int  // how many of Hosts, the last ones, stand under a key for replicas

	Asked   []Asked // the modes that are written, wherever that is
	AsksTLS string  // the place that asks for TLS without a mode, "" for none
	SSLFlag string  // the connection string that asks for TLS and writes no mode, "" for none
	System  string  // the place that says sslrootcert=system, "" for none

	CA         Credential   // under a well-known key, if there is one
	MoreCAs    []Credential // certificates under other keys that speak of the server's CA
	ClientCert Credential
	ClientKey  Credential

	Database string
	Username string
	Password Secret
}

// Asked is a mode that a binding asks for, and where that is written.
type Asked struct {
	Mode  sslmode.Mode
	Place string // "credential sslmode", "query of credential uri"
	By    By
}

// By is the kind of place that a mode is written in. An app reads some of them and not others.
type By int

// The kinds of places.
const (
	ByKey    By = iota // a credential of its own
	ByURI              // the connection string that the platform hands on as DATABASE_URL, or that variable itself
	ByString           // another connection string
)

// Credential is the value of one key of the credentials, and the key, so that an error can name it.
type Credential struct {
	Key     string // "" if the credentials have no such key
	Value   Secret
	Missing bool // Key names a file that is not in this container
}

// Secret is a text that must not be printed. It prints as "(secret)" in whichever way fmt or a JSON encoder is asked to.
type Secret string

// String hides the secret from fmt.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret from fmt's %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalText hides the secret from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Title is what people call the database: its service, and for one that is not the main one, the key that it was found under.
func (b Binding) Title() string {
	if b.Path == "" {
		return b.Name
	}
	return b.Name + " (" + b.Path + ")"
}

// Tagged says whether the binding has the tag, written exactly so, which is how Stratos looks for its own.
func (b Binding) Tagged(tag string) bool { return slices.Contains(b.Tags, tag) }

// Primaries are the hosts that do not stand under a key for replicas.
func (b Binding) Primaries() []string { return b.Hosts[:len(b.Hosts)-b.Replicas] }
