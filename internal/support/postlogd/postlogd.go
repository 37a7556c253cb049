// Package postlogd is the log service: it writes the lines that other programs
// send to the socket public/postlog into the file maillog_file.
//
// A datagram is one line, complete with time, host and tag, or several with a
// line feed between them. The file is opened
// once; "postfix logrotate" renames it and reloads the mail system, and the
// next process opens a new one.
package postlogd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/service"
)

// A Server is the service.
type Server struct {
	file *os.File
	env  *service.Env
	line []byte
}

// New returns the service.
func New() service.Service { return &Server{} }

// Params names no parameter: where the log is, every program knows.
func (s *Server) Params(*param.Set) {}

// Open opens the log file. Without one, lines go to the syslog service only.
func (s *Server) Open(e *service.Env) error {
	s.env = e
	path := e.Common.MaillogFile
	if path == "" {
		return nil
	}
	if err := s.openFile(path); err != nil {
		// Nobody is going to read the log service's own socket.
		if sink, e := maillog.NewSyslog(maillog.DevLog, e.Common.SyslogFacility, maillog.Text); e == nil {
			log := maillog.New(sink, s.env.Log.Tag())
			log.Fatalf("%v", err)
			log.Flush(time.Second)
		}
		return err
	}
	return nil
}

func (s *Server) openFile(path string) error {
	c := s.env.Common
	if err := CheckPath(path, c.MaillogFilePrefixes); err != nil {
		return err
	}
	mode, err := strconv.ParseUint(c.MaillogFilePermissions, 8, 32)
	if err != nil || mode > 0o777 {
		return fmt.Errorf("bad maillog_file_permissions value: %.100q; want an octal number", c.MaillogFilePermissions)
	}
	s.file, err = maillog.OpenFile(path, os.FileMode(mode))
	if err != nil {
		return fmt.Errorf("open logfile '%s': %w", path, err)
	}
	return nil
}

// CheckPath refuses a maillog_file that maillog_file_prefixes does not cover:
// the file is opened with the privileges of root.
func CheckPath(path, prefixes string) error {
	for _, p := range param.Split(prefixes) {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(p, "/")) {
			return nil
		}
	}
	return fmt.Errorf("maillog_file value '%s' does not match any prefix in maillog_file_prefixes", path)
}

// Serve is not used: the service has a datagram socket.
func (s *Server) Serve(context.Context, net.Conn) error {
	return errors.New("postlogd serves datagrams only")
}

// Packet writes the lines of a datagram. The senders are local users that may connect to the
// socket: what they send is made printable here once more.
func (s *Server) Packet(_ context.Context, b []byte) {
	if s.file == nil {
		s.env.Log.Warningf("log line without a maillog_file: %s", b)
		return
	}
	s.line = s.line[:0]
	for line := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'}) {
		s.line = append(maillog.AppendPrintable(s.line, line), '\n')
	}
	if _, err := s.file.Write(s.line); err != nil {
		fmt.Fprintf(os.Stderr, "postlogd: write %s: %v\n", s.file.Name(), err)
	}
}
