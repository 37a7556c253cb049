// Package miltertest is a milter for tests: it does what a script says and
// keeps what it was told.
//
// A script has lines "EVENT ACTION ARGUMENTS". EVENT is negotiate, connect,
// helo, mail, rcpt, data, unknown, header, eoh, body or eom; "rcpt:text" is
// for those events only whose trace contains text, which for data, eoh, body
// and eom may be that of the mail before. All lines of an event are
// carried out in their order. An event without a final answer is answered with
// "continue". In arguments, "\n", "\r", "\t", "\0" and "\\" stand for octets, "\_" for
// a blank at the start.
//
// The lines of negotiate set what the milter asks for: "version N", "actions
// 0x1ff", "protocol 0x0", "macros STAGE NAMES" (SMFIR_SETSYMLIST).
package miltertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Milter is a running one.
type Milter struct {
	Port  int
	rules []rule

	mu       sync.Mutex
	cond     *sync.Cond
	sessions []*session // in the order in which they began
}

type rule struct{ event, contains, action, args string }

// wait bounds how long a milter waits for its client.
const wait = 30 * time.Second

// New starts a milter on a free port of 127.0.0.1 that lives as long as the test.
func New(t testing.TB, script string) *Milter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := Start(l, script)
	t.Cleanup(func() { l.Close() })
	return m
}

// Start serves on l until it is closed.
func Start(l net.Listener, script string) *Milter {
	m := &Milter{rules: parse(script)}
	m.cond = sync.NewCond(&m.mu)
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		m.Port = a.Port
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := &session{Milter: m, c: c}
			m.mu.Lock()
			m.sessions = append(m.sessions, s)
			m.mu.Unlock()
			go func() {
				defer c.Close()
				s.serve()
			}()
		}
	}()
	return m
}

func parse(script string) (rules []rule) {
	for line := range strings.SplitSeq(script, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		what, rest, _ := strings.Cut(line, " ")
		action, args, _ := strings.Cut(rest, " ")
		event, contains, _ := strings.Cut(what, ":")
		rules = append(rules, rule{event, contains, action, octets.Replace(args)})
	}
	return rules
}

var octets = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00", `\\`, `\`, `\_`, " ")

// Got returns the trace: a line for each command that came, session by session.
func (m *Milter) Got() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trace()
}

func (m *Milter) trace() (lines []string) {
	for _, s := range m.sessions {
		lines = append(lines, s.got...)
	}
	return lines
}

// Await waits until a line of the trace has the prefix.
func (m *Milter) Await(t testing.TB, prefix string) {
	t.Helper()
	late := time.AfterFunc(wait, m.cond.Broadcast)
	defer late.Stop()
	end := time.Now().Add(wait)
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		for _, line := range m.trace() {
			if strings.HasPrefix(line, prefix) {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the milter never saw %q, but:\n%s", prefix, strings.Join(m.trace(), "\n"))
		}
		m.cond.Wait()
	}
}

func (s *session) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, line)
	s.cond.Broadcast()
}

// A session is one connection.
type session struct {
	*Milter
	c        net.Conn
	protocol uint32 // what was agreed on
	mail     string // trace of the last mail event
	got      []string
}

// maxPacket bounds what a client may send.
const maxPacket = 1 << 20

func (s *session) serve() {
	for {
		s.c.SetDeadline(time.Now().Add(wait))
		var head [5]byte
		if _, err := io.ReadFull(s.c, head[:]); err != nil {
			if err != io.EOF {
				s.note("closed")
			}
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 || n > maxPacket {
			return
		}
		data := make([]byte, n-1)
		if _, err := io.ReadFull(s.c, data); err != nil {
			return
		}
		if !s.command(head[4], data) {
			return
		}
	}
}

// command takes one command and says whether the session goes on.
func (s *session) command(cmd byte, data []byte) bool {
	switch cmd {
	case 'O':
		return s.negotiate(data)
	case 'D':
		s.note("macros " + eventName(data[0]) + " " + macros(data[1:]))
		return true
	case 'A':
		s.note("abort")
		return true
	case 'Q':
		s.note("quit")
		return false
	case 'K':
		s.note("quit, next connection")
		return true
	}
	event := eventName(cmd)
	line := event
	switch cmd {
	case 'C':
		line += " " + connectText(data)
	case 'B':
		line += " " + strconv.Quote(string(data))
	case 'H', 'M', 'R', 'L', 'U':
		line += " " + words(data)
	default:
		if len(data) > 0 {
			line += " " + strconv.Quote(string(data))
		}
	}
	s.note(line)
	if cmd == 'M' {
		s.mail = line
	}
	return s.act(cmd, event, line)
}

var eventNames = map[byte]string{'C': "connect", 'H': "helo", 'M': "mail", 'R': "rcpt", 'T': "data", 'U': "unknown",
	'L': "header", 'N': "eoh", 'B': "body", 'E': "eom"}

func eventName(cmd byte) string {
	if n, ok := eventNames[cmd]; ok {
		return n
	}
	return fmt.Sprintf("%q", cmd)
}

func macros(data []byte) string {
	var list []string
	parts := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		list = append(list, parts[i]+"="+parts[i+1])
	}
	return strings.Join(list, " ")
}

func words(data []byte) string {
	var list []string
	for w := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		list = append(list, strconv.Quote(w))
	}
	return strings.Join(list, " ")
}

func connectText(data []byte) string {
	name, rest, _ := bytes.Cut(data, []byte{0})
	if len(rest) < 3 || rest[0] == 'U' {
		return string(name) + " U"
	}
	return fmt.Sprintf("%s %c %s", name, rest[0], bytes.TrimRight(rest[3:], "\x00"))
}

// negotiate answers the options of the client.
func (s *session) negotiate(data []byte) bool {
	if len(data) < 12 {
		return false
	}
	version, actions, protocol := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	s.note(fmt.Sprintf("negotiate version=%d actions=%#x protocol=%#x", version, actions, protocol))
	protocol = 0
	var symbols []byte
	for _, r := range s.rules {
		if r.event != "negotiate" {
			continue
		}
		switch r.action {
		case "version":
			version = number(r.args)
		case "actions":
			actions = number(r.args)
		case "protocol":
			protocol = number(r.args)
		case "macros":
			stage, names, _ := strings.Cut(r.args, " ")
			symbols = binary.BigEndian.AppendUint32(symbols, number(stage))
			symbols = append(append(symbols, names...), 0)
		case "hang":
			io.Copy(io.Discard, s.c)
			return false
		case "drop":
			return false
		case "raw":
			s.c.Write([]byte(r.args))
			return true
		}
	}
	s.protocol = protocol
	b := binary.BigEndian.AppendUint32(nil, version)
	b = binary.BigEndian.AppendUint32(b, actions)
	b = binary.BigEndian.AppendUint32(b, protocol)
	return s.send('O', append(b, symbols...))
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 0, 32)
	return uint32(n)
}

func (s *session) send(reply byte, data []byte) bool {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	b = append(b, reply)
	_, err := s.c.Write(append(b, data...))
	return err == nil
}

// silent are the events whose answer the client does not wait for.
var silent = map[byte]uint32{'L': 0x80, 'C': 0x1000, 'H': 0x2000, 'M': 0x4000, 'R': 0x8000, 'T': 0x10000, 'U': 0x20000, 'N': 0x40000, 'B': 0x80000}

func inMail(cmd byte) bool { return cmd == 'T' || cmd == 'N' || cmd == 'B' || cmd == 'E' }

// act carries out what the script has for the event.
func (s *session) act(cmd byte, event, line string) bool {
	final := false
	for _, r := range s.rules {
		if r.event != event || !strings.Contains(line, r.contains) && !(inMail(cmd) && strings.Contains(s.mail, r.contains)) {
			continue
		}
		switch r.action {
		case "hang":
			io.Copy(io.Discard, s.c)
			return false
		case "drop":
			return false
		}
		reply, data, ends := action(r.action, r.args)
		final = final || ends
		if reply == 0 {
			if _, err := s.c.Write(data); err != nil {
				return false
			}
		} else if !s.send(reply, data) {
			return false
		}
	}
	if final || s.protocol&silent[cmd] != 0 {
		return true
	}
	return s.send('c', nil)
}

// finals are the answers that end an event.
var finals = map[string]byte{"continue": 'c', "accept": 'a', "reject": 'r', "tempfail": 't', "discard": 'd', "skip": 's',
	"shutdown": '4', "connfail": 'f'}

// edits are the requests to change the message: their arguments are words, the
// last of them being the rest.
var edits = map[string]struct {
	reply byte
	words int
}{
	"addrcpt": {'+', 1}, "delrcpt": {'-', 1}, "addrcptpar": {'2', 2}, "chgfrom": {'e', 2},
	"addheader": {'h', 2}, "quarantine": {'q', 1}, "progress": {'p', 0},
}

// action translates an action into what is sent. A reply of 0 means octets as
// they are.
func action(name, args string) (reply byte, data []byte, final bool) {
	if r, ok := finals[name]; ok {
		return r, []byte(args), true
	}
	if e, ok := edits[name]; ok {
		return e.reply, strung(args, e.words), false
	}
	switch name {
	case "reply":
		return 'y', append([]byte(args), 0), true
	case "body":
		return 'b', []byte(args), false
	case "insheader", "chgheader":
		index, rest, _ := strings.Cut(args, " ")
		data = binary.BigEndian.AppendUint32(nil, number(index))
		reply = 'i'
		if name == "chgheader" {
			reply = 'm'
		}
		return reply, append(data, strung(rest, 2)...), false
	case "raw":
		return 0, []byte(args), true
	case "packet":
		return args[0], []byte(args[1:]), true
	}
	return 'c', nil, true
}

// strung cuts text into n strings, each followed by a NUL.
func strung(text string, n int) []byte {
	var b []byte
	for i := range n {
		word := text
		if i < n-1 {
			word, text, _ = strings.Cut(text, " ")
		}
		b = append(append(b, word...), 0)
	}
	return b
}
