package local

import (
	"fmt"
	"os"
	"strings"

	"postern/internal/base/errno"
	"postern/internal/mail/address"
)

// recipient delivers to the present address, which is local. It says whether
// everything that it stands for is finished.
func (s state) recipient() bool {
	if s.seen.again(fmt.Sprintf("recipient %d %s", s.level, s.addr)) {
		return true
	}
	if s.looping(s.addr) {
		return s.bounced("5.4.6", "mail forwarding loop for "+s.addr)
	}
	s.local, s.domain = address.Split(s.addr)
	s.local, s.domain = strings.ToLower(s.local), strings.ToLower(s.domain)
	s.user, s.ext = s.extensions.Split(s.local)
	if strings.Contains(s.ext, "/") {
		s.req.Log.Warningf("%s: address with illegal extension: %s", s.req.QueueID, s.local)
		s.ext = ""
	}
	s.unmatched = s.ext
	return s.choose()
}

// choose tries the ways to deliver, aliases first.
func (s state) choose() bool {
	whole := s
	whole.unmatched = ""
	if done, ok := whole.alias(s.local); ok {
		return done
	}
	if s.ext != "" {
		bare := s
		if !s.propagate["alias"] {
			bare.unmatched = ""
		}
		if done, ok := bare.alias(s.user); ok {
			return done
		}
	}
	// What an alias with an owner, a list in a file, or somebody's .forward
	// sends to other users becomes a message of its own: each user has a
	// queue file record then, and a loop ends at Delivered-To:.
	if s.owner != "" && !strings.EqualFold(s.owner, s.user) || s.from == fromInclude {
		return s.indirect()
	}
	if s.RequireHomeDirectory {
		if done, stop := s.checkHome(); stop {
			return done
		}
	}
	if done, ok := s.forward(); ok {
		return done
	}
	if done, ok := s.mailbox(); ok {
		return done
	}
	return s.unknown()
}

// checkHome defers mail while the user's home directory is not there.
func (s state) checkHome() (done, stop bool) {
	u, found, err := s.users.ByName(s.user)
	if err != nil || !found {
		return false, false
	}
	if _, err := os.Stat(u.Home); err != nil {
		return s.deferred("4.3.0", fmt.Sprintf("cannot access home directory %s: %s", u.Home, errno.Text(err))), true
	}
	return false, false
}
