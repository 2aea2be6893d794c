package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Given is what decides how an app connects.
type Given struct {
	Env    map[string]string
	Plan   *launch.Plan
	Store  truststore.Store
	Stores []string // the file of the stack's store, then those of the platform's
	Bundle []byte   // the content of the plan's PGSSLROOTCERT
	Launch bool     // Env is a launch's, before it exports anything: its modes are the owner's

	Elsewhere bool // Env names files of another machine
}

// Targets makes a target of each database of the plan. If something is wrong with one, that becomes
// its problem. An error means that the trust store itself cannot be read.
func Targets(given Given) ([]Target, error) {
	known, err := anchors(given.Store)
	if err != nil {
		return nil, err
	}
	var targets []Target
	for _, db := range given.Plan.Databases {
		t := Target{
			Name:        db.Title(),
			ByKeys:      db.ByKeys,
			Further:     !db.Main,
			Database:    db.Database,
			User:        db.Username,
			Password:    db.Password,
			Asked:       db.Mode,
			AskedSource: db.Source.String(),
			Tunnel:      db.Tunnel,
			known:       known,
			trustWhy:    db.Trust.Why,
			trustPlace:  "the binding, as the credential sslrootcert",
		}
		if db.CA.Known() {
			t.trustPlace = "the binding, as the " + db.CA.Whole()
		}
		t.noteProblem(t.setAddress(db.Binding))
		t.noteProblem(t.setMode(given, db))
		problem, err := t.setTrust(given, db)
		if err != nil {
			return nil, err
		}
		t.noteProblem(problem)
		t.noteProblem(t.setClient(given, db))
		targets = append(targets, t)
	}
	return targets, nil
}

// noteProblem keeps the first problem.
func (t *Target) noteProblem(p *Problem) {
	if t.Problem == nil {
		t.Problem = p
	}
}

func anchors(store truststore.Store) ([]Anchor, error) {
	var all []Anchor
	for _, set := range store.Names {
		certs, err := store.Certificates(set)
		if err != nil {
			return nil, err
		}
		all = append(all, from(setOrigin(set), certs)...)
	}
	return all, nil
}

func from(origin string, certs []*x509.Certificate) []Anchor {
	var all []Anchor
	for _, c := range certs {
		all = append(all, Anchor{c, origin})
	}
	return all
}

// setOrigin names a set of the trust store for people.
func setOrigin(set string) string {
	switch set {
	case truststore.AmazonTrust:
		return "Amazon Trust Services"
	case truststore.Extra:
		return "the platform team's ca/extra"
	}
	if strings.HasPrefix(set, "aws") {
		return "partition " + set
	}
	return "region " + set
}

func (t *Target) setAddress(b binding.Binding) *Problem {
	if len(b.Hosts) == 0 {
		return &Problem{bindingIncomplete, "the binding names no host", "add the credential hostname, or a uri with a host"}
	}
	t.Host, t.HostAddr, t.Direct = b.Hosts[0], b.HostAddr, b.DirectTLS
	for i, host := range b.Hosts {
		port := uint64(5432)
		switch text := b.Ports[i]; {
		case text != "":
			var err error
			if port, err = strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
				// Don't show the value: it is no port, so it may be a secret.
				return &Problem{bindingIncomplete, "the port in the binding is not a number from 1 to 65535", "correct the credential port"}
			}
		case i >= len(b.Primaries()): // a replica without a port has the first host's
			port = uint64(t.Port)
		}
		if i == 0 {
			t.Port = uint16(port)
		} else {
			t.Others = append(t.Others, Address{host, uint16(port)})
		}
	}
	if b.Username == "" {
		return &Problem{bindingIncomplete, "the binding names no user", "add the credential username, or a uri with a user"}
	}
	return nil
}

// setMode finds the mode in force: the owner's, else the plan's, which is the same for all
// bindings. A variable with the plan's value is not the owner's: in an app's container, the
// launch script has set it. If the owner set both variables, the weaker one counts, because we
// cannot know which of them the app's driver reads.
//
// Through the tunnel, the database's own mode is in force. The owner's counts only if it is
// stricter: a weaker one is for the connection from the app to the tunnel.
func (t *Target) setMode(given Given, db launch.Database) *Problem {
	t.Mode, t.Source, t.Lever = given.Plan.Mode, db.Source.String(), "sslmode"
	if db.Tunnel {
		t.Mode = db.Mode
	}
	if decider := given.Plan.Decider; t.Mode != db.Mode && decider != nil {
		t.Source = decider.Title() + ", which decides for the app: " + decider.Source.String()
		t.Lever = "the sslmode of " + decider.Title()
	} else if db.Source.IsOwners() {
		t.Lever = "POSTGRES_SSL_MODE"
	}
	libpq, stratos := launch.Owners(given.Env)
	if libpq.Wrong != nil {
		return &Problem{modeUnknown, libpq.Wrong.Error(), libpq.Do}
	}
	for _, own := range []launch.Owner{stratos, libpq} {
		if own.Value == "" || own.Wrong != nil { // Stratos alone reads its own, and would not start
			continue
		}
		counts := !t.Owned || own.Mode < t.Mode
		if db.Tunnel {
			counts = own.Mode > t.Mode
		}
		exported := own.Mode == given.Plan.Mode && !(db.Tunnel && given.Launch)
		if counts && !exported {
			t.Mode, t.Source, t.Lever, t.Owned = own.Mode, own.Variable+", set by the app's owner", own.Variable, true
		}
	}
	return nil
}

// setTrust finds the trusted CAs: those in the owner's PGSSLROOTCERT, which replaces all others,
// else those that the plan has for this database.
func (t *Target) setTrust(given Given, db launch.Database) (*Problem, error) {
	const everyone = "system" // libpq's word for the stack's store, since version 16
	file := given.Env["PGSSLROOTCERT"]
	if file != "" && file != everyone {
		if given.Elsewhere {
			return unseen(rootUnreadable, "PGSSLROOTCERT, "+file), nil
		}
		content, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(content, given.Bundle) {
			return t.trustFile(file, content, err), nil
		}
	}
	if file == everyone {
		// libpq's manual, "sslrootcert": system works only with verify-full.
		t.trustWhy = "PGSSLROOTCERT=system"
		if t.Mode == sslmode.None {
			t.Mode, t.Source = sslmode.VerifyFull, t.trustWhy
		}
		if t.Mode != sslmode.VerifyFull {
			return &Problem{rootUnreadable, "PGSSLROOTCERT=system works with sslmode verify-full only",
				"set PGSSLMODE to verify-full, or unset PGSSLROOTCERT"}, nil
		}
		return nil, t.trustStores(given.Stores)
	}
	if db.Trust.Unseen {
		return unseen(rootUnreadable, db.Trust.Place.String()), nil
	}
	sets, err := given.Store.Certificates(db.Trust.Sets...)
	if err != nil {
		return nil, err
	}
	certs := slices.Concat(db.Trust.Own, sets)
	for _, c := range certs {
		origin := db.Trust.Place.String()
		if !slices.ContainsFunc(db.Trust.Own, c.Equal) {
			origin = t.verifier().bundle(c)
		}
		t.Trust = append(t.Trust, Anchor{c, origin})
	}
	if db.Trust.Everyone {
		return nil, t.trustStores(given.Stores)
	}
	return nil, nil
}

// unseen is the problem of a file that is not on this machine.
func unseen(code, what string) *Problem {
	return &Problem{code, what + ", is a file of the app's container, which cannot be seen from here", "run postgres-ssl verify in the app"}
}

// trustFile takes the owner's root certificates. With them, require means verify-ca (libpq's
// manual, "libpq-ssl", on backward compatibility). lib/pq and pgx do the same. A missing file
// matters only if the mode verifies.
func (t *Target) trustFile(file string, content []byte, err error) *Problem {
	t.trustWhy, t.trustPlace = "PGSSLROOTCERT, set by the app's owner", "the file that PGSSLROOTCERT names"
	t.Trust = from("PGSSLROOTCERT ("+file+")", lenientParse(content))
	switch {
	case errors.Is(err, fs.ErrNotExist) && !t.Mode.Verifies():
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &Problem{rootUnreadable, "PGSSLROOTCERT names a file that is not here: " + file,
			"unset PGSSLROOTCERT, or put the file there"}
	case err != nil || len(t.Trust) == 0:
		return &Problem{rootUnreadable, "PGSSLROOTCERT names a file without a readable certificate: " + file,
			"unset PGSSLROOTCERT, or put CA certificates in PEM there"}
	case t.Mode == sslmode.Require:
		t.Mode, t.Source = sslmode.VerifyCA, t.Source+" as require, which the root certificate in PGSSLROOTCERT turns into verify-ca"
	}
	return nil
}

// trustStores adds the stack's and the platform's stores, as they are on this file system.
func (t *Target) trustStores(files []string) error {
	for i, file := range files {
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		who := "the platform's store"
		if i == 0 {
			who = "the stack's store"
		}
		t.Trust = append(t.Trust, from(who+" ("+file+")", lenientParse(content))...)
	}
	return nil
}

// lenientParse skips what it cannot read, as OpenSSL and Go do. It is for stores that are not ours.
func lenientParse(data []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			certs = append(certs, cert)
		}
	}
	return certs
}

// setClient takes the client certificate from the files in the owner's PGSSLCERT and PGSSLKEY. If
// these are unset, or name the launch script's files, it takes the credentials.
func (t *Target) setClient(given Given, db launch.Database) *Problem {
	plannedCert, plannedKey := given.Plan.ClientCertificate()
	cert, key := plannedCert, plannedKey
	if db.Tunnel {
		cert, key = db.ClientCertificate()
	}
	for _, own := range []struct {
		name    string
		planned []byte
		content *[]byte
	}{{"PGSSLCERT", plannedCert, &cert}, {"PGSSLKEY", plannedKey, &key}} {
		file := given.Env[own.name]
		if file == "" {
			continue
		}
		if given.Elsewhere {
			return unseen(clientCertificateUnusable, own.name+", "+file)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return &Problem{clientCertificateUnusable, own.name + " names a file that cannot be read: " + file,
				"unset " + own.name + ", or put the file there"}
		}
		if !bytes.Equal(content, own.planned) {
			*own.content = content
		}
	}
	if cert == nil && key == nil {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key) // don't show its error: it might quote a key
	if err != nil {
		return &Problem{clientCertificateUnusable,
			"the client certificate and its key do not belong together, or one of them cannot be read",
			"set PGSSLCERT and PGSSLKEY to a certificate and its key in PEM, without a passphrase"}
	}
	t.Client, t.clientPEM = &pair, [2][]byte{cert, key}
	return nil
}
