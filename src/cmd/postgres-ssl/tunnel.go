package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/tunnel"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

const tunnelHelp = `Usage: postgres-ssl tunnel

Carries the database connections of an app. Only a launch can start it, beside the app.

Exit status: 0 the app is gone, 1 something is wrong, 2 the command was not understood.
`

func runTunnel(c *call) error {
	if _, err := c.parse(0); err != nil {
		return err
	}
	return tunnel.Run(c.in)
}

// originalsVariable has the originals in JSON. Our other commands in the app read the bindings there.
const originalsVariable = "POSTGRES_SSL_ORIGINALS"

// originals are the tunnel that a launch has started, and what the platform had set.
type originals struct {
	binding.Tunnel
	For string            // what the tunnel was started for: a hash of databases, addresses and modes
	Was map[string]string // variables as the platform gave them
	Is  map[string]string // the SHA-256 of their new values
}

// withOriginals returns the environment with the bindings as the platform gave them, and the
// originals, nil if there are none. It ignores some that were copied from another app or are older
// than the bindings: then the variables no longer have the values that the launch gave them.
func withOriginals(env map[string]string) (map[string]string, *originals, error) {
	text := env[originalsVariable]
	env = maps.Clone(env)
	delete(env, originalsVariable)
	if text == "" {
		return env, nil, nil
	}
	var o originals
	err := json.Unmarshal([]byte(text), &o)
	if _, invalid := truststore.ParseCredential(o.CA); err != nil || invalid != nil { // they may quote it
		return nil, nil, errors.New(originalsVariable + " has something that no launch put there: unset it")
	}
	for name, is := range o.Is {
		switch now := env[name]; {
		case sum(now) == is:
		case name == "DATABASE_URL": // a script of the app has changed it, and it is the app's now
			delete(o.Was, name)
		case strings.Contains(now, strings.TrimSuffix(o.Net.Addr().String(), "0")):
			return nil, nil, errors.New(name + " was edited after the launch, and names its tunnel: " +
				"edit it before the launch script runs, or only where the app reads it")
		default:
			return env, nil, nil
		}
	}
	maps.Copy(env, o.Was)
	return env, &o, nil
}

func sum(value string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(value))) }

// startTunnel starts a tunnel for pid, the process that becomes the app, unless one is running. It
// returns what names it in the bindings: nil if the plan needs no tunnel, or does without one.
func startTunnel(app current.App, running *originals, pid int) (*binding.Redirection, *originals, error) {
	r, err := app.Plan.Redirect(app.Env)
	through, _ := app.Plan.DescribeTunnel()
	switch {
	case through == "":
		return nil, running, nil
	case err != nil:
	case pid <= 0:
		err = errors.New("POSTGRES_SSL_TUNNEL is set, but the tunnel needs a launched process: " +
			"source the launch script, or name the process with --launch")
	case running == nil:
		running = &originals{For: sum(fmt.Sprint(through, r.Endpoints))}
		if running.Tunnel, err = newTunnel(app, r, pid); err != nil {
			err = fmt.Errorf("the tunnel does not start: %w", err)
		}
	case running.For != sum(fmt.Sprint(through, r.Endpoints)):
		err = errors.New("the launch has started its tunnel for other databases or modes: " +
			"leave POSTGRES_SSL_TUNNEL and POSTGRES_SSL_MODE as they were, or restart the app")
	}
	if err != nil {
		return nil, running, app.Plan.Forgo(err)
	}
	app.Plan.TunnelCA, err = truststore.ParseCredential(running.CA)
	return r, running, err
}

// newTunnel starts a tunnel. For it, each endpoint is a database of its own, and the client says
// which user logs in.
func newTunnel(app current.App, r *binding.Redirection, pid int) (binding.Tunnel, error) {
	plan := *app.Plan
	plan.Databases = nil
	for _, e := range r.Endpoints {
		db := *app.Plan.Databases[e.Database]
		db.Hosts, db.Ports, db.Replicas, db.Username = []string{e.Host}, []string{fmt.Sprint(e.Port)}, 0, "the client's"
		plan.Databases = append(plan.Databases, &db)
	}
	var beside []string
	for _, db := range app.Plan.Databases {
		if !db.Tunnel {
			beside = append(beside, db.Hosts...)
		}
	}
	app.Plan = &plan
	return tunnel.Start(pid, r.Endpoints, wire.Targets(app, true), beside)
}

// redirect adds to a handout the bindings that name the tunnel.
func redirect(h *client.Handout, env map[string]string, r *binding.Redirection, o *originals) error {
	o.Dir = filepath.Join(h.Dir, "tunnel-"+sum(o.CA)[:32]) // each launch has its own
	variables, files := r.To(o.Tunnel)
	o.Was, o.Is = map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		o.Was[name], o.Is[name] = env[name], sum(variables[name])
		h.Variables = append(h.Variables, client.Variable{Name: name, Value: variables[name]})
	}
	text, _ := json.Marshal(o) // it has texts and an address
	const longest = 128 << 10  // name, value and the final zero byte (Linux's MAX_ARG_STRLEN)
	if len(originalsVariable)+len(text)+2 > longest {
		return errors.New("the bindings are too long to be kept in a variable beside the tunnel's: " +
			"let the platform deliver them as files (app feature file-based-vcap-services)")
	}
	h.Variables = append(h.Variables, client.Variable{Name: originalsVariable, Value: string(text)})
	for path, content := range files {
		h.Files = slices.Insert(h.Files, 0, client.File{Path: path, Content: content, Mode: 0o600})
	}
	for _, variable := range r.Bypassing {
		h.Warnings = append(h.Warnings, variable+" names a host of the tunnel's databases, and stays: connections made with it bypass the tunnel")
	}
	return nil
}
