package qshape

import (
	"io"
	"os"
	"syscall"
	"time"

	"postern/internal/mail/envelope"
	"postern/internal/mail/record"
)

// A message is what is counted of one.
type message struct {
	arrival   time.Time
	addresses []string // those to do, or the sender
}

// portion is how many recipients are read at a time.
const portion = 1000

// read reads a queue file; ok is false for what is no complete message.
func read(path string, sender bool) (m message, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return m, false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o733 != 0o700 {
		return m, false
	}
	first := record.NewFileReader(f, 0)
	t, _, err := first.Next()
	switch {
	case err != nil:
		return m, false
	case t == record.Size:
		return readQueued(f, sender)
	case t == record.Sender || t == record.FullName:
		return readDropped(f, st.ModTime(), sender)
	}
	return m, false
}

// readQueued reads a message that cleanup has written.
func readQueued(f io.ReaderAt, sender bool) (m message, ok bool) {
	e, err := envelope.Read(f, portion)
	if err != nil || !e.SeenSender || len(e.Recipients) == 0 {
		return m, false
	}
	m.arrival = e.Arrival
	if sender {
		m.addresses = []string{e.Sender}
		return m, true
	}
	for {
		for _, r := range e.Recipients {
			m.addresses = append(m.addresses, r.Address)
		}
		if e.Next == 0 {
			return m, true
		}
		if e.More(f, portion) != nil {
			return m, false
		}
	}
}

// readDropped reads a message of the maildrop queue, which has no time of its
// own.
func readDropped(f io.ReaderAt, arrival time.Time, sender bool) (m message, ok bool) {
	m.arrival = arrival
	from, seen := "", false
	r := record.NewFileReader(f, 0)
	for {
		t, data, err := r.Next()
		if err != nil {
			return m, false
		}
		switch t {
		case record.Sender:
			from, seen = string(data), true
		case record.Rcpt:
			m.addresses = append(m.addresses, string(data))
		case record.End:
			if sender {
				return message{arrival, []string{from}}, seen && len(m.addresses) > 0
			}
			return m, seen && len(m.addresses) > 0
		}
	}
}
