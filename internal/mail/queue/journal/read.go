package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// A Segment is one that no process writes to any more. Its lock is held until
// it is closed.
type Segment struct {
	Since time.Time // when it was begun
	// Stale says that another run of the machine wrote it: files that were not
	// synced may be missing or damaged.
	Stale bool

	f     *os.File
	path  string
	stamp uint32
	valid bool // the header could be read
}

// Segments returns the segments in the directory that nobody writes to, the
// oldest first, and the time of the oldest of all, those in use included; zero
// when there is none.
func (d Dir) Segments() (left []*Segment, oldest time.Time, err error) {
	if d.boot == "" {
		return nil, oldest, nil
	}
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, oldest, nil
	}
	if err != nil {
		return nil, oldest, err
	}
	for _, e := range entries {
		since, ok := segmentTime(e.Name())
		if !ok {
			continue
		}
		if oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
		s, err := d.openSegment(d.path+"/"+e.Name(), since)
		if err != nil {
			closeAll(left)
			return nil, oldest, err
		}
		if s != nil {
			left = append(left, s)
		}
	}
	sort.Slice(left, func(i, j int) bool { return left[i].Since.Before(left[j].Since) })
	return left, oldest, nil
}

func closeAll(segments []*Segment) {
	for _, s := range segments {
		s.Close()
	}
}

// openSegment returns nil for a segment that is in use or has just gone.
func (d Dir) openSegment(path string, since time.Time) (*Segment, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, nil
		}
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink == 0 {
		f.Close()
		return nil, err
	}
	s := &Segment{Since: since, f: f, path: path}
	head := make([]byte, headerSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		f.Close()
		return nil, err
	}
	var boot string
	s.stamp, boot, s.valid = parseHeader(head[:n])
	s.Stale = !s.valid || boot != d.boot
	return s, nil
}

// Entries lists the messages of the segment up to the first one that is not
// whole: nobody was told that it was taken. Bodies are valid until the next
// entry is asked for. An error is one of the system.
func (s *Segment) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if !s.valid {
			return
		}
		r := bufio.NewReaderSize(io.NewSectionReader(s.f, headerSize, 1<<62), 64<<10)
		var buf []byte
		for {
			e, b, err := readEntry(r, s.stamp, buf)
			buf = b
			if err == io.EOF || errors.Is(err, errBroken) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// IDs is Entries without the bodies.
func (s *Segment) IDs() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !s.valid {
			return
		}
		var head [entryHead + maxID]byte
		for off := int64(headerSize); ; {
			n, err := s.f.ReadAt(head[:], off)
			if err != nil && err != io.EOF {
				yield("", err)
				return
			}
			body, id, ok := lengths(head[:n], s.stamp)
			if !ok || entryHead+id > n {
				return
			}
			if !yield(string(head[entryHead:entryHead+id]), nil) {
				return
			}
			off += int64(entryHead + id + body)
		}
	}
}

var errBroken = errors.New("entry is not whole")

// lengths reads the head of an entry.
func lengths(head []byte, stamp uint32) (body, id int, ok bool) {
	if len(head) < entryHead || binary.LittleEndian.Uint32(head) != stamp {
		return 0, 0, false
	}
	n := binary.LittleEndian.Uint32(head[8:])
	id = int(binary.LittleEndian.Uint16(head[12:]))
	return int(n), id, n <= maxBody && id > 0 && id <= maxID
}

// readEntry reads one entry into buf, which it may replace by a larger one.
func readEntry(r *bufio.Reader, stamp uint32, buf []byte) (Entry, []byte, error) {
	head, err := r.Peek(entryHead)
	if err != nil {
		return Entry{}, buf, err // io.EOF also for a part of a head
	}
	body, id, ok := lengths(head, stamp)
	if !ok {
		return Entry{}, buf, errBroken
	}
	size := entryHead + id + body
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		return Entry{}, buf, err
	}
	if crc32.Checksum(buf[8:], castagnoli) != binary.LittleEndian.Uint32(buf[4:]) {
		return Entry{}, buf, errBroken
	}
	return Entry{Queue: buf[14], ID: string(buf[entryHead : entryHead+id]), Body: buf[entryHead+id:]}, buf, nil
}

// Remove removes the segment: its messages are on stable storage, or done. The
// file may be used again.
func (s *Segment) Remove() error {
	dir, name := filepath.Split(s.path)
	if err := os.Rename(s.path, dir+oldPrefix+name); err != nil {
		return fmt.Errorf("remove queue journal: %w", err)
	}
	return nil
}

// Close gives the segment's lock up.
func (s *Segment) Close() error { return s.f.Close() }
