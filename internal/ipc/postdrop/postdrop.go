// Package postdrop is what sendmail and the set-gid program postdrop say to
// each other over postdrop's standard input and output.
//
// postdrop begins with its protocol and the queue id of the file that it has
// made in maildrop. The caller sends the records of the message up to End;
// when it closes before that, the message is given up. postdrop ends with a
// status: zero promises that the message is on stable storage.
package postdrop

import (
	"fmt"

	"postern/internal/ipc/attr"
)

// Protocol is what postdrop announces.
const Protocol = "postdrop_protocol"

// A Status is the sum of what went wrong; zero is success. Postfix: the
// numbers are those of the cleanup protocol.
type Status int

// The statuses that postdrop gives.
const (
	StatusBad    Status = 1   // the records are not acceptable
	StatusWrite  Status = 2   // the file could not be written
	StatusSize   Status = 4   // larger than message_size_limit
	StatusNoPerm Status = 512 // the user may not use this sender
)

// A Start is the first list that postdrop sends.
type Start struct {
	QueueID string
}

// Attrs are "protocol" and "queue_id".
func (m *Start) Attrs(c *attr.Codec) {
	protocol := Protocol
	c.Str("protocol", &protocol)
	c.Str("queue_id", &m.QueueID)
	c.End()
	if c.Err() == nil && protocol != Protocol {
		c.Fail(fmt.Errorf("peer speaks protocol %.100q, not %q", protocol, Protocol))
	}
}

// A Result is the last list that postdrop sends.
type Result struct {
	Status Status
	Reason string
}

// Attrs are "status" and "reason".
func (m *Result) Attrs(c *attr.Codec) {
	c.Int("status", (*int)(&m.Status))
	c.Str("reason", &m.Reason)
	c.End()
}
