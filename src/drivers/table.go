package drivers

import (
	"fmt"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Driver is a Postgres driver: where to look for it, and what it does with what a launch tells it.
type Driver struct {
	Name      string
	Ecosystem Ecosystem
	Packages  []string // its names in the ecosystem's files
	Below     string   // only versions below this one; the row without it has the other versions
	Answer    Answer
	Variable  string         // the variable that tells it the mode
	URI       URIAnswer      // what it does with an sslmode in its connection URI
	Does      string         // what it does if it does not obey: "connects in plain text"
	Mend      string         // what to change in the app; MODE stands for the mode in force
	Unknown   []sslmode.Mode // modes that it does not know, and refuses
	Version   string         // the version that was measured
	Outcomes  string         // six letters, as docs/drivers.md explains them; "" if we only read its source
	Clients   []string       // its names in src/integration, which measures it in each run
	Tried     string         // the version with which Mend was tested, with T x x x; "" if we did not test it
}

// Ecosystem is where a package's name comes from.
type Ecosystem string

const (
	npm      Ecosystem = "npm"
	deno     Ecosystem = "Deno"
	pypi     Ecosystem = "PyPI"
	rubygems Ecosystem = "RubyGems"
	golang   Ecosystem = "Go"
	crates   Ecosystem = "crates.io"
	hex      Ecosystem = "Hex"
	nuget    Ecosystem = "NuGet"
	maven    Ecosystem = "Maven"
	debian   Ecosystem = "Debian"
	composer Ecosystem = "Composer"
	prisma   Ecosystem = "Prisma"
)

// Answer is what a driver does when a launch tells it the mode.
type Answer int

const (
	Obeys       Answer = iota
	ObeysItsURL        // unless its own URL, properties or data source say otherwise
	ChecksName         // and checks the name in verify-ca too
	Verifies           // verifies certificate and name in every mode from require up
	Untold             // cannot be told, and does less
	Misreads           // misreads what it is told, and does not connect
)

func (a Answer) String() string {
	return [...]string{"obeys", "obeys, unless its URL says otherwise", "obeys, and checks the name in `verify-ca` too",
		"verifies in every mode", "cannot be told", "does not connect"}[a]
}

// CanBeTold says whether anything in the environment makes the driver obey the mode.
func (a Answer) CanBeTold() bool { return a < Untold }

// URIAnswer is what a driver does with a connection URI that says an sslmode.
type URIAnswer int

const (
	Ignored     URIAnswer = iota // or it takes no URI like a binding's
	Believed                     // it does what the URI says
	Verified                     // it verifies in every mode from require up
	OnlyRequire                  // it verifies with require, and refuses the stricter modes
)

const (
	inPlainText   = "connects in plain text"
	opportunistic = "verifies nothing, and connects in plain text to a server without TLS"
)

// prismaAdapter lets Prisma connect by node-postgres.
const prismaAdapter = "@prisma/adapter-pg"

func likeLibpq(name string, e Ecosystem, packages []string, version string, clients ...string) Driver {
	return Driver{Name: name, Ecosystem: e, Packages: packages, Answer: Obeys, Variable: "PGSSLMODE", URI: Believed,
		Version: version, Outcomes: "TxxxTT", Clients: clients}
}

// Table is what we know about each driver, for people, and for docs/drivers.md.
var Table = []Driver{
	{Name: "node-postgres", Ecosystem: npm, Packages: []string{"pg", prismaAdapter}, Answer: Verifies, Variable: "PGSSLMODE", URI: Verified,
		Version: "8", Outcomes: "TxxxxT", Clients: []string{"node-postgres 8"}},
	{Name: "pg-native", Ecosystem: npm, Packages: []string{"pg-native"}, Answer: Misreads, Variable: "PGSSLMODE", URI: Verified,
		Does: "gets sslmode=true from node-postgres, whatever PGSSLMODE says, and libpq refuses that",
		Mend: "Put ?sslmode=MODE into its URI", Version: "3", Outcomes: "xxxxxx", Tried: "3.9"},
	{Name: "postgres.js", Ecosystem: npm, Packages: []string{"postgres"}, Answer: ChecksName, Variable: "PGSSL", URI: Believed,
		Version: "3.4", Outcomes: "TxxxxT", Clients: []string{"postgres.js 3", "drizzle on postgres.js"}},
	{Name: "slonik", Ecosystem: npm, Packages: []string{"slonik"}, Answer: Untold, URI: OnlyRequire, Does: inPlainText,
		Mend:    "Put ?sslmode=require into its URI",
		Version: "47", Outcomes: "PPPPPP", Clients: []string{"slonik 47"}, Tried: "47.3"},
	{Name: "Prisma's engine", Ecosystem: prisma, Packages: []string{"prisma"}, Answer: Untold, Does: opportunistic,
		Mend: "Put ?sslmode=require&sslaccept=strict into its URL, or take a driver adapter"},
	{Name: "deno-postgres", Ecosystem: deno, Packages: []string{"@db/postgres", "@bartlomieju/postgres", "deno.land/x/postgres"},
		Answer: Untold, Does: "falls back to plain text", Mend: "Ask for TLS in its own options"},

	likeLibpq("psycopg", pypi, []string{"psycopg", "psycopg2", "psycopg2-binary"}, "2.9, 3.1", "psycopg2", "psycopg 3"),
	likeLibpq("aiopg", pypi, []string{"aiopg"}, "1.4"),
	likeLibpq("PyGreSQL", pypi, []string{"pygresql"}, "5.1", "PyGreSQL"),
	likeLibpq("asyncpg", pypi, []string{"asyncpg"}, "0.27", "asyncpg 0.27"),
	{Name: "pg8000", Ecosystem: pypi, Packages: []string{"pg8000"}, Below: "1.11", Answer: Untold, Does: inPlainText,
		Mend:    "Take a newer one, and give it ssl_context=ssl.create_default_context()",
		Version: "1.10", Outcomes: "PPPPPP", Clients: []string{"pg8000 1.10"}},
	{Name: "pg8000", Ecosystem: pypi, Packages: []string{"pg8000"}, Answer: Untold, Does: opportunistic,
		Mend: "Give it ssl_context=ssl.create_default_context()", Version: "1.31", Outcomes: "TTTPTT"},

	likeLibpq("ruby-pg", rubygems, []string{"pg"}, "1.4", "ruby-pg"),

	{Name: "lib/pq", Ecosystem: golang, Packages: []string{"github.com/lib/pq"}, Below: "1.11",
		Answer: ChecksName, Variable: "PGSSLMODE", URI: Believed,
		Unknown: []sslmode.Mode{sslmode.Allow, sslmode.Prefer},
		Version: "1.10.9", Outcomes: "TxxxxT", Clients: []string{"lib/pq 1.10.9, as Stratos uses it"}},
	likeLibpq("lib/pq", golang, []string{"github.com/lib/pq"}, "1.12.3"),
	likeLibpq("pgx", golang, []string{"github.com/jackc/pgx/v5", "github.com/jackc/pgx/v4"}, "4.18, 5.12", "pgx 5"),
	{Name: "go-pg", Ecosystem: golang, Packages: []string{"github.com/go-pg/pg/v10", "github.com/go-pg/pg/v9", "github.com/go-pg/pg"},
		Answer: Untold, Does: "connects in plain text, or unverified if it is given a URI",
		Mend:    "Set TLSConfig: &tls.Config{ServerName: host} in its Options",
		Version: "10", Outcomes: "PPPPPP", Clients: []string{"go-pg 10"}, Tried: "10.15"},
	{Name: "pgdriver", Ecosystem: golang, Packages: []string{"github.com/uptrace/bun/driver/pgdriver"}, Answer: Untold, URI: Believed,
		Does: "verifies nothing", Mend: "Put ?sslmode=MODE into its DSN",
		Version: "1.2", Outcomes: "TTTxTT", Clients: []string{"pgdriver 1.2"}, Tried: "1.2"},

	{Name: "tokio-postgres", Ecosystem: crates, Packages: []string{"tokio-postgres", "postgres", "deadpool-postgres", "bb8-postgres"},
		Answer: Untold, URI: OnlyRequire, Does: "connects in plain text with NoTls",
		Mend:    "Give it a TLS connector that verifies in place of NoTls, and put ?sslmode=require into its URI",
		Version: "0.7", Outcomes: "PPPPPP"},

	{Name: "postgrex", Ecosystem: hex, Packages: []string{"postgrex"}, Answer: Untold, Does: inPlainText,
		Mend: "Set ssl: true in its options; 0.22 then verifies", Version: "0.22", Outcomes: "PPPPPP", Tried: "0.22"},
	{Name: "pgo", Ecosystem: hex, Packages: []string{"pgo"}, Answer: Untold, Does: inPlainText,
		Mend: "Set ssl => true in its options; 0.20 then verifies", Version: "0.20", Outcomes: "PPPPPP", Tried: "0.20"},
	{Name: "pog", Ecosystem: hex, Packages: []string{"pog"}, Answer: Untold, URI: Believed, Does: inPlainText,
		Mend: "Set pog.ssl(pog.SslVerified)", Version: "4.1", Outcomes: "PPPPPP", Tried: "4.1"},
	{Name: "epgsql", Ecosystem: hex, Packages: []string{"epgsql"}, Answer: Untold, Does: inPlainText,
		Mend: "Set ssl => required and ssl_opts that verify; ssl => true alone verifies nothing", Version: "4.8", Outcomes: "PPPPPP"},

	{Name: "Npgsql", Ecosystem: nuget, Packages: []string{"Npgsql"},
		Answer: Untold, Does: opportunistic, Mend: "Write SSL Mode=VerifyFull into its connection string; it finds the CA by PGSSLROOTCERT"},

	{Name: "pgjdbc", Ecosystem: maven, Packages: []string{"postgresql", "org.postgresql.postgresql", "org/postgresql/Driver.class"},
		Answer: ObeysItsURL, Variable: "JAVA_TOOL_OPTIONS",
		Version: "42.2 to 42.7", Outcomes: "TxxxTT",
		Clients: []string{"pgjdbc, plain URL", "pgjdbc in HikariCP", "pgjdbc in Tomcat's pool", "pgjdbc in a parent-last loader, as Tomcat's"}},
	{Name: "R2DBC", Ecosystem: maven, Packages: []string{"r2dbc-postgresql", "io/r2dbc/postgresql/PostgresqlConnectionFactory.class"},
		Answer: Untold, Does: inPlainText,
		Mend: "Ask for sslMode=MODE in its options"},
	{Name: "Vert.x", Ecosystem: maven, Packages: []string{"vertx-pg-client", "io/vertx/pgclient/PgConnectOptions.class"}, Answer: Untold,
		Does: "connects in plain text, unless it is configured by fromEnv()", Mend: "Ask for MODE in its options"},

	{Name: "psqlodbc", Ecosystem: debian, Packages: []string{"odbc-postgresql"}, Answer: Untold, Does: inPlainText,
		Mend: "Write SSLmode=MODE into its DSN", Version: "13", Outcomes: "PPPPPP", Clients: []string{"psqlodbc 13"}, Tried: "13"},
	{Name: "pgbouncer", Ecosystem: debian, Packages: []string{"pgbouncer"}, Answer: Untold,
		Does:    "connects to the database in plain text, whoever connects to it",
		Mend:    "Write server_tls_sslmode = MODE and server_tls_ca_file into its configuration",
		Version: "1.18", Outcomes: "PPPPPP", Tried: "1.18"},
	likeLibpq("PHP's libpq", composer, []string{"ext-pdo_pgsql", "ext-pgsql", "laravel/framework", "illuminate/database", "doctrine/dbal",
		"yiisoft/yii2", "cakephp/database"}, "15", "PHP PDO"),
	likeLibpq("libpq", debian, []string{"postgresql-client", "libpq5", "php-pgsql", "libdbd-pg-perl"}, "15", "psql", "DBD::Pg"),
}

// lookUp returns nil if the package is no driver.
func lookUp(e Ecosystem, name, version string) *Driver {
	for i, d := range Table {
		isOf := d.Below == "" || isBelow(version, d.Below)
		if isOf && d.Ecosystem == e && slices.Contains(d.Packages, name) {
			return &Table[i]
		}
	}
	return nil
}

func isBelow(version, limit string) bool {
	v, l := numbers(version), numbers(limit)
	return v[0]+v[1] > 0 && slices.Compare(v[:], l[:]) < 0
}

// numbers returns the first two numbers of a version. A range has none.
func numbers(version string) (n [2]int) {
	_, _ = fmt.Sscanf(version, "%d.%d", &n[0], &n[1])
	return n
}
