package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

// process is a tunnel's process. It keeps an heir: a second process with the same files, which does
// nothing until the first one dies. Then it takes over, and keeps an heir itself.
type process struct {
	settings
	stat      *os.File
	listeners []*os.File
	relays    []*relay
	heir      atomic.Pointer[json.Encoder] // for the words below
	log       *journal
}

// What a tunnel says to its heir. If it dies, it says nothing any more.
const (
	quiet = "let go of the output"
	ended = "there is nothing left to do"
)

// Run is the tunnel's process. It returns when no process is left that may connect, or at once if
// the tunnel cannot start.
func Run(in io.Reader) error {
	// SIGTERM and the like are meant for the app, which may still need its connections to finish its
	// work. SIGPIPE comes when nobody reads the log any more. At SIGABRT and SIGQUIT, Go would print
	// what it does.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGABRT, syscall.SIGQUIT)
	p, words := &process{stat: os.NewFile(statFD, "stat")}, json.NewDecoder(in)
	if words.Decode(&p.settings) != nil {
		return errors.New("tunnel is for the launch of a staged app, which starts it where POSTGRES_SSL_TUNNEL is set")
	}
	if p.Heir && !died(words) {
		return nil
	}
	p.log = newJournal(os.Stderr)
	err := p.serve()
	if err == nil {
		err = os.Chdir("/")
	}
	switch {
	case p.Heir:
		p.log.say("", "died", "the tunnel died, and another one took over: connections are lost, new ones are taken")
	case err != nil:
		return json.NewEncoder(os.Stdout).Encode(answer{Error: err.Error()})
	default:
		if err := json.NewEncoder(os.Stdout).Encode(answer{}); err != nil {
			return err
		}
	}
	go p.keepHeir()
	go p.watch()
	p.wait()
	return err
}

// died waits, as an heir, until the tunnel ends, and says whether it died.
func died(words *json.Decoder) bool {
	for word := ""; word != ended; {
		if words.Decode(&word) != nil {
			return true
		}
		if word == quiet {
			letGo()
		}
	}
	return false
}

// serve takes connections from here on.
func (p *process) serve() error {
	targets, err := wire.Unpack(p.Targets)
	if err != nil {
		return err
	}
	config, err := p.Identity.config()
	if err != nil {
		return err
	}
	most := mostSessions(len(targets))
	for i := range targets {
		file := os.NewFile(uintptr(listenFD+i), "listener")
		listener, err := net.FileListener(file)
		if err != nil {
			return err
		}
		r := newRelay(&targets[i], config, p.log)
		r.most = min(r.most, most)
		p.listeners, p.relays = append(p.listeners, file), append(p.relays, r)
		go r.listen(listener)
	}
	return nil
}

// mostSessions is how many connections each database may have by the limit on open files: each needs
// two, and some more may wait.
func mostSessions(databases int) int64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return mostConnections
	}
	const own, each = 64, 4
	return max(1, (int64(min(limit.Cur, 1<<20))-own)/int64(each*databases))
}

// keepHeir starts an heir, and another one whenever it ends.
func (p *process) keepHeir() {
	heir := p.settings
	heir.Heir = true
	for ; ; time.Sleep(time.Second) {
		program, err := os.Executable()
		if err != nil {
			continue
		}
		cmd := command(program, append([]*os.File{p.stat}, p.listeners...))
		in, err := cmd.StdinPipe()
		if err != nil || cmd.Start() != nil {
			continue // out of memory, perhaps: try again
		}
		words := json.NewEncoder(in)
		_ = words.Encode(heir) // if it has died, Wait says so
		p.heir.Store(words)
		_ = cmd.Wait()
	}
}

// say says a word to the heir.
func (p *process) say(word string) {
	if heir := p.heir.Load(); heir != nil {
		_ = heir.Encode(word) // if it has died, it needs no word
	}
}

// wait returns when the launched process is gone, and all others that may connect: a start script
// that the platform ends may leave its app behind, to finish its work. The output is let go of
// first, since the platform waits for its end.
func (p *process) wait() {
	const often = 100 * time.Millisecond // and costs nothing
	for alive(p.stat) {
		time.Sleep(often)
	}
	letGo()
	p.say(quiet)
	for p.connected() || anyMarked(p.Mark) {
		time.Sleep(often)
	}
	p.say(ended)
}

func (p *process) connected() bool {
	for _, r := range p.relays {
		if r.connections.Load() > 0 {
			return true
		}
	}
	return false
}

// alive says whether a process runs, from its /proc/PID/stat: "PID (NAME) STATE …", and further on
// the number of threads (proc(5)). State Z means that the process has ended, or only its first
// thread. Once its parent has waited for it, there is nothing to read.
func alive(stat *os.File) bool {
	line := make([]byte, 1024)
	n, _ := stat.ReadAt(line, 0)
	fields := strings.Fields(string(line[bytes.LastIndexByte(line[:n], ')')+1 : n]))
	const state, threads = 0, 17
	if len(fields) <= threads {
		return false
	}
	ended := fields[state] == "Z" || fields[state] == "X"
	return !ended || fields[threads] != "1"
}

// anyMarked says whether a process has the mark in its environment. /proc/PID/environ shows what it
// was started with.
func anyMarked(mark string) bool {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// letGo replaces stderr, the app's log, by nothing.
func letGo() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		_ = syscall.Dup3(int(null.Fd()), int(os.Stderr.Fd()), 0)
		null.Close()
	}
}
