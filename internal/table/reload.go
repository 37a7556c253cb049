package table

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"postern/internal/base/errno"
)

// A Loader reads an open file and returns the table in it. A loader that keeps
// the file closes it in the table's Close; one that returns an error does not
// close it.
type Loader func(f *os.File) (Table, error)

// OpenFile opens a table that lives in a file, and opens it again whenever the
// file has changed or was replaced; a changed table is seen without a reload
// of the mail system. What cannot be read any more is kept as it was.
func OpenFile(path string, o *Opener, load Loader) (Table, error) {
	r := &reloading{path: path, load: load, log: o.logger(), stale: o.Stale}
	t, id, err := r.open()
	if err != nil {
		return nil, err
	}
	if o.Once {
		return t, nil
	}
	r.current.Store(&version{table: t, id: id})
	return r, nil
}

type reloading struct {
	path  string
	load  Loader
	log   Logger
	stale func(string)

	mu      sync.Mutex // one reload at a time
	current atomic.Pointer[version]
	failed  fileID // the version that could not be loaded, so that it is reported once
	told    bool   // stale was called
}

// A version of the file; lookups under way keep using theirs, and the garbage
// collector closes what an old version holds.
type version struct {
	table Table
	id    fileID
}

type fileID struct {
	dev, ino    uint64
	size        int64
	mtime, mnsc int64
	ctime, cnsc int64
}

func idOf(st *syscall.Stat_t) fileID {
	return fileID{
		dev: uint64(st.Dev), ino: st.Ino, size: st.Size,
		mtime: int64(st.Mtim.Sec), mnsc: int64(st.Mtim.Nsec),
		ctime: int64(st.Ctim.Sec), cnsc: int64(st.Ctim.Nsec),
	}
}

// attempts is how often a file is read again that changes meanwhile.
const attempts = 3

// open reads the file. What was written while it was read is not half taken.
func (r *reloading) open() (Table, fileID, error) {
	for try := 1; ; try++ {
		t, before, after, err := r.read()
		if err != nil || before == after {
			return t, after, err
		}
		if try == attempts {
			t.Close()
			return nil, before, fmt.Errorf("open %s: the file changes while it is read", r.path)
		}
		t.Close()
	}
}

// read reads the file once and says how it was before and after.
func (r *reloading) read() (t Table, before, after fileID, err error) {
	f, err := os.Open(r.path)
	if err != nil {
		return nil, before, after, fmt.Errorf("open %s: %w", r.path, errno.LibC(err))
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, before, after, fmt.Errorf("open %s: %w", r.path, err)
	}
	before = idOf(&st)
	if t, err = r.load(f); err != nil {
		f.Close()
		return nil, before, before, err
	}
	// The loader may have closed the file. Another file of the name is seen at
	// the next lookup.
	if err := syscall.Stat(r.path, &st); err != nil || st.Ino != before.ino || uint64(st.Dev) != before.dev {
		return t, before, before, nil
	}
	return t, before, idOf(&st), nil
}

// fresh returns the table of the file as it is now.
func (r *reloading) fresh() Table {
	v := r.current.Load()
	var st syscall.Stat_t
	if err := syscall.Stat(r.path, &st); err == nil && idOf(&st) == v.id {
		return v.table
	} else if err != nil {
		r.lost()
		return v.table
	}
	return r.reload(idOf(&st))
}

func (r *reloading) reload(id fileID) Table {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.current.Load()
	if v.id == id || r.failed == id {
		return v.table
	}
	t, opened, err := r.open()
	if err != nil {
		r.failed = id
		r.log.Warningf("%v; the old contents are used", err)
		r.tell()
		return v.table
	}
	r.current.Store(&version{table: t, id: opened})
	return t
}

// lost is called when the path leads nowhere: the file was removed, or this
// process lives in another root now.
func (r *reloading) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell()
}

func (r *reloading) tell() {
	if !r.told && r.stale != nil {
		r.told = true
		r.stale(r.path)
	}
}

// Lookup asks the newest version.
func (r *reloading) Lookup(ctx context.Context, key string) (string, bool, error) {
	return r.fresh().Lookup(ctx, key)
}

// Walk lists the newest version.
func (r *reloading) Walk(ctx context.Context, each func(key, value string) error) error {
	w, ok := r.fresh().(Walker)
	if !ok {
		return fmt.Errorf("%s: %w", r.path, ErrNoWalk)
	}
	return w.Walk(ctx, each)
}

// Keys is what the table in the file says.
func (r *reloading) Keys() Keys { return KeysOf(r.current.Load().table) }

// Close closes the newest version.
func (r *reloading) Close() error { return r.current.Load().table.Close() }
