package smtpd

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"

	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/submit"
	"postern/internal/mail/record"
)

// A queueFile takes the records of a message: cleanup's, or that of postdrop
// for a user who speaks SMTP on standard input ("sendmail -bs") and may not
// talk to cleanup.
type queueFile interface {
	ID() string
	Records() *record.Writer
	// Finish waits until the message is on stable storage or refused.
	Finish(ctx context.Context) (cleanup.Status, string, error)
	Close() error
}

func (s *session) newQueueFile(flags cleanup.Flags) (queueFile, error) {
	if s.standAlone {
		cmd := exec.Command(filepath.Join(s.common.CommandDirectory, "postdrop"), "-r")
		cmd.Args[0] = "postdrop"
		child, err := submit.Start(cmd)
		if err != nil {
			return nil, err
		}
		return dropFile{child}, nil
	}
	q, err := s.cleanup.Open(s.ctx, flags)
	if err != nil {
		return nil, err
	}
	if q.QueueID == "" {
		q.Close()
		return nil, errors.New("cleanup cannot create a queue file")
	}
	return cleanupFile{q}, nil
}

type cleanupFile struct{ *cleanup.Session }

func (f cleanupFile) ID() string              { return f.QueueID }
func (f cleanupFile) Records() *record.Writer { return f.W }

type dropFile struct{ *submit.Child }

func (f dropFile) ID() string              { return f.QueueID }
func (f dropFile) Records() *record.Writer { return f.W }

// Finish translates postdrop's answer; its numbers are cleanup's.
func (f dropFile) Finish(context.Context) (cleanup.Status, string, error) {
	result, err := f.Child.Finish()
	return cleanup.Status(result.Status), result.Reason, err
}

// dropEnvelope writes what postdrop takes of the envelope.
func (s *session) dropEnvelope(w *record.Writer) {
	if s.tx.envelopeID != "" {
		w.Attr("envelope_id", s.tx.envelopeID)
	}
	if s.tx.ret != "" {
		w.Attr("ret_flags", retFlags[s.tx.ret])
	}
	w.PutString(record.Sender, s.tx.sender)
	if s.tx.encoding != "" {
		w.Attr("encoding", s.tx.encoding)
	}
}
