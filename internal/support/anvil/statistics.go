package anvil

import (
	"fmt"
	"time"
)

// A peak is the highest value seen, of whom, and when.
type peak struct {
	value int
	ident string
	at    time.Time
}

func (p *peak) note(value int, ident string, now time.Time) {
	if value > p.value {
		*p = peak{value, ident, now}
	}
}

// peaks are what the statistics lines tell.
type peaks struct {
	rates [len(rated)]peak
	count peak
	cache peak
}

// statistics returns the lines since the last call, as Postfix words them.
func (c *counter) statistics() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	rate := func(i int) {
		if p := c.peaks.rates[i]; p.value > 0 {
			lines = append(lines, fmt.Sprintf("statistics: max %s rate %d/%ds for (%s) at %s",
				rated[i].word, p.value, c.unit/time.Second, p.ident, stamp(p.at)))
		}
	}
	rate(0)
	if p := c.peaks.count; p.value > 0 {
		lines = append(lines, fmt.Sprintf("statistics: max connection count %d for (%s) at %s", p.value, p.ident, stamp(p.at)))
	}
	for i := 1; i < len(rated); i++ {
		rate(i)
	}
	if p := c.peaks.cache; p.value > 0 {
		lines = append(lines, fmt.Sprintf("statistics: max cache size %d at %s", p.value, stamp(p.at)))
	}
	c.peaks = peaks{}
	return lines
}

func stamp(t time.Time) string { return t.Format("Jan _2 15:04:05") }
