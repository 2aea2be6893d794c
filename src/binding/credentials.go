package binding

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// binding fills in what belongs to a database, first from its own objects, then from those around
// them.
func (r *reader) binding(d *database, open open) (Binding, error) {
	b := Binding{Name: r.name, Path: d.path, WellKnown: d.wellKnown, Tags: r.tags, Direct: r.direct}
	hosts := addHosts(slices.Clone(d.hosts), d.replicas)
	b.Replicas = len(hosts) - len(d.hosts)
	for i, a := range hosts {
		if i < len(d.hosts) && hosts[0].port == "" {
			a.port = cmp.Or(a.port, string(d.credential(portKeys).Value)) // of an object around, for all of them
		}
		b.Hosts, b.Ports = append(b.Hosts, a.host), append(b.Ports, a.port)
	}
	if err := r.setModes(&b, d); err != nil {
		return b, err
	}
	b.CA = d.credential(caKeys)
	if strings.EqualFold(strings.TrimSpace(string(b.CA.Value)), "system") {
		b.System, b.CA = b.CA.Place, Credential{}
	}
	b.ClientCert, b.ClientKey = d.credential(clientCertKeys), d.credential(clientKeyKeys)
	for _, f := range d.strings {
		f.fill(&b.CA, "sslrootcert", f.rootCert)
		b.DirectTLS = b.DirectTLS || f.direct
		if len(hosts) == 1 && hosts[0].host != f.hostaddr {
			b.HostAddr = cmp.Or(b.HostAddr, f.hostaddr)
		}
		if looksLikePEM(f.clientCert) { // a path is for the driver that reads the string
			f.fill(&b.ClientCert, "sslcert", f.clientCert)
			f.fill(&b.ClientKey, "sslkey", f.clientKey)
		}
	}
	b.CA.load(open)
	b.MoreCAs = d.moreCAs()
	b.Username = d.login(usernameKeys, func(c connection) string { return c.username })
	b.Password = Secret(d.login(passwordKeys, func(c connection) string { return c.password }))
	b.Database = d.login(databaseKeys, func(c connection) string { return c.database })
	b.named = d.addresses(b)
	b.Guessed = len(d.strings) == 0 && !slices.ContainsFunc(d.objects, func(o *object) bool { return !o.guessed })
	return b, nil
}

// fill takes a credential from a connection string, if no key has it.
func (f connString) fill(c *Credential, parameter, value string) {
	if !c.Known() && value != "" {
		*c = Credential{Place: Place{Path: f.path, Kind: Aside, Of: parameter}, Value: Secret(value)}
	}
}

var directParameter = lazyregexp.New(`(?i)\b(channel_?binding)=require|\b(require_?auth)=|\b(target_?(?:session_?attrs|server_?type))=[^a]`)

// findDirect returns a parameter of the service that only a direct connection to the server can
// keep.
func (r *reader) findDirect() string {
	for _, t := range r.texts {
		text := t.key + "=" + t.text
		if t.isSecret() || !containsAny(text, []string{"channel", "auth=", "target"}) {
			continue // a launch must not wait for a pattern that it does not need
		}
		if m := directParameter().FindStringSubmatch(text); m != nil {
			return cmp.Or(m[1:]...)
		}
	}
	return ""
}

// login returns the user, the password or the database. A key of its own wins over a string, unless
// the string is about a different host than the keys.
func (d *database) login(keys []string, in func(connection) string) string {
	byKey, byString := string(d.credential(keys).Value), ""
	for _, f := range d.strings {
		byString = cmp.Or(byString, in(f.connection))
	}
	if d.isMain {
		return cmp.Or(byKey, byString)
	}
	return cmp.Or(byString, byKey)
}

// credential returns the value of the first key that is present, in the database's objects or in
// those around them.
func (d *database) credential(keys []string) Credential {
	for _, o := range d.objects {
		for ; o != nil; o = o.parent {
			if v, ok := o.first(keys); ok && o.about < doubtful {
				return Credential{Place: Place{Path: v.path}, Value: Secret(joinTexts(v.raw, "\n"))}
			}
		}
	}
	return Credential{}
}

// load replaces the path of a file by the file's content. It tells a path from base64 of PEM, which
// has no dot and does not begin with a slash.
func (c *Credential) load(open open) {
	if path := strings.TrimSpace(string(c.Value)); isPath(path) {
		data, err := open(path)
		c.Value, c.Missing = Secret(data), err != nil
	}
}

// isPath says whether a credential for a certificate is the path of a file.
func isPath(text string) bool {
	return len(text) <= 1024 && !strings.ContainsAny(text, "\n\x00") && (strings.HasPrefix(text, "/") || strings.Contains(text, "."))
}

// moreCAs returns the certificates that are in a database's objects, or nested in them, but not
// under a well-known key.
func (d *database) moreCAs() (cas []Credential) {
	for i, o := range d.objects {
		if slices.Contains(d.objects[:i], o) {
			continue
		}
		for _, in := range o.levels() {
			for _, t := range in.pems {
				read := slices.Contains(clientCertKeys, t.key) || in == o && slices.Contains(caKeys, t.key)
				if !read && speaksOfServerCA(strings.TrimPrefix(t.path, o.path)) {
					cas = append(cas, Credential{Place: Place{Path: t.path}, Value: Secret(t.text), IsCA: t.saysCA(o)})
				}
			}
		}
	}
	return cas
}

// saysCA says whether a certificate's key tells that it is the CA of the database around it.
func (t text) saysCA(database *object) bool {
	for o := t.in; o != database; o = o.parent {
		if len(o.hosts) > 0 {
			return false // of something else: api.ca
		}
	}
	return slices.ContainsFunc(words(strings.TrimPrefix(t.path, database.path)), isCAWord)
}

// looksLikePEM says whether a text looks like a certificate in PEM, or base64 of one.
func looksLikePEM(text string) bool {
	return strings.Contains(text, "-----BEGIN CERTIFICATE") || strings.HasPrefix(strings.TrimSpace(text), "LS0tLS1CRUdJTi")
}
