// Package journal is a log of new messages that is brought to stable storage
// for several messages at a time, so that their own files need not be.
//
// A directory holds segments and lists of what is done. A segment belongs to
// one process, which appends entries to it, each a message whole, and holds its
// lock; after a few seconds or megabytes it goes on with another one. Whoever
// keeps the queue then brings to stable storage the files of those messages
// that are still there, and removes the segment. An entry counts for nothing
// once its id stands in a list of what is done: the message was delivered,
// removed or renamed.
//
// After a crash of the machine the entries that count are compared with the
// files, and missing or damaged ones are restored. A process that dies leaves
// files that the system still has in full, and nothing has to be restored.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxAge and maxSegment are when a process goes on with another segment.
	maxAge     = 4 * time.Second
	maxSegment = 64 << 20
	// maxBatch bounds what waits to be written together; who comes then syncs
	// its own file.
	maxBatch = 8 << 20
)

// ErrFull says that so many messages wait that this one is better brought to
// stable storage by itself. Nothing was written.
var ErrFull = errors.New("too many messages wait for the journal")

// ErrUnusable says that there is no segment to write to. Nothing was written.
var ErrUnusable = errors.New("no journal")

// A Dir is the directory of a journal, as one run of the machine sees it.
type Dir struct {
	path string
	boot string // names the run of the machine; "": not known
}

// NewDir returns the directory at path. Where it cannot be told which run of
// the machine this is, there is no journal. A process that is going to lose
// sight of /proc calls it before.
func NewDir(path string) Dir {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) < 36 {
		return Dir{path: path}
	}
	return Dir{path, string(b[:36])}
}

// A Writer appends to the segments of this process. Its methods may be called
// from several goroutines.
type Writer struct {
	dir Dir

	mu     sync.Mutex
	turn   sync.Cond // busy has become false
	busy   bool      // a batch is being written
	next   *batch    // what is written after it
	seg    *segment
	closed bool
	retry  time.Time // when another segment may be tried after a failure
	fault  func() error
}

// A batch is what is written and synced together.
type batch struct {
	parts [][]byte // of each entry the head, which has no stamp yet, and the body
	size  int64
	done  chan struct{}
	err   error
}

// A segment is a file that is being written.
type segment struct {
	f     *os.File
	stamp uint32 // its entries have this
	size  int64
	since time.Time
}

// NewWriter returns a writer for the directory, which is used from the first
// Append on.
func NewWriter(dir Dir) *Writer {
	w := &Writer{dir: dir}
	w.turn.L = &w.mu
	return w
}

// SetFault makes every sync ask f first; it serves tests.
func (w *Writer) SetFault(f func() error) { w.fault = f }

// Append brings a message to stable storage: it returns when that is done. An
// error that is neither ErrFull nor ErrUnusable means that the message may or
// may not be found after a crash.
func (w *Writer) Append(e Entry) error {
	w.mu.Lock()
	b := w.next
	leader := b == nil
	switch {
	case w.closed || w.dir.boot == "":
		w.mu.Unlock()
		return ErrUnusable
	case leader:
		b = &batch{done: make(chan struct{})}
		w.next = b
	case b.size > maxBatch:
		w.mu.Unlock()
		return ErrFull
	}
	head := e.head()
	b.parts = append(b.parts, head, e.Body)
	b.size += int64(len(head) + len(e.Body))
	if !leader {
		w.mu.Unlock()
		<-b.done
		return b.err
	}
	// Messages that are about to come here, in goroutines that can run, share the
	// sync; without this each would make its own, since a sync lets nobody run for
	// most of its time where the process has one thread.
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	for w.busy {
		w.turn.Wait()
	}
	w.busy, w.next = true, nil
	w.mu.Unlock()
	b.err = w.write(b)
	w.release()
	close(b.done)
	return b.err
}

// release lets the next batch be written.
func (w *Writer) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	w.turn.Signal()
}

// write appends a batch to the segment and syncs. After a failure, what has
// become of the segment is not known: it is left.
func (w *Writer) write(b *batch) error {
	if err := w.open(time.Now()); err != nil {
		return err
	}
	for n := 0; n < len(b.parts); n += 2 {
		binary.LittleEndian.PutUint32(b.parts[n], w.seg.stamp)
	}
	fd := int(w.seg.f.Fd())
	err := writeAll(fd, b.parts, w.seg.size)
	if err == nil && w.fault != nil {
		err = w.fault()
	}
	if err == nil {
		err = unix.Fdatasync(fd)
	}
	if err != nil {
		w.leave()
		return fmt.Errorf("write queue journal: %w", err)
	}
	w.seg.size += b.size
	return nil
}

// maxParts is how many parts the system writes with one call (IOV_MAX).
const maxParts = 1024

// writeAll writes the parts one after the other from offset off on. It uses up
// the slice.
func writeAll(fd int, parts [][]byte, off int64) error {
	for len(parts) > 0 {
		if len(parts[0]) == 0 {
			parts = parts[1:]
			continue
		}
		n, err := unix.Pwritev(fd, parts[:min(len(parts), maxParts)], off)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return err
		}
		off += int64(n)
		for n > 0 && n >= len(parts[0]) {
			n -= len(parts[0])
			parts = parts[1:]
		}
		if n > 0 {
			parts[0] = parts[0][n:]
		}
	}
	return nil
}

// open makes sure that there is a segment that is neither old nor long.
func (w *Writer) open(now time.Time) error {
	if w.seg != nil && w.seg.size < maxSegment && now.Sub(w.seg.since) < maxAge {
		return nil
	}
	w.leave()
	if now.Before(w.retry) {
		return ErrUnusable
	}
	seg, err := create(w.dir, now)
	if err != nil {
		w.retry = now.Add(time.Second)
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	w.seg = seg
	time.AfterFunc(maxAge+maxAge/4, func() { w.expire(seg) })
	return nil
}

// expire leaves a segment that nobody has written to for a while.
func (w *Writer) expire(seg *segment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy {
		w.turn.Wait()
	}
	if w.seg == seg {
		w.leave()
	}
	w.turn.Signal() // a leader may wait, too
}

func (w *Writer) leave() {
	if w.seg != nil {
		w.seg.f.Close()
		w.seg = nil
	}
}

// Close leaves the segment. Later messages find no journal.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy {
		w.turn.Wait()
	}
	w.closed = true
	w.leave()
	w.turn.Signal()
	return nil
}

// create makes a segment and brings its name to stable storage.
func create(in Dir, now time.Time) (*segment, error) {
	path := in.path
	dir, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.Mkdir(path, 0o700); err == nil || errors.Is(err, os.ErrExist) {
			dir, err = os.Open(path)
		}
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := segmentName(now)
	f, err := takeOld(dir, name)
	if err != nil {
		return nil, err
	}
	head, stamp := header(in.boot)
	_, err = f.WriteAt(head, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		os.Remove(path + "/" + name)
		f.Close()
		return nil, err
	}
	return &segment{f: f, stamp: stamp, size: headerSize, since: now}, nil
}

// takeOld makes the file name in the directory, and locks it before others see
// it. It takes one that was used before where there is one: to write over what
// is there takes half the time, because nothing has to be allocated. What is
// left in it has another stamp.
func takeOld(dir *os.File, name string) (*os.File, error) {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	const flags = os.O_WRONLY | unix.O_NOFOLLOW
	for _, old := range names {
		if !strings.HasPrefix(old, oldPrefix) {
			continue
		}
		if f, err := takeFile(dir.Name(), old, name, flags); err == nil {
			return f, nil
		}
	}
	return takeFile(dir.Name(), oldPrefix+name, name, flags|os.O_CREATE|os.O_EXCL)
}

func takeFile(dir, old, name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(dir+"/"+old, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = os.Rename(dir+"/"+old, dir+"/"+name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// A segment is named by its time and its process. One that waits to be used
// again has another name.
const (
	segmentPrefix = "new."
	oldPrefix     = "old."
)

func segmentName(now time.Time) string {
	return segmentPrefix + strconv.FormatInt(now.UnixMicro(), 10) + "." + strconv.Itoa(os.Getpid())
}

// segmentTime is when the segment of that name was begun.
func segmentTime(name string) (time.Time, bool) {
	stamp, ok := strings.CutPrefix(name, segmentPrefix)
	if !ok {
		return time.Time{}, false
	}
	stamp, _, _ = strings.Cut(stamp, ".")
	n, err := strconv.ParseInt(stamp, 10, 64)
	return time.UnixMicro(n), err == nil
}

// headerSize is the length of a segment's first line: what it is, the stamp of
// its entries, and which run of the machine wrote it.
const headerSize = 80

const title = "postern queue journal 2"

func header(boot string) (head []byte, stamp uint32) {
	stamp = rand.Uint32()
	return fmt.Appendf(nil, "%-*s\n", headerSize-1, fmt.Sprintf("%s %08x %s", title, stamp, boot)), stamp
}

// parseHeader reads the first line of a segment.
func parseHeader(head []byte) (stamp uint32, boot string, ok bool) {
	rest, ok := strings.CutPrefix(string(head), title+" ")
	number, boot, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(number, 16, 32)
	return uint32(n), strings.TrimSpace(boot), ok && err == nil
}

// An Entry is one message in the journal.
type Entry struct {
	Queue byte // of the message, one letter of its owner's
	ID    string
	Made  int64  // when it got its id, in nanoseconds since 1970: an id may have been another message's before
	Body  []byte // the message's file, whole
}

// An entry begins with the stamp of its segment, the sum of what follows it,
// the lengths of body and id, the letter of the queue and the time.
const (
	entryHead = 4 + 4 + 4 + 2 + 1 + 8
	maxID     = 255
	// maxBody bounds an entry.
	maxBody = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head returns what stands in front of the body, with room for the stamp.
func (e Entry) head() []byte {
	b := make([]byte, 8, entryHead+len(e.ID))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Body)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.ID)))
	b = append(b, e.Queue)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Made))
	b = append(b, e.ID...)
	sum := crc32.Update(crc32.Checksum(b[8:], castagnoli), castagnoli, e.Body)
	binary.LittleEndian.PutUint32(b[4:], sum)
	return b
}
