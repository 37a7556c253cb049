package check

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postern/internal/base/sys"
	"postern/internal/config/param"
)

// A Directory is one that the mail system needs. Postfix: as in postfix-files.
type Directory struct {
	Name  string // below the queue directory
	Root  bool   // belongs to root, else to mail_owner
	Group bool   // belongs to setgid_group
	Mode  os.FileMode
}

// Directories lists those of the queue.
func Directories() []Directory {
	return []Directory{
		{".", true, false, 0o755},
		{"active", false, false, 0o700},
		{"bounce", false, false, 0o700},
		{"corrupt", false, false, 0o700},
		{"defer", false, false, 0o700},
		{"deferred", false, false, 0o700},
		{"flush", false, false, 0o700},
		{"hold", false, false, 0o700},
		{"incoming", false, false, 0o700},
		{"journal", false, false, 0o700}, // not Postfix's: new messages, to be restored after a crash
		{"maildrop", false, true, 0o730},
		{"pid", true, false, 0o755},
		{"private", false, false, 0o700},
		{"public", false, true, 0o710},
		{"saved", false, false, 0o700},
		{"spare", false, false, 0o700}, // not Postfix's: files to be used again
		{"trace", false, false, 0o700},
	}
}

// Accounts are the numbers that files are to belong to; for a mail system
// without privileges all are the user's.
type Accounts struct {
	Privileged  bool
	Owner, Drop int // uid of mail_owner, gid of setgid_group
}

// FindAccounts looks the accounts of the configuration up.
func FindAccounts(c *param.Common) (Accounts, error) {
	if os.Geteuid() != 0 {
		return Accounts{Owner: os.Geteuid(), Drop: os.Getegid()}, nil
	}
	o, err := sys.LookupOwner(c.MailOwner)
	if err != nil {
		return Accounts{}, fmt.Errorf("parameter mail_owner: %w", err)
	}
	gid, err := sys.LookupGroup(c.SetgidGroup)
	if err != nil {
		return Accounts{}, fmt.Errorf("parameter setgid_group: %w", err)
	}
	return Accounts{Privileged: true, Owner: o.UID, Drop: gid}, nil
}

// Files tells of owners and modes that are wrong, and of damaged mail. Its
// messages are those of Postfix's script, which log readers know. Paths are
// below the queue directory, which must be the working directory.
func Files(common *param.Common) []Finding {
	w := walker{common: common}
	a, err := FindAccounts(common)
	if err != nil {
		return []Finding{{Severity: Error, Message: err.Error(), Remedy: "add the account, or set the parameter to one that exists"}}
	}
	w.accounts = a
	if a.Privileged {
		w.owners()
	}
	w.each("corrupt", func(path string, st fs.FileInfo) {
		if st.Mode().IsRegular() {
			w.say(path, `look at it with "postcat"`, "damaged message: %s", path)
		}
	})
	return w.findings
}

// A walker looks at files.
type walker struct {
	common   *param.Common
	accounts Accounts
	findings []Finding
}

func (w *walker) say(path, remedy, format string, args ...any) {
	w.findings = append(w.findings, Finding{Severity: Warning, File: path, Message: fmt.Sprintf(format, args...), Remedy: remedy, named: true})
}

func (w *walker) owners() {
	for _, dir := range []string{".", "pid"} {
		path := filepath.Join(w.common.QueueDirectory, dir)
		if st, err := os.Stat(path); err == nil {
			w.ownedByRoot(path, st)
			w.notWritable(path, st)
		}
	}
	for _, root := range []string{w.common.ConfigDirectory, w.common.DaemonDirectory} {
		w.each(root, func(path string, st fs.FileInfo) {
			w.ownedByRoot(path, st)
			w.notWritable(path, st)
		})
	}
	w.each(w.common.DataDirectory, func(path string, st fs.FileInfo) {
		w.owned(path, st)
		w.notWritable(path, st)
	})
	for _, d := range Directories() {
		if !d.Root {
			w.queueDirectory(d)
		}
	}
	w.setgid()
	w.jail()
}

func (w *walker) queueDirectory(d Directory) {
	path := filepath.Join(w.common.QueueDirectory, d.Name)
	st, err := os.Lstat(path)
	if err != nil {
		return
	}
	if d.Group && groupOf(st) != w.accounts.Drop {
		w.say(path, `run "postfix set-permissions"`, "not owned by group %s: %s", w.common.SetgidGroup, path)
	}
	if d.Name == "maildrop" { // the least trusted directory: nothing below it is looked at
		w.owned(path, st)
		return
	}
	w.each(path, func(path string, st fs.FileInfo) {
		if st.Mode()&(fs.ModeSocket|fs.ModeNamedPipe) == 0 {
			w.owned(path, st)
		}
	})
}

// setgid looks at the programs with a group of their own.
func (w *walker) setgid() {
	for _, name := range []string{"postqueue", "postdrop"} {
		path := filepath.Join(w.common.CommandDirectory, name)
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if groupOf(st) != w.accounts.Drop {
			w.say(path, `run "postfix set-permissions"`, "not owned by group %s: %s", w.common.SetgidGroup, path)
		}
		if st.Mode()&fs.ModeSetgid == 0 || st.Mode()&0o111 != 0o111 {
			w.say(path, `run "postfix set-permissions"`, "not set-gid or not owner+group+world executable: %s", path)
		}
	}
}

// jail compares the files that the queue directory has for services that run
// in it as their root with those of the system.
func (w *walker) jail() {
	for _, dir := range []string{"bin", "etc", "lib", "sbin", "usr"} {
		w.each(dir, func(path string, st fs.FileInfo) {
			inside := filepath.Join(w.common.QueueDirectory, path)
			w.ownedByRoot(inside, st)
			if st.Mode().IsRegular() && differs(path, "/"+path) {
				w.say(inside, "copy the file again", "%s and /%s differ", inside, path)
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
func (w *walker) each(root string, f func(path string, st fs.FileInfo)) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.say(path, "", "%v", err)
			}
			return nil
		}
		if st, err := d.Info(); err == nil {
			f(path, st)
		}
		return nil
	})
}

func (w *walker) ownedByRoot(path string, st fs.FileInfo) {
	if ownerOf(st) != 0 {
		w.say(path, "chown root "+path, "not owned by root: %s", path)
	}
}

func (w *walker) owned(path string, st fs.FileInfo) {
	if ownerOf(st) != w.accounts.Owner {
		w.say(path, "chown "+w.common.MailOwner+" "+path, "not owned by %s: %s", w.common.MailOwner, path)
	}
}

func (w *walker) notWritable(path string, st fs.FileInfo) {
	if st.Mode()&fs.ModeSymlink == 0 && st.Mode()&0o022 != 0 {
		w.say(path, "chmod go-w "+path, "group or other writable: %s", path)
	}
}

func ownerOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }
func groupOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Gid) }
