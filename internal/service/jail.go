package service

import (
	"fmt"
	"os"
	"time"

	"postern/internal/base/sys"
)

// privileged says whether the process may act as root now.
func privileged() bool { return os.Geteuid() == 0 }

// jailed says whether the queue directory becomes the root.
func (s *process) jailed() bool { return s.opt.chroot && privileged() && !s.opt.standAlone }

// findOwner looks up who the process is going to be; the jail has no user
// database. A process that was not started as root stays who it is.
func (s *process) findOwner() error {
	if s.program.Root && s.opt.user && privileged() {
		return fmt.Errorf("service %s requires a privileged process: its \"unprivileged\" field in master.cf must be \"n\"", s.opt.name)
	}
	if !privileged() || s.opt.standAlone || !s.opt.user {
		return nil
	}
	o, err := sys.LookupOwner(s.common.MailOwner)
	if err != nil {
		return fmt.Errorf("parameter mail_owner: %w", err)
	}
	s.owner = &o
	return nil
}

// enterJail makes the queue directory the root, if master.cf says so. What the
// library reads from a file on first use is read before.
func (s *process) enterJail() error {
	if !s.jailed() {
		return nil
	}
	time.Now().Local().Zone()
	return sys.Chroot(".")
}

// dropPrivileges leaves root for mail_owner and closes the way back. Programs
// that act as other users keep what they have.
func (s *process) dropPrivileges() error {
	if s.owner != nil {
		if err := sys.Become(*s.owner); err != nil {
			return err
		}
	}
	if s.program.Root || s.opt.standAlone {
		return nil
	}
	return sys.NoNewPrivileges()
}
