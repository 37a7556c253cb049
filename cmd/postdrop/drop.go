package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"postern/internal/admin/command"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/postdrop"
	"postern/internal/ipc/trigger"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// Records that a user may send in each segment. Pointers are not among them.
// Postfix: the size record is accepted since 3.8.
const (
	envelopeTypes = "MCFSRVAin"
	contentTypes  = "XLN"
	extractTypes  = "EAR"
)

var (
	errCanceled = errors.New("the caller has given up")
	errRefused  = errors.New("the caller was told")
)

// A drop is one message on its way into maildrop.
type drop struct {
	*command.Command
	config command.SubmitAccess
	uid    int
	size   int64
	rcpts  int
	sender bool

	mu    sync.Mutex // guards draft against abandon
	draft *queue.Draft
}

// abandon removes the file; from then on nothing is promised.
func (d *drop) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draft == nil {
		return
	}
	if err := d.draft.Cancel(); err != nil {
		d.Log.Warningf("uid=%d: %v", d.uid, err)
	}
	d.draft = nil
}

// run takes the message and answers the caller.
func (d *drop) run() error {
	store := queue.Open(&d.Common)
	draft, err := store.Create(queue.Maildrop)
	if err != nil {
		return err
	}
	d.draft = draft
	defer d.abandon()
	if err := d.send(&postdrop.Start{QueueID: string(draft.ID())}); err != nil {
		return err
	}
	w := record.NewWriter(draft)
	now := time.Now()
	w.Printf(record.Time, "%d %d", now.Unix(), now.Nanosecond()/1000)
	result, err := d.copy(w)
	if err == nil && result.Status == 0 {
		result, err = d.commit(store)
	}
	if err != nil {
		return err
	}
	if result.Status != 0 {
		d.abandon()
	}
	if err := d.send(&result); err != nil {
		return err
	}
	if result.Status != 0 {
		return errRefused
	}
	return nil
}

func (d *drop) send(m attr.Message) error {
	w := bufio.NewWriter(d.Out)
	if err := attr.NewWriter(w).Do(m); err != nil {
		return err
	}
	return w.Flush()
}

// commit makes the file complete and wakes pickup. From then on the message is
// ours, whatever happens to the answer.
func (d *drop) commit(store *queue.Store) (postdrop.Result, error) {
	d.mu.Lock()
	err := errCanceled
	if d.draft != nil {
		if err = d.draft.Commit(); err == nil {
			d.draft = nil
		}
	}
	d.mu.Unlock()
	if err != nil {
		d.Log.Warningf("uid=%d: %v", d.uid, err)
		return postdrop.Result{Status: postdrop.StatusWrite}, nil
	}
	// pickup looks for itself once in a while; Postfix: no warning either when
	// the mail system is down.
	trigger.Send(store.Dir(), "public", d.Common.PickupServiceName, trigger.Wakeup, d.Common.TriggerTimeout)
	return postdrop.Result{}, nil
}

// copy takes the records from the caller. An error is what no answer is given
// to; a status is told.
func (d *drop) copy(w *record.Writer) (postdrop.Result, error) {
	r := record.NewReader(d.In)
	r.SetLimit(d.Common.LineLengthLimit)
	segments := []string{envelopeTypes, contentTypes, extractTypes}
	for len(segments) > 0 {
		t, data, err := r.Next()
		if err == io.EOF {
			return postdrop.Result{}, errCanceled
		}
		if err != nil {
			return postdrop.Result{}, fmt.Errorf("malformed input: %w", err)
		}
		if strings.IndexByte(segments[0], byte(t)) < 0 {
			return postdrop.Result{}, fmt.Errorf("unexpected record type: %d", t)
		}
		if byte(t) == segments[0][0] {
			segments = segments[1:]
		}
		result, keep := d.check(t, data)
		if result.Status != 0 {
			return result, d.drain(r)
		}
		if !keep {
			continue
		}
		if err := w.Put(t, data); err != nil {
			d.Log.Warningf("uid=%d: %v", d.uid, err)
			return postdrop.Result{Status: postdrop.StatusWrite}, d.drain(r)
		}
	}
	if d.rcpts == 0 || !d.sender {
		return postdrop.Result{Status: postdrop.StatusBad}, nil
	}
	return postdrop.Result{}, nil
}

// drain reads the rest of the message, so that the caller gets to hear the
// answer.
func (d *drop) drain(r *record.Reader) error {
	for {
		t, _, err := r.Next()
		if err == io.EOF {
			return errCanceled
		}
		if err != nil {
			return fmt.Errorf("malformed input: %w", err)
		}
		if t == record.End {
			return nil
		}
	}
}

// check looks at one record and says whether to keep it.
func (d *drop) check(t record.Type, data []byte) (result postdrop.Result, keep bool) {
	d.size += int64(len(data))
	if limit := d.Common.MessageSizeLimit; limit > 0 && d.size > limit {
		d.Log.Warningf("uid=%d: message is larger than message_size_limit", d.uid)
		return postdrop.Result{Status: postdrop.StatusSize}, false
	}
	switch t {
	case record.Attr:
		return result, d.checkAttr(data)
	case record.Rcpt:
		d.rcpts++
	case record.Sender:
		if bytes.IndexByte(data, 0) >= 0 {
			return postdrop.Result{Status: postdrop.StatusBad, Reason: "NUL in FROM record"}, false
		}
		d.sender = true
		return d.checkSender(string(data)), true
	}
	return result, true
}

// checkAttr says whether a user may give this attribute.
func (d *drop) checkAttr(data []byte) bool {
	name, value, ok := bytes.Cut(data, []byte("="))
	if !ok || len(bytes.TrimSpace(name)) == 0 {
		d.Log.Warningf("uid=%d: ignoring malformed record: %.200s", d.uid, data)
		return false
	}
	switch n := string(bytes.TrimSpace(name)); n {
	case "encoding":
		switch string(value) {
		case "7bit", "8bit", "":
			return true
		}
	case "rewrite_context":
		switch string(value) {
		case "local", "remote":
			return true
		}
	case "trace_flags":
		return true
	default:
		if record.AttrType(n) != record.Attr {
			return true
		}
	}
	d.Log.Warningf("uid=%d: ignoring attribute record: %.200s=%.200s", d.uid, name, value)
	return false
}
