package bounce

import (
	"errors"
	"io/fs"

	"postern/internal/mail/envelope"
	"postern/internal/mail/queue"
)

// An original is the queue file of the message that a report is about.
type original struct {
	*queue.File
	env *envelope.Envelope
}

// look opens the message. A report is sent without it, too, because the log is
// what the sender must know.
func (s *Server) look(sub *subject) (done func()) {
	f, err := s.store.Open(sub.QueueName, sub.QueueID)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warningf("%s: %v", sub.QueueID, err)
		}
		return func() {}
	}
	env, err := envelope.Read(f, 1)
	if err != nil {
		s.log.Warningf("%s: %v", sub.QueueID, err)
	}
	if env.Sizes.ContentOffset > 0 {
		sub.file = &original{File: f, env: env}
	}
	return func() { f.Close() }
}
