package address

import (
	"bytes"
	"slices"
)

// A List is a parsed address list: the value of a To: field, the argument of
// an SMTP command, the right-hand side of an alias. It keeps everything that
// it read, so that it can be written again with some addresses replaced. A
// List can be reused.
type List struct {
	tokens []Token // in order; addresses are single tokens
	parts  []Token // the tokens that addresses are made of
	scan   []Token
	hold   []Token // tokens of the address being collected, in reverse order
	buf    []byte
}

// Parse reads text, in which it finds every address: alone, in angle
// brackets, in groups. It takes any text; what makes no sense becomes part of
// an address. limit is for Scan.
//
// As in Postfix, the text is taken apart from its end, because what is left of
// an angle bracket is known to be a phrase only then. Where two words follow
// each other, a missing comma is put between them. A comment within an
// address moves behind it.
func (l *List) Parse(text string, limit int) {
	l.scan = Scan(l.scan[:0], text, limit)
	l.tokens, l.parts, l.hold = l.tokens[:0], l.parts[:0], l.hold[:0]
	inGroup, wasWord := false, false
	for i := len(l.scan) - 1; i >= 0; i-- {
		t := l.scan[i]
		switch {
		case t.Kind == Comment:
			l.tokens = append(l.tokens, t)
		case t.Kind == ';':
			l.flush(true)
			l.tokens = append(l.tokens, t)
			inGroup, wasWord = true, false
		case t.Kind == ':' && inGroup:
			l.flush(false)
			l.tokens = append(l.tokens, Token{Kind: Group})
			i = l.copyUntil(i, ",") + 1
		case t.Kind == '>':
			l.flush(true)
			i = l.angle(i) + 1
			wasWord = false
		case t.Kind == Atom || t.Kind == Quoted || t.Kind == Literal:
			if wasWord {
				l.flush(true)
			}
			l.hold = append(l.hold, t)
			wasWord = true
		case t.Kind == ',':
			l.flush(false)
			l.tokens = append(l.tokens, t)
			wasWord = false
		default:
			l.hold = append(l.hold, t)
			wasWord = false
		}
	}
	l.flush(false)
	slices.Reverse(l.tokens)
}

// angle takes "phrase <address>" whose closing bracket is scan[i] and returns
// the index of the token before it.
func (l *List) angle(i int) int {
	l.tokens = append(l.tokens, l.scan[i])
	for i--; i >= 0 && l.scan[i].Kind != '<'; i-- {
		if l.scan[i].Kind == Comment {
			l.tokens = append(l.tokens, l.scan[i])
		} else {
			l.hold = append(l.hold, l.scan[i])
		}
	}
	l.flush(false)
	if i < 0 {
		return i
	}
	l.tokens = append(l.tokens, l.scan[i])
	return l.copyUntil(i, ">;,:")
}

// copyUntil copies the tokens before scan[i] up to one of the operators and
// returns the index of that.
func (l *List) copyUntil(i int, operators string) int {
	for i--; i >= 0; i-- {
		t := l.scan[i]
		for _, op := range operators {
			if t.Kind == Kind(op) {
				return i
			}
		}
		l.tokens = append(l.tokens, t)
	}
	return i
}

// flush makes an address of what is held, and puts a comma before it.
func (l *List) flush(comma bool) {
	if len(l.hold) == 0 {
		return
	}
	slices.Reverse(l.hold)
	first := len(l.parts)
	l.parts = append(l.parts, l.hold...)
	l.buf = AppendInternal(l.buf[:0], l.hold)
	l.tokens = append(l.tokens, Token{Kind: Address, Text: string(l.buf), first: first, last: len(l.parts)})
	l.hold = l.hold[:0]
	if comma {
		l.tokens = append(l.tokens, Token{Kind: ','})
	}
}

// Tokens returns the tokens; the addresses among them have Kind Address. The
// caller may replace the Text of an address. The result is valid until the
// next Parse.
func (l *List) Tokens() []Token { return l.tokens }

// Parts returns the tokens of which an address was made.
func (l *List) Parts(t *Token) []Token { return l.parts[t.first:t.last] }

// AppendHeader appends the header field "name: list", with the list in external
// form. Its lines are separated by "\n"; where the list allows it they have
// less than 70 octets. Continuation lines begin with white space.
//
// Postfix: one space between words, none around operators; a line ends only
// after a comma, or where a comment has a line break already.
func (l *List) AppendHeader(dst []byte, name string) []byte {
	l.buf = append(append(l.buf[:0], name...), ": "...)
	for i := range l.tokens {
		t := &l.tokens[i]
		l.buf = appendToken(l.buf, t)
		switch {
		case t.Kind == ',':
			l.buf = append(l.buf, '\n')
		case i+1 < len(l.tokens) && spaceBetween(t.Kind, l.tokens[i+1].Kind):
			l.buf = append(l.buf, ' ')
		}
	}
	return appendFolded(dst, l.buf)
}

const foldWidth = 70

// appendFolded joins lines as long as they stay below foldWidth; a tab that
// begins a continuation line does not count.
func appendFolded(dst, text []byte) []byte {
	used := 0
	for first := true; ; first = false {
		line, rest, more := bytes.Cut(text, []byte{'\n'})
		switch {
		case first:
			used = len(line)
		case used+1+len(line) < foldWidth:
			dst = append(dst, ' ')
			used += 1 + len(line)
		default:
			dst = append(dst, '\n')
			if len(line) == 0 || !isBlank(line[0]) {
				dst = append(dst, '\t')
			}
			used = len(line)
		}
		dst = append(dst, line...)
		if !more {
			return dst
		}
		text = rest
	}
}

func spaceBetween(left, right Kind) bool {
	if left == Group || right == '<' {
		return true
	}
	return left > operator && right > operator && right != Group
}

// Addresses returns the addresses of a list in internal form, in order.
func Addresses(text string) []string {
	var l List
	l.Parse(text, 0)
	var found []string
	for _, t := range l.tokens {
		if t.Kind == Address {
			found = append(found, t.Text)
		}
	}
	return found
}
