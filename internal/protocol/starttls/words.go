package starttls

import (
	"slices"
	"strings"
)

// foreignWords are words of OpenSSL's cipher lists, in capitals, that stand for
// nothing in crypto/tls; foreignParts are what names of its suites are made of.
const (
	foreignWords = "3DES ADH ADSS AECDH AESCCM AESCCM8 AFZA AGOST AGOST01 AGOST12 ANULL APSK ARIA ARIA128 ARIA256 ASRP CAMELLIA CAMELLIA128 " +
		"CAMELLIA256 CBC COMPLEMENTOFALL COMPLEMENTOFDEFAULT DES DH DHE DSS ECDH ECDHEPSK EDH ENULL EXP EXPORT EXPORT40 EXPORT56 FZA " +
		"GOST89MAC GOST94 IDEA KDH KDHD KDHE KDHEPSK KDHR KECDH KECDHE KECDHEPSK KECDHR KEDH KFZA KGOST KGOST18 KKRB5 KPSK KRB5 KRSAPSK " +
		"KSRP LOW MD5 MEDIUM NULL PSK RC2 RC4 RC5 SEED SHA256 SHA384 SRP SSLV2 TLSV1.3"
	foreignParts = "ADH AECDH AES AES128 AES256 ARIA128 ARIA256 CAMELLIA128 CAMELLIA256 CBC CBC3 CCM CCM8 CHACHA20 DES DHE DSS ECDH ECDHE ECDSA EDE EDH " +
		"EXP GCM IDEA KRB5 MD5 NULL POLY1305 PSK RC2 RC4 RSA SEED SHA SHA1 SHA256 SHA384 SRP"
)

// oddWords are what in a list of ciphers has no effect.
type oddWords struct {
	unknown  []string // to OpenSSL as well
	empty    []string // add nothing, because crypto/tls has no such ciphers
	commands []string // @SECLEVEL
}

// oddCiphers finds them. Where all words are excluded, as after "!" and "-", what
// crypto/tls does not have is excluded.
func oddCiphers(list string, excluded bool) (odd oddWords) {
	words := cipherWords(list)
	for _, word := range words {
		name := strings.TrimLeft(word, "+-!")
		name, command, found := strings.Cut(name, "@")
		if found && !strings.EqualFold(command, "STRENGTH") { // the order is crypto/tls's
			odd.commands = append(odd.commands, "@"+command)
		}
		if name == "" || known(strings.ToUpper(name)) {
			continue
		}
		switch {
		case !isForeign(strings.ToUpper(name)):
			odd.unknown = append(odd.unknown, name)
		case !excluded && word[0] != '!' && word[0] != '-' && word[0] != '+' && !slices.Contains(words, "-"+name):
			odd.empty = append(odd.empty, name)
		}
	}
	return odd
}

// texts are sentences about the value of a parameter.
func (o oddWords) texts(parameter string) (list []string) {
	for _, x := range []struct {
		words []string
		what  string
	}{
		{o.unknown, "unknown, and without effect"}, {o.empty, "without effect, because there are no such ciphers here"},
		{o.commands, "without effect, because there are no levels of security here"},
	} {
		if len(x.words) > 0 {
			list = append(list, parameter+": "+strings.Join(x.words, ", ")+": "+x.what)
		}
	}
	return list
}

// known says whether a word stands for a suite that there is.
func known(word string) bool {
	return slices.ContainsFunc(suites[:], func(s suite) bool {
		return s.matches(word, true) || slices.Contains(strings.Fields(s.keywords), word)
	})
}

// isForeign says whether each of the parts of a word is known to OpenSSL.
func isForeign(word string) bool {
	for part := range strings.SplitSeq(word, "+") {
		if known(part) || slices.Contains(strings.Fields(foreignWords), part) {
			continue
		}
		if !strings.Contains(part, "-") {
			return false
		}
		for piece := range strings.SplitSeq(part, "-") {
			if !slices.Contains(strings.Fields(foreignParts), piece) {
				return false
			}
		}
	}
	return true
}

// A Named is the value of a parameter.
type Named struct{ Name, Value string }

// Odd says what has no effect in the list of a grade, and in lists that exclude
// ciphers.
func (g *Grades) Odd(grade string, exclude ...Named) (odd []string) {
	list := Named{"tls_medium_cipherlist", g.Medium}
	if strings.EqualFold(grade, "high") {
		list = Named{"tls_high_cipherlist", g.High}
	}
	odd = oddCiphers(list.Value, false).texts(list.Name)
	for _, e := range exclude {
		odd = append(odd, oddCiphers(e.Value, true).texts(e.Name)...)
	}
	return odd
}
