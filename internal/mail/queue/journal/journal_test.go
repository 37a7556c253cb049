package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// read returns what the segments hold that nobody writes to.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	segments, _, err := NewDir(dir).Segments()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, s := range segments {
		defer s.Close()
		var ids []string
		for e, err := range s.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			got[e.ID] = string(e.Queue) + string(e.Body)
			ids = append(ids, e.ID)
		}
		var short []string
		for e, err := range s.Heads() {
			if err != nil {
				t.Fatal(err)
			}
			short = append(short, e.ID)
		}
		if !slices.Equal(ids, short) {
			t.Errorf("Heads gives %v, Entries %v", short, ids)
		}
	}
	return got
}

func TestAppend(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal") // made on demand
	w := NewWriter(NewDir(dir))
	want := make(map[string]string)
	var wg sync.WaitGroup
	for n := range 200 {
		id := fmt.Sprintf("ID%d", n)
		body := strings.Repeat("x", n*7)
		want[id] = "I" + body
		wg.Go(func() {
			if err := w.Append(Entry{Queue: 'I', ID: id, Body: []byte(body)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := read(t, dir); len(got) != 0 {
		t.Errorf("a segment in use was read: %d entries", len(got))
	}
	w.Close()
	if got := read(t, dir); !maps.Equal(got, want) {
		t.Errorf("read back %d entries, want %d", len(got), len(want))
	}
	if err := w.Append(Entry{ID: "LATE"}); !errors.Is(err, ErrUnusable) {
		t.Errorf("append after close: %v, want ErrUnusable", err)
	}
}

// A crash leaves the end of a segment in any state; what comes before counts.
func TestTornEnd(t *testing.T) {
	for _, damage := range []struct {
		name string
		do   func(b []byte) []byte
	}{
		{"cut in the body", func(b []byte) []byte { return b[:len(b)-3] }},
		{"cut in the head", func(b []byte) []byte { return b[:len(b)-entryHead-5] }},
		{"zeros", func(b []byte) []byte { clear(b[len(b)-20:]); return b }},
		{"wrong octet", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"something after it", func(b []byte) []byte { b[len(b)-1] ^= 1; return append(b, bytes.Repeat([]byte("junk"), 100)...) }},
	} {
		t.Run(damage.name, func(t *testing.T) {
			dir := t.TempDir()
			w := NewWriter(NewDir(dir))
			for _, id := range []string{"FIRST", "SECOND"} {
				if err := w.Append(Entry{Queue: 'I', ID: id, Body: []byte("content of " + id)}); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			names, _ := filepath.Glob(dir + "/" + segmentPrefix + "*")
			b, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(names[0], damage.do(b), 0o600); err != nil {
				t.Fatal(err)
			}
			segments, _, err := NewDir(dir).Segments()
			if err != nil || len(segments) != 1 {
				t.Fatal(segments, err)
			}
			defer segments[0].Close()
			var ids []string
			for e, err := range segments[0].Entries() {
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, e.ID)
			}
			if !slices.Equal(ids, []string{"FIRST"}) {
				t.Errorf("entries %v, want the first one", ids)
			}
		})
	}
}

// What an earlier use has left in a file is not read.
func TestFilesAreUsedAgain(t *testing.T) {
	dir := t.TempDir()
	first := NewWriter(NewDir(dir))
	for n := range 3 {
		first.Append(Entry{Queue: 'I', ID: fmt.Sprintf("OLD%d", n), Body: []byte("same length")})
	}
	first.Close()
	segments, _, err := NewDir(dir).Segments()
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	if err := segments[0].Remove(); err != nil {
		t.Fatal(err)
	}
	segments[0].Close()
	if got := read(t, dir); len(got) != 0 {
		t.Errorf("a removed segment is read: %v", got)
	}
	before, _ := os.ReadDir(dir)
	second := NewWriter(NewDir(dir))
	if err := second.Append(Entry{Queue: 'I', ID: "NEW0", Body: []byte("same length")}); err != nil {
		t.Fatal(err)
	}
	second.Close()
	if after, _ := os.ReadDir(dir); len(after) != len(before) {
		t.Errorf("%d files, then %d: the old one was not used", len(before), len(after))
	}
	if got := read(t, dir); !maps.Equal(got, map[string]string{"NEW0": "Isame length"}) {
		t.Errorf("read %v, want NEW0 alone", got)
	}
}

func TestFailingSync(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(NewDir(dir))
	boom := errors.New("boom")
	w.SetFault(func() error { return boom })
	if err := w.Append(Entry{Queue: 'I', ID: "LOST"}); !errors.Is(err, boom) {
		t.Errorf("append: %v, want the sync's error", err)
	}
	w.SetFault(nil)
	if err := w.Append(Entry{Queue: 'I', ID: "SAFE", Body: []byte("x")}); err != nil {
		t.Errorf("append after a failure: %v", err)
	}
	w.Close()
	if names, _ := filepath.Glob(dir + "/" + segmentPrefix + "*"); len(names) != 2 {
		t.Errorf("segments %v: the one that failed must not be written to again", names)
	}
	if got := read(t, dir); got["SAFE"] != "Ix" {
		t.Errorf("read %v, want SAFE", got)
	}
}

func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	w := NewWriter(NewDir(file))
	for range 2 {
		if err := w.Append(Entry{ID: "X"}); !errors.Is(err, ErrUnusable) {
			t.Errorf("append: %v, want ErrUnusable", err)
		}
	}
}

func TestDone(t *testing.T) {
	dir := t.TempDir()
	d, other := NewDone(NewDir(dir)), NewDone(NewDir(dir))
	defer d.Close()
	defer other.Close()
	for _, err := range []error{d.Add("A1"), other.Add("B2"), d.Add("C3"), d.Sync(), other.Sync(), d.Sync()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(dir + "/" + donePrefix + "*")
	f, _ := os.OpenFile(names[len(names)-1], os.O_APPEND|os.O_WRONLY, 0)
	f.WriteString("HALF") // a crash in the middle of a line
	f.Close()
	got, err := NewDir(dir).Done(time.Now().Add(-time.Minute))
	if err != nil || len(got) != 3 || got["A1"] == 0 || got["B2"] == 0 || got["C3"] == 0 {
		t.Errorf("Done: %v %v, want A1 B2 C3", got, err)
	}
	if got, _ := NewDir(dir).Done(time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("Done since later: %v", got)
	}
	if err := NewDir(dir).Forget(time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, _ := NewDir(dir).Done(time.Time{}); len(got) != 3 {
		t.Errorf("a list in use was forgotten: %v", got)
	}
	if err := NewDir(dir).Forget(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, _ := NewDir(dir).Done(time.Time{}); len(got) != 0 {
		t.Errorf("still there after Forget: %v", got)
	}
}

func TestDoneWithoutJournal(t *testing.T) {
	if err := NewDone(NewDir(filepath.Join(t.TempDir(), "none"))).Add("A1"); err != nil {
		t.Errorf("Add: %v, want nothing done", err)
	}
}

// Messages that come at the same time share a sync, also where nothing else runs
// while one is made.
func TestShareSync(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	dir := t.TempDir()
	w := NewWriter(NewDir(dir))
	if err := w.Append(Entry{Queue: 'I', ID: "FIRST"}); err != nil { // makes the segment
		t.Fatal(err)
	}
	var syncs atomic.Int32
	w.SetFault(func() error { syncs.Add(1); return nil })
	const rounds, messages = 16, 64
	for range rounds {
		var wg sync.WaitGroup
		for n := range messages {
			wg.Go(func() {
				if err := w.Append(Entry{Queue: 'I', ID: fmt.Sprint("ID", n), Body: []byte("text")}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	w.Close()
	if got := len(read(t, dir)); got != messages+1 {
		t.Errorf("%d messages in the journal, want %d", got, messages+1)
	}
	if n := syncs.Load(); n > 4*rounds {
		t.Errorf("%d syncs for %d messages", n, rounds*messages)
	}
}

// The system takes a limited number of parts at once.
func TestWriteAll(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var parts [][]byte
	for n := range 3 * maxParts {
		parts = append(parts, bytes.Repeat([]byte{byte('a' + n%26)}, n%7))
	}
	want := "0123" + string(bytes.Join(parts, nil))
	f.WriteString("0123")
	if err := writeAll(int(f.Fd()), parts, 4); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.Name()); string(got) != want {
		t.Errorf("got %d octets, want %d, or not the same ones", len(got), len(want))
	}
}

func FuzzSegment(f *testing.F) {
	head, stamp := header(NewDir("").boot)
	entry := Entry{Queue: 'I', ID: "ABC123", Body: []byte("some content")}
	e := append(entry.head(), entry.Body...)
	binary.LittleEndian.PutUint32(e, stamp)
	f.Add(append(slices.Clone(head), e...))
	f.Add(head[:10])
	f.Add(append(slices.Clone(head), bytes.Repeat([]byte{0xff}, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/"+segmentName(time.Now()), b, 0o600); err != nil {
			t.Fatal(err)
		}
		read := 0
		segments, _, err := NewDir(dir).Segments()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segments {
			for e, err := range s.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				read += entryHead + len(e.ID) + len(e.Body)
			}
			s.Close()
		}
		if read > len(b) {
			t.Errorf("read %d octets of entries from a file of %d", read, len(b))
		}
	})
}
