// Package simulate is the command "postern simulate": what would become of a
// message, without a message.
//
// The SMTP server, cleanup and trivial-rewrite themselves run inside the
// command, with a queue directory that is thrown away: the replies, the policy,
// the rewriting and the routing are theirs. Nothing is sent. Lookup tables, the
// DNS and policy servers are asked as they would be; milters and a proxy filter
// are left out, addresses are not probed, clients are not counted.
package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"postern/internal/admin/command"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/event"
	"postern/internal/service"
	"postern/internal/table"
)

const usage = `--client address --from sender --to recipient [--to recipient…]
  [--client-name name] [--helo name] [--sasl-user user] [--tls] [--service name] [--config directory] [--json]`

// A Query is the session that does not take place.
type Query struct {
	Client     netip.Addr
	Name       string // of the client; "" asks the name service
	Helo       string
	User       string
	TLS        bool
	Sender     string
	Recipients []string
}

// An Exchange is one command of the session and what was answered.
type Exchange struct {
	Command string       `json:"command"`
	Reply   string       `json:"reply"`
	Trail   []event.Step `json:"trail,omitempty"`
}

// Knowledge is what the command is told of the programs.
type Knowledge struct {
	Programs []service.Program
	Tables   []table.Type
	// Rehearse plays the session with smtpd's service.
	Rehearse func(ctx context.Context, smtpd service.Service, q Query) []Exchange
}

// A Recipient is somebody who would get the message.
type Recipient struct {
	Address   string `json:"recipient"`
	Original  string `json:"original,omitempty"` // as the client named it, if it was another
	Class     string `json:"class"`              // of the address: local, virtual alias, virtual mailbox, relay, default
	Transport string `json:"transport,omitempty"`
	Nexthop   string `json:"nexthop,omitempty"`
	Problem   string `json:"problem,omitempty"`
}

// A Message is what would be in the queue.
type Message struct {
	Sender     string      `json:"sender"` // after rewriting
	Queue      string      `json:"queue"`  // incoming, hold
	Filter     string      `json:"filter,omitempty"`
	Redirect   string      `json:"redirect,omitempty"`
	Recipients []Recipient `json:"recipients"`
}

// A Result is what the command has found.
type Result struct {
	Service  string     `json:"service"` // "smtp/inet"
	Session  []Exchange `json:"session"`
	Message  *Message   `json:"message,omitempty"` // absent when there would be none
	Log      []string   `json:"log"`               // lines that the services would have written
	Problems []string   `json:"problems,omitempty"`
}

// list collects the values of an option that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, ", ") }

// Set adds a value.
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// timeout is for the whole: a name service that does not answer must not hold
// up a person for ever.
const timeout = 2 * time.Minute

// Main runs the command with args, its name first, and returns its exit
// status: 1 when no recipient would be accepted.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, k Knowledge) int {
	c := command.New("simulate", stdin, stdout, stderr)
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var q Query
	client := flags.String("client", "", "")
	name := flags.String("service", "", "")
	dir := flags.String("config", "", "")
	asJSON := flags.Bool("json", false, "")
	flags.StringVar(&q.Name, "client-name", "", "")
	flags.StringVar(&q.Helo, "helo", "", "")
	flags.StringVar(&q.User, "sasl-user", "", "")
	flags.BoolVar(&q.TLS, "tls", false, "")
	flags.StringVar(&q.Sender, "from", "", "")
	flags.Var((*list)(&q.Recipients), "to", "")
	err := flags.Parse(args[1:])
	if err != nil || *client == "" || len(q.Recipients) == 0 || flags.NArg() > 0 {
		return c.Usage(command.Usage, usage)
	}
	if err := q.complete(*client); err != nil {
		return c.Fail(command.Usage, "%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r, err := run(ctx, k, command.ConfigDirectory(*dir), *name, q)
	if err != nil {
		return c.Fail(command.Config, "%v", err)
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return c.Fail(command.Failure, "%v", err)
		}
	} else {
		r.print(stdout)
	}
	if r.Message == nil {
		return c.Done(command.Failure)
	}
	return c.Done(command.OK)
}

// complete checks what was asked for. Line ends in it would be commands.
func (q *Query) complete(client string) (err error) {
	if q.Client, err = netip.ParseAddr(client); err != nil {
		return fmt.Errorf("--client %.100q: give an IP address: %w", client, err)
	}
	if q.Helo == "" {
		q.Helo = q.Name
	}
	if q.Helo == "" {
		q.Helo = "[" + client + "]"
	}
	if q.Sender == "<>" {
		q.Sender = ""
	}
	for _, text := range append([]string{q.Helo, q.Sender, q.Name, q.User}, q.Recipients...) {
		if strings.ContainsAny(text, "\r\n\x00") || len(text) > 1000 {
			return errors.New("an argument is too long, or has line ends in it")
		}
	}
	return nil
}

// classes name the address classes.
var classes = map[rewrite.Flags]string{
	rewrite.ClassLocal: "local", rewrite.ClassAlias: "virtual alias", rewrite.ClassVirtual: "virtual mailbox",
	rewrite.ClassRelay: "relay", rewrite.ClassDefault: "default",
}

func run(ctx context.Context, k Knowledge, dir, name string, q Query) (*Result, error) {
	h, err := newHouse(k, dir, name)
	if err != nil {
		return nil, err
	}
	defer h.close()
	r := &Result{Service: h.entry.Key(), Log: []string{}}
	r.Session = k.Rehearse(ctx, h.smtpd.Service, q)
	for _, g := range []*service.Guest{h.smtpd, h.cleanup, h.rewrite} {
		r.Log = append(r.Log, g.Notes()...)
	}
	if r.Message, err = h.message(ctx); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	return r, nil
}

// resolve asks trivial-rewrite about one recipient.
func (h *house) resolve(ctx context.Context, sender, addr, orig string) Recipient {
	r := Recipient{Address: addr, Original: orig}
	if r.Original == addr {
		r.Original = ""
	}
	res, err := h.router.Resolve(ctx, sender, addr)
	switch {
	case err != nil:
		r.Problem = err.Error()
	case res.Flags&rewrite.Fail != 0:
		r.Problem = "a lookup failed for now: the message would wait"
	case res.Flags&rewrite.Error != 0:
		r.Problem = "the address cannot be used"
	}
	r.Class = classes[res.Flags&rewrite.ClassMask]
	if r.Problem == "" {
		r.Transport, r.Nexthop = res.Transport, res.Nexthop
	}
	return r
}

// print writes the result for people.
func (r *Result) print(w io.Writer) {
	fmt.Fprintf(w, "service %s\n", r.Service)
	for _, e := range r.Session {
		fmt.Fprintf(w, "\n> %s\n", e.Command)
		for line := range strings.SplitSeq(e.Reply, "\n") {
			fmt.Fprintf(w, "< %s\n", line)
		}
		for _, s := range e.Trail {
			fmt.Fprintf(w, "    %s\n", s)
		}
	}
	fmt.Fprintln(w)
	switch {
	case r.Message == nil:
		fmt.Fprintln(w, "No message would be accepted.")
	default:
		r.Message.print(w)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "problem: %s\n", p)
	}
	for _, l := range r.Log {
		fmt.Fprintf(w, "log: %s\n", l)
	}
}

func (m *Message) print(w io.Writer) {
	fmt.Fprintf(w, "A message from <%s> would be in the queue %s.\n", m.Sender, m.Queue)
	if m.Filter != "" {
		fmt.Fprintf(w, "It would go through the filter %s.\n", m.Filter)
	}
	if m.Redirect != "" {
		fmt.Fprintf(w, "All of it would go to %s.\n", m.Redirect)
	}
	for _, t := range m.Recipients {
		fmt.Fprintf(w, "  <%s>", t.Address)
		if t.Original != "" {
			fmt.Fprintf(w, ", for <%s>", t.Original)
		}
		fmt.Fprintf(w, ": class %s", t.Class)
		if t.Problem != "" {
			fmt.Fprintf(w, "; %s\n", t.Problem)
			continue
		}
		fmt.Fprintf(w, ", transport %s, next hop %s\n", t.Transport, t.Nexthop)
	}
}
