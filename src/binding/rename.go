package binding

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// Endpoint is a host and a port that the bindings name for a database. A tunnel listens for each, at
// a loopback address in place of the host and at the host's own port. So nothing changes but the
// host's name and the CA that an app verifies it by, wherever they are written. The reader is the
// judge: what it reads afterwards must be what it read before.
type Endpoint struct {
	Database int // index in the databases that were wanted: of several with this address, the first
	Service  string
	Host     string
	Port     uint16
	Local    int // which of the tunnel's addresses replaces the host in this service
}

// Redirection is what the bindings say of the wanted databases, and how to say it of a tunnel.
type Redirection struct {
	Endpoints []Endpoint
	Bypassing []string // what names a host of them too, and stays: variables, credentials of another port

	delivery
	locals     map[[2]string]int // Endpoint.Local, by service and host
	url, urlOf string            // DATABASE_URL, and the service whose uri it copies
}

// Tunnel is what a launch knows about the tunnel that it has started.
type Tunnel struct {
	CA  string       // in PEM: it signed the tunnel's certificate
	Net netip.Prefix // of its addresses
	Dir string       `json:"-"` // the folder for files that the app reads: its bindings, the CA
}

// Address returns one of a tunnel's addresses. All of 127.0.0.0/8 is local (RFC 1122, 3.2.1.3).
func (t Tunnel) Address(local int) netip.Addr {
	at := t.Net.Addr().As4()
	at[3] = byte(local + 1)
	return netip.AddrFrom4(at)
}

func (t Tunnel) caFile() string { return filepath.Join(t.Dir, "ca.pem") }

const defaultPort = "5432"

// Redirect finds the hosts of the wanted databases, which Read has found. The strictest comes first: it
// decides for an address that several name. Redirect fails if a host cannot be replaced alone. The
// error names the service and the credential, and contains no secret.
func Redirect(env map[string]string, wanted []Binding) (*Redirection, error) {
	r := &Redirection{delivery: deliver(env), locals: map[[2]string]int{}}
	services, _, err := r.services()
	for i, b := range wanted {
		err = cmp.Or(err, r.addEndpoints(i, b))
	}
	if err != nil {
		return nil, err
	}
	r.findInVariables(env, services)
	before, _ := readAll(services, "", openNothing)
	return r, r.check(wanted, len(before.Databases))
}

func (r *Redirection) addEndpoints(database int, b Binding) error {
	if len(b.Hosts) == 0 {
		return fmt.Errorf("%s: the tunnel needs a host to replace, but the credentials name none", b.Title())
	}
	var all []address
	for i, host := range b.Hosts {
		all = append(all, address{host, b.Port(i)})
	}
	for _, a := range append(all, b.named...) {
		port, err := strconv.ParseUint(cmp.Or(a.port, defaultPort), 10, 16)
		if err != nil || port == 0 { // don't show the value: it is no port, so it may be a secret
			return fmt.Errorf("%s: the port in the binding is not a number from 1 to 65535", b.Title())
		}
		name := [2]string{b.Name, a.host}
		if _, known := r.locals[name]; !known {
			r.locals[name] = len(r.locals)
		}
		e := Endpoint{database, b.Name, a.host, uint16(port), r.locals[name]}
		listens := func(known Endpoint) bool { return known.Local == e.Local && known.Port == e.Port }
		if !slices.ContainsFunc(r.Endpoints, listens) {
			r.Endpoints = append(r.Endpoints, e)
		}
	}
	return nil
}

// findInVariables finds the service whose uri the platform copied to DATABASE_URL. It changes the
// scheme and the escapes when it copies (the launcher's databaseuri.go). Whatever else names a host
// of the tunnel stays, and bypasses it.
func (r *Redirection) findInVariables(env map[string]string, services []service) {
	ours := []string{vcapVariable, "VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT", "VCAP_APPLICATION"}
	renamers := r.renamers(Tunnel{Net: example.Net}) // a CA of the owner's is no host
	url, _ := parseString(env["DATABASE_URL"])
	for _, s := range slices.Backward(services) { // the first of several counts
		uri, _ := s.credentials["uri"].(string)
		copied, _ := parseString(uri)
		if len(url.hosts) > 0 && renamers[s.name] != nil && reflect.DeepEqual(copied, url) {
			r.url, r.urlOf = env["DATABASE_URL"], s.name
			ours = append(ours, "DATABASE_URL")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		for _, rename := range renamers {
			if !slices.Contains(ours, name) && rename.text(env[name], name, fold(name), "") != env[name] {
				r.Bypassing, ours = append(r.Bypassing, name), append(ours, name)
			}
		}
	}
}

func (r *Redirection) renamed(t Tunnel) (all []service, document any, by map[string]*renamer) {
	all, document, _ = r.services() // which worked before
	by = r.renamers(t)
	for _, s := range all {
		if by[s.name] != nil {
			by[s.name].value(s.credentials, "", "", "")
		}
	}
	return all, document, by
}

// example is a tunnel that no binding names: "this network" is nobody's address (RFC 1122, 3.2.1.3).
var example = Tunnel{"-----BEGIN CERTIFICATE-----\ntunnel\n-----END CERTIFICATE-----\n",
	netip.PrefixFrom(netip.AddrFrom4([4]byte{0, 9, 9, 0}), 24), "/tunnel.invalid"}

// check reads the bindings again, as they are for the example. Apart from the hosts and the CAs,
// they must say of the wanted databases what they said before, and name no other database.
func (r *Redirection) check(wanted []Binding, databases int) error {
	services, _, renamers := r.renamed(example)
	after, err := readAll(services, "", openNothing)
	for _, name := range slices.Sorted(maps.Keys(renamers)) {
		for _, path := range renamers[name].left {
			r.Bypassing = append(r.Bypassing, name+", credential "+path+",")
		}
	}
	isWhole := err == nil && len(after.Databases) == databases
	for _, b := range wanted {
		rename := renamers[b.Name]
		b.Hosts = slices.Clone(b.Hosts)
		for j, host := range b.Hosts {
			b.Hosts[j] = rename.to[address{host: host}]
		}
		if !isWhole || !slices.ContainsFunc(after.Databases, b.isSame) {
			return fmt.Errorf("%s: %s a host that the tunnel cannot replace alone: "+
				"write host, port, user, password and database as credentials of their own",
				b.Title(), cmp.Or(rename.stuck, "the credentials name"))
		}
	}
	return nil
}

// isSame compares two databases, but for their CAs, where else they name addresses, what a plan says
// of them beside others, and what the owner's DATABASE_URL adds.
func (b Binding) isSame(a Binding) bool {
	for _, db := range []*Binding{&a, &b} {
		isVariable := func(asked Asked) bool { return asked.Place.Variable }
		db.Asked = append([]Asked(nil), slices.DeleteFunc(slices.Clone(db.Asked), isVariable)...)
		db.named, db.HostAddr, db.CA, db.MoreCAs, db.System = nil, "", Credential{}, nil, Place{}
		db.Path, db.Guessed = "", false
	}
	return reflect.DeepEqual(a, b)
}

// To returns the variables that change, and the files below t.Dir by their path, for an app that sees
// the tunnel. Keys may change their order; no value changes beside the wanted services' credentials.
func (r *Redirection) To(t Tunnel) (variables map[string]string, paths map[string][]byte) {
	variables, paths = map[string]string{}, map[string][]byte{t.caFile(): []byte(t.CA)}
	services, document, renamers := r.renamed(t)
	switch path := filepath.Join(t.Dir, "vcap_services"); {
	case document == nil:
	case r.source != vcapVariable:
		variables["VCAP_SERVICES_FILE_PATH"], paths[path] = path, encodeJSON(document)
	default:
		variables[vcapVariable] = string(encodeJSON(document))
	}
	root := filepath.Join(t.Dir, "bindings")
	for _, s := range services[len(services)-len(r.mounted):] {
		variables["SERVICE_BINDING_ROOT"] = root
		for name, content := range r.mounted[s.name] {
			if text, ok := s.credentials[name].(string); ok {
				text = strings.TrimRight(text, "\r\n")
				content = append([]byte(text), content[len(bytes.TrimRight(content, "\r\n")):]...)
			}
			paths[filepath.Join(root, s.name, name)] = content
		}
	}
	if r.url != "" {
		variables["DATABASE_URL"] = renamers[r.urlOf].text(r.url, "uri", "uri", "")
	}
	return variables, paths
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
	Tunnel
	to    map[address]string // the tunnel's addresses, by host and port, and by the host alone
	left  []string           // the credentials that name a host at another port
	stuck string             // the first connection string whose host cannot be replaced
}

func (r *Redirection) renamers(t Tunnel) map[string]*renamer {
	all := map[string]*renamer{}
	for _, e := range r.Endpoints {
		if all[e.Service] == nil {
			all[e.Service] = &renamer{Tunnel: t, to: map[address]string{}}
		}
		for _, port := range []string{"", strconv.Itoa(int(e.Port))} {
			all[e.Service].to[address{e.Host, port}] = t.Address(e.Local).String()
		}
	}
	return all
}

// value replaces in a value, in place, and returns it. path is where it is, key the folded key there,
// and port what goes with it if it is a host: PGPORT with PGHOST, else port.
func (r *renamer) value(value any, path, key, port string) any {
	switch v := value.(type) {
	case string:
		return r.text(v, path, key, port)
	case []any:
		for i := range v {
			v[i] = r.value(v[i], path+"["+strconv.Itoa(i)+"]", key, port)
		}
	case map[string]any:
		ports := map[string]string{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if prefix, ok := strings.CutSuffix(fold(key), "port"); ok {
				ports[prefix] = strings.TrimSpace(asText(v[key]))
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			port := ""
			if m := hostKey().FindStringSubmatch(fold(key)); m != nil {
				port = cmp.Or(ports[m[1]], ports[""])
			}
			v[key] = r.value(v[key], joinPath(path, shownKey(key)), fold(key), port)
		}
	}
	return value
}

var hostKey = lazyregexp.New("(.*)(?:" + strings.Join(hostKeys, "|") + ")s?$")

func (r *renamer) text(text, path, key, port string) string {
	if slices.Contains(secretKeys, key) {
		return text
	}
	if nested, err := asJSON(text); err == nil {
		before := encodeJSON(nested)
		if after := encodeJSON(r.value(nested, path, key, "")); !bytes.Equal(before, after) {
			return string(after)
		}
		return text
	}
	found := findStrings(text)
	for _, at := range slices.Backward(found) {
		text = text[:at.start] + r.connectionString(text[at.start:at.end], at.connection, path) + text[at.end:]
	}
	if found != nil {
		return text
	}
	if ca := r.ca(text, key, path); ca != "" {
		return ca
	}
	if slices.Contains(loginKeys, key) || strings.Contains(text, "://") {
		return text
	}
	hosts, _ := parseHosts(text, "")
	isHost := len(hosts) > 0 && hostKey().MatchString(key)
	for _, p := range slices.Backward(places(text, r.to)) {
		port := cmp.Or(p.port, port)
		switch {
		case !isHost && !strings.ContainsAny(p.host, ".:"): // any word
		case p.start > 0 && strings.IndexByte("@/", text[p.start-1]) >= 0: // an e-mail address or a path
		case isNumber(port) && r.to[address{p.host, port}] == "":
			r.left = append(r.left, path)
		default:
			text = text[:p.start] + p.to + text[p.end:]
		}
	}
	return text
}

// ca returns the tunnel's CA in the form of a text that is the CA of the database: PEM, base64 of it,
// or the path of a file. It returns "" for any other text.
func (r *renamer) ca(text, key, path string) string {
	isCA := slices.Contains(caKeys, key)
	switch trimmed := strings.TrimSpace(text); {
	case r.CA == "", strings.Contains(text, "PRIVATE KEY"), slices.Contains(clientCertKeys, key), !isCA && containsAny(path, otherMeaning):
	case looksLikePEM(text) && !strings.Contains(text, "-----BEGIN"):
		return base64.StdEncoding.EncodeToString([]byte(r.CA))
	case looksLikePEM(text) && !strings.Contains(trimmed, "\n"):
		return strings.ReplaceAll(r.CA, "\n", `\n`)
	case looksLikePEM(text):
		return r.CA
	case isCA && (isPath(trimmed) || isSystem(trimmed)):
		return r.caFile()
	}
	return ""
}

const mostPlaces = 300 // to try in one connection string

// connectionString replaces hosts and a root certificate in a connection string. The password or the
// database's name may contain the host too. So we try each place where one of them may be, and let
// the reader say what changed.
func (r *renamer) connectionString(text string, c connection, path string) string {
	want, to := c.written(), map[address]string{}
	for i, name := range want[1:] {
		a := c.hosts[i%len(c.hosts)]
		if local := r.to[address{a.host, cmp.Or(a.port, defaultPort)}]; local != "" {
			want[i+1], to[address{host: name}] = local, local
		}
	}
	if len(to) > 0 && c.rootCert != "" {
		want[0], to[address{}] = r.caFile(), r.caFile()
	}
	tries := places(text, to)
	for i, p := range tries {
		end := p.start + len(c.rootCert)
		if p.host == "" && p.end < end && strings.HasPrefix(text[p.start:], c.rootCert) { // it has blanks
			tries[i].end = len(text) - len(strings.TrimLeft(text[end:], " \r\n"))
		}
	}
	if c.overruled || len(tries) > mostPlaces {
		tries = nil
	}
	renamed, now := text, c.written()
	for _, p := range slices.Backward(tries) {
		tried := renamed[:p.start] + p.to + renamed[p.end:]
		after, _ := parseString(tried)
		written := after.written()
		after.hosts, after.names, after.hostaddr, after.rootCert = c.hosts, c.names, c.hostaddr, c.rootCert
		isCA := written[0] == now[0] || written[0] == want[0] // not a host in its path
		if isCA && reflect.DeepEqual(after, c) && !slices.Equal(written, now) {
			renamed, now = tried, written
		}
	}
	if !slices.Equal(now, want) {
		r.stuck = cmp.Or(r.stuck, "credential "+path+" names")
		return text
	}
	return renamed
}

// written returns what may change in a connection string: its root certificate, "" if none; the hosts
// whose certificate is verified; and those that libpq connects to, if it has both.
func (c connection) written() []string {
	all := []string{c.rootCert}
	for _, a := range c.hosts {
		all = append(all, a.host)
	}
	if c.hostaddr != "" && c.hosts != nil {
		all = append(all, strings.Split(c.hostaddr, ",")...)
	}
	return all
}

// place is where a text has a host, with its brackets and its final dot, or a root certificate.
type place struct {
	start, end int
	address
	to string // what replaces it
}

// A root certificate; or what may be a host: in brackets, IPv6, or a name. A port may follow.
var placePattern = lazyregexp.New(`(?i)(?:ssl[ _-]?root[ _-]?cert|root[ _-]?certificate)\s*=\s*('[^']*'|"[^"]*"|[^&;\s'"]*)|` +
	`(\[[\w.:-]+\]|[\w.-]*:[\w.-]*:[\w.:-]*|[\w.-]+)(?::([\w.-]*))?`)

// places returns where a text has what shall be replaced: hosts, or a root certificate, address{}.
func places(text string, to map[address]string) (all []place) {
	for _, at := range placePattern().FindAllStringSubmatchIndex(text, -1) {
		p := place{start: at[2], end: at[3]}
		if at[4] >= 0 {
			p.start, p.end = at[4], at[5]
			p.host = strings.TrimSuffix(strings.ToLower(strings.Trim(text[p.start:p.end], "[]")), ".")
		}
		p.to = to[p.address]
		p.port = text[max(at[6], 0):max(at[7], 0)] // "" without one
		if p.to != "" && isNumber(p.port) {
			all = append(all, p)
		}
	}
	return all
}
