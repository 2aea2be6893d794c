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

const lookEvery = 3 * time.Second

// watch says to which addresses the app connects without the tunnel. Linux lists the connections of
// the container, and all of them are the app's or ours. One counts if two looks in a row find it: a
// process of ours that ends may leave one for a moment.
func (p *process) watch() {
	said := map[string]bool{}
	var servers, before map[string]string
	for look := 0; ; look++ {
		time.Sleep(lookEvery) // first, since a launch is not to wait for it
		if look%10 == 0 {     // the names may resolve to others
			servers = p.servers()
		}
		now := strangers(servers)
		for socket, line := range now {
			if before[socket] == line && !said[line] {
				said[line] = true
				p.log.say("", line, line)
			}
		}
		before = now
	}
}

// servers returns the databases' servers, but for those that the app may connect to, by their address
// as the kernel lists it, and what to say of a connection to each.
func (p *process) servers() map[string]string {
	resolve := func(host string) []netip.Addr {
		ips, _ := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
		return ips
	}
	var direct []netip.Addr
	for _, host := range p.Beside {
		direct = append(direct, resolve(host)...)
	}
	all := map[string]string{}
	for _, r := range p.relays {
		for _, ip := range resolve(r.target.Host) {
			if slices.Contains(direct, ip) {
				continue
			}
			at := netip.AddrPortFrom(ip.Unmap(), r.target.Port)
			line := fmt.Sprintf("%s: a connection to %s, where its server is, bypasses the tunnel; "+
				"the app takes the host from elsewhere: let it take the host from the binding", r.target.Name, at)
			all[listed(at)] = line
			all[listed(netip.AddrPortFrom(netip.AddrFrom16(ip.As16()), at.Port()))] = line // from a socket of IPv6
		}
	}
	return all
}

// listed writes an address as the kernel lists it: in words of the machine's own byte order.
func listed(at netip.AddrPort) string {
	ip := at.Addr().AsSlice()
	for word := range slices.Chunk(ip, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	return fmt.Sprintf("%X:%04X", ip, at.Port())
}

// strangers returns the container's open connections to the servers that no process of ours has, by
// their socket as a link in /proc/PID/fd names it (the kernel's proc_net_tcp; proc(5)).
func strangers(servers map[string]string) map[string]string {
	all := map[string]string{}
	v4, _ := os.ReadFile("/proc/net/tcp")
	v6, _ := os.ReadFile("/proc/net/tcp6")
	for line := range strings.Lines(string(v4) + string(v6)) {
		const remote, state, inode = 2, 3, 9
		fields := strings.Fields(line)
		if len(fields) > inode && fields[inode] != "0" && strings.Contains("01 02", fields[state]) {
			if to := servers[fields[remote]]; to != "" {
				all["socket:["+fields[inode]+"]"] = to
			}
		}
	}
	if len(all) == 0 {
		return nil // without a look at every process
	}
	// Ours are this program's processes: this tunnel, that of a sidecar, verify, the gate.
	self, _ := os.Stat("/proc/self/exe")
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, program := range programs {
		if info, err := os.Stat(program); err != nil || !os.SameFile(info, self) {
			continue // gone, or somebody else's
		}
		links, _ := filepath.Glob(filepath.Join(filepath.Dir(program), "fd", "*"))
		for _, link := range links {
			socket, _ := os.Readlink(link)
			delete(all, socket)
		}
	}
	return all
}
