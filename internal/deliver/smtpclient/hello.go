package smtpclient

import (
	"strconv"
	"strings"

	"postern/internal/mail/dsn"
)

// hello brings a new session to the point where mail can be sent: greeting,
// EHLO, TLS, authentication. false says that it cannot, and that the
// recipients have been dealt with.
func (d *delivering) hello(s *session, policy tlsPolicy) bool {
	defer s.cut(d.ctx)()
	c := d.client
	s.level, s.status = policy.level, d.undecided(policy)
	s.within(c.config.HeloTimeout)
	if c.config.TLS.WrapperMode {
		if !d.startTLS(s, policy) {
			return false
		}
		s.within(c.config.HeloTimeout)
	}
	if !d.greeting(s) || !d.ehlo(s) {
		return false
	}
	if s.tls == nil {
		started, ok := d.secure(s, policy)
		if !ok || started && !d.ehlo(s) {
			return false
		}
	}
	if c.config.SASL.Enable && s.has(featAuth) {
		return d.authenticate(s, policy)
	}
	return true
}

// siteFail is a failure of the host.
func (d *delivering) siteFail(s *session, r dsn.Result) bool {
	d.failAll(s, r, true)
	return false
}

// streamFail is a broken connection.
func (d *delivering) streamFail(s *session, err error, while string) bool {
	s.dead = true
	r := lost(err, s, while)
	if s.tls != nil && d.plainRetry(s) {
		s.tlsTried, d.finalServer = true, false
	}
	d.failAll(s, r, r.Status != "4.3.0")
	return false
}

func (d *delivering) greeting(s *session) bool {
	conf := &d.client.config
	p, err := s.reply()
	if err != nil {
		return d.streamFail(s, err, "receiving the initial server greeting")
	}
	if p.class() != 2 {
		if p.class() == 5 && conf.Skip5xxGreeting {
			p.status = p.status.WithClass('4')
		}
		return d.siteFail(s, refused(s, p))
	}
	if d.client.proto == LMTP {
		return true
	}
	d.pixWorkarounds(s, p)
	words := strings.FieldsFunc(p.text[3:], func(r rune) bool { return strings.ContainsRune("- \t\n", r) })
	// The hyphens of a host name must not split it: the first word is taken
	// from the text itself.
	if first := firstWord(p.text); strings.EqualFold(first, d.client.env.Common.MyHostname) && d.detectsLoop(s) {
		d.req.Log.Warningf("host %s greeted me with my own hostname %s", s.port, d.client.env.Common.MyHostname)
	}
	for _, w := range words {
		if strings.EqualFold(w, "ESMTP") {
			s.features |= featESMTP
		}
	}
	if conf.AlwaysEHLO {
		s.features |= featESMTP
	}
	if conf.NeverEHLO || s.has(featPixNoESMTP) {
		s.features &^= featESMTP
	}
	return true
}

// firstWord is the first word after the code of a reply.
func firstWord(text string) string {
	words := strings.Fields(text[min(4, len(text)):])
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func (d *delivering) detectsLoop(s *session) bool {
	return d.client.proto == SMTP && s.place.port == 25
}

// ehlo says EHLO, HELO or LHLO and learns what the server can do.
func (d *delivering) ehlo(s *session) bool {
	conf := &d.client.config
	s.within(conf.HeloTimeout)
	s.features &= featESMTP | featPixNoESMTP | featPixDelayDot
	s.sizeLimit, s.auth = 0, nil
	var p *reply
	var err error
	switch {
	case d.client.proto == LMTP:
		s.command("LHLO " + conf.HeloName)
		if p, err = s.reply(); err != nil {
			return d.streamFail(s, err, "performing the LHLO handshake")
		}
		if p.class() != 2 {
			return d.siteFail(s, refused(s, p))
		}
		s.features |= featESMTP
	case s.has(featESMTP):
		s.command("EHLO " + conf.HeloName)
		if p, err = s.reply(); err != nil {
			return d.streamFail(s, err, "performing the EHLO handshake")
		}
		if p.class() == 2 {
			break
		}
		if p.code == 421 {
			return d.siteFail(s, refused(s, p))
		}
		s.features &^= featESMTP
	}
	if !s.has(featESMTP) {
		s.command("HELO " + conf.HeloName)
		if p, err = s.reply(); err != nil {
			return d.streamFail(s, err, "performing the HELO handshake")
		}
		if p.class() != 2 {
			return d.siteFail(s, refused(s, p))
		}
	}
	return d.learn(s, p)
}

// learn reads the reply to EHLO.
func (d *delivering) learn(s *session, p *reply) bool {
	me := d.client.env.Common.MyHostname
	discard := d.client.discard(d.ctx, s)
	for i, line := range strings.Split(p.text, "\n") {
		if len(line) < 5 {
			continue
		}
		words := strings.FieldsFunc(line[4:], func(r rune) bool { return r == ' ' || r == '\t' || r == '=' && i > 0 })
		if len(words) == 0 {
			continue
		}
		if i == 0 {
			if strings.EqualFold(words[0], me) && d.detectsLoop(s) {
				d.req.Log.Warningf("host %s replied to HELO/EHLO with my own hostname %s", s.port, me)
				status := dsn.Status("4.4.6")
				if s.bestMX {
					status = "5.4.6"
				}
				return d.siteFail(s, dsn.Make(status, "mail for "+d.req.Nexthop+" loops back to myself"))
			}
			continue
		}
		if !s.has(featESMTP) {
			break
		}
		s.keyword(strings.ToUpper(words[0]), words[1:], discard)
	}
	if s.has(featSMTPUTF8) && !s.has(feat8BitMIME) {
		d.req.Log.Infof("host %s offers SMTPUTF8 support, but not 8BITMIME", s.port)
	}
	return true
}

// keyword takes note of one line of an EHLO reply.
func (s *session) keyword(word string, args []string, discard map[string]bool) {
	if discard[word] {
		return
	}
	switch word {
	case "8BITMIME":
		s.features |= feat8BitMIME
	case "PIPELINING":
		s.features |= featPipelining
	case "DSN":
		s.features |= featDSN
	case "SMTPUTF8":
		s.features |= featSMTPUTF8
	case "REQUIRETLS":
		if s.tls != nil { // RFC 8689 3: it means nothing without
			s.features |= featRequireTLS
		}
	case "STARTTLS":
		s.features |= featStartTLS
	case "SIZE":
		s.features |= featSize
		if len(args) == 0 {
			return
		}
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || n < 0 {
			s.client.env.Log.Warningf("bad EHLO SIZE limit \"%s\" from %s", args[0], s.port)
			return
		}
		s.sizeLimit = n
	case "XFORWARD":
		for _, a := range args {
			s.features |= xforwardFeature(strings.ToUpper(a))
		}
	case "AUTH":
		if s.client.config.SASL.Enable {
			s.features |= featAuth
			s.auth = append(s.auth, args...)
		}
	}
}

func xforwardFeature(name string) feature {
	switch name {
	case "NAME":
		return featXforwardName
	case "ADDR":
		return featXforwardAddr
	case "PORT":
		return featXforwardPort
	case "PROTO":
		return featXforwardProto
	case "HELO":
		return featXforwardHelo
	case "IDENT":
		return featXforwardIdent
	case "SOURCE":
		return featXforwardDomain
	}
	return 0
}

// secure starts TLS where the policy wants it. It returns whether it did, and
// whether the session can go on.
func (d *delivering) secure(s *session, policy tlsPolicy) (started, ok bool) {
	conf := &d.client.config
	if s.has(featStartTLS) && policy.level == levelNone && conf.TLS.NoteOffer {
		d.req.Log.Infof("Host offered STARTTLS: [%s]", s.place.host)
	}
	if s.has(featStartTLS) && policy.level >= levelMay {
		s.within(conf.StarttlsTimeout)
		s.command("STARTTLS")
		p, err := s.reply()
		if err != nil {
			return false, d.streamFail(s, err, "receiving the STARTTLS response")
		}
		if p.class() == 2 {
			if s.r.Buffered() > 0 {
				return false, d.siteFail(s, dsn.Make("4.7.5", "Cannot start TLS: host "+s.name+" sent data before the handshake"))
			}
			return true, d.startTLS(s, policy)
		}
		s.features &^= featStartTLS
		if d.tlsWanted(policy) {
			return false, d.noTLS(s, policy, p)
		}
	}
	if d.tlsWanted(policy) {
		return false, d.noTLS(s, policy, nil)
	}
	if policy.level > levelNone {
		s.status.level.downgrade(levelNone.String())
	}
	return false, true
}

// pixWorkarounds looks whether a Cisco PIX has blanked the banner
// (smtp_pix_workarounds).
func (d *delivering) pixWorkarounds(s *session, p *reply) {
	banner := p.text[min(3, len(p.text)):]
	if !strings.Contains(strings.Trim(banner, " -"), "02*****0") && strings.Count(banner, "*") < 20 {
		return
	}
	conf := &d.client.config
	words := conf.PixWorkarounds
	if v, found, err := d.client.pixMaps.Lookup(d.ctx, s.place.printable()); err == nil && found {
		words = v
	}
	old := d.req.Times.ActiveArrival.Sub(d.req.Times.Arrival) >= conf.PixThreshold
	var used []string
	for _, w := range splitNexthop(words) {
		switch {
		case strings.EqualFold(w, "disable_esmtp"):
			s.features |= featPixNoESMTP
			used = append(used, w)
		case strings.EqualFold(w, "delay_dotcrlf") && old:
			s.features |= featPixDelayDot
			used = append(used, w)
		}
	}
	if len(used) > 0 {
		d.req.Log.Infof("%s: enabling PIX workarounds: %s for %s", d.req.QueueID, strings.Join(used, " "), s.port)
	}
}
