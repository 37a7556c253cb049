package main

import (
	"bufio"
	"fmt"
	"io"
	"unicode/utf8"

	"postern/internal/ipc/showq"
)

// printJSON prints an object per message, each on a line of its own.
func printJSON(w *bufio.Writer, r *showq.Reader) error {
	for {
		m, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(w, `{"queue_name": %s, "queue_id": %s, "arrival_time": %d, "message_size": %d, "forced_expire": %v, "sender": %s, "recipients": [`,
			jsonString(m.Queue), jsonString(m.ID), m.Arrival, m.Size, m.ForcedExpire, jsonString(m.Sender))
		for n := 0; ; n++ {
			rcpt, err := r.NextRecipient()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if n > 0 {
				w.WriteString(", ")
			}
			fmt.Fprintf(w, `{"address": %s`, jsonString(rcpt.Address))
			if rcpt.Reason != "" {
				fmt.Fprintf(w, `, "delay_reason": %s`, jsonString(rcpt.Reason))
			}
			w.WriteByte('}')
		}
		if _, err := w.WriteString("]}\n"); err != nil {
			return err
		}
	}
}

// jsonString is RFC 8259 section 7. What is not UTF-8 becomes "?".
func jsonString(s string) string {
	b := append(make([]byte, 0, len(s)+2), '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, '?')
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, control(byte(r))...)
		default:
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return string(append(b, '"'))
}

func control(c byte) string {
	switch c {
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	return fmt.Sprintf(`\u%04X`, c)
}
