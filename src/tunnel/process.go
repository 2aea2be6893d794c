package tunnel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/verify"
)

// One tunnel for each launch, in a process of its own that goes with the launched one. Two launches in one container (a sidecar's, a
// task's) have a tunnel each: the platform waits for the end of a process's output, and a tunnel that served both would keep the
// output of the one that is gone open.
//
// The launch binds the ports before the app starts, and hands them over together with a descriptor of the launched process (pidfd):
// the shell that sources the launch script, which becomes the app by exec. What else the tunnel needs, it gets through a pipe.

// settings are what a launch tells its tunnel.
type settings struct {
	Env       map[string]string // the launch's own, with the bindings as the platform gave them
	Identity  identity
	Listeners int
}

// The descriptors that a tunnel is given.
const (
	readyFD  = 3 // for the word that it is there, or why not
	pidFD    = 4 // the launched process
	listenFD = 5 // the first listener
	ready    = "ready"
)

// Tunnel is what a launch knows of the tunnel that it has started.
type Tunnel struct {
	CA    []byte // PEM: who signed the tunnel's certificate
	Ports []int  // on 127.0.0.1, one for each target
}

// Start starts the tunnel of a launch: program is this program, pid the process that becomes the app, env the launch's environment, and
// targets how many databases go through. It returns when the tunnel takes connections.
func Start(program string, pid int, env map[string]string, targets int) (*Tunnel, error) {
	id, err := newIdentity(time.Now())
	if err != nil {
		return nil, err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot watch the process %d, which the app will be: %w", pid, err)
	}
	hear, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer hear.Close()
	given := []*os.File{tell, os.NewFile(uintptr(process), "pidfd")}
	defer func() {
		for _, file := range given {
			file.Close() // the tunnel has its own
		}
	}()
	tunnel := &Tunnel{CA: id.CA}
	for range targets {
		listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		file, err := listener.File()
		if err != nil {
			return nil, err
		}
		given = append(given, file)
		tunnel.Ports = append(tunnel.Ports, listener.Addr().(*net.TCPAddr).Port)
	}
	words, err := json.Marshal(settings{env, *id, targets})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "tunnel")
	cmd.Dir = "/"
	cmd.Env = []string{"GOTRACEBACK=none"} // its death is one line
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = given
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := keepToMyself(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	tell.Close()           // or its end would not be seen
	_, _ = in.Write(words) // if this fails, the tunnel is gone, or says why
	in.Close()
	switch said, err := io.ReadAll(hear); {
	case string(said) == ready:
		return tunnel, nil
	case err != nil:
		return nil, err
	case len(said) > 0:
		return nil, errors.New(string(said))
	}
	return nil, errors.New("the tunnel ended as soon as it was started")
}

// keepToMyself sees to it that the tunnel inherits nothing but what it is given. A launch script may have opened whatever it likes.
func keepToMyself() error {
	open, err := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return err
}

// Run is the tunnel's process. resolve makes of an environment the databases that go through; it is the same that the launch has asked.
// Run returns when the launched process is gone, or at once with an error.
func Run(in io.Reader, resolve func(env map[string]string) ([]verify.Target, error)) error {
	// TERM and its like are for the app, which may have work in flight. SIGPIPE comes when nobody reads the log any more.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	answer := os.NewFile(readyFD, "ready")
	process, err := serve(in, resolve)
	if err != nil {
		if _, unheard := io.WriteString(answer, err.Error()); unheard != nil {
			return err // nobody has started this; it was run by hand
		}
		return nil
	}
	if _, err := io.WriteString(answer, ready); err != nil {
		return err
	}
	if err := answer.Close(); err != nil {
		return err
	}
	return waitFor(process)
}

// serve starts to take connections, and returns the descriptor of the process to wait for.
func serve(in io.Reader, resolve func(env map[string]string) ([]verify.Target, error)) (process int, err error) {
	var told settings
	if err := json.NewDecoder(in).Decode(&told); err != nil {
		return 0, errors.New("tunnel is for the launch of a staged app, which starts it where POSTGRES_SSL_TUNNEL is set")
	}
	targets, err := resolve(told.Env)
	if err != nil {
		return 0, err
	}
	if len(targets) != told.Listeners {
		return 0, fmt.Errorf("the tunnel found %d databases where the launch had found %d", len(targets), told.Listeners)
	}
	config, err := told.Identity.serverConfig()
	if err != nil {
		return 0, err
	}
	r := newRelay(config, newJournal(os.Stderr))
	for i := range targets {
		file := os.NewFile(uintptr(listenFD+i), "listener")
		listener, err := net.FileListener(file)
		if err != nil {
			return 0, err
		}
		file.Close() // the listener has its own
		go r.listen(listener, &targets[i])
	}
	return pidFD, nil
}

// waitFor waits until a process is gone.
func waitFor(pidfd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
