package smtpd

import (
	"time"

	"postern/internal/protocol/smtp"
)

// complain is a reply that counts as an error.
func (s *session) complain(r smtp.Reply) {
	s.put(r)
	s.errors++
}

// put adds a reply to what is sent at the next chance. A client with many
// errors waits for each.
func (s *session) put(r smtp.Reply) {
	if s.subject.Hangup { // access(5): nothing is said any more
		s.end = true
		return
	}
	if s.errors >= s.conf.SoftErrorLimit && s.conf.ErrorSleepTime > 0 && !s.standAlone {
		s.write()
		s.sleep(s.ctx, s.conf.ErrorSleepTime)
	}
	if r.Code >= 400 {
		r = s.filterReject(r)
		s.addFooter(&r)
		if s.common.SoftBounce {
			r = softened(r)
		}
	}
	if hangsUp(r) {
		s.end = true
	}
	s.out = r.AppendTo(s.out)
	if len(s.out) > maxPending {
		s.write()
	}
}

// maxPending bounds the replies that wait.
const maxPending = 4096

// hangsUp says that a reply announces the end of the session.
func hangsUp(r smtp.Reply) bool { return r.Code == 421 || r.Code == 521 }

// write sends the replies that wait.
func (s *session) write() error {
	if len(s.out) == 0 {
		return nil
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.conf.Timeout))
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	if cap(s.out) > maxPending {
		s.out = nil
	}
	return err
}
