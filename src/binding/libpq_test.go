package binding

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// readByLibpq returns what libpq's PQconninfoParse makes of each text, nil where it refuses it.
func readByLibpq(t testing.TB, texts []string) []map[string]string {
	t.Helper()
	var in, problems bytes.Buffer
	for _, text := range texts {
		line, err := json.Marshal(text)
		require.NoError(t, err)
		in.Write(append(line, '\n'))
	}
	python := exec.Command("/usr/bin/python3", "testdata/libpq.py")
	python.Stdin, python.Stderr = &in, &problems
	out, err := python.Output()
	require.NoError(t, err, "it takes python3 and libpq5, as scripts/test.sh installs them: %s", &problems)
	var answers []map[string]string
	for line := range bytes.Lines(out) {
		var answer map[string]string
		require.NoError(t, json.Unmarshal(line, &answer))
		answers = append(answers, answer)
	}
	require.Len(t, answers, len(texts))
	return answers
}

// asLibpq writes an answer of libpq as we read it. It returns false for one that libpq itself
// refuses when it connects.
//
// We differ from libpq on purpose:
//   - Host names are in lower case and without a trailing dot, because we compare them.
//   - The local socket is no host. Where a query replaces a host by the socket or by nothing, the
//     host stays: this may not lower the mode, and most drivers do not take the socket.
//   - Blanks around the whole, a database and a user are left out: people copy them along.
//
// Two kinds are not among the texts: an "@" in a password that is not escaped, where libpq takes
// the first one and finds no host; and a semicolon in keywords outside a password, which is read as
// ADO.NET's.
func asLibpq(answer map[string]string, before []address) (string, bool) {
	host, emptied := answer["host"]
	hosts := strings.Split(host, ",")
	if !emptied {
		hosts = strings.Split(answer["hostaddr"], ",")
	}
	ports := strings.Split(answer["port"], ",")
	addresses, ok := answer["hostaddr"]
	if len(ports) != 1 && len(ports) != len(hosts) || ok && strings.Count(addresses, ",")+1 != len(hosts) {
		return "", false
	}
	var named []string
	for i, host := range hosts {
		host = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(host)), ".")
		if host != "" && host[0] != '/' {
			named = append(named, host+":"+strings.TrimSpace(ports[min(i, len(ports)-1)]))
		}
	}
	if named == nil {
		for _, a := range before {
			if len(ports) == 1 {
				a.port = ports[0]
			}
			named = append(named, a.host+":"+a.port)
		}
	}
	return fmt.Sprintf("%q %q %q %q %q", named, strings.TrimSpace(answer["dbname"]), strings.TrimSpace(answer["user"]), answer["password"], answer["sslmode"]), true
}

func asWe(c connection) string {
	var named []string
	for _, a := range c.hosts {
		named = append(named, a.host+":"+a.port)
	}
	mode := ""
	if n := len(c.modes); n > 0 {
		mode = c.modes[n-1].value // in libpq, the last one counts
	}
	return fmt.Sprintf("%q %q %q %q %q", named, strings.TrimSpace(c.says["dbname"]), strings.TrimSpace(c.says["user"]), c.says["password"], mode)
}

// writer makes connection strings as libpq's manual describes them.
type writer struct{ *rand.Rand }

func (w writer) one(texts ...string) string { return texts[w.IntN(len(texts))] }

func (w writer) host() string {
	return w.one("h", "db.example.com", "DB.Example.com.", "10.0.0.7", "", "", "x_y-z", "/tmp")
}

func (w writer) port() string { return w.one("", "1", "5432", "27431") }

func (w writer) list(one func() string) string {
	items := []string{one()}
	for w.IntN(4) == 0 {
		items = append(items, one())
	}
	return strings.Join(items, ",")
}

// word is any text, as a password may be.
func (w writer) word() string {
	var text strings.Builder
	for range w.IntN(8) {
		text.WriteString(w.one("a", "Z", "9", "-", "_", ".", "~", " ", "@", "/", "?", "#", "%", "%zz", ":", "&", "=", "+", ";", ",", "'", `\`, "\t", "ü", "[", "]", "sslmode=disable", "host=x"))
	}
	return text.String()
}

// parameter returns a parameter and its value.
func (w writer) parameter(inURI bool) (string, string) {
	modes := sslmode.All()
	switch w.IntN(12) {
	case 0, 1, 2:
		return "sslmode", modes[w.IntN(len(modes))].String()
	case 3:
		return "requiressl", w.one("0", "1", "", "2", "10")
	case 4:
		if inURI {
			return "ssl", "true"
		}
		return "connect_timeout", "5"
	case 5:
		return "host", w.list(w.host)
	case 6:
		return "port", w.list(w.port)
	case 7:
		return "hostaddr", w.one("10.0.0.1", "10.0.0.2")
	case 8:
		return "user", w.word()
	case 9:
		return "password", w.word()
	case 10:
		return "dbname", w.word()
	}
	return w.one("application_name", "options"), w.word()
}

func escape(text string) string {
	return strings.NewReplacer(":", "%3A", "@", "%40", ",", "%2C", "=", "%3D", "&", "%26").Replace(url.PathEscape(text))
}

func (w writer) uri() string {
	text := w.one("postgres://", "postgresql://")
	switch w.IntN(4) {
	case 0:
		text += escape(w.word()) + "@"
	case 1, 2:
		text += escape(w.word()) + ":" + escape(w.word()) + "@"
	}
	text += w.list(func() string {
		host := w.one("h", "db.example.com", "DB.Example.com.", "10.0.0.7", "[::1]", "", "%2Ftmp")
		return host + w.one("", "", ":", ":1", ":5433", ":27431")
	})
	text += w.one("", "/", "/orders", "/"+escape(w.word()))
	separator := "?"
	for w.IntN(3) != 0 {
		key, value := w.parameter(true)
		text += separator + w.one(key, key, key, strings.Replace(key, "s", "%73", 1)) + "=" + escape(value)
		separator = "&"
	}
	return text
}

func (w writer) words() string {
	text := ""
	write := func(key, value string) {
		equals := w.one("=", "=", " = ", "= ", "\t=\n")
		escape := strings.NewReplacer(`\`, `\\`, "'", `\'`)
		if key != "password" {
			value = strings.ReplaceAll(value, ";", "")
		}
		if value == "" || w.IntN(3) == 0 {
			value = "'" + escape.Replace(value) + "'"
		} else {
			value = strings.NewReplacer(`\`, `\\`, "'", `\'`, " ", `\ `, "\t", "\\\t").Replace(value)
		}
		text += w.one(" ", "  ", "\n") + key + equals + value
	}
	write("host", w.list(w.host))
	write("user", w.word())
	for w.IntN(5) != 0 {
		write(w.parameter(false))
	}
	return text + " connect_timeout=5"
}

func TestLibpqReadsConnectionStringsAsWeDo(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(20, 22))}
	var texts []string
	for range 3000 {
		texts = append(texts, w.uri(), w.words())
	}
	read, alias := 0, 0
	for i, answer := range readByLibpq(t, texts) {
		c, ok := parseString(texts[i])
		before := c.hosts
		if !ok || answer == nil {
			continue
		}
		want, ok := asLibpq(answer, before)
		if !ok {
			continue
		}
		read++
		if slices.ContainsFunc(c.modes, func(p parameter) bool { return p.alias }) {
			alias++
		}
		if !assert.Equal(t, want, asWe(c), texts[i]) {
			return
		}
	}
	assert.Greater(t, read, 5000)
	assert.Greater(t, alias, 500)
}
