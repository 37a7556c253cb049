package param

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// An Option bounds the values of a parameter.
type Option func(*bounds)

type bounds struct {
	min, max       *int64
	minLen, maxLen int
}

// Min is the least value, in seconds for a time.
func Min(n int64) Option { return func(b *bounds) { b.min = &n } }

// Max is the greatest value, in seconds for a time.
func Max(n int64) Option { return func(b *bounds) { b.max = &n } }

// MinLen is the least length of a text in octets.
func MinLen(n int) Option { return func(b *bounds) { b.minLen = n } }

// MaxLen is the greatest length of a text in octets.
func MaxLen(n int) Option { return func(b *bounds) { b.maxLen = n } }

func storeText(p *string) func(*entry, string) error {
	return func(e *entry, text string) error {
		if len(text) < e.minLen {
			return fmt.Errorf("bad string length %d < %d: %s = %s", len(text), e.minLen, e.Name, text)
		}
		if e.maxLen > 0 && len(text) > e.maxLen {
			return fmt.Errorf("bad string length %d > %d: %s = %.100s", len(text), e.maxLen, e.Name, text)
		}
		*p = text
		return nil
	}
}

func storeInt(p *int) func(*entry, string) error {
	return func(e *entry, text string) error {
		n, err := e.number(text, 32)
		if err == nil {
			*p = int(n)
		}
		return err
	}
}

func storeBool(p *bool) func(*entry, string) error {
	return func(e *entry, text string) error {
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "yes":
			*p = true
		case "no":
			*p = false
		default:
			return fmt.Errorf("bad boolean configuration: %s = %s", e.Name, text)
		}
		return nil
	}
}

func (e *entry) number(text string, bits int) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("bad numerical configuration: %s = %s", e.Name, text)
	}
	if e.min != nil && n < *e.min {
		return 0, fmt.Errorf("invalid %s parameter value %d < %d", e.Name, n, *e.min)
	}
	if e.max != nil && n > *e.max {
		return 0, fmt.Errorf("invalid %s parameter value %d > %d", e.Name, n, *e.max)
	}
	return n, nil
}

func (e *entry) duration(text string) (time.Duration, error) {
	d, err := parseTime(text, e.unit())
	if err != nil {
		return 0, fmt.Errorf("parameter %s: bad time value or unit: %s", e.Name, text)
	}
	if n := int64(d / time.Second); e.min != nil && n < *e.min {
		return 0, fmt.Errorf("invalid %s: %d (min %d)", e.Name, n, *e.min)
	} else if e.max != nil && n > *e.max {
		return 0, fmt.Errorf("invalid %s: %d (max %d)", e.Name, n, *e.max)
	}
	return d, nil
}

// unit is the letter that ends the default; "s" where there is none.
func (e *entry) unit() byte {
	if n := len(e.Default); n > 0 && unitLength(e.Default[n-1]) > 0 {
		return e.Default[n-1]
	}
	return 's'
}

func unitLength(c byte) time.Duration {
	switch c {
	case 's':
		return time.Second
	case 'm':
		return time.Minute
	case 'h':
		return time.Hour
	case 'd':
		return 24 * time.Hour
	case 'w':
		return 7 * 24 * time.Hour
	}
	return 0
}

// ParseTime reads a duration in Postfix's form: a number and a unit letter, s,
// m, h, d or w; unit is that of a number alone.
func ParseTime(text string, unit byte) (time.Duration, error) {
	d, err := parseTime(text, unit)
	if err != nil {
		return 0, fmt.Errorf("bad time value or unit: %.100s", text)
	}
	return d, nil
}

// parseTime reads a number and the letter after it. Postfix: what follows the
// letter does not count.
func parseTime(text string, unit byte) (time.Duration, error) {
	text = strings.TrimSpace(text)
	n := 0
	if n < len(text) && text[n] == '+' {
		n++
	}
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	if n < len(text) {
		unit = text[n]
	}
	length := unitLength(unit)
	number, err := strconv.ParseInt(text[:n], 10, 32)
	if err != nil || length == 0 {
		return 0, strconv.ErrSyntax
	}
	// Postfix: times are numbers of seconds that fit into an int.
	if number > math.MaxInt32/int64(length/time.Second) {
		return 0, strconv.ErrRange
	}
	return time.Duration(number) * length, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
