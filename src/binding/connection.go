package binding

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// connection is what a connection string says. We read it as libpq and the drivers do, but accept
// more: brokers and people make mistakes.
type connection struct {
	libpq     bool // it is in one of libpq's own forms
	inQuery   bool // its parameters are in a query, as in a URI, not keywords
	hosts     []address
	unclear   bool              // its host cannot be a host
	overruled bool              // the query names another host than the URI; drivers differ on which they use
	names     string            // the hosts before the query, as a list
	ports     string            // their ports, which stay if the query names other hosts
	hostaddr  string            // if set, libpq connects here instead
	socket    bool              // it names a Unix socket
	rootCert  string            // sslrootcert: a path, PEM or "system"
	modes     []parameter       // one for each key; the last of equal keys counts, as in libpq
	asksTLS   parameter         // what asks for TLS without a mode: ssl=true, useSSL=1
	says      map[string]string // user, password, dbname and what else it says, by the folded key
}

// parameter is a key of a connection string, as written, and its value.
type parameter struct {
	key, value string
	alias      bool // another name of sslmode, libpq's or pgjdbc's sslfactory; the value is the mode that it stands for
	first      bool // of two equal keys in a URI: the last one counts, but not in pgx and lib/pq
}

// longestString limits a connection string. The most hosts that a service may have fit in easily.
const longestString = 64 << 10

type stringAt struct {
	connection
	start, end int
	inProse    bool // behind the word psql
}

// findStrings returns the connection strings in a text: the text itself; several URIs in a list; or
// a command line, psql 'host=… sslmode=…', as in IBM's bindings.
func findStrings(text string) (found []stringAt) {
	try := func(start, end int, inProse bool) {
		if c, ok := parseString(text[start:end]); ok {
			found = append(found, stringAt{c, start, end, inProse})
		}
	}
	if starts := uriStarts(text); len(starts) > 1 {
		for i, start := range starts {
			end := append(starts, len(text))[i+1]
			try(start, len(strings.TrimRight(text[:end], separators)), false)
		}
	}
	if found == nil {
		try(0, len(text), false)
	}
	const command = "psql "
	if found == nil && strings.Count(text, command) == 1 {
		try(strings.Index(text, command)+len(command), len(text), true)
	}
	return found
}

const separators = " \t\r\n,;|\"'[]" // between the URIs of a list

// uriStarts returns where the Postgres URIs of a list begin.
func uriStarts(text string) (starts []int) {
	for end := 0; len(text) <= longestString && len(starts) <= mostStrings; {
		i := strings.Index(text[end:], "://")
		if i < 0 {
			break
		}
		start := len(strings.TrimRight(text[:end+i], schemeSigns))
		inList := start == 0 || strings.IndexByte(separators, text[start-1]) >= 0
		if inList && isPostgresScheme(text[start:end+i]) {
			starts = append(starts, start)
		}
		end += i + 3
	}
	return starts
}

// parseString reads a connection string of Postgres, also in quotes: a URI, a URL of pgjdbc or
// R2DBC, libpq's "host=… dbname=…", or ADO.NET's "Host=…;Database=…".
func parseString(text string) (connection, bool) {
	if len(text) > longestString || !strings.ContainsAny(text, ":=") {
		return connection{}, false
	}
	text = unwrap(text)
	if c, ok := parseURL(text); ok {
		return c, true
	}
	return parseWords(text)
}

// InString returns the hosts in a connection string of Postgres, and the weakest mode that it
// writes. The mode is None for any other text, and for a string that writes none.
func InString(text string) (hosts []string, weakest sslmode.Mode) {
	c, _ := parseString(text)
	for _, a := range c.hosts {
		hosts = append(hosts, a.host)
	}
	if modes := c.read(true); len(modes) > 0 {
		weakest = slices.Min(modes)
	}
	return hosts, weakest
}

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

var sameKeys = map[string]string{"server": "host", "hostname": "host", "database": "dbname", "username": "user", "userid": "user",
	"uid": "user", "pass": "password", "passwd": "password", "pwd": "password", "rootcertificate": "sslrootcert"}

// add adds what the parameters say about TLS and where to connect. As in libpq, the last of equal
// keys counts, and a host replaces the one before the query.
func (c *connection) add(pairs []parameter) {
	c.says["port"] = c.ports
	for _, p := range pairs {
		key, value := fold(p.key), strings.TrimSpace(p.value)
		alias, isTLS := c.aliasOf(p), key == "ssl" || key == "tls"
		_, meaning := inFamily(key) // pgsslmode
		switch {
		case alias != sslmode.None:
			if c.setMode(parameter{key: p.key, value: alias.String(), alias: true}); alias == sslmode.Prefer && isYes(value) {
				c.asksTLS = p // requiressl=true, which libpq does not take for 1
			}
			continue
		case slices.Contains(modeKeys, meaning), isTLS && isModeWord(value):
			c.setMode(p)
			continue
		case slices.Contains(askKeys, key) && isYes(value), isTLS && value == "": // as in pgjdbc (SslMode.of)
			c.asksTLS = p
		case isTLS:
			c.asksTLS = parameter{}
		}
		if key = cmp.Or(sameKeys[key], key); key == "password" {
			value = p.value
		}
		c.says[key] = value
	}
	take := func(key string) string { defer delete(c.says, key); return c.says[key] }
	if !looksLikePEM(c.says["sslcert"]) { // a path is for the driver that reads the string
		take("sslcert")
		take("sslkey")
	}
	host, port := take("host"), take("port")
	c.hostaddr, c.rootCert = take("hostaddr"), take("sslrootcert")
	c.socket = isSocket(cmp.Or(host, c.names)) && c.hostaddr == "" // libpq connects there instead
	if host == "" && len(c.hosts) == 0 {
		host = c.hostaddr
	}
	if named, ok := parseHosts(host, port); len(named) > 0 {
		c.overruled = len(c.hosts) > 0
		c.hosts, c.unclear = named, false
	} else {
		c.hosts, _ = parseHosts(c.names, port)
		c.unclear = c.unclear || !ok && len(c.hosts) == 0
	}
}

// aliasOf returns the mode that a parameter of libpq stands for, None if it is no other name of
// sslmode. "ssl" is one in a URI only. libpq knows it with the value true. With one that means no,
// node-postgres and postgres.js connect in plain text.
//
// Source: libpq's fe-connect.c, conninfo_uri_parse_params and conninfo_storeval;
// pg-connection-string, index.js; postgres.js, src/index.js, parseOptions.
func (c *connection) aliasOf(p parameter) sslmode.Mode {
	switch isSSL := c.inQuery && p.key == "ssl"; {
	case !c.libpq || !isSSL && p.key != "requiressl":
		return sslmode.None
	case isSSL && isNo(p.value):
		return sslmode.Disable
	case isSSL && p.value != "true":
		return sslmode.None
	case isSSL || strings.HasPrefix(p.value, "1"):
		return sslmode.Require
	}
	return sslmode.Prefer
}

func (p parameter) by(kind By) By {
	if p.first {
		return ByFirst
	}
	return kind
}

// setMode keeps the last of equal keys, as libpq does. In a URI, pgx and lib/pq take the first, so
// that stays too. A sslmode overrules an alias before it. An alias behind a sslmode overrules that
// in libpq alone, so both stay.
func (c *connection) setMode(p parameter) {
	if strings.TrimSpace(p.value) == "" {
		return
	}
	if len(c.modes) > 0 && c.libpq && c.inQuery {
		first := &c.modes[0]
		if _, err := parseMode(first.value); err == nil && first.key == p.key && first.value != p.value {
			first.alias, first.first = true, true
		}
	}
	isOver := func(old parameter) bool { return !old.first && (old.alias || old.key == p.key) }
	c.modes = append(slices.DeleteFunc(c.modes, isOver), p)
}

// read returns the modes that the string writes, without what is no mode.
func (c connection) read(aliases bool) (modes []sslmode.Mode) {
	for _, p := range c.modes {
		if mode, err := parseMode(p.value); err == nil && (aliases || !p.alias) {
			modes = append(modes, mode)
		}
	}
	return modes
}

// asksForLess says whether the string could lower the mode of what is beside it, or its trust.
func (c connection) asksForLess() bool {
	return c.unclear || c.rootCert != "" || slices.ContainsFunc(c.read(false), func(m sslmode.Mode) bool { return m != sslmode.VerifyFull })
}

// isYes and isNo say what a value means to drivers and brokers.
func isYes(raw any) bool {
	text := asText(raw)
	return raw == true || isNoVerify(text) || isOneOf(text, "true", "1", "yes", "on", "required", "enabled")
}

func isNo(raw any) bool {
	return raw == false || isOneOf(asText(raw), "false", "0", "no", "off", "disabled")
}

func isOneOf(text string, words ...string) bool {
	return slices.Contains(words, strings.ToLower(strings.TrimSpace(text)))
}

// isModeWord says whether a text that may also mean yes or no is a mode, or a typo of one.
func isModeWord(text string) bool {
	if isYes(text) || isNo(text) {
		return false
	}
	_, err := parseMode(text)
	return err == nil || sslmode.Resembles(text)
}

func parseMode(text string) (sslmode.Mode, error) {
	if isNoVerify(text) {
		return sslmode.Require, nil
	}
	return sslmode.Parse(text)
}

// isNoVerify says whether a text is node-postgres's word for TLS with any certificate.
//
// Source: node-postgres, lib/connection-parameters.js.
func isNoVerify(text string) bool {
	return isOneOf(strings.ReplaceAll(text, "_", "-"), "no-verify")
}
