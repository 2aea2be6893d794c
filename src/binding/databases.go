package binding

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// service is a bound service, as the platform describes it.
type service struct {
	name        string
	label       string
	tags        []string
	kind        string // the type, from SERVICE_BINDING_ROOT and some brokers
	credentials map[string]any
}

// says reports whether the label, a tag or the type contains one of the words, as
// csb-aws-postgresql contains "postgres".
func (s service) says(words []string) bool {
	return slices.ContainsFunc(append([]string{s.label, s.kind}, s.tags...), func(word string) bool { return holdsAny(word, words) })
}

// mostHosts limits the hosts of one service, and so the time that a launch takes.
const mostHosts = 100

// database is a Postgres database while we put it together.
type database struct {
	hosts     []address
	replicas  []address
	objects   []*object // where it is written, in order of priority
	strings   []found
	parts     bool // its hosts come from keys of their own, not from a string
	own       bool // it is the main database of an object, so the object's other keys are about it
	wellKnown bool
	path      string
}

// found is a connection string and its place.
type found struct {
	text
	connection
}

// reader finds the databases of one service.
type reader struct {
	service
	objects   []*object
	strings   []found
	loose     map[*object][]found   // queries without a URI around them
	levels    map[*object][]*object // the cache of about
	texts     []text
	pems      []text // those of texts that are certificates
	databases []*database
	heard     map[string]bool // paths whose mode we have read
}

// read returns the databases of a service, or none if it holds no Postgres. An error is one line
// that names the key.
func (s service) read(open open) ([]Binding, error) {
	r, err := s.find()
	if err != nil {
		return nil, err
	}
	var bindings []Binding
	for _, d := range r.databases {
		b, err := r.binding(d, open)
		if err != nil {
			return nil, err
		}
		bindings = append(bindings, b)
	}
	if len(bindings) == 1 {
		bindings[0].Path = ""
	}
	return bindings, r.checkAllHeard()
}

// find finds the databases of a service, and where each one is written.
func (s service) find() (*reader, error) {
	root, objects, texts, err := walk(s.credentials)
	if err != nil {
		return nil, err
	}
	r := &reader{service: s, objects: objects, texts: texts, heard: map[string]bool{}, loose: map[*object][]found{}, levels: map[*object][]*object{}}
	foreign := r.readStrings()
	r.markObjects()
	r.gather()
	if len(r.databases) == 0 && s.says(postgresWords) && !foreign && !root.other {
		root.holds = true
		r.databases = []*database{{objects: []*object{root}, parts: true, own: true, wellKnown: true}}
	}
	hosts := 0
	for _, d := range r.databases {
		// Count every object too. A database may have no host, and many objects may name the same
		// one.
		if hosts += max(len(d.hosts)+len(d.replicas), len(d.objects)); hosts > mostHosts {
			return nil, fmt.Errorf("the credentials name more than %d hosts", mostHosts)
		}
	}
	return r, nil
}

// readStrings finds the connection strings among the texts. It returns true if a well-known key
// holds a URI of something else.
func (r *reader) readStrings() (foreign bool) {
	for _, t := range r.texts {
		if t.isSecret() {
			continue
		}
		if looksLikePEM(t.text) {
			r.pems = append(r.pems, t)
		}
		if c, ok := parseString(t.text); ok {
			// A bare "postgres://" belongs to the host around it. If that host has a login of its
			// own, it is another connection.
			if outer := t.in.withHosts(); len(c.hosts) == 0 && !c.asksForLess() && !outer.hasLogin() {
				t.in = outer
			}
			r.strings = append(r.strings, found{t, c})
			t.in.holds = true
			continue
		}
		scheme, _, ok := strings.Cut(t.text, "://")
		foreign = foreign || ok && slices.Contains(uriKeys, t.key)
		if ok && len(scheme) < 64 && holdsAny(scheme, otherWords) {
			t.in.other = true
		} else if asksForMode(t.text) {
			if c, ok := parseParameters(t.text); ok {
				r.loose[t.in] = append(r.loose[t.in], found{t, c})
			}
		}
	}
	return foreign
}

// markObjects marks which objects are about Postgres, and which about another kind of database.
func (r *reader) markObjects() {
	byLabel, otherLabel := r.says(postgresWords), r.says(otherWords)
	asks := map[*object]bool{} // it holds a mode, or something nested in it does
	for _, o := range r.objects {
		if slices.ContainsFunc(o.values, func(v value) bool { return v.isMode() && !isEmpty(v.raw) }) {
			for outer := o; outer != nil && !asks[outer]; outer = outer.parent {
				asks[outer] = true
			}
		}
	}
	for _, o := range r.objects {
		port, _ := o.first(portKeys)
		postgres := o.says(postgresWords)
		switch {
		case o.holds:
			o.other = false
			continue
		case o.says(otherWords), asText(port.raw) == "3306" && !postgres,
			!postgres && !byLabel && otherLabel:
			o.other = true
		}
		if o.other || len(o.hosts()) == 0 || o.isHost() {
			continue
		}
		o.holds = postgres || asks[o] || byLabel && (o.parent == nil || o.hasLogin() || asText(port.raw) == "5432") ||
			o.hasLogin() && asks[r.objects[0]]
	}
}

// hasLogin says whether the object names a user or a database.
func (o *object) hasLogin() bool {
	_, named := o.first(append(slices.Clone(databaseKeys), usernameKeys...))
	return named
}

// withHosts returns the nearest object that names hosts, from o outwards, or o itself if there is
// none.
func (o *object) withHosts() *object {
	for outer := o; outer != nil; outer = outer.parent {
		if len(outer.hosts()) > 0 {
			return outer
		}
	}
	return o
}

// isHost says whether the object is one host, or an item of a list of hosts, as in [{"hostname": …,
// "port": …}].
func (o *object) isHost() bool {
	if o.parent == nil {
		return false
	}
	key := strings.TrimRight(o.path[strings.LastIndexByte(o.path, '.')+1:], "[]0123456789")
	return slices.Contains(hostKeys, fold(key))
}

// hosts returns the hosts under the object's own keys.
func (o *object) hosts() []address {
	var hosts []address
	for _, key := range hostKeys {
		for _, v := range o.values {
			if v.key == key {
				hosts = addHosts(hosts, hostsOf(v.raw))
			}
		}
	}
	hasPort := func(a address) bool { return a.port != "" }
	if port, ok := o.first(portKeys); ok && !slices.ContainsFunc(hosts, hasPort) {
		setPorts(hosts, asText(port.raw))
	}
	return hosts
}

// hostsOf reads one host, several, or a list of objects with a host and a port each.
func hostsOf(raw any) []address {
	switch v := raw.(type) {
	case []any:
		var hosts []address
		for _, item := range v {
			if hosts = append(hosts, hostsOf(item)...); len(hosts) > mostHosts {
				break // find refuses it
			}
		}
		return hosts
	case map[string]any:
		var host, port string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if slices.Contains(hostKeys, fold(key)) {
				host = cmp.Or(host, asText(v[key]))
			} else if fold(key) == "port" {
				port = cmp.Or(port, asText(v[key]))
			}
		}
		hosts := parseHosts(host)
		setPorts(hosts, port)
		return hosts
	}
	return parseHosts(asText(raw))
}

// gather makes the databases, one for each distinct list of hosts. A connection string belongs to
// the database of its object if it shares a host with the object's keys, or names none.
func (r *reader) gather() {
	byObject := map[*object][]found{}
	for _, f := range r.strings {
		byObject[f.in] = append(byObject[f.in], f)
	}
	same := map[string]*database{}
	add := func(d *database) *database {
		key := hostList(d.hosts)
		if old := same[key]; old != nil && len(d.hosts) > 0 {
			old.objects = append(old.objects, d.objects...)
			old.wellKnown = old.wellKnown || d.wellKnown
			return old
		}
		same[key] = d
		r.databases = append(r.databases, d)
		return d
	}
	for _, o := range r.objects {
		if !o.holds {
			continue
		}
		var own *database // the object's main database
		if hosts := o.hosts(); len(hosts) > 0 && !o.isHost() {
			own = add(&database{hosts: hosts, objects: []*object{o}, parts: true, wellKnown: o.parent == nil})
			own.path, own.own = cmp.Or(own.path, o.path), true
		}
		var replicas []found
		strings := byObject[o]
		slices.SortStableFunc(strings, func(a, b found) int { return cmp.Compare(uriRank(a.key), uriRank(b.key)) })
		for _, f := range strings {
			known := o.parent == nil && slices.Contains(uriKeys, f.key)
			switch {
			case isReplicaKey(f.key):
				replicas = append(replicas, f)
				continue
			case own != nil && len(f.hosts) == 0 && f.joins():
			case own != nil && len(own.hosts) == 0 && (f.joins() || !slices.ContainsFunc(own.strings, func(f found) bool { return !f.joins() })):
				own.hosts = f.hosts
				same[hostList(own.hosts)] = own
			case own != nil && own.parts && overlap(own.hosts, f.hosts):
				own.hosts = addHosts(own.hosts, f.hosts)
			default:
				d := add(&database{hosts: f.hosts, objects: []*object{o}, wellKnown: known, path: f.path})
				d.strings = append(d.strings, f)
				d.wellKnown = d.wellKnown || known
				if own == nil {
					own, d.own = d, true
				}
				continue
			}
			own.wellKnown = own.wellKnown || known
			own.strings = append(own.strings, f)
		}
		for _, f := range replicas {
			if own == nil {
				own = add(&database{hosts: f.hosts, objects: []*object{o}, path: f.path, own: true})
			} else {
				own.replicas = append(own.replicas, f.hosts...)
			}
			own.strings = append(own.strings, f)
		}
		for _, v := range o.values {
			if own != nil && isReplicaKey(v.key) {
				own.replicas = append(own.replicas, hostsOf(v.raw)...)
			}
		}
	}
}

// joins says whether a string belongs to the database beside it, where one of the two names no
// host. Under an unknown key, a string may be an example, or its host may be unreadable. Then it
// must not lower what the database gets.
func (f found) joins() bool { return slices.Contains(uriKeys, f.key) || !f.asksForLess() }

// uriRank sorts strings under well-known keys before all others, in the order of those keys.
func uriRank(key string) int {
	if i := slices.Index(uriKeys, key); i >= 0 {
		return i
	}
	return len(uriKeys)
}

func overlap(a, b []address) bool {
	return slices.ContainsFunc(a, func(x address) bool {
		return slices.ContainsFunc(b, func(y address) bool { return x.host == y.host })
	})
}

// addHosts adds the hosts that are missing.
func addHosts(hosts, more []address) []address {
	for _, a := range more {
		i := slices.IndexFunc(hosts, func(b address) bool { return a.host == b.host })
		if i < 0 {
			hosts = append(hosts, a)
		} else if hosts[i].port == "" {
			hosts[i].port = a.port
		}
		if len(hosts) > mostHosts {
			break // find refuses it
		}
	}
	return hosts
}

// hostList returns a text that is the same for the same hosts in any order.
func hostList(hosts []address) string {
	names := make([]string, len(hosts))
	for i, a := range hosts {
		names[i] = a.host
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// binding fills in what belongs to a database, first from its own objects, then from those around
// them.
func (r *reader) binding(d *database, open open) (Binding, error) {
	b := Binding{Name: r.name, Path: d.path, WellKnown: d.wellKnown, Tags: r.tags}
	hosts := slices.Clone(d.hosts)
	primaries := len(hosts)
	hosts = addHosts(hosts, d.replicas)
	b.Replicas = len(hosts) - primaries
	for _, a := range hosts {
		b.Hosts, b.Ports = append(b.Hosts, a.host), append(b.Ports, a.port)
	}
	if err := r.setModes(&b, d); err != nil {
		return b, err
	}
	b.CA = d.credential(caKeys)
	if strings.EqualFold(strings.TrimSpace(string(b.CA.Value)), "system") {
		b.System, b.CA = b.CA.Place, Credential{}
	}
	for _, f := range d.strings {
		if !b.CA.Known() && f.rootCert != "" {
			b.CA = Credential{Place: Place{Path: f.path, Kind: Aside, Of: "sslrootcert"}, Value: Secret(f.rootCert)}
		}
	}
	b.CA.load(open)
	b.MoreCAs = r.moreCAs(d)
	b.ClientCert, b.ClientKey = d.credential(clientCertKeys), d.credential(clientKeyKeys)
	r.setLogin(&b, d)
	if len(hosts) > 0 && b.Ports[0] == "" {
		around := string(d.credential(portKeys).Value) // for all of them
		for i := range b.Primaries() {
			b.Ports[i] = cmp.Or(b.Ports[i], around)
		}
	}
	b.named = d.named(b)
	return b, nil
}

// setLogin finds the user, the password and the database. A key of its own wins over a string,
// unless the string is about a different host than the keys.
func (r *reader) setLogin(b *Binding, d *database) {
	for _, field := range []struct {
		to   *string
		keys []string
		in   func(connection) string
	}{
		{&b.Username, usernameKeys, func(c connection) string { return c.username }},
		{(*string)(&b.Password), passwordKeys, func(c connection) string { return c.password }},
		{&b.Database, databaseKeys, func(c connection) string { return c.database }},
	} {
		byKey := string(d.credential(field.keys).Value)
		byString := ""
		for _, f := range d.strings {
			byString = cmp.Or(byString, field.in(f.connection))
		}
		if d.own {
			*field.to = cmp.Or(byKey, byString)
		} else {
			*field.to = cmp.Or(byString, byKey)
		}
	}
}

// credential returns the value of the first key that is present, in the database's objects or in
// those around them.
func (d *database) credential(keys []string) Credential {
	for _, o := range d.objects {
		for ; o != nil; o = o.parent {
			if v, ok := o.first(keys); ok && !o.other {
				return Credential{Place: Place{Path: v.path}, Value: Secret(lines(v.raw))}
			}
		}
	}
	return Credential{}
}

// lines is like asText, but puts each text of a list on a line of its own. Certificates may come as
// a list.
func lines(raw any) string {
	list, ok := raw.([]any)
	if !ok {
		return asText(raw)
	}
	var texts []string
	for _, item := range list {
		texts = append(texts, asText(item))
	}
	return strings.Join(texts, "\n")
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

// readRegular reads a regular file. A pipe or a device could block us, so it refuses those.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errNoFile}
	}
	return os.ReadFile(path)
}

// moreCAs returns the certificates that are in a database's objects, or nested in them, but not
// under a well-known key.
func (r *reader) moreCAs(d *database) []Credential {
	var cas []Credential
	for _, t := range r.pems {
		owner := t.in.owner()
		if !slices.Contains(d.objects, owner) || t.in == owner && slices.Contains(caKeys, t.key) || slices.Contains(clientCertKeys, t.key) {
			continue
		}
		if speaksOfServerCA(strings.TrimPrefix(t.path, owner.path)) {
			cas = append(cas, Credential{Place: Place{Path: t.path}, Value: Secret(t.text)})
		}
	}
	return cas
}

// looksLikePEM says whether a text looks like a certificate in PEM, or base64 of one.
func looksLikePEM(text string) bool {
	return strings.Contains(text, "-----BEGIN CERTIFICATE") || strings.HasPrefix(strings.TrimSpace(text), "LS0tLS1CRUdJTi")
}
