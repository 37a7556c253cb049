package event

import "fmt"

// A Notification is a report that was sent on a message.
type Notification struct {
	QueueID string `json:"queue_id"`
	Notice  string `json:"notice"` // "sender non-delivery", "postmaster delay", "sender delivery status", …
	NewID   string `json:"new_queue_id"`
}

// Kind is "bounce.notification".
func (e *Notification) Kind() string { return "bounce.notification" }

// Text is Postfix's line.
func (e *Notification) Text() string {
	return fmt.Sprintf("%s: %s notification: %s", e.QueueID, e.Notice, e.NewID)
}
