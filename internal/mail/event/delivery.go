package event

import (
	"strconv"
	"strings"
	"time"
)

// A Delivery is what became of one recipient.
type Delivery struct {
	QueueID   string     `json:"queue_id"`
	Recipient string     `json:"recipient"`
	OrigTo    string     `json:"orig_to,omitempty"`  // when it differs from Recipient
	Relay     string     `json:"relay"`              // "host[addr]:port", a service's name, or "none"
	ConnUse   int        `json:"conn_use,omitempty"` // how often the connection has been used, when over 1
	Delay     Seconds    `json:"delay"`
	Delays    [4]Seconds `json:"delays"` // before the queue manager, in it, connecting, sending
	TLS       string     `json:"tls,omitempty"`
	DSN       string     `json:"dsn"`
	Status    string     `json:"status"` // sent, deferred, bounced, deliverable, undeliverable, SOFTBOUNCE
	Reason    string     `json:"reason"`
	Digits    int        `json:"-"` // delay_logging_resolution_limit
}

// Kind is "delivery".
func (d *Delivery) Kind() string { return "delivery" }

// Text is Postfix's line.
func (d *Delivery) Text() string {
	b := make([]byte, 0, 256)
	b = append(b, d.QueueID...)
	b = append(b, ": to=<"...)
	b = append(b, d.Recipient...)
	b = append(b, '>')
	if d.OrigTo != "" {
		b = append(b, ", orig_to=<"...)
		b = append(b, d.OrigTo...)
		b = append(b, '>')
	}
	b = append(b, ", relay="...)
	b = append(b, d.Relay...)
	if d.ConnUse > 1 {
		b = append(b, ", conn_use="...)
		b = strconv.AppendInt(b, int64(d.ConnUse), 10)
	}
	b = append(b, ", delay="...)
	b = d.Delay.appendShort(b, d.Digits)
	for i, part := range d.Delays {
		b = append(b, [...]string{", delays=", "/", "/", "/"}[i]...)
		b = part.appendShort(b, d.Digits)
	}
	if d.TLS != "" {
		b = append(b, ", tls="...)
		b = append(b, d.TLS...)
	}
	b = append(b, ", dsn="...)
	b = append(b, d.DSN...)
	b = append(b, ", status="...)
	b = append(b, d.Status...)
	b = append(b, " ("...)
	b = append(b, d.Reason...)
	return string(append(b, ')'))
}

// Seconds is a delay; in JSON a number of seconds.
type Seconds time.Duration

// MarshalJSON writes seconds with a decimal point.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// appendShort writes the delay as Postfix does: two significant digits, rounded
// half up, at most digits of them after the decimal point, without trailing
// zeros; from ten seconds on a whole number.
func (s Seconds) appendShort(b []byte, digits int) []byte {
	us := int64(time.Duration(s) / time.Microsecond)
	unit := int64(1_000_000) // the resolution, in microseconds
	if us >= 1_000_000 {
		if us < 10_000_000 {
			unit = 100_000
		}
	} else {
		for unit = 1; unit*100 <= us; unit *= 10 {
		}
	}
	for least, n := int64(1_000_000), 0; unit < least; n++ {
		if n == digits {
			unit = least
			break
		}
		least /= 10
	}
	us = (us + unit/2) / unit * unit
	b = strconv.AppendInt(b, us/1_000_000, 10)
	rest := us % 1_000_000
	if rest == 0 {
		return b
	}
	frac := strconv.FormatInt(1_000_000+rest, 10)[1:]
	b = append(b, '.')
	return append(b, strings.TrimRight(frac, "0")...)
}
