package starttls

import (
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
)

// Versions are the protocol versions that may be used, as crypto/tls numbers
// them. Max 0 is the newest there is.
type Versions struct {
	Min, Max uint16
	Unknown  string // a bound that is passed over because it is no version that there is
}

var versionNames = [...]struct {
	name    string
	version uint16
}{
	{"sslv2", 0x0200},
	{"sslv3", 0x0300},
	{"tlsv1", tls.VersionTLS10},
	{"tlsv1.0", tls.VersionTLS10},
	{"tlsv1.1", tls.VersionTLS11},
	{"tlsv1.2", tls.VersionTLS12},
	{"tlsv1.3", tls.VersionTLS13},
}

// weakDefault is the default of the parameters *_tls_protocols, and what was
// recommended before it existed. OpenSSL as distributions build it turns TLS
// 1.0 and 1.1 off all the same, so these texts stand for TLS 1.2 and up.
const weakDefault = ">=TLSv1"

// ParseProtocols reads a list like ">=TLSv1.2", "!SSLv2, !SSLv3" or "TLSv1.2
// TLSv1.3" (smtpd_tls_protocols and its relatives). TLS 1.0 and 1.1 are used
// only where the list names them, by themselves or as a bound other than the
// default ">=TLSv1".
func ParseProtocols(list string) (Versions, error) {
	v := Versions{Min: tls.VersionTLS12}
	if strings.TrimSpace(list) == weakDefault {
		return v, nil
	}
	on := map[uint16]bool{}
	off := map[uint16]bool{}
	floor := uint16(0) // from ">="
	bounds := strings.NewReplacer(">= ", ">=", "<= ", "<=", "! ", "!").Replace(list)
	for _, word := range strings.FieldsFunc(bounds, func(r rune) bool { return strings.ContainsRune(", \t\r\n:", r) }) {
		name := strings.TrimLeft(word, "!<>=")
		op := word[:len(word)-len(name)]
		n, ok := versionNumber(name)
		switch {
		case !ok && isHex(name) && (op == ">=" || op == "<="):
			v.Unknown = word
		case !ok:
			return v, fmt.Errorf("invalid TLS protocol %q in %q", word, list)
		case op == ">=":
			v.Min, floor = n, n
		case op == "<=":
			v.Max = n
		case op == "!":
			off[n] = true
		case op == "":
			on[n] = true
		default:
			return v, fmt.Errorf("invalid TLS protocol %q in %q", word, list)
		}
	}
	if err := v.narrow(on, off, floor); err != nil {
		return v, fmt.Errorf("%w in %q", err, list)
	}
	return v, nil
}

// narrow applies the versions named and those excluded. Postfix: a bound and a
// list both count.
func (v *Versions) narrow(on, off map[uint16]bool, floor uint16) error {
	if len(on) > 0 {
		lowest, highest := uint16(tls.VersionTLS13), uint16(0)
		for n := range on {
			lowest, highest = min(lowest, n), max(highest, n)
		}
		lowest = max(lowest, floor)
		if v.Max != 0 {
			highest = min(highest, v.Max)
		}
		v.Min, v.Max = lowest, highest
	}
	v.Min = max(v.Min, tls.VersionTLS10)
	top := v.Max
	if top == 0 {
		top = tls.VersionTLS13
	}
	for v.Min <= top && off[v.Min] {
		v.Min++
	}
	for top >= v.Min && off[top] {
		top--
		v.Max = top
	}
	if v.Min > top || top < tls.VersionTLS10 {
		return fmt.Errorf("no TLS protocol is left")
	}
	return nil
}

func versionNumber(name string) (uint16, bool) {
	for _, v := range versionNames {
		if strings.EqualFold(v.name, name) {
			return v.version, true
		}
	}
	if n, err := strconv.ParseUint(withoutPrefix(name), 16, 16); err == nil && n >= 0x0200 && n <= tls.VersionTLS13 {
		return uint16(n), true
	}
	return 0, false
}

// withoutPrefix is a hexadecimal number without "0x", which may be there.
func withoutPrefix(name string) string {
	return strings.TrimPrefix(strings.ToLower(name), "0x")
}

func isHex(name string) bool {
	_, err := strconv.ParseUint(withoutPrefix(name), 16, 32)
	return err == nil
}

// VersionName is OpenSSL's name of a protocol version, "TLSv1.3".
func VersionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return fmt.Sprintf("0x%04x", v)
}
