package simulate

import (
	"fmt"
	"io"
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

// print writes the recipient and, below it, what it is an alias of.
func (r *Recipient) print(w io.Writer, indent string) {
	name := "<" + r.Address + ">"
	if r.Original != "" {
		name += ", for <" + r.Original + ">"
	}
	switch {
	case r.Class == "":
	case r.Transport == "" && r.Problem == "":
		name = r.Class + " " + r.Address
	default:
		name += ": class " + r.Class
	}
	if r.Transport != "" {
		name += ", transport " + r.Transport + ", next hop " + r.Nexthop
	}
	if r.Problem != "" {
		name += "; " + r.Problem
	}
	if len(r.Aliases) > 0 {
		name += ", an alias for"
	}
	fmt.Fprintln(w, indent+name)
	for i := range r.Aliases {
		r.Aliases[i].print(w, indent+"  ")
	}
}
