package verify

import (
	"strconv"
	"strings"
	"time"
)

// A Sender is the envelope sender of probes (address_verify_sender), whose
// local part changes with time (address_verify_sender_ttl), so that nobody can
// collect it.
type Sender struct {
	Address string        // with its domain; "" for the null sender
	TTL     time.Duration // 0: it does not change
}

// NewSender makes a sender of the parameters; an address without domain gets
// origin.
func NewSender(address string, ttl time.Duration, origin string) Sender {
	address = strings.TrimSpace(address)
	switch {
	case address == "" || address == "<>":
		return Sender{}
	case !strings.Contains(address, "@"):
		address += "@" + origin
	}
	return Sender{Address: address, TTL: ttl}
}

// radix is that of the number in a sender: digits and letters, no vowels that
// make words. Postfix: the same.
const radix = 31

// At is the sender at a time.
func (s Sender) At(now time.Time) string {
	if s.TTL <= 0 || s.Address == "" {
		return s.Address
	}
	at := strings.LastIndexByte(s.Address, '@')
	return s.Address[:at] + digits(s.epoch(now)) + s.Address[at:]
}

func (s Sender) epoch(now time.Time) int64 { return now.Unix() / int64(s.TTL/time.Second) }

// Valid says whether mail to addr is an answer to a probe that was sent lately:
// in this period, or the one before or after.
func (s Sender) Valid(addr string, now time.Time) bool {
	if s.Address == "" {
		return false
	}
	if s.TTL <= 0 {
		return strings.EqualFold(addr, s.Address)
	}
	for n := int64(-1); n <= 1; n++ {
		at := strings.LastIndexByte(s.Address, '@')
		if strings.EqualFold(addr, s.Address[:at]+digits(s.epoch(now)+n)+s.Address[at:]) {
			return true
		}
	}
	return false
}

// alphabet has the digits of numbers in senders. Postfix: safe_ultostr.
const alphabet = "0123456789BCDFGHJKLMNPQRSTVWXYZ"

func digits(n int64) string {
	s := []byte(strconv.FormatInt(n, radix))
	for i, c := range s {
		v := c - '0'
		if c >= 'a' {
			v = c - 'a' + 10
		}
		s[i] = alphabet[v]
	}
	return string(s)
}
