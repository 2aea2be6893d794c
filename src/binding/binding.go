// Package binding finds the Postgres databases among an app's service bindings, in whichever form the platform delivers them.
package binding

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/go-cfenv"
)

// Binding is one bound Postgres database.
type Binding struct {
	Name  string   // of the binding if it has one, else of the service instance
	Tags  []string // as the broker gave them
	Hosts []string // lower case, without port and trailing dot, the primary first; empty where the credentials name none

	SSLMode    string // as it was written, "" for none
	ModeSource string // the key that SSLMode came from: "credential sslmode", "query of credential uri"

	CA         Credential // the database's own CA certificates, if it brings any
	ClientCert Credential
	ClientKey  Credential

	Port     string // of the primary host; "" for the default
	Database string
	Username string
	Password Secret
}

// Credential is the value of one key of the credentials, and the key, so that an error can name it.
type Credential struct {
	Key   string // "" if the credentials have no such key
	Value Secret
}

// Secret is a text that must not be printed. It prints as "(secret)" in whichever way fmt or a JSON encoder is asked to.
type Secret string

// String hides the secret from fmt.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret from fmt's %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalText hides the secret from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Tagged says whether the binding has the tag, written exactly so, which is how Stratos looks for its own.
func (b Binding) Tagged(tag string) bool { return slices.Contains(b.Tags, tag) }

// The keys under which brokers and people put the same thing, in the order in which they count. Keys are compared in lower case
// and without "_" and "-": sslmode, ssl_mode and sslMode are one.
var (
	modeKeys       = []string{"sslmode"}
	uriKeys        = []string{"uri", "url", "jdbcurl", "jdbcuri"}
	hostKeys       = []string{"hostname", "host", "endpoint", "address", "hosts"}
	portKeys       = []string{"port"}
	databaseKeys   = []string{"dbname", "database", "databasename", "name"}
	usernameKeys   = []string{"username", "user"}
	passwordKeys   = []string{"password", "pass"}
	caKeys         = []string{"sslrootcert", "ca", "cacert", "cacrt", "cacertificate", "cacertificatebase64", "cacertbase64", "cabase64", "certificateauthority", "rootca", "rootcert", "servercacert", "serverca", "sslca", "tlsca"}
	clientCertKeys = []string{"sslcert", "clientcert", "clientcertificate"}
	clientKeyKeys  = []string{"sslkey", "clientkey", "clientprivatekey"}

	// replicaPrefixes begin the keys of further hosts of the same database: replica_host, reader_endpoint, read_only_uri.
	replicaPrefixes = []string{"replica", "reader", "readonly", "read", "ro", "secondary", "standby", "writer", "primary", "cluster"}
)

// credentials are the values of a service binding's credentials as text, by their folded key.
type credentials map[string]credential

type credential struct {
	key  string // as it was written
	text string
}

func fold(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(key), "_", ""), "-", "")
}

// newCredentials keeps texts, numbers and lists of texts; nothing else that a binding holds has a meaning here.
// Of two keys that fold into one, the first in the order of their spelling counts, so that the result does not depend on chance.
func newCredentials(raw map[string]any) credentials {
	keys := make([]string, 0, len(raw))
	for key := range raw {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	c := credentials{}
	for _, key := range keys {
		text, ok := asText(raw[key])
		if _, taken := c[fold(key)]; ok && text != "" && !taken {
			c[fold(key)] = credential{key, text}
		}
	}
	return c
}

func asText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case []any:
		var texts []string
		for _, item := range v {
			if text, ok := asText(item); ok {
				texts = append(texts, text)
			}
		}
		return strings.Join(texts, ","), len(texts) > 0
	}
	return "", false
}

// first returns the first of the keys that is there.
func (c credentials) first(keys []string) credential {
	for _, key := range keys {
		if found, ok := c[key]; ok {
			return found
		}
	}
	return credential{}
}

func (c credential) asSecret() Credential { return Credential{Key: c.key, Value: Secret(c.text)} }

// fromService returns the binding that a service is, and false if it is not a Postgres database.
func fromService(s cfenv.Service) (Binding, bool) {
	c := newCredentials(s.Credentials)
	b := Binding{
		Name:       s.Name,
		Tags:       s.Tags,
		CA:         c.first(caKeys).asSecret(),
		ClientCert: c.first(clientCertKeys).asSecret(),
		ClientKey:  c.first(clientKeyKeys).asSecret(),
		Port:       c.first(portKeys).text,
		Database:   c.first(databaseKeys).text,
		Username:   c.first(usernameKeys).text,
		Password:   Secret(c.first(passwordKeys).text),
	}
	if b.Name == "" {
		b.Name = s.InstanceName
	}
	if mode := c.first(modeKeys); mode.key != "" {
		b.SSLMode, b.ModeSource = mode.text, "credential "+mode.key
	}

	for _, key := range hostKeys {
		hosts, port := parseHosts(c[key].text)
		b.addHosts(hosts)
		if b.Port == "" {
			b.Port = port
		}
	}
	postgres, other := false, namesOtherDatabase(s)
	for _, key := range uriKeys {
		uri, ok := parseURI(c[key].text)
		if !ok {
			other = other || strings.Contains(c[key].text, "://")
			continue
		}
		postgres = true
		b.addURI(uri, c[key].key)
	}
	for _, key := range sortedKeys(c) {
		if isReplicaKey(key) {
			if uri, ok := parseURI(c[key].text); ok {
				b.addHosts(uri.hosts)
			} else {
				hosts, _ := parseHosts(c[key].text)
				b.addHosts(hosts)
			}
		}
	}

	if !postgres && !other {
		postgres = namesPostgres(s) || b.SSLMode != "" && len(b.Hosts) > 0
	}
	return b, postgres
}

// addURI fills what the single credentials left open: a credential of its own says it more plainly than a URI does.
func (b *Binding) addURI(uri postgresURI, key string) {
	b.addHosts(uri.hosts)
	if b.SSLMode == "" && uri.sslmode != "" {
		b.SSLMode, b.ModeSource = uri.sslmode, "query of credential "+key
	}
	for _, field := range []struct {
		have *string
		uri  string
	}{{&b.Port, uri.port}, {&b.Database, uri.database}, {&b.Username, uri.username}, {(*string)(&b.Password), uri.password}} {
		if *field.have == "" {
			*field.have = field.uri
		}
	}
}

func (b *Binding) addHosts(hosts []string) {
	for _, h := range hosts {
		if !slices.Contains(b.Hosts, h) {
			b.Hosts = append(b.Hosts, h)
		}
	}
}

func sortedKeys(c credentials) []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func isReplicaKey(key string) bool {
	for _, prefix := range replicaPrefixes {
		if rest, ok := strings.CutPrefix(key, prefix); ok &&
			(slices.Contains(hostKeys, rest) || slices.Contains(uriKeys, rest) || rest == "endpoints" || rest == "uris") {
			return true
		}
	}
	return false
}

// namesPostgres says whether a tag or the label of the service says that it is Postgres: postgresql, csb-aws-postgresql.
func namesPostgres(s cfenv.Service) bool {
	return slices.ContainsFunc(append([]string{s.Label}, s.Tags...), func(word string) bool {
		return strings.Contains(strings.ToLower(word), "postgres")
	})
}

// otherDatabases also know an sslmode or ssl_mode and a host; MySQL's modes even look alike (REQUIRED, VERIFY_CA).
var otherDatabases = []string{"mysql", "mariadb", "redis", "valkey", "mongo", "rabbitmq", "amqp", "kafka", "sqlserver", "oracle"}

func namesOtherDatabase(s cfenv.Service) bool {
	if namesPostgres(s) {
		return false
	}
	return slices.ContainsFunc(append([]string{s.Label}, s.Tags...), func(word string) bool {
		return slices.ContainsFunc(otherDatabases, func(other string) bool {
			return strings.Contains(strings.ToLower(word), other)
		})
	})
}
