package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/mail/dsn"
)

// A desk is a scheduler with a clock and a dispatcher that do what the test
// says.
type desk struct {
	t        *testing.T
	s        *Scheduler
	now      time.Time
	limits   map[string]Limits
	finished []string
	refills  []*Message
	work     []string
}

func usual() Limits {
	one := Feedback{amount: 1}
	return Limits{
		SlotCost: 5, SlotLoan: 3, SlotDiscount: 50, MinSlots: 3,
		Recipients: 20000, ExtraRecipients: 1000, RefillLimit: 100, RefillDelay: 5 * time.Second,
		Concurrency: 20, InitialConcurrency: 5, Positive: one, Negative: one,
		FailedCohorts: 1, DestinationRecipients: 50,
	}
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, now: time.Unix(1e9, 0), limits: map[string]Limits{}}
	d.s = New(Config{
		Limits: func(name string) Limits {
			if l, ok := d.limits[name]; ok {
				return l
			}
			return usual()
		},
		MinBackoff: 300 * time.Second, RetryTime: time.Minute, Retry: "retry",
		RecipientMax: 20000, RecipientMin: 10,
		Refill:   func(m *Message) { d.refills = append(d.refills, m) },
		Finished: func(m *Message) { d.finished = append(d.finished, m.Data.(string)) },
		Work:     func(t *Transport) { d.work = append(d.work, t.name) },
	})
	d.s.Tick(d.now)
	return d
}

func (d *desk) pass(t time.Duration) {
	d.now = d.now.Add(t)
	d.s.Tick(d.now)
}

// add schedules a message with n recipients for each destination, each
// "transport:nexthop=n".
func (d *desk) add(name string, targets ...string) *Message {
	m := &Message{Data: name, Queued: d.now}
	d.more(m, 0, targets...)
	return m
}

func (d *desk) more(m *Message, unread int, targets ...string) {
	var list []Target
	for _, text := range targets {
		var n int
		place, count, _ := strings.Cut(text, "=")
		fmt.Sscan(count, &n)
		transport, nexthop, _ := strings.Cut(place, ":")
		list = append(list, Target{Transport: transport, Nexthop: nexthop, Recipients: make([]any, n)})
	}
	d.s.Add(m, list, unread)
}

func (d *desk) next(transport string) *Entry { return d.s.Next(d.s.Transport(transport)) }

// order takes n entries, each delivered at once, and returns whose they were.
func (d *desk) order(transport string, n int) string {
	var names []string
	for range n {
		e := d.next(transport)
		if e == nil {
			break
		}
		names = append(names, e.Message.Data.(string))
		d.s.Done(e, Outcome{})
	}
	return strings.Join(names, "")
}

func (d *desk) want(what string, got, want any) {
	d.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestOrderOfArrival(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"a", "b", "c"} {
		d.add(name, "smtp:x=1")
		d.pass(time.Second)
	}
	d.want("order", d.order("smtp", 9), "abc")
	d.want("finished", d.finished, []string{"a", "b", "c"})
	d.want("ready", d.s.Transport("smtp").Ready(), 0)
	d.want("recipients", d.s.Recipients(), 0)
	d.want("destinations", len(d.s.Transport("smtp").dests), 0)
}

func TestRecipientsPerDelivery(t *testing.T) {
	d := newDesk(t)
	d.add("a", "smtp:x=120")
	var sizes []int
	for e := d.next("smtp"); e != nil; e = d.next("smtp") {
		sizes = append(sizes, len(e.Recipients))
	}
	d.want("sizes", sizes, []int{50, 50, 20})
}

func TestConcurrency(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.DestinationRecipients = 1
	l.Concurrency = 7
	d.limits["smtp"] = l
	d.add("a", "smtp:x=100")
	var out []*Entry
	take := func() int {
		for e := d.next("smtp"); e != nil; e = d.next("smtp") {
			out = append(out, e)
		}
		return len(out)
	}
	d.want("at first", take(), 5)
	for range 2 {
		d.s.Done(out[0], Outcome{})
		out = out[1:]
	}
	d.want("after two successes", take(), 7)
	for range 5 {
		d.s.Done(out[0], Outcome{})
		out = out[1:]
		take()
	}
	d.want("at the limit", len(out), 7)
}

func TestFeedback(t *testing.T) {
	for _, c := range []struct {
		text string
		want int // window after ten successes from five
	}{{"1", 15}, {"0.5", 10}, {"1/concurrency", 6}, {"1 / sqrt_concurrency", 9}} {
		d := newDesk(t)
		l := usual()
		var err error
		if l.Positive, err = ParseFeedback(c.text); err != nil {
			t.Fatal(err)
		}
		l.Concurrency = 100
		d.limits["smtp"] = l
		dest := d.s.Transport("smtp").destination("x", "x")
		dest.busy = 50
		for range 10 {
			d.s.success(dest)
		}
		d.want(c.text, dest.window, c.want)
	}
	for _, text := range []string{"", "0", "2", "-1", "x", "1/", "1/window", "NaN"} {
		if _, err := ParseFeedback(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

var refused = Outcome{Hop: dsn.Make("4.4.1", "connection refused")}

func TestDeadDestination(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.DestinationRecipients = 1
	d.limits["smtp"] = l
	d.add("a", "smtp:x=10", "smtp:y=1")
	fails := 0
	for {
		e := d.next("smtp")
		if e == nil {
			break
		}
		if e.Dest.Name() == "y" {
			d.s.Done(e, Outcome{})
			continue
		}
		fails++
		d.s.Done(e, refused)
	}
	d.want("failures until dead", fails, 4) // 1/5 + 1/4 + 1/3 + 1/2 of a cohort
	dest := d.s.Transport("smtp").Destination("x")
	d.want("dead", dest.Window(), 0)
	e := d.next("retry")
	d.want("reason", e.Dest.Nexthop(), "4.4.1 delivery temporarily suspended: connection refused")
	d.want("deferred", len(e.Recipients), 1)
	d.want("work", d.work, []string{"retry"})

	d.add("b", "smtp:x=1")
	d.want("smtp gets nothing", d.next("smtp") == nil, true)
	d.want("retry gets all", d.s.Transport("retry").Ready() > 0, true)

	d.pass(301 * time.Second)
	d.add("c", "smtp:x=1")
	d.want("tried again", d.order("smtp", 5), "c")
}

func TestUnlimitedCohorts(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.FailedCohorts = 0
	l.DestinationRecipients = 1
	d.limits["smtp"] = l
	d.add("a", "smtp:x=30")
	for range 30 {
		d.s.Done(d.next("smtp"), refused)
	}
	d.want("finished", d.finished, []string{"a"})
}

func TestRevive(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.InitialConcurrency = 1
	d.limits["smtp"] = l
	d.add("a", "smtp:x=1")
	d.s.Done(d.next("smtp"), refused)
	d.add("b", "smtp:x=1")
	d.want("dead", d.next("smtp") == nil, true)
	d.s.ReviveAll()
	d.add("c", "smtp:x=1")
	d.want("alive", d.order("smtp", 5), "c")
}

func TestDeadTransport(t *testing.T) {
	d := newDesk(t)
	d.add("a", "smtp:x=1")
	d.add("b", "smtp:y=1")
	e := d.next("smtp")
	d.s.KillTransport(e.Dest.transport, dsn.Make("4.3.0", "unavailable"))
	d.want("b waits at retry", d.order("retry", 5), "b")
	d.s.Done(e, Outcome{Crashed: true, Hop: dsn.Make("4.3.0", "crashed")})
	d.want("a is over", d.finished, []string{"b", "a"})
	d.add("c", "smtp:x=1")
	d.want("c", d.order("retry", 5), "c")
	d.pass(61 * time.Second)
	d.add("d", "smtp:x=1")
	d.want("d", d.order("smtp", 5), "d")
}

func TestBlockedJobDoesNotBlockOthers(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.InitialConcurrency, l.Concurrency, l.DestinationRecipients = 1, 1, 1
	d.limits["smtp"] = l
	d.add("a", "smtp:x=3")
	d.pass(time.Second)
	d.add("b", "smtp:x=1", "smtp:y=1")
	d.pass(time.Second)
	d.add("c", "smtp:z=1")
	first := d.next("smtp")
	d.want("first", first.Message.Data, "a")
	var others []string
	for e := d.next("smtp"); e != nil; e = d.next("smtp") {
		others = append(others, e.Message.Data.(string)+e.Dest.Name())
	}
	d.want("others", others, []string{"by", "cz"})
	d.s.Done(first, Outcome{})
	d.want("then", d.order("smtp", 9), "aab")
}

// A message to one recipient overtakes one to many, but not before the big one
// has earned it, and the big one is not held up for long.
func TestPreemption(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.DestinationRecipients = 1
	d.limits["smtp"] = l
	d.add("B", "smtp:x=100")
	d.pass(time.Second)
	d.want("alone", d.order("smtp", 1), "B")
	d.add("s", "smtp:y=1")
	d.pass(time.Second)
	d.want("small overtakes on loan", d.order("smtp", 3), "sBB")
	d.add("t", "smtp:y=1")
	d.want("slots must be earned back", d.order("smtp", 4), "BBBt")
}

func TestNoPreemptionOfSmallJobs(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.DestinationRecipients = 1
	d.limits["smtp"] = l
	d.add("a", "smtp:x=10") // fewer than 3 slots at 5 each
	d.want("a", d.order("smtp", 2), "aa")
	d.add("s", "smtp:y=1")
	d.want("order", d.order("smtp", 20), "aaaaaaaas")
}

func TestNestedPreemption(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.DestinationRecipients = 1
	l.SlotLoan = 100
	d.limits["smtp"] = l
	d.add("A", "smtp:x=400")
	d.pass(time.Second)
	d.order("smtp", 2)
	d.add("b", "smtp:y=30")
	d.pass(time.Second)
	d.want("b overtakes A", d.order("smtp", 2), "bb")
	d.add("c", "smtp:z=1")
	d.want("c overtakes b", d.order("smtp", 2), "cb")
	d.want("b goes on, then A", d.order("smtp", 28), strings.Repeat("b", 27)+"A")
	j := d.s.Transport("smtp").jobs.Front().Value.(*job)
	d.want("nobody is left over A", [2]int{len(j.children), j.level}, [2]int{0, 0})
}

func TestRateDelays(t *testing.T) {
	d := newDesk(t)
	l := usual()
	l.DestinationRateDelay = 10 * time.Second
	d.limits["slow"] = l
	d.add("a", "slow:x=1")
	d.add("b", "slow:x=1")
	d.add("c", "slow:y=1")
	d.want("one for each destination", d.order("slow", 9), "ac")
	d.pass(9 * time.Second)
	d.want("too early", d.order("slow", 9), "")
	d.pass(2 * time.Second)
	d.want("later", d.order("slow", 9), "b")

	l = usual()
	l.TransportRateDelay = 10 * time.Second
	d.limits["slower"] = l
	d.add("a", "slower:x=1")
	d.add("b", "slower:y=1")
	d.want("one", d.order("slower", 9), "a")
	d.pass(11 * time.Second)
	d.want("then", d.order("slower", 9), "b")
}

func TestRefill(t *testing.T) {
	d := newDesk(t)
	m := &Message{Data: "a", Queued: d.now}
	l := usual()
	l.Recipients = 100
	l.DestinationRecipients = 1
	d.limits["smtp"] = l
	d.more(m, 500, "smtp:x=100")
	d.want("no room", len(d.refills), 0)
	d.order("smtp", 50)
	d.want("half is not enough", len(d.refills), 0)
	d.pass(6 * time.Second)
	d.order("smtp", 1)
	d.want("time is over", len(d.refills), 1)
	d.want("room", d.s.Room(m), 51)
	d.order("smtp", 100)
	d.want("asked once", len(d.refills), 1)
	d.more(m, 0, "smtp:x=1")
	d.order("smtp", 100)
	d.want("finished", d.finished, []string{"a"})
}

func TestEmptyMessageIsFinished(t *testing.T) {
	d := newDesk(t)
	d.add("a")
	d.want("finished", d.finished, []string{"a"})
	m := &Message{Data: "b"}
	d.more(m, 3)
	d.want("refill", len(d.refills), 1)
	d.more(m, 0)
	d.want("finished", d.finished, []string{"a", "b"})
}

// Whatever the order of events, every recipient is delivered to or deferred
// once, and the books are even at the end.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("abcdefghij0123456789"))
	f.Add([]byte{0, 9, 200, 3, 3, 3, 1, 1, 1, 2, 2, 2, 250, 250})
	f.Fuzz(events)
}

func events(t *testing.T, script []byte) {
	d := newDesk(t)
	l := usual()
	l.DestinationRecipients, l.InitialConcurrency, l.SlotLoan = 2, 2, 50
	d.limits["t0"] = l
	l.FailedCohorts = 0
	d.limits["t1"] = l
	added, ended := 0, 0
	var out []*Entry
	take := func(name string) {
		if e := d.next(name); e != nil {
			out = append(out, e)
		}
	}
	end := func(i int, o Outcome) {
		e := out[i]
		out = append(out[:i], out[i+1:]...)
		ended += len(e.Recipients)
		d.s.Done(e, o)
	}
	n := 0
	for _, b := range script {
		switch arg := int(b >> 3); b & 7 {
		case 0, 1:
			a, c := arg%5+1, arg%7+1
			added += a + c
			d.add(fmt.Sprint(n), fmt.Sprintf("t%d:d%d=%d", arg%2, arg%3, a), fmt.Sprintf("t0:d%d=%d", arg%4, c))
			n++
		case 2, 3:
			take(fmt.Sprint("t", arg%2))
		case 4:
			take("retry")
		case 5, 6:
			if len(out) > 0 {
				end(arg%len(out), [...]Outcome{{}, refused, {Crashed: true, Hop: refused.Hop}}[arg%3])
			}
		case 7:
			d.pass(time.Duration(arg) * 20 * time.Second)
		}
	}
	for range 10*added + 100 {
		if len(d.finished) == n {
			break
		}
		for _, name := range []string{"t0", "t1", "retry"} {
			take(name)
		}
		for len(out) > 0 {
			end(0, Outcome{})
		}
		d.pass(time.Second * 30)
	}
	if len(d.finished) != n || added != ended {
		t.Fatalf("%d of %d messages finished, %d of %d recipients", len(d.finished), n, ended, added)
	}
	d.want("recipients", d.s.recipients, 0)
	for _, tr := range d.s.transports {
		d.want(tr.name, []int{tr.ready, tr.busy, tr.recipients, tr.jobs.Len()}, []int{0, 0, 0, 0})
	}
}
