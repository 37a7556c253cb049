package table

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Entries does what a map does.
func TestEntriesAreAMap(t *testing.T) {
	ctx := context.Background()
	for _, expected := range []int{0, 100, 100_000} {
		e := NewEntries("path", "name", NewOpener(nil).With(DupReplace))
		e.Expect(expected)
		want := map[string]string{}
		r := rand.New(rand.NewPCG(1, uint64(expected)))
		for i := range 60_000 {
			key, value := fmt.Sprintf("key%d", r.IntN(20_000)), fmt.Sprint(i)
			if r.IntN(5) == 0 {
				_, had := want[key]
				delete(want, key)
				if found, err := e.Delete(ctx, key); found != had || err != nil {
					t.Fatalf("step %d: delete %s: %v %v, want %v", i, key, found, err, had)
				}
				continue
			}
			want[key] = value
			e.Put(key, value)
		}
		if len(e.List) != len(want) {
			t.Fatalf("%d entries, want %d", len(e.List), len(want))
		}
		for key, value := range want {
			if got, found, _ := e.Lookup(ctx, key); got != value || !found {
				t.Fatalf("%s: got %q %v, want %q", key, got, found, value)
			}
		}
	}
}

func TestSortByKey(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, few, 3 * few} {
		list := make([]Entry, n)
		for i := range list {
			list[i].Key = fmt.Sprintf("prefix%*s%x", r.IntN(12), "", r.IntN(4*n+1))
		}
		SortByKey(list)
		for i := 1; i < n; i++ {
			if list[i-1].Key > list[i].Key {
				t.Fatalf("%d entries: %q before %q", n, list[i-1].Key, list[i].Key)
			}
		}
	}
}
