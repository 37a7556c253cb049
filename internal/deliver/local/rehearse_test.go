package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// show writes steps as lines, indented.
func (s *Step) show(b *strings.Builder, indent, base string) {
	line := indent + string(s.Kind) + " " + s.Name
	if s.Forwarded {
		line += " new message from " + s.Sender
	}
	if c := s.Result.Status.Class(); c == '4' || c == '5' {
		line += " " + string(s.Result.Status)
	}
	b.WriteString(strings.ReplaceAll(strings.TrimRight(line+" "+s.Note, " "), base, "BASE") + "\n")
	for _, next := range s.Steps {
		next.show(b, indent+" ", base)
	}
}

func TestRehearse(t *testing.T) {
	tests := []struct{ name, extra, forward, rcpt, want string }{
		{"mailbox", "", "", "ann", "address ann@mx.example\n mailbox BASE/ann/Mail/\n"},
		{"unknown", "", "", "eve", "address eve@mx.example 5.1.1\n"},
		{"transport", "mailbox_transport = other:x", "", "ann", "address ann@mx.example\n transport other:x\n"},
		{"command", "mailbox_command = touch ran", "", "ann", "address ann@mx.example\n command touch ran\n"},
		{"luser", "luser_relay = $user+who@far.example", "", "eve", "address eve@mx.example\n luser_relay eve+who@far.example\n" +
			"  address eve+who@far.example new message from s@b.example\n"},
		{"forward", "", "\\ann, eve\n\"|touch ran\"\n~/file\n/BASE/dir/\n", "ann", "address ann@mx.example\n forward file BASE/ann/.forward\n" +
			"  address ann@mx.example\n   mailbox BASE/ann/Mail/\n  address eve@mx.example new message from s@b.example\n" +
			"  command touch ran\n  file BASE/ann/file\n  file /BASE/dir/\n"},
		{"list", "", ":include:relative", "ann", "address ann@mx.example\n forward file BASE/ann/.forward\n  included list relative 5.3.5\n"},
		{"restricted", "allow_mail_to_commands = alias", "|x", "ann", "address ann@mx.example\n forward file BASE/ann/.forward\n  command |x 5.7.1\n"},
		{"alias", "", "", "all", "address all@mx.example\n alias all\n  address bob@mx.example\n   mailbox BASE/bob/Mail/\n" +
			"  address loop@mx.example\n   alias loop\n    address all@mx.example\n     alias all\n      address bob@mx.example\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, "{all = bob, loop}, {loop = all}", tt.extra+"\n")
			if tt.forward != "" {
				f.write(".forward", tt.forward, 0o644)
			}
			var b strings.Builder
			f.Rehearse(context.Background(), Rehearsal{Sender: "s@b.example", Recipient: tt.rcpt + "@mx.example", MaxSteps: 1000}).
				show(&b, "", filepath.Dir(f.users.Passwd))
			if got := b.String(); got != tt.want && (tt.name != "alias" || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if f.forwarded != nil || f.passed != nil || f.files(f.home("Mail/new"))+f.files(f.home("file")) > 0 {
				t.Error("something was delivered")
			}
		})
	}
}

// A file that is not read is named with the reason; what is too long is cut off.
func TestRehearseBounds(t *testing.T) {
	f := start(t, "", "")
	f.write(".forward", strings.Repeat("x@far.example\n", 3), 0o666)
	ask := func(steps int) string {
		var b strings.Builder
		f.Rehearse(context.Background(), Rehearsal{Recipient: "ann@mx.example", MaxSteps: steps}).show(&b, "", filepath.Dir(f.users.Passwd))
		return b.String()
	}
	if got, want := ask(9), "address ann@mx.example\n forward file BASE/ann/.forward file BASE/ann/.forward is world writable\n mailbox BASE/ann/Mail/\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var long strings.Builder
	for i := range 100 {
		fmt.Fprintf(&long, "x%d@far.example\n", i)
	}
	f.write(".forward", long.String(), 0o644)
	if got := strings.Count(ask(9), "far.example"); got != 8 {
		t.Errorf("%d destinations", got)
	}
	if os.Geteuid() == 0 {
		f.write(".forward", "x", 0)
		if got := ask(9); !strings.Contains(got, "mailbox") {
			t.Errorf("got\n%s", got)
		}
	}
}
