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
	host string
	pid  int
	next atomic.Uint64
}

// NewNamer returns a namer for this process on the machine called host.
func NewNamer(host string) *Namer {
	// A name must not look like a path, nor like one with flags.
	host = strings.NewReplacer("/", `\057`, ":", `\072`).Replace(host)
	return &Namer{host: host, pid: os.Getpid()}
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
	d := maildir{Namer: n, dir: strings.TrimRight(dir.Path, "/"), now: time.Now(), def: dir.Default}
	if d.def == "" {
		d.def = "5.2.0"
	}
	return sys.As(dir.Owner, func() error { return d.deliver(c, content, dir.Limit) })
}

// maildir is one delivery.
type maildir struct {
	*Namer
	dir string
	now time.Time
	def dsn.Status
}

func (d *maildir) deliver(c *Copy, content Content, limit int64) error {
	tmp, f, err := d.create()
	if err != nil {
		return failure(err, d.def, "create maildir file %s", tmp)
	}
	final, err := d.write(f, c, content, limit)
	if e := f.close(); err == nil && e != nil {
		err = copyFailure(&WriteError{e})
	}
	if err != nil {
		unix.Unlink(tmp)
		return err
	}
	name := d.dir + "/new/" + final
	if err := d.move(tmp, name); err != nil {
		unix.Unlink(tmp)
		return failure(err, d.def, "create maildir file %s", name)
	}
	// The entry, too, must survive a power cut before the recipient is done.
	if err := syncDir(filepath.Dir(name)); err != nil {
		return failure(err, "4.3.0", "sync maildir directory %s", filepath.Dir(name))
	}
	return nil
}

// create opens a new file in the directory tmp.
func (d *maildir) create() (string, rawFile, error) {
	dir := d.dir + "/tmp"
	for try := 0; ; try++ {
		path := dir + "/" + d.temporary(d.now)
		f, err := openRaw(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		switch {
		case err == nil:
			return path, f, nil
		case err == unix.ENOENT && try == 0:
			if err := makeMaildir(d.dir); err != nil {
				return path, -1, err
			}
		case err != unix.EEXIST || try >= 10:
			return path, -1, err
		}
	}
}

// write fills the file; it returns the name that it is to have.
func (d *maildir) write(f rawFile, c *Copy, content Content, max int64) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f), &st); err != nil {
		return "", failure(err, "4.3.0", "fstat file in %s/tmp", d.dir)
	}
	if err := c.To(limit(f, 0, max), content); err != nil {
		return "", copyFailure(err)
	}
	if err := f.sync(); err != nil {
		return "", copyFailure(&WriteError{err})
	}
	return d.final(d.now, &st), nil
}

// move gives the file its place in the directory new, where nothing may be
// overwritten.
func (d *maildir) move(tmp, name string) error {
	err := rename(tmp, name)
	if !errors.Is(err, syscall.ENOENT) {
		return err
	}
	for _, dir := range []string{"cur", "new"} {
		if err := makeDirs(d.dir + "/" + dir); err != nil {
			return err
		}
	}
	return rename(tmp, name)
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
	if err := f.sync(); err != unix.EINVAL { // the file system does not sync directories
		return err
	}
	return nil
}
