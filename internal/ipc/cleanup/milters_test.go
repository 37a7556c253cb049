package cleanup

import (
	"context"
	"net"
	"reflect"
	"testing"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/mail/record"
	"postern/internal/protocol/milter"
)

// The service gets the states and, in their order, working connections.
func TestPassMilters(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/cleanup")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := milter.Handover{Defaults: "a=b", Links: []milter.LinkState{
		{Name: "inet:one", State: 2, Version: 6, Skip: 0x37f, Offered: 0x1fffff, DefaultAction: "accept", CommandTimeout: 1, ContentTimeout: 2, EndOfHeader: "i j", Connected: true},
		{Name: "unix:two", State: 6, Action: 1, Text: "550-5.7.1 a\r\n550 5.7.1 b", DefaultAction: "reject", CommandTimeout: 30, ContentTimeout: 300},
		{Name: "unix:three", State: 2, Version: 2, DefaultAction: "shutdown", CommandTimeout: 30, ContentTimeout: 300, EndOfMessage: "{x}", Connected: true},
	}}
	got := make(chan milter.Handover, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := attr.NewConn(nc, time.Minute)
		p := attr.Protocol(Protocol)
		c.Send(&p)
		var start Start
		c.Recv(&start)
		c.Send(&Created{QueueID: "ID"})
		c.Flush()
		r := record.NewReader(c.R)
		r.SetLimit(100_000)
		for {
			typ, data, err := r.Next()
			if err != nil || typ == record.End {
				break
			}
			if typ != record.Milters {
				continue
			}
			h, conns, err := ReadMilters(c, data)
			if err != nil {
				t.Error(err)
				break
			}
			for i, name := range []string{"one", "three"} {
				conns[i].Write([]byte("to " + name))
				conns[i].Close()
			}
			got <- h
		}
		c.Send(&Result{})
		c.Flush()
	}()
	s, err := Dial(context.Background(), endpoint.New(dir, "", "cleanup", Protocol, endpoint.Times{Timeout: time.Minute}), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.W.PutString(record.Time, "1 0")
	var ours, theirs [2]net.Conn
	for i := range ours {
		ours[i], theirs[i] = pair(t)
	}
	if err := s.PassMilters(want, ours[:]); err != nil {
		t.Fatal(err)
	}
	s.W.PutString(record.End, "")
	if _, _, err := s.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	if h := <-got; !reflect.DeepEqual(h, want) {
		t.Errorf("got %+v, want %+v", h, want)
	}
	for i, name := range []string{"one", "three"} {
		var b [20]byte
		theirs[i].SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := theirs[i].Read(b[:]); string(b[:n]) != "to "+name {
			t.Errorf("connection %d: %q, %v", i, b[:n], err)
		}
	}
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	two, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close(); two.Close() })
	return one, two
}

// FuzzMilters reads whatever a client may send as the record Milters.
func FuzzMilters(f *testing.F) {
	f.Add([]byte("macro_defaults\x00\x00count\x000\x00\x00"))
	f.Add([]byte("macro_defaults\x00x=y\x00count\x00999999\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		here, there := net.Pipe()
		there.Close()
		defer here.Close()
		if _, conns, err := ReadMilters(attr.NewConn(here, time.Second), data); err == nil && len(conns) > 0 {
			t.Errorf("%d connections from nowhere", len(conns))
		}
	})
}
