package cleanup

import "slices"

// A Rewriting is one step in which an envelope address became another, or
// several.
type Rewriting struct {
	Sender bool   // it is the sender's address, not a recipient's
	By     string // the parameter that names the table or list; "trivial-rewrite" for completion
	From   string
	To     []string
}

// Observe has f told of each step of messages that come from now on. It is
// called before the service is used.
func (s *Server) Observe(f func(Rewriting)) { s.observer = f }

// observe tells of a step that changed an envelope address.
func (t *transaction) observe(c class, by, from string, to ...string) {
	if t.s.observer == nil || c&(envelopeSender|envelopeRecipient) == 0 || len(to) == 1 && to[0] == from {
		return
	}
	t.s.observer(Rewriting{Sender: c&envelopeSender != 0, By: by, From: from, To: slices.Clone(to)})
}
