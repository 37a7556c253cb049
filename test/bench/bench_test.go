//go:build bench

// Package bench measures Postern beside the real Postfix: both run in one
// private root on the same machine, in turn, with the same load, and the
// figures are ratios of medians. "make bench" runs it.
package bench

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
	"postern/test/load"
)

var (
	rounds = flag.Int("rounds", 3, "samples of each figure")
	only   = flag.String("only", "", "cases whose name contains this")
	quick  = flag.Bool("quick", false, "a quarter of the messages")
	number = flag.Int("messages", 0, "how many a sample has; 0: by size and sessions")
	alone  = flag.Bool("alone", false, "Postern only: figures without ratios, for profiles")
)

// A contender is a system with a configuration.
type contender struct {
	name   string
	system harness.System
	main   string
}

// tuned is what administrators of busy Postfix systems set.
const tuned = `in_flow_delay = 0
default_process_limit = 200
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
virtual_destination_concurrency_limit = 100
smtp_destination_concurrency_limit = 100
smtp_connection_cache_on_demand = yes
max_use = 1000
`

var contenders = []contender{
	{"postern", harness.Postern, ""},
	{"postfix", harness.Postfix, ""},
	{"postfix tuned", harness.Postfix, tuned},
}

// A workload is what becomes of the messages.
type workload struct {
	name   string
	main   string // @sink@ is the port of an SMTP sink
	sink   bool
	domain string
}

const users = 1000

var workloads = []workload{
	{"accept", "default_transport = discard:\n", false, "far.example"},
	{"relay", "default_transport = smtp:[127.0.0.1]:@sink@\n", true, "far.example"},
	{"maildir", `virtual_mailbox_domains = box.example
virtual_mailbox_base = @DIR@/vmail
virtual_mailbox_maps = texthash:@DIR@/etc/vmailbox
virtual_uid_maps = static:2200
virtual_gid_maps = static:2200
virtual_minimum_uid = 100
`, false, "box.example"},
}

// vmailbox is the table of the Maildirs.
func vmailbox() string {
	var b strings.Builder
	for n := range users + 1 {
		fmt.Fprintf(&b, "user%d@box.example user%d/\n", n, n)
	}
	return b.String()
}

const baseMain = `smtpd_client_connection_count_limit = 0
`

// A sample is what one run measured.
type sample struct {
	rate     float64       // messages accepted and gone from the queue, a second
	accept   float64       // messages accepted a second
	cpu      float64       // CPU seconds of all processes of the system, per 1,000 messages
	p50, p99 time.Duration // from MAIL FROM to the reply to the end of data
}

func TestThroughput(t *testing.T) {
	for _, w := range workloads {
		for _, size := range []int{4096, 65536} {
			for _, sessions := range []int{1, 20, 100} {
				name := fmt.Sprintf("%s/%dKiB/%d", w.name, size/1024, sessions)
				if !strings.Contains(name, *only) {
					continue
				}
				t.Run(name, func(t *testing.T) { measure(t, w, size, sessions) })
			}
		}
	}
}

// messages is how many a sample has: it takes the faster system two seconds, so
// that the rush at the start is no large part of it, and one moment at which all
// sessions wait is no large part of the slowest hundredth.
func messages(size, sessions int) int {
	if *number > 0 {
		return *number
	}
	n := 6000
	switch {
	case sessions == 1:
		n = 1500
	case size > 4096 && sessions < 100:
		n = 3000
	}
	if *quick {
		n /= 4
	}
	return n
}

func measure(t *testing.T, w workload, size, sessions int) {
	samples := map[string][]sample{}
	for r := 0; r < *rounds; r++ {
		for _, c := range contenders {
			if *alone && c.system.Name != harness.Postern.Name {
				continue
			}
			samples[c.name] = append(samples[c.name], run(t, c, w, size, sessions))
		}
	}
	figure := func(name string, of func(sample) float64) float64 {
		var all []float64
		for _, s := range samples[name] {
			all = append(all, of(s))
		}
		sort.Float64s(all)
		return all[len(all)/2]
	}
	columns := []struct {
		name   string
		of     func(sample) float64
		higher bool
	}{
		{"msg/s", func(s sample) float64 { return s.rate }, true},
		{"accept/s", func(s sample) float64 { return s.accept }, true},
		{"cpu s/1000", func(s sample) float64 { return s.cpu }, false},
		{"p50 ms", func(s sample) float64 { return s.p50.Seconds() * 1e3 }, false},
		{"p99 ms", func(s sample) float64 { return s.p99.Seconds() * 1e3 }, false},
	}
	for _, col := range columns {
		var values []float64
		if *alone {
			fmt.Printf("%-18s %-11s postern %9.2f\n", t.Name()[len("TestThroughput/"):], col.name, figure("postern", col.of))
			continue
		}
		for _, c := range contenders {
			values = append(values, figure(c.name, col.of))
		}
		best := min(values[1], values[2])
		if col.higher {
			best = max(values[1], values[2])
		}
		fmt.Printf("%-18s %-11s postern %9.2f  postfix %9.2f  tuned %9.2f  ratio to the better %5.2f\n",
			t.Name()[len("TestThroughput/"):], col.name, values[0], values[1], values[2], values[0]/best)
	}
}

// start lays out and starts a contender with a workload.
func start(t *testing.T, c contender, w workload) *harness.Instance {
	main := baseMain + c.main + w.main
	if w.sink {
		sink := &load.Sink{}
		if err := sink.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sink.Close)
		addr := sink.Addr()
		main = strings.ReplaceAll(main, "@sink@", addr[strings.LastIndexByte(addr, ':')+1:])
	}
	i := harness.New(t, c.system, harness.Config{Main: main, Files: map[string]string{"vmailbox": vmailbox()}, Place: freshDisk(t), Keep: true})
	used = append(used, i.Host(""))
	if strings.Contains(w.main, "@DIR@/vmail") {
		maildirs(t, i)
	}
	i.Start()
	return i
}

// maildirs makes the users' Maildirs: mail arrives for people who had some.
func maildirs(t *testing.T, i *harness.Instance) {
	for n := range users + 1 {
		user := i.Host(fmt.Sprintf("vmail/user%d", n))
		for _, dir := range []string{user, user + "/tmp", user + "/new", user + "/cur"} {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 2200, 2200)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// forget drops what the kernel keeps of earlier samples: among it the inodes
// that were removed lately, which ext4 without a journal looks through for each
// new file.
func forget(t *testing.T) {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Logf("what earlier samples removed may slow this one down: %v", err)
	}
}

func run(t *testing.T, c contender, w workload, size, sessions int) sample {
	forget(t)
	i := start(t, c, w)
	defer end(i)
	n := messages(size, sessions)
	send(t, i, w, size, sessions, max(50, n/10), "warm")
	drained(i)
	syscall.Sync()
	before, begin := cpu(i), time.Now()
	result := send(t, i, w, size, sessions, n, "run")
	drained(i)
	elapsed := time.Since(begin)
	used := cpu(i) - before
	return sample{
		rate: float64(n) / elapsed.Seconds(), accept: result.Rate(), cpu: used.Seconds() * 1000 / float64(n),
		p50: result.Times.At(0.5), p99: result.Times.At(0.99),
	}
}

func send(t *testing.T, i *harness.Instance, w workload, size, sessions, n int, run string) load.Result {
	s := load.Source{Network: "tcp", Addr: i.Addr(), Sessions: sessions, Messages: n, Size: size,
		From: "sender@client.example", To: load.Users("user", w.domain, users), Run: run}
	result, err := s.Send(t.Context())
	if err != nil || result.Accepted != n {
		t.Fatalf("%s: %s: %v\n%s", i.System.Name, result.String(), err, lastLines(i.Log()))
	}
	return result
}

func drained(i *harness.Instance) {
	i.Until("the queue is empty", func() bool {
		return i.Count("incoming")+i.Count("active")+i.Count("deferred") == 0
	})
}

// cpu is the processor time that the instance's processes have used, those
// included that have ended.
func cpu(i *harness.Instance) time.Duration {
	var ticks int64
	for _, pid := range i.Processes() {
		for _, f := range harness.Stat(pid, 13, 14, 15, 16) {
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100
}

func TestMemory(t *testing.T) {
	if !strings.Contains("memory", *only) {
		t.Skip("not asked for")
	}
	for _, idle := range []int{0, 1, 500, 2000} {
		values := map[string]float64{}
		for _, c := range contenders[:2] {
			c.main += fmt.Sprintf("default_process_limit = %d\n", idle+200)
			i := start(t, c, workloads[0])
			send(t, i, workloads[0], 4096, 1, 10, "warm")
			drained(i)
			close := hold(t, i, idle)
			values[c.name] = float64(pss(i)) / 1024
			close()
			end(i)
		}
		fmt.Printf("memory %5d idle sessions: postern %8.1f MiB  postfix %8.1f MiB  ratio %.3f\n",
			idle, values["postern"], values["postfix"], values["postern"]/values["postfix"])
	}
}

// hold opens sessions that say EHLO and then nothing.
func hold(t *testing.T, i *harness.Instance, n int) (close func()) {
	var sessions []*harness.Session
	for k := 0; k < n; k++ {
		s, err := harness.Open(i.Addr())
		if err != nil {
			t.Fatalf("%s: session %d: %v", i.System.Name, k, err)
		}
		sessions = append(sessions, s)
	}
	return func() {
		for _, s := range sessions {
			s.Close()
		}
	}
}

// pss is the memory of all processes in KiB, what they share counted once.
func pss(i *harness.Instance) int64 {
	var sum int64
	for _, pid := range i.Processes() {
		out, err := exec.Command("grep", "^Pss:", "/proc/"+strconv.Itoa(pid)+"/smaps_rollup").Output()
		if err != nil {
			continue
		}
		n, _ := strconv.ParseInt(strings.Fields(string(out))[1], 10, 64)
		sum += n
	}
	return sum
}

// TestSystemCalls counts system calls and context switches per message.
func TestSystemCalls(t *testing.T) {
	if !strings.Contains("syscalls", *only) {
		t.Skip("not asked for")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		harness.Skip(t, "strace is not installed")
	}
	for _, w := range workloads {
		for _, c := range contenders[:2] {
			i := start(t, c, w)
			send(t, i, w, 4096, 4, 100, "warm")
			drained(i)
			const n = 400
			switches := contextSwitches(i)
			send(t, i, w, 4096, 4, n, "run")
			drained(i)
			switches = contextSwitches(i) - switches
			calls, top := trace(t, i, func() {
				send(t, i, w, 4096, 4, n, "traced")
				drained(i)
			})
			fmt.Printf("%-8s %-8s system calls per message %6.1f  context switches %6.1f  %s\n",
				w.name, c.name, float64(calls)/n, float64(switches)/n, top)
			end(i)
		}
	}
}

func contextSwitches(i *harness.Instance) int64 {
	var sum int64
	for _, pid := range i.Processes() {
		out, _ := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/%d/task/*/status", pid)).Output()
		for _, line := range strings.Split(string(out), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, "ctxt_switches") {
				n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
				sum += n
			}
		}
	}
	return sum
}

// trace runs f while strace counts the system calls of the instance.
func trace(t *testing.T, i *harness.Instance, f func()) (calls int64, top string) {
	args := []string{"-c", "-f", "-q", "-U", "calls,name", "-S", "calls"}
	for _, pid := range i.Processes() {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.Command("strace", args...)
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	i.Until("strace is attached", func() bool { return harness.Traced(i.MasterPID()) })
	f()
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	var names []string
	for _, line := range strings.Split(out.String(), "\n") {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		n, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil || f[1] == "total" {
			continue
		}
		calls += n
		if len(names) < 8 {
			names = append(names, fmt.Sprintf("%s %d", f[1], n))
		}
	}
	return calls, strings.Join(names, ", ")
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
