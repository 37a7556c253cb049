package address

import "strings"

// A Kind is what a token is: an operator is its own octet ('@', '.', '<', ',',
// …), everything else has one of the kinds below.
type Kind int

const (
	Atom     Kind = 256 + iota // a word
	Quoted                     // a quoted string, without its quotes
	Literal                    // a domain literal, without its brackets
	Comment                    // a comment in its external form, parentheses and all
	Group                      // the colon that begins the members of a group
	Address                    // a whole address; Text is its internal form
	operator Kind = 255
)

// A Token is a lexical token of RFC 5322 section 3.2, or an address that was
// made of several.
type Token struct {
	Kind Kind
	Text string // internal form, without quoting; "" for an operator

	first, last int // an Address: its tokens in List.parts
}

// operators are the octets that end an atom.
const operators = `|"%!(),.:;<>@[\]`

func isOperator(c byte) bool { return c < 0x7f && strings.IndexByte(operators, c) >= 0 }

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Scan appends the tokens of text to dst. At most limit tokens are taken, the
// rest of text is dropped; zero means no limit. Scan accepts any text:
// whatever is not closed ends with the text. The tokens refer to text.
func Scan(dst []Token, text string, limit int) []Token {
	for i, n := 0, 0; i < len(text); {
		c := text[i]
		if isBlank(c) {
			i++
			continue
		}
		if limit > 0 && n >= limit {
			break
		}
		n++
		var t Token
		switch {
		case c == '(':
			end := i + commentLength(text[i:])
			t = Token{Kind: Comment, Text: text[i:end]}
			i = end
		case c == '[':
			t.Kind = Literal
			t.Text, i = collect(text, i+1, func(c byte) bool { return c == ']' })
			i++
		case c == '"':
			t.Kind = Quoted
			t.Text, i = collect(text, i+1, func(c byte) bool { return c == '"' })
			i++
		case c != '\\' && isOperator(c):
			t.Kind = Kind(c)
			i++
		default:
			t.Text, i = collect(text, i, func(c byte) bool { return isBlank(c) || isOperator(c) })
			t.Kind = wordKind(t.Text)
		}
		dst = append(dst, t)
	}
	return dst
}

// collect reads from text[i] to the octet at which end holds and returns what
// it read, with backslashes resolved and white space turned into spaces, and
// where it stopped.
func collect(text string, i int, end func(byte) bool) (string, int) {
	start := i
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' || c == '\t' || c == '\r' || c == '\n':
			if c != '\\' && end(c) {
				return text[start:i], i
			}
			return collectSlow(text, start, i, end)
		case end(c):
			return text[start:i], i
		}
	}
	return text[start:], i
}

func collectSlow(text string, start, i int, end func(byte) bool) (string, int) {
	b := append(make([]byte, 0, len(text)-start), text[start:i]...)
	for ; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			if i++; i == len(text) {
				break
			}
			c = text[i]
		} else if end(c) {
			break
		}
		if isBlank(c) {
			c = ' '
		}
		b = append(b, c)
	}
	return string(b), i
}

// wordKind says whether a word can be written as an atom. Octets above 127
// stay as they are.
func wordKind(s string) Kind {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f || isOperator(c) {
			return Quoted
		}
	}
	return Atom
}

// commentLength returns the length of the comment at the start of s,
// comments in it included.
func commentLength(s string) int {
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				return i + 1
			}
		case '\\':
			i++
		}
	}
	return len(s)
}

// AppendInternal appends the tokens in internal form, without quoting and
// without space between them.
func AppendInternal(dst []byte, tokens []Token) []byte {
	for _, t := range tokens {
		switch {
		case t.Kind <= operator:
			dst = append(dst, byte(t.Kind))
		case t.Kind == Literal:
			dst = append(appendEscaped(append(dst, '['), t.Text, "\\\r\n"), ']')
		case t.Kind == Group:
			dst = append(dst, ':')
		default:
			dst = append(dst, t.Text...)
		}
	}
	return dst
}

// AppendExternal appends the tokens in external form: words are quoted one by
// one, as they were.
func AppendExternal(dst []byte, tokens []Token) []byte {
	for i := range tokens {
		dst = appendToken(dst, &tokens[i])
	}
	return dst
}

func appendToken(dst []byte, t *Token) []byte {
	switch {
	case t.Kind <= operator:
		return append(dst, byte(t.Kind))
	case t.Kind == Quoted:
		return append(appendEscaped(append(dst, '"'), t.Text, "\"\\\r\n"), '"')
	case t.Kind == Literal:
		return append(appendEscaped(append(dst, '['), t.Text, "\\\r\n"), ']')
	case t.Kind == Group:
		return append(dst, ':')
	case t.Kind == Address && t.Text == "":
		return append(dst, `""`...)
	case t.Kind == Address:
		return append(dst, Quote822(t.Text)...)
	}
	return append(dst, t.Text...)
}

func appendEscaped(dst []byte, s, special string) []byte {
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(special, s[i]) >= 0 {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}
