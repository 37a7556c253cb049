package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

var errXtext = errors.New("malformed xtext")

// EncodeXtext encodes s as xtext (RFC 3461 section 4); the octets of extra are
// encoded too.
func EncodeXtext(s, extra string) string {
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' || c == '=' || c <= ' ' || c >= 127 || containsByte(extra, c) {
			b = append(b, '+', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

const upperHex = "0123456789ABCDEF"

func containsByte(s string, c byte) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == c {
			return true
		}
	}
	return false
}

// DecodeXtext decodes xtext. Digits of either case are taken (Postfix: the
// same); octets that should have been encoded are not an error.
func DecodeXtext(s string) (string, error) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errXtext
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", errXtext
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// EncodeUxtext encodes an address in UTF-8 for ORCPT (RFC 6533 section 3,
// utf-8-addr-xtext): what is not printable ASCII, and "+", "=" and the
// backslash, becomes \x{HEX}. Octets that are not UTF-8 are encoded one by one.
func EncodeUxtext(s string) string {
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			r = rune(s[0])
		}
		if r > ' ' && r < 127 && r != '+' && r != '=' && r != '\\' {
			b.WriteByte(byte(r))
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// DecodeUxtext is the reverse of EncodeUxtext; octets that should have been
// encoded are not an error.
func DecodeUxtext(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		digits, rest, closed := strings.Cut(after, "}")
		n, err := strconv.ParseUint(digits, 16, 32)
		if !closed || err != nil || n > utf8.MaxRune {
			return "", errXtext
		}
		b.WriteRune(rune(n))
		s = rest
	}
}
