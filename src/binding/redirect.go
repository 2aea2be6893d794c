package binding

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Endpoint is a list of addresses that the bindings name for a database. One listener of a tunnel
// stands for it.
type Endpoint struct {
	Database int      // its index in Found.Databases
	Hosts    []string // as in Binding
	Ports    []string // one for each of Hosts, "" for the default
}

// Redirection knows each place where the bindings name the host and the port of some databases.
type Redirection struct {
	Endpoints []Endpoint
	OwnURL    bool // DATABASE_URL is the app owner's and names one of these hosts: it is left alone

	documents []*document
	mounted   files
}

// document is a text that names addresses: VCAP_SERVICES, its file, DATABASE_URL or a mounted file.
type document struct {
	variable     string
	folder, file string // below SERVICE_BINDING_ROOT
	text         string
	edits        []edit
}

// edit exchanges a part of a document.
type edit struct {
	start, end int
	endpoint   int
	form       string // what comes there, with the words HOST and PORT
}

// Redirected is what an app is given so that it connects elsewhere.
type Redirected struct {
	Variables map[string]string            // VCAP_SERVICES and DATABASE_URL, where they change
	Document  []byte                       // for the file that VCAP_SERVICES_FILE_PATH names; nil without it
	Mounted   map[string]map[string][]byte // for SERVICE_BINDING_ROOT, all folders and files; nil without it
}

// Redirect finds where an environment names the hosts and the ports of the wanted databases, each
// known by its index in Read's answer. It is an error if host and port cannot be exchanged so that
// nothing else changes. The error names the service and the credential, and holds no secret.
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
	found, err := find(append(services, mountedServices(mounted)...), "", readRegular)
	if err != nil {
		return nil, err
	}
	r := &redirector{Redirection: &Redirection{mounted: mounted}, found: found, wanted: wanted}
	r.url, r.hasURL = parseString(env["DATABASE_URL"])
	if len(services) > 0 {
		variable, _, _ := strings.Cut(source, " ")
		r.vcap(&document{variable: variable, text: string(text)})
	}
	for _, folder := range slices.Sorted(maps.Keys(mounted)) {
		root := &node{object: true}
		for _, name := range slices.Sorted(maps.Keys(mounted[folder])) {
			if !slices.Contains(platformFiles, name) {
				doc := &document{variable: "SERVICE_BINDING_ROOT", folder: folder, file: name, text: string(mounted[folder][name])}
				r.documents = append(r.documents, doc)
				root.items = append(root.items, plainNode(doc, name, strings.TrimRight(doc.text, "\r\n")))
			}
		}
		r.service(folder, root)
	}
	r.databaseURL(env["DATABASE_URL"])
	if r.err == nil {
		r.check(source)
	}
	return r.Redirection, r.err
}

// redirector makes a Redirection.
type redirector struct {
	*Redirection
	found     Found
	wanted    func(database int) bool
	databases []int  // of the service that is looked at
	above     string // what the paths of its credentials begin with
	url       connection
	hasURL    bool
	ours      int // the database whose uri the platform made DATABASE_URL of, and one more; 0 for none
	err       error
}

// vcap looks at the document of VCAP_SERVICES.
func (r *redirector) vcap(doc *document) {
	r.documents = append(r.documents, doc)
	top := scanner{in: doc, doc: doc.text}
	for _, label := range top.value("", "").items {
		services := label.items
		if label.object {
			services = []*node{label}
		}
		for _, s := range services {
			if credentials := s.item("credentials"); credentials != nil {
				r.service(serviceName(label.name, s.field), credentials)
			}
		}
	}
}

// service looks at the credentials of a service.
func (r *redirector) service(name string, credentials *node) {
	r.databases, r.above = nil, credentials.path+"."
	for i, b := range r.found.Databases {
		if b.Name == name {
			r.databases = append(r.databases, i)
		}
	}
	if !slices.ContainsFunc(r.databases, r.wanted) {
		return
	}
	r.visit(credentials)
	// The platform makes DATABASE_URL of a credential uri, with another scheme and other escapes.
	if c, ok := parseString(credentials.field("uri")); ok && r.hasURL && r.ours == 0 && reflect.DeepEqual(c, r.url) {
		r.ours = r.database(c.hosts) + 1
	}
}

// databaseURL looks at DATABASE_URL, which is the platform's or the owner's.
func (r *redirector) databaseURL(content string) {
	r.databases = nil
	for i := range r.found.Databases {
		r.databases = append(r.databases, i)
	}
	switch {
	case !r.hasURL:
	case r.ours > 0:
		r.databases = []int{r.ours - 1}
		doc := &document{variable: "DATABASE_URL", text: content}
		r.documents = append(r.documents, doc)
		r.visit(plainNode(doc, doc.variable, content))
	default:
		r.OwnURL = r.database(r.url.hosts) >= 0
	}
}

// database returns the wanted database of the service that has these hosts, first of all the one that
// has no other; -1 for none.
func (r *redirector) database(hosts []address) int {
	best := -1
	for _, i := range r.databases {
		all := r.found.Databases[i].Hosts
		if len(hosts) == 0 || slices.ContainsFunc(hosts, func(a address) bool { return !slices.Contains(all, a.host) }) {
			continue
		}
		if best < 0 || len(all) < len(r.found.Databases[best].Hosts) {
			best = i
		}
	}
	if best >= 0 && !r.wanted(best) {
		return -1
	}
	return best
}

// endpoint returns the index of an endpoint, which is a new one if there is none like it.
func (r *redirector) endpoint(e Endpoint) int {
	i := slices.IndexFunc(r.Endpoints, func(old Endpoint) bool { return reflect.DeepEqual(old, e) })
	if i < 0 {
		i = len(r.Endpoints)
		r.Endpoints = append(r.Endpoints, e)
	}
	return i
}

// visit looks for addresses in a part of the credentials. It returns the endpoint of the hosts that
// have keys of their own there, which is what a port beside them belongs to; -1 for none.
func (r *redirector) visit(n *node) int {
	if c, ok := parseString(n.text.text); ok && n.isText && !n.isSecret() {
		r.inString(n, c)
		return -1
	}
	if len(n.items) == 0 && (slices.Contains(hostKeys, n.key) || isReplicaKey(n.key)) {
		return r.hosts(n)
	}
	own, nested := -1, -1
	for _, item := range n.items {
		if e := r.visit(item); e >= 0 && !item.object && own < 0 {
			own = e
		} else if e >= 0 && nested < 0 {
			nested = e
		}
	}
	if own < 0 {
		own = nested
	}
	if n.object && own >= 0 {
		for _, item := range n.items {
			if slices.Contains(portKeys, item.key) {
				r.ports(item, own)
			}
		}
	}
	return own
}

// edit notes that a part of a text becomes an address.
func (r *redirector) edit(n *node, start, end, endpoint int, form string) {
	n.doc.edits = append(n.doc.edits, edit{n.at[start], n.at[end], endpoint, form})
}

// hosts notes the hosts in the value of a key for them: "h1", "h1:5432,h2".
func (r *redirector) hosts(n *node) int {
	i := r.database(parseHosts(n.text.text))
	if i < 0 {
		return -1
	}
	b := r.found.Databases[i]
	ports := slices.Clone(b.Ports)
	for i := len(b.Primaries()); i < len(ports); i++ {
		ports[i] = cmp.Or(ports[i], ports[0]) // a broker gives one port for all
	}
	e := r.endpoint(Endpoint{i, b.Hosts, ports})
	start := 0
	for item := range strings.SplitSeq(n.text.text, ",") {
		if trimmed := strings.TrimSpace(item); trimmed != "" {
			form := "HOST"
			if _, port := splitPort(trimmed); port != "" {
				form = "HOST:PORT"
			}
			at := start + strings.Index(item, trimmed)
			r.edit(n, at, at+len(trimmed), e, form)
		}
		start += len(item) + 1
	}
	return e
}

var numbers = regexp.MustCompile(`[0-9]+`)

// ports notes the ports in the value of a key for them: 5432, "5432,5433", or a list.
func (r *redirector) ports(n *node, endpoint int) {
	if strings.Trim(n.text.text, "0123456789, ") == "" {
		for _, at := range numbers.FindAllStringIndex(n.text.text, -1) {
			r.edit(n, at[0], at[1], endpoint, "PORT")
		}
	}
	for _, item := range n.items {
		r.ports(item, endpoint)
	}
}

// inString notes the host and the port in a connection string.
func (r *redirector) inString(n *node, c connection) {
	i := r.database(c.hosts)
	if i < 0 {
		return
	}
	b := r.found.Databases[i]
	e := Endpoint{Database: i}
	for _, a := range c.hosts {
		if a.port == "" {
			a.port = b.Ports[slices.Index(b.Hosts, a.host)]
		}
		e.Hosts, e.Ports = append(e.Hosts, a.host), append(e.Ports, a.port)
	}
	edits, ok := editString(n.text.text, c)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("%s: the tunnel cannot stand in for the host in credential %s: write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE",
			b.Name, strings.TrimPrefix(n.path, r.above))
	}
	endpoint := r.endpoint(e)
	for _, change := range edits {
		r.edit(n, change.start, change.end, endpoint, change.form)
	}
}

// standIn is an address that no binding has. What a text says with it shows what an edit changes.
var standIn = address{"tunnel.invalid", "9"}

var (
	portParameter     = regexp.MustCompile(`(?i)\bport\s*=\s*['"{]?\s*([0-9]+(?:\s*,\s*[0-9]+)*)`)
	hostaddrParameter = regexp.MustCompile(`(?i)\bhostaddr\s*=\s*['"]?\s*([0-9a-f.:,]+)`)
)

// editString finds the edits that make a connection string name another host and port, and change
// nothing else that it says. A host may also stand in the password or in the database's name. So each
// place where it stands is tried, and the reader says what came of it.
func editString(text string, c connection) (edits []edit, ok bool) {
	read := func(edits ...edit) (hosts []address, same bool) {
		after, ok := parseString(render(text, edits, func(int) address { return standIn }))
		hosts, after.hosts = after.hosts, c.hosts
		return hosts, ok && reflect.DeepEqual(after, c)
	}
	try := func(e edit) {
		if hosts, same := read(e); same && !slices.Equal(hosts, c.hosts) {
			edits = append(edits, e)
		}
	}
	_, isURL := parseURL(unwrap(text))
	for _, at := range places(text, c.hosts) {
		form := "HOST"
		if isURL || strings.Contains(text[at[0]:at[1]], ":") {
			form = "HOST:PORT"
		}
		try(edit{start: at[0], end: at[1], form: form})
	}
	for _, list := range portParameter.FindAllStringSubmatchIndex(text, -1) {
		for _, at := range numbers.FindAllStringIndex(text[list[2]:list[3]], -1) {
			try(edit{start: list[2] + at[0], end: list[2] + at[1], form: "PORT"})
		}
	}
	// libpq connects to hostaddr, and takes the host for its name only.
	for _, at := range hostaddrParameter.FindAllStringSubmatchIndex(text, -1) {
		e := edit{start: at[2], end: at[3], form: "HOST"}
		if _, same := read(e); same && !slices.Contains(edits, e) {
			edits = append(edits, e)
		}
	}
	hosts, same := read(edits...)
	if same && slices.Contains(hosts, address{host: standIn.host}) && !isURL {
		form := " port=PORT"
		if strings.Contains(text, ";") {
			form = ";Port=PORT"
		}
		edits = append(edits, edit{start: len(text), end: len(text), form: form})
		hosts, same = read(edits...)
	}
	return edits, same && !slices.ContainsFunc(hosts, func(a address) bool { return a != standIn })
}

// places returns where hosts stand in a text, with their ports.
func places(text string, hosts []address) [][]int {
	var all [][]int
	var names []string
	for _, a := range hosts {
		if names = append(names, regexp.QuoteMeta(a.host)); strings.Contains(a.host, ":") {
			names[len(names)-1] = `\[` + names[len(names)-1] + `\]`
		}
	}
	host := regexp.MustCompile(`(?i)(?:^|[^a-z0-9_.-])((?:` + strings.Join(names, "|") + `)\.?(?::[0-9]+)?)(?:$|[^a-z0-9_.:-])`)
	for pos := 0; pos < len(text); {
		at := host.FindStringSubmatchIndex(text[pos:])
		if at == nil {
			break
		}
		all = append(all, []int{pos + at[2], pos + at[3]})
		pos += at[3] // what ends this one may begin the next
	}
	return all
}

// render returns a text with its edits made.
func render(text string, edits []edit, to func(endpoint int) address) string {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out strings.Builder
	done := 0
	for _, e := range edits {
		if e.start < done {
			continue // noted twice
		}
		a := to(e.endpoint)
		out.WriteString(text[done:e.start])
		out.WriteString(strings.NewReplacer("HOST", a.host, "PORT", a.port).Replace(e.form))
		done = e.end
	}
	out.WriteString(text[done:])
	return out.String()
}

// check reads the redirected bindings: they must say what they said before, but for the addresses.
func (r *redirector) check(source string) {
	// In a real redirection all hosts are the same. Here each database keeps one of its own, or the
	// reader would take them for one.
	host := func(database int) string { return fmt.Sprintf("tunnel-%d.invalid", database) }
	after := r.render(func(e int) address { return address{host(r.Endpoints[e].Database), standIn.port} })
	document := after.Document
	if text, ok := after.Variables["VCAP_SERVICES"]; ok {
		document = []byte(text)
	}
	services, err := vcapServices(source, document)
	if err != nil {
		r.err = err
		return
	}
	found, err := find(append(services, mountedServices(after.Mounted)...), "", readRegular)
	if err != nil {
		r.err = err
		return
	}
	for i, before := range r.found.Databases {
		if r.wanted(i) && !slices.ContainsFunc(r.Endpoints, func(e Endpoint) bool { return e.Database == i }) {
			r.err = fmt.Errorf("%s: the tunnel needs a host to stand in for, and the credentials name none", before.Title())
			return
		}
		differs := len(found.Databases) != len(r.found.Databases)
		if !differs {
			b := found.Databases[i]
			if r.wanted(i) {
				if slices.Contains(b.Ports, "") {
					r.err = fmt.Errorf("%s: the tunnel needs a port to stand in for, and the credentials name none: add the credential port", before.Title())
					return
				}
				if !slices.ContainsFunc(b.Hosts, func(name string) bool { return name != host(i) }) &&
					!slices.ContainsFunc(b.Ports, func(port string) bool { return port != standIn.port }) {
					b.Hosts, b.Ports, b.Replicas = before.Hosts, before.Ports, before.Replicas
				}
			}
			differs = !reflect.DeepEqual(b, before)
		}
		if differs {
			r.err = fmt.Errorf("%s: the tunnel cannot stand in for this binding: its host and port cannot be exchanged alone", before.Title())
			return
		}
	}
}

// To returns the bindings with every endpoint on a port of 127.0.0.1.
func (r *Redirection) To(ports []int) Redirected {
	return r.render(func(e int) address { return address{"127.0.0.1", fmt.Sprint(ports[e])} })
}

func (r *Redirection) render(to func(endpoint int) address) Redirected {
	after := Redirected{Variables: map[string]string{}}
	if r.mounted != nil {
		after.Mounted = map[string]map[string][]byte{}
		for folder, content := range r.mounted {
			after.Mounted[folder] = map[string][]byte{}
			for name, data := range content {
				after.Mounted[folder][name] = data
			}
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
