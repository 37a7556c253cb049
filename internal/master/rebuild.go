package master

import (
	"os"
	"syscall"
	"time"
)

// rebuildInterval is how often sources of tables are looked at with
// auto_rebuild_tables = yes.
const rebuildInterval = time.Minute

// scheduleRebuild sets the timer of the next look, where the configuration
// asks for it.
func (s *supervisor) scheduleRebuild() {
	if !s.conf.autoRebuild || s.rebuildTimer != nil {
		return
	}
	s.rebuildTimer = time.AfterFunc(rebuildInterval, func() {
		s.post(func() {
			s.rebuildTimer = nil
			s.rebuildTables()
			s.scheduleRebuild()
		})
	})
}

// rebuildTables starts a process that looks at the tables: master itself reads
// nothing but its configuration. There is one at a time.
func (s *supervisor) rebuildTables() {
	if !s.conf.autoRebuild || s.rebuilder != 0 || s.stopping {
		return
	}
	program, err := os.Executable()
	if err != nil {
		s.log.Warningf("auto_rebuild_tables: %v", err)
		return
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		s.log.Warningf("auto_rebuild_tables: %v", err)
		return
	}
	defer null.Close()
	fd := null.Fd()
	s.rebuilder, err = syscall.ForkExec(program, []string{"postern", "tables", "-c", s.conf.dir, "--rebuild"}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{fd, fd, fd},
	})
	if err != nil {
		s.rebuilder = 0
		s.log.Warningf("auto_rebuild_tables: start %s: %v", program, err)
	}
}
