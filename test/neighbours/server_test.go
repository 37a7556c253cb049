// Package neighbours runs Postern beside the real database servers from
// Debian's packages. Each test starts the servers that it needs, on loopback,
// with random ports and data of its own, as a user without privileges.
package neighbours

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

// nobody is who the servers run as when root runs the tests.
const nobody = 65534

// A server is a database server of the test's own.
type server struct {
	t    testing.TB
	name string
	dir  string // its data
	port int
	args []string // the command line that runs it in the foreground
	cert string   // of the server, for the name localhost

	cmd   *exec.Cmd
	ended chan struct{}
	out   bytes.Buffer
}

// newServer makes a server whose program, or one of them, is looked for in the
// usual places; without it the test is skipped.
func newServer(t testing.TB, name string, programs ...string) *server {
	t.Helper()
	s := &server{t: t, name: name, port: harness.FreePort(t)}
	for _, p := range programs {
		program(t, p)
	}
	var err error
	if s.dir, err = os.MkdirTemp("", name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		os.RemoveAll(s.dir)
		if t.Failed() {
			t.Logf("%s:\n%s", name, s.out.String())
		}
	})
	if os.Geteuid() == 0 {
		if err := os.Chown(s.dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// program returns the path of a program, or skips the test.
func program(t testing.TB, name string) string {
	t.Helper()
	places := []string{"/usr/sbin", "/usr/bin"}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(places, versions...) {
		if path := filepath.Join(dir, name); executable(path) {
			return path
		}
	}
	harness.Skip(t, "%s is not installed", name)
	return ""
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&0o111 != 0
}

// command prepares a command that runs as the server's user in its folder.
func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(program(s.t, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin", "HOME=" + s.dir, "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// run runs a command to its end.
func (s *server) run(stdin, name string, args ...string) string {
	s.t.Helper()
	cmd := s.command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// start runs the server and waits until it listens.
func (s *server) start() {
	s.t.Helper()
	s.cmd = s.command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(s.cmd, s.ended)
	deadline := time.Now().Add(harness.Wait)
	for {
		c, err := net.Dial("tcp", s.addr())
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-s.ended:
			s.t.Fatalf("%s ended at start:\n%s", s.name, s.out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not listen", s.name)
		}
	}
}

// kill ends the server as a crash would, and waits until all its processes are
// gone: one that is left would keep the port or the data from the next.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
	s.cmd = nil
	deadline := time.Now().Add(harness.Wait)
	for pids := s.processes(); len(pids) > 0; pids = s.processes() {
		if time.Now().After(deadline) {
			s.t.Errorf("%s: processes %d do not end", s.name, pids)
			return
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processes lists what runs in the server's folder: PostgreSQL and Dovecot take
// some of their processes out of the group.
func (s *server) processes() []int {
	var pids []int
	folders, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, path := range folders {
		where, err := os.Readlink(path)
		if err != nil || where != s.dir && !strings.HasPrefix(where, s.dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (s *server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// mariadb starts a MariaDB server with the databases of script.
func mariadb(t testing.TB, script string) *server {
	s := newServer(t, "mariadb", "mariadbd", "mariadb-install-db", "mariadb")
	s.run("", "mariadb-install-db", "--no-defaults", "--datadir="+s.dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db")
	s.cert = harness.Certificate(t, "localhost")
	if err := os.WriteFile(s.dir+"/cert.pem", []byte(s.cert), 0o644); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"mariadbd", "--no-defaults", "--ssl-cert=" + s.dir + "/cert.pem", "--ssl-key=" + s.dir + "/cert.pem", "--datadir=" + s.dir + "/data", "--socket=" + s.dir + "/sock",
		"--port=" + strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--pid-file=" + s.dir + "/pid", "--skip-log-bin",
		"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=16M", "--character-set-server=utf8mb4"}
	s.start()
	s.sql(script)
	return s
}

// sql runs statements on the server as its administrator.
func (s *server) sql(script string) string {
	s.t.Helper()
	if s.name == "mariadb" {
		return s.run(script, "mariadb", "--no-defaults", "-N", "-B", "-u", "root", "--socket="+s.dir+"/sock", "--default-character-set=utf8mb4")
	}
	return s.run(script, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "postgres")
}

// postgresql starts a PostgreSQL server with the tables of script.
func postgresql(t testing.TB, script string) *server {
	s := newServer(t, "postgresql", "postgres", "initdb", "psql")
	s.run("", "initdb", "-D", s.dir+"/data", "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
	s.args = []string{"postgres", "-D", s.dir + "/data", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir, "-F"}
	s.start()
	deadline := time.Now().Add(harness.Wait)
	for s.command("pg_isready", "-q", "-h", s.dir, "-p", strconv.Itoa(s.port)).Run() != nil {
		if time.Now().After(deadline) {
			t.Fatal("postgresql is not ready")
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.sql(script)
	return s
}

// memcached starts a memcached server.
func memcached(t testing.TB) *server {
	s := newServer(t, "memcached", "memcached")
	s.args = []string{"memcached", "-l", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "0", "-m", "8", "-t", "1"}
	s.start()
	return s
}

// file is the text of a table's configuration file.
func file(lines ...any) string {
	var b strings.Builder
	for i := 0; i+1 < len(lines); i += 2 {
		fmt.Fprintf(&b, "%v = %v\n", lines[i], lines[i+1])
	}
	return b.String()
}
