package cleanup

import (
	"context"
	"strings"
	"testing"

	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

func BenchmarkMessage4K(b *testing.B) { benchmark(b, 50) }
func BenchmarkMessage1M(b *testing.B) { benchmark(b, 14_000) }

// benchmark takes messages whose body has as many lines.
func benchmark(b *testing.B, lines int) {
	in := newInstance(b, "")
	b.SetBytes(int64(lines) * 74)
	go func() {
		for range in.wakes {
		}
	}()
	header := strings.Split("Received: from a (b [192.0.2.1])\n\tby c with ESMTP id D\n\tfor <x@y>; date\nFrom: Joe <joe@example.com>\nTo: Ann <ann@example.com>, bob@example.com\nSubject: hello\nMessage-Id: <a@b>\nDate: Tue, 24 Nov 2026 08:30:01 +0000\nMIME-Version: 1.0\nContent-Type: text/plain", "\n")
	line := strings.Repeat("x", 72)
	b.ReportAllocs()
	for b.Loop() {
		s, err := in.client.Open(context.Background(), smtpClient)
		if err != nil {
			b.Fatal(err)
		}
		w := s.W
		for _, r := range [...]struct {
			t record.Type
			s string
		}{
			{record.Time, "1795509001 141703"}, {record.Attr, "log_ident=ID"}, {record.Attr, "rewrite_context=local"},
			{record.Sender, "user@example.com"}, {record.Attr, "log_client_name=localhost"}, {record.Attr, "log_client_address=127.0.0.1"},
			{record.Attr, "log_client_port=1234"}, {record.Attr, "log_message_origin=localhost[127.0.0.1]"},
			{record.Attr, "log_helo_name=client.example"}, {record.Attr, "log_protocol_name=ESMTP"},
			{record.Attr, "client_name=localhost"}, {record.Attr, "reverse_client_name=localhost"},
			{record.Attr, "client_address=127.0.0.1"}, {record.Attr, "client_port=1234"}, {record.Attr, "client_address_type=2"},
			{record.Attr, "dsn_orig_rcpt=rfc822;bob@example.com"}, {record.Rcpt, "bob@example.com"}, {record.Mesg, ""},
		} {
			w.PutString(r.t, r.s)
		}
		for _, h := range header {
			w.PutString(record.Norm, h)
		}
		w.PutString(record.Norm, "")
		for range lines {
			w.PutString(record.Norm, line)
		}
		w.PutString(record.Xtra, "")
		w.PutString(record.End, "")
		status, _, err := s.Finish(context.Background())
		if err != nil || status != 0 {
			b.Fatal(status, err)
		}
		in.s.store.Remove(queue.Incoming, queue.ID(s.QueueID))
	}
}
