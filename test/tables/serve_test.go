package tables

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// serve starts a server of one of the two protocols for tables.
func (p *player) serve(args []string) {
	name, protocol := args[0], args[1]
	answers := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(p.section(args[2])), "\n") {
		request, reply, ok := strings.Cut(line, " => ")
		if !ok {
			p.t.Fatalf("section %s: no => in %q", args[2], line)
		}
		for _, text := range []*string{&request, &reply} {
			unquoted, err := strconv.Unquote(`"` + *text + `"`)
			p.must(err)
			*text = unquoted
		}
		answers[request] = reply
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	p.t.Cleanup(func() { l.Close() })
	_, p.ports[name], err = net.SplitHostPort(l.Addr().String())
	p.must(err)
	talk := talkTCP
	if protocol == "socketmap" {
		talk = talkSocketmap
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); talk(r, c, answers) == nil; {
				}
			}()
		}
	}()
}

// hangUp is the reply that is none.
const hangUp = "hang up"

func talkTCP(r *bufio.Reader, w io.Writer, answers map[string]string) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	reply, ok := answers[strings.TrimSuffix(line, "\n")]
	switch {
	case !ok:
		reply = "500 not found"
	case reply == hangUp:
		return io.EOF
	}
	_, err = io.WriteString(w, reply+"\n")
	return err
}

func talkSocketmap(r *bufio.Reader, w io.Writer, answers map[string]string) error {
	length, err := r.ReadString(':')
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return err
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	reply, ok := answers[string(b[:n])]
	switch {
	case !ok:
		reply = "NOTFOUND "
	case reply == hangUp:
		return io.EOF
	case strings.HasPrefix(reply, "raw "):
		_, err = io.WriteString(w, reply[4:])
		return err
	}
	_, err = fmt.Fprintf(w, "%d:%s,", len(reply), reply)
	return err
}
