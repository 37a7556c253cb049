package oracle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"postern/internal/protocol/dns/dnstest"
	"postern/internal/protocol/milter/miltertest"
	"postern/test/harness"
)

// A player carries out the script of one archive.
type player struct {
	t       *testing.T
	archive *txtar.Archive
	i       *harness.Instance
	sinks   map[string]*harness.Sink
	milters map[string]*miltertest.Milter
	servers map[string]*harness.Policy
	ports   map[string]int
	seen    strings.Builder // the section "want"
	wanted  []string        // what is expected of that section, in the pieces that begin with "== "; nil with -update
	shown   int             // how many pieces seen has
	out     []txtar.File
	names   *dnstest.Server
	heard   int // the questions of names before this player began
	held    int // clients that keep silent
	started bool
	primary bool // commands see the instance's configuration as the default one
}

// The commands of a script, a line each; "#" begins a comment, and the line
// "newer 3.9" says that the packaged Postfix does not have the feature. A main.cf
// that names @DIR@/etc/cert.pem gets a key and a certificate there; another file
// @DIR@/etc/NAME.pem of main.cf or master.cf is that of testdata/tls.
//
//	sink NAME            start a scripted SMTP server from section NAME; @NAME@ is its port
//	sink NAME ADDR:PORT  the same on an address of its own, which no other archive uses
//	auth NAME            start an authentication server on private/auth for the users of section NAME
//	start                start the system (the first command that needs it does so by itself)
//	stop
//	policy NAME          start a policy server from section NAME; @NAME@ is its port
//	port NAME...         reserve ports: @NAME@ in master.cf, for more services that listen
//	dialogue NAME [from ADDR] [at PORT]  play section NAME; what the server said becomes its contents
//	hold PORT            a client connects, is greeted and keeps silent to the end; the greeting goes to "want"
//	settle               wait until every message is delivered or deferred
//	await PATTERN        wait until a line of the log matches
//	run [<SECTION] COMMAND ARGS…    run a command, its output and status go to "want"
//	as USER [<SECTION] COMMAND ARGS…  the same as an ordinary user
//	maildir PATH, mailbox PATH      what was delivered goes to "want"
//	file PATH            a file of the instance goes to "want"
//	sunk NAME            what the sink was told goes to "want"
//	milter NAME          start a scripted milter from section NAME; @NAME@ is its port
//	milted NAME          what the milter was told goes to "want"
//	asked NAME           what the policy server was asked goes to "want", without what differs in each run
//	served NAME          how many requests came over each connection of the policy server goes to "want"
//	questions DOMAIN     what the name server was asked about names below a domain, which no other archive uses, goes to "want"
//	queue NAME           the number of messages in a queue goes to "want"
//	log [PROGRAM…]       the log, or that of some programs, goes to "want"
//	decisions            the log of smtpd goes to "want", with all queue ids alike
//	primary              commands see the configuration of the instance as the default one, without MAIL_CONFIG
//	write PATH SECTION MODE OWNER    write a file below the root before or after the start
var commands = map[string]func(p *player, args []string){
	"sink":      (*player).sink,
	"port":      (*player).reserve,
	"policy":    (*player).policy,
	"asked":     (*player).asked,
	"served":    (*player).served,
	"questions": (*player).questions,
	"hold":      (*player).hold,
	"auth":      func(p *player, args []string) { harness.NewAuth(p.t, p.i, p.section(args[0])) },
	"start":     func(p *player, _ []string) { p.start() },
	"stop":      func(p *player, _ []string) { p.i.Stop(); p.started = false },
	"dialogue":  (*player).dialogue,
	"await":     func(p *player, args []string) { p.i.WaitLog(strings.Join(args, " ")) },
	"settle":    func(p *player, _ []string) { p.i.WaitSettled() },
	"run":       func(p *player, args []string) { p.run(0, args) },
	"as":        func(p *player, args []string) { p.run(users[args[0]], args[1:]) },
	"maildir":   (*player).maildir,
	"mailbox":   (*player).mailbox,
	"file":      (*player).file,
	"sunk":      (*player).sunk,
	"milter":    (*player).milter,
	"milted":    (*player).milted,
	"queue":     (*player).queue,
	"log":       (*player).log,
	"write":     (*player).write,
	"decisions": (*player).decisions,
	"primary":   func(p *player, _ []string) { p.primary = true },
}

var users = map[string]uint32{"root": 0, "alice": 2301, "bob": 2302, "carol": 2303, "vmail": 2200}

func play(t *testing.T, archive *txtar.Archive, names *dnstest.Server, s harness.System) []txtar.File {
	p := &player{t: t, archive: archive, sinks: map[string]*harness.Sink{}, servers: map[string]*harness.Policy{},
		milters: map[string]*miltertest.Milter{}, ports: map[string]int{},
		names: names, heard: len(names.Queries())}
	if !*update {
		p.wanted = pieces(expected(archive, "want", s))
	}
	p.i = harness.New(t, s, harness.Config{})
	p.ports["smtp"] = p.i.Port
	for _, line := range strings.Split(string(archive.Comment), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0][0] == '#' || f[0] == "newer" {
			continue
		}
		command, ok := commands[f[0]]
		if !ok {
			t.Fatalf("unknown command %q", f[0])
		}
		if f[0] != "sink" && f[0] != "port" && f[0] != "auth" && f[0] != "milter" && f[0] != "policy" && f[0] != "start" && f[0] != "write" && !p.started {
			p.start()
		}
		command(p, f[1:])
	}
	if p.seen.Len() > 0 {
		p.out = append(p.out, txtar.File{Name: "want", Data: []byte(p.seen.String())})
	}
	return p.out
}

func (p *player) section(name string) string {
	data, ok := harness.Section(p.archive, name)
	if !ok {
		p.t.Fatalf("no section %q", name)
	}
	return string(data)
}

// expand puts the ports of sinks and the instance's folder into a text.
func (p *player) expand(text string) string {
	for name, port := range p.ports {
		text = strings.ReplaceAll(text, "@"+name+"@", fmt.Sprint(port))
	}
	return p.i.Expand(text)
}

func (p *player) start() {
	if !p.started {
		c := harness.Config{Files: map[string]string{}}
		for _, f := range p.archive.Files {
			text := p.expand(string(f.Data))
			switch {
			case f.Name == "main.cf":
				c.Main = text
			case f.Name == "master.cf":
				c.Master = text
			case strings.HasPrefix(f.Name, "etc/"):
				c.Files[f.Name[4:]] = text
			}
		}
		if strings.Contains(c.Main, "/etc/cert.pem") {
			c.Files["cert.pem"] = harness.Certificate(p.t, "mail.example.com")
		}
		for _, m := range certificateFile.FindAllStringSubmatch(c.Main+c.Master, -1) {
			if m[1] != "cert.pem" {
				c.Files[m[1]] = readFile(p.t, "testdata/tls/"+m[1])
			}
		}
		p.i.WriteConfig(c)
	}
	p.started = true
	p.i.Start()
}

var certificateFile = regexp.MustCompile(`/etc/([a-z]+\.pem)`)

func (p *player) mask(s string) string {
	return processID.ReplaceAllString(p.i.NewMasker(p.ports).Text(s), "PID: N")
}

// processID is how "postfix status" names a process.
var processID = regexp.MustCompile(`PID: \d+`)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (p *player) sink(args []string) {
	addr := "127.0.0.1:0"
	if len(args) > 1 {
		addr = args[1]
	}
	s := harness.NewSinkAt(p.t, addr, p.section(args[0]))
	p.sinks[args[0]] = s
	// A port that an archive names is the same in every run: nothing to mask.
	if len(args) == 1 {
		p.ports[args[0]] = s.Port
	}
}

func (p *player) policy(args []string) {
	s := harness.NewPolicy(p.t, p.section(args[0]))
	p.servers[args[0]], p.ports[args[0]] = s, s.Port
}

// reserve chooses free ports for further services of master.cf.
func (p *player) reserve(args []string) {
	for _, name := range args {
		p.ports[name] = harness.FreePort(p.t)
	}
}

func (p *player) dialogue(args []string) {
	p.i.Sessions++
	from, addr := "", p.i.Addr()
	for n := 1; n+1 < len(args); n += 2 {
		switch args[n] {
		case "from":
			from = args[n+1]
		case "at":
			addr = fmt.Sprintf("127.0.0.1:%d", p.ports[args[n+1]])
		}
	}
	text, err := harness.Dialogue(addr, from, p.section(args[0]), p.mask)
	if err != nil {
		p.t.Errorf("%s: dialogue %s: %v\n%s", p.i.System.Name, args[0], err, text)
	}
	if !newer(p.archive) {
		text = strings.ReplaceAll(text, announced, "S: 250 CHUNKING\n")
	}
	p.out = append(p.out, txtar.File{Name: args[0], Data: []byte(text)})
	p.i.AwaitDisconnect()
}

// announced is the end of a reply to EHLO within TLS, of which the packaged
// Postfix does not know the last line.
const announced = "S: 250-CHUNKING\nS: 250 REQUIRETLS\n"

func (p *player) run(uid uint32, args []string) {
	title := strings.Join(args, " ")
	stdin := ""
	if name, ok := strings.CutPrefix(args[0], "<"); ok {
		stdin, args = p.section(name), args[1:]
	}
	for n := range args {
		args[n] = p.expandID(p.expand(args[n]))
	}
	cmd := p.i.Command(args[0], args[1:]...)
	if p.primary {
		cmd = p.i.AsPrimary(cmd)
	}
	cmd.Stdin = strings.NewReader(stdin)
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
		cmd.Dir = "/tmp"
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		p.t.Fatalf("%s: %s: %v", p.i.System.Name, title, err)
	}
	p.show("run "+title, out.String())
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		fmt.Fprintf(&p.seen, "[exit status %d]\n", code)
	}
}

// expandID replaces @QID1@ by the first queue id of the log, and so on.
func (p *player) expandID(arg string) string {
	if !strings.Contains(arg, "@QID") {
		return arg
	}
	for id, name := range p.i.NewMasker(nil).IDs() {
		arg = strings.ReplaceAll(arg, "@"+name+"@", id)
	}
	return arg
}

// hostPath is a path of the private root, or of the instance when relative.
func (p *player) hostPath(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Join(p.i.Root, path)
	}
	return p.i.Host(path)
}

func (p *player) milter(args []string) {
	m := miltertest.New(p.t, p.section(args[0]))
	p.milters[args[0]], p.ports[args[0]] = m, m.Port
}

// write: PATH SECTION [MODE [OWNER]].
func (p *player) write(args []string) {
	path, mode, uid := p.hostPath(args[0]), os.FileMode(0o644), uint32(0)
	if len(args) > 2 {
		fmt.Sscanf(args[2], "%o", &mode)
	}
	if len(args) > 3 {
		uid = users[args[3]]
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(p.expand(p.section(args[1]))), mode); err != nil {
		p.t.Fatal(err)
	}
	os.Chmod(path, mode)
	os.Chown(path, int(uid), int(uid))
	if strings.HasPrefix(args[0], "/home/") {
		p.t.Cleanup(func() { os.Remove(path) })
	}
}
