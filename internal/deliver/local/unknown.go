package local

import (
	"fmt"
	"strings"
)

// unknown ends a recipient that is neither an alias nor a user.
func (s state) unknown() bool {
	if s.seen.again("unknown " + s.local) {
		return true
	}
	if done, ok := s.byTransport(s.fallbackTransports, s.FallbackTransport); ok {
		return done
	}
	if s.LuserRelay != "" {
		relay, _, _, err := s.expand(s.LuserRelay, "")
		if err != nil {
			s.req.Log.Warningf("parameter luser_relay: %v", err)
			return s.misconfigured()
		}
		s.unmatched = ""
		s.into(StepRelay, relay)
		return s.resolve(relay)
	}
	if strings.EqualFold(s.user, "mailer-daemon") || strings.EqualFold(s.user, "postmaster") {
		// Notices to nobody must not cause further ones.
		s.req.Log.Warningf("required alias not found: %s", s.user)
		return s.sent("discarded")
	}
	return s.bounced("5.1.1", fmt.Sprintf("unknown user: \"%s\"", s.user))
}
