package simulate

import (
	"bytes"
	"strings"
	"testing"

	"postern/internal/service"
)

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
		says string
	}{
		{nil, 64, "usage: simulate --client"},
		{[]string{"--client", "192.0.2.1", "--from", "a@b.example"}, 64, "usage"},
		{[]string{"--client", "c.example", "--from", "a@b.example", "--to", "x"}, 64, "give an IP address"},
		{[]string{"--client", "192.0.2.1", "--from", "a\r\nDATA", "--to", "x"}, 64, "line ends"},
		{[]string{"--client", "192.0.2.1", "--from", "a", "--to", "x", "--config", "/nonexistent"}, 78, "/nonexistent/main.cf"},
	} {
		var out, errs bytes.Buffer
		status := Main(append([]string{"simulate"}, tt.args...), nil, &out, &errs, Knowledge{Programs: []service.Program{}})
		if status != tt.want || !strings.Contains(errs.String(), tt.says) {
			t.Errorf("%q: got %d, %s; want %d, %s", tt.args, status, errs.String(), tt.want, tt.says)
		}
	}
}
