package verify

import (
	"testing"
	"time"
)

func TestSender(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	fixed := NewSender("double-bounce", 0, "x.example")
	if got := fixed.At(now); got != "double-bounce@x.example" || !fixed.Valid(got, now) || fixed.Valid("double-bounce1@x.example", now) {
		t.Errorf("fixed: %q", got)
	}
	moving := NewSender("db@y.example", time.Hour, "x.example")
	addr := moving.At(now)
	if addr == moving.Address || !moving.Valid(addr, now) || moving.Valid("db@y.example", now) {
		t.Errorf("moving: %q", addr)
	}
	if !moving.Valid(addr, now.Add(time.Hour)) || moving.Valid(addr, now.Add(2*time.Hour)) {
		t.Error("an old sender must be taken for a while, and not for ever")
	}
	for _, none := range []string{"", "<>"} {
		if s := NewSender(none, time.Hour, "x.example"); s.At(now) != "" || s.Valid("", now) {
			t.Errorf("%q is not the null sender", none)
		}
	}
}
