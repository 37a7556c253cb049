// Package addrmap maps addresses by lookup tables, as canonical, virtual alias,
// generic and bcc maps do.
//
// A table is asked for user+ext@domain, user@domain, user+ext, user and
// @domain, in this order; the forms without a domain only where the domain is
// one of this system's. Pattern tables see the whole address only. What a
// table says is a list of addresses, which are completed like addresses of
// local mail; "@domain" keeps the local part.
//
// Postfix: canonical(5), virtual(5), generic(5).
package addrmap

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/mail/address"
	"postern/internal/table"
)

// A Mapper knows how addresses are split and completed. Addresses go in and
// come out in internal form.
type Mapper struct {
	Extensions address.Extensions
	// Local says whether the local part of an address in domain may be looked
	// up alone: domain is $myorigin, in $mydestination, or an address of this
	// system in brackets.
	Local func(ctx context.Context, domain string) (bool, error)
	// Rewrite completes an address ("user" becomes "user@myorigin").
	Rewrite func(ctx context.Context, addr string) (string, error)
}

// Find returns what maps say of addr. ext is the extension, with its
// delimiter, where it is not part of the key that was found.
func (m *Mapper) Find(ctx context.Context, maps *table.Maps, addr string) (value, ext string, found bool, err error) {
	if maps.Empty() || addr == "" {
		return "", "", false, nil
	}
	if value, found, err = lookup(ctx, maps.Lookup, addr); found || err != nil {
		return value, "", found, err
	}
	bare, ext, extended := m.Extensions.Strip(addr)
	if extended {
		if value, found, err = lookup(ctx, maps.LookupFixed, bare); found || err != nil {
			return value, ext, found, err
		}
	}
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return "", "", false, nil
	}
	local, err := m.Local(ctx, addr[at+1:])
	if err != nil {
		return "", "", false, err
	}
	if local {
		if value, found, err = lookup(ctx, maps.LookupFixed, addr[:at]); found || err != nil {
			return value, "", found, err
		}
		if extended {
			bareLocal, _ := address.Split(bare)
			if value, found, err = lookup(ctx, maps.LookupFixed, bareLocal); found || err != nil {
				return value, ext, found, err
			}
		}
	}
	value, found, err = maps.LookupFixed(ctx, addr[at:])
	return value, "", found, err
}

// lookup asks for the external form of key, then for the internal one (Postfix
// since 3.2; older tables have the internal form).
func lookup(ctx context.Context, ask func(context.Context, string) (string, bool, error), key string) (string, bool, error) {
	external := quoteKey(key)
	value, found, err := ask(ctx, external)
	if !found && err == nil && external != key {
		value, found, err = ask(ctx, key)
	}
	return value, found, err
}

// quoteKey quotes a key that may be a local part alone.
func quoteKey(key string) string { return address.Quote822(key) }

// Map returns the addresses to which maps map addr. With propagate, an
// extension that is not part of the key found is added to each.
func (m *Mapper) Map(ctx context.Context, maps *table.Maps, addr string, propagate bool) ([]string, error) {
	value, ext, found, err := m.Find(ctx, maps, addr)
	if err != nil || !found {
		return nil, err
	}
	if !propagate {
		ext = ""
	}
	if value[0] == '@' {
		local, _ := address.Split(addr)
		value, ext = address.Quote822(local+value), ""
	}
	return m.complete(ctx, value, ext)
}

func (m *Mapper) complete(ctx context.Context, value, ext string) ([]string, error) {
	list := address.Addresses(value)
	if len(list) == 0 {
		list = []string{""}
	}
	for i, a := range list {
		a, err := m.Rewrite(ctx, a)
		if err != nil {
			return nil, err
		}
		if ext != "" {
			if at := strings.LastIndexByte(a, '@'); at >= 0 {
				a = a[:at] + ext + a[at:]
			} else {
				a += ext
			}
		}
		list[i] = a
	}
	return list, nil
}

// maxOne bounds how often One maps what it has mapped.
const maxOne = 10

// One maps addr to one address, again and again until nothing changes
// (Postfix: canonical and generic maps). When maps give several addresses, the
// first counts and warn is called.
func (m *Mapper) One(ctx context.Context, maps *table.Maps, addr string, propagate bool, warn func(error)) (string, error) {
	for range maxOne {
		list, err := m.Map(ctx, maps, addr, propagate)
		if err != nil {
			return addr, &Error{Problem: "%s map lookup problem for %s" + tryAgain, Title: maps.Title(), Subject: addr, cause: err}
		}
		if len(list) == 0 {
			return addr, nil
		}
		if len(list) > 1 {
			warn(&Error{Problem: "multi-valued %s entry for %s", Title: maps.Title(), Subject: addr})
		}
		same := strings.EqualFold(list[0], addr)
		addr = list[0]
		if same {
			return addr, nil
		}
	}
	return addr, &Error{Problem: "unreasonable %s map nesting for %s" + tryAgain, Title: maps.Title(), Subject: addr}
}

const tryAgain = " -- message not accepted, try again later"

// An Error says what is wrong with the mapping of one address.
type Error struct {
	Problem string // a format for Title and Subject
	Title   string // the parameter that names the tables
	Subject string // the address
	cause   error
}

func (e *Error) Error() string {
	return fmt.Sprintf(e.Problem, e.Title, e.Subject)
}

// Unwrap returns the error of the table, if that is the cause.
func (e *Error) Unwrap() error { return e.cause }

// Temporary says that a table could not be asked; otherwise the tables are wrong.
func (e *Error) Temporary() bool { return e.cause != nil }
