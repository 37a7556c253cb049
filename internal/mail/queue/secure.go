package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/mail/queue/journal"
	"postern/internal/mail/record"
)

// New messages are brought to stable storage by a journal, several together.
// The queue looks at every moment as if each had been synced by itself: the
// file is there, complete, under its id. What is different is what a crash of
// the machine may leave of the last seconds' files; Recover makes that good.

// journalDir is where the journal is. Like "spare" it is no queue.
const journalDir = "journal"

// The letters by which entries name the queue of their message.
const (
	inIncoming = 'I'
	inHold     = 'H'
)

// journalMax is the size of the largest message that goes by the journal: it is
// written twice, and with large ones the disk has enough to do with each.
const journalMax = 128 << 10

// journaled says whether messages of the queue go by the journal.
func (s *Store) journaled(q Name) bool { return s.journal != nil && (q == Incoming || q == Hold) }

// enter brings a message to stable storage by the journal.
func (s *Store) enter(q Name, id ID, made time.Time, whole []byte) error {
	e := journal.Entry{Queue: inIncoming, ID: string(id), Made: made.UnixNano(), Body: whole}
	if q == Hold {
		e.Queue = inHold
	}
	return s.journal.Append(e)
}

// noteDone says in the journal that the message is going to be removed: it is
// not restored. Where that cannot be written, on a full disk, the message is
// removed nevertheless; at worst it is delivered again after a crash of the
// machine, as any message whose removal had not reached the disk.
func (s *Store) noteDone(q Name, id ID) {
	if s.done != nil && q.holdsMessages() && q != Maildrop {
		s.done.Add(string(id))
	}
}

// renamed brings a message's new name to stable storage before the journal
// forgets the old id.
func (s *Store) renamed(from Name, id ID, name string) error {
	if s.done == nil || !from.holdsMessages() || from == Maildrop {
		return nil
	}
	err := s.syncFile(name)
	if err == nil {
		err = s.syncDir(name)
	}
	if err != nil {
		return err
	}
	return s.done.Add(string(id))
}

func (s *Store) syncFile(name string) error {
	dir, err := s.base()
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Fsync(fd)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("sync queue file %s: %w", name, err)
	}
	return nil
}

// syncDir brings to stable storage the directory of the file at name, and that
// directory's own name.
func (s *Store) syncDir(name string) error {
	for name = path.Dir(name); name != "."; name = path.Dir(name) {
		if err := s.syncFile(name); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a message of the journal is looked for that is neither
// in a queue nor done: it may just be on its way from queue to queue.
const patience = time.Minute

// messageQueues are where a message may be, in the order in which it moves.
var messageQueues = [...]Name{Incoming, Active, Deferred, Hold, Active, Incoming, Deferred}

// Settle brings to stable storage the files of messages that stay in the queue,
// and removes what the journal has of them. It is called every second or so by
// whoever keeps the queue, and by a process that ends.
func (s *Store) Settle() error {
	if s.done == nil {
		return nil
	}
	if err := s.done.Sync(); err != nil {
		return err
	}
	oldest := s.now() // of the segments that stay
	segments, inUse, err := s.journalDir.Segments()
	if err != nil {
		return fmt.Errorf("read queue journal: %w", err)
	}
	if !inUse.IsZero() && inUse.Before(oldest) {
		oldest = inUse
	}
	var errs []error
	for _, seg := range segments {
		settled := false
		if !seg.Stale { // Recover has to do with it
			settled, err = s.settle(seg)
			errs = append(errs, err)
		}
		if settled {
			errs = append(errs, seg.Remove())
		} else if seg.Since.Before(oldest) {
			oldest = seg.Since
		}
		seg.Close()
	}
	errs = append(errs, s.journalDir.Forget(oldest.Add(-slack)))
	return errors.Join(errs...)
}

// Finish is Settle for a process that ends: what it has in the journal, too, is
// settled.
func (s *Store) Finish() error {
	if s.journal == nil {
		return nil
	}
	return errors.Join(s.journal.Close(), s.Settle(), s.done.Close())
}

// slack is by how much clocks of processes may seem to differ.
const slack = 2 * time.Second

// settle says whether every message of the segment is done or on stable
// storage.
func (s *Store) settle(seg *journal.Segment) (bool, error) {
	done, err := s.journalDir.Done(seg.Since.Add(-slack))
	if err != nil {
		return false, fmt.Errorf("read queue journal: %w", err)
	}
	dirs := make(map[string]bool)
	for e, err := range seg.Heads() {
		if err != nil {
			return false, fmt.Errorf("read queue journal: %w", err)
		}
		if done.Has(e) {
			continue
		}
		name, err := s.syncMessage(ID(e.ID))
		if errors.Is(err, fs.ErrNotExist) {
			if s.now().Sub(seg.Since) < patience {
				return false, nil // done meanwhile: the list will tell
			}
			continue
		}
		if err != nil {
			return false, err
		}
		dirs[path.Dir(name)] = true
	}
	for dir := range dirs {
		if err := s.syncDir(dir + "/"); err != nil {
			return false, err
		}
	}
	return true, nil
}

// syncMessage syncs a message's file wherever it is, and returns its path.
func (s *Store) syncMessage(id ID) (string, error) {
	if _, err := ParseID(string(id)); err != nil {
		return "", err
	}
	for _, q := range messageQueues {
		name := s.Path(q, id)
		if err := s.syncFile(name); !errors.Is(err, fs.ErrNotExist) {
			return name, err
		}
	}
	return "", fs.ErrNotExist
}

// Recover restores what a crash of the machine has taken from messages that
// were accepted shortly before. It is called before anything else is done with
// the queue; report tells what it has found.
func (s *Store) Recover(report func(format string, args ...any)) error {
	if s.done == nil {
		return nil
	}
	segments, _, err := s.journalDir.Segments()
	if err != nil {
		return fmt.Errorf("read queue journal: %w", err)
	}
	defer func() {
		for _, seg := range segments {
			seg.Close()
		}
	}()
	var done journal.IDs
	for _, seg := range segments {
		if !seg.Stale {
			continue
		}
		if done == nil {
			if done, err = s.journalDir.Done(segments[0].Since.Add(-slack)); err != nil {
				return fmt.Errorf("read queue journal: %w", err)
			}
		}
		if err := s.recoverSegment(seg, done, report); err != nil {
			return err
		}
	}
	return nil
}

// A recovery is a message of the journal that is in the queue, but perhaps not
// yet on stable storage.
type recovery struct {
	name    string // of its file
	damaged string // file that it replaces, "" when there is none
}

func (s *Store) recoverSegment(seg *journal.Segment, done journal.IDs, report func(format string, args ...any)) error {
	var list []recovery
	for e, err := range seg.Entries() {
		if err != nil {
			return fmt.Errorf("read queue journal: %w", err)
		}
		if done.Has(e) {
			continue
		}
		r, err := s.recover(e, report)
		if err != nil {
			return err
		}
		if r.name != "" {
			list = append(list, r)
		}
	}
	dirs := make(map[string]bool)
	for _, r := range list {
		if err := s.syncFile(r.name); err != nil {
			return err
		}
		dirs[path.Dir(r.name)] = true
	}
	for dir := range dirs {
		if err := s.syncDir(dir + "/"); err != nil {
			return err
		}
	}
	for _, r := range list {
		if r.damaged == "" {
			continue
		}
		if err := s.removePath(r.damaged, Incoming, ""); err != nil {
			return err
		}
	}
	return seg.Remove()
}

// recover makes sure that the message of an entry is in the queue.
func (s *Store) recover(e journal.Entry, report func(format string, args ...any)) (recovery, error) {
	id, err := ParseID(e.ID)
	if err != nil {
		return recovery{}, nil
	}
	var r recovery
	q, f, err := s.findOpen(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return r, err
	case q == Corrupt: // it was looked at, and moved there
		return r, f.Close()
	default:
		name := s.Path(q, id)
		same, err := f.holds(e.Body)
		f.Close()
		if err == nil && same {
			r.name = name
			return r, nil
		}
		report("%s: file in queue %s is damaged", id, q)
		r.damaged = name
	}
	to := Incoming
	if e.Queue == inHold {
		to = Hold
	}
	newID, err := s.restore(to, e.Body)
	if err == nil {
		r.name = s.Path(to, newID)
		report("%s: restored from the journal as %s", id, newID)
	}
	return r, err
}

func (s *Store) findOpen(id ID) (Name, *File, error) {
	for _, q := range [...]Name{Incoming, Active, Deferred, Hold, Corrupt} {
		f, err := s.OpenRead(q, id)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return q, f, err
		}
	}
	return "", nil, fs.ErrNotExist
}

// holds says whether the file is the message body, apart from what the queue
// manager and delivery agents change in place: recipients that are done, and
// the time of a warning.
func (f *File) holds(body []byte) (bool, error) {
	if !f.info.Ready() || f.info.Size != int64(len(body)) {
		return false, nil
	}
	got := make([]byte, len(body))
	if _, err := preadFull(f.fd, got, 0); err != nil {
		return false, err
	}
	if bytes.Equal(got, body) {
		return true, nil
	}
	for i, c := range got {
		switch b := body[i]; {
		case c == b:
		case b == byte(record.Rcpt) && c == byte(record.Done):
		case (b >= '0' && b <= '9' || b == ' ') && (c == '0' || c == ' '):
		default:
			return false, nil
		}
	}
	return true, nil
}

// restore makes a message of body.
func (s *Store) restore(q Name, body []byte) (ID, error) {
	dir, err := s.base()
	if err != nil {
		return "", err
	}
	fd, temp, err := s.createTemp(dir, q)
	if err != nil {
		return "", fmt.Errorf("restore message: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	id := ID("")
	if _, err = pwriteFull(fd, body, 0); err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil {
		id = newID(s.now(), st.Ino, s.cfg.LongIDs)
		err = s.renamePath(temp, q, id)
	}
	if err == nil {
		temp = s.Path(q, id)
		err = unix.Fchmod(fd, modeReady)
	}
	if err != nil {
		unix.Unlinkat(dir, temp, 0)
		return "", fmt.Errorf("restore message: %w", err)
	}
	return id, nil
}
