package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"postern/internal/table"
)

// A socketmap server may hold several maps; each is a table of its own.
type socketmap struct {
	*server
	spec, mapName string
	maxReply      int // socketmap_max_reply_size
	maxQuery      int // socketmap_max_query_size
}

func openSocketmap(name string, o *table.Opener) (table.Table, error) {
	bad := fmt.Errorf("bad socketmap:name syntax %q; expected socketmap:inet:host:port:name or socketmap:unix:path:name", name)
	dest, mapName, ok := cutLast(name, ":")
	if !ok || mapName == "" {
		return nil, bad
	}
	kind, addr, _ := strings.Cut(dest, ":")
	m := &socketmap{spec: "socketmap:" + name, mapName: mapName}
	var err error
	if m.maxReply, err = size(o, "socketmap_max_reply_size", 100000); err != nil {
		return nil, err
	}
	if m.maxQuery, err = size(o, "socketmap_max_query_size", 10000); err != nil {
		return nil, err
	}
	switch {
	case kind == "inet":
		host, port, ok := cutLast(addr, ":")
		if !ok || host == "" || port == "" {
			return nil, bad
		}
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		m.server = &server{network: "tcp", addr: net.JoinHostPort(host, port)}
	case kind == "unix" && addr != "":
		m.server = &server{network: "unix", addr: addr}
	default:
		return nil, bad
	}
	return m, nil
}

// size returns a limit that main.cf may set.
func size(o *table.Opener, name string, def int64) (int, error) {
	n, err := o.Number(name, def, 1)
	return int(n), err
}

// Lookup sends the netstring "name key" and reads one.
func (m *socketmap) Lookup(ctx context.Context, key string) (string, bool, error) {
	query := m.mapName + " " + key
	if len(query) > m.maxQuery {
		return "", false, nil // no server has a key of that size
	}
	var reply string
	err := m.ask(ctx, func(c net.Conn, r *bufio.Reader) error {
		if _, err := fmt.Fprintf(c, "%d:%s,", len(query), query); err != nil {
			return err
		}
		b, err := readNetstring(r, m.maxReply)
		reply = string(b)
		return err
	})
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", m.spec, err)
	}
	status, text, _ := strings.Cut(reply, " ")
	switch status {
	case "OK":
		return text, true, nil
	case "NOTFOUND":
		return "", false, nil
	case "TEMP", "TIMEOUT", "PERM":
		return "", false, fmt.Errorf("%s: socketmap server %s error: %.100q", m.spec, map[string]string{
			"TEMP": "temporary", "TIMEOUT": "timeout", "PERM": "permanent"}[status], text)
	}
	return "", false, fmt.Errorf("%s: unexpected reply from socketmap server: %.100q", m.spec, reply)
}

func readNetstring(r *bufio.Reader, limit int) ([]byte, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if c == ':' && digits > 0 {
			break
		}
		if c < '0' || c > '9' {
			return nil, errors.New("malformed netstring length")
		}
		if n = n*10 + int(c-'0'); n > limit {
			return nil, fmt.Errorf("reply is longer than %d octets", limit)
		}
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if b[n] != ',' {
		return nil, errors.New("malformed netstring end")
	}
	return b[:n], nil
}
