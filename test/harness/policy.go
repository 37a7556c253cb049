package harness

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Policy is a server of Postfix's policy delegation protocol that answers as
// its script says and keeps what it was asked.
//
// The script has lines "name=value answer": the first whose attribute has that
// value, or "* answer", counts. An answer is an action, "DROP" to hang up, "HANG" to
// say nothing until the client hangs up, "LAST action" to hang up after it, "LONG N"
// for an action of N octets, or "RAW text" with \n escapes for something that is no reply.
type Policy struct {
	Port  int
	rules [][2]string

	mu     sync.Mutex
	asked  []string
	conns  []net.Conn
	served []int // requests of each connection
}

func (p *Policy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

// NewPolicy starts a policy server that lives as long as the test.
func NewPolicy(t testing.TB, script string) *Policy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Policy{Port: l.Addr().(*net.TCPAddr).Port}
	for _, line := range strings.Split(script, "\n") {
		if what, answer, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			p.rules = append(p.rules, [2]string{what, answer})
		}
	}
	var sessions sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		p.hangUp() // the mail system keeps its connections
		sessions.Wait()
	})
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			n := len(p.conns)
			p.conns = append(p.conns, c)
			p.served = append(p.served, 0)
			p.mu.Unlock()
			sessions.Go(func() {
				defer c.Close()
				p.serve(c, n)
			})
		}
	})
	return p
}

// Asked returns the requests, each with an empty line behind it.
func (p *Policy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// Served returns how many requests came over each connection, in the order of
// their beginning.
func (p *Policy) Served() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.served)
}

func (p *Policy) serve(c net.Conn, n int) {
	in := bufio.NewScanner(c)
	var request []string
	for {
		c.SetDeadline(time.Now().Add(Wait))
		if !in.Scan() {
			return
		}
		request = append(request, in.Text())
		if in.Text() != "" {
			continue
		}
		p.mu.Lock()
		p.asked = append(p.asked, request...)
		p.served[n]++
		p.mu.Unlock()
		answer := p.answer(request)
		request = nil
		switch answer {
		case "DROP":
			return
		case "HANG":
			continue
		}
		last := strings.HasPrefix(answer, "LAST ")
		answer = strings.TrimPrefix(answer, "LAST ")
		if size, ok := strings.CutPrefix(answer, "LONG "); ok {
			length, _ := strconv.Atoi(size)
			answer = strings.Repeat("x", length)
		}
		text := "action=" + answer + "\n\n"
		if raw, ok := strings.CutPrefix(answer, "RAW "); ok {
			text = strings.ReplaceAll(raw, `\n`, "\n")
		}
		if _, err := fmt.Fprint(c, text); err != nil || last {
			return
		}
	}
}

func (p *Policy) answer(request []string) string {
	for _, r := range p.rules {
		if r[0] == "*" || slices.Contains(request, r[0]) {
			return r[1]
		}
	}
	return "DUNNO"
}
