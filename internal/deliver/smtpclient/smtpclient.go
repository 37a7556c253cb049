// Package smtpclient is the programs smtp and lmtp: one delivery agent that
// speaks SMTP (RFC 5321) or LMTP (RFC 2033) to the hosts that are responsible
// for a destination.
//
// A delivery is a walk over places to try: the destinations of the next hop
// and the fallback relays, of each its mail exchangers in the order of
// preference, of each its addresses. At every place a session is opened, or an
// idle one taken from the pool, and one transaction is made for the recipients
// that are left. A recipient is finished when a server accepts it or refuses it
// for good; a temporary refusal leaves it for the next place, and the last
// place decides. The texts that senders and log readers see are Postfix's.
package smtpclient

import (
	"context"
	"fmt"
	"net"

	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/service"
)

// A Protocol is what the client speaks.
type Protocol int

// The protocols, each a program and a set of parameters of its own.
const (
	SMTP Protocol = iota
	LMTP
)

// String is the protocol's name, "SMTP".
func (p Protocol) String() string {
	if p == LMTP {
		return "LMTP"
	}
	return "SMTP"
}

// A Client is the service smtp or lmtp.
type Client struct {
	kit    agent.Kit
	proto  Protocol
	config Config
	env    *service.Env
}

// New returns the service that speaks p.
func New(p Protocol) service.Service {
	c := &Client{proto: p}
	c.kit.StatusFilter = "smtp_delivery_status_filter"
	if p == LMTP {
		c.kit.StatusFilter = "lmtp_delivery_status_filter"
	}
	return c
}

// NewSMTP returns the program smtp.
func NewSMTP() service.Service { return New(SMTP) }

// NewLMTP returns the program lmtp.
func NewLMTP() service.Service { return New(LMTP) }

// Params implements service.Service.
func (c *Client) Params(s *param.Set) {
	c.kit.Params(s)
	c.config.Params(s, c.proto)
}

// Open implements service.Service.
func (c *Client) Open(e *service.Env) error {
	c.env = e
	return c.kit.Open(e)
}

// Serve implements service.Service.
func (c *Client) Serve(ctx context.Context, conn net.Conn) error {
	return c.kit.Serve(ctx, conn, c.Deliver)
}

// Deliver makes one delivery.
func (c *Client) Deliver(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	return fmt.Errorf("%s", c.proto)
}
