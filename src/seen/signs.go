package seen

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Sign is a line of the app's own files that says something about TLS, or about our variables.
type Sign struct {
	Kind     Kind
	File     string
	Line     int
	Language string       // of the file; "" if it concerns every driver
	Mode     sslmode.Mode // of Decides and Defaults: the least that it allows, None if that is not known
	Variable string       // that it reads, or sets
	Until    time.Time    // of Bundles: when its last CA expires
}

// Where is the place, for people: "config/database.js:12".
func (s Sign) Where() string { return fmt.Sprintf("%s:%d", s.File, s.Line) }

// Kind is what a sign means.
type Kind string

const (
	Decides  Kind = "decides"  // the app sets TLS itself: none of our variables counts there
	Defaults Kind = "defaults" // it does so by its own default, unless anything else decides
	Reads    Kind = "reads"    // the app's own code reads one of our variables
	Undoes   Kind = "undoes"   // our variables, or one of them, do not get to the app
	Pools    Kind = "pools"    // a pooler in the container, whose clients read our variables too
	Bundles  Kind = "bundles"  // a file with RDS's CAs of the app's own
	Direct   Kind = "direct"   // it asks for what only a direct connection to the server can do
)

// languages are those of the files that are read, by the end of their name. No launch needs them.
var languages = sync.OnceValue(func() map[string]string {
	return map[string]string{
		".js": "Node", ".mjs": "Node", ".cjs": "Node", ".ts": "Node", ".mts": "Node", ".cts": "Node", ".py": "Python", ".rb": "Ruby",
		".properties": "Java", ".xml": "Java", ".java": "Java", ".kt": "Java", ".go": "Go", ".ex": "BEAM", ".exs": "BEAM",
		".cs": ".NET", ".php": "PHP", ".rs": "Rust",
		".json": "", ".yml": "", ".yaml": "", ".toml": "", ".ini": "", ".conf": "", ".cfg": "", ".env": "", ".sh": "",
	}
})

// row is a kind of line. Its pattern finds a key and a value; without one, the file is the sign.
type row struct {
	shape   string         // for docs/apps.md
	files   *regexp.Regexp // of their names
	pattern *regexp.Regexp
	kind    Kind
	mode    sslmode.Mode                                         // of Decides and Defaults, if there is no read
	read    func(key, value string) (mode sslmode.Mode, ok bool) // only where a database is spoken of
	means   string                                               // for docs/apps.md
}

var (
	// The launcher sources .profile.d and .profile after our script; a start script runs last.
	scripts = lazyregexp.New(`^(?:\.profile|Procfile|[^/]*\.sh|bin/[^./]+|\.profile\.d/[^/]+)$`)
	// AWS publishes RDS's CAs under these names.
	bundles = lazyregexp.New(`(?i)(?:^|/)(?:rds[-_][\w-]*|[\w-]+-bundle)\.(?:pem|crt)$`)
)

// ours are our variables but PGSSLMODE, of which the mode counts.
const ours = `PGSSL(?:ROOTCERT|CERT|KEY)?|NODE_EXTRA_CA_CERTS|SSL_CERT_(?:DIR|FILE)|DB_SSL_MODE|ERL_AFLAGS|JAVA_TOOL_OPTIONS`

// rows is the table of signs. Of a line, the first row counts. No launch needs it.
//
// Sources: node-postgres, lib/connection-parameters.js; libpq's manual, "SSL Support";
// dj-database-url, ssl_require; pgjdbc's and Npgsql's documents on sslmode, sslfactory and Trust
// Server Certificate; Node's cli.md; php-fpm's manual on clear_env; and the apps in docs/apps.md.
var rows = sync.OnceValue(func() []row {
	re, packages := regexp.MustCompile, regexp.MustCompile(`(?:^|/)package\.json$`)
	return []row{
		{"`export PGSSLROOTCERT=…`, `JAVA_TOOL_OPTIONS=…` in a script", scripts(),
			re(`(?:^|[\s;&|])(` + ours + `)=(.*)`),
			Undoes, sslmode.None, nil, "the app does not get ours: the script runs after it"},
		{"`unset PGSSLMODE`, `env -u …` in a script", scripts(),
			re(`(?:\bunset\b|-u\b)[^;&|]*\b(PGSSLMODE|` + ours + `)\b()`),
			Undoes, sslmode.None, nil, "the app does not get ours"},
		{"`clear_env = yes` for php-fpm", re(`^\.bp-config/php/.*\.conf$`),
			re(`^\s*(clear_env)\s*=\s*(yes|on|true|1)\b`),
			Undoes, sslmode.None, nil, "no variable gets to PHP"},
		{"`DB_TYPE = postgres` in Gitea's `app.ini`", re(`(?:^|/)app\.ini$`),
			re(`(?i)^\s*DB_TYPE\s*=\s*postgres()()`),
			Defaults, sslmode.Disable, nil, "plain text, if no `SSL_MODE` says otherwise"},
		{"`conf/sonar.properties`", re(`(?:^|/)conf/sonar\.properties$`), nil,
			Undoes, sslmode.None, nil, "SonarQube drops `JAVA_TOOL_OPTIONS` for the processes that it starts"},
		{"`pgbouncer.ini`, `pgcat.toml`, `odyssey.conf`", re(`(?:^|/)(?:pgbouncer\.ini|pgcat\.toml|odyssey\.conf)$`), nil,
			Pools, sslmode.None, nil, "`PGSSLMODE` is meant for the database, and the pooler's clients read it too"},
		{"`NODE_TLS_REJECT_UNAUTHORIZED=0`", re(""),
			re(`(NODE_TLS_REJECT_UNAUTHORIZED)['"\]]*\s*[:=]\s*['"]?(0)`),
			Decides, sslmode.Require, nil, "Node verifies nothing"},
		{"`global-bundle.pem`, `rds-combined-ca-bundle.pem`, …", bundles(), nil,
			Bundles, sslmode.None, nil, "the app verifies by RDS's CAs of its own, which may have expired"},
		{"`\"n8n\":` in a package.json", packages, re(`^\s*"(n8n)"\s*:()`),
			Decides, sslmode.Disable, nil, "n8n's default is plain text"},
		{"`\"unleash-server\":`, `\"@cap-js/postgres\":` in a package.json", packages,
			re(`^\s*"(unleash-server|@cap-js/postgres)"\s*:()`),
			Decides, sslmode.Require, nil, "it verifies nothing"},
		{"`django_heroku.settings(locals())`", re(`\.py$`), re(`\b(django_(?:on_)?heroku)\.settings\(()`),
			Decides, sslmode.Require, nil, "it asks for `require` where there is a `DATABASE_URL`"},
		{"`rds-signer`, `generate_db_auth_token`, AWS's wrapper drivers, `channel_binding=require`, `target_session_attrs=…`", re(""),
			re(`(?i)(rds-signer|generate_db_auth_token|getAuthToken|aws[-_](?:advanced|wrapper)|` +
				`channel_?binding['"]?\s*[:=]>?\s*['"]?require|require_?auth['"]?\s*[:=]|target_?session_?attrs['"]?\s*[:=])()`),
			Direct, sslmode.None, nil, "the tunnel cannot carry it, so the app does not go through it by itself"},
		{"`sslmode: …`, `'sslmode' => …`, `?sslmode=…`, `ssl_mode = …`, `SSL Mode=…`", re(""),
			re(`(?i)([\w.]*ssl[ _-]?mode)(?:['"]?\]?\s*(?:=>|:=|[:=(])|['"]\s*,|,\s*['"])\s*([^=\s].*)`),
			Decides, sslmode.None, ofMode, "the mode that is written there, or its default"},
		{"`SSLMode string`, with a default in its tag, in Go", re(`\.go$`),
			re(`(?i)(\w*ssl_?mode)\s+\w+\s+(\x60.*default:"[^"]*")`),
			Decides, sslmode.None, ofMode, "its default, until somebody sets the variable"},
		{"`TLSConfig = nil` in Go", re(`\.go$`), re(`(\.TLSConfig)\s*=\s*(nil)\b`),
			Decides, sslmode.None, always(sslmode.Disable), "plain text, in pgx"},
		{"`NonValidatingFactory`, `Trust Server Certificate=true`, `CERT_NONE`, `verify_none`, `InsecureSkipVerify: true`, `trust-all=true`",
			re(""), re(`(?i)(` + verifiesNothing + `)()`),
			Decides, sslmode.None, always(sslmode.Require), "it verifies nothing"},
		{"`ssl: …`, `DATABASE_SSL=…`, `pg_ssl = off`, `ssl_require=True`", re(""),
			re(`(?i)([\w.]*ssl(?:[_-]?(?:enabled?|required?|config|options?|context|verify))?)['"]?\]?` +
				`\s*(?:=>|:=|[:=]|['"],|\bvalue\s*=|>)\s*([^=].*)?$`),
			Decides, sslmode.None, ofFlag, "off where something can switch it off; unverified with `rejectUnauthorized: false`; " +
				"verified where nothing can switch it off"},
		{"`rejectUnauthorized: …`", re(""),
			re(`()((?i:\w*rejectUnauthorized)['"]?\s*[:=]\s*[^=].*)`),
			Decides, sslmode.None, ofFlag, "unverified, or verified"},
		{"`jdbc:postgresql://…?ssl`", re(""),
			re(`jdbc:(?:[\w-]+:)*postgres(?:ql)?:[^\s"']*[?&](ssl)=?()(?:[&"'\s<]|$)`),
			Decides, sslmode.None, always(sslmode.VerifyFull), "verified, which is what pgjdbc makes of it"},
		{"`process.env.PGSSLMODE`, `ENV['PGSSL']`, … in the app's code", re(`\.(?:[mc]?[jt]s|py|rb|properties|xml|java|kt|go|exs?|cs|php|rs)$`),
			re(`(?i:env|environ)[.\[('"?]+(PGSSLMODE|PGSSL)()\b`),
			Reads, sslmode.None, nil, "not only the driver reads the variable"},
	}
})

func always(mode sslmode.Mode) func(key, value string) (sslmode.Mode, bool) {
	return func(string, string) (sslmode.Mode, bool) { return mode, true }
}

// telling are in the names of files, or of their folders, that may configure a database.
var telling = []string{"conf", "settings", "database", "db", "env", "knex", "orm", "drizzle", "prisma", "datasource", "data-source",
	"sequelize", "postgres", "pg", "pool", "sql", "stor", "persist", "connect", "credential",
	"boot-inf/classes", "web-inf/classes", "meta-inf", "main/resources/", "main.", "app.", "server.", "index.", "package."}

// unread are names of files that do not run, or not here.
var unread = lazyregexp.New(`(?i)example|sample|template|schema\.(?:json|ya?ml)$|\.dist$|` +
	`(?:^|[._-])(?:tests?|spec|dev|development|local|min|d)\.\w+$|` +
	`^\.env\.(?:test|dev|local)|lock|compose|manifest|tsconfig|Jenkinsfile|\.gitlab|migrat`)

// mayDecide says whether a file may have signs. tells says that each text of its folder may.
func mayDecide(dir, base string, tells bool) bool {
	ext := path.Ext(base)
	_, isText := languages()[strings.ToLower(ext)]
	runs := dir == "." || dir == "bin" || dir == ".profile.d"
	switch {
	case runs && scripts().MatchString(path.Join(dir, base)):
		return true
	case isText || strings.HasPrefix(base, ".env"):
		return (tells || contains(base, telling)) && !unread().MatchString(base)
	}
	return (ext == ".pem" || ext == ".crt") && bundles().MatchString(base)
}

func contains(text string, words []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// defaults are the modules of apps that connect in plain text unless somebody sets a mode: in a
// file, or in a variable. One that is set counts, whatever is in it: a launch names what it says.
//
// Sources: Gitea, modules/setting/database.go, which Forgejo has too; Mattermost,
// public/model/config.go; Concourse, flag/postgres_config.go; Grafana, conf/defaults.ini.
var defaults = []struct{ module, variable string }{
	{"code.gitea.io/gitea", ""}, {"forgejo.org", ""},
	{"github.com/mattermost/mattermost/server", "MM_SQLSETTINGS_DATASOURCE"},
	{"github.com/mattermost/mattermost-server", "MM_SQLSETTINGS_DATASOURCE"},
	{"github.com/concourse/concourse", "CONCOURSE_POSTGRES_SSLMODE"},
	{"github.com/grafana/grafana", "GF_DATABASE_SSL_MODE"},
}

// Module says of which Go module a file is the go.mod or a program.
func (f *Files) Module(file, module string) {
	for _, d := range defaults {
		if module == d.module || strings.HasPrefix(module, d.module+"/v") {
			f.defaults = append(f.defaults, Sign{Kind: Defaults, File: file, Line: 1, Language: "Go", Mode: sslmode.Disable, Variable: d.variable})
		}
	}
}

// Signs are what an app's own files say: first those of modules, then in the order of the files.
func (f *Files) Signs() []Sign {
	const most = 50
	signs := f.defaults
	for _, name := range f.deciding {
		if f.closely <= 0 || f.left < leastOfFile || len(signs) >= most {
			f.Skipped = append(f.Skipped, Skipped{name, "enough has been read; the rest is not", true})
			break
		}
		if text, ok := f.Text(name); ok {
			p := page{Files: f, name: name, text: text}
			signs = append(signs, p.signs()...)
		}
	}
	return signs[:min(len(signs), most)]
}

// hints are in each line that can be a sign. They spare the others the patterns.
var hints = []string{"ssl", "db_type", "unauthorized", "clear_env", "erl_aflags", "java_tool", "node_extra", `"n8n"`, "cap-js", "unleash",
	"certificate", "nonval", "_none", "insecureskip", "trust-all", "rds-signer", "auth_token", "getauthtoken", "aws-", "aws_",
	"channel_binding", "channelbinding", "require_auth", "requireauth", "session_attrs", "sessionattrs", "heroku", "tlsconfig"}

type page struct {
	*Files
	name, text string
	lines      []string // of the text, without comments and longer ones
	whole      *bool    // whether the text as a whole is about Postgres
}

// take says whether a text may be looked at.
func (p *page) take(text string) bool {
	p.closely -= len(text) + 1
	return p.closely > 0
}

func (p *page) signs() (signs []Sign) {
	const longest = 1000 // bytes of a line that people may read
	language := languages()[strings.ToLower(path.Ext(p.name))]
	var mine []row
	for _, r := range rows() {
		switch {
		case !r.files.MatchString(p.name):
		case r.pattern == nil:
			signs = append(signs, Sign{Kind: r.kind, File: p.name, Line: 1, Language: language, Until: lastExpiry(p.text)})
		default:
			mine = append(mine, r)
		}
	}
	if bundles().MatchString(p.name) || !contains(p.text, hints) {
		return signs
	}
	p.lines = strings.Split(p.text, "\n")
	docstring := map[string]string{"Python": `"""`, "BEAM": "@"}[language] // begins its first line
	isText, isDoc := false, false                                          // between two """, of a docstring
	for i, line := range p.lines {
		code := strings.TrimSpace(line)
		if strings.Count(line, `"""`)%2 == 1 && !strings.HasPrefix(code, "#") {
			isDoc = !isText && docstring != "" && strings.HasPrefix(code, docstring)
			isText = !isText
		}
		if isDoc || len(line) > longest || !p.take("") {
			line = ""
		}
		p.lines[i] = uncommented(line)
	}
	isBare := map[int]bool{} // lines that only switch TLS on
	for i, end := 0, 0; i < len(p.lines); i = end {
		code := p.lines[i]
		if end = i + 1; !contains(code, hints) {
			continue
		}
		if !p.take(code + code + code + code) { // all patterns take longer than those for what it is about
			break
		}
		code = harmless().ReplaceAllString(code, "")
		for _, r := range mine {
			m := r.pattern.FindStringSubmatch(code)
			if m == nil {
				continue
			}
			s := Sign{Kind: r.kind, File: p.name, Line: i + 1, Language: language, Mode: r.mode, Variable: m[1]}
			if r.read != nil {
				value, behind := p.valueOf(i, m[2])
				var isSign bool
				if s.Mode, isSign = r.read(m[1], value); !isSign {
					continue
				}
				if language == "BEAM" && p.OldPostgrex && !strings.Contains(value, "verify_peer") {
					s.Mode = min(s.Mode, sslmode.Require)
				}
				s.Variable, end = cmp.Or(variable(value), variable(m[1]+"=")), behind
				isBare[s.Line] = !verifying().MatchString(value)
			}
			if !passesOn(m[1], m[2]) && (r.read == nil || p.isAboutADatabase(i)) {
				signs = append(signs, s)
			}
			break
		}
	}
	// What allows less hides a bare one: ssl: true beside dialectOptions that verify nothing.
	isLess := func(s Sign) bool { return s.Kind == Decides && s.Mode != sslmode.None && !s.Mode.Verifies() }
	if slices.ContainsFunc(signs, isLess) {
		signs = slices.DeleteFunc(signs, func(s Sign) bool { return s.Mode.Verifies() && isBare[s.Line] })
	}
	return signs
}

// lastExpiry is long ago for a text without certificates.
func lastExpiry(text string) (until time.Time) {
	certs, _ := truststore.Parse([]byte(text))
	for _, c := range certs {
		if c.NotAfter.After(until) {
			until = c.NotAfter
		}
	}
	return until
}
