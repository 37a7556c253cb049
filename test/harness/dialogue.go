package harness

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// Dialogue plays an SMTP dialogue and returns it with the replies that came.
//
// A dialogue is lines "C: text", which are sent with CRLF, and "S: text", which
// stand for replies: a run of C lines is sent in one write, then one complete
// reply is read per S line that ends a reply ("S: 250 ok", or just "S:"). The
// text of an S line is what is expected; it does not matter here. "C- text" is
// sent without CRLF, with \r \n \0 \xNN escapes. "S!" stands for the end of the
// connection. "C! TLS" makes the TLS handshake, whatever certificate the server
// has; with "C! TLS FILE" the client shows the certificate and key of a PEM file,
// and a handshake that fails becomes the line "S! TLS". "C~ N MILLISECONDS text"
// sends text N times, as slowly as that, until the server hangs up. Other lines are
// kept. The client's own address is from, or any when that is empty.
func Dialogue(addr, from, script string, mask func(string) string) (string, error) {
	d := net.Dialer{Timeout: Wait}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { c.Close() }()
	r := bufio.NewReader(c)
	var out, send strings.Builder
	for _, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "C: "), line == "C:":
			send.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "C:"), " ") + "\r\n")
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "C- "):
			send.WriteString(unescape(line[3:]))
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "C~ "):
			if err := pace(c, send.String(), line); err != nil {
				return out.String(), err
			}
			send.Reset()
			out.WriteString(line + "\n")
		case line == "S! TLS":
		case line == "C! TLS", strings.HasPrefix(line, "C! TLS "):
			out.WriteString(line + "\n")
			if _, err := c.Write([]byte(send.String())); err != nil { // a proxy's header
				return out.String(), err
			}
			send.Reset()
			file := strings.TrimPrefix(strings.TrimPrefix(line, "C! TLS"), " ")
			secure, err := secured(c, file)
			if err != nil {
				if file == "" {
					return out.String(), fmt.Errorf("handshake: %w", err)
				}
				out.WriteString("S! TLS\n")
				return out.String(), nil
			}
			c, r = secure, bufio.NewReader(secure)
		case strings.HasPrefix(line, "S!"), strings.HasPrefix(line, "S:") && endsReply(line):
			c.SetDeadline(time.Now().Add(Wait))
			if send.Len() > 0 {
				if _, err := c.Write([]byte(send.String())); err != nil {
					return out.String(), fmt.Errorf("after %q: %w", lastLine(out.String()), err)
				}
				send.Reset()
			}
			if err := readReply(r, &out, mask, strings.HasPrefix(line, "S!")); err != nil {
				return out.String(), fmt.Errorf("after %q: %w", lastLine(out.String()), err)
			}
		case strings.HasPrefix(line, "S:"):
		default:
			out.WriteString(line + "\n")
		}
	}
	return out.String(), nil
}

// pace sends what waits, and then slowly what the line "C~ N MILLISECONDS text"
// says. A server that does not want to hear the rest is no error.
func pace(c net.Conn, waiting, line string) error {
	var count, millis int
	if _, err := fmt.Sscanf(line, "C~ %d %d", &count, &millis); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	text := unescape(strings.SplitN(line, " ", 4)[3])
	c.SetDeadline(time.Now().Add(Wait))
	if _, err := c.Write([]byte(waiting)); err != nil {
		return err
	}
	tick := time.NewTicker(time.Duration(millis) * time.Millisecond)
	defer tick.Stop()
	for range count {
		<-tick.C
		if _, err := c.Write([]byte(text)); err != nil {
			return nil
		}
	}
	return nil
}

// secured makes the client's side of a TLS session, with the certificate and the
// key of a PEM file or without, whatever issuers the server asks for.
func secured(c net.Conn, file string) (net.Conn, error) {
	conf := &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
	if file != "" {
		cert, err := tls.LoadX509KeyPair(file, file)
		if err != nil {
			return nil, err
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	secure := tls.Client(c, conf)
	c.SetDeadline(time.Now().Add(Wait))
	return secure, secure.Handshake()
}

// endsReply tells the last line of a reply from "S: 250-more".
func endsReply(line string) bool {
	text := strings.TrimPrefix(line, "S: ")
	return len(text) < 4 || text[3] != '-'
}

func readReply(r *bufio.Reader, out *strings.Builder, mask func(string) string, wantEnd bool) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if wantEnd || line == "" {
				out.WriteString("S!\n")
				return nil
			}
			return err
		}
		out.WriteString("S: " + mask(strings.TrimRight(line, "\r\n")) + "\n")
		if len(line) < 4 || line[3] != '-' {
			if wantEnd {
				continue
			}
			return nil
		}
	}
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case '0':
			b.WriteByte(0)
		case 'x':
			var n int
			fmt.Sscanf(s[i+1:min(i+3, len(s))], "%x", &n)
			b.WriteByte(byte(n))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
