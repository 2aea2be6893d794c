package binding

import (
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"net"
	"slices"
	"strings"
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
