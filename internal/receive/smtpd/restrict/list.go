package restrict

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/config/param"
	"postern/internal/table"
)

// What a list is about; its natural check and the words of its replies hang on
// it.
const (
	aboutClient    = "Client host"
	aboutReverse   = "Unverified Client host"
	aboutCert      = "Client certificate"
	aboutSASL      = "SASL login name"
	aboutHelo      = "Helo command"
	aboutSender    = "Sender address"
	aboutRecipient = "Recipient address"
	aboutETRN      = "Etrn command"
	aboutData      = "Data command"
	aboutEndOfData = "End-of-data"
)

// A list is the value of a parameter, or a restriction class.
type list struct {
	name  string // of the parameter
	about string
	items []item
}

// An item is one restriction with its argument.
type item struct {
	def   *definition
	name  string // as it is written
	arg   string
	tab   table.Table // argument of a check_*_access
	order []string    // search_order of check_ccert_access
	class *list       // a restriction class
	rbl   *rblSite    // argument of a DNS list check
	pol   *policyItem // argument of check_policy_service
	bad   string      // why the item cannot be evaluated; a warning for each use
	skip  bool        // bad, but without consequence
}

// natural is the check that a bare table stands for in each list.
var natural = map[string]string{
	aboutClient:    "check_client_access",
	aboutHelo:      "check_helo_access",
	aboutSender:    "check_sender_access",
	aboutRecipient: "check_recipient_access",
	aboutETRN:      "check_etrn_access",
}

func (e *Engine) parseLists() error {
	for _, name := range param.Split(e.Classes) {
		e.names[name] = true
	}
	for _, l := range [...]struct {
		l                  *list
		name, value, about string
	}{
		{&e.client, "smtpd_client_restrictions", e.Client, aboutClient},
		{&e.helo, "smtpd_helo_restrictions", e.Helo, aboutHelo},
		{&e.sender, "smtpd_sender_restrictions", e.Sender, aboutSender},
		{&e.relay, "smtpd_relay_restrictions", e.Relay, aboutRecipient},
		{&e.recipient, "smtpd_recipient_restrictions", e.Recipient, aboutRecipient},
		{&e.data, "smtpd_data_restrictions", e.Data, aboutData},
		{&e.endOfData, "smtpd_end_of_data_restrictions", e.EndOfData, aboutEndOfData},
		{&e.etrn, "smtpd_etrn_restrictions", e.ETRN, aboutETRN},
	} {
		l.l.name, l.l.about = l.name, l.about
		var err error
		if l.l.items, err = e.parse(l.name, l.value, l.about, nil); err != nil {
			return err
		}
	}
	return nil
}

// parse reads a list. within names the classes that it is part of.
func (e *Engine) parse(name, value, about string, within []string) ([]item, error) {
	var words []string
	for _, w := range param.Split(value) {
		words = append(words, strings.Trim(w, " "))
	}
	var items []item
	for i := 0; i < len(words); i++ {
		it, used, err := e.item(name, words[i:], about, within)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
		i += used
	}
	return items, nil
}

// item reads one restriction, and used words more as its argument.
func (e *Engine) item(where string, words []string, about string, within []string) (it item, used int, err error) {
	word := words[0]
	if e.names[word] {
		c, err := e.class(where, word, about, within)
		return item{def: classDefinition(), name: word, class: c}, 0, err
	}
	if strings.Contains(word, ":") && !strings.HasPrefix(word, "{") {
		check, ok := natural[about]
		if !ok {
			return item{name: word, bad: fmt.Sprintf("specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, "+
				"check_sender_access, check_recipient_access, check_etrn_access) before %s restriction %q", about, word)}, 0, nil
		}
		words, word, used = []string{check, word}, check, -1
	}
	def := e.defs[strings.ToLower(word)]
	switch {
	case def == nil:
		return item{name: word, bad: fmt.Sprintf("unknown smtpd restriction: %q", word)}, used, nil
	case def.removed != "":
		return item{}, 0, fmt.Errorf("%s: restriction %s is no longer supported: %s", where, word, def.removed)
	}
	it = item{def: def, name: def.name}
	if def.arg == noArg {
		return it, used, nil
	}
	if len(words) < 2 {
		it.bad = missing(def)
		it.skip = def.arg == domainArg
		return it, used, nil
	}
	it.arg = words[1]
	return it, used + 1, e.argument(&it)
}

func missing(def *definition) string {
	switch def.arg {
	case domainArg:
		return fmt.Sprintf("restriction %s requires domain name argument", def.name)
	case tableArg:
		return fmt.Sprintf("restriction %s: bad argument %q: need maptype:mapname", def.name, def.name)
	case numberArg:
		return fmt.Sprintf("restriction %s must be followed by number", def.name)
	}
	return fmt.Sprintf("restriction %s requires an argument", def.name)
}

// argument prepares what an item needs at every evaluation.
func (e *Engine) argument(it *item) (err error) {
	switch it.def.arg {
	case tableArg:
		spec := it.arg
		if text, braced, err := param.Unbrace(spec); err == nil && braced {
			spec = text
			if it.def.name == "check_ccert_access" {
				if spec, it.order, err = certOrder(text); err != nil {
					return err
				}
			}
		}
		if !strings.Contains(spec, ":") {
			it.bad = fmt.Sprintf("restriction %s: bad argument %q: need maptype:mapname", it.def.name, spec)
			return nil
		}
		it.arg = spec
		it.tab, err = e.env.Tables.Open(spec)
	case domainArg:
		if it.rbl = parseRBLSite(it.arg); it.rbl.domain == "" {
			it.bad, it.skip = missing(it.def), true
		}
	case policyArg:
		it.pol, err = e.policyItem(it.arg)
	}
	if err != nil {
		return fmt.Errorf("restriction %s: %w", it.def.name, err)
	}
	return nil
}

// certOrder reads "type:table, { search_order = cert_fingerprint, … }".
func certOrder(text string) (spec string, order []string, err error) {
	words := param.Split(text)
	if len(words) == 0 {
		return text, nil, nil
	}
	for _, w := range words[1:] {
		option, braced, err := param.Unbrace(w)
		name, value, ok := strings.Cut(option, "=")
		if err != nil || !braced || !ok || strings.TrimSpace(name) != "search_order" {
			return "", nil, fmt.Errorf("check_ccert_access: unknown option %q: specify \"{ search_order = … }\"", w)
		}
		for _, key := range param.Split(value) {
			if key != certKey && key != pubkeyKey {
				return "", nil, fmt.Errorf("check_ccert_access: search_order: unknown key %q: specify %s or %s", key, certKey, pubkeyKey)
			}
			order = append(order, key)
		}
	}
	return words[0], order, nil
}

// class parses a restriction class for lists about one thing.
func (e *Engine) class(where, name, about string, within []string) (*list, error) {
	for _, w := range within {
		if w == name {
			return nil, fmt.Errorf("%s: restriction class %s contains itself", where, name)
		}
	}
	key := about + "\x00" + name
	if c := e.classes[key]; c != nil {
		return c, nil
	}
	value, ok, err := e.env.Param(name)
	if err != nil {
		return nil, err
	}
	if !ok || len(param.Split(value)) == 0 {
		return nil, fmt.Errorf("restriction class `%s' needs a definition", name)
	}
	c := &list{name: name, about: about}
	if c.items, err = e.parse(name, value, about, append(within[:len(within):len(within)], name)); err != nil {
		return nil, err
	}
	e.classes[key] = c
	return c, nil
}

// guards are the restrictions one of which must stand in the relay or the
// recipient list, so that nobody runs an open relay by mistake.
var guards = [...]string{"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit", "check_relay_domains"}

// guarded says whether one of the guards is there (Postfix: smtpd refuses to run
// without).
func (e *Engine) guarded() error {
	if e.hasGuard(e.relay.items) || e.hasGuard(e.recipient.items) {
		return nil
	}
	return fmt.Errorf("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: %s or %s",
		strings.Join(guards[:len(guards)-1], ", "), guards[len(guards)-1])
}

// hasGuard looks as far as a permit: what follows never decides.
func (e *Engine) hasGuard(items []item) bool {
	for i := range items {
		switch it := &items[i]; {
		case i > 0 && items[i-1].isWarn():
		case it.name == "permit":
			if i+1 < len(items) {
				e.env.Log.Warningf("restriction `%s' after `%s' is ignored", items[i+1].name, it.name)
			}
			return false
		case it.class != nil:
			if e.hasGuard(it.class.items) {
				return true
			}
		case it.bad == "" && slices.Contains(guards[:], it.name):
			return true
		}
	}
	return false
}

func (it *item) isWarn() bool { return it.def != nil && it.def.warn }
