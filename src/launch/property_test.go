package launch

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// maker makes bindings as people and brokers write them. Its seed is fixed, so every run gets the
// same ones.
type maker struct {
	*rand.Rand
	ca, saml string
}

func newMaker(t testing.TB, seed uint64) maker {
	return maker{rand.New(rand.NewPCG(10, seed)), string(pgtest.NewCA(t, "Own CA").PEM), string(pgtest.NewCA(t, "SAML").PEM)}
}

func (m maker) one(of ...string) string { return of[m.IntN(len(of))] }

func (m maker) oneIn(n int) bool { return m.IntN(n) == 0 }

// spell writes a key or a word of several parts in one of the accepted spellings.
func (m maker) spell(parts ...string) string {
	switch m.IntN(5) {
	case 0:
		return strings.Join(parts, "_")
	case 1:
		return strings.Join(parts, "-")
	case 2:
		return strings.ToUpper(strings.Join(parts, "_"))
	case 3:
		for i := range parts[1:] {
			parts[i+1] = strings.ToUpper(parts[i+1][:1]) + parts[i+1][1:]
		}
	}
	return strings.Join(parts, "")
}

// word spells a mode.
func (m maker) word(mode string) string {
	if m.oneIn(2) {
		return mode
	}
	return m.one("", " ") + m.spell(strings.Split(mode, "-")...) + m.one("", "\n")
}

func (m maker) modeKey() string {
	return m.spell(slices.Clone([][]string{{"ssl", "mode"}, {"db", "ssl", "mode"}, {"pg", "ssl", "mode"}, {"tls", "mode"}}[m.IntN(4)])...)
}

func (m maker) password() string {
	return m.one("Zq7xWv9k", "Zq7x@Wv9k", "Zq7x/Wv9k", "Zq7x#Wv9k", "Zq7x?Wv9k", "Zq7x%Wv9k", "Zq7x:Wv9k", "a/b@Zq7xWv9k", "Zq7xWv9k'", `Zq7x"Wv9k`)
}

// text returns a connection string of any kind for a host. mode is "" for none.
func (m maker) text(host, mode string) string {
	password := m.password()
	query := func(first, key, value string) string {
		var pairs []string
		if first != "" {
			pairs = append(pairs, first)
		}
		for range m.IntN(3) {
			pairs = append(pairs, m.one("connect_timeout=5", "application_name=shop", "channel_binding=require", "options=-csearch_path%3Da", "a.b[0]=c", "flag", ""))
		}
		if mode != "" {
			pairs = append(pairs, key+"="+value)
		}
		if m.oneIn(3) {
			pairs = append(pairs, m.one("target_session_attrs=any", "keepalives=1", "fallback_application_name=what?"))
		}
		if len(pairs) == 0 {
			return ""
		}
		return "?" + strings.Join(pairs, m.one("&", "&", "&amp;", "&&"))
	}
	key, value := m.spell("ssl", "mode"), strings.ReplaceAll(strings.TrimSpace(m.word(mode)), "\n", "")
	switch m.IntN(6) {
	case 0:
		scheme := m.one("jdbc:postgresql", "jdbc:aws-wrapper:postgresql", "JDBC:POSTGRESQL")
		return scheme + "://" + host + m.one("", ":5432") + "/orders" + query("user=app&password="+password, "sslmode", value)
	case 1:
		return m.one("r2dbc:postgresql", "r2dbc:pool:postgresql") + "://app:" + password + "@" + host + "/orders" + query("", "sslMode", value)
	case 2:
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		if mode != "" {
			value = m.one(" sslmode=", " sslmode = ") + mode
		}
		return "host=" + host + " dbname=orders user=app password='" + quoted + "'" + value + m.one("", " connect_timeout=5")
	case 3:
		if mode != "" {
			value = ";" + m.one("SSL Mode=", "SslMode=") + m.word(mode)
		}
		return "Host=" + host + ";Database=orders;Username=app;Password=\"" + strings.ReplaceAll(password, `"`, `""`) + `"` + strings.TrimSpace(value)
	}
	scheme := m.one("postgres", "postgresql", "postgresql+psycopg2", "postgis", "pgsql", "ecto", "POSTGRES")
	return m.one("", "", " ", "\ufeff") + scheme + "://app:" + password + "@" + host + m.one("", ":5432") + "/orders" + query("", key, value)
}

// parts returns the same under separate keys, without a mode.
func (m maker) parts(host string) map[string]any {
	c := map[string]any{m.one("host", "hostname"): host, m.one("username", "user"): "app", "password": m.password(), m.one("dbname", "database", "name"): "orders"}
	if m.oneIn(2) {
		c["port"] = []any{5432, "5432"}[m.IntN(2)]
	}
	return c
}

// noise adds what has nothing to do with the connection.
func (m maker) noise(c map[string]any) {
	for range m.IntN(4) {
		switch m.IntN(8) {
		case 0:
			c["saml_cert"] = m.saml
		case 1:
			c["channel_binding"] = "require"
		case 2:
			c["docs"] = "https://docs.example.com/postgres?a=b"
		case 3:
			c["cache"] = map[string]any{"uri": "redis://:" + m.password() + "@r.example.com:6379/0"}
		case 4:
			c["legacy"] = map[string]any{"uri": "mysql://u:p@m.example.com/d", "ssl_mode": "REQUIRED", "port": 3306}
		case 5:
			c["plan"] = []any{"small", 3, nil, true}
		case 6:
			c["note"] = `{"a": [1, "b"]}`
		case 7:
			c["secret"] = "postgres://u:p@other.example.com/d?sslmode=disable"
		}
	}
}

// wrap nests credentials more deeply.
func (m maker) wrap(c map[string]any) map[string]any {
	for range m.IntN(3) {
		switch m.IntN(4) {
		case 0:
			c = map[string]any{m.one("connection", "credentials", "postgres", "database", "tenant_42"): c}
		case 1:
			c = map[string]any{m.one("instances", "connections"): []any{c}}
		case 2:
			encoded, _ := json.Marshal(c)
			c = map[string]any{"connection": string(encoded)}
		}
	}
	return c
}

// verifyFull returns credentials that say verify-full in one of the places where people may put it.
func (m maker) verifyFull(host string) map[string]any {
	const mode = "verify-full"
	c := m.parts(host)
	if m.oneIn(2) {
		c = map[string]any{m.one("uri", "url", "jdbcUrl", "dsn", "DATABASE_URL", "read_write_uri"): m.text(host, "")}
	}
	var value any = m.word(mode)
	if m.oneIn(4) {
		value = []any{value}
	}
	switch m.IntN(10) {
	case 0, 1:
		c[m.modeKey()] = value
	case 2, 3, 4:
		c = map[string]any{m.one("uri", "url", "jdbcUrl", "dsn", "DATABASE_URL", "read_write_uri", "x"): m.text(host, mode)}
	case 5:
		c[m.one("ssl", "tls", "SSL")] = value
	case 6:
		c[m.one("ssl", "tls")] = map[string]any{m.one("mode", "sslmode", "ssl_mode"): value, "enabled": true}
	case 7:
		c["options"] = []any{"sslmode=verify-full&connect_timeout=5", "connect_timeout=5 sslmode=verify-full", map[string]any{m.modeKey(): value}}[m.IntN(3)]
	case 8:
		c = map[string]any{m.modeKey(): value, m.one("connection", "db"): c}
	case 9: // we cannot read these, so they must be refused
		c[m.one("sslmod", "ssl_verify", "verification", "mode", "require_ssl", "my_sslmode_")] = mode
	}
	m.noise(c)
	return m.wrap(c)
}

// service returns an environment with one service.
func service(t testing.TB, credentials map[string]any, tags ...string) map[string]string {
	t.Helper()
	document, err := json.Marshal(map[string]any{"user-provided": []any{map[string]any{
		"name": "db", "label": "user-provided", "tags": tags, "credentials": credentials,
	}}})
	require.NoError(t, err)
	return map[string]string{"VCAP_SERVICES": string(document)}
}

func launchWith(env map[string]string, store truststore.Store) (*Plan, error) {
	found, err := binding.Read(env)
	if err != nil {
		return nil, err
	}
	return Decide(env, found, store)
}

func TestABindingThatSaysVerifyFullGetsItOrStopsTheApp(t *testing.T) {
	const runs = 5_000
	m, onBoard, heard := newMaker(t, 1), store(t), 0
	for range runs {
		var tags []string
		if m.oneIn(3) {
			tags = []string{"postgresql"}
		}
		env := service(t, m.verifyFull(m.one(elsewhere, oregon, "10.0.0.7")), tags...)
		plan, err := launchWith(env, onBoard)
		if err != nil {
			require.NotContains(t, err.Error(), "Zq7x")
			require.NotContains(t, err.Error(), "\n")
			continue
		}
		require.Equal(t, sslmode.VerifyFull, plan.Mode, env["VCAP_SERVICES"])
		heard++
	}
	assert.Greater(t, heard, runs*3/4, "most are read, not just refused")
}

// wider says how a plan is weaker than the one before, "" if it is not.
func wider(before, after *Plan) string {
	// Without an exported mode, libpq's own default counts.
	rank := func(p *Plan) sslmode.Mode {
		if p.Mode == sslmode.None {
			return sslmode.Prefer
		}
		return p.Mode
	}
	if rank(after) < rank(before) {
		return fmt.Sprintf("the mode fell from %s to %s", before.Mode, after.Mode)
	}
	was, is := before.TrustAll(), after.TrustAll()
	if is.Everyone && !was.Everyone {
		return "everyone is trusted"
	}
	for _, set := range is.Sets {
		if !slices.Contains(was.Sets, set) {
			return "further trust: " + set
		}
	}
	for _, c := range is.Own {
		if !slices.ContainsFunc(was.Own, c.Equal) {
			return "further trust: " + c.Subject.CommonName
		}
	}
	return ""
}

// base returns credentials with a connection under the keys that every broker uses.
func (m maker) base() map[string]any {
	host := m.one(elsewhere, oregon, frankfurt, gov, proxy)
	mode := m.one("", "", "", "verify-full", "verify-full", "verify-ca", "require", "prefer", "disable")
	c := map[string]any{}
	if m.oneIn(2) {
		c = m.parts(host)
		if mode != "" {
			c[m.modeKey()] = m.word(mode)
		} else if m.oneIn(3) {
			c["require_ssl"] = true
		}
	}
	if len(c) == 0 || m.oneIn(3) {
		c[m.one("uri", "jdbcUrl", "url", "jdbc_url")] = m.text(host, mode)
	}
	if m.oneIn(4) {
		c[m.one("ca", "sslrootcert", "ca_cert")] = m.ca
	}
	m.noise(c)
	return c
}

// further returns a connection string to another host, or an object with one.
func (m maker) further() any {
	host := m.one("127.0.0.1:6432", "other.example.com", "tenant.abc.eu-west-1.rds.amazonaws.com", "localhost", "h1.example.com,h2.example.com", "${DB_HOST}", "")
	mode := m.one("", "disable", "disable", "allow", "require", "verify-ca", "verify-full")
	text := m.text(host, mode)
	switch m.IntN(6) {
	case 0:
		return map[string]any{m.one("uri", "jdbcUrl", "dsn"): text}
	case 1:
		return map[string]any{"uri": text, m.modeKey(): m.one("disable", "require"), "ca": m.saml}
	case 2:
		return []any{text, m.text("third.example.com", m.one("", "disable"))}
	case 3:
		encoded, _ := json.Marshal(map[string]any{"connection": map[string]any{"dsn": text}})
		return string(encoded)
	}
	return text
}

func TestAFurtherStringNeverLowersTheModeAndNeverWidensTheTrust(t *testing.T) {
	const runs = 5_000
	m, onBoard, same := newMaker(t, 2), store(t), 0
	for range runs {
		tags := [][]string{nil, {"postgresql"}, {"stratos"}}[m.IntN(3)]
		credentials := m.base()
		before, err := launchWith(service(t, credentials, tags...), onBoard)
		if err != nil || len(before.Databases) == 0 {
			continue
		}
		key := m.one("pgbouncer", "example", "aa", "zz_reporting", "tenant_42", "analytics_dsn", "AUDIT_URL", "migration_uri", "0")
		credentials[key] = m.further()
		after, err := launchWith(service(t, credentials, tags...), onBoard)
		if err != nil {
			continue
		}
		if problem := wider(before, after); problem != "" {
			text, _ := json.MarshalIndent(credentials, "", " ")
			require.Fail(t, problem, "by %s in %s", key, text)
		}
		same++
	}
	assert.Greater(t, same, runs/2, "most stay the same, and are not just refused")
}

func TestTheControlAWeakerPlanIsSeen(t *testing.T) {
	onBoard := store(t)
	plan := func(credentials map[string]any) *Plan {
		p, err := launchWith(service(t, credentials), onBoard)
		require.NoError(t, err)
		return p
	}
	rds := plan(map[string]any{"uri": "postgres://u@" + oregon + "/d"})
	assert.Empty(t, wider(rds, rds))
	assert.Contains(t, wider(rds, plan(map[string]any{"uri": "postgres://u@" + oregon + "/d?sslmode=require"})), "the mode fell")
	assert.Contains(t, wider(rds, plan(map[string]any{"uri": "postgres://u@h/d?sslmode=verify-full"})), "everyone is trusted")
	assert.Contains(t, wider(rds, plan(map[string]any{"uri": "postgres://u@" + frankfurt + "/d"})), "further trust: eu-central-1")
	assert.Contains(t, wider(rds, plan(map[string]any{"uri": "postgres://u@" + oregon + "/d?sslmode=verify-full", "ca": string(caPEM(t))})), "further trust: Test CA")
}
