package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// csbQuery is the query that csb-brokerpak-aws hands out. It means verify-full, with the JVM's own
// trust.
const csbQuery = "?ssl=true&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"

// java tests settings that an app may add to those of a launch.
func java(t *testing.T, buildpack, app string, oregon *pgtest.CA) {
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	client := pgtest.NewCA(t, "CA of clients")
	good, renamed := serving(t, oregon, host), serving(t, oregon, otherHost)
	forged, plain := serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host), pgtest.Config{HBA: anyLogin}
	server := pgtest.Start(t, good)

	launched := map[string]*container{}
	for name, change := range map[string]credentials{
		"verify-full": {}, "require": {"sslmode": "require"}, "flag": {"sslmode": nil, "require_ssl": true, "jdbcUrl": "", "hostname": "db.example.com"},
	} {
		c := credentialsOf(server, host, "verify-full")
		for key, value := range change {
			c[key] = value
		}
		if name == "flag" {
			c["jdbcUrl"] = "jdbc:postgresql://db.example.com/console_db" + csbQuery
		}
		launched[name] = launch(t, buildpack, app, "compile", vcapServices(t, map[string]credentials{"console_db": c}), hosts(host, "db.example.com"), "POSTGRES_SSL_TUNNEL=no")
	}
	// ask connects with the app's own settings, quoted for the shell.
	ask := func(mode string, says ...string) string {
		said, err := launched[mode].run(t, javaClients+" '"+strings.Join(says, "' '")+"'")
		require.NoError(t, err, said)
		_, said, _ = strings.Cut(said, "\t")
		return said
	}
	const encrypted, inPlainText = "ssl=t version=TLSv1.3", "ssl=f version="

	assert.Equal(t, encrypted, ask("verify-full", "provider", csbQuery))
	assert.Regexp(t, untrusted, ask("verify-full", csbQuery), "the control: without the java-buildpack's trust, its URL does not connect")

	server.Reload(t, renamed)
	assert.Regexp(t, misnamed, ask("verify-full", "provider", csbQuery))
	assert.Equal(t, encrypted, ask("require", "?sslmode=require"))
	// The one way to weaken it that we cannot see is ssl=true in code, under require.
	// docs/drivers.md says so.
	assert.Equal(t, encrypted, ask("require", "?ssl=true"))
	// If the binding says ssl=true, we leave pgjdbc its own meaning.
	assert.NotContains(t, launched["flag"].variable("JAVA_TOOL_OPTIONS"), "-Xbootclasspath")
	assert.Regexp(t, "root certificate file|"+misnamed+"|"+untrusted, ask("flag", "?ssl=true"))

	server.Reload(t, forged)
	assert.Regexp(t, untrusted, ask("verify-full", "provider", csbQuery))
	assert.Equal(t, encrypted, ask("verify-full", "?sslmode=require"), "the app's URL wins")
	assert.Equal(t, encrypted, ask("verify-full", "sslmode=require"), "so do its Properties")

	server.Reload(t, plain)
	assert.Equal(t, inPlainText, ask("verify-full", "?sslmode=prefer"))
	assert.Regexp(t, withoutTLS, ask("require", "loginTimeout=300"), "require alone refuses a server without TLS")
	assert.Contains(t, launched["require"].variable("JAVA_TOOL_OPTIONS"), "-Xbootclasspath/a:/")

	// A client certificate. Java wants its key in a format of its own.
	withClient := good
	withClient.ClientCA, withClient.HBA = client.PEM, []string{"hostssl all all 127.0.0.1/32 cert"}
	server.Reload(t, withClient)
	pair := client.Issue(t, []string{"myuser"})
	assert.Regexp(t, "certificate", ask("require", "loginTimeout=300"), "the control: without one, the server refuses")
	c := credentialsOf(server, host, "verify-full")
	c["sslcert"], c["sslkey"] = string(pair.CertPEM), string(pair.KeyPEM)
	launched["client"] = launch(t, buildpack, app, "compile", vcapServices(t, map[string]credentials{"console_db": c}), hosts(host), "POSTGRES_SSL_TUNNEL=no")
	assert.Equal(t, encrypted, ask("client", "loginTimeout=300"))
}

// showDefaults prints how a JVM reads its options and pgjdbc's defaults.
const showDefaults = `
import java.nio.file.*;
public class Show {
    public static void main(String[] args) throws Exception {
        var defaults = new java.util.Properties();
        var all = Show.class.getClassLoader().getResources("org/postgresql/driverconfig.properties");
        while (all.hasMoreElements()) {
            try (var in = all.nextElement().openStream()) {
                defaults.load(in);
            }
        }
        System.out.println(System.getProperty("owner") + " " + defaults.getProperty("sslmode"));
        System.out.println(Files.isRegularFile(Path.of(defaults.getProperty("sslrootcert"))));
        System.out.println(System.getenv("JAVA_TOOL_OPTIONS").split("bootclasspath", -1).length - 1);
    }
}
`

// The owner's options stay. Sourcing the script
// twice adds ours only once.
func TestJavaReadsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	pack := buildpack(t, pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1"))
	classes := t.TempDir()
	write(t, classes, "Show.java", showDefaults)
	mustRun(t, "javac", "-d", classes, filepath.Join(classes, "Show.java"))
	services := vcapServices(t, map[string]credentials{"db": {"uri": "postgres://u:p@db.abc.us-west-2.rds.amazonaws.com/d?sslmode=verify-full"}})
	for _, name := range []string{"plain", `folder\of-é`} {
		home := filepath.Join(t.TempDir(), name, "vcap")
		for _, dir := range []string{"app/BOOT-INF", "deps/0", "cache"} {
			require.NoError(t, os.MkdirAll(filepath.Join(home, dir), 0o755))
		}
		run := func(program string, args ...string) string {
			cmd := exec.Command(program, args...)
			cmd.Dir = filepath.Join(home, "app")
			cmd.Env = append(machineEnv(), "LC_ALL=C.UTF-8", "VCAP_SERVICES="+services, "JAVA_TOOL_OPTIONS=-Downer=kept", "DEPS_DIR="+filepath.Join(home, "deps"))
			out, err := cmd.Output()
			require.NoError(t, err, string(out))
			return string(out)
		}
		run(filepath.Join(pack, "bin", "supply"), filepath.Join(home, "app"), filepath.Join(home, "cache"), filepath.Join(home, "deps"), "0")
		said := run("bash", "-c", `source .profile.d/*.sh; source .profile.d/*.sh; java -cp "$1" Show`, "bash", classes)
		assert.Equal(t, "kept verify-full\ntrue\n1\n", said, name)
	}
}
