package milter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxPacket bounds what a milter may send at once: a piece of a body or a
// header field.
const maxPacket = 1 << 20

// A wire is a connection to a milter. Every packet that is read has the whole
// timeout; a milter that is slow says so (replyProgress).
type wire struct {
	net.Conn
	r   *bufio.Reader
	out []byte
	in  []byte
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, r: bufio.NewReaderSize(c, 512)} }

// put adds a command to what is sent at the next flush. Its data is the
// concatenation of parts.
func (w *wire) put(cmd byte, parts ...[]byte) {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	w.out = binary.BigEndian.AppendUint32(w.out, uint32(n))
	w.out = append(w.out, cmd)
	for _, p := range parts {
		w.out = append(w.out, p...)
	}
}

// putStrings adds a command whose data is strings, each followed by a NUL. A
// string goes up to its first NUL: what a client says must not become a string
// of its own.
func (w *wire) putStrings(cmd byte, prefix []byte, list ...string) {
	n := 1 + len(prefix)
	for i, s := range list {
		list[i], _, _ = strings.Cut(s, "\x00")
		n += len(list[i]) + 1
	}
	w.out = binary.BigEndian.AppendUint32(w.out, uint32(n))
	w.out = append(append(w.out, cmd), prefix...)
	for _, s := range list {
		w.out = append(append(w.out, s...), 0)
	}
}

func (w *wire) flush(timeout time.Duration) error {
	if len(w.out) == 0 {
		return nil
	}
	w.SetWriteDeadline(time.Now().Add(timeout))
	_, err := w.Write(w.out)
	if w.out = w.out[:0]; cap(w.out) > 2*chunk {
		w.out = nil
	}
	return err
}

// next reads a packet. The data is valid until the next call.
func (w *wire) next(timeout time.Duration) (reply byte, data []byte, err error) {
	w.SetReadDeadline(time.Now().Add(timeout))
	var head [4]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > maxPacket {
		return 0, nil, fmt.Errorf("unreasonable packet length: %d", n)
	}
	if reply, err = w.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	// The buffer grows only as the octets arrive.
	w.in = w.in[:0]
	for n--; n > 0; {
		step := min(n, 16<<10)
		at := len(w.in)
		w.in = append(w.in, make([]byte, step)...)
		if _, err := io.ReadFull(w.r, w.in[at:]); err != nil {
			return 0, nil, err
		}
		n -= step
	}
	return reply, w.in, nil
}

// Errors of packets.
var (
	errShort = errors.New("packet too short")
	errNUL   = errors.New("missing string null terminator")
	errExtra = errors.New("data after the end of the request")
)

// fields takes data apart: a number where index is set, and n strings that are
// each ended by a NUL. The last missing string may be left out when optional is
// set.
func fields(data []byte, index bool, n int, optional bool) (number uint32, list []string, err error) {
	if index {
		if len(data) < 4 {
			return 0, nil, errShort
		}
		number, data = binary.BigEndian.Uint32(data), data[4:]
	}
	for len(list) < n {
		if optional && len(data) == 0 && len(list) == n-1 {
			list = append(list, "")
			break
		}
		end := 0
		for end < len(data) && data[end] != 0 {
			end++
		}
		if end == len(data) {
			return 0, nil, errNUL
		}
		list = append(list, string(data[:end]))
		data = data[end+1:]
	}
	if len(data) > 0 {
		return 0, nil, errExtra
	}
	return number, list, nil
}
