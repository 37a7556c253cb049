package restrict

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern/internal/base/macro"
	"postern/internal/base/netaddr"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/protocol/dns"
	"postern/internal/protocol/smtp"
)

// An rblSite is a DNS list with a filter on what it answers: "d" or
// "d=127.0.0.[1;4..6].8".
type rblSite struct {
	domain string
	filter []octetRange // by octet; nil takes any answer
	bad    error        // what is wrong with the filter; every answer fits it
}

// An octetRange is the values that one octet may have.
type octetRange [][2]int

// parseRBLSite reads the argument of a DNS list check. A filter that is
// malformed harms only clients about which the list has an answer: Postfix ends
// its process at that moment, and serves everybody else.
func parseRBLSite(arg string) *rblSite {
	domain, filter, ok := strings.Cut(arg, "=")
	site := &rblSite{domain: bareHost(domain)}
	if ok {
		var err error
		if site.filter, err = parseFilter(filter); err != nil {
			site.bad = fmt.Errorf("bad DNS list filter %q of %s: %w", filter, domain, err)
		}
	}
	return site
}

func parseFilter(text string) (filter []octetRange, err error) {
	parts, err := splitOctets(text)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		r, err := parseOctet(p)
		if err != nil {
			return nil, err
		}
		filter = append(filter, r)
	}
	return filter, nil
}

// splitOctets splits at the dots that are not inside brackets.
func splitOctets(s string) ([]string, error) {
	var parts []string
	start, inside := 0, false
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == '.' && !inside:
			parts = append(parts, s[start:i])
			start = i + 1
		case s[i] == '[':
			inside = true
		case s[i] == ']':
			inside = false
		}
	}
	if len(parts) != 4 {
		return nil, fmt.Errorf("four octets expected")
	}
	return parts, nil
}

func parseOctet(s string) (octetRange, error) {
	list := []string{s}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		list = strings.Split(s[1:len(s)-1], ";")
	}
	var r octetRange
	for _, e := range list {
		lo, hi, ranged := strings.Cut(e, "..")
		if !ranged {
			hi = lo
		}
		a, err1 := strconv.ParseUint(lo, 10, 8)
		b, err2 := strconv.ParseUint(hi, 10, 8)
		if err1 != nil || err2 != nil || a > b {
			return nil, fmt.Errorf("bad octet %q", e)
		}
		r = append(r, [2]int{int(a), int(b)})
	}
	return r, nil
}

func (s *rblSite) matches(a netip.Addr) bool {
	if s.filter == nil {
		return true
	}
	if !a.Is4() {
		return false
	}
	for i, o := range a.As4() {
		ok := false
		for _, r := range s.filter[i] {
			ok = ok || int(o) >= r[0] && int(o) <= r[1]
		}
		if !ok {
			return false
		}
	}
	return true
}

// rblListed asks a DNS list about a query name ("1.2.0.192" or a domain).
func (v *eval) rblListed(site *rblSite, query string) (found, retry bool) {
	name := query + "." + site.domain
	a, known := v.listLookup(name, dns.A)
	v.foundKey, v.answer = name, a.Reason
	switch a.Class {
	case dns.OK:
		var addrs []string
		for _, addr := range a.Addrs() {
			addrs = append(addrs, addr.Unmap().String())
		}
		v.answer = strings.Join(addrs, ", ")
		for _, addr := range a.Addrs() {
			if site.matches(addr.Unmap()) {
				return true, false
			}
		}
	case dns.NotFound:
	default:
		if !known {
			v.env.Log.Warningf("%s: RBL lookup error: %s", name, a.Reason)
		}
		return false, true
	}
	return false, false
}

// A listQuestion is what a DNS list is asked.
type listQuestion struct {
	name string
	kind dns.Type
}

// A listAnswer is what a DNS list said, for as long as that may be believed.
type listAnswer struct {
	answer dns.Answer
	until  time.Time
}

// maxListAnswers bounds the answers that a session remembers.
const maxListAnswers = 100

// listSilence is how long a session does not ask again a list that gave no
// answer: a client with many recipients does not wait for each of them.
const listSilence = time.Minute

// listLookup asks a DNS list once for all recipients of a session, and says
// whether the answer was known from before.
func (v *eval) listLookup(name string, kind dns.Type) (a dns.Answer, known bool) {
	q := listQuestion{name, kind}
	if old, ok := v.s.lists[q]; ok && v.env.Now().Before(old.until) {
		return old.answer, true
	}
	a = v.env.DNS.Lookup(v.ctx, name, kind)
	if v.s.lists == nil || len(v.s.lists) >= maxListAnswers {
		v.s.lists = map[listQuestion]listAnswer{}
	}
	hold := a.TTL
	if a.Class != dns.OK && a.Class != dns.NotFound {
		hold = listSilence
	}
	v.s.lists[q] = listAnswer{a, v.env.Now().Add(hold)}
	return a, false
}

// reversed is the query name of an address.
func reversed(addr string) (string, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return "", false
	}
	name := dns.ReverseName(a.Unmap())
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".ip6.arpa"), ".in-addr.arpa")
	return name, true
}

func rejectRBLClient(v *eval, it *item) Verdict {
	query, ok := reversed(v.s.ClientAddr)
	if !ok {
		return Verdict{}
	}
	found, _ := v.rblListed(it.rbl, query)
	if !found {
		return Verdict{}
	}
	return v.rblReply(it, query, v.s.ClientAddr, aboutClient, aboutClient)
}

// domainListed is the check of a domain against a DNS list.
func (v *eval) domainListed(it *item, domain, what, about string) Verdict {
	domain = bareHost(domain)
	if domain == "" || domain == "unknown" || strings.HasPrefix(domain, "[") || netaddr.ValidAddress(domain) {
		return Verdict{}
	}
	if !isASCII(domain) {
		ascii, err := toASCII(domain)
		if err != nil {
			return Verdict{}
		}
		domain = ascii
	}
	if !netaddr.ValidHostname(domain) {
		return Verdict{}
	}
	if found, _ := v.rblListed(it.rbl, domain); !found {
		return Verdict{}
	}
	return v.rblReply(it, domain, what, about, about)
}

func rejectRHSBLClient(v *eval, it *item) Verdict {
	return v.domainListed(it, v.s.ClientName, v.s.ClientName, aboutClient)
}

func rejectRHSBLReverseClient(v *eval, it *item) Verdict {
	return v.domainListed(it, v.s.ReverseName, v.s.ReverseName, aboutReverse)
}

func rejectRHSBLHelo(v *eval, it *item) Verdict {
	if !v.s.HasHelo {
		return Verdict{}
	}
	return v.domainListed(it, v.s.Helo, v.s.Helo, aboutHelo)
}

func rejectRHSBLSender(v *eval, it *item) Verdict {
	if !v.s.HasSender {
		return Verdict{}
	}
	_, domain := address.Split(v.s.Sender)
	return v.domainListed(it, domain, v.s.Sender, aboutSender)
}

func rejectRHSBLRecipient(v *eval, it *item) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	_, domain := address.Split(v.s.Recipient)
	return v.domainListed(it, domain, v.s.Recipient, aboutRecipient)
}

func permitDNSWLClient(v *eval, it *item) Verdict {
	query, ok := reversed(v.s.ClientAddr)
	if !ok {
		return Verdict{}
	}
	return v.allowlisted(it, query, v.s.ClientAddr)
}

func permitRHSWLClient(v *eval, it *item) Verdict {
	if v.s.ClientName == "unknown" {
		return Verdict{}
	}
	return v.allowlisted(it, v.s.ClientName, v.s.ClientName)
}

// allowlisted permits mail for which this system is responsible; it opens no
// relay (Postfix: the same).
func (v *eval) allowlisted(it *item, query, what string) Verdict {
	found, retry := v.rblListed(it.rbl, query)
	switch {
	case found && it.rbl.bad != nil:
		return v.badFilter(it)
	case found:
		if v.s.HasRecipient {
			if ok, trouble := v.authorised(); !ok {
				return trouble
			}
		}
		return permit()
	case retry:
		return Verdict{Kind: DeferIfReject, Reply: reply(450, "4.7.1", rejected(what, aboutClient, "Service unavailable"))}
	}
	return Verdict{}
}

// badFilter is for an answer of a list whose filter cannot be read.
func (v *eval) badFilter(it *item) Verdict {
	v.env.Log.Warningf("restriction %s: %v", it.name, it.rbl.bad)
	return misconfigured()
}

// rblReply makes the reply of a client, name or address on a DNS list.
func (v *eval) rblReply(it *item, query, what, class, about string) Verdict {
	if it.rbl.bad != nil {
		return v.badFilter(it)
	}
	text := v.DefaultRBLReply
	if t, ok, err := v.rblReplies.Lookup(v.ctx, it.arg); err != nil {
		w := reject(451, "4.3.5", "Server configuration error")
		w.fault = true
		return w
	} else if ok {
		text = t
	}
	reason := ""
	if a, _ := v.listLookup(query+"."+it.rbl.domain, dns.TXT); a.Class == dns.OK {
		var texts []string
		for i := range a.Records {
			texts = append(texts, strings.Map(blank, a.Records[i].Text))
		}
		reason = strings.Join(texts, " / ") // Postfix: the same
	}
	x := macro.Expander{Filter: v.rblFilter, Lookup: func(name string) (string, bool, error) {
		val, ok := v.rblMacro(name, it, what, class, reason)
		return val, ok, nil
	}}
	r, err := x.Expand(text)
	if (err != nil || r.Undefined) && text != v.DefaultRBLReply {
		v.env.Log.Warningf("rbl_reject_reply: bad rbl reply template for domain %s: %s", it.arg, text)
		text = v.DefaultRBLReply
		r, err = x.Expand(text)
	}
	if err != nil || r.Undefined {
		v.env.Log.Warningf("default_rbl_reply %q: %v", text, cmp.Or(err, errors.New("unknown macro")))
		return misconfigured()
	}
	rep, ok := smtp.ParseReply(strings.TrimLeft(r.Text, " \t"))
	if !ok || rep.Code < 400 || len(rep.Lines) == 0 || rep.Status == "" && rep.Lines[0] == "" {
		v.env.Log.Warningf("rbl response code configuration error: %s", r.Text)
		return reject(450, "4.7.1", "Service unavailable")
	}
	status := rep.Status
	if status == "" {
		d := dsn.Split("5.7.1", rep.Text()) // a status of another class is made to fit
		status, rep.Lines = d.Status, []string{d.Reason}
	}
	return reject(rep.Code, v.fitStatus(status, about), rep.Text())
}

// blank puts a blank for what is not printable. Postfix: the same.
func blank(r rune) rune {
	if r < ' ' || r > '~' {
		return ' '
	}
	return r
}

// rblMacro is the value of a macro in a DNS list's reply.
func (v *eval) rblMacro(name string, it *item, what, class, reason string) (string, bool) {
	switch name {
	case "rbl_code":
		return strconv.Itoa(v.MapsRBL), true
	case "rbl_domain":
		return it.rbl.domain, true
	case "rbl_reason", "rbl_txt":
		return reason, true
	case "rbl_what":
		return what, true
	case "rbl_class":
		return class, true
	}
	return v.Macro(v.s, name)
}
