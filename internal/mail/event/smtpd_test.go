package event

import "testing"

func TestSMTPD(t *testing.T) {
	client := Client{Name: "unknown", Addr: "127.0.0.1"}
	ptr := func(s string) *string { return &s }
	tests := []struct {
		event interface{ Text() string }
		want  string
	}{
		{&SMTPDConnect{Client: client}, "connect from unknown[127.0.0.1]"},
		{&SMTPDConnect{Client: Client{"a.example", "192.0.2.1", "99"}}, "connect from a.example[192.0.2.1]:99"},
		{&SMTPDMessage{QueueID: "ABC", Client: client, SASLMethod: "PLAIN", SASLUsername: "joe"},
			"ABC: client=unknown[127.0.0.1], sasl_method=PLAIN, sasl_username=joe"},
		{&SMTPDAction{Action: "reject", Stage: "MAIL", Client: client, Reason: "552 5.3.4 Message size exceeds fixed limit",
			Sender: ptr("a@b.example"), Protocol: "ESMTP", Helo: ptr("foo.example")},
			"NOQUEUE: reject: MAIL from unknown[127.0.0.1]: 552 5.3.4 Message size exceeds fixed limit; from=<a@b.example> proto=ESMTP helo=<foo.example>"},
		{&SMTPDLost{Reason: "lost connection", Stage: "DATA", Octets: 12, Client: client, QueueID: "ABC"},
			"ABC: lost connection after DATA (12 bytes) from unknown[127.0.0.1]"},
		{&SMTPDLost{Reason: "timeout", Stage: "CONNECT", Octets: -1, Client: client}, "timeout after CONNECT from unknown[127.0.0.1]"},
		{&SMTPDDisconnect{Client: client}, "disconnect from unknown[127.0.0.1] commands=0/0"},
		{&SMTPDDisconnect{Client: client, Commands: []CommandCount{{"ehlo", 1, 1}, {"rcpt", 0, 1}}},
			"disconnect from unknown[127.0.0.1] ehlo=1 rcpt=0/1 commands=1/2"},
	}
	for _, tt := range tests {
		if got := tt.event.Text(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
