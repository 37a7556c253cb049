// Package dns asks the domain name system, and says of every answer in which
// of Postfix's classes it falls: found, no such name, no such record, try
// again, hopeless, malformed, forbidden.
//
// A Resolver is the one interface: a name and a type go in, an Answer comes
// out. A Client is the resolver that sends queries; a Native also reads a
// hosts file. The wire format is that of RFC 1035, with RFC 6891 (EDNS) and
// RFC 4035 (the AD bit).
package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// A Type is the type of a resource record.
type Type uint16

// The types that a mail system asks for.
const (
	A     Type = 1
	NS    Type = 2
	CNAME Type = 5
	SOA   Type = 6
	PTR   Type = 12
	MX    Type = 15
	TXT   Type = 16
	AAAA  Type = 28
	SRV   Type = 33
	TLSA  Type = 52
)

// String is the type's name, "MX"; a type without a name is "TYPE65280".
func (t Type) String() string {
	if s := wire.TypeToString[uint16(t)]; s != "" {
		return s
	}
	return fmt.Sprintf("TYPE%d", uint16(t))
}

// A Class says what became of a query.
type Class int

// The classes of an answer.
const (
	OK       Class = iota // there are records
	NotFound              // the name or the record does not exist; Answer.NoData tells which
	NullMX                // RFC 7505: the domain says that it takes no mail
	Invalid               // the records are malformed (Postfix: DNS_INVAL)
	Fail                  // the servers refuse or cannot ever answer
	Retry                 // no answer now
	Policy                // a reply filter dropped everything
)

// A Record is one resource record. Which fields hold its data depends on Type.
type Record struct {
	Type   Type
	Name   string // owner, without the last dot
	TTL    uint32 // seconds
	Pref   uint16 // MX preference, SRV priority
	Weight uint16 // SRV
	Port   uint16 // SRV
	Host   string // MX, PTR, CNAME, NS, SRV: a name without the last dot
	Addr   netip.Addr
	Text   string // TXT: all strings joined
	Data   []byte // TLSA: usage, selector, matching type, then the data
}

// An Answer is what is known after a query.
type Answer struct {
	Class   Class
	Records []Record
	Name    string        // the owner of the records, after following CNAMEs
	AD      bool          // a trusted resolver says that the answer is validated
	NoData  bool          // with NotFound: the name exists, without such a record
	TTL     time.Duration // the least of the records; of a negative answer as its SOA says
	Reason  string        // why there are no records, in Postfix's words
}

// Found says whether there are records.
func (a *Answer) Found() bool { return a.Class == OK }

// Temporary says whether the same query may succeed later.
func (a *Answer) Temporary() bool { return a.Class == Retry }

// Err is nil when there are records, else an error with the reason.
func (a *Answer) Err() error {
	if a.Class == OK {
		return nil
	}
	return &Error{Class: a.Class, Reason: a.Reason}
}

// Addrs returns the addresses of the records, in their order.
func (a *Answer) Addrs() []netip.Addr {
	var list []netip.Addr
	for i := range a.Records {
		if a.Records[i].Addr.IsValid() {
			list = append(list, a.Records[i].Addr)
		}
	}
	return list
}

// An Error is an answer without records.
type Error struct {
	Class  Class
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// A Resolver looks up the records of one type. It follows CNAMEs. It may be
// called from several goroutines.
type Resolver interface {
	Lookup(ctx context.Context, name string, t Type) Answer
}

// Addresses looks up several types of address records of one name and joins
// what it finds. It is not found only when no type is; a temporary failure of
// one type hides behind records of another. Of equal failures the last one is
// returned (Postfix: the same).
func Addresses(ctx context.Context, r Resolver, name string, types ...Type) Answer {
	var sum Answer
	for i, t := range types {
		a := r.Lookup(ctx, name, t)
		switch {
		case i == 0:
			sum = a
		case a.Class == OK && sum.Class == OK:
			sum.Records = append(sum.Records[:len(sum.Records):len(sum.Records)], a.Records...)
			sum.AD = sum.AD && a.AD
			sum.TTL = min(sum.TTL, a.TTL)
		case a.Class == OK:
			sum = a
		case sum.Class == OK:
		case !worse(&sum, &a):
			sum = a
		}
	}
	return sum
}

// worse says whether a weighs more than b when neither has records: what may
// be cured by waiting weighs most, then failures, then what is known not to
// exist, where a name without records tells more than no name.
func worse(a, b *Answer) bool {
	rank := func(x *Answer) int {
		switch x.Class {
		case Retry:
			return 4
		case Fail, Invalid, Policy:
			return 3
		}
		if x.NoData {
			return 2
		}
		return 1
	}
	return rank(a) > rank(b)
}

// Reverse looks up the PTR records of an address.
func Reverse(ctx context.Context, r Resolver, addr netip.Addr) Answer {
	return r.Lookup(ctx, ReverseName(addr), PTR)
}

// ReverseName is the name whose PTR records name the address
// (RFC 1035 3.5, RFC 3596 2.5).
func ReverseName(addr netip.Addr) string {
	const hex = "0123456789abcdef"
	addr = addr.Unmap()
	var b strings.Builder
	if addr.Is4() {
		o := addr.As4()
		fmt.Fprintf(&b, "%d.%d.%d.%d.in-addr.arpa", o[3], o[2], o[1], o[0])
		return b.String()
	}
	o := addr.As16()
	for i := len(o) - 1; i >= 0; i-- {
		b.WriteByte(hex[o[i]&15])
		b.WriteByte('.')
		b.WriteByte(hex[o[i]>>4])
		b.WriteByte('.')
	}
	b.WriteString("ip6.arpa")
	return b.String()
}

// Texts of the resolver library that Postfix puts behind its own.
const (
	hostNotFound = "Host not found"
	tryAgain     = "Host not found, try again"
	noRecovery   = "Non-recoverable error"
	noData       = "Host found but no data record of requested type"
)

// failure makes an answer without records.
func failure(class Class, name string, t Type, text string) Answer {
	return Answer{Class: class, Name: name, NoData: text == noData,
		Reason: fmt.Sprintf("Host or domain name not found. Name service error for name=%s type=%s: %s", name, t, text)}
}
