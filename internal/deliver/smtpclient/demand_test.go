package smtpclient

import (
	"testing"
	"time"
)

func TestDemand(t *testing.T) {
	now := time.Unix(1000, 0)
	d := demand{now: func() time.Time { return now }}
	steps := []struct {
		wait        time.Duration
		end         bool
		load, store bool
	}{
		{0, false, false, false},                    // the first
		{0, false, false, false},                    // a burst is no flow
		{0, true, false, false},                     // one ends
		{500 * time.Millisecond, false, true, true}, // the next follows at once
		{5 * time.Second, false, true, true},        // others are busy
		{0, true, false, false}, {0, true, false, false}, {0, true, false, false},
		{5 * time.Second, false, true, false}, // out of steam: nothing new is kept
	}
	for i, s := range steps {
		now = now.Add(s.wait)
		if s.end {
			d.end("x")
			continue
		}
		if load, store := d.begin("x"); load != s.load || store != s.store {
			t.Errorf("step %d: got %v %v, want %v %v", i, load, store, s.load, s.store)
		}
	}
}
