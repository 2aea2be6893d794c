package seen

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// in is an app's folder with these files.
func in(files map[string]string) *Files {
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return New(folder, folder, func(string, string) bool { return false })
}

// all asks for each file.
func all(string, string) bool { return true }

// lines describes each sign in one line.
func lines(signs []Sign) []string {
	list := []string{}
	for _, s := range signs {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", s.Where(), s.Kind, cmp.Or(s.Mode.String(), "none"), s.Variable)))
	}
	return list
}

func TestASignIsReadWithItsMode(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"Strapi's template: mysql is no Postgres": {"config/database.js", `
module.exports = ({ env }) => {
  const client = env.oneOf('DATABASE_CLIENT', ['sqlite', 'mysql', 'postgres'], 'sqlite');
  const connections = {
    mysql: {
      connection: {
        database: env('DATABASE_NAME', 'shop'),
        ssl: env.bool('DATABASE_SSL', false) && {
          rejectUnauthorized: env.bool('DATABASE_SSL_REJECT_UNAUTHORIZED', true),
        },
      },
    },
    postgres: {
      connection: {
        connectionString: env('DATABASE_URL'),
        ssl: env.bool('DATABASE_SSL', false) && {
          ca: env('DATABASE_SSL_CA', undefined),
          rejectUnauthorized: env.bool('DATABASE_SSL_REJECT_UNAUTHORIZED', true),
        },
      },
    },
  };
};`, []string{"config/database.js:16 decides disable DATABASE_SSL"}},
		"a ternary over several lines": {"server/storage/database.ts", `
import { Sequelize } from "sequelize";
const isSSLDisabled = env.PGSSLMODE === "disable";
const options = {
  dialect: "postgres",
  dialectOptions: {
    ssl:
      env.isProduction && !isSSLDisabled
        ? {
            rejectUnauthorized: false,
          }
        : false,
  },
};`, []string{"server/storage/database.ts:3 reads none PGSSLMODE", "server/storage/database.ts:7 decides disable"}},
		"unverified": {"db.js", "const pool = new Pool({\n  connectionString: process.env.DATABASE_URL,\n  ssl: { rejectUnauthorized: false },\n});\n",
			[]string{"db.js:3 decides require"}},
		"unverified, in lines": {"lib/db.js", "const pool = new Pool({\n  connectionString: process.env.DATABASE_URL,\n  ssl: {\n    require: true,\n    rejectUnauthorized: false,  // Set this to true\n  }\n});\n",
			[]string{"lib/db.js:3 decides require"}},
		"verified": {"db.js", "const pool = new Pool({\n  connectionString: process.env.DATABASE_URL,\n  ssl: true, // false for development\n});\n",
			[]string{"db.js:3 decides verify-full"}},
		"what can be switched is not verified": {"db.js", "const pool = new Pool({\n  ssl: process.env.DB_SSL !== 'false' ? { rejectUnauthorized: true } : undefined,\n});\n",
			[]string{"db.js:2 decides none DB_SSL"}},
		"our variable, read otherwise": {"config.js", "export const dbConfig = {\n  connectionString: process.env.DATABASE_URL,\n  ssl: process.env.PGSSLMODE === 'require' ? { rejectUnauthorized: false } : false,\n};\n",
			[]string{"config.js:3 decides disable PGSSLMODE"}},
		"PGSSL": {"src/db/pool.js", "const pool = new Pool({\n  host: process.env.PGHOST,\n  ssl: process.env.PGSSL ? { rejectUnauthorized: false } : undefined\n})\n",
			[]string{"src/db/pool.js:3 decides require PGSSL"}},
		"a comparison that is false unless the variable is set": {"src/db.ts", "export default {\n  type: 'postgres',\n  ssl: process.env.DB_SSL === 'true',\n};\n",
			[]string{"src/db.ts:3 decides disable DB_SSL"}},
		"Laravel before 11": {"config/database.php", "<?php\nreturn [\n  'connections' => [\n    'pgsql' => [\n      'driver' => 'pgsql',\n      'sslmode' => 'prefer',\n    ],\n  ],\n];\n",
			[]string{"config/database.php:6 decides prefer"}},
		"Laravel": {"config/database.php", "<?php\nreturn [\n  'connections' => [\n    'pgsql' => [\n      'sslmode' => env('DB_SSLMODE', 'prefer'),\n    ],\n  ],\n];\n",
			[]string{"config/database.php:5 decides prefer DB_SSLMODE"}},
		"Rails": {"config/database.yml", "default: &default\n  adapter: postgresql\n  sslmode: <%= ENV['DB_SSLMODE'] || \"prefer\" %>\ntest:\n  adapter: postgresql\n  sslmode: disable\n",
			[]string{"config/database.yml:3 decides prefer DB_SSLMODE"}},
		"Stratos, which a launch tells":             {"src/jetstream/datastore/database_cf_config.go", "\tdb.SSLMode = env.String(\"DB_SSL_MODE\", \"disable\")\n\treturn fmt.Errorf(\"DB_SSL_MODE=%q: take disable or require\", db.SSLMode)\n", []string{}},
		"a script that says DB_SSL_MODE after ours": {".profile", "export DB_SSL_MODE=disable\n", []string{".profile:1 undoes none DB_SSL_MODE"}},
		"Rails, with libpq's own variable":          {"config/database.yml", "production:\n  adapter: postgresql\n  sslmode: <%= ENV.fetch('PGSSLMODE', 'prefer') %>\n", []string{}},
		"Django":                                    {"shop/settings.py", "DATABASES = {'default': dj_database_url.config(\n  conn_max_age=600,\n  ssl_require=True)}\nEMAIL_USE_SSL = True\nSECURE_SSL_REDIRECT = True\n", []string{"shop/settings.py:3 decides require"}},
		"Django's OPTIONS": {"shop/settings/production.py", "DATABASES = {\n    'default': {\n        'ENGINE': 'django.db.backends.postgresql',\n        'OPTIONS': {\n            'sslmode': 'verify-full',\n        },\n    }\n}\n",
			[]string{"shop/settings/production.py:5 decides verify-full"}},
		"a list of choices": {"settings.py", "OPTIONS = {\n    'sslmode': config('DB_SSLMODE', default='require',\n        cast=Choices(['disable', 'require'])),\n}\n", []string{"settings.py:2 decides require DB_SSLMODE"}},
		"Grafana":           {"conf/defaults.ini", "[server]\nprotocol = http\n[database]\ntype = sqlite3\n# disable, require or verify-full\nssl_mode = disable\n", []string{"conf/defaults.ini:6 decides disable"}},
		"Gitea":             {"custom/conf/app.ini", "[mailer]\nENABLED = true\n[database]\nDB_TYPE = postgres\nSSL_MODE = disable\n", []string{"custom/conf/app.ini:4 defaults disable", "custom/conf/app.ini:5 decides disable"}},
		"Kong":              {"kong.conf", "pg_host = db.example.com\npg_ssl = off\npg_ssl_verify = off\n", []string{"kong.conf:2 decides disable", "kong.conf:3 decides require"}},
		"Odoo":              {"odoo.conf", "[options]\ndb_sslmode = prefer\n", []string{"odoo.conf:2 decides prefer"}},
		"Mattermost":        {"config/config.json", "{\n  \"SqlSettings\": {\n    \"DriverName\": \"postgres\",\n    \"DataSource\": \"postgres://u:p@h/d?sslmode=disable&connect_timeout=10\"\n  }\n}\n", []string{"config/config.json:4 decides disable"}},
		"n8n":               {"package.json", "{\n  \"dependencies\": {\n    \"n8n\": \"^1.90.0\"\n  }\n}\n", []string{"package.json:3 decides disable n8n"}},
		"Go":                {"main.go", "\tdb, err := sql.Open(\"postgres\", \"host=\"+host+\" sslmode=disable\")\n", []string{"main.go:1 decides disable"}},
		"Spring":            {"BOOT-INF/classes/application.yml", "spring:\n  datasource:\n    url: jdbc:postgresql://h/d?ssl=true&sslmode=require\n  rabbitmq:\n    ssl:\n      enabled: true\n", []string{"BOOT-INF/classes/application.yml:3 decides require"}},
		"pgjdbc's factory":  {"application.properties", "spring.datasource.url=jdbc:postgresql://h/d?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory\n", []string{"application.properties:1 decides require"}},
		".NET":              {"appsettings.json", "{\n  \"ConnectionStrings\": {\n    \"Default\": \"Host=h;Database=d;SSL Mode=Require;Trust Server Certificate=true\"\n  }\n}\n", []string{"appsettings.json:3 decides require"}},
		".env":              {".env", "DATABASE_SSL=false\nREDIS_SSL=true\n", []string{".env:1 decides disable DATABASE_SSL"}},
		"a script after ours": {".profile", "export PGSSLMODE=disable\nexport JAVA_TOOL_OPTIONS=\"$JAVA_TOOL_OPTIONS -Xmx1g\"\nunset PGSSLROOTCERT\nexport NODE_EXTRA_CA_CERTS=/home/vcap/app/ca.pem\n",
			[]string{".profile:1 decides disable PGSSLMODE", ".profile:3 undoes none PGSSLROOTCERT", ".profile:4 undoes none NODE_EXTRA_CA_CERTS"}},
		"php-fpm":                       {".bp-config/php/fpm.d/shop.conf", "[www]\nclear_env = yes\n", []string{".bp-config/php/fpm.d/shop.conf:2 undoes none clear_env"}},
		"SonarQube":                     {"conf/sonar.properties", "#sonar.jdbc.username=\n#sonar.jdbc.url=jdbc:postgresql://localhost/sonarqube\n", []string{"conf/sonar.properties:1 undoes none"}},
		"a pooler":                      {"config/pgbouncer.ini", "[databases]\n* = host=h\n[pgbouncer]\nlisten_port = 6432\n", []string{"config/pgbouncer.ini:1 pools none"}},
		"Node's TLS":                    {"package.json", "{\n  \"scripts\": {\n    \"start\": \"NODE_TLS_REJECT_UNAUTHORIZED=0 node .\"\n  }\n}\n", []string{"package.json:3 decides require NODE_TLS_REJECT_UNAUTHORIZED"}},
		"Elixir":                        {"config/runtime.exs", "config :shop, Shop.Repo,\n  # ssl: true,\n  url: database_url,\n  pool_size: 10\n", []string{}},
		"Elixir that verifies nothing":  {"config/runtime.exs", "config :shop, Shop.Repo,\n  ssl: true,\n  ssl_opts: [verify: :verify_none],\n  url: database_url\n", []string{"config/runtime.exs:2 decides require"}},
		"Elixir that verifies":          {"config/runtime.exs", "config :shop, Shop.Repo,\n  ssl: [cacerts: :public_key.cacerts_get(), verify: :verify_peer],\n  url: database_url\n", []string{"config/runtime.exs:2 decides verify-full"}},
		"the opposite of a variable":    {"config/runtime.exs", "config :shop, Shop.Repo,\n  ssl: not no_tls,\n  url: database_url\n", []string{"config/runtime.exs:2 decides none"}},
		"the opposite of a name":        {"ormconfig.js", "module.exports = {\n  type: 'postgres',\n  ssl: !isLocal,\n};\n", []string{"ormconfig.js:3 decides none"}},
		"a name that says the opposite": {"src/db.ts", "const disableSSL = process.env.PGSSLMODE === 'disable';\n", []string{"src/db.ts:1 reads none PGSSLMODE"}},
		"SQLAlchemy with asyncpg":       {"app/database.py", "engine = create_async_engine(\n    settings.database_url,\n    connect_args={\"ssl\": False},\n)\n", []string{"app/database.py:3 decides disable"}},
		"Python's own context":          {"app/database.py", "context = ssl.create_default_context()\ncontext.verify_mode = ssl.CERT_NONE\n", []string{"app/database.py:2 decides require"}},
		"pgx that verifies nothing":     {"db/pool.go", "\tconfig.ConnConfig.TLSConfig = &tls.Config{InsecureSkipVerify: true}\n", []string{"db/pool.go:1 decides require"}},
		"Go's sslmode from elsewhere":   {"db/open.go", "\tdsn := fmt.Sprintf(\"host=%s sslmode=%s\", c.Host, c.SSLMode)\n\tother := \"postgres://h/d?sslmode=\" + mode\n", []string{"db/open.go:1 decides none", "db/open.go:2 decides none"}},
		"Go's sslmode in an error":      {"db/open.go", "\treturn fmt.Errorf(\"postgres: sslmode=%q is not known\", c.SSLMode)\n", []string{}},
		"Viper":                         {"config/config.go", "\tviper.SetDefault(\"database.sslmode\", \"disable\")\n", []string{"config/config.go:1 decides disable"}},
		"Python's f-string, Ruby's":     {"db/url.py", "url = f\"postgresql://{user}@{host}/d?sslmode={mode}\"\nurl = \"postgres://h/d?sslmode=#{mode}\"\n", []string{"db/url.py:1 decides none", "db/url.py:2 decides none"}},
		"Symfony":                       {"config/packages/doctrine.yaml", "doctrine:\n  dbal:\n    url: '%env(resolve:DATABASE_URL)%'\n    sslmode: '%env(string:DB_SSLMODE)%'\n", []string{"config/packages/doctrine.yaml:4 decides none DB_SSLMODE"}},
		"Quarkus's profiles": {"src/main/resources/application.properties", "%dev.quarkus.datasource.jdbc.url=jdbc:postgresql://h/d?sslmode=disable\n%prod.quarkus.datasource.reactive.postgresql.ssl-mode=prefer\nquarkus.datasource.reactive.trust-all=true\n",
			[]string{"src/main/resources/application.properties:2 decides prefer", "src/main/resources/application.properties:3 decides require"}},
		"Spring's sources":                        {"src/main/resources/application.yml", "spring:\n  datasource:\n    url: jdbc:postgresql://h/d?sslmode=disable\n", []string{"src/main/resources/application.yml:3 decides disable"}},
		"a flag before the rest of a query":       {"db.properties", "url=jdbc:postgresql://h/d?ssl=true&binaryTransfer=false\n", []string{"db.properties:1 decides verify-full"}},
		"a switch in JavaScript without blanks":   {"db.js", "new pg.Pool({ssl:e&&{rejectUnauthorized:!0}})\n", []string{"db.js:1 decides disable"}},
		"a list of choices before the default":    {"app/config.py", "sslmode = Choice(['disable', 'require'], default='require')  # postgres\nsslmode: Literal['disable', 'require'] = 'verify-ca'  # postgres\n", []string{"app/config.py:1 decides require", "app/config.py:2 decides verify-ca"}},
		"types in TypeScript":                     {"src/types/database.ts", "interface Postgres {\n  sslmode: 'disable' | 'require';\n}\nfunction pg(): { rejectUnauthorized: boolean } | false {\n}\nfunction pg2(): { rejectUnauthorized: boolean; cipher?: string } | undefined {\n}\n", []string{}},
		"constants":                               {"storage/sql/config.go", "const (\n\t// postgres SSL modes\n\tpgSSLDisable    = \"disable\"\n\tpgSSLRequire    = \"require\"\n)\n", []string{}},
		"our own variable before others":          {"Procfile", "web: POSTGRES_SSL_MODE=require NODE_TLS_REJECT_UNAUTHORIZED=0 node .\n", []string{"Procfile:1 decides require NODE_TLS_REJECT_UNAUTHORIZED"}},
		"our own variable with a default":         {".env", "DATABASE_URL=postgres://h/d?sslmode=${POSTGRES_SSL_MODE:-disable}\n", []string{".env:1 decides disable POSTGRES_SSL_MODE"}},
		"a constant that Go declares":             {"db/db.go", "package db\n\n// postgres\nfunc f() {\n\tsslRequire := \"require\"\n\tuse(sslRequire)\n}\n", []string{}},
		"a setting is no constant: the last line": {".env", "DB_SSL_REQUIRE=\"require\"\n", []string{".env:1 decides require DB_SSL_REQUIRE"}},
		"… nor one before a comment":              {".env", "DATABASE_URL=postgres://h/d\nDATABASE_SSL_REQUIRE='require'\n\n# redis\nREDIS_URL=x\n", []string{".env:2 decides require DATABASE_SSL_REQUIRE"}},
		"… nor one in the middle":                 {".env", "DB_SSL_REQUIRE=\"require\"\nDB_HOST=h\n", []string{".env:1 decides require DB_SSL_REQUIRE"}},
		"… nor one in small letters":              {"config/database.yml", "production:\n  db_ssl_require: \"require\"\n  host: h\n", []string{"config/database.yml:2 decides require"}},
		"… nor one without quotes":                {"config/database.yml", "production:\n  sslRequire: require\n  host: h\n", []string{"config/database.yml:2 decides require"}},
		"… nor another spelling of the mode":      {"db.js", "new pg.Pool({\n  connectionString: u,\n  sslRequire: 'REQUIRE'\n})\n", []string{"db.js:3 decides require"}},
		"a flag that is no constant":              {"src/db.js", "new pg.Pool({\n  sslRequire: 'require',\n})\n", []string{"src/db.js:2 decides require"}},
		"null behind a switch":                    {"db.js", "new pg.Pool({ ssl: process.env.DB_SSL === 'true' ? true : null })\n", []string{"db.js:1 decides disable DB_SSL"}},
		"pgx":                                     {"db/db.go", "package db\n\nfunc f() {\n\tcfg.ConnConfig.TLSConfig = nil\n}\n", []string{"db/db.go:4 decides disable"}},
		"quotes in a comment":                     {"db.py", "# \"\"\" old\npsycopg2.connect(dsn, sslmode=\"disable\")\n", []string{"db.py:2 decides disable"}},
		"quotes in another language":              {"db.js", "line.split('\"\"\"')\nnew pg.Pool({ ssl: false })\n", []string{"db.js:2 decides disable"}},
		"a long text that is used":                {"db.py", "psycopg2.connect(\"\"\"\n  host=h sslmode=disable\n\"\"\")\n", []string{"db.py:2 decides disable"}},
		"null, which is no TLS":                   {"db.js", "new pg.Pool({\n  ssl: isLocal ? true : null,\n})\n", []string{"db.js:2 decides disable"}},
		"null for something else":                 {"db.js", "new pg.Pool({ ssl: { ca: cert, key: null } })\n", []string{"db.js:1 decides verify-full"}},
		"a tag with help in Go":                   {"db/config.go", "type Postgres struct {\n\tSSLMode string `default:\"verify-full\" help:\"one of disable, require\"`\n}\n", []string{"db/config.go:2 decides verify-full"}},
		"a wrapper of pgjdbc":                     {"application.properties", "url=jdbc:otel:postgresql://h/d?ssl\n", []string{"application.properties:1 decides verify-full"}},
		"a docstring":                             {"config.py", "\"\"\"\nUse postgresql://u:p@h/d?sslmode=disable locally.\n\"\"\"\nPG = \"\"\"postgres://h/d?sslmode=require\"\"\"\n", []string{"config.py:4 decides require"}},
		"Spatie's downloads are no database's":    {"config/media-library.php", "<?php\nreturn [\n  'queue_conversions_after_database_commit' => env('QUEUE_DB_COMMIT', true),\n  'media_downloader_ssl' => env('MEDIA_DOWNLOADER_SSL', true),\n];\n", []string{}},
		"Python's context, verified and then not": {"app/db.py", "import asyncpg\nssl_context = ssl.create_default_context()\nssl_context.verify_mode = ssl.CERT_NONE\n", []string{"app/db.py:3 decides require"}},
		"ssl: true beside what counts":            {"config/database.js", "module.exports = {\n  dialect: 'postgres',\n  ssl: true,\n  dialectOptions: {\n    ssl: { rejectUnauthorized: false },\n  },\n};\n", []string{"config/database.js:5 decides require"}},
		"a tag in Go":                             {"config/config.go", "type Database struct {\n\tSSLMode string `env:\"DB_SSLMODE\" envDefault:\"disable\"`\n}\n", []string{"config/config.go:2 decides disable DB_SSLMODE"}},
		"a tag that reads our variable":           {"config/config.go", "type Postgres struct {\n\tSSLMode string `env:\"DB_SSL_MODE\" env-default:\"disable\"`\n}\n", []string{}},
		"a tag without a default":                 {"config/config.go", "type Postgres struct {\n\tSSLMode string `env:\"X_SSLMODE\"`\n}\n", []string{}},
		"null":                                    {"db.js", "new pg.Pool({\n  ssl: null,\n});\n", []string{"db.js:2 decides disable"}},
		"a field's default in Go":                 {"config/config.go", "func (c *Config) defaults() {\n\tif c.RedisHost == \"\" {\n\t\tc.RedisHost = \"h\"\n\t}\n\tif c.SSLMode == \"\" {\n\t\tc.SSLMode = \"disable\"\n\t}\n}\n", []string{"config/config.go:6 decides disable"}},
		"two negations":                           {"db.js", "new pg.Pool({\n  ssl: !!process.env.DB_SSL,\n});\nnew pg.Pool({ ssl: Boolean(process.env.X_SSL) });\n", []string{"db.js:2 decides disable DB_SSL", "db.js:4 decides disable X_SSL"}},
		"in a list":                               {"config/runtime.exs", "config :shop, Shop.Repo,\n  ssl: System.get_env(\"DATABASE_SSL\") in ~w(true 1)\n", []string{"config/runtime.exs:2 decides disable DATABASE_SSL"}},
		"a name that is not checked":              {"db.js", "new pg.Pool({\n  ssl: {\n    ca,\n    checkServerIdentity: () => undefined,\n  },\n});\n", []string{"db.js:2 decides verify-ca"}},
		"dj-database-url":                         {"settings.py", "A = dj_database_url.config(ssl_require=not DEBUG)\nB = dj_database_url.config(ssl_require=False)\n", []string{"settings.py:1 decides require"}},
		"django-heroku":                           {"shop/settings.py", "import django_heroku\ndjango_heroku.settings(locals())\n", []string{"shop/settings.py:2 decides require django_heroku"}},
		"a type of several":                       {"src/config/database.ts", "interface Postgres {\n  ssl: boolean | {\n    rejectUnauthorized: boolean;\n  };\n}\nconst x = { ssl: Boolean(sslOf(postgres)) };\n", []string{}},
		"a value that only looks like a type":     {"src/db.py", "connect(pg, ssl=bool(os.environ.get('X_SSL')))\n", []string{"src/db.py:1 decides none X_SSL"}},
		"TypeORM's file":                          {"ormconfig.js", "const production =\n  isProduction\n    ? { ssl: { rejectUnauthorized: false } }\n    : {};\n", []string{"ormconfig.js:3 decides require"}},
		"Nest's schema of its variables":          {"src/config/env.schema.ts", "export default Joi.object({\n  DATABASE_URL: Joi.string(),\n  DATABASE_SSL: Joi.boolean().default(false),\n});\n", []string{"src/config/env.schema.ts:3 decides disable DATABASE_SSL"}},
		"a schema in YAML":                        {"config/database.schema.yml", "sslmode:\n  default: disable\n", []string{}},
		"a flag that requires it":                 {".env", "DATABASE_SSL_REQUIRE=false\nDB_SSL_REQUIRE=False\n", []string{".env:1 decides disable DATABASE_SSL_REQUIRE", ".env:2 decides disable DB_SSL_REQUIRE"}},
		"a flag that is on":                       {".env", "DATABASE_SSL_REQUIRE=true\n", []string{".env:1 decides require DATABASE_SSL_REQUIRE"}},
		"Pydantic's flags":                        {"app/config.py", "class Settings(BaseSettings):\n    database_url: str\n    database_ssl_require: bool = False\n    DB_SSL_REQUIRE: bool = True\nclass Postgres:\n    ssl_require: bool = False\n", []string{"app/config.py:3 decides disable", "app/config.py:4 decides require DB_SSL_REQUIRE", "app/config.py:6 decides disable"}},
		"dj-database-url's argument, by DEBUG":    {"settings.py", "A = dj_database_url.config(ssl_require=False if DEBUG else True)\n", []string{"settings.py:1 decides require"}},
		"a folder for downloads beside the flag":  {"app/config.py", "class Settings(BaseSettings):\n    DB_SSL: bool = False\n    DOWNLOAD_DIR: str = \"/tmp\"\n    DB_HOST: str\n", []string{"app/config.py:2 decides disable DB_SSL"}},
		"another check of TLS beside the flag":    {"app/config.py", "class Settings(BaseSettings):\n    DB_SSL: bool = False\n    VERIFY_SSL: bool = True\n    DB_HOST: str\n", []string{"app/config.py:2 decides disable DB_SSL"}},
		"a timeout of downloads":                  {"config/index.js", "module.exports = {\n  database: {\n    ssl: { rejectUnauthorized: false },\n    downloadTimeout: 5,\n    client: 'pg',\n  },\n};\n", []string{"config/index.js:3 decides require"}},
		"a database's verify_ssl":                 {"app/config.py", "DB_VERIFY_SSL = False\nVERIFY_SSL = False  # postgres\napi.verify_ssl = False  # postgres\n", []string{"app/config.py:1 decides disable DB_VERIFY_SSL"}},
		"a schema":                                {"config/config.schema.json", "{\"examples\": [\"postgres://u:p@h/d?sslmode=disable\"]}\n", []string{}},
		"a text for people":                       {"db/open.go", "\treturn errors.New(\"use postgres://u@h/d?sslmode=verify-full\")\n", []string{}},
		"Vercel's":                                {"env/index.ts", "export default { POSTGRES_URL_NO_SSL: process.env.POSTGRES_URL_NO_SSL }\n", []string{}},
		"the opposite":                            {"db.js", "new pg.Pool({ noSsl: true })\n", []string{}},
		"HikariCP":                                {"src/db/Pool.java", "config.addDataSourceProperty(\"ssl\", \"false\"); // postgres\n", []string{"src/db/Pool.java:1 decides disable"}},
		"Vert.x":                                  {"src/db/Pool.java", "new PgConnectOptions()\n  .setSslMode(SslMode.VERIFY_CA);\n", []string{"src/db/Pool.java:2 decides verify-ca"}},
		"Rails's fetch is no request":             {"config/database.yml", "production:\n  sslmode: <%= ENV.fetch('DB_SSLMODE') { 'prefer' } %>\n", []string{"config/database.yml:2 decides prefer DB_SSLMODE"}},
		"each environment on its line":            {"src/db/config.js", "const options = {\n  development: { dialectOptions: { ssl: false } },\n  production: { dialectOptions: { ssl: { rejectUnauthorized: false } } },\n};\n", []string{"src/db/config.js:3 decides require"}},
		"a CA's variable decides nothing":         {"ormconfig.ts", "export default {\n  type: 'postgres',\n  ssl: isProduction ? { rejectUnauthorized: true, ca: process.env.CA_CERT } : false\n};\n", []string{"ormconfig.ts:3 decides disable"}},
		"ssl from another file": {"src/db.ts", "export const pool = new Pool({\n  connectionString: process.env.DATABASE_URL,\n  ssl: sslConfig,\n});\nnew Client({ user: 'u', ssl: config.db.ssl })\nconst ssl = sslFor(process.env.NODE_ENV);\n",
			[]string{"src/db.ts:3 decides none", "src/db.ts:5 decides none", "src/db.ts:6 decides none"}},
		"ssl that is not set": {"src/db.ts", "new Pool({\n  connectionString: process.env.DATABASE_URL,\n  ssl: undefined,\n});\n", []string{}},
		"what only asks": {"app/database.py", "if \"sslmode=require\" in url:\n    pass\nif 'sslmode' not in url: url += '?sslmode=disable'\nurl = url.replace('sslmode=require', 'ssl=require')\n",
			[]string{"app/database.py:3 decides disable"}},
		"what a text is replaced by":    {"config/database.js", "pg(url.replace('sslmode=verify-full', 'sslmode=no-verify'))\n", []string{"config/database.js:1 decides require"}},
		"what stands behind a question": {"config/database.js", "pg({ ssl: /sslmode=disable/.test(url) ? false : { rejectUnauthorized: false } })\n", []string{"config/database.js:1 decides disable"}},
		"what stands behind a log":      {"config/database.js", "console.log('pg ssl'); module.exports = new pg.Pool({ ssl: false })\n", []string{"config/database.js:1 decides disable"}},
		"what stands behind a message":  {"config/database.js", "pool.on('x', logError(1)); module.exports = new pg.Pool({ ssl: false })\n", []string{"config/database.js:1 decides disable"}},
		"a constant in Java":            {"src/Database.java", "props.put(SSL_MODE, \"disable\"); // postgres\n", []string{"src/Database.java:1 decides disable"}},
		"what only asks, in JavaScript": {"src/db.js", "if (url.includes('sslmode=disable') || /sslmode=disable/.test(url)) {\n  pg();\n}\n", []string{}},
		"what only asks, in Go":         {"db/open.go", "\tif strings.Contains(dsn, \"sslmode=disable\") {\n\t\tlog.Println(\"postgres: sslmode=disable\")\n", []string{}},
		"what is only said":             {"src/db.js", "console.log(process.env.PGSSLMODE, process.env.VCAP_SERVICES)\nthrow new Error('pg: set ssl: true')\n", []string{}},
		"sqlx": {"src/db.rs", "let options = PgConnectOptions::new()\n    .host(host)\n    .ssl_mode(PgSslMode::Require);\nlet other = PgSslMode::Prefer;\nuse sqlx::postgres::{PgSslMode, PgPool};\n",
			[]string{"src/db.rs:3 decides require", "src/db.rs:4 decides prefer"}},
		"Python's context":             {"app/db.py", "pg8000.connect(host, ssl_context=ssl.create_default_context())\n", []string{"app/db.py:1 decides verify-full"}},
		"Python's context, unverified": {"app/db.py", "pg8000.connect(host, ssl_context=ssl._create_unverified_context())\n", []string{"app/db.py:1 decides require"}},
		"Elixir, TLS":                  {"config/runtime.exs", "config :shop, Shop.Repo,\n  ssl: true,\n  url: database_url\n", []string{"config/runtime.exs:2 decides verify-full"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, lines(in(map[string]string{c.file: c.text}).Signs()))
		})
	}
}

func TestAnOlderPostgrexVerifiesNothingWithSSLTrue(t *testing.T) {
	for value, want := range map[string]string{
		"true": "require", "false": "disable", "[verify: :verify_peer]": "verify-full", "true,\n  ssl_opts: [verify: :verify_peer]": "verify-full",
	} {
		files := in(map[string]string{"config/runtime.exs": "config :shop, Shop.Repo,\n  ssl: " + value + ",\n  url: database_url\n"})
		files.OldPostgrex = true
		assert.Equal(t, []string{"config/runtime.exs:2 decides " + want}, lines(files.Signs()), value)
	}
}

// The tunnel's CA is not in the app's own file, so what verifies by that one must be seen.
func TestAnotherLineOfTheFileOnlyHidesWhatNamesNoCAAndNoMode(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"Rails": {"config/database.yml", "staging:\n  adapter: postgresql\n  sslmode: require\nproduction:\n  adapter: postgresql\n  sslmode: verify-full\n  sslrootcert: config/rds.pem\n",
			[]string{"config/database.yml:3 decides require", "config/database.yml:6 decides verify-full"}},
		"two pools": {"src/db.js", "const a = new pg.Pool({ ssl: { ca: readFileSync('ca.pem'), rejectUnauthorized: true } })\nconst b = new pg.Pool({ ssl: { rejectUnauthorized: false } })\n",
			[]string{"src/db.js:1 decides verify-full", "src/db.js:2 decides require"}},
		"two objects for pools": {"src/db.js", "const tlsA = { // pg\n  rejectUnauthorized: true,\n  ca: readFileSync('ca.pem'),\n};\nconst b = new pg.Pool({ ssl: { rejectUnauthorized: false } })\n",
			[]string{"src/db.js:2 decides verify-full", "src/db.js:5 decides require"}},
		"Sequelize": {"config/config.json", "{\n  \"staging\": {\n    \"dialect\": \"postgres\",\n    \"dialectOptions\": {\n      \"ssl\": { \"rejectUnauthorized\": false }\n    }\n  },\n" +
			"  \"production\": {\n    \"dialect\": \"postgres\",\n    \"dialectOptions\": {\n      \"ssl\": { \"ca\": \"…\" , \"rejectUnauthorized\": true }\n    }\n  }\n}\n",
			[]string{"config/config.json:5 decides require", "config/config.json:11 decides verify-full"}},
		"Spring": {"application.yml", "url: jdbc:postgresql://h/d?sslmode=require\n---\nurl: jdbc:postgresql://h/d?ssl=true&sslrootcert=/home/vcap/app/rds.pem\n",
			[]string{"application.yml:1 decides require", "application.yml:3 decides verify-full"}},
		"Python": {"db.py", "ssl_context = ssl.create_default_context(cadata=rds)  # asyncpg\nother.verify_mode = ssl.CERT_NONE  # asyncpg\n",
			[]string{"db.py:1 decides verify-full", "db.py:2 decides require"}},
		"control: Sequelize's own ssl": {"config/database.js", "module.exports = {\n  dialect: 'postgres',\n  ssl: true,\n  dialectOptions: {\n    ssl: {\n      rejectUnauthorized: false,\n    },\n  },\n};\n",
			[]string{"config/database.js:5 decides require"}},
		"control: Python's context": {"db.py", "ssl_context = ssl.create_default_context()  # asyncpg\nssl_context.verify_mode = ssl.CERT_NONE  # asyncpg\n",
			[]string{"db.py:2 decides require"}},
	} {
		assert.Equal(t, c.want, lines(in(map[string]string{c.file: c.text}).Signs()), name)
	}
}

func TestAnOwnBundleOfRDSsCAsHasAnEnd(t *testing.T) {
	ca, err := os.ReadFile("../../ca/aws.pem")
	require.NoError(t, err)
	for _, name := range []string{"global-bundle.pem", "certs/rds-combined-ca-bundle.pem", "config/us-west-2-bundle.pem"} {
		signs := in(map[string]string{name: string(ca)}).Signs()
		require.Len(t, signs, 1, name)
		assert.Equal(t, Bundles, signs[0].Kind)
		assert.Equal(t, 2125, signs[0].Until.Year())
	}
	assert.Empty(t, in(map[string]string{"config/server.pem": string(ca)}).Signs())
}

func TestWhatIsAboutSomethingElseIsNoSign(t *testing.T) {
	pool := "const { Pool } = require('pg');\nconst pool = new Pool({ connectionString: process.env.DATABASE_URL });\n"
	for name, files := range map[string]map[string]string{
		"Express with redis over TLS": {"server.js": pool + "const client = createClient({\n  url: process.env.REDIS_URL,\n  socket: {\n    tls: true,\n    rejectUnauthorized: false,\n  },\n});\nconst bull = new Redis({ host: h, ssl: true });\n"},
		"Express with mail over TLS":  {"index.js": pool + "const mailer = nodemailer.createTransport({\n  host: process.env.SMTP_HOST,\n  secure: false,\n  tls: { rejectUnauthorized: false },\n});\n"},
		"Express that serves https":   {"app.js": pool + "const ssl = { key: readFileSync('key.pem') };\nhttps.createServer(ssl, app).listen(8443);\n"},
		"Spring with rabbit and redis": {"BOOT-INF/classes/application.yml": "spring:\n  datasource:\n    url: jdbc:postgresql://${vcap.services.db.credentials.hostname}/d\n" +
			"  rabbitmq:\n    ssl:\n      enabled: true\n  data:\n    redis:\n      ssl: true\nserver:\n  ssl:\n    enabled: true\n"},
		"Spring's properties": {"BOOT-INF/classes/application.properties": "spring.datasource.url=jdbc:postgresql://h/d\nspring.redis.ssl=true\nspring.rabbitmq.ssl.enabled=true\nserver.ssl.enabled=true\n" +
			"spring.kafka.ssl=true\nspring.ldap.urls=ldaps://h?ssl=true\nspring.mail.properties.mail.smtp.ssl=true\n"},
		"Django with mail over TLS": {"shop/settings.py": "DATABASES = {'default': dj_database_url.config(conn_max_age=600)}\nEMAIL_USE_SSL = True\nSECURE_SSL_REDIRECT = True\nSESSION_COOKIE_SECURE = True\n" +
			"CACHES = {\n    'default': {\n        'LOCATION': os.environ['REDIS_URL'],\n        'OPTIONS': {'ssl': True},\n    }\n}\n"},
		"Rails that asks browsers for https": {"config/environments/production.rb": "Rails.application.configure do\n  config.force_ssl = true\n  config.assume_ssl = true\n  # config.database sslmode: disable\nend\n",
			"config/database.yml": "production:\n  adapter: postgresql\n  url: <%= ENV['DATABASE_URL'] %>\ntest:\n  adapter: postgresql\n  sslmode: disable\n"},
		"a monorepo with docs that quote it": {"docs/database.md": "postgres://u:p@h/d?sslmode=disable\n", "docs/config/database.js": "module.exports = { client: 'pg', ssl: false };\n",
			"examples/config/db.js": "new Pool({ ssl: false })\n", "packages/api/test/db.js": "new Pool({ ssl: false })\n", "packages/api/db.test.ts": "new Pool({ ssl: false })\n", "README.md": "sslmode=disable\n"},
		"variables of other services": {".env": "REDIS_SSL=true\nKAFKA_SSL=false\nMYSQL_SSL_MODE=DISABLED\nSMTP_SSL=false\nLDAP_URL=ldap://h?ssl=false\nDATABASE_URL=postgres://h/d\n",
			".env.example": "DATABASE_SSL=false\n", "docker-compose.yml": "services:\n  db:\n    environment:\n      POSTGRES_SSLMODE: disable\n"},
		"a Mongo app":         {"config/db.js": "module.exports = mongoose.connect(url, {\n  ssl: false,\n});\n"},
		"MySQL":               {"src/config/index.js": "module.exports = {\n  database: process.env.DATABASE_NAME,\n  dialect: 'mysql',\n  dialectOptions: {\n    ssl: { rejectUnauthorized: false }\n  }\n}\n"},
		"TypeScript's types":  {"src/config/types.ts": "export interface DatabaseConfig {\n  ssl: boolean;\n  sslmode?: string;\n  dialectOptions?: {\n    ssl?: { rejectUnauthorized?: boolean };\n  };\n}\n"},
		"Go's structs":        {"config/database.go": "type Config struct {\n\tSSLMode string `json:\"sslmode\"`\n}\n\nfunc sslMode() string {\n\treturn \"\"\n}\n"},
		"comments":            {"config/database.js": "// ssl: false,\n/* sslmode: disable */\n *  sslmode=disable\nmodule.exports = { client: 'pg' } // ssl: false\n"},
		"other people's code": {"node_modules/pg/lib/defaults.js": "ssl: false,\n", "vendor/bundle/ruby/database.yml": "sslmode: disable\n"},
	} {
		t.Run(name, func(t *testing.T) { assert.Empty(t, lines(in(files).Signs())) })
	}
}

func TestSmallFilesCountToo(t *testing.T) {
	files := map[string]string{"z/config.js": "new Pool({ connection: 'postgres', ssl: false })"}
	for i := range mostInAll / leastOfFile {
		files[fmt.Sprintf("a%d/%04d.conf.js", i/5000, i)] = "x"
	}
	app := in(files)
	assert.Empty(t, lines(app.Signs()))
	assert.Equal(t, []Skipped{{"z/config.js", "enough has been read; the rest is not", true}}, app.Skipped)

	delete(files, "a0/0000.conf.js")
	assert.Equal(t, []string{"z/config.js:1 decides disable"}, lines(in(files).Signs()), "the control")
}
