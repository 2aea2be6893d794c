// The outputs of the launched process.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// An output is a pipe that the launched process and its children write to. We pass on what they
// write. It ends when nobody has the pipe open any more.
type output struct {
	r, w *os.File
	to   io.Writer
	done chan struct{} // closed when start has nothing more to pass on
}

func newOutput(to io.Writer) (*output, error) {
	r, w, err := os.Pipe()
	return &output{r: r, w: w, to: to}, err
}

// path returns a path to the pipe, for a process that did not inherit it.
func (o *output) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), o.w.Fd())
}

// start begins to pass on the output.
func (o *output) start() {
	o.done = make(chan struct{})
	go func() {
		defer close(o.done)
		if _, err := io.Copy(o.to, o.r); !errors.Is(err, os.ErrDeadlineExceeded) {
			o.r.Close() // if we cannot write any more, the app must get a SIGPIPE
		}
	}()
}

// pause passes on what was written until now, and then nothing until the next start.
func (o *output) pause() {
	o.interrupt()
	<-o.done
	rest, n := make([]byte, 1<<16), 0 // a full pipe: pipe(7)
	if conn, err := o.r.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { n, _ = syscall.Read(int(fd), rest) }) // does not block
	}
	o.to.Write(rest[:max(n, 0)])
	o.r.SetReadDeadline(time.Time{})
}

func (o *output) interrupt() {
	o.r.SetReadDeadline(time.Now())
}

// finish waits for the end of the output. Call it when the launched process is gone.
func (o *output) finish() {
	o.w.Close()
	<-o.done
}

func (o *output) close() {
	o.r.Close()
	o.w.Close()
}
