package why

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"strings"

	"postern/internal/mail/event"
)

// maxLine bounds a line of the log; longer ones are skipped.
const maxLine = 1 << 20

// read calls do for each line of a log of either format that matters; only
// those are taken apart.
func read(r io.Reader, matters func([]byte) bool, do func(*Line)) error {
	br := bufio.NewReaderSize(r, 64*1024)
	var long []byte
	for {
		text, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(long) < maxLine {
				long = append(long, text...)
			}
			continue
		}
		if len(long) > 0 {
			text, long = append(long, text...), nil
		}
		if len(text) > 0 && len(text) <= maxLine && matters(text) {
			if l, ok := parse(text); ok {
				do(&l)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parse takes a line apart.
func parse(text []byte) (Line, bool) {
	if text[0] == '{' {
		return parseJSON(text)
	}
	return parseText(strings.TrimRight(string(text), "\r\n"))
}

// parseJSON reads an object of maillog_format = json.
func parseJSON(text []byte) (Line, bool) {
	var o struct {
		Time       string       `json:"time"`
		Process    string       `json:"process"`
		Text       string       `json:"text"`
		QueueID    string       `json:"queue_id"`
		ClientName string       `json:"client_name"`
		ClientAddr string       `json:"client_address"`
		Sender     *string      `json:"sender"`
		Recipient  *string      `json:"recipient"`
		OrigRcpt   string       `json:"original_recipient"`
		Trail      []event.Step `json:"trail"`

		Passed []event.Judgement `json:"passed"`
	}
	if json.Unmarshal(text, &o) != nil || o.Text == "" {
		return Line{}, false
	}
	l := Line{Time: o.Time, Process: o.Process, Text: o.Text, QueueID: o.QueueID, Trail: o.Trail, Passed: o.Passed, addresses: []string{o.OrigRcpt}}
	l.clients = []string{o.ClientName, o.ClientAddr}
	for _, a := range []*string{o.Sender, o.Recipient} {
		if a != nil {
			l.addresses = append(l.addresses, *a)
		}
	}
	fromText(&l)
	return l, true
}

var (
	// textLine is "Nov 24 11:22:33 host postfix/smtpd[123]: text", or with a
	// date of RFC 3339.
	textLine = regexp.MustCompile(`^([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[-+]\d\d:\d\d)) \S+ ([^\s\[]+)\[\d+\]: (.*)$`)
	idStart  = regexp.MustCompile(`^(?:warning: )?([0-9A-F]{5,20}|[0-9A-Za-z]{10,}z[0-9A-Za-z]+): `)
	peer     = regexp.MustCompile(`([^\s\[\]=,:;<>]+)\[([0-9a-fA-F.:]+)\]`)
	mailbox  = regexp.MustCompile(`<([^<>\s]+@[^<>\s]+)>`)
)

// parseText reads a line of Postfix's.
func parseText(text string) (Line, bool) {
	m := textLine.FindStringSubmatch(text)
	if m == nil {
		return Line{}, false
	}
	l := Line{Time: m[1], Process: m[2], Text: m[3]}
	fromText(&l)
	return l, true
}

// fromText finds in the text of a line what it does not say in fields.
func fromText(l *Line) {
	if l.QueueID == "" {
		if m := idStart.FindStringSubmatch(l.Text); m != nil {
			l.QueueID = m[1]
		}
	}
	for _, m := range peer.FindAllStringSubmatch(l.Text, 20) {
		l.clients = append(l.clients, m[1], m[2])
	}
	for _, m := range mailbox.FindAllStringSubmatch(l.Text, 20) {
		l.addresses = append(l.addresses, m[1])
	}
}

// follows is how a line names a message of this system that came of another: a
// notice, a copy by an alias or .forward, what a filter on this host gave back.
var follows = regexp.MustCompile(`(?:notification: |\(forwarded as |relay=\S*\[(?:127\.[0-9.]+|::1)\].* queued as )([0-9A-Za-z]+)`)

// follower is the queue id of a message that came of this one.
func (l *Line) follower() string {
	if m := follows.FindStringSubmatch(l.Text); m != nil && idWhole.MatchString(m[1]) {
		return m[1]
	}
	return ""
}

// A kind is what a question is about.
type kind int

const (
	queueID kind = iota
	clientAddr
	clientName
	mailAddr
)

type question struct {
	kind kind
	text string
	addr netip.Addr
}

var idWhole = regexp.MustCompile(`^(?:[0-9A-F]{5,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]{10,}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]+)$`)

func newQuestion(what string) question {
	q := question{text: what}
	switch a, err := netip.ParseAddr(strings.Trim(what, "[]")); {
	case strings.Contains(what, "@"):
		q.kind, q.text = mailAddr, strings.Trim(what, "<>")
	case err == nil:
		q.kind, q.addr = clientAddr, a
	case idWhole.MatchString(what):
		q.kind = queueID
	default:
		q.kind = clientName
	}
	return q
}

// asksFor says whether the line itself is about what is asked.
func (q *question) asksFor(l *Line) bool {
	switch q.kind {
	case queueID:
		return l.QueueID == q.text
	case mailAddr:
		for _, a := range l.addresses {
			if strings.EqualFold(a, q.text) {
				return true
			}
		}
	case clientName:
		for _, c := range l.clients {
			if strings.EqualFold(c, q.text) {
				return true
			}
		}
	case clientAddr:
		for _, c := range l.clients {
			if a, err := netip.ParseAddr(c); err == nil && a == q.addr {
				return true
			}
		}
	}
	return false
}

// simple are texts that stand in a line of either format as they are.
var simple = regexp.MustCompile(`^[A-Za-z0-9@._:+=-]+$`)

// mentioned says whether the line may be about what is asked: it is cheap, and
// says yes when in doubt.
func (q *question) mentioned(line []byte) bool {
	switch {
	case q.kind == clientAddr:
		// An IPv6 address may be spelled in many ways.
		return bytes.Contains(line, []byte(q.addr.String())) || q.addr.Is6() && (bytes.Contains(line, []byte("::")) || bytes.Count(line, []byte(":")) >= 7)
	case !simple.MatchString(q.text):
		return true
	}
	return containsFold(line, q.text)
}

// containsFold says whether line has text in it, in capitals or not. Both are
// ASCII, or the answer may be a mistaken yes.
func containsFold(line []byte, what string) bool {
	text := []byte(what)
	n := len(text)
	if n == 0 {
		return true
	}
	low, high := text[0]|0x20, text[0]&^0x20
	if c := text[0]; c < 'A' || c > 'z' || c > 'Z' && c < 'a' {
		low, high = c, c
	}
	for i := 0; i+n <= len(line); i++ {
		if (line[i] == low || line[i] == high) && bytes.EqualFold(text, line[i:i+n]) {
			return true
		}
	}
	return false
}

var (
	idField   = []byte(`"queue_id":`)
	textField = []byte(`"text":`)
	tagEnd    = []byte("]: ")
	warning   = []byte("warning: ")
)

// mentionsID says whether the line has one of the queue ids where lines have
// them.
func mentionsID(line []byte, ids map[string]bool) bool {
	begins := func(rest []byte, end byte) bool {
		rest = bytes.TrimPrefix(bytes.TrimLeft(rest, ` "`), warning)
		n := bytes.IndexByte(rest[:min(len(rest), maxIDLength+1)], end)
		return n > 0 && ids[string(rest[:n])]
	}
	start := tagEnd
	if line[0] == '{' {
		for rest := line; ; {
			_, after, found := bytes.Cut(rest, idField)
			if !found {
				break
			}
			if begins(after, '"') {
				return true
			}
			rest = after
		}
		start = textField
	}
	_, text, found := bytes.Cut(line, start)
	return found && begins(text, ':')
}

// maxIDLength is more than a queue id has.
const maxIDLength = 100
