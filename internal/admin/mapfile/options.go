package mapfile

import (
	"errors"

	"postern/internal/table"
)

// options are those of both commands.
type options struct {
	dir         string
	mode        byte   // 'q', 'd', 's', or 0 to build
	key         string // of -q and -d
	incremental bool   // -i
	flags       table.Flags
	asRoot      bool // -o: stay root for a source of somebody else
	defaultMode bool // -p: do not take the source's permissions on
	forceUTF8   bool // -U
	noUTF8      bool // -u
	header      bool // -h
	body        bool // -b
	mime        bool // -m
	json        bool // -j: an object for each entry
}

// Postfix words the two differently.
var (
	errOneMode     = errors.New("specify only one of -s -q or -d")
	errOneSequence = errors.New("specify only one of -s or -q or -d")
)

func (r *run) option(letter byte, arg string) error {
	switch letter {
	case 'b':
		r.body = true
	case 'c':
		r.dir = arg
	case 'd', 'q', 's':
		if r.mode != 0 && letter == 's' {
			return errOneSequence
		}
		if r.mode != 0 {
			return errOneMode
		}
		r.mode, r.key = letter, arg
	case 'f':
		r.flags |= table.KeepCase
	case 'F':
		r.flags |= table.ValueIsFile
	case 'h':
		r.header = true
	case 'i':
		r.incremental = true
	case 'j':
		r.json = true
	case 'm':
		r.mime = true
	case 'n':
		r.flags = r.flags&^table.KeyNUL | table.KeyNoNUL
	case 'N':
		r.flags = r.flags&^table.KeyNoNUL | table.KeyNUL
	case 'o':
		r.asRoot = true
	case 'p':
		r.defaultMode = true
	case 'r':
		r.flags = r.flags&^table.DupIgnore | table.DupReplace
	case 'u':
		r.noUTF8 = true
	case 'U':
		r.forceUTF8 = true
	case 'v':
		r.Verbose()
	case 'w':
		r.flags = r.flags&^table.DupReplace | table.DupIgnore
	}
	return nil
}

// check looks at the options together.
func (r *run) check() error {
	if (r.mime || r.header || r.body) && (r.mode != 'q' || r.key != "-") {
		return errors.New(`specify -b -h or -m only with "-q -"`)
	}
	if r.mime && !r.header && !r.body {
		r.Log.Warningf("ignoring -m option without -b or -h")
		r.mime = false
	}
	return nil
}

// utf8 says whether keys and values must be UTF-8; enabled is smtputf8_enable.
func (r *run) utf8(enabled bool) bool { return !r.noUTF8 && (r.forceUTF8 || enabled) }
