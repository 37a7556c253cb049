package dsn

import "strings"

// What the sender wants to be told of a recipient (RFC 3461 4.1), the value of
// notify_flags; 0 when it did not ask. Postfix: dsn_mask.
const (
	NotifyNever   = 1 << 0
	NotifySuccess = 1 << 1
	NotifyFailure = 1 << 2
	NotifyDelay   = 1 << 3
)

// ParseNotify reads NEVER or a list of SUCCESS, FAILURE, DELAY. The mask is 0 when
// the list is not acceptable; unknown is the first word that is none of these.
// Postfix: blanks separate words, too.
func ParseNotify(list string) (mask int, unknown string) {
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		switch strings.ToUpper(word) {
		case "NEVER":
			mask |= NotifyNever
		case "SUCCESS":
			mask |= NotifySuccess
		case "FAILURE":
			mask |= NotifyFailure
		case "DELAY":
			mask |= NotifyDelay
		default:
			return 0, word
		}
	}
	if !ValidNotify(mask) {
		return 0, ""
	}
	return mask, ""
}

// ValidNotify says whether a mask is one that a sender may ask for.
func ValidNotify(mask int) bool {
	const all = NotifyNever | NotifySuccess | NotifyFailure | NotifyDelay
	return mask > 0 && mask <= all && (mask&NotifyNever == 0 || mask == NotifyNever)
}
