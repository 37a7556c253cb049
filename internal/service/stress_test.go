package service

import (
	"net"
	"testing"
)

// TestWhoHasStress: a service that only this host reaches, or that has one place,
// has no stress state.
func TestWhoHasStress(t *testing.T) {
	for _, tt := range []struct {
		typ, addr string
		limit     int
		want      bool
	}{
		{"inet", "0.0.0.0:0", 2, true},
		{"inet", "0.0.0.0:0", 0, true},
		{"inet", "0.0.0.0:0", 1, false},
		{"inet", "127.0.0.1:0", 2, false},
		{"pass", "0.0.0.0:0", 2, false},
	} {
		l, err := net.Listen("tcp4", tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		p := &process{opt: &options{}}
		p.opt.typ, p.opt.limit = tt.typ, tt.limit
		src, err := newServer(p).source(f)
		if err != nil {
			t.Fatal(err)
		}
		src.(*listener).l.Close()
		if got := p.stress.enabled; got != tt.want {
			t.Errorf("%s at %s with %d places: got %t, want %t", tt.typ, tt.addr, tt.limit, got, tt.want)
		}
	}
}
