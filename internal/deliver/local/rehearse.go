package local

import (
	"context"
	"errors"
	"os"
	"strings"

	"postern/internal/deliver/agent"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
)

// A Rehearsal is a recipient that nothing is delivered to.
type Rehearsal struct {
	Sender    string
	Recipient string
	Delivered []string // who would have got the message before: its Delivered-To: fields
	MaxSteps  int      // what is longer is cut off
}

// A StepKind says what a Step is.
type StepKind string

// What an expansion comes to.
const (
	StepAddress   StepKind = "address"
	StepAlias     StepKind = "alias"         // an entry of alias_maps
	StepForward   StepKind = "forward file"  // one of forward_path
	StepInclude   StepKind = "included list" // :include:
	StepFile      StepKind = "file"
	StepCommand   StepKind = "command"
	StepMailbox   StepKind = "mailbox"
	StepTransport StepKind = "transport" // mailbox_transport, fallback_transport and their tables
	StepRelay     StepKind = "luser_relay"
)

// A Step is a place that a rehearsed delivery comes to, with the places that it
// goes on to. One without result and steps was named before: once is enough.
type Step struct {
	Kind   StepKind
	Name   string // an address, a key, a path, a command line, "transport:nexthop"
	Result dsn.Result
	Note   string // why a file is not read
	// The address gets a message of its own, from Sender, with Delivered-To:
	// Delivered.
	Forwarded         bool
	Sender, Delivered string
	Steps             []*Step
}

// A tour is a rehearsal that is going on.
type tour struct {
	left int // steps
}

// Rehearse says what the service would do with a recipient: it follows aliases,
// .forward files and included lists as for a message, and neither delivers nor
// runs anything. Tables and files are read, addresses are resolved, and what
// is worth a warning is logged.
func (s *Service) Rehearse(ctx context.Context, r Rehearsal) *Step {
	req := &agent.Request{Log: s.Env().Log}
	req.QueueID, req.Sender, req.Flags = "rehearsal", r.Sender, delivery.FlagUserVerify
	loops := make(map[string]bool)
	for _, d := range r.Delivered {
		loops[strings.ToLower(address.Quote822(d))] = true
	}
	j := &job{
		Service: s, ctx: ctx, req: req, rcpt: &delivery.Recipient{Address: r.Recipient},
		seen: newFilter(s.Env().Common.DuplicateFilterLimit), loops: loops, tour: &tour{left: r.MaxSteps},
	}
	root := &Step{Kind: StepAddress, Name: r.Recipient}
	state{job: j, addr: r.Recipient, delivered: r.Recipient, sender: r.Sender, step: root}.recipient()
	return root
}

// into makes a new step the present one, in a rehearsal.
func (s *state) into(kind StepKind, name string) {
	if s.tour == nil {
		return
	}
	s.tour.left--
	step := &Step{Kind: kind, Name: name}
	s.step.Steps = append(s.step.Steps, step)
	s.step = step
}

// ended says that a rehearsal has become too long.
func (s state) ended() bool { return s.tour != nil && (s.tour.left <= 0 || s.ctx.Err() != nil) }

// unread says that a rehearsal may not read a file that the service, with its
// rights, perhaps may. The step tells so.
func (s state) unread(kind StepKind, path string, err error) bool {
	own := os.Geteuid() == 0 || s.rights.known && s.rights.UID == os.Geteuid()
	if s.tour == nil || own || !errors.Is(err, os.ErrPermission) {
		return false
	}
	s.into(kind, path)
	s.note("may not be read by this user; root sees more")
	return true
}

// note says of the present step why its file is not read.
func (s state) note(text string) {
	if s.tour != nil {
		s.step.Note = text
	}
}
