package param

import (
	"slices"
	"testing"
)

func TestBackwards(t *testing.T) {
	var c Common
	s := NewSet()
	c.Params(s)
	tests := []struct {
		src  source
		want []string
	}{
		{source{"mydestination": "x"}, []string{
			"using backwards-compatible default setting mynetworks_style=subnet",
			"using backwards-compatible default setting relay_domains=x",
			"using backwards-compatible default setting smtputf8_enable=no",
		}},
		{source{"compatibility_level": "1", "mydestination": "x", "relay_domains": "x"}, []string{
			"using backwards-compatible default setting mynetworks_style=subnet",
		}},
		{source{"compatibility_level": "2"}, nil},
		{source{"compatibility_level": "3.11"}, nil},
	}
	for _, tt := range tests {
		got, err := s.Backwards(tt.src)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %q, %v; want %q", tt.src, got, err, tt.want)
		}
	}
}

func TestOutdated(t *testing.T) {
	for level, want := range map[string]bool{"0": true, "2": true, "3.6": true, "3.10.9": true, "3.11": false, "3.11.1": false, "9999": false} {
		if got := Outdated(level); got != want {
			t.Errorf("%s: %v", level, got)
		}
	}
}
