package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// checkRelay tells of SMTP servers by which strangers could send mail to
// anywhere.
func (c *checker) checkRelay() {
	for i := range c.services {
		s := &c.services[i]
		if s.Command != "smtpd" {
			continue
		}
		conf := c.overridden(s)
		relay := c.guard(conf, "smtpd_relay_restrictions", nil)
		recipient := c.guard(conf, "smtpd_recipient_restrictions", nil)
		if relay != guarded && recipient != guarded {
			c.open(conf, s, relay, recipient)
		}
		c.checkNetworks(conf, s, param.Split(c.value(conf, "mynetworks")))
	}
}

// open reports a server that relays for everybody. An unconditional permit is
// a setting to correct; lists without any guard are refused by smtpd itself.
func (c *checker) open(conf *maincf.Config, s *mastercf.Service, relay, recipient guard) {
	name := "smtpd_relay_restrictions"
	if relay == unguarded && recipient == permits {
		name = "smtpd_recipient_restrictions"
	}
	message := "nothing keeps strangers from sending mail to anywhere: neither smtpd_relay_restrictions nor smtpd_recipient_restrictions refuses"
	if relay == permits || recipient == permits {
		message = "an open relay: \"permit\" stands before every restriction that refuses strangers"
	}
	c.add(at(conf, name, c.mainFile(), Finding{Severity: Error, Service: s.Key(), Message: message,
		Remedy: "set smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"}))
}

// A guard is what a list of restrictions does about strangers.
type guard int

const (
	unguarded guard = iota // neither refuses nor permits all
	guarded                // refuses mail to foreign domains
	permits                // permits everything before it could refuse
)

// refusals end a list for strangers who send to foreign domains.
var refusals = []string{"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit"}

// guard follows a list of restrictions; within are the classes that it is in.
func (c *checker) guard(conf *maincf.Config, name string, within []string) guard {
	if slices.Contains(within, name) {
		return unguarded
	}
	classes := param.Split(c.value(conf, "smtpd_restriction_classes"))
	warn := false
	for _, item := range param.Split(c.value(conf, name)) {
		item, _, _ = strings.Cut(strings.Trim(item, "{} "), " ")
		switch {
		case item == "warn_if_reject":
			warn = true
			continue
		case slices.Contains(refusals, item) && !warn:
			return guarded
		case item == "permit":
			return permits
		case slices.Contains(classes, item):
			if g := c.guard(conf, item, append(slices.Clone(within), name)); g != unguarded {
				return g
			}
		}
		warn = false
	}
	return unguarded
}

// leastBits is the length of the shortest network that can be one's own.
var leastBits = map[bool]int{true: 8, false: 16} // IPv4, IPv6

// checkNetworks tells of networks that are too large to be one's own.
func (c *checker) checkNetworks(conf *maincf.Config, s *mastercf.Service, items []string) {
	for _, item := range items {
		if message, remedy := badNetwork(item); message != "" {
			c.add(at(conf, "mynetworks", c.mainFile(), Finding{Severity: Error, Service: s.Key(), Message: "mynetworks: " + message, Remedy: remedy}))
			continue
		}
		p, err := netip.ParsePrefix(strings.NewReplacer("[", "", "]", "").Replace(item))
		if err != nil || p.Bits() >= leastBits[p.Addr().Is4()] {
			continue
		}
		severity := Warning
		if p.Bits() == 0 {
			severity = Error
		}
		c.add(at(conf, "mynetworks", c.mainFile(), Finding{Severity: severity, Service: s.Key(),
			Message: fmt.Sprintf("mynetworks trusts %s, which is not one site's network", item),
			Remedy:  "list your own networks only: their clients may send mail to anywhere"}))
	}
}

// badNetwork says what is wrong with an item that is meant as an address or a
// network; files, tables and names are none. Postfix: the server cannot look at
// the list and answers 451.
func badNetwork(item string) (message, remedy string) {
	text := strings.TrimLeft(item, "!")
	if strings.Trim(text, "0123456789./") != "" && !strings.HasPrefix(text, "[") || strings.HasPrefix(text, "/") {
		return "", ""
	}
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	if !strings.Contains(text, "/") {
		if _, err := netip.ParseAddr(text); err != nil {
			return item + " is no address", "write all of the address, and the length of the network's prefix behind it, such as 192.0.2.0/24"
		}
		return "", ""
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return item + " is no network", "write a network as 192.0.2.0/24 or [2001:db8::]/32"
	}
	if p != p.Masked() {
		return fmt.Sprintf("non-null host address bits in %q", item), "write " + p.Masked().String()
	}
	return "", ""
}
