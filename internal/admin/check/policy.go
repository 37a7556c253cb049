package check

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// addressClasses are the parameters that list the domains of an address class. A
// domain belongs to one class only.
var addressClasses = [...]string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"}

// checkClasses tells of domains that are listed in two classes: which of them
// counts is not what the administrator chose.
func (c *checker) checkClasses() {
	first := make(map[string]string)
	for _, name := range addressClasses {
		if _, set := c.main.Get(name); !set && name != "mydestination" {
			continue // a default refers to other lists
		}
		for _, domain := range param.Split(c.value(c.main, name)) {
			domain = strings.ToLower(domain)
			if strings.ContainsAny(domain, ":/!") {
				continue
			}
			other, ok := first[domain]
			if !ok {
				first[domain] = name
				continue
			}
			if other == name {
				continue
			}
			c.add(c.atSetting(name, Finding{Severity: Error,
				Message: fmt.Sprintf("%s is a domain of both %s and %s", domain, other, name),
				Remedy:  "list each domain once: they differ in who its recipients are and in how they are delivered to"}))
		}
	}
}

// checkName tells of a name of this system that others will not take.
func (c *checker) checkName() {
	if name := c.value(c.main, "myhostname"); !strings.Contains(name, ".") || strings.HasSuffix(name, ".localdomain") {
		c.add(c.atSetting("myhostname", Finding{Severity: Warning,
			Message: fmt.Sprintf("myhostname is %s, a name that does not exist elsewhere", name),
			Remedy:  "set myhostname to the full name that this system's address has in DNS"}))
	}
}

// checkLogins tells of SMTP servers at which nobody can log in although
// somebody should, and of those that take passwords in the clear.
func (c *checker) checkLogins() {
	for i := range c.services {
		s := &c.services[i]
		if s.Command != "smtpd" {
			continue
		}
		conf := c.overridden(s)
		if c.value(conf, "smtpd_sasl_auth_enable") != "yes" {
			continue
		}
		level := c.value(conf, "smtpd_tls_security_level")
		tls := level == "may" || level == "encrypt" || c.value(conf, "smtpd_tls_wrappermode") == "yes" ||
			c.value(conf, "smtpd_use_tls") == "yes" || c.value(conf, "smtpd_enforce_tls") == "yes"
		c.checkPasswords(conf, s, tls)
		c.checkSASLSocket(conf, s)
	}
}

func (c *checker) checkPasswords(conf *maincf.Config, s *mastercf.Service, tls bool) {
	only := c.value(conf, "smtpd_tls_auth_only") == "yes"
	switch {
	case only && !tls:
		c.add(at(conf, "smtpd_tls_auth_only", c.mainFile(), Finding{Severity: Error, Service: s.Key(),
			Message: "nobody can log in: smtpd_tls_auth_only = yes, but TLS is not offered",
			Remedy:  "set smtpd_tls_security_level = may (or encrypt) and a certificate"}))
	case !only && !c.plainRefused(conf) && c.value(conf, "smtpd_tls_security_level") != "encrypt" && c.value(conf, "smtpd_tls_wrappermode") != "yes" && !loopback(s):
		c.add(at(conf, "smtpd_sasl_auth_enable", c.mainFile(), Finding{Severity: Warning, Service: s.Key(),
			Message: "passwords may cross the network in the clear: logging in without TLS is allowed",
			Remedy:  "set smtpd_tls_auth_only = yes"}))
	}
}

// plainRefused says whether mechanisms with plain passwords need TLS.
func (c *checker) plainRefused(conf *maincf.Config) bool {
	return slices.Contains(param.Split(c.value(conf, "smtpd_sasl_security_options")), "noplaintext")
}

// loopback says whether a service is for this machine only.
func loopback(s *mastercf.Service) bool {
	return strings.HasPrefix(s.Name, "127.") || strings.HasPrefix(s.Name, "localhost:") || strings.HasPrefix(s.Name, "[::1]:")
}

// checkSASLSocket tells of a Dovecot socket that is not there.
func (c *checker) checkSASLSocket(conf *maincf.Config, s *mastercf.Service) {
	path := strings.TrimPrefix(c.value(conf, "smtpd_sasl_path"), "unix:")
	if c.value(conf, "smtpd_sasl_type") != "dovecot" || path == "" || strings.HasPrefix(path, "inet:") {
		return
	}
	where := ", below the queue directory"
	if strings.HasPrefix(path, "/") {
		where = ""
	}
	if _, err := os.Stat(path); err != nil {
		c.add(at(conf, "smtpd_sasl_path", c.mainFile(), Finding{Severity: Warning, Service: s.Key(),
			Message: fmt.Sprintf("smtpd_sasl_path: %s%s: %v", path, where, reason(err)),
			Remedy:  "start Dovecot, with a unix_listener at this place in its service auth"}))
	}
}
