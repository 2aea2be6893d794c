package binding

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// connection is what a connection string says. We read it as libpq and the drivers do, but accept
// more: brokers and people make mistakes.
type connection struct {
	hosts    []address
	hostaddr string // if set, libpq connects here instead
	database string
	username string
	password string
	modes    []parameter // one for each key; the last of equal keys counts, as in libpq
	asksTLS  bool        // it asks for TLS without a mode: ssl=true, requiressl=1
	system   bool        // sslrootcert=system
	rootCert string      // any other sslrootcert, a path
	inQuery  bool        // the modes are in a query, as in a URI, not among keywords
	unclear  bool        // its host cannot be a host

	overruled bool // the query names another host than the URI; drivers differ on which they use
}

type address struct{ host, port string }

// parameter is a key of a connection string, as written, and its value.
type parameter struct{ key, value string }

// longestString limits a connection string. The most hosts that a service may have, a hundred, fit
// in easily.
const longestString = 64 << 10

// parseString reads a connection string of Postgres: a URI, a URL of pgjdbc or R2DBC, libpq's
// "host=… dbname=…", or ADO.NET's "Host=…;Database=…". It returns false for any other text. It
// ignores white space, a byte order mark and quotes around the string.
func parseString(text string) (connection, bool) {
	if len(text) > longestString || !strings.ContainsAny(text, ":=") {
		return connection{}, false
	}
	text = unwrap(text)
	if c, ok := parseURL(text); ok {
		return c, true
	}
	if c, ok := parseWords(text); ok {
		return c, true
	}
	// A command line: psql 'host=… sslmode=…', as in IBM's bindings.
	if _, argument, ok := strings.Cut(text, "psql "); ok && !strings.Contains(argument, "psql ") {
		return parseString(argument)
	}
	return connection{}, false
}

// unwrap removes white space, a byte order mark and quotes from both ends of a text.
func unwrap(text string) string {
	for {
		trimmed := strings.TrimSpace(strings.Trim(text, "\ufeff"))
		if n := len(trimmed); n > 1 && trimmed[0] == trimmed[n-1] && strings.ContainsRune("\"'`", rune(trimmed[0])) {
			trimmed = trimmed[1 : n-1]
		}
		if trimmed == text {
			return text
		}
		text = trimmed
	}
}

// postgresSchemes are libpq's schemes, and those of other tools. A "+driver" may follow.
var postgresSchemes = []string{"postgres", "postgresql", "postgis", "pgsql", "psql", "pg", "pgx", "ecto", "timescaledb", "cockroachdb", "cockroach"}

// parseURL reads [jdbc:|r2dbc:[…:]]postgresql://… and other schemes of Postgres. We don't use
// net/url for the whole: it rejects passwords that are not escaped, and quotes them in its errors.
//
// Sources: libpq's manual, "Connection URIs"; pgjdbc's, "Connecting to the Database";
// r2dbc-postgresql's README.
func parseURL(text string) (connection, bool) {
	scheme, rest, slashes := strings.Cut(text, "://")
	if !slashes || len(scheme) > 64 {
		// pgjdbc's short forms, jdbc:postgresql:database and jdbc:postgresql:database?…, have no
		// host.
		const short = "jdbc:postgresql:"
		if !strings.HasPrefix(lower(text), short) {
			return connection{}, false
		}
		database, query, _ := strings.Cut(text[len(short):], "?")
		c := connection{database: unescape(strings.TrimPrefix(database, "/")), inQuery: true}
		c.addQuery(query)
		return c, true
	}
	parts := strings.Split(strings.ToLower(strings.TrimSpace(scheme)), ":")
	api, name := parts[0], parts[len(parts)-1]
	name, _, _ = strings.Cut(name, "+")
	known := slices.Contains(postgresSchemes, name)
	if !known && (!asksForMode(rest) || holdsAny(scheme, otherWords) || isWeb(name) || !isScheme(scheme)) {
		return connection{}, false
	}
	var c connection
	if api == "jdbc" {
		c = parseJDBC(rest)
	} else {
		c = parseURI(rest)
	}
	if api == "r2dbcs" {
		c.modes = append(c.modes, parameter{"r2dbcs", sslmode.Require.String()})
	}
	return c, true
}

func isWeb(scheme string) bool {
	return scheme == "http" || scheme == "https" || scheme == "ws" || scheme == "wss"
}

// isScheme says whether a text holds only characters of a scheme (RFC 3986, section 3.1). The
// colons of jdbc are allowed too.
func isScheme(text string) bool {
	return text != "" && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789+.-:") == ""
}

// asksForMode says whether a text contains "sslmode=" in any spelling, even if we cannot read the
// rest.
func asksForMode(text string) bool {
	if !strings.Contains(text, "=") {
		return false
	}
	folded := fold(text)
	for {
		_, after, found := strings.Cut(folded, "sslmode")
		if !found {
			return false
		}
		if strings.HasPrefix(after, "=") || strings.HasPrefix(after, "%3d") {
			return true
		}
		folded = after
	}
}

// parseJDBC reads what follows jdbc:postgresql://. pgjdbc knows no user or password before the
// first "?", so nothing in the query can change the host. People put user:password@ there all the
// same, and we accept it.
func parseJDBC(rest string) connection {
	before, query, _ := strings.Cut(rest, "?")
	c, _ := parseAuthority(before)
	hosts := c.hosts
	c.inQuery = true
	c.addQuery(query)
	if len(hosts) > 0 {
		// pgjdbc has no parameter host, so "&host=" may be the rest of a password.
		c.hosts, c.overruled = hosts, false
	}
	return c
}

// parseURI reads what follows "scheme://" in a URI of libpq:
// [user[:password]@][host[:port][,…]][/database][?query]. The password may contain @ / # % ?
// without escapes, so we have to find the "?" that starts the query.
func parseURI(rest string) connection {
	before := ""
	for range mostTries {
		more, query, ok := strings.Cut(rest[len(before):], "?")
		if !ok {
			break
		}
		if before += more; startsQuery(before, query) {
			return parseWithQuery(before, query)
		}
		before += "?"
	}
	// No "?" can start the query. A typo elsewhere must not make us lose the mode.
	hosts := strings.LastIndexByte(rest, '@') + 1
	if before, query, ok := strings.Cut(rest[hosts:], "?"); ok {
		return parseWithQuery(rest[:hosts]+before, query)
	}
	c, ok := parseAuthority(rest)
	if last := strings.LastIndexByte(rest, '?'); !ok && last >= 0 {
		return parseWithQuery(rest[:last], rest[last+1:])
	}
	return c
}

// mostTries limits how often parseURI reads a whole text.
const mostTries = 32

// parseWithQuery reads a URI whose query has been found.
func parseWithQuery(before, query string) connection {
	c, _ := parseAuthority(before)
	c.inQuery = true
	c.addQuery(query)
	return c
}

// startsQuery says whether a "?" between these two texts starts the query. The text before it must
// be an authority. If an "@" follows, the "?" may be a part of the password. Then each parameter
// before the "@" must be one that drivers know.
func startsQuery(before, query string) bool {
	if _, ok := parseAuthority(before); !ok {
		return false
	}
	query = strings.TrimLeft(query, "?&")
	untilAt, _, at := strings.Cut(query, "@")
	if !at {
		first, _, _ := strings.Cut(query, "&")
		key, _, _ := strings.Cut(first, "=")
		return isParameterName(key)
	}
	if !strings.ContainsAny(before, "@/") {
		return false
	}
	for pair := range strings.SplitSeq(strings.ReplaceAll(untilAt, "&amp;", "&"), "&") {
		key, _, ok := strings.Cut(strings.TrimLeft(pair, "?"), "=")
		if !ok || !slices.Contains(knownParameters, fold(unescape(key))) {
			return false
		}
	}
	return true
}

// knownParameters are the parameters, folded, whose values may contain an "@", and those that may
// come before them (libpq's manual, "Parameter Key Words").
var knownParameters = []string{
	"applicationname", "channelbinding", "clientencoding", "connecttimeout", "currentschema", "dbname", "fallbackapplicationname",
	"gssencmode", "host", "hostaddr", "keepalives", "options", "passfile", "password", "port", "requiressl", "requireauth", "schema",
	"service", "sslcert", "sslkey", "sslmode", "sslpassword", "sslrootcert", "sslfactory", "ssl", "targetsessionattrs", "user", "username",
	"pgbouncer", "poolsize", "maxconns", "poolmaxconns", "connectionlimit", "usepreparedstatements", "preparethreshold", "search_path",
}

// isParameterName says whether a text can be the name of a parameter. It may have percent escapes.
func isParameterName(key string) bool {
	return key == "" || len(key) <= 128 && strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789_-.%[] ;") == ""
}

// parseAuthority reads [user[:password]@][host[:port][,…]][/database]. It returns false if the
// hosts cannot be hosts. The last @ ends the password, because a host cannot contain one.
func parseAuthority(s string) (connection, bool) {
	var c connection
	userinfo, rest := "", s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		userinfo, rest = s[:i], s[i+1:]
	}
	username, password, _ := strings.Cut(userinfo, ":")
	c.username, c.password = unescape(username), unescape(password)
	hosts, database, _ := strings.Cut(rest, "/")
	c.database = unescape(database)
	hosts = unescape(hosts)
	c.hosts = parseHosts(hosts)
	c.unclear = len(c.hosts) == 0 && !strings.HasPrefix(hosts, "/") && strings.Trim(hosts, ",:0123456789") != ""
	return c, !c.unclear
}

// unescape decodes percent escapes. If they are invalid, the text was never escaped, and is
// returned unchanged.
func unescape(s string) string {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// addQuery adds what the query of a URI says. It accepts HTML's &amp;, and a leading or doubled "&"
// or "?".
func (c *connection) addQuery(query string) {
	var pairs []parameter
	for pair := range strings.SplitSeq(strings.ReplaceAll(query, "&amp;", "&"), "&") {
		key, value, found := strings.Cut(strings.TrimLeft(pair, "?"), "=")
		if !found && slices.Contains(askKeys, fold(key)) {
			value = "true" // pgjdbc's flag: ?ssl
		}
		pairs = append(pairs, parameter{strings.TrimSpace(unescape(key)), unescape(value)})
	}
	c.add(pairs)
}

// add adds what the parameters say about TLS and where to connect. As in libpq, the last of equal
// keys counts, and a host replaces the one before the query.
func (c *connection) add(pairs []parameter) {
	var hosts, ports, hostaddr string
	for _, p := range pairs {
		key := fold(p.key)
		value := strings.TrimSpace(p.value)
		switch {
		case slices.Contains(modeKeys, key):
			c.setMode(p)
		case key == "ssl" || key == "tls":
			if sslmode.Resembles(value) {
				c.setMode(p)
			} else {
				c.asksTLS = value == "" || isYes(value) // empty means yes in pgjdbc (SslMode.of)
			}
		case key == "requiressl" || key == "sslrequired" || key == "usessl":
			c.asksTLS = c.asksTLS || isYes(value)
		}
		switch key {
		case "sslrootcert", "rootcertificate":
			if c.system = strings.EqualFold(value, "system"); !c.system {
				c.rootCert = value
			}
		case "host", "server", "hostname":
			hosts = value
		case "hostaddr":
			hostaddr = value
		case "port":
			ports = value
		case "dbname", "database":
			c.database = value
		case "user", "username", "userid", "uid":
			c.username = value
		case "password", "pwd", "passwd":
			c.password = p.value
		}
	}
	if hosts == "" && len(c.hosts) == 0 {
		hosts = hostaddr
	}
	c.hostaddr = hostaddr
	if named := parseHosts(hosts); len(named) > 0 {
		c.overruled = len(c.hosts) > 0
		c.hosts, c.unclear = named, false
	} else if hosts != "" && !strings.HasPrefix(hosts, "/") {
		c.unclear = len(c.hosts) == 0
	}
	setPorts(c.hosts, ports)
}

func (c *connection) setMode(p parameter) {
	if strings.TrimSpace(p.value) == "" {
		return
	}
	c.modes = slices.DeleteFunc(c.modes, func(old parameter) bool { return old.key == p.key })
	c.modes = append(c.modes, p)
}

// asksForLess says whether the string could lower the mode of the database beside it, or widen its
// trust.
func (c connection) asksForLess() bool {
	return c.unclear || c.system || c.rootCert != "" || slices.ContainsFunc(c.modes, func(p parameter) bool {
		mode, err := sslmode.Parse(p.value)
		return err == nil && mode != sslmode.VerifyFull
	})
}

// setPorts gives each host its port from a list, or all of them the same one (libpq's manual,
// "Specifying Multiple Hosts"). Anything else than a number is ignored: it may be any text.
func setPorts(hosts []address, list string) {
	ports := strings.Split(list, ",")
	for i := range hosts {
		port := strings.TrimSpace(ports[min(i, len(ports)-1)])
		if port != "" && strings.Trim(port, "0123456789") == "" && (len(ports) == 1 || len(ports) == len(hosts)) {
			hosts[i].port = port
		}
	}
}

// parseWords reads libpq's "host=… dbname=… sslmode=…", and the same with semicolons, as in
// ADO.NET, ODBC and PHP's PDO.
//
// Sources: libpq's manual, "Keyword/Value Connection Strings"; Npgsql's, "Connection String
// Parameters".
func parseWords(text string) (connection, bool) {
	if pdo := "pgsql:"; strings.HasPrefix(lower(text), pdo) {
		text = strings.ReplaceAll(text[len(pdo):], ";", " ") // as pdo_pgsql does
	}
	if !holdsAny(fold(text), []string{"host", "dbname", "server", "service"}) {
		return connection{}, false // see areOfPostgres
	}
	pairs, ok := splitWords(text)
	// In libpq's keywords, only the password may contain a semicolon.
	if strings.Contains(text, ";") && (!ok || !areOfPostgres(pairs) || slices.ContainsFunc(pairs, func(p parameter) bool {
		return strings.Contains(p.value, ";") && !slices.Contains(passwordKeys, fold(p.key))
	})) {
		pairs, ok = splitSemicolons(text)
	}
	if !ok || !areOfPostgres(pairs) {
		return connection{}, false
	}
	var c connection
	c.add(pairs)
	return c, true
}

// areOfPostgres tells the keywords of a Postgres connection from those of MySQL, SQL Server and any
// other text with an equals sign.
func areOfPostgres(pairs []parameter) bool {
	has := map[string]string{}
	for _, p := range pairs {
		has[fold(p.key)] = p.value
	}
	if driver, ok := has["driver"]; ok && !holdsAny(driver, postgresWords) {
		return false
	}
	if has["port"] == "3306" || has["port"] == "1433" {
		return false
	}
	for _, foreign := range []string{"encrypt", "initialcatalog", "integratedsecurity", "allowpublickeyretrieval", "defaultcommandtimeout"} {
		if _, ok := has[foreign]; ok {
			return false
		}
	}
	named := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { _, ok := has[key]; return ok })
	}
	return named("host", "hostaddr", "server", "hostname", "service") && named("dbname", "database", "user", "username", "userid", "uid", "sslmode") ||
		named("dbname") && named("user", "sslmode", "password")
}

// splitSemicolons splits as .NET and ODBC do. A value in quotes or braces may contain a semicolon.
//
// Source: .NET's DbConnectionStringBuilder; ODBC's SQLDriverConnect, on braces.
func splitSemicolons(text string) ([]parameter, bool) {
	var pairs []parameter
	for text != "" {
		item, rest, _ := strings.Cut(text, ";")
		key, _, found := strings.Cut(item, "=")
		key = strings.TrimSpace(key)
		switch {
		case found && isWord(key):
			_, after, _ := strings.Cut(text, "=")
			var value string
			value, rest = cutValue(after)
			pairs = append(pairs, parameter{key, value})
		case strings.TrimSpace(item) != "" && len(pairs) == 0:
			return nil, false
		}
		text = rest // without a key, it may be the rest of a password: skip it
	}
	return pairs, true
}

// cutValue returns the value at the start of a text, and what follows its semicolon. An unclosed
// quote is a part of the value.
func cutValue(text string) (value, rest string) {
	trimmed := strings.TrimSpace(text)
	for _, pair := range []string{`""`, "''", "{}"} {
		inner, ok := strings.CutPrefix(trimmed, pair[:1])
		if !ok {
			continue
		}
		for i := 0; i < len(inner); i++ {
			switch {
			case inner[i] != pair[1]:
			case i+1 < len(inner) && inner[i+1] == pair[1]:
				i++ // doubled, it stands for itself and closes nothing
			default:
				if after := strings.TrimSpace(inner[i+1:]); after == "" || after[0] == ';' {
					return strings.ReplaceAll(inner[:i], pair[1:]+pair[1:], pair[1:]), strings.TrimPrefix(after, ";")
				}
				i = len(inner)
			}
		}
	}
	value, rest, _ = strings.Cut(text, ";")
	return unwrap(value), rest
}

// splitWords splits as libpq's conninfo_parse does. Blanks may surround "=". A value with blanks is
// in single quotes, and a backslash escapes.
func splitWords(text string) ([]parameter, bool) {
	var pairs []parameter
	for {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		if text == "" {
			return pairs, true
		}
		key, rest, found := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		if !found || !isWord(key) || strings.ContainsAny(key, " \t\r\n") {
			return nil, false
		}
		var value strings.Builder
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		quoted := strings.HasPrefix(rest, "'")
		i, closed := 0, false
		if quoted {
			i = 1
		}
		for ; i < len(rest) && !closed; i++ {
			switch c := rest[i]; {
			case c == '\\' && i+1 < len(rest):
				i++
				value.WriteByte(rest[i])
			case quoted && c == '\'', !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
				closed = true
			default:
				value.WriteByte(c)
			}
		}
		if quoted && !closed {
			return nil, false
		}
		pairs = append(pairs, parameter{key, value.String()})
		text = rest[i:]
	}
}

// isWord says whether a text can be a key of a connection string.
func isWord(key string) bool {
	return key != "" && len(key) <= 64 && strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789_- ") == ""
}

// parseParameters reads a query that stands alone, as in "options":
// "sslmode=verify-full&connect_timeout=5". It returns false for any other text.
func parseParameters(text string) (connection, bool) {
	text = strings.TrimLeft(unwrap(text), "?&")
	var c connection
	pairs := strings.FieldsFunc(strings.ReplaceAll(text, "&amp;", "&"), func(r rune) bool { return r == '&' || r == ';' || unicode.IsSpace(r) })
	for _, pair := range pairs {
		if key, _, found := strings.Cut(pair, "="); !found || !isParameterName(key) || key == "" {
			return connection{}, false
		}
	}
	c.addQuery(strings.Join(pairs, "&"))
	c.hosts = nil
	return c, len(c.modes) > 0
}

// saysMore says whether the string mentions a mode that we have not read: after a semicolon in a
// query, escaped twice, or misspelt.
func (f found) saysMore() bool {
	strictest := sslmode.None
	for _, p := range f.modes {
		if mode, err := sslmode.Parse(p.value); err == nil {
			strictest = max(strictest, mode)
		}
	}
	rest := f.text.text
	if f.password != "" {
		rest = strings.ReplaceAll(rest, f.password, "")
	}
	rest = fold(rest)
	return strictest < sslmode.VerifyFull && strings.Contains(rest, "verifyfull") ||
		strictest < sslmode.VerifyCA && strings.Contains(rest, "verifyca")
}

// isYes says whether a text means yes to drivers and brokers.
func isYes(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "on", "required":
		return true
	}
	return false
}

// parseHosts reads one or more hosts, each with or without a port ("h1:5432,h2", "[::1]:5432"). It
// returns them in lower case, without a trailing dot. If one of them cannot be a host, it returns
// none: it may be a part of a password, which must not reach a log.
func parseHosts(text string) []address {
	var hosts []address
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue // in libpq, the default: the local socket
		}
		host, port := splitPort(item)
		if net.ParseIP(host) == nil && !isHostName(host) || strings.Trim(port, "0123456789") != "" {
			return nil
		}
		hosts = append(hosts, address{strings.TrimSuffix(strings.ToLower(host), "."), port})
	}
	return hosts
}

// isHostName allows what DNS and IPv4 allow. It also allows the underscore, because people use it
// in names.
func isHostName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 || strings.ContainsRune(".-", rune(host[0])) || strings.ContainsRune(".-", rune(host[len(host)-1])) {
		return false
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// splitPort splits "host:port" and "[IPv6]:port", also without a port. An IPv6 address without
// brackets has no port.
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
