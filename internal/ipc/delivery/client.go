package delivery

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"postern/internal/ipc/attr"
)

// ErrUnread says that the agent closed the connection before it had read the
// request: nothing was done, and the request may be sent again.
var ErrUnread = errors.New("connection closed before the request was read")

// Exchange sends req to the agent behind c and waits for its reply for at most
// limit (daemon_timeout: a delivery may take hours). When ctx ends, the
// exchange fails; the agent goes on.
//
// An agent that closes an idle connection may do so just as the request
// arrives. Linux then reports a reset, or a broken pipe, because the closed
// socket held unread data; that is ErrUnread. After any other error it is not
// known what was delivered; the recipients that are marked done are the answer.
func Exchange(ctx context.Context, c *attr.Conn, req *Request, reply *Reply, limit time.Duration) error {
	if err := c.Send(req); err != nil {
		return unread(err)
	}
	if err := c.Flush(); err != nil {
		return unread(err)
	}
	c.SetReadDeadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	*reply = Reply{}
	return unread(attr.NewReader(c.R).Do(reply))
}

func unread(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: %w", ErrUnread, err)
	}
	return err
}
