package local

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"postern/internal/base/errno"
	"postern/internal/base/sys"
)

// include delivers to what the file at path names. It is opened with the rights
// of the text that named it; with the administrator's rights, what it names
// gets the rights of its own owner.
func (s state) include(path string) bool {
	if s.seen.again("include " + s.rights.Name + " " + path) {
		return true
	}
	s.expFrom = s.local
	if path == "" || path[0] != '/' {
		s.into(StepInclude, path)
		s.req.Log.Warningf(":include:%s uses a relative path", path)
		return s.miswritten()
	}
	f, err := s.openInclude(path)
	if s.unread(StepInclude, path, err) {
		return true
	}
	s.into(StepInclude, path)
	if err != nil {
		var bad unsafeFile
		if !errors.As(err, &bad) {
			what := "cannot open include file "
			if errors.Is(err, os.ErrNotExist) {
				what = "unable to lookup :include: file "
			}
			bad = unsafeFile(what + path + ": " + errno.Text(err))
		}
		s.req.Log.Warningf("%s", bad)
		s.note(bad.Error())
		return s.misconfigured()
	}
	defer f.Close()
	s.from = fromInclude
	if !s.rights.known || s.rights.UID == 0 {
		if !s.includeRights(f) {
			return s.misconfigured()
		}
	}
	if s.owner == "" {
		s.owner = s.addr // the recipients get a message of their own
	}
	if !s.propagate["include"] {
		s.unmatched = ""
	}
	done, _ := s.lines(f)
	return done
}

func (s *state) openInclude(path string) (f *os.File, err error) {
	who := s.rights.Owner
	err = sys.As(who, func() error {
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		return err
	})
	if err == nil {
		if err = checkText(f, ":include: file", 0, false); err != nil {
			f.Close()
		}
	}
	return f, err
}

// includeRights takes the rights of the file's owner unless that is root.
func (s *state) includeRights(f *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		s.req.Log.Warningf("fstat %s: %v", f.Name(), err)
		return false
	}
	if st.Uid == 0 || os.Geteuid() != 0 {
		return true
	}
	u, found, err := s.users.ByUID(int(st.Uid))
	if err != nil || !found {
		s.req.Log.Warningf("cannot find username for uid %d", st.Uid)
		s.req.Log.Warningf("%s: cannot find :include: file owner username", f.Name())
		return false
	}
	s.rights = rights{u, true}
	return true
}
