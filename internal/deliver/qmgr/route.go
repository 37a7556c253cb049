package qmgr

import (
	"context"
	"slices"
	"strings"

	"postern/internal/config/param"
	"postern/internal/deliver/qmgr/schedule"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/mail/envelope"
)

// discardHere is a transport of the queue manager's own: recipients that are
// reported as sent without an agent.
const discardHere = " discard"

// A route is where one recipient goes.
type route struct {
	transport, nexthop, destination string
	rcpt                            *delivery.Recipient
}

// routes finds out where the recipients that were read last go, and groups them.
// Postfix: recipients of one delivery are sorted by domain and address.
func (m *manager) routes(ctx context.Context, msg *message) []schedule.Target {
	if msg.env.Redirect != "" && len(msg.env.Recipients) > 1 {
		// One recipient stands for all of the message; the others go with it.
		msg.env.Recipients, msg.env.Next = msg.env.Recipients[:1], 0
	}
	if len(msg.env.Recipients) == 1 {
		r := m.route(ctx, msg, &msg.env.Recipients[0])
		return []schedule.Target{{Transport: r.transport, Nexthop: r.nexthop, Destination: r.destination, Recipients: []any{r.rcpt}}}
	}
	all := make([]route, 0, len(msg.env.Recipients))
	for i := range msg.env.Recipients {
		all = append(all, m.route(ctx, msg, &msg.env.Recipients[i]))
	}
	slices.SortStableFunc(all, func(a, b route) int {
		if c := strings.Compare(a.transport, b.transport); c != 0 {
			return c
		}
		if c := strings.Compare(a.destination, b.destination); c != 0 {
			return c
		}
		if c := strings.Compare(a.nexthop, b.nexthop); c != 0 {
			return c
		}
		return compareAddresses(a.rcpt.Address, b.rcpt.Address)
	})
	// With VERP every recipient has a sender of its own.
	apart := msg.env.Verp != ""
	var targets []schedule.Target
	for _, r := range all {
		n := len(targets) - 1
		if n < 0 || apart || targets[n].Transport != r.transport || targets[n].Destination != r.destination || targets[n].Nexthop != r.nexthop {
			targets = append(targets, schedule.Target{Transport: r.transport, Nexthop: r.nexthop, Destination: r.destination})
			n++
		}
		targets[n].Recipients = append(targets[n].Recipients, r.rcpt)
	}
	return targets
}

func compareAddresses(a, b string) int {
	_, hostA := address.Split(a)
	_, hostB := address.Split(b)
	if c := strings.Compare(strings.ToLower(hostA), strings.ToLower(hostB)); c != 0 {
		return c
	}
	return strings.Compare(strings.ToLower(a), strings.ToLower(b))
}

// route finds out where one recipient goes.
func (m *manager) route(ctx context.Context, msg *message, er *envelope.Recipient) route {
	rcpt := &delivery.Recipient{
		Address: er.Address, OrigAddr: er.Orig, Offset: er.Offset,
		DSNOrigRcpt: er.DSNOrig, Notify: er.Notify,
	}
	r := m.resolve(ctx, msg, rcpt)
	r.rcpt = rcpt
	r.destination = r.nexthop
	if r.transport != retryTransport && r.transport != errorTransport {
		r.destination = m.destination(r, rcpt.Address)
	}
	return r
}

// destination is what is counted for concurrency: the next hop, or the mailbox
// where the transport takes one recipient at a time.
func (m *manager) destination(r route, addr string) string {
	if m.transportOne(r.transport) {
		local, _ := address.Split(addr)
		if d := m.env.Common.RecipientDelimiter; d != "" {
			local, _ = address.SplitExt(local, d)
		}
		return local + "@" + r.nexthop
	}
	return r.nexthop
}

func (m *manager) resolve(ctx context.Context, msg *message, rcpt *delivery.Recipient) route {
	env := msg.env
	ask := m.rewrite.Resolve
	if msg.probe {
		ask = m.rewrite.Verify
	}
	var res rewrite.Resolved
	var err error
	filter := env.Filter != "" && env.TraceFlags&delivery.VerifyFlags == 0
	limited, cancel := context.WithTimeout(ctx, m.cfg.IPCTimeout)
	defer cancel()
	if env.Redirect != "" {
		if rcpt.Address, err = m.rewrite.Rewrite(limited, rewrite.Local, env.Redirect); err != nil {
			m.env.Log.Warningf("%s: %v", msg.id, err)
			return route{transport: retryTransport, nexthop: "4.3.0 address resolver failure"}
		}
	}
	if filter && m.cfg.FilterNexthop == "" || !filter {
		res, err = ask(limited, env.Sender, rcpt.Address)
	}
	switch {
	case err != nil:
		m.env.Log.Warningf("%s: %v", msg.id, err)
		return route{transport: retryTransport, nexthop: "4.3.0 address resolver failure"}
	case res.Flags&rewrite.Fail != 0:
		return route{transport: retryTransport, nexthop: "4.3.0 address resolver failure"}
	case res.Flags&rewrite.Error != 0:
		return route{transport: errorTransport, nexthop: "5.1.3 bad address syntax"}
	}
	r := route{transport: res.Transport, nexthop: res.Nexthop}
	if filter {
		r = m.filtered(env.Filter, rcpt.Address)
	} else if res.Recipient != "" {
		rcpt.Address = res.Recipient
	}
	return m.override(msg, res, rcpt, r)
}

// filtered is the route to a content filter, "transport:nexthop".
func (m *manager) filtered(filter, addr string) route {
	transport, nexthop, _ := strings.Cut(filter, ":")
	if nexthop == "" {
		nexthop = m.cfg.FilterNexthop
	}
	if nexthop == "" {
		_, nexthop = address.Split(addr)
	}
	return route{transport: transport, nexthop: nexthop}
}

// override replaces routes that are not to be used now, or ever.
func (m *manager) override(msg *message, res rewrite.Resolved, rcpt *delivery.Recipient, r route) route {
	local, _ := address.Split(rcpt.Address)
	switch {
	case !m.cfg.AllowMinUser && strings.HasPrefix(rcpt.Address, "-"):
		return route{transport: errorTransport, nexthop: "5.1.3 bad address syntax"}
	case rcpt.Address == "":
		return route{transport: errorTransport, nexthop: "5.1.3 null recipient address"}
	case res.Flags&rewrite.ClassLocal != 0 && strings.EqualFold(local, m.env.Common.DoubleBounceSender):
		m.env.Log.Warningf("%s: undeliverable postmaster notification discarded", msg.id)
		return route{transport: discardHere, nexthop: "undeliverable postmaster notification discarded"}
	case msg.expire:
		return route{transport: retryTransport, nexthop: "4.7.0 message is administratively expired"}
	case r.transport == "" || strings.ContainsAny(r.transport, "/\x00"):
		m.env.Log.Warningf("%s: bad transport %q for %s", msg.id, r.transport, m.logged(rcpt.Address))
		return route{transport: retryTransport, nexthop: "4.3.5 mail system configuration error"}
	case msg.probe && m.probes.Load() >= int64(m.cfg.VerifyPendingLimit):
		return route{transport: retryTransport, nexthop: "4.3.3 Too many address verification requests"}
	case !msg.flush && slices.Contains(param.Split(m.cfg.DeferTransports), r.transport):
		return route{transport: retryTransport, nexthop: "4.3.2 deferred transport"}
	}
	return r
}

// transportOne says whether the transport delivers to one recipient at a time.
func (m *manager) transportOne(name string) bool {
	m.ones.mu.Lock()
	defer m.ones.mu.Unlock()
	one, known := m.ones.byName[name]
	if !known {
		one = m.transportLimits(name).DestinationRecipients == 1
		m.ones.byName[name] = one
	}
	return one
}
