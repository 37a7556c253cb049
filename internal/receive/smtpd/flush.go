package smtpd

import (
	"errors"

	"postern/internal/ipc/flush"
)

// flush has the mail for a site sent (ETRN, RFC 1985).
func (s *session) flush(site string) outcome {
	err := flush.Ask(s.ctx, s.flushService, flush.Request{Kind: flush.SendSite, Site: site})
	switch {
	case err == nil:
		return say(ok(250, "", "Queuing started"))
	case errors.Is(err, flush.ErrBad):
		s.log.Warningf("bad ETRN %.100s... from %s", site, s.subject.LogClient)
		return say(ok(458, "", "Unable to queue messages"))
	case errors.Is(err, flush.ErrDenied):
		s.log.Warningf("reject: ETRN %.100s... from %s", site, s.subject.LogClient)
		return say(ok(459, "", "<"+site+">: service unavailable"))
	}
	s.log.Warningf("ETRN %.100s: %v", site, err)
	return say(ok(458, "", "Unable to queue messages"))
}
