package cleanup

import (
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/record"
)

// beginExtracted writes the marker.
func (t *transaction) beginExtracted() {
	t.segment = inExtracted
	t.put(record.Xtra, nil)
}

// extractedRecord takes a record of the third segment: recipients that the
// client found in the header.
func (t *transaction) extractedRecord(typ record.Type, data []byte) {
	if !oneOf(extractedTypes, typ) {
		t.bad("unexpected record type %d in extracted envelope", typ)
		return
	}
	mapped, value, ok := t.before(typ, data, extractedRcpt)
	if !ok {
		return
	}
	switch {
	case t.recipientRecord(typ, mapped, data, value):
	case typ == record.End:
		t.inRcpt, t.endSeen = false, true
		t.endExtracted()
	case typ == record.RRTo || typ == record.ErrTo || typ == record.Prio || typ == record.Redirect || typ == record.Killed:
	case typ == record.Attr && !t.attribute(data):
	default:
		if t.inRcpt {
			t.qmgrFlags |= record.MixedRecipients
		}
		t.put(typ, data)
	}
}

// endExtracted adds the recipients of our own and ends the file.
func (t *transaction) endExtracted() {
	if t.seenRcpt {
		if t.s.config.AlwaysBCC != "" && t.flags&ipc.FlagBCC != 0 {
			t.observe(envelopeRecipient, "always_bcc", "", t.s.config.AlwaysBCC)
			t.addBCC(t.s.config.AlwaysBCC)
		}
		if t.ok() {
			for _, addr := range t.bcc {
				t.addBCC(addr)
			}
		}
	}
	t.markMeta()
	t.put(record.End, nil)
}
