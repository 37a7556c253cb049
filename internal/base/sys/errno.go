package sys

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// Strerror is the system's part of an error as the C library words it, which is
// what log readers know: "No such file or directory". Of other errors it is
// the text without the path that a PathError puts before it.
func Strerror(err error) string {
	var errno syscall.Errno
	var path *fs.PathError
	switch {
	case errors.As(err, &errno):
		err = errno
	case errors.As(err, &path):
		err = path.Err
	}
	text := err.Error()
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// LibC is err with the text of Strerror.
func LibC(err error) error { return libC{err} }

type libC struct{ err error }

func (e libC) Error() string { return Strerror(e.err) }
func (e libC) Unwrap() error { return e.err }
