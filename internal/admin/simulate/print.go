package simulate

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"postern/internal/mail/event"
)

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
	r.printOthers(w)
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

// printOthers tells who else has, or would have, a say.
func (r *Result) printOthers(w io.Writer) {
	unasked := false
	for _, e := range r.Session {
		for _, s := range e.Trail {
			unasked = unasked || s.Verdict == event.NotAsked
		}
	}
	for _, m := range r.Milters {
		state := event.NotAsked
		if m.Asked {
			state = "asked about the envelope; the content is not shown to it"
		}
		unasked = unasked || !m.Asked
		fmt.Fprintf(w, "milter %s: %s (without it: %s)\n", m.Name, state, m.DefaultAction)
	}
	if unasked {
		fmt.Fprintln(w, "With --ask, policy servers and milters are asked; they may remember the question.")
	}
	if r.Proxy != nil {
		fmt.Fprintf(w, "filter before the queue %s: %s. What follows is as if the message came back from it unchanged.\n", r.Proxy.Name, event.NotAsked)
	}
	for _, v := range r.Verified {
		fmt.Fprintf(w, "verification of <%s>: %s (%s)\n", v.Address, v.Status, v.Reason)
	}
}

func (m *Message) print(w io.Writer) {
	fmt.Fprintf(w, "A message from <%s> would be in the queue %s.\n", m.Sender, m.Queue)
	for _, r := range m.Rewriting {
		role := "recipient"
		if r.Sender {
			role = "sender"
		}
		to := strings.Join(r.To, ">, <")
		switch {
		case r.From == "":
			fmt.Fprintf(w, "  recipient <%s> added by %s\n", to, r.By)
		case strings.HasSuffix(r.By, "_bcc_maps"):
			fmt.Fprintf(w, "  recipient <%s> added by %s for <%s>\n", to, r.By, r.From)
		default:
			fmt.Fprintf(w, "  %s <%s> -> <%s> by %s\n", role, r.From, to, r.By)
		}
	}
	if m.FilterHop != nil {
		next := m.FilterHop.Nexthop
		if next == "" {
			next = "the domain of each recipient"
		}
		fmt.Fprintf(w, "It would first go to the content filter: transport %s, next hop %s. After that:\n", m.FilterHop.Transport, next)
	}
	if m.Redirect != "" {
		fmt.Fprintf(w, "All of it would go to %s.\n", m.Redirect)
	}
	for _, t := range m.Recipients {
		t.print(w, "  ")
	}
}

// print writes the recipient and, below it, what it becomes.
func (r *Recipient) print(w io.Writer, indent string) {
	fmt.Fprintln(w, indent+r.text())
	for i := range r.Becomes {
		r.Becomes[i].print(w, indent+"  ")
	}
}

// text is the line of one recipient.
func (r *Recipient) text() string {
	if !r.isAddress() {
		return notes(r.Class+" "+r.Address, r.Note, r.Problem)
	}
	name := "<" + r.Address + ">"
	if r.Original != "" {
		name += ", for <" + r.Original + ">"
	}
	if r.Class != "" {
		name += ": class " + r.Class
	}
	if r.Transport != "" {
		name += ", transport " + r.Transport + ", next hop " + r.Nexthop
	}
	fresh := ""
	if r.NewMessage {
		fresh = "in a new message"
	}
	if r.NewSender != nil {
		fresh += " from <" + *r.NewSender + ">"
	}
	return notes(name, fresh, r.Problem)
}

// isAddress says that r is no alias, file, command or the like.
func (r *Recipient) isAddress() bool {
	return r.Class == "" || slices.Contains(slices.Collect(maps.Values(classes)), r.Class)
}

// notes adds what is worth telling to a text.
func notes(text string, list ...string) string {
	for _, n := range list {
		if n != "" {
			text += "; " + n
		}
	}
	return text
}
