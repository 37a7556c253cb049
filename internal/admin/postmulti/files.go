package postmulti

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"postern/internal/admin/check"
	"postern/internal/config/maincf"
)

// shared are the parameters about files that all instances use; they are
// copied from the primary where it sets them.
var shared = [...]string{
	"command_directory", "daemon_directory", "meta_directory", "mail_owner", "setgid_group", "sendmail_path", "mailq_path",
	"newaliases_path", "html_directory", "manpage_directory", "sample_directory", "readme_directory", "shlib_directory",
}

// layOut makes the directories and files of a new instance. master.cf comes
// last: with it the instance is complete.
func (p *postmulti) layOut(i *instance) error {
	protos := map[string]string{}
	for _, name := range []string{"main.cf", "master.cf"} {
		path := filepath.Join(p.MetaDirectory, name+".proto")
		text, err := os.ReadFile(path)
		if err != nil {
			return p.refuse("Missing %s prototype: %s", name, path)
		}
		protos[name] = string(text)
	}
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{{i.config, 0o755}, {i.queue, 0o755}, {i.data, 0o700}} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(i.config, ".tmp")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for name, text := range protos {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := p.settings(tmp, i); err != nil {
		return err
	}
	for _, name := range []string{"main.cf", "master.cf"} {
		if err := os.Rename(filepath.Join(tmp, name), filepath.Join(i.config, name)); err != nil {
			return err
		}
	}
	return nil
}

// settings makes the main.cf of a new instance: no port is opened and no mail
// is taken from users until the administrator says so.
func (p *postmulti) settings(dir string, i *instance) error {
	proto, err := maincf.Load(dir)
	if err != nil {
		return err
	}
	set := []string{"-e", "queue_directory = " + i.queue, "data_directory = " + i.data, "authorized_submit_users =", "master_service_disable = inet"}
	comment := []string{"-#"}
	for _, name := range shared {
		if value, _, ok := p.Main.Lookup(name); ok {
			set = append(set, name+" = "+value)
		} else if _, _, ok := proto.Lookup(name); ok {
			comment = append(comment, name)
		}
	}
	if len(comment) > 1 {
		if err := p.postconf(dir, comment...); err != nil {
			return err
		}
	}
	return p.postconf(dir, set...)
}

// remove takes the files of an instance away, as far as the mail system has
// made them. Mail and what the administrator has put there stays, and is named.
func (p *postmulti) remove(i *instance) {
	log := p.scriptLog()
	empty := func(path string) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warningf("%s: please verify contents and remove by hand", path)
		}
	}
	for _, d := range check.Directories() {
		if dir := filepath.Join(i.queue, d.Name); d.Name != "." {
			leftovers(dir, d.Name)
			empty(dir)
		}
	}
	for _, name := range []string{"master.lock", "prng_exch"} {
		os.Remove(filepath.Join(i.data, name))
	}
	empty(i.data)
	empty(i.queue)
	for _, name := range []string{"master.cf", "main.cf"} {
		os.Remove(filepath.Join(i.config, name))
	}
	empty(i.config)
	log.Flush(flushLimit)
}

// leftovers removes what a mail system that ran has left in a directory of its
// queue: sockets, FIFOs, lock files, files that hold no message, and empty
// directories below.
func leftovers(dir, name string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		special := e.Type()&(fs.ModeSocket|fs.ModeNamedPipe) != 0
		file := e.Type().IsRegular() && (name == "pid" || name == "spare")
		if special && (name == "public" || name == "private") || file || e.IsDir() {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
