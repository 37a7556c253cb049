package starttls

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// A suite is a cipher suite of crypto/tls with the words by which OpenSSL's
// cipher lists know it.
type suite struct {
	id        uint16
	name      string // OpenSSL's
	bits      int
	keywords  string // blank separated, in capital letters
	deprecate bool   // in no grade; offered only to those who name it
}

var suites = [...]suite{
	{tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", 256, "", false},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", 256, "", false},
	{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", 128, "", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", 256, "HIGH AESGCM AES AES256 SHA384 KECDHE EECDH ECDHE AECDSA ECDSA", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", 256, "HIGH AESGCM AES AES256 SHA384 KECDHE EECDH ECDHE ARSA RSA", false},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", 256, "HIGH CHACHA20 SHA256 KECDHE EECDH ECDHE AECDSA ECDSA", false},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", 256, "HIGH CHACHA20 SHA256 KECDHE EECDH ECDHE ARSA RSA", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", 128, "HIGH AESGCM AES AES128 SHA256 KECDHE EECDH ECDHE AECDSA ECDSA", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", 128, "HIGH AESGCM AES AES128 SHA256 KECDHE EECDH ECDHE ARSA RSA", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", 256, "HIGH AES AES256 SHA SHA1 KECDHE EECDH ECDHE AECDSA ECDSA", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", 256, "HIGH AES AES256 SHA SHA1 KECDHE EECDH ECDHE ARSA RSA", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", 128, "HIGH AES AES128 SHA SHA1 KECDHE EECDH ECDHE AECDSA ECDSA", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", 128, "HIGH AES AES128 SHA SHA1 KECDHE EECDH ECDHE ARSA RSA", false},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", 256, "HIGH AESGCM AES AES256 SHA384 KRSA ARSA RSA", false},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", 128, "HIGH AESGCM AES AES128 SHA256 KRSA ARSA RSA", false},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", 256, "HIGH AES AES256 SHA SHA1 KRSA ARSA RSA", false},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", 128, "HIGH AES AES128 SHA SHA1 KRSA ARSA RSA", false},
	{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, "ECDHE-RSA-DES-CBC3-SHA", 112, "MEDIUM 3DES SHA SHA1 KECDHE EECDH ECDHE ARSA RSA", true},
	{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, "DES-CBC3-SHA", 112, "MEDIUM 3DES SHA SHA1 KRSA ARSA RSA", true},
}

// CipherName is OpenSSL's name of a cipher suite, with its strength in bits.
func CipherName(id uint16) (name string, bits int) {
	for i := range suites {
		if suites[i].id == id {
			return suites[i].name, suites[i].bits
		}
	}
	return tls.CipherSuiteName(id), 0
}

// Ciphers returns the suites of TLS 1.2 and older that a grade holds without
// those that the lists exclude, each in OpenSSL's notation
// (smtpd_tls_ciphers, smtpd_tls_exclude_ciphers). The suites of TLS 1.3 cannot
// be chosen in crypto/tls.
func Ciphers(grade string, exclude ...string) ([]uint16, error) {
	switch strings.ToLower(grade) {
	case "high", "medium", "low", "export":
		// Since Postfix 3.8 the two last ones are "medium"; what "medium" has
		// over "high" is not in crypto/tls.
	case "null":
		return nil, fmt.Errorf("TLS cipher grade %q: ciphers without encryption are not supported", grade)
	default:
		return nil, fmt.Errorf("invalid TLS cipher grade %q", grade)
	}
	var out []string
	for _, list := range exclude {
		out = append(out, strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(", \t\r\n:", r) })...)
	}
	var ids []uint16
	for i := range suites {
		s := &suites[i]
		if s.keywords != "" && !s.deprecate && !s.excluded(out) {
			ids = append(ids, s.id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("TLS cipher grade %q: no cipher is left", grade)
	}
	return ids, nil
}

// excluded says whether one of the words matches: a name, a keyword, or
// several joined by "+".
func (s *suite) excluded(words []string) bool {
	for _, w := range words {
		all := true
		for part := range strings.SplitSeq(strings.ToUpper(w), "+") {
			all = all && (part == s.name || s.has(part))
		}
		if all {
			return true
		}
	}
	return false
}

func (s *suite) has(keyword string) bool {
	for k := range strings.FieldsSeq(s.keywords) {
		if k == keyword {
			return true
		}
	}
	return keyword == "ALL"
}
