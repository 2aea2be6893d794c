package launch

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Variable is an environment variable that the plan exports, or leaves as the app's owner set it.
type Variable struct {
	Name  string
	Value string
	Why   string
	Kept  bool // set by the owner: not exported
}

// Files says where the files are that a launch writes because only the bindings know what is in them. A path is "" where
// the plan needs no such file.
type Files struct {
	RootBundle   string // the CAs of all bound databases in one file
	ErlangBundle string // these, the stack's and the platform's, where the droplet can run Erlang
	OwnFolder    string // the CAs that bindings brought, indexed by name hash
	ClientCert   string
	ClientKey    string
}

// Variables returns what the app is given, in the order in which people read it.
func (p *Plan) Variables(files Files) []Variable {
	var vars []Variable
	give := func(name, value, why string) {
		v := Variable{Name: name, Value: value, Why: why}
		// What holds our own value is ours: the script has been at work, or the owner says the same.
		if own := p.env[name]; own != "" && own != value {
			v = Variable{Name: name, Value: own, Why: "set by the app's owner", Kept: true}
		}
		vars = append(vars, v)
	}
	if mode := p.Mode; p.env["DB_SSL_MODE"] != "" || mode != sslmode.None {
		give("DB_SSL_MODE", mode.String(), p.modeSource())
	}
	if p.env["PGSSLMODE"] != "" || p.Mode != sslmode.None {
		give("PGSSLMODE", p.Mode.String(), p.modeSource())
	}
	if files.RootBundle != "" {
		give("PGSSLROOTCERT", files.RootBundle, "for libpq, lib/pq and pgx")
		give("NODE_EXTRA_CA_CERTS", files.RootBundle, "for node-postgres")
	}
	if file := files.ErlangBundle; file != "" {
		vars = append(vars, Variable{Name: "ERL_AFLAGS", Value: erlangFlags(p.env["ERL_AFLAGS"], file), Why: "for Erlang's public_key:cacerts_get()"})
	}
	if files.ClientCert != "" {
		give("PGSSLCERT", files.ClientCert, p.Decider.Name+", from credential "+p.Decider.Binding.ClientCert.Key)
		give("PGSSLKEY", files.ClientKey, p.Decider.Name+", from credential "+p.Decider.Binding.ClientKey.Key)
	}
	return append(vars,
		Variable{Name: "SSL_CERT_DIR", Value: p.certDirs(files.OwnFolder), Why: "for Go and OpenSSL"},
		Variable{Name: "PATH", Value: appendPath(p.env["PATH"], filepath.Join(filepath.Dir(p.store.Dir), "bin")), Why: "for postgres-ssl"},
	)
}

func (p *Plan) modeSource() string {
	if p.Decider == nil {
		return "from POSTGRES_SSL_MODE"
	}
	return p.Decider.Title() + ", from " + p.Decider.Source
}

// certDirs adds the folders of trusted CAs to what SSL_CERT_DIR was, or to the stack's own folder, which it would replace.
func (p *Plan) certDirs(ownFolder string) string {
	dirs := p.env["SSL_CERT_DIR"]
	if dirs == "" {
		dirs = "/etc/ssl/certs"
	}
	dirs = appendPath(dirs, p.env["CF_SYSTEM_CERT_PATH"])
	if p.store.Has(truststore.Extra) {
		dirs = appendPath(dirs, p.store.Folder(truststore.Extra))
	}
	for _, set := range p.TrustAll().Sets {
		dirs = appendPath(dirs, p.store.Folder(set))
	}
	return appendPath(dirs, ownFolder)
}

// appendPath adds a folder to a list of folders unless it is there: a script that is sourced twice must not grow it.
func appendPath(list, dir string) string {
	switch {
	case dir == "" || slices.Contains(filepath.SplitList(list), dir):
		return list
	case list == "":
		return dir
	}
	return list + ":" + dir
}

// erlangFlags makes public_key:cacerts_get() return the CAs of a file in place of the stack's, the only ones that it looks for by itself.
// From OTP 27.2 on public_key reads its parameter cacerts_path, which also reaches a release before its applications start; before, the
// -eval is run when the boot is done. A release without public_key boots all the same. The owner's flags stay, behind ours: they may end in
// "-extra", which swallows what follows, and "--" keeps them from becoming arguments of our -eval.
//
// Source: OTP, erts/etc/common/erlexec.c, build_args_from_string, for the quotes: between them nothing escapes.
func erlangFlags(owners, file string) string {
	if strings.Contains(owners, file) {
		return owners
	}
	text := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(file) + `"`
	word := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	flags := "-public_key cacerts_path " + word(text) + " -eval " + word("try public_key:cacerts_load("+text+") catch _:_ -> ok end")
	if owners != "" {
		flags += " -- " + owners
	}
	return flags
}

// TrustAll is the trust of all bound databases together, which is what a variable with room for one file gets.
func (p *Plan) TrustAll() Trust {
	var all Trust
	if len(p.Databases) == 0 && p.Mode != sslmode.None {
		return p.trustEveryone("no database was found")
	}
	for _, db := range p.Databases {
		if !db.Main {
			continue // it must not widen the trust of its service
		}
		for _, set := range db.Trust.Sets {
			if !slices.Contains(all.Sets, set) {
				all.Sets = append(all.Sets, set)
			}
		}
		for _, c := range db.Trust.Own {
			if !slices.ContainsFunc(all.Own, c.Equal) {
				all.Own = append(all.Own, c)
			}
		}
		all.Everyone = all.Everyone || db.Trust.Everyone
	}
	return all
}

// HandsOutRoot says whether the app is given a root certificate. With libpq, lib/pq and pgjdbc a root certificate that exists turns
// sslmode=require into verify-ca (libpq's manual, "libpq-ssl", on backward compatibility), so it is given only where each mode
// in force verifies.
func (p *Plan) HandsOutRoot() bool {
	return p.inForce("PGSSLMODE").Verifies() && p.inForce("DB_SSL_MODE").Verifies()
}

// inForce returns the mode that the variable will hold: the owner's, else the plan's; None where it is unset or makes no sense.
func (p *Plan) inForce(name string) sslmode.Mode {
	if own := p.env[name]; own != "" {
		mode, _ := sslmode.Parse(own)
		return mode
	}
	return p.Mode
}

// ClientCertificate returns the deciding database's client certificate and key in PEM, and nil where it has none.
func (p *Plan) ClientCertificate() (cert, key []byte) {
	if p.Decider == nil {
		return nil, nil
	}
	return p.Decider.clientCert, p.Decider.clientKey
}

// Certificates returns the CAs that a database is verified by, those of the stack's and the platform's stores left out.
func (p *Plan) Certificates(t Trust) ([]*x509.Certificate, error) {
	certs := slices.Clone(t.Own)
	for _, set := range p.sets(t) {
		more, err := p.store.Certificates(set)
		if err != nil {
			return nil, err
		}
		certs = append(certs, more...)
	}
	return certs, nil
}

// PEM returns the same certificates as one text. A launch has no time to parse each of them.
func (p *Plan) PEM(t Trust) ([]byte, error) {
	text := truststore.EncodePEM(t.Own)
	for _, set := range p.sets(t) {
		more, err := p.store.PEM(set)
		if err != nil {
			return nil, err
		}
		text = append(text, more...)
	}
	return text, nil
}

// sets are those of the trust, and what the platform team put into the buildpack where the platform's store is trusted.
func (p *Plan) sets(t Trust) []string {
	if t.Everyone && p.store.Has(truststore.Extra) {
		return append(slices.Clone(t.Sets), truststore.Extra)
	}
	return t.Sets
}

const expiryWarning = 90 * 24 * time.Hour

// Describe says in a few words who is trusted, why, and until when the first of the roots expires, and warns where that is near.
func (p *Plan) Describe(db Database, now time.Time) (trusted string, warning string, err error) {
	certs, err := p.Certificates(db.Trust)
	if err != nil {
		return "", "", err
	}
	var who []string
	switch {
	case len(db.Trust.Own) > 0:
		who = append(who, "its own "+plural(len(db.Trust.Own), "CA"))
	case db.Trust.Everyone:
		who = append(who, "all "+plural(len(certs), "CA")+" on board", "the stack's store", "the platform's store")
	default:
		who = append(who, plural(len(certs), "CA"))
	}
	trusted = strings.Join(who, ", ") + " (" + db.Trust.Why + ")"
	expiry := truststore.EarliestExpiry(certs)
	if expiry.IsZero() {
		return trusted, "", nil
	}
	day := expiry.Format(time.DateOnly)
	if expiry.Before(now.Add(expiryWarning)) {
		warning = fmt.Sprintf("%s: a root certificate in use expires on %s; renew it before that day", db.Name, day)
	}
	return trusted + ", first root expires " + day, warning, nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Preview stands for the files before a launch has written them.
func (p *Plan) Preview() Files {
	var f Files
	if p.HandsOutRoot() {
		if f.RootBundle = p.ReadyBundle(); f.RootBundle == "" {
			f.RootBundle = "(a file with the CAs above, written at launch)"
		}
	}
	if len(p.TrustAll().Own) > 0 {
		f.OwnFolder = "(a folder with the databases' own CAs, written at launch)"
	}
	if cert, _ := p.ClientCertificate(); cert != nil {
		f.ClientCert, f.ClientKey = "(the client certificate, written at launch)", "(its key, written at launch, mode 0600)"
	}
	return f
}

// ReadyBundle returns the file of the trust store that already holds just the CAs of all bound databases, and "" if there is none.
func (p *Plan) ReadyBundle() string {
	if all := p.TrustAll(); len(all.Sets) == 1 && len(all.Own) == 0 && !all.Everyone {
		return p.store.Bundle(all.Sets[0])
	}
	return ""
}
