package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/ipc/showq"
)

// A table prints the queue in the layout of Sendmail's mailq: columns for the
// queue id with its mark, the size, the arrival time, and the addresses.
type table struct {
	w      *bufio.Writer
	id     int // widths
	size   int
	time   int
	header [4]string
}

// reasonWidth is the column at which the reasons of delays end.
const reasonWidth = 76

func newTable(w *bufio.Writer, longIDs bool) *table {
	if longIDs {
		return &table{w, 17, 8, 19, [4]string{"----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------"}}
	}
	return &table{w, 11, 7, 20, [4]string{"-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------"}}
}

func (t *table) row(id, size, when, address string) {
	fmt.Fprintf(t.w, "%-*s %*s %-*.*s %s\n", t.id, id, t.size, size, t.time, t.time, when, address)
}

func (t *table) print(r *showq.Reader) error {
	count, octets := 0, int64(0)
	for {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if count == 0 {
			t.row(t.header[0], t.header[1], t.header[2], t.header[3])
		}
		count++
		octets += m.Size
		if err := t.message(m, r); err != nil {
			return err
		}
	}
	if count == 0 {
		_, err := t.w.WriteString("Mail queue is empty\n")
		return err
	}
	plural := "s"
	if count == 1 {
		plural = ""
	}
	_, err := fmt.Fprintf(t.w, "-- %d Kbytes in %d Request%s.\n", octets/1024, count, plural)
	return err
}

func (t *table) message(m *showq.Message, r *showq.Reader) error {
	// Postfix: asctime(3), cut to the width of the column.
	when := time.Unix(m.Arrival, 0).Format("Mon Jan _2 15:04:05 2006")
	t.row(m.ID+mark(m), fmt.Sprint(m.Size), when, m.Sender)
	last := ""
	for {
		rcpt, err := r.NextRecipient()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if rcpt.Reason != last {
			last = rcpt.Reason
			t.reason(last)
		}
		t.row("", "", "", rcpt.Address)
	}
	return t.w.WriteByte('\n')
}

func (t *table) reason(text string) {
	if text == "" {
		text = "reason unavailable"
	}
	t.w.WriteString(strings.Repeat(" ", max(reasonWidth-len(text), 0)))
	fmt.Fprintf(t.w, "(%s)\n", text)
}

// mark stands behind the queue id.
func mark(m *showq.Message) string {
	text := ""
	switch m.Queue {
	case "active":
		text = "*"
	case "hold":
		text = "!"
	}
	if m.ForcedExpire {
		text += "#"
	}
	return text
}
