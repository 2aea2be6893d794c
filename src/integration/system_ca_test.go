package integration

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// systemCAs prints a fingerprint for each of the system's CAs that Node sees.
const systemCAs = `const { X509Certificate } = require('crypto')
const seen = new Set(require('tls').getCACertificates('system').map((pem) => new X509Certificate(pem).fingerprint256))
console.log([...seen].sort().join('\n'))
`

// fetchers read the internal server in $URL, each with its runtime's own trust.
var fetchers = map[string]string{
	"curl":   `curl -sS "$URL"`,
	"Python": `/usr/bin/python3 -c 'import os, urllib.request; print(urllib.request.urlopen(os.environ["URL"]).read().decode())'`,
	"Ruby":   `/usr/bin/ruby -rnet/http -e 'puts Net::HTTP.get(URI(ENV["URL"]))'`,
	"PHP":    `php -r 'echo file_get_contents(getenv("URL"));'`,
	"Go":     `fetch/fetch`,
}

const goFetch = `package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	response, err := http.Get(os.Getenv("URL"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	io.Copy(os.Stdout, response.Body)
}
`

// Node's switch for the system's CAs takes a list of folders for the name of one. With it, an app must
// see all that it sees without us, reach the company's servers, and its database.
func TestNodesSwitchForTheSystemsCAs(t *testing.T) {
	t.Parallel()
	nodes, err := filepath.Abs("../../fixtures/node/node_modules")
	require.NoError(t, err)
	require.DirExists(t, nodes, "Node 22 and 24 are missing; run: scripts/install_drivers.sh")
	const host, internal = "db.abc123.us-west-2.rds.amazonaws.com", "internal.example.com"
	oregon, company := pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1"), pgtest.NewCA(t, "Company Root")
	server := pgtest.Start(t, serving(t, oregon, host))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	url := companysServer(t, company, internal)
	files := hosts(host, internal)
	// The operator's CA is in the stack's store, as the platform puts it there.
	stack, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	require.NoError(t, err)
	files["/etc/ssl/certs/ca-certificates.crt"] = string(stack) + string(company.PEM)
	files[fmt.Sprintf("/etc/ssl/certs/%08x.0", truststore.SubjectHash(company.Cert))] = string(company.PEM)

	plain := buildApp(t, map[string]string{"node/pg.js": nodePostgres, "cas.js": systemCAs, "fetch/main.go": goFetch,
		"fetch.js": `fetch(process.env.URL).then((r) => r.text()).then(console.log).catch((e) => { console.log(e.cause); process.exit(1) })`})
	mustRun(t, "go", "build", "-o", filepath.Join(plain, "fetch/fetch"), filepath.Join(plain, "fetch/main.go"))
	inScript := t.TempDir()
	copyTree(t, plain, inScript)
	write(t, inScript, "package.json", `{"scripts": {"start": "node --use-system-ca server.js"}}`)
	buildpack := buildpack(t, oregon)

	for _, test := range []struct {
		name, app, variable, options string
		bound                        string
	}{
		{"no switch", plain, "", "", services},
		{"its variable", plain, "NODE_USE_SYSTEM_CA=1", "", services},
		{"its options", plain, "NODE_OPTIONS=--use-system-ca", "", services},
		{"a script of package.json", inScript, "", "--use-system-ca", services},
		{"nothing bound", plain, "NODE_USE_SYSTEM_CA=1", "", vcapServices(t, nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := launch(t, buildpack, test.app, "compile", test.bound, files, strings.Fields(test.variable)...)
			for _, version := range []string{"node22", "node24"} {
				node := filepath.Join(nodes, version, "bin/node") + " " + test.options
				seen, err := c.run(t, node+" cas.js")
				require.NoError(t, err, seen)
				alone, err := c.run(t, "env -u SSL_CERT_DIR -u SSL_CERT_FILE -u NODE_EXTRA_CA_CERTS "+node+" cas.js")
				require.NoError(t, err, alone)
				require.Greater(t, strings.Count(alone, "\n"), 100)
				if test.name != "no switch" {
					assert.Subset(t, strings.Fields(seen), strings.Fields(alone), version)
					listed, err := c.run(t, "env -u SSL_CERT_FILE SSL_CERT_DIR=/etc/ssl/certs:/somewhere "+node+" cas.js")
					require.NoError(t, err, listed)
					assert.Less(t, strings.Count(listed, "\n"), strings.Count(alone, "\n"), "the control: it finds nothing in a list")
					said, err := c.run(t, node+" fetch.js", "URL="+url)
					assert.NoError(t, err, "%s: %s", version, said)
					assert.Equal(t, "inside", said, version)
				}
				said, err := c.run(t, "NODE_OPTIONS= NODE_USE_SYSTEM_CA= "+filepath.Join(nodes, version, "bin/node")+" --use-openssl-ca fetch.js", "URL="+url)
				assert.NoError(t, err, "%s: %s", version, said)
				assert.Equal(t, "inside", said, "OpenSSL takes a list, and a file")
				if test.name != "nothing bound" {
					said, err := c.run(t, node+" node/pg.js", "VCAP_SERVICES="+services)
					require.NoError(t, err, said)
					assert.Equal(t, "ssl=t version=TLSv1.3", said, version)
				}
			}
			for name, command := range fetchers {
				said, err := c.run(t, "NODE_OPTIONS= "+command, "URL="+url)
				assert.NoError(t, err, "%s: %s", name, said)
				assert.Equal(t, "inside", said, name)
			}
			if test.name != "nothing bound" {
				for _, client := range []string{"psql/main.sh", "django/main.py"} {
					said, err := c.run(t, client)
					assert.NoError(t, err, said)
					assert.Equal(t, "ssl=t version=TLSv1.3", said, client)
				}
			}
		})
	}
}

// companysServer is an internal https server that says that one is inside.
func companysServer(t *testing.T, ca *pgtest.CA, host string) (url string) {
	t.Helper()
	pair := ca.Issue(t, []string{host})
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", host, 1)
}
