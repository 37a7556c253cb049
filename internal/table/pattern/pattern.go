// Package pattern is tables of regular expressions: pcre and regexp. The first
// rule whose pattern matches the string that is looked up gives the result, in
// which $1, ${1} and $(1) stand for what the groups matched.
//
// A rule is "/pattern/flags result" or "!/pattern/flags result", with any
// delimiter; "if /pattern/flags … endif" encloses rules. (Postfix:
// pcre_table(5), regexp_table(5).)
package pattern

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"postern/internal/base/errno"
	"postern/internal/table"
	"postern/internal/table/pattern/regex"
	"postern/internal/table/source"
)

// Types returns the table types "pcre" and "regexp".
func Types() []table.Type {
	return []table.Type{perl.tableType(), posix.tableType()}
}

// A dialect is a language of patterns.
type dialect struct {
	name     string
	flags    map[byte]regex.Flags // each letter toggles
	defaults regex.Flags
	leaving  string // what Postfix says it does with a rule without an end
	compile  func(pattern string, f regex.Flags) (*regex.Regexp, error)
}

var (
	perl = &dialect{
		name: "pcre",
		flags: map[byte]regex.Flags{'i': regex.IgnoreCase, 'm': regex.Multiline, 's': regex.DotAll, 'x': regex.Extended,
			'A': regex.Anchored, 'E': regex.DollarEnd, 'U': regex.Ungreedy, 'X': 0},
		defaults: regex.IgnoreCase | regex.DotAll,
		leaving:  "ignoring",
		compile:  regex.Perl,
	}
	posix = &dialect{
		name:     "regexp",
		flags:    map[byte]regex.Flags{'i': regex.IgnoreCase, 'm': regex.Multiline, 'x': regex.Extended},
		defaults: regex.IgnoreCase | regex.Extended,
		leaving:  "skipping",
		compile:  regex.POSIX,
	}
)

func (d *dialect) tableType() table.Type { return table.Type{Name: d.name, Open: d.open} }

func (d *dialect) open(name string, o *table.Opener) (table.Table, error) {
	where := d.name + " map " + name
	if strings.HasPrefix(name, "{") {
		lines, err := source.Inline(name)
		if err != nil {
			return nil, fmt.Errorf("%s map: %w", d.name, err)
		}
		return d.parse(lines, where, o)
	}
	return table.OpenFile(name, o, func(f *os.File) (table.Table, error) {
		r := source.NewReader(f)
		r.Warn = func(text string) { o.Warningf("%s: %s", where, text) }
		rules, err := d.parse(r, where, o)
		if err != nil {
			return nil, err
		}
		f.Close()
		return rules, nil
	})
}

// Rules is a parsed table.
type Rules struct {
	where  string
	rules  []rule
	filter *filter
}

type rule struct {
	re     *regex.Regexp
	negate bool
	result []piece
	skip   int // for "if": where to go on when the pattern does not match; 0 for a rule
	line   int
}

// A piece of a result is text, or a group when group > 0.
type piece struct {
	text  string
	group int
}

// parse reads rules. A rule with a mistake is reported and left out, as Postfix
// does; a pattern that Postfix would take and that is not supported here makes
// the table unusable, because without that rule it would answer wrongly.
func (d *dialect) parse(lines source.Lines, where string, o *table.Opener) (*Rules, error) {
	p := &parser{dialect: d, warn: o.Warningf, where: where, table: &Rules{where: where}, noSubstitution: o.Flags&table.NoRegexpSubst != 0,
		files: o.Flags&table.ValueIsFile != 0}
	for {
		l, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			p.at = l.First
			err = p.line(l)
			if err != nil && !errors.Is(err, regex.ErrUnsupported) {
				o.Warningf("%s, line %d: %v", where, l.First, err)
				continue
			}
		}
		if errors.Is(err, regex.ErrUnsupported) {
			return nil, fmt.Errorf("%s, line %d: %w", where, l.First, err)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", where, errno.LibC(err))
		}
	}
	for i := len(p.open) - 1; i >= 0; i-- {
		at := p.open[i]
		o.Warningf("%s, line %d: IF has no matching ENDIF", where, p.table.rules[at].line)
		p.table.rules[at].skip = len(p.table.rules)
	}
	p.table.filter = newFilter(p.table.rules)
	return p.table, nil
}

type parser struct {
	*dialect
	table          *Rules
	warn           func(format string, args ...any)
	where          string
	at             int
	open           []int // rules that are "if"s without their "endif"
	noSubstitution bool
	files          bool // results are names of files
}

func (p *parser) line(l source.Line) error {
	text := strings.Trim(l.Text, " \t\r\n\v\f")
	word, rest := source.Word(text)
	switch {
	case strings.EqualFold(word, "endif"):
		return p.endif(rest)
	case strings.EqualFold(word, "if"):
		r, after, err := p.pattern(rest)
		if err != nil {
			return err
		}
		p.open = append(p.open, len(p.table.rules))
		r.skip, r.line = -1, l.First
		p.table.rules = append(p.table.rules, r)
		if after != "" {
			p.warning("ignoring extra text after IF statement: \"%s\"", after)
			return errors.New("do not prepend whitespace to statements between IF and ENDIF")
		}
		return nil
	case isAlnum(text[0]):
		return errors.New("ignoring unrecognized request")
	}
	r, result, err := p.pattern(text)
	if err != nil {
		return err
	}
	if result == "" {
		p.warning("no replacement text: using empty string")
	}
	if p.files {
		if result, err = source.FileValue(result); err != nil {
			return fmt.Errorf("%w: skipping this rule", err)
		}
	}
	if r.result, err = p.substitution(result, r); err != nil {
		return err
	}
	r.line = l.First
	p.table.rules = append(p.table.rules, r)
	return nil
}

func (p *parser) warning(format string, args ...any) {
	p.warn("%s, line %d: %s", p.where, p.at, fmt.Sprintf(format, args...))
}

func (p *parser) endif(rest string) error {
	if len(p.open) == 0 {
		return errors.New("ignoring ENDIF without matching IF")
	}
	last := p.open[len(p.open)-1]
	p.open = p.open[:len(p.open)-1]
	p.table.rules[last].skip = len(p.table.rules)
	if rest != "" {
		return fmt.Errorf("ignoring extra text after ENDIF: \"%s\"", rest)
	}
	return nil
}

// pattern takes "!/pattern/flags" off and returns what follows it.
func (p *parser) pattern(text string) (r rule, rest string, err error) {
	r.negate, text = source.Negation(text)
	if text == "" {
		return r, "", errors.New("no regexp: skipping this rule")
	}
	delimiter := text[0]
	end := 1
	for end < len(text) && text[end] != delimiter {
		if text[end] == '\\' && end+1 < len(text) {
			end++
		}
		end++
	}
	if end >= len(text) {
		return r, "", fmt.Errorf("no closing regexp delimiter \"%c\": %s this rule", delimiter, p.leaving)
	}
	body := text[1:end]
	flags := p.defaults
	for end++; end < len(text) && text[end] != ' ' && text[end] != '\t'; end++ {
		f, ok := p.flags[text[end]]
		if !ok {
			return r, "", fmt.Errorf("unknown regexp option \"%c\": skipping this rule", text[end])
		}
		flags ^= f
	}
	if r.re, err = p.compile(body, flags); err != nil {
		return r, "", err
	}
	return r, strings.TrimLeft(text[end:], " \t"), nil
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// substitution parses a result.
func (p *parser) substitution(text string, r rule) ([]piece, error) {
	var list []piece
	var literal strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '$' {
			literal.WriteByte(text[i])
			i++
			continue
		}
		if strings.HasPrefix(text[i:], "$$") {
			literal.WriteByte('$')
			i += 2
			continue
		}
		name, n := reference(text[i+1:])
		switch {
		case n < 0:
			p.warn("truncated macro reference: \"%s\"", text)
			return nil, errSubstitution
		case name == "":
			p.warn("empty macro name: \"%s\"", text)
			return nil, errSubstitution
		}
		group, err := p.group(name, r)
		if err != nil {
			return nil, err
		}
		if literal.Len() > 0 {
			list = append(list, piece{text: literal.String()})
			literal.Reset()
		}
		list = append(list, piece{group: group})
		i += 1 + n
	}
	if literal.Len() > 0 || len(list) == 0 {
		list = append(list, piece{text: literal.String()})
	}
	return list, nil
}

func (p *parser) group(name string, r rule) (int, error) {
	switch {
	case p.noSubstitution:
		return 0, errors.New("regular expression substitution is not allowed: skipping this rule")
	case r.negate:
		return 0, errors.New("$number found in negative match replacement text: skipping this rule")
	}
	group, err := strconv.Atoi(name)
	if err != nil {
		p.warning("non-numeric replacement index \"%s\"", name)
		return 0, errSubstitution
	}
	if group < 1 || group > r.re.Groups() {
		return 0, fmt.Errorf("out of range replacement index \"%s\": skipping this rule", name)
	}
	return group, nil
}

var errSubstitution = errors.New("bad replacement syntax: skipping this rule")

// reference takes name, {name} or (name) off, and says how long it was; -1 when
// there is no end.
func reference(text string) (name string, n int) {
	closer := byte(0)
	switch {
	case strings.HasPrefix(text, "{"):
		closer = '}'
	case strings.HasPrefix(text, "("):
		closer = ')'
	}
	if closer != 0 {
		end := strings.IndexByte(text, closer)
		if end < 0 {
			return "", -1
		}
		return text[1:end], end + 1
	}
	for n < len(text) && (isAlnum(text[n]) || text[n] == '_') {
		n++
	}
	return text[:n], n
}

// Lookup returns the result of the first rule that matches key.
func (t *Rules) Lookup(_ context.Context, key string) (string, bool, error) {
	var few [16]uint64 // for up to a thousand rules
	candidates := few[:]
	if n := len(t.filter.always); n <= len(few) {
		candidates = few[:n]
	} else {
		candidates = make([]uint64, n)
	}
	t.filter.candidates(key, candidates)
	for i := following(candidates, 0); i >= 0; i = following(candidates, i) {
		r := &t.rules[i]
		m, err := r.re.Match(key)
		if err != nil {
			return "", false, fmt.Errorf("%s, line %d: %w", t.where, r.line, err)
		}
		hit := (m != nil) != r.negate
		switch {
		case r.skip != 0 && !hit:
			i = r.skip
		case r.skip != 0 || !hit:
			i++
		default:
			return r.expand(key, m), true, nil
		}
	}
	return "", false, nil
}

func (r *rule) expand(key string, m []int) string {
	if len(r.result) == 1 && r.result[0].group == 0 {
		return r.result[0].text
	}
	var b strings.Builder
	for _, p := range r.result {
		b.WriteString(p.text)
		if p.group > 0 && m[2*p.group] >= 0 {
			b.WriteString(key[m[2*p.group]:m[2*p.group+1]])
		}
	}
	return b.String()
}

// Entries counts the rules.
func (t *Rules) Entries() int { return len(t.rules) }

// Keys says that the whole, unmodified string is looked up.
func (t *Rules) Keys() table.Keys { return table.Pattern }

// Close does nothing.
func (t *Rules) Close() error { return nil }
