package oracle

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/test/harness"
)

// hold takes a place of the service at a port of the archive, and waits until
// the log says so.
func (p *player) hold(args []string) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.ports[args[0]]))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(harness.Wait))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		p.t.Fatalf("hold %s: %v", args[0], err)
	}
	p.held++
	p.i.Until("the log names all clients", func() bool {
		return strings.Count(p.i.Log(), "]: connect from ") >= p.i.Sessions+p.held
	})
	p.show("hold "+args[0], strings.TrimRight(line, "\r\n"))
}
