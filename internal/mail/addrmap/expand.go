package addrmap

import (
	"context"
	"strings"

	"postern/internal/table"
)

// Limits bound the expansion of one address.
type Limits struct {
	Expansion int // virtual_alias_expansion_limit: addresses in the result
	Recursion int // virtual_alias_recursion_limit: steps from one address to the next
	Length    int // virtual_alias_address_length_limit: octets of an address
}

// Expand maps addr to any number of addresses, and those again, until no table
// knows them (Postfix: virtual alias maps). An address that maps to itself
// stays and is not mapped again. With an error the result is addr alone.
func (m *Mapper) Expand(ctx context.Context, maps *table.Maps, addr string, propagate bool, l Limits) ([]string, error) {
	e := expansion{Mapper: m, maps: maps, propagate: propagate, Limits: l, list: []string{addr}}
	for i := 0; i < len(e.list); i++ {
		if len(e.list) > l.Expansion {
			return []string{addr}, e.problem("unreasonable %s map expansion size for %s"+tryAgain, addr)
		}
		if err := e.follow(ctx, i, addr); err != nil {
			return []string{addr}, err
		}
	}
	return e.list, nil
}

type expansion struct {
	*Mapper
	Limits
	maps      *table.Maps
	propagate bool
	list      []string
	fixed     map[string]bool // addresses that map to themselves, in lower case
}

// follow maps list[i] until it stands for itself; what else it maps to goes to
// the end of the list.
func (e *expansion) follow(ctx context.Context, i int, start string) error {
	for count := 0; !e.isFixed(e.list[i]); count++ {
		if count >= e.Recursion {
			return e.problem("unreasonable %s map nesting for %s"+tryAgain, start)
		}
		from := e.list[i]
		to, err := e.Map(ctx, e.maps, from, e.propagate)
		if err != nil {
			return &Error{Problem: "%s map lookup problem for %s" + tryAgain, Title: e.maps.Title(), Subject: start, cause: err}
		}
		if len(to) == 0 {
			return nil
		}
		for j, a := range to {
			if len(a) > e.Length {
				return e.problem("unreasonable %s result %.300s..."+tryAgain, a)
			}
			if j == 0 {
				e.list[i] = a
			} else {
				e.list = append(e.list, a)
			}
			if strings.EqualFold(a, from) {
				e.fix(from)
			}
		}
		if len(e.list) > e.Expansion {
			return e.problem("unreasonable %s map expansion size for %s"+tryAgain, start)
		}
	}
	return nil
}

func (e *expansion) isFixed(addr string) bool {
	return e.fixed != nil && e.fixed[strings.ToLower(addr)]
}

func (e *expansion) fix(addr string) {
	if e.fixed == nil {
		e.fixed = map[string]bool{}
	}
	e.fixed[strings.ToLower(addr)] = true
}

func (e *expansion) problem(text, subject string) error {
	return &Error{Problem: text, Title: e.maps.Title(), Subject: subject}
}

// Seen remembers up to a limit of texts, in which case does not count
// (Postfix: the duplicate filter, duplicate_filter_limit).
type Seen struct {
	limit int
	texts map[string]struct{}
}

// NewSeen returns an empty memory; a limit of 0 means none.
func NewSeen(limit int) *Seen {
	return &Seen{limit: limit, texts: map[string]struct{}{}}
}

// Reset forgets everything.
func (s *Seen) Reset() { clear(s.texts) }

// Drop forgets text.
func (s *Seen) Drop(text string) { delete(s.texts, strings.ToLower(text)) }

// Add remembers text and says whether it was there before. Beyond the limit
// nothing new is remembered.
func (s *Seen) Add(text string) bool {
	text = strings.ToLower(text)
	if _, ok := s.texts[text]; ok {
		return true
	}
	if s.limit <= 0 || len(s.texts) < s.limit {
		s.texts[text] = struct{}{}
	}
	return false
}
