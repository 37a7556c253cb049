package sasl

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A Saslauthd asks Cyrus' saslauthd: four counted strings go there, one comes
// back. Each question has a connection of its own, as the daemon wants it.
type Saslauthd struct {
	Path    string // of the socket
	Timeout time.Duration
}

// maxSaslauthd is the longest string of an answer.
const maxSaslauthd = 4096

// Check asks whether the password is the user's. A realm that the name brings
// along goes its own way, as the Cyrus library sends it.
func (s *Saslauthd) Check(ctx context.Context, user, password, service, realm string) (bool, error) {
	if i := strings.LastIndexByte(user, '@'); i >= 0 {
		user, realm = user[:i], user[i+1:]
	}
	answer, err := s.ask(ctx, user, password, service, realm)
	if err != nil {
		return false, fmt.Errorf("saslauthd at %s: %w", s.Path, err)
	}
	switch {
	case strings.HasPrefix(answer, "OK"):
		return true, nil
	case strings.HasPrefix(answer, "NO"):
		return false, nil
	}
	return false, fmt.Errorf("saslauthd at %s: unexpected answer %.40q", s.Path, answer)
}

func (s *Saslauthd) ask(ctx context.Context, fields ...string) (string, error) {
	d := net.Dialer{Timeout: s.Timeout}
	c, err := d.DialContext(ctx, "unix", s.Path)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(s.Timeout))
	var b []byte
	for _, f := range fields {
		if len(f) > maxSaslauthd {
			return "", fmt.Errorf("a string is longer than %d octets", maxSaslauthd)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	if _, err := c.Write(b); err != nil {
		return "", err
	}
	return readCounted(c)
}

func readCounted(r io.Reader) (string, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	size := binary.BigEndian.Uint16(n[:])
	if size < 2 || size > maxSaslauthd {
		return "", fmt.Errorf("an answer of %d octets", size)
	}
	text := make([]byte, size)
	_, err := io.ReadFull(r, text)
	return string(text), err
}
