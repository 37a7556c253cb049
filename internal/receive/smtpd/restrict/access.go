package restrict

import (
	"strings"

	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/protocol/smtp"
	"postern/internal/table"
)

func checkClientAccess(v *eval, it *item) Verdict {
	return v.hostAccess(it, v.s.ClientName, v.s.ClientAddr, v.subject(aboutClient), aboutClient)
}

func checkReverseClientAccess(v *eval, it *item) Verdict {
	return v.hostAccess(it, v.s.ReverseName, v.s.ClientAddr, v.s.ReverseName, aboutReverse)
}

func checkHeloAccess(v *eval, it *item) Verdict {
	if !v.s.HasHelo {
		return Verdict{}
	}
	return v.hostAccess(it, v.s.Helo, "", v.s.Helo, aboutHelo)
}

func checkETRNAccess(v *eval, it *item) Verdict {
	if v.s.ETRNDomain == "" {
		return Verdict{}
	}
	return v.hostAccess(it, v.s.ETRNDomain, "", v.s.ETRNDomain, aboutETRN)
}

func checkSASLAccess(v *eval, it *item) Verdict {
	if v.s.SASLUsername == "" {
		return Verdict{}
	}
	return v.keyAccess(it, v.s.SASLUsername, v.s.SASLUsername, aboutSASL)
}

// What check_ccert_access looks for, in the words of its search_order.
const (
	certKey   = "cert_fingerprint"
	pubkeyKey = "pubkey_fingerprint"
)

// checkCcertAccess looks for the fingerprints of a client's certificate and of
// its public key.
func checkCcertAccess(v *eval, it *item) Verdict {
	if v.s.TLS == nil || v.s.TLS.Peer == nil {
		if !v.env.AskCcert {
			v.env.Log.Warningf("check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\"")
		}
		return Verdict{}
	}
	prints := map[string]string{certKey: v.s.TLS.CertFingerprint, pubkeyKey: v.s.TLS.KeyFingerprint}
	order := it.order
	if order == nil {
		order = []string{certKey, pubkeyKey}
	}
	for _, name := range order {
		if w, found := v.try(it, prints[name], true, v.s.TLS.PeerCN, aboutCert); found {
			return w
		}
	}
	return Verdict{}
}

func checkSenderAccess(v *eval, it *item) Verdict {
	if !v.s.HasSender {
		return Verdict{}
	}
	return v.mailAccess(it, v.s.Sender, aboutSender)
}

func checkRecipientAccess(v *eval, it *item) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	return v.mailAccess(it, v.s.Recipient, aboutRecipient)
}

// try looks up one key. full says that the key is whole, so that pattern tables
// see it. found is true when there is a verdict, also that of a failure.
func (v *eval) try(it *item, key string, full bool, what, about string) (w Verdict, found bool) {
	if key == "" || !full && table.KeysOf(it.tab) == table.Pattern {
		return Verdict{}, false
	}
	value, ok, err := it.tab.Lookup(v.ctx, key)
	if err != nil {
		v.env.Log.Warningf("%s lookup error for %q", it.arg, key)
		return reject(451, "4.3.5", rejected(what, about, "Server configuration error")), true
	}
	if !ok {
		return Verdict{}, false
	}
	v.foundIn, v.foundKey, v.answer = it.arg, key, value
	return v.result(it, value, key, what, about), true
}

func (v *eval) keyAccess(it *item, key, what, about string) Verdict {
	w, _ := v.try(it, key, true, what, about)
	return w
}

// hostAccess looks for a name and its parents, then for an address and its
// leading parts.
func (v *eval) hostAccess(it *item, name, addr, what, about string) Verdict {
	if w, found := v.nameAccess(it, name, what, about); found {
		return w
	}
	if addr == "" {
		return Verdict{}
	}
	w, _ := v.addrAccess(it, addr, what, about)
	return w
}

func (v *eval) nameAccess(it *item, name, what, about string) (Verdict, bool) {
	full := true
	for name != "" {
		if w, found := v.try(it, name, full, what, about); found {
			return w, true
		}
		full = false
		dot := strings.IndexByte(name[1:], '.')
		if dot < 0 {
			break
		}
		name = name[1+dot:]
		if v.accessParents {
			name = name[1:]
		}
	}
	return Verdict{}, false
}

func (v *eval) addrAccess(it *item, addr, what, about string) (Verdict, bool) {
	delim := "."
	if strings.Contains(addr, ":") {
		delim = ":"
	}
	full := true
	for {
		if w, found := v.try(it, addr, full, what, about); found {
			return w, true
		}
		full = false
		i := strings.LastIndex(addr, delim)
		if i < 0 {
			return Verdict{}, false
		}
		addr = addr[:i]
	}
}

// mailAccess looks for user+ext@domain, user@domain, the domain and its parents,
// user+ext@ and user@.
func (v *eval) mailAccess(it *item, addr, about string) Verdict {
	if addr == "" {
		w, _ := v.try(it, v.NullSenderKey, true, addr, about)
		return w
	}
	r, trouble := v.resolve(v.s.Sender, addr)
	if trouble.Kind != Dunno {
		return trouble
	}
	at := strings.LastIndexByte(r.Recipient, '@')
	if at < 0 {
		v.env.Log.Warningf("%s: no @domain in address: %s", it.name, r.Recipient)
		return Verdict{}
	}
	external := address.Quote822(r.Recipient)
	if w, found := v.try(it, external, true, addr, about); found {
		return w
	}
	bare, _, extended := v.env.Mapper.Extensions.Strip(r.Recipient)
	if extended {
		if w, found := v.try(it, address.Quote822(bare), false, addr, about); found {
			return w
		}
	}
	if w, found := v.partialName(it, bareHost(r.Recipient[at+1:]), addr, about); found {
		return w
	}
	for _, a := range [...]string{r.Recipient, bare} {
		if a == bare && extended || a == r.Recipient {
			local, _ := address.Split(a)
			key := strings.TrimSuffix(address.Quote822(local+"@x"), "x")
			if w, found := v.try(it, key, false, addr, about); found {
				return w
			}
		}
		if !extended {
			break
		}
	}
	return Verdict{}
}

// partialName is nameAccess for a domain that is a part of the key.
func (v *eval) partialName(it *item, name, what, about string) (Verdict, bool) {
	if table.KeysOf(it.tab) == table.Pattern {
		return Verdict{}, false
	}
	return v.nameAccess(it, name, what, about)
}

// result does what a table's value says (access(5)).
func (v *eval) result(it *item, value, key, what, about string) Verdict {
	word, text, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	if i := strings.IndexByte(word, '\t'); i >= 0 {
		word, text = word[:i], word[i+1:]+" "+text
	}
	text = strings.TrimSpace(text)
	if word == "" {
		v.env.Log.Warningf("access table %s entry %s has empty value", it.arg, key)
		return permit()
	}
	if digits(value) {
		return v.permitted(it, word, what, about)
	}
	if r, ok := smtp.ParseReply(value); ok && r.Code >= 400 {
		return v.coded(r, what, about)
	}
	switch upper := strings.ToUpper(word); upper {
	case "OK", "RELAY":
		return v.permitted(it, word, what, about)
	case "DUNNO":
		return Verdict{}
	case "REJECT":
		return v.textReply(v.AccessReject, "5.7.1", text, "Access denied", what, about)
	case "DEFER":
		return v.textReply(v.AccessDefer, "4.7.1", text, "Access denied", what, about)
	case "DEFER_IF_REJECT", "DEFER_IF_PERMIT":
		w := v.textReply(v.AccessDefer, "4.7.1", text, "Service unavailable", what, about)
		w.Kind = DeferIfReject
		if upper == "DEFER_IF_PERMIT" {
			w.Kind = DeferIfPermit
		}
		return w
	case "HOLD", "DISCARD", "FILTER", "REDIRECT", "BCC", "PREPEND":
		return v.effect(it, upper, text, key, what, about)
	case "WARN", "INFO":
		v.env.Log.Event(v.s.Action(strings.ToLower(upper), text))
		return Verdict{}
	case "HANGUP":
		v.env.Log.Event(v.s.Action("hangup", text))
		v.s.Hangup = true
		w := reject(521, "5.7.1", "")
		w.settled = true
		return w
	}
	return v.restrictions(it, value, what, about)
}

// permitted is a permit of a table, with what smtpd_log_access_permit_actions
// says of it.
func (v *eval) permitted(it *item, action, what, about string) Verdict {
	w := permit()
	w.action, w.detail = action, about+"="+what+" from "+it.arg
	return w
}

// coded is a reply that the table gives with its code. A status that does not
// fit what the reply is about is replaced.
func (v *eval) coded(r smtp.Reply, what, about string) Verdict {
	status := r.Status
	if status == "" {
		status = "5.7.1"
		if d := dsn.Split("", r.Text()); d.Status != "" { // of the wrong class
			status, r.Lines = d.Status, []string{d.Reason}
		}
	}
	return reject(r.Code, v.fitStatus(status, about), rejected(what, about, r.Text()))
}

// fitStatus is fixStatus with a log line, as Postfix has one.
func (v *eval) fitStatus(status dsn.Status, about string) dsn.Status {
	fixed := fixStatus(status, about)
	if fixed != status {
		v.env.Log.Infof("mapping DSN status %s into %s status %s", status, about, fixed)
	}
	return fixed
}

// textReply is a reply with the table's text, or the usual one.
func (v *eval) textReply(code int, def dsn.Status, text, usual, what, about string) Verdict {
	if text == "" {
		text = usual
	}
	d := dsn.Split(def, text)
	return reject(code, v.fitStatus(d.Status, about), rejected(what, about, d.Reason))
}

// effect keeps what a table asks for besides a reply.
func (v *eval) effect(it *item, action, text, key, what, about string) Verdict {
	if !v.s.HasSender {
		v.env.Log.Warningf("access table %s: with smtpd_delay_reject=no, action %s is always skipped in %s or %s restrictions",
			it.arg, action, aboutClient, aboutHelo)
		return Verdict{}
	}
	if v.env.BeforeQueue && action != "PREPEND" {
		v.env.Log.Warningf("access table %s: with smtpd_proxy_filter specified, action %s is unavailable", it.arg, action)
		return Verdict{}
	}
	logged := "triggers " + action + " " + text
	switch action {
	case "HOLD", "DISCARD":
		logged = text
		if text == "" {
			logged = "triggers " + action + " action"
		}
		if action == "HOLD" {
			if v.s.Effects.Hold {
				return Verdict{} // said once for a message
			}
			v.s.Effects.Hold = true
		} else {
			v.s.Effects.Discard = true
		}
	case "FILTER":
		if i := strings.IndexByte(text, ':'); i <= 0 {
			return v.unusable(it, key, "transport:destination")
		}
		v.s.Effects.Filter = text
	case "REDIRECT":
		if !strings.Contains(text, "@") {
			return v.unusable(it, key, "user@domain target")
		}
		v.s.Effects.Redirect = text
	case "BCC":
		if !strings.Contains(text, "@") {
			return v.unusable(it, key, "user@domain target")
		}
		v.s.Effects.Bcc = []string{text}
	case "PREPEND":
		return v.prepend(it, text, key)
	}
	v.env.Log.Event(v.s.Action(strings.ToLower(action), "<"+what+">: "+about+" "+logged))
	return Verdict{}
}

func (v *eval) prepend(it *item, text, key string) Verdict {
	if v.s.Stage == "END-OF-MESSAGE" {
		v.env.Log.Warningf("access table %s: action PREPEND must be used before %s", it.arg, "smtpd_end_of_data_restrictions")
		return Verdict{}
	}
	name, _, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return v.unusable(it, key, "header: text")
	}
	v.s.Effects.Prepend = append(v.s.Effects.Prepend, printable(text))
	return Verdict{}
}

func (v *eval) unusable(it *item, key, need string) Verdict {
	v.env.Log.Warningf("access table %s entry %q requires %s", it.arg, key, need)
	return Verdict{}
}

// restrictions evaluates a table's value as a list of restrictions.
func (v *eval) restrictions(it *item, value, what, about string) Verdict {
	if strings.Contains(value, ":") { // Postfix: it would be opened anew at each use
		v.env.Log.Warningf("access table %s has entry with lookup table: %s", it.arg, value)
		v.env.Log.Warningf("do not specify lookup tables inside SMTPD access maps")
		v.env.Log.Warningf("define a restriction class and specify its name instead.")
		return misconfigured()
	}
	items, err := v.parse(v.list.name, value, about, nil)
	if err != nil {
		v.env.Log.Warningf("access table %s: %v", it.arg, err)
		return misconfigured()
	}
	item, oldWhat, oldAbout := v.item, v.topicWhat, v.topicAbout
	v.topicWhat, v.topicAbout = what, about
	w := v.walk(items)
	v.item, v.topicWhat, v.topicAbout = item, oldWhat, oldAbout
	w.settled = w.Kind != Dunno
	return w
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// fixStatus adjusts a status that speaks of a sender or recipient address to
// what the reply is about (Postfix: the same table).
func fixStatus(s dsn.Status, about string) dsn.Status {
	if len(s) < 5 || s[1:4] != ".1." {
		return s
	}
	detail := string(s[4:])
	switch about {
	case aboutSender:
		switch detail {
		case "7", "8":
			return s
		case "2":
			detail = "8"
		case "1", "3", "4", "6":
			detail = "7"
		default:
			detail = "0"
		}
	case aboutRecipient:
		switch detail {
		case "7":
			detail = "3"
		case "8":
			detail = "2"
		case "0", "1", "2", "3", "4", "5", "6":
			return s
		default:
			detail = "0"
		}
	default:
		return s[:1] + ".0.0"
	}
	return s[:4] + dsn.Status(detail)
}
