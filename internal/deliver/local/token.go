package local

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"postern/internal/base/errno"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
)

// destinations delivers to all that text, the value of an alias, names.
func (s state) destinations(text string) bool {
	done, _ := s.line(text)
	return done
}

// line delivers to what one line names and counts the destinations.
func (s state) line(text string) (done bool, n int) {
	done = true
	for _, dest := range address.Addresses(text) {
		n++
		if s.ended() {
			return done, n
		}
		if !s.destination(dest) {
			done = false
		}
	}
	return done, n
}

// lines delivers to what a file names, line by line; it stops at the first
// failure. Lines that start with "#" are comments.
func (s state) lines(r io.Reader) (done bool, n int) {
	in := bufio.NewReaderSize(r, max(s.Env().Common.LineLengthLimit, 16))
	done = true
	for done && !s.ended() {
		text, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull { // Postfix: longer lines are broken up
			err = nil
		}
		if len(text) > 0 && text[0] != '#' {
			var k int
			done, k = s.line(strings.TrimRight(string(text), "\r\n"))
			n += k
		}
		if err == io.EOF {
			return done, n
		}
		if err != nil {
			return s.deferred("4.3.0", "error reading forwarding file: "+errno.Text(err)), n
		}
	}
	return done, n
}

// destination delivers to one destination: a file, a command, a file with more
// destinations, or an address.
func (s state) destination(dest string) bool {
	const include = ":include:"
	switch {
	case strings.HasPrefix(dest, "/"):
		return s.file(dest)
	case strings.HasPrefix(dest, "~"):
		return s.homeFile(dest)
	case strings.HasPrefix(dest, "|"):
		if !s.commands.allow(s.from) {
			s.into(StepCommand, dest)
			return s.bounced("5.7.1", "mail to command is restricted")
		}
		return s.command(strings.TrimLeft(dest[1:], " \t"))
	case len(dest) >= len(include) && strings.EqualFold(dest[:len(include)], include):
		return s.include(dest[len(include):])
	}
	return s.resolve(dest)
}

// homeFile delivers to a file below the home directory, "~/path".
func (s state) homeFile(dest string) bool {
	switch {
	case !strings.HasPrefix(dest, "~/"):
		s.req.Log.Warningf("bad home directory syntax for: %s", dest)
	case !s.rights.known || !strings.HasPrefix(s.rights.Home, "/"):
		s.req.Log.Warningf("unknown home directory for: %s", dest)
	default:
		return s.file(s.rights.Home + dest[1:])
	}
	s.into(StepFile, dest)
	return s.miswritten()
}

// resolve delivers to an address: here, if it is this service's, else by a new
// message.
func (s state) resolve(addr string) bool {
	full, err := s.rewriter.Rewrite(s.ctx, "local", addr)
	var to rewrite.Resolved
	if err == nil {
		to, err = s.rewriter.Resolve(s.ctx, s.req.Sender, full)
	}
	if err != nil {
		s.req.Log.Warningf("%s: %v", s.req.QueueID, err)
	}
	switch {
	case err != nil || to.Flags&rewrite.Fail != 0:
		s.addr = addr
		s.into(StepAddress, addr)
		return s.deferred("4.3.0", "address resolver failure")
	case to.Flags&rewrite.Error != 0:
		s.addr = addr
		s.into(StepAddress, addr)
		return s.bounced("5.1.3", fmt.Sprintf("bad recipient address syntax: %s", to.Recipient))
	}
	s.addr = s.spliced(to.Recipient)
	s.level++
	s.into(StepAddress, s.addr)
	if to.Transport == s.Env().Name {
		return s.recipient()
	}
	return s.indirect()
}

// spliced puts the extension that nothing has matched into addr.
func (s state) spliced(addr string) string {
	if s.unmatched == "" {
		return addr
	}
	local, domain := address.Split(addr)
	return address.Join(local+s.delimiter()+s.unmatched, domain)
}

// delimiter is what separates the extension of the present address.
func (s state) delimiter() string {
	if len(s.user) < len(s.local) {
		return s.local[len(s.user) : len(s.user)+1]
	}
	return ""
}
