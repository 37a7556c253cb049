// Package beforequeue is the client of a before-queue content filter
// (smtpd_proxy_filter): an SMTP server that is told of a message while the
// sender waits, and whose replies the sender gets.
//
// A Filter is one message. It is told MAIL, RCPT and DATA one by one, or, with
// SpeedAdjust, all at once after the message has arrived in a temporary file,
// so that few filters serve many slow senders. The content comes to it as
// records, of which it passes on the lines of the message.
//
// Postfix: SMTPD_PROXY_README.
package beforequeue

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"postern/internal/base/errno"
	"postern/internal/mail/record"
	"postern/internal/protocol/smtp"
)

// A Config says which filter is asked and how.
type Config struct {
	Network, Address string // "tcp", "127.0.0.1:10025"; "unix", a path
	Name             string // as log lines have it
	Hello            string // smtpd_proxy_ehlo
	Timeout          time.Duration
	SpeedAdjust      bool
	TempDir          string // of the file, with SpeedAdjust
	Warn             func(format string, args ...any)
}

// ParseEndpoint reads smtpd_proxy_filter: "host:port", "inet:host:port",
// "unix:path", or a port on this host.
func ParseEndpoint(value string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(value, "unix:"); ok && path != "" {
		return "unix", path, nil
	}
	value = strings.TrimPrefix(value, "inet:")
	if !strings.Contains(value, ":") {
		value = ":" + value
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil || port == "" {
		return "", "", errors.New("need host:port, inet:host:port or unix:pathname")
	}
	if host == "" {
		host = "localhost"
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// An Attr is an attribute of XFORWARD: what a filter may know of the client.
type Attr struct{ Name, Value string }

// A Filter is one message on its way.
type Filter struct {
	conf    Config
	ctx     context.Context
	forward []Attr
	last    smtp.Reply
	broken  bool // the connection is of no more use

	conn net.Conn
	in   *smtp.Reader
	out  *bufio.Writer
	dots *smtp.DotWriter

	records  *record.Writer
	commands []string // with SpeedAdjust: what the filter will be told
	file     *os.File // with SpeedAdjust: the content
}

// failed is the reply when the filter cannot be talked to: it is no fault of
// the message.
func failed() smtp.Reply {
	return smtp.NewReply(451, "4.3.0", "Error: queue file write error")
}

// Open tells the filter of a message, by its MAIL command. When it refuses, or
// does not answer, there is no Filter and the reply is for the client.
func Open(ctx context.Context, c Config, forward []Attr, mail string) (*Filter, smtp.Reply) {
	f := &Filter{conf: c, ctx: ctx, forward: forward}
	if c.SpeedAdjust {
		file, err := tempFile(c.TempDir)
		if err != nil {
			c.Warn("save message for proxy filter %s: %v", c.Name, err)
			return nil, failed()
		}
		f.file = file
		f.records = record.NewWriter(bufio.NewWriter(file))
		f.commands = append(f.commands, mail)
		return f, smtp.Reply{}
	}
	if r, ok := f.start(mail); !ok {
		f.Close()
		return nil, r
	}
	f.records = record.NewWriter(&lines{emit: f.dots.Line})
	return f, smtp.Reply{}
}

// start connects, greets, tells of the client, and gives MAIL.
func (f *Filter) start(mail string) (smtp.Reply, bool) {
	d := net.Dialer{Timeout: f.conf.Timeout}
	conn, err := d.DialContext(f.ctx, f.conf.Network, f.conf.Address)
	if err != nil {
		f.conf.Warn("connect to proxy filter %s: %s", f.conf.Name, cause(err))
		return failed(), false
	}
	f.conn = conn
	f.in = smtp.NewReader(conn, smtp.Limits{Timeout: f.conf.Timeout}, nil)
	f.out = bufio.NewWriter(patient{conn, f.conf.Timeout})
	f.dots = smtp.NewDotWriter(f.out)
	if _, ok := f.answer("connection request", '2'); !ok {
		return failed(), false
	}
	if _, ok := f.tell("EHLO "+f.conf.Hello, '2'); !ok {
		return failed(), false
	}
	for _, line := range f.xforward(f.last) {
		if _, ok := f.tell(line, '2'); !ok {
			return failed(), false
		}
	}
	return f.tell(mail, '2')
}

// maxForward is the length of one XFORWARD line. RFC 5321 4.5.3.1.4 has 512.
const maxForward = 510

// xforward makes the commands that tell of the client, as far as the filter
// wants to know.
func (f *Filter) xforward(hello smtp.Reply) []string {
	wants := map[string]bool{}
	for _, l := range hello.Lines {
		words := strings.Fields(strings.ToUpper(l))
		if len(words) > 0 && words[0] == "XFORWARD" {
			for _, w := range words[1:] {
				wants[w] = true
			}
		}
	}
	var list []string
	line := "XFORWARD"
	for _, a := range f.forward {
		if !wants[a.Name] {
			continue
		}
		text := " " + a.Name + "=" + smtp.EncodeXtext(a.Value, "")
		if len(line)+len(text) > maxForward && line != "XFORWARD" {
			list = append(list, line)
			line = "XFORWARD"
		}
		line += text
	}
	if line != "XFORWARD" {
		list = append(list, line)
	}
	return list
}

// Command tells the filter a command. ok says that it took it: the first digit
// of its reply is want. With SpeedAdjust it always does, for now.
func (f *Filter) Command(text string, want byte) (r smtp.Reply, ok bool) {
	if f.conf.SpeedAdjust {
		f.commands = append(f.commands, text)
		return smtp.Reply{}, true
	}
	return f.tell(text, want)
}

func (f *Filter) tell(text string, want byte) (smtp.Reply, bool) {
	if !f.broken {
		f.out.WriteString(text)
		f.out.WriteString("\r\n")
	}
	return f.answer(text, want)
}

// maxReply bounds a reply of the filter.
const (
	maxReplyLine  = 2048
	maxReplyLines = 100
)

// answer reads the reply to what was sent.
func (f *Filter) answer(what string, want byte) (smtp.Reply, bool) {
	if f.broken {
		return failed(), false
	}
	err := f.out.Flush()
	if err == nil {
		f.last, err = f.in.ReadReply(maxReplyLine, maxReplyLines)
	}
	if err != nil {
		f.broken = true
		reason := "lost connection with"
		if smtp.IsTimeout(err) {
			reason = "timeout talking to"
		}
		f.conf.Warn("%s proxy %s", reason, f.conf.Name)
		f.last = failed()
		return f.last, false
	}
	if want != anyReply && byte('0'+f.last.Code/100) != want {
		f.conf.Warn("proxy %s rejected \"%s\": \"%s\"", f.conf.Name, what, Text(f.last))
		return f.last, false
	}
	return f.last, true
}

// Text is a reply as log lines show those of a filter: all its lines with their
// codes.
func Text(r smtp.Reply) string { return strings.TrimRight(string(r.AppendTo(nil)), "\r\n") }

// End ends the content. The reply is the filter's word on the message.
func (f *Filter) End() smtp.Reply {
	if err := f.records.Flush(); err != nil && f.conf.SpeedAdjust {
		f.conf.Warn("save message for proxy filter %s: %v", f.conf.Name, err)
		return failed()
	}
	if f.conf.SpeedAdjust {
		if r, ok := f.replay(); !ok {
			return r
		}
	}
	if !f.broken {
		f.dots.Close()
	}
	r, _ := f.answer(".", anyReply)
	return r
}

// anyReply takes every reply to the end of data: what it says is logged with the
// message.
const anyReply = 0

// replay tells the filter what it should have been told before, and then the
// content.
func (f *Filter) replay() (smtp.Reply, bool) {
	if r, ok := f.start(f.commands[0]); !ok {
		return r, false
	}
	for _, text := range f.commands[1:] {
		want := byte('2')
		if text == "DATA" {
			want = '3'
		}
		if r, ok := f.tell(text, want); !ok {
			return r, false
		}
	}
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		f.conf.Warn("read message for proxy filter %s: %v", f.conf.Name, err)
		return failed(), false
	}
	sink := lines{emit: f.dots.Line}
	if _, err := io.Copy(&sink, f.file); err != nil {
		f.conf.Warn("pass message to proxy filter %s: %s", f.conf.Name, cause(err))
		return failed(), false
	}
	return smtp.Reply{}, true
}

// Records takes the message as records.
func (f *Filter) Records() *record.Writer { return f.records }

// Last is what the filter said last.
func (f *Filter) Last() smtp.Reply { return f.last }

// Close takes leave of the filter. A message that was not ended is forgotten:
// nothing but the end of data makes the filter take it.
func (f *Filter) Close() error {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	if f.conn == nil {
		return nil
	}
	if !f.broken {
		f.broken = true
		f.out.WriteString("QUIT\r\n")
		f.out.Flush()
	}
	conn := f.conn
	f.conn = nil
	return conn.Close()
}

// A patient connection gives each write its time.
type patient struct {
	net.Conn
	timeout time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	p.SetWriteDeadline(time.Now().Add(p.timeout))
	return p.Conn.Write(b)
}

// cause is an error as Postfix words it: that of the system alone.
func cause(err error) string {
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return errno.Text(number)
	case smtp.IsTimeout(err):
		return "Connection timed out"
	}
	return err.Error()
}
