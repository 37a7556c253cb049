package sys

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A FileWatch notices that files were changed or replaced. It goes on noticing
// after the process has given up the right to look at them, and in another
// root, because the kernel only asks when a watch is made.
type FileWatch struct {
	f     *os.File
	names map[int32]map[string]bool // by watch descriptor

	mu   sync.Mutex
	last time.Time // of a change that was not taken yet
}

// watched are the events of a directory that mean that a name in it now stands
// for something else, or something with other contents.
const watched = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_DELETE

// WatchFiles watches the files, and every symbolic link on the way to them.
// What is not there is watched as far as its directory exists.
func WatchFiles(paths []string) (*FileWatch, error) {
	w, err := newFileWatch(paths)
	if err == nil {
		go w.read()
	}
	return w, err
}

func newFileWatch(paths []string) (*FileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	w := &FileWatch{f: os.NewFile(uintptr(fd), "inotify"), names: map[int32]map[string]bool{}}
	for _, p := range paths {
		w.follow(fd, p)
	}
	return w, nil
}

// maxLinks bounds the symbolic links on the way to a file.
const maxLinks = 40

// follow watches the directories in which links on the way to path, or the
// file itself, have their names.
func (w *FileWatch) follow(fd int, path string) {
	rest := strings.Split(strings.TrimPrefix(filepath.Clean(path), "/"), "/")
	at := "/"
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		full := filepath.Join(at, name)
		target, err := os.Readlink(full)
		if err != nil {
			if len(rest) == 0 {
				w.add(fd, at, name)
			}
			at = full
			continue
		}
		w.add(fd, at, name)
		if links++; links > maxLinks {
			return
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest...)
	}
}

func (w *FileWatch) add(fd int, dir, name string) {
	wd, err := unix.InotifyAddWatch(fd, dir, watched)
	if err != nil {
		return
	}
	if w.names[int32(wd)] == nil {
		w.names[int32(wd)] = map[string]bool{}
	}
	w.names[int32(wd)][name] = true
}

// read notes events until the watch is closed.
func (w *FileWatch) read() {
	buf := make([]byte, 4096)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			return
		}
		w.note(buf[:n])
	}
}

// note takes events that were read.
func (w *FileWatch) note(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
		end := min(unix.SizeofInotifyEvent+int(e.Len), len(b))
		name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00")
		if w.names[e.Wd][name] || e.Mask&unix.IN_Q_OVERFLOW != 0 {
			w.mu.Lock()
			w.last = time.Now()
			w.mu.Unlock()
		}
		b = b[end:]
	}
}

// Changed says whether something has changed, and nothing more for the time
// settle: who replaces several files is given the time to. Each change is told
// once.
func (w *FileWatch) Changed(settle time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last.IsZero() || time.Since(w.last) < settle {
		return false
	}
	w.last = time.Time{}
	return true
}

// Close ends the watch.
func (w *FileWatch) Close() error { return w.f.Close() }
