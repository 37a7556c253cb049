package mailbox

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Deliveries that run at the same time share their syncs. To bring a file and
// its directory to stable storage costs more than all else that is done for a
// message, and the kernel does it for everything on a file system at once in
// about the time that it needs for one file. A delivery that syncs while others
// are on the way to the same file system joins the next round, and the round is
// one syncfs. It reports all that could not be written since its descriptor was
// opened (Linux 5.8), so a round that fails fails for everybody in it.

// crowd is with how many deliveries on the way a round begins to pay.
const crowd = 4

// A round that took longer than slowRound wrote what others had left to be
// written; for the time of calmDown everybody syncs what is his own.
const (
	slowRound = time.Second
	calmDown  = time.Minute
)

// disks are the file systems that a process delivers to. None are known where
// the kernel does not tell errors.
type disks struct {
	mu sync.Mutex
	by map[uint64]*disk // by device
}

func newDisks() *disks {
	if !syncfsTells() {
		return &disks{}
	}
	return &disks{by: map[uint64]*disk{}}
}

// A disk is a file system. Its descriptor is open as long as somebody delivers,
// and not longer: it keeps the file system from being unmounted.
type disk struct {
	mu      sync.Mutex
	fd      rawFile
	all     func() error // syncs everything on it
	users   int          // deliveries on the way
	next    *round
	running bool
	alone   time.Time // until then everybody syncs what is his own
	now     func() time.Time
}

// A round is what one syncfs is for.
type round struct {
	done chan struct{}
	err  error
}

// enter begins a delivery to the device; it comes before the first octet that
// is written. The directory that open opens should be on the device. The result
// is nil where no sync can be shared.
func (ds *disks) enter(device uint64, open func() (rawFile, error)) *disk {
	if ds.by == nil {
		return nil
	}
	ds.mu.Lock()
	d := ds.by[device]
	if d == nil {
		d = &disk{now: time.Now}
		ds.by[device] = d
	}
	ds.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == 0 {
		if d.now().Before(d.alone) {
			return nil
		}
		fd, err := open()
		if err != nil {
			return nil
		}
		if !shareable(fd, device) {
			fd.close()
			d.alone = d.now().Add(calmDown)
			return nil
		}
		d.fd, d.all = fd, fd.syncAll
	}
	d.users++
	return d
}

// leave ends a delivery.
func (d *disk) leave() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users == 0 {
		d.fd.close()
	}
}

// sync brings to stable storage what the delivery has written, together with
// others. Where that does not pay, it calls own, which does it for this delivery.
func (d *disk) sync(own func() error) error {
	r := d.join()
	if r == nil {
		return own()
	}
	<-r.done
	return r.err
}

func (d *disk) join() *round {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users < crowd || d.now().Before(d.alone) {
		return nil
	}
	if d.next == nil {
		d.next = &round{done: make(chan struct{})}
	}
	if !d.running {
		d.running = true
		go d.run()
	}
	return d.next
}

// run does rounds for as long as somebody waits for one.
func (d *disk) run() {
	for {
		runtime.Gosched() // who is about to sync comes along
		d.mu.Lock()
		r := d.next
		d.next = nil
		d.running = r != nil
		d.mu.Unlock()
		if r == nil {
			return
		}
		start := d.now()
		r.err = d.all()
		if end := d.now(); end.Sub(start) > slowRound {
			d.mu.Lock()
			d.alone = end.Add(calmDown)
			d.mu.Unlock()
		}
		close(r.done)
	}
}

// shareable says that fd is on the device, and that syncfs does there what fsync
// does for each file: a local file system that keeps its own errors.
func shareable(fd rawFile, device uint64) bool {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(int(fd), &st) != nil || st.Dev != device || unix.Fstatfs(int(fd), &fs) != nil {
		return false
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return true
	}
	return false
}

// syncfsTells says that syncfs reports errors: Linux 5.8 and later.
func syncfsTells() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	major, minor, numbers := 0, 0, 0
	for _, c := range u.Release {
		switch {
		case c >= '0' && c <= '9' && numbers == 0:
			major = major*10 + int(c-'0')
		case c >= '0' && c <= '9' && numbers == 1:
			minor = minor*10 + int(c-'0')
		case c == '.':
			numbers++
		default:
			numbers = 2
		}
	}
	return major > 5 || major == 5 && minor >= 8
}
