package harness

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

// authGreeting is how a Dovecot authentication server introduces itself.
const authGreeting = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\n" +
	"COOKIE\t000102030405060708090a0b0c0d0e0f\nDONE\n"

// NewAuth starts an authentication server that speaks Dovecot's protocol on the
// socket private/auth of the instance. Users are lines "name password"; PLAIN
// and LOGIN are what it knows.
func NewAuth(t testing.TB, i *Instance, users string) {
	t.Helper()
	passwords := map[string]string{}
	for line := range strings.Lines(users) {
		if name, password, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			passwords[name] = password
		}
	}
	path := i.Host("queue/private/auth")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			serving.Go(func() { authenticate(c, passwords) })
		}
	})
}

// authenticate serves one client.
func authenticate(c net.Conn, passwords map[string]string) {
	defer c.Close()
	fmt.Fprint(c, authGreeting)
	logins := map[string]*login{}
	for r := bufio.NewScanner(c); r.Scan(); {
		f := strings.Split(r.Text(), "\t")
		if len(f) < 3 || f[0] != "AUTH" && f[0] != "CONT" {
			continue
		}
		id, response, given := f[1], f[2], f[0] == "CONT"
		if f[0] == "AUTH" {
			logins[id] = &login{mechanism: f[2]}
			_, response, given = strings.Cut(r.Text(), "\tresp=")
		}
		l := logins[id]
		if l == nil {
			return
		}
		if challenge := l.step(response, given); challenge != "" {
			fmt.Fprintf(c, "CONT\t%s\t%s\n", id, base64.StdEncoding.EncodeToString([]byte(challenge)))
			continue
		}
		if password, known := passwords[l.user]; known && password == l.password {
			fmt.Fprintf(c, "OK\t%s\tuser=%s\n", id, l.user)
		} else {
			fmt.Fprintf(c, "FAIL\t%s\tuser=%s\n", id, l.user)
		}
		delete(logins, id)
	}
}

// A login is one exchange.
type login struct {
	mechanism, user, password string
}

// step takes a response, in base64, and returns the next challenge, "" at the end.
func (l *login) step(response string, given bool) string {
	text, _ := base64.StdEncoding.DecodeString(response)
	switch {
	case l.mechanism == "LOGIN" && !given:
		return "Username:"
	case l.mechanism == "LOGIN" && l.user == "":
		l.user = string(text)
		return "Password:"
	case l.mechanism == "LOGIN":
		l.password = string(text)
	case !given:
		return " " // PLAIN: an empty challenge, which has to be something here
	default:
		if f := strings.Split(string(text), "\x00"); len(f) == 3 {
			l.user, l.password = f[1], f[2]
		}
	}
	return ""
}
