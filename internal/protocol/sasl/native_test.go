package sasl

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// converse runs a mechanism with the client's answers.
func converse(t *testing.T, s Service, mech string, answers ...string) Result {
	t.Helper()
	ctx := context.Background()
	initial, has := "", len(answers) > 0
	if has {
		initial, answers = b64(answers[0]), answers[1:]
	}
	d, res, err := s.Start(ctx, mech, Peer{Service: "smtp"}, initial, has)
	for _, a := range answers {
		if err != nil || res.Outcome != Continue {
			break
		}
		res, err = d.Next(ctx, b64(a))
	}
	if err != nil && res.Outcome != Temporary {
		t.Errorf("%s: %v", mech, err)
	}
	return res
}

// scramLogin is a client of SCRAM.
func scramLogin(t *testing.T, s Service, mech string, hash scram.HashGeneratorFcn, user, password string) Result {
	t.Helper()
	ctx := context.Background()
	client, err := hash.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversation()
	first, _ := conv.Step("")
	d, res, err := s.Start(ctx, mech, Peer{}, b64(first), true)
	for err == nil && res.Outcome == Continue {
		text, _ := base64.StdEncoding.DecodeString(res.Text)
		answer, cerr := conv.Step(string(text))
		if cerr != nil {
			t.Errorf("%s: client: %v", mech, cerr)
			return res
		}
		res, err = d.Next(ctx, b64(answer))
	}
	if err != nil {
		t.Errorf("%s: %v", mech, err)
	}
	return res
}

func userFile(t *testing.T, lines ...string) (*UserFile, string, *[]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	var said []string
	f, err := OpenUserFile(path, UserFileLog{Warn: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }})
	if err != nil {
		t.Fatal(err)
	}
	return f, path, &said
}

func secretOf(t *testing.T, scheme, password string) string {
	t.Helper()
	s, err := NewSecret(scheme, password)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNative(t *testing.T) {
	f, path, said := userFile(t, "# users", "joe:"+secretOf(t, schemeSCRAM256, "secret")+":1000:1000::/home/joe",
		"ann@example.com:"+secretOf(t, schemeSSHA, "geheim"), "broken:{PLAIN}x", "")
	if len(*said) != 1 || !strings.Contains((*said)[0], "line 4: user broken: {PLAIN} is not supported") {
		t.Errorf("said %q", *said)
	}
	n, err := NewNative(f, "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	bad := Result{Outcome: Failure, Text: reasonFailed}
	as := func(r Result, user string) Result { r.User = user; return r }
	for _, tt := range []struct {
		mech    string
		answers []string
		want    Result
	}{
		{"PLAIN", []string{"\x00joe\x00secret"}, Result{Outcome: Success, User: "joe"}},
		{"PLAIN", []string{"joe\x00joe\x00secret"}, Result{Outcome: Success, User: "joe"}},
		{"PLAIN", []string{"ann\x00joe\x00secret"}, failed("not authorized to act as another user")},
		{"PLAIN", []string{"\x00joe\x00Secret"}, as(bad, "joe")},
		{"PLAIN", []string{"\x00nobody\x00secret"}, as(bad, "nobody")},
		{"PLAIN", []string{"\x00joe\x00"}, failed("malformed PLAIN message")},
		{"PLAIN", []string{"joe"}, failed("malformed PLAIN message")},
		{"PLAIN", []string{"\x00joe\x00secret\x00"}, failed("malformed PLAIN message")},
		{"PLAIN", []string{"\x00joe\x00" + strings.Repeat("x", 5000)}, as(bad, "joe")},
		{"LOGIN", []string{"ann@example.com", "geheim"}, Result{Outcome: Success, User: "ann@example.com"}},
		{"LOGIN", []string{"ann@example.com", ""}, as(bad, "ann@example.com")},
		{"LOGIN", []string{"a\r\nb", "x"}, as(bad, "a??b")},
		{schemeSCRAM256, []string{"n,,n=joe"}, failed("malformed SCRAM message")},
		{schemeSCRAM256, []string{""}, failed("malformed SCRAM message")},
		{"EXTERNAL", []string{"joe"}, failed("Invalid authentication mechanism")},
	} {
		if got := converse(t, n, tt.mech, tt.answers...); got != tt.want {
			t.Errorf("%s %q: got %+v, want %+v", tt.mech, tt.answers, got, tt.want)
		}
	}
	for _, tt := range []struct {
		user, password string
		want           Result
	}{
		{"joe", "secret", Result{Outcome: Success, User: "joe"}},
		{"joe", "wrong", as(bad, "joe")},
		{"nobody", "secret", as(bad, "nobody")},
		{"ann@example.com", "geheim", as(bad, "ann@example.com")}, // has no secret for SCRAM
	} {
		if got := scramLogin(t, n, schemeSCRAM256, scram.SHA256, tt.user, tt.password); got != tt.want {
			t.Errorf("SCRAM %s: got %+v, want %+v", tt.user, got, tt.want)
		}
	}
	names := func() (list []string) {
		all, _ := n.Mechanisms(context.Background())
		for _, m := range all {
			list = append(list, m.Name)
		}
		return list
	}
	if got := strings.Join(names(), " "); got != "PLAIN LOGIN SCRAM-SHA-256" {
		t.Errorf("mechanisms: %s", got)
	}

	// The file is read again when it has changed; what cannot be read leaves
	// the users as they were.
	f.checked = time.Time{}
	os.WriteFile(path, []byte("tim:"+secretOf(t, schemeSSHA, "neu")+"\n"), 0o640)
	if got := converse(t, n, "PLAIN", "\x00tim\x00neu"); got.Outcome != Success {
		t.Errorf("a new user: %+v", got)
	}
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got.Outcome != Failure {
		t.Errorf("a user who is gone: %+v", got)
	}
	f.checked = time.Time{}
	os.WriteFile(path, []byte("a b:c\ntim:"+secretOf(t, schemeSSHA, "neu")+"\n"), 0o640)
	if got := converse(t, n, "PLAIN", "\x00tim\x00neu"); got.Outcome != Success || len(*said) != 2 {
		t.Errorf("after a broken line: %+v, said %q", got, *said)
	}
	f.checked = time.Time{}
	os.WriteFile(path, []byte(strings.Repeat("x", 2*maxUserLine)), 0o640)
	if got := converse(t, n, "PLAIN", "\x00tim\x00neu"); got.Outcome != Success || len(*said) != 3 {
		t.Errorf("after a broken file: %+v, said %q", got, *said)
	}
}

// A file that is not there yet is a temporary failure.
func TestMissingUserFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	f, err := OpenUserFile(path, UserFileLog{Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := NewNative(f, "", time.Second)
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got.Outcome != Temporary {
		t.Errorf("got %+v", got)
	}
	os.WriteFile(path, []byte("joe:"+secretOf(t, schemeSSHA, "secret")+"\n"), 0o640)
	f.checked = time.Time{}
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got.Outcome != Success {
		t.Errorf("got %+v", got)
	}
}

// A realm completes names; what is asked for at once is bounded.
func TestNativeRealm(t *testing.T) {
	f, _, _ := userFile(t, "joe@example.org:"+secretOf(t, schemeSSHA, "secret"))
	n, _ := NewNative(f, "example.org", 100*time.Millisecond)
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got != (Result{Outcome: Success, User: "joe@example.org"}) {
		t.Errorf("got %+v", got)
	}
	for range cap(n.slots) {
		n.slots <- struct{}{}
	}
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got.Outcome != Temporary {
		t.Errorf("busy: got %+v", got)
	}
}

// A user who does not exist has a secret looked at that costs as much.
func TestDecoys(t *testing.T) {
	f, _, _ := userFile(t, "joe:"+secretOf(t, schemeSSHA, "secret"), "ann:"+secretOf(t, schemeSCRAM256, "secret"))
	seen := map[string]bool{}
	for i := range 100 {
		name := fmt.Sprint("nobody", i)
		d := f.Decoy(name)
		if d == nil || fmt.Sprintf("%T", d) != fmt.Sprintf("%T", f.Decoy(name)) {
			t.Fatalf("%s: the decoys differ", name)
		}
		seen[fmt.Sprintf("%T", d)] = true
	}
	if len(seen) != 2 {
		t.Errorf("kinds of decoys: %v", seen)
	}
}

type badTable struct{ value string }

func (b badTable) Lookup(context.Context, string) (string, bool, error) {
	if b.value == "" {
		return "", false, errors.New("no answer")
	}
	return b.value, true, nil
}
func (badTable) Close() error { return nil }

func TestUserTable(t *testing.T) {
	n, _ := NewNative(&UserTable{Name: "hash:x", Table: badTable{}}, "", time.Second)
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got.Outcome != Temporary {
		t.Errorf("got %+v", got)
	}
	n, _ = NewNative(&UserTable{Name: "hash:x", Table: badTable{secretOf(t, schemeSSHA, "secret") + ":more"}}, "", time.Second)
	if got := converse(t, n, "PLAIN", "\x00joe\x00secret"); got.Outcome != Success {
		t.Errorf("got %+v", got)
	}
}

func FuzzReadUsers(f *testing.F) {
	f.Add("joe:{SSHA}x\n# c\n\nann:y:z")
	f.Add("a b")
	f.Fuzz(func(t *testing.T, text string) {
		ReadUsers(strings.NewReader(text), func(_ int, user, _, _ string, _ error) error {
			if user != "" && ValidUser(user) != nil {
				t.Fatalf("user %q", user)
			}
			return nil
		})
	})
}

func FuzzSCRAM(f *testing.F) {
	f.Add("n,,n=joe,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("y,a=x,n=joe,r=abc", "")
	f.Add("p=tls-unique,,n=joe,r=abc", "v")
	find := func(_ context.Context, user string) (string, scram.StoredCredentials, bool, error) {
		return user, madeUp([]byte("key"), scram.SHA256, user, 10), true, nil
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		ctx := context.Background()
		d, res, err := startSCRAM(ctx, scram.SHA256, find, b64(first), true)
		for _, a := range []string{second, ""} {
			if err != nil || res.Outcome != Continue {
				return
			}
			res, err = d.Next(ctx, b64(a))
		}
		if res.Outcome == Success {
			t.Fatal("a client without the password got in")
		}
	})
}
