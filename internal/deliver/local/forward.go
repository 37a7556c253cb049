package local

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/ipc/delivery"
)

// forward expands the recipient by the user's .forward file; ok says that there
// is a file that names a destination.
func (s state) forward() (done, ok bool) {
	if s.ForwardPath == "" {
		return false, false
	}
	u, found, err := s.users.ByName(s.user)
	if err != nil {
		s.req.Log.Warningf("error looking up passwd info for %s: %v", s.user, err)
		return s.deferred("4.0.0", "user lookup error"), true
	}
	if !found {
		return false, false
	}
	if !s.FrozenDeliveredTo {
		s.delivered = s.addr
	}
	s.rights = rights{u, true}
	s.from, s.owner = fromForward, s.user
	path, text, err := s.findForward()
	if err != nil {
		s.req.Log.Warningf("%s: %v", s.req.QueueID, err)
		return s.deferred("4.3.0", "cannot read forwarding file "+path), true
	}
	if path == "" {
		return false, false
	}
	if s.req.Flags&delivery.FlagMTAVerify != 0 {
		return s.sent("forward via file: " + path), true
	}
	if s.seen.again("forward " + path) {
		// A user who names himself gets the mail, unless the file is done.
		return true, s.seen.known("forward-done " + path)
	}
	if text == nil {
		return false, false
	}
	defer text.Close()
	s.into(StepForward, path)
	s.expFrom = s.local
	done, n := s.lines(text)
	if n == 0 { // Postfix: an empty file means not to forward
		return false, !done
	}
	s.seen.again("forward-done " + path)
	return done, true
}

// findForward looks for the first file of forward_path that exists. text is nil
// if it must not be used; the log says why.
func (s *state) findForward() (path string, text io.ReadCloser, err error) {
	for _, item := range param.Split(s.ForwardPath) {
		path, undefined, byExt, err := s.expand(item, s.ForwardFilter)
		if err != nil {
			return "", nil, fmt.Errorf("parameter forward_path: %w", err)
		}
		if undefined {
			continue
		}
		f, err := s.openForward(path)
		if s.unread(StepForward, path, err) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if errors.Is(err, os.ErrPermission) && f == nil {
			t := *s
			t.into(StepForward, path)
			t.note("may not be read by its user: passed over")
			continue
		}
		if err != nil {
			s.into(StepForward, path)
		}
		var bad unsafeFile
		if errors.As(err, &bad) {
			s.req.Log.Warningf("%s", bad)
			s.note(bad.Error())
			return path, nil, nil
		}
		if err != nil {
			return path, nil, err
		}
		if byExt || !s.propagate["forward"] {
			s.unmatched = ""
		}
		return path, f, nil
	}
	return "", nil, nil
}

// An unsafeFile is what is wrong with a file that others could have written.
type unsafeFile string

func (e unsafeFile) Error() string { return string(e) }

// openForward opens a .forward file as its user and checks what was opened.
func (s *state) openForward(path string) (f *os.File, err error) {
	err = sys.As(s.rights.Owner, func() error {
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		return err
	})
	if errors.Is(err, unix.ELOOP) {
		return nil, unsafeFile(fmt.Sprintf("file %s is not a regular file", path))
	}
	if err != nil {
		return nil, err
	}
	if err := checkText(f, "file", s.rights.UID, true); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkText refuses a file of destinations that somebody else may change. owned
// says that it must be uid's, or root's.
func checkText(f *os.File, what string, uid int, owned bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("fstat %s: %w", f.Name(), err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return unsafeFile(fmt.Sprintf("%s %s is not a regular file", what, f.Name()))
	case owned && os.Geteuid() == 0 && st.Uid != 0 && int(st.Uid) != uid:
		return unsafeFile(fmt.Sprintf("%s %s has bad owner uid %d", what, f.Name(), st.Uid))
	case st.Mode&0o002 != 0:
		return unsafeFile(fmt.Sprintf("%s %s is world writable", what, f.Name()))
	}
	return nil
}
