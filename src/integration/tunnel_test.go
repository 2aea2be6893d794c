package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/integration/pgtest"
)

// What the tunnel says of a server that it does not take. These are verify's words: a driver that refused by itself has others.
const (
	tunnelUntrusted  = `comes from a CA that is not trusted`
	tunnelMisnamed   = `the certificate is not made out for db\.abc123`
	tunnelWithoutTLS = `does not speak TLS`
)

// everyDriverThroughTheTunnel has the drivers of the table connect through the tunnel: those that no variable reaches, in plain text to
// it and no further, and those that obey, with TLS to it as they are told. The table itself shows what they do without it.
func everyDriverThroughTheTunnel(t *testing.T, buildpack, app string, oregon *pgtest.CA) {
	const host, otherHost = "db.abc123.us-west-2.rds.amazonaws.com", "db.def456.us-west-2.rds.amazonaws.com"
	server := pgtest.Start(t, withSCRAM(serving(t, oregon, host)))
	services := vcapServices(t, map[string]credentials{"console_db": credentialsOf(server, host, "verify-full")})
	launched := launch(t, buildpack, app, "compile", services, hosts(host), "POSTGRES_SSL_TUNNEL=yes")
	assert.NotContains(t, launched.variable("VCAP_SERVICES"), host)
	assert.Equal(t, "verify-full", launched.variable("PGSSLMODE"), "as strict as it is without the tunnel")

	for name, o := range connectAll(t, launched, server, drivers) {
		assert.True(t, o.tls, "%s does not get through the tunnel: %s", name, o.said)
	}
	for _, line := range logins(server.Log(t)) {
		assert.Contains(t, line, " SSL enabled (protocol=TLSv1.3")
	}
	for _, bad := range []struct {
		serving pgtest.Config
		says    string
	}{
		{serving(t, pgtest.NewCA(t, oregon.Cert.Subject.CommonName), host), tunnelUntrusted},
		{serving(t, oregon, otherHost), tunnelMisnamed},
		{pgtest.Config{}, tunnelWithoutTLS},
	} {
		before := server.Log(t)
		server.Reload(t, withSCRAM(bad.serving))
		for name, o := range connectAll(t, launched, server, drivers) {
			assert.False(t, o.connected, "%s connects: %s", name, o.said)
			assert.Regexp(t, bad.says, o.said, name)
		}
		assert.Empty(t, logins(strings.TrimPrefix(server.Log(t), before)))
	}
}

// withSCRAM is a server's configuration whose users prove their passwords, encrypted or not, and do not show them.
func withSCRAM(config pgtest.Config) pgtest.Config {
	config.HBA = []string{"host all all 127.0.0.1/32 scram-sha-256"}
	return config
}

// logins are the lines of a server's log on the app's user that was let in.
func logins(log string) []string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "connection authorized: user=myuser ") {
			found = append(found, line)
		}
	}
	return found
}
