package smtpd

import (
	"net/netip"
	"testing"
)

// Clients of one network are counted as one.
func TestClientKey(t *testing.T) {
	for _, tt := range []struct {
		addr   string
		v4, v6 int
		want   string
	}{
		{"192.0.2.200", 32, 84, "192.0.2.200"},
		{"192.0.2.200", 24, 84, "192.0.2.0/24"},
		{"192.0.2.200", 25, 84, "192.0.2.128/25"},
		{"192.0.2.200", 0, 84, "0.0.0.0/0"},
		{"2001:db8::1", 32, 128, "2001:db8::1"},
		{"2001:db8:1:2:3:4fff:5:6", 32, 84, "2001:db8:1:2:3:4000::/84"},
		{"2001:db8:1:2:3:4:5:6", 24, 64, "2001:db8:1:2::/64"},
		{"2001:db8:1:2:3:4:5:6", 24, 48, "2001:db8:1::/48"},
		{"2001:db8:1:2:3:4:5:6", 24, 0, "::/0"},
		{"fe80::1", 32, 127, "fe80::/127"},
		{"unknown", 24, 48, "unknown"},
	} {
		s := &session{Server: &Server{}}
		s.conf.IPv4Prefix, s.conf.IPv6Prefix = tt.v4, tt.v6
		s.peer.addr = tt.addr
		s.peer.ip, _ = netip.ParseAddr(tt.addr)
		if got := s.clientKey(); got != tt.want {
			t.Errorf("%s, %d, %d: got %s, want %s", tt.addr, tt.v4, tt.v6, got, tt.want)
		}
	}
}
