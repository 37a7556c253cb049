package ldap

import (
	"fmt"
	"net/url"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// quoteName makes text safe as part of a value in a distinguished name
// (RFC 4514 2.4).
func quoteName(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || strings.IndexByte(" \"#+,;<=>\\", c) >= 0 {
			fmt.Fprintf(&b, `\%02X`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// tidy takes out of a filter template what libldap overlooks: white space
// between parentheses and operators; and puts the outer parentheses on.
func tidy(filter string) string {
	filter = strings.TrimSpace(filter)
	if filter == "" {
		return filter
	}
	if filter[0] != '(' {
		filter = "(" + filter + ")"
	}
	var b strings.Builder
	skip := false // white space does not count here
	for i := 0; i < len(filter); i++ {
		c := filter[i]
		if skip && (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
			continue
		}
		before := byte(0)
		if b.Len() > 0 {
			before = b.String()[b.Len()-1]
		}
		b.WriteByte(c)
		skip = c == '(' || c == ')' || before == '(' && (c == '&' || c == '|' || c == '!')
	}
	return b.String()
}

// A target is what an LDAP URL of RFC 4516 names; the host in it does not count.
type target struct {
	base       string
	scope      int
	filter     string
	attributes []string
}

func isURL(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && (strings.EqualFold(scheme, "ldap") || strings.EqualFold(scheme, "ldaps") || strings.EqualFold(scheme, "ldapi"))
}

// parseURL parses "ldap://host/name?attributes?scope?filter".
func parseURL(text string) (*target, error) {
	_, rest, _ := strings.Cut(text, "://")
	_, rest, _ = strings.Cut(rest, "/")
	part := append(strings.Split(rest, "?"), "", "", "", "")
	t := &target{scope: goldap.ScopeBaseObject, filter: "(objectClass=*)"}
	var err error
	if t.base, err = url.PathUnescape(part[0]); err != nil {
		return nil, err
	}
	for _, name := range strings.Split(part[1], ",") {
		if name, err = url.PathUnescape(name); err != nil {
			return nil, err
		}
		if name != "" && name != "*" {
			t.attributes = append(t.attributes, name)
		}
	}
	switch strings.ToLower(part[2]) {
	case "", "base":
	case "one":
		t.scope = goldap.ScopeSingleLevel
	case "sub":
		t.scope = goldap.ScopeWholeSubtree
	default:
		return nil, fmt.Errorf("scope %q", part[2])
	}
	filter, err := url.PathUnescape(part[3])
	if err != nil {
		return nil, err
	}
	if filter != "" {
		t.filter = tidy(filter)
	}
	return t, nil
}

// selected returns which of the table's attributes the URL selects. Where only
// one of the two names a subtype, the subtype is asked for.
func (t *target) selected(names []string) []string {
	if len(t.attributes) == 0 {
		return names
	}
	var list []string
	add := func(name string) {
		if !has(list, name) {
			list = append(list, name)
		}
	}
	for _, mine := range names {
		for _, theirs := range t.attributes {
			minePlain, mineOption, _ := strings.Cut(mine, ";")
			theirsPlain, theirsOption, _ := strings.Cut(theirs, ";")
			switch {
			case !strings.EqualFold(minePlain, theirsPlain):
			case strings.EqualFold(mineOption, theirsOption), theirsOption == "":
				add(mine)
			case mineOption == "":
				add(theirs)
			}
		}
	}
	return list
}
