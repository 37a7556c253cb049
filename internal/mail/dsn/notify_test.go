package dsn

import "testing"

func TestParseNotify(t *testing.T) {
	for _, tt := range []struct {
		list    string
		mask    int
		unknown string
	}{
		{"NEVER", NotifyNever, ""},
		{"success,Delay", NotifySuccess | NotifyDelay, ""},
		{"failure, ,delay\tsuccess", NotifySuccess | NotifyFailure | NotifyDelay, ""},
		{"never,success", 0, ""},
		{"", 0, ""},
		{" , ", 0, ""},
		{"success,sometimes,never", 0, "sometimes"},
	} {
		if mask, unknown := ParseNotify(tt.list); mask != tt.mask || unknown != tt.unknown {
			t.Errorf("%q: got %d %q, want %d %q", tt.list, mask, unknown, tt.mask, tt.unknown)
		}
	}
	for _, mask := range []int{-1, 0, 16, NotifyNever | NotifyDelay} {
		if ValidNotify(mask) {
			t.Errorf("%d is valid", mask)
		}
	}
}
