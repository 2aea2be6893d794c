package tunnel

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// What a tunnel inherits: /proc/PID/stat of the launched process, the shell that becomes the app by
// exec, and the listeners, which are open before that. If another process gets the PID later, the
// file does not show it. Cloud Foundry's containers forbid the newer pidfd_open
// (cloudfoundry/guardian, guardiancmd/seccomp_linux.go).
const statFD, firstListenerFD = 3, 4

const ready = "ready" // what a tunnel says on stdout when it takes connections

const mostAddresses = 254 // of one tunnel

// mark is a part of what the launch exports: binding.Tunnel.Net in JSON.
func mark(t binding.Tunnel) string { return strconv.Quote(t.Net.String()) }

// Start starts the tunnel of a launch, and returns when it is ready for connections. pid is the process
// that becomes the app, and targets has one for each endpoint. beside are hosts of databases that do
// not go through it. The launch ends soon, and with it its own copies of the files.
func Start(pid int, endpoints []binding.Endpoint, targets []wire.Target, beside []string) (tunnel binding.Tunnel, err error) {
	stat, err := os.Open(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return tunnel, fmt.Errorf("cannot watch the process that the app will be: %w", err)
	}
	tunnel, listeners, err := listen(endpoints)
	if err != nil {
		return tunnel, err
	}
	p := process{Targets: targets, Mark: mark(tunnel), Beside: beside, files: append([]*os.File{stat}, listeners...)}
	var names []string
	for _, e := range endpoints {
		names = append(names, tunnel.Address(e.Local).String(), e.Host)
	}
	p.Identity, tunnel.CA, err = newIdentity(names, time.Now())
	if err != nil {
		return tunnel, err
	}
	_, out, err := p.start()
	if err != nil {
		return tunnel, err
	}
	if _, silent := io.ReadFull(out, make([]byte, len(ready))); silent != nil {
		err = errors.New("the tunnel ended as soon as it was started")
	}
	return tunnel, err
}

// start starts the process. out is what it says. For an heir, its input does not end while this
// process lives.
func (p *process) start() (cmd *exec.Cmd, out io.Reader, err error) {
	open, _ := filepath.Glob("/proc/self/fd/*") // another launch script may have left files open
	for _, link := range open {
		if fd, _ := strconv.Atoi(filepath.Base(link)); fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	program, lost := os.Executable()
	cmd = exec.Command(program, "tunnel")
	cmd.Env = []string{"GOTRACEBACK=none"} // a panic is one line
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = p.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, failed := cmd.StdinPipe()
	out, err = cmd.StdoutPipe()
	if err = errors.Join(lost, failed, err, cmd.Start()); err != nil {
		return nil, nil, err
	}
	_ = json.NewEncoder(in).Encode(p) // if it has ended, it says nothing
	if !p.Heir {
		in.Close()
	}
	return cmd, out, nil
}

// listen opens the listeners at random addresses. If another tunnel has these, listen tries again.
func listen(endpoints []binding.Endpoint) (tunnel binding.Tunnel, files []*os.File, err error) {
	for range 3 {
		network := netip.AddrFrom4([4]byte{127, byte(1 + rand.N(254)), byte(rand.N(256)), 0})
		tunnel.Net, files, err = netip.PrefixFrom(network, 24), nil, nil
		for _, e := range endpoints {
			if e.Local >= mostAddresses {
				return tunnel, nil, fmt.Errorf("the bindings name more than %d hosts", mostAddresses)
			}
			file, failed := listenAt(netip.AddrPortFrom(tunnel.Address(e.Local), e.Port))
			files, err = append(files, file), cmp.Or(err, failed)
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return tunnel, files, err
}

func listenAt(at netip.AddrPort) (*os.File, error) {
	listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("a process of this container listens at port %d of all addresses, and the tunnel needs it: %w", at.Port(), err)
	}
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.File()
}
