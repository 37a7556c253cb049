package smtpclient

import (
	"context"
	"strings"
	"time"

	"postern/internal/deliver/agent"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// delivering is one delivery request on its way from place to place.
type delivering struct {
	client *Client
	ctx    context.Context
	req    *agent.Request
	rep    *agent.Report
	sender string    // after generic maps
	rcpts  []*target // those without an outcome
	why    dsn.Result

	nexthop                 string // the destination being tried, as configured
	load, store             bool   // take sessions from the pool, put them there
	demandLoad, demandStore bool   // what the flow of mail asks for
	finalNexthop            bool   // no destination follows
	finalServer             bool   // no server follows: its word counts
	setup                   time.Time
	suspended               bool

	requireTLS requireTLS // what counts of the sender's REQUIRETLS at this destination
	unmet      dsn.Result // why the last place was not tried, in that respect
	status     tlsStatus  // of a place without a session
	waits      bool       // a place failed for the time being: it may do later
}

// A target is a recipient. kept says that a server failed for it in a way that
// leaves it for the next server.
type target struct {
	*delivery.Recipient
	addr string // after generic maps
	kept bool
}

// Deliver makes one delivery.
func (c *Client) Deliver(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	d := &delivering{client: c, ctx: ctx, req: req, rep: rep}
	d.demandLoad, d.demandStore = c.demand.begin(req.Nexthop)
	defer c.demand.end(req.Nexthop)
	if !d.addresses() || !d.headersFit() {
		return nil
	}
	nexthop := req.Nexthop
	if c.proto == LMTP {
		if path, ok := strings.CutPrefix(nexthop, "unix:"); ok {
			d.local(path)
			return nil
		}
		nexthop = strings.TrimPrefix(nexthop, "inet:")
	}
	d.inet(nexthop)
	return nil
}

// local delivers to a Unix-domain socket, which is the only place.
func (d *delivering) local(path string) {
	d.nexthop = "unix:" + path
	d.finalNexthop, d.finalServer = true, true
	d.cacheMode(d.nexthop)
	if !d.requiredTLS(d.client.env.Common.MyHostname) {
		d.giveUp(dsn.Result{})
		return
	}
	d.visit([]place{{host: d.client.env.Common.MyHostname, path: path}})
	d.giveUp(dsn.Result{})
}

// inet walks over the destinations, then over the fallback relays.
func (d *delivering) inet(nexthop string) {
	primary := splitNexthop(nexthop)
	if len(primary) == 0 {
		d.req.Log.Warningf("empty nexthop hostname")
		d.giveUp(dsn.Make("4.3.5", "Server configuration error"))
		return
	}
	fallback := splitNexthop(d.client.config.FallbackRelay)
	all := append(primary[:len(primary):len(primary)], fallback...)
	for i, text := range all {
		if len(d.rcpts) == 0 {
			return
		}
		d.finalNexthop = d.finalNexthop || i == len(all)-1
		if !d.destination(text) {
			d.giveUp(d.why)
			return
		}
		if d.finalNexthop {
			break
		}
	}
	d.leftOver(len(d.rcpts) > 0 && d.atFallback(all, len(primary)), primary[0])
}

// atFallback says whether the walk ended at a fallback relay.
func (d *delivering) atFallback(all []string, primary int) bool {
	for i := primary; i < len(all); i++ {
		if all[i] == d.nexthop {
			return true
		}
	}
	return false
}

// destination tries one destination. false says that the configuration is
// broken.
func (d *delivering) destination(text string) bool {
	d.nexthop = text
	where, err := d.client.parseDestination(text)
	if err != nil {
		d.req.Log.Warningf("%v", err)
		d.why = dsn.Make("4.3.5", "Server configuration error")
		return false
	}
	if where.port == 465 && !d.client.config.TLS.WrapperMode && d.client.proto == SMTP {
		d.req.Log.Infof("SMTPS wrappermode (TCP port 465) requires setting \"%s = yes\", and \"%s = encrypt\" (or stronger)",
			"smtp_tls_wrappermode", "smtp_tls_security_level")
	}
	d.cacheMode(where.host)
	if !d.requiredTLS(where.host) {
		return true
	}
	l := lookup{c: d.client, ctx: d.ctx, detectLoop: d.client.proto == SMTP && where.port == 25}
	list := l.places(where)
	d.why = l.why
	if l.selfFound || len(list) == 0 && loops(&l.why) {
		// This host is one of the exchangers: its backups are not ours.
		d.finalNexthop = true
	}
	d.visit(list)
	return true
}

// cacheMode decides about the pool for the destination.
func (d *delivering) cacheMode(host string) {
	d.load, d.store = false, false
	c := d.client
	if match, err := c.cached.MatchDomain(d.ctx, host); err == nil && match {
		d.load, d.store = true, true
	} else if c.config.CacheOnDemand {
		d.load = d.demandLoad || d.req.Flags&delivery.FlagConnLoad != 0
		d.store = d.demandStore || d.req.Flags&delivery.FlagConnStore != 0
	}
}

// leftOver deals with recipients for whom no place could be reached.
func (d *delivering) leftOver(fallback bool, first string) {
	if len(d.rcpts) == 0 {
		return
	}
	c := d.client
	switch {
	case d.why.Status == "":
		d.why = dsn.Make("4.3.0", "server unavailable or unable to receive mail")
	case soft(&d.why):
	case d.why == d.unmet:
		d.why = d.orLater(d.why)
	case fallback:
		d.req.Log.Warningf("%s configuration problem", c.param("smtp_fallback_relay", "lmtp_fallback_relay"))
		d.why.Status = "4.3.5"
	case c.proto == SMTP && first == c.config.RelayHost:
		d.req.Log.Warningf("relayhost configuration problem")
		d.why.Status = "4.3.5"
	}
	d.giveUp(d.why)
}

// giveUp ends what is left of the request.
func (d *delivering) giveUp(why dsn.Result) {
	if len(d.rcpts) == 0 {
		return
	}
	if why.Status == "" {
		why = d.why
	}
	if why.Status == "" {
		why = dsn.Make("4.3.0", "server unavailable or unable to receive mail")
	}
	d.finalServer = true
	d.failAll(nil, why, true)
	d.weed()
}

// weed keeps the recipients that are still to be delivered.
func (d *delivering) weed() {
	left := d.rcpts[:0]
	for _, t := range d.rcpts {
		if !t.Settled {
			t.kept = false
			left = append(left, t)
		}
	}
	d.rcpts = left
}

// visit tries places until no recipient is left, within smtp_mx_address_limit
// and smtp_mx_session_limit.
func (d *delivering) visit(list []place) {
	if len(list) == 0 {
		return
	}
	conf := &d.client.config
	best := list[0].pref
	sessions := 0
	list = d.reuse(list, best, &sessions)
	for i := 0; i < len(list) && len(d.rcpts) > 0; i++ {
		last := i == len(list)-1 || i+1 == conf.MXAddressLimit
		p := list[i]
		policy, err := d.policy(p)
		if err != nil {
			d.why, d.waits = dsn.Make("4.7.5", err.Error()), true
			d.req.Log.Warningf("TLS policy lookup for %s/%s: %v", d.nexthop, p.host, err)
		} else if r := d.unfit(p, policy); r.Status != "" {
			d.why, d.unmet = r, r
			d.req.Log.Infof("%s: %s", d.req.QueueID, r.Reason)
		} else {
			last = d.try(p, policy, best, last, &sessions)
		}
		if last {
			break
		}
	}
}

// try opens a session with one place and uses it. After a failed TLS handshake
// that was only opportunistic it tries again in plain text. It returns whether
// the place is the last one.
func (d *delivering) try(p place, policy tlsPolicy, best uint32, last bool, sessions *int) bool {
	for {
		s := d.session(p, policy, best)
		if s == nil {
			return last
		}
		d.finalServer = d.finalServer || d.finalNexthop && last
		ok := s.uses > 0 || d.hello(s, policy)
		if ok {
			if *sessions++; *sessions == d.client.config.MXSessionLimit {
				last = true
			}
			d.finalServer = d.finalServer || d.finalNexthop && last
			if d.transfer(s) == stale {
				*sessions--
				s.close()
				d.weed()
				continue
			}
		}
		again := s.tlsTried
		d.leave(s, policy, ok)
		d.weed()
		if !again || len(d.rcpts) == 0 {
			return last
		}
		policy = policy.plain()
	}
}

// session connects to a place, or takes an idle session with a backup host.
func (d *delivering) session(p place, policy tlsPolicy, best uint32) *session {
	if d.load && p.pref != best {
		if s := d.client.pool.takePlace(d.poolKey(policy), p); s != nil {
			d.attach(s)
			return s
		}
	}
	s, why := d.client.connect(d.ctx, p)
	if s == nil {
		d.why, d.waits = why, d.waits || soft(&why)
		d.req.Log.Infof("%s", why.Reason)
		return nil
	}
	s.bestMX = p.pref == best
	d.attach(s)
	return s
}

func (d *delivering) attach(s *session) {
	s.id = d.req.QueueID
	if s.w == nil {
		s.acquire()
	}
}

// reuse first uses idle sessions for the destination and for its best
// exchangers, and returns the places that are left to try.
func (d *delivering) reuse(list []place, best uint32, sessions *int) []place {
	if !d.load {
		return list
	}
	for len(list) > 0 && len(d.rcpts) > 0 {
		policy, err := d.policy(list[0])
		if err != nil {
			return list
		}
		s := d.client.pool.take(d.poolKey(policy), d.nexthop, list, best)
		if s == nil {
			return list
		}
		d.attach(s)
		rest := without(list, s.place)
		full := *sessions+1 == d.client.config.MXSessionLimit
		d.finalServer = d.finalNexthop && (full || len(rest) == 0)
		if d.transfer(s) == stale {
			d.finalServer = false
			s.close()
			d.weed()
			continue
		}
		d.leave(s, policy, true)
		d.weed()
		*sessions++
		if list = rest; full {
			return nil
		}
	}
	return list
}

func without(list []place, p place) []place {
	var rest []place
	for _, q := range list {
		if q.addr != p.addr || q.path != p.path {
			rest = append(rest, q)
		}
	}
	return rest
}

// leave puts the session into the pool, or ends it.
func (d *delivering) leave(s *session, policy tlsPolicy, polite bool) {
	conf := &d.client.config
	keep := polite && d.store && !s.dead && !s.noReuse &&
		(s.tls == nil || conf.TLS.ConnectionReuse) &&
		time.Since(s.opened) < conf.ReuseTimeLimit &&
		(conf.ReuseCountLimit == 0 || s.uses < conf.ReuseCountLimit)
	if keep {
		s.release()
		d.client.pool.put(s, d.poolKey(policy), d.nexthop, conf.CacheTimeLimit)
		return
	}
	s.quit()
	s.close()
}

// poolKey separates sessions that must not be mixed up: by the TLS policy, by
// what the sender asks of TLS, and by who is logged in.
func (d *delivering) poolKey(policy tlsPolicy) string {
	key := policy.key()
	if d.requireTLS > requireOff {
		key += " requiretls " + d.requireTLS.String()
	}
	if d.client.config.SASL.Enable && d.client.config.SASL.SenderDependent {
		key += " " + d.req.Sender
	}
	return key
}

// addresses maps the envelope by smtp_generic_maps. false says that it failed,
// and that the recipients have been dealt with.
func (d *delivering) addresses() bool {
	var err error
	if d.sender, err = d.rewritten(d.req.Sender); err != nil {
		d.sender = d.req.Sender
	}
	for _, r := range d.req.Recipients {
		t := &target{Recipient: r}
		var mapErr error
		if t.addr, mapErr = d.rewritten(r.Address); mapErr != nil {
			err = mapErr
		}
		d.rcpts = append(d.rcpts, t)
	}
	if err != nil {
		d.req.Log.Warningf("%s: %v", d.req.QueueID, err)
		d.finalServer = true
		d.failAll(nil, dsn.Make("4.3.0", err.Error()), false)
	}
	return err == nil
}

// headersFit refuses what the flags of the service make impossible: with
// flags=D and flags=O each recipient needs a message of its own, and flags=D
// does not deliver the same message to an address twice.
func (d *delivering) headersFit() bool {
	f := d.client.flags
	d.finalServer = true
	defer func() { d.finalServer = false }()
	if len(d.rcpts) > 1 && (f.deliveredTo || f.originalTo) {
		letter := "D"
		if !f.deliveredTo {
			letter = "O"
		}
		d.req.Log.Warningf("flag `%s' requires %s_destination_recipient_limit = 1", letter, d.client.env.Name)
		d.failAll(nil, dsn.Make("4.3.5", "mail system configuration error"), false)
		return false
	}
	if !f.deliveredTo {
		return true
	}
	seen, err := d.deliveredBefore(d.rcpts[0].Address)
	switch {
	case err != nil:
		d.failAll(nil, dsn.Make("4.3.0", "local data error"), false)
	case seen:
		d.failAll(nil, dsn.Make("5.4.6", "mail forwarding loop for "+d.rcpts[0].Address), false)
	}
	return err == nil && !seen
}

// deliveredBefore looks for a Delivered-To: field with the address.
func (d *delivering) deliveredBefore(addr string) (bool, error) {
	h := &deliveredTo{addr: addr}
	m := message.New(message.Options{NoMIME: true, FieldLimit: d.client.config.HeaderSizeLimit}, h)
	r := d.req.Content()
	for m.InHeader() {
		typ, data, err := r.Next()
		if err != nil {
			return false, err
		}
		if typ != record.Norm && typ != record.Cont {
			break
		}
		m.Line(data, typ == record.Cont)
	}
	m.End()
	return h.seen, nil
}

type deliveredTo struct {
	addr string
	seen bool
}

func (h *deliveredTo) Field(_ message.Section, name *message.Name, field []byte) {
	if name != nil && name.ID == message.DeliveredTo {
		value := address.Unquote822(string(message.Value(field)))
		h.seen = h.seen || strings.EqualFold(value, h.addr)
	}
}
func (h *deliveredTo) HeaderEnd()                      {}
func (h *deliveredTo) Body([]byte, bool, int64)        {}
func (h *deliveredTo) Problem(message.Problem, []byte) {}

// param is the name of a parameter for the protocol.
func (c *Client) param(smtp, lmtp string) string {
	if c.proto == LMTP {
		return lmtp
	}
	return smtp
}
