package maillog

import (
	"io"
	"sync"
	"time"
)

// A Stream writes to a file or terminal at once: the standard error of a
// command ("postmap: warning: text"), or of a service in the foreground.
type Stream struct {
	w      io.Writer
	style  Style
	format Format
	host   string
	now    func() time.Time
	mu     sync.Mutex
}

// A Style says what stands before the text of a line in a stream.
type Style int

// The styles of a stream.
const (
	Command Style = iota // "postmap: warning: text"
	Dated                // "Nov 24 08:15:12 host postfix/smtpd[123]: warning: text"
)

// NewStream returns a sink that writes to w. host is named in Dated lines.
func NewStream(w io.Writer, style Style, format Format, host string) *Stream {
	return &Stream{w: w, style: style, format: format, host: host, now: time.Now}
}

// Write writes one line. Errors are ignored: there is nowhere to tell them.
func (s *Stream) Write(level Level, tag string, pid int, text string, e Event) {
	l := line{when: s.now(), level: level, tag: tag, pid: pid, text: text, event: e}
	var b []byte
	switch {
	case s.format == JSON:
		b = l.object(nil)
	case s.style == Command:
		b = append(b, tag...)
		b = append(b, ": "...)
		b = l.message(b)
	default:
		b = l.dated(nil, s.host)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w.Write(append(b, '\n'))
}

// dated appends the line as Postfix writes it into maillog_file.
func (l *line) dated(b []byte, host string) []byte {
	b = l.when.AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(b, host...)
	b = append(b, ' ')
	return l.tagged(b)
}

// Tee returns a sink that writes to each of sinks.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

func (t tee) Write(level Level, tag string, pid int, text string, e Event) {
	for _, s := range t {
		s.Write(level, tag, pid, text, e)
	}
}

func (t tee) Flush(limit time.Duration) {
	deadline := time.Now().Add(limit)
	for _, s := range t {
		if f, ok := s.(Flusher); ok {
			f.Flush(time.Until(deadline))
		}
	}
}
