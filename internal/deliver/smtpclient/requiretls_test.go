package smtpclient

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/base/sys/systest"
	"postern/internal/ipc/delivery"
)

const (
	plainMail  = "MAIL FROM:<a@a.example>"
	strictMail = "MAIL FROM:<a@a.example> REQUIRETLS"
)

// takes is a transaction that begins with a certain MAIL command.
func takes(mail string) string { return strings.Replace(take, "C: *", "C: "+mail, 1) }

// overTLS is a greeting, STARTTLS, and the keywords that are offered then.
func overTLS(keywords ...string) string {
	_, text, _ := strings.Cut(offers(keywords...), "\n")
	return beforeTLS + "T:\n" + text
}

var beforeTLS = startTLS[:strings.Index(startTLS, "T:")]

// certified is the name in the certificate of the server.
const certified = "mx.test.example"

func TestRequireTLS(t *testing.T) {
	dir := t.TempDir()
	cert := certificate(t, filepath.Join(dir, "cert"), certified)
	const name, relay = "127.0.0.1[127.0.0.1]", "ID: to=<b@b.example>, relay=127.0.0.1[127.0.0.1]:PORT1, delay=N, "
	const none = "ID: to=<b@b.example>, relay=none, delay=N, "
	const ok = ", dsn=2.0.0, status=sent (250 2.0.0 Ok)"
	failure := func(dsn, text string) string {
		return ", dsn=" + dsn + ", status=bounced (REQUIRETLS Failure: the sender requires TLS, but " + text + ")"
	}
	const enforce, relaxed, opportunistic = "smtp_requiretls_policy = enforce\n", "smtp_requiretls_policy = opportunistic+starttls\n", "smtp_requiretls_policy = opportunistic\n"
	verify := "smtp_tls_policy_maps = static:{verify match=" + certified + "}\nsmtp_tls_CAfile = " + filepath.Join(dir, "cert") + "\n"
	const may = "smtp_tls_security_level = may\n"
	const quit = "C: QUIT"
	const slow = "C: " + plainMail + "\nS: 250 ok\nC: *\nS: 250 ok\nC: DATA\nS: 354 go\nD:\nS: 250 2.0.0 Ok\nC: QUIT"
	refuses := strings.Replace(beforeTLS, "220 2.0.0 go", "454 4.7.0 no", 1)
	tests := []struct {
		name, config, script, want string
	}{
		{"enforced", enforce + verify, overTLS("REQUIRETLS") + takes(strictMail), relay + "tls=verify/requiretls" + ok},
		{"enforced by default", "smtp_requiretls_policy =\n" + verify, overTLS("REQUIRETLS") + takes(strictMail), relay + "tls=verify/requiretls" + ok},
		{"enforced, not offered", enforce + verify, overTLS() + quit,
			relay + "tls=verify/!requiretls:none" + failure("5.7.30", "REQUIRETLS was not offered by host "+name)},
		{"enforced, offer discarded", enforce + verify + "smtp_discard_ehlo_keywords = requiretls, silent-discard\n", overTLS("REQUIRETLS") + quit,
			relay + "tls=verify/!requiretls:none" + failure("5.7.30", "REQUIRETLS was not offered by host "+name)},
		{"enforced, no certificate wanted", enforce + may, "-",
			none + "tls=may?/!requiretls:nocertmatch" + failure("5.7.10", "the TLS security level \"may\" does not match the certificate of host 127.0.0.1")},
		{"enforced, no TLS", enforce, "-",
			none + "tls=none/!requiretls:noencryption" + failure("5.7.10", "TLS is turned off for host 127.0.0.1")},
		{"enforced, certificate not trusted", enforce + strings.Replace(verify, "smtp_tls_CAfile", "#", 1), beforeTLS + "T:\n" + quit,
			relay + "tls=!verify/!requiretls:nocertmatch" + failure("5.7.10", "host "+name+" has no trusted certificate")},
		{"enforced, STARTTLS not offered", enforce + verify, offers("REQUIRETLS") + quit,
			relay + "tls=!verify:none/!requiretls:nostarttls" + failure("5.7.30", "TLS was not offered by host "+name)},
		{"relaxed, TLS", relaxed + may, overTLS() + takes(plainMail), relay + "tls=may/requiretls:none" + ok},
		{"relaxed, REQUIRETLS", relaxed + may, overTLS("REQUIRETLS") + takes(strictMail), relay + "tls=may/requiretls:nocertmatch" + ok},
		{"relaxed, STARTTLS not offered", relaxed + may, offers("REQUIRETLS") + quit,
			relay + "tls=may?/!requiretls:nostarttls" + failure("5.7.30", "TLS was not offered by host "+name)},
		{"relaxed, STARTTLS refused", relaxed + may, refuses + quit,
			relay + "tls=may?/!requiretls:nostarttls" + failure("5.7.10", "host "+name+" refused to start TLS: 454 4.7.0 no")},
		{"relaxed, no TLS", relaxed, "-",
			none + "tls=none/!requiretls:noencryption" + failure("5.7.10", "TLS is turned off for host 127.0.0.1")},
		{"opportunistic, no STARTTLS", opportunistic + may, offers("REQUIRETLS") + takes(plainMail), relay + "tls=may:none/requiretls:none" + ok},
		{"opportunistic, STARTTLS refused", opportunistic + may, refuses + slow, relay + "tls=may:none/requiretls:none" + ok},
		{"opportunistic, REQUIRETLS", opportunistic + may, overTLS("REQUIRETLS") + takes(strictMail), relay + "tls=may/requiretls:nocertmatch" + ok},
		{"opportunistic, certificate not trusted", opportunistic + strings.Replace(verify, "smtp_tls_CAfile", "#", 1), beforeTLS + "T:\n" + quit,
			relay + "tls=!verify/requiretls:nocertmatch, dsn=4.7.5, status=deferred (Server certificate not verified)"},
		{"disabled", "smtp_requiretls_policy = disable\n" + may, overTLS("REQUIRETLS") + takes(plainMail), relay + "tls=may" + ok},
		{"turned off", "requiretls_enable = no\n" + enforce + may, overTLS("REQUIRETLS") + takes(plainMail), relay + "tls=may" + ok},
		{"numerical address", may, overTLS() + takes(plainMail), relay + "tls=may/requiretls:none" + ok},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := deliverTLS(t, cert, tt.config, func(r *delivery.Request) {
				r.SendOpts = delivery.SendRequireTLS | delivery.SendTLSNotReq // the first counts
			}, tt.script)
			if len(got) == 0 || got[len(got)-1] != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// TestRequireTLSNoRetry keeps mail that has waited from going without TLS when
// the handshake fails.
func TestRequireTLSNoRetry(t *testing.T) {
	const config = "smtp_tls_security_level = may\nsmtp_requiretls_policy = "
	change := func(r *delivery.Request) {
		r.Times.Arrival = r.Times.ActiveArrival.Add(-time.Hour)
		r.SendOpts = delivery.SendRequireTLS
	}
	fails := beforeTLS + "B:\nS: garbage\nX:"
	got := deliverTLS(t, tls.Certificate{}, config+"opportunistic+starttls", change, fails)
	if last := got[len(got)-1]; !strings.Contains(last, "tls=may?/requiretls?, dsn=4.7.5, status=deferred (Cannot start TLS: handshake failure)") {
		t.Errorf("got %s", last)
	}
	got = deliverTLS(t, tls.Certificate{}, config+"opportunistic", change, fails, offers()+takes(plainMail))
	if last := got[len(got)-1]; !strings.Contains(last, "tls=none/requiretls:none, dsn=2.0.0, status=sent") {
		t.Errorf("got %s", last)
	}
}

// TestRequireTLSPlaces passes over servers that do not do, and takes the fallback
// relay that does.
func TestRequireTLSPlaces(t *testing.T) {
	cert := certificate(t, filepath.Join(t.TempDir(), "cert"), certified)
	secure := func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}) }
	plain, relay := serve(t, offers()+"C: QUIT"), serve(t, overTLS("REQUIRETLS")+takes(strictMail))
	relay.tls = secure
	c, in := start(t, SMTP, "smtp_tls_security_level = may\nsmtp_requiretls_policy = opportunistic+starttls\nsmtp_fallback_relay = [127.0.0.1]:"+relay.port)
	req := in.Message(t, "a@a.example", message1, "b@b.example")
	req.Nexthop, req.SendOpts = "[127.0.0.1]:"+plain.port, delivery.SendRequireTLS
	c.kit.Do(t.Context(), req, c.Deliver)
	wantLines(t, lines(in, req, plain.port, relay.port),
		"ID: REQUIRETLS Failure: the sender requires TLS, but TLS was not offered by host 127.0.0.1[127.0.0.1]",
		"ID: to=<b@b.example>, relay=127.0.0.1[127.0.0.1]:PORT2, delay=N, tls=may/requiretls:nocertmatch, dsn=2.0.0, status=sent (250 2.0.0 Ok)")
}

// TestRequireTLSLater defers when the place that may do is down and the other one
// does not do.
func TestRequireTLSLater(t *testing.T) {
	down := strconv.Itoa(systest.RefusedPort(t))
	plain := serve(t, offers()+"C: QUIT")
	for _, last := range []struct{ level, host, want string }{
		{"may", plain.port, "dsn=4.7.30, status=deferred (REQUIRETLS Failure: the sender requires TLS, but TLS was not offered"},
		{"none", "1", "dsn=5.7.10, status=bounced (REQUIRETLS Failure: the sender requires TLS, but TLS is turned off"},
	} {
		c, in := start(t, SMTP, "smtp_tls_security_level = "+last.level+"\nsmtp_requiretls_policy = opportunistic+starttls\nsmtp_fallback_relay = [127.0.0.1]:"+last.host)
		req := in.Message(t, "a@a.example", message1, "b@b.example")
		req.Nexthop, req.SendOpts = "[127.0.0.1]:"+down, delivery.SendRequireTLS
		c.kit.Do(t.Context(), req, c.Deliver)
		got := lines(in, req)
		if got := got[len(got)-1]; !strings.Contains(got, last.want) {
			t.Errorf("%s: got %q, want %s", last.level, got, last.want)
		}
	}
}

// TestRequireTLSRelays has relays that cannot do it: the mail goes back and does
// not wait as for a mistake of the configuration.
func TestRequireTLSRelays(t *testing.T) {
	for _, config := range []string{"relayhost = [127.0.0.1]:1\n", "smtp_fallback_relay = [127.0.0.1]:1\n"} {
		c, in := start(t, SMTP, config+"smtp_requiretls_policy = enforce")
		req := in.Message(t, "a@a.example", message1, "b@b.example")
		req.Nexthop, req.SendOpts = "[127.0.0.1]:1", delivery.SendRequireTLS
		c.kit.Do(t.Context(), req, c.Deliver)
		got := lines(in, req)
		if last := got[len(got)-1]; !strings.Contains(last, "relay=none") || !strings.Contains(last, "dsn=5.7.10, status=bounced (REQUIRETLS Failure") {
			t.Errorf("%s: got %q", config, got)
		}
	}
}

// TestRequireTLSPool does not take an idle session without TLS for a message that
// needs it, nor one of a weaker policy.
func TestRequireTLSPool(t *testing.T) {
	stay := strings.Replace(takes(plainMail), "C: QUIT\n", "", 1)
	s := serve(t, offers()+stay, offers()+"C: QUIT")
	c, in := start(t, SMTP, "smtp_tls_security_level = may\nsmtp_requiretls_policy = opportunistic+starttls\nsmtp_connection_cache_time_limit = 60s")
	var got []string
	var req *delivery.Request
	for _, opts := range []int{0, delivery.SendRequireTLS} {
		r := in.Message(t, "a@a.example", message1, "b@b.example")
		r.Nexthop, r.SendOpts = "[127.0.0.1]:"+s.port, opts
		r.Flags |= delivery.FlagConnLoad | delivery.FlagConnStore
		c.kit.Do(t.Context(), r, c.Deliver)
		req = r
	}
	for _, l := range lines(in, req, s.port) {
		got = append(got, l[strings.Index(l, "tls="):])
	}
	wantLines(t, got, "tls=may:none, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
		"tls=may?/!requiretls:nostarttls, dsn=5.7.30, status=bounced (REQUIRETLS Failure: the sender requires TLS, but TLS was not offered by host 127.0.0.1[127.0.0.1])")
}

func TestRequireTLSPolicy(t *testing.T) {
	tests := []struct {
		policy string
		want   map[string]string
	}{
		{"", map[string]string{"a.example": "enforce"}},
		{"opportunistic, enforce", map[string]string{"a.example": "opportunistic"}},
		{"inline:{{a.example=disable}, {.b.example=opportunistic}, {xn--bcher-kva.example=disable}} OPPORTUNISTIC+STARTTLS", map[string]string{
			"a.example": "disable", "A.Example": "disable", "x.a.example": "opportunistic+starttls", "b.example": "opportunistic+starttls",
			"x.y.b.example": "opportunistic", "bücher.example": "disable"}},
		{"pcre:{{/^\\.b/ disable}, {/b.example$$/ enforce}} opportunistic", map[string]string{"x.b.example": "enforce", "c.example": "opportunistic"}},
		{"inline:{{a.example=nonsense}}", map[string]string{"a.example": "error", "b.example": "enforce"}},
		{"DEFAULT", map[string]string{"mail.example": "opportunistic", "sub.mail.example": "opportunistic", "localhost": "opportunistic",
			"127.0.0.1": "opportunistic", "2001:db8::1": "opportunistic", "IPv6:2001:db8::1": "opportunistic", "elsewhere.example": "enforce"}},
	}
	for _, tt := range tests {
		config := "mydomain = mail.example\n"
		if tt.policy != "DEFAULT" {
			config += "smtp_requiretls_policy = " + tt.policy
		}
		c, _ := start(t, SMTP, config)
		for nexthop, want := range tt.want {
			action, err := c.requirePolicy(t.Context(), nexthop)
			got := action.String()
			if err != nil {
				got = "error"
			}
			if got != want {
				t.Errorf("%s: %s: got %s (%v), want %s", tt.policy, nexthop, got, err, want)
			}
		}
	}
	if err := open(t, "smtp_requiretls_policy = sometimes"); err == nil || !strings.Contains(err.Error(), `parameter smtp_requiretls_policy: unknown action "sometimes"`) {
		t.Errorf("got %v", err)
	}
	c, _ := start(t, LMTP, "")
	if action, err := c.requirePolicy(t.Context(), "mx.example"); action != requireOpportunistic || err != nil {
		t.Errorf("LMTP: %v, %v", action, err)
	}
}

// TestRequireTLSUnknown defers when the policy cannot be known.
func TestRequireTLSUnknown(t *testing.T) {
	c, in := start(t, SMTP, "smtp_requiretls_policy = static:nonsense")
	req := in.Message(t, "a@a.example", message1, "b@b.example")
	req.Nexthop, req.SendOpts = "[127.0.0.1]:1", delivery.SendRequireTLS
	c.kit.Do(t.Context(), req, c.Deliver)
	wantLines(t, lines(in, req), `warning: ID: REQUIRETLS policy lookup for 127.0.0.1: smtp_requiretls_policy: unknown action "nonsense" for 127.0.0.1`,
		"ID: to=<b@b.example>, relay=none, delay=N, dsn=4.7.0, status=deferred (REQUIRETLS policy configuration problem)")
}
