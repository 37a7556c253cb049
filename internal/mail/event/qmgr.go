package event

import "fmt"

// A QueueActive is a message that the queue manager begins to deliver.
type QueueActive struct {
	QueueID    string `json:"queue_id"`
	Sender     string `json:"sender"`
	Size       int64  `json:"size"`
	Recipients int    `json:"recipients"`
}

// Kind is "queue.active".
func (e *QueueActive) Kind() string { return "queue.active" }

// Text is Postfix's line.
func (e *QueueActive) Text() string {
	return fmt.Sprintf("%s: from=<%s>, size=%d, nrcpt=%d (queue active)", e.QueueID, e.Sender, e.Size, e.Recipients)
}

// A QueueRemoved is a message that is done.
type QueueRemoved struct {
	QueueID string `json:"queue_id"`
}

// Kind is "queue.removed".
func (e *QueueRemoved) Kind() string { return "queue.removed" }

// Text is Postfix's line.
func (e *QueueRemoved) Text() string { return e.QueueID + ": removed" }

// A QueueExpired is a message that is returned after too long a time.
type QueueExpired struct {
	QueueID string `json:"queue_id"`
	Sender  string `json:"sender"`
	Forced  bool   `json:"forced"` // by the administrator
}

// Kind is "queue.expired".
func (e *QueueExpired) Kind() string { return "queue.expired" }

// Text is Postfix's line.
func (e *QueueExpired) Text() string {
	status := "expired"
	if e.Forced {
		status = "force-expired"
	}
	return fmt.Sprintf("%s: from=<%s>, status=%s, returned to sender", e.QueueID, e.Sender, status)
}
