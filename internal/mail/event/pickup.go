package event

import "strconv"

// A Pickup is a local message on its way from maildrop to the queue.
type Pickup struct {
	QueueID string `json:"queue_id"`
	UID     uint32 `json:"uid"`
	Sender  string `json:"sender"`            // as it is logged, info_log_address_format
	OrigID  string `json:"orig_id,omitempty"` // of a message that postsuper -r has put back
}

// Kind is "pickup".
func (p *Pickup) Kind() string { return "pickup" }

// Text is Postfix's line.
func (p *Pickup) Text() string {
	s := p.QueueID + ": uid=" + strconv.FormatUint(uint64(p.UID), 10) + " from=<" + p.Sender + ">"
	if p.OrigID != "" {
		s += " orig_id=" + p.OrigID
	}
	return s
}
