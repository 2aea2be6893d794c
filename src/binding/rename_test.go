package binding

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// renamed is a way to name a database, and what an app with a tunnel sees instead: 127.9.9.1 for the
// first host, 127.9.9.2 for the next one.
type renamed struct{ name, before, after string }

// every wants all databases, only wants one.
func every(int) bool            { return true }
func only(i int) func(int) bool { return func(database int) bool { return database == i } }

// redirect is Redirect for the databases that are wanted.
func redirect(env map[string]string, wanted func(int) bool) (*Redirection, error) {
	bound := maps.Clone(env)
	delete(bound, "DATABASE_URL")
	found, _ := Read(bound) // Redirect returns the same error
	var all []Binding
	for i, b := range found.Databases {
		if wanted(i) {
			all = append(all, b)
		}
	}
	return Redirect(env, all)
}

// inService returns VCAP_SERVICES with one service that has these credentials.
func inService(credentials string) string {
	return `{"user-provided": [{"name":"db", "label":"user-provided", "credentials":` + credentials + `}]}`
}

// canonical writes a document as a redirection does.
func canonical(t testing.TB, document string) string {
	t.Helper()
	value, err := decodeJSON([]byte(document))
	require.NoError(t, err, document)
	return string(encodeJSON(value))
}

var aTunnel = Tunnel{CA: "CA", Net: netip.MustParsePrefix("127.9.9.0/24"), Dir: "/T"}

// given returns the variables that change.
func given(r *Redirection) map[string]string {
	variables, _ := r.To(aTunnel)
	return variables
}

// seen returns VCAP_SERVICES as the app sees it.
func seen(t testing.TB, document string, wanted func(int) bool) string {
	t.Helper()
	r, err := redirect(map[string]string{"VCAP_SERVICES": document}, wanted)
	require.NoError(t, err)
	return given(r)["VCAP_SERVICES"]
}

var renamedStrings = []renamed{
	{"a URI", `postgres://u:p@db.example.com:5432/d?sslmode=require`,
		`postgres://u:p@127.9.9.1:5432/d?sslmode=require`},
	{"a URI without a port", `postgres://u:p@db.example.com/d`,
		`postgres://u:p@127.9.9.1/d`},
	{"a URI with an empty port", `postgres://u:p@db.example.com:/d`,
		`postgres://u:p@127.9.9.1:/d`},
	{"capitals and a trailing dot", `postgres://u:p@AZ.Example.COM.:5432/d`,
		`postgres://u:p@127.9.9.1:5432/d`},
	{"a port of all digits", `postgres://u:p@db.example.com:10987/d`,
		`postgres://u:p@127.9.9.1:10987/d`},
	{"nothing behind the port", `postgres://u:p@db.example.com:5432`,
		`postgres://u:p@127.9.9.1:5432`},
	{"the host twice in a row", `postgres://hh:p@h/hh`,
		`postgres://hh:p@127.9.9.1/hh`},
	{"the host as user, password and database", `postgres://db.example.com:db.example.com@db.example.com/db.example.com`,
		`postgres://db.example.com:db.example.com@127.9.9.1/db.example.com`},
	{"host and port in a careless password", `postgres://u:p@db.example.com:5432/port=5432@db.example.com:5432/d?sslmode=require`,
		`postgres://u:p@db.example.com:5432/port=5432@127.9.9.1:5432/d?sslmode=require`},
	{"host and port in an escaped password", `postgres://u:%40db.example.com%3A5432@db.example.com:5432/d`,
		`postgres://u:%40db.example.com%3A5432@127.9.9.1:5432/d`},
	{"the host in other parameters", `postgres://u:p@db.example.com/d?application_name=db.example.com:5432&sslrootcert=/db.example.com`,
		`postgres://u:p@127.9.9.1/d?application_name=db.example.com:5432&sslrootcert=/T/ca.pem`},
	{"a port in another parameter", `postgres://u:p@db.example.com:5432/d?options=-c port=5432`,
		`postgres://u:p@127.9.9.1:5432/d?options=-c port=5432`},
	{"a port in another parameter, and its own", `postgres://u:p@db.example.com/d?options=-c port=5432&port=5433`,
		`postgres://u:p@127.9.9.1/d?options=-c port=5432&port=5433`},
	{"a host that begins like the other", `postgres://u:p@db.example.com,db.example.com.eu/d`,
		`postgres://u:p@127.9.9.1,127.9.9.2/d`},
	{"several hosts", `postgres://u:p@h1:5432,h2:5433,h3/d?target_session_attrs=any`,
		`postgres://u:p@127.9.9.1:5432,127.9.9.2:5433,127.9.9.3/d?target_session_attrs=any`},
	{"IPv6", `postgres://u:p@[2001:DB8::1]:5432/d`,
		`postgres://u:p@127.9.9.1:5432/d`},
	{"a name in brackets", `postgres://u:p@[db.example.com]:5432/d`,
		`postgres://u:p@127.9.9.1:5432/d`},
	{"the host in the query, which libpq wants without a port", `postgres://u:p@/d?host=db.example.com&port=5432`,
		`postgres://u:p@/d?host=127.9.9.1&port=5432`},
	{"the host in the query, and no port", `postgres:///d?user=u&host=db.example.com`,
		`postgres:///d?user=u&host=127.9.9.1`},
	{"the port in the query", `postgres://u:p@db.example.com/d?port=5433`,
		`postgres://u:p@127.9.9.1/d?port=5433`},
	{"hostaddr, which libpq connects to", `postgres://u:p@db.example.com/d?hostaddr=10.1.2.3`,
		`postgres://u:p@127.9.9.1/d?hostaddr=127.9.9.1`},
	{"HTML's ampersand", `postgres://u:p@db.example.com/d?sslmode=require&amp;port=5433`,
		`postgres://u:p@127.9.9.1/d?sslmode=require&amp;port=5433`},
	{"quotes and blanks around it", `  'postgres://u:p@db.example.com/d' `,
		`  'postgres://u:p@127.9.9.1/d' `},
	{"SQLAlchemy", `postgresql+asyncpg://u:p@db.example.com/d`,
		`postgresql+asyncpg://u:p@127.9.9.1/d`},
	{"pgjdbc", `jdbc:postgresql://h1:5432,h2/d?user=h1&password=a%26host%3Dh1&host=h1`,
		`jdbc:postgresql://127.9.9.1:5432,127.9.9.2/d?user=h1&password=a%26host%3Dh1&host=h1`},
	{"R2DBC", `r2dbc:pool:postgresql://u:p@db.example.com:5432/d`,
		`r2dbc:pool:postgresql://u:p@127.9.9.1:5432/d`},
	{"libpq's words", `host=db.example.com port=5432 dbname=d user=u`,
		`host=127.9.9.1 port=5432 dbname=d user=u`},
	{"words without a port", `user=u dbname=d host = db.example.com`,
		`user=u dbname=d host = 127.9.9.1`},
	{"words with quotes", `host='db.example.com' port='5432' user=u password='it\\'s host=db.example.com port=5432'`,
		`host='127.9.9.1' port='5432' user=u password='it\\'s host=db.example.com port=5432'`},
	{"words that look alike", `user=db.example.com password=5432 dbname=port host=db.example.com port=5432`,
		`user=db.example.com password=5432 dbname=port host=127.9.9.1 port=5432`},
	{"a host that looks like its port", `host=5432 port=5432 dbname=5432 user=5432`,
		`host=127.9.9.1 port=5432 dbname=5432 user=5432`},
	{"letters that become longer in lower case", `postgres://İİİİ:p@DB.example.com/d`,
		`postgres://İİİİ:p@127.9.9.1/d`},
	{"several hosts, a port for each", `host=h1,h2 port=5432,5433 dbname=d user=u`,
		`host=127.9.9.1,127.9.9.2 port=5432,5433 dbname=d user=u`},
	{"several hosts, one port", `host=h1,h2 port=5432 dbname=d user=u`,
		`host=127.9.9.1,127.9.9.2 port=5432 dbname=d user=u`},
	{"hostaddr beside the host", `host=db.example.com hostaddr=10.1.2.3 dbname=d user=u`,
		`host=127.9.9.1 hostaddr=127.9.9.1 dbname=d user=u`},
	{"hostaddr alone", `hostaddr=10.1.2.3 port=5432 dbname=d user=u`,
		`hostaddr=127.9.9.1 port=5432 dbname=d user=u`},
	{"IPv6 in words", `host=2001:db8::1 port=5432 dbname=d user=u`,
		`host=127.9.9.1 port=5432 dbname=d user=u`},
	{"IPv6 at the end", `port=5432 dbname=d user=u host=2001:db8::1`,
		`port=5432 dbname=d user=u host=127.9.9.1`},
	{"the host at the end, with a dot", `dbname=d user=u host=db.example.com.`,
		`dbname=d user=u host=127.9.9.1`},
	{"the host at the beginning of a command line", `h psql 'host=h dbname=d user=u'`,
		`h psql 'host=127.9.9.1 dbname=d user=u'`},
	{"a command line", `PGPASSWORD=db.example.com psql 'host=db.example.com dbname=d user=u sslmode=verify-full'`,
		`PGPASSWORD=db.example.com psql 'host=127.9.9.1 dbname=d user=u sslmode=verify-full'`},
	{"ADO.NET", `Server=db.example.com;Port=5432;Database=d;User Id=u;Password='x;Port=5432;Server=db.example.com'`,
		`Server=127.9.9.1;Port=5432;Database=d;User Id=u;Password='x;Port=5432;Server=db.example.com'`},
	{"ADO.NET without a port", `Host=db.example.com;Database=d;Username=u;`,
		`Host=127.9.9.1;Database=d;Username=u;`},
	{"ADO.NET with several hosts", `Host=h1:5432,h2:5433;Database=d;Username=u`,
		`Host=127.9.9.1:5432,127.9.9.2:5433;Database=d;Username=u`},
	{"ODBC", `Driver={PostgreSQL Unicode};Server=db.example.com;Port=5432;Database=d;UID=u;PWD={x;Port=5432}`,
		`Driver={PostgreSQL Unicode};Server=127.9.9.1;Port=5432;Database=d;UID=u;PWD={x;Port=5432}`},
	{"PDO, whose keys are libpq's, in lower case", `pgsql:host=db.example.com;dbname=d`,
		`pgsql:host=127.9.9.1;dbname=d`},
}

func TestAConnectionStringNamesTheTunnelAndIsOtherwiseTheSame(t *testing.T) {
	for _, form := range renamedStrings {
		t.Run(form.name, func(t *testing.T) {
			assert.Equal(t, canonical(t, inService(`{"dsn":"`+form.after+`"}`)), seen(t, inService(`{"dsn":"`+form.before+`"}`), every))
		})
	}
}

var renamedCredentials = []renamed{
	{"keys", `{"host":"db.example.com","port":5432,"dbname":"d","user":"db.example.com","password":"5432","uri":"postgres://"}`,
		`{"dbname":"d","host":"127.9.9.1","password":"5432","port":5432,"uri":"postgres://","user":"db.example.com"}`},
	{"a port in quotes, blanks", `{"Host Name":" db.example.com ","Port":" 5432","user":"u","sslmode":"require"}`,
		`{"Host Name":" 127.9.9.1 ","Port":" 5432","sslmode":"require","user":"u"}`},
	{"host and port in one", `{"host":"[2001:db8::1]:5432","port":5432,"user":"u","sslmode":"require"}`,
		`{"host":"127.9.9.1:5432","port":5432,"sslmode":"require","user":"u"}`},
	{"lists", `{"hosts":["h1","h2"],"port":[5432,"5433"],"user":"u","sslmode":"require"}`,
		`{"hosts":["127.9.9.1","127.9.9.2"],"port":[5432,"5433"],"sslmode":"require","user":"u"}`},
	{"lists in texts", `{"hosts":"h1, h2","port":"5432,5433","user":"u","sslmode":"require"}`,
		`{"hosts":"127.9.9.1, 127.9.9.2","port":"5432,5433","sslmode":"require","user":"u"}`},
	{"RDS", `{"Endpoint":{"Address":"db.example.com","Port":5432,"HostedZoneId":"Z5432"},"user":"u","sslmode":"require"}`,
		`{"Endpoint":{"Address":"127.9.9.1","HostedZoneId":"Z5432","Port":5432},"sslmode":"require","user":"u"}`},
	{"escapes", `{"\u0068ost":"\u0064b.example.com","port":"5\u00332","uri":"postgres:\/\/u:\u0026\ud83d\ude00@db.example.com:532\/d?sslmode\u003drequire"}`,
		`{"host":"127.9.9.1","port":"532","uri":"postgres://u:&😀@127.9.9.1:532/d?sslmode=require"}`},
	{"bytes that are no character", "{\"uri\":\"postgres://u:\xff\\ud83d@db.example.com/d\"}",
		"{\"uri\":\"postgres://u:��@127.9.9.1/d\"}"},
	{"JSON in a text", `{"config":"{ \"uri\" : \"postgres:\\/\\/u:\\u0040@db.example.com\\/d\", \"host\":\"db.example.com\",\"port\":5432 }\r\n"}`,
		`{"config":"{\"host\":\"127.9.9.1\",\"port\":5432,\"uri\":\"postgres://u:@@127.9.9.1/d\"}"}`},
	{"equal keys: the last one counts", `{"uri":"postgres://u@a/d","uri":"postgres://u@b/d","port":1,"port":5432}`,
		`{"port":5432,"uri":"postgres://u@127.9.9.1/d"}`},
	{"numbers, blanks and order stay", "{ \"n\" : 1.50e+3 ,\r\n\t\"uri\" : \"postgres://u@a:5432/d\", \"b\":null, \"a\":[ ] }",
		`{"a":[],"b":null,"n":1.50e+3,"uri":"postgres://u@127.9.9.1:5432/d"}`},
	{"IBM", `{"connection":{"cli":{"arguments":[["host=h port=324 dbname=i user=u"]],"composed":["PGPASSWORD=h psql 'host=h port=324 dbname=i user=u'"]},"postgres":{"composed":["postgres://u:h@h:324/i"],"hosts":[{"hostname":"h","port":324}],"path":"/i"}}}`,
		`{"connection":{"cli":{"arguments":[["host=127.9.9.1 port=324 dbname=i user=u"]],"composed":["PGPASSWORD=h psql 'host=127.9.9.1 port=324 dbname=i user=u'"]},"postgres":{"composed":["postgres://u:h@127.9.9.1:324/i"],"hosts":[{"hostname":"127.9.9.1","port":324}],"path":"/i"}}}`},
	{"a9s: all hosts share a port, and the uri has one of them", `{"host":"alias","hosts":["pg0","pg1"],"port":5432,"uri":"postgres://u:p@alias:5432/d"}`,
		`{"host":"127.9.9.1","hosts":["127.9.9.2","127.9.9.3"],"port":5432,"uri":"postgres://u:p@127.9.9.1:5432/d"}`},
	{"cloud.gov: a replica that shares the port key gets the primary", `{"host":"h","port":"5432","uri":"postgres://u:p@h:5432/d","replica_host":"r","replica_uri":"postgres://u:p@r:5432/d"}`,
		`{"host":"127.9.9.1","port":"5432","replica_host":"127.9.9.2","replica_uri":"postgres://u:p@127.9.9.2:5432/d","uri":"postgres://u:p@127.9.9.1:5432/d"}`},
	{"a replica's key alone", `{"uri":"postgres://u:p@h:5433/d","reader_host":"r","port":5433}`,
		`{"port":5433,"reader_host":"127.9.9.2","uri":"postgres://u:p@127.9.9.1:5433/d"}`},
	{"a replica with its own port", `{"host":"h","port":5432,"user":"u","sslmode":"require","replica_endpoint":{"host":"r","port":5433}}`,
		`{"host":"127.9.9.1","port":5432,"replica_endpoint":{"host":"127.9.9.2","port":5433},"sslmode":"require","user":"u"}`},
	{"Aiven: a pooler at another port of the host", `{"uri":"postgres://u:p@h:1/d","pg_bouncer":"postgres://u:p@h:2/d","components":[{"component":"pg","host":"h","port":1},{"component":"pgbouncer","host":"h","port":2}]}`,
		`{"components":[{"component":"pg","host":"127.9.9.1","port":1},{"component":"pgbouncer","host":"127.9.9.1","port":2}],"pg_bouncer":"postgres://u:p@127.9.9.1:2/d","uri":"postgres://u:p@127.9.9.1:1/d"}`},
	{"the port of a uri beside it", `{"uri":"postgres://u:p@h/d","port":5433}`,
		`{"port":5433,"uri":"postgres://u:p@127.9.9.1/d"}`},
	{"the port around it, for all hosts", `{"port":5433,"db":{"hosts":["h1","h2"],"user":"u","sslmode":"require"}}`,
		`{"db":{"hosts":["127.9.9.1","127.9.9.2"],"sslmode":"require","user":"u"},"port":5433}`},
	{"a port that is not the hosts'", `{"hosts":[{"hostname":"h","port":324}],"port":8080,"user":"u","sslmode":"require"}`,
		`{"hosts":[{"hostname":"127.9.9.1","port":324}],"port":8080,"sslmode":"require","user":"u"}`},
	{"null", `{"host":null,"hostname":"h","port":5432,"address":false,"user":"u","sslmode":"require"}`,
		`{"address":false,"host":null,"hostname":"127.9.9.1","port":5432,"sslmode":"require","user":"u"}`},
	{"one more port, around it", `{"port":8080,"db":{"host":"h","port":5432,"user":"u","sslmode":"require"}}`,
		`{"db":{"host":"127.9.9.1","port":5432,"sslmode":"require","user":"u"},"port":8080}`},
	{"something else on the same host", `{"uri":"postgres://u:p@h:5432/d","api":{"host":"h","port":8080},"url":"https://h:5432","note":"h:5432","my":{"type":"mysql","host":"h","port":5432,"user":"u"}}`,
		`{"api":{"host":"h","port":8080},"my":{"host":"127.9.9.1","port":5432,"type":"mysql","user":"u"},"note":"h:5432","uri":"postgres://u:p@127.9.9.1:5432/d","url":"https://h:5432"}`},
	{"a password that looks like a string", `{"host":"h","port":5432,"user":"u","sslmode":"require","password":"postgres://u:p@h:5432/d"}`,
		`{"host":"127.9.9.1","password":"postgres://u:p@h:5432/d","port":5432,"sslmode":"require","user":"u"}`},
	{"tenants", `{"t1":{"uri":"postgres://u:p@a:5432/d"},"t2":{"host":"b","port":5432,"user":"u","sslmode":"require"},"t3":{"uri":"postgres://u:p@a:5433/d"}}`,
		`{"t1":{"uri":"postgres://u:p@127.9.9.1:5432/d"},"t2":{"host":"127.9.9.2","port":5432,"sslmode":"require","user":"u"},"t3":{"uri":"postgres://u:p@127.9.9.1:5433/d"}}`},
	{"a replica whose port is not the one beside it", `{"uri":"postgres://u:p@h:5432/d","reader_host":"r:5433","port":5432}`,
		`{"port":5432,"reader_host":"127.9.9.2:5433","uri":"postgres://u:p@127.9.9.1:5432/d"}`},
	{"parts of a second database", `{"uri":"postgres://u:p@a:1/d","dsn":"postgres://u:p@b:2/d","components":[{"host":"b","port":2},{"host":"a","port":1}]}`,
		`{"components":[{"host":"127.9.9.2","port":2},{"host":"127.9.9.1","port":1}],"dsn":"postgres://u:p@127.9.9.2:2/d","uri":"postgres://u:p@127.9.9.1:1/d"}`},
	{"a list with nothing between its commas", `{"host":"h,,h2, ","port":5432,"user":"u","sslmode":"require"}`,
		`{"host":"127.9.9.1,,127.9.9.2, ","port":5432,"sslmode":"require","user":"u"}`},
	{"a key for hosts that names none", `{"Endpoint":{"Address":"h","host":"?a b","Port":5432},"user":"u","sslmode":"require"}`,
		`{"Endpoint":{"Address":"127.9.9.1","Port":5432,"host":"?a b"},"sslmode":"require","user":"u"}`},
	{"words of the rewriting itself in the binding", `{"uri":"postgres://HOST:PORT@h/HOST?application_name=PORT"}`,
		`{"uri":"postgres://HOST:PORT@127.9.9.1/HOST?application_name=PORT"}`},
	{"no port: the default counts", `{"host":"h","user":"u","sslmode":"require"}`, `{"host":"127.9.9.1","sslmode":"require","user":"u"}`},
	{"a port for several objects", `{"a":{"host":"h1","user":"u"},"b":{"host":"h2","user":"u"},"port":5432,"ssl":"require"}`,
		`{"a":{"host":"127.9.9.1","user":"u"},"b":{"host":"127.9.9.2","user":"u"},"port":5432,"ssl":"require"}`},
	{"keys that look alike", `{"a.b":{"uri":"postgres://u:p@h1/d"},"a":{"b":{"uri":"postgres://u:p@h2/d"}}}`,
		`{"a":{"b":{"uri":"postgres://u:p@127.9.9.1/d"}},"a.b":{"uri":"postgres://u:p@127.9.9.2/d"}}`},
	{"Neon's keys, which we do not know", `{"DATABASE_URL":"postgres://u:p@ep-1.neon.tech/d","PGHOST":"ep-1.neon.tech","PGHOST_UNPOOLED":"ep-1.neon.tech","PGUSER":"u"}`,
		`{"DATABASE_URL":"postgres://u:p@127.9.9.1/d","PGHOST":"127.9.9.1","PGHOST_UNPOOLED":"127.9.9.1","PGUSER":"u"}`},
	{"Crunchy's pgbouncer", `{"uri":"postgres://u:p@h.ns.svc:5432/d","pgbouncer-host":"b.ns.svc","pgbouncer-port":"5431","pgbouncer-uri":"postgres://u:p@b.ns.svc:5431/d"}`,
		`{"pgbouncer-host":"127.9.9.2","pgbouncer-port":"5431","pgbouncer-uri":"postgres://u:p@127.9.9.2:5431/d","uri":"postgres://u:p@127.9.9.1:5432/d"}`},
	{"an unknown key for something else on the host", `{"uri":"postgres://u:p@db.example.com/d","METRICS_HOST":"db.example.com","METRICS_PORT":9187,"other":"db.example.com:9187"}`,
		`{"METRICS_HOST":"db.example.com","METRICS_PORT":9187,"other":"db.example.com:9187","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"a host alone, beside another port than PostgreSQL's", `{"uri":"postgres://u:p@db.example.com:6432/d","DB_HOST":"db.example.com"}`,
		`{"DB_HOST":"127.9.9.1","uri":"postgres://u:p@127.9.9.1:6432/d"}`},
	{"a host within other words", `{"uri":"postgres://u:p@db.example.com/d","note":"it is at db.example.com, port 5432","mail":"dba@db.example.com","docs":"https://db.example.com/",` +
		`"path":"/certs/db.example.com/ca","longer":"my-db.example.com db.example.com.eu","command":"psql -h DB.example.com. -p 5432"}`,
		`{"command":"psql -h 127.9.9.1 -p 5432","docs":"https://db.example.com/","longer":"my-db.example.com db.example.com.eu","mail":"dba@db.example.com",` +
			`"note":"it is at 127.9.9.1, port 5432","path":"/certs/db.example.com/ca","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"another port beside a host, and beside something else", `{"uri":"postgres://u:p@db.example.com/d","web":{"web_host":"db.example.com","port":8080,"note":"db.example.com"}}`,
		`{"uri":"postgres://u:p@127.9.9.1/d","web":{"note":"127.9.9.1","port":8080,"web_host":"db.example.com"}}`},
	{"a key for hosts with another text", `{"uri":"postgres://u:p@orders/d","postal_address":"orders, Main Street 1","web_address":"orders"}`,
		`{"postal_address":"orders, Main Street 1","uri":"postgres://u:p@127.9.9.1/d","web_address":"127.9.9.1"}`},
	{"a word is a host only where a host is", `{"host":"postgres","user":"postgres","type":"postgres","plan":"postgres","db_host":"postgres","sslmode":"require"}`,
		`{"db_host":"127.9.9.1","host":"127.9.9.1","plan":"postgres","sslmode":"require","type":"postgres","user":"postgres"}`},
}

const anyCA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

// The tunnel's CA is "CA" here, and its file "/T/ca.pem".
var renamedCAs = []renamed{
	{"a key that we know", `{"uri":"postgres://u:p@h/d","sslrootcert":"PEM"}`, `{"sslrootcert":"CA","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"a key that we do not know", `{"uri":"postgres://u:p@h/d","pem":"PEM"}`, `{"pem":"CA","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"lists and objects", `{"uri":"postgres://u:p@h/d","tls":{"cas":["PEM","PEM"]}}`, `{"tls":{"cas":["CA","CA"]},"uri":"postgres://u:p@127.9.9.1/d"}`},
	{"base64 of PEM", `{"uri":"postgres://u:p@h/d","ca_base64":"LS0tLS1CRUdJTiBDRVJU"}`, `{"ca_base64":"Q0E=","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"the path of a file", `{"uri":"postgres://u:p@h/d","sslrootcert":"/app/ca.pem"}`, `{"sslrootcert":"/T/ca.pem","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"the system's", `{"uri":"postgres://u:p@h/d","sslrootcert":"system"}`, `{"sslrootcert":"/T/ca.pem","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"in a URI", `{"uri":"postgres://u:p@h/d?sslrootcert=%2Fapp%2Fca.pem&sslmode=verify-ca"}`, `{"uri":"postgres://u:p@127.9.9.1/d?sslrootcert=/T/ca.pem&sslmode=verify-ca"}`},
	{"in a URI, before another one", `{"uri":"postgres://u:p@h/d?sslrootcert=/app/ca.pem&options=-c sslrootcert=/x"}`, `{"uri":"postgres://u:p@127.9.9.1/d?sslrootcert=/T/ca.pem&options=-c sslrootcert=/x"}`},
	{"in a URI, behind another one", `{"uri":"postgres://u:p@h/d?options=-c sslrootcert=/x&sslrootcert=/app/ca.pem"}`, `{"uri":"postgres://u:p@127.9.9.1/d?options=-c sslrootcert=/x&sslrootcert=/T/ca.pem"}`},
	{"in a URI, the system's", `{"uri":"postgres://u:p@h/d?sslmode=verify-full&sslrootcert=system"}`, `{"uri":"postgres://u:p@127.9.9.1/d?sslmode=verify-full&sslrootcert=/T/ca.pem"}`},
	{"in JSON in a text", `{"uri":"postgres://u:p@h/d","tls":"{\"ca\":\"-----BEGIN CERTIFICATE-----\\nx\",\"mode\":\"verify-ca\"}"}`, `{"tls":"{\"ca\":\"CA\",\"mode\":\"verify-ca\"}","uri":"postgres://u:p@127.9.9.1/d"}`},
	{"PEM in a URI", `{"uri":"postgres://u:p@h/d?sslrootcert=-----BEGIN%20CERTIFICATE-----%0Ax&sslmode=verify-ca"}`, `{"uri":"postgres://u:p@127.9.9.1/d?sslrootcert=/T/ca.pem&sslmode=verify-ca"}`},
	{"in words", `{"dsn":"host=h user=u dbname=d sslrootcert='/my ca.pem' password=sslrootcert=x"}`, `{"dsn":"host=127.9.9.1 user=u dbname=d sslrootcert=/T/ca.pem password=sslrootcert=x"}`},
	{"in words, without quotes", `{"dsn":"host=h sslrootcert=/app/ca.pem user=u dbname=d"}`, `{"dsn":"host=127.9.9.1 sslrootcert=/T/ca.pem user=u dbname=d"}`},
	{"in a URI, with blanks", `{"uri":"postgres://u:p@h/d?sslrootcert=/my h.x certs/ca.pem&sslmode=verify-ca"}`, `{"uri":"postgres://u:p@127.9.9.1/d?sslrootcert=/T/ca.pem&sslmode=verify-ca"}`},
	{"PEM in a URI, with blanks", `{"uri":"postgres://u:p@h/d?sslrootcert=-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n&sslmode=verify-ca"}`, `{"uri":"postgres://u:p@127.9.9.1/d?sslrootcert=/T/ca.pem&sslmode=verify-ca"}`},
	{"ADO.NET, with blanks", `{"dsn":"Host=h;Database=d;Username=u;Root Certificate=/my certs of h/ca.pem;"}`, `{"dsn":"Host=127.9.9.1;Database=d;Username=u;Root Certificate=/T/ca.pem;"}`},
	{"ADO.NET", `{"dsn":"Host=h;Database=d;Username=u;Root Certificate=/ca.pem;"}`, `{"dsn":"Host=127.9.9.1;Database=d;Username=u;Root Certificate=/T/ca.pem;"}`},
	{"not the client's, nor that of a login page", `{"uri":"postgres://u:p@h/d","sslcert":"PEM","saml_cert":"PEM","key":"-----BEGIN CERTIFICATE-----\nx\n-----BEGIN PRIVATE KEY-----\n"}`,
		`{"key":"-----BEGIN CERTIFICATE-----\nx\n-----BEGIN PRIVATE KEY-----\n","saml_cert":"PEM","sslcert":"PEM","uri":"postgres://u:p@127.9.9.1/d"}`},
}

func TestCredentialsNameTheTunnelAndAreOtherwiseTheSame(t *testing.T) {
	for _, form := range renamedCredentials {
		t.Run(form.name, func(t *testing.T) {
			assert.Equal(t, canonical(t, inService(form.after)), seen(t, inService(form.before), every))
		})
	}
}

// An app that verifies by the binding's CA verifies the tunnel.
func TestTheCAOfARenamedDatabaseIsTheTunnels(t *testing.T) {
	inJSON := func(text string) string {
		quoted, err := json.Marshal(anyCA)
		require.NoError(t, err)
		return strings.ReplaceAll(text, `"PEM"`, string(quoted))
	}
	for _, form := range renamedCAs {
		t.Run(form.name, func(t *testing.T) {
			assert.Equal(t, canonical(t, inService(inJSON(form.after))), seen(t, inService(inJSON(form.before)), every))
		})
	}
	t.Run("on one line, as some brokers write it", func(t *testing.T) {
		r, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres://u:p@h/d","ca":"-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----"}`)}, every)
		require.NoError(t, err)
		tunnel := aTunnel
		tunnel.CA = "a\nb\n"
		variables, _ := r.To(tunnel)
		assert.Contains(t, variables["VCAP_SERVICES"], `"ca":"a\\nb\\n"`)
	})
	t.Run("of the others it stays", func(t *testing.T) {
		two := `{"x":[{"name":"a","credentials":{"uri":"postgres://u:p@h/d"}},{"name":"b","credentials":` + inJSON(`{"uri":"postgres://u:p@h/d","ca":"PEM"}`) + `}]}`
		assert.Contains(t, seen(t, two, only(0)), "MIIB")
		assert.NotContains(t, seen(t, two, only(1)), "MIIB", "control")
	})
}

const stuck = "a host that the tunnel cannot replace alone: write host, port, user, password and database as credentials of their own"

// notRenamed are credentials whose host cannot be replaced, with the error after "db: ".
var notRenamed = map[string]string{
	`{"uri":"postgres://u:Zq7xWv9k@db%2Eexample.com/d"}`:                              "credential uri names " + stuck,
	`{"dsn":"host=db\\.example.com password=Zq7xWv9k dbname=d"}`:                      "credential dsn names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@h/d?hostaddr=10%2E1.2.3"}`:                         "credential uri names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@one/d?host=two"}`:                                  "credential uri names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@db%2Eexample.com:5432/d","port":5432}`:             "credential uri names " + stuck,
	`{"host":1234,"port":5432,"user":"u","password":"Zq7xWv9k","sslmode":"require"}`:  "the credentials name " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@/d?host=%2Fvar%2Frun"}`:                            "the tunnel needs a host to replace, but the credentials name none",
	`{"host":"h","port":5432.0,"user":"u","password":"Zq7xWv9k","sslmode":"require"}`: "the port in the binding is not a number from 1 to 65535",
	`{"host":"h","port":"Zq7xWv9k","user":"u","sslmode":"require"}`:                   "the port in the binding is not a number from 1 to 65535",
	`{"host":"h","port":0,"user":"u","sslmode":"require","password":"Zq7xWv9k"}`:      "the port in the binding is not a number from 1 to 65535",
	`{"host":"h","port":65536,"user":"u","sslmode":"require","password":"Zq7xWv9k"}`:  "the port in the binding is not a number from 1 to 65535",

	// Beside a URI in which it can be replaced, an app may take the other way.
	`{"uri":"postgres://u:Zq7xWv9k@db.example.com/d?sslmode=verify-full","jdbcUrl":"jdbc:postgresql://db%2Eexample.com/d?user=u"}`:     "credential jdbcUrl names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@db.example.com/d?sslmode=verify-full","nested":{"uri":"postgres://u:Zq7xWv9k@db%2Eexample.com/d"}}`: "credential nested.uri names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@db.example.com/d?sslmode=verify-full","more":["postgres://u:Zq7xWv9k@db%2Eexample.com/d","x"]}`:     "credential more[0] names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@db.example.com/d?sslmode=verify-full","cli":"psql postgres://u:Zq7xWv9k@db%2Eexample.com/d"}`:       "credential cli names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@db.example.com/d?sslmode=verify-full","dsn":"host=db\\.example.com password=Zq7xWv9k dbname=d"}`:    "credential dsn names " + stuck,
	`{"uri":"postgres://u:Zq7xWv9k@db.example.com/d?sslmode=verify-full","dsn":"postgres://u:Zq7xWv9k@other/d?host=db.example.com"}`:   "credential dsn names " + stuck,
	`{"host":1234,"uri":"postgres://u:Zq7xWv9k@1234/d?sslmode=verify-full"}`:                                                           "the credentials name " + stuck,
}

func TestIfTheHostCannotBeReplacedTheErrorNamesThePlaceAndNoSecret(t *testing.T) {
	for credentials, problem := range notRenamed {
		t.Run(credentials, func(t *testing.T) {
			_, err := redirect(map[string]string{"VCAP_SERVICES": inService(credentials)}, every)
			require.EqualError(t, err, "db: "+problem)
			assert.NotContains(t, err.Error(), "Zq7xWv9k")
		})
	}
}

const twoServices = `{"a-label": [{"name":"one","credentials":{"uri":"postgres://u:p@h:5432/one","replica_uri":"postgres://u:p@r/one"}}],
	"b-label": [{"name":"redis","label":"redis","credentials":{"host":"h","port":5432,"uri":"redis://h:5432"}}, {"name":"two","credentials":{"uri":"postgres://u:p@h:5432/two"}}]}`

// Each place is tried with the whole text, so there has to be an end.
func TestAHostThatMayStandInVeryManyPlacesIsRefused(t *testing.T) {
	uri := "postgres://u:p@h/d?application_name=h" + strings.Repeat(",h", mostPlaces-2)
	after := seen(t, inService(`{"uri":"`+uri+`"}`), every)
	assert.Equal(t, canonical(t, inService(`{"uri":"`+strings.Replace(uri, "@h/", "@127.9.9.1/", 1)+`"}`)), after)
	_, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"` + uri + `,h"}`)}, every)
	assert.EqualError(t, err, "db: credential uri names "+stuck)
	for host, longer := range map[string][]string{"h": {"xh", "hx", ".h", "h.x", "-h", "h-"}, "[::1]": {"2::1", "::1:2", "x::1", "::1x"}} {
		for _, name := range longer { // it is no place for the host
			uri := "postgres://u:p@" + host + "/d?application_name=" + strings.Repeat(name+",", mostPlaces)
			seen(t, inService(`{"uri":"`+uri+`"}`), every)
		}
	}
}

func TestOnlyWantedDatabasesAreRedirected(t *testing.T) {
	assert.Equal(t, canonical(t, strings.Replace(twoServices, "h:5432/two", "127.9.9.1:5432/two", 1)), seen(t, twoServices, only(1)))
	assert.Equal(t, canonical(t, twoServices), seen(t, twoServices, func(int) bool { return false }))
}

// Two services on one host have an address each, because each has its own mode.
func TestEachServiceHasItsOwnAddressesAlwaysInTheSameOrder(t *testing.T) {
	for range 20 {
		r, err := redirect(map[string]string{"VCAP_SERVICES": twoServices}, every)
		require.NoError(t, err)
		assert.Equal(t, []Endpoint{{0, "one", "h", 5432, 0}, {0, "one", "r", 5432, 1}, {1, "two", "h", 5432, 2}}, r.Endpoints)
	}
}

func TestAnItemWithTwoHostsAlwaysNamesTheSameOne(t *testing.T) {
	for range 50 {
		b := one(t, map[string]string{"VCAP_SERVICES": inService(`{"hosts":[{"hostname":"b","host":"a","port":1,"Port":2}],"user":"u","sslmode":"require"}`)})
		assert.Equal(t, []string{"a", "2"}, []string{b.Hosts[0], b.Ports[0]})
	}
}

// The reader accepts no longer string than this one.
func TestAStringThatTheTunnelsAddressMakesTooLongIsRefused(t *testing.T) {
	uri := "postgres://u:p@h/d?application_name="
	uri += strings.Repeat("x", longestString-len(uri))
	_, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"` + uri + `"}`)}, every)
	assert.ErrorContains(t, err, "db: ")
}

// An address goes by the strictest of the databases of a service that name it.
func TestTheStrictestDatabaseDecidesForAnAddress(t *testing.T) {
	for _, other := range []string{`{"uri":"postgres://u:p@a:5432/d?sslmode=require"}`, `{"host":"a","port":5432,"user":"u","dbname":"d","sslmode":"require"}`} {
		env := map[string]string{"VCAP_SERVICES": inService(`{"host":"a","hosts":["b"],"port":5432,"user":"u","sslmode":"verify-full","other":` + other + `}`)}
		found, err := Read(env)
		require.NoError(t, err)
		r, err := Redirect(env, []Binding{found.Databases[1], found.Databases[0]})
		require.NoError(t, err)
		assert.Equal(t, []Endpoint{{0, "db", "a", 5432, 0}, {1, "db", "b", 5432, 1}}, r.Endpoints)
		r, err = Redirect(env, found.Databases)
		require.NoError(t, err)
		assert.Equal(t, []Endpoint{{0, "db", "a", 5432, 0}, {0, "db", "b", 5432, 1}}, r.Endpoints)
	}
}

// An app takes the primary's port for a replica that has none of its own.
func TestAReplicaThatSharesThePortHasAListenerThere(t *testing.T) {
	for replica, port := range map[string]uint16{"r": 5433, "r:5434": 5434} {
		r, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"host":"h","port":5433,"replica_host":"` + replica + `","user":"u","sslmode":"require"}`)}, every)
		require.NoError(t, err)
		assert.Equal(t, []Endpoint{{0, "db", "h", 5433, 0}, {0, "db", "r", port, 1}}, r.Endpoints)
	}
	r, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres:///d","port":5433,"replica_host":"r"}`)}, every)
	require.NoError(t, err)
	assert.Equal(t, []Endpoint{{0, "db", "r", 5433, 0}}, r.Endpoints, "also if the service names no other host")
}

func TestThePortAroundAnObjectIsForAllOfItsHosts(t *testing.T) {
	r, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"port":5433,"db":{"hosts":["h1","h2"],"user":"u","sslmode":"require"}}`)}, every)
	require.NoError(t, err)
	assert.Subset(t, r.Endpoints, []Endpoint{{0, "db", "h1", 5433, 0}, {0, "db", "h2", 5433, 1}})

	for _, hosts := range []string{
		`"port":"5433,5434","db":{"hosts":["h1","h2"],"user":"u","sslmode":"require"}`, `"port":["5433",5434],"db":{"host":"h1,h2","sslmode":"require"}`,
		`"port":"5433, 5434","uri":"postgres:///d","replica_host":"h1,h2"`, `"port":[5433,5434],"uri":"postgres:///d","replica_hosts":["h1","h2"]`,
	} {
		r, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{` + hosts + `}`)}, every)
		require.NoError(t, err, hosts)
		assert.Subset(t, r.Endpoints, []Endpoint{{0, "db", "h1", 5433, 0}, {0, "db", "h2", 5434, 1}}, "each its own")
	}
	for _, ports := range []string{`"x"`, `"5433,5434,5435"`, `"5433,"`} {
		_, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"port":` + ports + `,"db":{"hosts":["h1","h2"],"user":"u","sslmode":"require"}}`)}, every)
		assert.ErrorContains(t, err, "is not a number from 1 to 65535", ports)
	}
}

func TestOnlyTheWantedDatabaseOfAServiceIsRedirected(t *testing.T) {
	document := inService(`{"a":{"uri":"postgres://u:p@a:1/d"},"b":{"host":"b","port":2,"user":"u","sslmode":"require"}}`)
	for i, after := range []string{strings.Replace(document, "a:1", "127.9.9.1:1", 1), strings.Replace(document, `"b","port":2`, `"127.9.9.1","port":2`, 1)} {
		assert.Equal(t, canonical(t, after), seen(t, document, only(i)))
	}
}

func TestAStringWithACertificateInItStaysAString(t *testing.T) {
	document := inService(`{"a":{"uri":"postgres://u:p@a/d"},"b":{"uri":"postgres://u:p@b/d?sslrootcert=-----BEGIN CERTIFICATE-----"}}`)
	assert.Equal(t, canonical(t, strings.Replace(document, "@a/", "@127.9.9.1/", 1)), seen(t, document, only(0)))
}

func TestOnlyTheWantedStringOfALaterServiceIsRedirected(t *testing.T) {
	document := `{"x":[{"name":"a","credentials":{"uri":"postgres://u:p@a/d"}},{"name":"b","credentials":{"uri":"postgres://u:p@b/d","dsn":"postgres://u:p@c/d"}}]}`
	for i, host := range []string{"a", "b", "c"} {
		assert.Equal(t, canonical(t, strings.Replace(document, "@"+host+"/", "@127.9.9.1/", 1)), seen(t, document, only(i)))
	}
}

// The safety net: an app gets no binding with another meaning than before.
func TestARedirectionThatLeavesAHostOrChangesAPasswordIsRefused(t *testing.T) {
	env := map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","credentials":{"uri":"postgres://u:Zq7xWv9k@h:5432/d"}},{"name":"mail","credentials":{"note":"NOTE"}}]}`}
	found, err := Read(env)
	require.NoError(t, err)
	for why, tamper := range map[string]func(*Redirection){
		"as it is":            func(*Redirection) {},
		"a host that is left": func(r *Redirection) { r.Endpoints[0].Port++ },
		"another password": func(r *Redirection) {
			r.document = []byte(strings.Replace(string(r.document), "Zq7xWv9k", "other", 1))
		},
		"another mode": func(r *Redirection) {
			r.document = []byte(strings.Replace(string(r.document), "h:5432/d", "h:5432/d?sslmode=prefer", 1))
		},
		"another database": func(r *Redirection) {
			r.document = []byte(strings.Replace(string(r.document), "NOTE", "postgres://x/d", 1))
		},
		"no JSON": func(r *Redirection) { r.document = []byte("{") },
	} {
		r, err := redirect(env, every)
		require.NoError(t, err)
		tamper(r)
		err = r.check(found.Databases, len(found.Databases))
		assert.Equal(t, why == "as it is", err == nil, why)
		assert.NotContains(t, fmt.Sprint(err), "Zq7xWv9k")
	}
}

func TestServicesOfOneNameAreRenamedTogether(t *testing.T) {
	document := `{"user-provided":[{"name":"db","credentials":{"uri":"postgres://u:p@h/d"}},{"name":"db","credentials":{"uri":"postgres://u:p@k/d"}}]}`
	assert.Equal(t, canonical(t, strings.NewReplacer("@h/", "@127.9.9.1/", "@k/", "@127.9.9.2/").Replace(document)), seen(t, document, every))
}

func TestTheDatabaseURLOfThePlatformIsRedirectedAndOthersAreNot(t *testing.T) {
	env := map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres://u:p%21@h/d?sslmode=require"}`)}
	for _, test := range []struct {
		why, url, after string
		bypasses        bool
	}{
		{"the platform's: another scheme, other escapes", "postgresql://u:p!@h/d?sslmode=require", "postgresql://u:p!@127.9.9.1/d?sslmode=require", false},
		{"another login at the same host", "postgresql://me:p@h/d", "", true},
		{"another host", "postgresql://me:p@other/d", "", false},
		{"none of Postgres", "mysql://u:p@h/d", "", false},
		{"none", "", "", false},
	} {
		t.Run(test.why, func(t *testing.T) {
			env["DATABASE_URL"] = test.url
			r, err := redirect(env, every)
			require.NoError(t, err)
			assert.Equal(t, test.bypasses, slices.Contains(r.Bypassing, "DATABASE_URL"))
			assert.Len(t, r.Endpoints, 1)
			assert.Equal(t, test.after, given(r)["DATABASE_URL"])
		})
	}
}

func TestTheDatabaseURLGoesWithTheDatabaseThatItNames(t *testing.T) {
	const same = "postgres://u:p@h/d"
	env := map[string]string{"VCAP_SERVICES": `{"x":[{"name":"a","credentials":{"uri":"` + same + `"}},` +
		`{"name":"b","credentials":{"host":"b","port":5432,"user":"u","uri":"postgres://u:p@c/d","dsn":"postgres://u:p@e/d"}}, {"name":"c","credentials":{"uri":"` + same + `"}}]}`}
	for _, test := range []struct {
		why, url string
		wanted   func(int) bool
		after    string
	}{
		{"the first of two that are the same", same, every, "postgres://u:p@127.9.9.1/d"},
		{"the second database of the second service", "postgres://u:p@c/d", every, "postgres://u:p@127.9.9.3/d"},
		{"it alone is wanted", "postgres://u:p@c/d", only(2), "postgres://u:p@127.9.9.1/d"},
		{"another one is wanted", "postgres://u:p@c/d", only(1), ""},
		{"the platform copies no other key than uri", "postgres://u:p@e/d", every, ""},
	} {
		t.Run(test.why, func(t *testing.T) {
			env["DATABASE_URL"] = test.url
			r, err := redirect(env, test.wanted)
			require.NoError(t, err)
			after := given(r)["DATABASE_URL"]
			if after == test.url {
				after = ""
			}
			assert.Equal(t, test.after, after)
		})
	}
}

func TestADatabaseURLWithoutAHostIsLeft(t *testing.T) {
	r, err := redirect(map[string]string{"DATABASE_URL": "postgres:///d",
		"VCAP_SERVICES": inService(`{"uri":"postgres:///d","host":"h","port":5432,"user":"u","sslmode":"require"}`)}, every)
	require.NoError(t, err)
	assert.Len(t, r.Endpoints, 1)
	assert.NotContains(t, given(r), "DATABASE_URL")
}

func TestWhatNamesTheHostAndStaysIsNamed(t *testing.T) {
	for credentials, want := range map[string][]string{
		`{"uri":"postgres://u:p@db.example.com/d"}`:                                                nil,
		`{"uri":"postgres://u:p@db.example.com/d","pooler":{"host":"DB.example.com","port":6432}}`: {"db, credential pooler.host,"},
		`{"uri":"postgres://u:p@db.example.com/d","docs":"https://db.example.com"}`:                nil,
		`{"uri":"postgres://u:p@orders/d","note":"orders"}`:                                        nil, // any word may be a host
	} {
		r, err := redirect(map[string]string{"VCAP_SERVICES": inService(credentials), "HOME": "/home/vcap"}, every)
		require.NoError(t, err)
		assert.Equal(t, want, r.Bypassing, credentials)
	}
	r, err := redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres://u:p@db.example.com/d"}`), "PGHOST": "DB.example.com", "DSN": "host=db.example.com user=u dbname=d",
		"DB_CA": anyCA, "DOCS": "https://db.example.com", "METRICS": "db.example.com:9187", "VCAP_APPLICATION": `{"uris":["db.example.com"]}`, "CONFIG": `{"db":{"host":"db.example.com"}}`}, every)
	require.NoError(t, err)
	assert.Equal(t, []string{"CONFIG", "DSN", "PGHOST"}, r.Bypassing)
	r, err = redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres://u:p@db.corp.internal:6432/d"}`), "DB_HOST": "db.corp.internal", "METRICS": "db.corp.internal:9187"}, every)
	require.NoError(t, err)
	assert.Equal(t, []string{"DB_HOST"}, r.Bypassing, "a host alone goes with any port")
	uri := "postgres://u:p@db.example.com/d?sslrootcert="
	r, err = redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres://u:p@db.example.com/d"}`), "APP_DSN": "Host=db.example.com;Database=d;Username=u;Root Certificate=/my certs/ca.pem",
		"APP_PEM": uri + anyCA, "APP_URL": uri + "/my certs/ca.pem", "DATABASE_URL": uri + "/my certs/ca.pem"}, every)
	require.NoError(t, err)
	assert.Equal(t, []string{"APP_DSN", "APP_PEM", "APP_URL", "DATABASE_URL"}, r.Bypassing, "whatever CA it names")
}

func TestTheFileOfVCAPServicesIsRedirected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vcap_services")
	document := inService(`{"uri":"postgres://u:p@h/d"}`) + "\r\n"
	require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
	r, err := redirect(map[string]string{"VCAP_SERVICES_FILE_PATH": path, "VCAP_SERVICES": "not read"}, every)
	require.NoError(t, err)
	variables, files := r.To(aTunnel)
	assert.Equal(t, map[string]string{"VCAP_SERVICES_FILE_PATH": "/T/vcap_services"}, variables)
	assert.Equal(t, canonical(t, strings.Replace(document, "@h/", "@127.9.9.1/", 1)), string(files["/T/vcap_services"]))
	assert.Len(t, files, 2, "and the CA")
}

func TestMountedBindingsAreRedirectedFileByFile(t *testing.T) {
	root := t.TempDir()
	before := map[string]map[string]string{
		"db": {"type": "postgresql\n", "host": "h\r\n", "port": "5432\n", "username": "h", "password": "5432\n", "ca.crt": anyCA,
			"tls": `{"mode":"require","uri":"postgres://u:p@h:5432/d"}`, "metrics-host": "h", "metrics-port": "9187\n"},
		"mail": {"type": "smtp", "host": "h", "port": "5432"},
	}
	want := map[string]map[string]string{
		"db": {"type": "postgresql\n", "host": "127.9.9.1\r\n", "port": "5432\n", "username": "h", "password": "5432\n", "ca.crt": "CA\n",
			"tls": `{"mode":"require","uri":"postgres://u:p@127.9.9.1:5432/d"}`, "metrics-host": "h", "metrics-port": "9187\n"},
		"mail": before["mail"],
	}
	for folder, files := range before {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder, "..data"), 0o755))
		for name, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(root, folder, name), []byte(content), 0o600))
		}
	}
	r, err := redirect(map[string]string{"SERVICE_BINDING_ROOT": root}, every)
	require.NoError(t, err)
	variables, given := r.To(aTunnel)
	assert.Equal(t, map[string]string{"SERVICE_BINDING_ROOT": "/T/bindings"}, variables)
	assert.Equal(t, "CA", string(given["/T/ca.pem"]))
	delete(given, "/T/ca.pem")
	for folder, files := range want {
		for name, content := range files {
			assert.Equal(t, content, string(given["/T/bindings/"+folder+"/"+name]))
			delete(given, "/T/bindings/"+folder+"/"+name)
		}
	}
	assert.Empty(t, given)
	assert.Len(t, r.Endpoints, 1)
}

var oneOfTheTunnels = regexp.MustCompile(`127\.9\.9\.[0-9]+`)

// onlyHostsDiffer says how two values differ apart from hosts and CAs, "" if they do not.
func onlyHostsDiffer(path string, before, after any) string {
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		for key := range b {
			if _, ok := a[key]; !ok || len(a) != len(b) {
				return path + ": other keys"
			}
			if problem := onlyHostsDiffer(path+"."+key, b[key], a[key]); problem != "" {
				return problem
			}
		}
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			return path + ": another list"
		}
		for i := range b {
			if problem := onlyHostsDiffer(path, b[i], a[i]); problem != "" {
				return problem
			}
		}
	case string:
		a, _ := after.(string)
		if nested, err := asJSON(b); err == nil && a != b {
			changed, _ := asJSON(a)
			return onlyHostsDiffer(path, nested, changed)
		}
		if looksLikePEM(b) && (a == "CA" || a == "Q0E=") || a == "/T/ca.pem" && !strings.Contains(b, "://") {
			return ""
		}
		return onlyNamesDiffer(path, b, a)
	default:
		if before != after {
			return path + ": another value"
		}
	}
	return ""
}

// onlyNamesDiffer says how two texts differ apart from hosts and the path of a CA.
func onlyNamesDiffer(path, before, after string) string {
	c, ok := parseString(before)
	if ok && !c.unclear { // which has no host, as "postgres://h postgres://h" has none
		changed, _ := parseString(after)
		changed.hosts, changed.names, changed.ports, changed.hostaddr, changed.rootCert = c.hosts, c.names, c.ports, c.hostaddr, c.rootCert
		if fmt.Sprintf("%#v", changed) != fmt.Sprintf("%#v", c) {
			return path + ": another string"
		}
	}
	if before == after {
		return ""
	}
	pattern := "(?s)^"
	for i, part := range oneOfTheTunnels.Split(strings.ReplaceAll(after, "/T/ca.pem", "127.9.9.0"), -1) {
		if i > 0 {
			pattern += `(.+?)`
		}
		pattern += regexp.QuoteMeta(part)
	}
	was := regexp.MustCompile(pattern + "$").FindStringSubmatch(before)
	if was == nil {
		return path + ": it changes elsewhere than at a host"
	}
	for _, name := range was[1:] {
		if hosts, _ := parseHosts(name, ""); len(hosts) != 1 && name != c.hostaddr && !strings.ContainsAny(after, "/CA") {
			return path + ": what is no host changes"
		}
	}
	return ""
}

func FuzzARedirectionChangesHostsAndNothingElse(f *testing.F) {
	for _, form := range renamedStrings {
		f.Add(inService(`{"dsn":"` + form.before + `"}`))
		f.Add(inService(`{"host":"h1","port":5432,"uri":"` + form.before + `"}`))
	}
	for _, form := range slices.Concat(renamedCredentials, renamedCAs) {
		f.Add(inService(form.before))
	}
	for credentials := range notRenamed {
		f.Add(inService(credentials))
	}
	f.Add(twoServices)
	f.Add(inService(`{"dsn":"host=h hostaddr=.0 user=u"}`))
	f.Fuzz(func(t *testing.T, document string) {
		if strings.Contains(document, "127.9.9.") || strings.Contains(document, "/T/ca.pem") {
			return
		}
		env := map[string]string{"VCAP_SERVICES": document}
		r, err := redirect(env, every)
		if err != nil {
			assert.NotContains(t, err.Error(), "\n")
			return
		}
		text := given(r)["VCAP_SERVICES"]
		if text == "" {
			return // nothing is bound
		}
		before, err := decodeJSON([]byte(document))
		require.NoError(t, err)
		after, err := decodeJSON([]byte(text))
		require.NoError(t, err)
		if problem := onlyHostsDiffer("", before, after); problem != "" {
			t.Errorf("%s\n%s\n%s", problem, document, text)
		}
		again, err := redirect(env, every)
		require.NoError(t, err)
		assert.Equal(t, r.Endpoints, again.Endpoints)
		assert.Equal(t, text, given(again)["VCAP_SERVICES"])
		found, err := Read(map[string]string{"VCAP_SERVICES": text})
		if err != nil {
			return // databases of two services that shared a host
		}
		for _, b := range found.Databases {
			for _, host := range b.Hosts {
				assert.True(t, strings.HasPrefix(host, "127.9.9."), host)
			}
		}
	})
}

// The property that we fuzz can fail.
func TestTheControlOfTheRedirection(t *testing.T) {
	before := `{"uri":"postgres://u:h@h:5432/d","port":5432,"note":"a text","n":1}`
	for after, problem := range map[string]string{
		`{"uri":"postgres://u:h@127.9.9.1:5432/d","port":5432,"note":"a text","n":1}`: "",
		`{"uri":"postgres://u:127.9.9.1@h:5432/d","port":5432,"note":"a text","n":1}`: ".uri: another string",
		`{"uri":"postgres://u:h@127.9.9.1:5433/d","port":5432,"note":"a text","n":1}`: ".uri: it changes elsewhere than at a host",
		`{"uri":"postgres://u:h@h:5432/d","port":5432,"note":"127.9.9.1","n":1}`:      ".note: what is no host changes",
		`{"uri":"postgres://u:h@h:5432/d","port":5432,"note":"a text.","n":1}`:        ".note: it changes elsewhere than at a host",
		`{"uri":"postgres://u:h@h:5432/d","port":5433,"note":"a text","n":1}`:         ".port: another value",
		`{"uri":"postgres://u:h@h:5432/d","port":5432,"note":"a text"}`:               ": other keys",
	} {
		b, err := decodeJSON([]byte(before))
		require.NoError(t, err)
		a, err := decodeJSON([]byte(after))
		require.NoError(t, err)
		assert.Equal(t, problem, onlyHostsDiffer("", b, a), after)
	}
}

func TestAServiceMayAskForADirectConnection(t *testing.T) {
	for credentials, want := range map[string]string{
		`{"uri":"postgres://u:p@h/d?channel_binding=require"}`:                         "channel_binding",
		`{"uri":"postgres://u:p@h/d?channel_binding=prefer&target_session_attrs=any"}`: "",
		`{"uri":"postgres://u:p@h1,h2/d?target_session_attrs=read-write"}`:             "target_session_attrs",
		`{"dsn":"host=h user=u dbname=d require_auth=scram-sha-256"}`:                  "require_auth",
		`{"host":"h","user":"u","sslmode":"require","channelBinding":"require"}`:       "channelbinding",
		`{"host":"h","user":"u","sslmode":"require","password":"require_auth=x"}`:      "",
		`{"host":"h","user":"u","sslmode":"require"}`:                                  "",
	} {
		assert.Equal(t, want, one(t, map[string]string{"VCAP_SERVICES": inService(credentials)}).Direct, credentials)
	}
}
