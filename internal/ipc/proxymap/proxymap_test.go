package proxymap

import (
	"bufio"
	"bytes"
	"testing"

	"postern/internal/ipc/attr"
)

// FuzzReply reads what is no reply, and sends again what is one.
func FuzzReply(f *testing.F) {
	f.Add([]byte("status\x000\x00flags\x001\x00key\x00k\x00value\x00v\x00\x00"))
	f.Add([]byte("status\x00x\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reply
		if err := attr.NewReader(bufio.NewReader(bytes.NewReader(b))).Do(&r); err != nil {
			return
		}
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if err := attr.NewWriter(w).Do(&r); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		var again Reply
		if err := attr.NewReader(bufio.NewReader(&out)).Do(&again); err != nil || again != r {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}
