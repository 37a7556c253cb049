package addrmap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail/address"
	"postern/internal/table"
	"postern/internal/table/inline"
)

var ctx = context.Background()

func mapper() *Mapper {
	return &Mapper{
		Extensions: address.Extensions{Delimiters: "+", OwnerRequestSpecial: true},
		Local:      func(_ context.Context, d string) (bool, error) { return d == "local.example", nil },
		Rewrite: func(_ context.Context, a string) (string, error) {
			if a != "" && !strings.Contains(a, "@") {
				a += "@local.example"
			}
			return a, nil
		},
	}
}

// asked is a table that finds nothing and notes what it is asked for.
type asked struct {
	keys []string
	kind table.Keys
}

func (a *asked) Lookup(_ context.Context, key string) (string, bool, error) {
	a.keys = append(a.keys, key)
	return "", false, nil
}
func (a *asked) Close() error     { return nil }
func (a *asked) Keys() table.Keys { return a.kind }

func open(t testing.TB, spec string, types ...table.Type) *table.Maps {
	t.Helper()
	m, err := table.NewOpener(append(types, inline.Type())).Maps("virtual_alias_maps", spec, table.FoldKey)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		addr string
		kind table.Keys
		want string
	}{
		{"u+e@local.example", table.Fixed, "u+e@local.example u@local.example u+e u @local.example"},
		{"u+e@other.example", table.Fixed, "u+e@other.example u@other.example @other.example"},
		{"u@local.example", table.Fixed, "u@local.example u @local.example"},
		{"u+e@local.example", table.Pattern, "u+e@local.example"},
		{"u", table.Fixed, "u"},
		{"a b@x", table.Fixed, `"a b"@x a b@x @x`},
	} {
		a := &asked{kind: tt.kind}
		m := open(t, "asked:x", table.Type{Name: "asked", Open: func(string, *table.Opener) (table.Table, error) { return a, nil }})
		if _, _, found, err := mapper().Find(ctx, m, tt.addr); found || err != nil {
			t.Fatal(found, err)
		}
		if got := strings.Join(a.keys, " "); got != tt.want {
			t.Errorf("%s: asked for %s, want %s", tt.addr, got, tt.want)
		}
	}
}

func TestMap(t *testing.T) {
	m := open(t, "inline:{ {a@x=b@y}, {l@local.example=one, two@z}, {@dom=@other}, {q@x=\"john doe\"@y} }")
	for _, tt := range []struct {
		addr      string
		propagate bool
		want      []string
	}{
		{"a@x", true, []string{"b@y"}},
		{"a+e@x", true, []string{"b+e@y"}},
		{"a+e@x", false, []string{"b@y"}},
		{"l+e@local.example", true, []string{"one+e@local.example", "two+e@z"}},
		{"u+e@dom", true, []string{"u+e@other"}},
		{"q@x", true, []string{"john doe@y"}},
		{"nobody@x", true, nil},
	} {
		got, err := mapper().Map(ctx, m, tt.addr, tt.propagate)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Map(%s, %v) = %q, %v, want %q", tt.addr, tt.propagate, got, err, tt.want)
		}
	}
}

func TestOne(t *testing.T) {
	m := open(t, "inline:{ {a@x=b@x}, {b@x=c@x}, {l1@x=l2@x}, {l2@x=l1@x}, {s@x=S@x}, {two@x=a@y, b@y} }")
	var warning error
	one := func(addr string) (string, error) {
		return mapper().One(ctx, m, addr, true, func(err error) { warning = err })
	}
	for addr, want := range map[string]string{"a@x": "c@x", "s@x": "S@x", "two@x": "a@y", "n@x": "n@x"} {
		if got, err := one(addr); got != want || err != nil {
			t.Errorf("One(%s) = %s, %v, want %s", addr, got, err, want)
		}
	}
	if warning == nil || warning.Error() != "multi-valued virtual_alias_maps entry for two@x" {
		t.Errorf("warning %v", warning)
	}
	if _, err := one("l1@x"); err == nil || !strings.Contains(err.Error(), "unreasonable virtual_alias_maps map nesting for l") {
		t.Errorf("loop: %v", err)
	}
}

func TestExpand(t *testing.T) {
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("m%d@y", i)
	}
	m := open(t, "inline:{ {a@x=b@x, c@y}, {b@x=d@y, a@x}, {self@x=self@x, o@y}, {l1@x=l2@x}, {l2@x=l1@x}, {ok@x=p@x, q@x}, {p@x=r@y}, {many@x="+
		strings.Join(many, ",")+"}, {long@x="+strings.Repeat("x", 200)+"@y} }")
	limits := Limits{Expansion: 20, Recursion: 10, Length: 100}
	for _, tt := range []struct {
		addr string
		want string
		err  string
	}{
		{"n@x", "n@x", ""},
		{"ok@x", "r@y q@x", ""},
		{"self@x", "self@x o@y", ""},
		{"SELF@x", "self@x o@y", ""},
		{"l1@x", "l1@x", "unreasonable virtual_alias_maps map nesting for l1@x -- message not accepted, try again later"},
		{"a@x", "a@x", "unreasonable virtual_alias_maps map expansion size for a@x -- message not accepted, try again later"},
		{"many@x", "many@x", "unreasonable virtual_alias_maps map expansion size for many@x -- message not accepted, try again later"},
		{"long@x", "long@x", "unreasonable virtual_alias_maps result " + strings.Repeat("x", 200) + "@y... -- message not accepted, try again later"},
	} {
		got, err := mapper().Expand(ctx, m, tt.addr, true, limits)
		text := ""
		if err != nil {
			text = err.Error()
			var e *Error
			if !errors.As(err, &e) || e.Temporary() {
				t.Errorf("%s: %v is said to be temporary", tt.addr, err)
			}
		}
		if strings.Join(got, " ") != tt.want || text != tt.err {
			t.Errorf("Expand(%s) = %q, %q, want %q, %q", tt.addr, got, text, tt.want, tt.err)
		}
	}
}

func TestMasquerade(t *testing.T) {
	q := NewMasquerade([]string{"!keep.example.com", "example.com", "other.example"}, func(_ context.Context, local string) (bool, error) {
		return local == "root", nil
	})
	for addr, want := range map[string]string{
		"u@host.example.com":      "u@example.com",
		"u@A.B.EXAMPLE.com":       "u@example.com",
		"u@example.com":           "u@example.com",
		"u@x.keep.example.com":    "u@x.keep.example.com",
		"u@keep.example.com":      "u@keep.example.com",
		"Root@host.other.example": "Root@host.other.example",
		"u@notexample.com":        "u@notexample.com",
		"u":                       "u",
	} {
		if got, err := q.Apply(ctx, addr); got != want || err != nil {
			t.Errorf("Apply(%s) = %s, %v, want %s", addr, got, err, want)
		}
	}
}

func TestSeen(t *testing.T) {
	s := NewSeen(2)
	got := []bool{s.Add("a@b"), s.Add("A@B"), s.Add("c"), s.Add("d"), s.Add("d"), s.Add("c")}
	if want := []bool{false, true, false, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
