// Package dsn is the outcome of a delivery: an enhanced status code and what
// goes with it into logs and notifications.
//
// RFC 3463 defines the status codes, RFC 3464 the fields.
package dsn

import "strings"

// A Status is an enhanced status code, "2.1.5" (RFC 3463 section 2).
type Status string

// Class is the first digit, '2', '4' or '5'; 0 for an invalid status.
func (s Status) Class() byte {
	if len(s) < 5 || (s[0] != '2' && s[0] != '4' && s[0] != '5') {
		return 0
	}
	return s[0]
}

// Permanent says that the status is 5.x.x.
func (s Status) Permanent() bool { return s.Class() == '5' }

// WithClass returns the status with another class: "5.1.1".WithClass('4') is "4.1.1".
func (s Status) WithClass(class byte) Status {
	if s == "" {
		return s
	}
	return Status(string(class) + string(s[1:]))
}

// A Result is what became of one recipient, as RFC 3464 reports it. Empty
// fields are left out.
type Result struct {
	Status   Status // "5.1.1"
	Action   string // RFC 3464 2.3.3: failed, delayed, delivered, relayed, expanded; or "" for the usual one
	Reason   string // text for people and for the log
	DiagType string // "smtp", "x-unix"
	DiagText string
	MTAType  string // "dns"
	MTAName  string
}

// Make returns a result of a status and a text.
func Make(status Status, reason string) Result { return Result{Status: status, Reason: reason} }

// Split takes a leading status off text ("5.1.1 no such user"); where there is
// none, def is the status.
func Split(def Status, text string) Result {
	if n := Prefix(text); n > 0 {
		return Result{Status: Status(text[:n]), Reason: strings.TrimLeft(text[n:], " \t")}
	}
	return Result{Status: def, Reason: strings.TrimLeft(text, " \t")}
}

// Prefix returns the length of a status code at the start of text that is
// followed by white space or the end, or 0 (RFC 3463: class, subject of up to
// three digits, detail of up to three digits).
func Prefix(text string) int {
	if len(text) < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.' {
		return 0
	}
	i := 2
	n := digits(text[i:])
	if n == 0 || i+n >= len(text) || text[i+n] != '.' {
		return 0
	}
	i += n + 1
	n = digits(text[i:])
	if n == 0 {
		return 0
	}
	i += n
	if i < len(text) && text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '\n' {
		return 0
	}
	return i
}

func digits(s string) int {
	n := 0
	for n < len(s) && n < 3 && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
