package binding

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// shown returns what a connection string says, as "h:5432 /database user=u sslmode=require tls". It
// returns "none" for any other text.
func shown(c connection, ok bool) string {
	if !ok {
		return "none"
	}
	var said []string
	for _, a := range c.hosts {
		said = append(said, strings.TrimSuffix(a.host+":"+a.port, ":"))
	}
	for _, p := range append([]parameter{{key: "/", value: c.says["dbname"]}, {key: "user=", value: c.says["user"]}, {key: "password=", value: c.says["password"]}}, modeWords(c)...) {
		if p.value != "" {
			said = append(said, p.key+p.value)
		}
	}
	for word, is := range map[string]bool{"tls": c.asksTLS.key != "", "system": isSystem(c.rootCert), "unclear": c.unclear} {
		if is {
			said = append(said, word)
		}
	}
	return strings.Join(said, " ")
}

func modeWords(c connection) (words []parameter) {
	for _, p := range c.modes {
		words = append(words, parameter{key: p.key + "=", value: p.value})
	}
	if isSystem(c.rootCert) {
		return words
	}
	return append(words, parameter{key: "root=", value: c.rootCert})
}

func TestWhatAConnectionStringSays(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for story, texts := range map[string]map[string]string{
		"who and where, in a URI": {
			"postgres://@h/d":    "h /d",
			"postgres://u@h":     "h user=u",
			"postgres://u:@h/d":  "h /d user=u",
			"postgres://:p@h/d":  "h /d password=p",
			"postgres://h@/d":    "/d user=h",
			"postgres://:5432/d": "/d",
			"postgres://,/d":     "/d",
			"postgres://h:/d":    "h /d",
			"postgres://u:p@h/d?&sslmode=verify-full&application_name=a@b":  "h /d user=u password=p sslmode=verify-full",
			"postgres://u:p@h/d?&&sslmode=verify-full&application_name=a@b": "h /d user=u password=p sslmode=verify-full",
			"postgres://h:1/d?port=2":                                       "h:2 /d",
			"postgresql+psycopg://h/d":                                      "h /d",
			"postgres://u:p@x/y?odd=z@h/d":                                  "h /d user=u password=p@x/y?odd=z",
			"postgres://u:p@x/y?options@h/d":                                "h /d user=u password=p@x/y?options",
			"postgres://u:p@h/d?options=z@x/y":                              "h /d user=u password=p",
			"postgres://h/d?{}=1?sslmode=require":                           "h /d", // and refused, as its mode is not read
			"postgres://u:p@h/d?user=a@b":                                   "h /d user=a@b password=p",
			"postgres://u:a@Zq7?ssl=1&b@h/d":                                "h /d user=u password=a@Zq7?ssl=1&b",
			"postgres://u:a@Zq7?ssl=1&b&c=d@h/d":                            "h /d user=u password=a@Zq7?ssl=1&b&c=d",
			"postgres://u:Pw1@x?port=1&Zq7@h/d?sslmode=require":             "h /d user=u password=Pw1@x?port=1&Zq7 sslmode=require",
			"postgres://u:p@h/d?&sslmode=require&&amp;odd=a@b":              "h /d user=u password=p sslmode=require",
		},
		"where, in its query": {
			"postgres:///d?host=a,b&port=1,2":         "a:1 b:2 /d",
			"postgres:///d?host=a,b&port=1":           "a:1 b:1 /d",
			"postgres:///d?host=a,b,c&port=1,2":       "a b c /d",
			"postgres:///d?host=a,b&port=1,x":         "a:1 b /d",
			"postgres:///d?hostaddr=10.0.0.1":         "10.0.0.1 /d",
			"postgres:///d?host=h&hostaddr=10.0.0.1":  "h /d",
			"postgres:///d?host=/tmp":                 "/d",
			"postgres://%2Ftmp/d":                     "/d",
			"postgres:///d?host=a b":                  "/d unclear",
			"postgres://u:p@${H}:1/d?host=h":          "h:1 /d user=u password=p",
			"postgres://<host>:1/d?host=h":            "h:1 /d",
			"postgres://my h:1/d?hostaddr=10.0.0.1":   "10.0.0.1:1 /d",
			"postgres://<a>:1,<b>:2/d?host=g,h":       "g:1 h:2 /d",
			"postgres://h/d?host=a b":                 "h /d",
			"jdbc:postgresql:///d?host=h":             "h /d",
			"jdbc:postgresql://h/d?host=p@ssword":     "h /d",
			"jdbc:postgresql://u:p@h:1/d?password=@b": "h:1 /d user=u password=@b",
		},
		"what can be a host": {
			"postgres://[::1]:5432,h2:1/d":   "::1:5432 h2:1 /d",
			"postgres://[::1]/d":             "::1 /d",
			"postgres://::1/d":               "::1 /d",
			"postgres://h./d":                "h /d",
			"postgres://h :1/d":              "h:1 /d",
			"postgres://h%20:1, g :2/d":      "h:1 g:2 /d",
			"postgres://AZaz09_-.x/d":        "azaz09_-.x /d",
			"postgres://" + x(253) + "/d":    x(253) + " /d",
			"postgres://" + x(254) + "/d":    "/d unclear",
			"postgres://h../d":               "/d unclear",
			"postgres://.h/d":                "/d unclear",
			"postgres://-h/d":                "/d unclear",
			"postgres://h-/d":                "/d unclear",
			"postgres://h:x/d":               "/d unclear",
			"postgres://h:1:2/d":             "/d unclear",
			"postgres://a b/d":               "/d unclear",
			"postgres://h[/d":                "/d unclear",
			"postgres://\u212a/d":            "/d unclear", // the Kelvin sign is no k
			"postgres://[h/d":                "/d unclear",
			"postgres://ab]/d":               "/d unclear",
			"postgres://h`/d":                "/d unclear",
			"postgres://h{/d":                "/d unclear",
			"postgres://h;x/d":               "/d unclear",
			"postgres://h:1,h2:x/d":          "/d unclear",
			"postgres:///d?host=[h,b]&port=": "/d unclear",
		},
		"which schemes count": {
			"jdbc:postgresql:":                      "",
			"JDBC:PostgreSQL:d":                     "/d",
			"jdbc:postgresql:d@b":                   "/d@b",
			"jdbc:postgresql:/d?sslmode=require":    "/d sslmode=require",
			"jdbc:postgresql:d?user=u&ssl":          "/d user=u tls",
			"jdbc:postgres":                         "none",
			"jdbc:mysql:d?sslmode=require":          "none",
			"r2dbc:postgresql://h/d":                "h /d",
			"r2dbcs:postgresql://h/d":               "h /d r2dbcs=require",
			"r2dbcs:pg://h/d?sslMode=allow":         "h /d sslMode=allow r2dbcs=require",
			"r2dbcs:pg://h/d?sslMode=require":       "h /d sslMode=require",
			"r2dbcs:pool:postgres://h/d?sslmode=x":  "h /d sslmode=x r2dbcs=require",
			"mydb://h/d?sslmode=require":            "h /d sslmode=require",
			"jdbc:mydb://h/d?sslmode=require":       "h /d sslmode=require",
			x(64) + "://h/d?sslmode=require":        "h /d sslmode=require",
			x(65) + "://h/d?sslmode=require":        "none",
			"mydb://h/d?tls=true":                   "none",
			"://h/d?sslmode=require":                "none",
			"my db://h/d?sslmode=require":           "none",
			"mysql://h/d?sslmode=require":           "none",
			"http://h/d?sslmode=require":            "none",
			"https://h/d?sslmode=require":           "none",
			"ws://h/?sslmode=require":               "none",
			"wss://h/?sslmode=require":              "none",
			"postgres://h/" + x(longestString-13):   "h /" + x(longestString-13),
			"postgres://h/" + x(longestString-12):   "none",
			"no string at all":                      "none",
			"jdbc:postgresql:aws://h:1/d":           "h:1 /d",
			"jdbc:redshift://h/d?ssl=true":          "h:5439 /d tls",
			"jdbc:redshift:iam://h:1/d":             "h:1 /d",
			"jdbc:redshift://;UID=u;ssl=true":       "user=u tls",
			"redshift+redshift_connector://u:p@h/d": "h:5439 /d user=u password=p",
		},
		"what may be around it": {
			"'postgres://h/d'":       "h /d",
			"`postgres://h/d`":       "h /d",
			"\ufeffpostgres://h/d\n": "h /d",
			`' "postgres://h/d" '`:   "h /d",
			`"postgres://h/d'`:       "none",
			`"`:                      "none",
			`""`:                     "none",
		},
		"which mode, and which CA": {
			"postgres://h/d?ssl":                                   "h /d tls",
			"postgres://h/d?ssl=":                                  "h /d tls",
			"postgres://h/d?ssl=1":                                 "h /d tls",
			"postgres://h/d?ssl=no":                                "h /d ssl=disable",
			"postgres://h/d?tls=verify-full":                       "h /d tls=verify-full",
			"postgres://h/d?ssl=require&sslmode=verify-ca":         "h /d ssl=require sslmode=verify-ca",
			"postgres://h/d?requiressl=1":                          "h /d requiressl=require",
			"postgres://h/d?requiressl=true":                       "h /d requiressl=prefer tls",
			"postgres://h/d?requiressl=0":                          "h /d requiressl=prefer",
			"postgres://h/d?requiressl=1&sslrequired=0":            "h /d requiressl=require",
			"postgres://h/d?sslRequired=on":                        "h /d tls",
			"postgres://h/d?useSSL":                                "h /d tls",
			"postgres://h/d?other":                                 "h /d",
			"postgres://h/d?other=1":                               "h /d",
			"postgres://h/d?sslrootcert=System":                    "h /d system",
			"postgres://h/d?sslrootcert=/a.pem":                    "h /d root=/a.pem",
			"postgres://h/d?sslrootcert=/a.pem&sslrootcert=system": "h /d system",
			"postgres://h/d?sslrootcert=system&sslrootcert=/a.pem": "h /d root=/a.pem",
			"postgres://h/d?Root Certificate=/a.pem":               "h /d root=/a.pem",
			"postgres://h/d?sslmode=":                              "h /d",
			"postgres://h/d?sslmode= &ssl_mode=require":            "h /d ssl_mode=require",
			"postgres://h/d?sslmode=a&sslmode=b&SSLMODE=c":         "h /d sslmode=b SSLMODE=c",
			"postgres://h/d?&&sslmode=require":                     "h /d sslmode=require",
			"postgres://h/d??sslmode=require":                      "h /d sslmode=require",
			"postgres://h/d?a=b&amp;sslmode=require":               "h /d sslmode=require",
			"postgres://h/d?sslmode=verify%2Dfull":                 "h /d sslmode=verify-full",
			"postgres://h/d?{}=1&sslmode=require":                  "h /d sslmode=require",
			"postgres://h/d?" + x(128) + "=1&sslmode=require":      "h /d sslmode=require",
			"postgres://u:p@h h/d?sslmode=require":                 "/d user=u password=p sslmode=require unclear",
			"postgres://h h/d?sslmode=require":                     "/d sslmode=require unclear",
			"postgres://u:p@h/d?odd=a@b&sslmode=require":           "h /d user=u password=p sslmode=require",
			"postgres://h/d?options=a@b&sslmode=require":           "h /d sslmode=require",
			"postgres://h?options=a@b&sslmode=require":             "h sslmode=require",
			"postgres://u:p@h/d?sslmode=require&odd=a@b":           "h /d user=u password=p sslmode=require",
			"postgres://u:p@h/d?&amp;sslmode=require&options=a@b":  "h /d user=u password=p sslmode=require",
			"postgres://u:a@b c?user=x@h/d":                        "h /d user=u password=a@b c?user=x",
			"postgres://u:a?sslmode=x@h/d?sslmode=require":         "h /d user=u password=a?sslmode=x sslmode=require",
			"postgres://?sslmode=disable@h h/d":                    "sslmode=disable@h h/d",
			"postgres://u:" + strings.Repeat("?", 31) + "@h?a=b":   "h user=u password=" + strings.Repeat("?", 31),
			"postgres://u:" + strings.Repeat("?", 40) + "@h?a=b":   "h user=u password=" + strings.Repeat("?", 40),

			"postgres://u:" + strings.Repeat("?", mostTries-1) + "@h/d?options=a@b/c": "h /d user=u password=" + strings.Repeat("?", mostTries-1),
			"postgres://u:" + strings.Repeat("?", mostTries) + "@h/d?options=a@b/c":   "b /c user=u password=" + strings.Repeat("?", mostTries) + "@h/d?options=a",
		},
		"libpq's other names of sslmode": {
			"postgres://h/d?ssl=true":                         "h /d ssl=require",
			"postgres://h/d?ssl=1":                            "h /d tls",
			"postgres://h/d?SSL=true":                         "h /d tls",
			"jdbc:postgresql://h/d?ssl=true":                  "h /d tls",
			"jdbc:postgresql://h/d?sslmode=require&ssl=true":  "h /d sslmode=require tls",
			"ecto://h/d?ssl=true":                             "h /d tls",
			"postgresql+asyncpg://h/d?ssl=true":               "h /d tls",
			"postgres://h/d?ssl=true&sslmode=disable":         "h /d sslmode=disable",
			"postgres://h/d?requiressl=0&sslmode=verify-full": "h /d sslmode=verify-full",
			"postgres://h/d?sslmode=verify-full&requiressl=0": "h /d sslmode=verify-full requiressl=prefer",
			"postgres://h/d?sslmode=require&ssl=true":         "h /d sslmode=require ssl=require",
			"postgres://h/d?ssl=true&requiressl=0":            "h /d requiressl=prefer",
			"postgres://h/d?requiressl=":                      "h /d requiressl=prefer",
			"host=h dbname=d requiressl=1":                    "h /d requiressl=require",
			"host=h dbname=d ssl=true":                        "h /d tls",
			"host=h dbname=d sslmode=verify-ca requiressl=0":  "h /d sslmode=verify-ca requiressl=prefer",
			"Host=h;Database=d;requiressl=1":                  "h /d tls",
			"Host=h;Database=d;requiressl=0":                  "h /d",
		},
		"the port that stays": {
			"postgres://u:p@:27431/d?host=h":          "h:27431 /d user=u password=p",
			"postgres://nowhere:27431/d?host=h":       "h:27431 /d",
			"postgres://h:27431/d?host=":              "h:27431 /d",
			"postgres://h:27431/d?host=/socket":       "h:27431 /d",
			"postgres://h:27431/d?port=":              "h /d",
			"postgres://h1,:5433/d":                   "h1 /d",
			"postgres://h1:1,:5433,h2/d":              "h1:1 h2 /d",
			"postgres://:1,:2/d?host=h1,h2":           "h1:1 h2:2 /d",
			"postgres://:1,:2/d?host=h1,,h2":          "h1 h2 /d",
			"postgres:///d?host=h1,,h2&port=1,2,3":    "h1:1 h2:3 /d",
			"postgres:///d?host=h1,/tmp&port=1,2":     "h1:1 /d",
			"postgres://:1/d?hostaddr=10.0.0.1":       "10.0.0.1:1 /d",
			"postgres://[::1]:1,h2:2/d?host=h3,[::2]": "h3:1 ::2:2 /d",
		},
		"libpq's words": {
			"host=h dbname=d":                            "h /d",
			"host = h dbname = d sslmode = require":      "h /d sslmode=require",
			`host='h' dbname='d e' password='it\'s'`:     "h /d e password=it's",
			"host=h\tdbname=d\nuser=u\rpassword=p":       "h /d user=u password=p",
			`host=h dbname=a\ b`:                         "h /a b",
			`host=h dbname=d\`:                           "h /d",
			"host=h dbname=":                             "h",
			"dbname=d user=u":                            "/d user=u",
			"service=s sslmode=require":                  "sslmode=require",
			"host=h " + x(64) + "=1 dbname=d":            "h /d",
			"host=h " + x(65) + "=1 dbname=d":            "none",
			"host='h dbname=d":                           "none",
			"host=h dbname":                              "none",
			"ho st=h dbname=d":                           "none",
			"host=h":                                     "none",
			"dbname=d port=1":                            "none",
			"host=h dbname=d password=a;b":               "h /d password=a;b",
			"host=h dbname=d;sslmode=require":            "sslmode=require unclear",
			"pgsql:host=h;dbname=d;sslmode=require":      "h /d sslmode=require",
			"PGSQL:host=h;dbname=d":                      "h /d",
			"pgsql:":                                     "none",
			"hosts=h of dbname=d":                        "none",
			"a server, a host and a dbname, but no word": "none",

			"host=h dbname=d" + strings.Repeat(" a=b", 498): "h /d",
			"host=h dbname=d" + strings.Repeat(" a=b", 499): "none",
		},
		"ADO.NET's and ODBC's": {
			"Host=h;Database=d": "h /d",
			`Host=h;Database=d;Password="a;b";SSL Mode=Require`:   "h /d password=a;b SSL Mode=Require",
			"Host=h;Database=d;Password='a''b'":                   "h /d password=a'b",
			"Host=h;Database=d;Password={a;b}":                    "h /d password=a;b",
			"Host=h;Database=d;Password={a;b} ; Username=u":       "h /d user=u password=a;b",
			`Host=h;Database=d;Password="a;b`:                     `h /d password="a`,
			"Host=h;Database=d;Password={a;;Username=u":           "h /d user=u password={a",
			`Host=h;Database=d;Password="a"b;Username=u`:          `h /d user=u password="a"b`,
			"Host=h;Database=d;Password=a;b;Username=u":           "h /d user=u password=a",
			"Host=h;Database=d;Password=a;.Host=evil":             "h /d password=a",
			"Password=a;Host=h;Database=d":                        "h /d password=a",
			"Host=h;Database=d;Password=a;b":                      "h /d password=a",
			"Host=h;Database=d;;Username=u;":                      "h /d user=u",
			";Host=h;Database=d":                                  "h /d",
			"x;Host=h;Database=d":                                 "none",
			"Server=h;Port=3306;Database=d":                       "none",
			"Server=h;Port=1433;Database=d":                       "none",
			"Server=h;Database=d;Encrypt=true":                    "none",
			"Server=h;Initial Catalog=d":                          "none",
			"Driver={PostgreSQL Unicode};Server=h;Database=d":     "h /d",
			"Driver={MySQL};Server=h;Database=d":                  "none",
			"Host=h;Database=d;Password='';Username=u":            "h /d user=u",
			`Host=h;Database=d;Password="a""";Username=u`:         `h /d user=u password=a"`,
			"Host=h;Database=d;Password={};Username=u":            "h /d user=u",
			"Host=h;Database=d;Options='';Password='a;b'":         "h /d password=a;b",
			"Host=h;Database=d" + strings.Repeat(";a=b", 498):     "h /d",
			"Host=h;Database=d" + strings.Repeat(";a=b", 499):     "none",
			"Host=h;Database=d;Password={a}}b};SSL Mode=Disable;": "h /d password=a}b SSL Mode=Disable",
		},
	} {
		t.Run(story, func(t *testing.T) {
			for text, want := range texts {
				assert.Equal(t, want, shown(parseString(text)), "%.80s", text)
			}
		})
	}
}

func TestWhatMayBeTheNameOfAParameter(t *testing.T) {
	for _, name := range []string{"connect_timeout", "SSLCert", "ssl%6Dode", "props[ssl.mode]", "a-b"} {
		_, ok := parseParameters(name + "=a&sslmode=disable")
		assert.True(t, ok, name)
	}
	for _, other := range []string{"", "{}", "a@b", "a/b", "a:b", "a+b", "é", "<uri>?a", "$DATABASE_URL?a", "…a"} {
		_, ok := parseParameters(other + "=a&sslmode=disable")
		assert.False(t, ok, other)
	}
}

func TestWhichStringsCouldLowerWhatAHostGets(t *testing.T) {
	for text, less := range map[string]bool{
		"postgres://h/d":                                false,
		"postgres://h/d?sslmode=verify-full":            false,
		"postgres://h/d?sslmode=verify-ca":              true,
		"postgres://h/d?sslmode=disable&ssl=true":       true,
		"postgres://h/d?sslrootcert=system":             true,
		"postgres://h/d?sslrootcert=/a.pem":             true,
		"postgres://h h/d":                              true,
		"postgres://h/d?ssl=true":                       false,
		"postgres://h/d?sslmode=on":                     false, // refused, so it lowers nothing
		"postgres://h/d?sslmode=verify-full&ssl=allow":  true,
		"host=h dbname=d sslmode=prefer sslrootcert=''": true,
	} {
		c, ok := parseString(text)
		assert.True(t, ok, text)
		assert.Equal(t, less, c.asksForLess(), text)
	}
}

func TestConnectionStringsAreFoundInLongerTexts(t *testing.T) {
	const long = "postgres://a/d, postgres://b/e"
	for text, want := range map[string][]string{
		"postgres://h/d":                                                      {"h /d"},
		"psql 'host=h dbname=d'":                                              {"h /d in prose"},
		"PGPASSWORD=x psql \"host=h dbname=d\"":                               {"h /d in prose"},
		"psql psql host=h dbname=d":                                           nil,
		"postgres://a/d,postgres://b/e":                                       {"a /d", "b /e"},
		"postgres://a/d ; jdbc:postgresql://b/e?ssl=true\n":                   {"a /d", "b /e tls"},
		`["postgres://a/d", "postgresql+psycopg://b/e"]`:                      {"a /d", "b /e"},
		"postgres://a/d?options=postgres://b/e":                               {"a /d"},
		"see https://x.example/, postgres://a/d?sslmode=require and pg://b/e": {"a /d sslmode=require and", "b /e"},
		"mysql://a/d,postgres://b/e":                                          nil,
		"://, postgres://a/d, postgres://b/e":                                 {"a /d", "b /e"},
		long + strings.Repeat(" ", longestString-len(long)):                   {"a /d", "b /e"},
		long + strings.Repeat(" ", longestString-len(long)+1):                 nil,
	} {
		var got []string
		for _, at := range findStrings(text) {
			said := shown(at.connection, true)
			if at.inProse {
				said += " in prose"
			}
			got = append(got, said)
		}
		assert.Equal(t, want, got, text)
	}
}

// Names are shown to people. A driver may read what is behind them as a password.
func TestNoNameHasParametersInIt(t *testing.T) {
	const secret = canary
	for _, credentials := range []m{
		{"jdbcUrl": "jdbc:redshift://h:5439/dev;UID=u;PWD=" + secret}, {"uri": "postgres://u@h/dev;password=" + secret},
		{"uri": "postgres://u;PWD=" + secret + "@h/dev"}, {"uri": "postgres://u@h/dev&password=" + secret},
		{"host": "h", "port": 5432, "user": "u", "database": "dev;PWD=" + secret}, {"uri": "postgres://u@h/dev#password=" + secret},
		{"host": "h", "port": 5432, "user": "u", "database": "dev?password=" + secret},
		{"uri": "postgres://u%3A" + secret + "@h/dev"}, {"dsn": "host=h user=u dbname='dev password=" + secret + "'"},
		{"jdbcUrl": "jdbc:postgresql://h/dev?user=u;password=" + secret}, {"jdbcUrl": "jdbc:postgresql://h/dev;password=" + secret + "?user=u"},
		{"jdbcUrl": "jdbc:redshift:iam://h:5439/dev;UID=u;PWD=" + secret},
	} {
		b := one(t, vcap(t, credentials))
		assert.Equal(t, []string{"u", "dev"}, []string{b.Username, b.Database}, credentials)
	}
	for _, name := range []string{"postgres://u:" + secret + "@h/d", "password=" + secret, "PWD=" + secret} {
		assert.Empty(t, one(t, vcap(t, m{"uri": "postgres://h/d", "database": name})).Database)
	}
	b := one(t, vcap(t, m{"jdbcUrl": "jdbc:redshift://h:5439/dev;UID=u;PWD=" + secret + ";ssl=true;sslmode=verify-full"}))
	assert.Equal(t, secret, string(b.Password))
	assert.Equal(t, "verify-full by sslmode in credential jdbcUrl", modes(b))
	assert.Equal(t, "a;b&c", one(t, vcap(t, m{"host": "h", "port": 5432, "database": "a;b&c"})).Database, "the control: names may have these")
}
