package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lists of what is done are named by their time, in slots, so that old ones can
// be removed whole. Every process appends to them.
const (
	donePrefix = "done."
	slot       = 4 * time.Second
)

// A Done is where this process writes what is done. Its methods may be called
// from several goroutines.
type Done struct {
	dir Dir

	mu    sync.Mutex
	f     *os.File
	slot  int64
	line  []byte
	dirty bool
}

// NewDone returns the list in the directory.
func NewDone(dir Dir) *Done { return &Done{dir: dir} }

// Add notes that the entry of the message counts for nothing from now on. It
// is written, and brought to stable storage by Sync; where there is no journal
// it does nothing.
func (d *Done) Add(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if err := d.open(now); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("note in queue journal: %w", err)
	}
	d.line = strconv.AppendInt(append(append(d.line[:0], id...), ' '), now.UnixNano(), 10)
	d.line = append(d.line, '\n')
	if _, err := d.f.Write(d.line); err != nil {
		return fmt.Errorf("note in queue journal: %w", err)
	}
	d.dirty = true
	return nil
}

func (d *Done) open(now time.Time) error {
	n := now.UnixNano() / int64(slot)
	if d.f != nil && d.slot == n {
		return nil
	}
	f, err := os.OpenFile(d.dir.path+"/"+donePrefix+strconv.FormatInt(n, 10), os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if d.f != nil {
		if d.dirty {
			unix.Fdatasync(int(d.f.Fd()))
		}
		d.f.Close()
	}
	d.f, d.slot = f, n
	return nil
}

// Sync brings to stable storage what this process has noted.
func (d *Done) Sync() error {
	d.mu.Lock()
	f, dirty := d.f, d.dirty
	d.dirty = false
	d.mu.Unlock()
	if !dirty {
		return nil
	}
	// The file may be closed meanwhile: then it was synced.
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("sync queue journal: %w", err)
	}
	return nil
}

// Close closes the list.
func (d *Done) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.f == nil {
		return nil
	}
	err := d.f.Close()
	d.f = nil
	return err
}

// IDs are what is done: when that was noted last, in nanoseconds since 1970.
type IDs map[string]int64

// Has says whether the message of an entry is done. Short ids, and with them those
// of files that are used again, come back after some time: what was noted before
// the message was made is about another one.
func (ids IDs) Has(e Entry) bool {
	noted, ok := ids[e.ID]
	return ok && noted >= e.Made
}

// Done returns the ids that are done, noted at since or later.
func (d Dir) Done(since time.Time) (IDs, error) {
	ids := make(IDs)
	err := d.lists(func(name string, end time.Time) error {
		if end.Before(since) {
			return nil
		}
		f, err := os.OpenFile(d.path+"/"+name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return readIDs(f, ids)
	})
	return ids, err
}

// readIDs adds the lines of r. A line without end was being written.
func readIDs(r io.Reader, ids IDs) error {
	lines := bufio.NewReaderSize(r, 4096)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			id, number, _ := bytes.Cut(line[:len(line)-1], []byte{' '})
			if noted, err := strconv.ParseInt(string(number), 10, 64); err == nil {
				ids[string(id)] = max(ids[string(id)], noted)
			}
		case err == io.EOF:
			return nil
		case err != bufio.ErrBufferFull: // no id is that long
			return err
		}
	}
}

// Forget removes the lists that ended before the time; no entry is older. Of
// files that wait to be used again it removes those that have waited for long.
func (d Dir) Forget(before time.Time) error {
	err := d.lists(func(name string, end time.Time) error {
		if !end.Before(before) {
			return nil
		}
		return os.Remove(d.path + "/" + name)
	})
	return errors.Join(err, d.forgetOld(time.Now().Add(-maxWait)))
}

// maxWait is how long a file may wait to be used again: old mail is in it.
const maxWait = 30 * time.Second

func (d Dir) forgetOld(before time.Time) error {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), oldPrefix) {
			continue
		}
		if info, err := e.Info(); err != nil || info.ModTime().After(before) {
			continue
		}
		if err := os.Remove(d.path + "/" + e.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return err
}

// lists calls f for each list with the end of its time.
func (d Dir) lists(f func(name string, end time.Time) error) error {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), donePrefix)
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil {
			continue
		}
		if err := f(e.Name(), time.Unix(0, (n+1)*int64(slot))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
