package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/verify"
)

// Each launch has a tunnel of its own, in a process that ends when the launched process ends. If
// two launches shared a tunnel, it would outlive one of them and keep that one's output open. The
// platform would wait, since it reads a process's output to the end.
//
// The launch opens the ports before the app starts. It passes them to the tunnel, together with the
// open file /proc/PID/stat of the launched process. That is the shell that sources the launch
// script and becomes the app by exec. The open file belongs to this process for good: if another
// process gets the same PID later, the file does not show it. A pidfd would be the newer way, but
// Cloud Foundry's containers forbid pidfd_open (cloudfoundry/guardian,
// guardiancmd/seccomp_linux.go).
//
// The tunnel reads its settings from stdin, and answers once on stdout.

// settings is what a launch tells its tunnel.
type settings struct {
	Env   map[string]string // the launch's own, with the bindings as the platform gave them
	Names []string          // of the certificate: the tunnel's addresses and the databases' hosts
}

// answer is what a tunnel says when it is ready for connections, or why it is not.
type answer struct {
	CA    []byte
	Error string
}

// The file descriptors that a tunnel inherits.
const (
	statFD   = 3 // /proc/PID/stat of the launched process
	listenFD = 4 // the first listener
)

// Tunnel is what a launch knows about the tunnel that it has started.
type Tunnel struct {
	CA  []byte       // in PEM: it signed the tunnel's certificate
	Net netip.Prefix // of its addresses
}

// Listener says where a tunnel listens for a host.
type Listener struct {
	Local int // which of the tunnel's addresses
	Port  uint16
	Host  string
}

// Address returns one of a tunnel's addresses. All of 127.0.0.0/8 is local on Linux (RFC 1122,
// 3.2.1.3; ip(7)).
func Address(network netip.Prefix, i int) netip.Addr {
	at := network.Addr().As4()
	at[3] = byte(i + 1)
	return netip.AddrFrom4(at)
}

// mostAddresses are the addresses of a tunnel's network.
const mostAddresses = 254

// listen opens the listeners in a random network. If another tunnel has it, listen tries again.
func listen(targets []Listener) (network netip.Prefix, files []*os.File, err error) {
	for range 3 {
		network = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(1 + rand.N(254)), byte(rand.N(256)), 0}), 24)
		for _, t := range targets {
			if t.Local >= mostAddresses {
				return network, files, fmt.Errorf("the bindings name more than %d hosts", mostAddresses)
			}
			var listener *net.TCPListener
			if listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(Address(network, t.Local), t.Port))); err != nil {
				err = t.explain(err)
				break
			}
			defer listener.Close()
			file, err := listener.File()
			if err != nil {
				return network, files, err
			}
			files = append(files, file)
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		closeAll(files)
		files = nil
	}
	return network, files, err
}

// explain says why it cannot listen.
func (l Listener) explain(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("a process of this container listens at port %d, which the tunnel needs for %s: %w", l.Port, l.Host, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d of %s is below 1024, and no app may listen there: %w", l.Port, l.Host, err)
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Start starts the tunnel of a launch, and returns when it is ready for connections. program is the
// path of this program, pid the process that becomes the app, and env the launch's environment.
func Start(program string, pid int, env map[string]string, targets []Listener) (*Tunnel, error) {
	process, err := os.Open(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("cannot watch the process that the app will be: %w", err)
	}
	defer process.Close()
	network, listeners, err := listen(targets)
	defer closeAll(listeners)
	if err != nil {
		return nil, err
	}
	tunnel, told := &Tunnel{Net: network}, settings{Env: env}
	for _, t := range targets {
		told.Names = append(told.Names, Address(network, t.Local).String(), t.Host)
	}
	cmd := exec.Command(program, "tunnel")
	cmd.Env = []string{"GOTRACEBACK=none"} // a panic is one line
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = append([]*os.File{process}, listeners...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := keepToMyself(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_ = json.NewEncoder(in).Encode(told) // if the tunnel has died, nothing answers
	var said answer
	if json.NewDecoder(out).Decode(&said) != nil {
		return nil, errors.New("the tunnel ended as soon as it was started")
	}
	if said.Error != "" {
		return nil, errors.New(said.Error)
	}
	tunnel.CA = said.CA
	return tunnel, nil
}

// keepToMyself marks all open files close-on-exec, so that the tunnel inherits only what Start
// passes to it. Another launch script may have left files open.
func keepToMyself() error {
	open, err := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return err
}

// Run is the tunnel's process. resolve finds the databases, as the launch did. Run returns when the
// launched process has ended, or at once if the tunnel cannot start.
func Run(in io.Reader, resolve func(env map[string]string) ([]verify.Target, error)) error {
	// SIGTERM and the like are meant for the app, which may still need its connections to finish
	// its work. SIGPIPE comes when nobody reads the log any more.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	var told settings
	if json.NewDecoder(in).Decode(&told) != nil {
		return errors.New("tunnel is for the launch of a staged app, which starts it where POSTGRES_SSL_TUNNEL is set")
	}
	ca, err := serve(told, resolve)
	// Until here a relative path, such as PGSSLROOTCERT's, means what it means to the app.
	if err == nil {
		err = os.Chdir("/")
	}
	if err != nil {
		return json.NewEncoder(os.Stdout).Encode(answer{Error: err.Error()})
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer{CA: ca}); err != nil {
		return err
	}
	for process := os.NewFile(statFD, "stat"); alive(process); {
		time.Sleep(100 * time.Millisecond) // often enough, and costs nothing
	}
	return nil
}

// alive says whether a process runs, from its /proc/PID/stat: "PID (NAME) STATE …", and further on
// the number of threads (proc(5)). State Z means that the process has ended, or only its first
// thread. Once its parent has waited for it, there is nothing to read.
func alive(stat *os.File) bool {
	line := make([]byte, 1024)
	n, _ := stat.ReadAt(line, 0)
	fields := strings.Fields(string(line[bytes.LastIndexByte(line[:n], ')')+1 : n]))
	const state, threads = 0, 17
	return len(fields) > threads && (fields[state] != "Z" && fields[state] != "X" || fields[threads] != "1")
}

// serve starts to listen, and returns the CA of the tunnel's certificate.
func serve(told settings, resolve func(env map[string]string) ([]verify.Target, error)) ([]byte, error) {
	targets, err := resolve(told.Env)
	if err != nil {
		return nil, err
	}
	if len(targets)*2 != len(told.Names) {
		return nil, fmt.Errorf("the tunnel found %d databases where the launch had found %d", len(targets), len(told.Names)/2)
	}
	config, ca, err := newIdentity(told.Names, time.Now())
	if err != nil {
		return nil, err
	}
	r := newRelay(config, newJournal(os.Stderr))
	for i := range targets {
		file := os.NewFile(uintptr(listenFD+i), "listener")
		listener, err := net.FileListener(file)
		if err != nil {
			return nil, err
		}
		file.Close() // the listener has a copy
		go r.listen(listener, &targets[i])
	}
	return ca, nil
}
