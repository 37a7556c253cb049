package starttls

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config/param"
)

// A suite is a cipher suite of crypto/tls with the words by which OpenSSL's
// cipher lists know it.
type suite struct {
	id        uint16
	name      string // OpenSSL's
	bits      int
	keywords  string // blank separated, in capital letters
	deprecate bool   // in no class; offered only to those who name it, or its odd part (3DES, SHA256)
}

var suites = [...]suite{
	{tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", 256, "", false},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", 256, "", false},
	{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", 128, "", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", 256, "HIGH SUITEB128 SUITEB192 KECDHE KEECDH ECDHE EECDH AECDSA ECDSA AES AES256 AESGCM TLSV1.2", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", 256, "HIGH KECDHE KEECDH ECDHE EECDH ARSA AES AES256 AESGCM TLSV1.2", false},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", 256, "HIGH KECDHE KEECDH ECDHE EECDH AECDSA ECDSA CHACHA20 TLSV1.2", false},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", 256, "HIGH KECDHE KEECDH ECDHE EECDH ARSA CHACHA20 TLSV1.2", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", 128, "HIGH SUITEB128 SUITEB128ONLY KECDHE KEECDH ECDHE EECDH AECDSA ECDSA AES AES128 AESGCM TLSV1.2", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", 128, "HIGH KECDHE KEECDH ECDHE EECDH ARSA AES AES128 AESGCM TLSV1.2", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", 256, "HIGH CBC KECDHE KEECDH ECDHE EECDH AECDSA ECDSA AES AES256 SHA SHA1 TLSV1 TLSV1.0", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", 256, "HIGH CBC KECDHE KEECDH ECDHE EECDH ARSA AES AES256 SHA SHA1 TLSV1 TLSV1.0", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", 128, "HIGH CBC KECDHE KEECDH ECDHE EECDH AECDSA ECDSA AES AES128 SHA SHA1 TLSV1 TLSV1.0", false},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", 128, "HIGH CBC KECDHE KEECDH ECDHE EECDH ARSA AES AES128 SHA SHA1 TLSV1 TLSV1.0", false},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256", 128, "HIGH CBC KECDHE KEECDH ECDHE EECDH AECDSA ECDSA AES AES128 SHA256 TLSV1.2", true},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-RSA-AES128-SHA256", 128, "HIGH CBC KECDHE KEECDH ECDHE EECDH ARSA AES AES128 SHA256 TLSV1.2", true},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", 128, "HIGH CBC KRSA RSA ARSA AES AES128 SHA256 TLSV1.2", true},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", 256, "HIGH KRSA RSA ARSA AES AES256 AESGCM TLSV1.2", false},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", 128, "HIGH KRSA RSA ARSA AES AES128 AESGCM TLSV1.2", false},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", 256, "HIGH CBC KRSA RSA ARSA AES AES256 SHA SHA1 SSLV3", false},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", 128, "HIGH CBC KRSA RSA ARSA AES AES128 SHA SHA1 SSLV3", false},
	{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, "ECDHE-RSA-DES-CBC3-SHA", 112, "MEDIUM KECDHE KEECDH ECDHE EECDH ARSA 3DES SHA SHA1 TLSV1 TLSV1.0", true},
	{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, "DES-CBC3-SHA", 112, "MEDIUM KRSA RSA ARSA 3DES SHA SHA1 SSLV3", true},
}

// foreignName is OpenSSL's name of a cipher suite that crypto/tls does not have,
// for the log of those who offer nothing else.
func foreignName(id uint16) (name string, ok bool) {
	switch id {
	case 0x0004:
		return "RC4-MD5", true
	case 0x0009:
		return "DES-CBC-SHA", true
	case 0x0016:
		return "DHE-RSA-DES-CBC3-SHA", true
	case 0x0033:
		return "DHE-RSA-AES128-SHA", true
	case 0x0034:
		return "ADH-AES128-SHA", true
	case 0x0039:
		return "DHE-RSA-AES256-SHA", true
	case 0x003a:
		return "ADH-AES256-SHA", true
	case 0x003d:
		return "AES256-SHA256", true
	case 0x0041:
		return "CAMELLIA128-SHA", true
	case 0x0067:
		return "DHE-RSA-AES128-SHA256", true
	case 0x006b:
		return "DHE-RSA-AES256-SHA256", true
	case 0x0084:
		return "CAMELLIA256-SHA", true
	case 0x009e:
		return "DHE-RSA-AES128-GCM-SHA256", true
	case 0x009f:
		return "DHE-RSA-AES256-GCM-SHA384", true
	case 0xc018:
		return "AECDH-AES128-SHA", true
	case 0xc019:
		return "AECDH-AES256-SHA", true
	case 0xc024:
		return "ECDHE-ECDSA-AES256-SHA384", true
	case 0xc028:
		return "ECDHE-RSA-AES256-SHA384", true
	case 0xccaa:
		return "DHE-RSA-CHACHA20-POLY1305", true
	}
	return "", false
}

// CipherName is OpenSSL's name of a cipher suite, with its strength in bits.
func CipherName(id uint16) (name string, bits int) {
	for i := range suites {
		if suites[i].id == id {
			return suites[i].name, suites[i].bits
		}
	}
	if name, ok := foreignName(id); ok {
		return name, 0
	}
	return tls.CipherSuiteName(id), 0
}

// Grades are the cipher lists of the grades, in OpenSSL's notation. Empty ones
// are the defaults of Postfix.
type Grades struct {
	High, Medium string
}

// Params names the parameters.
func (g *Grades) Params(s *param.Set) {
	s.Str(&g.High, "tls_high_cipherlist", defaultHigh, param.MinLen(1))
	s.Str(&g.Medium, "tls_medium_cipherlist", defaultMedium, param.MinLen(1))
}

const (
	defaultHigh   = "aNULL:-aNULL:HIGH:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:@STRENGTH"
	defaultMedium = "aNULL:-aNULL:HIGH:MEDIUM:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:+RC4:@STRENGTH"
)

// Ciphers returns the suites of the grades as Postfix defines them.
func Ciphers(grade string, exclude ...string) ([]uint16, error) {
	return new(Grades).Ciphers(grade, exclude...)
}

// Ciphers returns the suites of TLS 1.2 and older that a grade holds without
// those that the lists exclude (smtpd_tls_ciphers, smtpd_tls_exclude_ciphers).
// The suites of TLS 1.3 cannot be chosen in crypto/tls, and which of several
// common ones is taken is its own decision.
func (g *Grades) Ciphers(grade string, exclude ...string) ([]uint16, error) {
	list := g.Medium
	switch strings.ToLower(grade) {
	case "high":
		if list = g.High; list == "" {
			list = defaultHigh
		}
	case "medium", "low", "export":
		// Since Postfix 3.8 the two last ones are "medium".
		if list == "" {
			list = defaultMedium
		}
	case "null":
		return nil, fmt.Errorf("TLS cipher grade %q: ciphers without encryption are not supported", grade)
	default:
		return nil, fmt.Errorf("invalid TLS cipher grade %q", grade)
	}
	for _, e := range exclude {
		for _, word := range cipherWords(e) {
			list += ":!" + word
		}
	}
	ids := cipherList(list)
	if len(ids) == 0 {
		return nil, fmt.Errorf("TLS cipher grade %q: no cipher is left of %q", grade, list)
	}
	return ids, nil
}

func cipherWords(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(":;, \t\r\n", r) })
}

// cipherList evaluates a list in OpenSSL's notation, of which the order is of
// no consequence here: words add suites, "-" takes them out, "!" for good.
func cipherList(list string) []uint16 {
	in, out := map[uint16]bool{}, map[uint16]bool{}
	for _, word := range cipherWords(list) {
		op := word[0]
		name := strings.ToUpper(strings.TrimLeft(word, "+-!"))
		name, _, _ = strings.Cut(name, "@") // DEFAULT@SECLEVEL=0: the level has no counterpart
		for i := range suites {
			s := &suites[i]
			removes := op == '!' || op == '-'
			if s.keywords == "" || !s.matches(name, removes) {
				continue
			}
			switch op {
			case '!':
				out[s.id] = true
			case '-':
				delete(in, s.id)
			case '+', '@':
			default:
				in[s.id] = true
			}
		}
	}
	var ids []uint16
	for i := range suites {
		if id := suites[i].id; in[id] && !out[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// matches says whether a name, a keyword, or several joined by "+" stand for
// the suite. A class has its deprecated suites only when it is taken away.
func (s *suite) matches(word string, removes bool) bool {
	if word == s.name {
		return true
	}
	for part := range strings.SplitSeq(word, "+") {
		if part != s.name && !s.has(part, removes) {
			return false
		}
	}
	return true
}

// has says whether a keyword, in capitals, stands for the suite. Postfix's
// Debian build has no 3DES: it must be named, and so must the suites with CBC
// and SHA256, which crypto/tls does not guard against measuring time.
func (s *suite) has(keyword string, removes bool) bool {
	switch {
	case keyword == "ALL" || keyword == "DEFAULT":
		return removes || !s.deprecate
	case s.deprecate && !removes && keyword != "3DES" && keyword != "SHA256":
		return false
	}
	return slices.Contains(strings.Fields(s.keywords), keyword)
}
