package load

import (
	"path/filepath"
	"sync"
	"testing"
)

func TestSourceAndSink(t *testing.T) {
	for _, tt := range []struct {
		name    string
		network string
		source  *Source
		refuse  string
		want    Result
		counts  Counts
	}{
		{"plain", "tcp", &Source{Sessions: 3, Messages: 20, Size: 3000}, "", Result{Accepted: 20}, Counts{Messages: 20, Recipients: 20}},
		{"pipelined, reconnecting", "tcp", &Source{Sessions: 2, Messages: 9, PerSession: 2, Pipeline: true, Recipients: 3}, "", Result{Accepted: 9}, Counts{Messages: 9, Recipients: 27}},
		{"LMTP", "unix", &Source{Messages: 4, LMTP: true, Recipients: 2}, "", Result{Accepted: 4}, Counts{Messages: 4, Recipients: 8}},
		{"refused", "tcp", &Source{Messages: 3}, "DATA", Result{Refused: 3}, Counts{}},
		{"refused, pipelined", "tcp", &Source{Messages: 3, Pipeline: true}, "DATA", Result{Refused: 3}, Counts{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			seen := map[string]bool{}
			sink := &Sink{LMTP: tt.source.LMTP, Message: func(id string, _ int, _ int64) {
				mu.Lock()
				defer mu.Unlock()
				seen[id] = true
			}}
			if tt.refuse != "" {
				sink.Refuse = func(command string) string {
					if command == tt.refuse {
						return "451 4.3.0 no"
					}
					return ""
				}
			}
			addr := "127.0.0.1:0"
			if tt.network == "unix" {
				addr = filepath.Join(t.TempDir(), "s")
			}
			if err := sink.Listen(tt.network, addr); err != nil {
				t.Fatal(err)
			}
			defer sink.Close()
			s := tt.source
			s.Network, s.Addr, s.From, s.To, s.Run = tt.network, sink.Addr(), "a@a.example", Users("u", "b.example", 10), "r"
			got, err := s.Send(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Accepted != tt.want.Accepted || got.Refused != tt.want.Refused || got.Failed != 0 || len(got.Times) != got.Accepted {
				t.Errorf("got %s", got.String())
			}
			c := sink.Counts()
			if c.Messages != tt.counts.Messages || c.Recipients != tt.counts.Recipients || len(seen) != got.Accepted {
				t.Errorf("sink: got %+v, %d different messages", c, len(seen))
			}
		})
	}
}

func TestBodySize(t *testing.T) {
	for _, size := range []int{200, 1000, 1001, 65536} {
		if got := len(body("x", "a@b", "c@d", size)); got < size || got > size+10 {
			t.Errorf("size %d: got %d", size, got)
		}
	}
}
