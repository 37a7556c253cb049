// Package haproxy reads the header by which a proxy in front of a server tells
// who the client is, before the client's own octets.
//
// Version 1 is a line of text, version 2 a binary block. Not an octet beyond
// the header is read: it may be the start of a TLS handshake.
//
// HAProxy: The PROXY protocol, versions 1 and 2.
package haproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A Header is what the proxy says of a connection.
type Header struct {
	// Local says that the connection is the proxy's own (version 2, command
	// LOCAL): a health check, that has no client behind it.
	Local bool
	// Client and Server are the two ends as the proxy saw them.
	Client, Server netip.AddrPort
}

const (
	maxLine  = 552 // version 1; the protocol needs 107 with CR LF (Postfix: the same)
	maxBlock = 536 // version 2, behind the fixed part: addresses and additions
)

// An Error is a header that is not understood. Its octets are for the log, and
// not safe there as they are.
type Error struct {
	Reason string
	Header []byte
}

func (e *Error) Error() string { return e.Reason }

// signature begins a header of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Read reads a header of either version from r. It reads octet by octet where
// the length is not known before.
func Read(r io.Reader) (Header, error) {
	start := make([]byte, 0, maxLine)
	for len(start) < maxLine && (!bytes.HasSuffix(start, []byte("\n")) || strings.HasPrefix(signature, string(start))) {
		n := len(start)
		if _, err := io.ReadFull(r, start[n:n+1]); err != nil {
			return Header{}, err
		}
		start = start[:n+1]
		if string(start) == signature {
			return readBlock(r)
		}
	}
	switch {
	case len(start) < len(signature):
		return Header{}, &Error{"short protocol header", start}
	case !strings.HasPrefix(string(start), "PROXY "):
		return Header{}, &Error{"unrecognized protocol header", start}
	case start[len(start)-1] != '\n':
		return Header{}, &Error{"missing protocol header terminator", start}
	}
	h, err := parseLine(string(start))
	if err != nil {
		err = &Error{err.Error(), start}
	}
	return h, err
}

// parseLine reads "PROXY TCP4 client server clientport serverport\r\n". Postfix:
// any number of blanks separates the words, and what follows them is ignored.
func parseLine(line string) (Header, error) {
	f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) })
	if len(f) < 2 || f[1] != "TCP4" && f[1] != "TCP6" {
		return Header{}, errors.New("bad or missing protocol type")
	}
	f = append(f, make([]string, max(0, 6-len(f)))...)
	var h Header
	for i, end := range [...]*netip.AddrPort{&h.Client, &h.Server} {
		what := [...]string{"client", "server"}[i]
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Zone() != "" || a.Is4() != (f[1] == "TCP4") {
			return Header{}, fmt.Errorf("bad or missing %s address", what)
		}
		port, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || len(f[4+i]) > 1 && f[4+i][0] == '0' {
			return Header{}, fmt.Errorf("bad or missing %s port", what)
		}
		*end = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return h, nil
}

// Values of the two octets behind the signature.
const (
	version2 = 0x20 // in the high half of the first octet
	cmdLocal = 0x20
	cmdProxy = 0x21
	tcp4     = 0x11
	tcp6     = 0x21
)

// readBlock reads what follows the signature: command, family, length, and as
// many octets as the length says.
func readBlock(r io.Reader) (Header, error) {
	header := make([]byte, len(signature)+4, len(signature)+4+maxBlock)
	copy(header, signature)
	fixed := header[len(signature):]
	if _, err := io.ReadFull(r, fixed); err != nil {
		return Header{}, err
	}
	n := int(binary.BigEndian.Uint16(fixed[2:]))
	if n > maxBlock {
		return Header{}, &Error{fmt.Sprintf("header of %d octets is too long", n), header}
	}
	header = header[:len(header)+n]
	block := header[len(signature)+4:]
	if _, err := io.ReadFull(r, block); err != nil {
		return Header{}, err
	}
	h, err := parseBlock(fixed[0], fixed[1], block)
	if err != nil {
		err = &Error{err.Error(), header}
	}
	return h, err
}

func parseBlock(command, family byte, block []byte) (Header, error) {
	switch {
	case command&0xf0 != version2:
		return Header{}, errors.New("unrecognized protocol version")
	case command == cmdLocal:
		return Header{Local: true}, nil
	case command != cmdProxy:
		return Header{}, errors.New("bad command in proxy header")
	}
	size := map[byte]int{tcp4: 4, tcp6: 16}[family]
	if size == 0 {
		return Header{}, errors.New("unsupported network protocol")
	}
	if len(block) < 2*size+4 {
		return Header{}, errors.New("short address field")
	}
	end := func(i int) netip.AddrPort {
		a, _ := netip.AddrFromSlice(block[i*size : (i+1)*size])
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(block[2*size+2*i:]))
	}
	return Header{Client: end(0), Server: end(1)}, nil
}
