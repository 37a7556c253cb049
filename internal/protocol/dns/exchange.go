package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	wire "github.com/miekg/dns"
)

// udpSize is the largest datagram asked for: what passes without fragments.
const udpSize = 1232

// dial connects a socket that ctx bounds: its deadline is the socket's, and
// its end ends what the socket waits for.
func dial(ctx context.Context, network, server string) (net.Conn, func() bool, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, nil, err
	}
	if t, ok := ctx.Deadline(); ok {
		c.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return c, stop, nil
}

// exchangeUDP sends a datagram from a port of its own and waits for the reply
// to it; other datagrams are skipped.
func exchangeUDP(ctx context.Context, server string, q *wire.Msg) (*wire.Msg, error) {
	c, stop, err := dial(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer stop()
	out, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(out); err != nil {
		return nil, err
	}
	in := make([]byte, 64<<10)
	for {
		n, err := c.Read(in)
		if err != nil {
			return nil, err
		}
		if m := new(wire.Msg); m.Unpack(in[:n]) == nil && answers(m, q) {
			return m, nil
		}
	}
}

func exchangeTCP(ctx context.Context, server string, q *wire.Msg) (*wire.Msg, error) {
	c, stop, err := dial(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer stop()
	out, err := q.Pack()
	if err != nil {
		return nil, err
	}
	out = append(binary.BigEndian.AppendUint16(make([]byte, 0, len(out)+2), uint16(len(out))), out...)
	if _, err := c.Write(out); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	in := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, in); err != nil {
		return nil, err
	}
	m := new(wire.Msg)
	if err := m.Unpack(in); err != nil {
		return nil, err
	}
	if !answers(m, q) {
		return nil, errors.New("reply to another query")
	}
	return m, nil
}

// answers says whether m is the reply to q. A server that did not understand
// the query may leave the question out.
func answers(m, q *wire.Msg) bool {
	if !m.Response || m.Id != q.Id {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode != wire.RcodeSuccess && m.Rcode != wire.RcodeNameError
	}
	a, b := m.Question[0], q.Question[0]
	return len(m.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && sameName(a.Name, b.Name)
}
