package binding

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// The same bindings with other hosts. A tunnel replaces each host of the wanted databases by a
// loopback address of its own, at the host's own port. So nothing changes but the host's name and
// the CA that an app verifies it by, wherever they are written.

// Endpoint is a host and a port that the bindings name for a database. The tunnel listens for each.
type Endpoint struct {
	Database int // index in Bound.Databases: of several with this address, the strictest
	Host     string
	Port     uint16
	Local    int // which of the tunnel's addresses replaces the host
}

// Redirection is what the bindings say of the wanted databases, and how to say it of a tunnel.
type Redirection struct {
	Endpoints []Endpoint
	Locals    int      // how many addresses the tunnel needs
	Bypassing []string // what names a host of them too, and stays: variables, credentials of another port

	source   string
	document []byte
	mounted  files
	services map[string]*renamer // by name, those with a wanted database
	url      string              // DATABASE_URL, if it is a copy of a uri
	urlOf    *renamer
}

// Tunnel is what a launch's tunnel is to the bindings.
type Tunnel struct {
	Addresses []string // of the tunnel, by Endpoint.Local
	CA        string   // in PEM
	CAFile    string   // the path of a file with the CA
}

// Redirected has the bindings as an app sees them, so that it connects elsewhere.
type Redirected struct {
	Variables map[string]string            // VCAP_SERVICES and DATABASE_URL, if they change
	Document  []byte                       // the file of VCAP_SERVICES_FILE_PATH; nil without it
	Mounted   map[string]map[string][]byte // all of SERVICE_BINDING_ROOT; nil without it
}

const defaultPort = "5432"

// Redirect finds the hosts of the wanted databases, by their index in Read's answer. stricter says
// which of two databases decides for an address that both name. Redirect fails if a host cannot be
// replaced alone. The error names the service and the credential, and has no secret.
func Redirect(env map[string]string, wanted func(database int) bool, stricter func(a, b int) bool) (*Redirection, error) {
	r := &Redirection{services: map[string]*renamer{}}
	var err error
	if r.source, r.document, err = vcapDocument(env); err != nil {
		return nil, err
	}
	if r.mounted, err = mountedFiles(env); err != nil {
		return nil, err
	}
	services, found, err := r.read(r.document, r.mounted)
	if err != nil {
		return nil, err
	}
	for i, b := range found.Databases {
		if wanted(i) {
			if err := r.addEndpoints(i, b, stricter); err != nil {
				return nil, err
			}
		}
	}
	r.findCopies(env, services)
	err = r.check(found, wanted)
	for _, name := range slices.Sorted(maps.Keys(r.services)) {
		for _, path := range slices.Sorted(maps.Keys(r.services[name].left)) {
			r.Bypassing = append(r.Bypassing, name+", credential "+path+",")
		}
	}
	return r, err
}

func (r *Redirection) read(document []byte, mounted files) ([]service, Bound, error) {
	services, err := vcapServices(r.source, document)
	if err != nil {
		return nil, Bound{}, err
	}
	services = append(services, mountedServices(mounted)...)
	found, err := readAll(services, "", openNothing)
	return services, found, err
}

// addEndpoints adds the addresses of a database.
func (r *Redirection) addEndpoints(database int, b Binding, stricter func(a, b int) bool) error {
	if len(b.Hosts) == 0 {
		return fmt.Errorf("%s: the tunnel needs a host to replace, but the credentials name none", b.Title())
	}
	rename := r.services[b.Name]
	if rename == nil {
		rename = &renamer{local: map[string]int{}, listens: map[address]bool{}, left: map[string]bool{}}
		r.services[b.Name] = rename
	}
	for _, a := range b.named {
		port, err := strconv.ParseUint(a.port, 10, 16)
		if err != nil || port == 0 { // don't show the value: it is no port, so it may be a secret
			return fmt.Errorf("%s: the port in the binding is not a number from 1 to 65535", b.Title())
		}
		local, known := rename.local[a.host]
		if !known {
			local = r.Locals
			rename.local[a.host] = local
			r.Locals++
		}
		rename.listens[a] = true
		same := func(e Endpoint) bool { return e.Local == local && e.Port == uint16(port) }
		if i := slices.IndexFunc(r.Endpoints, same); i < 0 {
			r.Endpoints = append(r.Endpoints, Endpoint{database, a.host, uint16(port), local})
		} else if stricter(database, r.Endpoints[i].Database) {
			r.Endpoints[i].Database = database
		}
	}
	return nil
}

// named returns each address that the credentials name for a database, in keys and in strings.
func (d *database) named(b Binding) (all []address) {
	add := func(hosts []address) {
		for _, a := range hosts {
			a.port = cmp.Or(a.port, defaultPort)
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	for i, host := range b.Hosts {
		add([]address{{host, b.Port(i)}})
	}
	for _, f := range d.strings {
		add(f.hosts)
	}
	for _, o := range d.objects {
		add(o.hosts)
	}
	return all
}

// findCopies finds the service whose uri the platform copied to DATABASE_URL. It changes the scheme
// and the escapes when it copies (the launcher's databaseuri.go). Whatever else names a host of the
// tunnel stays, and bypasses it.
func (r *Redirection) findCopies(env map[string]string, services []service) {
	const name = "DATABASE_URL"
	if c, ok := parseString(env[name]); ok && len(c.hosts) > 0 {
		for _, s := range services {
			uri, _ := s.credentials["uri"].(string)
			if copied, _ := parseString(uri); r.url == "" && r.services[s.name] != nil && reflect.DeepEqual(copied, c) {
				r.url, r.urlOf = env[name], r.services[s.name]
			}
		}
	}
	ours := []string{"VCAP_SERVICES", "VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT", "VCAP_APPLICATION"}
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		if slices.Contains(ours, variable) || variable == name && r.url != "" {
			continue
		}
		for _, rename := range r.services {
			rename.tunnel = Tunnel{Addresses: r.example().Addresses} // a CA of the owner's is no host
			if rename.text(env[variable], variable, fold(variable), "") != env[variable] && !slices.Contains(r.Bypassing, variable) {
				r.Bypassing = append(r.Bypassing, variable)
			}
			clear(rename.left)
		}
	}
}

// example is a tunnel that no binding names.
func (r *Redirection) example() Tunnel {
	t := Tunnel{CA: "-----BEGIN CERTIFICATE-----\ntunnel\n-----END CERTIFICATE-----\n", CAFile: "/tunnel.invalid"}
	for i := range r.Locals {
		t.Addresses = append(t.Addresses, fmt.Sprintf("h%d.%s", i, standIn))
	}
	return t
}

// standIn is a host that no binding has.
const standIn = "tunnel.invalid"

// check reads the bindings again, as they are for the example. Apart from the hosts and the CAs,
// they must say what they said before.
func (r *Redirection) check(found Bound, wanted func(int) bool) error {
	example := r.example()
	after := r.To(example)
	document := after.Document
	if text, ok := after.Variables["VCAP_SERVICES"]; ok {
		document = []byte(text)
	}
	_, renamed, err := r.read(document, after.Mounted)
	for i, before := range found.Databases {
		if !wanted(i) {
			continue
		}
		rename := r.services[before.Name]
		before.Hosts = slices.Clone(before.Hosts)
		for j, host := range before.Hosts {
			before.Hosts[j] = example.Addresses[rename.local[host]]
		}
		if err != nil || len(renamed.Databases) != len(found.Databases) || !same(renamed.Databases[i], before) {
			return fmt.Errorf("%s: %s a host that the tunnel cannot replace alone: "+
				"write host, port, user, password and database as credentials of their own",
				before.Title(), cmp.Or(rename.stuck, "the credentials name"))
		}
	}
	return nil
}

// same compares two databases, but for their CAs and where else they name addresses.
func same(a, b Binding) bool {
	for _, db := range []*Binding{&a, &b} {
		db.named, db.HostAddr, db.CA, db.MoreCAs, db.System = nil, "", Credential{}, nil, Place{}
	}
	return reflect.DeepEqual(a, b)
}

// To returns the bindings with each host replaced by its address of the tunnel.
func (r *Redirection) To(t Tunnel) Redirected {
	after := Redirected{Variables: map[string]string{}}
	if len(bytes.TrimSpace(r.document)) > 0 {
		text := r.renameDocument(t)
		if strings.HasPrefix(r.source, "VCAP_SERVICES_FILE_PATH") {
			after.Document = text
		} else {
			after.Variables["VCAP_SERVICES"] = string(text)
		}
	}
	if r.mounted != nil {
		after.Mounted = map[string]map[string][]byte{}
	}
	for folder, content := range r.mounted {
		after.Mounted[folder] = maps.Clone(content)
		rename, texts := r.services[folder], map[string]any{}
		if rename == nil {
			continue
		}
		for name, text := range content {
			if !isPlatformFile(name) {
				texts[name] = string(text)
			}
		}
		rename.to(t).value(texts, "", "", "")
		for name, text := range texts {
			after.Mounted[folder][name] = []byte(text.(string))
		}
	}
	if r.url != "" {
		after.Variables["DATABASE_URL"] = r.urlOf.to(t).text(r.url, "uri", "uri", "")
	}
	return after
}

// renameDocument writes VCAP_SERVICES again. Keys may change their order, but no value changes
// except in the credentials of the wanted services.
func (r *Redirection) renameDocument(t Tunnel) []byte {
	parsed, _ := decodeJSON(r.document) // it was read before
	byLabel, _ := parsed.(map[string]any)
	for label, list := range byLabel {
		items, ok := list.([]any)
		if !ok {
			items = []any{list}
		}
		for _, item := range items {
			if s, ok := asService(label, item); ok && r.services[s.name] != nil {
				r.services[s.name].to(t).value(s.credentials, "", "", "")
			}
		}
	}
	return encodeJSON(parsed)
}

// encodeJSON writes what decodeJSON has read. Numbers and "&" stay as they are.
func encodeJSON(value any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // what was decoded can be encoded
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

// renamer replaces the hosts and the CAs in the credentials of one service.
type renamer struct {
	local   map[string]int   // Endpoint.Local of each host
	listens map[address]bool // the addresses that the tunnel listens for
	left    map[string]bool  // the credentials that name a host at another port
	stuck   string           // the first connection string whose host cannot be replaced
	tunnel  Tunnel
}

func (r *renamer) to(t Tunnel) *renamer {
	r.tunnel = t
	return r
}

// value replaces in a value, in place, and returns it. path is where it is, key the folded key there,
// and port what goes with it if it is a host.
func (r *renamer) value(value any, path, key, port string) any {
	switch v := value.(type) {
	case string:
		return r.text(v, path, key, port)
	case []any:
		for i := range v {
			v[i] = r.value(v[i], path+"["+strconv.Itoa(i)+"]", key, port)
		}
	case map[string]any:
		for key := range v {
			v[key] = r.value(v[key], joinPath(path, key), fold(key), siblingPort(v, fold(key)))
		}
	}
	return value
}

// siblingPort returns the port that goes with a key for a host: PGPORT with PGHOST, else port. It
// returns "" for any other key.
func siblingPort(object map[string]any, key string) (port string) {
	prefix, isHost := hostPrefix(key)
	if !isHost {
		return ""
	}
	for _, other := range slices.Sorted(maps.Keys(object)) {
		if folded := fold(other); folded == prefix+"port" || port == "" && folded == "port" {
			port = strings.TrimSpace(asText(object[other]))
		}
	}
	return port
}

// hostPrefix returns what comes before the word for a host in a folded key: "pg" of "pghost".
func hostPrefix(key string) (prefix string, isHost bool) {
	for _, word := range append(slices.Clone(hostKeys), "endpoints") {
		if prefix, isHost = strings.CutSuffix(key, word); isHost {
			return prefix, true
		}
	}
	return "", false
}

func (r *renamer) text(text, path, key, port string) string {
	inList := strings.HasSuffix(path, "]")
	if slices.Contains(secretKeys, key) && !inList {
		return text
	}
	if ca := r.ca(text, key, path); ca != "" {
		return ca
	}
	if nested, ok := asJSON(text); ok && !inList {
		before := encodeJSON(nested)
		if after := encodeJSON(r.value(nested, path, key, "")); !bytes.Equal(before, after) {
			return string(after)
		}
		return text
	}
	if found := findStrings(text); found != nil {
		for _, at := range slices.Backward(found) {
			text = text[:at.start] + r.connectionString(text[at.start:at.end], at.connection, path) + text[at.end:]
		}
		return text
	}
	if slices.Contains(usernameKeys, key) || slices.Contains(databaseKeys, key) || strings.Contains(text, "://") {
		return text
	}
	_, isHost := hostPrefix(key)
	hosts, _ := parseHosts(text, "")
	isHost = isHost && len(hosts) > 0
	var all []edit
	for _, p := range r.places(text) {
		at, isWord := address{p.host, cmp.Or(p.port, port)}, !strings.ContainsAny(p.host, ".:")
		switch {
		case isWord && !isHost:
		case p.start > 0 && strings.IndexByte("@/", text[p.start-1]) >= 0: // an e-mail address or a path
		case isNumber(at.port) && !r.listensAt(at):
			r.left[path] = true
		default:
			all = append(all, edit{p.start, p.end, r.address(p.host)})
		}
	}
	return replaced(text, all...)
}

func (r *renamer) address(host string) string { return r.tunnel.Addresses[r.local[host]] }

// ca returns the tunnel's CA in the form of a text that is the CA of the database: PEM, base64 of it,
// or the path of a file. It returns "" for any other text.
func (r *renamer) ca(text, key, path string) string {
	isCA := slices.Contains(caKeys, key)
	switch trimmed := strings.TrimSpace(text); {
	case strings.Contains(text, "PRIVATE KEY"), slices.Contains(clientCertKeys, key), !isCA && containsAny(path, otherMeaning):
	case looksLikePEM(text) && !strings.Contains(text, "-----BEGIN"):
		return base64.StdEncoding.EncodeToString([]byte(r.tunnel.CA))
	case looksLikePEM(text) && !strings.Contains(trimmed, "\n"):
		return strings.ReplaceAll(r.tunnel.CA, "\n", `\n`)
	case looksLikePEM(text):
		return r.tunnel.CA
	case isCA && (isPath(trimmed) || strings.EqualFold(trimmed, "system")):
		return r.tunnel.CAFile
	}
	return ""
}

// edit replaces a part of a text.
type edit struct {
	start, end int
	by         string
}

// replaced returns a text after edits, which are in order.
func replaced(text string, edits ...edit) string {
	var out strings.Builder
	done := 0
	for _, e := range edits {
		if e.start >= done {
			out.WriteString(text[done:e.start] + e.by)
			done = e.end
		}
	}
	return out.String() + text[done:]
}

// mostPlaces limits the tries for one connection string.
const mostPlaces = 300

var rootParameter = lazyregexp.New(`(?i)(?:ssl[ _-]?root[ _-]?cert|root[ _-]?certificate)\s*=\s*('[^']*'|"[^"]*"|[^&;\s'"]*)`)

// connectionString replaces hosts and a root certificate in a connection string. The password or the
// database's name may contain the host too. So we try each place where it occurs, and let the reader
// say what changed.
func (r *renamer) connectionString(text string, c connection, path string) string {
	before := c.written()
	try := func(start, end int) (after connection, ok bool) {
		after, _ = parseString(replaced(text, edit{start, end, standIn}))
		but := after
		but.hosts, but.names, but.hostaddr, but.rootCert, but.system = c.hosts, c.names, c.hostaddr, c.rootCert, c.system
		return after, len(after.written()) == len(before) && reflect.DeepEqual(but, c)
	}
	places := r.places(text, before...)
	if c.overruled || len(places) > mostPlaces {
		places = nil
	}
	var edits []edit
	for _, p := range places {
		after, ok := try(p.start, p.end)
		for i, name := range after.written() {
			if a := c.hosts[i%len(c.hosts)]; ok && name == standIn && r.listensAt(a) {
				edits = append(edits, edit{p.start, p.end, r.address(a.host)})
				break
			}
		}
	}
	named, _ := parseString(replaced(text, edits...))
	for i, name := range named.written() {
		if i < len(before) && name == before[i] && r.listensAt(c.hosts[i%len(c.hosts)]) {
			r.stuck = cmp.Or(r.stuck, "credential "+path+" names")
			return text
		}
	}
	if len(edits) > 0 && r.tunnel.CAFile != "" {
		for _, at := range rootParameter().FindAllStringSubmatchIndex(text, -1) {
			if after, ok := try(at[2], at[3]); ok && after.rootCert == standIn {
				edits = append(edits, edit{at[2], at[3], r.tunnel.CAFile})
			}
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return a.start - b.start })
	return replaced(text, edits...)
}

// written returns the hosts that a connection string names: those whose certificate is verified, then
// those that libpq connects to, if it has both.
func (c connection) written() (all []string) {
	for _, a := range c.hosts {
		all = append(all, a.host)
	}
	if c.hostaddr != "" {
		all = append(all, strings.Split(c.hostaddr, ",")...)
	}
	return all
}

func (r *renamer) listensAt(a address) bool {
	return r.listens[address{a.host, cmp.Or(a.port, defaultPort)}]
}

// place is where a text has a host as a whole name.
type place struct {
	start, end int // with its brackets and its final dot
	host, port string
}

// address matches what may be a host, with or without a port.
var addressPattern = lazyregexp.New(`\[[\w.:-]+\](?::\d*)?|[\w.:-]+`)

// places returns where a text has the service's hosts, or one of more.
func (r *renamer) places(text string, more ...string) (all []place) {
	for _, at := range addressPattern().FindAllStringIndex(text, -1) {
		found := text[at[0]:at[1]]
		host, port := splitPort(found)
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		if _, known := r.local[host]; (known || slices.Contains(more, host)) && strings.Trim(port, "0123456789") == "" {
			if colon := strings.LastIndexByte(found, ':'); colon > 0 && found[colon+1:] == port && !strings.Contains(host, found[colon:]) {
				at[1] = at[0] + colon
			}
			all = append(all, place{at[0], at[1], host, port})
		}
	}
	return all
}
