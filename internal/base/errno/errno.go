// Package errno words errors of the system as the C library does, which is what
// log readers know.
package errno

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// Text is the system's part of an error as the C library words it, which is
// what log readers know: "No such file or directory". Of other errors it is
// the text without the path that a PathError puts before it.
func Text(err error) string {
	var number syscall.Errno
	var path *fs.PathError
	switch {
	case errors.As(err, &number):
		err = number
	case errors.As(err, &path):
		err = path.Err
	}
	text := err.Error()
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// LibC is err with the text of Text.
func LibC(err error) error { return libC{err} }

type libC struct{ err error }

func (e libC) Error() string { return Text(e.err) }
func (e libC) Unwrap() error { return e.err }
