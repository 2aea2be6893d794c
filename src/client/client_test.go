package client

import (
	"cmp"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

const (
	oregon    = "db.abc.us-west-2.rds.amazonaws.com"
	frankfurt = "db.abc.eu-central-1.rds.amazonaws.com"
	elsewhere = "db.example.com"

	oregonBundle = "/home/vcap/deps/0/trust/us-west-2.pem"
	stackCAs     = "the stack's\n"
)

func db(name, mode string, hosts ...string) binding.Binding {
	b := binding.Binding{Name: name, Hosts: hosts, Ports: make([]string, len(hosts)), WellKnown: true}
	if mode != "" {
		parsed, err := sslmode.Parse(mode)
		if err != nil {
			panic(err)
		}
		b.Asked = []binding.Asked{{Mode: parsed, Place: binding.Place{Path: "sslmode"}, By: binding.ByKey}}
	}
	return b
}

// app is an app that is given a handout.
type app struct {
	env     map[string]string
	home    string // "" for /home/vcap
	brings  string
	looks   string // what Shown found
	says    string
	pgssl   string
	command string
	staging bool
}

func (a app) try(t testing.TB, bindings ...binding.Binding) (*Handout, error) {
	t.Helper()
	sets, err := truststore.Read("../../ca")
	require.NoError(t, err)
	store := truststore.NewStore("/home/vcap/deps/0/trust", sets)
	plan, err := launch.Decide(a.env, binding.Bound{Databases: bindings}, store)
	require.NoError(t, err)
	brings := map[string]bool{}
	for _, language := range strings.Fields(a.brings) {
		brings[language] = true
	}
	seen := Seen{JavaSays: a.says, PGSSLSays: a.pgssl, Shows: map[string]string{a.looks: "file"}}
	given := App{Home: cmp.Or(a.home, "/home/vcap"), Env: a.env, Store: store, Brings: brings, Seen: seen, Command: a.command, Staging: a.staging}
	if a.staging {
		given.Home = "/tmp"
	}
	trust := plan.TrustAll()
	text, err := store.PEM(trust.Sets...)
	require.NoError(t, err)
	text = append(truststore.EncodePEM(trust.Own), text...)
	given.Roots = func(everyone bool) ([]byte, error) {
		if everyone {
			return append(slices.Clone(text), stackCAs...), nil
		}
		return text, nil
	}
	return For(plan, given)
}

func (a app) given(t testing.TB, bindings ...binding.Binding) *Handout {
	t.Helper()
	handout, err := a.try(t, bindings...)
	require.NoError(t, err)
	return handout
}

// exported returns the variables. A "!" before a value marks the owner's, which we keep.
func (h *Handout) exported() map[string]string {
	vars := map[string]string{}
	for _, v := range h.Variables {
		vars[v.Name] = v.Value
		if v.Kept {
			vars[v.Name] = "!" + v.Value
		}
	}
	return vars
}

// content returns a file's content, and fails the test if there is no such file.
func (h *Handout) content(t testing.TB, path string) string {
	t.Helper()
	for _, f := range h.Files {
		if f.Path == path {
			return string(f.Content)
		}
	}
	require.Fail(t, "no such file", path)
	return ""
}

func env(pairs ...string) map[string]string {
	env := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return env
}

func TestEveryModeReachesStratosEvenOneThatItRefuses(t *testing.T) {
	for _, mode := range []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"} {
		vars := app{}.given(t, db("console_db", mode, elsewhere)).exported()
		assert.Equal(t, mode, vars["PGSSLMODE"])
		assert.Equal(t, mode, vars["DB_SSL_MODE"])
	}
}

func TestWithoutAModeNobodyIsToldOne(t *testing.T) {
	h := app{brings: "java erlang"}.given(t, db("db", "", elsewhere))
	assert.ElementsMatch(t, []string{"PATH", "SSL_CERT_DIR"}, keys(h.exported()))
	assert.Empty(t, h.Files)
}

func TestEachVariableOfTheOwnersStays(t *testing.T) {
	for _, name := range []string{"DB_SSL_MODE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSL", "NODE_EXTRA_CA_CERTS", "CF_CA_CERTS"} {
		t.Run(name, func(t *testing.T) {
			a := app{env: env(name, "verify-full"), brings: "java"}
			with := a.given(t, db("db", "verify-ca", oregon)).exported()
			without := app{brings: "java"}.given(t, db("db", "verify-ca", oregon)).exported()
			assert.Equal(t, "!verify-full", with[name])
			with[name] = without[name]
			switch name {
			case "PGSSLMODE": // means the whole app
				assert.Equal(t, "verify-full", with["PGSSL"])
				with["PGSSL"], with["JAVA_TOOL_OPTIONS"] = without["PGSSL"], without["JAVA_TOOL_OPTIONS"]
			case "PGSSLROOTCERT": // pgjdbc's mode comes with the file; see TestJavaFollowsTheOwner
				with["JAVA_TOOL_OPTIONS"] = without["JAVA_TOOL_OPTIONS"]
			}
			assert.Equal(t, without, with, "the others do not change")
		})
	}
	t.Run("a variable that has our value is ours: an earlier launch set it", func(t *testing.T) {
		first := app{}.given(t, db("db", "verify-full", oregon)).exported()
		assert.Equal(t, first, app{env: first}.given(t, db("db", "verify-full", oregon)).exported())
	})
	for _, name := range []string{"PGSSLCERT", "PGSSLKEY"} {
		t.Run(name, func(t *testing.T) {
			b := db("db", "verify-full", oregon)
			b.ClientCert, b.ClientKey = clientPair(t)
			assert.Equal(t, "!mine", app{env: env(name, "mine")}.given(t, b).exported()[name])
		})
	}
	t.Run("an empty one counts as unset", func(t *testing.T) {
		vars := app{env: env("DB_SSL_MODE", "", "PGSSLMODE", "")}.given(t, db("db", "verify-full", oregon)).exported()
		assert.Equal(t, "verify-full", vars["DB_SSL_MODE"])
		assert.Equal(t, "verify-full", vars["PGSSLMODE"])
	})
}

func TestTheOwnersCAsThatTheTunnelIsNotInAreNamed(t *testing.T) {
	for name, named := range map[string]bool{"PGSSLROOTCERT": true, "NODE_EXTRA_CA_CERTS": true, "PGSSL": false, "CF_CA_CERTS": false} {
		const refused = " is set by the app's owner, and stays: a driver that verifies by it refuses the tunnel"
		a := app{env: env(name, "verify-full", "POSTGRES_SSL_TUNNEL", "yes"), brings: "java"}
		assert.Equal(t, named, strings.Contains(strings.Join(a.given(t, db("db", "verify-full", oregon)).Warnings, "\n"), name+refused), name)
		delete(a.env, "POSTGRES_SSL_TUNNEL")
		assert.Empty(t, a.given(t, db("db", "verify-full", oregon)).Warnings, "%s without the tunnel", name)
	}
}

func TestSSLCertDirKeepsTheOwnersAndThePlatformsFolders(t *testing.T) {
	a := app{env: env("SSL_CERT_DIR", "/mine", "CF_SYSTEM_CERT_PATH", "/etc/cf-system-certificates", "PATH", "/bin")}
	vars := a.given(t, db("db", "", oregon)).exported()
	const want = "/mine:/etc/cf-system-certificates:/home/vcap/deps/0/trust/us-west-2"
	assert.Equal(t, want, vars["SSL_CERT_DIR"])
	assert.Equal(t, "/bin:/home/vcap/deps/0/bin/.", vars["PATH"], "last, so that it shadows no command")

	a.env["SSL_CERT_DIR"], a.env["PATH"] = vars["SSL_CERT_DIR"], vars["PATH"]
	again := a.given(t, db("db", "", oregon)).exported()
	assert.Equal(t, want, again["SSL_CERT_DIR"], "sourced twice, it does not grow")
	assert.Equal(t, vars["PATH"], again["PATH"])
}

func TestACAThatTheBindingBringsBecomesAFolderForOpenSSL(t *testing.T) {
	own := db("db", "verify-full", oregon)
	own.CA = binding.Credential{Place: binding.Place{Path: "cacrt"}, Value: caPEM(t)}
	h := app{}.given(t, own)
	dirs := strings.Split(h.exported()["SSL_CERT_DIR"], ":")
	require.Len(t, dirs, 2)
	assert.Regexp(t, `^/home/vcap/\.postgres-ssl/own-[0-9a-f]{32}$`, dirs[1])
	var inside []string
	for _, f := range h.Files {
		if strings.HasPrefix(f.Path, dirs[1]) {
			inside = append(inside, strings.TrimPrefix(f.Path, dirs[1]))
			assert.Equal(t, string(own.CA.Value), string(f.Content))
		}
	}
	require.Len(t, inside, 1)
	assert.Regexp(t, `^/[0-9a-f]{8}\.0$`, inside[0])
}

// With PGSSLROOTCERT set, drivers treat require as verify-ca. NODE_EXTRA_CA_CERTS has no such
// effect.
func TestARootCertificateIsHandedOutOnlyWhereItChangesNoMode(t *testing.T) {
	for name, test := range map[string]struct {
		env         map[string]string
		mode        string
		libpq, node bool
	}{
		"verify-full": {nil, "verify-full", true, true},
		"verify-ca":   {nil, "verify-ca", true, true},
		"require, which a root certificate would turn into verify-ca": {nil, "require", false, true},
		"prefer":                        {nil, "prefer", false, false},
		"the owner wants less of libpq": {env("PGSSLMODE", "require"), "verify-full", false, true},
		"the owner wants no TLS of libpq, nor of node":             {env("PGSSLMODE", "disable"), "verify-full", false, false},
		"the owner wants less of Stratos, and lib/pq reads it too": {env("DB_SSL_MODE", "require"), "verify-full", false, true},
		"the owner wants more":                                     {env("PGSSLMODE", "verify-full", "DB_SSL_MODE", "verify-full"), "require", true, true},
		"node-postgres's own word":                                 {env("PGSSLMODE", "no-verify"), "verify-full", false, true},
		"a word that is not for us, and the app is not Stratos":    {env("DB_SSL_MODE", "REQUIRED"), "verify-full", true, true},
		"a word that no driver reads, and nobody asks for TLS":     {env("PGSSLMODE", "VERIFY_FULL"), "prefer", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := app{env: test.env}.given(t, db("db", test.mode, oregon))
			path := func(wanted bool) string {
				if wanted {
					return oregonBundle
				}
				return ""
			}
			assert.Equal(t, path(test.libpq), h.exported()["PGSSLROOTCERT"])
			assert.Equal(t, path(test.node), h.exported()["NODE_EXTRA_CA_CERTS"])
			assert.Empty(t, h.Files, "a file of the droplet has just these CAs")
			links := app{env: test.env, brings: "java"}.given(t, db("db", test.mode, oregon)).Files
			links = slices.DeleteFunc(links, func(f File) bool { return f.Mode.IsRegular() })
			if test.libpq {
				want := File{"/home/vcap/.postgresql/root.crt", []byte(oregonBundle), fs.ModeSymlink}
				assert.Equal(t, []File{want}, links, "pgjdbc's own default")
			} else {
				assert.Empty(t, links)
			}
		})
	}
}

func TestNothingButPATHIsGivenToAnAppWithoutPostgres(t *testing.T) {
	platform := env("CF_SYSTEM_CERT_PATH", "/etc/cf-system-certificates", "NODE_USE_SYSTEM_CA", "1")
	assert.Equal(t, []string{"PATH"}, keys(app{env: platform, brings: "java erlang"}.given(t).exported()))
	assert.Empty(t, app{env: platform, brings: "java erlang"}.given(t).Files)
	for _, asks := range []string{"PGSSLMODE", "DB_SSL_MODE", "POSTGRES_SSL_MODE"} {
		assert.Contains(t, app{env: env(asks, "require")}.given(t).exported(), "SSL_CERT_DIR", "the control: the owner asks for a mode")
	}
	assert.Contains(t, app{}.given(t, db("db", "", oregon)).exported(), "SSL_CERT_DIR", "the control: a database is bound")
}

// Node's switch for the system's CAs takes a list of folders for the name of one.
func TestNodeThatReadsTheSystemsCAsGetsNoListOfFolders(t *testing.T) {
	oneFile := func(a app, bound ...binding.Binding) map[string]string {
		vars := a.given(t, bound...).exported()
		assert.NotContains(t, vars, "SSL_CERT_DIR")
		assert.Regexp(t, `^/home/vcap/\.postgres-ssl/root-[0-9a-f]{32}\.pem$`, vars["SSL_CERT_FILE"])
		return vars
	}
	bound := db("db", "verify-full", oregon)
	for name, a := range map[string]app{
		"its variable":            {env: env("NODE_USE_SYSTEM_CA", "1")},
		"its options":             {env: env("NODE_OPTIONS", "--max-old-space-size=200 --use-system-ca")},
		"the other spelling":      {env: env("NODE_OPTIONS", "--use_system_ca")},
		"the launched command":    {command: "bash\x00-c\x00…\x00node --use-system-ca server.js"},
		"package.json, Procfile":  {looks: nodeSystemCAs},
		"an owner's folder stays": {env: env("NODE_USE_SYSTEM_CA", "1", "SSL_CERT_DIR", "/mine")},
	} {
		vars := oneFile(a, bound)
		h := a.given(t, bound)
		assert.Contains(t, h.content(t, vars["SSL_CERT_FILE"]), stackCAs, name)
		assert.Contains(t, h.content(t, vars["SSL_CERT_FILE"]), "BEGIN CERTIFICATE", name)
		again := app{env: vars}
		assert.Equal(t, vars["SSL_CERT_FILE"], oneFile(again, bound)["SSL_CERT_FILE"], "sourced again, also where nothing shows the switch")
	}
	oneFile(app{env: env("NODE_USE_SYSTEM_CA", "1")}, db("db", "", elsewhere))
	for name, a := range map[string]app{
		"no switch":                       {},
		"a value that Node does not read": {env: env("NODE_USE_SYSTEM_CA", "true")},
		"its contrary":                    {env: env("NODE_OPTIONS", "--no-use-system-ca")},
		"OpenSSL's own":                   {env: env("NODE_OPTIONS", "--use-openssl-ca")},
	} {
		vars := a.given(t, bound).exported()
		assert.Contains(t, vars, "SSL_CERT_DIR", name)
		assert.NotContains(t, vars, "SSL_CERT_FILE", name)
	}
	h := app{env: env("NODE_USE_SYSTEM_CA", "1", "SSL_CERT_FILE", "/mine.pem")}.given(t, bound)
	assert.Equal(t, "!/mine.pem", h.exported()["SSL_CERT_FILE"])
	assert.NotContains(t, h.exported(), "SSL_CERT_DIR")
	assert.Len(t, h.Warnings, 1)
	assert.Empty(t, h.Files)
}

func TestTheFilesOfAnAppShowNodesSwitchAndItsBuildScripts(t *testing.T) {
	long := func(bytes int) string {
		const text = `{"scripts": {"postinstall": "node --use-system-ca"}}`
		return text + strings.Repeat(" ", bytes-len(text))
	}
	for name, test := range map[string]struct {
		file, text        string
		systemCAs, builds bool
	}{
		"a start script": {"package.json", `{"scripts": {"start": "node --use-system-ca server.js"}}`, true, false},
		"a Procfile":     {"Procfile", "web: node --use_system_ca server.js", true, false},
		"a build script": {"package.json", `{"scripts": {"heroku-postbuild": "node migrate.js"}}`, false, true},
		"npm's own":      {"package.json", `{"scripts":{"postinstall":"prisma generate"}}`, false, true},
		"neither":        {"package.json", `{"scripts": {"start": "node server.js", "build": "tsc"}}`, false, false},
		"another file":   {"readme.md", "node --use-system-ca", false, false},
		"a long file":    {"package.json", long(2<<20 + 1), false, false},
		"not too long":   {"package.json", long(2 << 20), true, true},
	} {
		found := Shown(in(fstest.MapFS{test.file: {Data: []byte(test.text)}}))
		assert.Equal(t, [2]bool{test.systemCAs, test.builds}, [2]bool{found[nodeSystemCAs] != "", found[nodeBuilds] != ""}, name)
	}
	assert.Empty(t, Shown(in(fstest.MapFS{"package.json": {Mode: fs.ModeNamedPipe}})))
}

func TestBuildScriptsAtStagingAreGivenTheModeAndFilesOutsideTheDroplet(t *testing.T) {
	b := db("db", "verify-full", oregon)
	b.ClientCert, b.ClientKey = clientPair(t)
	h := app{staging: true, brings: "java erlang"}.given(t, b)
	vars := h.exported()
	assert.ElementsMatch(t, []string{"DB_SSL_MODE", "PGSSL", "PGSSLCERT", "PGSSLKEY", "PGSSLMODE", "PGSSLROOTCERT"}, keys(vars),
		"no list, no option of a language, and no CA for package downloads")
	for _, name := range []string{"PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT"} {
		assert.Regexp(t, `^/tmp/\.postgres-ssl/[a-z]+-[0-9a-f]{32}\.[a-z]+$`, vars[name])
		assert.NotEmpty(t, h.content(t, vars[name]))
	}
	assert.NotContains(t, h.content(t, vars["PGSSLROOTCERT"]), stackCAs)

	builds := app{staging: true, looks: nodeBuilds}.given(t, b)
	file := builds.exported()["NODE_EXTRA_CA_CERTS"]
	assert.Contains(t, builds.content(t, file), stackCAs, "it hides a file of a later buildpack")
	assert.Contains(t, builds.content(t, file), "BEGIN CERTIFICATE")
	assert.NotContains(t, app{staging: true, looks: nodeBuilds}.given(t, db("db", "prefer", oregon)).exported(), "NODE_EXTRA_CA_CERTS")

	own := app{staging: true, env: env("PGSSLMODE", "require", "PGSSLROOTCERT", "/mine")}.given(t, b).exported()
	assert.Equal(t, "!require", own["PGSSLMODE"])
	assert.Empty(t, keys(app{staging: true, env: env("NODE_USE_SYSTEM_CA", "1")}.given(t).exported()))
	assert.Empty(t, keys(app{staging: true}.given(t, db("db", "", elsewhere)).exported()))
}

func TestAWrongModeOfTheOwnersStopsTheAppsThatReadIt(t *testing.T) {
	for _, test := range []struct {
		name, value, looks, mode, stops string
	}{
		{"PGSSLMODE", "VERIFY_FULL", "", "verify-full", `PGSSLMODE, set by the app's owner, is spelled "VERIFY_FULL"; spell it verify-full, or unset it`},
		{"PGSSLMODE", "VERIFY_FULL", "", "prefer", ""},
		{"DB_SSL_MODE", "REQUIRED", "", "verify-full", ""},
		{"DB_SSL_MODE", "Verify-Full", "Stratos", "require", `DB_SSL_MODE, set by the app's owner, is spelled "Verify-Full"; spell it verify-full, or unset it`},
		{"DB_SSL_MODE", "Verify-Full", "Stratos", "prefer", ""},
		{"DB_SSL_MODE", "verify-full", "Stratos", "require", ""},
	} {
		h, err := app{env: env(test.name, test.value), looks: test.looks}.try(t, db("db", test.mode, oregon))
		if test.stops != "" {
			assert.EqualError(t, err, test.stops)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, "!"+test.value, h.exported()[test.name])
	}
}

func TestStratosIsToldThatItDoesNotReadBindingsInFiles(t *testing.T) {
	for name, test := range map[string]struct {
		app   app
		bound []binding.Binding
		want  int
	}{
		"in a file":          {app{env: env("VCAP_SERVICES_FILE_PATH", "/f"), looks: "Stratos"}, []binding.Binding{db("db", "", oregon)}, 1},
		"in folders":         {app{env: env("SERVICE_BINDING_ROOT", "/f"), looks: "Stratos"}, []binding.Binding{db("db", "", oregon)}, 1},
		"in the environment": {app{looks: "Stratos"}, []binding.Binding{db("db", "", oregon)}, 0},
		"nothing is bound":   {app{env: env("SERVICE_BINDING_ROOT", "/f"), looks: "Stratos"}, nil, 0},
		"another app":        {app{env: env("SERVICE_BINDING_ROOT", "/f")}, []binding.Binding{db("db", "", oregon)}, 0},
	} {
		warnings := test.app.given(t, test.bound...).Warnings
		require.Len(t, warnings, test.want, name)
		if test.want > 0 {
			assert.Contains(t, warnings[0], "Stratos does not read bindings in files, and uses SQLite")
		}
	}
}

func TestStratosWithoutAModeIsToldThatItConnectsInPlainText(t *testing.T) {
	bare := db("db", "", elsewhere)
	warnings := app{looks: "Stratos"}.given(t, bare).Warnings
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "Stratos connects in plain text, as no sslmode is in force")
	assert.Empty(t, app{}.given(t, bare).Warnings, "another app")
	assert.Empty(t, app{looks: "Stratos"}.given(t, db("db", "prefer", elsewhere)).Warnings)
	assert.Empty(t, app{looks: "Stratos", env: env("DB_SSL_MODE", "require")}.given(t, bare).Warnings)
	assert.Empty(t, app{looks: "Stratos"}.given(t).Warnings, "nothing is bound")

	warnings = app{looks: "Stratos", env: env("VCAP_SERVICES_FILE_PATH", "/etc/vcap_services")}.given(t, bare).Warnings
	require.Len(t, warnings, 1, "with bindings in files, it does not connect to Postgres at all")
	assert.Contains(t, warnings[0], "uses SQLite")
}

func TestPostgresJSIsToldTheModeFromRequireUp(t *testing.T) {
	for mode, want := range map[string]string{"disable": "", "allow": "", "prefer": "",
		"require": "require", "verify-ca": "verify-ca", "verify-full": "verify-full"} {
		assert.Equal(t, want, app{}.given(t, db("db", mode, oregon)).exported()["PGSSL"])
	}
	weaker := app{env: env("PGSSLMODE", "disable")}.given(t, db("db", "verify-full", oregon)).exported()
	assert.NotContains(t, weaker, "PGSSL", "the owner's PGSSLMODE is for the whole app; postgres.js would take disable as a request for TLS")
}

func TestOneFileHoldsTheCAsOfAllBoundDatabases(t *testing.T) {
	own := db("c", "verify-full", elsewhere)
	own.CA = binding.Credential{Place: binding.Place{Path: "ca"}, Value: caPEM(t)}
	h := app{brings: "erlang java"}.given(t, db("a", "verify-full", oregon), db("b", "verify-full", frankfurt), own)
	names := func(path string) (names []string) {
		certs, err := truststore.Parse([]byte(strings.TrimSuffix(h.content(t, path), stackCAs)))
		require.NoError(t, err)
		for _, c := range certs {
			names = append(names, truststore.Name(c.Subject))
		}
		return names
	}
	vars := h.exported()
	all := names(vars["PGSSLROOTCERT"])
	assert.Len(t, all, 3+3+1)
	assert.Contains(t, strings.Join(all, ","), "us-west-2")
	assert.Contains(t, strings.Join(all, ","), "eu-central-1")
	assert.Contains(t, all, "Test CA")
	assert.Equal(t, vars["PGSSLROOTCERT"], vars["NODE_EXTRA_CA_CERTS"])

	assert.Equal(t, all, names(vars["CF_CA_CERTS"]))
	assert.Contains(t, h.content(t, vars["CF_CA_CERTS"]), stackCAs)
	assert.NotContains(t, h.content(t, vars["PGSSLROOTCERT"]), stackCAs)
	assert.Contains(t, vars["ERL_AFLAGS"], vars["CF_CA_CERTS"], "one file for both")
}

func TestErlangGetsTheCAsThroughItsFlags(t *testing.T) {
	const ours = `-public_key cacerts_path '"/f.pem"' -eval 'try public_key:cacerts_load("/f.pem") catch _:_ -> ok end'`
	assert.Equal(t, ours, erlangFlags("", "/f.pem"))
	assert.Equal(t, ours+" -- -extra mine", erlangFlags("-extra mine", "/f.pem"), "the owner's flags stay")
	assert.Equal(t, ours, erlangFlags(ours, "/f.pem"), "sourced twice, they do not grow")
	assert.Contains(t, erlangFlags("", `/a'b"c\d`), `'"/a'\''b\"c\\d"'`)

	given := func(brings, mode string) bool {
		_, ok := app{brings: brings}.given(t, db("db", mode, oregon)).exported()["ERL_AFLAGS"]
		return ok
	}
	assert.True(t, given("erlang", "require"))
	assert.False(t, given("erlang", "prefer"))
	assert.False(t, given("", "verify-full"), "an app without Erlang gets no flags")
}

func TestADropletShowsWhichLanguagesItBrings(t *testing.T) {
	for place, language := range map[string]string{
		"deps/1/bin/erl": "erlang", "deps/0/apt/usr/lib/erlang/bin/erl": "erlang", "app/.platform_tools/erlang/bin/erl": "erlang",
		"app/erts-13/bin/erlexec": "erlang", "app/shop/erts-14/bin/erlexec": "erlang", "app/node_modules/erts-14/bin/erlexec": "", "app/_build/prod/rel/shop/erts-14/bin/erlexec": "erlang",
		"deps/1/jre/bin/java": "java", "deps/1/jre/jre-21/bin/java": "java", "app/.java-buildpack/open_jdk_jre/bin/java": "java",
		"deps/0/apt/usr/lib/jvm/java-17-openjdk-amd64/bin/java": "java", "app/.jdk/bin/java": "java", "app/jre/bin/java": "java",
		"app/BOOT-INF/lib/a.jar": "java", "app/WEB-INF/web.xml": "java", "app/META-INF/MANIFEST.MF": "java", "app/shop.jar": "java",
		"app/a*b/readme": "", "app/[a-c]/erts-14/bin/erlexec": "erlang", "app/*/erts-14/bin/erlexec": "erlang", "deps/*/bin/erl": "erlang", "app/a*b": "",
		"app/package.json": "", "app/lib/x.jar": "", "app/java/Main.java": "", "deps/0/bin/node": "", "app/Manifest.toml": "",
	} {
		tree := fstest.MapFS{place: {}, "app/readme": {}, "deps/readme": {}}
		below := func(dir string) fs.FS {
			sub, err := fs.Sub(tree, dir)
			require.NoError(t, err)
			return sub
		}
		found := Look(below("app"), below("deps"))
		for _, l := range languages {
			assert.Equal(t, l.name == language, found[l.name], "%s: %s", place, l.name)
		}
	}
}

func keys(m map[string]string) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// caPEM returns a CA certificate as a credential has it.
func caPEM(t testing.TB) binding.Secret {
	t.Helper()
	return binding.Secret(pgtest.NewCA(t, "Test CA").PEM)
}

func clientPair(t testing.TB) (cert, key binding.Credential) {
	t.Helper()
	pair := pgtest.NewCA(t, "Test CA").Issue(t, []string{"client"})
	return binding.Credential{Place: binding.Place{Path: "sslcert"}, Value: binding.Secret(pair.CertPEM)},
		binding.Credential{Place: binding.Place{Path: "sslkey"}, Value: binding.Secret(pair.KeyPEM)}
}
