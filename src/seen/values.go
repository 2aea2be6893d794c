package seen

import (
	"path"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// uncommented leaves out a comment. In the middle, one begins only behind a blank: https://… and
// #{…} are none.
func uncommented(line string) string {
	trimmed := strings.TrimSpace(line)
	for _, mark := range []string{"#", ";", "//", "/*", "*", "--", "<!--", `"""`, "'''"} {
		if strings.HasPrefix(trimmed, mark) && !strings.HasPrefix(trimmed, "--use-system-ca") {
			return ""
		}
	}
	for _, mark := range []string{" //", " # ", " /*", " <!--", "\t//", "\t# "} {
		line, _, _ = strings.Cut(line, mark)
	}
	return line
}

// harmless is what a line only asks or says: if "sslmode=require" in url, url.includes('ssl=true'),
// console.log(…), an error.
var harmless = lazyregexp.New(`(?i)\w*(?:contains|includes|index_?of|match|starts_?with)\w*\([^()]*ssl[^()]*\)|` +
	`\w*replace\w*\([^(),]*ssl[^(),]*,\s*(?:['"]ssl=require)?|` +
	`['"][^'"]*ssl[^'"]*['"]\s+(?:not\s+)?in\s|/[^/]*ssl[^/]*/\w*\.test\b|` +
	`\b(?:console|log(?:ger|ging)?)\.\w+\([^;]*|\b(?:print\w*|panic|\w*Error\w*|errors\.New)\([^;]*|` +
	`\bhelp\s*=\s*['"][^'"]*|\b(?:raise|throw)\s[^;]*`)

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// valueOf returns the value that begins in a line, with the lines below that are indented deeper,
// and the number of the first line behind it.
func (p *page) valueOf(i int, value string) (string, int) {
	const most = 25
	for end := i + 1; ; end++ {
		if end == min(len(p.lines), i+most) || !p.take(p.lines[end]) {
			return value, end
		}
		line := strings.TrimSpace(p.lines[end])
		isMore := line == "" || strings.HasPrefix(line, "ssl_opts:") // Elixir's, beside its ssl
		if !isMore && indent(p.lines[end]) <= indent(p.lines[i]) {
			return value, end
		}
		value += "\n" + p.lines[end]
	}
}

// variables finds one that a value is read from: process.env.X, env.bool('X'), ENV['X'],
// ENV.fetch("X"), os.environ["X"], ${X}, %env(X)%, config("X"), or X=… of a file with variables.
var variables = lazyregexp.New(`(?:(?i:env|environ|config)(?:\.\w+)?(?:\.|:"|[(\[]+\s*['"]?(?:\w+:)*)|` +
	`\$\{)([A-Z][A-Z0-9_]{2,})|^(?:export )?([A-Z][A-Z0-9_]*SSL[A-Z0-9_]*)=$`)

func variable(text string) string {
	for _, m := range variables().FindAllStringSubmatch(text, -1) {
		name := m[1] + m[2]
		if isCA := strings.Contains(name, "CERT") || strings.HasSuffix(name, "_CA"); !isCA && name != "NODE_ENV" {
			return name
		}
	}
	return ""
}

// passesOn says whether a value passes ours on: ENV['PGSSLMODE'] || 'disable', Stratos's
// env.String("DB_SSL_MODE", "disable"), or a script's JAVA_TOOL_OPTIONS="$JAVA_TOOL_OPTIONS …".
func passesOn(key, value string) bool {
	if name := variable(value); name == "PGSSLMODE" || name == "DB_SSL_MODE" {
		return !comparison().MatchString(value) && !strings.Contains(value, "?")
	}
	return strings.Contains(value, "$"+key) || strings.Contains(value, "${"+key)
}

const verifiesNothing = `NonValidatingFactory|Trust ?Server ?Certificate['"]?\s*[:=]\s*true|\bCERT_NONE\b|\bverify_none\b|` +
	`InsecureSkipVerify\s*[:=]\s*true|_create_unverified_context|\btrust-all\s*[:=]\s*true`

var (
	modeWords = lazyregexp.New(`(?i)\b(?:disable|allow|prefer|require|verify[-_]?ca|verify[-_]?full|no-verify)\b`)
	query     = lazyregexp.New(`(?s)^([^&]*)&(?:amp;)?\w+=.*`) // a value in a connection string, and the rest of its query
	// choices are the values that are allowed, or a type.
	choices = lazyregexp.New(`(?i)\b(?:choice|literal)\W*[\[({][^\])}]*|\b(?:choices|cast|oneof|enum)\b(?s:.*)|` +
		`^\s*['"][\w-]+['"](?:\s*\|\s*['"][\w-]+['"])+`)
	// interpolated begins a value that is put together at run time: %s, " + mode, {mode}, #{mode}.
	interpolated = lazyregexp.New(`^(?:%[sv]|\$?\{\w|#\{|\$\w|["'\x60]\s*[+.])`)

	rejects    = lazyregexp.New(`(?i)rejectUnauthorized['"]?\s*[:=]\s*([^,}\n]*(?:\([^)]*\))?[^,}\n]*)`)
	comparison = lazyregexp.New(`([!=])==?\s*['"]?\w*['"]?`)
	off        = lazyregexp.New(`(?i)\b(?:false|disabled?)\b|^\s*['"]?(?:off|no|0|null)['"]?\W*$|!1\b|&&|` +
		`^\s*(?:!!|Boolean\()\s*process\.env|^[^{]*\?[^\n]*:\s*null\b|\bin\s+(?:~w\(|\[\s*['"])`)
	halfway    = lazyregexp.New(`(?i)\b(?:allow|prefer)\b`)
	on         = lazyregexp.New(`(?i)\b(?:true|verify[-_]?full|verify[-_]?ca|verify_peer|ca|create_default_context)\b|^\s*['"]?(?:on|yes|1)['"]?\W*$|!0\b`)
	verifying  = lazyregexp.New(`(?i)verify|unauthorized|\bca\b|ca(?:file|path|data)|cert|root`) // it names a mode or a CA
	requires   = lazyregexp.New(`(?i)^\s*['"\x60]?require\b`)
	switches   = lazyregexp.New(`\?|\|\||&&|\b(?:if|or|and|not)\b|[!=]=|![A-Za-z_(!]`)
	unverified = lazyregexp.New(`(?i)` + verifiesNothing)
	reference  = lazyregexp.New(`^\s*(?:await\s+)?(?:[a-z_$][\w$.]*|[A-Z][A-Z0-9_]+)(?:\(.*\))?[\s,;)}]*(?:$|\n)`)
	opposite   = lazyregexp.New(`openssl$|no_?ssl$|disable|download|(?:^|\.)verify_ssl$`) // or about something else
	typeName   = lazyregexp.New(`(?i)^\s*(?:bool|boolean|str|string|any|object|undefined|null|none|nil|number|unknown|optional)\b`)
)

// ofMode returns the weakest mode that a value names. Without one, it may come from a variable.
func ofMode(key, value string) (sslmode.Mode, bool) {
	if key == "POSTGRES_SSL_MODE" { // ours, which no app reads
		return sslmode.None, false
	}
	value = choices().ReplaceAllString(value, "")
	var modes []sslmode.Mode
	for _, word := range modeWords().FindAllString(query().ReplaceAllString(value, "$1"), -1) {
		mode, _ := sslmode.Parse(strings.Replace(strings.ToLower(word), "no-verify", "require", 1))
		modes = append(modes, mode)
	}
	if modes != nil {
		return slices.Min(modes), true
	}
	return sslmode.None, variable(value) != "" || interpolated().MatchString(value)
}

// isOff also takes a comparison that is off until somebody sets a variable.
func isOff(value string) bool {
	equals := comparison().FindStringSubmatch(value)
	isUnset := equals != nil && equals[1] == "=" && !strings.Contains(value, "?")
	return isUnset || off().MatchString(comparison().ReplaceAllString(value, ""))
}

// isType says whether a value is a type in TypeScript or Python: boolean | undefined.
func isType(value string) bool {
	return typeName().MatchString(value) && !isOff(value) && !strings.ContainsAny(value, "=(")
}

// isConstant says whether a value is what its name says: pgSSLRequire = "require". A name in letters
// of one size may be a setting's.
func isConstant(name, value string) bool {
	key, word := strings.ToLower(name), strings.Trim(value, `'"`)
	isMixed := name != key && name != strings.ToUpper(name)
	return isMixed && word != value && strings.HasSuffix(key, word)
}

// ofFlag reads what the value of ssl allows at least. What can be switched is not verified.
func ofFlag(name, value string) (sslmode.Mode, bool) {
	key, value := strings.ToLower(name), query().ReplaceAllString(value, "$1")
	switch {
	case opposite().MatchString(key), isType(value), isConstant(name, value):
		return sslmode.None, false
	case name == "ssl_require" && !strings.HasPrefix(value, "bool"): // dj-database-url's argument: False is as without it
		return sslmode.Require, !strings.HasPrefix(value, "False") || strings.Contains(value, "True")
	}
	isSwitched := switches().MatchString(value)
	weakest, ok := sslmode.VerifyFull, false
	take := func(mode sslmode.Mode, is bool) {
		if is {
			weakest, ok = min(weakest, mode), true
		}
	}
	for _, m := range rejects().FindAllStringSubmatch(value, -1) {
		take(sslmode.VerifyFull, !isType(m[1]))
		take(sslmode.Require, isOff(m[1]))
	}
	take(sslmode.Require, unverified().MatchString(value))
	take(sslmode.VerifyCA, strings.Contains(value, "checkServerIdentity"))
	if value = rejects().ReplaceAllString(value, ""); key == "" { // only what is rejected was found
		value, isSwitched = "", isSwitched && ok
	}
	says := comparison().ReplaceAllString(value, "")
	turnsOff := isOff(value)
	take(sslmode.Disable, turnsOff && !strings.HasSuffix(key, "verify"))
	take(sslmode.Require, turnsOff)
	take(sslmode.Prefer, halfway().MatchString(says))
	take(sslmode.Require, requires().MatchString(says) || strings.Contains(key, "require") && on().MatchString(says))
	take(sslmode.VerifyFull, on().MatchString(says))
	isElsewhere := reference().MatchString(value) && !typeName().MatchString(value) || variable(value) != ""
	isSwitched = isSwitched || !ok && isElsewhere
	if isSwitched && weakest.Verifies() {
		return sslmode.None, true
	}
	return weakest, ok
}

var (
	postgres = lazyregexp.New(`(?i)(?-i:SSLMode)\s*:?=\s*["\x60]|` +
		`postgres|pgsql|\bpg\b|\bpg[_-]|[_-]pg\b|PGSSL|PGHOST|psycopg|asyncpg|dj_database_url`)
	database = lazyregexp.New(`(?i)database|data-?source|jdbc|sequelize|typeorm|knex|drizzle|prisma|hikari|r2dbc|sqlalchemy|` +
		`dialect|ormconfig|mikro-?orm|^config/config\.js|^models/index|connectionString|\bdb\b|db_|_db\b|\bPool\(`)
	others = lazyregexp.New(`(?i)redis|kafka|rabbit|amqp|mail|smtp|ldap|mongo|my_?sql|maria|mssql|sqlserver|sqlite|oracle|elastic|` +
		`opensearch|cassandra|memcache|` +
		`mqtt|nats|solr|consul|vault|eureka|zookeeper|https?\b|\bserver['"]?\s*[:=]|server\.|createServer|` +
		`tomcat|axios|(?:^|[^.\w])fetch\(|transport|minio|cookie|force_ssl|redirect|keystore|\bs?ftp|influx|neo4j|couch|clickhouse|proxy|socket`)
	notHere = lazyregexp.New(`(?i)^\W*(?:test|development|dev|local)\b(?:['"]?\s*[:=]|\.)`) // also Quarkus's %dev.x=
)

// about says what a line is about: 1 is Postgres, -1 another service, and 0 neither of them.
func about(line string) int {
	switch {
	case postgres().MatchString(line):
		return 1
	case others().MatchString(line):
		return -1
	}
	return 0
}

// IsAboutADatabase says whether a text, such as a variable with its value, is about Postgres, or
// about a database and no other service.
func IsAboutADatabase(text string) bool {
	is := about(text)
	return is > 0 || is == 0 && database().MatchString(text)
}

// isAboutADatabase asks a line, then those around it, nearest first: on its own level, and those
// that it is inside of. The first that is about Postgres or another service decides; a word for any
// database counts if there is none. Of lines that are not indented, only the title of a section
// counts: [database].
func (p *page) isAboutADatabase(i int) bool {
	const most = 300 // lines
	if notHere().MatchString(p.lines[i]) {
		return false
	}
	around, level, isTitle := []string{p.lines[i]}, indent(p.lines[i]), false
	for _, line := range p.lines[i+1 : min(len(p.lines), i+most)] {
		isInside := line == "" || indent(line) >= level
		if !isInside || level == 0 || !p.take(line) {
			break
		}
		if indent(line) == level {
			around = append(around, line)
		}
	}
	for j := i - 1; j >= max(0, i-most) && !isTitle && p.take(p.lines[j]); j-- {
		line := p.lines[j]
		isTitle = level == 0 && strings.HasPrefix(line, "[")
		switch isTop := level == 0 && !isTitle; {
		case isTop, indent(line) > level, strings.TrimSpace(line) == "":
			continue
		case indent(line) < level && notHere().MatchString(line):
			return false
		}
		level = indent(line)
		around = append(around, line)
	}
	for _, line := range around {
		if is := about(line); is != 0 {
			return is == 1
		}
	}
	base := path.Base(path.Dir(p.name)) + "/" + path.Base(p.name)
	if slices.ContainsFunc(around, database().MatchString) || about(base) > 0 || database().MatchString(base) {
		return true
	}
	if p.whole == nil {
		all := p.text[:min(len(p.text), 64<<10)]
		is := p.take(all) && postgres().MatchString(all) && !others().MatchString(all)
		p.whole = &is
	}
	return *p.whole
}
