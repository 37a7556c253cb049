package cleanup

import (
	"bytes"
	"context"
	"testing"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// FuzzRecords feeds a transaction with records of any kind.
func FuzzRecords(f *testing.F) {
	seed := func(lines ...string) {
		var b []byte
		for _, l := range lines {
			b = record.Append(b, record.Type(l[0]), l[1:])
		}
		f.Add(b, 0x57)
		f.Add(b, 0x53)
	}
	seed("T1 2", "Ar=local", "Sa", "Rb", "M", "NFrom: (x", "N y", "NContent-Type: multipart/mixed; boundary=\"b", "N", "N--b", "LContent-Type: message/rfc822", "N", "N", "Nx\ry", "X", "Rc", "E")
	seed("T1 0", "S", "V+=", "Anotify_flags=7", "n1", "orfc822;x", "O", "R", "D", "f4", "M", "X", "E")
	seed("Arewrite_context=none", "A=", "p0", "E")
	in := newInstance(f, `
header_checks = re:{^a REJECT;;^b REPLACE x;;^c PREPEND X: y;;^d STRIP;;^e HOLD;;^f REDIRECT a@b}
body_checks = re:{^a PREPEND;;^b BCC x@y;;^c PASS}
virtual_alias_maps = inline:{ {a@example.com=b, c}, {b@example.com=b, d} }
canonical_maps = inline:{ {x=y} }
masquerade_domains = com
always_bcc = z
delay_warning_time = 1h
strict_8bitmime = yes
strict_mime_encoding_domain = yes
message_size_limit = 30000
header_size_limit = 300
`)
	go func() {
		for range in.wakes {
		}
	}()
	t := newTransaction(in.s)
	f.Fuzz(func(tt *testing.T, data []byte, flags int) {
		d, err := in.s.store.Create(queue.Incoming)
		if err != nil {
			tt.Fatal(err)
		}
		t.begin(context.Background(), d, 0)
		t.flags, t.checking = ipc.Flags(flags&0x7ff), flags&2 != 0
		if t.read(record.NewReader(bytes.NewReader(data))) {
			t.discarded(false)
			return
		}
		if status, _ := t.finish(); status == 0 && t.queued {
			in.s.store.Remove(t.draft.Queue, d.ID())
		}
	})
}
