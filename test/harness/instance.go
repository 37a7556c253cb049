package harness

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Wait is how long the harness waits for an event before the test fails.
const Wait = 60 * time.Second

// A Config is what an instance starts with, on top of the base configuration.
type Config struct {
	Main   string            // lines for main.cf
	Master string            // entries for master.cf; one with the name and type of a base entry replaces it
	Files  map[string]string // further files in the configuration directory

	// Place, if it is not nil, prepares the instance's empty folder, a path on
	// the host, before anything is laid out there.
	Place func(dir string) error

	// Keep leaves the instance's folder to the test, which removes it.
	Keep bool
}

// An Instance is one mail system with its configuration, queue and log.
type Instance struct {
	T      testing.TB
	System System
	Root   string // of the private root, on the host
	Dir    string // "/t/N", in the private root
	Port   int    // smtp on 127.0.0.1

	// Sessions is how many SMTP sessions the test has held; WaitSettled waits
	// for their ends in the log.
	Sessions int
	marks    int // that SyncLog has set

	master *exec.Cmd
	ended  chan struct{}
}

// New lays out an instance of s in a free slot: one of the folders /t/1, /t/2, …
// that the root's own main.cf lists in alternate_config_directories.
func New(t testing.TB, s System, c Config) *Instance {
	t.Helper()
	i := &Instance{T: t, System: s, Root: Root(t), Port: FreePort(t)}
	if s == Postern {
		i.must(install())
	}
	for n := 1; ; n++ {
		i.Dir = "/t/" + strconv.Itoa(n)
		err := os.Mkdir(i.Host(""), 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) || n == slots {
			t.Fatal(err)
		}
	}
	if c.Place != nil {
		i.must(c.Place(i.Host("")))
	}
	i.must(os.MkdirAll(i.Host("etc"), 0o755))
	i.QueueDirs()
	i.WriteConfig(c)
	t.Cleanup(func() {
		i.Stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.Name, indent(tail(i.Log(), 200)))
		}
		if !c.Keep {
			os.RemoveAll(i.Host(""))
		}
	})
	return i
}

// WriteConfig replaces the configuration of the instance.
func (i *Instance) WriteConfig(c Config) {
	i.T.Helper()
	i.WriteFile("etc/main.cf", i.Expand(mergeMain(i.baseMain(), c.Main)))
	i.WriteFile("etc/master.cf", i.Expand(mergeMaster(baseMaster, c.Master)))
	for name, text := range c.Files {
		i.WriteFile(filepath.Join("etc", name), i.Expand(text))
	}
}

// Expand replaces @DIR@, @PORT@, @SBIN@ and @LIBEXEC@ in a text.
func (i *Instance) Expand(text string) string {
	return strings.NewReplacer("@DIR@", i.Dir, "@PORT@", strconv.Itoa(i.Port),
		"@SBIN@", i.System.SbinDir, "@LIBEXEC@", i.System.DaemonDir).Replace(text)
}

// Host returns the path on the host of a file of the instance.
func (i *Instance) Host(path string) string { return filepath.Join(i.Root, i.Dir, path) }

// WriteFile writes a file of the instance, making its folder.
func (i *Instance) WriteFile(path, text string) {
	i.T.Helper()
	i.must(os.MkdirAll(filepath.Dir(i.Host(path)), 0o755))
	i.must(os.WriteFile(i.Host(path), []byte(text), 0o644))
}

const (
	slots       = 400
	uidPostfix  = 2100
	gidPostfix  = 2100
	gidPostdrop = 2101
	uidVmail    = 2200
)

// QueueDirs makes the queue as "postfix check" would (facts: Postfix's modes).
func (i *Instance) QueueDirs() {
	i.T.Helper()
	make := func(path string, mode os.FileMode, uid, gid int) {
		i.must(os.MkdirAll(i.Host(path), 0o755))
		i.must(os.Chown(i.Host(path), uid, gid))
		i.must(os.Chmod(i.Host(path), mode))
	}
	make("queue", 0o755, 0, 0)
	make("queue/pid", 0o755, 0, 0)
	for _, name := range []string{"incoming", "active", "deferred", "hold", "corrupt", "saved", "bounce", "defer", "trace", "flush", "spare", "journal", "private"} {
		make("queue/"+name, 0o700, uidPostfix, 0)
	}
	make("queue/maildrop", 0o730, uidPostfix, gidPostdrop)
	make("queue/public", 0o710, uidPostfix, gidPostdrop)
	make("data", 0o700, uidPostfix, gidPostfix)
	make("mail", 0o777|os.ModeSticky, 0, 0)
	make("vmail", 0o700, uidVmail, uidVmail)
}

func (i *Instance) baseMain() string {
	return `compatibility_level = 3.6
queue_directory = @DIR@/queue
data_directory = @DIR@/data
command_directory = @SBIN@
daemon_directory = @LIBEXEC@
mail_owner = postfix
setgid_group = postdrop
mail_name = Postern
myhostname = mail.example.com
mydomain = example.com
maillog_file = @DIR@/mail.log
maillog_file_prefixes = /t
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination = example.com, $myhostname, localhost
alias_maps =
alias_database =
mail_spool_directory = @DIR@/mail/
biff = no
sendmail_path = @SBIN@/sendmail
newaliases_path = /usr/bin/newaliases
mailq_path = /usr/bin/mailq
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
smtpd_forbid_bare_newline = normalize
smtpd_forbid_unauth_pipelining = yes
milter_default_action = shutdown
`
}

const baseMaster = `127.0.0.1:@PORT@ inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
flush     unix  n       -       n       1000?   0       flush
verify    unix  -       -       n       -       1       verify
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
`

// mergeMain leaves the lines of base out that extra sets again: the systems
// warn of a parameter that is set twice.
func mergeMain(base, extra string) string {
	set := map[string]bool{}
	for _, line := range strings.Split(extra, "\n") {
		if name, _, ok := strings.Cut(line, "="); ok {
			set[strings.TrimSpace(name)] = true
		}
	}
	var b strings.Builder
	for _, line := range strings.SplitAfter(base, "\n") {
		if name, _, _ := strings.Cut(line, "="); !set[strings.TrimSpace(name)] {
			b.WriteString(line)
		}
	}
	return b.String() + extra
}

// mergeMaster puts the entries of extra in the place of, or after, those of
// base. A logical line of extra is an entry; "-NAME TYPE" removes one.
func mergeMaster(base, extra string) string {
	entries := map[string]string{}
	var order []string
	add := func(text string) {
		key := ""
		for _, line := range strings.Split(text, "\n") {
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if line[0] == ' ' || line[0] == '\t' {
				entries[key] += line + "\n"
				continue
			}
			f := strings.Fields(line)
			if len(f) < 2 {
				f = append(f, "")
			}
			key = f[0] + " " + f[1]
			if name, ok := strings.CutPrefix(f[0], "-"); ok {
				delete(entries, name+" "+f[1])
				continue
			}
			if _, ok := entries[key]; !ok {
				order = append(order, key)
			}
			entries[key] = line + "\n"
		}
	}
	add(base)
	add(extra)
	var b strings.Builder
	for _, key := range order {
		b.WriteString(entries[key])
	}
	return b.String()
}

// Start runs master in the foreground and waits until it listens.
func (i *Instance) Start() {
	i.T.Helper()
	starts := strings.Count(i.Log(), started)
	i.launch()
	i.Until("master has opened its sockets", func() bool {
		if !i.Running() {
			i.T.Fatalf("%s: master ended at start\n%s", i.System.Name, indent(i.Log()))
		}
		return listening(i.Port) && strings.Count(i.Log(), started) > starts
	})
}

// started is what master logs when every socket is open.
const started = "]: daemon started -- version "

// listening says whether something listens on 127.0.0.1:port, or on that port of
// all addresses. It looks at the
// kernel's table, because a connection would appear in the log.
func listening(port int) bool {
	b, err := os.ReadFile("/proc/net/tcp")
	return err == nil && (strings.Contains(string(b), fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", port)) ||
		strings.Contains(string(b), fmt.Sprintf(" 00000000:%04X 00000000:0000 0A ", port)))
}

func (i *Instance) launch() {
	i.T.Helper()
	cmd := exec.Command(i.System.DaemonDir+"/master", "-c", i.Dir+"/etc", "-d")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "MAIL_CONFIG=" + i.Dir + "/etc"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.Root, Setsid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// What the test itself has inherited, a lock for example, is not for master.
	i.must(unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC))
	i.must(cmd.Start())
	i.master, i.ended = cmd, make(chan struct{})
	go func() {
		cmd.Wait()
		if out.Len() > 0 {
			i.T.Logf("%s: master: %s", i.System.Name, out.String())
		}
		close(i.ended)
	}()
}

// Addr is where the instance's smtpd listens.
func (i *Instance) Addr() string { return "127.0.0.1:" + strconv.Itoa(i.Port) }

// MasterPID is the process id of master.
func (i *Instance) MasterPID() int { return i.master.Process.Pid }

// Running says whether master lives.
func (i *Instance) Running() bool {
	if i.master == nil {
		return false
	}
	select {
	case <-i.ended:
		return false
	default:
		return true
	}
}

// Stop ends master and everything that it started.
func (i *Instance) Stop() {
	if i.master == nil {
		return
	}
	syscall.Kill(i.master.Process.Pid, syscall.SIGTERM)
	select {
	case <-i.ended:
	case <-time.After(Wait):
		i.T.Errorf("%s: master did not end on SIGTERM", i.System.Name)
	}
	i.KillAll()
	i.master = nil
}

// KillAll sends SIGKILL to master and every process of its session.
func (i *Instance) KillAll() {
	if i.master == nil {
		return
	}
	for _, pid := range i.Processes() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	select {
	case <-i.ended:
	case <-time.After(Wait):
		i.T.Errorf("%s: master survived SIGKILL", i.System.Name)
	}
	i.Until("all processes are gone", func() bool { return len(i.Processes()) == 0 })
}

// Command prepares a program of the private root, run as root. A name without
// a slash is one of the system's commands.
func (i *Instance) Command(name string, args ...string) *exec.Cmd {
	path := name
	if !strings.Contains(name, "/") {
		path = i.System.SbinDir + "/" + name
		if name == "mailq" || name == "newaliases" {
			path = i.System.BinDir + "/" + name
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "MAIL_CONFIG=" + i.Dir + "/etc"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.Root}
	return cmd
}

// As prepares a program as Command does, to be run by a user of the private
// root: "alice", "bob" or "carol".
func (i *Instance) As(user, name string, args ...string) *exec.Cmd {
	i.T.Helper()
	uid, ok := map[string]uint32{"alice": 2301, "bob": 2302, "carol": 2303}[user]
	if !ok {
		i.T.Fatalf("no user %q in the private root", user)
	}
	cmd := i.Command(name, args...)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	cmd.Dir = "/tmp"
	return cmd
}

// primaryScript mounts a configuration over the default one, in a mount
// namespace of its own, and runs a command below the root.
const primaryScript = `mount --bind "$1" "$2" && root=$3 && shift 3 && exec chroot "$root" "$@"`

// AsPrimary returns cmd, a command below the root, with the instance's
// configuration in the place of the default one.
func (i *Instance) AsPrimary(cmd *exec.Cmd) *exec.Cmd {
	i.T.Helper()
	MountSpaces(i.T)
	args := []string{"-m", "sh", "-c", primaryScript, "sh", i.Host("etc"), filepath.Join(i.Root, "etc/postfix"), i.Root, cmd.Path}
	c := exec.Command("unshare", append(args, cmd.Args[1:]...)...)
	c.Env = slices.DeleteFunc(cmd.Env, func(e string) bool { return strings.HasPrefix(e, "MAIL_CONFIG=") })
	c.SysProcAttr = &syscall.SysProcAttr{}
	return c
}

// Run runs a command of the system and returns what it printed on both
// streams and its exit status.
func (i *Instance) Run(stdin, name string, args ...string) (output string, status int) {
	i.T.Helper()
	cmd := i.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		i.T.Fatalf("%s: %s %v: %v", i.System.Name, name, args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Log returns the mail log so far.
func (i *Instance) Log() string {
	b, err := os.ReadFile(i.Host("mail.log"))
	if err != nil {
		return ""
	}
	return string(b)
}

// WaitLog waits until a line of the log matches.
func (i *Instance) WaitLog(pattern string) {
	i.T.Helper()
	re := regexp.MustCompile(pattern)
	i.Until("log line "+pattern, func() bool { return re.MatchString(i.Log()) })
}

var (
	activeID = regexp.MustCompile(`(?m)/qmgr\[\d+\]: ([0-9A-Za-z]+): from=<`)
	goneID   = regexp.MustCompile(`(?m)/qmgr\[\d+\]: ([0-9A-Za-z]+): removed$`)
	requeued = regexp.MustCompile(`(?m)/pickup\[\d+\]: .* orig_id=([0-9A-Za-z]+)$`)
)

// WaitSettled waits until no message is in maildrop, incoming or active, every
// message that qmgr took is removed or rests in deferred, hold or corrupt, every
// SMTP session has ended, and no process of the system has anything to do: lines of
// different programs reach the log at their own pace.
func (i *Instance) WaitSettled() {
	i.T.Helper()
	last := -1
	i.Until("the queue settles", func() bool {
		ran := i.activity()
		quiet := ran >= 0 && ran == last
		last = ran
		return quiet && i.settled()
	})
}

// settled says whether queue and log show that nothing is under way.
func (i *Instance) settled() bool {
	if !i.Empty("maildrop", "incoming", "active") {
		return false
	}
	log := i.Log()
	ended := strings.Count(log, "]: disconnect from ")
	if strings.Count(log, "]: connect from ") != ended || ended < i.Sessions {
		return false
	}
	gone := map[string]bool{}
	for _, re := range []*regexp.Regexp{goneID, requeued} {
		for _, m := range re.FindAllStringSubmatch(log, -1) {
			gone[m[1]] = true
		}
	}
	for _, id := range i.Queue("deferred") {
		// The log may lag behind the queue.
		gone[id] = strings.Contains(log, "]: "+id+": to=<")
	}
	for _, id := range append(i.Queue("hold"), i.Queue("corrupt")...) {
		gone[id] = true
	}
	// What rests in the queue has come by the log, too.
	for _, id := range append(i.Queue("deferred"), i.Queue("hold")...) {
		if !strings.Contains(log, "]: "+id+": ") {
			return false
		}
	}
	for _, m := range activeID.FindAllStringSubmatch(log, -1) {
		if !gone[m[1]] {
			return false
		}
	}
	return true
}

// AwaitDisconnect waits until the server has logged the end of each session that
// the test has held, so that the lines of the next one come after them.
func (i *Instance) AwaitDisconnect() {
	i.T.Helper()
	i.Until("all sessions have ended in the log", func() bool {
		return strings.Count(i.Log(), "]: disconnect from ") >= i.Sessions
	})
}

// SyncLog waits until the log service has written what programs that have ended
// sent to it: a mark of our own goes the same way behind them. LogLines leaves
// it out under the name of the service.
func (i *Instance) SyncLog() {
	i.T.Helper()
	c, err := net.Dial("unixgram", i.Host("queue/public/postlog"))
	if err != nil {
		return // the system does not run, or logs elsewhere
	}
	defer c.Close()
	i.marks++
	mark := fmt.Sprintf("postfix/postlogd[0]: mark %d.", i.marks)
	if _, err := fmt.Fprintf(c, "%s mail %s", time.Now().Format(time.Stamp), mark); err != nil {
		return
	}
	i.Until("the log service writes", func() bool { return strings.Contains(i.Log(), mark) })
}

// Queue lists the ids in a queue directory, hashed or not.
func (i *Instance) Queue(name string) []string {
	var ids []string
	filepath.WalkDir(i.Host("queue/"+name), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			ids = append(ids, d.Name())
		}
		return nil
	})
	return ids
}

// Count is the number of files in a queue directory.
func (i *Instance) Count(queue string) int { return len(i.Queue(queue)) }

// Empty says whether no file is in any of some queue directories. A message moves
// from one to the next, and a notice comes into incoming before what it is about
// leaves active: what moved past the first look is seen by the second.
func (i *Instance) Empty(queues ...string) bool {
	for range 2 {
		for _, queue := range queues {
			if i.Count(queue) > 0 {
				return false
			}
		}
	}
	return true
}

// Until polls a condition and fails the test when it does not come true.
func (i *Instance) Until(what string, done func() bool) {
	i.T.Helper()
	deadline := time.Now().Add(Wait)
	for !done() {
		if time.Now().After(deadline) {
			i.T.Fatalf("%s: waited %s for: %s", i.System.Name, Wait, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Again calls done until it says true, or until nothing can be expected to change
// any more: the system, if it runs, was seen at rest that often. It does not fail
// the test.
func (i *Instance) Again(done func() bool) {
	const looks = 50
	deadline := time.Now().Add(Wait)
	for rests := 0; !done() && rests < looks && time.Now().Before(deadline); {
		before := i.activity()
		time.Sleep(10 * time.Millisecond)
		if before >= 0 && i.activity() == before {
			rests++
		}
	}
}

func (i *Instance) must(err error) {
	i.T.Helper()
	if err != nil {
		i.T.Fatal(fmt.Errorf("%s %s: %w", i.System.Name, i.Dir, err))
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
