package tunnel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An app may take its host from elsewhere, and connect without the tunnel. The tunnel sees this:
// Linux lists the connections of the container, and all of them are the app's or ours. It looks
// every few seconds, so it misses short ones.
const (
	lookEvery    = 3 * time.Second
	resolveEvery = 10 // looks
)

// server is where a database's server is.
type server struct {
	database string
	at       netip.AddrPort
}

// watch says each connection that bypasses the tunnel, once for each address. A connection counts if
// two looks in a row find it: a process of ours that ends may leave one for a moment.
func (p *process) watch() {
	said := map[server]bool{}
	var servers map[string]server
	var before map[string]server
	for look := 0; ; look++ {
		time.Sleep(lookEvery) // first, since a launch is not to wait for it
		if look%resolveEvery == 0 {
			servers = p.servers()
		}
		now := strangers(servers)
		for inode, to := range now {
			if before[inode] == to && !said[to] {
				said[to] = true
				p.log.say(to.database, to.at.String(), fmt.Sprintf("a connection to %s, where its server is, bypasses the tunnel; "+
					"the app takes the host from elsewhere: let it take the host from the binding", to.at))
			}
		}
		before = now
	}
}

// servers returns the databases' servers, but for those that the app may connect to, by their address
// as the kernel lists it.
func (p *process) servers() map[string]server {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	var direct []netip.Addr
	for _, host := range p.Beside {
		ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		direct = append(direct, ips...)
	}
	all := map[string]server{}
	for _, r := range p.relays {
		ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", r.target.Host)
		for _, ip := range ips {
			at := netip.AddrPortFrom(ip.Unmap(), r.target.Port)
			if slices.Contains(direct, ip) {
				continue
			}
			text, to := listed(at), server{r.target.Name, at}
			if all[text] = to; at.Addr().Is4() {
				all[text[24:]] = to // in the table of IPv4, its word alone
			}
		}
	}
	return all
}

// listed writes an address as the kernel lists it in tcp6: in words of the machine's own byte order.
func listed(at netip.AddrPort) string {
	ip := at.Addr().As16()
	for word := range slices.Chunk(ip[:], 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	return fmt.Sprintf("%X:%04X", ip, at.Port())
}

// strangers returns the container's connections to the servers that no process of ours has, by the
// inode of their socket (proc_net_tcp in the kernel's documentation). Only those count that are
// open, or about to be.
func strangers(servers map[string]server) map[string]server {
	all := map[string]server{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, _ := os.ReadFile(name)
		for line := range strings.Lines(string(table)) {
			const remote, state, inode = 2, 3, 9
			fields := strings.Fields(line)
			if len(fields) <= inode || fields[inode] == "0" || fields[state] != "01" && fields[state] != "02" {
				continue
			}
			if to, ok := servers[fields[remote]]; ok {
				all[fields[inode]] = to
			}
		}
	}
	if len(all) > 0 {
		for _, inode := range ours() {
			delete(all, inode)
		}
	}
	return all
}

// ours returns the inodes of the sockets of this program's processes: this tunnel, that of a
// sidecar, verify, the gate.
func ours() (inodes []string) {
	self, _ := os.Stat("/proc/self/exe")
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, program := range programs {
		if info, err := os.Stat(program); err != nil || !os.SameFile(info, self) {
			continue // gone, or somebody else's
		}
		links, _ := filepath.Glob(filepath.Join(filepath.Dir(program), "fd", "*"))
		for _, link := range links {
			to, _ := os.Readlink(link)
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				inodes = append(inodes, strings.TrimSuffix(inode, "]"))
			}
		}
	}
	return inodes
}
