package service

import (
	"fmt"
	"strconv"
	"strings"

	"postern/internal/config/maincf"
)

// options are the command line of a daemon, as master writes it.
type options struct {
	program    string // how it was called
	name, typ  string // -n, -t
	overrides  []string
	verbose    int
	chroot     bool // -c
	user       bool // -u: run as mail_owner
	standAlone bool // -S
	stderr     bool // -V
	single     bool // -l
	unlimited  bool // -z
	limit      int  // -p, Postern: the process limit
	sockets    int  // -s
	idle       string
	args       []string
}

// parseOptions reads args; args[0] is the program's name.
func parseOptions(args []string) (*options, error) {
	o := &options{name: "unknown", typ: "unix", sockets: 1}
	if len(args) == 0 {
		return nil, fmt.Errorf("no program name")
	}
	o.program = args[0][strings.LastIndexByte(args[0], '/')+1:]
	rest := args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		word := rest[0][1:]
		rest = rest[1:]
		if word == "-" {
			break
		}
		for word != "" {
			letter := word[0]
			word = word[1:]
			if !strings.ContainsRune("imnoprst", rune(letter)) {
				if err := o.flag(letter); err != nil {
					return nil, err
				}
				continue
			}
			if word == "" {
				if len(rest) == 0 {
					return nil, fmt.Errorf("option requires an argument -- %c", letter)
				}
				word, rest = rest[0], rest[1:]
			}
			if err := o.value(letter, word); err != nil {
				return nil, err
			}
			word = ""
		}
	}
	o.args = rest
	return o, nil
}

func (o *options) flag(letter byte) error {
	switch letter {
	case 'c':
		o.chroot = true
	case 'u':
		o.user = true
	case 'v':
		o.verbose++
	case 'S':
		o.standAlone = true
	case 'V':
		o.stderr = true
	case 'l':
		o.single = true
	case 'z':
		o.unlimited = true
	case 'd', 'D': // no process to detach from, no debugger to start
	default:
		return fmt.Errorf("invalid option: -%c", letter)
	}
	return nil
}

func (o *options) value(letter byte, text string) (err error) {
	switch letter {
	case 'n':
		o.name = text
	case 't':
		o.typ = text
	case 'o':
		if _, _, err := maincf.SplitNameValue(text); err != nil {
			return fmt.Errorf("option -o: %w: %.100q", err, text)
		}
		o.overrides = append(o.overrides, text)
	case 'p':
		o.limit, err = strconv.Atoi(text)
	case 's':
		o.sockets, err = strconv.Atoi(text)
	case 'i':
		o.idle = text
	case 'm', 'r': // Postfix: max_use, and a count of descriptors of its own
	}
	if err != nil || o.limit < 0 || o.sockets < 0 || o.sockets > 1000 {
		return fmt.Errorf("option -%c: bad number: %.100q", letter, text)
	}
	return nil
}
