package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
)

// driverConfigOf returns pgjdbc's defaults, or "" if it gets none.
func driverConfigOf(t testing.TB, h *Handout) string {
	t.Helper()
	_, folder, ok := strings.Cut(h.exported()["JAVA_TOOL_OPTIONS"], "-Xbootclasspath/a:")
	if !ok {
		return ""
	}
	return h.content(t, folder+"/org/postgresql/driverconfig.properties")
}

func TestJavaIsToldTheModeFromRequireUp(t *testing.T) {
	for mode, want := range map[string]string{
		"": "", "disable": "", "allow": "", "prefer": "",
		"require":     "sslmode=require\n",
		"verify-ca":   "sslmode=verify-ca\nsslrootcert=" + oregonBundle + "\n",
		"verify-full": "sslmode=verify-full\nsslrootcert=" + oregonBundle + "\n",
	} {
		h := app{brings: "java"}.given(t, db("db", mode, elsewhere))
		if mode != "" {
			h = app{brings: "java"}.given(t, db("db", mode, oregon))
		}
		assert.Equal(t, want, driverConfigOf(t, h), mode)
		assert.Equal(t, want != "", h.Gives("CF_CA_CERTS"), mode)
		assert.Empty(t, h.Warnings)
	}
	h := app{}.given(t, db("db", "verify-full", oregon))
	assert.False(t, h.Gives("JAVA_TOOL_OPTIONS"), "an app without Java gets none")
	assert.False(t, h.Gives("CF_CA_CERTS"))
}

func TestJavaFollowsTheOwner(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"PGSSLMODE means the app":       {env("PGSSLMODE", "require"), "sslmode=require\n"},
		"node-postgres's own word":      {env("PGSSLMODE", "no-verify"), "sslmode=require\n"},
		"Stratos's own":                 {env("DB_SSL_MODE", "disable"), "sslmode=verify-full\nsslrootcert=" + oregonBundle + "\n"},
		"a root certificate":            {env("PGSSLROOTCERT", "/app/ca.pem"), "sslmode=verify-full\nsslrootcert=/app/ca.pem\n"},
		"libpq's word for the stack":    {env("PGSSLROOTCERT", "system"), "sslmode=verify-full\nsslrootcert=" + oregonBundle + "\n"},
		"less than Java could be given": {env("PGSSLMODE", "prefer"), ""},
	} {
		assert.Equal(t, test.want, driverConfigOf(t, app{env: test.env, brings: "java"}.given(t, db("db", "verify-full", oregon))), name)
	}
}

func TestJavaKeepsTheOwnersOptionsAndGrowsByOneOfOurs(t *testing.T) {
	a := app{env: env("JAVA_TOOL_OPTIONS", "-Dkey=s3cr3t -javaagent:a.jar"), brings: "java"}
	h := a.given(t, db("db", "require", oregon))
	once := h.exported()["JAVA_TOOL_OPTIONS"]
	assert.Regexp(t, `^-Dkey=s3cr3t -javaagent:a\.jar -Xbootclasspath/a:/home/vcap/\.postgres-ssl/java-[0-9a-f]{32}$`, once)
	for _, v := range h.Variables {
		assert.NotContains(t, v.String(), "s3cr3t", "the owner's value must not get into a log")
	}
	a.env["JAVA_TOOL_OPTIONS"] = once
	assert.Equal(t, once, a.given(t, db("db", "require", oregon)).exported()["JAVA_TOOL_OPTIONS"], "sourced twice")
}

// ssl=true alone means verify-full to pgjdbc, and a default sslmode would hide it.
func TestJavaIsNeverGivenLessThanTheAppMayAskFor(t *testing.T) {
	const url = "jdbc:postgresql://h/d?user=u&ssl=true&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"
	for name, a := range map[string]app{
		"a file of the app's": {says: "config/application.yml"},
		"an owner's URL":      {env: env("SPRING_DATASOURCE_URL", url)},
		"an owner's property": {env: env("SPRING_DATASOURCE_HIKARI_DATA_SOURCE_PROPERTIES_SSL", "true")},
		"an owner's option":   {env: env("JAVA_OPTS", "-Xmx1g -Ddb.url=jdbc:postgresql://h/d?ssl=true")},
		"the platform's URL":  {env: env("DATABASE_URL", "postgres://u:p@h/d?ssl=true")},
		"… with a bare flag":  {env: env("DATABASE_URL", "postgres://u:p@h/d?a=b&ssl")},
	} {
		a.brings = "java"
		for _, mode := range []string{"require", "verify-ca"} {
			h, err := a.try(t, db("db", mode, oregon))
			require.NoError(t, err)
			assert.Empty(t, driverConfigOf(t, h), "%s, %s", name, mode)
			require.Len(t, h.Warnings, 1, name)
			assert.Contains(t, h.Warnings[0], "pgjdbc is not given sslmode="+mode+", because ", name)
			assert.True(t, h.Gives("CF_CA_CERTS"))
		}
		full := a.given(t, db("db", "verify-full", oregon))
		assert.Contains(t, driverConfigOf(t, full), "sslmode=verify-full\n", name)
		assert.Empty(t, full.Warnings, name)
	}
	flagged := db("db", "require", oregon)
	flagged.SSLFlag = binding.Place{Path: "jdbcUrl"}
	assert.Empty(t, driverConfigOf(t, app{brings: "java"}.given(t, flagged)))
	for name, environment := range map[string]map[string]string{
		"the platform's copy of it":        env("DATABASE_URL", "postgres://u:p@h/d?sslmode=require"),
		"… with words like it":             env("DATABASE_URL", "postgres://u:p@h.x/d?use_ssl=true"),
		"… with a key like it":             env("DATABASE_URL", "postgres://u:p@h.x/d?ssl_mode=require"),
		"… in capitals":                    env("DATABASE_URL", "postgres://u:p@h.x/d?sslMode=require"),
		"… with an escape":                 env("DATABASE_URL", "postgres://u:p@h.x/d?sslmode%3Drequire"),
		"… with ssl and a mode":            env("DATABASE_URL", "postgres://u:p@h.x/d?ssl=true&sslmode=require"),
		"other variables of ours":          env("PGSSLMODE", "require", "DB_SSL_MODE", "require", "PGSSL", "require"),
		"words that only look like it":     env("A", "ssl", "B", "nossl=true", "C", "ssl=false", "D", "https://h/d?tls=true"),
		"a flag that is no parameter":      env("E", "a?ssltrue", "F", "server.ssl.enabled=true"),
		"other services":                   env("REDIS_SSL", "true", "KAFKA_SSL", "true", "MYSQL_SSL_MODE", "REQUIRED", "LDAP_URL", "ldaps://h/d?ssl=true", "SPRING_RABBITMQ_SSL_MODE", "x"),
		"options that have nothing to say": env("JAVA_TOOL_OPTIONS", "-Xmx1g"),
	} {
		h := app{env: environment, brings: "java"}.given(t, db("db", "require", oregon))
		assert.Equal(t, "sslmode=require\n", driverConfigOf(t, h), name)
	}
}

func TestJavaTakesTheClientCertificateInItsOwnForm(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	wantEC, err := x509.MarshalPKCS8PrivateKey(ec)
	require.NoError(t, err)
	wantRSA, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	require.NoError(t, err)
	for _, test := range []struct {
		kind      string
		key       crypto.Signer
		der, want []byte
	}{
		{"PRIVATE KEY", ec, wantEC, wantEC},
		{"EC PRIVATE KEY", ec, sec1, wantEC},
		{"PRIVATE KEY", rsaKey, wantRSA, wantRSA},
		{"RSA PRIVATE KEY", rsaKey, x509.MarshalPKCS1PrivateKey(rsaKey), wantRSA},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		cert, err := x509.CreateCertificate(rand.Reader, template, template, test.key.Public(), test.key)
		require.NoError(t, err)
		b := db("db", "require", oregon)
		b.ClientCert, b.ClientKey = clientPair(t)
		b.ClientCert.Value = binding.Secret(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
		b.ClientKey.Value = binding.Secret(pem.EncodeToMemory(&pem.Block{Type: test.kind, Bytes: test.der}))
		files := app{brings: "java"}.given(t, b).Files
		i := slices.IndexFunc(files, func(f File) bool { return strings.HasSuffix(f.Path, ".pk8") })
		require.GreaterOrEqual(t, i, 0, test.kind)
		assert.Equal(t, test.want, files[i].Content, test.kind)
	}

	for _, mode := range []string{"require", "verify-full"} {
		b := db("db", mode, oregon)
		b.ClientCert, b.ClientKey = clientPair(t)
		h := app{brings: "java"}.given(t, b)
		vars := h.exported()
		lines := strings.Split(strings.TrimSpace(driverConfigOf(t, h)), "\n")
		assert.Equal(t, "sslcert="+vars["PGSSLCERT"], lines[len(lines)-2])
		key := strings.TrimPrefix(lines[len(lines)-1], "sslkey=")
		assert.Regexp(t, `/client-[0-9a-f]{32}\.pk8$`, key)
		for _, f := range h.Files {
			if f.Path == key {
				assert.Equal(t, "-rw-------", f.Mode.String())
				parsed, err := x509.ParsePKCS8PrivateKey(f.Content)
				require.NoError(t, err)
				assert.NotNil(t, parsed)
			}
		}
	}
}

// What the file looks like is told by the JVM itself; see TestJavaReadsWhatItIsGiven.
func TestAPathThatJavaCannotTakeStopsTheStart(t *testing.T) {
	for _, home := range []string{"/a:b", "/a b", "/it's", `/"a`, "/a\tb"} {
		_, err := app{home: home, brings: "java"}.try(t, db("db", "require", oregon))
		assert.ErrorContains(t, err, ": Java's class path cannot contain a folder with a colon, a blank or a quote in its name", home)
		_, err = app{home: home}.try(t, db("db", "require", oregon))
		assert.NoError(t, err, "the control: without Java")
	}
}

func TestAPropertyKeepsItsValue(t *testing.T) {
	assert.Equal(t, `/a\\b\u00e9\n=:#!~ c`, propertyValue("/a\\bé\n=:#!~ c"))
}

// Each of these may mean verify-full to pgjdbc, which a weaker default of ours would undo.
func TestAVariableThatMayAskForMoreTakesNoDefaultFromPgjdbc(t *testing.T) {
	for _, value := range []string{
		"jdbc:postgresql://h/d?ssl=true", "jdbc:aws-wrapper:postgresql://h/d?ssl=true", "jdbc:postgresql://h/d?channelBinding=require&ssl=true",
		"jdbc:otel:postgresql://h/d?ssl", "database ssl=true;x=false", "jdbc:postgresql://h/d?sslmode=require jdbc:postgresql://g/d?ssl=true",
		"-Xmx1g -Da=" + strings.Repeat("x", 2000) + " -Durl=jdbc:postgresql://h/d?ssl=true -Db=?",
	} {
		h := app{env: env("DATASOURCE_X", value), brings: "java"}.given(t, db("db", "require", oregon))
		assert.Empty(t, driverConfigOf(t, h), value)
	}
	for _, value := range []string{"jdbc:postgresql://h/d", "redis ssl=true", "jdbc:postgresql://h/d?ssl=false"} {
		h := app{env: env("DATASOURCE_X", value), brings: "java"}.given(t, db("db", "require", oregon))
		assert.Equal(t, "sslmode=require\n", driverConfigOf(t, h), value)
	}
}

func TestWordsThatConfigureTheTLSOfPgjdbc(t *testing.T) {
	for _, text := range []string{
		"spring.datasource.url=jdbc:postgresql://h/d?ssl=true", "url: jdbc:postgresql://h/d?user=u&ssl=true&x=1",
		"spring.datasource.hikari.data-source-properties.ssl = true", "  ssl: true\n", `  "ssl": "true"`, "ssl: 'TRUE'",
		`<property name="ssl" value="true"/>`, `<property name="ssl">true</property>`, `<entry key="ssl"><value>true</value></entry>`,
		`<prop key='ssl'>true</prop>`, "<ssl>true</ssl>", "jdbc:postgresql://h/d?a=b&amp;ssl=true", "jdbc:postgresql://h/d?ssl",
		`"jdbc:postgresql://h/d?ssl&a=b"`, "jdbc:postgresql://h/d?ssl=&a=b", "connectionProperties=\"a=b;ssl=true;\"",
		"sslmode=verify-full", "sslMode: VERIFY_FULL", "ssl-mode=require", "ssl_mode: x",
	} {
		assert.True(t, tlsWords().MatchString(text), text)
	}
	for _, text := range []string{
		"", "server.ssl.enabled=true", "server:\n  ssl:\n    enabled: true", "ssl=false", "ssl: false", "nossl=true", "useSSL=false",
		"# about ssl", "spring.kafka.ssl.key-store=a", "ssl.truststore=true", "lib/ssl/true", `<ssl enabled="true"/>`,
	} {
		assert.False(t, tlsWords().MatchString(text), text)
	}
}
