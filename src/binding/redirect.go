package binding

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// Endpoint is a list of addresses that the bindings name for a database. One listener of the tunnel
// stands in for it.
type Endpoint struct {
	Database int      // index in Found.Databases
	Hosts    []string // as in Binding
	Ports    []string // one for each of Hosts, "" for the default
}

// Redirection holds each place where the bindings name the host and the port of the wanted
// databases.
type Redirection struct {
	Endpoints []Endpoint
	OwnURL    bool // the app's owner set DATABASE_URL to one of these hosts: leave it

	documents []*document
	mounted   files
}

// document is a text that holds addresses: VCAP_SERVICES or its file, DATABASE_URL or a mounted
// file.
type document struct {
	variable     string
	folder, file string // below SERVICE_BINDING_ROOT
	text         string
	edits        []edit
}

// edit replaces a part of a document.
type edit struct {
	start, end int
	endpoint   int
	form       string  // the new text, with HOST and PORT as placeholders
	was        address // what the part names, with the default port if it names none
}

// Redirected holds the bindings as an app sees them, so that it connects elsewhere.
type Redirected struct {
	Variables map[string]string            // VCAP_SERVICES and DATABASE_URL, if they change
	Document  []byte                       // the file of VCAP_SERVICES_FILE_PATH; nil without it
	Mounted   map[string]map[string][]byte // all of SERVICE_BINDING_ROOT; nil without it
}

// Redirect finds where an environment names the hosts and the ports of the wanted databases. wanted
// gets a database's index in Read's answer. Redirect fails if it cannot replace host and port
// without changing anything else. The error names the service and the credential, and holds no
// secret.
//
// The reader says which credentials name a database, document.go where they are.
func Redirect(env map[string]string, wanted func(database int) bool) (*Redirection, error) {
	source, text, err := vcapDocument(env)
	if err != nil {
		return nil, err
	}
	services, err := vcapServices(source, text)
	if err != nil {
		return nil, err
	}
	mounted, err := mountedFiles(env)
	if err != nil {
		return nil, err
	}
	r := &redirector{Redirection: &Redirection{mounted: mounted}, wanted: wanted, credentials: map[string][]*node{}}
	if len(services) > 0 {
		variable, _, _ := strings.Cut(source, " ")
		r.locateServices(&document{variable: variable, text: string(text)})
	}
	r.locateMounted()
	services = append(services, mountedServices(mounted)...)
	if r.found, err = find(services, "", readRegular); err != nil {
		return nil, err
	}
	if err := r.redirect(services, env["DATABASE_URL"]); err != nil {
		return nil, err
	}
	return r.Redirection, r.check(source)
}

// redirector makes a Redirection.
type redirector struct {
	*Redirection
	found       Found
	wanted      func(database int) bool
	credentials map[string][]*node // by service name
	err         error              // the first problem

	// About the current service:
	first int              // the index of its first database
	since int              // the index of its first endpoint
	nodes map[string]*node // its credentials by path; nil if several share the path
}

// fail notes a problem with a credential. Only the first one is reported.
func (r *redirector) fail(path, problem string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: credential %s %s", r.found.Databases[r.first].Name, path, problem)
	}
}

// locateServices finds the credentials in VCAP_SERVICES.
func (r *redirector) locateServices(doc *document) {
	r.documents = append(r.documents, doc)
	top := scanner{in: doc, doc: doc.text}
	for _, label := range top.value("", "").members() {
		services := label.items
		if label.object {
			services = []*node{label}
		}
		for _, s := range services {
			name := serviceName(label.name, s.field)
			r.credentials[name] = append(r.credentials[name], s.item("credentials"))
		}
	}
}

// locateMounted finds the credentials below SERVICE_BINDING_ROOT.
func (r *redirector) locateMounted() {
	for _, folder := range slices.Sorted(maps.Keys(r.mounted)) {
		root := &node{object: true}
		for _, name := range slices.Sorted(maps.Keys(r.mounted[folder])) {
			if !slices.Contains(platformFiles, name) {
				doc := &document{variable: "SERVICE_BINDING_ROOT", folder: folder, file: name, text: string(r.mounted[folder][name])}
				r.documents = append(r.documents, doc)
				root.items = append(root.items, plainNode(doc, name, strings.TrimRight(doc.text, "\r\n")))
			}
		}
		r.credentials[folder] = append(r.credentials[folder], root)
	}
}

// redirect handles each service with a wanted database, and DATABASE_URL.
func (r *redirector) redirect(services []service, databaseURL string) error {
	url, hasURL := parseString(databaseURL)
	platforms := -1 // the database whose uri the platform copied to DATABASE_URL
	for _, s := range services {
		r.first = slices.IndexFunc(r.found.Databases, func(b Binding) bool { return b.Name == s.name })
		if r.first < 0 || !r.wants(s.name) {
			continue
		}
		located := r.credentials[s.name]
		if len(located) != 1 {
			return fmt.Errorf("%s: several services have this name, and the tunnel cannot tell them apart: rename one", s.name)
		}
		reader, err := s.find()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.nodes, r.since = located[0].byPath(), len(r.Endpoints)
		r.service(reader)
		if r.err != nil {
			return r.err
		}
		for i, d := range reader.databases {
			// The platform changes the scheme and the escapes when it copies the uri (the
			// launcher's databaseuri.go).
			if hasURL && platforms < 0 && r.wanted(r.first+i) && slices.ContainsFunc(d.strings, func(f found) bool {
				return f.path == "uri" && len(f.hosts) > 0 && reflect.DeepEqual(f.connection, url)
			}) {
				platforms = r.first + i
			}
		}
	}
	switch {
	case platforms >= 0:
		r.first, r.since = platforms, 0
		doc := &document{variable: "DATABASE_URL", text: databaseURL}
		r.documents = append(r.documents, doc)
		r.connectionString(platforms, doc.variable, plainNode(doc, doc.variable, databaseURL), url)
	case hasURL:
		r.OwnURL = slices.ContainsFunc(r.Endpoints, func(e Endpoint) bool {
			return slices.ContainsFunc(url.hosts, func(a address) bool { return slices.Contains(e.Hosts, a.host) })
		})
	}
	return r.err
}

// wants says whether a service holds a wanted database.
func (r *redirector) wants(service string) bool {
	for i, b := range r.found.Databases {
		if b.Name == service && r.wanted(i) {
			return true
		}
	}
	return false
}

// service handles the connection strings and the keys of a service.
func (r *redirector) service(reader *reader) {
	byString := map[*object][]int{} // the endpoints of each object's strings
	for i, d := range reader.databases {
		for _, f := range d.strings {
			if !r.wanted(r.first+i) || len(f.hosts) == 0 {
				continue
			}
			e := r.connectionString(r.first+i, f.path, r.nodes[f.path], f.connection)
			if e < 0 {
				return
			}
			if !slices.Contains(byString[f.in], e) {
				byString[f.in] = append(byString[f.in], e)
			}
		}
	}
	for _, o := range reader.objects {
		named := r.named(o)
		if len(named) == 0 && len(byString[o]) == 1 {
			r.ports(o, byString[o][0]) // "uri": "postgres://h/d", "port": 5432
		} else if i := r.databaseOf(reader, o, named); i >= 0 && r.wanted(i) {
			r.keys(i, o, named)
		}
	}
}

// connectionString notes the host and the port in a connection string, and returns their endpoint.
// It returns -1 if the tunnel cannot stand in for them.
func (r *redirector) connectionString(database int, path string, n *node, c connection) int {
	e, known := r.found.Databases[database].endpoint(database, c.hosts)
	var edits []edit
	ok := known && n != nil && n.isText
	if ok {
		edits, ok = editString(n.text.text, c)
	}
	if !ok {
		r.fail(path, "names a host that the tunnel cannot stand in for: write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE")
		return -1
	}
	endpoint := r.endpoint(e)
	for _, change := range edits {
		change.was.port = cmp.Or(change.was.port, e.port(change.was.host))
		r.edit(n, endpoint, change)
	}
	return endpoint
}

// endpoint returns the endpoint of some hosts of a database. If an address has no port, the
// binding's port counts. It returns false if a host is not one of the database's.
func (b Binding) endpoint(database int, hosts []address) (Endpoint, bool) {
	e := Endpoint{Database: database}
	for _, a := range hosts {
		i := slices.Index(b.Hosts, a.host)
		if i < 0 {
			return e, false
		}
		e.Hosts, e.Ports = append(e.Hosts, a.host), append(e.Ports, cmp.Or(a.port, b.Ports[i]))
	}
	return e, true
}

const defaultPort = "5432"

func (e Endpoint) port(host string) string {
	if i := slices.Index(e.Hosts, host); i >= 0 {
		return cmp.Or(e.Ports[i], defaultPort)
	}
	return defaultPort
}

// endpoint returns the index of an endpoint. It adds the endpoint if it is new.
func (r *redirector) endpoint(e Endpoint) int {
	i := slices.IndexFunc(r.Endpoints[r.since:], func(old Endpoint) bool { return reflect.DeepEqual(old, e) })
	if i < 0 {
		i = len(r.Endpoints) - r.since
		r.Endpoints = append(r.Endpoints, e)
	}
	return r.since + i
}

// edit notes that an address replaces a part of a node's text.
func (r *redirector) edit(n *node, endpoint int, e edit) {
	e.start, e.end, e.endpoint = n.at.of(e.start), n.at.of(e.end), endpoint
	for _, old := range n.edits {
		if old == e {
			return
		}
		if e.start < old.end && old.start < e.end {
			r.fail(n.path, "is shared by several hosts, but the tunnel needs one for each: write it beside each host")
		}
	}
	n.edits, n.doc.edits = append(n.edits, e), append(n.doc.edits, e)
}

// named returns the addresses under keys for hosts. Keys for replicas count only if there are no
// others: a replica without a port of its own shares the primary's port key, and so its listener.
func (r *redirector) named(o *object) []address {
	if o.isHost() {
		return nil // its address belongs to the object around it
	}
	hosts := o.hosts()
	if len(hosts) > 0 {
		return hosts
	}
	for _, v := range o.values {
		if isReplicaKey(v.key) {
			hosts = addHosts(hosts, hostsOf(v.raw))
		}
	}
	if port, ok := o.first(portKeys); ok && !slices.ContainsFunc(hosts, func(a address) bool { return a.port != "" }) {
		setPorts(hosts, asText(port.raw)) // brokers give one port for all hosts
	}
	return hosts
}

// databaseOf returns the database whose addresses are under the keys of an object, -1 if there is
// none. An object without a database of its own may still name one, by host and port.
func (r *redirector) databaseOf(reader *reader, o *object, named []address) int {
	if owner := o.owner(); len(named) == 0 || owner != nil && owner.other {
		return -1
	}
	for i, d := range reader.databases {
		foreign := func(a address) bool {
			if o.holds {
				return !slices.Contains(r.found.Databases[r.first+i].Hosts, a.host)
			}
			return !r.knows(r.first+i, a)
		}
		if o.holds == slices.Contains(d.objects, o) && !slices.ContainsFunc(named, foreign) {
			return r.first + i
		}
	}
	return -1
}

// knows says whether a database, or one of its strings, has this host and port.
func (r *redirector) knows(database int, a address) bool {
	b := r.found.Databases[database]
	known := append([]Endpoint{{Database: database, Hosts: b.Hosts, Ports: b.Ports}}, r.Endpoints[r.since:]...)
	return slices.ContainsFunc(known, func(e Endpoint) bool {
		return e.Database == database && slices.Contains(e.Hosts, a.host) && e.port(a.host) == a.port
	})
}

// keys notes the hosts and the ports under an object's keys.
func (r *redirector) keys(database int, o *object, named []address) {
	noPort := func(a address) bool { return a.port == "" }
	e, _ := r.found.Databases[database].endpoint(database, named)
	endpoint := r.endpoint(e)
	needsPort := ""
	for _, v := range o.values {
		to := endpoint
		switch hosts := hostsOf(v.raw); {
		case len(hosts) == 0 || !slices.Contains(hostKeys, v.key) && !isReplicaKey(v.key):
			continue
		case isReplicaKey(v.key) && !slices.ContainsFunc(hosts, noPort):
			own, _ := r.found.Databases[database].endpoint(database, hosts)
			to = r.endpoint(own)
		}
		if !r.hosts(v.path, r.nodes[v.path], to) {
			needsPort = cmp.Or(needsPort, v.path)
		}
	}
	level := o
	for needsPort != "" && level.parent != nil {
		if _, ok := level.first(portKeys); ok {
			break
		}
		level = level.parent
	}
	if !r.ports(level, endpoint) && needsPort != "" {
		r.fail(needsPort, "needs a port that the tunnel can stand in for: add the credential port, a number, beside it")
	}
}

// hosts notes the hosts in the value of a host key: "h1", "h1:5432,h2", a list, or {"host": …,
// "port": …}. It returns false if one of them has no port there.
func (r *redirector) hosts(path string, n *node, endpoint int) (ported bool) {
	if n == nil {
		r.fail(path, "looks like another key, and the tunnel cannot tell them apart: rename it")
		return true
	}
	ported = true
	if n.object {
		hasPort := false
		for _, item := range n.members() {
			switch {
			case slices.Contains(hostKeys, item.key):
				ported = r.hosts(path, item, endpoint) && ported
			case slices.Contains(portKeys, item.key):
				hasPort = r.numbers(item, endpoint) || hasPort
			}
		}
		return ported || hasPort
	}
	for _, item := range n.items {
		ported = r.hosts(path, item, endpoint) && ported
	}
	hosts := parseHosts(n.text.text)
	if len(hosts) > 0 && !n.isText {
		r.fail(path, "is not a text, and the tunnel cannot stand in for it: write the host in quotes")
		return true
	}
	start := 0
	for item := range strings.SplitSeq(n.text.text, ",") {
		if trimmed := strings.TrimSpace(item); trimmed != "" && len(hosts) > 0 {
			at := start + strings.Index(item, trimmed)
			change := edit{start: at, end: at + len(trimmed), form: "HOST", was: hosts[0]}
			if hosts[0].port != "" {
				change.form = "HOST:PORT"
			}
			ported = ported && hosts[0].port != ""
			r.edit(n, endpoint, change)
			hosts = hosts[1:]
		}
		start += len(item) + 1
	}
	return ported
}

// ports notes the ports under an object's port keys. It returns false if there is none.
func (r *redirector) ports(o *object, endpoint int) (has bool) {
	for _, v := range o.values {
		if n := r.nodes[v.path]; n != nil && slices.Contains(portKeys, v.key) {
			has = r.numbers(n, endpoint) || has
		}
	}
	return has
}

var number = lazyregexp.New(`[0-9]+`)

// numbers notes the ports of an endpoint in the value of a port key: 5432, "5432,5433", or a list.
// It returns false if there is none.
func (r *redirector) numbers(n *node, endpoint int) (has bool) {
	e := r.Endpoints[endpoint]
	for _, item := range n.items {
		has = r.numbers(item, endpoint) || has
	}
	if strings.Trim(n.text.text, "0123456789, ") != "" {
		return has
	}
	for _, at := range number().FindAllStringIndex(n.text.text, -1) {
		port := n.text.text[at[0]:at[1]]
		if slices.ContainsFunc(e.Hosts, func(host string) bool { return e.port(host) == port }) {
			r.edit(n, endpoint, edit{start: at[0], end: at[1], form: "PORT", was: address{port: port}})
			has = true
		}
	}
	return has
}

// standIn is an address that no binding has. Put it in place of a host, read the text again, and
// you see what that edit changes.
var standIn = address{"tunnel.invalid", "18446744073709551629"}

// mostPlaces limits the tries for one connection string: a hundred hosts, each with a name, an
// address and a port.
const mostPlaces = 300

// portPlaces returns where a connection string has numbers in a parameter for ports.
func portPlaces(text string) (all []edit) {
	for _, list := range portParameter().FindAllStringSubmatchIndex(text, -1) {
		for _, at := range number().FindAllStringIndex(text[list[2]:list[3]], -1) {
			start, end := list[2]+at[0], list[2]+at[1]
			all = append(all, edit{start: start, end: end, form: "PORT", was: address{port: text[start:end]}})
		}
	}
	return all
}

var portParameter = lazyregexp.New(`(?i)\bport\s*=\s*['"{]?\s*([0-9]+(?:\s*,\s*[0-9]+)*)`)

// editString finds the edits that make a connection string name another host and port, and change
// nothing else in it. The password or the database's name may contain the host too. So we try each
// place where it occurs, and let the reader say what changed.
func editString(text string, c connection) (edits []edit, ok bool) {
	// read returns what the text says after these edits, and whether only the addresses changed.
	read := func(edits ...edit) (after connection, same bool) {
		after, _ = parseString(render(text, edits, func(edit) address { return standIn }))
		but := after
		but.hosts, but.hostaddr = c.hosts, c.hostaddr
		return after, reflect.DeepEqual(but, c)
	}
	try := func(e edit) {
		after, same := read(e)
		takes := func(a address) bool {
			return a.host == standIn.host && e.form != "PORT" || a.port == standIn.port && e.form == "PORT"
		}
		if same && (slices.ContainsFunc(after.hosts, takes) || strings.Contains(after.hostaddr, standIn.host)) {
			edits = append(edits, e)
		}
	}
	done := func(edits []edit) bool {
		after, same := read(edits...)
		return same && len(after.hosts) == len(c.hosts) && !slices.ContainsFunc(after.hosts, func(a address) bool { return a != standIn }) &&
			!slices.ContainsFunc(strings.Split(after.hostaddr, ","), func(addr string) bool { return addr != "" && addr != standIn.host })
	}
	all := append(hostPlaces(text, c), portPlaces(text)...)
	if c.overruled || len(all) > mostPlaces || strings.Contains(lower(text), standIn.host) || strings.Contains(text, standIn.port) {
		return nil, false
	}
	for _, e := range all {
		try(e)
	}
	if done(edits) {
		return edits, true
	}
	for _, e := range edits {
		start, ok := parameterStart(text[:e.start])
		for _, separator := range []string{";", "&", " "} {
			port := edit{start: start, end: start, form: "port=PORT" + separator, was: address{host: e.was.host}}
			if all := append(slices.Clone(edits), port); ok && done(all) {
				return all, true
			}
		}
	}
	return nil, false
}

// hostPlaces returns where a connection string names its hosts, with their ports, and its hostaddr,
// which libpq connects to.
func hostPlaces(text string, c connection) []edit {
	var all []edit
	_, isURL := parseURL(unwrap(text))
	small := " " + lower(text) + " " // so that something is before and behind each place
	var names []string
	for _, a := range append(parseHosts(c.hostaddr), c.hosts...) {
		names = append(names, a.host)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		end := 0
		for before, after, ok := strings.Cut(small, name); ok; before, after, ok = strings.Cut(after, name) {
			start := end + len(before)
			end = start + len(name)
			if e, ok := place(small, start, end); ok {
				e.start, e.end, e.was.host = e.start-1, e.end-1, name
				// In a URL the port follows the host, except in "?host=h&port=5432".
				if _, ok := parameterStart(text[:e.start]); isURL && !ok {
					e.form = "HOST:PORT"
				}
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b edit) int { return a.start - b.start })
	return all
}

// place returns the edit for the host found there, between other characters. It returns false if
// the host is a part of a longer name.
func place(text string, start, end int) (edit, bool) {
	bare := !strings.Contains(text[start:end], ":")
	inName := func(i int) bool {
		return isHostName(text[i:i+1]) || text[i] == '.' || text[i] == '-' || !bare && text[i] == ':'
	}
	if strings.HasPrefix(text[start-1:], "["+text[start:end]+"]") {
		start, end, bare = start-1, end+1, true // as an IPv6 address before a port
	}
	if text[end] == '.' && !inName(end+1) {
		end++ // the trailing dot of a fully qualified name
	}
	if inName(start-1) || inName(end) {
		return edit{}, false
	}
	e := edit{start: start, end: end, form: "HOST"}
	if after, ok := strings.CutPrefix(text[end:], ":"); ok && bare {
		end = len(text) - len(strings.TrimLeft(after, "0123456789"))
		if e.was.port = text[e.end+1 : end]; !inName(end) {
			e.end, e.form = end, "HOST:PORT"
		}
	}
	return e, true
}

// parameterStart returns where a parameter's key begins, for a text that ends inside its value, a
// list of hosts.
func parameterStart(before string) (int, bool) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	before = strings.TrimRight(before, letters+"0123456789.:,[]- ")
	before, ok := strings.CutSuffix(strings.TrimRight(before, `'"{ `), "=")
	key := strings.TrimRight(before, " ")
	return len(strings.TrimRight(key, letters)), ok
}

// lower is strings.ToLower for ASCII only. Other letters may change their length, and move the
// places behind them.
func lower(text string) string {
	small := []byte(text)
	for i, c := range small {
		if 'A' <= c && c <= 'Z' {
			small[i] = c + 'a' - 'A'
		}
	}
	return string(small)
}

// render returns a text after its edits.
func render(text string, edits []edit, to func(edit) address) string {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out strings.Builder
	done := 0
	for _, e := range edits {
		if e.start < done {
			continue // it overlaps the one before
		}
		a := to(e)
		out.WriteString(text[done:e.start])
		out.WriteString(strings.NewReplacer("HOST", a.host, "PORT", a.port).Replace(e.form))
		done = e.end
	}
	out.WriteString(text[done:])
	return out.String()
}

// check reads the bindings once more, with a new name for each host. Ports stay, the default one
// written out. Apart from the names, the bindings must say what they said before.
func (r *redirector) check(source string) error {
	names := map[string]string{}
	rename := func(host string) string {
		if names[host] == "" {
			names[host] = fmt.Sprintf("h%d.%s", len(names), standIn.host)
		}
		return names[host]
	}
	after := r.render(func(e edit) address { return address{rename(e.was.host), e.was.port} })
	document := after.Document
	if text, ok := after.Variables["VCAP_SERVICES"]; ok {
		document = []byte(text)
	}
	services, err := vcapServices(source, document)
	if err != nil {
		return err
	}
	found, err := find(append(services, mountedServices(after.Mounted)...), "", readRegular)
	for i, before := range r.found.Databases {
		if !r.wanted(i) {
			continue
		}
		if !slices.ContainsFunc(r.Endpoints, func(e Endpoint) bool { return e.Database == i }) {
			return fmt.Errorf("%s: the tunnel needs a host to stand in for, but the credentials name none", before.Title())
		}
		before.Hosts = slices.Clone(before.Hosts)
		for j, host := range before.Hosts {
			before.Hosts[j] = rename(host)
		}
		if err != nil || len(found.Databases) != len(r.found.Databases) || !sameButDefaultPorts(found.Databases[i], before) {
			return fmt.Errorf("%s: the tunnel cannot replace host and port here: the credentials would then mean something else; write host and port as credentials of their own", before.Title())
		}
	}
	return nil
}

// sameButDefaultPorts compares two databases. A missing port equals the default one.
func sameButDefaultPorts(a, b Binding) bool {
	for _, ports := range []*[]string{&a.Ports, &b.Ports} {
		*ports = slices.Clone(*ports)
		for i, port := range *ports {
			(*ports)[i] = cmp.Or(port, defaultPort)
		}
	}
	return reflect.DeepEqual(a, b)
}

// To returns the bindings with each endpoint on its port of 127.0.0.1.
func (r *Redirection) To(ports []int) Redirected {
	return r.render(func(e edit) address { return address{"127.0.0.1", fmt.Sprint(ports[e.endpoint])} })
}

func (r *Redirection) render(to func(edit) address) Redirected {
	after := Redirected{Variables: map[string]string{}}
	if r.mounted != nil {
		after.Mounted = map[string]map[string][]byte{}
		for folder, content := range r.mounted {
			after.Mounted[folder] = maps.Clone(content)
		}
	}
	for _, doc := range r.documents {
		text := render(doc.text, doc.edits, to)
		switch doc.variable {
		case "VCAP_SERVICES_FILE_PATH":
			after.Document = []byte(text)
		case "SERVICE_BINDING_ROOT":
			after.Mounted[doc.folder][doc.file] = []byte(text)
		default:
			after.Variables[doc.variable] = text
		}
	}
	return after
}

// Left returns the hosts of the endpoints that the bindings still name after all edits: under keys
// that we don't know, or in other services. Only names with a dot can be told from other words.
func (r *Redirection) Left(after Redirected) []string {
	var all strings.Builder
	for _, doc := range r.documents {
		switch doc.variable {
		case "VCAP_SERVICES_FILE_PATH":
			all.Write(after.Document)
		case "SERVICE_BINDING_ROOT":
			all.Write(after.Mounted[doc.folder][doc.file])
		default:
			all.WriteString(after.Variables[doc.variable])
		}
		all.WriteByte('\n')
	}
	text := lower(all.String())
	var left []string
	for _, e := range r.Endpoints {
		for _, host := range e.Hosts {
			if host != "127.0.0.1" && strings.Contains(host, ".") && strings.Contains(text, host) && !slices.Contains(left, host) {
				left = append(left, host)
			}
		}
	}
	return left
}
