package database

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// Common is the parameters that tables in databases share: domain,
// result_format, expansion_limit.
type Common struct {
	Spec   string
	Format *Template
	Limit  int // expansion_limit; 0: none
	Log    table.Logger

	domains *matchlist.List // nil: all keys
	queries []*Template
}

// maxAnswer is the longest value of a lookup, in octets.
const maxAnswer = 1 << 20

// NewCommon reads the shared parameters. queries are the templates that a key
// must fit.
func NewCommon(c *Config, o *table.Opener, queries ...*Template) *Common {
	return NewCommonFormat(c, o, c.Str("result_format", "%s"), queries...)
}

// NewCommonFormat is NewCommon with a result format that has another name.
func NewCommonFormat(c *Config, o *table.Opener, format string, queries ...*Template) *Common {
	m := &Common{Spec: c.Spec, Limit: c.Int("expansion_limit", 0, 0), Log: o.Logger(), queries: queries}
	var err error
	if m.Format, err = ParseTemplate("result_format", format); err != nil {
		c.Failf("%w", err)
	}
	m.domains = Domains(c, o)
	return m
}

// Domains reads the parameter domain; nil means that it is not set.
func Domains(c *Config, o *table.Opener) *matchlist.List {
	list := c.Str("domain", "")
	if list == "" {
		return nil
	}
	domains, err := matchlist.New("domain", list, o.With(0), 0)
	if err != nil {
		c.Failf("%w", err)
	}
	return domains
}

// InDomains says whether key is an address with a local part in one of domains.
func InDomains(ctx context.Context, domains *matchlist.List, key *Address) (bool, error) {
	if domains == nil {
		return true, nil
	}
	if !key.Qualified || key.User == "" || key.Domain == "" {
		return false, nil
	}
	return domains.MatchString(ctx, key.Domain)
}

// Eligible returns key taken apart, or nil when it cannot be in the table and
// the server need not be asked.
func (m *Common) Eligible(ctx context.Context, key string) (*Address, error) {
	if key == "" || strings.IndexByte(key, 0) >= 0 || !utf8.ValidString(key) {
		return nil, nil // Postfix: servers are asked for text only
	}
	a := SplitAddress(key)
	if ok, err := InDomains(ctx, m.domains, a); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Spec, err)
	} else if !ok {
		return nil, nil
	}
	for _, q := range m.queries {
		if !q.FitsKey(a) {
			return nil, nil
		}
	}
	if !m.Format.fitsResult(a) {
		return nil, nil
	}
	return a, nil
}

// An Answer collects the values of one lookup.
type Answer struct {
	common *Common
	key    *Address
	text   strings.Builder
	count  int
}

// Answer begins the answer for key.
func (m *Common) Answer(key *Address) *Answer { return &Answer{common: m, key: key} }

// Key returns the key that is looked up.
func (a *Answer) Key() string { return a.key.Whole }

// Add formats a value that the server returned. One that is empty or lacks what
// the format needs is skipped.
func (a *Answer) Add(value string) error {
	m := a.common
	if value == "" {
		m.Log.Warningf("table \"%s\": empty lookup result for: \"%s\" -- ignored", m.Spec, a.key.Whole)
		return nil
	}
	v := SplitAddress(value)
	if !v.has(m.Format.uses("u"), m.Format.uses("d"), 0) {
		return nil
	}
	if a.text.Len() > 0 {
		a.text.WriteByte(',')
	}
	for _, p := range m.Format.Pieces {
		a.text.WriteString(p.Part(a.key, v))
	}
	a.count++
	switch {
	case m.Limit > 0 && a.count > m.Limit:
		return fmt.Errorf("%s: %w: more than %d results for key %q", m.Spec, errLimit, m.Limit, a.key.Whole)
	case a.text.Len() > maxAnswer:
		return fmt.Errorf("%s: %w: the value of key %q has more than %d octets", m.Spec, errLimit, a.key.Whole, maxAnswer)
	}
	return nil
}

// Value returns the value, and whether there is one.
func (a *Answer) Value() (string, bool) { return a.text.String(), a.text.Len() > 0 }
