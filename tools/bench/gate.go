package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// gate measures what POSTGRES_SSL_VERIFY=start adds to a start, with a server on loopback: one
// connection that is verified and closed, and one that logs in. The comparison is a psql that logs
// in once.
func (b *bench) gate() {
	s := &stand{}
	defer s.end()
	server, _, services := s.database(nil)
	d := b.newDroplet("gate")
	output(command{argv: d.supply(), env: d.env()})
	env := append(d.env(), "VCAP_SERVICES="+services)
	without := command{argv: d.launch(), env: env, before: d.forget}
	with := command{argv: d.launch(), env: append(env, "POSTGRES_SSL_VERIFY=start"), before: d.forget}
	psql := command{argv: []string{"psql", fmt.Sprintf("host=localhost port=%d user=app password=secret dbname=app sslmode=require", server.Port), "-X", "-c", "select 1"}}

	const runs = 60
	t := times(runs, without, with, psql)
	added := t[1].minus(t[0]).median()
	b.add("`POSTGRES_SSL_VERIFY=start` adds to a launch, one database on loopback", "+ "+ms(added), "`psql -c 'select 1'` "+ms(t[2].median()),
		ratio(added, t[2].median()), "", runs)
}

// stand is the part of a testing.TB that pgtest needs.
type stand struct {
	testing.TB
	cleanups []func()
}

// database starts a server on loopback with these settings. It returns the CA of its certificate, and
// VCAP_SERVICES with a binding that asks for verify-full.
func (s *stand) database(settings map[string]string) (*pgtest.Server, *pgtest.CA, string) {
	ca := pgtest.NewCA(s, "Company Root")
	pair := ca.Issue(s, []string{"localhost"})
	server := pgtest.Start(s, pgtest.Config{
		Certificate: pair.CertPEM, Key: pair.KeyPEM, Settings: settings,
		HBA: []string{"hostssl all app 127.0.0.1/32 scram-sha-256"},
		SQL: "create user app password 'secret'; create database app owner app",
	})
	services, err := json.Marshal(map[string]any{"user-provided": []any{map[string]any{"name": "db", "credentials": map[string]any{
		"uri": "postgres://", "hostname": "localhost", "port": server.Port, "username": "app", "password": "secret", "dbname": "app",
		"sslmode": "verify-full", "sslrootcert": string(ca.PEM),
	}}}})
	check(err)
	return server, ca, string(services)
}

func (*stand) Helper()            {}
func (s *stand) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *stand) Fatal(args ...any) {
	s.end()
	check(errors.New(fmt.Sprint(args...)))
}

func (s *stand) Fatalf(format string, args ...any) { s.Fatal(fmt.Sprintf(format, args...)) }

func (*stand) Error(args ...any) { check(errors.New(fmt.Sprint(args...))) }

func (s *stand) end() {
	for ; len(s.cleanups) > 0; s.cleanups = s.cleanups[:len(s.cleanups)-1] {
		s.cleanups[len(s.cleanups)-1]()
	}
}
