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
// oldest first, and when the oldest of those in use was begun; zero when there is
// none.
func (d Dir) Segments() (left []*Segment, inUse time.Time, err error) {
	if d.boot == "" {
		return nil, inUse, nil
	}
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, inUse, nil
	}
	if err != nil {
		return nil, inUse, err
	}
	for _, e := range entries {
		since, ok := segmentTime(e.Name())
		if !ok {
			continue
		}
		s, used, err := d.openSegment(d.path+"/"+e.Name(), since)
		if err != nil {
			closeAll(left)
			return nil, inUse, err
		}
		if s != nil {
			left = append(left, s)
		} else if used && (inUse.IsZero() || since.Before(inUse)) {
			inUse = since
		}
	}
	sort.Slice(left, func(i, j int) bool { return left[i].Since.Before(left[j].Since) })
	return left, inUse, nil
}

func closeAll(segments []*Segment) {
	for _, s := range segments {
		s.Close()
	}
}

// openSegment returns nil for a segment that is in use or has just gone.
func (d Dir) openSegment(path string, since time.Time) (s *Segment, used bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, true, nil
		}
		return nil, false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink == 0 {
		f.Close()
		return nil, false, err
	}
	s = &Segment{Since: since, f: f, path: path}
	head := make([]byte, headerSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		f.Close()
		return nil, false, err
	}
	var boot string
	s.stamp, boot, s.valid = parseHeader(head[:n])
	s.Stale = !s.valid || boot != d.boot
	return s, false, nil
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

// Heads is Entries without the bodies.
func (s *Segment) Heads() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if !s.valid {
			return
		}
		var head [entryHead + maxID]byte
		for off := int64(headerSize); ; {
			n, err := s.f.ReadAt(head[:], off)
			if err != nil && err != io.EOF {
				yield(Entry{}, err)
				return
			}
			body, id, ok := lengths(head[:n], s.stamp)
			if !ok || entryHead+id > n {
				return
			}
			if !yield(parseHead(head[:entryHead+id]), nil) {
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
	e := parseHead(buf[:entryHead+id])
	e.Body = buf[entryHead+id:]
	return e, buf, nil
}

// parseHead takes an entry apart that ends before its body.
func parseHead(b []byte) Entry {
	return Entry{Queue: b[14], ID: string(b[entryHead:]), Made: int64(binary.LittleEndian.Uint64(b[15:]))}
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
