package audit

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// shape is a binding from the launch's own table, in the fields of an answer.
type shape struct {
	Name        string
	Env         map[string]string
	Label       string
	Tags        []string
	Credentials map[string]any
	Services    map[string]any
}

func shapes(t testing.TB) []shape {
	t.Helper()
	text, err := os.ReadFile("../launch/testdata/shapes.json")
	require.NoError(t, err)
	ca := pgtest.NewCA(t, "Company Root")
	client := ca.Issue(t, []string{"localhost"})
	quoted := func(pem []byte) string { return strings.Trim(string(encode(t, string(pem))), `"`) }
	inWords := strings.NewReplacer("$BASE64_CA", base64.StdEncoding.EncodeToString(ca.PEM), "$CA", quoted(ca.PEM), "$SAML", quoted(ca.PEM),
		"$SELF_SIGNED", quoted(client.CertPEM), "$SERVER_CERT", quoted(client.CertPEM), "$CLIENT_CERT", quoted(client.CertPEM), "$CLIENT_KEY", quoted(client.KeyPEM))
	var chapters []struct{ Shapes []shape }
	require.NoError(t, json.Unmarshal([]byte(inWords.Replace(string(text))), &chapters))
	var all []shape
	for _, chapter := range chapters {
		for _, s := range chapter.Shapes {
			if s.Services == nil && s.Credentials != nil {
				if s.Label == "" {
					s.Label = "user-provided"
				}
				s.Services = map[string]any{s.Label: []any{map[string]any{"name": "db", "label": s.Label, "tags": s.Tags, "credentials": s.Credentials}}}
			}
			if s.Services != nil { // the others are files in a container, and no answer shows those
				all = append(all, s)
			}
		}
	}
	require.Greater(t, len(all), 150)
	return all
}

// disagreements compares the rows about an app with this buildpack to what a launch decides, and to
// the mode that verify checks a database by.
func disagreements(t testing.TB, rows []Row, env map[string]string) []string {
	store := store(t)
	var wrong []string
	found, err := binding.Read(env)
	var plan *launch.Plan
	if err == nil {
		plan, err = launch.Decide(env, found, store)
	}
	if err == nil {
		libpq, _ := launch.Owners(env)
		err = plan.Refuses(libpq)
	}
	if err != nil {
		if len(rows) != 1 || rows[0].State != Stops || rows[0].Why != "would stop: "+cut(err.Error(), 300) {
			wrong = append(wrong, "a launch says: "+err.Error())
		}
		return wrong
	}
	targets := wire.Targets(current.App{Env: env, Plan: plan, Store: store}, false)
	byName := map[string]Row{}
	for _, row := range rows {
		byName[row.Database] = row
	}
	mains := 0
	for i, db := range plan.Databases {
		if !db.Main {
			continue
		}
		mains++
		row, ok := byName[db.Title()]
		inForce, _ := sslmode.Parse(row.InForce)
		gets := plan.Mode
		if db.Tunnel {
			gets = db.Mode
		}
		owners := env["PGSSLMODE"]+env["DB_SSL_MODE"] != ""
		switch {
		case !ok:
			wrong = append(wrong, "no row about "+db.Title())
		case row.WouldGet != word(gets):
			wrong = append(wrong, "would get "+row.WouldGet+", and a launch gives "+word(gets))
		case !owners && inForce != targets[i].Mode, inForce > targets[i].Mode:
			wrong = append(wrong, "in force is "+row.InForce+", and to verify it is "+targets[i].Mode.String())
		case row.State == InForce && inForce < db.Mode && len(db.Asked) > 0:
			wrong = append(wrong, "in force is "+row.InForce+", and asked is "+db.Mode.String())
		}
	}
	if mains != len(rows) {
		wrong = append(wrong, "there are rows about nothing")
	}
	return wrong
}

// unseen says whether a launch would see more than an answer shows.
func unseen(found binding.Bound) bool {
	missing := func(ca binding.Credential) bool { return ca.Missing }
	return len(found.Unresolved) > 0 || slices.ContainsFunc(found.CAs, missing) ||
		slices.ContainsFunc(found.Databases, func(b binding.Binding) bool { return b.CA.Missing })
}

func TestEveryShapeGetsTheRowThatALaunchWouldGiveIt(t *testing.T) {
	for _, s := range shapes(t) {
		for _, owner := range []map[string]string{nil, {"PGSSLMODE": "require"}, {"DB_SSL_MODE": "verify-full"}, {"PGSSLMODE": "verify-ca", "DB_SSL_MODE": "disable"},
			{"PGSSLMODE": "VERIFY_FULL"}, {"PGSSLMODE": "no-verify"}, {"DB_SSL_MODE": "REQUIRED"}, {"POSTGRES_SSL_TUNNEL": "yes"}, {"POSTGRES_SSL_TUNNEL": "db", "PGSSLMODE": "prefer"}} {
			env := maps.Clone(s.Env)
			if env == nil {
				env = map[string]string{}
			}
			maps.Copy(env, owner)
			report := of(t, answer(t, "shop", env, s.Services), lists(t, "shop", "postgres_ssl_buildpack"))
			env["VCAP_SERVICES"] = string(encode(t, s.Services))
			if found, err := binding.ReadElsewhere(env); err == nil && unseen(found) {
				continue
			}
			assert.Empty(t, disagreements(t, report.Rows, env), "%s, %v: %+v", s.Name, owner, report.Rows)
		}
	}
}

func TestTheControlOfTheAgreement(t *testing.T) {
	services := bound(map[string]credentials{"db": {"host": elsewhere, "sslmode": "verify-full"}})
	env := map[string]string{"VCAP_SERVICES": string(encode(t, services))}
	rows := of(t, answer(t, "shop", nil, services), lists(t, "shop", "postgres_ssl_buildpack")).Rows
	require.Empty(t, disagreements(t, rows, env))
	for want, change := range map[string]func(*Row){
		"no row about db": func(r *Row) { r.Database = "other" },
		"would get require, and a launch gives verify-full":    func(r *Row) { r.WouldGet = "require" },
		"in force is require, and to verify it is verify-full": func(r *Row) { r.InForce = "require" },
	} {
		row := rows[0]
		change(&row)
		assert.Equal(t, []string{want}, disagreements(t, []Row{row}, env))
	}
	assert.Equal(t, []string{"there are rows about nothing"}, disagreements(t, append(rows, Row{}), env))
	env["VCAP_SERVICES"] = strings.Replace(env["VCAP_SERVICES"], "verify-full", "nonsense", 1)
	assert.Len(t, disagreements(t, rows, env), 1)
}
