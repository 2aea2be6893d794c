package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// driver is a Postgres client in the app that driversApp makes. Drivers with the same command share
// a process, which prints one line per client: its name, a tab, and what it did.
type driver struct {
	name    string
	told    string // how a launch tells it the mode and whom to trust
	command string
}

const (
	libpqVariables = "`PGSSLMODE`, `PGSSLROOTCERT`"
	tunnelOnly     = "nothing; [the tunnel](tunnel.md) reaches it"
	nodeClients    = "node/clients.js"
	goClients      = "go-pg/clients"
	erlangClients  = "erlang/main.escript"
	javaClients    = "java " + javaOptions + " Main"
	javaOptions    = "-XX:TieredStopAtLevel=1 -XX:-UsePerfData -cp pgjdbc:" +
		"/usr/share/java/postgresql.jar:/usr/share/java/HikariCP.jar:/usr/share/java/slf4j-api.jar:/usr/share/java/slf4j-nop.jar:" +
		"/usr/share/java/tomcat9-jdbc.jar:/usr/share/java/tomcat9-juli.jar"
)

var drivers = []driver{
	{"lib/pq 1.10.9, as Stratos uses it", "`DB_SSL_MODE`, `PGSSLROOTCERT`, `SSL_CERT_DIR`", "stratos/client"},
	{"pgx 5", libpqVariables, "pgx/client"},
	{"psql", libpqVariables, "psql/main.sh"},
	{"psycopg2", libpqVariables, "psycopg2/main.py"},
	{"psycopg 3", libpqVariables, "psycopg3/main.py"},
	{"asyncpg 0.27", libpqVariables, "asyncpg/main.py"},
	{"PyGreSQL", libpqVariables, "pygresql/main.py"},
	{"ruby-pg", libpqVariables, "ruby-pg/main.rb"},
	{"PHP PDO", libpqVariables, "php-pdo/main.php"},
	{"DBD::Pg", libpqVariables, "perl-dbd-pg/main.pl"},
	{"Bun.sql 1.4", "`PGSSLMODE`, `NODE_EXTRA_CA_CERTS`", "node/node_modules/.bin/bun node/bun.js"},
	{"node-postgres 8", "`PGSSLMODE`, `NODE_EXTRA_CA_CERTS`", nodeClients},
	{"postgres.js 3", "`PGSSL`, `NODE_EXTRA_CA_CERTS`", nodeClients},
	{"drizzle on postgres.js", "`PGSSL`, `NODE_EXTRA_CA_CERTS`", nodeClients},
	{"pgjdbc, plain URL", "`JAVA_TOOL_OPTIONS`", javaClients},
	{"pgjdbc in HikariCP", "`JAVA_TOOL_OPTIONS`", javaClients},
	{"pgjdbc in Tomcat's pool", "`JAVA_TOOL_OPTIONS`", javaClients},
	{"pgjdbc in a parent-last loader, as Tomcat's", "`JAVA_TOOL_OPTIONS`", javaClients},
	{"Erlang's ssl with `cacerts_get()`", "`ERL_AFLAGS`", erlangClients},
	{"slonik 47", tunnelOnly, nodeClients},
	{"pg8000 1.10", tunnelOnly, "pg8000/main.py"},
	{"psqlodbc 13", tunnelOnly, "pyodbc/main.py"},
	{"go-pg 10", tunnelOnly, goClients},
	{"pgdriver 1.2", tunnelOnly, goClients},
	{"Erlang's gen_tcp, as pgo and pog use it", tunnelOnly, erlangClients},
}

// shared says whether a driver shares its process with others.
func (d driver) shared() bool {
	return slices.Contains([]string{nodeClients, goClients, javaClients, erlangClients}, d.command)
}

// login is the begin of the server's log line for a driver's login. pg8000 sets its name only later.
func (d driver) login() string {
	name := " application_name=" + d.name
	if d.name == "pg8000 1.10" {
		name = ""
	}
	return "connection authorized: user=myuser database=console_db" + name
}

// driversApp makes an app of all drivers in fixtures. If the machine lacks a driver, the test fails
// and says what to install.
func driversApp(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command("../../scripts/install_drivers.sh", "--check").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	app := filepath.Join(t.TempDir(), "drivers")
	fixtures, err := filepath.Abs("../../fixtures/drivers")
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(fixtures, "*", "*"))
	require.NoError(t, err)
	for _, file := range files {
		rel, err := filepath.Rel(fixtures, file)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(app, filepath.Dir(rel)), 0o755))
		if filepath.Base(file) == "node_modules" { // large, and the machine's like other drivers
			require.NoError(t, os.Symlink(file, filepath.Join(app, rel)))
			continue
		}
		copyTree(t, file, filepath.Join(app, rel))
	}
	copyTree(t, "../../fixtures/stratos/src/jetstream", filepath.Join(app, "stratos"))
	for folder, program := range map[string]string{"pgx": "client", "stratos": "client", "go-pg": "clients"} {
		mustRun(t, "go", "build", "-C", filepath.Join(app, folder), "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	}
	javac(t, filepath.Join(app, "pgjdbc"))
	// Link the machine's Erlang and Java where an Elixir buildpack and the java-buildpack put
	// theirs.
	for program, place := range map[string]string{"erl": ".platform_tools/erlang/bin/erl", "java": ".java-buildpack/open_jdk_jre/bin/java"} {
		found, err := exec.LookPath(program)
		require.NoError(t, err)
		place = filepath.Join(app, place)
		require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o755))
		require.NoError(t, os.Symlink(found, place))
	}
	return app
}

// javac compiles the sources in a folder.
func javac(t *testing.T, folder string) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(folder, "*.java"))
	require.NoError(t, err)
	jars := javaOptions[strings.Index(javaOptions, "/usr/"):]
	mustRun(t, "javac", append([]string{"-J-XX:TieredStopAtLevel=1", "-cp", jars, "-d", folder}, sources...)...)
}

// outcome is what a driver did.
type outcome struct {
	connected bool
	tls       bool
	said      string
}

func (o outcome) String() string {
	switch {
	case o.tls:
		return "connects"
	case o.connected:
		return "plain text"
	}
	return "refuses"
}

// cell returns the outcome for the table, in bold if it is less than the mode promises.
func (o outcome) cell(mayConnect bool) string {
	if o.connected && !(o.tls && mayConnect) {
		return "**" + o.String() + "**"
	}
	return o.String()
}

// slots are for the drivers of all tests that run side by side.
var slots = make(chan struct{}, runtime.NumCPU()+1)

// connectAll runs the drivers in the app's environment. For each driver that connected, the
// server's log says whether it used TLS. A driver that refused must not have logged in.
func connectAll(t *testing.T, app *container, server *pgtest.Server, chosen []driver, variables ...string) map[string]outcome {
	t.Helper()
	before := server.Log(t)
	byName := map[string]outcome{}
	var mutex sync.Mutex
	keep := func(name, said string, connected bool) {
		mutex.Lock()
		defer mutex.Unlock()
		byName[name] = outcome{connected: connected, said: said}
	}
	var running sync.WaitGroup
	started := map[string]bool{}
	for _, d := range chosen {
		if d.shared() && started[d.command] {
			continue
		}
		started[d.command] = true
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// The launch sets everything but the client's name in the server's log.
			said, err := app.run(t, d.command, append(slices.Clone(variables), "PGAPPNAME="+d.name)...)
			if !d.shared() {
				keep(d.name, said, err == nil)
				return
			}
			assert.NoError(t, err, said)
			for line := range strings.Lines(said) {
				if name, said, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
					keep(name, said, !strings.HasPrefix(said, "refuses"))
				}
			}
		})
	}
	running.Wait()

	log := strings.TrimPrefix(server.Log(t), before)
	outcomes := map[string]outcome{}
	for _, d := range chosen {
		o, ok := byName[d.name]
		require.True(t, ok, "%s said nothing", d.name)
		encrypted := strings.Contains(log, d.login()+" SSL enabled (protocol=TLSv1.3")
		switch {
		case !o.connected:
			assert.NotContains(t, log, "application_name="+d.name+" ", "%s: %s", d.name, o.said)
			assert.NotContains(t, o.said, "mypass", d.name)
		case strings.HasPrefix(o.said, "ssl=t"):
			assert.Contains(t, o.said, "version=TLSv1.3", d.name)
			assert.True(t, encrypted, "%s: %s", d.name, o.said)
			o.tls = true
		default:
			assert.Regexp(t, "ssl=f(alse)? version=", o.said, d.name)
			assert.False(t, encrypted, d.name)
		}
		outcomes[d.name] = o
	}
	return outcomes
}

// What drivers say about a certificate whose issuer they do not trust, a server without TLS, and a
// certificate for another name. A failure for any other reason does not count as a refusal.
const (
	untrusted  = `certificate verify failed|unknown authority|unable to verify|PKIX path|unknown_ca`
	withoutTLS = `(?i)ssl|tls|<<"N">>`
	misnamed   = `does not match|is (not )?valid for|could not be verified by hostnameverifier|handshake_failure`
)

func TestDrivers(t *testing.T) {
	t.Parallel()
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	frankfurt := pgtest.NewCA(t, "Amazon RDS eu-central-1 Root CA RSA2048 G1")
	buildpack, app := buildpack(t, oregon, frankfurt), driversApp(t)
	for name, test := range map[string]func(t *testing.T){
		"obey what is bound":               func(t *testing.T) { obeyWhatIsBound(t, buildpack, app, oregon, frankfurt) },
		"verify several databases at once": func(t *testing.T) { verifySeveralAtOnce(t, buildpack, app, oregon, frankfurt) },
		"go through the tunnel":            func(t *testing.T) { everyDriverThroughTheTunnel(t, buildpack, app, oregon) },
		"Java":                             func(t *testing.T) { java(t, buildpack, app, oregon) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// obeyWhatIsBound measures the table in docs/drivers.md.
func obeyWhatIsBound(t *testing.T, buildpack, app string, oregon, frankfurt *pgtest.CA) {
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	impostor := pgtest.NewCA(t, oregon.Cert.Subject.CommonName)
	server := pgtest.Start(t, serving(t, oregon, host))
	launched := map[string]*container{}
	for _, mode := range []string{"verify-full", "verify-ca", "require"} {
		services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, mode)})
		launched[mode] = launch(t, buildpack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=no")
	}
	assert.Regexp(t, "/deps/0/trust/us-west-2.pem$", launched["verify-full"].variable("PGSSLROOTCERT"), "one region, and no other")

	full, required := connectAll(t, launched["verify-full"], server, drivers), connectAll(t, launched["require"], server, drivers)
	server.Reload(t, serving(t, oregon, otherHost))
	renamed, renamedCA := connectAll(t, launched["verify-full"], server, drivers), connectAll(t, launched["verify-ca"], server, drivers)
	server.Reload(t, serving(t, impostor, host))
	forged := connectAll(t, launched["verify-full"], server, drivers)
	server.Reload(t, serving(t, frankfurt, host))
	foreign := connectAll(t, launched["verify-full"], server, drivers)
	server.Reload(t, pgtest.Config{HBA: anyLogin})
	plain := connectAll(t, launched["verify-full"], server, drivers)

	var table strings.Builder
	table.WriteString("| driver | what a launch tells it | `verify-full` | another CA | another name | no TLS | `verify-ca`, another name | `require` |\n")
	table.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	measured := map[string]string{}
	for _, d := range drivers {
		for _, outcomes := range []map[string]outcome{full, forged, renamed, plain, renamedCA, required} {
			measured[d.name] += outcomes[d.name].letter()
		}
		assert.True(t, full[d.name].connected, "%s does not connect: %s", d.name, full[d.name].said)
		assert.Equal(t, forged[d.name].String(), foreign[d.name].String(), "%s and the CA of another region", d.name)
		obeys := full[d.name].tls && !forged[d.name].connected && !renamed[d.name].connected && !plain[d.name].connected
		assert.Equal(t, d.told != tunnelOnly, obeys, "%s obeys verify-full", d.name)
		if obeys {
			assert.Regexp(t, untrusted, forged[d.name].said, "%s and an unknown CA of the same name", d.name)
			assert.Regexp(t, untrusted, foreign[d.name].said, "%s and the CA of another region", d.name)
			assert.Regexp(t, misnamed, renamed[d.name].said, "%s and a certificate for another name", d.name)
			assert.Regexp(t, withoutTLS, plain[d.name].said, "%s and a server without TLS", d.name)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", d.name, d.told, full[d.name].cell(true), forged[d.name].cell(false),
			renamed[d.name].cell(false), plain[d.name].cell(false), renamedCA[d.name].cell(true), required[d.name].cell(true))
	}
	t.Logf("measured:\n%s", &table)
	agreeWithTable(t, measured)
	document, err := os.ReadFile("../../docs/drivers.md")
	require.NoError(t, err)
	assert.Contains(t, string(document), table.String(), "docs/drivers.md shows another table than the one just measured")
}

// verifySeveralAtOnce binds four databases: two in different RDS regions, one that brings its own
// CA, and one whose CA the stack trusts.
func verifySeveralAtOnce(t *testing.T, buildpack, app string, oregon, frankfurt *pgtest.CA) {
	own, public := pgtest.NewCA(t, "The database's own CA"), pgtest.NewCA(t, "A public CA")
	databases := map[string]struct {
		host string
		ca   *pgtest.CA
	}{
		"oregon":    {"db.abc123.us-west-2.rds.amazonaws.com", oregon},
		"frankfurt": {"db.abc123.eu-central-1.rds.amazonaws.com", frankfurt},
		"own":       {"own.example.com", own},
		"public":    {"public.example.com", public},
	}
	const stackStore = "/etc/ssl/certs/ca-certificates.crt"
	stack, err := os.ReadFile(stackStore)
	require.NoError(t, err)
	servers, services := map[string]*pgtest.Server{}, map[string]credentials{}
	var names []string
	for name, db := range databases {
		servers[name] = pgtest.Start(t, serving(t, db.ca, db.host))
		services[name] = credentialsOf(servers[name], db.host, "verify-full")
		names = append(names, db.host)
	}
	services["own"]["ca"] = string(own.PEM)
	files := hosts(names...)
	files[stackStore] = string(stack) + string(public.PEM)
	launched := launch(t, buildpack, app, "compile", vcapServices(t, services), files, "POSTGRES_SSL_TUNNEL=no")

	// A client uses the first service that it finds. The rest of its environment is for all of
	// them.
	only := func(name string) string {
		return "VCAP_SERVICES=" + vcapServices(t, map[string]credentials{name: services[name]})
	}
	obedient := slices.DeleteFunc(slices.Clone(drivers), func(d driver) bool { return d.told == tunnelOnly })
	for name := range databases {
		for driver, o := range connectAll(t, launched, servers[name], obedient, only(name)) {
			assert.True(t, o.connected, "%s does not connect to %s: %s", driver, name, o.said)
		}
	}
	servers["public"].Reload(t, serving(t, pgtest.NewCA(t, public.Cert.Subject.CommonName), databases["public"].host))
	for driver, o := range connectAll(t, launched, servers["public"], obedient, only("public")) {
		assert.Regexp(t, untrusted, o.said, "%s and an unknown CA", driver)
	}
}
