// Package simulate is the command "postern simulate": what would become of a
// message, without a message.
//
// The SMTP server, cleanup, trivial-rewrite and the local delivery agent
// themselves run inside the command, with a queue directory that is thrown away:
// the replies, the policy, the rewriting, the routing and what becomes of local
// recipients are theirs. Nothing is sent, delivered or run. Lookup tables and
// the DNS are asked as they would be. Policy servers and milters keep books on
// what they are asked (greylists, quotas), so they are named and only asked when
// the user says so; a filter before or behind the queue is named. Addresses are
// not probed: what the verify service has in its cache is told. Clients are not
// counted.
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
	"postern/internal/mail/dsn"
	"postern/internal/mail/event"
	"postern/internal/service"
	"postern/internal/table"
)

const usage = `--client address --from sender --to recipient [--to recipient…]
  [--client-name name] [--helo name] [--sasl-user user] [--tls] [--service name] [--ask] [--config directory] [--json]`

// A Query is the session that does not take place.
type Query struct {
	Client     netip.Addr
	Name       string // of the client; "" asks the name service
	Helo       string
	User       string
	TLS        bool
	Sender     string
	Recipients []string
	Ask        bool // ask policy servers and milters
}

// A Rehearsed is what the SMTP server tells of the session.
type Rehearsed struct {
	Session     []Exchange
	Milters     []Milter
	ProxyFilter string
}

// A Milter is one that would be asked about the message.
type Milter struct {
	Name          string `json:"milter"`
	DefaultAction string `json:"default_action"` // when it cannot be asked
	Asked         bool   `json:"asked"`
}

// A Filter is a filter before the queue.
type Filter struct {
	Name  string `json:"filter"`
	Asked bool   `json:"asked"` // never
}

// A Rewriting is one step in which an envelope address became another, or
// several.
type Rewriting struct {
	Sender bool     `json:"is_sender"` // it is the sender's address, not a recipient's
	By     string   `json:"by"`        // a parameter such as virtual_alias_maps, or "trivial-rewrite"
	From   string   `json:"from"`
	To     []string `json:"to"`
}

// A Verified is what the verify service has in its cache of an address that
// was to be verified.
type Verified struct {
	Address string `json:"address"`
	Status  string `json:"status"` // deliverable, deferred, undeliverable, unknown
	Reason  string `json:"reason"`
}

// Unknown is the status of an address of which the verify service knows nothing.
const Unknown = "unknown"

// A Hop is where a message goes first: its content filter.
type Hop struct {
	Transport string `json:"transport"`
	Nexthop   string `json:"nexthop,omitempty"` // "": the domain of each recipient
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
	Rehearse func(ctx context.Context, smtpd service.Service, q Query) Rehearsed
	// Watch has each told how cleanup's service rewrites envelope addresses.
	Watch func(cleanup service.Service, each func(Rewriting))
	// Deliver has local's service follow aliases, .forward files and lists for
	// a recipient, and not deliver.
	Deliver func(ctx context.Context, local service.Service, q Delivery) *Step
}

// A Recipient is somebody who would get the message.
type Recipient struct {
	Address   string `json:"recipient"`
	Original  string `json:"original,omitempty"` // as the client named it, if it was another
	Class     string `json:"class"`              // of the address: local, virtual alias, virtual mailbox, relay, default; or the Kind of a Step
	Transport string `json:"transport,omitempty"`
	Nexthop   string `json:"nexthop,omitempty"`
	Problem   string `json:"problem,omitempty"`
	Note      string `json:"note,omitempty"` // why a file is not read
	// It gets a message of its own, made by local(8), from NewSender.
	NewMessage bool    `json:"new_message,omitempty"`
	NewSender  *string `json:"new_sender,omitempty"`
	// What local(8) makes of it: aliases, files that name destinations, and
	// what these name; mailboxes, files and commands, which have no transport.
	Becomes []Recipient `json:"becomes,omitempty"`
}

// A Delivery is a recipient that local's service is to follow.
type Delivery struct {
	Sender    string
	Recipient string
	Delivered []string // who has got the message before: a loop ends there
	MaxSteps  int      // what is longer is cut off
}

// A Step is what local's service comes to.
type Step struct {
	Kind, Name        string     // "address", "alias", "forward file", …
	Result            dsn.Result // how it ends; "" if it goes on
	Note              string     // why a file is not read
	Forwarded         bool       // the address gets a message of its own
	Sender, Delivered string     // of that
	Steps             []Step
}

// A Message is what would be in the queue.
type Message struct {
	Sender     string      `json:"sender"` // after rewriting
	Queue      string      `json:"queue"`  // incoming, hold
	Rewriting  []Rewriting `json:"rewriting,omitempty"`
	Filter     string      `json:"filter,omitempty"`     // content_filter or FILTER, as it was written
	FilterHop  *Hop        `json:"filter_hop,omitempty"` // where that sends the message
	Redirect   string      `json:"redirect,omitempty"`
	Recipients []Recipient `json:"recipients"`
}

// A Result is what the command has found.
type Result struct {
	Service  string     `json:"service"` // "smtp/inet"
	Session  []Exchange `json:"session"`
	Milters  []Milter   `json:"milters,omitempty"`
	Proxy    *Filter    `json:"proxy_filter,omitempty"`
	Verified []Verified `json:"verified,omitempty"`
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
	flags.BoolVar(&q.Ask, "ask", false, "")
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
	q.Sender = bare(q.Sender)
	for i := range q.Recipients {
		q.Recipients[i] = bare(q.Recipients[i])
	}
	for _, text := range append([]string{q.Helo, q.Sender, q.Name, q.User}, q.Recipients...) {
		if strings.ContainsAny(text, "\r\n\x00") || len(text) > 1000 {
			return errors.New("an argument is too long, or has line ends in it")
		}
	}
	return nil
}

// bare is an address without the angle brackets that a user may write around it.
func bare(addr string) string {
	if strings.HasPrefix(addr, "<") && strings.HasSuffix(addr, ">") {
		return addr[1 : len(addr)-1]
	}
	return addr
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
	played := k.Rehearse(ctx, h.smtpd.Service, q)
	r.Session, r.Milters, r.Verified = played.Session, played.Milters, h.verified
	if played.ProxyFilter != "" {
		r.Proxy = &Filter{Name: played.ProxyFilter}
	}
	r.Message, err = h.message(ctx)
	for _, g := range h.guests {
		r.Log = append(r.Log, g.Notes()...)
	}
	r.Problems = h.problems
	if err != nil {
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
