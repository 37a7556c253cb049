package address

import "strings"

// Extensions says how the extension of a local part ("user+extension") is
// separated.
type Extensions struct {
	Delimiters          string // recipient_delimiter: any of these octets
	OwnerRequestSpecial bool   // owner_request_special: owner-x and x-request are whole
	DoubleBounceSender  string // double_bounce_sender: never split
}

// Split returns the part before the first delimiter and what follows it. A
// local part that is not to be split comes back whole, with an empty
// extension; it differs from a split with an empty extension ("user+") by the
// length of base. The delimiter found is local[len(base)].
//
// Postfix: postmaster, mailer-daemon and the double-bounce sender are never
// split, and base is never empty.
func (e Extensions) Split(local string) (base, ext string) {
	if e.Delimiters == "" || e.whole(local) {
		return local, ""
	}
	i := strings.IndexAny(local, e.Delimiters)
	if i <= 0 {
		return local, ""
	}
	return local[:i], local[i+1:]
}

func (e Extensions) whole(local string) bool {
	switch {
	case strings.EqualFold(local, "postmaster"), strings.EqualFold(local, "mailer-daemon"),
		e.DoubleBounceSender != "" && strings.EqualFold(local, e.DoubleBounceSender):
		return true
	case !e.OwnerRequestSpecial || strings.IndexByte(e.Delimiters, '-') < 0:
		return false
	}
	const owner, request = "owner-", "-request"
	if len(local) >= len(owner) && strings.EqualFold(local[:len(owner)], owner) {
		return true
	}
	n := len(local) - len(request)
	return n > 0 && strings.EqualFold(local[n:], request)
}

// Strip removes the extension of a whole address and returns it with its
// delimiter: "user+ext@domain" gives "user@domain" and "+ext". ok says whether
// there was one.
func (e Extensions) Strip(addr string) (stripped, ext string, ok bool) {
	local, _ := Split(addr)
	base, _ := e.Split(local)
	if len(base) == len(local) {
		return addr, "", false
	}
	return base + addr[len(local):], local[len(base):], true
}

// SplitExt splits a local part with the default owner_request_special and
// double_bounce_sender.
func SplitExt(local, delimiters string) (base, ext string) {
	return Extensions{Delimiters: delimiters, OwnerRequestSpecial: true, DoubleBounceSender: "double-bounce"}.Split(local)
}
