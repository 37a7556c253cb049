// Package maillog is how every Postern program logs: a line with a severity
// goes to a sink, which never makes mail wait.
//
// A Logger has a tag ("postfix/smtpd") and a process id; a Sink takes its
// lines to syslog, to the postlog service (maillog_file), or to standard
// error. The text is Postfix's: "postfix/smtpd[123]: warning: text". With
// maillog_format = json a line is a JSON object instead.
package maillog

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Level is the severity of a line. It only marks the line: logging Fatal or
// Panic does not end the program.
type Level int

// The severities, with Postfix's meaning: Warning is something the
// administrator may want to look at, Error a request that failed for a local
// reason, Fatal what ends the process, Panic a mistake in the program.
const (
	Info Level = iota
	Warning
	Error
	Fatal
	Panic
)

// label is what a line starts with.
func (l Level) label() string {
	switch l {
	case Warning:
		return "warning: "
	case Error:
		return "error: "
	case Fatal:
		return "fatal: "
	case Panic:
		return "panic: "
	}
	return ""
}

// String returns the severity's name.
func (l Level) String() string {
	if l == Info {
		return "info"
	}
	return strings.TrimSuffix(l.label(), ": ")
}

// ParseLevel returns the severity called name, as in postlog -p.
func ParseLevel(name string) (Level, bool) {
	switch name {
	case "info":
		return Info, true
	case "warn", "warning":
		return Warning, true
	case "error", "err":
		return Error, true
	case "fatal", "crit":
		return Fatal, true
	case "panic":
		return Panic, true
	}
	return Info, false
}

// maxLine is the longest text of one line, in octets.
const maxLine = 2000

// An Event is something that happened, with two renderings: Text is Postfix's
// log line after the tag, and the exported fields are its JSON object.
type Event interface {
	Kind() string // "smtpd.connect", "delivery", …
	Text() string
}

// A Sink takes lines. Write must not block, whatever happens to the log.
// event is nil for a line that is only text.
type Sink interface {
	Write(level Level, tag string, pid int, text string, event Event)
}

// A Flusher is a sink that buffers. Flush returns when everything was written
// or when the time is over.
type Flusher interface {
	Flush(limit time.Duration)
}

// A Logger writes lines of one program. Its methods may be called from several
// goroutines.
type Logger struct {
	sink    Sink
	tag     string
	pid     int
	verbose int
}

// New returns a logger whose lines start with tag ("postfix/smtpd") and the
// number of this process.
func New(sink Sink, tag string) *Logger {
	return &Logger{sink: sink, tag: tag, pid: os.Getpid()}
}

// Discard returns a logger that drops everything.
func Discard() *Logger { return New(discard{}, "discard") }

type discard struct{}

func (discard) Write(Level, string, int, string, Event) {}

// WithVerbose returns a copy whose Debugf speaks when n is over 0 (-v).
func (l *Logger) WithVerbose(n int) *Logger {
	c := *l
	c.verbose = n
	return &c
}

// WithTag returns a copy with another tag and, when pid is over 0, another
// process number: for lines that are logged on behalf of another program.
func (l *Logger) WithTag(tag string, pid int) *Logger {
	c := *l
	c.tag = tag
	if pid > 0 {
		c.pid = pid
	}
	return &c
}

// Sink returns where the lines go.
func (l *Logger) Sink() Sink { return l.sink }

// Tag returns what the lines start with.
func (l *Logger) Tag() string { return l.tag }

// Verbose returns how often -v was given.
func (l *Logger) Verbose() int { return l.verbose }

// Infof logs normal activity.
func (l *Logger) Infof(format string, args ...any) { l.printf(Info, format, args) }

// Warningf logs what the administrator may want to look at.
func (l *Logger) Warningf(format string, args ...any) { l.printf(Warning, format, args) }

// Errorf logs a request that failed for a reason on this side.
func (l *Logger) Errorf(format string, args ...any) { l.printf(Error, format, args) }

// Fatalf logs what makes the process exit. The caller exits.
func (l *Logger) Fatalf(format string, args ...any) { l.printf(Fatal, format, args) }

// Panicf logs a mistake in the program.
func (l *Logger) Panicf(format string, args ...any) { l.printf(Panic, format, args) }

// Debugf logs detail that -v asks for (Postfix: with the severity info).
func (l *Logger) Debugf(format string, args ...any) {
	if l.verbose > 0 {
		l.printf(Info, format, args)
	}
}

// Event logs e with the severity info.
func (l *Logger) Event(e Event) {
	l.sink.Write(Info, l.tag, l.pid, printable(e.Text()), e)
}

// Logf logs a line of any severity.
func (l *Logger) Logf(level Level, format string, args ...any) { l.printf(level, format, args) }

func (l *Logger) printf(level Level, format string, args []any) {
	l.sink.Write(level, l.tag, l.pid, printable(fmt.Sprintf(format, args...)), nil)
}

// Flush writes out what the sink holds back, for at most limit.
func (l *Logger) Flush(limit time.Duration) {
	if f, ok := l.sink.(Flusher); ok {
		f.Flush(limit)
	}
}

// printable replaces what is not printable by "?" and cuts the text to
// maxLine. Well-formed UTF-8 stays as it is.
func printable(s string) string {
	if len(s) <= maxLine && plain(s) {
		return s
	}
	if len(s) > maxLine {
		cut := maxLine
		for cut > maxLine-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return string(AppendPrintable(make([]byte, 0, len(s)), []byte(s)))
}

// AppendPrintable appends text to b with "?" for what is not printable.
func AppendPrintable(b, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if (r == utf8.RuneError && n == 1) || !unicode.IsPrint(r) {
			b = append(b, '?')
		} else {
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Record returns a logger for tests and a function that returns the lines so
// far, each as "warning: text".
func Record() (*Logger, func() []string) {
	r := &recorder{}
	return New(r, "test").WithVerbose(0), r.lines
}

type recorder struct {
	mu   sync.Mutex
	text []string
}

func (r *recorder) Write(level Level, tag string, pid int, text string, e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, level.label()+text)
}

func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.text...)
}
