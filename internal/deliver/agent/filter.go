package agent

import (
	"context"
	"errors"

	"postern/internal/mail/dsn"
)

// filtered looks up "status text" in the delivery status filter and returns the
// result that replaces it. A filter may turn a temporary failure into a
// permanent one and back, never a success into a failure.
// Postfix: default_delivery_status_filter.
func (rep *Report) filtered(res dsn.Result) dsn.Result {
	if rep.kit.filter.Empty() {
		return res
	}
	ctx, cancel := context.WithTimeout(context.Background(), rep.kit.env.Common.IPCTimeout)
	defer cancel()
	key := string(res.Status)
	if res.Reason != "" {
		key += " " + res.Reason
	}
	value, found, err := rep.kit.filter.Lookup(ctx, key)
	if err == nil && !found {
		return res
	}
	if err == nil {
		if out, ok := replace(res, value); ok {
			return out
		}
		err = errors.New("bad result " + value)
	}
	rep.req.Log.Warningf("%s: %s: %q: %v", rep.req.QueueID, rep.kit.StatusFilter, key, err)
	return res
}

// replace applies the value of a filter, "X.Y.Z text".
func replace(res dsn.Result, value string) (dsn.Result, bool) {
	n := dsn.Prefix(value)
	if n == 0 {
		return res, false
	}
	out := dsn.Split("", value)
	if (out.Status.Class() == '2') != (res.Status.Class() == '2') {
		return res, false
	}
	res.Status, res.Reason = out.Status, out.Reason
	return res, true
}
