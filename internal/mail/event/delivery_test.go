package event

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDeliveryText(t *testing.T) {
	d := &Delivery{
		QueueID: "4F2", Recipient: "a@b.example", OrigTo: "c@d.example", Relay: "mx[192.0.2.1]:25", ConnUse: 2,
		Delay:  Seconds(1520 * time.Millisecond),
		Delays: [4]Seconds{Seconds(20 * time.Millisecond), Seconds(1300 * time.Microsecond), Seconds(11 * time.Second), Seconds(250 * time.Millisecond)},
		DSN:    "2.0.0", Status: "sent", Reason: "250 2.0.0 Ok", Digits: 2,
	}
	want := "4F2: to=<a@b.example>, orig_to=<c@d.example>, relay=mx[192.0.2.1]:25, conn_use=2, delay=1.5, delays=0.02/0/11/0.25, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
	if got := d.Text(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	js, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want = `{"queue_id":"4F2","recipient":"a@b.example","orig_to":"c@d.example","relay":"mx[192.0.2.1]:25","conn_use":2,"delay":1.52,"delays":[0.02,0.0013,11,0.25],"dsn":"2.0.0","status":"sent","reason":"250 2.0.0 Ok"}`
	if string(js) != want {
		t.Errorf("got  %s\nwant %s", js, want)
	}
}

func TestSeconds(t *testing.T) {
	for _, c := range []struct {
		us     int64
		digits int
		want   string
	}{
		{0, 2, "0"}, {4999, 2, "0"}, {5000, 2, "0.01"}, {123456, 2, "0.12"}, {995000, 2, "1"},
		{1_040_000, 2, "1"}, {1_050_000, 2, "1.1"}, {9_960_000, 2, "10"}, {10_400_000, 2, "10"},
		{123_600_000, 2, "124"}, {12345, 6, "0.012"}, {123, 6, "0.00012"}, {1, 6, "0.000001"}, {350_000, 0, "0"}, {550_000, 0, "1"},
		{350_000, 1, "0.4"},
	} {
		got := string(Seconds(c.us*1000).appendShort(nil, c.digits))
		if got != c.want {
			t.Errorf("%d µs, %d digits: got %s, want %s", c.us, c.digits, got, c.want)
		}
	}
}
