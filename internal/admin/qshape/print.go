package qshape

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// minName is the least room of a domain in a line.
const minName = 18

// clear empties a terminal.
const clear = "\x1b[H\x1b[2J"

// heads are the upper limits of the buckets, in minutes.
func (s *shape) heads() []string {
	list := []string{"T"}
	t := 0
	for i := 1; i <= s.buckets; i++ {
		switch {
		case i == s.buckets && i > 1:
			list = append(list, strconv.Itoa(t)+"+")
			continue
		case t == 0 || s.linear:
			t += s.tick
		default:
			t *= 2
		}
		list = append(list, strconv.Itoa(t))
	}
	if s.buckets == 1 {
		list[1] = "0+"
	}
	return list
}

// print prints the rows, the largest first.
func (s *shape) print(w io.Writer, terminal bool) {
	heads := s.heads()
	widths := make([]int, len(heads))
	room := s.width
	for i, h := range heads {
		widths[i] = max(len(h), len(strconv.Itoa(s.rows[total][i])))
		if widths[i]++; widths[i] < 3 {
			widths[i] = 3
		}
		room -= widths[i]
	}
	room = max(room, minName)
	var b strings.Builder
	if terminal && s.batch > 0 {
		b.WriteString(clear)
	}
	line := func(name string, cells []string) {
		b.WriteString(fitted(name, room))
		for i, c := range cells {
			fmt.Fprintf(&b, "%*s", widths[i], c)
		}
		b.WriteByte('\n')
	}
	line("", heads)
	shown := 0
	for _, name := range s.sorted() {
		if name[0] == '.' && s.subs[name] < s.minSub {
			continue
		}
		if shown++; s.top > 0 && shown > s.top {
			break
		}
		var cells []string
		for _, n := range s.rows[name] {
			cells = append(cells, strconv.Itoa(n))
		}
		line(name, cells)
	}
	io.WriteString(w, b.String())
}

// sorted returns the names of the rows, those with more messages first, then the
// shorter ones.
func (s *shape) sorted() []string {
	var names []string
	for name := range s.rows {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := s.rows[b][0] - s.rows[a][0]; d != 0 {
			return d
		}
		if d := len(a) - len(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names
}

// fitted is a name at the right of its room; of one that is too long the end is
// shown. What is not printable does not reach the terminal.
func fitted(name string, room int) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	switch {
	case len(name) <= room:
		return strings.Repeat(" ", room-len(name)) + name
	case name[0] == '.':
		return ".+" + name[len(name)-room+2:]
	}
	return "+" + name[len(name)-room+1:]
}
