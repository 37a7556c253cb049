package local

import "strings"

// A filter remembers what has been delivered to, so that nothing gets the same
// message twice however often an expansion names it. It forgets what exceeds
// its limit (duplicate_filter_limit), which costs a duplicate, never mail.
type filter struct {
	seen  map[string]bool
	limit int
}

func newFilter(limit int) *filter { return &filter{make(map[string]bool), limit} }

// known says whether key has been added.
func (f *filter) known(key string) bool { return f.seen[strings.ToLower(key)] }

// again adds key and says whether it was there.
func (f *filter) again(key string) bool {
	key = strings.ToLower(key)
	if f.seen[key] {
		return true
	}
	if f.limit <= 0 || len(f.seen) < f.limit {
		f.seen[key] = true
	}
	return false
}
