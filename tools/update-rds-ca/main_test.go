package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// The day on which ca/ was compared with independent copies. Four intermediates of GovCloud were
// about to expire.
var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const buildpackCA = "../../ca"

type certificate struct {
	cn       string
	notAfter time.Time
	leaf     bool
	issuer   *x509.Certificate // nil: itself
}

var (
	key, _   = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	inAYear  = today.AddDate(1, 0, 0)
	lastWeek = today.AddDate(0, 0, -7)
)

func create(t *testing.T, c certificate) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.cn}, NotBefore: today.AddDate(-1, 0, 0), NotAfter: c.notAfter,
		BasicConstraintsValid: true, IsCA: !c.leaf,
	}
	if c.notAfter.IsZero() {
		template.NotAfter = inAYear
	}
	issuer := c.issuer
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func root(t *testing.T, cn string) *x509.Certificate { return create(t, certificate{cn: cn}) }

func pemOf(certs ...*x509.Certificate) string { return string(truststore.EncodePEM(certs)) }

// caFolder makes a ca folder of files and their contents.
func caFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "extra"), 0o755))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	return dir
}

func content(t *testing.T, elements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	require.NoError(t, err)
	return string(data)
}

type result struct {
	status   int
	out, err string
}

func execute(t *testing.T, client *http.Client, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	status := run(args, client, today, &out, &errOut)
	return result{status, out.String(), errOut.String()}
}

// serve starts an HTTPS server with one answer per path. It returns its URL and a client that
// trusts it.
func serve(t *testing.T, answers map[string]http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc(path, answer)
	}
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	return server.URL, newClient(server.Client().Transport)
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func TestTheFilesInCARenewedFromThemselvesStayTheSame(t *testing.T) {
	for _, before := range []map[string]string{
		{"aws.pem": content(t, buildpackCA, "aws.pem"), "aws-us-gov.pem": content(t, buildpackCA, "aws-us-gov.pem"),
			"aws-cn.pem": content(t, buildpackCA, "aws-cn.pem"), "amazon-trust.pem": content(t, buildpackCA, "amazon-trust.pem"), "fingerprints.txt": content(t, buildpackCA, "fingerprints.txt")},
		{"fingerprints.txt": content(t, buildpackCA, "fingerprints.txt")},
	} {
		dir := caFolder(t, before)
		r := execute(t, nil, "update", dir, "aws="+buildpackCA+"/aws.pem", "aws-us-gov="+buildpackCA+"/aws-us-gov.pem",
			"aws-cn="+buildpackCA+"/aws-cn.pem", "amazon-trust="+buildpackCA+"/amazon-trust.pem")
		require.Equal(t, 0, r.status, r.err)
		for _, name := range []string{"aws.pem", "aws-us-gov.pem", "aws-cn.pem", "amazon-trust.pem"} {
			assert.Equal(t, content(t, buildpackCA, name), content(t, dir, name), name)
		}
		assert.NotContains(t, r.out, "fingerprints.txt", "all of them were checked")
	}
}

func TestARenewalSaysWhatCameWhatWentAndWhatIsNew(t *testing.T) {
	stays, comes := root(t, "Amazon RDS us-west-2 Root CA RSA2048 G1"), root(t, "Amazon RDS ap-new-1 Root CA ECC384 G1")
	expired := create(t, certificate{cn: "Amazon RDS us-west-2 RSA2048 G1", notAfter: lastWeek})
	withdrawn := root(t, "Amazon RDS us-east-1 Root CA RSA2048 G1")
	preview := root(t, "Amazon RDS Preview us-east-2 Root CA RSA2048 G1")
	govCloud := root(t, "Amazon RDS us-gov-west-1 Root CA RSA2048 G1")
	dir := caFolder(t, map[string]string{
		"aws.pem":          pemOf(expired, stays, withdrawn, preview),
		"fingerprints.txt": truststore.Fingerprint(stays) + "|...\n" + truststore.Fingerprint(preview) + "|...\n",
	})
	url, client := serve(t, map[string]http.HandlerFunc{"/bundle.pem": answer(pemOf(preview, stays, comes, expired, stays, govCloud))})

	r := execute(t, client, "update", dir, "aws="+url+"/bundle.pem")
	require.Equal(t, 0, r.status, r.err)
	assert.Empty(t, r.err)
	assert.Equal(t, "Renew the RDS certificates: 1 added, 2 removed\n"+
		"\n"+
		"aws: 3 certificates, from "+strings.TrimPrefix(url, "https://")+"/bundle.pem\n"+
		"  new regions: ap-new-1\n"+
		"  added    Amazon RDS ap-new-1 Root CA ECC384 G1, expires 2027-11-22, SHA-256 "+truststore.Fingerprint(comes)+"\n"+
		"  removed  Amazon RDS us-west-2 RSA2048 G1, expired on 2026-11-15, SHA-256 "+truststore.Fingerprint(expired)+"\n"+
		"  removed  Amazon RDS us-east-1 Root CA RSA2048 G1, NO LONGER IN THE BUNDLE, though valid until 2027-11-22, SHA-256 "+
		truststore.Fingerprint(withdrawn)+"\n"+
		"  left out, belongs to aws-us-gov: Amazon RDS us-gov-west-1 Root CA RSA2048 G1, expires 2027-11-22, SHA-256 "+
		truststore.Fingerprint(govCloud)+"\n"+
		"\n"+
		"New, and not in ca/fingerprints.txt. Compare each with independent copies, name these at the end of its line, and add it:\n"+
		truststore.Fingerprint(comes)+"|2027-11-22|Amazon RDS ap-new-1 Root CA ECC384 G1|\n", r.out)
	file := content(t, dir, "aws.pem")
	assert.True(t, strings.HasPrefix(file, "# Amazon RDS ap-new-1 Root CA ECC384 G1, expires 2027-11-22, SHA-256 "+truststore.Fingerprint(comes)+"\n-----BEGIN"), file)
	certs, err := truststore.Parse([]byte(file))
	require.NoError(t, err)
	assert.Equal(t, []*x509.Certificate{comes, stays, preview}, certs, "by region, those without one last")

	again := execute(t, client, "update", dir, "aws="+url+"/bundle.pem")
	assert.Contains(t, again.out, "0 added, 0 removed")
	assert.Equal(t, file, content(t, dir, "aws.pem"))
}

func TestABundleWithSeveralPartitionsRenewsOnlyTheOneNamed(t *testing.T) {
	both := filepath.Join(t.TempDir(), "both.pem")
	require.NoError(t, os.WriteFile(both, []byte(content(t, buildpackCA, "aws-us-gov.pem")+content(t, buildpackCA, "aws.pem")), 0o644))
	dir := caFolder(t, nil)
	require.Equal(t, 0, execute(t, nil, "update", dir, "aws="+both).status)
	assert.Equal(t, content(t, buildpackCA, "aws.pem"), content(t, dir, "aws.pem"))
}

func TestAPartitionThatWasNotThereIsRenewedToo(t *testing.T) {
	beijing, ningxia := root(t, "Amazon RDS cn-north-1 Root CA RSA2048 G1"), root(t, "Amazon RDS cn-northwest-1 Root CA RSA2048 G1")
	url, client := serve(t, map[string]http.HandlerFunc{"/cn.pem": answer(pemOf(ningxia, beijing))})
	dir := caFolder(t, nil)
	r := execute(t, client, "update", dir, "aws-cn="+url+"/cn.pem")
	require.Equal(t, 0, r.status, r.err)
	assert.Contains(t, r.out, "new regions: cn-north-1, cn-northwest-1")
	sets, err := truststore.Read(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"aws-cn", "cn-north-1", "cn-northwest-1"}, sets.Names())
}

// A bad bundle leaves its file as it is. One line says why, and the other bundles are still
// renewed.
func TestBadBundles(t *testing.T) {
	good := pemOf(root(t, "Amazon RDS us-west-2 Root CA RSA2048 G1"), root(t, "Amazon RDS us-east-1 Root CA RSA2048 G1"))
	leaf := pemOf(create(t, certificate{cn: "db.example.com", leaf: true}))
	gov := pemOf(root(t, "Amazon RDS us-gov-west-1 Root CA RSA2048 G1"))
	announced := func(body string, length int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(length))
			fmt.Fprint(w, body)
		}
	}
	tests := map[string]struct {
		answer http.HandlerFunc
		why    string
	}{
		"empty":                  {answer(""), "is empty"},
		"blank":                  {answer("\n \n"), "is empty"},
		"HTML":                   {answer("<!DOCTYPE html><html><body>Sign in to the proxy</body></html>"), "is an HTML page, not certificates"},
		"HTML with certificates": {answer("<html><pre>" + good + "</pre></html>"), "is an HTML page, not certificates"},
		"no certificate":         {answer("AccessDenied"), "has no PEM certificate"},
		"cut off in a line":      {answer(good[:len(good)-200]), "only 1 of 2 PEM blocks can be read as a certificate; the rest is a key, damaged or cut off"},
		"cut off in the last":    {answer(good[:len(good)-10]), "only 1 of 2 PEM blocks can be read as a certificate; the rest is a key, damaged or cut off"},
		"cut off after a line":   {answer(good + "# Amazon RDS us-ea"), "does not end with a certificate; it is cut off"},
		"shorter than announced": {announced(good, len(good)+1000), "is cut off: the server announced more than it sent"},
		"a certificate of a server": {answer(good + leaf + good),
			"certificate 3 (db.example.com) is not a CA"},
		"a key":               {answer(good + "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"), "only 2 of 3 PEM blocks can be read as a certificate"},
		"all expired":         {answer(pemOf(create(t, certificate{cn: "Amazon RDS Root 2019 CA", notAfter: lastWeek}))), "has no certificate of aws that is still valid"},
		"another partition's": {answer(gov), "has no certificate of aws that is still valid"},
		"not there":           {http.NotFound, "the server answers 404 Not Found"},
		"slow":                {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "Client.Timeout exceeded"},
		"redirected to http":  {http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP, "is redirected to a URL that is not https"},
		"too large":           {answer(strings.Repeat("#\n", maxBundle)), "is larger than 8 MB"},
		"a name like PEM":     {answer(pemOf(root(t, "Amazon RDS -----BEGIN X-----"))), "has a certificate whose name cannot be written into a PEM file"},
		"a name of two lines": {answer(pemOf(root(t, "Amazon RDS\n"+gov))), "has a certificate whose name cannot be written into a PEM file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, client := serve(t, map[string]http.HandlerFunc{"/bad.pem": test.answer, "/gov.pem": answer(gov)})
			if name == "slow" {
				client.Timeout = 5 * time.Second // the good server has to answer within it, on a busy machine too
			}
			dir := caFolder(t, map[string]string{"aws.pem": good})
			r := execute(t, client, "update", dir, "aws="+url+"/bad.pem?token=secret", "aws-us-gov="+url+"/gov.pem")
			assert.Equal(t, 1, r.status)
			assert.True(t, strings.HasPrefix(r.err, "update-rds-ca.sh: aws: "+strings.TrimPrefix(url, "https://")+"/bad.pem: "), r.err)
			assert.Contains(t, r.err, test.why)
			assert.True(t, strings.HasSuffix(r.err, "; ca/aws.pem was not touched\n"), r.err)
			assert.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
			assert.NotContains(t, r.err+r.out, "secret")
			assert.Equal(t, good, content(t, dir, "aws.pem"))
			assert.Contains(t, r.out, "aws-us-gov: 1 certificates")
			assert.FileExists(t, filepath.Join(dir, "aws-us-gov.pem"))
			left, err := filepath.Glob(filepath.Join(dir, ".*"))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func TestAServerWithAnUntrustedCertificateIsRefused(t *testing.T) {
	url, _ := serve(t, map[string]http.HandlerFunc{"/": answer(pemOf(root(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")))})
	dir := caFolder(t, nil)
	r := execute(t, newClient(http.DefaultTransport), "update", dir, "aws="+url+"/")
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.err, "certificate signed by unknown authority")
	assert.NoFileExists(t, filepath.Join(dir, "aws.pem"))
}

func TestADamagedFileIsNotOverwritten(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	require.NoError(t, os.WriteFile(bundle, []byte(pemOf(root(t, "Amazon RDS us-west-2 Root CA RSA2048 G1"))), 0o644))
	dir := caFolder(t, map[string]string{"aws.pem": "<<<<<<< HEAD\n"})
	r := execute(t, nil, "update", dir, "aws="+bundle)
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.err, "the current file has no PEM certificate")
	assert.Equal(t, "<<<<<<< HEAD\n", content(t, dir, "aws.pem"))
}

func TestUsage(t *testing.T) {
	dir := caFolder(t, nil)
	for _, help := range []string{"-h", "--help"} {
		r := execute(t, nil, "update", dir, help)
		assert.Equal(t, 0, r.status)
		for _, b := range bundles {
			assert.Contains(t, r.out, b.partition+" ")
			assert.Contains(t, r.out, b.from+"\n")
		}
		assert.Equal(t, result{0, checkUsage, ""}, execute(t, nil, "check", dir, help))
	}
	for message, args := range map[string][]string{
		"update-rds-ca.sh: bundle.pem is not PARTITION=FILE-OR-URL\n":    {"update", dir, "bundle.pem"},
		"update-rds-ca.sh: aws= is not PARTITION=FILE-OR-URL\n":          {"update", dir, "aws="},
		"update-rds-ca.sh: aws-mars is not a partition\n":                {"update", dir, "aws-mars=bundle.pem"},
		"update-rds-ca.sh: partition aws is named twice\n":               {"update", dir, "aws=a.pem", "aws=b.pem"},
		"update-rds-ca.sh: aws-cn: certificates come over https only\n":  {"update", dir, "aws-cn=http://example.com/"},
		"check-rds-ca.sh: now was not understood\n":                      {"check", dir, "now"},
		"update-rds-ca: run scripts/update-rds-ca.sh or scripts/check-r": {},
	} {
		r := execute(t, nil, args...)
		assert.Equal(t, 2, r.status, message)
		assert.True(t, strings.HasPrefix(r.err, message), r.err)
	}
}

func TestTheCheckListsIntermediatesAndFailsForRoots(t *testing.T) {
	r := execute(t, nil, "check", buildpackCA)
	assert.Equal(t, result{0, `ca/amazon-trust.pem: 5 certificates, the first root expires on 2037-12-31
ca/aws-cn.pem: 6 certificates, the first root expires on 2061-05-25
ca/aws-us-gov.pem: 10 certificates, the first root expires on 2062-04-15
  intermediate Amazon RDS us-gov-east-1 RSA2048 G1 expires on 2027-04-20, in 149 days
  intermediate Amazon RDS us-gov-east-1 RSA4096 G1 expires on 2027-01-03, in 42 days
  intermediate Amazon RDS us-gov-west-1 RSA2048 G1 expires on 2027-04-20, in 149 days
  intermediate Amazon RDS us-gov-west-1 RSA4096 G1 expires on 2027-01-04, in 42 days
ca/aws.pem: 108 certificates, the first root expires on 2061-05-18
`, ""}, r, "the certificates in ca/, on the day on which they were checked")

	later := root(t, "Later")
	soonDir := caFolder(t, map[string]string{
		"aws.pem":          pemOf(later),
		"fingerprints.txt": truststore.Fingerprint(later) + "|...\n",
		"extra/acme.pem":   pemOf(create(t, certificate{cn: "Acme Root", notAfter: today.AddDate(0, 0, 100)}), create(t, certificate{cn: "Acme Old", notAfter: lastWeek})),
		"extra/acme.crt":   pemOf(later),
		"extra/.keep":      "",
		"extra/other.pem":  pemOf(create(t, certificate{cn: "Other Intermediate", notAfter: lastWeek, issuer: later})),
	})
	r = execute(t, nil, "check", soonDir)
	assert.Equal(t, result{1, `ca/extra/acme.crt: left out, its name does not end in .pem
ca/aws.pem: 1 certificate, the first root expires on 2027-11-22
ca/extra/acme.pem: 2 certificates, the first root expires on 2026-11-15
  ROOT Acme Root expires on 2027-03-02, in 100 days
  ROOT Acme Old expired on 2026-11-15
ca/extra/other.pem: 1 certificate
  intermediate Other Intermediate expired on 2026-11-15
`, "check-rds-ca.sh: a root expires soon: run scripts/update-rds-ca.sh or, for ca/extra, replace your file; then package the buildpack again\n"}, r)
}

func TestTheCheckComparesEachPartition(t *testing.T) {
	beijing, oregon := root(t, "Amazon RDS cn-north-1 Root CA RSA2048 G1"), root(t, "Amazon RDS us-west-2 Root CA RSA2048 G1")
	dir := caFolder(t, map[string]string{"aws.pem": pemOf(oregon), "aws-cn.pem": pemOf(beijing, oregon), "extra/new.pem": pemOf(beijing, oregon),
		"fingerprints.txt": truststore.Fingerprint(beijing) + "|...\n"})
	r := execute(t, nil, "check", dir)
	assert.Equal(t, 2, r.status)
	assert.Equal(t, "check-rds-ca.sh: ca/aws-cn.pem: contains Amazon RDS us-west-2 Root CA RSA2048 G1, which belongs to aws\n", r.err)
	assert.Contains(t, r.out, "ca/aws.pem: 1 certificate, the first root expires on 2027-11-22\n  not in fingerprints.txt: Amazon RDS us-west-2 Root CA RSA2048 G1, expires 2027-11-22, SHA-256 ")
	assert.Equal(t, 1, strings.Count(r.out, "not in fingerprints.txt"), "neither the one that is listed nor those of ca/extra")
}

func TestTheCheckFailsForAFileThatNoStagingCouldRead(t *testing.T) {
	dir := caFolder(t, map[string]string{"aws.pem": pemOf(root(t, "Root")), "extra/acme.pem": "not PEM"})
	r := execute(t, nil, "check", dir)
	assert.Equal(t, 2, r.status)
	assert.Equal(t, "check-rds-ca.sh: ca/extra/acme.pem: has no PEM certificate\n", r.err)

	assert.Equal(t, 2, execute(t, nil, "check", caFolder(t, nil)).status, "no certificates at all")
}

// The script itself, run from another folder, with a relative file, and with a server that it
// trusts through SSL_CERT_FILE, like any Go program.
func TestScript(t *testing.T) {
	cert := create(t, certificate{cn: "Amazon RDS cn-north-1 Root CA RSA2048 G1", notAfter: time.Now().AddDate(1, 0, 0)})
	server := httptest.NewTLSServer(answer(pemOf(cert)))
	defer server.Close()
	tree := t.TempDir() // the script renews the ca folder beside its own
	for _, name := range []string{"go.mod", "go.sum", "src", "tools"} {
		absolute, err := filepath.Abs(filepath.Join("../..", name))
		require.NoError(t, err)
		require.NoError(t, os.Symlink(absolute, filepath.Join(tree, name)))
	}
	script := filepath.Join(tree, "scripts", "update-rds-ca.sh")
	require.NoError(t, os.Mkdir(filepath.Dir(script), 0o755))
	for _, name := range []string{"update-rds-ca.sh", "lib.sh"} {
		require.NoError(t, os.WriteFile(filepath.Join(tree, "scripts", name), []byte(content(t, "../../scripts/"+name)), 0o755))
	}
	require.NoError(t, os.Mkdir(filepath.Join(tree, "ca"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "server.pem"), []byte(pemOf(server.Certificate())), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "bundle.pem"), []byte(pemOf(cert)), 0o644))

	for _, from := range []string{server.URL, "bundle.pem"} {
		require.NoError(t, os.RemoveAll(filepath.Join(tree, "ca", "aws-cn.pem")))
		command := exec.Command(script, "aws-cn="+from)
		command.Dir = tree
		command.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(tree, "server.pem"), "SSL_CERT_DIR=/nowhere")
		out, err := command.CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Contains(t, string(out), "Renew the RDS certificates: 1 added, 0 removed\n")
		assert.FileExists(t, filepath.Join(tree, "ca", "aws-cn.pem"))
	}
}
