package param

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

type source map[string]string

func (s source) Lookup(name string) (string, string, bool) {
	v, ok := s[name]
	return v, "main.cf, line 7", ok
}

type fields struct {
	str, raw, fn   string
	num, nnum      int
	long           int64
	yes, nyes      bool
	delay, timeout time.Duration
}

func (f *fields) params(s *Set) {
	s.Str(&f.str, "str", "a$num", MinLen(1), MaxLen(12))
	s.Raw(&f.raw, "raw", "$num")
	s.StrFunc(&f.fn, "fn", func() (string, error) { return "computed", nil })
	s.Int(&f.num, "num", 3, Min(1), Max(5))
	s.NInt(&f.nnum, "nnum", "${stress?{1}:{20}}")
	s.Long(&f.long, "long", 1<<40, Min(0))
	s.Bool(&f.yes, "yes", true)
	s.NBool(&f.nyes, "nyes", "${{$num} == {3} ? {no} : {yes}}")
	s.Time(&f.delay, "delay", "2h", Min(0), Max(100000))
	s.Time(&f.timeout, "timeout", "${stress?{10}:{300}}s")
}

func load(src source) (fields, error) {
	var f fields
	s := NewSet()
	f.params(s)
	err := s.Load(src)
	return f, err
}

func TestLoad(t *testing.T) {
	got, err := load(source{})
	want := fields{"a3", "$num", "computed", 3, 20, 1 << 40, true, false, 2 * time.Hour, 300 * time.Second}
	if err != nil || got != want {
		t.Errorf("defaults: got %+v, %v; want %+v", got, err, want)
	}
	got, err = load(source{
		"str": "$fn/$user", "user": "$long", "long": "12345678901", "raw": "x$y", "fn": "f", "num": "4", "stress": "yes",
		"yes": "No", "delay": "3", "nyes": "yes",
	})
	want = fields{"f/12345678901", "x$y", "f", 4, 1, 12345678901, false, true, 3 * time.Hour, 10 * time.Second}
	if err == nil || !strings.Contains(err.Error(), "bad string length 13 > 12") {
		t.Errorf("too long: %v", err)
	}
	got, err = load(source{
		"str": "$fn/$user", "user": "$long", "long": "123", "raw": "x$y", "fn": "f", "num": "4", "stress": "yes",
		"yes": "No", "delay": "3", "nyes": "yes",
	})
	want.str, want.long = "f/123", 123
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"num", "x", "main.cf, line 7: bad numerical configuration: num = x"},
		{"num", "", "main.cf, line 7: bad numerical configuration: num = "},
		{"num", "0", "main.cf, line 7: invalid num parameter value 0 < 1"},
		{"num", "6", "main.cf, line 7: invalid num parameter value 6 > 5"},
		{"num", "99999999999", "main.cf, line 7: bad numerical configuration: num = 99999999999"},
		{"long", "1.5", "main.cf, line 7: bad numerical configuration: long = 1.5"},
		{"yes", "true", "main.cf, line 7: bad boolean configuration: yes = true"},
		{"delay", "3x", "main.cf, line 7: parameter delay: bad time value or unit: 3x"},
		{"delay", "-3", "main.cf, line 7: parameter delay: bad time value or unit: -3"},
		{"delay", "2d", "main.cf, line 7: invalid delay: 172800 (max 100000)"},
		{"delay", "99999w", "main.cf, line 7: parameter delay: bad time value or unit: 99999w"},
		{"str", "", "main.cf, line 7: bad string length 0 < 1: str = "},
		{"str", "${x", "main.cf, line 7: parameter str: truncated macro reference"},
		{"str", "$str", "main.cf, line 7: parameter str: unreasonable macro call nesting: $str refers to $str"},
	}
	for _, tt := range tests {
		_, err := load(source{tt.name: tt.value})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s = %s: error %v, want %s", tt.name, tt.value, err, tt.want)
		}
	}
	s, p, want := NewSet(), "", errors.New("no host name")
	s.StrFunc(&p, "fn", func() (string, error) { return "", want })
	if err := s.Load(source{}); !errors.Is(err, want) {
		t.Errorf("computed: error %v, want %v", err, want)
	}
}

func TestParseTime(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
	}{{"5", 5 * time.Minute}, {"5s", 5 * time.Second}, {"2h", 2 * time.Hour}, {"1d2h", 24 * time.Hour}, {"10s # c", 10 * time.Second}, {"1d", 24 * time.Hour}, {"1w", 168 * time.Hour}, {"0", 0}}
	for _, tt := range tests {
		if got, err := ParseTime(tt.text, 'm'); err != nil || got != tt.want {
			t.Errorf("ParseTime(%q) = %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{" , a,b  c\t,\nd ", []string{"a", "b", "c", "d"}},
		{"a, { b, c }, {d}{e} f", []string{"a", "{ b, c }", "{d}{e}", "f"}},
		{"inline:{ {a=b, c}, d=e }, x", []string{"inline:{ {a=b, c}, d=e }", "x"}},
		{"a {b c", []string{"a", "{b c"}},
		{"a } b", []string{"a", "}", "b"}},
	}
	for _, tt := range tests {
		if got := Split(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("Split(%q) = %q; want %q", tt.text, got, tt.want)
		}
	}
}

func TestUnbrace(t *testing.T) {
	tests := []struct {
		text, want string
		braced, ok bool
	}{
		{"a", "a", false, true},
		{"{ a b }", "a b", true, true},
		{"{{a}}", "{a}", true, true},
		{"{a", "", true, false},
		{"{a}b", "", true, false},
	}
	for _, tt := range tests {
		got, braced, err := Unbrace(tt.text)
		if got != tt.want || braced != tt.braced || (err == nil) != tt.ok {
			t.Errorf("Unbrace(%q) = %q, %v, %v", tt.text, got, braced, err)
		}
	}
}

func TestCommon(t *testing.T) {
	var c Common
	s := NewSet()
	c.Params(s)
	if err := s.Load(source{"myhostname": "mail.sub.example", "mynetworks": "192.0.2.0/24"}); err != nil {
		t.Fatal(err)
	}
	if c.MyDomain != "sub.example" || c.MyOrigin != "mail.sub.example" || c.SyslogName != "postfix" || c.SMTPUTF8Enable ||
		c.MyDestination != "mail.sub.example, localhost.sub.example, localhost" || c.RelayDomains != c.MyDestination {
		t.Errorf("got %+v", c)
	}
}

func TestComputedDefaults(t *testing.T) {
	var c Common
	s := NewSet()
	c.Params(s)
	if err := s.Load(source{"compatibility_level": "3.6", "inet_interfaces": "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(c.MyHostname, host) || c.MyDomain == "" || c.MyNetworks != "127.0.0.1/32 " || !c.SMTPUTF8Enable || c.RelayDomains != "" {
		t.Errorf("got %+v", c)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("a, { b, c }, d")
	f.Fuzz(func(t *testing.T, text string) {
		for _, item := range Split(text) {
			if item == "" {
				t.Errorf("Split(%q): empty item", text)
			}
			Unbrace(item)
		}
	})
}

// What is computed does not depend on the order of declarations, and a host
// name without a domain does not run in circles.
func TestComputedOrder(t *testing.T) {
	tests := []struct {
		set  source
		want string
	}{
		{source{"myhostname": "a.b.example"}, "a.b.example b.example"},
		{source{"myhostname": "a"}, "a localdomain"},
		{source{"myhostname": "a.$mydomain"}, "a.localdomain localdomain"},
		{source{"myhostname": "a.$mydomain", "mydomain": "c.example"}, "a.c.example c.example"},
	}
	for _, tt := range tests {
		var c Common
		var first string
		s := NewSet()
		s.Str(&first, "first", "$mydomain $mynetworks")
		c.Params(s)
		tt.set["inet_interfaces"] = "127.0.0.1"
		if err := s.Load(tt.set); err != nil {
			t.Fatal(err)
		}
		if got := c.MyHostname + " " + c.MyDomain; got != tt.want || first != c.MyDomain+" "+c.MyNetworks {
			t.Errorf("%v: got %s, %s; want %s", tt.set, got, first, tt.want)
		}
	}
}
