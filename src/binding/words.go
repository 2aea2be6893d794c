package binding

import (
	"slices"
	"strings"
)

// parseWords reads libpq's "host=… dbname=… sslmode=…", and the same with semicolons, as in
// ADO.NET, ODBC and PHP's PDO.
//
// Sources: libpq's manual, "Keyword/Value Connection Strings"; Npgsql's, "Connection String
// Parameters".
func parseWords(text string) (connection, bool) {
	if pdo := "pgsql:"; strings.HasPrefix(strings.ToLower(text), pdo) {
		text = strings.ReplaceAll(text[len(pdo):], ";", " ") // as pdo_pgsql does
	}
	if !containsAny(fold(text), []string{"host", "dbname", "server", "service"}) {
		return connection{}, false // see areOfPostgres
	}
	pairs, ok := splitWords(text)
	hasSemicolon := func(p parameter) bool { // in libpq's keywords, only the password may
		return strings.Contains(p.value, ";") && !slices.Contains(passwordKeys, fold(p.key))
	}
	c := connection{libpq: ok && areOfPostgres(pairs) && !slices.ContainsFunc(pairs, hasSemicolon), says: map[string]string{}}
	if !c.libpq && strings.Contains(text, ";") {
		pairs, ok = splitSemicolons(text)
	}
	if !ok || !areOfPostgres(pairs) {
		return connection{}, false
	}
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
	named := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { _, ok := has[key]; return ok })
	}
	switch {
	case named("driver") && !containsAny(has["driver"], postgresWords), has["port"] == "3306", has["port"] == "1433",
		strings.EqualFold(has["protocol"], "tcpip"), // Db2's
		named("encrypt", "initialcatalog", "integratedsecurity", "allowpublickeyretrieval", "defaultcommandtimeout"):
		return false
	}
	where := named("host", "hostaddr", "server", "hostname", "service")
	what := named("dbname", "database", "user", "username", "userid", "uid", "sslmode")
	withoutHost := named("dbname") && named("user", "sslmode", "password")
	return where && what || withoutHost
}

const mostParameters = 500 // a longer text is no connection string

// splitSemicolons splits as .NET and ODBC do. A value in quotes or braces may contain a semicolon.
//
// Source: .NET's DbConnectionStringBuilder; ODBC's SQLDriverConnect, on braces.
func splitSemicolons(text string) (pairs []parameter, ok bool) {
	unclosed := map[byte]bool{}
	for text != "" && len(pairs) <= mostParameters {
		item, rest, _ := strings.Cut(text, ";")
		key, value, found := strings.Cut(item, "=")
		switch key = strings.TrimSpace(key); {
		case found && isKeyword(key):
			value, rest = cutValue(text[len(item)-len(value):], unclosed)
			pairs = append(pairs, parameter{key: key, value: value})
		case strings.TrimSpace(item) != "" && len(pairs) == 0:
			return nil, false
		}
		text = rest // without a key, it may be the rest of a password: skip it
	}
	return pairs, len(pairs) <= mostParameters
}

// cutValue returns the value at the start of a text, and what follows its semicolon. An unclosed
// quote is a part of the value. unclosed has the quotes that close nowhere in what is left.
func cutValue(text string, unclosed map[byte]bool) (value, rest string) {
	trimmed := strings.TrimSpace(text)
	for _, pair := range []string{`""`, "''", "{}"} {
		inner, ok := strings.CutPrefix(trimmed, pair[:1])
		if !ok || unclosed[pair[0]] {
			continue
		}
		end := closing(inner, pair[1])
		if unclosed[pair[0]] = end < 0; end < 0 {
			continue
		}
		if after := strings.TrimSpace(inner[end+1:]); after == "" || after[0] == ';' {
			return strings.ReplaceAll(inner[:end], pair[1:]+pair[1:], pair[1:]), strings.TrimPrefix(after, ";")
		}
	}
	value, rest, _ = strings.Cut(text, ";")
	return unwrap(value), rest
}

// closing returns where the quote closes, -1 if it does not. Doubled, it stands for itself.
func closing(text string, quote byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] == quote {
			if i++; i == len(text) || text[i] != quote {
				return i - 1
			}
		}
	}
	return -1
}

// splitWords splits as libpq's conninfo_parse does. Blanks may surround "=". A value with blanks is
// in single quotes, and a backslash escapes.
func splitWords(text string) (pairs []parameter, ok bool) {
	for text = strings.TrimLeft(text, blanks); text != ""; text = strings.TrimLeft(text, blanks) {
		key, rest, found := strings.Cut(text, "=")
		key = strings.TrimRight(key, blanks)
		isKey := found && isKeyword(key) && !strings.ContainsAny(key, blanks)
		if !isKey || len(pairs) >= mostParameters {
			return nil, false
		}
		ends, escaped := blanks, false
		value, quoted := strings.CutPrefix(strings.TrimLeft(rest, blanks), "'")
		if quoted {
			ends = "'"
		}
		end := strings.IndexFunc(value, func(r rune) bool {
			isEnd := !escaped && strings.ContainsRune(ends, r)
			escaped = !escaped && r == '\\'
			return isEnd
		})
		switch {
		case end >= 0:
			value, text = value[:end], value[end+1:]
		case quoted:
			return nil, false
		default:
			text = ""
		}
		pairs = append(pairs, parameter{key: key, value: withoutEscapes.Replace(value)})
	}
	return pairs, true
}

var withoutEscapes = strings.NewReplacer(`\\`, `\`, `\`, "")

// blanks are what isspace says in C.
const blanks = " \t\n\v\f\r"

func isKeyword(key string) bool {
	return key != "" && len(key) <= 64 && strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789_- ") == ""
}
