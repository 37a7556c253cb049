// Package ldap is the table type ldap: a search in a directory.
//
// A search finds entries; the attributes of an entry are results (ordinary,
// leaf and terminal ones) or say where to search further (special ones).
//
// Postfix: ldap_table(5). Filters: RFC 4515, names: RFC 4514, URLs: RFC 4516.
package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/table"
	"postern/internal/table/database"
)

// Type returns the type ldap.
func Type() table.Type {
	return table.Type{Name: "ldap", Fold: true, Database: true, Open: open}
}

// hostRetry is how long a server that failed is left alone; libldap tries it
// again at once.
const hostRetry = 5 * time.Second

// A directory is an open table.
type directory struct {
	*database.Common
	client
	pool         *database.Pool[*conn]
	base, filter *database.Template
	scope        int
	attributes   attributes
	recursion    int // recursion_limit
	size         int // size_limit
	deref        int
}

func open(name string, o *table.Opener) (table.Table, error) {
	c, err := database.Load("ldap", name, o)
	if err != nil {
		return nil, err
	}
	d := &directory{client: client{config: c}}
	if d.base, err = database.ParseTemplate("search_base", c.Str("search_base", "")); err != nil {
		c.Failf("%w", err)
	}
	if d.filter, err = database.ParseTemplate("query_filter", tidy(c.Str("query_filter", "mailacceptinggeneralid=%s"))); err != nil {
		c.Failf("%w", err)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	format := c.Str("result_format", c.Str("result_filter", "%s"))
	d.Common = database.NewCommonFormat(c, o, format, d.base, d.filter)
	d.search(c, o)
	hosts := d.client.read(c, o)
	d.pool = database.NewPool(c.Spec, hosts, o.Logger(), d.client.dial)
	d.pool.InOrder, d.pool.Retry = true, hostRetry
	d.pool.Connect, d.pool.Query = d.timeout, d.timeout*time.Duration(max(1, min(d.recursion, maxSearches)))
	if err := c.Err(); err != nil {
		return nil, err
	}
	return d, nil
}

// search reads the parameters of searches.
func (d *directory) search(c *database.Config, o *table.Opener) {
	scopes := map[string]int{"sub": goldap.ScopeWholeSubtree, "base": goldap.ScopeBaseObject, "one": goldap.ScopeSingleLevel}
	scope, ok := scopes[strings.ToLower(c.Str("scope", "sub"))]
	if !ok {
		c.Failf("scope = %s: use sub, base or one", c.Str("scope", ""))
	}
	d.scope = scope
	d.attributes = attributes{
		ordinary: c.List("result_attribute", "maildrop"),
		terminal: c.List("terminal_result_attribute", ""),
		leaf:     c.List("leaf_result_attribute", ""),
		special:  c.List("special_result_attribute", ""),
	}
	d.recursion = c.Int("recursion_limit", 1000, 1)
	d.size = c.Int("size_limit", d.Limit, 0)
	if d.deref = c.Int("dereference", 0, 0); d.deref > 3 {
		c.Failf("dereference = %d: use 0 (never) to 3 (always)", d.deref)
	}
	if !d.filter.Dynamic() {
		o.Warningf("%s: fixed query_filter %s is probably useless", c.Spec, d.filter.Text)
	}
	for _, name := range []string{"cache", "cache_expiry", "cache_size"} {
		if c.Has(name) {
			o.Warningf("%s: %s ignored", c.Spec, name)
		}
	}
}

// Lookup searches for key. Any failure is temporary.
func (d *directory) Lookup(ctx context.Context, key string) (string, bool, error) {
	address, err := d.Eligible(ctx, key)
	if address == nil || err != nil {
		return "", false, err
	}
	base, filter := d.base.Expand(address, quoteName), d.filter.Expand(address, goldap.EscapeFilter)
	var answer *database.Answer
	err = d.pool.Do(ctx, func(ctx context.Context, c *conn) error {
		answer = d.Answer(address)
		x := &expansion{directory: d, conn: c, answer: answer}
		entries, err := x.find(ctx, base, d.scope, filter, d.attributes.all())
		switch {
		case err != nil:
			return err
		case entries == nil && !d.base.Dynamic():
			return fmt.Errorf("search_base %q is not in the directory", base)
		case entries == nil:
			return nil // the base is one of the key's
		}
		return x.entries(ctx, entries, d.attributes.all())
	})
	if err != nil {
		return "", false, err
	}
	value, found := answer.Value()
	return value, found, nil
}

// Close closes the connections.
func (d *directory) Close() error { return d.pool.Close() }

// attributes are the names of the attributes that matter.
type attributes struct {
	ordinary, terminal, leaf, special []string
}

// all lists them, each once, for a search.
func (a *attributes) all() []string {
	var list []string
	for _, name := range slices.Concat(a.ordinary, a.terminal, a.leaf, a.special) {
		if !has(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func has(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

// maxSearches bounds the searches of one lookup, however deep they are nested
// and however many there are on each level.
const maxSearches = 10000

// An expansion is the searches of one lookup.
type expansion struct {
	*directory
	conn     *conn
	answer   *database.Answer
	depth    int
	searches int
}

// find does one search. A base that does not exist is no result, nil.
func (x *expansion) find(ctx context.Context, base string, scope int, filter string, names []string) ([]*goldap.Entry, error) {
	if x.searches++; x.searches > maxSearches {
		return nil, fmt.Errorf("key %q needs more than %d searches", x.answer.Key(), maxSearches)
	}
	entries, err := x.conn.search(ctx, goldap.NewSearchRequest(base, scope, x.deref, x.size, seconds(x.timeout), false, filter, names, nil))
	switch {
	case goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject):
		return nil, nil
	case goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded):
		return nil, fmt.Errorf("search in %q for %q: more than size_limit = %d entries", base, filter, x.size)
	case err != nil:
		return nil, fmt.Errorf("search in %q for %q: %w", base, filter, err)
	}
	if entries == nil {
		entries = []*goldap.Entry{}
	}
	return entries, nil
}

// entries takes the results of entries; names are what was asked for.
func (x *expansion) entries(ctx context.Context, entries []*goldap.Entry, names []string) error {
	if x.depth++; x.depth > x.recursion {
		return fmt.Errorf("recursion limit exceeded: key %q is nested more than %d deep", x.answer.Key(), x.recursion)
	}
	defer func() { x.depth-- }()
	for _, e := range entries {
		if err := x.entry(ctx, e, names); err != nil {
			return err
		}
	}
	return nil
}

// entry takes the results of one entry. One with a terminal attribute has no
// others; one with a special attribute has no leaf attributes.
func (x *expansion) entry(ctx context.Context, e *goldap.Entry, names []string) error {
	terminal := x.any(e, x.attributes.terminal)
	group := !terminal && x.any(e, x.attributes.special)
	for _, a := range e.Attributes {
		if !wanted(names, a.Name) || len(a.Values) == 0 {
			continue
		}
		var err error
		switch {
		case matches(x.attributes.terminal, a.Name):
			if terminal {
				err = x.values(a.Values)
			} else if matches(x.attributes.ordinary, a.Name) {
				err = x.values(a.Values)
			}
		case terminal:
		case matches(x.attributes.ordinary, a.Name):
			err = x.values(a.Values)
		case matches(x.attributes.leaf, a.Name):
			if !group {
				err = x.values(a.Values)
			}
		case matches(x.attributes.special, a.Name):
			err = x.follow(ctx, a.Values)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *expansion) any(e *goldap.Entry, list []string) bool {
	return slices.ContainsFunc(e.Attributes, func(a *goldap.EntryAttribute) bool { return len(a.Values) > 0 && matches(list, a.Name) })
}

// matches says whether an attribute is in a list; one in the list matches its
// subtypes, too ("mail" has "mail;lang-en").
func matches(list []string, name string) bool {
	plain, _, _ := strings.Cut(name, ";")
	return has(list, name) || has(list, plain)
}

func wanted(names []string, name string) bool { return matches(names, name) }

func (x *expansion) values(list []string) error {
	for _, v := range list {
		if err := x.answer.Add(v); err != nil {
			return err
		}
	}
	return nil
}

// follow searches where a special attribute points: a name, or a URL.
func (x *expansion) follow(ctx context.Context, targets []string) error {
	for _, target := range targets {
		base, scope, filter, names := target, goldap.ScopeBaseObject, "(objectClass=*)", x.attributes.all()
		if isURL(target) {
			u, err := parseURL(target)
			if err != nil {
				x.Log.Warningf("%s: malformed URL \"%s\" in a special result attribute -- skipped", x.Spec, target)
				continue
			}
			base, scope, filter = u.base, u.scope, u.filter
			if names = u.selected(names); len(names) == 0 {
				continue // Postfix: the URL selects nothing that is a result
			}
		}
		entries, err := x.find(ctx, base, scope, filter, names)
		if err != nil {
			return err
		}
		if entries == nil {
			x.Log.Warningf("%s: special result \"%s\" is not in the directory -- skipped", x.Spec, target)
			continue
		}
		if err := x.entries(ctx, entries, names); err != nil {
			return err
		}
	}
	return nil
}

// hostError marks errors that are the connection's, not the search's.
func hostError(err error) error {
	var e *goldap.Error
	if err == nil || errors.Is(err, database.ErrHost) {
		return err
	}
	if errors.As(err, &e) {
		switch e.ResultCode {
		case goldap.LDAPResultBusy, goldap.LDAPResultUnavailable, goldap.LDAPResultServerDown, goldap.LDAPResultTimeout,
			goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultOther, goldap.LDAPResultConnectError, goldap.ErrorNetwork, goldap.ErrorUnexpectedMessage,
			goldap.ErrorUnexpectedResponse:
			return fmt.Errorf("%w: %w", database.ErrHost, err)
		}
		return err
	}
	return fmt.Errorf("%w: %w", database.ErrHost, err)
}
