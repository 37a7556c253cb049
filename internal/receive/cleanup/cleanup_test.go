package cleanup

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

const envelopeHead = `T 1795509001 141703
A create_time=…
A rewrite_context=local
`

func TestPlainMessage(t *testing.T) {
	in := newInstance(t, "")
	id, status, reason := in.send(mail{flags: smtpClient, content: "Subject: x\n\nhello\n\n"})
	if status != 0 || reason != "" {
		t.Fatalf("status %d %q", status, reason)
	}
	compare(t, "file", in.records(queue.Incoming, id), envelopeHead+`S user@host.example.com
A log_message_origin=localhost[127.0.0.1]
A log_helo_name=client.example
A log_protocol_name=ESMTP
A dsn_orig_rcpt=rfc822;bob@example.com
O bob@example.com
R bob@example.com
M 
N Subject: x
N Message-Id: <20261124083001.ID@mail.example.com>
N Date: `+formatDate(time.Unix(1795509001, 0))+`
N From: user@host.example.com
N 
N hello
N 
X 
E 
`)
	compare(t, "log", in.logText(id), "ID: message-id=<20261124083001.ID@mail.example.com>")
	if got := <-in.wakes; got != "I"+id {
		t.Errorf("trigger %q, want I and the queue id", got)
	}
	s := in.sizes(queue.Incoming, id)
	data, _ := os.ReadFile(in.s.store.Path(queue.Incoming, queue.ID(id)))
	if s.Recipients != 1 || s.Length != s.Content || data[s.ContentOffset+s.Content] != byte(record.Xtra) || data[s.ContentOffset] != byte(record.Norm) {
		t.Errorf("sizes %+v", s)
	}
}

const rewritten = `From: "Joe, X" <joe>
To: list, Friends: a@b, c@host.example.com;, wietse (x (y)) @ porcupine.org
Cc: Johnny B. Goode <j!k%l@host.example.com> (comment)
Bcc: hidden@x
Return-Path: <foo>
Content-Length: 100
X-Rep: foo
X-Pre: bar
X-Strip: foo
X-Ign: foo
X-Bcc: foo
X-Long: aaa
  bbb
Subject: warn me

body
bodypre
bodyrep
end
`

// What real Postfix makes of the same message was copied from its queue file.
func TestRewriting(t *testing.T) {
	in := newInstance(t, `
virtual_alias_maps = inline:{ {multi@alias.example=one@example.com, two@other.example} }
canonical_maps = inline:{ {old@example.com=new.name@example.com} }
masquerade_domains = example.com
header_checks = re:{^subject:.warn WARN warn text;;^X-Rep REPLACE X-New: value;;^X-Pre PREPEND X-Pre0: value;;^X-Bcc BCC bcc@example.com;;^X-Strip STRIP gone;;^X-Ign IGNORE}
body_checks = re:{^bodypre PREPEND prepended;;^bodyrep REPLACE replaced}
`)
	id, status, _ := in.send(mail{flags: smtpClient, envelope: `T 1795509001 141703
A rewrite_context=local
A envelope_id=abc
A ret_flags=2
S user@host.example.com
A log_message_origin=localhost[127.0.0.1]
A log_helo_name=client.example
A log_protocol_name=ESMTP
A notify_flags=6
A dsn_orig_rcpt=rfc822;orig@x
R multi@alias.example
A dsn_orig_rcpt=rfc822;old+ext@example.com
R old+ext@example.com
`, content: rewritten})
	if status != 0 {
		t.Fatal(status)
	}
	compare(t, "file", in.records(queue.Incoming, id), envelopeHead+`A envelope_id=abc
A ret_flags=2
S user@example.com
A log_message_origin=localhost[127.0.0.1]
A log_helo_name=client.example
A log_protocol_name=ESMTP
A notify_flags=4
A dsn_orig_rcpt=rfc822;orig@x
O multi@alias.example
R one@example.com
A notify_flags=4
A dsn_orig_rcpt=rfc822;orig@x
O multi@alias.example
R two@other.example
A dsn_orig_rcpt=rfc822;old+ext@example.com
O old+ext@example.com
R new.name+ext@example.com
M 
N From: "Joe, X" <joe@example.com>
N To: list@example.com, Friends: a@b, c@example.com;,
N 	wietse@porcupine.org (x (y))
N Cc: Johnny B.Goode <j!k%l@example.com>(comment)
N X-New: value
N X-Pre0: value
N X-Pre: bar
N X-Bcc: foo
N X-Long: aaa
N   bbb
N Subject: warn me
N Message-Id: <20261124083001.ID@mail.example.com>
N Date: `+formatDate(time.Unix(1795509001, 0))+`
N 
N body
N prepended
N bodypre
N replaced
N end
X 
A notify_flags=1
O bcc@example.com
R bcc@example.com
E 
`)
	from := ` from localhost[127.0.0.1]; from=<user@example.com> to=<new.name+ext@example.com> proto=ESMTP helo=<client.example>: `
	compare(t, "log", in.logText(id), `ID: replace: header X-Rep: foo`+from+`X-New: value
ID: prepend: header X-Pre: bar`+from+`X-Pre0: value
ID: strip: header X-Strip: foo`+from+`gone
ID: bcc: header X-Bcc: foo`+from+`bcc@example.com
ID: warning: header Subject: warn me`+from+`warn text
ID: message-id=<20261124083001.ID@mail.example.com>
ID: prepend: body bodypre`+from+`prepended
ID: replace: body bodyrep`+from+`replaced`)
	if s := in.sizes(queue.Incoming, id); s.Recipients != 4 || s.Flags != 12 {
		t.Errorf("sizes %+v", s)
	}
	if got := strings.Join(in.bounces, "\n"); got != "0  multi@alias.example expanded 2.0.0 alias expanded" {
		t.Errorf("trace %q", got)
	}
}

func TestHeaderAddresses(t *testing.T) {
	in := newInstance(t, "")
	id, _, _ := in.send(mail{flags: smtpClient, content: "Message-ID:\n <foo>\n bar\nDate: x\nFrom :   x  y\nSender: (foo\n bar) x\n" +
		"To: \"x y\"@z, \"quoted \\\" string\", <\"a b\"@c>, <>, :;, a.b . c@d, u@[1.2.3.4], Hello! World% <x@y>\n" +
		"Apparently-To: foo\nReply-To: foo@bar\nErrors-To: e\nReturn-Receipt-To: r\nResent-Bcc: foo\nfrom: x\n\nfoo"})
	_, content, _ := strings.Cut(in.records(queue.Incoming, id), "M \n")
	compare(t, "content", content, `N Message-ID:
N  <foo>
N  bar
N Date: x
N From: x@example.com, y@example.com
N Sender: x@example.com (foo  bar)
N To: "x y"@z, "quoted \" string"@example.com, <"a b"@c>, <>, : ;,
N 	a.b.c@d, u@[1.2.3.4], Hello!World% <x@y>
N Apparently-To: foo@example.com
N Reply-To: foo@bar
N Errors-To: e@example.com
N Return-Receipt-To: r@example.com
N from: x@example.com
N Resent-Message-Id: <20261124083001.ID@mail.example.com>
N Resent-Date: `+formatDate(time.Unix(1795509001, 0))+`
N Resent-From: user@host.example.com
N 
N foo
X 
E 
`)
	compare(t, "log", in.logText(id), "ID: message-id=<foo>? bar\nID: resent-message-id=<20261124083001.ID@mail.example.com>")
}

func TestOutcomes(t *testing.T) {
	config := `
header_checks = re:{^subject:.reject REJECT go away;;^subject:.later REJECT 4.3.2 not now;;^subject:.hold HOLD held text;;^x-disc DISCARD disc text;;^x-red REDIRECT redir@example.com;;^x-filt FILTER smtp:127.0.0.1:9;;^x-fail DUNNO}
body_checks = re:{^bodyrej REJECT}
virtual_alias_maps = inline:{ {loop1@alias.example=loop2@alias.example}, {loop2@alias.example=loop1@alias.example}, {self@example.com=self@example.com} }
message_size_limit = 20000
hopcount_limit = 3
`
	origin := " from localhost[127.0.0.1]; from=<user@host.example.com> to=<bob@example.com> proto=ESMTP helo=<client.example>"
	for _, tt := range []struct {
		name    string
		mail    mail
		status  ipc.Status
		reason  string
		queue   queue.Name // "" for nowhere
		log     string     // part of the log
		records string     // part of the file
		bounces string
	}{
		{"reject", mail{content: "Subject: reject\n\nx\n"}, ipc.StatusContent, "5.7.1 go away", "",
			"ID: reject: header Subject: reject" + origin + ": 5.7.1 go away", "", ""},
		{"reject later", mail{content: "Subject: later\n\nx\n"}, ipc.StatusDefer, "4.3.2 not now", "",
			"ID: reject: header Subject: later" + origin + ": 4.3.2 not now", "", ""},
		{"reject body", mail{content: "x: y\n\nbodyrej\n"}, ipc.StatusContent, "5.7.1 message content rejected", "",
			"ID: reject: body bodyrej" + origin + ": 5.7.1 message content rejected", "", ""},
		{"hold", mail{content: "Subject: hold\n\nx\n"}, 0, "", queue.Hold, "ID: hold: header Subject: hold" + origin + ": held text", "", ""},
		{"discard", mail{content: "X-Disc: a\n\nx\n"}, 0, "", "", "ID: removed (discarded)", "", ""},
		{"redirect ends checks", mail{content: "X-Red: a\nX-Filt: a\n\nbodyrej\n"}, 0, "", queue.Incoming, "", "X \n> redir@example.com\nE \n", ""},
		{"filter", mail{content: "X-Filt: a\n first\n\nx\n"}, 0, "", queue.Incoming, "ID: filter: header X-Filt: a? first" + origin + ": smtp:127.0.0.1:9", "X \nL smtp:127.0.0.1:9\nE \n", ""},
		{"alias loop", mail{envelope: "T 1 0\nS a@b\nR loop1@alias.example\n"}, ipc.StatusDefer, "4.6.0 Alias expansion error", "",
			"warning: ID: unreasonable virtual_alias_maps map nesting for loop1@alias.example -- message not accepted, try again later", "", ""},
		{"alias of itself", mail{envelope: "T 1 0\nS a@b\nR self@example.com\n"}, 0, "", queue.Incoming, "", "R self@example.com\n", ""},
		{"hops", mail{content: strings.Repeat("Received: x\n", 3) + "\n"}, ipc.StatusHops, "", "", "warning: ID: message rejected: hopcount exceeded", "", ""},
		{"size", mail{content: "\n" + strings.Repeat("foo\n", 7000)}, ipc.StatusSize, "", "", "warning: ID: queue file size limit exceeded", "", ""},
		{"no recipients", mail{envelope: "T 1 0\nS a@b\n"}, ipc.StatusRecipients, "", "", "", "", ""},
		{"extracted recipients", mail{envelope: "T 1 0\nS a@b\n", extracted: "R c\n"}, 0, "", queue.Incoming, "", "X \nA dsn_orig_rcpt=rfc822;c@example.com\nO c\nR c@example.com\nE \n", ""},
		{"no sender", mail{envelope: "T 1 0\nR a@b\n"}, ipc.StatusBad, "", "", "warning: ID: envelope recipient precedes sender", "", ""},
		{"no time", mail{envelope: "S a\nR a@b\n"}, ipc.StatusBad, "", "", "message rejected: missing time envelope record", "", ""},
		{"pointer", mail{envelope: "T 1 0\nS a\np 1\nR a@b\n"}, ipc.StatusBad, "", "", "unexpected record type 112 in envelope", "", ""},
		{"bounce", mail{flags: ipc.FlagBounce, content: "Subject: reject\n\nx\n"}, 0, "5.7.1 go away", "",
			"ID: to=<bob@example.com>, relay=none, delay=", "",
			"0  bob@example.com  5.7.1 go away\n1 user@host.example.com    "},
		{"bounce size", mail{flags: ipc.FlagBounce, content: "\n" + strings.Repeat("foo\n", 7000)}, 0, "", "", "status=bounced (message file too big)", "",
			"0  bob@example.com  5.3.4 message file too big\n1 user@host.example.com    "},
		{"duplicates", mail{envelope: "T 1 0\nS a@b\nR x@y\nR x@y\nR X@Y\n"}, 0, "", queue.Incoming, "", "R x@y\nM", ""},
		{"hold by client", mail{envelope: "T 1 0\nS a@b\nR x@y\nf 4\n"}, 0, "", queue.Hold, "", "", ""},
		{"warn time", mail{envelope: "T 1 0\nW 7\nS a@b\nR x@y\n"}, 0, "", queue.Incoming, "", "W 7\n", ""},
		{"name", mail{envelope: "T 1 0\nF Joe (the \"man\") X\nS a@b\nR x@y\n"}, 0, "", queue.Incoming, "", `N From: "Joe (the \"man\") X" <a@b>`, ""},
		{"null sender", mail{envelope: "T 1 0\nF Joe\nS\nR x@y\n"}, 0, "", queue.Incoming, "", "N From: MAILER-DAEMON\n", ""},
		{"remote", mail{envelope: "T 1 0\nA rewrite_context=remote\nS a@b\nR x@y\n", content: "To: foo\n\n"}, 0, "", queue.Incoming, "ID: message-id=<>", "M \nN To: foo\nN \nX", ""},
		{"stray CR", mail{content: "A: b\rc\n\nd\re\n"}, 0, "", queue.Incoming, "", "N d e\n", ""},
		{"text after header", mail{content: "A: b\nc\n"}, 0, "", queue.Incoming, "", "N \nN c\n", ""},
		{"verp", mail{envelope: "T 1 0\nS a@b\nV +=\nR x@y\n"}, 0, "", queue.Incoming, "", "V +=\n", ""},
		{"bad verp", mail{envelope: "T 1 0\nS a@b\nV xy\nR x@y\n"}, ipc.StatusBad, "", "", "bad VERP delimiters", "", ""},
		{"8 bit", mail{content: "Content-Transfer-Encoding: 8bit\n\nx\n"}, 0, "", queue.Incoming, "", "X \nA encoding=8bit\nE ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := newInstance(t, config)
			tt.mail.flags |= smtpClient
			if tt.mail.content == "" {
				tt.mail.content = "Subject: x\n\nx\n"
			}
			id, status, reason := in.send(tt.mail)
			if status != tt.status || reason != tt.reason {
				t.Errorf("status %d %q, want %d %q", status, reason, tt.status, tt.reason)
			}
			if got := in.logText(id); !strings.Contains(got, tt.log) {
				t.Errorf("log:\n%s\nwant %s", got, tt.log)
			}
			if tt.queue != "" {
				if got := in.records(tt.queue, id); !strings.Contains(got, tt.records) {
					t.Errorf("records:\n%s\nwant %s", got, tt.records)
				}
			}
			for _, q := range []queue.Name{queue.Incoming, queue.Hold} {
				_, err := os.Stat(in.s.store.Path(q, queue.ID(id)))
				if (err == nil) != (q == tt.queue) {
					t.Errorf("queue %s: %v", q, err)
				}
			}
			if got := strings.Join(in.bounces, "\n"); got != tt.bounces {
				t.Errorf("bounces %q, want %q", got, tt.bounces)
			}
		})
	}
}

func TestAutomaticRecipients(t *testing.T) {
	in := newInstance(t, `
always_bcc = always@example.com
sender_bcc_maps = inline:{ {sbcc@example.com=sb@example.com} }
recipient_bcc_maps = inline:{ {rbcc@example.com=rb@example.com} }
delay_warning_time = 1h
`)
	id, _, _ := in.send(mail{flags: smtpClient, envelope: `T 1795509001 0
S sbcc@example.com
A encoding=8bit
R rbcc@example.com
`, content: "Subject: jü\n\n"})
	got := in.records(queue.Incoming, id)
	head, tail, _ := strings.Cut(got, "M \n")
	_, tail, _ = strings.Cut(tail, "X \n")
	compare(t, "envelope", head, `T 1795509001 0
A create_time=…
S sbcc@example.com
A notify_flags=1
O sb@example.com
R sb@example.com
A encoding=8bit
W      1795512601
A dsn_orig_rcpt=rfc822;rbcc@example.com
O rbcc@example.com
R rbcc@example.com
A notify_flags=1
O rb@example.com
R rb@example.com
`)
	compare(t, "extracted", tail, `A encoding=8bit
A notify_flags=1
O always@example.com
R always@example.com
E 
`)
	if s := in.sizes(queue.Incoming, id); s.SendOpts != optUTF8Header {
		t.Errorf("send options %d", s.SendOpts)
	}
}

func TestBrokenTable(t *testing.T) {
	for _, config := range []string{
		"header_checks = broken:x", "body_checks = broken:x", "canonical_maps = broken:x", "virtual_alias_maps = broken:x",
		"recipient_bcc_maps = broken:x", "sender_bcc_maps = broken:x", "sender_canonical_maps = broken:x",
	} {
		in := newInstance(t, config)
		id, status, _ := in.send(mail{flags: smtpClient, content: "Subject: x\n\nx\n"})
		if status&ipc.StatusWrite == 0 {
			t.Errorf("%s: status %d", config, status)
		}
		if _, err := os.Stat(in.s.store.Path(queue.Incoming, queue.ID(id))); err == nil {
			t.Errorf("%s: the message is in the queue", config)
		}
		if !strings.Contains(in.logText(id), "message not accepted, try again later") {
			t.Errorf("%s: log %s", config, in.logText(id))
		}
	}
}

func TestSeveralMessagesOnOneConnection(t *testing.T) {
	in := newInstance(t, "")
	ids := map[string]bool{}
	for range 20 {
		id, status, _ := in.send(mail{flags: smtpClient, content: "Subject: x\n\nx\n"})
		if status != 0 {
			t.Fatal(status)
		}
		ids[id] = true
	}
	if len(ids) != 20 {
		t.Errorf("%d messages, want 20", len(ids))
	}
}

func TestClientGivesUp(t *testing.T) {
	in := newInstance(t, "")
	s, err := in.client.Open(context.Background(), smtpClient)
	if err != nil {
		t.Fatal(err)
	}
	s.W.PutString(record.Time, "1 0")
	s.W.Flush()
	path := in.s.store.Path(queue.Incoming, queue.ID(s.QueueID))
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	s.Close()
	deadline := time.After(time.Minute)
	for {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the queue file is still there")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestFailedSync(t *testing.T) {
	in := newInstance(t, "")
	in.s.store.SetFault(func(op queue.Op, _ queue.Name, _ queue.ID) error {
		if op == queue.OpSync {
			return os.ErrInvalid
		}
		return nil
	})
	id, status, _ := in.send(mail{flags: smtpClient | ipc.FlagBounce, content: "Subject: x\n\nx\n"})
	if status != ipc.StatusWrite {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(in.s.store.Path(queue.Incoming, queue.ID(id))); err == nil {
		t.Error("the file is still there")
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		``: "", `ab`: "ab", `\000x`: "\x00x", `\12\7z`: "\n\az", `\r\n\\`: "\r\n\\", `\q\`: `q\`, `\377`: "\xff",
	} {
		if got := string(unescape(in)); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOctets(t *testing.T) {
	in := newInstance(t, "message_strip_characters = \\000x\nmessage_reject_characters = \\001\n")
	id, status, _ := in.send(mail{flags: smtpClient, content: "A: axb\n\n\x00ax\rb\x00\n"})
	if got := in.records(queue.Incoming, id); status != 0 || !strings.Contains(got, "N A: ab\n") || !strings.Contains(got, "N a b\nX") {
		t.Errorf("status %d, file\n%s", status, got)
	}
	if id, status, reason := in.send(mail{flags: smtpClient, content: "A: b\n\n\x01"}); status != ipc.StatusContent || reason != "5.7.1 disallowed character" {
		t.Errorf("%s: status %d %q", id, status, reason)
	}
	// Mail from inside is left alone.
	if _, status, _ := in.send(mail{flags: ipc.MaskInternal, content: "A: b\n\n\x01"}); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestNoQueueFile(t *testing.T) {
	in := newInstance(t, "")
	in.s.store.SetFault(func(op queue.Op, _ queue.Name, _ queue.ID) error {
		if op == queue.OpCreate {
			return os.ErrPermission
		}
		return nil
	})
	for _, content := range []string{"", "x\n", strings.Repeat("0123456789\n", 100_000)} {
		s, err := in.client.Open(context.Background(), smtpClient)
		if err != nil {
			t.Fatal(err)
		}
		if s.QueueID != "" {
			t.Errorf("queue id %q", s.QueueID)
		}
		for l := range strings.Lines(content) {
			s.W.PutString(record.Norm, l)
		}
		s.W.PutString(record.End, "")
		if status, _, err := s.Finish(context.Background()); status != ipc.StatusWrite || err != nil {
			t.Errorf("%d octets: status %d, %v", len(content), status, err)
		}
		s.Close()
	}
}
