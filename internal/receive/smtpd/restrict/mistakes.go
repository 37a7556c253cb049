package restrict

import "fmt"

// Mistakes are the items of the lists that cannot be evaluated: each costs the
// client 451 whenever it is reached, and a warning in the log; the malformed filter
// of a DNS list does so for clients that the list knows.
func (e *Engine) Mistakes() []error {
	var found []error
	seen := make(map[*list]bool)
	var look func(l *list)
	look = func(l *list) {
		if seen[l] {
			return
		}
		seen[l] = true
		for i := range l.items {
			switch it := &l.items[i]; {
			case it.class != nil:
				look(it.class)
			case it.bad != "" && !it.skip:
				found = append(found, fmt.Errorf("%s: %s", l.name, it.bad))
			case it.rbl != nil && it.rbl.bad != nil && !it.skip:
				found = append(found, fmt.Errorf("%s: restriction %s: %w", l.name, it.name, it.rbl.bad))
			}
		}
	}
	for _, l := range []*list{&e.client, &e.helo, &e.sender, &e.relay, &e.recipient, &e.data, &e.endOfData, &e.etrn} {
		look(l)
	}
	return found
}
