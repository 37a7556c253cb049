package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Disk is an ext4 file system of its own, in an image file.
type Disk struct {
	Image string // path of the file
	Size  int64
	Solid bool // the image's blocks are all there from the beginning

	dir string // where it is mounted
}

// Make makes the file system anew and mounts it. An error says that this
// machine cannot do that.
func (d *Disk) Make(dir string) error {
	err := d.fill()
	if err == nil {
		err = command("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", d.Image)
	}
	if err == nil {
		err = d.Mount(dir)
	}
	return err
}

// Mount mounts the file system as it is.
func (d *Disk) Mount(dir string) error {
	if err := command("mount", "-o", "loop", d.Image, dir); err != nil {
		return err
	}
	d.dir = dir
	return os.Chmod(dir, 0o755)
}

// Unmount gives the file system back. A second call does nothing.
func (d *Disk) Unmount() error {
	if d.dir == "" {
		return nil
	}
	if err := unix.Unmount(d.dir, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	d.dir = ""
	return nil
}

// Return mounts the file system, which was unmounted after a power cut, as it
// is on the disk: from a copy of the image, because the kernel would go on with the
// file system that it has while a name space of mounts that somebody else has made
// meanwhile keeps that in use.
func (d *Disk) Return(dir string) error {
	image := d.Image + ".returned"
	if err := command("cp", "--sparse=always", d.Image, image); err != nil {
		return err
	}
	d.Image = image
	return d.Mount(dir)
}

// Cut cuts the power: what has not been brought to the disk is lost, and
// nothing can be done with the file system any more but to unmount it.
func (d *Disk) Cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const (
		ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
		withoutLog   = uint32(2)  // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	how := withoutLog
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		return errno
	}
	return nil
}

// fill makes the image.
func (d *Disk) fill() error {
	if info, err := os.Stat(d.Image); err == nil && info.Size() == d.Size {
		return nil
	}
	f, err := os.Create(d.Image)
	if err != nil {
		return err
	}
	if d.Solid {
		_, err = io.CopyN(f, zeros{}, d.Size)
	} else {
		err = f.Truncate(d.Size)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
