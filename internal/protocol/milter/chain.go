package milter

import (
	"context"
	"strconv"
	"strings"

	"postern/internal/base/maillog"
)

// Macros tells the value of a macro, "i" or "{client_addr}".
type Macros func(name string) (value string, ok bool)

// A Chain is the milters of one session. A nil Chain has none. It is for one
// goroutine.
type Chain struct {
	settings *Settings
	links    []*link
	macros   Macros
}

// New returns a chain of milters that are not connected yet; nil when there
// are none.
func (s *Settings) New(services []*Service, log *maillog.Logger, macros Macros) *Chain {
	if len(services) == 0 {
		return nil
	}
	c := &Chain{settings: s, macros: macros}
	for _, v := range services {
		c.links = append(c.links, &link{Service: v, warn: log.Warningf})
	}
	return c
}

// Unusable returns a chain that refuses all mail for now, as one does that is not
// configured right.
func (s *Settings) Unusable(log *maillog.Logger) *Chain {
	return &Chain{settings: s, macros: func(string) (string, bool) { return "", false }, links: []*link{{
		Service: &Service{DefaultAction: "tempfail"}, warn: log.Warningf, state: failed, fixed: Response{Reply, textMisset}}}}
}

// evaluate makes the data of a macro command; a name without a value is left
// out.
func (c *Chain) evaluate(names []string) []byte {
	var b []byte
	for _, name := range names {
		value, ok := c.macros(name)
		if !ok {
			if value, ok = c.settings.defaults[name]; !ok {
				continue
			}
		}
		value, _, _ = strings.Cut(value, "\x00")
		b = append(append(b, name...), 0)
		b = append(append(b, value...), 0)
	}
	return b
}

// each asks one milter after the other until one has an answer.
func (c *Chain) each(ask func(l *link) Response) Response {
	if c == nil {
		return Response{}
	}
	for _, l := range c.links {
		if r := ask(l); !r.goesOn() {
			return r
		}
	}
	return Response{}
}

// tell sends a command of the session to a milter that has not decided yet.
func (c *Chain) tell(l *link, e *event, prefix []byte, list ...string) Response {
	switch l.state {
	case ready, inMail:
		return l.tell(e, c.evaluate(l.macros[e.stage]), prefix, l.CommandTimeout, list...)
	}
	return l.fixed
}

// Families of client addresses.
const (
	familyUnknown = 'U'
	familyINET    = '4'
	familyINET6   = '6'
)

// Connect tells of a client: its name, its address ("" when it has none) and its
// port. The milters are connected one after the other.
func (c *Chain) Connect(ctx context.Context, name, addr, port string) Response {
	prefix := append([]byte(name), 0, familyUnknown)
	if addr != "" {
		family := byte(familyINET)
		for i := range len(addr) {
			if addr[i] == ':' {
				family = familyINET6
			}
		}
		n, _ := strconv.ParseUint(port, 10, 16)
		prefix = append(append([]byte(name), 0, family, byte(n>>8), byte(n)), addr...)
		prefix = append(prefix, 0)
	}
	return c.each(func(l *link) Response {
		if l.state == closed {
			l.connect(ctx, c.settings)
		}
		return c.tell(l, &onConnect, prefix)
	})
}

// Helo tells of HELO or EHLO.
func (c *Chain) Helo(name string) Response {
	return c.each(func(l *link) Response { return c.tell(l, &onHelo, nil, name) })
}

// Mail tells of MAIL: the address as it was given and the parameters.
func (c *Chain) Mail(path string, options []string) Response {
	list := append([]string{path}, options...)
	return c.each(func(l *link) Response {
		if l.state == ready {
			l.state, l.skipped = inMail, 0
		}
		return c.tell(l, &onMail, nil, list...)
	})
}

// Rcpt tells of RCPT. Of a recipient that the server has refused only those
// milters are told that asked for it, and their answer is of no consequence.
func (c *Chain) Rcpt(path string, options []string, refused bool) Response {
	list := append([]string{path}, options...)
	return c.each(func(l *link) Response {
		if refused && l.skip&refusedRcpt == 0 {
			return Response{}
		}
		return c.tell(l, &onRcpt, nil, list...)
	})
}

// Data tells of DATA, or of the first BDAT.
func (c *Chain) Data() Response {
	return c.each(func(l *link) Response { return c.tell(l, &onData, nil) })
}

// Unknown tells of a command line that the server does not know.
func (c *Chain) Unknown(line string) Response {
	return c.each(func(l *link) Response { return c.tell(l, &onUnknown, nil, line) })
}

// Other is the answer to a command of which milters are not told: that to the
// connection or to HELO holds for it, too.
func (c *Chain) Other() Response {
	return c.each(func(l *link) Response { return l.fixed })
}

// listening says that the milter is still asked in this session.
func (l *link) listening() bool {
	return l.w != nil && (l.state == ready || l.state == inMail || l.state == takenMail)
}

// Abort tells that the message has ended, one way or the other, or that the
// dialogue begins again.
func (c *Chain) Abort() {
	if c == nil {
		return
	}
	for _, l := range c.links {
		if !l.listening() {
			continue
		}
		l.w.put(cmdAbort)
		if err := l.w.flush(l.CommandTimeout); err != nil {
			l.giveUp() // it has been told of already
			continue
		}
		l.state, l.skipped = ready, 0
	}
}

// Disconnect tells that the session has ended and closes all connections.
func (c *Chain) Disconnect() {
	if c == nil {
		return
	}
	for _, l := range c.links {
		if l.listening() {
			l.w.put(cmdQuit)
			l.w.flush(l.CommandTimeout)
		}
		if l.w != nil {
			l.w.Close()
		}
		l.w, l.state = nil, closed
	}
}

// Undecided says whether a milter has something to say about the content of the
// message.
func (c *Chain) Undecided() bool {
	if c == nil {
		return false
	}
	for _, l := range c.links {
		if l.state == inMail || !l.fixed.goesOn() {
			return true
		}
	}
	return false
}

// Lost gives up the milters that have not decided about the message: the
// process to which they were handed over is gone, and nobody knows how far it
// came.
func (c *Chain) Lost() {
	if c == nil {
		return
	}
	for _, l := range c.links {
		if l.state == inMail {
			l.fail("lost touch during the end of the message")
		}
	}
}
