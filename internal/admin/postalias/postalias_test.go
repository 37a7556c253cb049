package postalias

import "testing"

// The expected results are those of Postfix's postalias.
func TestParse(t *testing.T) {
	for _, c := range []struct{ in, key, value, warning string }{
		{"postmaster: root", "postmaster", "root", ""},
		{`Root: admin, "joe smith"@x.y, |"/bin/cat foo"`, "Root", `admin, "joe smith"@x.y, |"/bin/cat foo"`, ""},
		{"list: :include:/etc/list,   /file/name", "list", ":include:/etc/list, /file/name", ""},
		{`"quoted name": a (comment) <b@c>`, "quoted name", "a (comment) <b@c>", ""},
		{"owner-x: (all)  x ; y", "owner-x", "(all) x;y", ""},
		{`"a\"b": x`, `a"b`, "x", ""},
		{"grp:a,b", "grp", "a, b", ""},
		{"bad line", "", "", "need name:value pair"},
		{":novalue", "", "", "need name:value pair"},
		{"key:", "", "", "need name:value pair"},
		{"x,y: z", "", "", "need name:value pair"},
		{"a@b: c", "", "", "name must be local"},
	} {
		key, value, warning, ok := Parse(c.in)
		if key != c.key || value != c.value || string(warning) != c.warning || ok != (c.warning == "") {
			t.Errorf("%q: got %q %q %q %v", c.in, key, value, warning, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`a: "b c", |"d", :include:/e`)
	f.Fuzz(func(t *testing.T, text string) { Parse(text) })
}
