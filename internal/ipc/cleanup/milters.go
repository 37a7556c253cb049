package cleanup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/mail/record"
	"postern/internal/protocol/milter"
)

// The milters of an SMTP session go with the message: a record Milters has their
// states; the service answers it with a status; then the client sends one
// octet and with it the connections, as descriptors. Nothing else is on the way
// meanwhile, so that the octet cannot be read along with records.

// A miltersMessage is the data of the record Milters.
type miltersMessage struct{ *milter.Handover }

// Attrs are macro_defaults, count, and the state of each milter.
func (m miltersMessage) Attrs(c *attr.Codec) {
	c.Str("macro_defaults", &m.Defaults)
	n := len(m.Links)
	c.Int("count", &n)
	if c.Reading() {
		if n < 0 || n > milter.MaxLinks {
			c.Fail(fmt.Errorf("unreasonable number of milters: %d", n))
			return
		}
		m.Links = make([]milter.LinkState, n)
	}
	for i := range m.Links {
		l := &m.Links[i]
		c.Str("name", &l.Name)
		c.Int("state", &l.State)
		c.Int("version", &l.Version)
		c.Int("skip", &l.Skip)
		c.Int("offered", &l.Offered)
		c.Int("action", &l.Action)
		c.Str("text", &l.Text)
		c.Str("default_action", &l.DefaultAction)
		c.Int("command_timeout", &l.CommandTimeout)
		c.Int("content_timeout", &l.ContentTimeout)
		c.Str("end_of_header_macros", &l.EndOfHeader)
		c.Str("end_of_data_macros", &l.EndOfMessage)
		c.Bool("connected", &l.Connected)
	}
	c.End()
}

// ErrMiltersRefused says that the service does not want the milters, because
// nothing will come of the message; Finish tells why.
var ErrMiltersRefused = errors.New("cleanup does not take the milters")

// RefuseMilters is the service's answer to the record Milters of a message that
// is lost already.
func RefuseMilters(conn *attr.Conn) error {
	no := attr.Status(1)
	if err := conn.Send(&no); err != nil {
		return err
	}
	return conn.Flush()
}

// PassMilters hands the milters of the session over, in front of the record
// Mesg. The caller keeps its ends of the connections and does not use them until
// the message has ended.
func (s *Session) PassMilters(h milter.Handover, conns []net.Conn) error {
	if s.conn == nil {
		return net.ErrClosed
	}
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := attr.NewWriter(w).Do(miltersMessage{&h}); err != nil {
		return err
	}
	w.Flush()
	s.W.Put(record.Milters, b.Bytes())
	if err := s.W.Flush(); err != nil {
		return err
	}
	var status attr.Status
	if err := s.conn.Recv(&status); err != nil {
		return err
	}
	if status != 0 {
		return ErrMiltersRefused
	}
	return sendConns(s.conn.Conn, conns, s.conn.Timeout)
}

// sendConns sends the descriptors of conns with one octet.
func sendConns(to net.Conn, conns []net.Conn, timeout time.Duration) error {
	u, ok := to.(*net.UnixConn)
	if !ok {
		return errors.New("descriptors can only be sent over a local socket")
	}
	var fds []int
	send := func() error {
		var rights []byte
		if len(fds) > 0 {
			rights = syscall.UnixRights(fds...)
		}
		if timeout > 0 {
			u.SetWriteDeadline(time.Now().Add(timeout))
		}
		_, _, err := u.WriteMsgUnix([]byte{0}, rights, nil)
		return err
	}
	// Control holds a descriptor while the next one is asked for, so that none is
	// closed before all are sent; the outermost call adds the first one.
	for _, c := range slices.Backward(conns) {
		sc, ok := c.(syscall.Conn)
		if !ok {
			return fmt.Errorf("a connection of type %T has no descriptor", c)
		}
		raw, err := sc.SyscallConn()
		if err != nil {
			return err
		}
		then := send
		send = func() (err error) {
			if e := raw.Control(func(fd uintptr) {
				fds = append(fds, int(fd))
				err = then()
			}); e != nil {
				err = e
			}
			return err
		}
	}
	return send()
}

// ReadMilters is the service's part of PassMilters: data is that of the record,
// and no records of the client are buffered.
func ReadMilters(conn *attr.Conn, data []byte) (h milter.Handover, conns []net.Conn, err error) {
	if err = attr.NewReader(bufio.NewReader(bytes.NewReader(data))).Do(miltersMessage{&h}); err != nil {
		RefuseMilters(conn)
		return h, nil, err
	}
	ok := attr.Status(0)
	if err = conn.Send(&ok); err == nil {
		err = conn.Flush()
	}
	if err != nil {
		return h, nil, err
	}
	if conn.R.Buffered() > 0 {
		return h, nil, errors.New("records before the milters have arrived")
	}
	n := 0
	for _, l := range h.Links {
		if l.Connected {
			n++
		}
	}
	conns, err = receiveConns(conn, n)
	return h, conns, err
}

func receiveConns(conn *attr.Conn, n int) (conns []net.Conn, err error) {
	u, ok := conn.Conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("descriptors can only be received over a local socket")
	}
	if conn.Timeout > 0 {
		u.SetReadDeadline(time.Now().Add(conn.Timeout))
	}
	var octet [1]byte
	oob := make([]byte, syscall.CmsgSpace(4*milter.MaxLinks))
	got, oobn, _, _, err := u.ReadMsgUnix(octet[:], oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	list, err := syscall.ParseSocketControlMessage(oob[:oobn])
	for i := range list {
		more, e := syscall.ParseUnixRights(&list[i])
		fds = append(fds, more...)
		if e != nil {
			err = e
		}
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "milter")
		c, e := net.FileConn(f)
		f.Close()
		if e != nil {
			err = e
			continue
		}
		conns = append(conns, c)
	}
	if err == nil && (got != 1 || len(conns) != n) {
		err = fmt.Errorf("%d connections to milters came, not %d", len(conns), n)
	}
	if err != nil {
		for _, c := range conns {
			c.Close()
		}
		return nil, err
	}
	return conns, nil
}
