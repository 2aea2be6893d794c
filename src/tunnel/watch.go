package tunnel

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// watch says each connection that bypasses the tunnel, once for each address. A connection counts if
// two looks in a row find it: a process of ours that ends may leave one for a moment.
func (p *process) watch() {
	said := map[netip.AddrPort]bool{}
	var databases map[netip.AddrPort]string
	var before map[string]netip.AddrPort
	for look := 0; ; look++ {
		if look%resolveEvery == 0 {
			databases = p.addresses()
		}
		now := strangers(databases)
		for inode, at := range now {
			if before[inode] == at && !said[at] {
				said[at] = true
				p.log.say(databases[at], at.String(), fmt.Sprintf("a connection to %s, where its server is, bypasses the tunnel; "+
					"the app takes the host from elsewhere: let it take the host from the binding", at))
			}
		}
		before = now
		time.Sleep(lookEvery)
	}
}

// addresses returns which database is at which address, but for those that the app may connect to.
func (p *process) addresses() map[netip.AddrPort]string {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	var direct []netip.Addr
	for _, host := range p.Beside {
		ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		direct = append(direct, ips...)
	}
	all := map[netip.AddrPort]string{}
	for _, r := range p.relays {
		ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", r.target.Host)
		for _, ip := range ips {
			if !slices.Contains(direct, ip) {
				all[netip.AddrPortFrom(ip.Unmap(), r.target.Port)] = r.target.Name
			}
		}
	}
	return all
}

// strangers returns the connections to the databases' addresses that no process of ours has.
func strangers(databases map[netip.AddrPort]string) map[string]netip.AddrPort {
	all := connections()
	for inode, at := range all {
		if databases[at] == "" {
			delete(all, inode)
		}
	}
	if len(all) > 0 {
		for _, inode := range ours() {
			delete(all, inode)
		}
	}
	return all
}

// connections returns where the container's connections go, by the inode of the socket (proc_net_tcp
// in the kernel's documentation). Only those count that are open, or about to be.
func connections() map[string]netip.AddrPort {
	all := map[string]netip.AddrPort{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.Open(name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(table); lines.Scan(); {
			const remote, state, inode = 2, 3, 9
			fields := strings.Fields(lines.Text())
			if len(fields) <= inode || fields[state] != "01" && fields[state] != "02" {
				continue
			}
			if at, ok := parseAddress(fields[remote]); ok && fields[inode] != "0" {
				all[fields[inode]] = at
			}
		}
		table.Close()
	}
	return all
}

// parseAddress reads an address as the kernel lists it, in words of the machine's own byte order.
func parseAddress(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(host)
	if err != nil || len(ip)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(ip, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	at, ok := netip.AddrFromSlice(ip)
	number, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(at.Unmap(), uint16(number)), ok && err == nil
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
