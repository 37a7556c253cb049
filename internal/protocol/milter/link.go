package milter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// A state is how far a link has come.
type state int

const (
	closed     state = iota // not connected yet
	ready                   // between messages
	inMail                  // after MAIL
	takenMail               // the milter accepts the message and wants no more of it
	takenAll                // the milter accepts all of the connection
	refusedAll              // the milter refuses all of the connection
	failed                  // its default action is in force
)

// A link is the connection to one milter.
type link struct {
	*Service
	warn    func(format string, args ...any)
	w       *wire
	state   state
	version uint32
	skip    uint32 // agreed events that are not sent, answers that do not come, and the like
	offered uint32 // what could be agreed on
	skipped byte   // the command of which the milter wants no more in this message
	macros  [macroStages][]string
	fixed   Response // what is answered from now on
}

// hopeless is how long a milter may go on saying that it is still at work on
// one event.
const hopeless = time.Hour

// fail ends the link and puts the default action in force.
func (l *link) fail(format string, args ...any) Response {
	l.warn("milter %s: "+format, append([]any{l.Name}, args...)...)
	return l.giveUp()
}

func (l *link) giveUp() Response {
	l.drop()
	l.state = failed
	switch l.DefaultAction {
	case "accept":
		l.fixed = Response{}
	case "reject":
		l.fixed = Response{Reply, textRefused}
	case "quarantine":
		l.fixed = Response{Action: Hold}
	case "shutdown":
		l.fixed = Response{Action: Shutdown}
	default:
		l.fixed = Response{Reply, textUnavailable}
	}
	return l.fixed
}

// misset is for a milter that does not do what the configuration says.
func (l *link) misset(format string, args ...any) Response {
	l.fail(format, args...)
	if l.DefaultAction != "accept" && l.DefaultAction != "quarantine" {
		l.fixed = Response{Reply, textMisset}
	}
	return l.fixed
}

// drop closes the connection for all who hold it, so that another process does
// not go on with a dialogue that is out of step.
func (l *link) drop() {
	if l.w == nil {
		return
	}
	if c, ok := l.w.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	l.w.Close()
	l.w = nil
}

// reason says what an error of the connection was.
func reason(err error) string {
	var no syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "Connection timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the milter closed the connection"
	case errors.As(err, &no):
		return errnoText(no)
	}
	return err.Error()
}

// errnoText writes an error of the system with a capital, as C does.
func errnoText(no syscall.Errno) string {
	s := no.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// connect opens the connection and negotiates.
func (l *link) connect(ctx context.Context, s *Settings) {
	d := net.Dialer{Timeout: l.ConnectTimeout}
	c, err := d.DialContext(ctx, l.Network, l.Addr)
	if err != nil {
		l.warn("connect to Milter service %s: %s", l.Name, reason(err))
		l.giveUp()
		return
	}
	l.w = newWire(c)
	l.macros = s.lists
	if err := l.negotiate(); err != nil {
		l.fail("%v", err)
		return
	}
	l.state = ready
}

// events returns what can be agreed on in a version of the protocol.
func events(version uint32) uint32 {
	switch {
	case version >= 6:
		return events6
	case version >= 4:
		return events4
	case version == 3:
		return events3
	}
	return events2
}

// negotiate offers all that we can do and takes what the milter chooses.
func (l *link) negotiate() error {
	offered := events(l.Version)
	if l.MuteHeader {
		offered |= muteHeader
	}
	var offer [12]byte
	binary.BigEndian.PutUint32(offer[0:], l.Version)
	binary.BigEndian.PutUint32(offer[4:], allActions)
	binary.BigEndian.PutUint32(offer[8:], offered)
	l.w.put(cmdNegotiate, offer[:])
	if err := l.w.flush(l.ConnectTimeout); err != nil {
		return fmt.Errorf("write error in initial handshake: %s", reason(err))
	}
	reply, data, err := l.w.next(l.ConnectTimeout)
	switch {
	case err != nil:
		return fmt.Errorf("can't read %s reply packet header: %s", commandName(cmdNegotiate), reason(err))
	case reply != cmdNegotiate:
		return fmt.Errorf("unexpected reply %q in initial handshake", string(rune(reply)))
	case len(data) < 12:
		return errors.New("input packet too short for network long")
	}
	l.version = binary.BigEndian.Uint32(data)
	wanted, skip := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if l.version > l.Version || l.version < 2 {
		return fmt.Errorf("protocol version %d conflict with MTA protocol version %d", l.version, l.Version)
	}
	if wanted&^allActions != 0 {
		return fmt.Errorf("request mask 0x%x conflict with MTA request mask 0x%x", wanted, allActions)
	}
	if skip&^offered&events6 != 0 {
		return fmt.Errorf("event mask 0x%x includes features not offered in MTA event mask 0x%x", skip, offered)
	}
	if l.MuteHeader {
		skip |= muteHeader
	}
	l.skip, l.offered = skip, offered&events(l.version)
	return l.symbols(data[12:])
}

// symbols reads the lists of macros that the milter wants instead of ours.
func (l *link) symbols(data []byte) error {
	for len(data) > 0 {
		if len(data) < 4 {
			return errors.New("input packet too short for network long")
		}
		stage := binary.BigEndian.Uint32(data)
		end := 4
		for end < len(data) && data[end] != 0 {
			end++
		}
		if end == len(data) {
			return errNUL
		}
		if stage <= atEndOfHead {
			l.macros[stage] = macroNames(string(data[4:end]))
		} else {
			l.warn("milter %s: ignoring unknown macro type %d", l.Name, stage)
		}
		data = data[end+1:]
	}
	return nil
}

// An event is a kind of command that a milter answers.
type event struct {
	cmd      byte
	name     string
	stage    int // of its macros
	no, mute uint32
	start    bool // an answer is for all of the connection
}

var (
	onConnect = event{cmdConnect, "SMFIC_CONNECT", atConnect, noConnect, muteConnect, true}
	onHelo    = event{cmdHelo, "SMFIC_HELO", atHelo, noHelo, muteHelo, true}
	onMail    = event{cmdMail, "SMFIC_MAIL", atMail, noMail, muteMail, false}
	onRcpt    = event{cmdRcpt, "SMFIC_RCPT", atRcpt, noRcpt, muteRcpt, false}
	onData    = event{cmdData, "SMFIC_DATA", atData, noData, muteData, false}
	onUnknown = event{cmdUnknown, "SMFIC_UNKNOWN", atUnknown, noUnknown, muteUnknown, false}
	onHeader  = event{cmdHeader, "SMFIC_HEADER", atEndOfHead, noHeaders, muteHeader, false}
	onHeadEnd = event{cmdEndOfHead, "SMFIC_EOH", atEndOfHead, noEndOfHead, muteEOH, false}
	onBody    = event{cmdBody, "SMFIC_BODY", atEndOfBody, noBody, muteBody, false}
	onEnd     = event{cmdEndOfBody, "SMFIC_BODYEOB", atEndOfBody, 0, 0, false}
)

// commandName is the name of a command in log lines.
func commandName(cmd byte) string {
	for _, e := range [...]*event{&onConnect, &onHelo, &onMail, &onRcpt, &onData, &onUnknown, &onHeader, &onHeadEnd, &onBody, &onEnd} {
		if e.cmd == cmd {
			return e.name
		}
	}
	if cmd == cmdNegotiate {
		return "SMFIC_OPTNEG"
	}
	return fmt.Sprintf("%q", string(rune(cmd)))
}

// tell sends the event, macros before it, and returns the answer. prefix and
// list are its data. Postfix: the macros are sent even where the event itself
// is not wanted.
func (l *link) tell(e *event, macros, prefix []byte, timeout time.Duration, list ...string) Response {
	if l.offered&e.no != e.no || l.skipped == e.cmd {
		return l.fixed
	}
	l.w.put(cmdMacro, []byte{e.cmd}, macros)
	if l.skip&e.no == 0 {
		l.w.putStrings(e.cmd, prefix, list...)
	}
	if err := l.w.flush(timeout); err != nil {
		return l.fail("error writing command: %s", reason(err))
	}
	if l.skip&(e.no|e.mute) != 0 {
		return l.fixed
	}
	return l.answer(e, nil, timeout)
}

// answer reads replies until one ends the event. ed is nil unless the message
// may be changed.
func (l *link) answer(e *event, ed *edits, timeout time.Duration) Response {
	end := time.Now().Add(max(hopeless, timeout))
	for {
		reply, data, err := l.w.next(timeout)
		if err != nil {
			return l.fail("can't read %s reply packet header: %s", e.name, reason(err))
		}
		if reply == replyProgress && len(data) == 0 {
			if time.Now().After(end) {
				return l.fail("still at work on %s after %s", e.name, max(hopeless, timeout))
			}
			continue
		}
		if ed != nil && isEdit(reply) {
			if r, done := ed.apply(l, reply, data); done {
				return r
			}
			continue
		}
		if reply != replyCode && len(data) != 0 {
			return l.fail("reply %s was followed by %d data bytes", replyName(reply), len(data))
		}
		return l.decision(e, reply, data)
	}
}

// decision is what a reply means that ends an event.
func (l *link) decision(e *event, reply byte, data []byte) Response {
	switch reply {
	case replyContinue:
		return l.fixed
	case replyAccept:
		l.state = takenMail
		if e.start {
			l.state = takenAll
		}
		return l.fixed
	case replyReject:
		return l.refuse(e, textRejected)
	case replyTempfail:
		return l.refuse(e, textUnavailable)
	case replyDiscard:
		if e.start {
			l.warn("milter %s: DISCARD action is not allowed for connect or helo", l.Name)
			return l.fixed
		}
		l.state = takenMail
		return Response{Action: Discard}
	case replyShutdown:
		l.state, l.fixed = refusedAll, Response{Action: Shutdown}
		return l.fixed
	case replySkip:
		if l.skip&canSkip != 0 || l.offered&canSkip != 0 {
			l.skipped = e.cmd
			return l.fixed
		}
	case replyCode:
		text, err := replyText(data)
		if err != nil {
			return l.misset("malformed reply: %.200s", bytes.TrimSuffix(data, []byte{0}))
		}
		return l.refuse(e, text)
	}
	return l.fail("unexpected filter response %s after event %s", replyName(reply), e.name)
}

// refuse is a reply that a milter wants the client to get; one to the begin
// of the session holds for all of it.
func (l *link) refuse(e *event, text string) Response {
	r := Response{Reply, text}
	if e.start {
		l.state, l.fixed = refusedAll, r
	}
	return r
}
