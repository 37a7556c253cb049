package maillog

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// sendLimit is how long one line may take to be sent. It bounds only the
// writer goroutine.
const sendLimit = 2 * time.Second

// DevLog is where the local syslog service listens.
const DevLog = "/dev/log"

// NewSyslog returns a sink that sends to the syslog service at path (DevLog)
// in the form of RFC 3164 4.1 without a host, as the C library does. The first
// connection is made at once, so that it is there after a chroot.
func NewSyslog(path, facility string, format Format) (*Queue, error) {
	code, ok := facilityCode(facility)
	if !ok {
		return nil, fmt.Errorf("unknown syslog_facility name: %s", facility)
	}
	s := &syslog{socket: socket{path: path, networks: []string{"unixgram", "unix"}}, facility: code, format: format}
	s.connect()
	return newQueue(s), nil
}

// facilityCode returns the number of a facility, RFC 3164 4.1.1, times 8.
func facilityCode(name string) (int, bool) {
	for i, n := range strings.Fields("kern user mail daemon auth syslog lpr news uucp cron authpriv ftp") {
		if n == name {
			return i << 3, true
		}
	}
	if n, ok := strings.CutPrefix(name, "local"); ok && len(n) == 1 && n[0] >= '0' && n[0] <= '7' {
		return (16 + int(n[0]-'0')) << 3, true
	}
	return 0, false
}

// severity is the RFC 3164 4.1.1 severity of a level.
func severity(l Level) int {
	switch l {
	case Warning:
		return 4
	case Error:
		return 3
	case Fatal, Panic:
		return 2
	}
	return 6
}

type syslog struct {
	socket
	facility int
	format   Format
}

func (s *syslog) render(b []byte, l *line) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(s.facility|severity(l.level)), 10)
	b = append(b, '>')
	b = l.when.AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	if s.format == JSON {
		b = append(b, l.tag...)
		b = append(b, '[')
		b = strconv.AppendInt(b, int64(l.pid), 10)
		b = append(b, "]: "...)
		return l.object(b)
	}
	return l.tagged(b)
}

// room is 0: RFC 3164 knows one line.
func (s *syslog) room() int { return 0 }

// NewPostlog returns a sink that sends to the postlog service, whose datagram
// socket is at path. A datagram is lines as they stand in maillog_file.
func NewPostlog(path, host string, format Format) *Queue {
	p := &postlog{socket: socket{path: path, networks: []string{"unixgram"}}, host: host, format: format}
	return newQueue(p)
}

type postlog struct {
	socket
	host   string
	format Format
}

func (p *postlog) render(b []byte, l *line) []byte {
	if p.format == JSON {
		return l.object(b)
	}
	return l.dated(b, p.host)
}

func (p *postlog) room() int { return postlogRoom }

// postlogRoom is far below what a datagram socket takes at once.
const postlogRoom = 16 << 10

// A socket is a connection to a log service that is made again when it fails.
type socket struct {
	path     string
	networks []string
	conn     net.Conn
	stream   bool
}

func (s *socket) connect() error {
	var err error
	for _, network := range s.networks {
		var c net.Conn
		if c, err = net.DialTimeout(network, s.path, sendLimit); err == nil {
			s.conn, s.stream = c, network == "unix"
			return nil
		}
	}
	return err
}

// send sends b as one message, once more over a new connection when the old
// one fails.
func (s *socket) send(b []byte) error {
	for range 2 {
		if s.conn == nil {
			if err := s.connect(); err != nil {
				return err
			}
		}
		if s.stream {
			b = append(b, 0) // as the C library ends a message on a stream
		}
		s.conn.SetWriteDeadline(time.Now().Add(sendLimit))
		if _, err := s.conn.Write(b); err == nil {
			return nil
		}
		s.conn.Close()
		s.conn = nil
	}
	return fmt.Errorf("log service %s does not take messages", s.path)
}
