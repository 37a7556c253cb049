package neighbours

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postern/internal/protocol/dns/dnstest"
	"postern/test/harness"
)

// spfNameserver is an address of its own, because resolv.conf has no place for
// a port.
const spfNameserver = "127.0.0.154"

// spfZone has a domain for each result that SPF knows (RFC 7208 2.6). The good
// client is 127.0.0.9.
const spfZone = `pass.example.      TXT "v=spf1 ip4:127.0.0.9 -all"
softfail.example.  TXT "v=spf1 ip4:192.0.2.1 ~all"
neutral.example.   TXT "v=spf1 ?all"
none.example.      A 192.0.2.1
permerror.example. TXT "v=spf1 include:none.example -all"
include.example.   TXT "v=spf1 include:pass.example -all"
!timeout temperror.example.
client.example.    A 127.0.0.9
`

// withNameserver prepares a command that sees a resolv.conf of its own, in a
// mount namespace of its own.
func withNameserver(t *testing.T, addr, path string, args ...string) *exec.Cmd {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+addr+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	return exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, conf, path}, args...)...)
}

// policydSPF starts the SPF policy server for each connection, as spawn(8)
// would: it talks on its standard input and output.
func policydSPF(t *testing.T, conf string) (addr string) {
	t.Helper()
	path := program(t, "policyd-spf")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				continue
			}
			cmd := withNameserver(t, spfNameserver, path, file)
			cmd.Stdin, cmd.Stdout = f, f
			if err := cmd.Start(); err != nil {
				t.Errorf("policyd-spf: %v", err)
			} else {
				running.Go(func() { cmd.Wait() })
			}
			f.Close()
		}
	})
	return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// TestPolicydSPF has the SPF policy server look up the records of senders in the
// DNS: what it says becomes a header field, a refusal or a deferral.
func TestPolicydSPF(t *testing.T) {
	harness.MountSpaces(t)
	d, err := dnstest.Listen(spfNameserver+":53", spfZone)
	if err != nil {
		harness.Skip(t, "the name server cannot listen: %v", err)
	}
	t.Cleanup(d.Close)
	addr := policydSPF(t, "debugLevel = 0\nHELO_reject = False\nMail_From_reject = Fail\nPermError_reject = True\nTempError_Defer = True\n"+
		"skip_addresses = 192.0.2.1/32\nHeader_Type = SPF\nLookup_Time = 2\n")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: "mynetworks = 192.0.2.1\nlocal_recipient_maps =\nsmtpd_peername_lookup = no\nsmtpd_recipient_restrictions = check_policy_service inet:" + addr + "\n"})
	i.Start()
	for n, tt := range []struct{ domain, from, header, refusal string }{
		{"pass.example", "127.0.0.9", "Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=127.0.0.9; helo=client.example; envelope-from=s@pass.example; receiver=", ""},
		{"include.example", "127.0.0.9", "Received-SPF: Pass (mailfrom)", ""},
		{"softfail.example", "127.0.0.9", "Received-SPF: Softfail (mailfrom)", ""},
		{"neutral.example", "127.0.0.9", "Received-SPF: Neutral (mailfrom)", ""},
		{"none.example", "127.0.0.9", "Received-SPF: None (mailfrom)", ""},
		{"pass.example", "127.0.0.8", "", "550 5.7.23 <u7@example.com>: Recipient address rejected: Message rejected due to: SPF fail - not authorized. Please see http"},
		{"permerror.example", "127.0.0.9", "", "550 5.7.24 <u7@example.com>: Recipient address rejected: Message rejected due to: SPF Permanent Error"},
		{"temperror.example", "127.0.0.9", "", "450 4.7.24 <u7@example.com>: Recipient address rejected: Message deferred due to: SPF Temporary Error"},
	} {
		user := "alice"
		if tt.refusal != "" {
			user = "u7"
		}
		err := submit(i, tt.from, "s@"+tt.domain, []string{user + "@example.com"}, fmt.Sprintf("Subject: %d\n\ntext\n", n))
		if tt.refusal != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.refusal) {
				t.Errorf("%s from %s: %v, want %s", tt.domain, tt.from, err, tt.refusal)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s from %s: %v", tt.domain, tt.from, err)
			continue
		}
		got := one(t, i, user)
		// The field stands above the one that Postern adds, as all that is prepended.
		above, _, _ := strings.Cut(strings.ReplaceAll(got, "\n ", " "), "\nReceived: ")
		if !strings.Contains(above, "\n"+tt.header) {
			t.Errorf("%s from %s: no %q in\n%s", tt.domain, tt.from, tt.header, got)
		}
		for _, f := range must(filepath.Glob(i.Host("mail/" + user + "/new/*"))) {
			os.Remove(f)
		}
	}
	asked := map[string]bool{}
	for _, q := range d.Queries() {
		asked[q] = true
	}
	t.Logf("the policy server asked the DNS %d different questions", len(asked))
	if len(asked) < 6 {
		t.Errorf("the policy server asked the DNS %d questions: %v", len(asked), asked)
	}
	i.WaitSettled()
	if log := i.Log(); strings.Count(log, "SPF fail - not authorized") != 1 {
		t.Error("the log does not say why the message was refused")
	}
}

func must[T any](v T, _ error) T { return v }
