package queue

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func spareStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	for _, q := range []string{"incoming", "active", "hold"} {
		if err := os.Mkdir(filepath.Join(dir, q), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Config{Dir: dir})
	t.Cleanup(func() { s.Close() })
	return s
}

func commitOne(t *testing.T, s *Store, text string) ID {
	t.Helper()
	d, err := s.Create(Incoming)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func spareNames(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Dir(), spareDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRecycle(t *testing.T) {
	s := spareStore(t)
	first := commitOne(t, s, "a long text of the first message")
	if err := s.Recycle(Incoming, first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(Incoming, first); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the recycled message is still there: %v", err)
	}
	names := spareNames(t, s)
	if len(names) != 1 {
		t.Fatalf("spare holds %v, want one file", names)
	}
	info, err := os.Stat(filepath.Join(s.Dir(), spareDir, names[0]))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("spare file: %v, want 0600", info.Mode())
	}

	second := commitOne(t, s, "short")
	if names := spareNames(t, s); len(names) != 0 {
		t.Errorf("the spare file was not used: %v", names)
	}
	if string(first[5:]) != string(second[5:]) {
		t.Errorf("ids %s and %s name different inodes", first, second)
	}
	b, err := os.ReadFile(filepath.Join(s.Dir(), s.Path(Incoming, second)))
	if err != nil || string(b) != "short" {
		t.Errorf("second message: %q, %v", b, err)
	}
}

// A message of several writes takes the place of a longer one, and nothing is
// left of that.
func TestRecycleLonger(t *testing.T) {
	for name, large := range map[string]int32{"large buffer": 0, "small buffer": maxLarge} {
		t.Run(name, func(t *testing.T) {
			s := spareStore(t)
			if err := s.Recycle(Incoming, commitOne(t, s, strings.Repeat("old mail", spareSize/8))); err != nil {
				t.Fatal(err)
			}
			s.large.Store(large)
			want := strings.Repeat("new mail", draftBuffer/8+1)
			id := commitOne(t, s, want)
			b, err := os.ReadFile(filepath.Join(s.Dir(), s.Path(Incoming, id)))
			if err != nil || string(b) != want {
				t.Errorf("file of %d octets, %v; want the %d of the new message alone", len(b), err, len(want))
			}
			if n := s.large.Load(); n != large {
				t.Errorf("%d large buffers are in use, want %d", n, large)
			}
		})
	}
}

// A file that somebody still works with is not used again.
func TestRecycleLocked(t *testing.T) {
	s := spareStore(t)
	id := commitOne(t, s, "text")
	f, err := os.Open(filepath.Join(s.Dir(), s.Path(Incoming, id)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := s.Recycle(Incoming, id); err != nil {
		t.Fatal(err)
	}
	if names := spareNames(t, s); len(names) != 0 {
		t.Errorf("a locked file became a spare: %v", names)
	}
	b := make([]byte, 10)
	if n, _ := f.Read(b); string(b[:n]) != "text" {
		t.Errorf("the holder of the lock reads %q", b[:n])
	}
}

// What lies in the directory is not trusted.
func TestSparesAreChecked(t *testing.T) {
	s := spareStore(t)
	spare := filepath.Join(s.Dir(), spareDir)
	if err := os.Mkdir(spare, 0o700); err != nil {
		t.Fatal(err)
	}
	inode := func(path string) uint64 {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	plant := func(text string, mode os.FileMode) string {
		tmp := filepath.Join(spare, "tmp")
		if err := os.WriteFile(tmp, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.Dir(), sparePath(inode(tmp)))
		if err := os.Rename(tmp, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plant("", 0o700)
	linked := plant("", 0o600)
	if err := os.Link(linked, filepath.Join(s.Dir(), "other")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(spare, "1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(spare, "2")); err != nil {
		t.Fatal(err)
	}
	before := len(spareNames(t, s))
	commitOne(t, s, "text")
	if got := len(spareNames(t, s)); got != before {
		t.Errorf("%d files were taken", before-got)
	}
}

func TestSparesAreBounded(t *testing.T) {
	s := spareStore(t)
	for range spareMax + 20 {
		// A store of its own makes each file, so that none is used again.
		maker := New(Config{Dir: s.Dir()})
		maker.spare.empty = time.Now().Add(time.Hour)
		maker.now = func() time.Time { return time.Now().Add(time.Hour + time.Millisecond) }
		id := commitOne(t, maker, "x")
		maker.Close()
		if err := s.Recycle(Incoming, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(spareNames(t, s)); got > spareMax {
		t.Errorf("%d spare files, want at most %d", got, spareMax)
	}
}

// A missing message is an error, as for Remove.
func TestRecycleMissing(t *testing.T) {
	s := spareStore(t)
	if err := s.Recycle(Incoming, "ABCDE12345"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}
