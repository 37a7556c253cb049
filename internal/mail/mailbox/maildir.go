package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/mail/dsn"
)

// A Namer makes the names of files in Maildirs and delivers there; each process
// has one.
type Namer struct {
	host  string
	pid   int
	next  atomic.Uint64
	disks *disks
	links atomic.Int32 // whether an open file can be given a name: linkable or not; 0: not known
}

const (
	linkable = iota + 1
	unlinkable
)

// NewNamer returns a namer for this process on the machine called host.
func NewNamer(host string) *Namer {
	// A name must not look like a path, nor like one with flags.
	host = strings.NewReplacer("/", `\057`, ":", `\072`).Replace(host)
	return &Namer{host: host, pid: os.Getpid(), disks: newDisks()}
}

// temporary returns a name that no other delivery of this machine has now.
func (n *Namer) temporary(now time.Time) string {
	return fmt.Sprintf("%d.P%dQ%d.%s", now.Unix(), n.pid, n.next.Add(1), n.host)
}

// final returns the name of a delivered file. Postfix: the time, the device and
// the inode, the microseconds.
func (n *Namer) final(now time.Time, st *unix.Stat_t) string {
	return fmt.Sprintf("%d.V%xI%xM%d.%s", now.Unix(), st.Dev, st.Ino, now.Nanosecond()/1000, n.host)
}

// A Dir is a Maildir that mail is delivered to.
type Dir struct {
	Path    string
	Owner   sys.Owner  // the recipient: who writes the files
	Limit   int64      // largest size of a file; 0: none
	Default dsn.Status // of a failure that is not the system's; "" for 5.2.0
}

// Deliver writes a message into the Maildir as its owner, and makes the
// directories that are missing. When Deliver returns nil, the file and its
// entry in the directory new are on stable storage. Its errors are of type
// *Error.
func (n *Namer) Deliver(dir *Dir, c *Copy, content Content) error {
	d := maildir{Namer: n, dir: strings.TrimRight(dir.Path, "/"), owner: dir.Owner, now: time.Now(), def: dir.Default, file: -1, new: -1}
	if d.def == "" {
		d.def = "5.2.0"
	}
	defer d.end()
	if d.links.Load() == 0 {
		d.tryLink()
	}
	if err := sys.As(d.owner, func() error { return d.write(c, content, dir.Limit) }); err != nil {
		return err
	}
	if err := d.disk.sync(d.file.sync); err != nil {
		return copyFailure(&WriteError{err})
	}
	if err := d.place(); err != nil {
		return err
	}
	// The entry, too, must survive a power cut before the recipient is done.
	return d.disk.sync(d.syncNew)
}

// maildir is one delivery.
type maildir struct {
	*Namer
	dir   string
	owner sys.Owner
	now   time.Time
	def   dsn.Status
	disk  *disk

	file rawFile
	new  rawFile // the directory new, if the file has no name yet
	tmp  string  // else its name in the directory tmp, until it has its place
	name string  // its name in new
}

// write makes the file and fills it.
func (d *maildir) write(c *Copy, content Content, max int64) error {
	if !d.createUnnamed() {
		if err := d.create(); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.file), &st); err != nil {
		return failure(err, "4.3.0", "fstat file in %s", d.dir)
	}
	d.name = d.final(d.now, &st)
	d.disk = d.disks.enter(st.Dev, d.openNew)
	if err := c.To(limit(d.file, 0, max), content); err != nil {
		return copyFailure(err)
	}
	return nil
}

func (d *maildir) openNew() (rawFile, error) {
	return openRaw(d.dir+"/new", unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// createUnnamed opens a new file in the directory new that has no name there
// yet. A crash leaves no trace of it, and it is cheaper than one in tmp.
func (d *maildir) createUnnamed() bool {
	if d.links.Load() != linkable {
		return false
	}
	dir, err := d.openNew()
	if err != nil {
		return false
	}
	file, err := openRawAt(dir, ".", unix.O_WRONLY|unix.O_TMPFILE, 0o600)
	if err != nil {
		dir.close()
		return false
	}
	d.new, d.file = dir, file
	return true
}

// create opens a new file in the directory tmp.
func (d *maildir) create() error {
	for try := 0; ; try++ {
		path := d.dir + "/tmp/" + d.temporary(d.now)
		f, err := openRaw(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		switch {
		case err == nil:
			d.file, d.tmp = f, path
			return nil
		case err == unix.ENOENT && try == 0:
			if err := makeMaildir(d.dir); err != nil {
				return failure(err, d.def, "create maildir file %s", path)
			}
		case err != unix.EEXIST || try >= 10:
			return failure(err, d.def, "create maildir file %s", path)
		}
	}
}

// tryLink finds out whether an open file can be given a name: the process needs
// the right to it, or, since Linux 6.10, to have opened the file as itself. To
// give it the name of a directory fails by that, and only then.
func (d *maildir) tryLink() {
	var f rawFile
	err := sys.As(d.owner, func() (err error) {
		f, err = openRaw(d.dir+"/new", unix.O_WRONLY|unix.O_TMPFILE, 0o600)
		return err
	})
	if err != nil {
		return // not there, or not on this file system
	}
	defer f.close()
	if link(f, unix.AT_FDCWD, ".") == unix.EEXIST {
		d.links.Store(linkable)
	} else {
		d.links.Store(unlinkable)
	}
}

// link gives an open file a name.
func link(f rawFile, dir rawFile, name string) error {
	return unix.Linkat(int(f), "", int(dir), name, unix.AT_EMPTY_PATH)
}

// place gives the complete file its place in the directory new, where nothing
// may be overwritten. A file without a name gets one by descriptors alone: its
// owner was allowed to make it in that directory, and no path that the owner
// could change since is looked at with the rights of the process.
func (d *maildir) place() error {
	path := d.dir + "/new/" + d.name
	var err error
	if d.tmp == "" {
		err = link(d.file, d.new, d.name)
	} else {
		err = sys.As(d.owner, func() error { return d.move(path) })
	}
	if err != nil {
		return failure(err, d.def, "create maildir file %s", path)
	}
	d.tmp = ""
	return nil
}

// move brings a file from tmp to new.
func (d *maildir) move(path string) error {
	err := rename(d.tmp, path)
	if !errors.Is(err, syscall.ENOENT) {
		return err
	}
	for _, dir := range []string{"cur", "new"} {
		if err := makeDirs(d.dir + "/" + dir); err != nil {
			return err
		}
	}
	return rename(d.tmp, path)
}

// syncNew brings the entries of the directory new to stable storage.
func (d *maildir) syncNew() error {
	var err error
	if d.new >= 0 {
		err = syncOpenDir(d.new)
	} else {
		err = sys.As(d.owner, func() error { return syncDir(d.dir + "/new") })
	}
	if err != nil {
		return failure(err, "4.3.0", "sync maildir directory %s/new", d.dir)
	}
	return nil
}

// end closes what is open, and removes a file that has not got its place.
func (d *maildir) end() {
	if d.tmp != "" {
		sys.As(d.owner, func() error { return unix.Unlink(d.tmp) })
	}
	for _, f := range []rawFile{d.file, d.new} {
		if f >= 0 {
			f.close()
		}
	}
	d.disk.leave()
}

func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	// A file system that cannot refuse to replace.
	if err := unix.Link(from, to); err != nil {
		return err
	}
	return unix.Unlink(from)
}

// makeMaildir makes a Maildir and brings it to stable storage at once: one sync
// for its three directories. The one that deliveries look for comes last.
func makeMaildir(dir string) error {
	if err := makeDirs(dir); err != nil {
		return err
	}
	for _, name := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(dir+"/"+name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return syncDir(dir)
}

// makeDirs makes a directory with those above it that are missing, and brings
// their entries to stable storage.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
		if err := makeDirs(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir brings the entries of a directory to stable storage. A directory that
// its user may not read cannot be opened, and is not synced.
func syncDir(dir string) error {
	f, err := openRaw(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == unix.EACCES {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.close()
	return syncOpenDir(f)
}

func syncOpenDir(f rawFile) error {
	if err := f.sync(); err != unix.EINVAL { // the file system does not sync directories
		return err
	}
	return nil
}
