package milter

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"postern/internal/base/maillog"
)

// A Handover is a chain on its way to the process that has the content of the
// message, without its connections.
type Handover struct {
	Defaults string // milter_macro_defaults
	Links    []LinkState
}

// A LinkState is what a process must know of one milter to go on with it.
type LinkState struct {
	Name                      string
	State                     int
	Version, Skip, Offered    int
	Action                    int    // of what is answered from now on
	Text                      string // likewise
	DefaultAction             string
	CommandTimeout            int    // seconds
	ContentTimeout            int    // seconds
	EndOfHeader, EndOfMessage string // names of macros
	Connected                 bool
}

// MaxLinks bounds the milters that can be handed over, by what one message on a
// socket may carry (Linux: SCM_MAX_FD).
const MaxLinks = 250

// HandOver returns the state of the chain and its connections, one for each link
// that is connected. The chain stays as it is: one process speaks at a time.
func (c *Chain) HandOver() (Handover, []net.Conn) {
	var h Handover
	var conns []net.Conn
	if c == nil {
		return h, nil
	}
	h.Defaults = c.settings.MacroDefaults
	for _, l := range c.links {
		if l.w != nil && l.w.r.Buffered() > 0 {
			l.fail("data that was not asked for")
		}
		s := LinkState{Name: l.Name, State: int(l.state), Version: int(l.version), Skip: int(l.skip), Offered: int(l.offered),
			Action: int(l.fixed.Action), Text: l.fixed.Text, DefaultAction: l.DefaultAction,
			CommandTimeout: int(l.CommandTimeout / time.Second), ContentTimeout: int(l.ContentTimeout / time.Second),
			EndOfHeader: strings.Join(l.macros[atEndOfHead], " "), EndOfMessage: strings.Join(l.macros[atEndOfBody], " ")}
		if l.w != nil {
			s.Connected = true
			conns = append(conns, l.w.Conn)
		}
		h.Links = append(h.Links, s)
	}
	return h, conns
}

// Take makes a chain of what was handed over. It owns the connections.
func Take(h Handover, conns []net.Conn, log *maillog.Logger, macros Macros) (*Chain, error) {
	settings, err := Params{MacroDefaults: h.Defaults, Protocol: "6", DefaultAction: "tempfail"}.Parse()
	if err != nil {
		return nil, err
	}
	c := &Chain{settings: settings, macros: macros}
	for _, s := range h.Links {
		if s.State < int(closed) || s.State > int(failed) || !slices.Contains(actionNames, s.DefaultAction) ||
			s.CommandTimeout <= 0 || s.ContentTimeout <= 0 || s.Connected && len(conns) == 0 {
			return nil, fmt.Errorf("milter %.100s: bad state", s.Name)
		}
		l := &link{Service: &Service{Name: s.Name, DefaultAction: s.DefaultAction,
			CommandTimeout: time.Duration(s.CommandTimeout) * time.Second, ContentTimeout: time.Duration(s.ContentTimeout) * time.Second},
			warn: log.Warningf, state: state(s.State), version: uint32(s.Version), skip: uint32(s.Skip), offered: uint32(s.Offered),
			fixed: Response{Action(s.Action), s.Text}}
		l.macros[atEndOfHead], l.macros[atEndOfBody] = macroNames(s.EndOfHeader), macroNames(s.EndOfMessage)
		if s.Connected {
			l.w, conns = newWire(conns[0]), conns[1:]
		} else if l.state == ready || l.state == inMail || l.state == takenMail {
			return nil, fmt.Errorf("milter %.100s: a connection is missing", s.Name)
		}
		c.links = append(c.links, l)
	}
	return c, nil
}

// Release closes this process's ends of the connections and says nothing to the
// milters: the session goes on elsewhere.
func (c *Chain) Release() {
	if c == nil {
		return
	}
	for _, l := range c.links {
		if l.w != nil {
			l.w.Close()
			l.w, l.state = nil, closed
		}
	}
}
