package binding

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// postgresSchemes are libpq's schemes, and those of other tools. A "+driver" may follow.
var postgresSchemes = strings.Fields("postgres postgresql postgis pgsql psql pg pgx ecto timescaledb cockroachdb cockroach redshift")

// parseURL reads [jdbc:|r2dbc:[…:]]postgresql://… and other schemes of Postgres. We don't use
// net/url for the whole: it rejects passwords that are not escaped, and quotes them in its errors.
//
// Sources: libpq's manual, "Connection URIs"; pgjdbc's, "Connecting to the Database";
// r2dbc-postgresql's README.
func parseURL(text string) (connection, bool) {
	scheme, rest, slashes := strings.Cut(text, "://")
	if !slashes || len(scheme) > 64 {
		const short = "jdbc:postgresql:" // pgjdbc's jdbc:postgresql:database?… names no host
		if !strings.HasPrefix(strings.ToLower(text), short) {
			return connection{}, false
		}
		scheme, rest = short, "/"+strings.ReplaceAll(strings.TrimPrefix(text[len(short):], "/"), "@", "%40")
	}
	api, name := splitScheme(scheme)
	if !isPostgresScheme(scheme) {
		isScheme := scheme != "" && strings.Trim(scheme, schemeSigns) == ""
		if _, asks := modeIn(rest); !asks || !isScheme || isForeignScheme(scheme) {
			return connection{}, false
		}
	}
	before, query := cutQuery(rest)
	if api == "jdbc" {
		before, query, _ = strings.Cut(rest, "?")                            // pgjdbc knows no password before it; people put one there
		if i := strings.IndexAny(rest, ";?"); name == "redshift" && i >= 0 { // its manual's own form
			before, query = rest[:i], strings.ReplaceAll(rest[i+1:], ";", "&")
		}
	}
	c := parseAuthority(before)
	hosts := c.hosts
	c.inQuery, c.libpq = query != "", scheme == "postgres" || scheme == "postgresql"
	c.addQuery(query)
	if api == "jdbc" && len(hosts) > 0 {
		c.hosts, c.overruled = hosts, false // pgjdbc has no parameter host: "&host=" may be of a password
	}
	for i := range c.hosts {
		if name == "redshift" && c.hosts[i].port == "" {
			c.hosts[i].port = "5439" // Redshift's drivers' default ("Configuring a JDBC connection")
		}
	}
	if api == "jdbc" && strings.HasSuffix(c.says["sslfactory"], ".NonValidatingFactory") { // it always counts (pgjdbc's manual)
		c.modes = append(c.modes, parameter{key: "sslfactory", value: sslmode.Require.String(), alias: true})
	}
	if api == "r2dbcs" && slices.Max(append(c.read(false), sslmode.None)) < sslmode.Require { // its sslMode counts
		c.modes = append(c.modes, parameter{key: "r2dbcs", value: sslmode.Require.String()})
	}
	return c, true
}

// splitScheme splits "jdbc:postgresql" and "postgresql+psycopg". The name is the first word that
// means Postgres, or else the last: AWS's JDBC drivers have jdbc:postgresql:aws, jdbc:redshift:iam.
func splitScheme(scheme string) (api, name string) {
	parts := strings.Split(strings.ToLower(strings.TrimSpace(scheme)), ":")
	for _, part := range parts {
		if name, _, _ = strings.Cut(part, "+"); slices.Contains(postgresSchemes, name) {
			break
		}
	}
	return parts[0], name
}

func isPostgresScheme(scheme string) bool {
	_, name := splitScheme(scheme)
	return slices.Contains(postgresSchemes, name)
}

func isForeignScheme(scheme string) bool {
	_, name := splitScheme(scheme)
	return containsAny(scheme, otherWords) || slices.Contains([]string{"http", "https", "ws", "wss"}, name)
}

// schemeSigns are the characters of a scheme (RFC 3986, section 3.1), and the colons of jdbc.
const schemeSigns = nameSigns + "+:"

const mostTries = 32 // how often cutQuery may read a whole text

// cutQuery cuts what follows "scheme://" in a URI of libpq at the "?" that starts the query:
// [user[:password]@][host[:port][,…]][/database][?query]. The password may contain @ / # % ?
// without escapes. So a "?" before the last "@" starts the query only behind what may be an
// authority, if a parameter that drivers know follows, and each up to the next "@" has a value.
func cutQuery(rest string) (before, query string) {
	at := strings.LastIndexByte(rest, '@') + 1
	for i, tries := 0, 0; i < at && tries < mostTries; i++ {
		if rest[i] != '?' {
			continue
		}
		tries++
		before, query := rest[:i], rest[i+1:]
		key, _, ok := strings.Cut(strings.TrimLeft(query, "?&"), "=")
		isKnown := ok && slices.Contains(knownParameters, fold(unescape(strings.TrimPrefix(key, "amp;"))))
		if isKnown && strings.ContainsAny(before, "@/") && !parseAuthority(before).unclear {
			untilAt, _, _ := strings.Cut(query, "@")
			if pairs := strings.Split(strings.ReplaceAll(untilAt, "&amp;", "&"), "&"); !slices.ContainsFunc(pairs, isFlag) {
				return before, query
			}
			i += len(untilAt) // so each text is split once
		}
	}
	if before, query, ok := strings.Cut(rest[at:], "?"); ok {
		return rest[:at] + before, query
	}
	last := strings.LastIndexByte(rest, '?')
	if last < 0 || !parseAuthority(rest).unclear {
		return rest, ""
	}
	return rest[:last], rest[last+1:] // a typo elsewhere must not make us lose the mode
}

func isFlag(pair string) bool { return pair != "" && !strings.Contains(pair, "=") }

// knownParameters are the parameters, folded, that may come first in a query with an "@" (libpq's
// manual, "Parameter Key Words").
var knownParameters = strings.Fields("applicationname channelbinding clientencoding connecttimeout currentschema dbname " +
	"fallbackapplicationname gssencmode host hostaddr keepalives options passfile password port requiressl requireauth schema " +
	"service sslcert sslkey sslmode sslpassword sslrootcert sslfactory ssl targetsessionattrs user username pgbouncer poolsize " +
	"maxconns poolmaxconns connectionlimit usepreparedstatements preparethreshold searchpath")

// parseAuthority reads [user[:password]@][host[:port][,…]][/database]. It is unclear if the hosts
// cannot be hosts. The last @ ends the password, because a host cannot contain one.
func parseAuthority(s string) connection {
	at := strings.LastIndexByte(s, '@')
	username, password, _ := strings.Cut(s[:max(at, 0)], ":")
	hosts, database, _ := strings.Cut(s[at+1:], "/")
	c := connection{says: map[string]string{"user": unescape(username), "password": unescape(password), "dbname": unescape(database)}}
	var names, ports []string
	for item := range strings.SplitSeq(unescape(hosts), ",") {
		name, port := splitPort(strings.TrimSpace(item))
		c.unclear = c.unclear || !isNumber(port)
		names, ports = append(names, name), append(ports, port)
	}
	if c.unclear {
		return c
	}
	c.names, c.ports = strings.Join(names, ","), strings.Join(ports, ",")
	named, ok := parseHosts(c.names, c.ports)
	c.hosts, c.unclear = named, !ok
	return c
}

// unescape decodes percent escapes. If they are invalid, the text was never escaped.
func unescape(s string) string {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// addQuery accepts HTML's &amp;, and a leading or doubled "&" or "?".
func (c *connection) addQuery(query string) {
	var pairs []parameter
	for pair := range strings.SplitSeq(strings.ReplaceAll(query, "&amp;", "&"), "&") {
		key, value, found := strings.Cut(strings.TrimLeft(pair, "?"), "=")
		if !found && slices.Contains(askKeys, fold(key)) {
			value = "yes" // pgjdbc's flag: ?ssl
		}
		if strings.Contains(value, "BEGIN+") { // PEM as a web form escapes it
			value = strings.ReplaceAll(value, "+", "%20")
		}
		pairs = append(pairs, parameter{key: strings.TrimSpace(unescape(key)), value: unescape(value)})
	}
	c.add(pairs)
}

// parseParameters reads a query that stands alone: "options": "sslmode=require&connect_timeout=5".
func parseParameters(text string) (connection, bool) {
	c := connection{says: map[string]string{}}
	if _, asks := modeIn(text); !asks {
		return connection{}, false
	}
	text = strings.ReplaceAll(strings.TrimLeft(unwrap(text), "?&"), "&amp;", "&")
	pairs := strings.FieldsFunc(text, func(r rune) bool { return r == '&' || r == ';' || unicode.IsSpace(r) })
	for _, pair := range pairs {
		key, _, found := strings.Cut(strings.ToLower(pair), "=")
		if !found || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_-.%[]") != "" {
			return connection{}, false
		}
	}
	c.addQuery(strings.Join(pairs, "&"))
	c.hosts = nil
	return c, len(c.modes) > 0
}
