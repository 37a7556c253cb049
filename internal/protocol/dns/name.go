package dns

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"

	wire "github.com/miekg/dns"
)

var (
	errLength = errors.New("bad length of a name or label")
	errOctet  = errors.New("invalid character in a name")
	errHyphen = errors.New("misplaced hyphen in a name")
	errNumber = errors.New("numeric name")
)

// CheckName says what is wrong with a host or domain name. Underscores pass,
// and a first label "*" (Postfix: valid_hostname).
func CheckName(name string) error {
	rest := strings.TrimPrefix(name, "*.")
	if len(name) > 255 || rest == "" {
		return errLength
	}
	number := true
	for label := range strings.SplitSeq(rest, ".") {
		if len(label) == 0 || len(label) > 63 {
			return errLength
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return errHyphen
		}
		for i := range len(label) {
			switch c := label[i]; {
			case c >= '0' && c <= '9':
			case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_', c == '-':
				number = false
			default:
				return errOctet
			}
		}
	}
	if number {
		return errNumber
	}
	return nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func trimDot(name string) string { return strings.TrimSuffix(name, ".") }

func sameName(a, b string) bool { return strings.EqualFold(trimDot(a), trimDot(b)) }

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// text joins the strings of a TXT record, which the wire package hands over
// with escapes (RFC 1035 5.1).
func text(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		for i := 0; i < len(p); i++ {
			switch {
			case p[i] != '\\':
				b.WriteByte(p[i])
			case i+3 < len(p) && isDigit(p[i+1]) && isDigit(p[i+2]) && isDigit(p[i+3]):
				b.WriteByte((p[i+1]-'0')*100 + (p[i+2]-'0')*10 + p[i+3] - '0')
				i += 3
			case i+1 < len(p):
				i++
				b.WriteByte(p[i])
			}
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func tlsaData(v *wire.TLSA) []byte {
	data, err := hex.DecodeString(v.Certificate)
	if err != nil {
		return nil
	}
	return append([]byte{v.Usage, v.Selector, v.MatchingType}, data...)
}
