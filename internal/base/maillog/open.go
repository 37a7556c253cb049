package maillog

import (
	"errors"
	"os"
	"strings"
)

// A Config says where a program logs.
type Config struct {
	File     string // maillog_file; when it is set, lines go to the postlog service
	Socket   string // path of the postlog service's socket
	Facility string // syslog_facility
	Format   string // maillog_format
	Host     string // myhostname, for lines of the postlog service
	// Direct makes a program that must log while the mail system is down write
	// to File itself when the postlog service is not there.
	Direct bool
}

// Open returns the sink that c says.
func Open(c Config) (Sink, error) {
	format, err := ParseFormat(c.Format)
	if err != nil {
		return nil, err
	}
	if c.File == "" {
		return NewSyslog(DevLog, c.Facility, format)
	}
	host, _, _ := strings.Cut(c.Host, ".")
	if c.Direct && !listening(c.Socket) {
		f, err := OpenFile(c.File, 0o600)
		if err != nil {
			return nil, err
		}
		return NewStream(f, Dated, format, host), nil
	}
	return NewPostlog(c.Socket, host, format), nil
}

func listening(path string) bool {
	s := socket{path: path, networks: []string{"unixgram"}}
	if s.connect() != nil {
		return false
	}
	s.conn.Close()
	return true
}

// OpenFile opens a log file to append to. /dev/stdout is this process's
// standard output, whatever it is. A new file has the mode, whatever the umask is.
func OpenFile(path string, mode os.FileMode) (*os.File, error) {
	if path == "/dev/stdout" {
		return os.Stdout, nil
	}
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE
	f, err := os.OpenFile(path, flags|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return os.OpenFile(path, flags, mode)
	}
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
