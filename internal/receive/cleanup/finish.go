package cleanup

import (
	"time"

	"postern/internal/ipc/bounce"
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/dsn"
	"postern/internal/mail/envelope"
	"postern/internal/mail/event"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// finish decides what becomes of the message: it is in the queue and on stable
// storage, or it is gone.
func (t *transaction) finish() (ipc.Status, string) {
	if t.ok() {
		if !t.seenRcpt {
			t.errs |= ipc.StatusRecipients
		}
		if !t.endSeen {
			t.errs |= ipc.StatusBad
		}
	}
	if t.ok() && t.errs == 0 {
		t.putSizes()
		t.askMilters()
	}
	discard := t.flags&ipc.FlagDiscard != 0
	if discard {
		t.errs = 0
	}
	if t.ok() && !discard {
		t.putSizes()
	}
	if t.errs != 0 && t.errs&ipc.MaskCannotBounce == 0 && t.seenSender && t.flags&ipc.FlagBounce != 0 {
		discard = t.bounceAll()
	}
	if t.errs == 0 && !discard {
		t.commit()
	}
	if !t.queued {
		t.discarded(discard)
	}
	return t.errs, t.reason
}

// putSizes fills in the size record.
func (t *transaction) putSizes() {
	sizes := record.Sizes{
		Content:       t.contentEnd - t.contentOff,
		ContentOffset: t.contentOff,
		Recipients:    t.rcptCount,
		Flags:         t.qmgrFlags,
		Length:        t.contentEnd - t.contentOff + t.layout.delta,
		SendOpts:      t.sendOpts,
	}
	t.line = record.Append(t.line[:0], record.Size, string(sizes.Append(nil)))
	_, err := t.draft.WriteAt(t.line, 0)
	t.written(err)
}

// commit is the promise: after it the message is not lost.
func (t *transaction) commit() {
	if t.flags&ipc.FlagHold != 0 {
		t.draft.Queue = queue.Hold
	}
	if err := t.draft.Commit(); err != nil {
		t.s.log.Warningf("%s: %v", t.id, err)
		t.errs |= ipc.StatusWrite
		return
	}
	t.queued = true
}

// discarded removes what cleanup has done for a message that is not queued.
func (t *transaction) discarded(onPurpose bool) {
	if t.expanded {
		// Nothing came of the message, so nothing is reported about it.
		t.s.store.Remove(queue.Trace, t.draft.ID())
	}
	t.cancel()
	if onPurpose {
		t.s.log.Event(&event.Discarded{QueueID: t.id})
	} else {
		t.s.log.Event(&event.Canceled{QueueID: t.id})
	}
}

// bounceAll returns the message to its sender and says whether that was done;
// then it is as if the message had been accepted.
func (t *transaction) bounceAll() bool {
	d := t.errs.Detail()
	res := dsn.Make(dsn.Status(d.DSN), d.Text)
	if t.reason != "" {
		res = dsn.Split(res.Status, t.reason)
	}
	err := t.completeFile()
	if err == nil {
		err = t.bounceRecipients(res)
	}
	if err == nil {
		if t.errs&ipc.StatusContent != 0 {
			t.retFlags = retHeaders // Postfix: bad content is not sent back
		}
		err = t.s.bounce.Flush(t.bounded(), t.bounceMessage(), bounce.FlagClean)
	}
	if err != nil {
		t.s.log.Warningf("%s: bounce message failure: %v", t.id, err)
		t.errs |= ipc.StatusWrite
		return false
	}
	t.errs = 0
	return true
}

// retHeaders is RET=HDRS (RFC 3461).
const retHeaders = 2

// completeFile makes a file of what was written before it became too large, so
// that the notice can quote it.
func (t *transaction) completeFile() error {
	if t.errs&ipc.MaskIncomplete != 0 {
		if t.segment == inEnvelope {
			t.w.Put(record.Mesg, nil)
			t.contentOff = t.w.Offset()
		}
		if t.segment != inExtracted {
			t.contentEnd = t.w.Offset()
			t.w.Put(record.Xtra, nil)
		}
		if !t.endSeen {
			t.w.Put(record.End, nil)
		}
		t.putSizes()
	}
	return t.draft.Flush()
}

// bounceRecipients records for each recipient that is in the file, or else for
// the last one known, that it cannot be delivered to.
func (t *transaction) bounceRecipients(res dsn.Result) error {
	if t.errs&ipc.MaskIncomplete == 0 && t.rcptCount > 0 {
		e, err := envelope.Read(t.draft, bounceStep)
		for ; err == nil; err = e.More(t.draft, bounceStep) {
			for i := range e.Recipients {
				r := &e.Recipients[i]
				if err := t.bounceOne(bounce.Recipient{
					Address: r.Address, OrigAddr: r.Orig, Offset: r.Offset, DSNOrigRcpt: r.DSNOrig, Notify: r.Notify,
				}, res); err != nil {
					return err
				}
			}
			if e.Next == 0 {
				return nil
			}
		}
		return err
	}
	rcpt := "unknown"
	if t.seenRcpt {
		rcpt = t.rcpt
	}
	return t.bounceOne(bounce.Recipient{Address: rcpt, OrigAddr: t.origRcpt}, res)
}

// bounceStep is how many recipients are read at a time.
const bounceStep = 100

func (t *transaction) bounceOne(r bounce.Recipient, res dsn.Result) error {
	if err := t.s.bounce.Append(t.bounded(), t.draft.ID(), bounce.FlagClean, r, res); err != nil {
		return err
	}
	age := event.Seconds(max(0, t.s.now().Sub(t.arrivalTime())))
	orig := ""
	if r.OrigAddr != r.Address {
		orig = t.logAddress(r.OrigAddr)
	}
	t.s.log.Event(&event.Delivery{
		QueueID: t.id, Recipient: t.logAddress(r.Address), OrigTo: orig, Relay: "none",
		Delay: age, Delays: [4]event.Seconds{age}, DSN: string(res.Status), Status: "bounced",
		Reason: res.Reason, Digits: t.s.common.DelayLoggingResolutionLimit,
	})
	return nil
}

func (t *transaction) arrivalTime() time.Time {
	if t.arrival.IsZero() {
		return t.s.now()
	}
	return t.arrival
}
