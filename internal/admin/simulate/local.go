package simulate

import (
	"context"
	"slices"
	"strings"

	"postern/internal/config/mastercf"
	"postern/internal/ipc/rewrite"
	"postern/internal/service"
)

// maxMessages is how often a message may be forwarded. Postfix: at most
// hopcount_limit, because each new message has one more Received: field.
const maxMessages = 50

// A walk follows the recipients of one message through local(8).
type walk struct {
	*house
	ctx  context.Context
	left int // how much more is shown
}

// follow adds to recipients that local(8) delivers to what it makes of them.
func (h *house) follow(ctx context.Context, sender string, list []Recipient) {
	w := &walk{house: h, ctx: ctx, left: maxRecipients - len(list)}
	for i := range list {
		w.recipient(&list[i], sender, nil)
	}
	if w.left <= 0 {
		h.problems = append(h.problems, "there are too many destinations to show them all")
	}
}

// recipient asks local's service about r. delivered are those who have got the
// message before.
func (w *walk) recipient(r *Recipient, sender string, delivered []string) {
	g := w.localGuest(r)
	if g == nil || w.left <= 0 {
		return
	}
	if len(delivered) >= maxMessages {
		r.Problem = "the message would be forwarded too often"
		return
	}
	root := w.Deliver(w.ctx, g.Service, Delivery{Sender: sender, Recipient: r.Address, Delivered: delivered, MaxSteps: w.left})
	w.take(r, root, sender, delivered)
}

// localGuest returns the service that delivers to r, if it is one of local's.
func (h *house) localGuest(r *Recipient) *service.Guest {
	if r.Problem != "" {
		return nil
	}
	n := slices.IndexFunc(h.services, func(s mastercf.Service) bool { return s.Name == r.Transport && s.Command == "local" })
	if n < 0 {
		return nil
	}
	if g, known := h.local[r.Transport]; known {
		return g
	}
	if h.local == nil {
		h.local = make(map[string]*service.Guest)
	}
	g, err := h.guest("local", &h.services[n])
	if err != nil {
		h.problems = append(h.problems, err.Error())
	}
	h.local[r.Transport] = g
	return g
}

// take shows in r what a step came to.
func (w *walk) take(r *Recipient, s *Step, sender string, delivered []string) {
	r.Note = s.Note
	switch s.Result.Status.Class() {
	case '4':
		r.Problem = "it would wait: " + s.Result.Reason
	case '5':
		r.Problem = "it would be returned: " + string(s.Result.Status) + " " + s.Result.Reason
	}
	if s.Forwarded {
		r.NewMessage = true
		if s.Sender != sender {
			r.NewSender = &s.Sender
		}
		w.recipient(r, s.Sender, append(slices.Clip(delivered), s.Delivered))
	}
	for i := range s.Steps {
		if w.left--; w.left < 0 {
			return
		}
		next := &s.Steps[i]
		to := w.place(next, sender)
		w.take(&to, next, sender, delivered)
		r.Becomes = append(r.Becomes, to)
	}
}

// place is what a step is, without what it becomes.
func (w *walk) place(s *Step, sender string) Recipient {
	switch s.Kind {
	case "address":
		if s.Forwarded {
			sender = s.Sender
		}
		return w.resolve(w.ctx, sender, s.Name, "")
	case "transport":
		transport, nexthop, _ := strings.Cut(s.Name, ":")
		return Recipient{Address: s.Name, Class: s.Kind, Transport: transport, Nexthop: nexthop}
	}
	return Recipient{Address: s.Name, Class: s.Kind}
}

// complete makes an address complete, as the queue manager has it done.
func (h *house) complete(ctx context.Context, addr string) string {
	if full, err := h.router.Rewrite(ctx, rewrite.Local, addr); err == nil {
		return full
	}
	return addr
}
