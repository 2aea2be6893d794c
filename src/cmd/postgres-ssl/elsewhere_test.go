package main

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// opened returns a function that says whether anything in the folders was opened since it was last
// called.
//
// Source: inotify(7).
func opened(t *testing.T, folders ...string) func() bool {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	require.NoError(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	for _, folder := range folders {
		_, err := syscall.InotifyAddWatch(fd, folder, syscall.IN_OPEN)
		require.NoError(t, err)
	}
	return func() bool {
		n, err := syscall.Read(fd, make([]byte, 64<<10))
		require.True(t, err == nil || errors.Is(err, syscall.EAGAIN), err)
		return n > 0
	}
}

// Whoever wrote a binding must not choose what is read on the machine of the operator who looks at
// it.
func TestWithServicesNoFileIsOpenedThatTheDocumentNames(t *testing.T) {
	program := filepath.Join(buildpack(t), "bin/postgres-ssl")
	ca := pgtest.NewCA(t, "Company Root")
	client := ca.Issue(t, []string{"app"})
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	cert, key := file("client.crt", client.CertPEM), file("client.key", client.KeyPEM)
	root := file("ca.pem", ca.PEM)
	store := filepath.Dir(file("store/company.crt", ca.PEM))
	mounted := filepath.Dir(filepath.Dir(file("mounted/db/uri", []byte("postgres://u:p@127.0.0.1:1/d?sslmode=verify-full"))))
	plain := credentials{"hostname": "127.0.0.1", "port": 1, "username": "u", "password": "p", "dbname": "d", "sslmode": "verify-full"}
	vcap := file("vcap.json", []byte(services(t, map[string]credentials{"db": plain})))
	touched := opened(t, dir, store, mounted, filepath.Join(mounted, "db"))
	const here = "a file of the app's container, which cannot be seen from here"
	tagged := `{"user-provided": [{"name": "company", "tags": ["postgres-ssl-ca"], "credentials": {"ca": "` + root + `"}}, {"name": "db", "credentials": ` + string(encode(t, plain)) + `}]}`

	for name, test := range map[string]struct {
		services  string
		env       map[string]string
		explained string // what env --explain says
		verified  string // what verify says
	}{
		"a CA":          {services(t, map[string]credentials{"db": plain.with(credentials{"sslrootcert": root})}), nil, "credential sslrootcert, a file of the app's container", "credential sslrootcert, is " + here},
		"a CA in a URI": {services(t, map[string]credentials{"db": {"uri": "postgres://u:p@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=" + root}}), nil, "sslrootcert in credential uri, a file of the app's container", "sslrootcert in credential uri, is " + here},
		"a CA and no mode": {services(t, map[string]credentials{"db": {"uri": "postgres://u:p@127.0.0.1:1/d", "ca": root}}), nil,
			"verify-ca, from the default for a CA of its own, credential ca", "credential ca, is " + here},
		"a tagged CA":          {tagged, nil, "company, credential ca, a file of the app's container", "company, credential ca, is " + here},
		"through the tunnel":   {services(t, map[string]credentials{"db": plain.with(credentials{"sslrootcert": root, "port": 5432})}), map[string]string{"POSTGRES_SSL_TUNNEL": "yes"}, "the tunnel carries db", "credential sslrootcert, is " + here},
		"PGSSLROOTCERT":        {"", map[string]string{"PGSSLROOTCERT": root}, "PGSSLROOTCERT=" + root + " stays", "PGSSLROOTCERT, " + root + ", is " + here},
		"PGSSLCERT":            {"", map[string]string{"PGSSLCERT": cert, "PGSSLKEY": key}, "PGSSLMODE=verify-full", "PGSSLCERT, " + cert + ", is " + here},
		"PGSSLKEY":             {"", map[string]string{"PGSSLKEY": key}, "PGSSLMODE=verify-full", "PGSSLKEY, " + key + ", is " + here},
		"SSL_CERT_FILE":        {"", map[string]string{"SSL_CERT_FILE": root}, "SSL_CERT_FILE names files of the app's container", "SSL_CERT_FILE names files of the app's container"},
		"CF_SYSTEM_CERT_PATH":  {"", map[string]string{"CF_SYSTEM_CERT_PATH": store}, "CF_SYSTEM_CERT_PATH names files of the app's container", "CF_SYSTEM_CERT_PATH names files of the app's container"},
		"SERVICE_BINDING_ROOT": {"{}", map[string]string{"SERVICE_BINDING_ROOT": mounted}, "in files of its container", "in files of its container"},
		"the file of VCAP_SERVICES": {"{}", map[string]string{"VCAP_SERVICES_FILE_PATH": vcap}, "in files of its container",
			"in files of its container"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.services == "" {
				test.services = services(t, map[string]credentials{"db": plain})
			}
			document := filepath.Join(t.TempDir(), "env.json")
			require.NoError(t, os.WriteFile(document, encode(t, map[string]any{
				"system_env_json": map[string]any{"VCAP_SERVICES": json.RawMessage(test.services)}, "environment_variables": test.env}), 0o600))
			run := func(env map[string]string, args ...string) string {
				cmd := exec.Command(program, args...)
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
				for name, value := range env {
					cmd.Env = append(cmd.Env, name+"="+value)
				}
				out, _ := cmd.CombinedOutput()
				return string(out)
			}
			touched()
			said := run(nil, "env", "--explain", "--services", document)
			assert.False(t, touched(), "env --explain opens it:\n%s", said)
			assert.Contains(t, said, test.explained)
			said = run(nil, "verify", "--services", document)
			assert.False(t, touched(), "verify opens it:\n%s", said)
			assert.Contains(t, said, test.verified)

			app := maps.Clone(test.env)
			if app == nil {
				app = map[string]string{}
			}
			app["VCAP_SERVICES"] = test.services
			said = run(app, "verify")
			assert.True(t, touched(), "the control: in the app's container it is read\n%s", said)
			assert.NotContains(t, said, "cannot be seen from here")
		})
	}
}

// What is in CredHub may be anything, so verify must not say that all is well.
func TestVerifyWithServicesDoesNotPassOverCredHub(t *testing.T) {
	program := filepath.Join(buildpack(t), "bin/postgres-ssl")
	document := `{"postgresql": [{"name": "hub", "credentials": {"credhub-ref": "/c/p"}}], "user-provided": [{"name": "db", "credentials": {"uri": "postgres://u@127.0.0.1:1/d?sslmode=require"}}]}`
	for _, args := range []string{"verify --services -", "env --explain --services -"} {
		cmd := exec.Command(program, strings.Fields(args)...)
		cmd.Stdin = strings.NewReader(document)
		out, err := cmd.CombinedOutput()
		assert.Contains(t, string(out), "hub: its credentials are in CredHub; only postgres-ssl in the app sees them")
		if explains := strings.HasPrefix(args, "env"); explains {
			assert.NoError(t, err)
			assert.Contains(t, string(out), "require, from sslmode in credential uri", "the others are explained")
		} else {
			assert.Equal(t, 2, cmd.ProcessState.ExitCode(), string(out))
		}
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}
