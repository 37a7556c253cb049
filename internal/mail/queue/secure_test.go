package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func journaledStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	for _, q := range []string{"incoming", "active", "deferred", "hold", "corrupt", "maildrop"} {
		if err := os.Mkdir(filepath.Join(dir, q), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return reopen(t, dir)
}

func reopen(t *testing.T, dir string) *Store {
	s := New(Config{Dir: dir, Journal: true})
	t.Cleanup(func() { s.Close() })
	return s
}

// powerCut makes the journal one of an earlier run of the machine.
func powerCut(t *testing.T, s *Store) {
	t.Helper()
	s.Close()
	names, _ := filepath.Glob(s.Dir() + "/" + journalDir + "/new.*")
	if len(names) == 0 {
		t.Fatal("there is no journal")
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip("the kernel does not name its run: no /proc")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Replace(b, boot[:36], []byte("00000000-0000-0000-0000-000000000000"), 1)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// contents returns what the complete messages of the queue hold.
func contents(t *testing.T, s *Store, q Name) []string {
	t.Helper()
	var all []string
	for id, err := range s.Scan(q) {
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Stat(q, id)
		if err != nil || !info.Ready() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.Dir(), s.Path(q, id)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

func TestRecover(t *testing.T) {
	const text = "R a message that was accepted, W 000123"
	damaged := func(s *Store, id ID, b []byte) {
		os.WriteFile(filepath.Join(s.Dir(), s.Path(Active, id)), b, 0o700)
	}
	for _, c := range []struct {
		name  string
		cut   func(s *Store, id ID) // what has become of the file in "active"
		want  map[Name]string
		lines int
	}{
		{"intact", func(s *Store, id ID) {}, map[Name]string{Active: text}, 0},
		{"missing", func(s *Store, id ID) { os.Remove(filepath.Join(s.Dir(), s.Path(Active, id))) }, map[Name]string{Incoming: text}, 1},
		{"empty", func(s *Store, id ID) { damaged(s, id, nil) }, map[Name]string{Incoming: text}, 2},
		{"zeros", func(s *Store, id ID) { damaged(s, id, make([]byte, len(text))) }, map[Name]string{Incoming: text}, 2},
		{"older content", func(s *Store, id ID) { damaged(s, id, []byte("R another message that was here before!")) }, map[Name]string{Incoming: text}, 2},
		{"incomplete", func(s *Store, id ID) { os.Chmod(filepath.Join(s.Dir(), s.Path(Active, id)), 0o600) }, map[Name]string{Incoming: text}, 2},
		{"a recipient done", func(s *Store, id ID) { damaged(s, id, []byte("D"+text[1:])) }, map[Name]string{Active: "D" + text[1:]}, 0},
		{"a warning sent", func(s *Store, id ID) { damaged(s, id, []byte(strings.Replace(text, "000123", "     0", 1))) }, map[Name]string{Active: strings.Replace(text, "000123", "     0", 1)}, 0},
		{"removed", func(s *Store, id ID) { s.Remove(Active, id) }, nil, 0},
		{"recycled", func(s *Store, id ID) { s.Recycle(Active, id) }, nil, 0},
		{"corrupt", func(s *Store, id ID) { s.Move(id, Active, Corrupt); s.SetMode(Corrupt, id, 0o400) }, nil, 0},
		{"requeued", func(s *Store, id ID) { s.Rename(Active, id, Maildrop, "ABCDEF12") }, map[Name]string{Maildrop: text}, 0},
		{"requeued under the same id", func(s *Store, id ID) { s.Move(id, Active, Maildrop) }, map[Name]string{Maildrop: text}, 0},
		{"deferred", func(s *Store, id ID) { s.Move(id, Active, Deferred) }, map[Name]string{Deferred: text}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := journaledStore(t)
			id := commitOne(t, s, text)
			if err := s.Move(id, Incoming, Active); err != nil {
				t.Fatal(err)
			}
			c.cut(s, id)
			powerCut(t, s)
			var lines []string
			again := reopen(t, s.Dir())
			if err := again.Recover(func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }); err != nil {
				t.Fatal(err)
			}
			for _, q := range []Name{Incoming, Active, Deferred, Hold, Maildrop} {
				if got := strings.Join(contents(t, again, q), "|"); got != c.want[q] {
					t.Errorf("queue %s holds %q, want %q", q, got, c.want[q])
				}
			}
			if len(lines) != c.lines {
				t.Errorf("reported %q, want %d lines", lines, c.lines)
			}
			// Once is enough.
			if err := again.Recover(t.Errorf); err != nil {
				t.Error(err)
			}
			if names, _ := filepath.Glob(again.Dir() + "/" + journalDir + "/new.*"); len(names) != 0 {
				t.Errorf("the journal is still there: %v", names)
			}
		})
	}
}

// A message that was held is held again.
func TestRecoverHeld(t *testing.T) {
	s := journaledStore(t)
	d, err := s.Create(Incoming)
	if err != nil {
		t.Fatal(err)
	}
	d.Write([]byte("held"))
	d.Queue = Hold
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(s.Dir(), s.Path(Hold, d.ID())))
	powerCut(t, s)
	again := reopen(t, s.Dir())
	if err := again.Recover(func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, again, Hold); len(got) != 1 || got[0] != "held" {
		t.Errorf("hold has %q", got)
	}
}

// A process that died left everything with the system: nothing is restored, not
// even what somebody else has removed meanwhile.
func TestRecoverSameRun(t *testing.T) {
	s := journaledStore(t)
	id := commitOne(t, s, "delivered by another system")
	s.Close()
	os.Remove(filepath.Join(s.Dir(), s.Path(Incoming, id)))
	again := reopen(t, s.Dir())
	if err := again.Recover(t.Errorf); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, again, Incoming); len(got) != 0 {
		t.Errorf("restored %q", got)
	}
}

// After a failed sync the message is gone, and stays gone.
func TestFailedCommitIsNotRestored(t *testing.T) {
	s := journaledStore(t)
	commitOne(t, s, "first")
	s.journal.SetFault(func() error { return errors.New("no") })
	d, err := s.Create(Incoming)
	if err != nil {
		t.Fatal(err)
	}
	d.Write([]byte("second"))
	if err := d.Commit(); err == nil {
		t.Fatal("commit succeeded")
	}
	if err := d.Cancel(); err != nil {
		t.Fatal(err)
	}
	powerCut(t, s)
	again := reopen(t, s.Dir())
	if err := again.Recover(t.Errorf); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, again, Incoming); len(got) != 1 || got[0] != "first" {
		t.Errorf("incoming has %q, want the first message", got)
	}
}

func TestSettle(t *testing.T) {
	s := journaledStore(t)
	var ids []ID
	for n := range 5 {
		ids = append(ids, commitOne(t, s, fmt.Sprintf("message %d", n)))
	}
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	segments := func() int {
		names, _ := filepath.Glob(s.Dir() + "/" + journalDir + "/new.*")
		return len(names)
	}
	if segments() != 1 {
		t.Errorf("%d segments, want the one in use", segments())
	}
	for _, err := range []error{
		s.Move(ids[0], Incoming, Active), s.Move(ids[1], Incoming, Deferred), s.Move(ids[2], Incoming, Hold), s.Recycle(Incoming, ids[3]),
		os.Remove(filepath.Join(s.Dir(), s.Path(Incoming, ids[4]))), // by somebody who does not say so
		s.journal.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	if segments() != 1 {
		t.Error("the journal forgot a message that it cannot find")
	}
	s.now = func() time.Time { return time.Now().Add(2 * patience) }
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	if segments() != 0 {
		t.Error("the journal is not settled")
	}
}

// A message that is larger than the buffer of its draft is restored, too.
func TestRecoverMedium(t *testing.T) {
	text := strings.Repeat("0123456789abcde\n", journalMax/16)
	s := journaledStore(t)
	id := commitOne(t, s, text)
	os.Remove(filepath.Join(s.Dir(), s.Path(Incoming, id)))
	powerCut(t, s)
	again := reopen(t, s.Dir())
	if err := again.Recover(func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, again, Incoming); len(got) != 1 || got[0] != text {
		t.Errorf("%d messages were restored, want the one of %d octets", len(got), len(text))
	}
}

// Large messages, and those for which there is no journal, are synced by
// themselves.
func TestWithoutJournal(t *testing.T) {
	large := strings.Repeat("x", journalMax+1)
	s := journaledStore(t)
	commitOne(t, s, large)
	if _, err := os.Stat(s.Dir() + "/" + journalDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a large message went to the journal: %v", err)
	}
	os.WriteFile(s.Dir()+"/"+journalDir, nil, 0o600) // no directory
	id := commitOne(t, s, "small")
	if got := contents(t, s, Incoming); len(got) != 2 {
		t.Errorf("incoming has %d messages, want 2", len(got))
	}
	if err := s.Remove(Incoming, id); err != nil {
		t.Error(err)
	}
}

func TestScrubSpares(t *testing.T) {
	s := journaledStore(t)
	for _, text := range []string{"old secret", "second secret"} {
		id := commitOne(t, s, text)
		defer func() { s.Recycle(Incoming, id) }()
	}
	id := commitOne(t, s, "third secret")
	if err := s.Recycle(Incoming, id); err != nil {
		t.Fatal(err)
	}
	sizes := func() (n int64) {
		entries, _ := os.ReadDir(filepath.Join(s.Dir(), spareDir))
		for _, e := range entries {
			info, _ := e.Info()
			n += info.Size()
		}
		return n
	}
	if err := s.ScrubSpares(time.Now().Add(-time.Minute)); err != nil || sizes() == 0 {
		t.Errorf("files of the last minute were emptied: %v", err)
	}
	if err := s.ScrubSpares(time.Now().Add(time.Minute)); err != nil || sizes() != 0 {
		t.Errorf("%d octets of old messages are left: %v", sizes(), err)
	}
	if d, err := s.Create(Incoming); err != nil || !d.spare {
		t.Errorf("an emptied file is not used again: %v", err)
	}
}

// A short id comes back when a file is used again in the same microsecond of
// another second: what was noted of the message before is not about the next one.
func TestRecoverReusedID(t *testing.T) {
	s := journaledStore(t)
	moment := time.Now()
	s.now = func() time.Time { return moment }
	first := commitOne(t, s, "the first message")
	if err := s.Recycle(Incoming, first); err != nil {
		t.Fatal(err)
	}
	moment = moment.Add(time.Second)
	second := commitOne(t, s, "the second message")
	if first != second {
		t.Skipf("the file was not used again: %s, then %s", first, second)
	}
	powerCut(t, s)
	if err := os.Remove(filepath.Join(s.Dir(), s.Path(Incoming, second))); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s.Dir())
	if err := s.Recover(t.Logf); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, s, Incoming); len(got) != 1 || got[0] != "the second message" {
		t.Errorf("in the queue: %q, want the second message", got)
	}
}

// What was noted since a segment in use was begun is kept, whatever else is settled.
func TestSettleKeepsNotes(t *testing.T) {
	s := journaledStore(t)
	segments := func() []string {
		names, _ := filepath.Glob(s.Dir() + "/" + journalDir + "/new.*")
		return names
	}
	age := func(name string, by time.Duration) {
		t.Helper()
		older := fmt.Sprintf("%s/%s/new.%d.1", s.Dir(), journalDir, time.Now().Add(-by).UnixMicro())
		if err := os.Rename(name, older); err != nil {
			t.Fatal(err)
		}
	}
	commitOne(t, s, "left")
	s.Close()
	age(segments()[0], 20*time.Second)
	s = reopen(t, s.Dir())
	commitOne(t, s, "in use")
	age(segments()[1], 10*time.Second)
	note := fmt.Sprintf("%s/%s/done.%d", s.Dir(), journalDir, time.Now().Add(-9*time.Second).Unix()/4)
	if err := os.WriteFile(note, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	if n := len(segments()); n != 1 {
		t.Errorf("%d segments, want the one in use", n)
	}
	if _, err := os.Stat(note); err != nil {
		t.Errorf("what is done of the segment in use is forgotten: %v", err)
	}
}
