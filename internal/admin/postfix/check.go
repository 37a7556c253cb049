package postfix

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"postern/internal/admin/command"
	"postern/internal/base/sys"
	"postern/internal/config/mastercf"
)

// A directory is one that the mail system needs. Postfix: as in postfix-files.
type directory struct {
	name  string // below the queue directory
	root  bool   // belongs to root, else to mail_owner
	group bool   // belongs to setgid_group
	mode  os.FileMode
}

var directories = [...]directory{
	{".", true, false, 0o755},
	{"active", false, false, 0o700},
	{"bounce", false, false, 0o700},
	{"corrupt", false, false, 0o700},
	{"defer", false, false, 0o700},
	{"deferred", false, false, 0o700},
	{"flush", false, false, 0o700},
	{"hold", false, false, 0o700},
	{"incoming", false, false, 0o700},
	{"maildrop", false, true, 0o730},
	{"pid", true, false, 0o755},
	{"private", false, false, 0o700},
	{"public", false, true, 0o710},
	{"saved", false, false, 0o700},
	{"spare", false, false, 0o700}, // not Postfix's: files to be used again
	{"trace", false, false, 0o700},
}

// accounts are the numbers that files are to belong to; for a mail system
// without privileges all are the user's.
type accounts struct {
	privileged  bool
	owner, drop int // uid of mail_owner, gid of setgid_group
}

func (p *postfix) accounts() (accounts, error) {
	if os.Geteuid() != 0 {
		return accounts{owner: os.Geteuid(), drop: os.Getegid()}, nil
	}
	o, err := sys.LookupOwner(p.Common.MailOwner)
	if err != nil {
		return accounts{}, fmt.Errorf("parameter mail_owner: %w", err)
	}
	gid, err := sys.LookupGroup(p.Common.SetgidGroup)
	if err != nil {
		return accounts{}, fmt.Errorf("parameter setgid_group: %w", err)
	}
	return accounts{privileged: true, owner: o.UID, drop: gid}, nil
}

// own gives path to whom d says, with d's mode.
func (a accounts) own(path string, d directory) error {
	if a.privileged {
		uid, gid := a.owner, -1
		if d.root {
			uid = 0
		}
		if d.group {
			gid = a.drop
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, d.mode)
}

// createMissing makes the directories that are missing.
func (p *postfix) createMissing(a accounts) error {
	all := append([]directory(nil), directories[:]...)
	all = append(all, directory{name: p.Common.DataDirectory, mode: 0o700})
	for _, d := range all {
		if _, err := os.Lstat(d.name); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Mkdir(d.name, 0o700); err != nil {
			return err
		}
		if err := a.own(d.name, d); err != nil {
			return err
		}
	}
	return nil
}

// checkFatal makes what is missing and says whether the system can start.
func (p *postfix) checkFatal() bool {
	a, err := p.accounts()
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

func (p *postfix) check() int {
	if !p.checkFatal() {
		return command.Failure
	}
	p.checkWarn()
	return command.OK
}

// checkWarn tells of owners and modes that are wrong, and of damaged mail.
func (p *postfix) checkWarn() {
	a, err := p.accounts()
	if err != nil {
		p.log.Warningf("%v", err)
		return
	}
	if a.privileged {
		p.checkOwners(a)
	}
	p.each("corrupt", func(path string, st fs.FileInfo) {
		if st.Mode().IsRegular() {
			p.log.Warningf("damaged message: %s", path)
		}
	})
}

func (p *postfix) checkOwners(a accounts) {
	for _, dir := range []string{".", "pid"} {
		path := filepath.Join(p.Common.QueueDirectory, dir)
		if st, err := os.Stat(path); err == nil {
			p.ownedByRoot(path, st)
			p.notWritable(path, st)
		}
	}
	for _, root := range []string{p.Common.ConfigDirectory, p.Common.DaemonDirectory} {
		p.each(root, func(path string, st fs.FileInfo) {
			p.ownedByRoot(path, st)
			p.notWritable(path, st)
		})
	}
	p.each(p.Common.DataDirectory, func(path string, st fs.FileInfo) {
		p.ownedBy(a, path, st)
		p.notWritable(path, st)
	})
	for _, d := range directories {
		if d.root {
			continue
		}
		path := filepath.Join(p.Common.QueueDirectory, d.name)
		st, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if d.group && groupOf(st) != a.drop {
			p.log.Warningf("not owned by group %s: %s", p.Common.SetgidGroup, path)
		}
		if d.name == "maildrop" { // the least trusted directory: nothing below it is looked at
			p.ownedBy(a, path, st)
			continue
		}
		p.each(path, func(path string, st fs.FileInfo) {
			if st.Mode()&(fs.ModeSocket|fs.ModeNamedPipe) == 0 {
				p.ownedBy(a, path, st)
			}
		})
	}
	p.checkSetgid(a)
	p.checkJail()
}

// checkSetgid looks at the programs with a group of their own.
func (p *postfix) checkSetgid(a accounts) {
	for _, name := range []string{"postqueue", "postdrop"} {
		path := filepath.Join(p.Common.CommandDirectory, name)
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if groupOf(st) != a.drop {
			p.log.Warningf("not owned by group %s: %s", p.Common.SetgidGroup, path)
		}
		if st.Mode()&fs.ModeSetgid == 0 || st.Mode()&0o111 != 0o111 {
			p.log.Warningf("not set-gid or not owner+group+world executable: %s", path)
		}
	}
}

// checkJail compares the files that the queue directory has for services that
// run in it as their root with those of the system.
func (p *postfix) checkJail() {
	for _, dir := range []string{"bin", "etc", "lib", "sbin", "usr"} {
		p.each(dir, func(path string, st fs.FileInfo) {
			inside := filepath.Join(p.Common.QueueDirectory, path)
			p.ownedByRoot(inside, st)
			if st.Mode().IsRegular() && differs(path, "/"+path) {
				p.log.Warningf("%s and /%s differ", inside, path)
			}
		})
	}
}

// differs says whether both files exist and are not the same.
func differs(a, b string) bool {
	x, err := os.ReadFile(a)
	if err != nil {
		return false
	}
	y, err := os.ReadFile(b)
	return err == nil && !bytes.Equal(x, y)
}

// each calls f for root and everything below it; links are not followed.
func (p *postfix) each(root string, f func(path string, st fs.FileInfo)) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				p.log.Warningf("%v", err)
			}
			return nil
		}
		if st, err := d.Info(); err == nil {
			f(path, st)
		}
		return nil
	})
}

func (p *postfix) ownedByRoot(path string, st fs.FileInfo) {
	if ownerOf(st) != 0 {
		p.log.Warningf("not owned by root: %s", path)
	}
}

func (p *postfix) ownedBy(a accounts, path string, st fs.FileInfo) {
	if ownerOf(st) != a.owner {
		p.log.Warningf("not owned by %s: %s", p.Common.MailOwner, path)
	}
}

func (p *postfix) notWritable(path string, st fs.FileInfo) {
	if st.Mode()&fs.ModeSymlink == 0 && st.Mode()&0o022 != 0 {
		p.log.Warningf("group or other writable: %s", path)
	}
}

func ownerOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }
func groupOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Gid) }

// setPermissions makes what is missing and gives everything its owner and
// mode. Settings for main.cf on the command line are not taken.
func (p *postfix) setPermissions(args []string) int {
	if len(args) > 0 {
		return p.fatal("set %s with \"postconf -e\" first", strings.Join(args, " "))
	}
	a, err := p.accounts()
	if err == nil {
		err = p.createMissing(a)
	}
	if err != nil {
		return p.fatal("unable to create missing queue directories: %v", err)
	}
	all := append([]directory(nil), directories[:]...)
	all = append(all, directory{name: p.Common.DataDirectory, mode: 0o700})
	for _, d := range all {
		if err := a.own(d.name, d); err != nil {
			return p.fatal("%v", err)
		}
	}
	for _, name := range []string{"postqueue", "postdrop"} {
		path := filepath.Join(p.Common.CommandDirectory, name)
		d := directory{root: true, group: true, mode: 0o755 | os.ModeSetgid}
		if err := a.own(path, d); a.privileged && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p.fatal("%v", err)
		}
	}
	return command.OK
}
