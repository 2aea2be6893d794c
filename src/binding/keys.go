package binding

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// The keys that brokers and people use for each thing, folded, in order of priority.
var (
	modeKeys     = []string{"sslmode", "tlsmode"}
	askKeys      = strings.Fields("requiressl sslrequired sslrequire usessl usetls forcessl enforcessl enablessl requiretls tlsrequired tlsrequire sslenabled tlsenabled ssl tls")
	uriKeys      = []string{"uri", "url", "jdbcurl", "jdbcuri"}
	hostKeys     = []string{"hostname", "host", "endpoint", "address", "hosts", "server", "masterhost", "connectaddr"}
	portKeys     = []string{"port", "masterport"}
	databaseKeys = []string{"dbname", "database", "databasename", "name"}
	usernameKeys = []string{"username", "user"}
	loginKeys    = slices.Concat(databaseKeys, usernameKeys)
	passwordKeys = []string{"password", "pass", "passwd", "pwd"}
	caKeys       = strings.Fields("sslrootcert ca cacert cacrt cacertificate cacertificatebase64 cacertbase64 cabase64 " +
		"certificateauthority rootca rootcert rootcertificate cabundle servercacert serverca sslca tlsca")
	clientCertKeys = []string{"sslcert", "clientcert", "clientcertificate"}
	clientKeyKeys  = []string{"sslkey", "clientkey", "clientprivatekey"}

	levelKeys  = []string{"encryption", "ssllevel", "tlslevel"}
	rejectKeys = []string{"sslrejectunauthorized", "tlsrejectunauthorized"}
	// inTLSKeys mean in tlsObjects what they mean behind ssl: ssl.require. Node-postgres's ssl has some.
	inTLSKeys  = []string{"mode", "level", "enabled", "require", "required", "rejectunauthorized"}
	tlsObjects = strings.Fields("ssl tls ssloptions tlsoptions sslopts tlsopts sslconfig tlsconfig sslconfiguration " +
		"tlsconfiguration sslsettings tlssettings")

	// families start keys of one database, such as PGHOST and PGUSER, or follow an app's own
	// prefix: MB_DB_HOST. The first ones also say that it is Postgres.
	families   = []string{"postgresql", "postgresdb", "postgres", "pg", "database", "dburl", "db", "datasource", "jdbc"}
	familyKeys = map[string]string{"db": "database", "name": "dbname"} // POSTGRES_DB, DB_NAME

	// kindKeys tell what an object is about: "type": "postgresql", "scheme": "postgres".
	kindKeys = []string{"type", "scheme", "engine", "dialect", "driver", "adapter", "protocol", "dbtype"}

	// We never read the text of secretKeys as a connection string.
	secretKeys = []string{"password", "passwd", "pass", "pwd", "secret", "token"}

	// Further hosts of the same database: replica_host, reader_endpoint, read_only_uri.
	replicaPrefixes = []string{"replica", "reader", "readonly", "read", "ro", "secondary", "standby", "writer", "primary", "cluster"}
	replicaKeys     = append(uriKeys, "endpoints", "uris")

	// otherWords name what is not Postgres. MySQL's modes even look like ours: REQUIRED, VERIFY_CA.
	otherWords = strings.Fields("mysql mariadb redis valkey mongo rabbitmq amqp kafka sqlserver mssql oracle orcl db2")

	// otherKinds name, in a label, a tag or the key of an object, what is no Postgres. In a text such a
	// word may be of a database for mails.
	otherKinds = slices.Concat(otherWords, []string{"smtp", "ldap", "mail"})

	postgresWords = []string{"postgres", "pgsql"}

	// otherPorts are the default ports of other databases, of mail and LDAP. A Postgres may be behind a
	// proxy at the ports of SSH and the web, but is not known by its keys alone there.
	otherPorts   = strings.Fields("3306 33060 1433 1521 2484 50000 50001 6379 6380 27017 5672 9092 25 465 587 389 636")
	foreignPorts = slices.Concat(otherPorts, []string{"22", "80", "443"})
)

// meanings has all keys that we read. It says of each whether we read it behind a family's name too.
var meanings = func() map[string]bool {
	of := make(map[string]bool, 128)
	for _, key := range slices.Concat(modeKeys, askKeys, hostKeys, portKeys, databaseKeys, usernameKeys, passwordKeys, caKeys,
		clientCertKeys, clientKeyKeys, levelKeys, inTLSKeys, kindKeys) {
		of[key] = true
	}
	for _, key := range slices.Concat(uriKeys, rejectKeys) {
		of[key] = false
	}
	return of
}()

// inFamily returns the family of a folded key, and what the key means there: pg and host of
// pghost. It returns the key itself if it has no family.
func inFamily(key string) (family, meaning string) {
	if key == "server" { // SQL Server's word too
		return key, key
	}
	if _, known := meanings[key]; known {
		return "", key
	}
	for _, family := range families {
		prefix, rest, ok := strings.Cut(key, family)
		rest = cmp.Or(familyKeys[rest], rest)
		if ok && meanings[rest] && !containsAny(prefix, otherWords) {
			return prefix + family, rest
		}
	}
	return "", key
}

// fold makes one key of sslmode, ssl_mode, sslMode, "SSL Mode" and ssl.mode. Letters of other
// alphabets stay.
func fold(key string) string {
	if !strings.ContainsAny(key, "_- .ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("_- .", r):
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, key)
}

func isReplicaKey(key string) bool {
	return slices.ContainsFunc(replicaPrefixes, func(prefix string) bool {
		rest, ok := strings.CutPrefix(key, prefix)
		return ok && (slices.Contains(replicaKeys, rest) || slices.Contains(hostKeys, rest))
	})
}

func containsAny(text string, words []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// otherMeaning are words in keys for certificates that are not the CA of the database's server.
var otherMeaning = []string{"saml", "oidc", "jwt", "client", "sign", "idp", "sso", "oauth"}

// speaksOfServerCA says whether a key's path, from the connection down, means the CA of the server:
// "certificate.certificate_base64" and "tls.caBundle" do, "saml_cert" does not.
func speaksOfServerCA(path string) bool {
	return !containsAny(path, otherMeaning) && (containsAny(path, []string{"cert", "server"}) || saysCA(path))
}

func saysCA(path string) bool {
	return containsAny(path, []string{"root"}) || slices.ContainsFunc(words(path), func(word string) bool {
		return slices.Contains([]string{"ca", "cas", "cabundle", "cachain", "capem"}, word)
	})
}

var wordPattern = lazyregexp.New("[A-Z]*[a-z]+|[A-Z]+")

// words splits a path at everything that is no letter, and before capitals: "tls.caBundle[0]"
// becomes tls, ca, bundle.
func words(path string) []string {
	return strings.Fields(strings.ToLower(strings.Join(wordPattern().FindAllString(path, -1), " ")))
}
