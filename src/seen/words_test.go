package seen

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// of returns the signs of a file, each without its place: "decides disable".
func of(file, text string) (list []string) {
	for _, line := range lines(in(map[string]string{file: text}).Signs()) {
		_, line, _ = strings.Cut(line, " ")
		list = append(list, line)
	}
	return list
}

func TestFoldersAndFilesThatSayNothingAboutTheAppThatRuns(t *testing.T) {
	for _, name := range strings.Fields("node_modules bower_components vendor site-packages __pycache__ venv test tests testutil " +
		"testutils spec specs fixtures mock mocks e2e __tests__ api-test api_specs cypress coverage testdata doc docs documentation " +
		"example examples sample samples demo demos tutorial tutorials public static assets locale locales i18n log logs tmp docker " +
		"k8s kubernetes helm charts terraform ansible") {
		assert.Empty(t, of(name+"/db.js", pool), name)
	}
	for _, name := range strings.Fields("db.example.js db.sample.js db.template.js db.schema.json db.schema.yml db.schema.yaml " +
		".env.dist db.test.js db-tests.js db_spec.rb db.dev.js db.development.js local.js db.min.js db.d.ts .env.test .env.dev " +
		".env.local db-lock.json compose.yml manifest.yml tsconfig.json .gitlab-ci.yml Jenkinsfile.yml migrate.js server.pem server.crt") {
		assert.Empty(t, of(name, pool), name)
	}
	for _, name := range strings.Fields("latest/db.js contest/db.js logic/db.js devices.js unlocal.js .env .env.production rapid.ts") {
		assert.Len(t, of(name, pool), 1, "the control: %s", name)
	}
	for _, name := range strings.Fields("my-config settings Database db_x dbx my.env knexfile orm drizzle prisma datasource data-source " +
		"sequelize postgres pgx pool sqlx store persistence connection credentials main app server index package boot-inf/classes/x " +
		"WEB-INF/classes/x META-INF/x src/main/resources/x") {
		assert.Len(t, of("lib/"+name+".properties", pool), 1, name)
	}
	for _, ext := range strings.Fields("js mjs cjs ts mts cts py rb properties xml java kt go ex exs cs php rs json yml yaml toml ini conf cfg env sh YML") {
		assert.Len(t, of("db."+ext, pool), 1, ext)
	}
	for _, name := range strings.Fields("lib/view.properties lib/main/x.properties db.md db.txt") {
		assert.Empty(t, of(name, pool), "the control: %s", name)
	}
	assert.Equal(t, []string{"bundles none"}, of("global-bundle.crt", ""))
	assert.Equal(t, []string{"undoes none"}, of("sonar/conf/sonar.properties", "x"))
	assert.Equal(t, []string{"defaults disable"}, of("app.ini", "DB_TYPE = postgres"))
	for _, name := range strings.Fields("pgbouncer.ini pgcat.toml odyssey.conf config/pgbouncer.ini") {
		assert.Equal(t, []string{"pools none"}, of(name, "x"), name)
	}
}

func TestWhatALineIsAbout(t *testing.T) {
	for _, word := range strings.Fields("redis kafka rabbit amqp mail smtp ldap mongo mysql my_sql maria mssql sqlserver sqlite oracle " +
		"elastic opensearch cassandra memcache mqtt nats solr consul vault eureka zookeeper http https server: server= 'server': server. " +
		"createServer tomcat axios fetch( transport minio cookie force_ssl redirect keystore ftp sftp influx neo4j couch clickhouse proxy socket") {
		assert.False(t, IsAboutADatabase(word+" database"), word)
		assert.False(t, IsAboutADatabase("database "+word), word)
		assert.True(t, IsAboutADatabase("postgres "+word), word)
	}
	for _, word := range []string{"postgres", "PgSQL", "pg", "pg_x", "pg-x", "x_pg", "x-pg", "PGSSLMODE", "PGHOST", "psycopg2", "asyncpg", "Npgsql",
		"dj_database_url", `SSLMode = "`, `SSLMode := "`, "SSLMode=`"} {
		assert.True(t, IsAboutADatabase(word+" redis"), word)
	}
	for _, word := range strings.Fields("database datasource data-source jdbc sequelize typeorm knex drizzle prisma hikari r2dbc " +
		"sqlalchemy dialect ormconfig mikroorm mikro-orm config/config.js models/index connectionString db db_x x_db Pool(") {
		assert.True(t, IsAboutADatabase(word), word)
	}
	for _, word := range []string{"the server", "env.fetch('x')", "swift"} {
		assert.True(t, IsAboutADatabase("database "+word), "the control: %s", word)
	}
	for _, word := range []string{"x/config/config.js", "spool", "dbx"} {
		assert.False(t, IsAboutADatabase(word), "the control: %s", word)
	}
	for _, here := range []string{"test = ", "development: ", "'dev' => ", "local: ", "%dev."} {
		assert.Empty(t, of("db.js", here+pool), here)
	}
	assert.Len(t, of("db.js", "production: "+pool), 1, "the control")
}

func TestEachOfOurVariablesMayBeUndoneByAScript(t *testing.T) {
	for _, name := range strings.Fields("PGSSL PGSSLROOTCERT PGSSLCERT PGSSLKEY NODE_EXTRA_CA_CERTS SSL_CERT_DIR SSL_CERT_FILE DB_SSL_MODE " +
		"ERL_AFLAGS JAVA_TOOL_OPTIONS") {
		want := []string{"undoes none " + name}
		for _, text := range []string{"export " + name + "=x", name + "=x", "true;" + name + "=x", "unset X " + name, "exec env -u " + name + " node ."} {
			assert.Equal(t, want, of(".profile", text), text)
		}
	}
	assert.Equal(t, []string{"undoes none PGSSLMODE"}, of("start.sh", "unset PGSSLMODE"))
	assert.Empty(t, of("start.sh", "unset X; echo PGSSLROOTCERT"), "the control")
	for _, value := range strings.Fields("yes on true 1") {
		assert.Equal(t, []string{"undoes none clear_env"}, of(".bp-config/php/x.conf", "clear_env = "+value), value)
	}
	assert.Empty(t, of(".bp-config/php/x.conf", "clear_env = no"), "the control")
}

func TestCodeOfEachLanguageReadsOurVariable(t *testing.T) {
	for _, ext := range strings.Fields("js mjs cjs ts mts cts py rb properties xml java kt go ex exs cs php rs") {
		assert.Equal(t, []string{"reads none PGSSLMODE"}, of("app."+ext, `x = getenv("PGSSLMODE")`), ext)
	}
	for _, code := range []string{"process.env.PGSSL", "os.environ['PGSSL']", `System.getenv("PGSSL")`} {
		assert.Equal(t, []string{"reads none PGSSL"}, of("app.js", "x = "+code), code)
	}
	assert.Empty(t, of("app.sh", `x = getenv("PGSSLMODE")`), "the control")
}

func TestWhatOnlyADirectConnectionCanDo(t *testing.T) {
	for _, text := range []string{"rds-signer", "generate_db_auth_token", "getAuthToken", "aws-advanced", "aws_advanced", "aws-wrapper",
		"channel_binding=require", "channelBinding=require", "'channel_binding': 'require'", "'channel_binding' => 'require'", "require_auth=x", "requireAuth: x",
		"'require_auth' = x", "target_session_attrs=any", "targetSessionAttrs=any", "'target_session_attrs': x", "target_sessionattrs=any"} {
		signs := of("db.ini", text)
		assert.Len(t, signs, 1, text)
		assert.Contains(t, strings.Join(signs, "\n"), "direct none ", text)
	}
	assert.Empty(t, of("db.ini", "channel_binding=prefer"), "the control")
}

func TestWhatVerifiesNothing(t *testing.T) {
	for _, text := range []string{"sslfactory=NonValidatingFactory", "Trust Server Certificate=true", "TrustServerCertificate=True",
		"'TrustServerCertificate': true", "x = CERT_NONE", "x: :verify_none", "InsecureSkipVerify: true", "InsecureSkipVerify = true",
		"ssl._create_unverified_context()", "trust-all=true"} {
		assert.Equal(t, []string{"decides require"}, of("db.x.ini", text), text)
		mode, ok := ofFlag("ssl", "{ "+text+" }")
		assert.Equal(t, "require true", mode.String()+map[bool]string{true: " true"}[ok], text)
	}
	for _, name := range []string{"unleash-server", "@cap-js/postgres"} {
		assert.Equal(t, []string{"decides require " + name}, of("package.json", `"`+name+`": "1"`), name)
		assert.Equal(t, []string{"decides require " + name}, of("db/package.json", `"`+name+`": "1"`), name)
	}
}

func TestWhatAFlagSays(t *testing.T) {
	for value, want := range map[string]sslmode.Mode{
		"false": sslmode.Disable, "'disable'": sslmode.Disable, "'disabled'": sslmode.Disable, "off": sslmode.Disable, "no": sslmode.Disable,
		"0": sslmode.Disable, "'0'": sslmode.Disable, "null": sslmode.Disable, "!1": sslmode.Disable, "x in ['1']": sslmode.Disable,
		"'allow'": sslmode.Prefer, "'prefer'": sslmode.Prefer, "'require'": sslmode.Require, "`require`": sslmode.Require,
		"true": sslmode.VerifyFull, "on": sslmode.VerifyFull, "yes": sslmode.VerifyFull, "1": sslmode.VerifyFull, "'1'": sslmode.VerifyFull,
		"!0": sslmode.VerifyFull, "'verify-full'": sslmode.VerifyFull, "'verify_ca'": sslmode.VerifyFull, "verifyfull": sslmode.VerifyFull,
		"True if PROD": sslmode.None, "PROD or True": sslmode.None, "PROD and True": sslmode.None, "PROD || true": sslmode.None,
		"prod ? true : undefined": sslmode.None, "await sslOf(x)": sslmode.None, "SSL_OPTIONS": sslmode.None,
		"process.env.X == 'true'": sslmode.Disable, "process.env.X === yes": sslmode.Disable, "{ ca: x !== y }": sslmode.None,
		"sslConfig,\n  x: 1": sslmode.None, "verifyca": sslmode.VerifyFull,
	} {
		mode, ok := ofFlag("ssl", value)
		assert.True(t, ok, value)
		assert.Equal(t, want, mode, value)
	}
	mode, _ := ofFlag("", "rejectUnauthorized: true, x: a && b")
	assert.Equal(t, sslmode.None, mode, "something switches it")
	for _, value := range strings.Fields("bool boolean str string any object undefined none nil number unknown optional") {
		_, ok := ofFlag("ssl", value)
		assert.False(t, ok, "%s is a type", value)
	}
	for _, text := range []string{"'ssl' => false", "'ssl' => 0", "ssl := false", "spring.datasource.ssl-enable=false", "db.ssl_enabled: false", "sslRequired: false",
		"sslConfig: false", "sslOption: false", "ssl_options=false", "'ssl_context': False", "<x name=\"ssl\" value=\"false\"/>", "<ssl>false</ssl>"} {
		assert.Len(t, of("db.xml", "// \n"+"postgres; "+text), 1, text)
	}
	assert.Empty(t, of("db.xml", "postgres; openssl: false"), "the control")
	for _, query := range []string{"?ssl", "?ssl=", "?ssl&x=y", "?x=y&ssl"} {
		assert.Equal(t, []string{"decides verify-full"}, of("db.ini", "url = jdbc:postgresql://h/d"+query), query)
	}
	for word, want := range map[string]sslmode.Mode{"allow": sslmode.Allow, "verifyca": sslmode.VerifyCA, "VerifyFull": sslmode.VerifyFull} {
		mode, _ := ofMode("sslmode", word)
		assert.Equal(t, want, mode, word)
	}
	assert.Equal(t, []string{"decides disable"}, of("db.go", `sslmode := "disable" + postgres`))
	assert.Equal(t, []string{"decides none"}, of("db.php", `'sslmode' => $mode, 'pgsql'`))
	for _, word := range strings.Fields("choices cast oneof enum") {
		mode, _ := ofMode("sslmode", "'require', "+word+"=['disable']")
		assert.Equal(t, sslmode.Require, mode, word)
	}
	for _, word := range strings.Fields("cafile capath cadata ca cert root verify") {
		both := "pg({ ssl: true, " + word + ": x })\npg({ ssl: { rejectUnauthorized: false } })\n"
		assert.Len(t, of("db.js", both), 2, "what names %s is not hidden", word)
	}
}

func TestWhatIsOnlyAskedOrSaid(t *testing.T) {
	for _, text := range []string{"contains('sslmode=disable')", "includes('sslmode=disable')", "indexOf('sslmode=disable')", "index_of('sslmode=disable')",
		"match('sslmode=disable')", "startsWith('sslmode=disable')", "starts_with('sslmode=disable')", "console.log('sslmode=disable')",
		"log.info('sslmode=disable')", "logger.info('sslmode=disable')", "logging.info('sslmode=disable')", "print('sslmode=disable')",
		"panic('sslmode=disable')", "new Error('sslmode=disable')", "errors.New('sslmode=disable')", "option(help='or sslmode=disable')",
		"raise Wrong, 'sslmode=disable'", "throw 'sslmode=disable'"} {
		assert.Empty(t, of("postgres.js", text), text)
		assert.Len(t, of("postgres.js", strings.NewReplacer("(", "", "help=", "", "raise", "", "throw", "").Replace(text)), 1, "the control: %s", text)
	}
	assert.Equal(t, []string{"decides require"}, of("postgres.js", "url.replace('sslmode=disable', 'sslmode=require')"))
}

func TestTheModulesOfAppsWithADefault(t *testing.T) {
	for module, want := range map[string]int{"code.gitea.io/gitea": 1, "code.gitea.io/gitea/v2": 1, "code.gitea.io/gitea-x": 0, "example.com/x": 0} {
		f := in(nil)
		f.Module("go.mod", module)
		assert.Len(t, f.Signs(), want, module)
	}
	f := in(map[string]string{"db.js": pool})
	f.closely = 0
	assert.Empty(t, f.Signs())
	assert.Len(t, f.Skipped, 1, "nothing more may be looked at")
}
