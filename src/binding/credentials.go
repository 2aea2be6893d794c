package binding

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

func (r *reader) binding(d *database, open open) Binding {
	b := Binding{Name: r.name, Path: d.path, WellKnown: d.wellKnown, Tags: r.tags, Direct: r.direct()}
	hosts := addHosts(slices.Clone(d.hosts), d.replicas)
	b.Replicas = len(hosts) - len(d.hosts)
	around := string(d.credential(portKeys, "").Value) // in an object around
	port := splitPorts(strings.ReplaceAll(around, "\n", ","), len(hosts))
	for i, a := range hosts {
		if hosts[0].port == "" {
			a.port = cmp.Or(a.port, port(i), around) // what is no port is refused later
		}
		b.Hosts, b.Ports = append(b.Hosts, a.host), append(b.Ports, a.port)
	}
	r.setModes(&b, d)
	if b.CA = d.credential(caKeys, "sslrootcert"); isSystem(string(b.CA.Value)) {
		b.System, b.CA = Place{Path: b.CA.Path}, Credential{}
	}
	b.CA.load(open)
	d.objects = slices.Compact(d.objects)
	for _, o := range d.objects {
		b.MoreCAs = append(b.MoreCAs, r.level(o).says.MoreCAs...)
	}
	b.ClientCert, b.ClientKey = d.credential(clientCertKeys, "sslcert"), d.credential(clientKeyKeys, "sslkey")
	b.Username, b.Database = d.name(usernameKeys, "user"), d.name(databaseKeys, "dbname")
	b.Password = d.credential(passwordKeys, "password").Value
	b.Socket = len(hosts) == 0 && isSocket(string(d.credential(hostKeys, "").Value))
	for _, f := range d.strings {
		b.Socket = b.Socket || len(hosts) == 0 && f.socket
		b.DirectTLS = b.DirectTLS || f.says["sslnegotiation"] == "direct"
		if len(hosts) == 1 && hosts[0].host != f.hostaddr {
			b.HostAddr = cmp.Or(b.HostAddr, f.hostaddr)
		}
		b.named = append(b.named, f.hosts...)
	}
	for _, o := range d.objects {
		b.named = append(b.named, o.hosts...)
	}
	b.Guessed = len(d.strings) == 0 && !slices.ContainsFunc(d.objects, func(o *object) bool { return !o.guessed })
	return b
}

var directParameter = lazyregexp.New(`(?i)\b(channel_?binding)=require|\b(require_?auth)=|\b(target_?(?:session_?attrs|server_?type))=[^a]`)

// findDirect returns a parameter that only a direct connection to the server can keep.
func (r *reader) findDirect() string {
	for _, o := range r.objects {
		for v, text := range o.texts() {
			text = v.key + "=" + text
			if !containsAny(text, []string{"channel", "auth=", "target"}) {
				continue // a launch must not wait for a pattern that it does not need
			}
			if m := directParameter().FindStringSubmatch(text); m != nil {
				return cmp.Or(m[1:]...)
			}
		}
	}
	return ""
}

// credential returns what the first of the keys says that is present, in the database's objects or
// in those around them, or else a parameter of its strings. Strings about another host than the
// keys come first for the login.
func (d *database) credential(keys []string, parameter string) Credential {
	byString := Credential{}
	for _, f := range d.strings {
		value := f.says[parameter]
		if parameter == "sslrootcert" {
			value = f.rootCert
		}
		if parameter != "" && value != "" && !byString.Known() {
			byString = Credential{Place: Place{Path: f.path, Of: parameter}, Value: Secret(value)}
		}
	}
	if byString.Known() && !d.isMain && !strings.HasPrefix(parameter, "ssl") {
		return byString
	}
	for _, o := range d.objects {
		for ; o != nil; o = o.parent {
			if v, ok := o.first(keys); ok && o.about < doubtful {
				return Credential{Place: Place{Path: v.path()}, Value: Secret(joinTexts(v.raw, "\n"))}
			}
		}
	}
	return byString
}

// name returns a name that people see: no URI, and without parameters or a "user:password" in it.
func (d *database) name(keys []string, parameter string) string {
	name := string(d.credential(keys, parameter).Value)
	if i := strings.IndexAny(name, " ;&?#"); i >= 0 && strings.Contains(name[i:], "=") {
		name = name[:i]
	}
	if key, _, ok := strings.Cut(name, "="); strings.Contains(name, "://") || ok && slices.Contains(secretKeys, fold(key)) {
		return ""
	}
	name, _, _ = strings.Cut(name, ":")
	return name
}

func isSystem(text string) bool { return strings.EqualFold(strings.TrimSpace(text), "system") }

// load replaces the path of a file by the file's content.
func (c *Credential) load(open open) {
	if path := strings.TrimSpace(string(c.Value)); isPath(path) {
		data, err := open(path)
		c.Value, c.Missing = Secret(data), err != nil
	}
}

// isPath tells a path from base64 of PEM, which has no dot and does not begin with a slash.
func isPath(text string) bool {
	isFile := strings.HasPrefix(text, "/") || strings.Contains(text, ".")
	return isFile && len(text) <= 1024 && !strings.ContainsAny(text, "\n\x00")
}

// moreCAs returns the certificates under all but the well-known keys of the database around it.
func (o *object) moreCAs(database *object) (cas []Credential) {
	for v, text := range o.texts() {
		read := slices.Contains(clientCertKeys, v.key) || o == database && slices.Contains(caKeys, v.key)
		if looksLikePEM(text) && !read && speaksOfServerCA(strings.TrimPrefix(v.path(), database.path())) {
			cas = append(cas, Credential{Place: Place{Path: v.path()}, Value: Secret(text), IsCA: v.saysCA(database)})
		}
	}
	return cas
}

// saysCA says whether a certificate's key tells that it is the CA of the database around it.
func (v *value) saysCA(database *object) bool {
	for o := v.in; o != database; o = o.parent {
		if len(o.hosts) > 0 {
			return false // of something else: api.ca
		}
	}
	return saysCA(strings.TrimPrefix(v.path(), database.path()))
}

// looksLikePEM says whether a text looks like a certificate in PEM, or base64 of one.
func looksLikePEM(text string) bool {
	return strings.Contains(text, "-----BEGIN CERTIFICATE") || strings.HasPrefix(strings.TrimSpace(text), "LS0tLS1CRUdJTi")
}
