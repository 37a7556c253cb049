package smtpd

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/cleanup"
)

// REQUIRETLS is offered within TLS only, and not where it is turned off.
func TestRequireTLS(t *testing.T) {
	const config = "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "
	const silent = "smtpd_discard_ehlo_keywords = REQUIRETLS silent-discard\n"
	tests := []struct {
		name, config string
		tls          bool
		offered      bool
		reply        string
	}{
		{"within TLS", "", true, true, "250 2.1.0 Ok"},
		{"in plain text", "", false, false, "530 5.7.10 REQUIRETLS is for TLS sessions: issue a STARTTLS command first"},
		{"turned off", "requiretls_enable = no\n", true, false, "555 5.5.4 Unsupported option: REQUIRETLS"},
		{"turned off in plain text", "requiretls_enable = no\n", false, false, "555 5.5.4 Unsupported option: REQUIRETLS"},
		{"discarded", silent, true, false, "555 5.5.4 Unsupported option: REQUIRETLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, config+keyFile(t)+"\n"+tt.config)
			c := b.dial(t)
			c.reply()
			say := func(line string) string {
				io.WriteString(c, line+"\r\n")
				return c.reply()
			}
			if tt.tls {
				say("EHLO client.example")
				say("STARTTLS")
				if err := c.secure(); err != nil {
					t.Fatal(err)
				}
			}
			if got := say("EHLO client.example"); strings.Contains(got, "REQUIRETLS") != tt.offered {
				t.Errorf("EHLO: %s", got)
			}
			if got := say("MAIL FROM:<a@client.example> REQUIRETLS=x"); !strings.HasPrefix(got, "555") {
				t.Errorf("with a value: %s", got)
			}
			if got := say("MAIL FROM:<a@client.example> BODY=7BIT requiretls"); !strings.EqualFold(got, tt.reply) {
				t.Errorf("got %q, want %q", got, tt.reply)
			}
		})
	}
}

// The wish goes to cleanup as a flag, and ends with the transaction.
func TestRequireTLSFlag(t *testing.T) {
	b := newBench(t, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+keyFile(t)+"\n")
	flags := make(chan cleanup.Flags, 2)
	b.queue.flags = flags
	c := b.dial(t)
	c.reply()
	for _, line := range []string{"EHLO client.example", "STARTTLS", "TLS", "EHLO client.example",
		"MAIL FROM:<a@client.example> REQUIRETLS", "RCPT TO:<u@local.example>", "RSET", "MAIL FROM:<a@client.example>", "RCPT TO:<u@local.example>"} {
		if line == "TLS" {
			if err := c.secure(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		io.WriteString(c, line+"\r\n")
		if got := c.reply(); got[0] != '2' {
			t.Fatalf("%s: %s", line, got)
		}
	}
	if first, second := <-flags, <-flags; first&cleanup.FlagRequireTLS == 0 || second&cleanup.FlagRequireTLS != 0 {
		t.Errorf("got flags %d, then %d", first, second)
	}
}

// A before-queue filter gets the wish as a header field in place of a parameter
// that it need not know, or the parameter where the field is turned off.
func TestRequireTLSFilter(t *testing.T) {
	for _, tt := range []struct{ field, mail, first string }{
		{"yes", "MAIL FROM:<a b@client.example> SIZE=10", "Require-TLS-ESMTP: yes"},
		{"no", "MAIL FROM:<a b@client.example> SIZE=10 REQUIRETLS", "Received: from client.example (unknown [127.0.0.1])"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		seen := make(chan string, 100)
		go filterOf(l, seen)
		b := newBench(t, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+keyFile(t)+"\nsmtpd_proxy_filter = "+l.Addr().String()+"\nrequiretls_esmtp_header = "+tt.field+"\n")
		c := b.dial(t)
		c.reply()
		for _, line := range []string{"EHLO client.example", "STARTTLS", "TLS", "EHLO client.example",
			`MAIL FROM:<"a b"@client.example> SIZE=10 REQUIRETLS`, "RCPT TO:<u@local.example>", "DATA", "x\r\n."} {
			if line == "TLS" {
				if err := c.secure(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			io.WriteString(c, line+"\r\n")
			if got := c.reply(); got[0] != '2' && got[0] != '3' {
				t.Fatalf("%s: %s", line, got)
			}
		}
		mail, first := <-seen, <-seen
		if mail = strings.ReplaceAll(mail, `"`, ""); mail != tt.mail || first != tt.first {
			t.Errorf("got %q and %q, want %q and %q", mail, first, tt.mail, tt.first)
		}
	}
}

// filterOf is a filter that takes one message and tells MAIL and the first line.
func filterOf(l net.Listener, seen chan<- string) {
	nc, err := l.Accept()
	if err != nil {
		return
	}
	c := attr.NewConn(nc, time.Minute)
	defer c.Close()
	fmt.Fprint(nc, "220 filter\r\n")
	content, first := false, false
	for {
		line, err := c.R.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		switch {
		case content && line == ".":
			content = false
		case content:
			if first {
				seen <- line
			}
			first = false
			continue
		case strings.HasPrefix(line, "MAIL"):
			seen <- line
		case line == "DATA":
			content, first = true, true
			fmt.Fprint(nc, "354 go\r\n")
			continue
		}
		fmt.Fprint(nc, "250 ok\r\n")
	}
}
