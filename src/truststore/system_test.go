package truststore

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

// certFile writes a file, and returns its path.
func certFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestTheSystemsStoresAreTheStacksAndThePlatforms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[a") // a malformed pattern
	require.NoError(t, os.Mkdir(dir, 0o755))
	a, b := certFile(t, dir, "a.crt", ""), certFile(t, dir, "b.crt", "")
	certFile(t, dir, "a.key", "")
	for name, test := range map[string]struct {
		env   map[string]string
		files []string
	}{
		"the stack's":                     {nil, []string{"/etc/ssl/certs/ca-certificates.crt"}},
		"the one that the owner names":    {map[string]string{"SSL_CERT_FILE": "/x.pem"}, []string{"/x.pem"}},
		"but not one that a launch wrote": {map[string]string{"SSL_CERT_FILE": "/home/vcap/.postgres-ssl/root-0.pem"}, []string{"/etc/ssl/certs/ca-certificates.crt"}},
		"the platform's behind it":        {map[string]string{"CF_SYSTEM_CERT_PATH": dir}, []string{"/etc/ssl/certs/ca-certificates.crt", a, b}},
		"a folder of the platform's gone": {map[string]string{"CF_SYSTEM_CERT_PATH": dir + "/none"}, []string{"/etc/ssl/certs/ca-certificates.crt"}},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := System(test.env)
			require.NoError(t, err)
			var names []string
			for _, file := range files {
				names = append(names, file.Name)
			}
			assert.Equal(t, test.files, names)
		})
	}
}

func TestOnlyTheCertificatesOfTheSystemsStoresAreHandedOn(t *testing.T) {
	one := string(pgtest.NewCA(t, "One").PEM)
	two := string(pgtest.NewCA(t, "Two").PEM)
	const key = "-----BEGIN PRIVATE KEY-----\nczNjcjN0\n-----END PRIVATE KEY-----\n"
	const request = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"
	for name, test := range map[string]struct{ stack, platform, want string }{
		"both stores":           {one, two, one + two},
		"without the last line": {strings.TrimSpace(one), strings.TrimSpace(two), one + two},
		"a key behind":          {one + key, two, one + two},
		"a key before":          {key + one, key + two, one + two},
		"a request":             {one, request + two, one + two},
		"a key alone":           {one, key, one},
		"a word of notice":      {"# One\n" + one, two, "# One\n" + one + two},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			env := map[string]string{"SSL_CERT_FILE": certFile(t, dir, "stack.pem", test.stack), "CF_SYSTEM_CERT_PATH": dir}
			certFile(t, dir, "platform.crt", test.platform)
			assert.Equal(t, test.want, contents(t, env))
		})
	}
}

// OpenSSL makes a serial number below 0 and reads it; Go does not.
func TestACertificateThatGoCannotReadStaysInAStore(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "odd.pem")
	made, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", filepath.Join(dir, "key"),
		"-subj", "/CN=Odd", "-set_serial", "-5", "-out", odd).CombinedOutput()
	require.NoError(t, err, string(made))
	text, err := os.ReadFile(odd)
	require.NoError(t, err)
	require.Empty(t, ParseAny(text), "Go reads it")
	const list = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
	for name, platform := range map[string]string{"control: alone": string(text), "beside a list of what is revoked": string(text) + list} {
		certFile(t, dir, "platform.crt", platform)
		env := map[string]string{"SSL_CERT_FILE": filepath.Join(dir, "none"), "CF_SYSTEM_CERT_PATH": dir}
		assert.Equal(t, string(text), contents(t, env), name)
	}
}

// contents returns what the stores have, one after the other.
func contents(t *testing.T, env map[string]string) (all string) {
	t.Helper()
	files, err := System(env)
	require.NoError(t, err)
	for _, file := range files {
		all += string(file.Content)
	}
	return all
}

func TestAStoreThatIsNotThereIsLeftOutAndOneThatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	one := string(pgtest.NewCA(t, "One").PEM)
	certFile(t, dir, "platform.crt", one)
	assert.Equal(t, one, contents(t, map[string]string{"SSL_CERT_FILE": filepath.Join(dir, "none"), "CF_SYSTEM_CERT_PATH": dir}))

	_, err := System(map[string]string{"SSL_CERT_FILE": dir})
	assert.ErrorContains(t, err, dir)
}
