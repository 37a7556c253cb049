// Package why is the command "postern why": what decided in a session that has
// happened, told from the log.
//
// With maillog_format = json the log has the trail of each refusal and of each
// message: the restrictions in their order, what they found, and what they
// said. From a log in Postfix's text it tells what the lines say.
//
// The log is read line by line, the older files that rotation has left first,
// compressed or not; what is kept is the lines to show and the queue ids that
// the question is about.
package why

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/mail/event"
)

const usage = `[--json] [--last number] [--log file]… [--config directory] queue-id | client | address
A client is an IP address or a host name, an address a mail address.`

// defaultLast is how many lines are shown at most.
const defaultLast = 200

// A Line is one line of the log that has to do with the question.
type Line struct {
	Time    string       `json:"time"`
	Process string       `json:"process"`
	QueueID string       `json:"queue_id,omitempty"`
	Text    string       `json:"text"`
	Trail   []event.Step `json:"trail,omitempty"`
	// What let further recipients and contents pass, at the end of a session.
	Passed []event.Judgement `json:"passed,omitempty"`

	clients   []string
	addresses []string
}

type files []string

func (f *files) String() string { return strings.Join(*f, ", ") }

// Set adds a file.
func (f *files) Set(v string) error { *f = append(*f, v); return nil }

// Main runs the command with args, its name first, and returns its exit
// status: 1 when the log says nothing.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New("why", stdin, stdout, stderr)
	flags := flag.NewFlagSet("why", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var logs files
	asJSON := flags.Bool("json", false, "")
	last := flags.Int("last", defaultLast, "")
	dir := flags.String("config", "", "")
	flags.Var(&logs, "log", "")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() != 1 || flags.Arg(0) == "" || *last < 1 {
		return c.Usage(command.Usage, usage)
	}
	if len(logs) == 0 {
		if err := c.Load(command.ConfigDirectory(*dir)); err != nil {
			return c.Fail(command.Config, "%v", err)
		}
		current := c.Common.MaillogFile
		if !strings.HasPrefix(current, "/") || strings.HasPrefix(current, "/dev/") {
			current = systemLog
		}
		var unreadable []string
		if logs, unreadable = Rotated(current); len(unreadable) > 0 {
			fmt.Fprintf(stderr, "not searched: %s; write what their program decompresses to a file and name it with --log\n", strings.Join(unreadable, ", "))
		}
	}
	lines, err := Search(logs, flags.Arg(0), *last)
	if err != nil {
		return c.Fail(command.Failure, "%v; --log names another file", err)
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		if err := e.Encode(lines); err != nil {
			return c.Fail(command.Failure, "%v", err)
		}
	} else {
		show(stdout, lines)
	}
	if len(lines) == 0 {
		return c.Fail(command.Failure, "nothing about %.200q in %s", flags.Arg(0), logs.String())
	}
	return c.Done(command.OK)
}

// systemLog is where syslog daemons write what no parameter names.
const systemLog = "/var/log/mail.log"

// Search looks for the lines about a queue id, a client or an address, and
// those about the messages that these lines name: what a message was forwarded
// as, what a filter on this host made of it, the notice that was sent of it. The
// last lines are returned, in order.
func Search(paths []string, what string, last int) ([]Line, error) {
	q := newQuestion(what)
	ids := map[string]bool{}
	if q.kind == queueID {
		ids[what] = true
	}
	matters := func(text []byte) bool { return mentionsID(text, ids) || q.kind != queueID && q.mentioned(text) }
	// A message has lines before the one that says what it has to do with the
	// question.
	err := each(paths, matters, func(l *Line) {
		asked := q.asksFor(l)
		if asked && l.QueueID != "" && len(ids) < maxIDs {
			ids[l.QueueID] = true
		}
		if next := l.follower(); next != "" && len(ids) < maxIDs && (asked || ids[l.QueueID]) {
			ids[next] = true
		}
	})
	if err != nil {
		return nil, err
	}
	found := []Line{}
	err = each(paths, matters, func(l *Line) {
		if q.kind == queueID || q.kind == mailAddr {
			l.Passed = slices.DeleteFunc(l.Passed, func(p event.Judgement) bool { return !ids[p.QueueID] })
		}
		if !(l.QueueID != "" && ids[l.QueueID]) && len(l.Passed) == 0 && !q.asksFor(l) {
			return
		}
		if found = append(found, *l); len(found) >= 2*last {
			found = slices.Delete(found, 0, len(found)-last)
		}
	})
	return found[max(0, len(found)-last):], err
}

// maxIDs bounds the messages that a question is about.
const maxIDs = 100_000

// show writes lines for people, the trail below its line.
func show(w io.Writer, lines []Line) {
	for _, l := range lines {
		fmt.Fprintf(w, "%s %s: %s\n", l.Time, l.Process, l.Text)
		for _, s := range l.Trail {
			fmt.Fprintf(w, "    %s\n", s)
		}
		for _, p := range l.Passed {
			fmt.Fprintf(w, "  %s: passed: %s %s\n", p.QueueID, p.Stage, p.Recipient)
			for _, s := range p.Trail {
				fmt.Fprintf(w, "    %s\n", s)
			}
		}
	}
}
