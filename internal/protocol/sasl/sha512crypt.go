package sasl

import (
	"crypto/sha512"
	"errors"
	"strconv"
	"strings"
)

// cryptAlphabet is crypt(3)'s own base 64, which doubles as the alphabet of
// its salts.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Rounds of crypt(3)'s SHA-512 scheme; what a secret does not say is
// defaultRounds.
const (
	defaultRounds = 5000
	minRounds     = 1000
	maxRounds     = 2_000_000
)

// sha512Crypt is $6$salt$sum or $6$rounds=n$salt$sum, of crypt(3): U. Drepper,
// "Unix crypt using SHA-256 and SHA-512".
type sha512Crypt struct {
	rounds int
	salt   string
	sum    string
}

func parseSHA512Crypt(value string) (Secret, error) {
	bad := errors.New("{SHA512-CRYPT}: malformed: want $6$salt$sum")
	rest, ok := strings.CutPrefix(value, "$6$")
	if !ok {
		return nil, bad
	}
	s := sha512Crypt{rounds: defaultRounds}
	if text, ok := strings.CutPrefix(rest, "rounds="); ok {
		number, after, ok := strings.Cut(text, "$")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n > maxRounds {
			return nil, errors.New("{SHA512-CRYPT}: the number of rounds is out of bounds")
		}
		s.rounds, rest = max(n, minRounds), after
	}
	if s.salt, s.sum, ok = strings.Cut(rest, "$"); !ok || len(s.salt) > 16 || len(s.sum) != 86 {
		return nil, bad
	}
	return s, nil
}

func newSHA512Crypt(password string, random []byte) string {
	salt := make([]byte, 16)
	for i, b := range random[:16] {
		salt[i] = cryptAlphabet[b&63]
	}
	const rounds = 100_000
	return "$6$rounds=" + strconv.Itoa(rounds) + "$" + string(salt) + "$" + sha512CryptSum(password, string(salt), rounds)
}

func (s sha512Crypt) Verify(password string) bool {
	return equal([]byte(sha512CryptSum(password, s.salt, s.rounds)), []byte(s.sum))
}

// sha512CryptSum is the sum in crypt(3)'s base 64.
func sha512CryptSum(password, salt string, rounds int) string {
	p, s := []byte(password), []byte(salt)
	digest := cryptStart(p, s)
	long := func(block []byte, n int) []byte {
		out := make([]byte, 0, n+len(block))
		for len(out) < n {
			out = append(out, block...)
		}
		return out[:n]
	}
	h := sha512.New()
	for range p {
		h.Write(p)
	}
	ps := long(h.Sum(nil), len(p))
	h.Reset()
	for range 16 + int(digest[0]) {
		h.Write(s)
	}
	ss := long(h.Sum(nil), len(s))
	for i := range rounds {
		h.Reset()
		if i%2 == 1 {
			h.Write(ps)
		} else {
			h.Write(digest)
		}
		if i%3 != 0 {
			h.Write(ss)
		}
		if i%7 != 0 {
			h.Write(ps)
		}
		if i%2 == 1 {
			h.Write(digest)
		} else {
			h.Write(ps)
		}
		digest = h.Sum(digest[:0])
	}
	return cryptEncode(digest)
}

// cryptStart is the digest before the rounds.
func cryptStart(p, s []byte) []byte {
	h := sha512.New()
	h.Write(p)
	h.Write(s)
	h.Write(p)
	other := h.Sum(nil)
	h.Reset()
	h.Write(p)
	h.Write(s)
	for n := len(p); n > 0; n -= sha512.Size {
		h.Write(other[:min(n, sha512.Size)])
	}
	for n := len(p); n > 0; n >>= 1 {
		if n&1 == 1 {
			h.Write(other)
		} else {
			h.Write(p)
		}
	}
	return h.Sum(nil)
}

// cryptEncode takes the octets three by three, 21 and 42 apart, each group
// beginning one place further on in the three.
func cryptEncode(d []byte) string {
	var b strings.Builder
	put := func(v uint32, n int) {
		for range n {
			b.WriteByte(cryptAlphabet[v&63])
			v >>= 6
		}
	}
	for i := range 21 {
		three := [3]byte{d[i], d[i+21], d[i+42]}
		k := i % 3
		put(uint32(three[k])<<16|uint32(three[(k+1)%3])<<8|uint32(three[(k+2)%3]), 4)
	}
	put(uint32(d[63]), 2)
	return b.String()
}
