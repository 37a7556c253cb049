package smtpd

import (
	"reflect"

	"postern/internal/service"
)

// openStressed prepares the server of sessions that begin under stress: this
// one with the parameters that it has then, and with whatever they change
// opened anew. Postfix: a new process with "-o stress=yes".
func (s *Server) openStressed(e *service.Env) error {
	if e.StressCommon == nil {
		return nil
	}
	t := *s
	t.conf, t.common = s.stressConf, e.StressCommon
	t.stress = func() bool { return true }
	own := *e
	own.Common, own.Stress = t.common, t.stress
	own.Config = e.Config.Override("stress", "yes", "the stress state")
	common := *t.common
	common.Stress = s.common.Stress
	now, then := s.conf.opened(), t.conf.opened()
	steps := []func(*service.Env) error{t.openWords}
	if !reflect.DeepEqual(now, then) || common != *s.common {
		t.filter, t.sasl, t.commandFilter, t.proxied, t.milters = nil, nil, nil, false, milterServer{}
		steps = append(steps, t.openClients, t.openLists, t.openFilter, t.openSASL, t.openMilters)
	}
	if !reflect.DeepEqual(now.TLS, then.TLS) {
		steps = append(steps, t.openTLS)
	}
	for _, step := range append(steps, t.openPolicy) {
		if err := step(&own); err != nil {
			return err
		}
	}
	s.stressed = &t
	return nil
}

// opened is what files, tables and services are opened for: the parameters
// without those that only sessions read, and without the restrictions.
func (c Config) opened() Config {
	c.Restrict = (Config{}).Restrict
	c.TLS.StartTimeout, c.TLS.Keys.Chains = 0, nil // Chains is made when it is opened
	c.Banner, c.RejectFooter = "", ""
	c.Timeout, c.PerRequestDeadline, c.MinDataRate = 0, false, 0
	c.SoftErrorLimit, c.HardErrorLimit, c.ErrorSleepTime, c.JunkCommandLimit = 0, 0, 0, 0
	c.RecipientLimit, c.RecipientOvershootLimit = 0, 0
	return c
}
