package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/ipc/verify"
)

// probeTTL is after how long a probe counts as lost.
const probeTTL = 1000 * time.Second

// An entry is what is known of an address.
type entry struct {
	status  int
	probed  time.Time // when a probe was sent; zero when none is under way
	updated time.Time // when an outcome came; zero for none
	reason  string
}

// String is the value in the cache. Postfix: "status:probed:updated:text".
func (e entry) String() string {
	return fmt.Sprintf("%d:%d:%d:%s", e.status, seconds(e.probed), seconds(e.updated), e.reason)
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// parseEntry reads a value of the cache.
func parseEntry(value string) (entry, bool) {
	f := strings.SplitN(value, ":", 4)
	if len(f) != 4 || f[3] == "" {
		return entry{}, false
	}
	var n [3]int64
	for i := range n {
		v, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil || v < 0 {
			return entry{}, false
		}
		n[i] = v
	}
	if n[0] > verify.Todo {
		return entry{}, false
	}
	return entry{status: int(n[0]), probed: moment(n[1]), updated: moment(n[2]), reason: f[3]}, true
}

// lookup returns what the cache has; what cannot be read is not there.
func (s *Server) lookup(ctx context.Context, addr string) (entry, bool, error) {
	value, found, err := s.cache.Lookup(ctx, addr)
	if err != nil || !found {
		return entry{}, false, err
	}
	e, ok := parseEntry(value)
	if !ok {
		s.log.Warningf("address_verify_map: bad entry for %s: %.100s", addr, value)
	}
	return e, ok, nil
}

// expired says that an entry is too old to be believed.
func (s *Server) expired(e entry, now time.Time) bool {
	limit := s.NegativeExpire
	if e.status == verify.OK {
		limit = s.PositiveExpire
	}
	return now.Sub(e.updated) > limit
}

// stale says that an entry is believed and yet is to be looked at again.
func (s *Server) stale(e entry, now time.Time) bool {
	limit := s.NegativeRefresh
	if e.status == verify.OK {
		limit = s.PositiveRefresh
	}
	return now.Sub(e.updated) > limit
}

// A memory is the cache of a service without a file: what it knows ends with
// the process.
type memory struct {
	mu     sync.Mutex
	values map[string]string
}

func newMemory() *memory { return &memory{values: map[string]string{}} }

// maxMemory bounds the entries of a memory.
const maxMemory = 100_000

func (m *memory) Lookup(_ context.Context, key string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	return v, ok, nil
}

func (m *memory) Store(_ context.Context, key, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.values) >= maxMemory {
		clear(m.values)
	}
	m.values[key] = value
	return nil
}

func (m *memory) Delete(_ context.Context, key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.values[key]
	delete(m.values, key)
	return ok, nil
}

func (m *memory) Walk(_ context.Context, each func(key, value string) error) error {
	m.mu.Lock()
	all := maps.Clone(m.values)
	m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := each(key, all[key]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Close() error { return nil }
