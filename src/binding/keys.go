package binding

import (
	"slices"
	"strings"
)

// The keys under which brokers and people put the same thing, folded, in the order in which they count.
var (
	modeKeys       = []string{"sslmode", "dbsslmode", "pgsslmode", "tlsmode"}
	askKeys        = []string{"requiressl", "sslrequired", "usessl", "ssl", "tls"}
	uriKeys        = []string{"uri", "url", "jdbcurl", "jdbcuri"}
	hostKeys       = []string{"hostname", "host", "endpoint", "address", "hosts"}
	portKeys       = []string{"port"}
	databaseKeys   = []string{"dbname", "database", "databasename", "name"}
	usernameKeys   = []string{"username", "user"}
	passwordKeys   = []string{"password", "pass", "passwd", "pwd"}
	caKeys         = []string{"sslrootcert", "ca", "cacert", "cacrt", "cacertificate", "cacertificatebase64", "cacertbase64", "cabase64", "certificateauthority", "rootca", "rootcert", "servercacert", "serverca", "sslca", "tlsca"}
	clientCertKeys = []string{"sslcert", "clientcert", "clientcertificate"}
	clientKeyKeys  = []string{"sslkey", "clientkey", "clientprivatekey"}

	// kindKeys say what an object is about: "type": "postgresql", "scheme": "postgres".
	kindKeys = []string{"type", "scheme", "engine", "dialect", "driver", "adapter", "protocol", "dbtype"}

	// secretKeys hold passwords. Their text is never taken for a connection string.
	secretKeys = []string{"password", "passwd", "pass", "pwd", "secret", "token"}

	// replicaPrefixes begin the keys of further hosts of the same database: replica_host, reader_endpoint, read_only_uri.
	replicaPrefixes = []string{"replica", "reader", "readonly", "read", "ro", "secondary", "standby", "writer", "primary", "cluster"}

	// otherWords name what is not Postgres. MySQL's modes even look alike: REQUIRED, VERIFY_CA.
	otherWords = []string{"mysql", "mariadb", "redis", "valkey", "mongo", "rabbitmq", "amqp", "kafka", "sqlserver", "mssql", "oracle", "db2"}

	postgresWords = []string{"postgres", "pgsql"}
)

// meanings holds all of these.
var meanings = func() map[string]bool {
	all := map[string]bool{}
	for _, keys := range [][]string{modeKeys, askKeys, uriKeys, hostKeys, portKeys, databaseKeys, usernameKeys, passwordKeys, caKeys, clientCertKeys, clientKeyKeys, kindKeys} {
		for _, key := range keys {
			all[key] = true
		}
	}
	return all
}()

// hasMeaning says whether anything is done with what stands under a folded key itself.
func hasMeaning(key string) bool {
	return meanings[key] || key == "mode" || strings.Contains(key, "sslmode") || isReplicaKey(key)
}

// fold makes sslmode, ssl_mode, sslMode, "SSL Mode" and ssl.mode one key.
func fold(key string) string {
	folded := make([]byte, 0, len(key))
	for i := range len(key) {
		switch c := key[i]; {
		case c == '_' || c == '-' || c == ' ' || c == '.':
		case 'A' <= c && c <= 'Z':
			folded = append(folded, c+'a'-'A')
		default:
			folded = append(folded, c)
		}
	}
	return string(folded)
}

// isReplicaKey says whether a folded key names further hosts of the same database.
func isReplicaKey(key string) bool {
	for _, prefix := range replicaPrefixes {
		if rest, ok := strings.CutPrefix(key, prefix); ok &&
			(slices.Contains(hostKeys, rest) || slices.Contains(uriKeys, rest) || rest == "endpoints" || rest == "uris") {
			return true
		}
	}
	return false
}

// holdsAny says whether one of the words is in the text, whatever its case.
func holdsAny(text string, words []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// otherMeaning are words in a key that make its certificates something else than the CA of the database's server.
var otherMeaning = []string{"saml", "oidc", "jwt", "client", "sign", "idp", "sso", "oauth"}

// speaksOfServerCA says whether the path of a key below the connection speaks of a certificate, a CA, a root or the server, and of
// nothing else: "certificate.certificate_base64", "tls.caBundle", but not "saml_cert".
func speaksOfServerCA(path string) bool {
	if holdsAny(path, otherMeaning) {
		return false
	}
	if holdsAny(path, []string{"cert", "root", "server"}) {
		return true
	}
	return slices.ContainsFunc(words(path), func(word string) bool {
		return word == "ca" || word == "cas" || word == "cabundle" || word == "cachain" || word == "capem"
	})
}

// words splits a path at whatever is no letter and before capitals: "tls.caBundle[0]" is tls, ca, bundle.
func words(path string) []string {
	var spaced strings.Builder
	lower := false
	for _, r := range path {
		if 'A' <= r && r <= 'Z' && lower {
			spaced.WriteByte(' ')
		}
		lower = 'a' <= r && r <= 'z'
		if !lower && (r < 'A' || r > 'Z') {
			r = ' '
		}
		spaced.WriteRune(r)
	}
	return strings.Fields(strings.ToLower(spaced.String()))
}
