package binding

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
)

type service struct {
	name        string
	label       string // and the type, which some brokers give
	tags        []string
	credentials map[string]any
	inFile      bool // the platform delivers it in a file
}

// isOf says whether the label or the type contains one of the words, as csb-aws-postgresql contains
// "postgres". says counts the tags too, which anyone can give.
func (s service) isOf(words []string) bool { return containsAny(s.label, words) }

func (s service) says(words []string) bool {
	return s.isOf(words) || slices.ContainsFunc(s.tags, func(tag string) bool { return tag != caTag && containsAny(tag, words) })
}

// These limit what one service may have, and so the time that a launch takes.
const (
	mostHosts   = 100
	mostStrings = 1000
)

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

type connString struct {
	*value
	connection
	path, text string
	by         By
}

type reader struct {
	service
	objects   []*object // the outermost first
	strings   []connString
	sure      bool          // the service says that it is Postgres
	foreign   bool          // a well-known key has a URI of something else
	direct    func() string // Binding.Direct
	databases []*database
	same      map[string]*database // by the list of its hosts
	levels    map[*object]*level
	err       error // the first
}

// read returns the databases of a service, or none if it has no Postgres. An error is one line
// that names the key.
func (s service) read(file open) ([]Binding, error) {
	objects, err := walk(s.credentials)
	if err != nil {
		return nil, err
	}
	r := &reader{service: s, objects: objects, sure: s.says(postgresWords), same: map[string]*database{}, levels: map[*object]*level{}}
	r.direct = sync.OnceValue(r.findDirect)
	for _, o := range objects {
		if r.readTexts(o); len(r.strings) > mostStrings {
			return nil, fmt.Errorf("the credentials have more than %d connection strings", mostStrings)
		}
	}
	isPostgres := func(o *object) bool { return o.about == postgres }
	for _, o := range objects {
		o.about, o.guessed = r.aboutOf(o)
	}
	root, named := objects[0], r.sure && !r.foreign
	if named && root.about != other && !slices.ContainsFunc(objects, isPostgres) {
		root.about, root.guessed = postgres, root.about == doubtful
	}
	for _, o := range objects {
		if isPostgres(o) {
			r.gather(o)
		}
	}
	hosts := 0
	for _, d := range r.databases { // one may have no host, and many objects may name the same
		if hosts += max(len(d.hosts)+len(d.replicas), len(d.objects)); hosts > mostHosts {
			return nil, fmt.Errorf("the credentials name more than %d hosts", mostHosts)
		}
	}
	// A file may lie beside the key that names it, as spring-cloud-bindings and quarkus expect.
	open := func(path string) ([]byte, error) {
		if text, ok := s.credentials[path].(string); ok {
			return []byte(text), nil
		}
		return file(path)
	}
	var bindings []Binding
	for _, d := range r.databases {
		bindings = append(bindings, r.binding(d, open))
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(bindings) == 1 {
		bindings[0].Path = ""
	}
	return bindings, r.checkAllHeard(bindings)
}

func (r *reader) readTexts(o *object) {
	for v, text := range o.texts() {
		o.hasPEM = o.hasPEM || looksLikePEM(text)
		found := findStrings(text)
		for i, at := range found {
			f := connString{v, at.connection, v.path(), text[at.start:at.end], ByString}
			if len(found) > 1 {
				f.path += "[" + strconv.Itoa(i) + "]"
				v.heard = true
			}
			switch {
			case at.inProse:
				f.by = ByProse
			case o.parent == nil && v.key == "uri":
				f.by = ByURI
			}
			if r.strings = append(r.strings, f); len(r.strings) > mostStrings {
				return
			}
			of := o.around(f.connection)
			of.strings = append(of.strings, f)
		}
		if found != nil {
			continue
		}
		scheme, _, ok := strings.Cut(text, "://")
		r.foreign = r.foreign || ok && slices.Contains(uriKeys, v.key)
		if ok && len(scheme) < 64 && containsAny(scheme, otherWords) {
			o.about = other
		} else if c, ok := parseParameters(text); ok {
			o.queries = append(o.queries, connString{v, c, v.path(), text, ByString})
			o.note(anyMode)
		}
	}
}

// around returns the object that a string in o is about. A bare "postgres://" belongs to the host
// around it. If that host has a login of its own, it is another connection.
func (o *object) around(c connection) *object {
	if len(c.hosts) > 0 || c.asksForLess() {
		return o
	}
	outer := o
	for outer.parent != nil && len(outer.hosts) == 0 {
		outer = outer.parent
	}
	if len(outer.hosts) > 0 && !outer.hasLogin {
		return outer
	}
	return o
}

// aboutOf says what an object is about, and whether that is a guess. The label or a tag says more than
// a port, and a mode in Postgres's own word more than a tag.
func (r *reader) aboutOf(o *object) (is about, guessed bool) {
	outweighed := r.sure || o.asks == ownMode && o.port() != "3306"
	switch doubt := r.doubt(o); {
	case len(o.strings) > 0:
		return postgres, false
	case o.about == other:
		return other, false
	case doubt == other, !o.namesHosts(), doubt == doubtful && !outweighed:
		return doubt, false
	case doubt == doubtful:
		return postgres, true
	case o.says(postgresWords), o.asks > asksTLS, o.hasLogin && r.objects[0].asks > asksTLS,
		r.sure && (o.parent == nil || o.hasLogin),
		r.sure && o.port() == "5432":
		return postgres, o.family != "" && (r.foreign || !r.sure)
	case o.hasLogin && r.isPostgresByKeys(o):
		return postgres, true
	}
	return unknown, false
}

// doubt says whether something tells that an object's keys are about another kind of database: its
// own words or the label for certain, or only a tag or a port.
func (r *reader) doubt(o *object) about {
	port, words := o.port(), otherKinds
	if port == "5432" { // a mailer may have a Postgres
		words = otherWords
	}
	tagged := !r.sure && r.says(words)
	byPort := port == "3306" || !r.sure && slices.Contains(otherPorts, port)
	switch {
	case o.says(postgresWords):
		return unknown
	case o.says(otherWords), tagged && (byPort || r.isOf(words)):
		return other
	case tagged, byPort, port != "5432" && containsAny(o.key, otherKinds) && o.key != "db2": // the second one
		return doubtful
	}
	return unknown
}

// isPostgresByKeys says whether the keys of an object with a host and a login alone tell that it is
// about Postgres: there must be one sign more.
func (r *reader) isPostgresByKeys(o *object) bool {
	port := o.hosts[0].port
	_, hasRoot := o.first([]string{"sslrootcert"})
	_, isRDS := rds.Parse(o.hosts[0].host)
	switch {
	case port == "5432":
		return true
	case r.foreign, slices.Contains(foreignPorts, port):
		return false
	case hasRoot, containsAny(o.family, []string{"pg", "postgres"}):
		return true
	case isRDS:
		return port == "" && !o.namesOther() && !containsAny(r.name, otherWords)
	}
	_, named := o.first([]string{"dbname", "database", "databasename"})
	return named && (containsAny(r.name, postgresWords) || slices.Contains(words(r.name), "pg"))
}

// namesOther looks at keys and texts, but not into objects that are nested, or at passwords.
func namesOther(raw map[string]any) bool {
	for name, item := range raw {
		text, _ := item.(string)
		if nested, err := asJSON(text); err == nil {
			item = nested
		}
		item, _ = unlist(item)
		text, _ = item.(string)
		if _, key := inFamily(fold(name)); slices.Contains(secretKeys, key) {
			text = ""
		}
		if containsAny(name+" "+text[:min(len(text), 256)], otherWords) {
			return true
		}
	}
	return false
}

// gather adds the databases of an object, one for each distinct list of hosts. A connection string
// belongs to the database of the object's keys if it shares a host with it, or one of them names none.
func (r *reader) gather(o *object) {
	var main *database
	if (len(o.hosts) > 0 || len(o.strings) == 0) && !o.isHost() {
		d := &database{hosts: slices.Clone(o.hosts), objects: []*object{o}, byKeys: true}
		if d.wellKnown = o.parent == nil && o.family == "" && !o.guessed; o.parent != nil {
			d.path = joinPath(o.parent.path(), o.name)
		}
		main = r.add(d)
		main.isMain = true
	}
	slices.SortStableFunc(o.strings, func(a, b connString) int { return cmp.Compare(uriRank(a.key), uriRank(b.key)) })
	for _, f := range o.strings {
		d, isReplica := main, isReplicaKey(f.key)
		switch {
		case main == nil || !isReplica && !main.takes(f):
			d = r.add(&database{hosts: f.hosts, objects: []*object{o}, path: f.path})
			if main == nil {
				main, d.isMain = d, true
			}
		case isReplica:
			d.replicas = append(d.replicas, f.hosts...)
		case len(d.hosts) == 0:
			d.hosts = f.hosts
			r.same[hostList(d.hosts)] = d
		default:
			d.hosts = addHosts(d.hosts, f.hosts)
		}
		d.wellKnown = d.wellKnown || o.parent == nil && slices.Contains(uriKeys, f.key)
		d.stray = d.stray || !f.belongsBeside()
		d.strings = append(d.strings, f)
	}
	for _, v := range o.values {
		if main != nil && isReplicaKey(v.key) {
			main.replicas = append(main.replicas, hostsOf(v.raw)...)
		}
	}
}

func (r *reader) add(d *database) *database {
	key := hostList(d.hosts)
	if old := r.same[key]; old != nil && len(d.hosts) > 0 {
		old.objects = append(old.objects, d.objects...)
		old.wellKnown = old.wellKnown || d.wellKnown
		return old
	}
	r.same[key] = d
	r.databases = append(r.databases, d)
	return d
}

// takes says whether a string in the object of a database is about it.
func (d *database) takes(f connString) bool {
	if len(d.hosts) == 0 || len(f.hosts) == 0 {
		return f.belongsBeside() || len(d.hosts) == 0 && !d.stray
	}
	return d.byKeys && slices.ContainsFunc(f.hosts, func(a address) bool { return indexHost(d.hosts, a) >= 0 })
}

// belongsBeside says whether a string belongs to the database beside it, where one of the two names
// no host. Under an unknown key, a string may be an example, or its host may be unreadable. Then it
// must not lower what the database gets.
func (f connString) belongsBeside() bool { return slices.Contains(uriKeys, f.key) || !f.asksForLess() }

// uriRank sorts strings under well-known keys first, in the order of those keys, and those of
// replicas last.
func uriRank(key string) int {
	switch i := slices.Index(uriKeys, key); {
	case i >= 0:
		return i
	case isReplicaKey(key):
		return len(uriKeys) + 1
	}
	return len(uriKeys)
}
