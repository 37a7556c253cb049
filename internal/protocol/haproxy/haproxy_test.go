package haproxy

import (
	"io"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const v4 = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x00\x19"
	v6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x02" + "\x30\x39\x00\x19"
	tests := []struct {
		name, in       string
		client, server string // "" for none
		local          bool
		err            string
		rest           string
	}{
		{"v1 IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\nEHLO x", "192.0.2.1:12345", "198.51.100.2:25", false, "", "EHLO x"},
		{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 12345 25\r\n", "[2001:db8::1]:12345", "[2001:db8::2]:25", false, "", ""},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "", "", false, "bad or missing protocol type", ""},
		{"v1 wrong family", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "", "", false, "bad or missing client address", ""},
		{"v1 port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "", "", false, "bad or missing server port", ""},
		{"v1 fields", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "", "", false, "bad or missing server port", ""},
		{"v1 endless", "PROXY TCP4 " + strings.Repeat("1", 600), "", "", false, "missing protocol header terminator", ""},
		{"v1 cut", "PROXY TCP4 192.0.2.1", "", "", false, "EOF", ""},
		{"no header", "EHLO client.example\r\n", "", "", false, "unrecognized protocol header", ""},
		{"v2 IPv4", signature + "\x21\x11\x00\x0c" + v4 + "rest", "192.0.2.1:12345", "198.51.100.2:25", false, "", "rest"},
		{"v2 with additions", signature + "\x21\x11\x00\x10" + v4 + "\x04\x00\x01x" + "rest", "192.0.2.1:12345", "198.51.100.2:25", false, "", "rest"},
		{"v2 IPv6", signature + "\x21\x21\x00\x24" + v6, "[2001:db8::1]:12345", "[2001:db8::2]:25", false, "", ""},
		{"v2 local", signature + "\x20\x00\x00\x00rest", "", "", true, "", "rest"},
		{"v2 short", signature + "\x21\x11\x00\x04abcd", "", "", false, "short address field", ""},
		{"v2 long", signature + "\x21\x11\xff\xff", "", "", false, "too long", ""},
		{"v2 datagram", signature + "\x21\x12\x00\x0c" + v4, "", "", false, "unsupported network protocol", ""},
		{"v2 version", signature + "\x31\x11\x00\x0c" + v4, "", "", false, "unrecognized protocol version", ""},
		{"v2 command", signature + "\x22\x11\x00\x0c" + v4, "", "", false, "bad command in proxy header", ""},
		{"v1 alone", "PROXY\r\nrest", "", "", false, "short protocol header", ""},
		{"v1 blanks", "PROXY  TCP4 192.0.2.1 198.51.100.2  12345 25 more\nrest", "192.0.2.1:12345", "198.51.100.2:25", false, "", "rest"},
		{"v1 zero", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "", "", false, "bad or missing client port", ""},
	}
	for _, tt := range tests {
		r := strings.NewReader(tt.in)
		h, err := Read(r)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got error %v, want %q", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if h.Local != tt.local || !tt.local && (h.Client.String() != tt.client || h.Server.String() != tt.server) {
			t.Errorf("%s: got %+v", tt.name, h)
		}
		if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
			t.Errorf("%s: left %q, want %q", tt.name, rest, tt.rest)
		}
	}
}

// FuzzRead looks for headers that crash the reader, or that it takes without
// knowing both ends.
func FuzzRead(f *testing.F) {
	f.Add("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n")
	f.Add("PROXY UNKNOWN\r\n")
	f.Add(signature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x00\x19")
	f.Add(signature + "\x20\x00\x00\x00")
	f.Fuzz(func(t *testing.T, in string) {
		h, err := Read(strings.NewReader(in))
		if err == nil && !h.Local && (!h.Client.IsValid() || !h.Server.IsValid()) {
			t.Errorf("%q: %+v", in, h)
		}
	})
}
