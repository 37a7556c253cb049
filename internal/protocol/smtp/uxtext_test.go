package smtp

import (
	"testing"
	"unicode/utf8"
)

func TestUxtext(t *testing.T) {
	tests := []struct{ plain, encoded string }{
		{"用户@example.com", `\x{7528}\x{6237}@example.com`},
		{"a+b=c d\\e\x7f", `a\x{2B}b\x{3D}c\x{20}d\x{5C}e\x{7F}`},
		{"plain@example.com", "plain@example.com"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := EncodeUxtext(tt.plain); got != tt.encoded {
			t.Errorf("EncodeUxtext(%q) = %q, want %q", tt.plain, got, tt.encoded)
		}
		if got, err := DecodeUxtext(tt.encoded); got != tt.plain || err != nil {
			t.Errorf("DecodeUxtext(%q) = %q %v, want %q", tt.encoded, got, err, tt.plain)
		}
	}
	if got := EncodeUxtext("\xff"); got != `\x{FF}` {
		t.Errorf("an octet that is not UTF-8 becomes %q", got)
	}
	for _, bad := range []string{`\x{`, `\x{}`, `\x{110000}`, `\x{zz}`, `\x{-1}`, `a\x{41`} {
		if got, err := DecodeUxtext(bad); err == nil {
			t.Errorf("DecodeUxtext(%q) = %q, want an error", bad, got)
		}
	}
}

func FuzzDecodeUxtext(f *testing.F) {
	f.Add(`\x{7528}@example.com`)
	f.Add(`a\x{\x{41}}`)
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := DecodeUxtext(s)
		if err != nil {
			return
		}
		if again, err := DecodeUxtext(EncodeUxtext(plain)); utf8.ValidString(plain) && (err != nil || again != plain) {
			t.Errorf("%q: %q %v", plain, again, err)
		}
	})
}
