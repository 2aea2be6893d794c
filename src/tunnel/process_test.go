package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// TestMain makes several programs of this one: the tests, a launch, and the tunnel that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "confined": // the rest of the arguments
		if err = confine(); err == nil {
			err = syscall.Exec(os.Args[0], append(os.Args[:1], os.Args[2:]...), os.Environ())
		}
	case "tunnel":
		dieOnRequest()
		err = Run(os.Stdin)
	case "launch": // PID: as `postgres-ssl env` does it
		err = launchForTest()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
	syscall.Exit(0) // os.Exit waits for a second under the race detector
}

// confine forbids this process and its children the system calls that are too new for Cloud
// Foundry's containers. Their list of allowed calls (cloudfoundry/guardian,
// guardiancmd/seccomp_linux.go) ends before pidfd_send_signal, except for openat2. From 424 on, all
// architectures have the same numbers.
func confine() error {
	const firstNew, openat2 = 424, 437
	// SECCOMP_RET_ERRNO and SECCOMP_RET_ALLOW (seccomp(2)). The C library needs ENOSYS for clone3.
	const refuse, allow = 0x00050000 | uint32(syscall.ENOSYS), 0x7fff0000
	filter := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: syscall.BPF_JMP | syscall.BPF_JGE | syscall.BPF_K, K: firstNew, Jf: 2},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: openat2, Jt: 1},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: refuse},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: allow},
	}
	const setNoNewPrivileges, filterMode = 38, 2 // PR_SET_NO_NEW_PRIVS (prctl(2)), SECCOMP_MODE_FILTER
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // a filter is for this thread and what it executes
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivileges, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_SECCOMP, filterMode, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	const pidfdOpen = 434
	if _, _, errno := syscall.RawSyscall(pidfdOpen, uintptr(os.Getpid()), 0, 0); errno != syscall.ENOSYS {
		return fmt.Errorf("control: pidfd_open is allowed: %w", errno)
	}
	return nil
}

func launchForTest() error {
	pid, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(os.Getenv("PORT"))
	if err != nil {
		return err
	}
	certs, err := truststore.ParseCredential(os.Getenv("CA"))
	if err != nil {
		return err
	}
	database := wire.Target{Name: "db", Address: wire.Address{Host: "localhost", Port: uint16(port)}, Mode: sslmode.VerifyFull, Trust: []wire.Anchor{{Cert: certs[0]}}}
	endpoints := []binding.Endpoint{{Host: database.Host, Port: database.Port}}
	started, err := Start(pid, endpoints, []wire.Target{database}, strings.Fields(os.Getenv("BESIDE")))
	if err == nil {
		fmt.Println(netip.AddrPortFrom(started.Address(0), database.Port), mark(started))
	}
	return err
}

// dieOnRequest makes this program panic on SIGUSR1, outside any connection.
func dieOnRequest() {
	request := make(chan os.Signal, 1)
	signal.Notify(request, syscall.SIGUSR1)
	go func() {
		<-request
		fault(nil)
	}()
}

func fault(m map[string]string) { m[password] = password }

// app is a launched app with a tunnel beside it.
type app struct {
	address        netip.AddrPort
	in             io.WriteCloser
	stdout, stderr *bufio.Reader
	errPipe        *os.File
	cmd            *exec.Cmd
}

// soon is how long a tunnel may stay when nobody needs it: 2 s on an idle machine.
const soon = time.Minute

// untilItsInputEnds is an app.
const untilItsInputEnds = "exec cat"

// launchApp starts a shell that becomes the app, a command.
func launchApp(t *testing.T, server *pgtest.Server, ca *pgtest.CA, before, becomes string, files ...*os.File) *app {
	t.Helper()
	cmd := exec.Command("bash", "-c", before+`started=$("$0" confined launch $$) || exit 1
echo "$started"
export MARK=${started#* }
`+becomes, os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", server.Port), "CA="+string(ca.PEM))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	outRead, outWrite, err := os.Pipe()
	require.NoError(t, err)
	errRead, errWrite, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = outWrite, errWrite, files
	require.NoError(t, cmd.Start())
	outWrite.Close()
	errWrite.Close()
	a := &app{in: in, stdout: bufio.NewReader(outRead), stderr: bufio.NewReader(errRead), errPipe: errRead, cmd: cmd}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
		outRead.Close()
		errRead.Close()
	})
	line, err := a.stdout.ReadString('\n')
	require.NoError(t, err)
	address, _, _ := strings.Cut(line, " ")
	a.address, err = netip.ParseAddrPort(address)
	require.NoError(t, err)
	return a
}

func (a *app) settings() string {
	return fmt.Sprintf("host=%s port=%d dbname=app user=app password=%s sslmode=disable", a.address.Addr(), a.address.Port(), password)
}

// tunnels finds the processes that have the app's listener: the tunnel, then its heir.
func (a *app) tunnels(t *testing.T) (pids []int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	at := a.address.Addr().As4()
	slices.Reverse(at[:])
	inode := ""
	for _, line := range strings.Split(string(table), "\n") {
		const local, state, node = 1, 3, 9
		if f := strings.Fields(line); len(f) > node && f[local] == fmt.Sprintf("%X:%04X", at[:], a.address.Port()) && f[state] == "0A" {
			inode = f[node]
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	require.NoError(t, err)
	parent := map[int]int{}
	for _, link := range links {
		if to, _ := os.Readlink(link); to == "socket:["+inode+"]" {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			require.NoError(t, err)
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 1 {
				parent[pid], err = strconv.Atoi(fields[1])
				require.NoError(t, err)
			}
		}
	}
	for pid, from := range parent {
		if _, isHeir := parent[from]; isHeir {
			pids = append(pids, pid)
		} else {
			pids = append([]int{pid}, pids...)
		}
	}
	return pids
}

// tunnel returns the tunnel's process, once it has an heir.
func (a *app) tunnel(t *testing.T) (tunnel, heir *os.Process) {
	t.Helper()
	require.Eventually(t, func() bool { return len(a.tunnels(t)) == 2 }, patience, 10*time.Millisecond)
	pids := a.tunnels(t)
	tunnel, err := os.FindProcess(pids[0])
	require.NoError(t, err)
	heir, err = os.FindProcess(pids[1])
	require.NoError(t, err)
	return tunnel, heir
}

// gone says whether the tunnel has stopped listening.
func (a *app) gone() bool {
	conn, err := net.Dial("tcp4", a.address.String())
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func TestTheTunnelGoesWithItsAppAndWithNoOther(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	web, sidecar := launchApp(t, server, ca, "", untilItsInputEnds), launchApp(t, server, ca, "", untilItsInputEnds)
	for _, a := range []*app{web, sidecar} {
		conn, err := connect(t, a.settings())
		require.NoError(t, err)
		assert.Equal(t, "t TLSv1.3", ask(t, conn, whoAmI))
		require.NoError(t, conn.Close(t.Context())) // or somebody would still need the tunnel
	}
	require.NoError(t, web.in.Close())
	require.NoError(t, web.cmd.Wait())
	exited := time.Now()
	_, err := io.ReadAll(web.stdout)
	require.NoError(t, err)
	log, err := io.ReadAll(web.stderr)
	require.NoError(t, err)
	assert.Less(t, time.Since(exited), soon, "until the end of the app's output")
	assert.Empty(t, string(log))
	assert.Eventually(t, web.gone, soon, time.Millisecond)

	_, err = connect(t, sidecar.settings())
	assert.NoError(t, err, "the other launch's tunnel stays")
}

func TestAProcessIsGoneWhenItHasEnded(t *testing.T) {
	t.Parallel()
	start := func(arguments ...string) (*exec.Cmd, io.Closer, *os.File) {
		cmd := exec.Command(arguments[0], arguments[1:]...)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		stat, err := os.Open(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		require.NoError(t, err)
		t.Cleanup(func() { stat.Close() })
		return cmd, in, stat
	}
	t.Run("a process", func(t *testing.T) {
		cmd, in, stat := start("cat")
		assert.True(t, alive(stat))
		require.NoError(t, in.Close())
		assert.Eventually(t, func() bool { return !alive(stat) }, patience, time.Millisecond, "and its parent did not ask yet")
		require.NoError(t, cmd.Wait())
		assert.False(t, alive(stat), "the parent did")
	})
	t.Run("a process whose first thread has ended", func(t *testing.T) {
		const exitThread = "import ctypes, sys, threading; threading.Thread(target=sys.stdin.read).start(); ctypes.CDLL(None).syscall(%d, 0)"
		cmd, in, stat := start("python3", "-c", fmt.Sprintf(exitThread, syscall.SYS_EXIT))
		text := func() string {
			line, err := os.ReadFile(stat.Name())
			require.NoError(t, err)
			return string(line)
		}
		require.Eventually(t, func() bool { return strings.Contains(text(), ") Z ") }, patience, time.Millisecond)
		assert.True(t, alive(stat))
		require.NoError(t, in.Close())
		assert.Eventually(t, func() bool { return !alive(stat) }, patience, time.Millisecond)
		_ = cmd.Wait() // Python chooses the exit status
	})
}

func TestSignalsAreForTheApp(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	a := launchApp(t, server, ca, "", untilItsInputEnds)
	tunnel, heir := a.tunnel(t)
	holder, err := connect(t, a.settings())
	require.NoError(t, err)
	ask(t, holder, "select pg_advisory_lock(1)")
	conn, err := connect(t, a.settings())
	require.NoError(t, err)
	done := make(chan error)
	go func() { // a query that waits until the lock is released
		_, err := conn.Exec(context.Background(), "select pg_advisory_lock(1)").ReadAll()
		done <- err
	}()
	waits := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d and wait_event_type = 'Lock'", conn.PID())
	require.Eventually(t, func() bool { return server.SQL(t, waits) == "1" }, patience, 10*time.Millisecond)
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGABRT, syscall.SIGQUIT} {
		require.NoError(t, tunnel.Signal(signal))
		require.NoError(t, heir.Signal(signal))
	}
	ask(t, holder, "select pg_advisory_unlock(1)")
	assert.NoError(t, <-done)
	_, err = connect(t, a.settings())
	assert.NoError(t, err)
	require.NoError(t, heir.Kill())
	require.NoError(t, tunnel.Kill(), "control: it is the tunnel that was sent them")
	assert.Eventually(t, a.gone, patience, time.Millisecond)
	require.NoError(t, a.in.Close())
	log, err := io.ReadAll(a.stderr)
	require.NoError(t, err)
	assert.Empty(t, string(log), "no signal makes Go print what it does")
}

// An app that looks healthy and reaches no database would be the worst of both.
func TestATunnelThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	const tookOver = "postgres-ssl tunnel: the tunnel died, and another one took over: connections are lost, new ones are taken\n"
	for name, test := range map[string]struct {
		signal os.Signal
		says   string
	}{
		"killed":                   {syscall.SIGKILL, tookOver}, // as the kernel does when memory runs out
		"a fault of the program's": {syscall.SIGUSR1, "panic: assignment to entry in nil map\n" + tookOver},
	} {
		t.Run(name, func(t *testing.T) {
			a := launchApp(t, server, ca, "", untilItsInputEnds)
			for range 2 { // the heir has an heir
				tunnel, heir := a.tunnel(t)
				conn, err := connect(t, a.settings())
				require.NoError(t, err)
				ask(t, conn, "select 1")
				require.NoError(t, tunnel.Signal(test.signal))
				_, err = conn.Exec(t.Context(), "select pg_sleep(60)").ReadAll()
				assert.Error(t, err, "who was connected hears of it")
				conn, err = connect(t, a.settings()+" sslmode=require")
				require.NoError(t, err, "whoever connects now waits until the heir is up")
				assert.Equal(t, "t TLSv1.3", ask(t, conn, whoAmI))
				require.NoError(t, conn.Close(t.Context()))
				next, _ := a.tunnel(t)
				assert.Equal(t, heir.Pid, next.Pid)
			}
			_, err := io.WriteString(a.in, "still here\n")
			require.NoError(t, err)
			line, err := a.stdout.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, "still here\n", line, "the app goes on")
			require.NoError(t, a.in.Close())
			log, err := io.ReadAll(a.stderr)
			require.NoError(t, err)
			assert.Equal(t, test.says+test.says, string(log))
			assert.Eventually(t, a.gone, soon, time.Millisecond)
		})
	}
	t.Run("so is an heir", func(t *testing.T) {
		a := launchApp(t, server, ca, "", untilItsInputEnds)
		tunnel, heir := a.tunnel(t)
		require.NoError(t, heir.Kill())
		require.Eventually(t, func() bool { return len(a.tunnels(t)) == 1 }, patience, time.Millisecond)
		same, next := a.tunnel(t)
		assert.Equal(t, tunnel.Pid, same.Pid)
		assert.NotEqual(t, heir.Pid, next.Pid)
	})
	t.Run("where all of them are gone, nothing bypasses it", func(t *testing.T) {
		a := launchApp(t, server, ca, "", untilItsInputEnds)
		tunnel, heir := a.tunnel(t)
		require.NoError(t, heir.Kill())
		require.NoError(t, tunnel.Kill())
		require.Eventually(t, a.gone, patience, time.Millisecond)
		before := strings.Count(server.Log(t), "connection received")
		_, err := connect(t, a.settings())
		assert.ErrorContains(t, err, "connection refused")
		assert.Equal(t, before, strings.Count(server.Log(t), "connection received"))
	})
}

// At the end of an instance, the platform sends SIGTERM to the launched process alone. A start script
// dies of it, and its app may go on with its work.
func TestATunnelOutlivesAStartScriptButNotItsApp(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	for name, test := range map[string]struct {
		becomes string
		signal  os.Signal
		works   bool // the app goes on
	}{
		"exec, TERM":                      {untilItsInputEnds, syscall.SIGTERM, false},
		"exec, KILL":                      {untilItsInputEnds, syscall.SIGKILL, false},
		"a crash":                         {untilItsInputEnds, syscall.SIGSEGV, false},
		"a start script, TERM":            {`exec bash -c 'cat; true'`, syscall.SIGTERM, true},
		"a start script, KILL":            {`exec bash -c 'cat; true'`, syscall.SIGKILL, true},
		"migrate && serve":                {`exec bash -c 'true && cat && true'`, syscall.SIGTERM, true},
		"control: no address, no claim":   {`exec bash -c 'env -u MARK cat; true'`, syscall.SIGTERM, false},
		"a script that passes the signal": {`exec bash -c 'trap "kill %1; wait; exit" TERM; cat <&0 & wait'`, syscall.SIGTERM, false},
		"a child of the shell that execs": {`cat <&0 & exec sleep 600 </dev/null`, syscall.SIGKILL, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := launchApp(t, server, ca, "", test.becomes)
			_, err := io.WriteString(a.in, "runs\n")
			require.NoError(t, err)
			line, err := a.stdout.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "runs\n", line)
			tunnel, heir := a.tunnel(t)
			require.NoError(t, a.cmd.Process.Signal(test.signal))
			_, _ = a.cmd.Process.Wait()
			if !test.works {
				assert.Eventually(t, a.gone, soon, time.Millisecond)
				return
			}
			lets := func(p *os.Process) func() bool {
				return func() bool {
					to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", p.Pid))
					return to == os.DevNull
				}
			}
			assert.Eventually(t, lets(tunnel), soon, time.Millisecond, "the platform waits for the end of the output")
			assert.Eventually(t, lets(heir), soon, time.Millisecond)
			conn, err := connect(t, a.settings())
			require.NoError(t, err)
			assert.Equal(t, "t TLSv1.3", ask(t, conn, whoAmI))
			require.NoError(t, tunnel.Kill())
			conn, err = connect(t, a.settings())
			require.NoError(t, err, "the heir works too")
			require.NoError(t, conn.Close(t.Context()))
			require.NoError(t, a.in.Close())
			assert.Eventually(t, a.gone, soon, time.Millisecond)
			log, err := io.ReadAll(a.stderr)
			require.NoError(t, err)
			assert.NotContains(t, string(log), "took over", "no output is left")
		})
	}
}

func TestALogThatNobodyReadsDoesNoHarm(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	a := launchApp(t, server, ca, "", untilItsInputEnds)
	junk := func(a *app) {
		conn, err := net.Dial("tcp4", a.address.String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		require.NoError(t, err)
		_, _ = io.ReadAll(conn)
	}
	require.NoError(t, a.errPipe.Close())
	junk(a)
	_, err := connect(t, a.settings()+" user=nobody")
	require.Error(t, err)
	_, err = connect(t, a.settings())
	assert.NoError(t, err)

	full := launchApp(t, server, ca, "exec 2>&3\n", untilItsInputEnds, stuckPipe(t))
	junk(full)
	for range 3 {
		_, err = connect(t, full.settings()+" user=nobody")
		require.ErrorContains(t, err, "28P01")
		_, err = connect(t, full.settings())
		assert.NoError(t, err)
	}

	heard := launchApp(t, server, ca, "", untilItsInputEnds)
	_, err = connect(t, heard.settings()+" user=nobody")
	require.Error(t, err)
	line, err := heard.stderr.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "postgres-ssl tunnel: db: the server refuses the login (SQLSTATE 28P01)\n", line, "control: there was something to say")
}

// stuckPipe is a full pipe that nobody reads.
func stuckPipe(t *testing.T) *os.File {
	t.Helper()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() {
		read.Close()
		write.Close()
	})
	fd := int(write.Fd())
	require.NoError(t, syscall.SetNonblock(fd, true))
	for err == nil {
		_, err = syscall.Write(fd, make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.EAGAIN)
	require.NoError(t, syscall.SetNonblock(fd, false)) // as a log is
	return write
}

func TestTheTunnelHoldsNothingButWhatItIsGiven(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewCA(t, "Root")
	server := pgtest.Start(t, serving(t, ca, "localhost"))
	file := filepath.Join(t.TempDir(), "opened-by-the-script")
	a := launchApp(t, server, ca, "exec 7>'"+file+"'\n", untilItsInputEnds)
	running, heir := a.tunnel(t)
	for _, process := range []*os.Process{running, heir} {
		holdsNothing(t, a, fmt.Sprintf("/proc/%d/", process.Pid), file)
	}
}

func holdsNothing(t *testing.T, a *app, tunnel, file string) {
	t.Helper()
	app := fmt.Sprintf("/proc/%d/fd/", a.cmd.Process.Pid)
	links, err := filepath.Glob(tunnel + "fd/*")
	require.NoError(t, err)
	stdout, err := os.Readlink(app + "1")
	require.NoError(t, err)
	for _, link := range links {
		to, _ := os.Readlink(link)
		assert.NotEqual(t, file, to)
		assert.NotEqual(t, stdout, to, "the app's output")
	}
	opened, err := os.Readlink(app + "7")
	require.NoError(t, err)
	assert.Equal(t, file, opened, "control: the app has it")

	environment, err := os.ReadFile(tunnel + "environ")
	require.NoError(t, err)
	assert.Equal(t, "GOTRACEBACK=none\x00", string(environment))
	arguments, err := os.ReadFile(tunnel + "cmdline")
	require.NoError(t, err)
	assert.Equal(t, os.Args[0]+"\x00tunnel\x00", string(arguments))
	folder, err := os.Readlink(tunnel + "cwd")
	require.NoError(t, err)
	assert.Equal(t, "/", folder)
}

func TestATunnelThatCannotStartStopsTheLaunch(t *testing.T) {
	t.Parallel()
	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	everywhere, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer everywhere.Close()
	taken := uint16(everywhere.Addr().(*net.TCPAddr).Port)
	for name, test := range map[string]struct {
		pid, targets int
		port         uint16
		local        int
		says         string
	}{
		"a process that is gone": {gone.Process.Pid, 1, 5432, 0, "cannot watch the process"},
		"a tunnel that ends":     {os.Getpid(), 2, 5432, 0, "the tunnel ended as soon as it was started"}, // it misses a listener
		"too many hosts":         {os.Getpid(), 1, 5432, mostAddresses, "the bindings name more than 254 hosts"},
		"a port that is taken": {os.Getpid(), 1, taken, 0,
			fmt.Sprintf("a process of this container listens at port %d of all addresses, and the tunnel needs it: ", taken)},
	} {
		t.Run(name, func(t *testing.T) {
			endpoints := []binding.Endpoint{{Host: "db.example.com", Port: test.port, Local: test.local}}
			_, err := Start(test.pid, endpoints, make([]wire.Target, test.targets), nil)
			assert.ErrorContains(t, err, test.says)
		})
	}
	t.Run("a launch or a tunnel that ends in between is no error", func(t *testing.T) { // a short task
		stat, err := os.Open(fmt.Sprintf("/proc/%d/stat", os.Getpid()))
		require.NoError(t, err)
		defer stat.Close()
		cmd := exec.Command(os.Args[0], "tunnel")
		cmd.ExtraFiles = []*os.File{stat}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err)
		assert.Empty(t, string(out))
	})
	t.Run("run by hand", func(t *testing.T) {
		out, err := exec.Command(os.Args[0], "tunnel").CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(out), "tunnel is for the launch of a staged app")
	})
}
