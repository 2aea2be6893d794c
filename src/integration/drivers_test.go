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

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/integration/pgtest"
)

// driver is a client of Postgres in the app that driversApp makes.
type driver struct {
	name    string
	told    string // how a launch tells it whom to trust
	command string
}

var drivers = []driver{
	{"lib/pq 1.10.9, as Stratos uses it", "`DB_SSL_MODE`, `PGSSLROOTCERT`, `SSL_CERT_DIR`", "stratos/client"},
	{"pgx 5", "`PGSSLMODE`, `PGSSLROOTCERT`", "pgx/client"},
	{"psql", "`PGSSLMODE`, `PGSSLROOTCERT`", "psql/main.sh"},
	{"psycopg2", "`PGSSLMODE`, `PGSSLROOTCERT`", "psycopg2/main.py"},
	{"ruby-pg", "`PGSSLMODE`, `PGSSLROOTCERT`", "ruby-pg/main.rb"},
	{"PHP PDO", "`PGSSLMODE`, `PGSSLROOTCERT`", "php-pdo/main.php"},
	{"node-postgres 8", "`PGSSLMODE`, `NODE_EXTRA_CA_CERTS`", "node-postgres/main.js"},
	{"pgjdbc", "`sslmode` in its URL, `/home/vcap/.postgresql/root.crt`", "java -XX:TieredStopAtLevel=1 -XX:-UsePerfData -cp pgjdbc:/usr/share/java/postgresql.jar Main"},
	{"Erlang's ssl with `cacerts_get()`", "`ERL_AFLAGS`", "erlang/main.escript"},
}

// driversApp makes an app of all drivers in fixtures. A driver that the machine lacks is a failure that says what to install.
func driversApp(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command("../../scripts/install_drivers.sh", "--check").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	app := filepath.Join(t.TempDir(), "drivers")
	copyTree(t, "../../fixtures/drivers", app)
	copyTree(t, "../../fixtures/stratos", filepath.Join(app, "stratos"))
	for _, folder := range []string{"pgx", "stratos"} {
		mustRun(t, "go", "build", "-C", filepath.Join(app, folder), "-trimpath", "-ldflags", "-s -w", "-o", "client", ".")
	}
	mustRun(t, "javac", "-d", filepath.Join(app, "pgjdbc"), filepath.Join(app, "pgjdbc", "Main.java"))
	// The machine's Erlang is in the app's folder, as an Elixir buildpack puts it there.
	erl, err := exec.LookPath("erl")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(app, ".platform_tools/erlang/bin"), 0o755))
	require.NoError(t, os.Symlink(erl, filepath.Join(app, ".platform_tools/erlang/bin/erl")))
	return app
}

// outcome is what a driver did.
type outcome struct {
	connected bool
	said      string
}

func (o outcome) String() string {
	if o.connected {
		return "connects"
	}
	return "refuses"
}

// connectAll runs every driver in the app's environment. Whoever connects must have done so with TLS, which the server's log
// confirms; whoever refuses must not have logged in.
func connectAll(t *testing.T, app *container, server *pgtest.Server, variables ...string) map[string]outcome {
	t.Helper()
	before := server.Log(t)
	outcomes := make([]outcome, len(drivers))
	var running sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU()+1)
	for i, d := range drivers {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// The name under which the server's log knows a client is the one thing that the launch does not give.
			said, err := app.run(t, d.command, append(slices.Clone(variables), "PGAPPNAME="+d.name)...)
			outcomes[i] = outcome{err == nil, said}
		})
	}
	running.Wait()

	log := strings.TrimPrefix(server.Log(t), before)
	byName := map[string]outcome{}
	for i, d := range drivers {
		o := outcomes[i]
		byName[d.name] = o
		if o.connected {
			assert.Contains(t, o.said, "ssl=t version=TLSv1.3", d.name)
			assert.Contains(t, log, "application_name="+d.name+" SSL enabled (protocol=TLSv1.3", d.name)
		} else {
			assert.NotContains(t, log, "application_name="+d.name, d.name)
			assert.NotContains(t, o.said, "mypass", d.name)
		}
	}
	return byName
}

// What drivers say of a certificate whose issuer they do not trust, and of one made out for another name. A driver that fails
// for another reason has refused nothing.
const (
	untrusted = `certificate verify failed|unknown authority|unable to verify|PKIX path|unknown_ca`
	misnamed  = `does not match|is valid for|could not be verified by hostnameverifier|handshake_failure`
)

func TestDrivers(t *testing.T) {
	oregon := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	frankfurt := pgtest.NewCA(t, "Amazon RDS eu-central-1 Root CA RSA2048 G1")
	buildpack, app := buildpack(t, oregon, frankfurt), driversApp(t)
	t.Run("obey what is bound", func(t *testing.T) { obeyWhatIsBound(t, buildpack, app, oregon, frankfurt) })
	t.Run("verify several databases at once", func(t *testing.T) { verifySeveralAtOnce(t, buildpack, app, oregon, frankfurt) })
}

// obeyWhatIsBound measures the table of docs/drivers.md.
func obeyWhatIsBound(t *testing.T, buildpack, app string, oregon, frankfurt *pgtest.CA) {
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	impostor := pgtest.NewCA(t, oregon.Cert.Subject.CommonName)
	server := pgtest.Start(t, serving(t, oregon, host))
	launched := map[string]*container{}
	for _, mode := range []string{"verify-full", "verify-ca", "require"} {
		services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, mode)})
		launched[mode] = launch(t, buildpack, app, "compile", services, hosts(host))
	}
	assert.Regexp(t, "/deps/0/trust/us-west-2.pem$", launched["verify-full"].variable("PGSSLROOTCERT"), "one region, and no other")

	full, required := connectAll(t, launched["verify-full"], server), connectAll(t, launched["require"], server)
	server.Reload(t, serving(t, oregon, otherHost))
	renamed, renamedCA := connectAll(t, launched["verify-full"], server), connectAll(t, launched["verify-ca"], server)
	server.Reload(t, serving(t, impostor, host))
	forged := connectAll(t, launched["verify-full"], server)
	server.Reload(t, serving(t, frankfurt, host))
	foreign := connectAll(t, launched["verify-full"], server)

	var table strings.Builder
	table.WriteString("| driver | what a launch tells it | `verify-full` | another CA | another name | `verify-ca`, another name | `require` |\n")
	table.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, d := range drivers {
		assert.True(t, full[d.name].connected, "%s does not connect: %s", d.name, full[d.name].said)
		assert.Regexp(t, untrusted, forged[d.name].said, "%s and an unknown CA of the same name", d.name)
		assert.Regexp(t, untrusted, foreign[d.name].said, "%s and the CA of another region", d.name)
		assert.Regexp(t, misnamed, renamed[d.name].said, "%s and a certificate for another name", d.name)
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s | %s |\n", d.name, d.told,
			full[d.name], forged[d.name], renamed[d.name], renamedCA[d.name], required[d.name])
	}
	t.Logf("measured:\n%s", &table)
	for _, shown := range []string{"README.md", "docs/drivers.md"} {
		document, err := os.ReadFile(filepath.Join("../..", shown))
		require.NoError(t, err)
		assert.Contains(t, string(document), table.String(), "%s shows another table than the one just measured", shown)
	}
}

// verifySeveralAtOnce binds databases of two RDS regions, one that brings its CA, and one whose CA the stack trusts.
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
	launched := launch(t, buildpack, app, "compile", vcapServices(t, services), files)

	// A client takes the first service that it finds; the rest of its environment was made for all of them.
	only := func(name string) string {
		return "VCAP_SERVICES=" + vcapServices(t, map[string]credentials{name: services[name]})
	}
	for name := range databases {
		for driver, o := range connectAll(t, launched, servers[name], only(name)) {
			assert.True(t, o.connected, "%s does not connect to %s: %s", driver, name, o.said)
		}
	}
	servers["public"].Reload(t, serving(t, pgtest.NewCA(t, public.Cert.Subject.CommonName), databases["public"].host))
	for driver, o := range connectAll(t, launched, servers["public"], only("public")) {
		assert.Regexp(t, untrusted, o.said, "%s and an unknown CA", driver)
	}
}
