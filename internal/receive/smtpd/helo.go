package smtpd

import (
	"fmt"
	"strconv"
	"strings"

	"postern/internal/config/param"
	"postern/internal/protocol/smtp"
	"postern/internal/protocol/starttls"
)

// helo is HELO (RFC 5321 4.1.1.1).
func (s *session) helo(arg string) outcome {
	return s.greet("HELO", arg, "SMTP")
}

// ehlo is EHLO; the reply lists the extensions.
func (s *session) ehlo(arg string) outcome {
	o := s.greet("EHLO", arg, "ESMTP")
	if !o.Positive() {
		return o
	}
	if s.discards == nil {
		s.log.Warningf("don't know what EHLO features to announce to %s", s.subject.LogClient)
		return say(s.dataError())
	}
	s.logDiscards()
	o.Status = ""
	o.Lines = append([]string{s.common.MyHostname}, s.keywords()...)
	if s.heloRefused {
		o.Lines = []string{s.common.MyHostname, "ENHANCEDSTATUSCODES"}
	}
	s.subject.PipeliningOK = !s.discards["pipelining"]
	return o
}

func (s *session) greet(verb, arg, protocol string) outcome {
	if arg == "" {
		return say(ok(501, "", "Syntax: "+verb+" hostname"))
	}
	name := heloName(arg)
	again, previous := s.subject.HasHelo, s.subject.Helo
	s.reset()
	before := s.subject.Protocol
	if before == "ESMTP" {
		protocol = "ESMTP" // Postfix: HELO does not take it back
	}
	s.subject.NewSession()
	s.subject.Protocol = before
	s.subject.Helo, s.subject.HasHelo = name, true
	s.subject.PipeliningOK = false
	if !s.conf.Restrict.DelayReject && !s.standAlone {
		if r := s.policy.Hello(s.ctx, &s.subject); !r.IsZero() {
			s.subject.Helo, s.subject.HasHelo = previous, again
			return say(r)
		}
	}
	s.heloRefused = false
	if r := s.milterHelo(arg); r.Code == 421 {
		return say(r)
	} else if r.Permanent() {
		s.heloRefused = true
	}
	if again {
		s.milters.Abort()
	}
	s.subject.Protocol = protocol
	return say(smtp.NewReply(250, "", s.common.MyHostname))
}

// maxHelo bounds the name that is remembered.
const maxHelo = 1000

// heloName makes the argument fit for logs and header fields: printable, one
// word after the other (Postfix: the same).
func heloName(arg string) string {
	arg = strings.Join(strings.Fields(arg), " ")
	if len(arg) > maxHelo {
		arg = arg[:maxHelo]
	}
	clean := func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(" <>()\\\";:@", r) && !strings.HasPrefix(arg, "[") {
			return '?'
		}
		return r
	}
	return strings.Map(clean, arg)
}

// ehloNames are the words of smtpd_discard_ehlo_keywords, in the order of the
// log line.
var ehloNames = [...]string{"8bitmime", "pipelining", "size", "vrfy", "etrn", "auth", "verp", "starttls", "xclient",
	"xforward", "enhancedstatuscodes", "dsn", "smtputf8", "chunking", "requiretls", "silent-discard"}

// ehloWords reads such a list.
func ehloWords(title, value string) (map[string]bool, error) {
	words := map[string]bool{}
	for _, w := range param.Split(value) {
		w = strings.ToLower(w)
		known := false
		for _, n := range ehloNames {
			known = known || n == w
		}
		if !known {
			return nil, fmt.Errorf("%s: unknown EHLO keyword %q", title, w)
		}
		words[w] = true
	}
	return words, nil
}

// chooseDiscards decides which keywords this client does not see. Where the
// table cannot be asked or makes no sense, EHLO fails.
func (s *session) chooseDiscards() {
	s.discards = s.discard
	value, found, err := s.discardMaps.Lookup(s.ctx, s.peer.addr)
	switch {
	case err != nil:
		s.discards = nil
	case found:
		if s.discards, err = ehloWords(s.discardMaps.Title(), value); err != nil {
			s.log.Warningf("%v", err)
		}
	}
}

// logDiscards names the keywords that the client does not see, in the order of
// ehloNames.
func (s *session) logDiscards() {
	if s.discards["silent-discard"] {
		return
	}
	var list []string
	for _, n := range ehloNames {
		if s.discards[n] {
			list = append(list, strings.ToUpper(n))
		}
	}
	if len(list) > 0 {
		s.log.Infof("discarding EHLO keywords: %s", strings.Join(list, " "))
	}
}

// keywords lists the extensions in Postfix's order.
func (s *session) keywords() []string {
	var list []string
	add := func(word, text string) {
		if !s.discards[word] {
			list = append(list, text)
		}
	}
	add("pipelining", "PIPELINING")
	if s.common.MessageSizeLimit > 0 {
		add("size", "SIZE "+strconv.FormatInt(s.common.MessageSizeLimit, 10))
	} else {
		add("size", "SIZE")
	}
	if !s.conf.DisableVRFY {
		add("vrfy", "VRFY")
	}
	add("etrn", "ETRN")
	if s.tls == nil && s.Server.tls.Level() > starttls.None && !s.discards["starttls"] {
		add("starttls", "STARTTLS")
	}
	if s.authOffered() && !s.discards["auth"] {
		mechanisms, err := s.mechanisms()
		if err != nil {
			s.log.Warningf("AUTH is not offered to %s: %v", s.subject.LogClient, err)
		}
		if len(mechanisms) > 0 {
			words := strings.Join(mechanisms, " ")
			list = append(list, "AUTH "+words)
			if s.conf.SASL.BrokenClients {
				list = append(list, "AUTH="+words)
			}
		}
	}
	if s.verpAllowed() {
		add("verp", "XVERP")
	}
	if s.xclientAllowed() {
		add("xclient", "XCLIENT "+xclientNames)
	}
	if s.xforwardAllowed() {
		add("xforward", "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT")
	}
	add("enhancedstatuscodes", "ENHANCEDSTATUSCODES")
	add("8bitmime", "8BITMIME")
	add("dsn", "DSN")
	if s.common.SMTPUTF8Enable {
		add("smtputf8", "SMTPUTF8")
	}
	add("chunking", "CHUNKING")
	if s.requireTLSOffered() {
		list = append(list, "REQUIRETLS")
	}
	return list
}
