package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// saslauthd knows joe at example.org with the password secret; other names say
// how it misbehaves.
func saslauthd(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mux")
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
			var f [4]string
			for i := range f {
				n := make([]byte, 2)
				io.ReadFull(c, n)
				text := make([]byte, int(n[0])<<8|int(n[1]))
				io.ReadFull(c, text)
				f[i] = string(text)
			}
			switch {
			case f == [4]string{"joe", "secret", "smtp", "example.org"}:
				io.WriteString(c, "\x00\x02OK")
			case f[0] == "babble":
				io.WriteString(c, "\x00\x05MAYBE")
			case f[0] == "huge":
				c.Write([]byte{0xff, 0xff, 'O', 'K'})
			case f[0] == "dies":
			case f[0] == "hangs":
				io.Copy(io.Discard, c)
			default:
				io.WriteString(c, "\x00\x02NO")
			}
			c.Close()
		}
	}()
	return path
}

func noDB(string) (PropertyLookup, error) { return nil, errors.New("no such file") }

func TestSaslauthd(t *testing.T) {
	dir := t.TempDir()
	path := saslauthd(t)
	os.WriteFile(filepath.Join(dir, "smtpd.conf"), []byte("# who\npwcheck_method: saslauthd\nmech_list: LOGIN plain DIGEST-MD5\nsaslauthd_path: "+path+"\n"), 0o644)
	c, err := LoadCyrusConfig("smtpd", dir, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewCyrus(c, "example.org", "mail.example.org", time.Second, noDB)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := s.Mechanisms(context.Background())
	if len(list) != 2 || list[0].Name != "LOGIN" || list[1].Name != "PLAIN" {
		t.Errorf("mechanisms %v", list)
	}
	for _, tt := range []struct {
		user, password string
		want           Outcome
		name           string
	}{
		{"joe", "secret", Success, "joe@example.org"},
		{"joe@example.org", "secret", Success, "joe@example.org"},
		{"joe@example.com", "secret", Failure, "joe@example.com"},
		{"joe", "wrong", Failure, "joe"},
		{"babble", "x", Temporary, ""},
		{"huge", "x", Temporary, ""},
		{"dies", "x", Temporary, ""},
		{"hangs", "x", Temporary, ""},
	} {
		got := converse(t, s, "PLAIN", "\x00"+tt.user+"\x00"+tt.password)
		if got.Outcome != tt.want || tt.want == Success && got.User != tt.name {
			t.Errorf("%s: got %+v, want %v", tt.user, got, tt.want)
		}
	}
}

func TestCyrusRefuses(t *testing.T) {
	for _, tt := range []struct{ conf, want string }{
		{"pwcheck_method: alwaystrue\n", "pwcheck_method alwaystrue is not supported"},
		{"pwcheck_method: auxprop\nauxprop_plugin: sql\n", "auxprop_plugin sql is not supported"},
		{"pwcheck_method: auxprop\n", "user database: no such file"},
		{"nonsense\n", "line 1: want \"word: value\""},
	} {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "smtpd.conf"), []byte(tt.conf), 0o644)
		c, err := LoadCyrusConfig("smtpd", dir, "")
		if err == nil {
			_, err = NewCyrus(c, "", "", time.Second, noDB)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Join(dir, "smtpd.conf")) {
			t.Errorf("%q: got %v, want %q", tt.conf, err, tt.want)
		}
	}
	if _, err := LoadCyrusConfig("../x", "", ""); err == nil {
		t.Error("a path is taken for a name")
	}
}

// With plain text passwords there are mechanisms that need them.
func TestUserDatabase(t *testing.T) {
	db := func(string) (PropertyLookup, error) {
		return func(_ context.Context, key string) (string, bool, error) {
			if key == "down\x00mail.example.org\x00userPassword" {
				return "", false, errors.New("no answer")
			}
			return "secret", key == "joe\x00mail.example.org\x00userPassword", nil
		}, nil
	}
	c, _ := LoadCyrusConfig("smtpd", t.TempDir(), "")
	s, err := NewCyrus(c, "", "mail.example.org", time.Second, db)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		user, password string
		want           Outcome
	}{{"joe", "secret", Success}, {"joe", "x", Failure}, {"ann", "secret", Failure}, {"down", "x", Temporary}} {
		if got := converse(t, s, "PLAIN", "\x00"+tt.user+"\x00"+tt.password); got.Outcome != tt.want {
			t.Errorf("PLAIN %s: got %+v, want %v", tt.user, got, tt.want)
		}
		if tt.want != Temporary {
			if got := scramLogin(t, s, schemeSCRAM1, scram.SHA1, tt.user, tt.password); got.Outcome != tt.want {
				t.Errorf("SCRAM %s: got %+v, want %v", tt.user, got, tt.want)
			}
		}
		ctx := context.Background()
		d, res, err := s.Start(ctx, "CRAM-MD5", Peer{}, "", false)
		if err != nil || res.Outcome != Continue {
			t.Fatalf("CRAM-MD5: %+v, %v", res, err)
		}
		text, _ := base64.StdEncoding.DecodeString(res.Text)
		m := hmac.New(md5.New, []byte(tt.password))
		m.Write(text)
		if res, _ = d.Next(ctx, b64(tt.user+" "+hex.EncodeToString(m.Sum(nil)))); res.Outcome != tt.want {
			t.Errorf("CRAM-MD5 %s: got %+v, want %v", tt.user, res, tt.want)
		}
	}
}

func FuzzSaslauthdAnswer(f *testing.F) {
	f.Add([]byte("\x00\x02OK"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readCounted(bytes.NewReader(b)); err == nil && len(s)+2 > len(b) {
			t.Fatal("more than was sent")
		}
	})
}
