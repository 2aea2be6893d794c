package binding

import (
	"net"
	"net/url"
	"regexp"
	"strings"
)

// postgresURI is what a connection URI or a JDBC URL says.
type postgresURI struct {
	hosts    []string
	port     string // of the first host
	database string
	username string
	password string
	sslmode  string
}

// parseURI reads a connection URI of libpq, or a URL of pgjdbc, and returns false for any other scheme. It is forgiving where
// brokers and people are careless: "postgres://" alone is a Postgres URI without a host, and the characters @ / # % ? in a password
// need not be escaped. net/url is not used for the whole, because it refuses such passwords and quotes them in its errors.
//
// Sources: libpq's manual, "Connection URIs"; pgjdbc's, "Connecting to the Database".
func parseURI(text string) (postgresURI, bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		// pgjdbc's short form, jdbc:postgresql:database, has no host.
		_, _, ok := strings.Cut(strings.ToLower(text), "jdbc:postgresql:")
		return postgresURI{}, ok && strings.HasPrefix(strings.ToLower(text), "jdbc:postgresql:")
	}
	switch strings.ToLower(strings.TrimSpace(scheme)) {
	case "postgres", "postgresql", "jdbc:postgresql", "jdbc:postgres":
	default:
		return postgresURI{}, false
	}
	whole, wholeOK := parseAuthority(rest)
	before, query, ok := cutLast(rest, "?")
	if !ok || !queryStart.MatchString(query) {
		return whole, true
	}
	// The "?" may also be part of the password. As in libpq, what stands before an "@" that comes before the first "/" is the user's.
	if strings.Contains(query, "@") && !strings.ContainsAny(before, "@/") {
		return whole, true
	}
	uri, ok := parseAuthority(before)
	if !ok && wholeOK {
		return whole, true
	}
	uri.addQuery(query) // also where no host makes sense: a mode must not be lost because of a typing error elsewhere
	return uri, true
}

var queryStart = regexp.MustCompile(`^[A-Za-z_.]+=`)

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// parseAuthority reads [user[:password]@][host[:port][,…]][/database], and returns false if the hosts cannot be hosts.
// The last @ ends the password, because a host cannot hold one.
func parseAuthority(s string) (postgresURI, bool) {
	var uri postgresURI
	userinfo, address, found := cutLast(s, "@")
	if !found {
		userinfo, address = "", s
	}
	username, password, _ := strings.Cut(userinfo, ":")
	uri.username, uri.password = unescape(username), unescape(password)

	hosts, database, _ := strings.Cut(address, "/")
	uri.database = unescape(database)
	uri.hosts, uri.port = parseHosts(unescape(hosts))
	return uri, hosts == "" || len(uri.hosts) > 0 || strings.HasPrefix(unescape(hosts), "/")
}

// unescape decodes percent escapes, and leaves a text as it is that was never escaped.
func unescape(s string) string {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// addQuery takes what the query says about TLS and where to connect. As in libpq, the last of several equal keys counts, and a host
// here replaces the one before the query.
func (uri *postgresURI) addQuery(query string) {
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		switch key {
		case "sslmode":
			uri.sslmode = value
		case "host":
			uri.hosts, _ = parseHosts(value)
		case "port":
			uri.port = value
		case "dbname":
			uri.database = value
		case "user":
			uri.username = value
		case "password":
			uri.password = value
		}
	}
}

// hostName is what DNS and IPv4 allow, and the underscore that people put into names all the same.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`)

// parseHosts reads one or several hosts, each with or without a port ("h1:5432,h2", "[::1]:5432"), and returns them in lower case,
// without port and trailing dot, and the port of the first. If any of them cannot be a host, it returns none: what is not a
// host may be part of a password, and must not reach a log.
func parseHosts(text string) (hosts []string, port string) {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue // libpq's way to name its default, the local socket
		}
		host, itemPort := splitPort(item)
		if net.ParseIP(host) == nil && (!hostName.MatchString(host) || len(host) > 254) {
			return nil, ""
		}
		if strings.Trim(itemPort, "0123456789") != "" {
			return nil, ""
		}
		if len(hosts) == 0 {
			port = itemPort
		}
		hosts = append(hosts, strings.TrimSuffix(strings.ToLower(host), "."))
	}
	return hosts, port
}

// splitPort separates "host:port", "[IPv6]:port" and their forms without a port; an IPv6 literal without brackets has none.
func splitPort(s string) (host, port string) {
	if inner, rest, ok := strings.Cut(s, "]"); ok && strings.HasPrefix(inner, "[") {
		return inner[1:], strings.TrimPrefix(rest, ":")
	}
	if strings.Count(s, ":") == 1 {
		host, port, _ = strings.Cut(s, ":")
		return host, port
	}
	return s, ""
}
