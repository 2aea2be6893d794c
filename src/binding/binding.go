// Package binding finds the Postgres databases among an app's service bindings, in every form that
// the platform delivers them in.
//
// source.go gets the bindings from the environment. tree.go goes through the credentials, keys.go
// knows their keys, hosts.go reads hosts, and connection.go, uri.go and words.go connection
// strings. group.go finds which of them are about one database, modes.go finds its modes, and
// credentials.go the rest. unheard.go refuses what nobody has read. rename.go makes the bindings
// name the tunnel.
package binding

import (
	"cmp"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Bound is what an environment binds.
type Bound struct {
	Databases  []Binding    // sorted by service
	ByOwner    bool         // no service has one, but the app's owner set DATABASE_URL
	Others     []string     // services without a Postgres database
	CAs        []Credential // of services tagged postgres-ssl-ca, for databases that bring none
	Unresolved []Reference  // services whose credentials are still a reference to CredHub
	Notes      []string     // what else the log of each start has to say, each one line
}

// Reference is a service whose credentials the platform left in CredHub. Its label or a tag may say
// that it is Postgres. The launcher resolves no reference in a file.
//
// Source: buildpackapplifecycle's credhub.InterpolateServiceRefs, which knows VCAP_SERVICES only.
type Reference struct {
	Service          string
	Postgres, InFile bool
}

// Binding is one bound Postgres database.
type Binding struct {
	Name  string    // of the binding, or of the service instance if the binding has none
	Path  string    // the key where it was found; "" for the service's main database
	Tags  []string  // as the broker gave them
	Hosts []string  // lower case, no port, no trailing dot; the primary comes first
	Ports []string  // one for each of Hosts, "" for the default
	named []address // each host and port that its strings and keys name, as they name it

	WellKnown bool   // under the keys that every broker uses; wins over others of its service
	HostAddr  string // where libpq connects instead of to the only host
	DirectTLS bool   // libpq begins with TLS, without asking for it
	Socket    bool   // it names a Unix socket, and no host
	Replicas  int    // how many of Hosts, counted from the end, are replicas

	Guessed bool     // nothing but its keys tells that it is Postgres, or something speaks against it
	Notes   []string // what people should know of it, each one line, without secrets
	Asked   []Asked  // the modes that it writes, in any place
	AsksTLS Place    // where it asks for TLS without a mode
	SSLFlag Place    // the connection string that asks for TLS without a mode
	Direct  string   // what only a direct connection can do, such as channel_binding
	System  Place    // where it says sslrootcert=system

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
	Place Place
	By    By
	Alias bool // by libpq's other name, which drivers on libpq alone take for a mode
}

// By is the kind of place where a mode is written. An app reads some kinds and not others.
type By int

const (
	ByKey    By = iota // a credential of its own
	ByURI              // the string that the platform passes on as DATABASE_URL, or that variable
	ByString           // another connection string
	ByProse            // a connection string in a longer text, such as a psql command
	ByFirst            // a parameter in a connection string that comes again: the last one counts
)

// Place is where a binding says something. The zero Place is nowhere.
type Place struct {
	Service  string // that has the credential, "" for the database's own
	Path     string // of the credential: "connection.postgres.query_options.sslmode"
	Of       string // the parameter that says it, in a connection string
	Variable bool   // it is in an environment variable, which Path names
}

// String names the place for people: "credential sslmode", "sslmode in credential uri". It is "" for
// the zero Place.
func (p Place) String() string {
	switch {
	case !p.Known():
		return ""
	case p.Of != "":
		return p.Of + " in " + p.Whole()
	}
	return p.Whole()
}

// Whole names the credential or the variable that the place is in.
func (p Place) Whole() string {
	switch {
	case p.Variable:
		return p.Path
	case p.Service != "":
		return p.Service + ", credential " + p.Path
	}
	return "credential " + p.Path
}

// Known is false for the zero Place.
func (p Place) Known() bool { return p != Place{} }

// IsString says whether a driver may be given the string as it is.
func (b By) IsString() bool { return b != ByKey && b != ByProse }

// Credential is the value of one key of the credentials, and its place, for errors. The zero
// Credential stands for one that is not there.
type Credential struct {
	Place
	Value   Secret
	Missing bool // the value is the path of a file that is not in this container
	IsCA    bool // of MoreCAs: the key says CA or root, so it asks for verify-ca
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

// Writes returns the strictest mode that the binding writes, None if it writes none.
func (b Binding) Writes() sslmode.Mode {
	strictest := sslmode.None
	for _, a := range b.Asked {
		if !a.Alias {
			strictest = max(strictest, a.Mode)
		}
	}
	return strictest
}

// ByKeys says whether nothing but its keys tells that it is Postgres, and no mode either.
func (b Binding) ByKeys() bool { return b.Guessed && b.Writes() == sslmode.None }

// Primaries returns the hosts that are not under a key for replicas.
func (b Binding) Primaries() []string { return b.Hosts[:len(b.Hosts)-b.Replicas] }

// Port returns the port of a host as the binding writes it. A replica may share the first host's.
func (b Binding) Port(host int) string {
	if host < len(b.Primaries()) {
		return cmp.Or(b.Ports[host], defaultPort)
	}
	return cmp.Or(b.Ports[host], b.Ports[0], defaultPort)
}
