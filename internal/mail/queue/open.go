package queue

import "postern/internal/config/param"

// Open returns the queue of the instance that c describes. It opens the queue
// directory at once, so that a later chroot does not matter; a directory that
// cannot be opened is an error of every use.
func Open(c *param.Common) *Store {
	s := New(Config{
		Dir:       c.QueueDirectory,
		HashNames: param.Split(c.HashQueueNames),
		HashDepth: c.HashQueueDepth,
		LongIDs:   c.EnableLongQueueIDs,
		Journal:   c.QueueJournal,
	})
	s.Prepare()
	return s
}
