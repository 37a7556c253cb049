package mailbox

import (
	"errors"
	"syscall"

	"postern/internal/mail/dsn"
)

// Status returns the status of a mailbox that cannot be written because of
// err; def is that of errors which are the recipient's or the administrator's
// (no such directory, not allowed). What the system lacks, and a disk that
// fails, are temporary. Postfix bounces on an input/output error; see the
// package comment.
func Status(err error, def dsn.Status) dsn.Status {
	var errno syscall.Errno
	if IsReadError(err) {
		return "4.3.0"
	}
	if !errors.As(err, &errno) {
		return def
	}
	switch errno {
	case syscall.EAGAIN, syscall.ESTALE, syscall.EINTR, syscall.ETXTBSY, syscall.EBUSY, syscall.ETIMEDOUT,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.EDEADLK, syscall.ENOLCK:
		return "4.2.0"
	case syscall.EDQUOT:
		return "4.2.2"
	case syscall.EFBIG:
		return "5.2.2"
	case syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.ENOBUFS, syscall.ENXIO, syscall.ENODEV, syscall.EPERM, syscall.ENOSYS, syscall.EINVAL,
		syscall.EREMOTEIO, syscall.EOVERFLOW:
		return "4.3.0"
	}
	return def
}

// systemText is the text of the system for err, as Postfix logs it.
func systemText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return capital(errno.Error())
	}
	return err.Error()
}

// capital makes Go's text for an error number that of the C library, which
// starts with a capital letter.
func capital(s string) string {
	if s != "" && 'a' <= s[0] && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// ErrorText is the text of the system for err ("Permission denied").
func ErrorText(err error) string { return systemText(err) }
