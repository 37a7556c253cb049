package mailbox

import (
	"fmt"

	"postern/internal/mail/dsn"
)

// An Error is a delivery that failed.
type Error struct {
	Status dsn.Status // class 4 or 5
	Reason string     // for the log and the sender
	Err    error      // its cause, if there is one
}

func (e *Error) Error() string { return e.Reason }
func (e *Error) Unwrap() error { return e.Err }

// failure makes an *Error of a system's error; what says what was being done.
func failure(err error, def dsn.Status, format string, args ...any) *Error {
	return &Error{Status(err, def), fmt.Sprintf(format, args...) + ": " + systemText(err), err}
}

// copyFailure makes an *Error of an error of Copy.To.
func copyFailure(err error) *Error {
	return &Error{Status(err, "5.3.0"), err.Error(), err}
}
