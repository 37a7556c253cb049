package dns

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// counting answers by the first letter of the name and counts what it is asked.
type counting map[string]int

func (c counting) Lookup(_ context.Context, name string, t Type) Answer {
	c[name]++
	switch name[0] {
	case 'a':
		return Answer{Class: OK, TTL: time.Minute, Records: []Record{{Type: t, Name: name, Addr: netip.MustParseAddr("192.0.2.1")}}}
	case 'n':
		return Answer{Class: NotFound, TTL: 10 * time.Second, Reason: "not found"}
	case 'z':
		return Answer{Class: NotFound} // no SOA
	case 'l':
		return Answer{Class: OK, TTL: 24 * time.Hour}
	}
	return Answer{Class: Retry, TTL: time.Minute}
}

func TestCache(t *testing.T) {
	now := time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)
	asked := counting{}
	c := NewCache(asked, 100)
	c.now = func() time.Time { return now }
	ctx := context.Background()
	for _, tt := range []struct {
		after time.Duration
		name  string
		t     Type
		want  int // questions to the resolver so far
	}{
		{0, "a.example", A, 1}, {0, "a.example", A, 1}, {0, "A.EXAMPLE.", A, 1}, {0, "a.example", AAAA, 2},
		{59 * time.Second, "a.example", A, 2}, {time.Second, "a.example", A, 3},
		{0, "n.example", A, 1}, {9 * time.Second, "n.example", A, 1}, {time.Second, "n.example", A, 2},
		{0, "z.example", A, 1}, {0, "z.example", A, 2},
		{0, "retry.example", A, 1}, {0, "retry.example", A, 2},
		{0, "l.example", A, 1}, {59 * time.Minute, "l.example", A, 1}, {time.Minute, "l.example", A, 2},
	} {
		now = now.Add(tt.after)
		a := c.Lookup(ctx, tt.name, tt.t)
		if got := asked[tt.name]; tt.name != "A.EXAMPLE." && got != tt.want {
			t.Errorf("%s %s: asked %d times, want %d", tt.name, tt.t, got, tt.want)
		}
		for i := range a.Records {
			if a.Records[i].Name == "" {
				t.Errorf("%s: the records of another caller were changed", tt.name)
			}
			a.Records[i].Name = ""
		}
	}
	if asked["A.EXAMPLE."] != 0 {
		t.Error("the case of a name matters")
	}
	for n := range 1000 {
		c.Lookup(ctx, fmt.Sprintf("a%d.example", n), A)
	}
	if len(c.entries) > 100 {
		t.Errorf("%d entries are kept", len(c.entries))
	}
}
