package check

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
)

// transports are the parameters whose value names a delivery agent,
// "transport:nexthop", and the programs that act on it.
var transports = [...]struct {
	parameter string
	programs  []string
}{
	{"default_transport", []string{"trivial-rewrite"}},
	{"local_transport", []string{"trivial-rewrite"}},
	{"relay_transport", []string{"trivial-rewrite"}},
	{"virtual_transport", []string{"trivial-rewrite"}},
	{"mailbox_transport", []string{"local"}},
	{"fallback_transport", []string{"local"}},
	{"content_filter", []string{"smtpd", "pickup", "qmqpd"}},
}

// checkTransports tells of delivery agents that a service would hand mail to
// and that master.cf does not have: the mail would wait.
func (c *checker) checkTransports() {
	for i := range c.services {
		s := &c.services[i]
		for _, t := range transports {
			if slices.Contains(t.programs, s.Command) {
				c.checkTransport(c.overridden(s), s, t.parameter)
			}
		}
	}
}

func (c *checker) checkTransport(conf *maincf.Config, s *mastercf.Service, parameter string) {
	value := strings.TrimSpace(c.value(conf, parameter))
	name, _, _ := strings.Cut(value, ":")
	if name == "" || slices.ContainsFunc(c.services, func(other mastercf.Service) bool {
		return other.Name == name && other.Type != "inet" && other.Private
	}) {
		return
	}
	c.add(at(conf, parameter, c.mainFile(), Finding{Severity: Warning, Service: s.Key(),
		Message: fmt.Sprintf("%s = %s: there is no service %s/unix in master.cf, and mail would wait for it", parameter, value, name),
		Remedy:  "name a service of master.cf, or add the entry"}))
}
