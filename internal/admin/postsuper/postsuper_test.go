package postsuper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail/queue"
)

// fixture is an instance of the test's own user.
type fixture struct {
	etc, dir string
	store    *queue.Store
	ids      map[string]queue.ID // by a short name
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{etc: dir + "/etc", dir: dir + "/queue", ids: map[string]queue.ID{}}
	for _, q := range append(append([]queue.Name{}, messageQueues...), logQueues...) {
		if err := os.MkdirAll(filepath.Join(f.dir, string(q)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(f.etc, 0o700)
	os.WriteFile(f.etc+"/main.cf", []byte("queue_directory = "+f.dir+"\n"), 0o600)
	f.store = queue.New(queue.Config{Dir: f.dir, HashNames: []string{"deferred", "defer"}, HashDepth: 1})
	t.Cleanup(func() { f.store.Close() })
	return f
}

// put makes a message called name, with a defer log.
func (f *fixture) put(t *testing.T, name string, q queue.Name) {
	t.Helper()
	d, err := f.store.Create(queue.Incoming)
	if err != nil {
		t.Fatal(err)
	}
	d.Queue = q
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	f.ids[name] = d.ID()
	if err := f.store.AppendLog(queue.Defer, d.ID(), []byte("log\n")); err != nil {
		t.Fatal(err)
	}
}

// tree lists the files with the messages' short names.
func (f *fixture) tree() string {
	var all []string
	filepath.Walk(f.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(f.dir, path)
		for name, id := range f.ids {
			if filepath.Base(rel) == string(id) {
				rel = strings.Split(rel, "/")[0] + "/" + name
			}
		}
		all = append(all, fmt.Sprintf("%s %o", rel, info.Mode().Perm()))
		return nil
	})
	sort.Strings(all)
	return strings.Join(all, "; ")
}

func (f *fixture) run(stdin string, args ...string) (int, string) {
	for i, arg := range args {
		if id, ok := f.ids[arg]; ok {
			args[i] = string(id)
		}
	}
	var out, errs bytes.Buffer
	status := Main(append([]string{"postsuper", "-c", f.etc}, args...), strings.NewReader(stdin), &out, &errs)
	text := errs.String()
	for name, id := range f.ids {
		text = strings.ReplaceAll(text, string(id), name)
	}
	return status, strings.ReplaceAll(text, "postsuper: ", "")
}

// The words and what becomes of the files were taken from Postfix 3.7.11.
func TestOrders(t *testing.T) {
	tests := []struct {
		args, want, tree string
	}{
		{"-h a -h NOSUCH -h A/B", "a: placed on hold\nwarning: invalid mail queue id: A/B\nPlaced on hold: 1 message\n",
			"defer/a 600; defer/b 600; hold/a 700; hold/b 700"},
		{"-H b", "b: released from hold\nReleased from hold: 1 message\n", "defer/a 600; defer/b 600; deferred/a 700; deferred/b 700"},
		{"-r a", "a: requeued\nRequeued: 1 message\n", "defer/a 600; defer/b 600; hold/b 700; maildrop/a 700"},
		{"-e a -e a", "a: expired\nForce-expired: 1 message\n", "defer/a 600; defer/b 600; deferred/a 710; hold/b 700"},
		{"-f b", "b: expired\nb: released from hold\nForce-expired: 1 message\nReleased from hold: 1 message\n",
			"defer/a 600; defer/b 600; deferred/a 700; deferred/b 710"},
		{"-d a -d a", "a: removed\nDeleted: 1 message\n", "defer/b 600; hold/b 700"},
		{"-d a hold", "Deleted: 0 messages\n", "defer/a 600; defer/b 600; deferred/a 700; hold/b 700"},
		{"-h a defer", "Placed on hold: 0 messages\n", "defer/a 600; defer/b 600; deferred/a 700; hold/b 700"},
		{"-d ALL deferred", "Deleted: 1 message\n", "defer/b 600; hold/b 700"},
		{"-d ALL -r ALL", "Requeued: 0 messages\nDeleted: 2 messages\n", ""},
		{"-h ALL", "Placed on hold: 1 message\n", "defer/a 600; defer/b 600; hold/a 700; hold/b 700"},
		{"-r ALL -H b", "b: released from hold\nRequeued: 2 messages\nReleased from hold: 1 message\n", "defer/a 600; defer/b 600; maildrop/a 700; maildrop/b 700"},
		{"-h", "option requires an argument -- 'h'\nfatal: usage: postsuper " + usage + "\n", "defer/a 600; defer/b 600; deferred/a 700; hold/b 700"},
		{"-d x corrupt", "fatal: invalid directory name: corrupt\n", "defer/a 600; defer/b 600; deferred/a 700; hold/b 700"},
	}
	for _, tt := range tests {
		f := newFixture(t)
		f.put(t, "a", queue.Deferred)
		f.put(t, "b", queue.Hold)
		status, got := f.run("", strings.Fields(tt.args)...)
		if failed := strings.Contains(tt.want, "fatal: "); got != tt.want || (status != 0) != failed {
			t.Errorf("%s: status %d\n got %q\nwant %q", tt.args, status, got, tt.want)
		}
		if tree := f.tree(); tree != tt.tree {
			t.Errorf("%s:\n got %s\nwant %s", tt.args, tree, tt.tree)
		}
	}
}

func TestStdin(t *testing.T) {
	f := newFixture(t)
	f.put(t, "a", queue.Incoming)
	_, got := f.run(string(f.ids["a"])+"\n\nxx yy\n", "-d", "-")
	if want := "a: removed\nwarning: invalid mail queue id: \nwarning: invalid mail queue id: xx yy\nDeleted: 1 message\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRequeueTime(t *testing.T) {
	f := newFixture(t)
	f.put(t, "a", queue.Deferred)
	f.store.SetNextTry(queue.Deferred, f.ids["a"], time.Now().Add(time.Hour))
	f.run("", "-r", "a")
	info, err := f.store.Stat(queue.Maildrop, f.ids["a"])
	if err != nil || info.ModTime.After(time.Now()) {
		t.Errorf("%v, %v", info.ModTime, err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestStructure(t *testing.T) {
	f := newFixture(t)
	write := func(path string) string {
		path = filepath.Join(f.dir, path)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// The name of each of two messages is what the other one should have.
	a, b := write("hold/X/A"), write("hold/B")
	inodeA, inodeB := inode(t, a), inode(t, b)
	nameA, nameB := fmt.Sprintf("12345%X", inodeA), fmt.Sprintf("12345%X", inodeB)
	os.Rename(a, filepath.Join(f.dir, "hold/X", nameB))
	os.Rename(b, filepath.Join(f.dir, "hold", nameA))
	write("defer/" + nameA)
	f.put(t, "deep", queue.Deferred)
	os.Rename(filepath.Join(f.dir, f.store.Path(queue.Deferred, f.ids["deep"])), filepath.Join(f.dir, "deferred", string(f.ids["deep"])))
	old := write("incoming/123.456")
	os.Chtimes(old, time.Now(), time.Now().Add(-8*24*time.Hour))
	unfinished := write("incoming/ABCDE1234")
	os.Chtimes(unfinished, time.Now(), time.Now().Add(-8*24*time.Hour))
	write("incoming/124.456")
	write("incoming/bad-name")
	write("flush/site_example")
	status, got := f.run("")
	if status != 0 || !strings.Contains(got, "Renamed to match inode number: 2 messages\n") || strings.Contains(got, "incoming/123.456") ||
		!strings.Contains(got, "bogus file name: incoming/124.456") || !strings.Contains(got, "bogus file name: incoming/bad-name") {
		t.Errorf("status %d, %s", status, got)
	}
	for _, path := range []string{
		"hold/" + nameA, "hold/" + nameB, f.store.Path(queue.Defer, queue.ID(nameB)),
		f.store.Path(queue.Deferred, f.ids["deep"]), "incoming/124.456", "flush/site_example",
	} {
		if _, err := os.Stat(filepath.Join(f.dir, path)); err != nil {
			t.Errorf("%v; have %s", err, f.tree())
		}
	}
	for _, path := range []string{old, unfinished} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	if got := inode(t, filepath.Join(f.dir, "hold", nameA)); got != inodeA {
		t.Errorf("%s has inode %X", nameA, got)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "hold/X")); err == nil {
		t.Error("the directory that does not belong there is still there")
	}
	if _, got := f.run("", "-s"); strings.Contains(got, "Renamed") {
		t.Errorf("a second run: %s", got)
	}
}
