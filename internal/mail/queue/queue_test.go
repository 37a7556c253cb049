package queue

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testStore(t *testing.T, c Config) *Store {
	t.Helper()
	c.Dir = t.TempDir()
	for _, n := range names {
		if err := os.Mkdir(filepath.Join(c.Dir, string(n)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := New(c)
	t.Cleanup(func() { s.Close() })
	return s
}

func create(t *testing.T, s *Store, q Name, text string) ID {
	t.Helper()
	d, err := s.Create(q)
	if err != nil {
		t.Fatal(err)
	}
	d.Write([]byte(text))
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func TestNewID(t *testing.T) {
	at := time.Unix(1289434425, 762381000)
	tests := []struct {
		long  bool
		inode uint64
		want  ID
	}{
		{false, 0x1234AB, "BA20D1234AB"},
		{false, 5, "BA20D5"},
		{true, 51, "3NLPqs5Px9z10"},
	}
	for _, tt := range tests {
		if got := newID(at, tt.inode, tt.long); got != tt.want {
			t.Errorf("newID(%v, %d) = %q, want %q", tt.long, tt.inode, got, tt.want)
		}
	}
}

func TestLongIDParts(t *testing.T) {
	at := time.Unix(1700000000, 999999000)
	for _, inode := range []uint64{1, 50, 51, 123456789} {
		id := newID(at, inode, true)
		if !id.Long() {
			t.Errorf("%s is not long", id)
		}
		if got := id.hashKey(); got != "F423F" {
			t.Errorf("hashKey(%s) = %s, want F423F", id, got)
		}
		if same, ok := id.WithInode(inode); same != id || !ok {
			t.Errorf("WithInode = %s, want %s", same, id)
		}
	}
	short := newID(at, 0xABC, false)
	if short.Long() || short.Inode() != "ABC" || short.hashKey() != string(short) {
		t.Errorf("short id %s: %v %s", short, short.Long(), short.Inode())
	}
	if other, _ := short.WithInode(0xDEF); other != "F423FDEF" {
		t.Errorf("WithInode = %s", other)
	}
}

func TestParseID(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "../x", "123.456", "a\x00", "a b", strings.Repeat("A", 256)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q): no error", bad)
		}
	}
	for _, good := range []string{"A", "BA20D1234AB", "example_com", "3Pt2mN2VXxznjll"} {
		if _, err := ParseID(good); err != nil {
			t.Errorf("ParseID(%q): %v", good, err)
		}
	}
}

func TestPath(t *testing.T) {
	s := New(Config{HashNames: []string{"deferred", "defer"}, HashDepth: 2})
	tests := []struct {
		q    Name
		id   ID
		want string
	}{
		{Incoming, "BA20D12", "incoming/BA20D12"},
		{Deferred, "BA20D12", "deferred/B/A/BA20D12"},
		{Defer, "B", "defer/B/_/B"},
		{Deferred, "3NLPqs5Px9z10", "deferred/B/A/3NLPqs5Px9z10"},
	}
	for _, tt := range tests {
		if got := s.Path(tt.q, tt.id); got != tt.want {
			t.Errorf("Path(%s, %s) = %s, want %s", tt.q, tt.id, got, tt.want)
		}
	}
}

func TestNothingEscapes(t *testing.T) {
	s := testStore(t, Config{})
	errs := []error{
		s.Remove(Incoming, "../x"),
		s.Remove("../etc", "x"),
		s.Move("a/b", Incoming, Active),
		s.Move("a", Incoming, ".."),
		s.SetNextTry(Incoming, "..", time.Now()),
		s.SetMode(Incoming, "", 0o700),
	}
	_, err := s.Open(Incoming, "../incoming")
	errs = append(errs, err)
	_, err = s.Create("..")
	errs = append(errs, err)
	_, err = s.Scanner("/")
	errs = append(errs, err)
	for i, err := range errs {
		if err == nil {
			t.Errorf("step %d: no error", i)
		}
	}
}

func TestLifeOfAMessage(t *testing.T) {
	for _, long := range []bool{false, true} {
		s := testStore(t, Config{HashNames: []string{"deferred"}, HashDepth: 1, LongIDs: long})
		d, err := s.Create(Incoming)
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := s.Stat(Incoming, d.ID()); info.Ready() || info.Mode != modeDraft {
			t.Errorf("draft is of mode %v", info.Mode)
		}
		text := strings.Repeat("0123456789", 10_000)
		io.WriteString(d, text)
		d.WriteAt([]byte("early"), 5)
		d.WriteAt([]byte("late"), int64(len(text)-4))
		if _, err := d.WriteAt([]byte("beyond"), int64(len(text)-1)); err == nil {
			t.Error("write beyond the end: no error")
		}
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := d.Cancel(); err != nil {
			t.Errorf("Cancel after Commit: %v", err)
		}
		id := d.ID()
		if err := s.Move(id, Incoming, Deferred); err != nil {
			t.Fatal(err)
		}
		next := time.Now().Add(time.Hour).Truncate(time.Second)
		if err := s.SetNextTry(Deferred, id, next); err != nil {
			t.Fatal(err)
		}
		f, err := s.Open(Deferred, id)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !f.Info().Ready() || !f.Info().ModTime.Equal(next) || f.Size() != int64(len(text)) {
			t.Errorf("info %+v", f.Info())
		}
		b := make([]byte, len(text))
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		want := text[:5] + "early" + text[10:len(text)-4] + "late"
		if string(b) != want {
			t.Error("the file does not hold what was written")
		}
		if err := f.MarkDone(9); err != nil {
			t.Fatal(err)
		}
		f.ReadAt(b[:1], 9)
		if b[0] != 'D' {
			t.Errorf("MarkDone wrote %q", b[0])
		}
		if got, want := id.Inode(), string(newID(time.Unix(0, 0), f.Info().Inode, long).Inode()); got != want {
			t.Errorf("inode part %s, want %s", got, want)
		}
		if err := s.Remove(Deferred, id); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(Deferred, id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open after remove: %v", err)
		}
	}
}

func TestCommitElsewhere(t *testing.T) {
	s := testStore(t, Config{})
	d, err := s.Create(Incoming)
	if err != nil {
		t.Fatal(err)
	}
	d.Queue = Hold
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Stat(Hold, d.ID()); err != nil || !info.Ready() {
		t.Errorf("stat hold: %+v, %v", info, err)
	}
	if info, _ := s.Stat(Maildrop, create(t, s, Maildrop, "x")); info.Mode != 0o744 {
		t.Errorf("maildrop file has mode %o", info.Mode)
	}
}

func TestFaults(t *testing.T) {
	for _, op := range []Op{OpWrite, OpChmod, OpSync, OpRename} {
		s := testStore(t, Config{})
		broken := false
		s.SetFault(func(o Op, _ Name, _ ID) error {
			if broken && o == op {
				return unix.EIO
			}
			return nil
		})
		d, err := s.Create(Incoming)
		if err != nil {
			t.Fatal(err)
		}
		d.Queue = Hold
		d.Write([]byte("text"))
		broken = true
		if err := d.Commit(); !errors.Is(err, unix.EIO) {
			t.Errorf("%s: Commit: %v", op, err)
		}
		broken = false
		if err := d.Commit(); err == nil {
			t.Errorf("%s: second Commit succeeds", op)
		}
		if err := d.Cancel(); err != nil {
			t.Errorf("%s: Cancel: %v", op, err)
		}
		if files := listed(t, s, Incoming, Hold); len(files) != 0 {
			t.Errorf("%s: left behind: %v", op, files)
		}
	}
	s := testStore(t, Config{})
	s.SetFault(func(o Op, _ Name, _ ID) error {
		if o == OpRename {
			return unix.ENOSPC
		}
		return nil
	})
	if _, err := s.Create(Incoming); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Create: %v", err)
	}
	if files := listed(t, s, Incoming); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func listed(t *testing.T, s *Store, queues ...Name) []string {
	t.Helper()
	var all []string
	for _, q := range queues {
		sc, err := s.Scanner(q)
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, err := sc.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e.Path)
		}
	}
	sort.Strings(all)
	return all
}

func TestScan(t *testing.T) {
	s := testStore(t, Config{HashNames: []string{"deferred"}, HashDepth: 2})
	want := map[ID]bool{}
	for range 600 {
		id := create(t, s, Incoming, "")
		if err := s.Move(id, Incoming, Deferred); err != nil {
			t.Fatal(err)
		}
		want[id] = true
	}
	os.WriteFile(filepath.Join(s.Dir(), "deferred", "123.456"), nil, 0o600)
	os.WriteFile(filepath.Join(s.Dir(), "deferred", "x"), nil, 0o600)
	n := 0
	for id, err := range s.Scan(Deferred) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[id] {
			t.Errorf("unexpected id %s", id)
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%d ids, want %d", n, len(want))
	}
	for range s.Scan(Deferred) {
		break
	}
}

func TestLocks(t *testing.T) {
	s := testStore(t, Config{})
	id := create(t, s, Active, "x")
	open := func() *File {
		f, err := s.Open(Active, id)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	a, b, c := open(), open(), open()
	if err := errors.Join(a.LockShared(), b.LockShared()); err != nil {
		t.Error(err)
	}
	if err := c.Lock(); !errors.Is(err, ErrBusy) {
		t.Errorf("Lock beside a shared lock: %v", err)
	}
	a.Close()
	b.Close()
	if err := c.Lock(); err != nil {
		t.Error(err)
	}
	if err := open().LockShared(); !errors.Is(err, ErrBusy) {
		t.Errorf("LockShared beside a lock: %v", err)
	}
}

func TestLogs(t *testing.T) {
	s := testStore(t, Config{HashNames: []string{"defer"}, HashDepth: 1})
	for _, add := range []func(Name, ID, []byte) error{s.AppendLog, s.AppendHint} {
		if err := add(Defer, "ABC1234", []byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	f, err := s.Open(Defer, "ABC1234")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 10)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "line\nline\n" {
		t.Errorf("log holds %q, %v", b, err)
	}
	if err := errors.Join(f.LockWait(), f.Truncate()); err != nil {
		t.Error(err)
	}
	if info, _ := f.Stat(); info.Size != 0 {
		t.Errorf("size after Truncate: %d", info.Size)
	}
	f.Close() // gives the lock up
	broken := errors.New("broken")
	s.SetFault(func(o Op, _ Name, _ ID) error {
		if o == OpSync {
			return broken
		}
		return nil
	})
	if err := s.AppendLog(Defer, "ABC1234", []byte("line\n")); !errors.Is(err, broken) {
		t.Errorf("failing fsync: %v", err)
	}
}

func TestDraftReadsBack(t *testing.T) {
	readsBack(t, testStore(t, Config{}))
	noLarge := testStore(t, Config{})
	noLarge.large.Store(maxLarge)
	readsBack(t, noLarge)
}

func readsBack(t *testing.T, s *Store) {
	d, err := s.Create(Incoming)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Cancel()
	text := strings.Repeat("0123456789", 5_000)
	d.Write([]byte(text[:30_000]))
	d.Write([]byte(text[30_000:]))
	d.Write([]byte{'!'})
	b := make([]byte, len(text)+1)
	if n, err := d.ReadAt(b, 0); string(b[:n]) != text+"!" || err != nil && err != io.EOF {
		t.Errorf("read %d octets, %v", n, err)
	}
	if n, err := d.ReadAt(b[:10], d.Size()-1); n != 1 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	// Across what is in the file and what is still buffered.
	d.Write([]byte("tail"))
	if _, err := d.WriteAt([]byte("XYZ"), d.Size()-5); err != nil {
		t.Fatal(err)
	}
	if n, _ := d.ReadAt(b[:5], d.Size()-5); string(b[:n]) != "XYZil" {
		t.Errorf("got %q", b[:n])
	}
}

func TestOddFiles(t *testing.T) {
	s := testStore(t, Config{})
	dir := filepath.Join(s.Dir(), "incoming")
	os.Symlink("/etc/passwd", filepath.Join(dir, "LINK"))
	os.Mkdir(filepath.Join(dir, "DIRECTORY"), 0o700)
	unix.Mkfifo(filepath.Join(dir, "FIFO"), 0o600)
	for _, id := range []ID{"LINK", "DIRECTORY", "FIFO"} {
		if f, err := s.OpenRead(Incoming, id); err == nil {
			f.Close()
			t.Errorf("%s opens", id)
		}
	}
}

func BenchmarkCreateCommit(b *testing.B) {
	dir := b.TempDir()
	os.Mkdir(filepath.Join(dir, "incoming"), 0o700)
	s := New(Config{Dir: dir})
	defer s.Close()
	s.SetFault(nil)
	line := []byte(strings.Repeat("x", 70))
	b.ReportAllocs()
	for b.Loop() {
		d, err := s.Create(Incoming)
		if err != nil {
			b.Fatal(err)
		}
		for range 60 {
			d.Write(line)
		}
		if err := d.Commit(); err != nil {
			b.Fatal(err)
		}
		s.Remove(Incoming, d.ID())
	}
}
