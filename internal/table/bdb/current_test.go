package bdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"postern/internal/table"
)

// states builds two tables with the same keys, whose values say which it is.
func states(t *testing.T, kind string, n int) (path string, files [2][]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "map")
	for i := range files {
		m := map[string]string{}
		for k := range n {
			m[fmt.Sprintf("key%d", k)] = fmt.Sprintf("value %d of table %d", k, i)
		}
		build(t, kind, path, m)
		b, err := os.ReadFile(path + ".db")
		if err != nil {
			t.Fatal(err)
		}
		files[i] = b
	}
	return path, files
}

// A table that is replaced, or written where it is under a lock as Postfix's
// postmap does, is always one of the two: no key is ever missing.
func TestAlwaysWhole(t *testing.T) {
	writers := map[string]func(path string, b []byte) error{
		"replaced": func(path string, b []byte) error {
			return table.Target{Path: path, Perm: 0o600}.Replace(func(f *os.File) error { _, err := f.Write(b); return err })
		},
		"in place": func(path string, b []byte) error {
			f, err := table.OpenLocked(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := f.Truncate(0); err != nil {
				return err
			}
			for len(b) > 0 { // in pieces, so that there is a time between
				n := min(len(b), 3000)
				if _, err := f.Write(b[:n]); err != nil {
					return err
				}
				b = b[n:]
			}
			return nil
		},
	}
	for name, write := range writers {
		for _, kind := range []string{"hash", "btree"} {
			for _, n := range []int{50, 20000} { // in memory, mapped
				t.Run(fmt.Sprintf("%s/%s/%d", name, kind, n), func(t *testing.T) {
					path, files := states(t, kind, n)
					tab, err := opener().Open(kind + ":" + path)
					if err != nil {
						t.Fatal(err)
					}
					var stop atomic.Bool
					done := make(chan error, 1)
					go func() {
						defer stop.Store(true)
						for i := range 20 {
							if err := write(path+".db", files[i%2]); err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
					for i := 0; !stop.Load(); i++ {
						k := i * 7919 % n
						got, found, err := tab.Lookup(context.Background(), fmt.Sprintf("key%d", k))
						var key, state int
						_, scan := fmt.Sscanf(got, "value %d of table %d", &key, &state)
						if err != nil || !found || scan != nil || key != k {
							stop.Store(true)
							t.Errorf("key%d: %q %v %v", k, got, found, err)
						}
					}
					if err := <-done; err != nil {
						t.Error(err)
					}
					if got, _, _ := tab.Lookup(context.Background(), "key0"); got != "value 0 of table 1" {
						t.Errorf("at the end: %q", got)
					}
				})
			}
		}
	}
}
