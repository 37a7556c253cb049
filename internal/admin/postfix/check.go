package postfix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/admin/check"
	"postern/internal/admin/command"
	"postern/internal/config/mastercf"
)

// own gives path to whom d says, with d's mode.
func own(a check.Accounts, path string, d check.Directory) error {
	if a.Privileged {
		uid, gid := a.Owner, -1
		if d.Root {
			uid = 0
		}
		if d.Group {
			gid = a.Drop
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, d.Mode)
}

// createMissing makes the directories that are missing.
func (p *postfix) createMissing(a check.Accounts) error {
	all := append(check.Directories(), check.Directory{Name: p.Common.DataDirectory, Mode: 0o700})
	for _, d := range all {
		if _, err := os.Lstat(d.Name); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Mkdir(d.Name, 0o700); err != nil {
			return err
		}
		if err := own(a, d.Name, d); err != nil {
			return err
		}
	}
	return nil
}

// checkFatal makes what is missing and says whether the system can start.
func (p *postfix) checkFatal() bool {
	a, err := check.FindAccounts(&p.Common)
	if err == nil {
		err = p.createMissing(a)
	}
	if err != nil {
		p.log.Fatalf("unable to create missing queue directories: %v", err)
		return false
	}
	path := filepath.Join(p.Common.ConfigDirectory, "master.cf")
	services, err := mastercf.Load(path, mastercf.Options{})
	if errors.Is(err, fs.ErrNotExist) {
		p.log.Fatalf("no %s file found", path)
		return false
	}
	if err != nil {
		p.log.Fatalf("%v", err)
		return false
	}
	if p.Common.MaillogFile != "" && !has(services, p.Common.PostlogServiceName+"/unix-dgram") {
		p.log.Fatalf("missing 'postlog' service in master.cf - run 'postfix upgrade-configuration'")
		return false
	}
	if _, running := p.running(); running {
		return true
	}
	return p.superviseQueue()
}

// superviseQueue has postsuper put misplaced queue files right. It can only be
// done while nothing works on the queue.
func (p *postfix) superviseQueue() bool {
	path := filepath.Join(p.Common.CommandDirectory, "postsuper")
	if _, err := os.Stat(path); err != nil {
		p.log.Warningf("queue files are not checked: %v", err)
		return true
	}
	return p.program("postsuper") == command.OK
}

func has(services []mastercf.Service, key string) bool {
	for i := range services {
		if services[i].Key() == key {
			return true
		}
	}
	return false
}

// check makes what is missing and tells of everything that is wrong with the
// configuration and with files.
func (p *postfix) check() int {
	if !p.checkFatal() {
		return command.Failure
	}
	status := p.tellFindings(check.Files(&p.Common))
	if p.Knowledge.Listen != nil {
		status = max(status, p.tellFindings(check.Configuration(p.Common.ConfigDirectory, p.Knowledge)))
	}
	return status
}

// tellFindings logs findings; the status says whether there are errors.
func (p *postfix) tellFindings(findings []check.Finding) int {
	status := command.OK
	for _, f := range findings {
		if f.Severity == check.Error {
			p.log.Errorf("%s", f.Log())
			status = command.Failure
		} else {
			p.log.Warningf("%s", f.Log())
		}
	}
	return status
}

// setPermissions makes what is missing and gives everything its owner and
// mode. Settings for main.cf on the command line are not taken.
func (p *postfix) setPermissions(args []string) int {
	if len(args) > 0 {
		return p.fatal("set %s with \"postconf -e\" first", strings.Join(args, " "))
	}
	a, err := check.FindAccounts(&p.Common)
	if err == nil {
		err = p.createMissing(a)
	}
	if err != nil {
		return p.fatal("unable to create missing queue directories: %v", err)
	}
	all := append(check.Directories(), check.Directory{Name: p.Common.DataDirectory, Mode: 0o700})
	for _, d := range all {
		if err := own(a, d.Name, d); err != nil {
			return p.fatal("%v", err)
		}
	}
	for _, name := range []string{"postqueue", "postdrop"} {
		path := filepath.Join(p.Common.CommandDirectory, name)
		d := check.Directory{Root: true, Group: true, Mode: 0o755 | os.ModeSetgid}
		if err := own(a, path, d); a.Privileged && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p.fatal("%v", err)
		}
	}
	return command.OK
}
