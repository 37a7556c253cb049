package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/mail/dsn"
	"postern/internal/mail/record"
)

// content is records given as "N:text", "L:text"; Xtra ends them.
type content struct {
	records []string
	err     error
}

func (c *content) Next() (record.Type, []byte, error) {
	if len(c.records) == 0 {
		if c.err != nil {
			return 0, nil, c.err
		}
		return record.Xtra, nil, nil
	}
	r := c.records[0]
	c.records = c.records[1:]
	return record.Type(r[0]), []byte(r[2:]), nil
}

func message(records ...string) *content { return &content{records: records} }

var when = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestCopy(t *testing.T) {
	mbox := Mbox("john doe@a.example", "orig@b.example", "to@b.example", when)
	null := Mbox("", "", "", when)
	dir := Maildir("a@a.example", "", "to@b.example")
	pipe := Copy{EOL: "\r\n", QuoteDots: true, Fields: []string{"X: y\nz"}}
	tests := []struct {
		copy    Copy
		records []string
		want    string
	}{
		{mbox, []string{"N:Subject: x", "N:", "N:From me", "N:>From", "N:Fromage"},
			"From \"john doe\"@a.example  Wed Mar  4 05:06:07 2026\nReturn-Path: <\"john doe\"@a.example>\nX-Original-To: orig@b.example\n" +
				"Delivered-To: to@b.example\nSubject: x\n\n>From me\n>From\nFromage\n\n"},
		{null, nil, "From MAILER-DAEMON  Wed Mar  4 05:06:07 2026\nReturn-Path: <>\n\n"},
		{dir, []string{"N:A: b", "N:", "N:From x", "L:long ", "L:From ", "N:end", "L:tail"},
			"Return-Path: <a@a.example>\nDelivered-To: to@b.example\nA: b\n\nFrom x\nlong From end\ntail\n"},
		{pipe, []string{"N:.", "L:.a", "N:.b", "N:c"}, "X: y?z\r\n..\r\n..a.b\r\nc\r\n"},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		if err := tt.copy.To(&b, message(tt.records...)); err != nil || b.String() != tt.want {
			t.Errorf("got %q, %v; want %q", b.String(), err, tt.want)
		}
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestCopyErrors(t *testing.T) {
	c := Maildir("a", "", "")
	broken := &content{records: []string{"N:x"}, err: syscall.EIO}
	if err := c.To(&bytes.Buffer{}, broken); !IsReadError(err) || !errors.Is(err, syscall.EIO) {
		t.Errorf("read error: got %v", err)
	}
	if err := c.To(&bytes.Buffer{}, message("S:a@b")); !IsReadError(err) {
		t.Errorf("bad record: got %v", err)
	}
	err := c.To(failingWriter{syscall.ENOSPC}, message("N:x"))
	if IsReadError(err) || err.Error() != "error writing message: No space left on device" {
		t.Errorf("write error: got %v", err)
	}
}

// Nothing that is wrong with the system is permanent.
func TestStatus(t *testing.T) {
	tests := []struct {
		err  error
		want dsn.Status
	}{
		{syscall.EIO, "4.3.0"}, {syscall.ENOSPC, "4.3.0"}, {syscall.EROFS, "4.3.0"}, {syscall.EMFILE, "4.3.0"},
		{syscall.EDQUOT, "4.2.2"}, {syscall.EAGAIN, "4.2.0"}, {syscall.EFBIG, "5.2.2"},
		{syscall.EACCES, "5.2.0"}, {syscall.ENOTDIR, "5.2.0"}, {&ReadError{syscall.EACCES}, "4.3.0"},
		{fmt.Errorf("x: %w", &os.PathError{Op: "open", Path: "/x", Err: syscall.EIO}), "4.3.0"},
	}
	for _, tt := range tests {
		if got := Status(tt.err, "5.2.0"); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.err, got, tt.want)
		}
	}
}

var self = sys.Owner{UID: os.Geteuid(), GID: os.Getegid()}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func wantError(t *testing.T, err error, status dsn.Status, text string) {
	t.Helper()
	e := new(Error)
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Reason, text) {
		t.Errorf("got %#v, want %s %q", err, status, text)
	}
}

// Where a file without a name can be given one, the directory tmp is not used;
// elsewhere it is. Both ways must end the same.
func TestMaildir(t *testing.T) {
	t.Run("by descriptor", func(t *testing.T) {
		n := NewNamer("host:1/x")
		d := maildir{Namer: n, dir: t.TempDir(), owner: self}
		if err := os.Mkdir(d.dir+"/new", 0o700); err != nil {
			t.Fatal(err)
		}
		if d.tryLink(); n.links.Load() != linkable {
			t.Skip("the system does not give names to open files here")
		}
		testMaildir(t, n)
	})
	t.Run("by tmp", func(t *testing.T) {
		n := NewNamer("host:1/x")
		n.links.Store(unlinkable)
		testMaildir(t, n)
	})
}

func testMaildir(t *testing.T, n *Namer) {
	dir := filepath.Join(t.TempDir(), "base", "domain", "user") + "/"
	c := Maildir("a@a.example", "", "u@b.example")
	if err := n.Deliver(&Dir{Path: dir, Owner: self, Limit: 0}, &c, message("N:A: b")); err != nil {
		t.Fatal(err)
	}
	got := files(t, dir+"new")
	if len(got) != 1 || len(files(t, dir+"tmp")) != 0 || len(files(t, dir+"cur")) != 0 {
		t.Fatalf("new: %q, tmp: %q", got, files(t, dir+"tmp"))
	}
	if name := filepath.Base(got[0]); !regexp.MustCompile(`^\d+\.V[0-9a-f]+I[0-9a-f]+M\d+\.host\\0721\\057x$`).MatchString(name) {
		t.Errorf("name %q", name)
	}
	text, err := os.ReadFile(got[0])
	if want := "Return-Path: <a@a.example>\nDelivered-To: u@b.example\nA: b\n"; err != nil || string(text) != want {
		t.Errorf("got %q, %v; want %q", text, err, want)
	}
	if st, err := os.Stat(got[0]); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := n.Deliver(&Dir{Path: dir, Owner: self, Limit: 0}, &c, message("N:A: b")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := files(t, dir+"new"); len(got) != 21 || len(files(t, dir+"tmp")) != 0 {
		t.Errorf("%d files, want 21; tmp: %q", len(got), files(t, dir+"tmp"))
	}
	for _, d := range n.disks.by {
		if err := d.all(); d.users != 0 || err != unix.EBADF {
			t.Errorf("%d deliveries left, the descriptor says %v", d.users, err)
		}
	}
}

// As root, a file belongs to the recipient whichever way it came.
func TestMaildirAsOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: credentials cannot be changed")
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/box", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir+"/box", 12345, 12345); err != nil {
		t.Fatal(err)
	}
	to := Dir{Path: dir + "/box", Owner: sys.Owner{UID: 12345, GID: 12345}}
	c := Maildir("a@a.example", "", "")
	for _, links := range []int32{0, unlinkable, 0} { // the first makes the Maildir
		n := NewNamer("host")
		n.links.Store(links)
		if err := n.Deliver(&to, &c, message("N:x")); err != nil {
			t.Fatal(err)
		}
	}
	got := files(t, dir+"/box/new")
	if len(got) != 3 {
		t.Fatalf("got %q", got)
	}
	for _, name := range got {
		st, err := os.Stat(name)
		if err != nil || st.Sys().(*syscall.Stat_t).Uid != 12345 || st.Sys().(*syscall.Stat_t).Gid != 12345 || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	// What the owner may not write, the process must not write for the owner.
	if err := os.Chown(dir+"/box/new", 0, 0); err != nil {
		t.Fatal(err)
	}
	wantError(t, NewNamer("host").Deliver(&to, &c, message("N:x")), "5.2.0", "Permission denied")
	if got := files(t, dir+"/box/tmp"); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestMaildirErrors(t *testing.T) {
	base := t.TempDir()
	n := NewNamer("host")
	c := Maildir("a", "", "")
	wantError(t, n.Deliver(&Dir{Path: base + "/m", Owner: self, Limit: 50}, &c, message("N:"+strings.Repeat("x", 100))), "5.2.2", "error writing message: File too large")
	wantError(t, n.Deliver(&Dir{Path: base + "/m", Owner: self, Limit: 0}, &c, &content{err: syscall.EIO}), "4.3.0", "error reading message")
	if got := append(files(t, base+"/m/tmp"), files(t, base+"/m/new")...); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
	if err := os.WriteFile(base+"/f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, n.Deliver(&Dir{Path: base + "/f", Owner: self, Limit: 0}, &c, message()), "5.2.0", "create maildir file "+base+"/f/tmp/")
}

func locker() *Locker {
	return &Locker{Methods: Methods{Fcntl: true, Flock: true, Dotlock: true}, Attempts: 3, Delay: 10 * time.Millisecond, Stale: time.Hour}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mbox")
	l := locker()
	l.Attempts, l.Delay = 100, time.Second
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			c := Mbox("a@b", "", "", when)
			if err := l.Append(&File{Path: path, Owner: self, Strict: true}, &c, message(fmt.Sprintf("N:number %d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(path)
	const want = "From a@b  Wed Mar  4 05:06:07 2026\nReturn-Path: <a@b>\nnumber #\n\n"
	if got := regexp.MustCompile(`number \d`).ReplaceAllString(string(text), "number #"); err != nil || got != strings.Repeat(want, 10) {
		t.Errorf("got %q, %v", got, err)
	}
	if got := files(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("files %q", got)
	}
	if len(l.busy) != 0 {
		t.Errorf("turns left: %v", l.busy)
	}
}

// A failed delivery leaves the file as it was.
func TestAppendTakesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mbox")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Mbox("a@b", "", "", when)
	big := message("N:" + strings.Repeat("x", 100_000))
	wantError(t, locker().Append(&File{Path: path, Owner: self, Limit: 60_000}, &c, big), "5.2.2", "File too large")
	wantError(t, locker().Append(&File{Path: path, Owner: self}, &c, &content{records: []string{"N:x"}, err: syscall.EIO}), "4.3.0", "error reading message")
	if text, err := os.ReadFile(path); err != nil || string(text) != "old\n" {
		t.Errorf("got %.20q, %v", text, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	dir := t.TempDir()
	c := Mbox("a@b", "", "", when)
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	try := func(path string, any bool) error {
		return locker().Append(&File{Path: path, Owner: self, Strict: true, Any: any}, &c, message())
	}
	linked := write("linked", 0o600)
	if err := os.Link(linked, linked+"2"); err != nil {
		t.Fatal(err)
	}
	wantError(t, try(linked, false), "4.2.0", "hard links")
	wantError(t, try(dir, false), "5.2.0", "Is a directory")
	wantError(t, try(dir+"/absent/file", false), "5.2.0", "No such file or directory")
	wantError(t, try(dir+"/absent/file", true), "5.2.0", "cannot create file exclusively: No such file or directory")
	wantError(t, try(write("exe", 0o700), true), "5.7.1", "file is executable")
	if err := try("/dev/null", true); err != nil {
		t.Errorf("/dev/null: %v", err)
	}
	wantError(t, try("/dev/full", true), "4.3.0", "error writing message: No space left on device")
	wantError(t, try("/dev/null", false), "5.2.0", "destination /dev/null is not a regular file")
	locked := write("locked", 0o600)
	write("locked.lock", 0o600)
	wantError(t, try(locked, false), "4.2.0", "unable to create lock file")
	flocked := write("flocked", 0o600)
	f, err := os.OpenFile(flocked, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sys.OFDLock(f, true); err != nil {
		t.Fatal(err)
	}
	wantError(t, try(flocked, false), "4.2.0", "unable to lock for exclusive access")
}

func TestStaleLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mbox")
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(path+".lock", old, old); err != nil {
		t.Fatal(err)
	}
	c := Mbox("a@b", "", "", when)
	if err := locker().Append(&File{Path: path, Owner: self}, &c, message()); err != nil {
		t.Error(err)
	}
}

// As root, files belong to the recipient, and links of others are not followed.
func TestAppendAsOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: credentials cannot be changed")
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner := sys.Owner{UID: 12345, GID: 12345}
	c := Mbox("a@b", "", "", when)
	f := &File{Path: dir + "/user", Owner: owner, Creator: &sys.Owner{}, Strict: true}
	for range 2 {
		if err := locker().Append(f, &c, message("N:x")); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(f.Path)
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != 12345 || st.Size() < 50 {
		t.Errorf("got %v, %v", st, err)
	}
	if err := os.Chown(f.Path, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	err = locker().Append(f, &c, message("N:x"))
	wantError(t, err, "4.2.0", "is not owned by recipient")
	if !errors.Is(err, ErrNotOwner) {
		t.Errorf("cause of %v", err)
	}
	link := dir + "/link"
	if err := os.Symlink(dir+"/user", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, 1, 1); err != nil {
		t.Fatal(err)
	}
	f.Path = link
	wantError(t, locker().Append(f, &c, message("N:x")), "4.2.0", "symbolic link")
	f.Creator, f.Path = nil, dir+"/new"
	wantError(t, locker().Append(f, &c, message("N:x")), "5.2.0", "Permission denied")
}

func TestParseMethods(t *testing.T) {
	m, err := ParseMethods("p", "fcntl, dotlock")
	if want := (Methods{Fcntl: true, Dotlock: true}); err != nil || m != want {
		t.Errorf("got %v, %v", m, err)
	}
	for _, bad := range []string{"", "foo"} {
		if _, err := ParseMethods("p", bad); err == nil || !strings.Contains(err.Error(), "parameter p") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}
