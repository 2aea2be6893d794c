package binding

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rewritten is a way to name a database, and what an app with a tunnel sees instead. The first
// listener has port 40000, the next one 40001.
type rewritten struct{ name, before, after string }

// every wants all databases, only wants one.
func every(int) bool            { return true }
func only(i int) func(int) bool { return func(database int) bool { return database == i } }

// inService returns VCAP_SERVICES with one service that has these credentials.
func inService(credentials string) string {
	return `{"user-provided": [{"name":"db", "label":"user-provided", "credentials":` + credentials + `}]}`
}

// listeners returns a port for each endpoint.
func listeners(r *Redirection) []int {
	var ports []int
	for i := range r.Endpoints {
		ports = append(ports, 40000+i)
	}
	return ports
}

// redirected returns VCAP_SERVICES as the app sees it.
func redirected(t *testing.T, document string, wanted func(int) bool) string {
	t.Helper()
	r, err := Redirect(map[string]string{"VCAP_SERVICES": document}, wanted)
	require.NoError(t, err)
	return seen(r, document)
}

// seen returns VCAP_SERVICES as the app sees it: the document itself if nothing is redirected.
func seen(r *Redirection, document string) string {
	if after, ok := r.To(listeners(r)).Variables["VCAP_SERVICES"]; ok {
		return after
	}
	return document
}

var redirectedStrings = []rewritten{
	{"a URI", `postgres://u:p@db.example.com:5432/d?sslmode=require`, `postgres://u:p@127.0.0.1:40000/d?sslmode=require`},
	{"a URI without a port", `postgres://u:p@db.example.com/d`, `postgres://u:p@127.0.0.1:40000/d`},
	{"a URI with an empty port", `postgres://u:p@db.example.com:/d`, `postgres://u:p@127.0.0.1:40000/d`},
	{"capitals and a trailing dot", `postgres://u:p@AZ.Example.COM.:5432/d`, `postgres://u:p@127.0.0.1:40000/d`},
	{"a port of all digits", `postgres://u:p@db.example.com:10987/d`, `postgres://u:p@127.0.0.1:40000/d`},
	{"nothing behind the port", `postgres://u:p@db.example.com:5432`, `postgres://u:p@127.0.0.1:40000`},
	{"the host twice in a row", `postgres://hh:p@h/hh`, `postgres://hh:p@127.0.0.1:40000/hh`},
	{"the host as user, password and database", `postgres://db.example.com:db.example.com@db.example.com/db.example.com`,
		`postgres://db.example.com:db.example.com@127.0.0.1:40000/db.example.com`},
	{"host and port in a careless password", `postgres://u:p@db.example.com:5432/port=5432@db.example.com:5432/d?sslmode=require`,
		`postgres://u:p@db.example.com:5432/port=5432@127.0.0.1:40000/d?sslmode=require`},
	{"host and port in an escaped password", `postgres://u:%40db.example.com%3A5432@db.example.com:5432/d`,
		`postgres://u:%40db.example.com%3A5432@127.0.0.1:40000/d`},
	{"the host in other parameters", `postgres://u:p@db.example.com/d?application_name=db.example.com:5432&sslrootcert=/db.example.com`,
		`postgres://u:p@127.0.0.1:40000/d?application_name=db.example.com:5432&sslrootcert=/db.example.com`},
	{"a port in another parameter", `postgres://u:p@db.example.com:5432/d?options=-c port=5432`, `postgres://u:p@127.0.0.1:40000/d?options=-c port=5432`},
	{"a port in another parameter, and its own", `postgres://u:p@db.example.com/d?options=-c port=5432&port=5433`, `postgres://u:p@127.0.0.1:40000/d?options=-c port=5432&port=40000`},
	{"a host that begins like the other", `postgres://u:p@db.example.com,db.example.com.eu/d`, `postgres://u:p@127.0.0.1:40000,127.0.0.1:40000/d`},
	{"several hosts", `postgres://u:p@h1:5432,h2:5433,h3/d?target_session_attrs=any`,
		`postgres://u:p@127.0.0.1:40000,127.0.0.1:40000,127.0.0.1:40000/d?target_session_attrs=any`},
	{"IPv6", `postgres://u:p@[2001:DB8::1]:5432/d`, `postgres://u:p@127.0.0.1:40000/d`},
	{"a name in brackets", `postgres://u:p@[db.example.com]:5432/d`, `postgres://u:p@127.0.0.1:40000/d`},
	{"the host in the query, which libpq wants without a port", `postgres://u:p@/d?host=db.example.com&port=5432`, `postgres://u:p@/d?host=127.0.0.1&port=40000`},
	{"the host in the query, and no port", `postgres:///d?user=u&host=db.example.com`, `postgres:///d?user=u&port=40000&host=127.0.0.1`},
	{"the port in the query", `postgres://u:p@db.example.com/d?port=5433`, `postgres://u:p@127.0.0.1:40000/d?port=40000`},
	{"hostaddr, which libpq connects to", `postgres://u:p@db.example.com/d?hostaddr=10.1.2.3`, `postgres://u:p@127.0.0.1:40000/d?hostaddr=127.0.0.1`},
	{"HTML's ampersand", `postgres://u:p@db.example.com/d?sslmode=require&amp;port=5433`, `postgres://u:p@127.0.0.1:40000/d?sslmode=require&amp;port=40000`},
	{"quotes and blanks around it", `  'postgres://u:p@db.example.com/d' `, `  'postgres://u:p@127.0.0.1:40000/d' `},
	{"SQLAlchemy", `postgresql+asyncpg://u:p@db.example.com/d`, `postgresql+asyncpg://u:p@127.0.0.1:40000/d`},
	{"pgjdbc", `jdbc:postgresql://h1:5432,h2/d?user=h1&password=a%26host%3Dh1&host=h1`, `jdbc:postgresql://127.0.0.1:40000,127.0.0.1:40000/d?user=h1&password=a%26host%3Dh1&host=h1`},
	{"R2DBC", `r2dbc:pool:postgresql://u:p@db.example.com:5432/d`, `r2dbc:pool:postgresql://u:p@127.0.0.1:40000/d`},

	{"libpq's words", `host=db.example.com port=5432 dbname=d user=u`, `host=127.0.0.1 port=40000 dbname=d user=u`},
	{"words without a port", `user=u dbname=d host = db.example.com`, `user=u dbname=d port=40000 host = 127.0.0.1`},
	{"words with quotes", `host='db.example.com' port='5432' user=u password='it\\'s host=db.example.com port=5432'`,
		`host='127.0.0.1' port='40000' user=u password='it\\'s host=db.example.com port=5432'`},
	{"words that look alike", `user=db.example.com password=5432 dbname=port host=db.example.com port=5432`,
		`user=db.example.com password=5432 dbname=port host=127.0.0.1 port=40000`},
	{"a host that looks like its port", `host=5432 port=5432 dbname=5432 user=5432`, `host=127.0.0.1 port=40000 dbname=5432 user=5432`},
	{"letters that become longer in lower case", `postgres://İİİİ:p@DB.example.com/d`, `postgres://İİİİ:p@127.0.0.1:40000/d`},
	{"several hosts, a port for each", `host=h1,h2 port=5432,5433 dbname=d user=u`, `host=127.0.0.1,127.0.0.1 port=40000,40000 dbname=d user=u`},
	{"several hosts, one port", `host=h1,h2 port=5432 dbname=d user=u`, `host=127.0.0.1,127.0.0.1 port=40000 dbname=d user=u`},
	{"hostaddr beside the host", `host=db.example.com hostaddr=10.1.2.3 dbname=d user=u`, `port=40000 host=127.0.0.1 hostaddr=127.0.0.1 dbname=d user=u`},
	{"hostaddr alone", `hostaddr=10.1.2.3 port=5432 dbname=d user=u`, `hostaddr=127.0.0.1 port=40000 dbname=d user=u`},
	{"IPv6 in words", `host=2001:db8::1 port=5432 dbname=d user=u`, `host=127.0.0.1 port=40000 dbname=d user=u`},
	{"IPv6 at the end", `port=5432 dbname=d user=u host=2001:db8::1`, `port=40000 dbname=d user=u host=127.0.0.1`},
	{"the host at the end, with a dot", `dbname=d user=u host=db.example.com.`, `dbname=d user=u port=40000 host=127.0.0.1`},
	{"the host at the beginning of a command line", `h psql 'host=h dbname=d user=u'`, `h psql 'port=40000 host=127.0.0.1 dbname=d user=u'`},
	{"a command line", `PGPASSWORD=db.example.com psql 'host=db.example.com dbname=d user=u sslmode=verify-full'`,
		`PGPASSWORD=db.example.com psql 'port=40000 host=127.0.0.1 dbname=d user=u sslmode=verify-full'`},
	{"ADO.NET", `Server=db.example.com;Port=5432;Database=d;User Id=u;Password='x;Port=5432;Server=db.example.com'`,
		`Server=127.0.0.1;Port=40000;Database=d;User Id=u;Password='x;Port=5432;Server=db.example.com'`},
	{"ADO.NET without a port", `Host=db.example.com;Database=d;Username=u;`, `port=40000;Host=127.0.0.1;Database=d;Username=u;`},
	{"ADO.NET with several hosts", `Host=h1:5432,h2:5433;Database=d;Username=u`, `Host=127.0.0.1:40000,127.0.0.1:40000;Database=d;Username=u`},
	{"ODBC", `Driver={PostgreSQL Unicode};Server=db.example.com;Port=5432;Database=d;UID=u;PWD={x;Port=5432}`,
		`Driver={PostgreSQL Unicode};Server=127.0.0.1;Port=40000;Database=d;UID=u;PWD={x;Port=5432}`},
	{"PDO, whose keys are libpq's, in lower case", `pgsql:host=db.example.com;dbname=d`, `pgsql:port=40000;host=127.0.0.1;dbname=d`},
}

func TestAConnectionStringNamesTheTunnelAndIsOtherwiseTheSame(t *testing.T) {
	for _, form := range redirectedStrings {
		t.Run(form.name, func(t *testing.T) {
			after := redirected(t, inService(`{"dsn":"`+form.before+`"}`), every)
			assert.Equal(t, inService(`{"dsn":"`+form.after+`"}`), after)
		})
	}
}

var redirectedCredentials = []rewritten{
	{"keys", `{"host":"db.example.com","port":5432,"dbname":"d","user":"db.example.com","password":"5432","uri":"postgres://"}`,
		`{"host":"127.0.0.1","port":40000,"dbname":"d","user":"db.example.com","password":"5432","uri":"postgres://"}`},
	{"a port in quotes, blanks", `{"Host Name":" db.example.com ","Port":" 5432","user":"u","sslmode":"require"}`,
		`{"Host Name":" 127.0.0.1 ","Port":" 40000","user":"u","sslmode":"require"}`},
	{"host and port in one", `{"host":"[2001:db8::1]:5432","port":5432,"user":"u","sslmode":"require"}`,
		`{"host":"127.0.0.1:40000","port":40000,"user":"u","sslmode":"require"}`},
	{"lists", `{"hosts":["h1","h2"],"port":[5432,"5433"],"user":"u","sslmode":"require"}`,
		`{"hosts":["127.0.0.1","127.0.0.1"],"port":[40000,"40000"],"user":"u","sslmode":"require"}`},
	{"lists in texts", `{"hosts":"h1, h2","port":"5432,5433","user":"u","sslmode":"require"}`,
		`{"hosts":"127.0.0.1, 127.0.0.1","port":"40000,40000","user":"u","sslmode":"require"}`},
	{"RDS", `{"Endpoint":{"Address":"db.example.com","Port":5432,"HostedZoneId":"Z5432"},"user":"u","sslmode":"require"}`,
		`{"Endpoint":{"Address":"127.0.0.1","Port":40000,"HostedZoneId":"Z5432"},"user":"u","sslmode":"require"}`},
	{"escapes", `{"\u0068ost":"\u0064b.example.com","port":"5\u00332","uri":"postgres:\/\/u:\u0026\ud83d\ude00@db.example.com:532\/d?sslmode\u003drequire"}`,
		`{"\u0068ost":"127.0.0.1","port":"40000","uri":"postgres:\/\/u:\u0026\ud83d\ude00@127.0.0.1:40000\/d?sslmode\u003drequire"}`},
	{"bytes that are no character", "{\"uri\":\"postgres://u:\xff\\ud83d@db.example.com/d\"}", "{\"uri\":\"postgres://u:\xff\\ud83d@127.0.0.1:40000/d\"}"},
	{"JSON in a text", `{"config":"{ \"uri\" : \"postgres:\\/\\/u:\\u0040@db.example.com\\/d\", \"host\":\"db.example.com\",\"port\":5432 }\r\n"}`,
		`{"config":"{ \"uri\" : \"postgres:\\/\\/u:\\u0040@127.0.0.1:40000\\/d\", \"host\":\"127.0.0.1\",\"port\":40000 }\r\n"}`},
	{"equal keys: the last one counts", `{"uri":"postgres://u@a/d","uri":"postgres://u@b/d","port":1,"port":5432}`,
		`{"uri":"postgres://u@a/d","uri":"postgres://u@127.0.0.1:40000/d","port":1,"port":40000}`},
	{"numbers, blanks and order stay", "{ \"n\" : 1.50e+3 ,\r\n\t\"uri\" : \"postgres://u@a:5432/d\", \"b\":null, \"a\":[ ] }",
		"{ \"n\" : 1.50e+3 ,\r\n\t\"uri\" : \"postgres://u@127.0.0.1:40000/d\", \"b\":null, \"a\":[ ] }"},
	{"IBM", `{"connection":{"cli":{"arguments":[["host=h port=324 dbname=i user=u"]],"composed":["PGPASSWORD=h psql 'host=h port=324 dbname=i user=u'"]},` +
		`"postgres":{"composed":["postgres://u:h@h:324/i"],"hosts":[{"hostname":"h","port":324}],"path":"/i"}}}`,
		`{"connection":{"cli":{"arguments":[["host=127.0.0.1 port=40000 dbname=i user=u"]],"composed":["PGPASSWORD=h psql 'host=127.0.0.1 port=40000 dbname=i user=u'"]},` +
			`"postgres":{"composed":["postgres://u:h@127.0.0.1:40000/i"],"hosts":[{"hostname":"127.0.0.1","port":40000}],"path":"/i"}}}`},
	{"a9s: all hosts share a port, and the uri has one of them", `{"host":"alias","hosts":["pg0","pg1"],"port":5432,"uri":"postgres://u:p@alias:5432/d"}`,
		`{"host":"127.0.0.1","hosts":["127.0.0.1","127.0.0.1"],"port":40001,"uri":"postgres://u:p@127.0.0.1:40000/d"}`},
	{"cloud.gov: a replica that shares the port key gets the primary", `{"host":"h","port":"5432","uri":"postgres://u:p@h:5432/d","replica_host":"r","replica_uri":"postgres://u:p@r:5432/d"}`,
		`{"host":"127.0.0.1","port":"40000","uri":"postgres://u:p@127.0.0.1:40000/d","replica_host":"127.0.0.1","replica_uri":"postgres://u:p@127.0.0.1:40001/d"}`},
	{"a replica's key alone", `{"uri":"postgres://u:p@h:5433/d","reader_host":"r","port":5433}`, `{"uri":"postgres://u:p@127.0.0.1:40000/d","reader_host":"127.0.0.1","port":40001}`},
	{"a replica with its own port", `{"host":"h","port":5432,"user":"u","sslmode":"require","replica_endpoint":{"host":"r","port":5433}}`,
		`{"host":"127.0.0.1","port":40000,"user":"u","sslmode":"require","replica_endpoint":{"host":"127.0.0.1","port":40001}}`},
	{"Aiven: a pooler at another port of the host", `{"uri":"postgres://u:p@h:1/d","pg_bouncer":"postgres://u:p@h:2/d","components":[{"component":"pg","host":"h","port":1},{"component":"pgbouncer","host":"h","port":2}]}`,
		`{"uri":"postgres://u:p@127.0.0.1:40000/d","pg_bouncer":"postgres://u:p@127.0.0.1:40001/d","components":[{"component":"pg","host":"127.0.0.1","port":40000},{"component":"pgbouncer","host":"127.0.0.1","port":40001}]}`},
	{"the port of a uri beside it", `{"uri":"postgres://u:p@h/d","port":5433}`, `{"uri":"postgres://u:p@127.0.0.1:40000/d","port":40000}`},
	{"the port around it, for all hosts", `{"port":5433,"db":{"hosts":["h1","h2"],"user":"u","sslmode":"require"}}`,
		`{"port":40000,"db":{"hosts":["127.0.0.1","127.0.0.1"],"user":"u","sslmode":"require"}}`},
	{"a port that is not the hosts'", `{"hosts":[{"hostname":"h","port":324}],"port":8080,"user":"u","sslmode":"require"}`,
		`{"hosts":[{"hostname":"127.0.0.1","port":40000}],"port":8080,"user":"u","sslmode":"require"}`},
	{"null", `{"host":null,"hostname":"h","port":5432,"address":false,"user":"u","sslmode":"require"}`, `{"host":null,"hostname":"127.0.0.1","port":40000,"address":false,"user":"u","sslmode":"require"}`},
	{"one more port, around it", `{"port":8080,"db":{"host":"h","port":5432,"user":"u","sslmode":"require"}}`,
		`{"port":8080,"db":{"host":"127.0.0.1","port":40000,"user":"u","sslmode":"require"}}`},
	{"something else on the same host", `{"uri":"postgres://u:p@h:5432/d","api":{"host":"h","port":8080},"url":"https://h:5432","note":"h:5432","my":{"type":"mysql","host":"h","port":5432,"user":"u"}}`,
		`{"uri":"postgres://u:p@127.0.0.1:40000/d","api":{"host":"h","port":8080},"url":"https://h:5432","note":"h:5432","my":{"type":"mysql","host":"h","port":5432,"user":"u"}}`},
	{"a password that looks like a string", `{"host":"h","port":5432,"user":"u","sslmode":"require","password":"postgres://u:p@h:5432/d"}`,
		`{"host":"127.0.0.1","port":40000,"user":"u","sslmode":"require","password":"postgres://u:p@h:5432/d"}`},
	{"tenants", `{"t1":{"uri":"postgres://u:p@a:5432/d"},"t2":{"host":"b","port":5432,"user":"u","sslmode":"require"},"t3":{"uri":"postgres://u:p@a:5433/d"}}`,
		`{"t1":{"uri":"postgres://u:p@127.0.0.1:40000/d"},"t2":{"host":"127.0.0.1","port":40002,"user":"u","sslmode":"require"},"t3":{"uri":"postgres://u:p@127.0.0.1:40001/d"}}`},
	{"a replica whose port is not the one beside it", `{"uri":"postgres://u:p@h:5432/d","reader_host":"r:5433","port":5432}`,
		`{"uri":"postgres://u:p@127.0.0.1:40000/d","reader_host":"127.0.0.1:40001","port":5432}`},
	{"parts of a second database", `{"uri":"postgres://u:p@a:1/d","dsn":"postgres://u:p@b:2/d","components":[{"host":"b","port":2},{"host":"a","port":1}]}`,
		`{"uri":"postgres://u:p@127.0.0.1:40000/d","dsn":"postgres://u:p@127.0.0.1:40001/d","components":[{"host":"127.0.0.1","port":40001},{"host":"127.0.0.1","port":40000}]}`},
	{"a list with nothing between its commas", `{"host":"h,,h2, ","port":5432,"user":"u","sslmode":"require"}`, `{"host":"127.0.0.1,,127.0.0.1, ","port":40000,"user":"u","sslmode":"require"}`},
	{"a key for hosts that names none", `{"Endpoint":{"Address":"h","host":"?a b","Port":5432},"user":"u","sslmode":"require"}`,
		`{"Endpoint":{"Address":"127.0.0.1","host":"?a b","Port":40000},"user":"u","sslmode":"require"}`},
	{"words of the rewriting itself in the binding", `{"uri":"postgres://HOST:PORT@h/HOST?application_name=PORT"}`, `{"uri":"postgres://HOST:PORT@127.0.0.1:40000/HOST?application_name=PORT"}`},
}

func TestCredentialsNameTheTunnelAndAreOtherwiseTheSame(t *testing.T) {
	for _, form := range redirectedCredentials {
		t.Run(form.name, func(t *testing.T) {
			assert.Equal(t, inService(form.after), redirected(t, inService(form.before), every))
		})
	}
}

const (
	badString = "names a host that the tunnel cannot stand in for: write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE"
	badPort   = "needs a port that the tunnel can stand in for: add the credential port, a number, beside it"
)

// notRedirected are credentials that the tunnel cannot stand in for, with the error after "db: ".
var notRedirected = map[string]string{
	`{"uri":"postgres://u:Zq7xWv9k@db%2Eexample.com/d"}`:                                                       "credential uri " + badString,
	`{"dsn":"host=db\\.example.com password=Zq7xWv9k dbname=d"}`:                                               "credential dsn " + badString,
	`{"uri":"postgres://u:Zq7xWv9k@h/d?hostaddr=10%2E1.2.3"}`:                                                  "credential uri " + badString,
	`{"uri":"postgres://u:Zq7xWv9k@one/d?host=two"}`:                                                           "credential uri " + badString,
	`{"uri":"postgres://u:Zq7xWv9k@tunnel.invalid,h/d"}`:                                                       "credential uri " + badString,
	`{"a.b":{"uri":"postgres://u:Zq7xWv9k@h1/d"},"a":{"b":{"uri":"postgres://u:Zq7xWv9k@h2/d"}}}`:              "credential a.b.uri " + badString,
	`{"uri":"postgres://u:Zq7xWv9k@/d?host=%2Fvar%2Frun"}`:                                                     "the tunnel needs a host to stand in for, but the credentials name none",
	`{"host":"h","user":"u","password":"Zq7xWv9k","sslmode":"require"}`:                                        "credential host " + badPort,
	`{"host":["h1:5432",{"host":"h2"}],"user":"u","password":"Zq7xWv9k","sslmode":"require"}`:                  "credential host " + badPort,
	`{"host":[{"host":"h1:5432","hostname":"h2"}],"user":"u","password":"Zq7xWv9k","sslmode":"require"}`:       "credential host " + badPort,
	`{"uri":"postgres://u:Zq7xWv9k@db%2Eexample.com:5432/d","port":5432}`:                                      "credential uri " + badString,
	`{"host":"h","port":5432.0,"user":"u","password":"Zq7xWv9k","sslmode":"require"}`:                          "credential host " + badPort,
	`{"host":"h","port":"Zq7xWv9k","user":"u","sslmode":"require"}`:                                            "credential host " + badPort,
	`{"host":1234,"port":5432,"user":"u","password":"Zq7xWv9k","sslmode":"require"}`:                           "credential host is not a text, and the tunnel cannot stand in for it: write the host in quotes",
	`{"a":{"host":"h1","user":"u"},"b":{"host":"h2","user":"u"},"port":5432,"pwd":"Zq7xWv9k","ssl":"require"}`: "credential port is shared by several hosts, but the tunnel needs one for each: write it beside each host",
}

func TestIfTheTunnelCannotStandInTheErrorNamesThePlaceAndNoSecret(t *testing.T) {
	for credentials, problem := range notRedirected {
		t.Run(problem, func(t *testing.T) {
			_, err := Redirect(map[string]string{"VCAP_SERVICES": inService(credentials)}, every)
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
	after := redirected(t, inService(`{"uri":"`+uri+`"}`), every)
	assert.Equal(t, inService(`{"uri":"`+strings.Replace(uri, "@h/", "@127.0.0.1:40000/", 1)+`"}`), after)
	for _, more := range []string{",h", "&port=5432"} {
		_, err := Redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"` + uri + more + `"}`)}, every)
		assert.EqualError(t, err, "db: credential uri "+badString)
	}
	for host, longer := range map[string][]string{"h": {"xh", "hx", ".h", "h.x", "-h", "h-"}, "[::1]": {"2::1", "::1:2", "x::1", "::1x"}} {
		for _, name := range longer { // it is no place for the host
			uri := "postgres://u:p@" + host + "/d?application_name=" + strings.Repeat(name+",", mostPlaces)
			redirected(t, inService(`{"uri":"`+uri+`"}`), every)
		}
	}
}

func TestOnlyWantedDatabasesAreRedirected(t *testing.T) {
	assert.Equal(t, strings.Replace(twoServices, "h:5432/two", "127.0.0.1:40000/two", 1), redirected(t, twoServices, only(1)))
	assert.Equal(t, twoServices, redirected(t, twoServices, func(int) bool { return false }))
}

// Two services on one host have an endpoint each, because each has its own mode.
func TestEachDatabaseHasItsOwnEndpointsAlwaysInTheSameOrder(t *testing.T) {
	for range 20 {
		r, err := Redirect(map[string]string{"VCAP_SERVICES": twoServices}, every)
		require.NoError(t, err)
		assert.Equal(t, []Endpoint{{0, []string{"h"}, []string{"5432"}}, {0, []string{"r"}, []string{""}}, {1, []string{"h"}, []string{"5432"}}}, r.Endpoints)
	}
}

// The launch and the tunnel find the endpoints separately. They must agree, whatever the order of a
// Go map.
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
	_, err := Redirect(map[string]string{"VCAP_SERVICES": inService(`{"uri":"` + uri + `"}`)}, every)
	assert.ErrorContains(t, err, "db: ")
}

// A place stays with the database that the reader gave it to. Another database may have a weaker
// mode.
func TestEachPlaceKeepsItsDatabaseAndSoItsMode(t *testing.T) {
	a, port := []string{"a"}, []string{"5432"}
	both := Endpoint{0, []string{"a", "b"}, []string{"5432", "5432"}}
	for other, want := range map[string][]Endpoint{
		`{"uri":"postgres://u:p@a:5432/d?sslmode=require"}`:                    {{0, a, port}, {1, a, port}, both},
		`{"host":"a","port":5432,"user":"u","dbname":"d","sslmode":"require"}`: {{0, a, port}, both, {1, a, port}},
	} {
		r, err := Redirect(map[string]string{"VCAP_SERVICES": inService(`{"host":"a","hosts":["b"],"port":5432,"user":"u","sslmode":"verify-full",` +
			`"uri":"postgres://u:p@a:5432/d","other":` + other + `}`)}, every)
		require.NoError(t, err)
		assert.Equal(t, want, r.Endpoints)
	}
}

// It may have no port of its own in the binding, so the app takes the primary's.
func TestAReplicaThatSharesThePortHasTheListenerOfThePrimary(t *testing.T) {
	for replica, listeners := range map[string]int{"r": 1, "r:5432": 2} {
		r, err := Redirect(map[string]string{"VCAP_SERVICES": inService(`{"host":"h","port":5432,"replica_host":"` + replica + `","user":"u","sslmode":"require"}`)}, every)
		require.NoError(t, err)
		assert.Len(t, r.Endpoints, listeners, replica)
	}
}

func TestThePortAroundAnObjectIsForAllOfItsHosts(t *testing.T) {
	r, err := Redirect(map[string]string{"VCAP_SERVICES": inService(`{"port":5433,"db":{"hosts":["h1","h2"],"user":"u","sslmode":"require"}}`)}, every)
	require.NoError(t, err)
	assert.Equal(t, []Endpoint{{0, []string{"h1", "h2"}, []string{"5433", "5433"}}}, r.Endpoints)
}

func TestOnlyTheWantedDatabaseOfAServiceIsRedirected(t *testing.T) {
	document := inService(`{"a":{"uri":"postgres://u:p@a:1/d"},"b":{"host":"b","port":2,"user":"u","sslmode":"require"}}`)
	for i, after := range []string{strings.Replace(document, "a:1", "127.0.0.1:40000", 1), strings.Replace(document, `"b","port":2`, `"127.0.0.1","port":40000`, 1)} {
		assert.Equal(t, after, redirected(t, document, only(i)))
	}
}

func TestPlacesSideBySideAreNotOneForSeveralHosts(t *testing.T) {
	r := redirector{Redirection: &Redirection{}, found: Found{Databases: []Binding{{Name: "db"}}}}
	n := &node{doc: &document{}}
	for _, e := range []edit{{start: 4, end: 6}, {start: 2, end: 4}, {start: 6, end: 8}} {
		r.edit(n, 0, e)
		require.NoError(t, r.err)
	}
	assert.Len(t, n.doc.edits, 3)
	r.edit(n, 0, edit{start: 7, end: 9})
	assert.ErrorContains(t, r.err, "is shared by several hosts", "control")
}

func TestOnlyTheWantedStringOfALaterServiceIsRedirected(t *testing.T) {
	document := `{"x":[{"name":"a","credentials":{"uri":"postgres://u:p@a/d"}},{"name":"b","credentials":{"uri":"postgres://u:p@b/d","dsn":"postgres://u:p@c/d"}}]}`
	for i, host := range []string{"a", "b", "c"} {
		assert.Equal(t, strings.Replace(document, "@"+host+"/", "@127.0.0.1:40000/", 1), redirected(t, document, only(i)))
	}
}

// The safety net: an app gets no binding with another meaning than before.
func TestARedirectionThatLeavesAHostOrChangesAPasswordIsRefused(t *testing.T) {
	env := map[string]string{"VCAP_SERVICES": `{"x":[{"name":"db","credentials":{"uri":"postgres://u:Zq7xWv9k@h:5432/d"}},{"name":"mail","credentials":{"note":"NOTE"}}]}`}
	found, err := Read(env)
	require.NoError(t, err)
	for why, tamper := range map[string]func(*document){
		"as it is":            func(*document) {},
		"a host that is left": func(d *document) { d.edits = nil },
		"another password": func(d *document) {
			at := strings.Index(d.text, "Zq7xWv9k")
			d.edits = append(d.edits, edit{start: at, end: at + 1, form: "HOST"})
		},
		"another database": func(d *document) {
			at := strings.Index(d.text, "NOTE")
			d.edits = append(d.edits, edit{start: at, end: at + len("NOTE"), form: "postgres://x/d"})
		},
		"no JSON": func(d *document) { d.edits = append(d.edits, edit{end: 1}) },
	} {
		r, err := Redirect(env, every)
		require.NoError(t, err)
		tamper(r.documents[0])
		err = (&redirector{Redirection: r, found: found, wanted: every}).check("VCAP_SERVICES")
		assert.Equal(t, why == "as it is", err == nil, why)
		assert.NotContains(t, fmt.Sprint(err), "Zq7xWv9k")
	}
}

func TestServicesWithTheSameNameCannotBeToldApart(t *testing.T) {
	service := `{"name":"db","credentials":{"uri":"postgres://u:p@h/d"}}`
	env := map[string]string{"VCAP_SERVICES": `{"user-provided":[` + service + `,` + service + `]}`}
	_, err := Redirect(env, every)
	assert.EqualError(t, err, "db: several services have this name, and the tunnel cannot tell them apart: rename one")
	_, err = Redirect(env, func(int) bool { return false })
	assert.NoError(t, err)
}

func TestTheDatabaseURLOfThePlatformIsRedirectedAndTheOwnersIsNot(t *testing.T) {
	env := map[string]string{"VCAP_SERVICES": inService(`{"uri":"postgres://u:p%21@h/d?sslmode=require"}`)}
	for _, test := range []struct {
		why, url, after string
		own             bool
	}{
		{"the platform's: another scheme, other escapes", "postgresql://u:p!@h/d?sslmode=require", "postgresql://u:p!@127.0.0.1:40000/d?sslmode=require", false},
		{"the owner's, about the same host", "postgresql://me:p@h/d", "", true},
		{"the owner's, about another host", "postgresql://me:p@other/d", "", false},
		{"none of Postgres", "mysql://u:p@h/d", "", false},
		{"none", "", "", false},
	} {
		t.Run(test.why, func(t *testing.T) {
			env["DATABASE_URL"] = test.url
			r, err := Redirect(env, every)
			require.NoError(t, err)
			assert.Equal(t, test.own, r.OwnURL)
			assert.Len(t, r.Endpoints, 1)
			assert.Equal(t, test.after, r.To(listeners(r)).Variables["DATABASE_URL"])
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
		{"the first of two that are the same", same, every, "postgres://u:p@127.0.0.1:40000/d"},
		{"the second database of the second service", "postgres://u:p@c/d", every, "postgres://u:p@127.0.0.1:40001/d"},
		{"it alone is wanted", "postgres://u:p@c/d", only(2), "postgres://u:p@127.0.0.1:40000/d"},
		{"another one is wanted", "postgres://u:p@c/d", only(1), ""},
		{"the platform copies no other key than uri", "postgres://u:p@e/d", every, ""},
	} {
		t.Run(test.why, func(t *testing.T) {
			env["DATABASE_URL"] = test.url
			r, err := Redirect(env, test.wanted)
			require.NoError(t, err)
			assert.Equal(t, test.after, r.To(listeners(r)).Variables["DATABASE_URL"])
		})
	}
}

func TestADatabaseURLWithoutAHostIsLeft(t *testing.T) {
	r, err := Redirect(map[string]string{"DATABASE_URL": "postgres:///d",
		"VCAP_SERVICES": inService(`{"uri":"postgres:///d","host":"h","port":5432,"user":"u","sslmode":"require"}`)}, every)
	require.NoError(t, err)
	assert.Len(t, r.Endpoints, 1)
	assert.NotContains(t, r.To(listeners(r)).Variables, "DATABASE_URL")
}

func TestAHostThatTheBindingsStillNameIsNamedOnce(t *testing.T) {
	for credentials, want := range map[string][]string{
		`{"uri":"postgres://u:p@db.example.com/d"}`: nil,
		`{"uri":"postgres://u:p@db.example.com:1/d","dsn":"postgres://u:p@db.example.com:2/d","note":"DB.example.com"}`:   {"db.example.com"},
		`{"uri":"postgres://u:p@a.example.com,b.example.com,c.example.com/d","x":"b.example.com","y":"at a.example.com"}`: {"a.example.com", "b.example.com"},
		`{"uri":"postgres://u:p@orders/d","note":"orders"}`:                                                               nil, // any word may be a host
		`{"uri":"postgres://u:p@127.0.0.1/d"}`:                                                                            nil, // so is the tunnel
	} {
		r, err := Redirect(map[string]string{"VCAP_SERVICES": inService(credentials)}, every)
		require.NoError(t, err)
		assert.Equal(t, want, r.Left(r.To(listeners(r))), credentials)
	}
}

func TestTheFileOfVCAPServicesIsRedirected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vcap_services")
	document := inService(`{"uri":"postgres://u:p@h/d"}`) + "\r\n"
	require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
	r, err := Redirect(map[string]string{"VCAP_SERVICES_FILE_PATH": path, "VCAP_SERVICES": "not read"}, every)
	require.NoError(t, err)
	after := r.To([]int{1})
	assert.Equal(t, strings.Replace(document, "@h/", "@127.0.0.1:1/", 1), string(after.Document))
	assert.Empty(t, after.Variables)
	assert.Nil(t, after.Mounted)
}

func TestMountedBindingsAreRedirectedFileByFile(t *testing.T) {
	root := t.TempDir()
	before := map[string]map[string]string{
		"db":   {"type": "postgresql\n", "host": "h\r\n", "port": "5432\n", "username": "h", "password": "5432\n", "tls": `{"mode":"require","uri":"postgres://u:p@h:5432/d"}`},
		"mail": {"type": "smtp", "host": "h", "port": "5432"},
	}
	want := map[string]map[string]string{
		"db":   {"type": "postgresql\n", "host": "127.0.0.1\r\n", "port": "40000\n", "username": "h", "password": "5432\n", "tls": `{"mode":"require","uri":"postgres://u:p@127.0.0.1:40000/d"}`},
		"mail": before["mail"],
	}
	for folder, files := range before {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder, "..data"), 0o755))
		for name, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(root, folder, name), []byte(content), 0o600))
		}
	}
	r, err := Redirect(map[string]string{"SERVICE_BINDING_ROOT": root}, every)
	require.NoError(t, err)
	got := map[string]map[string]string{}
	for folder, files := range r.To(listeners(r)).Mounted {
		got[folder] = map[string]string{}
		for name, content := range files {
			got[folder][name] = string(content)
		}
	}
	assert.Equal(t, want, got)
	assert.Len(t, r.Endpoints, 1)
}

// addressText matches what an edit may replace, including JSON's escapes.
var addressText = regexp.MustCompile(`^(?:[0-9A-Za-z_.:\[\]-]|\\)*$`)

// onlyAddressesDiffer says how two values differ apart from hosts and ports, "" if they do not.
func onlyAddressesDiffer(path string, before, after any) string {
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		for key := range b {
			if _, ok := a[key]; !ok || len(a) != len(b) {
				return path + ": other keys"
			}
			if problem := onlyAddressesDiffer(path+"."+key, b[key], a[key]); problem != "" {
				return problem
			}
		}
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			return path + ": another list"
		}
		for i := range b {
			if problem := onlyAddressesDiffer(path, b[i], a[i]); problem != "" {
				return problem
			}
		}
	case json.Number:
		if a, ok := after.(json.Number); !ok || a != b && (strings.Trim(b.String(), "0123456789") != "" || !strings.HasPrefix(a.String(), "400")) {
			return path + ": another number"
		}
	case string:
		a, _ := after.(string)
		if a == b {
			return ""
		}
		if nested, ok := asJSON(b); ok {
			changed, _ := asJSON(a)
			return onlyAddressesDiffer(path, nested, changed)
		}
		if c, ok := parseString(b); ok {
			changed, _ := parseString(a)
			changed.hosts, changed.hostaddr = c.hosts, c.hostaddr
			if fmt.Sprintf("%#v", changed) != fmt.Sprintf("%#v", c) {
				return path + ": another string"
			}
			return ""
		}
		if len(parseHosts(b)) == 0 && strings.Trim(b, "0123456789, ") != "" {
			return path + ": a text that is neither host nor port"
		}
	default:
		if before != after {
			return path + ": another value"
		}
	}
	return ""
}

// brokenPromise says what is wrong with a redirected document, "" if nothing is.
func brokenPromise(r *Redirection, before string) string {
	after := seen(r, before)
	if json.Valid([]byte(before)) != json.Valid([]byte(after)) {
		return "it is no JSON any more"
	}
	// Undo the edits: the rest must be unchanged.
	if before == after {
		return ""
	}
	rest, done := after, 0
	for _, doc := range r.documents {
		edits := slices.Clone(doc.edits)
		slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
		for _, e := range edits {
			if !addressText.MatchString(before[e.start:e.end]) {
				return "an edit takes something else than an address"
			}
			unchanged := before[done:e.start]
			a := address{"127.0.0.1", fmt.Sprint(40000 + e.endpoint)}
			put := strings.NewReplacer("HOST", a.host, "PORT", a.port).Replace(e.form)
			if !strings.HasPrefix(rest, unchanged+put) {
				return "it changes elsewhere than at an edit"
			}
			rest, done = rest[len(unchanged+put):], e.end
		}
	}
	if rest != before[done:] {
		return "its end changes"
	}
	old, err1 := decodeJSON([]byte(before))
	now, err2 := decodeJSON([]byte(after))
	if err1 != nil || err2 != nil {
		return "it cannot be read"
	}
	return onlyAddressesDiffer("", old, now)
}

func FuzzRedirectChangesHostAndPortAndNothingElse(f *testing.F) {
	for _, form := range redirectedStrings {
		f.Add(inService(`{"dsn":"` + form.before + `"}`))
		f.Add(inService(`{"host":"h1","port":5432,"uri":"` + form.before + `"}`))
	}
	for _, form := range redirectedCredentials {
		f.Add(inService(form.before))
	}
	for credentials := range notRedirected {
		f.Add(inService(credentials))
	}
	f.Add(twoServices)
	f.Fuzz(func(t *testing.T, document string) {
		env := map[string]string{"VCAP_SERVICES": document}
		r, err := Redirect(env, every)
		if err != nil {
			assert.NotContains(t, err.Error(), "\n")
			return
		}
		if problem := brokenPromise(r, document); problem != "" {
			t.Errorf("%s\n%s\n%s", problem, document, seen(r, document))
		}
		again, err := Redirect(env, every)
		require.NoError(t, err)
		assert.Equal(t, r.Endpoints, again.Endpoints)
		found, err := Read(map[string]string{"VCAP_SERVICES": seen(r, document)})
		if err != nil {
			return // several databases now share a host, and their modes disagree
		}
		for _, b := range found.Databases {
			for _, host := range b.Hosts {
				assert.Equal(t, "127.0.0.1", host)
			}
		}
	})
}

// The property that we fuzz can fail: each of these edits breaks it.
func TestTheControlOfTheRedirection(t *testing.T) {
	before := inService(`{"uri":"postgres://u:h@h:5432/d","port":5432,"note":"a text","n":1}`)
	for part, problem := range map[string]string{
		`h@h`:    "an edit takes something else than an address",
		`uri`:    ".user-provided.credentials: other keys",
		`a text`: "an edit takes something else than an address",
		`text`:   ".user-provided.credentials.note: a text that is neither host nor port",
		`h`:      ".user-provided.credentials.uri: another string",
		`1`:      "it is no JSON any more",
	} {
		start := strings.LastIndex(before, part)
		if part == "h" {
			start = strings.Index(before, "h@") // the password
		}
		change := edit{start: start, end: start + len(part), form: "HOST"}
		r := &Redirection{Endpoints: []Endpoint{{}}, documents: []*document{{variable: "VCAP_SERVICES", text: before, edits: []edit{change}}}}
		assert.Equal(t, problem, brokenPromise(r, before), part)
	}
}
