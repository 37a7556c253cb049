package smtpd

import (
	"slices"

	"postern/internal/mail/event"
)

// maxJudged bounds what is remembered for the end of a session.
const maxJudged = 100

// judged remembers what has let a command pass, for the event at the end of
// the session. The first recipient's trail is in the event of its message;
// text logs have no place for the others.
func (s *session) judged(recipient string) {
	if s.common.MaillogFormat != "json" || len(s.subject.Trail) == 0 || len(s.passed) >= maxJudged {
		return
	}
	s.passed = append(s.passed, event.Judgement{QueueID: s.queueID(), Stage: s.where, Recipient: recipient, Trail: slices.Clone(s.subject.Trail)})
}
