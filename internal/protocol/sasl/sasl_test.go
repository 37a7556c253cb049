package sasl

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve is an auth service that knows joe with the password secret; LOGIN asks
// for both.
func serve(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c)
		}
	}()
	return path
}

func talk(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tANONYMOUS\tanonymous\nMECH\tEXTERNAL\tprivate\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n")
	r := bufio.NewReader(c)
	user := map[string]string{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch f[0] {
		case "AUTH":
			resp := strings.TrimPrefix(f[len(f)-1], "resp=")
			text, _ := base64.StdEncoding.DecodeString(resp)
			switch {
			case f[2] == "LOGIN":
				fmt.Fprintf(c, "CONT\t%s\tVXNlcm5hbWU6\n", f[1])
			case string(text) == "\x00joe\x00secret" && strings.Contains(line, "\tsecured"):
				fmt.Fprintf(c, "OK\t%s\tuser=joe\n", f[1])
			case string(text) == "\x00tmp\x00":
				fmt.Fprintf(c, "FAIL\t%s\tuser=tmp\ttemp\n", f[1])
			default:
				fmt.Fprintf(c, "FAIL\t%s\tuser=joe\treason=bad password\n", f[1])
			}
		case "CONT":
			if user[f[1]] == "" {
				user[f[1]] = f[2]
				fmt.Fprintf(c, "CONT\t%s\tUGFzc3dvcmQ6\n", f[1])
			} else {
				fmt.Fprintf(c, "OK\t%s\tuser=joe\n", f[1])
			}
		}
	}
}

func TestDovecot(t *testing.T) {
	d := NewDovecot(serve(t), time.Minute)
	defer d.Close()
	ctx := context.Background()
	mechs, err := d.Mechanisms(ctx)
	if err != nil || len(mechs) != 4 {
		t.Fatalf("mechanisms %v, %v", mechs, err)
	}
	o, _ := ParseOptions([]string{"noanonymous"})
	var names []string
	for _, m := range mechs {
		if o.Allows(m) {
			names = append(names, m.Name)
		}
	}
	if got := strings.Join(names, " "); got != "PLAIN LOGIN" {
		t.Errorf("allowed: %s", got)
	}
	plain := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	peer := Peer{Service: "smtp", Secured: true}
	for _, tt := range []struct {
		initial string
		want    Result
	}{
		{plain("\x00joe\x00secret"), Result{Outcome: Success, User: "joe"}},
		{plain("\x00joe\x00wrong"), Result{Outcome: Failure, Text: "bad password", User: "joe"}},
		{plain("\x00tmp\x00"), Result{Outcome: Temporary, User: "tmp"}},
	} {
		_, res, err := d.Start(ctx, "PLAIN", peer, tt.initial, true)
		if err != nil || res != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.initial, res, err, tt.want)
		}
	}
	g, res, err := d.Start(ctx, "LOGIN", peer, "", false)
	if err != nil || res.Outcome != Continue || res.Text != "VXNlcm5hbWU6" {
		t.Fatalf("LOGIN: %+v, %v", res, err)
	}
	if res, err = g.Next(ctx, plain("joe")); err != nil || res.Outcome != Continue {
		t.Fatalf("LOGIN user: %+v, %v", res, err)
	}
	if res, err = g.Next(ctx, plain("secret")); err != nil || res.User != "joe" {
		t.Fatalf("LOGIN password: %+v, %v", res, err)
	}
	if _, err := NewDovecot("/nonexistent", time.Second).Mechanisms(ctx); err == nil {
		t.Error("no error without a service")
	}
}

// A service that misbehaves costs a temporary failure.
func TestDovecotMisbehaves(t *testing.T) {
	const hello = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n"
	for _, tt := range []struct {
		name, hello, answer, want string
	}{
		{"dies at once", "", "", "EOF"},
		{"dies in the handshake", "VERSION\t1\t2\n", "", "EOF"},
		{"speaks another version", "VERSION\t2\t0\nDONE\n", "", "unsupported protocol version"},
		{"has mechanisms with odd names", "VERSION\t1\t2\nMECH\tPL\x01nAIN\nDONE\n", "", "malformed name"},
		{"has too many mechanisms", "VERSION\t1\t2\n" + strings.Repeat("MECH\tX\n", 101) + "DONE\n", "", "malformed list"},
		{"sends a line without end", "VERSION\t1\t2\n" + strings.Repeat("x", 2*maxLine), "", "buffer full"},
		{"dies at the question", hello, "", "EOF"},
		{"hangs", hello, "hang", "timeout"},
		{"answers another question", hello, "OK\t77\tuser=root\n", "timeout"},
		{"names no user", hello, "OK\t1\n", "success without a user"},
		{"challenges with a line end", hello, "CONT\t1\tx\x01r\x01n235 in\n", "not base64"},
	} {
		path := filepath.Join(t.TempDir(), "auth")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprint(c, tt.hello)
			r := bufio.NewReader(c)
			for tt.answer != "" {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "AUTH") && tt.answer != "hang" {
					fmt.Fprint(c, tt.answer)
				}
			}
		}()
		d := NewDovecot("unix:"+path, time.Second)
		_, _, err = d.Start(context.Background(), "PLAIN", Peer{Service: "smtp"}, "AGpvZQBzZWNyZXQ=", true)
		if err == nil || !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("a service that %s: got %v, want %q", tt.name, err, tt.want)
		}
		l.Close()
		d.Close()
	}
}

// A service that was started anew is found again, and its mechanisms with it.
func TestDovecotRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth")
	d := NewDovecot(path, time.Minute)
	defer d.Close()
	for range 2 {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			c, err := l.Accept()
			if err == nil {
				go func() {
					talk(c)
					close(done)
				}()
			}
		}()
		_, res, err := d.Start(context.Background(), "PLAIN", Peer{Service: "smtp", Secured: true}, "AGpvZQBzZWNyZXQ=", true)
		if err != nil || res.User != "joe" {
			t.Errorf("got %+v, %v", res, err)
		}
		l.Close()
		for _, c := range d.idle {
			c.Conn.(*net.UnixConn).CloseWrite() // the service sees the end and goes
		}
		<-done
	}
}

// A failure of OAUTHBEARER or XOAUTH2 comes as a challenge, which the client
// answers with nothing (RFC 7628 3.2.3).
func TestDovecotOAuth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "VERSION\t1\t2\nMECH\tOAUTHBEARER\tplaintext\nMECH\tXOAUTH2\tplaintext\nSPID\t1\nCUID\t2\nCOOKIE\tab\nDONE\n")
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			switch {
			case f[0] == "AUTH" && strings.HasSuffix(line, "resp="+base64.StdEncoding.EncodeToString([]byte("good"))+"\n"):
				fmt.Fprintf(c, "OK\t%s\tuser=joe\ttoken=x\n", f[1])
			case f[0] == "AUTH":
				fmt.Fprintf(c, "CONT\t%s\t%s\n", f[1], base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token"}`)))
			case f[0] == "CONT" && f[2] == "":
				fmt.Fprintf(c, "FAIL\t%s\tuser=joe\n", f[1])
			}
		}
	}()
	d := NewDovecot(path, time.Minute)
	defer d.Close()
	ctx := context.Background()
	for _, mech := range []string{"OAUTHBEARER", "XOAUTH2"} {
		if _, res, err := d.Start(ctx, mech, Peer{Service: "smtp"}, base64.StdEncoding.EncodeToString([]byte("good")), true); err != nil || res.User != "joe" {
			t.Errorf("%s: got %+v, %v", mech, res, err)
		}
		g, res, err := d.Start(ctx, mech, Peer{Service: "smtp"}, base64.StdEncoding.EncodeToString([]byte("bad")), true)
		if err != nil || res.Outcome != Continue {
			t.Fatalf("%s: got %+v, %v", mech, res, err)
		}
		if res, err = g.Next(ctx, ""); err != nil || res.Outcome != Failure || res.User != "joe" {
			t.Errorf("%s: got %+v, %v", mech, res, err)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, s := range []string{"", "a\tb", "\x01t", "x\r\n\x00y\x01"} {
		e := escape(s)
		if strings.ContainsAny(e, "\t\r\n\x00") || unescape(e) != s {
			t.Errorf("%q becomes %q and %q", s, e, unescape(e))
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add("OK\t1\tuser=x\nFAIL\t1\treason=\x01t\n")
	f.Add("MECH\tPLAIN\nDONE\n")
	f.Fuzz(func(t *testing.T, s string) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			there.Write([]byte(s))
			there.Close()
		}()
		c := &conn{Conn: here, r: bufio.NewReaderSize(here, maxLine), next: 1}
		for {
			fields, err := c.fields()
			if err != nil {
				return
			}
			if len(fields) == 0 {
				t.Fatal("a line without fields")
			}
			if r := failure(fields); r.Text != printable(r.Text) {
				t.Fatalf("reason %q", r.Text)
			}
			mechanism(fields[0], fields)
		}
	})
}
