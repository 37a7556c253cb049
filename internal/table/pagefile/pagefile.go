// Package pagefile is a database file as its readers see it: octets at offsets.
//
// A small file is read into memory once. A larger one is mapped: it takes no
// memory of its own, however many processes use it. Some formats are changed in
// place by their writers, under a lock; their readers take it, too, for some
// milliseconds at a time rather than for each lookup, because that costs less
// than a writer notices.
package pagefile

import (
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"postern/internal/table"
)

// InMemory is the size up to which a file is read into memory.
const InMemory = 64 << 10

const (
	lease = 20 * time.Millisecond  // how long the lock is kept at most
	gap   = 200 * time.Microsecond // how long it is left to writers after that
)

// ErrShort says that something refers to what lies beyond the end of the file.
var ErrShort = errors.New("the file ends too early")

// A File is an open file.
type File struct {
	file    *os.File
	data    []byte
	mapped  *mapping
	head    int // octets that check looks at
	check   func(head []byte) error
	inPlace bool // writers change the file where it is

	mu       sync.Mutex // guards what follows, and data while nobody uses it
	free     sync.Cond  // the lock was given up
	users    int
	held     bool // the lock is held
	expired  bool // and it is time to give it up
	released time.Time
	timer    *time.Timer
	version  version
}

// A mapping is unmapped when its File is not used any more.
type mapping struct{ data []byte }

func (m *mapping) unmap() {
	if m.data != nil {
		syscall.Munmap(m.data)
		m.data = nil
	}
}

// A version tells one state of a file from the next.
type version struct {
	size  int64
	mtime syscall.Timespec
	ctime syscall.Timespec
}

// Open takes over f, waiting for whoever writes to it. check looks at the
// first n octets, now and whenever the file has changed; fewer are an error.
// inPlace says that writers of the format change the file where it is.
func Open(f *os.File, n int, inPlace bool, check func(head []byte) error) (*File, error) {
	p := &File{file: f, head: n, check: check, inPlace: inPlace, mapped: &mapping{}}
	p.free.L = &p.mu
	if err := table.LockRead(f); err != nil {
		return nil, err
	}
	defer table.Unlock(f)
	err := p.load()
	if err == nil && p.mapped.data == nil {
		p.inPlace = false // it was copied
	}
	runtime.AddCleanup(p, (*mapping).unmap, p.mapped)
	return p, err
}

// load looks at the file as it is now.
func (p *File) load() error {
	now, err := p.stat()
	if err != nil {
		return err
	}
	p.version = now
	if err := p.fetch(now.size); err != nil {
		return err
	}
	if len(p.data) < p.head {
		return ErrShort
	}
	return p.check(p.data[:p.head])
}

func (p *File) stat() (version, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(p.file.Fd()), &st); err != nil {
		return version{}, err
	}
	return version{st.Size, st.Mtim, st.Ctim}, nil
}

// fetch reads or maps the first size octets.
func (p *File) fetch(size int64) error {
	if size <= InMemory && p.mapped.data == nil {
		p.data = make([]byte, size)
		_, err := p.file.ReadAt(p.data, 0)
		if errors.Is(err, io.EOF) {
			err = ErrShort
		}
		return err
	}
	if int64(len(p.mapped.data)) == size {
		return nil
	}
	p.mapped.unmap()
	p.data = nil
	if size == 0 {
		return ErrShort
	}
	b, err := syscall.Mmap(int(p.file.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	p.mapped.data, p.data = b, b
	return nil
}

// Memory is a file whose contents are b.
func Memory(b []byte) *File { return &File{data: b} }

// Name returns the file's path.
func (p *File) Name() string {
	if p.file == nil {
		return "memory"
	}
	return p.file.Name()
}

// Use calls read while writers are kept out. Only during that time are slices
// of the file valid. A part of the file that is gone, because somebody cut it
// off without a lock, is an error.
func (p *File) Use(read func() error) (err error) {
	if p.inPlace {
		if err := p.begin(); err != nil {
			return err
		}
		defer p.end()
	}
	if p.mapped != nil {
		old := debug.SetPanicOnFault(true)
		defer func() {
			debug.SetPanicOnFault(old)
			if r := recover(); r != nil {
				if _, fault := r.(interface{ Addr() uintptr }); !fault {
					panic(r)
				}
				err = ErrShort
			}
			runtime.KeepAlive(p)
		}()
	}
	return read()
}

// begin takes the lock unless it is held already.
func (p *File) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held && p.expired {
		p.free.Wait()
	}
	if !p.held {
		if err := p.acquire(); err != nil {
			return err
		}
	}
	p.users++
	return nil
}

func (p *File) acquire() error {
	if since := time.Since(p.released); since < gap {
		time.Sleep(gap - since)
	}
	if err := table.LockRead(p.file); err != nil {
		return err
	}
	now, err := p.stat()
	if err == nil && now != p.version {
		err = p.load()
	}
	if err != nil {
		p.version = version{} // look again next time
		table.Unlock(p.file)
		return err
	}
	p.held, p.expired = true, false
	if p.timer == nil {
		p.timer = time.AfterFunc(lease, p.expire)
	} else {
		p.timer.Reset(lease)
	}
	return nil
}

func (p *File) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users == 0 && p.expired {
		p.release()
	}
}

func (p *File) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expired = true; p.users == 0 && p.held {
		p.release()
	}
}

func (p *File) release() {
	table.Unlock(p.file)
	p.held, p.released = false, time.Now()
	p.free.Broadcast()
}

// Size returns the length in octets.
func (p *File) Size() int64 { return int64(len(p.data)) }

// Slice returns n octets at offset off. They are not to be changed.
func (p *File) Slice(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(p.data)) || n > int64(len(p.data))-off {
		return nil, ErrShort
	}
	return p.data[off : off+n : off+n], nil
}

// Close closes the file; what is mapped of it goes when nothing uses it.
func (p *File) Close() error {
	if p.file == nil {
		return nil
	}
	p.mu.Lock() // the end of the lease uses the descriptor
	defer p.mu.Unlock()
	return p.file.Close()
}
