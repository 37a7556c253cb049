package cleanup

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/envelope"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/protocol/milter"
)

// edited returns a message in which edits can be made, with no milter behind it.
func edited(t *testing.T, header, body []string) *transaction {
	t.Helper()
	in := newInstance(t, "non_smtpd_milters = unix:nowhere\nmessage_size_limit = 100000\n")
	draft, err := in.s.store.Create(queue.Incoming)
	if err != nil {
		t.Fatal(err)
	}
	m := newTransaction(in.s)
	m.begin(context.Background(), draft, ipc.MaskExternal|ipc.FlagSMTPReply)
	t.Cleanup(m.end)
	m.emulated = true // nobody is asked
	put := func(typ record.Type, text string) { m.take(typ, []byte(text)) }
	put(record.Time, "1795509001 0")
	put(record.Sender, "a@b.example")
	put(record.Attr, "log_message_origin=localhost[127.0.0.1]")
	for _, r := range []string{"one@example.com", "two@example.com"} {
		put(record.OrigRcpt, r)
		put(record.Rcpt, r)
	}
	put(record.Mesg, "")
	for _, h := range header {
		for _, l := range strings.Split(h, "\n") {
			put(record.Norm, l)
		}
	}
	put(record.Norm, "")
	for _, l := range body {
		put(record.Norm, l)
	}
	put(record.Xtra, "")
	put(record.End, "")
	if m.errs != 0 {
		t.Fatalf("status %v: %v", m.errs, in.log())
	}
	m.putSizes()
	m.bodySize = m.contentEnd - m.layout.body
	return m
}

// content reads the message as a delivery agent does.
func content(t *testing.T, m *transaction) (lines []string) {
	t.Helper()
	c := envelope.NewContent(m.draft, m.contentOff)
	whole := true
	for {
		text, end, err := c.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if whole {
			lines = append(lines, "")
		}
		lines[len(lines)-1] += string(text)
		whole = end
	}
}

// A model is a message as a list of fields and lines, changed as libmilter says.
type model struct{ header, body []string }

func (m *model) find(index int, name string) int {
	own := false
	n := 0
	for i, h := range m.header {
		if !own && strings.HasPrefix(h, "Received:") {
			own = true
			continue
		}
		if strings.EqualFold(h[:strings.IndexByte(h, ':')], name) {
			if n++; n >= index {
				return i
			}
		}
	}
	return -1
}

// Any sequence of changes leaves the file with what the same changes make of a
// list.
func TestEditsLikeAList(t *testing.T) {
	names := []string{"X-A", "x-a", "X-Bee", "Subject", "Received", "X-Long-Name-Of-A-Field"}
	values := []string{"", "v", "a value", strings.Repeat("long ", 30), "one\n two\n three"}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		want := &model{header: []string{"Received: by us", "X-A: 1", "Subject: s", "X-A: 2\n more", "X: y", "Message-Id: <1@x>", "From: a@b.example", "Date: now"},
			body: []string{"first", "second"}}
		m := edited(t, want.header, want.body)
		e := editor{m}
		var log []string
		for range 40 {
			name, value, index := names[r.IntN(len(names))], values[1+r.IntN(len(values)-1)], r.IntN(12)
			field := name + ": " + value
			var err error
			switch op := r.IntN(9); op {
			case 0, 1:
				log = append(log, "add "+field)
				err = e.AddHeader(name, " ", value)
				want.header = append(want.header, field)
			case 2, 3:
				log = append(log, fmt.Sprint("insert ", index, " ", field))
				err = e.InsertHeader(index, name, " ", value)
				want.header = slices.Insert(want.header, min(index, len(want.header)), field)
			case 4, 5:
				log = append(log, fmt.Sprint("change ", index%4, " ", field))
				err = e.ChangeHeader(index%4, name, " ", value)
				if at := want.find(index%4, name); at >= 0 {
					want.header[at] = field
				} else {
					want.header = append(want.header, field)
				}
			case 6, 7:
				log = append(log, fmt.Sprint("delete ", index%4, " ", name))
				err = e.DeleteHeader(index%4, name)
				if at := want.find(index%4, name); at >= 0 {
					want.header = slices.Delete(want.header, at, at+1)
				}
			case 8:
				log = append(log, "body")
				err = e.Body([]byte("new "+value+"\r\nli"), true)
				if err == nil {
					err = e.Body([]byte("ne\r\n\r\nend"), false)
				}
				if err == nil {
					err = e.EndBody()
				}
				want.body = append(strings.Split("new "+value, "\n"), "line", "", "end")
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		var lines []string
		for _, h := range want.header {
			lines = append(lines, strings.Split(h, "\n")...)
		}
		lines = append(append(lines, ""), want.body...)
		if got := content(t, m); !slices.Equal(got, lines) {
			t.Fatalf("round %d, after\n%s\ngot\n%s\n\nwant\n%s", round, strings.Join(log, "\n"), strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
	}
}

func TestEditEnvelope(t *testing.T) {
	m := edited(t, []string{"Subject: s"}, []string{"text"})
	e := editor{m}
	for _, err := range []error{
		e.AddRecipient("<three@example.com>", "NOTIFY=NEVER"),
		e.DeleteRecipient("<one@example.com>"),
		e.AddRecipient("<two@example.com>", ""), // is another one: the sender gave two an original recipient
		e.AddRecipient("<one@example.com>", ""), // is there no longer
		e.AddRecipient("<four@example.com>", "ORCPT=rfc822;x+2B@example.com"),
		e.DeleteRecipient("three@example.com"),
		e.DeleteRecipient("<nobody@example.com>"),
		e.ChangeSender("<long.new.sender@example.com>", "ENVID=id RET=HDRS"),
		e.ChangeSender("<s@example.com>", ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m.putSizes()
	for _, limit := range []int{0, 1} {
		env, err := envelope.Read(m.draft, limit)
		var got []string
		for err == nil {
			for _, r := range env.Recipients {
				got = append(got, r.Address+" "+r.DSNOrig)
			}
			if env.Next == 0 {
				break
			}
			err = env.More(m.draft, limit)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"two@example.com rfc822;two@example.com", "two@example.com ", "one@example.com ", "four@example.com rfc822;x+@example.com"}
		if env.Sender != "s@example.com" || !slices.Equal(got, want) || !env.Canceled {
			t.Errorf("limit %d: sender %s, recipients %q, want %q", limit, env.Sender, got, want)
		}
	}
}

// A milter that does not stop loses, not the machine.
func TestEditLimit(t *testing.T) {
	for name, change := range map[string]func(e editor, n int) error{
		"headers":      func(e editor, n int) error { return e.AddHeader("X", " ", fmt.Sprint(n)) },
		"long headers": func(e editor, n int) error { return e.AddHeader("X", " ", strings.Repeat("x", 90_000)) },
		"body":         func(e editor, n int) error { return e.Body([]byte(strings.Repeat("x", 990)+"\r\n"), n == 0) },
		"rcpt":         func(e editor, n int) error { return e.AddRecipient(fmt.Sprintf("<%d@example.com>", n), "") },
		"sender":       func(e editor, n int) error { return e.ChangeSender("<a@example.com>", "") },
	} {
		m := edited(t, []string{"Subject: s"}, []string{"text"})
		n := 0
		for ; n < 2*maxEdits; n++ {
			if change(editor{m}, n) != nil {
				break
			}
		}
		if n == 2*maxEdits || m.errs&ipc.StatusWrite == 0 {
			t.Errorf("%s: %d changes were made", name, n)
		}
	}
}

// Milters of a message that is lost already are answered for, so that the client
// goes on to hear why.
func TestMiltersOfLostMessage(t *testing.T) {
	in := newInstance(t, "")
	for name, before := range map[string]func(w *record.Writer){
		"bad record":       func(w *record.Writer) { w.PutString(record.Rcpt, "a@example.com") },
		"no announcement":  func(w *record.Writer) { w.PutString(record.Time, "1795509001 0") },
		"after the sender": func(w *record.Writer) { w.PutString(record.Sender, "a@b"); w.Put(record.Milters, nil) },
	} {
		s, err := in.client.Open(context.Background(), ipc.MaskExternal|ipc.FlagSMTPReply)
		if err != nil {
			t.Fatal(err)
		}
		before(s.W)
		if err := s.PassMilters(milter.Handover{}, nil); err != ipc.ErrMiltersRefused {
			t.Errorf("%s: PassMilters: %v", name, err)
		}
		s.W.PutString(record.End, "")
		if status, _, err := s.Finish(context.Background()); status != ipc.StatusBad || err != nil {
			t.Errorf("%s: status %v, %v", name, status, err)
		}
	}
}
