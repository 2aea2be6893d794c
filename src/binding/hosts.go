package binding

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strings"
)

// address is a host, in lower case and without a trailing dot, and its port, "" for the default.
type address struct{ host, port string }

// parseHosts reads one or more hosts, each with or without a port ("h1:5432,h2", "[::1]:5432"), and
// a list of ports. An empty host and a path mean the local socket in libpq, and are left out. If
// one of them cannot be a host, it returns none, and false: it may be a part of a password, which
// must not reach a log.
func parseHosts(text, ports string) (hosts []address, ok bool) {
	items := strings.Split(text, ",")
	port := splitPorts(ports, len(items))
	for i, item := range items {
		host, own := splitPort(strings.TrimSpace(item))
		switch {
		case !isNumber(own):
			return nil, false
		case host == "" || isSocket(host):
			continue
		case net.ParseIP(host) == nil && !isHostName(host):
			return nil, false
		}
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		if hosts = append(hosts, address{host, cmp.Or(port(i), own)}); len(hosts) > mostHosts {
			break // read refuses it
		}
	}
	return hosts, true
}

// isSocket says whether a host is a folder with a Unix socket (libpq's manual, "host").
func isSocket(host string) bool { return strings.HasPrefix(host, "/") }

// splitPorts returns a function for the port of host i of n: each its own, or all of them the same
// one (libpq's manual, "Specifying Multiple Hosts"). Anything else than a number is ignored: it may
// be any text.
func splitPorts(list string, n int) func(i int) string {
	ports := strings.Split(list, ",")
	return func(i int) string {
		port := strings.TrimSpace(ports[min(i, len(ports)-1)])
		if !isNumber(port) || len(ports) != 1 && len(ports) != n {
			return ""
		}
		return port
	}
}

// splitPort splits "host:port" and "[IPv6]:port", also without a port. An IPv6 address without
// brackets has no port.
func splitPort(s string) (host, port string) {
	if inner, rest, ok := strings.Cut(s, "]"); ok && strings.HasPrefix(inner, "[") {
		return inner[1:], strings.TrimPrefix(rest, ":")
	}
	if host, port, _ = strings.Cut(s, ":"); strings.Contains(port, ":") {
		return s, ""
	}
	return host, port
}

func isNumber(text string) bool { return strings.Trim(text, "0123456789") == "" }

const nameSigns = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"

// isHostName allows what DNS and IPv4 allow, and the underscore, which people use.
func isHostName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	isName := strings.Trim(host, nameSigns+"_") == "" && strings.Trim(host, ".-") == host
	return isName && host != "" && len(host) <= 253
}

func addHosts(hosts, more []address) []address {
	for _, a := range more {
		if i := indexHost(hosts, a); i < 0 {
			hosts = append(hosts, a)
		} else if hosts[i].port == "" {
			hosts[i].port = a.port
		}
		if len(hosts) > mostHosts {
			break // read refuses it
		}
	}
	return hosts
}

func indexHost(hosts []address, a address) int {
	return slices.IndexFunc(hosts, func(b address) bool { return a.host == b.host })
}

// hostList is the same for the same hosts in any order.
func hostList(hosts []address) string {
	var names []string
	for _, a := range hosts {
		names = append(names, a.host)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// isHost says whether the object is one host, as in "hosts": [{"hostname": …, "port": …}].
func (o *object) isHost() bool { return slices.Contains(hostKeys, o.key) }

func (o *object) namesHosts() bool { return len(o.hosts) > 0 && !o.isHost() }

// readHosts reads the object's own keys. One port is for all hosts if none has its own.
func (o *object) readHosts() (hosts []address) {
	for _, key := range hostKeys {
		for _, v := range o.known {
			if v.key == key {
				hosts = addHosts(hosts, hostsOf(v.raw))
			}
		}
	}
	if slices.ContainsFunc(hosts, func(a address) bool { return a.port != "" }) {
		return hosts
	}
	port := splitPorts(o.port(), len(hosts))
	for i := range hosts {
		hosts[i].port = port(i)
	}
	return hosts
}

// port returns the object's port, or that of its first host.
func (o *object) port() string {
	port, ok := o.first(portKeys)
	if !ok && len(o.hosts) > 0 {
		return o.hosts[0].port
	}
	return asText(port.raw)
}

// hostsOf reads one host, several, or a list of objects with a host and a port each.
func hostsOf(raw any) (hosts []address) {
	var host, port string
	switch v := raw.(type) {
	default:
		host = asText(raw)
	case []any:
		for _, item := range v {
			hosts = append(hosts, hostsOf(item)...)
		}
		return hosts
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if slices.Contains(hostKeys, fold(key)) {
				host = cmp.Or(host, asText(v[key]))
			} else if fold(key) == "port" {
				port = cmp.Or(port, asText(v[key]))
			}
		}
	}
	hosts, _ = parseHosts(host, port)
	return hosts
}
