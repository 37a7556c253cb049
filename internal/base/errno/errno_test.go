package errno

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

func TestText(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{syscall.ENOENT, "No such file or directory"},
		{fmt.Errorf("open x: %w", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}), "Permission denied"},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrClosed}, "File already closed"},
		{errors.New(""), ""},
	}
	for _, tt := range tests {
		if got := Text(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
	if err := LibC(syscall.ENOENT); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist any more", err)
	}
}
