package ldap

import (
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
)

func TestTidy(t *testing.T) {
	for text, want := range map[string]string{
		"mail=%s":                            "(mail=%s)",
		"(mail=%s)":                          "(mail=%s)",
		"(& (a=b)\n ( | (c=d) (e= f g ) ) )": "(&(a=b)(|(c=d)(e= f g )))",
		"( ! ( a=b ))":                       "(!(a=b ))",
		"&(a=b)(c=d)":                        "(&(a=b)(c=d))",
		"":                                   "",
	} {
		if got := tidy(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestQuoteName(t *testing.T) {
	for text, want := range map[string]string{
		"john":        "john",
		"a,dc=x":      `a\2Cdc\3Dx`,
		` #"+;<>\`:    `\20\23\22\2B\3B\3C\3E\5C`,
		"日本":          "日本",
		"a\x00b\nc":   `a\00b\0Ac`,
		"user@domain": "user@domain",
	} {
		if got := quoteName(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestURLs(t *testing.T) {
	tests := []struct {
		url, base string
		scope     int
		filter    string
		names     string // selected of mail, mail;lang-en, maildrop
	}{
		{"ldap:///dc=x", "dc=x", goldap.ScopeBaseObject, "(objectClass=*)", "mail;lang-en maildrop"},
		{"ldap://host:1/dc=a%20b?mail?sub?(a=b)", "dc=a b", goldap.ScopeWholeSubtree, "(a=b)", "mail;lang-en"},
		{"LDAPS://h/dc=x?MAILDROP,other?one?a=b", "dc=x", goldap.ScopeSingleLevel, "(a=b)", "maildrop"},
		{"ldap:///dc=x?mail;lang-de,maildrop;x", "dc=x", goldap.ScopeBaseObject, "(objectClass=*)", "maildrop;x"},
		{"ldap:///dc=x?*", "dc=x", goldap.ScopeBaseObject, "(objectClass=*)", "mail;lang-en maildrop"},
		{"ldap:///dc=x?other", "dc=x", goldap.ScopeBaseObject, "(objectClass=*)", ""},
	}
	for _, tt := range tests {
		if !isURL(tt.url) {
			t.Errorf("%s is no URL", tt.url)
		}
		u, err := parseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Join(u.selected([]string{"mail;lang-en", "maildrop"}), " ")
		if u.base != tt.base || u.scope != tt.scope || u.filter != tt.filter || names != tt.names {
			t.Errorf("%s: got %+v, %q", tt.url, u, names)
		}
	}
	for _, text := range []string{"ldap:///dc=x??wrong", "ldap:///%zz", "ldap:///?%zz", "ldap:////???%"} {
		if u, err := parseURL(text); err == nil {
			t.Errorf("%s: %+v", text, u)
		}
	}
	if isURL("cn=a,dc=b") || isURL("http://x") {
		t.Error("what is not an LDAP URL counts as one")
	}
}

func TestEndpoints(t *testing.T) {
	for text, want := range map[string]string{
		"ldap://h": "tcp h:389 false", "ldap://h:1": "tcp h:1 false", "ldaps://h": "tcp h:636 true", "ldap://[::1]:5/": "tcp [::1]:5 false",
		"ldapi://%2Frun%2Fldapi": "unix /run/ldapi false", "ldapi://": "unix /var/run/slapd/ldapi false", "ldap://": "tcp localhost:389 false", "ldap://:7": "tcp localhost:7 false",
	} {
		network, addr, secure, err := endpoint(text)
		got := network + " " + addr + " " + map[bool]string{true: "true", false: "false"}[secure]
		if got != want || err != nil {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
}

// FuzzFilter: whatever the key, the filter has the parentheses and the
// attributes of the template, and no more.
func FuzzFilter(f *testing.F) {
	for _, key := range []string{"a", "*", ")(a=b", `\2a`, "x)(|(mail=*", "日本", "\x00"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		filter := "(&(mail=" + goldap.EscapeFilter(key) + ")(a=b))"
		if strings.Count(filter, "(") != 3 || strings.Count(filter, ")") != 3 || strings.Contains(filter, "*") {
			t.Errorf("%q: %q", key, filter)
		}
		if _, err := goldap.CompileFilter(filter); err != nil && key != "" {
			t.Errorf("%q: %v", key, err)
		}
		name := "cn=" + quoteName(key) + ",dc=x"
		if dn, err := goldap.ParseDN(name); err != nil || len(dn.RDNs) != 2 || len(dn.RDNs[0].Attributes) != 1 {
			if key != "" {
				t.Errorf("%q: %q: %v", key, name, err)
			}
		}
		parseURL("ldap://" + key)
		tidy(key)
		(&target{attributes: []string{key}}).selected([]string{"mail", key})
	})
}
