package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Targets makes a target of each database of an app. What is wrong with one becomes its problem.
// launching says that a launch has not exported anything yet: the environment's modes are the owner's.
func Targets(app current.App, launching bool) (targets []Target) {
	for _, db := range app.Plan.Databases {
		t := Target{
			Name:        db.Title(),
			ByKeys:      db.ByKeys(),
			Further:     !db.Main,
			Database:    db.Database,
			User:        db.Username,
			Password:    db.Password,
			Asked:       db.Mode,
			AskedSource: db.Source.String(),
			Tunnel:      db.Tunnel,
			TrustPlace:  "the binding, as the credential sslrootcert",
		}
		if db.CA.Known() {
			t.TrustPlace = "the binding, as the " + db.CA.Whole()
		}
		t.setAddress(db.Binding)
		t.setMode(app, db, launching)
		t.setTrust(app, db)
		t.setClient(app, db)
		targets = append(targets, t)
	}
	return targets
}

// fail keeps the first problem.
func (t *Target) fail(code, what, do string) {
	if t.Problem == nil {
		t.Problem = &Problem{code, what, do}
	}
}

func (t *Target) failUnread(err error) {
	if err != nil {
		t.fail(rootUnreadable, "the trusted CAs cannot be read: "+err.Error(), "restage the app")
	}
}

func (t *Target) failUnseen(code, what string) {
	t.fail(code, what+", is a file of the app's container, which cannot be seen from here", "run postgres-ssl verify in the app")
}

// anchors returns the CAs in these sets of the trust store.
func (t *Target) anchors(store truststore.Store, sets []string) (all []Anchor) {
	for _, set := range sets {
		certs, err := store.Certificates(set)
		t.failUnread(err)
		origin := "region " + set
		if set == truststore.AmazonTrust || set == truststore.Extra {
			origin = set + " in this buildpack"
		} else if strings.HasPrefix(set, "aws") {
			origin = "partition " + set
		}
		all = append(all, from(origin, certs)...)
	}
	return all
}

func from(origin string, certs []*x509.Certificate) (all []Anchor) {
	for _, c := range certs {
		all = append(all, Anchor{c, origin})
	}
	return all
}

// knownCAs returns every CA in this buildpack, for a diagnosis. Without the trust store, that says less.
var knownCAs = sync.OnceValue(func() []Anchor {
	store, _ := current.TrustStore()
	return new(Target).anchors(store, store.Names)
})

func (t *Target) setAddress(b binding.Binding) {
	if b.Socket {
		t.Further = true
		t.fail(noAddress, "the binding names a Unix socket, which crosses no network: there is nothing to verify", "")
		return
	}
	if len(b.Hosts) == 0 {
		t.fail(bindingIncomplete, "the binding names no host", "add the credential hostname, or a uri with a host")
		return
	}
	t.HostAddr, t.Direct = b.HostAddr, b.DirectTLS
	for i, host := range b.Hosts {
		port, err := strconv.ParseUint(b.Port(i), 10, 16)
		if err != nil || port == 0 { // don't show the value: it is no port, so it may be a secret
			t.fail(bindingIncomplete, "the port in the binding is not a number from 1 to 65535", "correct the credential port")
		}
		t.Others = append(t.Others, Address{host, uint16(port)})
	}
	t.Address, t.Others = t.Others[0], t.Others[1:]
	if b.Username == "" {
		t.fail(bindingIncomplete, "the binding names no user", "add the credential username, or a uri with a user")
	}
}

// setMode finds the mode in force: the owner's, else the plan's. A variable with the plan's value is
// the launch script's. If the owner set both variables, the weaker one counts, because we cannot know
// which of them the app's driver reads.
//
// Through the tunnel, the database's own mode is in force, or the owner's if that is stricter: a
// weaker one is for the connection from the app to the tunnel.
func (t *Target) setMode(app current.App, db *launch.Database, launching bool) {
	t.Mode, t.Source, t.Lever = app.Plan.Mode, db.Source.String(), "sslmode"
	if db.Tunnel {
		t.Mode = db.Mode
	}
	if decider := app.Plan.Decider; t.Mode != db.Mode && decider != nil {
		t.Source = decider.Title() + ", which decides for the app: " + decider.Source.String()
		t.Lever = "the sslmode of " + decider.Title()
	} else if db.Source.IsOwners() {
		t.Lever = "POSTGRES_SSL_MODE"
	}
	libpq, stratos := app.Plan.Libpq, app.Plan.Stratos
	if libpq.Wrong != nil {
		t.fail(modeUnknown, libpq.Wrong.Error(), libpq.Do)
		return
	}
	for _, own := range []launch.Owner{stratos, libpq} {
		if own.Value == "" || own.Wrong != nil { // Stratos alone reads its own, and would not start
			continue
		}
		counts := !t.Owned || own.Mode < t.Mode
		if db.Tunnel {
			counts = own.Mode > t.Mode
		}
		mayBeExported := !db.Tunnel || !launching
		if counts && !(mayBeExported && own.Mode == app.Plan.Mode) {
			t.Mode, t.Source, t.Lever, t.Owned = own.Mode, own.Variable+", set by the app's owner", own.Variable, true
		}
	}
}

// setTrust takes the CAs in the owner's PGSSLROOTCERT, else the plan's for this database. A file with
// what a launch puts there is not the owner's.
func (t *Target) setTrust(app current.App, db *launch.Database) {
	switch file := app.Env["PGSSLROOTCERT"]; {
	case file == "system": // the stack's store, and only with verify-full (libpq's manual, "sslrootcert")
		if t.Mode == sslmode.None {
			t.Mode, t.Source = sslmode.VerifyFull, "PGSSLROOTCERT=system"
		}
		if t.Mode != sslmode.VerifyFull {
			t.fail(rootUnreadable, "PGSSLROOTCERT=system works with sslmode verify-full only",
				"set PGSSLMODE to verify-full, or unset PGSSLROOTCERT")
		}
		t.trustStores(app)
		return
	case file != "" && app.Elsewhere:
		t.failUnseen(rootUnreadable, "PGSSLROOTCERT, "+file)
		return
	case file != "":
		planned, err := app.Roots(false)
		t.failUnread(err)
		if content, err := os.ReadFile(file); err != nil || !bytes.Equal(content, planned) {
			t.trustFile(file, content, err)
			return
		}
	}
	if db.Trust.Unseen {
		t.failUnseen(rootUnreadable, db.Trust.Place.String())
	}
	t.Trust = append(from(db.Trust.Place.String(), db.Trust.Own), t.anchors(app.Store, db.Trust.Sets)...)
	if db.Trust.Everyone {
		t.trustStores(app)
	}
}

// trustFile takes the owner's root certificates. With them, require means verify-ca (libpq's
// manual, "libpq-ssl", on backward compatibility; so do lib/pq and pgx). A missing file matters only
// if the mode verifies.
func (t *Target) trustFile(file string, content []byte, err error) {
	t.TrustPlace = "the file that PGSSLROOTCERT names"
	t.Trust = from("PGSSLROOTCERT ("+file+")", truststore.ParseAny(content))
	switch {
	case errors.Is(err, fs.ErrNotExist) && !t.Mode.Verifies():
	case len(t.Trust) == 0:
		t.fail(rootUnreadable, "PGSSLROOTCERT names no file with a readable certificate: "+file,
			"unset PGSSLROOTCERT, or put CA certificates in PEM there")
	case t.Mode == sslmode.Require:
		t.Mode, t.Source = sslmode.VerifyCA, t.Source+" as require, which the root certificate in PGSSLROOTCERT turns into verify-ca"
	}
}

func (t *Target) trustStores(app current.App) {
	files, err := truststore.System(app.Env)
	t.failUnread(err)
	who := "the stack's store"
	for _, file := range files {
		t.Trust = append(t.Trust, from(who+" ("+file.Name+")", truststore.ParseAny(file.Content))...)
		who = "the platform's store"
	}
}

// setClient takes the client certificate from the files in the owner's PGSSLCERT and PGSSLKEY, else
// from the credentials.
func (t *Target) setClient(app current.App, db *launch.Database) {
	plannedCert, plannedKey := app.Plan.ClientCertificate()
	cert, key := plannedCert, plannedKey
	if db.Tunnel {
		cert, key = db.CertPEM, db.KeyPEM
	}
	cert = t.owners(app, "PGSSLCERT", plannedCert, cert)
	key = t.owners(app, "PGSSLKEY", plannedKey, key)
	if t.Problem != nil || cert == nil && key == nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil { // don't show its error: it might quote a key
		t.fail(clientCertificateUnusable, "the client certificate and its key do not belong together, or one of them cannot be read",
			"set PGSSLCERT and PGSSLKEY to a certificate and its key in PEM, without a passphrase")
	}
	t.Cert, t.Key = cert, key
}

// owners returns the content of the file that a variable names. If it names none, or the launch
// script's, whose content is planned, owners returns ours.
func (t *Target) owners(app current.App, variable string, planned, ours []byte) []byte {
	file := app.Env[variable]
	if file == "" {
		return ours
	}
	if app.Elsewhere {
		t.failUnseen(clientCertificateUnusable, variable+", "+file)
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.fail(clientCertificateUnusable, variable+" names a file that cannot be read: "+file, "unset "+variable+", or put the file there")
	}
	if bytes.Equal(content, planned) {
		return ours
	}
	return content
}
