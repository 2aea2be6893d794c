package binding

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// service is a bound service, as the platform describes it.
type service struct {
	name        string
	label       string
	tags        []string
	kind        string // the type, from SERVICE_BINDING_ROOT and some brokers
	credentials map[string]any
	inFile      bool // the platform delivers it in a file
}

// says reports whether the label, a tag or the type contains one of the words, as
// csb-aws-postgresql contains "postgres".
func (s service) says(words []string) bool {
	return s.isOf(words) || slices.ContainsFunc(s.tags, func(tag string) bool { return tag != caTag && containsAny(tag, words) })
}

// isOf reports the same of the label and the type only. Anyone can tag a service.
func (s service) isOf(words []string) bool {
	return containsAny(s.label, words) || containsAny(s.kind, words)
}

// mostHosts limits the hosts of one service, and so the time that a launch takes.
const mostHosts = 100

// mostStrings limits the connection strings of one service.
const mostStrings = 1000

// database is a Postgres database while we put it together.
type database struct {
	hosts     []address
	replicas  []address
	objects   []*object // where it is written, in order of priority
	strings   []connString
	byKeys    bool // its hosts come from keys of their own, not from a string
	isMain    bool // it is the main database of an object, so the object's other keys are about it
	wellKnown bool
	stray     bool // one of its strings does not belong beside its host
	path      string
}

// connString is a connection string, and where it is.
type connString struct {
	text
	connection
	of      *object // what it is about: the object that it is in, or one around that
	inProse bool    // it is a part of a longer text
}

// reader finds the databases of one service.
type reader struct {
	service
	objects   []*object // the outermost first
	texts     []text
	strings   []connString
	queries   map[*object][]connString // without a URI around them
	pems      []text                   // those of texts that are certificates
	databases []*database
	nested    map[*object][]*object // the cache of levels
	modeRead  map[string]bool       // paths whose mode we have read
}

// read returns the databases of a service, or none if it has no Postgres. An error is one line
// that names the key.
func (s service) read(file open) ([]Binding, error) {
	// A file may lie beside the key that names it, as spring-cloud-bindings and quarkus expect.
	open := func(path string) ([]byte, error) {
		if text, ok := s.credentials[path].(string); ok {
			return []byte(text), nil
		}
		return file(path)
	}
	r, err := s.group()
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
	return bindings, r.checkAllHeard(bindings)
}

// group finds the databases of a service, and where each one is written.
func (s service) group() (*reader, error) {
	objects, texts, err := walk(s.credentials)
	if err != nil {
		return nil, err
	}
	r := &reader{service: s, objects: objects, texts: texts, modeRead: map[string]bool{}, nested: map[*object][]*object{}}
	others, foreign := r.readTexts()
	if len(r.strings) > mostStrings {
		return nil, fmt.Errorf("the credentials have more than %d connection strings", mostStrings)
	}
	r.classify(others, foreign)
	r.gather()
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

// readTexts finds the connection strings and the certificates among the texts. It returns the
// objects that have a URI of another kind of database, and whether a well-known key has a URI of
// anything else.
func (r *reader) readTexts() (others map[*object]bool, foreign bool) {
	others, r.queries = map[*object]bool{}, map[*object][]connString{}
	for _, t := range r.texts {
		if t.isSecret() {
			continue
		}
		if looksLikePEM(t.text) {
			r.pems = append(r.pems, t)
		}
		found := findStrings(t.text)
		for i, at := range found {
			part := t
			if part.text = t.text[at.start:at.end]; len(found) > 1 {
				part.path += "[" + strconv.Itoa(i) + "]"
				r.modeRead[t.path] = true
			}
			r.strings = append(r.strings, connString{part, at.connection, t.in.around(at.connection), at.inProse})
		}
		if found != nil {
			continue
		}
		scheme, _, ok := strings.Cut(t.text, "://")
		foreign = foreign || ok && slices.Contains(uriKeys, t.key)
		if ok && len(scheme) < 64 && containsAny(scheme, otherWords) {
			others[t.in] = true
		} else if asksForMode(t.text) {
			if c, ok := parseParameters(t.text); ok {
				r.queries[t.in] = append(r.queries[t.in], connString{text: t, connection: c, of: t.in})
			}
		}
	}
	return others, foreign
}

// around returns the object that a string in o is about. A bare "postgres://" belongs to the host
// around it. If that host has a login of its own, it is another connection.
func (o *object) around(c connection) *object {
	if len(c.hosts) > 0 || c.asksForLess() {
		return o
	}
	for outer := o; outer != nil; outer = outer.parent {
		if len(outer.hosts) > 0 && !outer.hasLogin {
			return outer
		} else if len(outer.hosts) > 0 {
			break
		}
	}
	return o
}

// classify finds what each object is about.
func (r *reader) classify(others map[*object]bool, foreign bool) {
	hasString, asks := map[*object]bool{}, r.askingObjects()
	for _, f := range r.strings {
		hasString[f.of] = true
	}
	found := false
	for _, o := range r.objects {
		doubt := r.doubt(o)
		switch {
		case hasString[o]:
			o.about = postgres
		case others[o], doubt == other:
			o.about = other
		case doubt == doubtful && !r.outweighs(o, asks[o]):
			o.about = doubtful
		case doubt == doubtful:
			o.about = postgres
		case r.isPostgres(o, asks):
			o.about = postgres
		case r.isPostgresByKeys(o, foreign):
			o.about, o.byKeys = postgres, true
		}
		found = found || o.about == postgres
	}
	if root := r.objects[0]; !found && r.says(postgresWords) && !foreign && root.about == unknown {
		root.about = postgres
	}
}

// asking says what modes an object writes.
type asking int

const (
	anyMode asking = iota + 1 // one that MySQL may have too
	ownMode                   // one in a word of Postgres's own
)

// askingObjects returns the objects that have a mode, and those around them.
func (r *reader) askingObjects() map[*object]asking {
	asks := map[*object]asking{}
	note := func(o *object, a asking) {
		for ; o != nil && asks[o] < a; o = o.parent {
			asks[o] = a
		}
	}
	for _, o := range r.objects {
		for _, v := range o.values {
			if v.isMode() && !isEmpty(v.raw) {
				note(o, anyMode)
			}
			if v.isOwnWord() {
				note(o, ownMode)
			}
		}
		for _, f := range r.queries[o] {
			note(o, min(anyMode, asking(len(f.modes))))
		}
	}
	return asks
}

// isOwnWord says whether the value is a mode that is no word of MySQL's. Its words are DISABLED,
// PREFERRED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY.
//
// Source: MySQL's manual, "Command Options for Encrypted Connections", --ssl-mode.
func (v value) isOwnWord() bool {
	if !v.isMode() {
		return false
	}
	text, _ := single(v.raw).(string)
	mode, err := sslmode.Parse(text)
	if err != nil || mode == sslmode.Disable {
		return false
	}
	return mode == sslmode.VerifyFull || text == mode.String()
}

// doubt says whether something tells that an object's keys are about another kind of database: its
// own words or the label for certain, or only a tag or a port.
func (r *reader) doubt(o *object) about {
	tagged := !r.says(postgresWords) && r.says(otherWords)
	port := o.port() == "3306"
	switch {
	case o.says(postgresWords):
		return unknown
	case o.says(otherWords), tagged && (port || r.isOf(otherWords)):
		return other
	case tagged, port:
		return doubtful
	}
	return unknown
}

// outweighs says whether an object's mode says more than a tag, or than a port that the label or a
// tag speaks against.
func (r *reader) outweighs(o *object, asks asking) bool {
	return asks == ownMode && len(o.hosts) > 0 && (r.says(postgresWords) || o.port() != "3306")
}

// isPostgres says whether an object's keys are about Postgres.
func (r *reader) isPostgres(o *object, asks map[*object]asking) bool {
	switch {
	case len(o.hosts) == 0 || o.isHost():
		return false
	case o.says(postgresWords), asks[o] > 0, o.hasLogin && asks[r.objects[0]] > 0:
		return true
	case o.parent == nil, o.hasLogin, o.port() == "5432":
		return r.says(postgresWords)
	}
	return false
}

// namesOther says whether a key or a text of an object names another kind of database.
func (o *object) namesOther() bool {
	for key, raw := range o.raw {
		text, _ := raw.(string)
		if slices.Contains(secretKeys, fold(key)) {
			text = ""
		}
		if containsAny(key+" "+text[:min(len(text), 256)], otherWords) {
			return true
		}
	}
	return false
}

// isPostgresByKeys says whether an object's keys alone tell that it is about Postgres: a host, a
// user or a database, and one sign. foreign says that the service has a URI of something else.
func (r *reader) isPostgresByKeys(o *object, foreign bool) bool {
	if len(o.hosts) == 0 || o.isHost() || !o.hasLogin {
		return false
	}
	port := o.hosts[0].port
	if port == "5432" {
		return true
	}
	if foreign || slices.Contains(foreignPorts, port) {
		return false
	}
	if _, ok := o.first([]string{"sslrootcert"}); ok || o.family != "" && strings.HasPrefix(o.family, "p") {
		return true
	}
	if _, ok := rds.Parse(o.hosts[0].host); ok {
		return port == "" && !o.namesOther() && !containsAny(r.name, otherWords)
	}
	_, named := o.first([]string{"dbname", "database", "databasename"})
	return named && slices.ContainsFunc(words(r.name), func(word string) bool { return word == "pg" || containsAny(word, postgresWords) })
}

func (o *object) port() string {
	port, _ := o.first(portKeys)
	return asText(port.raw)
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

// readHosts returns the hosts under the object's own keys.
func (o *object) readHosts() []address {
	var hosts []address
	for _, key := range hostKeys {
		for _, v := range o.values {
			if v.key == key {
				hosts = addHosts(hosts, hostsOf(v.raw))
			}
		}
	}
	if !slices.ContainsFunc(hosts, func(a address) bool { return a.port != "" }) {
		setPorts(hosts, o.port())
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
				break // group refuses it
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
		hosts, _ := parseHosts(host, port)
		return hosts
	}
	hosts, _ := parseHosts(asText(raw), "")
	return hosts
}

// gather makes the databases, one for each distinct list of hosts.
func (r *reader) gather() {
	byObject := map[*object][]connString{}
	for _, f := range r.strings {
		byObject[f.of] = append(byObject[f.of], f)
	}
	same := map[string]*database{}
	for _, o := range r.objects {
		if o.about == postgres {
			r.gatherObject(o, byObject[o], same)
		}
	}
}

// gatherObject adds the databases of an object. A connection string belongs to the database of the
// object's keys if it shares a host with it, or one of the two names none.
func (r *reader) gatherObject(o *object, all []connString, same map[string]*database) {
	var main *database
	if (len(o.hosts) > 0 || len(all) == 0) && !o.isHost() {
		known := o.parent == nil && o.family == "" && r.doubt(o) == unknown
		main = r.add(&database{hosts: slices.Clone(o.hosts), objects: []*object{o}, byKeys: true, wellKnown: known}, same)
		main.path, main.isMain = cmp.Or(main.path, o.path), true
	}
	var replicas []connString
	slices.SortStableFunc(all, func(a, b connString) int { return cmp.Compare(uriRank(a.key), uriRank(b.key)) })
	for _, f := range all {
		if isReplicaKey(f.key) {
			replicas = append(replicas, f)
			continue
		}
		known := o.parent == nil && slices.Contains(uriKeys, f.key)
		switch {
		case main == nil || !main.takes(f):
			d := r.add(&database{hosts: f.hosts, objects: []*object{o}, wellKnown: known, path: f.path}, same)
			d.strings = append(d.strings, f)
			d.stray = d.stray || !f.belongsBeside()
			if main == nil {
				main, d.isMain = d, true
			}
			continue
		case len(main.hosts) == 0:
			main.hosts = f.hosts
			same[hostList(main.hosts)] = main
		case len(f.hosts) > 0:
			main.hosts = addHosts(main.hosts, f.hosts)
		}
		main.wellKnown = main.wellKnown || known
		main.stray = main.stray || !f.belongsBeside()
		main.strings = append(main.strings, f)
	}
	for _, f := range replicas {
		if main == nil {
			main = r.add(&database{hosts: f.hosts, objects: []*object{o}, path: f.path, isMain: true}, same)
		} else {
			main.replicas = append(main.replicas, f.hosts...)
		}
		main.strings = append(main.strings, f)
	}
	for _, v := range o.values {
		if main != nil && isReplicaKey(v.key) {
			main.replicas = append(main.replicas, hostsOf(v.raw)...)
		}
	}
}

// add adds a database, or returns the one with the same hosts.
func (r *reader) add(d *database, same map[string]*database) *database {
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

// takes says whether a string is about this database, the main one of its object.
func (d *database) takes(f connString) bool {
	switch {
	case len(d.hosts) == 0:
		return f.belongsBeside() || !d.stray
	case len(f.hosts) == 0:
		return f.belongsBeside()
	}
	return d.byKeys && overlap(d.hosts, f.hosts)
}

// belongsBeside says whether a string belongs to the database beside it, where one of the two names no
// host. Under an unknown key, a string may be an example, or its host may be unreadable. Then it
// must not lower what the database gets.
func (f connString) belongsBeside() bool { return slices.Contains(uriKeys, f.key) || !f.asksForLess() }

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
			break // group refuses it
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
