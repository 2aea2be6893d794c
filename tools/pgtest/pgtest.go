// Package pgtest runs real PostgreSQL servers for tests. Each has its own loopback port, and the
// certificate and the rules that the test gives it.
//
//	ca := pgtest.NewCA(t, "Test Root")
//	pair := ca.Issue(t, []string{"localhost", "127.0.0.1"})
//	server := pgtest.Start(t, pgtest.Config{
//		Certificate: pair.CertPEM, Key: pair.KeyPEM,
//		HBA: []string{"hostssl all all 127.0.0.1/32 scram-sha-256"},
//		SQL: "create user app password 'secret'; create database app owner app",
//	})
//	// connect to server.Host, server.Port; then look at server.Log(t)
//
// The server ends with the test. No test is skipped: without PostgreSQL on the machine, it fails
// and says what to install.
package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Config is a test's settings for its server.
type Config struct {
	Certificate []byte            // PEM, the leaf first; without it, the server does not speak TLS
	Key         []byte            // PEM
	ClientCA    []byte            // PEM: the CAs of client certificates
	HBA         []string          // lines of pg_hba.conf; by default, loopback with a password
	Settings    map[string]string // for postgresql.conf, as written there
	SQL         string            // statements that the superuser postgres runs once
}

// Server is a running server.
type Server struct {
	Host string // "127.0.0.1"; the certificate may also be for "localhost"
	Port int

	dir string
	cmd *exec.Cmd
}

// startTimeout is long enough for a busy machine.
const startTimeout = 30 * time.Second

// Start starts a server, and stops it when the test ends.
func Start(t testing.TB, config Config) *Server {
	t.Helper()
	// Not t.TempDir: the user postgres must be able to reach the folder, and a Unix socket's path
	// has room for 107 bytes only.
	dir, err := os.MkdirTemp(place(), "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := own(dir); err != nil {
		t.Fatal(err)
	}
	cluster, err := emptyCluster()
	if err != nil {
		t.Fatal(err)
	}
	unpack := command(dir, "tar", "-x")
	unpack.Stdin = bytes.NewReader(cluster)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("pgtest: tar: %v\n%s", err, out)
	}
	s := &Server{Host: "127.0.0.1", dir: dir}
	s.configure(t, config)
	// Another program may take the port before the server does.
	for attempt := 1; ; attempt++ {
		if s.start(t) {
			break
		}
		if attempt == 3 || !strings.Contains(s.Log(t), "Address already in use") {
			t.Fatalf("pgtest: the server does not start:\n%s", s.Log(t))
		}
	}
	t.Cleanup(s.stop)
	if config.SQL != "" {
		s.SQL(t, config.SQL)
	}
	return s
}

// place is where a server's thousand small files go: to memory if there is room, where they take a
// tenth of the time. scripts/test.sh has a folder there, and removes it even if it is interrupted.
func place() string {
	const memory, room = "/dev/shm", 1 << 30
	var s syscall.Statfs_t
	switch {
	case strings.HasPrefix(os.TempDir(), memory+"/postgres-ssl-test."):
		return os.TempDir()
	case syscall.Statfs(memory, &s) == nil && s.Bavail*uint64(s.Bsize) > room:
		return memory
	}
	return "/tmp"
}

// SQL runs statements as the superuser postgres. It returns psql's output: a line per row, with "|"
// between columns.
func (s *Server) SQL(t testing.TB, statements string) string {
	t.Helper()
	cmd := command(s.dir, "psql", "-h", s.dir, "-p", strconv.Itoa(s.Port), "-U", "postgres", "-d", "postgres",
		"-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1")
	cmd.Stdin = strings.NewReader(statements) // one transaction each: CREATE DATABASE needs that
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pgtest: psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// SocketDir is the folder of the server's Unix socket. Only the server's user and root can reach
// it. Only the superuser postgres and the users in a "local" line of Config.HBA can log in there.
func (s *Server) SocketDir() string { return s.dir }

// Log returns what the server has logged so far.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// Reload gives the running server a new configuration. Open sessions stay open.
func (s *Server) Reload(t testing.TB, config Config) {
	t.Helper()
	const received = "received SIGHUP"
	before := s.Log(t)
	s.configure(t, config)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return strings.Count(s.Log(t), received) > strings.Count(before, received) })
	s.SQL(t, "select 1") // the postmaster takes a connection only when it is done with the signal
	if news := strings.TrimPrefix(s.Log(t), before); strings.Contains(news, "not reloaded") || strings.Contains(news, "contains errors") {
		t.Fatalf("pgtest: the server refuses its new configuration:\n%s", news)
	}
}

// configure writes the files of a configuration. The next start or reload reads them.
func (s *Server) configure(t testing.TB, config Config) {
	t.Helper()
	settings := []string{
		"listen_addresses = '" + s.Host + "'",
		"unix_socket_directories = '" + s.dir + "'",
		"fsync = off",
		"max_connections = 50",
		"shared_buffers = 16MB",
		"autovacuum = off",
		"log_connections = on", // with their TLS version and cipher
	}
	if config.Certificate != nil {
		s.write(t, "server.crt", config.Certificate)
		s.write(t, "server.key", config.Key)
		settings = append(settings, "ssl = on")
		if config.ClientCA != nil {
			s.write(t, "root.crt", config.ClientCA)
			settings = append(settings, "ssl_ca_file = 'root.crt'")
		}
	}
	for name, value := range config.Settings {
		settings = append(settings, name+" = "+value)
	}
	slices.Sort(settings[7:])
	hba := config.HBA
	if hba == nil {
		hba = []string{"host all all 127.0.0.1/32 scram-sha-256"}
	}
	s.write(t, "postgresql.conf", []byte(strings.Join(settings, "\n")+"\n"))
	// The socket's folder is private, so anybody who can reach it may be the superuser.
	s.write(t, "pg_hba.conf", []byte("local all postgres trust\n"+strings.Join(hba, "\n")+"\n"))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) write(t testing.TB, name string, content []byte) {
	t.Helper()
	path := filepath.Join(s.data(), name)
	err := os.WriteFile(path, content, 0o600)
	if err == nil {
		err = own(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start says whether the server came up.
func (s *Server) start(t testing.TB) bool {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the server has its own descriptor
	s.Port = port
	s.cmd = command(s.dir, "postgres", "-D", s.data(), "-p", strconv.Itoa(port))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // how it ended is in the log
		close(gone)
	}()
	up := false
	wait(t, func() bool {
		select {
		case <-gone:
			return true
		default:
		}
		// The eighth line is the postmaster's state (src/include/utils/pidfile.h,
		// LOCK_FILE_LINE_PM_STATUS).
		pidfile, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
		lines := strings.Split(string(pidfile), "\n")
		up = err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
		return up
	})
	return up
}

// stop ends the server at once: nobody needs its data.
func (s *Server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // it may be gone already
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s.cmd.Process.Signal(syscall.Signal(0)) != nil {
			return
		}
	}
	_ = s.cmd.Process.Kill()
}

// emptyCluster runs initdb once per process and keeps the result in memory, as a tar file. It
// leaves nothing behind. Small WAL files keep it small.
var emptyCluster = sync.OnceValues(func() ([]byte, error) {
	if _, err := os.Stat(filepath.Join(binDir(), "initdb")); err != nil {
		return nil, errors.New("pgtest: no PostgreSQL server is installed; on Debian or Ubuntu: apt-get install postgresql")
	}
	dir, err := os.MkdirTemp(place(), "pgtest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // if that fails, the rest is only in a place for temporary files
	if err := own(dir); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	out, err := command(dir, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
		"--wal-segsize=1", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	return command(dir, "tar", "-c", "data").Output()
})

// binDir is the folder of the machine's newest PostgreSQL server: Debian's place, or the one on
// PATH.
var binDir = sync.OnceValue(func() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well-formed
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return ""
	}
	return filepath.Dir(path)
})

func version(path string) int {
	// Without a number, it counts as the oldest.
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// command returns a command that runs a program of PostgreSQL or of the system. It runs as a user
// that PostgreSQL accepts, without PG* variables.
func command(dir, name string, args ...string) *exec.Cmd {
	path := filepath.Join(binDir(), name)
	if _, err := os.Stat(path); err != nil {
		path = name
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	// If the test is killed, its servers end too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Credential: serverUser()}
	return cmd
}

// serverUser is nil unless the tests run as root: PostgreSQL refuses to run only as root.
var serverUser = sync.OnceValue(func() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return nil
})

// own gives a file to the server's user.
func own(path string) error {
	if user := serverUser(); user != nil {
		return os.Chown(path, int(user.Uid), int(user.Gid))
	}
	return nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close() // closing an unused listener does not fail
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// Nobody returns a port of loopback at which nobody listens while the test runs. It is taken, so that
// no other program gets it.
func Nobody(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return address.(*syscall.SockaddrInet4).Port
}

// Listen listens at a port of loopback until the test ends, and returns the port. It calls serve for
// each connection, and closes the connection afterwards.
func Listen(t testing.TB, serve func(net.Conn)) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

// Silent is for Listen: a server that never answers.
func Silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Greeting is for Listen: a server that is not Postgres, and sends this text.
func Greeting(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = conn.Write([]byte(text + "\r\n"))
		Silent(conn)
	}
}

func wait(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("pgtest: the server takes too long")
		}
	}
}
