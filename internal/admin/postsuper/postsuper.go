// Package postsuper is the command with which the administrator removes, holds,
// releases, requeues and expires messages, and repairs the structure of the
// queue.
package postsuper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postern/internal/admin/command"
	"postern/internal/base/sys"
	"postern/internal/mail/queue"
)

const usage = "[-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or un-hold)] " +
	"[-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] " +
	"[-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]"

// tempAge is how old a temporary file is before -p removes it.
const tempAge = 7 * 24 * time.Hour

// messageQueues and logQueues are those that can be named on the command line;
// without any name all of them are meant.
var (
	messageQueues = []queue.Name{queue.Maildrop, queue.Incoming, queue.Active, queue.Deferred, queue.Hold}
	logQueues     = []queue.Name{queue.Bounce, queue.Defer, queue.Trace, queue.Flush}
)

// An order is one option: what to do with which message.
type order struct {
	option byte
	id     string // "ALL", "-" for those that standard input names
}

// A postsuper is one run of the command.
type postsuper struct {
	*command.Command
	store   *queue.Store
	orders  []order
	repair  queue.Repair
	doFix   bool
	queues  []queue.Name
	done    map[counter]int
	ordered map[counter]bool // counters that the summary shows
}

// Main runs the command and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &postsuper{Command: command.New("postsuper", stdin, stdout, stderr), done: map[counter]int{}, ordered: map[counter]bool{}}
	dir, rest, err := p.options(args[1:])
	if err != nil {
		var unknown *command.OptionError
		if errors.As(err, &unknown) {
			fmt.Fprintf(stderr, "postsuper: %v\n", err)
			return p.Usage(command.Failure, usage)
		}
		return p.Fail(command.Failure, "%v", err)
	}
	if err := p.Load(command.ConfigDirectory(dir)); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	if err := p.chooseQueues(rest); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	if err := p.becomeOwner(); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	p.store = queue.Open(&p.Common)
	defer p.store.Close()
	if err := p.run(); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	return p.Done(command.OK)
}

func (p *postsuper) options(args []string) (dir string, rest []string, err error) {
	purge := false
	rest, err = command.Getopt(args, "c:d:e:f:h:H:pr:sSv", func(option byte, arg string) error {
		switch option {
		case 'c':
			if dir = arg; dir == "" || dir[0] != '/' {
				return errors.New("-c requires absolute pathname")
			}
		case 'd', 'e', 'f', 'h', 'H', 'r':
			p.orders = append(p.orders, order{option, arg})
		case 'p':
			purge = true
		case 's':
			p.repair.Structure = true
		case 'S':
			p.repair.Structure, p.repair.LongToo = true, true
		case 'v':
			p.Verbose()
		}
		return nil
	})
	if len(p.orders) == 0 && !purge && !p.repair.Structure {
		purge, p.repair.Structure = true, true
	}
	if purge {
		p.repair.Purge = time.Now().Add(-tempAge)
	}
	p.doFix = purge || p.repair.Structure
	return dir, rest, err
}

func (p *postsuper) chooseQueues(names []string) error {
	// Logs come first: they have to be in their places when the name of their
	// message changes.
	known := append(append([]queue.Name{}, logQueues...), messageQueues...)
	if len(names) == 0 {
		p.queues = known
		return nil
	}
	for _, name := range names {
		found := false
		for _, q := range known {
			if string(q) == name {
				p.queues = append(p.queues, q)
				found = true
			}
		}
		if !found {
			return fmt.Errorf("invalid directory name: %s", name)
		}
	}
	return nil
}

// becomeOwner gives root's power up: what is made in the queue has to belong to
// mail_owner. Where an ordinary user runs an instance of his own, he is the
// owner.
func (p *postsuper) becomeOwner() error {
	info, err := os.Stat(filepath.Join(p.Common.QueueDirectory, string(queue.Hold)))
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Getuid() {
			return nil
		}
	}
	if os.Getuid() != 0 {
		return errors.New("use of this command is reserved for the superuser")
	}
	owner, err := sys.LookupOwner(p.Common.MailOwner)
	if err != nil {
		return err
	}
	return sys.Become(owner)
}

func (p *postsuper) run() error {
	if p.doFix {
		p.repair.Strange = p.Log.Warningf
		if err := p.repair.Run(p.store, p.queues); err != nil {
			if p.repair.Structure {
				p.Log.Warningf("OPERATION INCOMPLETE -- RERUN COMMAND TO FIX THE QUEUE FIRST")
			}
			return err
		}
	}
	// Single messages come before ALL, as in Postfix.
	for _, all := range []bool{false, true} {
		for _, o := range p.orders {
			if all != (o.id == "ALL") {
				continue
			}
			if err := p.obey(o); err != nil {
				return err
			}
		}
	}
	p.summary()
	return nil
}

// A counter counts what was done, for the summary.
type counter int

const (
	requeued counter = iota
	deleted
	expired
	held
	released
)

// summaries stand in the order in which they are printed.
var summaries = [...]struct {
	what counter
	text string
}{
	{requeued, "Requeued"},
	{deleted, "Deleted"},
	{expired, "Force-expired"},
	{held, "Placed on hold"},
	{released, "Released from hold"},
}

// summary tells how many messages each kind of order has found.
func (p *postsuper) summary() {
	for _, s := range summaries {
		if p.ordered[s.what] {
			p.count(s.text, p.done[s.what])
		}
	}
	if p.repair.Renamed > 0 {
		p.count("Renamed to match inode number", p.repair.Renamed)
		p.Log.Warningf("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS")
		if len(p.orders) > 0 {
			p.Log.Warningf("CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND")
		}
	}
}

func (p *postsuper) count(text string, n int) {
	plural := "s"
	if n == 1 {
		plural = ""
	}
	p.Log.Infof("%s: %d message%s", text, n, plural)
}
