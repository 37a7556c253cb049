package macro

import (
	"errors"
	"strings"
	"testing"
)

func expander(values map[string]string) *Expander {
	return &Expander{Recurse: true, Lookup: func(name string) (string, bool, error) {
		v, ok := values[name]
		return v, ok, nil
	}}
}

var values = map[string]string{
	"a": "x", "e": "", "b": "<$a>", "loop": "$loop", "ping": "${pong}", "pong": "$(ping)",
	"level": "3.10", "stress": "",
}

// The expected texts are those that Postfix prints for the same input.
func TestExpand(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"plain", "plain"},
		{"$a", "x"},
		{"$b", "<x>"},
		{"$$a $(a) ${ a } ", "$a x x "},
		{"$a.b", "x.b"},
		{"$a$a-${a}y", "xx-xy"},
		{"${a?yes}", "yes"},
		{"${a:no}", ""},
		{"${e?yes}|${e:no}|${e?{ yes }:{ no }}|", "|no| no |"},
		{"${u?yes}|${u:no}", "|no"},
		{"${{$a} == {x} ? {T}:{F}}", "T"},
		{"${{a } ==   { a}?{ T }:{F}}", "F"},
		{"${{10} > {9}?{T}:{F}}", "T"},
		{"${{10} > {9x}?{T}:{F}}", "F"},
		{"${{3.10} >level {3.9}?{T}:{F}}", "T"},
		{"${{$level} <level {3.6} ? {no} : {yes}}", "yes"},
		{"${{3} >=level {3.0.0} ? {no} : {yes}}", "no"},
		{"${{a} != {b}}${{a} <= {b}}${{a} >= {b}}${{b} < {a}}", "truetrue"},
		{"${a ? {T} : {F}}", "T"},
		{"${a?{T}:F}", "T"},
		{"${a?T:F}", "T:F"},
		{"${{a}=={a}?T}", "T"},
		{"${{a}=={a}:T}", ""},
		{"${{a}!={a}?T}", ""},
		{"${{} == {} ? {T} : {F}}", "T"},
		{"${e?{T}:{F} }|", "F|"},
		{"${a? T }|", " T |"},
		{"${stress?{1}:{20}}", "20"},
		{"${stress?{10}:{300}}s", "300s"},
		{"${a?{${e:{inner $b}}}}", "inner <x>"},
	}
	for _, tt := range tests {
		got, err := expander(values).Expand(tt.text)
		if err != nil || got.Text != tt.want {
			t.Errorf("Expand(%q) = %q, %v; want %q", tt.text, got.Text, err, tt.want)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"x$", "empty macro name"},
		{"${}", "empty macro name"},
		{"$-", "empty macro name"},
		{"${a", "truncated macro reference"},
		{"$(a", "truncated macro reference"},
		{"${{a} ~ {b}?{T}:{F}}", "expected at"},
		{"${{a} ==foo {b}?{T}:{F}}", "bad operator suffix"},
		{"${{a} == b?{T}:{F}}", `"{expression}" expected at`},
		{"${a.b}", "attribute name syntax error at"},
		{"${a-b}", "attribute name syntax error at"},
		{"${a:{T}:{F}}", "unexpected input at"},
		{"${a?{T}{F}}", "expected at"},
		{"${e?{T}:{F}x}", "unexpected input at"},
		{"${{x} <level {3}?{T}}", "bad compatibility level"},
		{"$loop", "unreasonable macro call nesting"},
		{"$ping", "unreasonable macro call nesting"},
		{"${{99999999999999999999} > {1} ? {T}}", "too large"},
	}
	for _, tt := range tests {
		_, err := expander(values).Expand(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Expand(%q): error %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestFunctions(t *testing.T) {
	e := expander(map[string]string{"domain": "MAIL_1.example", "wide": "b\u00fccher.example"})
	e.Functions = Functions
	for text, want := range map[string]string{
		"${domain_to_ascii{$domain}}": "MAIL_1.example",
		"${domain_to_ascii {$wide}}.": "xn--bcher-kva.example.",
		"${domain_to_ascii{}}":        "",
	} {
		if r, err := e.Expand(text); err != nil || r.Text != want {
			t.Errorf("%s: got %q, %v; want %q", text, r.Text, err, want)
		}
	}
	for _, text := range []string{"${domain_to_ascii{$domain}x}", "${domain_to_ascii{a", "${nosuch{a}}"} {
		if r, err := e.Expand(text); err == nil {
			t.Errorf("%s: got %q", text, r.Text)
		}
	}
}

// A circle is told with the names on it. Postfix: a condition does not look into
// the value.
func TestCircle(t *testing.T) {
	circle := map[string]string{"a": "x$b", "b": "${c?{$c}}", "c": "$d", "d": "$e", "e": "$b"}
	e := expander(circle)
	_, err := e.Expand("$a")
	if err == nil || err.Error() != "unreasonable macro call nesting: $b refers to $c refers to $d refers to $e refers to $b" {
		t.Errorf("error %v", err)
	}
	if r, err := e.Expand("${a?{yes}:{no}}"); err != nil || r.Text != "yes" {
		t.Errorf("got %q, %v", r.Text, err)
	}
}

func TestUndefined(t *testing.T) {
	for text, want := range map[string]bool{"$a": false, "$u": true, "${u?x}": false, "${u}": true, "$e": false} {
		got, err := expander(values).Expand(text)
		if err != nil || got.Undefined != want {
			t.Errorf("Expand(%q).Undefined = %v, %v; want %v", text, got.Undefined, err, want)
		}
	}
}

func TestFilter(t *testing.T) {
	e := expander(map[string]string{"a": "x;rm -rf /y"})
	e.Recurse, e.Filter = false, "abcdefghijklmnopqrstuvwxyz/-"
	got, err := e.Expand("| $a")
	if want := "| x_rm_-rf_/y"; err != nil || got.Text != want {
		t.Errorf("got %q, %v; want %q", got.Text, err, want)
	}
}

func TestLookupError(t *testing.T) {
	want := errors.New("no")
	e := Expander{Lookup: func(string) (string, bool, error) { return "", false, want }}
	for _, text := range []string{"$a", "${a?b}"} {
		if _, err := e.Expand(text); !errors.Is(err, want) {
			t.Errorf("Expand(%q): error %v, want %v", text, err, want)
		}
	}
}

// A value that doubles at each step ends at the size limit.
func TestSizeLimit(t *testing.T) {
	doubling := func(name string) (string, bool, error) {
		if len(name) > 60 {
			return "x", true, nil
		}
		return "$" + name + "a$" + name + "a", true, nil
	}
	e := Expander{Recurse: true, Lookup: doubling}
	if _, err := e.Expand("$a"); !errors.Is(err, errTooLarge) {
		t.Errorf("error %v, want %v", err, errTooLarge)
	}
}

func TestNames(t *testing.T) {
	var got []string
	err := Names("$a ${b?{$c}:{$d}} ${{$e} == {$f} ? {$g} : {$h}}", func(name string) { got = append(got, name) })
	if want := "a b c d e f g h"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %v, %v; want %s", got, err, want)
	}
}

func TestLevels(t *testing.T) {
	for _, bad := range []string{"", "x", "1.2.3.4", "-1", "3.", "99999999999"} {
		if l, err := ParseLevel(bad); err == nil {
			t.Errorf("ParseLevel(%q) = %v, want an error", bad, l)
		}
	}
	l, err := ParseLevel("3.6")
	if want := (Level{3, 6, 0}); err != nil || l != want {
		t.Errorf("got %v, %v; want %v", l, err, want)
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$a", "${a?{$b}:{$e}}", "${{$a} <=level {3.6} ? {x} : {y}}", "$(a)$$", "${a", "${{a}", "$loop"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := expander(values)
		e.MaxSize = 10000
		r, err := e.Expand(text)
		if err == nil && len(r.Text) > e.MaxSize {
			t.Errorf("%d octets, more than the limit", len(r.Text))
		}
		Names(text, func(string) {})
	})
}
