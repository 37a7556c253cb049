// Package dnstest is a name server for tests: it answers on a loopback port,
// over UDP and TCP, from the text of a zone.
//
// A zone is lines in the form of RFC 1035 5.1 with whole names, and lines that
// begin with an exclamation mark, which make a name misbehave:
//
//	a.example.       MX 10 mx.a.example.
//	mx.a.example.    A  192.0.2.1
//	!servfail bad.example.      SERVFAIL; likewise refused, formerr, notimp
//	!timeout  slow.example.     no answer at all
//	!truncate big.example.      UDP answers are empty and cut
//	!noedns                     a query with EDNS gets FORMERR
//	!ad                         answers claim to be validated
package dnstest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"postern/internal/protocol/dns"
)

// A Server answers from its zone until it is closed.
type Server struct {
	addr string
	udp  *wire.Server
	tcp  *wire.Server

	mu      sync.Mutex
	zone    zone
	queries []string
}

type zone struct {
	records map[string][]wire.RR // by owner, lower case
	faults  map[string]string    // by name, lower case
	noEDNS  bool
	ad      bool
}

// New starts a server with a zone on a free loopback port.
func New(text string) (*Server, error) { return Listen("127.0.0.1:0", text) }

// Listen starts a server with a zone on an address.
func Listen(addr, text string) (*Server, error) {
	s := &Server{}
	if err := s.Set(text); err != nil {
		return nil, err
	}
	l, p, err := listen(addr)
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	s.udp = &wire.Server{PacketConn: p, Handler: s}
	s.tcp = &wire.Server{Listener: l, Handler: s}
	var up sync.WaitGroup
	up.Add(2)
	s.udp.NotifyStartedFunc = up.Done
	s.tcp.NotifyStartedFunc = up.Done
	go s.udp.ActivateAndServe()
	go s.tcp.ActivateAndServe()
	up.Wait()
	return s, nil
}

// listen opens the same port for TCP and UDP; of a free port it tries some.
func listen(addr string) (net.Listener, net.PacketConn, error) {
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, p, nil
		}
		l.Close()
		if try == 20 {
			return nil, nil, err
		}
	}
}

// Start starts a server that ends with the test.
func Start(t testing.TB, text string) *Server {
	t.Helper()
	s, err := New(text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Close stops the server.
func (s *Server) Close() {
	s.udp.Shutdown()
	s.tcp.Shutdown()
}

// Addr is the server's address and port.
func (s *Server) Addr() string { return s.addr }

// Config is a resolver's configuration that asks this server, without much
// patience.
func (s *Server) Config() dns.Config {
	return dns.Config{Servers: []string{s.addr}, Timeout: 300 * time.Millisecond, Attempts: 1, TrustAD: true}
}

// Resolver asks this server.
func (s *Server) Resolver() *dns.Client { return dns.NewClient(s.Config()) }

// Queries returns what was asked so far, each as "name type".
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.queries...)
}

// Set replaces the zone.
func (s *Server) Set(text string) error {
	z := zone{records: map[string][]wire.RR{}, faults: map[string]string{}}
	for i, line := range strings.Split(text, "\n") {
		if err := z.line(strings.TrimSpace(line)); err != nil {
			return fmt.Errorf("zone line %d: %w", i+1, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = z
	return nil
}

func (z *zone) line(line string) error {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || strings.HasPrefix(line, ";") || strings.HasPrefix(line, "#"):
		return nil
	case words[0] == "!noedns":
		z.noEDNS = true
		return nil
	case words[0] == "!ad":
		z.ad = true
		return nil
	case strings.HasPrefix(line, "!"):
		if len(words) != 2 {
			return fmt.Errorf("%s needs one name", words[0])
		}
		z.faults[key(words[1])] = words[0][1:]
		return nil
	}
	rr, err := wire.NewRR("$TTL 300\n" + line)
	if err != nil {
		return err
	}
	if rr == nil {
		return fmt.Errorf("no record in %q", line)
	}
	k := key(rr.Header().Name)
	z.records[k] = append(z.records[k], rr)
	return nil
}

func key(name string) string { return strings.ToLower(wire.Fqdn(name)) }

// ServeDNS answers one query.
func (s *Server) ServeDNS(w wire.ResponseWriter, q *wire.Msg) {
	if len(q.Question) != 1 {
		return
	}
	s.mu.Lock()
	z := s.zone
	question := q.Question[0]
	s.queries = append(s.queries, strings.TrimSuffix(question.Name, ".")+" "+dns.Type(question.Qtype).String())
	s.mu.Unlock()
	m := new(wire.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	m.AuthenticatedData = z.ad
	_, isUDP := w.RemoteAddr().(*net.UDPAddr)
	fault := z.faults[key(question.Name)]
	rcode := map[string]int{"servfail": wire.RcodeServerFailure, "refused": wire.RcodeRefused,
		"formerr": wire.RcodeFormatError, "notimp": wire.RcodeNotImplemented}
	switch {
	case z.noEDNS && q.IsEdns0() != nil:
		m.Rcode = wire.RcodeFormatError
	case fault == "timeout":
		return
	case rcode[fault] != 0:
		m.Rcode = rcode[fault]
	case fault == "truncate" && isUDP:
		m.Truncated = true
	default:
		z.answer(m, question)
	}
	if isUDP {
		size := wire.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}

// answer fills in the records, following aliases.
func (z *zone) answer(m *wire.Msg, q wire.Question) {
	name := q.Name
	for range 20 {
		list, ok := z.find(name)
		if !ok {
			m.Rcode = wire.RcodeNameError
			break
		}
		var alias *wire.CNAME
		for _, rr := range list {
			rr = wire.Copy(rr)
			rr.Header().Name = name
			if rr.Header().Rrtype == q.Qtype {
				m.Answer = append(m.Answer, rr)
			} else if c, is := rr.(*wire.CNAME); is {
				alias = c
			}
		}
		if alias == nil || q.Qtype == wire.TypeCNAME {
			break
		}
		m.Answer = append(m.Answer, alias)
		name = alias.Target
	}
	if len(m.Answer) == 0 || m.Answer[len(m.Answer)-1].Header().Rrtype != q.Qtype {
		soa, _ := wire.NewRR(". 60 SOA ns.test. root.test. 1 60 60 60 60")
		m.Ns = append(m.Ns, soa)
	}
}

// find returns the records of a name, or of the wildcard that covers it. A
// name with others below it exists.
func (z *zone) find(name string) ([]wire.RR, bool) {
	k := key(name)
	if list, ok := z.records[k]; ok {
		return list, true
	}
	for owner := range z.records {
		if strings.HasSuffix(owner, "."+k) {
			return nil, true
		}
	}
	if _, parent, ok := strings.Cut(k, "."); ok {
		list, ok := z.records["*."+parent]
		return list, ok
	}
	return nil, false
}
