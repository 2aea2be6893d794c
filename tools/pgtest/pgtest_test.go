package pgtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// connect logs in as app over TLS. It returns the certificate that the server presents.
func connect(t *testing.T, server *pgtest.Server, ca *pgtest.CA) (*x509.Certificate, error) {
	t.Helper()
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=app password=secret dbname=app sslmode=require", server.Host, server.Port))
	require.NoError(t, err)
	var presented *x509.Certificate
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	config.TLSConfig = &tls.Config{RootCAs: pool, ServerName: "localhost", VerifyConnection: func(cs tls.ConnectionState) error {
		presented = cs.PeerCertificates[0]
		return nil
	}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		err = conn.Close(ctx)
	}
	return presented, err
}

func TestAServerSpeaksTLSWithItsCertificate(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Test Root")
	first := ca.Issue(t, []string{"localhost", "127.0.0.1"})
	config := pgtest.Config{
		Certificate: first.CertPEM, Key: first.KeyPEM,
		HBA:      []string{"hostssl all all 127.0.0.1/32 scram-sha-256"},
		Settings: map[string]string{"ssl_min_protocol_version": "'TLSv1.3'"},
		SQL:      "create user app password 'secret'; create database app owner app;",
	}
	server := pgtest.Start(t, config)

	presented, err := connect(t, server, ca)
	require.NoError(t, err)
	assert.True(t, presented.Equal(first.Cert))
	assert.Contains(t, server.Log(t), "connection authorized: user=app database=app SSL enabled (protocol=TLSv1.3")

	_, err = connect(t, server, pgtest.NewCA(t, "Test Root"))
	assert.ErrorContains(t, err, "certificate signed by unknown authority")

	second := ca.Issue(t, []string{"localhost"})
	config.Certificate, config.Key = second.CertPEM, second.KeyPEM
	server.Reload(t, config)
	presented, err = connect(t, server, ca)
	require.NoError(t, err)
	assert.True(t, presented.Equal(second.Cert), "the certificate after a reload")

	config.HBA = []string{"hostssl all all 127.0.0.1/32 reject"}
	server.Reload(t, config)
	_, err = connect(t, server, ca)
	assert.ErrorContains(t, err, "pg_hba.conf rejects connection")
}

func TestAServerWithoutACertificateDoesNotSpeakTLS(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Config{SQL: "create user app password 'secret'; create database app owner app;"})
	_, err := connect(t, server, pgtest.NewCA(t, "Test Root"))
	assert.ErrorContains(t, err, "server refused TLS connection")
	assert.Equal(t, "app|f", server.SQL(t, "select rolname, rolsuper from pg_roles where rolname = 'app'"))
}
