// Package postalias is the command postalias: it builds alias databases, and
// looks up, lists and changes their entries.
package postalias

import (
	"io"
	"strconv"
	"strings"
	"time"

	"postern/internal/admin/command"
	"postern/internal/admin/mapfile"
	"postern/internal/mail/address"
	"postern/internal/table"
	"postern/internal/table/source"
)

// Main runs the command with args, its name first, and returns its exit
// status. types are the table types that it can open.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, types []table.Type) int {
	return mapfile.Run(dialect(), types, args, stdin, stdout, stderr)
}

// Strict is Main for a table that is built unattended: with any mistake in the
// source nothing is built.
func Strict(args []string, stdin io.Reader, stdout, stderr io.Writer, types []table.Type) int {
	d := dialect()
	d.Strict = true
	return mapfile.Run(d, types, args, stdin, stdout, stderr)
}

func dialect() mapfile.Dialect {
	return mapfile.Dialect{
		Name:      "postalias",
		Options:   "Nc:d:fijnopq:rsuvw",
		Usage:     "[-Nfijnoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
		Separator: ":\t",
		Parse:     Parse,
		Finish:    finish,
	}
}

// finish adds what makes the file an alias database for sendmail and for NIS.
func finish(c *command.Command, put func(key, value string) error) error {
	for _, e := range []struct{ key, value string }{
		{"@", "@"},
		{"YP_LAST_MODIFIED", strconv.FormatInt(time.Now().Unix(), 10)},
		{"YP_MASTER_NAME", c.Common.MyHostname},
	} {
		if err := put(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// Parse takes "name: value, value" apart. The name is unquoted, as it is
// looked up; the values stay as they are, without white space that means
// nothing, because they are parsed again after lookup.
func Parse(text string) (key, value string, warning source.Warning, ok bool) {
	t := address.Scan(nil, text, 0)
	if len(t) == 0 {
		return "", "", "", false
	}
	colon := index(t, ':')
	if colon <= 0 || colon == len(t)-1 || index(t[:colon], ',') >= 0 {
		return "", "", "need name:value pair", false
	}
	if index(t[:colon], '@') >= 0 || index(t[:colon], '%') >= 0 {
		return "", "", "name must be local", false
	}
	return join(t[:colon], address.AppendInternal), join(t[colon+1:], address.AppendExternal), "", true
}

func index(t []address.Token, k address.Kind) int {
	for i := range t {
		if t[i].Kind == k {
			return i
		}
	}
	return -1
}

// join writes tokens with a space between words and after commas.
func join(t []address.Token, add func([]byte, []address.Token) []byte) string {
	var b []byte
	for i := range t {
		b = add(b, t[i:i+1])
		if i+1 < len(t) && (t[i].Kind == ',' || t[i+1].Kind == '<' || word(t[i]) && word(t[i+1]) && !piped(t[i], t[i+1])) {
			b = append(b, ' ')
		}
	}
	return string(b)
}

func word(t address.Token) bool {
	return t.Kind == address.Atom || t.Kind == address.Quoted || t.Kind == address.Comment || t.Kind == address.Literal
}

// piped says whether a bar, which is an operator to Postfix, stands where two
// words meet.
func piped(left, right address.Token) bool {
	return left.Kind == address.Atom && strings.HasSuffix(left.Text, "|") ||
		right.Kind == address.Atom && strings.HasPrefix(right.Text, "|")
}
