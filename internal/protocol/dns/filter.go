package dns

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/table"
)

// A Filter is a resolver that leaves out the records which a table says to
// ignore (smtp_dns_reply_filter, smtpd_dns_reply_filter).
type Filter struct {
	Resolver
	Maps *table.Maps
	// Log says what is left out.
	Log table.Logger
}

// Lookup asks the resolver and filters its answer. When nothing is left the
// answer is of the class Policy.
func (f *Filter) Lookup(ctx context.Context, name string, t Type) Answer {
	a := f.Resolver.Lookup(ctx, name, t)
	if a.Class != OK {
		return a
	}
	kept := make([]Record, 0, len(a.Records))
	for i := range a.Records {
		text := a.Records[i].String()
		value, found, err := f.Maps.Lookup(ctx, text)
		if err != nil {
			return failure(Retry, name, t, "DNS reply filter lookup error")
		}
		if found && strings.EqualFold(strings.TrimSpace(value), "IGNORE") {
			f.Log.Infof("ignoring DNS RR: %s", text)
			continue
		}
		if found {
			f.Log.Warningf("%s: unknown DNS filter action: \"%s\"", f.Maps.Title(), value)
			return failure(Retry, name, t, "Invalid DNS reply filter syntax")
		}
		kept = append(kept, a.Records[i])
	}
	if a.Records = kept; len(kept) == 0 {
		a = failure(Policy, name, t, "")
		a.Reason = fmt.Sprintf("Error looking up name=%s type=%s: DNS reply filter drops all results", name, t)
	}
	return a
}

// String is a record as filters see it: "name ttl IN type data".
//
// Postfix: the form of its DNS reply filters.
func (r *Record) String() string {
	data := r.Host
	switch r.Type {
	case A, AAAA:
		data = r.Addr.String()
	case TXT:
		data = r.Text
	case TLSA:
		data = fmt.Sprintf("%x", r.Data)
		if len(r.Data) > 3 {
			data = fmt.Sprintf("%d %d %d %X", r.Data[0], r.Data[1], r.Data[2], r.Data[3:])
		}
	case MX:
		data = fmt.Sprintf("%d %s.", r.Pref, r.Host)
	case SRV:
		data = fmt.Sprintf("%d %d %d %s.", r.Pref, r.Weight, r.Port, r.Host)
	default:
		data += "."
	}
	return fmt.Sprintf("%s. %d IN %s %s", r.Name, r.TTL, r.Type, data)
}
