package pagefile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/table"
)

const big = 3 * InMemory

// open makes a file of n octets c and opens it.
func open(t *testing.T, n int, c byte, inPlace bool, check func([]byte) error) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte{c}, n), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(f, 1, inPlace, check)
	if err != nil {
		f.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, path
}

func anything([]byte) error { return nil }

// first reads the octet at off.
func octet(p *File, off int64) (c byte, err error) {
	err = p.Use(func() error {
		b, err := p.Slice(off, 1)
		if err == nil {
			c = b[0]
		}
		return err
	})
	return c, err
}

func TestSlice(t *testing.T) {
	for _, n := range []int{10, big} {
		p, _ := open(t, n, 'a', true, anything)
		size := int64(n)
		if c, err := octet(p, size-1); c != 'a' || err != nil {
			t.Errorf("last: %q %v", c, err)
		}
		for _, at := range [][2]int64{{size, 1}, {-1, 1}, {0, -1}, {0, size + 1}, {1 << 62, 1 << 62}} {
			if _, err := p.Slice(at[0], at[1]); !errors.Is(err, ErrShort) {
				t.Errorf("%v: %v", at, err)
			}
		}
	}
}

// A small file that is changed in place is not seen to change: whoever watches
// the file opens it again. A large one is.
func TestChangedInPlace(t *testing.T) {
	checks := 0
	p, path := open(t, big, 'a', true, func([]byte) error { checks++; return nil })
	w, err := table.OpenLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	w.WriteAt(bytes.Repeat([]byte{'b'}, 2*big), 0)
	w.Close()
	if c, err := octet(p, 2*big-1); c != 'b' || err != nil {
		t.Errorf("after growth: %q %v", c, err)
	}
	if checks != 2 {
		t.Errorf("the head was checked %d times, want 2", checks)
	}
}

// A writer gets the lock although readers come without a pause.
func TestWriterIsNotStarved(t *testing.T) {
	p, path := open(t, big, 'a', true, anything)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				octet(p, 0)
			}
		}
	}()
	begin := time.Now()
	w, err := table.OpenLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	close(stop)
	<-done
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the writer waited for %v", took)
	}
}

// A writer waits for a lookup that is under way, and lookups for the writer.
func TestLock(t *testing.T) {
	p, path := open(t, big, 'a', true, anything)
	got := make(chan *os.File)
	err := p.Use(func() error {
		go func() {
			w, err := table.OpenLocked(path)
			if err != nil {
				t.Error(err)
			}
			got <- w
		}()
		select {
		case <-got:
			return errors.New("the writer has the lock during a lookup")
		case <-time.After(3 * lease):
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w := <-got
	read := make(chan error)
	go func() {
		_, err := octet(p, 0)
		read <- err
	}()
	select {
	case <-read:
		t.Error("a lookup does not wait for the writer")
	case <-time.After(3 * lease):
	}
	w.Close()
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// What somebody cut off without a lock is an error and not the end of the process.
func TestCutOff(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		p, path := open(t, big, 'a', inPlace, anything)
		err := p.Use(func() error {
			b, err := p.Slice(big-1, 1)
			if err != nil {
				return err
			}
			if err := os.Truncate(path, 10); err != nil {
				return err
			}
			if b[0] != 0 {
				return errors.New("there is still something")
			}
			return nil
		})
		if !errors.Is(err, ErrShort) {
			t.Errorf("in place %v: %v", inPlace, err)
		}
	}
}

func TestPanicIsNotHidden(t *testing.T) {
	p, _ := open(t, big, 'a', false, anything)
	defer func() {
		if recover() == nil {
			t.Error("a mistake of ours is hidden")
		}
	}()
	p.Use(func() error {
		var none []int
		none[len(none)]++
		return nil
	})
}

func TestWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f, 8)
	var kept []byte
	for i := range 2000 {
		pages := 1
		if i%500 == 250 {
			pages = 300 // more than a chunk
		}
		n, b := w.Add(pages)
		for j := range pages {
			copy(b[8*j:], []byte{byte(n + uint64(j)), byte((n + uint64(j)) >> 8)})
		}
		if i == 1000 {
			kept = b
		}
		if i < 1000 || kept == nil {
			w.Done(n)
		}
	}
	kept[7] = 1
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := w.Rewrite(0, []byte("page 0..")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || uint64(len(got)) != 8*w.Count() {
		t.Fatalf("%d octets, %v, want %d pages", len(got), err, w.Count())
	}
	if string(got[:8]) != "page 0.." {
		t.Errorf("page 0 is %q", got[:8])
	}
	changed := 0
	for n := 1; n < len(got)/8; n++ {
		if got[8*n] != byte(n) || got[8*n+1] != byte(n>>8) {
			t.Fatalf("page %d is %v", n, got[8*n:8*n+8])
		}
		changed += int(got[8*n+7])
	}
	if changed != 1 {
		t.Errorf("%d pages were changed late, want 1", changed)
	}
}
