package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// process is a tunnel's process, with what the launch tells it in JSON. Each launch has its own: a
// shared one would keep an output open whose launch has ended, and the platform reads a process's
// output to the end. It keeps an heir: a process with the same files, which waits until this one
// ends. If somebody may still connect then, it takes over, and keeps an heir itself.
type process struct {
	Targets  []wire.Target
	Identity identity
	Beside   []string // hosts of databases that the app connects to without the tunnel
	Mark     string   // the environment of each process that knows the tunnel's addresses contains it
	Heir     bool

	files  []*os.File // those that it inherits, and its heir too
	relays []*relay
	log    *journal
}

const often = 100 * time.Millisecond // a look whether the tunnel is needed costs nothing

// Run is the tunnel's process, told its settings by in. It returns when no process is left that may
// connect, or an error if the tunnel cannot start.
func Run(in io.Reader) error {
	// SIGTERM and the like are meant for the app, which may still need its connections to finish its
	// work. SIGPIPE comes when nobody reads the log any more. At SIGABRT and SIGQUIT, Go would print
	// what it does.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGABRT, syscall.SIGQUIT)
	debug.SetGCPercent(50) // a login makes garbage, of which a session needs nothing
	stat := os.NewFile(statFD, "stat")
	p := &process{files: []*os.File{stat}, log: newJournal(os.Stderr)}
	if file, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", statFD)); !strings.Contains(file, "/stat") {
		return errors.New("tunnel is for the launch of a staged app, which starts it where POSTGRES_SSL_TUNNEL is set")
	}
	go func() { // the platform waits for the end of the output
		for alive(stat) {
			time.Sleep(often)
		}
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			_ = syscall.Dup3(int(null.Fd()), int(os.Stderr.Fd()), 0)
			null.Close()
		}
	}()
	told, _ := io.ReadAll(in) // which ends when the launch has told everything, or the tunnel before this one is gone
	if json.Unmarshal(told, p) != nil || p.unneeded() {
		return nil
	}
	if p.Heir {
		p.log.say("", "died", "the tunnel died, and another one took over: connections are lost, new ones are taken")
	}
	if err := p.serve(); err != nil {
		return err
	}
	_, _ = io.WriteString(os.Stdout, ready) // the launch may have ended
	go p.keepHeir()
	go p.watch()
	for !p.unneeded() {
		time.Sleep(often)
	}
	return nil
}

func (p *process) serve() error {
	config, err := p.Identity.config()
	if err != nil {
		return err
	}
	for i := range p.Targets {
		file := os.NewFile(uintptr(firstListenerFD+i), "listener")
		listener, err := net.FileListener(file)
		if err != nil {
			return err
		}
		r := newRelay(&p.Targets[i], config, p.log)
		r.most, r.logins = mostSessions(len(p.Targets)), make(chan struct{}, max(1, mostLogins/len(p.Targets)))
		p.files, p.relays = append(p.files, file), append(p.relays, r)
		go r.listen(listener)
	}
	return os.Chdir("/")
}

// mostSessions is how many connections each database may have, also by the limit on open files: each
// needs two, and some more may wait.
func mostSessions(databases int) int64 {
	limit := syscall.Rlimit{Cur: 1024} // if it is not known
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	const own, each = 64, 4
	return min(mostConnections, max(1, (int64(min(limit.Cur, 1<<20))-own)/int64(each*databases)))
}

func (p *process) keepHeir() {
	heir := *p
	heir.Heir = true
	for ; ; time.Sleep(time.Second) {
		if cmd, _, err := heir.start(); err == nil { // or out of memory, perhaps: try again
			_ = cmd.Wait()
		}
	}
}

// unneeded says whether all processes that may connect are gone. A start script that the platform
// ends may leave its app behind, to finish its work.
func (p *process) unneeded() bool {
	connected := func(r *relay) bool { return r.connections.Load() > 0 }
	return !alive(p.files[0]) && !slices.ContainsFunc(p.relays, connected) && !anyMarked(p.Mark)
}

// alive says whether a process runs, from its /proc/PID/stat: "PID (NAME) STATE …", and further on
// the number of threads (proc(5)). State Z means that the process has ended, or only its first
// thread. Once its parent has waited for it, there is nothing to read.
func alive(stat *os.File) bool {
	line := make([]byte, 1024)
	n, _ := stat.ReadAt(line, 0)
	fields := strings.Fields(string(line[bytes.LastIndexByte(line[:n], ')')+1 : n]))
	const state, threads = 0, 17
	return len(fields) > threads && (!strings.Contains("ZX", fields[state]) || fields[threads] != "1")
}

// anyMarked says whether any process was started with the mark in its environment.
func anyMarked(mark string) bool {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	return slices.ContainsFunc(environments, func(path string) bool {
		text, _ := os.ReadFile(path) // it may be gone, or somebody else's
		return bytes.Contains(text, []byte(mark))
	})
}
