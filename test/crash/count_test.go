package crash

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"postern/test/harness"
)

// A tally is what was found of the messages of a load, in mailboxes and in the
// queues that nothing leaves by itself.
type tally struct {
	acked, sent int
	lost        []string                  // acknowledged and nowhere
	unasked     int                       // never acknowledged, and there
	refused     int                       // refused by a reply, and there
	messages    map[string]map[string]int // token → queue id it was received under → copies
	load        *load
}

var (
	tokens = regexp.MustCompile(`token-\d+-end`)
	// receivedAs is the queue id of the message itself, also where a notice quotes it.
	receivedAs = regexp.MustCompile(`(?s)(?:with ESMTP id|, from userid \d+\)\s+id) ([0-9A-Za-z]+)[;\s]`)
)

// count looks for every message of a load.
func count(t *testing.T, i *harness.Instance, l *load) *tally {
	t.Helper()
	c := &tally{load: l, sent: len(l.sent), messages: map[string]map[string]int{}}
	for _, path := range []string{"mail/alice/new/*", "mail/bob/new/*", "mail/carol/new/*", "vmail/v/new/*", "queue/corrupt/*", "queue/hold/*"} {
		files, err := filepath.Glob(i.Host(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			token, id := string(tokens.Find(b)), receivedAs.FindSubmatch(b)
			if token == "" {
				continue
			}
			if id == nil {
				t.Errorf("%s: no queue id in:\n%.1000s", token, b)
				continue
			}
			if c.messages[token] == nil {
				c.messages[token] = map[string]int{}
			}
			c.messages[token][string(id[1])]++
		}
	}
	for token, a := range l.sent {
		found := len(c.messages[token]) > 0
		switch {
		case a.acked && !found:
			c.lost = append(c.lost, token)
		case !a.acked && found:
			c.unasked++
			if a.refused {
				c.refused++
			}
		}
		if a.acked {
			c.acked++
		}
	}
	for _, queue := range []string{"corrupt", "bounce", "defer", "trace"} {
		if n := i.Count(queue); n > 0 {
			t.Errorf("%d files are left in %s", n, queue)
		}
	}
	return c
}

// check says whether the promise was kept: nothing that was acknowledged is
// lost; a message, acknowledged or not, came in once, or once more for each time
// that who takes it from maildrop was killed before it could be removed there;
// it was delivered once, or once more for each time that who marks it as done
// was killed.
func (c *tally) check(t *testing.T, kills map[string]int) {
	t.Helper()
	sum := func(names ...string) int {
		n := kills["master"] + kills["all at once"]
		for _, name := range names {
			n += kills[name]
		}
		return n
	}
	mostTaken, mostDelivered := 1+sum("pickup", "cleanup"), 1+sum("local", "virtual", "qmgr", "error", "bounce")
	twiceTaken, twiceDelivered := 0, 0
	for token, ids := range c.messages {
		most := 1
		if c.load.sent[token].sendmail {
			most = mostTaken
		}
		if len(ids) > most {
			t.Errorf("%s was queued as %v: want at most %d", token, ids, most)
		}
		twiceTaken += len(ids) - 1
		for id, copies := range ids {
			if copies > mostDelivered {
				t.Errorf("%s, %s: %d copies were delivered, want at most %d", token, id, copies, mostDelivered)
			}
			twiceDelivered += copies - 1
		}
	}
	for _, token := range c.lost {
		t.Errorf("%s was acknowledged and is gone", token)
	}
	t.Logf("%d messages sent, %d acknowledged: %d lost; %d exist without an acknowledgement; %d taken twice, %d copies too many",
		c.sent, c.acked, len(c.lost), c.unasked, twiceTaken, twiceDelivered)
}
