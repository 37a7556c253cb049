package pipe

import (
	"fmt"
	"strconv"
	"strings"

	"postern/internal/base/macro"
	"postern/internal/base/sys"
)

// attributes are the arguments of the master.cf entry.
type attributes struct {
	user       string // user=name or name:group
	owner      sys.Owner
	argv       []string // argv=: the command, with macros
	flags      flags
	eol        string
	directory  string
	chroot     string
	nullSender string
	size       int64 // size=: larger messages are returned; 0: no limit
}

// flags are the letters of flags=.
type flags struct {
	blankEnd    bool // B
	deliveredTo bool // D
	from        bool // F
	origTo      bool // O
	returnPath  bool // R
	final       bool // X: the mail is delivered, not relayed
	foldDomain  bool // h
	quote       bool // q
	foldLocal   bool // u
	dots        bool // .
	quoteFrom   bool // >
}

func parseAttributes(args []string) (*attributes, error) {
	a := &attributes{eol: "\n", nullSender: "MAILER-DAEMON"}
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("unknown attribute name: %s", arg)
		}
		var err error
		switch name {
		case "argv":
			a.argv = args[i+1:]
			if value != "" {
				a.argv = append([]string{value}, a.argv...)
			}
			if len(a.argv) == 0 {
				return nil, fmt.Errorf("missing argv= command-line attribute")
			}
			return a, nil
		case "user":
			a.user = value
		case "flags":
			err = a.flags.parse(value)
		case "eol":
			a.eol, err = unescape(value)
		case "directory":
			a.directory = value
		case "chroot":
			a.chroot = value
		case "null_sender":
			a.nullSender = value
		case "size":
			if a.size, err = strconv.ParseInt(value, 10, 64); err != nil || a.size < 0 {
				err = fmt.Errorf("bad size= value: %s", value)
			}
		default:
			err = fmt.Errorf("unknown attribute name: %s", arg)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("missing argv= command-line attribute")
}

func (f *flags) parse(letters string) error {
	for _, c := range letters {
		switch c {
		case 'B':
			f.blankEnd = true
		case 'D':
			f.deliveredTo = true
		case 'F':
			f.from = true
		case 'O':
			f.origTo = true
		case 'R':
			f.returnPath = true
		case 'X':
			f.final = true
		case 'h':
			f.foldDomain = true
		case 'q':
			f.quote = true
		case 'u':
			f.foldLocal = true
		case '.':
			f.dots = true
		case '>':
			f.quoteFrom = true
		default:
			return fmt.Errorf("unknown flag: %c", c)
		}
	}
	return nil
}

// unescape reads the escapes of C: \n, \r, \t, \a, \b, \f, \v, \\, \ddd.
func unescape(s string) (string, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("bad eol= value: %s", s)
		}
		if at := strings.IndexByte(`abfnrtv\`, s[i]); at >= 0 {
			b = append(b, "\a\b\f\n\r\t\v\\"[at])
			continue
		}
		n := 0
		for n < 3 && i+n < len(s) && '0' <= s[i+n] && s[i+n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[i:i+n], 8, 8)
		if err != nil {
			return "", fmt.Errorf("bad eol= value: %s", s)
		}
		b = append(b, byte(v))
		i += n - 1
	}
	return string(b), nil
}

// macros are the names that the command may use; true for those that make an
// argument appear once for each recipient.
var macros = map[string]bool{
	"client_address": false, "client_helo": false, "client_hostname": false, "client_port": false,
	"client_protocol": false, "envid": false, "nexthop": false, "queue_id": false, "sasl_method": false, "sasl_sender": false,
	"sasl_username": false, "sender": false, "size": false,
	"domain": true, "extension": true, "mailbox": true, "original_recipient": true, "recipient": true, "user": true,
}

// checkMacros refuses names that nothing knows.
func (a *attributes) checkMacros() error {
	for _, arg := range a.argv {
		var unknown error
		err := macro.Names(arg, func(name string) {
			if _, ok := macros[name]; !ok && unknown == nil {
				unknown = fmt.Errorf("unknown macro name: %q", name)
			}
		})
		if err == nil {
			err = unknown
		}
		if err != nil {
			return fmt.Errorf("argument %s: %w", arg, err)
		}
	}
	return nil
}
