// Package crash kills services, master and everything at once while mail comes
// in, and counts: every message that was acknowledged has been delivered,
// returned, or is still in the queue.
//
//	go test ./test/crash           a short round
//	go test ./test/crash -long     minutes
//	go test ./test/crash -oracle   the real Postfix is asked, too
package crash

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

var (
	long   = flag.Bool("long", false, "kill for minutes")
	oracle = flag.Bool("oracle", false, "ask the real Postfix the same, where it has the same answer")
)

// systems runs a test against Postern and, with -oracle, against the real
// Postfix, whose replies the test demands.
func systems(t *testing.T, f func(t *testing.T, s harness.System)) {
	t.Run("postern", func(t *testing.T) { f(t, harness.Postern) })
	if *oracle {
		t.Run("postfix", func(t *testing.T) { f(t, harness.Postfix) })
	}
}

// services are the programs that are killed, one after the other.
var services = []string{"qmgr", "cleanup", "pickup", "local", "virtual", "bounce", "error", "trivial-rewrite", "smtpd", "anvil", "postlogd"}

const mainCF = `
virtual_mailbox_domains = virtual.example
virtual_mailbox_base = @DIR@/vmail
virtual_mailbox_maps = inline:{ {v@virtual.example=v/} }
virtual_uid_maps = static:2200
virtual_gid_maps = static:2200
transport_maps = inline:{ {gone.example=error:5.1.2 no such place} {slow.example=retry:4.4.4 not now} }
virtual_alias_maps = inline:{ {gone@example.com=u@gone.example} {slow@example.com=bob@slow.example} }
mydestination = example.com, slow.example
forward_path =
smtpd_recipient_restrictions = permit_mynetworks
service_throttle_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
local_recipient_maps =
`

// counted makes smtpd ask anvil, which it does not for clients of mynetworks.
const counted = "smtpd_client_event_limit_exceptions =\nsmtpd_client_connection_count_limit = 100\n"

func TestKill(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF + counted})
	i.Start()
	l := startLoad(i, 8, 2)
	rounds := 1
	if *long {
		rounds = 20
	}
	kills := map[string]int{}
	for range rounds {
		for _, name := range services {
			kills[name] += kill(i, name)
			time.Sleep(250 * time.Millisecond)
		}
		l.wait("250", 100)
		syscall.Kill(i.MasterPID(), syscall.SIGKILL)
		kills["master"]++
		time.Sleep(200 * time.Millisecond)
		i.KillAll()
		i.Start()
		l.wait("250", 200)
		i.KillAll()
		kills["all at once"]++
		i.Start()
		l.wait("250", 200)
	}
	l.end()
	kills["sendmail"] = l.killed
	t.Logf("killed: %v", kills)
	for _, name := range append(services, "sendmail") {
		if kills[name] == 0 {
			t.Errorf("%s was never killed: the test shows nothing about it", name)
		}
	}
	i.Stop()
	drain(t, i)
	c := count(t, i, l)
	c.check(t, kills)
	if c.acked < 500 {
		t.Errorf("only %d messages were acknowledged: the test shows nothing", c.acked)
	}
}

// kill waits until processes of a program run, kills them, and returns their
// number.
func kill(i *harness.Instance, name string) int {
	n := 0
	i.Until(name+" runs", func() bool {
		for _, pid := range i.Processes() {
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err == nil && strings.TrimSpace(string(comm)) == name && syscall.Kill(pid, syscall.SIGKILL) == nil {
				n++
			}
		}
		return n > 0
	})
	return n
}

// drain lets the system deliver everything that is in the queue.
func drain(t *testing.T, i *harness.Instance) {
	i.Stop()
	i.WriteConfig(harness.Config{Main: strings.Replace(mainCF, "{slow.example=retry:4.4.4 not now}", "", 1) + "notify_classes =\n"})
	i.Start()
	defer func() {
		if t.Failed() {
			t.Logf("left in maildrop %v, incoming %v, active %v, deferred %v", i.Queue("maildrop"), i.Queue("incoming"), i.Queue("active"), i.Queue("deferred"))
		}
	}()
	i.Until("the queue is empty", func() bool {
		i.Run("", "postqueue", "-f")
		// A message moves from maildrop to incoming to active to deferred, and back to active.
		return empty(i) && empty(i)
	})
}

func empty(i *harness.Instance) bool {
	return complete(i, "maildrop")+complete(i, "incoming")+i.Count("active")+i.Count("deferred") == 0
}

// complete is the number of complete messages in a directory: what a killed
// cleanup or postdrop has left there is none.
func complete(i *harness.Instance, queue string) int {
	n := 0
	for _, id := range i.Queue(queue) {
		info, err := os.Stat(i.Host("queue/" + queue + "/" + id))
		if err == nil && info.Mode().Perm()&0o700 == 0o700 {
			n++
		}
	}
	return n
}
