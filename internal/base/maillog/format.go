package maillog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Format is how a line is rendered, maillog_format.
type Format int

// The formats of lines.
const (
	Text Format = iota // Postfix's lines
	JSON               // one object per line
)

// ParseFormat returns the format called name, a value of maillog_format.
func ParseFormat(name string) (Format, error) {
	switch name {
	case "text", "":
		return Text, nil
	case "json":
		return JSON, nil
	}
	return Text, fmt.Errorf("bad format %q: want text or json", name)
}

// A line is what a sink was given, with the time.
type line struct {
	when  time.Time
	level Level
	tag   string
	pid   int
	text  string
	event Event

	stands int // for so many lines that were dropped
}

// message appends what follows the tag: "warning: text".
func (l *line) message(b []byte) []byte {
	b = append(b, l.level.label()...)
	return append(b, l.text...)
}

// tagged appends "tag[pid]: warning: text".
func (l *line) tagged(b []byte) []byte {
	b = append(b, l.tag...)
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(l.pid), 10)
	b = append(b, "]: "...)
	return l.message(b)
}

// envelope is what the JSON form says of every line. The event's own fields
// follow.
type envelope struct {
	Time    string `json:"time"` // RFC 3339 with microseconds
	Process string `json:"process"`
	PID     int    `json:"pid"`
	Level   string `json:"level"`
	Event   string `json:"event,omitempty"`
	Text    string `json:"text"`
}

// object appends the line as a JSON object without a line end.
func (l *line) object(b []byte) []byte {
	env := envelope{
		Time:    l.when.Format("2006-01-02T15:04:05.000000Z07:00"),
		Process: l.tag,
		PID:     l.pid,
		Level:   l.level.String(),
		Text:    l.text,
	}
	if l.event == nil {
		return append(b, marshal(env)...)
	}
	env.Event = l.event.Kind()
	fields, err := json.Marshal(l.event)
	b = append(b, marshal(env)...)
	if err != nil || len(fields) <= 2 || fields[0] != '{' {
		return b
	}
	b[len(b)-1] = ','
	return append(b, fields[1:]...)
}

func marshal(env envelope) []byte {
	b, err := json.Marshal(env)
	if err != nil { // cannot be: only strings and numbers
		return []byte(`{"level":"panic","text":"log line cannot be encoded"}`)
	}
	return b
}
