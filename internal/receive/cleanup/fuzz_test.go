package cleanup

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

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
	seed("T1 0", "S", "Ra@b", "M", "NSubject: x", "NContent-Type: multipart/mixed; boundary=b", "N", "Nx", "N--", "N--b", "NContent-Type: message/rfc822",
		"N", "NFrom: y", "N", "L--b", "N--b", "Nz", "N--b--", "N--b", "N\r\r", "X", "E")
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
	in.s.now = func() time.Time { return time.Unix(1795509001, 0) }
	t := newTransaction(in.s)
	// take returns what becomes of the records: the status and the file.
	take := func(tt *testing.T, r io.Reader, flags int) (ipc.Status, string) {
		d, err := in.s.store.Create(queue.Incoming)
		if err != nil {
			tt.Fatal(err)
		}
		t.begin(context.Background(), d, 0)
		t.flags, t.checking = ipc.Flags(flags&0x7ff), flags&2 != 0
		if t.read(record.NewReader(r)) {
			t.discarded(false)
			return -1, ""
		}
		status, _ := t.finish()
		if status != 0 || !t.queued {
			return status, ""
		}
		file, err := os.ReadFile(in.s.store.Path(t.draft.Queue, d.ID()))
		if err != nil {
			tt.Fatal(err)
		}
		in.s.store.Remove(t.draft.Queue, d.ID())
		return status, strings.ReplaceAll(createTime.ReplaceAllString(string(file), ""), string(d.ID()), "ID")
	}
	f.Fuzz(func(tt *testing.T, data []byte, flags int) {
		status, file := take(tt, bytes.NewReader(data), flags)
		// Octet by octet there never are lines to be taken at once.
		slowly, slow := take(tt, iotest.OneByteReader(bytes.NewReader(data)), flags)
		if status != slowly || file != slow {
			tt.Errorf("at once: %d\n%q\noctet by octet: %d\n%q", status, file, slowly, slow)
		}
	})
}

var createTime = regexp.MustCompile(`create_time=\d+`)
