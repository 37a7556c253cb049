package restrict

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/rewrite"
	"postern/internal/ipc/verify"
	"postern/internal/mail/address"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/event"
	"postern/internal/protocol/dns"
	"postern/internal/table"
	"postern/internal/table/combine"
	"postern/internal/table/inline"
	"postern/internal/table/static"
)

// resolver: local.example is local, relay.example a relay domain.
type resolver struct{}

func (resolver) Resolve(_ context.Context, _, addr string) (rewrite.Resolved, error) {
	r := rewrite.Resolved{Transport: "smtp", Recipient: addr, Flags: rewrite.ClassDefault}
	if !strings.Contains(addr, "@") {
		r.Recipient += "@local.example"
	}
	switch {
	case strings.HasSuffix(r.Recipient, "@local.example"):
		r.Flags = rewrite.ClassLocal
	case strings.HasSuffix(addr, "@relay.example"):
		r.Flags = rewrite.ClassRelay
	case strings.HasSuffix(addr, "@fail.example"):
		r.Flags = rewrite.Fail
	}
	return r, nil
}

// zone is a name service: "name TYPE" to data.
type zone map[string]string

func (z zone) Lookup(_ context.Context, name string, t dns.Type) dns.Answer {
	data, ok := z[name+" "+t.String()]
	switch {
	case !ok:
		return dns.Answer{Class: dns.NotFound}
	case data == "retry":
		return dns.Answer{Class: dns.Retry, Reason: "try again"}
	case data == "null":
		return dns.Answer{Class: dns.NullMX}
	}
	r := dns.Record{Type: t, Name: name, Host: data, Text: data}
	if t == dns.A {
		r = dns.Record{Type: t, Name: name, Addr: netip.MustParseAddr(data)}
	}
	return dns.Answer{Class: dns.OK, Records: []dns.Record{r}}
}

var world = zone{
	"2.0.0.127.bl.example A":    "127.0.0.4",
	"2.0.0.127.bl.example TXT":  "listed",
	"bad.example.rhs.example A": "127.0.0.2",
	"7.2.0.192.wl.example A":    "127.0.0.1",
	"good.example MX":           "mx.good.example",
	"mx.good.example A":         "198.51.100.5",
	"slow.example MX":           "retry",
	"null.example MX":           "null",
	"good.example NS":           "ns.evil.example",
	"ns.evil.example A":         "203.0.113.1",
}

func newEngine(settings string) (*Engine, func() []string, error) {
	conf, err := maincf.Read(strings.NewReader("compatibility_level = 3.6\nmyhostname = mail.example\nmynetworks = 192.0.2.0/24\n"+
		"alias_maps =\nlocal_recipient_maps = inline:{u=1}\n"+settings), "main.cf")
	if err != nil {
		return nil, nil, err
	}
	var common param.Common
	var c Config
	set := param.NewSet()
	common.Params(set)
	c.Params(set)
	if err := set.Load(conf); err != nil {
		return nil, nil, err
	}
	log, lines := maillog.Record()
	e, err := New(c, Env{
		Log: log, Tables: table.NewOpener(append(combine.Types(), inline.Type(), static.Type())), Common: &common, DNS: world, Resolver: resolver{},
		Param: func(name string) (string, bool, error) {
			v, _, ok := conf.Lookup(name)
			return v, ok, nil
		},
		Own: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") },
		Mapper: &addrmap.Mapper{Extensions: address.Extensions{Delimiters: "+"},
			Local: func(_ context.Context, d string) (bool, error) { return d == "local.example", nil }},
		Sleep:  func(context.Context, time.Duration) {},
		Verify: probes{}.verify,
	})
	return e, lines, err
}

// client is 127.0.0.2, unknown, in a transaction for u@local.example.
func client() *Subject {
	return &Subject{Stage: "RCPT", ClientName: "unknown", ClientAddr: "127.0.0.2", NameStatus: NamePerm, ReverseName: "unknown",
		ReverseStatus: NamePerm, LogClient: event.Client{Name: "unknown", Addr: "127.0.0.2"}, Protocol: "ESMTP",
		Helo: "client.example", HasHelo: true, Sender: "a@good.example", HasSender: true, Recipient: "u@local.example", HasRecipient: true}
}

func TestRecipient(t *testing.T) {
	tests := []struct {
		name, settings string
		change         func(*Subject)
		want           string // reply; "" when the recipient is taken
	}{
		{"plain", "", nil, ""},
		{"relay", "", func(s *Subject) { s.Recipient = "x@other.example" }, "454 4.7.1 <x@other.example>: Relay access denied"},
		{"relay, reject", "smtpd_relay_restrictions = reject_unauth_destination", func(s *Subject) { s.Recipient = "x@other.example" },
			"554 5.7.1 <x@other.example>: Relay access denied"},
		{"my network", "", func(s *Subject) { s.Recipient, s.ClientAddr = "x@other.example", "192.0.2.9" }, ""},
		{"login", "", func(s *Subject) { s.Recipient, s.SASLEnabled, s.SASLUsername = "x@other.example", true, "joe" }, ""},
		{"own address", "smtpd_relay_restrictions = permit_inet_interfaces, reject", func(s *Subject) { s.Recipient, s.ClientAddr = "x@other.example", "127.0.0.1" }, ""},
		{"trouble", "", func(s *Subject) { s.Recipient = "x@fail.example" }, "451 4.3.0 <x@fail.example>: Temporary lookup failure"},
		{"list order", "smtpd_relay_before_recipient_restrictions = no\nsmtpd_recipient_restrictions = reject", func(s *Subject) { s.Recipient = "x@other.example" },
			"554 5.7.1 <x@other.example>: Recipient address rejected: Access denied"},
		{"sticky deferral", "smtpd_client_restrictions = defer_if_permit", nil, "450 4.7.0 <unknown[127.0.0.2]>: Client host rejected: defer_if_permit requested"},
		{"sticky, then reject", "smtpd_client_restrictions = defer_if_permit\nsmtpd_recipient_restrictions = reject", nil,
			"554 5.7.1 <u@local.example>: Recipient address rejected: Access denied"},
		{"defer_if_reject", "smtpd_recipient_restrictions = defer_if_reject, reject", nil, "450 4.7.0 <u@local.example>: Recipient address rejected: defer_if_reject requested"},
		{"defer_if_reject of another list", "smtpd_sender_restrictions = defer_if_reject\nsmtpd_recipient_restrictions = reject", nil,
			"554 5.7.1 <u@local.example>: Recipient address rejected: Access denied"},
		{"warning", "smtpd_recipient_restrictions = warn_if_reject reject, permit", nil, ""},
		{"warning of one", "smtpd_recipient_restrictions = warn_if_reject reject, reject", nil, "554 5.7.1 <u@local.example>: Recipient address rejected: Access denied"},
		{"soft bounce", "soft_bounce = yes\nsmtpd_client_restrictions = reject", nil, "454 4.7.1 <unknown[127.0.0.2]>: Client host rejected: Access denied"},
		{"class", "smtpd_restriction_classes = strict\nstrict = reject_unknown_client_hostname\nsmtpd_recipient_restrictions = check_sender_access static:strict", nil,
			"450 4.7.25 Client host rejected: cannot find your hostname, [127.0.0.2]"},
		{"DNS list", "smtpd_client_restrictions = reject_rbl_client bl.example", nil,
			"554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using bl.example; listed"},
		{"DNS list, filtered", "smtpd_client_restrictions = reject_rbl_client bl.example=127.0.0.[1..3;5]", nil, ""},
		{"DNS list, reply", "smtpd_client_restrictions = reject_rbl_client bl.example=127.0.0.4\nrbl_reply_maps = static:{550 5.7.9 $$client_address: no}", nil,
			"550 5.7.9 127.0.0.2: no"},
		{"domain list", "smtpd_sender_restrictions = reject_rhsbl_sender rhs.example", func(s *Subject) { s.Sender = "x@bad.example" },
			"554 5.7.1 Service unavailable; Sender address [x@bad.example] blocked using rhs.example"},
		{"allowed by list", "smtpd_recipient_restrictions = permit_dnswl_client wl.example, reject", func(s *Subject) { s.ClientAddr = "192.0.2.7" }, ""},
		{"sender domain", "smtpd_sender_restrictions = reject_unknown_sender_domain", nil, ""},
		{"no sender domain", "smtpd_sender_restrictions = reject_unknown_sender_domain", func(s *Subject) { s.Sender = "x@none.example" },
			"450 4.1.8 <x@none.example>: Sender address rejected: Domain not found"},
		{"slow sender domain", "smtpd_sender_restrictions = reject_unknown_sender_domain\nunknown_address_reject_code = 550", func(s *Subject) { s.Sender = "x@slow.example" },
			"450 4.1.8 <x@slow.example>: Sender address rejected: Domain not found"},
		{"null MX", "smtpd_sender_restrictions = reject_unknown_sender_domain", func(s *Subject) { s.Sender = "x@null.example" },
			"550 5.7.27 <x@null.example>: Sender address rejected: Domain null.example does not accept mail (nullMX)"},
		{"mail exchanger", "smtpd_sender_restrictions = check_sender_mx_access inline:{{198.51.100=REJECT no}}", nil, "554 5.7.1 <a@good.example>: Sender address rejected: no"},
		{"name server", "smtpd_sender_restrictions = check_sender_ns_access inline:{{evil.example=450 4.7.9 slow}}", nil, "450 4.7.9 <a@good.example>: Sender address rejected: slow"},
		{"extension", "smtpd_recipient_restrictions = check_recipient_access inline:{{u@local.example=REJECT no}}", func(s *Subject) { s.Recipient = "u+x@local.example" },
			"554 5.7.1 <u+x@local.example>: Recipient address rejected: no"},
		{"null sender", "smtpd_sender_restrictions = check_sender_access inline:{{<>=REJECT no}}", func(s *Subject) { s.Sender = "" }, "554 5.7.1 <>: Sender address rejected: no"},
		{"broken table", "smtpd_client_restrictions = check_client_access fail:x", nil, "451 4.3.5 <unknown[127.0.0.2]>: Client host rejected: Server configuration error"},
		{"login mismatch", "smtpd_sender_login_maps = inline:{{a@good.example=joe}}\nsmtpd_sender_restrictions = reject_sender_login_mismatch", func(s *Subject) { s.SASLEnabled = true },
			"553 5.7.1 <a@good.example>: Sender address rejected: not logged in"},
		{"login of another", "smtpd_sender_login_maps = inline:{{a@good.example=joe}}\nsmtpd_sender_restrictions = reject_sender_login_mismatch", func(s *Subject) { s.SASLEnabled, s.SASLUsername = true, "ann" },
			"553 5.7.1 <a@good.example>: Sender address rejected: not owned by user ann"},
		{"policy server gone", "smtpd_policy_service_try_limit = 1\nsmtpd_client_restrictions = check_policy_service { unix:/nonexistent, { default_action = 450 4.7.1 later } }", nil,
			"450 4.7.1 <unknown[127.0.0.2]>: Client host rejected: later"},
		{"postmaster", "smtpd_client_restrictions = reject", func(s *Subject) { s.Recipient = "Postmaster" }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, _, err := newEngine(tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			s := client()
			if tt.change != nil {
				tt.change(s)
			}
			if got := e.To(context.Background(), s).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := e.To(context.Background(), s).String(); got != tt.want {
				t.Errorf("again: got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTrail(t *testing.T) {
	e, lines, err := newEngine("smtpd_client_restrictions = permit_mynetworks, check_client_access inline:{{127=REJECT no}}")
	if err != nil {
		t.Fatal(err)
	}
	s := client()
	e.To(context.Background(), s)
	want := []event.Step{
		{List: "smtpd_client_restrictions", Restriction: "permit_mynetworks", Verdict: "dunno"},
		{List: "smtpd_client_restrictions", Restriction: "check_client_access", Argument: "inline:{{127=REJECT no}}",
			Table: "inline:{{127=REJECT no}}", Key: "127", Answer: "REJECT no", Verdict: "reject",
			Reply: "554 5.7.1 <unknown[127.0.0.2]>: Client host rejected: no"},
	}
	if !slices.Equal(s.Trail, want) {
		t.Errorf("trail %+v\nwant %+v", s.Trail, want)
	}
	line := "NOQUEUE: reject: RCPT from unknown[127.0.0.2]: 554 5.7.1 <unknown[127.0.0.2]>: Client host rejected: no; from=<a@good.example> to=<u@local.example> proto=ESMTP helo=<client.example>"
	if got := lines(); !slices.Contains(got, line) {
		t.Errorf("log %q has no %q", got, line)
	}
}

func TestEffects(t *testing.T) {
	e, _, err := newEngine("smtpd_recipient_restrictions = check_client_access static:HOLD, check_client_access static:{FILTER smtp:[f]}," +
		"check_client_access static:{REDIRECT r@x}, check_client_access static:{BCC b@x}, check_client_access static:{PREPEND X-A: b}, check_client_access static:{DISCARD}, reject")
	if err != nil {
		t.Fatal(err)
	}
	s := client()
	if r := e.To(context.Background(), s); !r.IsZero() {
		t.Errorf("reply %s", r)
	}
	f := s.Effects
	if !f.Hold || !f.Discard || f.Filter != "smtp:[f]" || f.Redirect != "r@x" || !slices.Equal(f.Bcc, []string{"b@x"}) || !slices.Equal(f.Prepend, []string{"X-A: b"}) {
		t.Errorf("effects %+v", f)
	}
	s.NewTransaction()
	if s.Effects.Hold || s.Effects.Discard {
		t.Error("effects outlive the transaction")
	}
}

func TestRefusals(t *testing.T) {
	for _, settings := range []string{
		"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks",
		"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = warn_if_reject reject_unauth_destination",
		"smtpd_client_restrictions = permit_naked_ip_address",
		"smtpd_restriction_classes = a\na = a\nsmtpd_client_restrictions = a",
		"smtpd_restriction_classes = a\nsmtpd_client_restrictions = a",
		"smtpd_client_restrictions = check_policy_service ftp:x",
		"smtpd_client_restrictions = check_policy_service { unix:x, nonsense=1 }",
		"reject_tempfail_action = maybe",
	} {
		if _, _, err := newEngine(settings); err == nil {
			t.Errorf("no error for %q", settings)
		}
	}
	for _, settings := range []string{
		"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination",
		"smtpd_restriction_classes = a\na = reject\nsmtpd_relay_restrictions = a",
	} {
		if _, _, err := newEngine(settings); err != nil {
			t.Errorf("%q: %v", settings, err)
		}
	}
}

// A filter that is malformed is a mistake that costs 451 those clients about
// which the list has an answer; Postfix ends its process at them. Which filters
// are, Postfix 3.7 has said.
func TestDNSListFilters(t *testing.T) {
	for filter, bad := range map[string]bool{
		"127.0.0.4": false, "127.0.0.004": false, "[127..128].0.0.4": false, "127.0.0.[0..255]": false, "127.0.0.[1;4]": false,
		"": true, "127.0.0": true, "127.0.0.4.": true, "127.0.0.4.4": true, "d.d.d": true, "=127.0.0.4": true, "127.0.0.4;5": true,
		"127.0.0.[": true, "127.0.0.[4": true, "127.0.0.4]": true, "127.0.0.[]": true, "127.0.0.[4;]": true, "127.0.0.[;4]": true,
		"127.0.0.[[4]]": true, "127.[0.0].0.4": true, "127.0.0.[0..255": true,
		"127.0.0.3..5": true, "127.0.0.[5..4]": true, "127.0.0.[4..]": true, "127.0.0.[3...5]": true, "127.0.0.[3..4..5]": true,
		"127.0.0.256": true, "127.0.0.-4": true, "127.0.0.+4": true, "127.0.0.[04;0x4]": true, "127.0.0.99999999999999999999": true,
	} {
		for _, addr := range []string{"127.0.0.2", "127.0.0.3"} { // listed, and not
			e, log, err := newEngine("smtpd_client_restrictions = reject_rbl_client bl.example=" + filter)
			if err != nil {
				t.Fatalf("%q: %v", filter, err)
			}
			if got := len(e.Mistakes()) == 1; got != bad {
				t.Errorf("%q is a mistake: %v", filter, got)
			}
			s, want := client(), ""
			s.ClientAddr = addr
			switch {
			case addr == "127.0.0.3":
			case bad:
				want = "451 4.3.5 Server configuration error"
			default:
				want = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using bl.example; listed"
			}
			if got := e.To(context.Background(), s).String(); got != want {
				t.Errorf("%q, %s: got %q, want %q", filter, addr, got, want)
			}
			if said := strings.Contains(strings.Join(log(), " "), "bad DNS list filter"); said != (bad && addr == "127.0.0.2") {
				t.Errorf("%q, %s: said %v", filter, addr, said)
			}
		}
	}
}

// A probes answers for addresses by their local parts; "slow" is known at the
// third question.
type probes map[string]int

func (p probes) verify(_ context.Context, addr string) (verify.Answer, error) {
	local, _, _ := strings.Cut(addr, "@")
	p[local]++
	switch local {
	case "good":
		return verify.Answer{Reason: "250 ok"}, nil
	case "bad":
		return verify.Answer{Status: verify.Bounce, Reason: "550 no such user"}, nil
	case "late":
		return verify.Answer{Status: verify.Defer, Reason: "450 come back"}, nil
	case "broken":
		return verify.Answer{}, errors.New("no service")
	case "slow":
		if p[local] >= 3 {
			return verify.Answer{Reason: "250 ok"}, nil
		}
	}
	return verify.Answer{Status: verify.Todo, Reason: "in progress"}, nil
}

func TestUnverified(t *testing.T) {
	const lists = "smtpd_recipient_restrictions = reject_unverified_recipient, permit_auth_destination, reject\n"
	for _, tt := range []struct{ settings, rcpt, want string }{
		{"", "good", ""},
		{"", "slow", ""},
		{"address_verify_poll_count = 2", "slow", "450 4.1.1 <slow@local.example>: Recipient address rejected: unverified address: in progress"},
		{"", "bad", "450 4.1.1 <bad@local.example>: Recipient address rejected: unverified address: 550 no such user"},
		{"unverified_recipient_reject_code = 550", "bad", "550 5.1.1 <bad@local.example>: Recipient address rejected: undeliverable address: 550 no such user"},
		{"unverified_recipient_reject_code = 250", "bad", ""},
		{"unverified_recipient_reject_reason = no", "bad", "450 4.1.1 <bad@local.example>: Recipient address rejected: unverified address: no"},
		{"unverified_recipient_defer_code = 250", "late", ""},
		{"unverified_recipient_defer_code = 451", "late", "451 4.1.1 <late@local.example>: Recipient address rejected: unverified address: 450 come back"},
		{"", "broken", "450 4.1.1 <broken@local.example>: Recipient address rejected: address verification problem"},
	} {
		e, _, err := newEngine("local_recipient_maps =\n" + lists + tt.settings)
		if err != nil {
			t.Fatal(err)
		}
		e.env.Verify = probes{}.verify
		s := client()
		s.Recipient, s.HasRecipient = tt.rcpt+"@local.example", true
		if r := e.To(context.Background(), s); r.String() != tt.want {
			t.Errorf("%q, %s: got %q, want %q", tt.settings, tt.rcpt, r.String(), tt.want)
		}
	}
}

// TestDefinitions looks at every row of the table: each can be used, or is
// refused by name.
func TestDefinitions(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range definitions() {
		if seen[d.name] {
			t.Errorf("%s stands twice", d.name)
		}
		seen[d.name] = true
		arg := map[argKind]string{tableArg: "static:DUNNO", domainArg: "none.example", policyArg: "unix:/nonexistent", numberArg: "0"}[d.arg]
		e, _, err := newEngine("smtpd_policy_service_try_limit = 1\nsmtpd_recipient_restrictions = " + d.name + " " + arg)
		if d.check == nil && !d.warn || d.removed != "" {
			if err == nil || !strings.Contains(err.Error(), d.name) {
				t.Errorf("%s: error %v", d.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
			continue
		}
		e.To(context.Background(), client())
		e.To(context.Background(), &Subject{Stage: "RCPT", HasRecipient: true})
	}
	if len(seen) < 75 {
		t.Errorf("%d restrictions", len(seen))
	}
}

// A reply with its codes fits into 512 octets, whatever a table says.
func TestReplyLength(t *testing.T) {
	r := reply(554, "5.7.1", strings.Repeat("x", 2000))
	if wire := r.AppendTo(nil); len(wire) != 512 {
		t.Errorf("%d octets", len(wire))
	}
}

func TestFixStatus(t *testing.T) {
	for _, tt := range [][3]string{
		{"5.1.1", aboutSender, "5.1.7"}, {"5.1.2", aboutSender, "5.1.8"}, {"5.1.5", aboutSender, "5.1.0"}, {"5.1.7", aboutRecipient, "5.1.3"},
		{"4.1.8", aboutRecipient, "4.1.2"}, {"5.1.10", aboutRecipient, "5.1.0"}, {"5.1.1", aboutClient, "5.0.0"}, {"5.7.1", aboutClient, "5.7.1"},
	} {
		if got := fixStatus(statusFor(tt[0]), tt[1]); string(got) != tt[2] {
			t.Errorf("%s of %s becomes %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}

func FuzzResult(f *testing.F) {
	e, _, err := newEngine("")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"REJECT 5.7.1 x", "450 4.1.1 x", "PREPEND a: b", "defer_if_permit, reject", "{", "check_client_access static:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s := client()
		v := e.evaluation(context.Background(), s, &e.recipient)
		if strings.Contains(strings.ToLower(value), "policy") {
			return
		}
		w := v.result(&item{name: "check_client_access", arg: "static:x"}, value, "key", "what", aboutClient)
		if wire := string(w.Reply.AppendTo(nil)); w.Kind == Reject && (w.Reply.Code < 400 || strings.Count(wire, "\n") != len(w.Reply.Lines)) {
			t.Errorf("%q gives %q", value, wire)
		}
	})
}

// countedDNS counts the questions that it is asked.
type countedDNS struct{ asked int }

func (c *countedDNS) Lookup(context.Context, string, dns.Type) dns.Answer {
	c.asked++
	return dns.Answer{Class: dns.NotFound, TTL: time.Minute}
}

// A session asks a DNS list once, until the answer expires.
func TestListAnswersAreRemembered(t *testing.T) {
	e, _, err := newEngine("smtpd_client_restrictions = reject_rbl_client bl.example\nsmtpd_recipient_restrictions = permit")
	if err != nil {
		t.Fatal(err)
	}
	names, now := &countedDNS{}, time.Unix(1_800_000_000, 0)
	e.env.DNS, e.env.Now = names, func() time.Time { return now }
	s := client()
	for range 3 {
		e.To(context.Background(), s)
	}
	if names.asked != 1 {
		t.Errorf("asked %d times, want 1", names.asked)
	}
	now = now.Add(2 * time.Minute)
	if e.To(context.Background(), s); names.asked != 2 {
		t.Errorf("asked %d times after the answer expired, want 2", names.asked)
	}
}
