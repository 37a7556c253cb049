package master

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/service"
)

// TestMain makes the test binary a master and toy programs, by the name that
// it is called by.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "master":
		os.Exit(Main(os.Args, nil, func(c *maincf.Config, s *mastercf.Service) []error {
			set := param.NewSet()
			new(toy).Params(set)
			return set.Problems(c)
		}))
	case "postern":
		os.Exit(tryToys(os.Args))
	case "toy":
		os.Exit(service.Main(service.Program{Name: "toy", New: func() service.Service { return &toy{} }}, nil, os.Args))
	case "broken":
		fmt.Fprintln(os.Stderr, "this program cannot start")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// tryToys is the trial of a configuration: it does what the file "trial" beside
// main.cf says, else it finds nothing.
func tryToys(args []string) int {
	if len(args) != 5 || args[1] != "check" || args[2] != "-c" || args[4] != "--reload" {
		return 64
	}
	text, err := os.ReadFile(filepath.Join(args[3], "trial"))
	switch {
	case err != nil:
		return 0
	case string(text) == "crash":
		return 2
	case strings.HasPrefix(string(text), "wait "): // until the FIFO has a writer
		if _, err := os.ReadFile(strings.TrimPrefix(string(text), "wait ")); err != nil {
			return 2
		}
		return 0
	}
	os.Stdout.Write(text)
	return 1
}

// A toy answers each line with its process number; "panic" makes it panic,
// "die" ends the process.
type toy struct {
	greeting string
	env      *service.Env
}

func (t *toy) Params(s *param.Set)       { s.Str(&t.greeting, "toy_greeting", "hello", param.MinLen(1)) }
func (t *toy) Open(e *service.Env) error { t.env = e; e.Log.Infof("toy opens"); return nil }

func (t *toy) Serve(ctx context.Context, c net.Conn) error {
	r := bufio.NewScanner(c)
	for r.Scan() {
		switch r.Text() {
		case "panic":
			panic("as asked")
		case "die":
			os.Exit(7)
		case "stress":
			fmt.Fprintf(c, "%v\n", t.env.Stress())
		default:
			fmt.Fprintf(c, "%s %d\n", t.greeting, os.Getpid())
		}
	}
	return r.Err()
}

// A rig is a mail system of toys in a directory of its own.
type rig struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	log  *net.UnixConn
	mu   sync.Mutex
	text []string
	more chan struct{}
}

func newRig(t *testing.T, mainCF, masterCF string) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "rig")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir, more: make(chan struct{}, 1)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"etc", "bin", "data", "queue/pid", "queue/public", "queue/private"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"master", "toy", "broken"} {
		if err := os.Symlink(self, filepath.Join(dir, "bin", p)); err != nil {
			t.Fatal(err)
		}
	}
	r.write("etc/main.cf", fmt.Sprintf(`queue_directory = %[1]s/queue
daemon_directory = %[1]s/bin
data_directory = %[1]s/data
maillog_file = %[1]s/log
mail_owner = nobody
myhostname = rig.example
`, dir)+mainCF)
	r.write("etc/master.cf", masterCF)
	r.log, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "queue/public/postlog"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.log.Close() })
	if err := os.Chmod(filepath.Join(dir, "queue/public/postlog"), 0o666); err != nil {
		t.Fatal(err)
	}
	go r.collect()
	return r
}

// write replaces a file at once: a program may be starting that reads it.
func (r *rig) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) collect() {
	b := make([]byte, 4096)
	for {
		n, err := r.log.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.text = append(r.text, string(b[:n]))
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
}

// waitLog waits for a line that contains text, n times.
func (r *rig) waitLog(text string, n int) {
	r.t.Helper()
	deadline := time.After(patience)
	for r.count(text) < n {
		select {
		case <-r.more:
		case <-deadline:
			r.t.Fatalf("no log line %d times: %q\nlog:\n%s", n, text, r.lines())
		}
	}
}

// until asks until the answer is yes.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited %v for: %s\nlog:\n%s", patience, what, r.lines())
		}
	}
}

func (r *rig) lines() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.text, "\n")
}

func (r *rig) count(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.text {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.dir, "bin/master"), append([]string{"-c", filepath.Join(r.dir, "etc")}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// start starts master and waits until it serves.
func (r *rig) start() {
	r.t.Helper()
	r.cmd = r.command()
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.stop()
		}
	})
	r.waitLog("daemon started", 1)
}

// stop ends master as "postfix stop" does, and returns its error.
func (r *rig) stop() error {
	r.cmd.Process.Signal(syscall.SIGTERM)
	return r.cmd.Wait()
}

// ask connects to the toy, sends a line, and returns the answer.
func (r *rig) ask(service, line string) (string, error) {
	c, err := net.Dial("unix", filepath.Join(r.dir, "queue", service))
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(c, line)
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func (r *rig) mustAsk(service, line string) string {
	r.t.Helper()
	answer, err := r.ask(service, line)
	if err != nil {
		r.t.Fatalf("ask %s: %v\nlog:\n%s", service, err, r.lines())
	}
	return answer
}

// pidOf takes the process number off a toy's answer.
func pidOf(t *testing.T, answer string) int {
	t.Helper()
	_, n, _ := strings.Cut(answer, " ")
	pid, err := strconv.Atoi(n)
	if err != nil {
		t.Fatalf("answer %q", answer)
	}
	return pid
}

// patience is how long a test waits for what is going to happen.
const patience = time.Minute

const toyService = "toy unix - - n - - toy\n"

func TestStartsOnDemandAndStops(t *testing.T) {
	r := newRig(t, "", toyService+"other unix n - n - - toy -o toy_greeting=salut\n")
	r.start()
	one, two := r.mustAsk("private/toy", "x"), r.mustAsk("private/toy", "x")
	if pidOf(t, one) != pidOf(t, two) {
		t.Errorf("two processes for one service: %q, %q", one, two)
	}
	if got := r.mustAsk("public/other", "x"); !strings.HasPrefix(got, "salut ") {
		t.Errorf("with -o toy_greeting=salut: %q", got)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := syscall.Kill(pidOf(t, one), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the service's process still exists: %v", err)
	}
	r.waitLog("terminating on signal 15", 1)
}

func TestSecondMasterIsRefused(t *testing.T) {
	r := newRig(t, "", toyService)
	if err := r.command("-t").Run(); err != nil {
		t.Errorf("master -t before start: %v", err)
	}
	r.start()
	if err := r.command("-t").Run(); err == nil {
		t.Error("master -t succeeds while a master runs")
	}
	second := r.command()
	var stderr strings.Builder
	second.Stderr = &stderr
	if err := second.Run(); err == nil || !strings.Contains(stderr.String(), "unable to set exclusive lock") {
		t.Errorf("second master: %v, %q", err, stderr.String())
	}
	r.mustAsk("private/toy", "x")
}

// TestIdleExitLosesNoConnection connects again and again at about the moment
// when the idle process exits.
func TestIdleExitLosesNoConnection(t *testing.T) {
	const services = 8
	var cf strings.Builder
	for i := range services {
		fmt.Fprintf(&cf, "toy%d unix - - n - - toy\n", i)
	}
	r := newRig(t, "max_idle = 1s\n", cf.String())
	r.start()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var last []string
	for i := range services {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name := fmt.Sprintf("private/toy%d", i)
			answer := ""
			for range 3 {
				var err error
				if answer, err = r.ask(name, "x"); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				<-time.After(time.Second + time.Duration(i-2)*time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			last = append(last, answer)
		}()
	}
	wg.Wait()
	for _, answer := range last {
		pid := pidOf(t, answer)
		r.until("an idle process exits", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	}
}

func TestReloadUnderLoadDropsNoConnection(t *testing.T) {
	r := newRig(t, "toy_greeting = a\n", toyService)
	r.start()
	held, err := net.Dial("unix", filepath.Join(r.dir, "queue/private/toy"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	fmt.Fprintln(held, "x")
	first, _ := bufio.NewReader(held).ReadString('\n')
	stop := make(chan struct{})
	var wg sync.WaitGroup
	asked := make([]int, 4)
	for i := range asked {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.ask("private/toy", "x"); err != nil {
					t.Errorf("after %d connections: %v", asked[i], err)
					return
				}
				asked[i]++
			}
		}()
	}
	for n := range 5 {
		r.write("etc/main.cf", strings.Replace(r.read("etc/main.cf"), "toy_greeting = ", "toy_greeting = x", 1))
		r.cmd.Process.Signal(syscall.SIGHUP)
		r.waitLog("reload -- version", n+1)
	}
	close(stop)
	wg.Wait()
	// The old process may take a connection until it has heard of the reload.
	r.until("after 5 reloads the new process answers", func() bool {
		return strings.HasPrefix(r.mustAsk("private/toy", "x"), "xxxxxa ")
	})
	fmt.Fprintln(held, "x")
	if again, err := bufio.NewReader(held).ReadString('\n'); err != nil || again != first {
		t.Errorf("the session from before: %q then %q, %v", first, again, err)
	}
	t.Logf("connections: %v", asked)
}

func (r *rig) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// A wakeup that the old process takes when it is about to end does not keep
// the new one from starting.
func TestReloadWakes(t *testing.T) {
	r := newRig(t, "", "toy unix - - n 300 - toy\n")
	r.start()
	r.waitLog("toy opens", 1)
	for n := range 30 {
		r.cmd.Process.Signal(syscall.SIGHUP)
		r.waitLog("reload -- version", n+1)
		r.waitLog("toy opens", n+2)
	}
}

func TestReloadWithErrorIsRefused(t *testing.T) {
	r := newRig(t, "", toyService)
	r.start()
	one := r.mustAsk("private/toy", "x")
	r.write("etc/master.cf", "toy unix - - maybe - - toy\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	r.waitLog("reload refused", 1)
	if two := r.mustAsk("private/toy", "x"); one != two {
		t.Errorf("the service changed: %q, %q", one, two)
	}
	r.write("etc/master.cf", "new unix - - n - - toy\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	r.waitLog("reload -- version", 1)
	r.mustAsk("private/new", "x")
	if _, err := r.ask("private/toy", "x"); err == nil {
		t.Error("a service that is no longer configured answers")
	}
}

// Whatever is wrong with the new configuration, it is told with its place and the
// old one goes on.
func TestReloadIsAllOrNothing(t *testing.T) {
	r := newRig(t, "", toyService)
	stock, err := os.ReadFile(filepath.Join(r.dir, "etc/main.cf"))
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	one := r.mustAsk("private/toy", "x")
	const fresh = "new unix - - n - - toy\n"
	kinds := []struct{ main, master, want string }{
		{"nonsense\n", fresh, "main.cf, line 7: missing '=' after attribute name: \"nonsense\""},
		{"default_process_limit = many\n", fresh, "main.cf, line 7: bad numerical configuration: default_process_limit = many"},
		{"default_process_limit = 0\n", fresh, "main.cf, line 7: invalid default_process_limit parameter value 0 < 1"},
		{"max_idle = 5x\n", fresh, "main.cf, line 7: parameter max_idle: bad time value or unit: 5x"},
		{"owner_request_special = maybe\n", fresh, "main.cf, line 7: bad boolean configuration: owner_request_special = maybe"},
		{"myorigin = ${mydomain\n", fresh, "main.cf, line 7: parameter myorigin: truncated macro reference"},
		{"r1 = $r2\nr2 = $r1\nmyorigin = $r1\n", fresh, "unreasonable macro call nesting: $r1 refers to $r2 refers to $r1"},
		{"myorigin = /nonexistent/mailname\n", fresh, "parameter myorigin: open /nonexistent/mailname"},
		{"inet_protocols = ipv5\n", fresh, "unknown protocol \"ipv5\""},
		{"mail_owner = nosuchuser\n", fresh, "nosuchuser"},
		{"compatibility_level = old\n", fresh, "bad compatibility level: \"old\""},
		{"", fresh + "bad unix -\n", "master.cf: line 2: missing \"unprivileged\" field"},
		{"", fresh + "bad tcp - - n - - toy\n", "master.cf: line 2: field \"type\": bad value: \"tcp\""},
		{"", fresh + "bad unix - - n x - toy\n", "master.cf: line 2: field \"wakeup\": bad value: \"x\""},
		{"", fresh + "bad unix - - n - - toy -o x\n", "master.cf: line 2: option -o: missing '=' after attribute name"},
		{"", fresh + "bad unix - - n - - toy {a b\n", "master.cf: line 2: missing '}'"},
		{"", fresh + "127.0.0.1:nosuchport inet n - n - - toy\n", "master.cf: line 2: unknown service: nosuchport/tcp"},
		{"", fresh + "203.0.113.77:0 inet n - n - - toy\n", "203.0.113.77"},
		{"toy_greeting =\n", fresh, "service new/unix, DIR/etc/master.cf, line 1: "},
		{"", fresh + "other unix - - n - - toy -o toy_greeting=\n", "service other/unix, DIR/etc/master.cf, line 2: DIR/etc/master.cf, line 2: "},
		{"", fresh + "\x00\x01\n", "master.cf: line 2: line contains a NUL octet"},
	}
	for i, k := range kinds {
		r.write("etc/main.cf", string(stock)+k.main)
		r.write("etc/master.cf", k.master)
		r.cmd.Process.Signal(syscall.SIGHUP)
		r.waitLog("reload refused", i+1)
		if r.count(strings.ReplaceAll(k.want, "DIR", r.dir)) == 0 {
			t.Errorf("%q, %q: no %q in the log", k.main, k.master, k.want)
		}
		if two := r.mustAsk("private/toy", "x"); one != two {
			t.Fatalf("%q, %q: the service changed: %q, %q", k.main, k.master, one, two)
		}
		if _, err := r.ask("private/new", "x"); err == nil {
			t.Fatalf("%q, %q: a new service answers", k.main, k.master)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, "etc/master.cf")); err != nil {
		t.Fatal(err)
	}
	r.cmd.Process.Signal(syscall.SIGHUP)
	r.waitLog("reload refused", len(kinds)+1)
	if two := r.mustAsk("private/toy", "x"); one != two {
		t.Errorf("without master.cf the service changed: %q, %q", one, two)
	}
}

// What services would find when they open is tried out by a process of its own.
func TestReloadIsTriedOut(t *testing.T) {
	r := newRig(t, "", toyService)
	r.start()
	one := r.mustAsk("private/toy", "x")
	r.write("etc/master.cf", "new unix - - n - - toy\n")
	r.write("etc/trial", "error: main.cf, line 9: no such table\n    make it\nerror: second\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	r.waitLog("reload refused", 1)
	for _, want := range []string{"error: main.cf, line 9: no such table; make it", "error: second"} {
		if r.count(want) != 1 {
			t.Errorf("no %q in the log", want)
		}
	}
	if two := r.mustAsk("private/toy", "x"); one != two {
		t.Errorf("the service changed: %q, %q", one, two)
	}

	// Whoever asks meanwhile gets what the files say by then; master serves.
	fifo := filepath.Join(r.dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r.write("etc/trial", "wait "+fifo)
	r.cmd.Process.Signal(syscall.SIGHUP)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the reader
	if err != nil {
		t.Fatal(err)
	}
	r.ask("private/toy", "die")
	if two := r.mustAsk("private/toy", "x"); one == two {
		t.Errorf("the process did not end: %q", two)
	}
	r.write("etc/trial", "error: third\n")
	r.write("etc/master.cf", "newer unix - - n - - toy\n")
	r.cmd.Process.Signal(syscall.SIGHUP)
	r.waitLog("another follows it", 1)
	w.Close()
	r.waitLog("error: third", 1)
	r.waitLog("reload refused", 2)

	// A trial that fails itself does not stand in the way.
	r.write("etc/trial", "crash")
	r.cmd.Process.Signal(syscall.SIGHUP)
	r.waitLog("the configuration was not tried out: its trial has failed", 1)
	r.waitLog("reload -- version", 1)
	r.mustAsk("private/newer", "x")
}

func TestCrashingProgramIsThrottled(t *testing.T) {
	r := newRig(t, "service_throttle_time = 1s\n", "broken unix - - n - - broken\nmissing unix - - n - - nonesuch\n")
	before := time.Now()
	r.start()
	for _, name := range []string{"broken", "missing"} {
		c, err := net.Dial("unix", filepath.Join(r.dir, "queue/private", name))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.waitLog("bin/broken: bad command startup -- throttling", 1)
	r.waitLog("exit status 3", 1)
	r.waitLog("bin/nonesuch: start process: no such file or directory -- throttling", 1)
	r.waitLog("bin/broken: bad command startup -- throttling", 3)
	if d := time.Since(before); d < 2*time.Second {
		t.Errorf("started three times in %v", d)
	}
}

func TestPanicIsContained(t *testing.T) {
	r := newRig(t, "", toyService)
	r.start()
	one := r.mustAsk("private/toy", "x")
	r.ask("private/toy", "panic")
	r.waitLog("panic: as asked", 1)
	r.waitLog("panic: | goroutine", 1)
	if two := r.mustAsk("private/toy", "x"); one != two {
		t.Errorf("the process changed: %q, %q", one, two)
	}
	r.ask("private/toy", "die")
	r.waitLog("exit status 7", 1)
	if two := r.mustAsk("private/toy", "x"); one == two {
		t.Errorf("the process did not end: %q", two)
	}
}

func TestSessionLimit(t *testing.T) {
	r := newRig(t, "", "toy unix - - n - 2 toy\n")
	r.start()
	var held []net.Conn
	for range 3 {
		c, err := net.Dial("unix", filepath.Join(r.dir, "queue/private/toy"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintln(c, "x")
		held = append(held, c)
	}
	for _, c := range held[:2] {
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	held[2].SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := bufio.NewReader(held[2]).ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a third session is served beside two: %v", err)
	}
	held[0].Close()
	held[2].SetReadDeadline(time.Now().Add(patience))
	if _, err := bufio.NewReader(held[2]).ReadString('\n'); err != nil {
		t.Errorf("the third session after the first has ended: %v", err)
	}
}

func TestBackgroundStart(t *testing.T) {
	r := newRig(t, "", toyService)
	if err := r.command("-w").Run(); err != nil {
		t.Fatalf("master -w: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(r.read("queue/pid/master.pid")))
	if err != nil {
		t.Fatal(err)
	}
	r.mustAsk("private/toy", "x")
	syscall.Kill(pid, syscall.SIGTERM)
	r.waitLog("terminating on signal 15", 1)
	r.write("etc/master.cf", "toy unix - - n\n")
	cmd := r.command("-w")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), `missing "wakeup" field`) {
		t.Errorf("master -w with a bad master.cf: %v, %q", err, stderr.String())
	}
}

// TestStandAlone talks to a service over standard input and output, as
// "sendmail -bs" does.
func TestStandAlone(t *testing.T) {
	r := newRig(t, "", toyService)
	cmd := exec.Command(filepath.Join(r.dir, "bin/toy"), "-S", "-o", "toy_greeting=alone")
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+filepath.Join(r.dir, "etc"))
	cmd.Stdin = strings.NewReader("x\ny\n")
	out, err := cmd.Output()
	if want := fmt.Sprintf("alone %[1]d\nalone %[1]d\n", cmd.Process.Pid); err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

// TestByHand refuses to run a service without a master.
func TestByHand(t *testing.T) {
	r := newRig(t, "", toyService)
	cmd := exec.Command(filepath.Join(r.dir, "bin/toy"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "toy: fatal: do not run this command by hand") {
		t.Errorf("%v, %q", err, stderr.String())
	}
}
