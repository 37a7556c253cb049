package sendmail

import (
	"fmt"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
)

// optionSpec lists sendmail's options; "-q" alone and "-XV" alone are taken
// before it is looked at.
const optionSpec = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"

// A mode is what sendmail is asked to do.
type mode int

const (
	enqueue mode = iota
	listQueue
	flushQueue
	daemon
	newAliases
	standAlone
	ignore
)

// options is the command line after it was understood.
type options struct {
	mode       mode
	sender     *string
	fullName   *string
	encoding   string // 7bit, 8bit or empty
	remote     bool   // -G
	notify     int    // -N
	ret        int    // -R
	envelopeID string // -V
	verp       string // -XV: delimiters
	sendOpts   int    // -O requiretls=yes, -O smtputf8=yes
	extract    bool   // -t
	dotEnds    bool   // a line of "." ends the message
	verify     bool   // -bv
	record     bool   // -v: report the first delivery attempt
	verbose    int
	site, id   string // -qR, -qI
	interval   bool   // -q with an interval
	aliases    string // -oA
	recipients []string
}

// modeOf returns the mode that the program's name asks for.
func modeOf(name string) mode {
	switch name {
	case "mailq":
		return listQueue
	case "newaliases":
		return newAliases
	case "smtpd":
		return daemon
	}
	return enqueue
}

// A parser turns the command line into options.
type parser struct {
	options
	warn          func(format string, args ...any)
	verpDefault   string // default_verp_delimiters
	verpPermitted string // verp_delimiter_filter
}

func (p *parser) parse(args []string) error {
	o := command.Options{Args: args, Spec: optionSpec}
	for {
		if !o.InGroup() && len(o.Args) > 0 && p.special(&o) {
			continue
		}
		option, arg, err := o.Next()
		if err != nil {
			return err
		}
		if option == 0 {
			p.recipients = o.Args
			return p.conflicts()
		}
		if err := p.option(option, arg); err != nil {
			return err
		}
	}
}

// special takes the words that do not follow the rules of getopt, and the old
// spelling of -XV.
func (p *parser) special(o *command.Options) bool {
	word := o.Args[0]
	switch {
	case word == "-q":
		if p.mode == daemon {
			p.warn("ignoring -q option in daemon mode")
		} else {
			p.mode = flushQueue
		}
	case word == "-V" && len(o.Args) > 1 && len(o.Args[1]) == 2:
		p.warn("option -V is deprecated with Postfix 2.3; specify -XV instead")
		p.verp = p.verpDefault
	case strings.HasPrefix(word, "-V") && len(word) == 4:
		p.warn("option %s is deprecated with Postfix 2.3; specify -X%s instead", word, word[1:])
		o.Args[0] = "-X" + word[1:]
		return false
	case word == "-XV":
		p.verp = p.verpDefault
	default:
		return false
	}
	o.Args = o.Args[1:]
	return true
}

func (p *parser) option(option byte, arg string) error {
	switch option {
	case 'n':
		return fmt.Errorf("-%c option not supported", option)
	case 'B':
		return p.bodyType(arg)
	case 'F':
		p.fullName = &arg
	case 'G':
		p.remote = true
	case 'I':
		p.mode = newAliases
	case 'N':
		var unknown string
		if p.notify, unknown = dsn.ParseNotify(arg); unknown != "" {
			p.warn("unknown DSN NOTIFY command value %q in %q", unknown, arg)
		}
		if p.notify == 0 {
			p.warn("bad -N option value -- ignored")
		}
	case 'O':
		return p.longOption(arg)
	case 'R':
		if p.ret = returnCode(arg); p.ret == 0 {
			p.warn("bad -R option value -- ignored")
		}
	case 'V':
		p.setEnvelopeID(arg)
	case 'X':
		return p.setVerp(arg)
	case 'b':
		return p.setMode(arg)
	case 'f', 'r':
		p.sender = &arg
	case 'i':
		p.dotEnds = false
	case 'o':
		return p.oldOption(arg)
	case 'q':
		return p.queueRun(arg)
	case 't':
		p.extract = true
	case 'v':
		p.verbose++
	}
	return nil
}

func (p *parser) bodyType(arg string) error {
	switch arg {
	case "8BITMIME":
		p.encoding = "8bit"
	case "7BIT":
		p.encoding = "7bit"
	default:
		return fmt.Errorf("-B option needs 8BITMIME or 7BIT")
	}
	return nil
}

// longOption is -O name=value. Postfix: names other than requiretls and smtputf8
// are ignored.
func (p *parser) longOption(arg string) error {
	name, value, _ := strings.Cut(arg, "=")
	option := 0
	switch {
	case strings.EqualFold(name, "requiretls"):
		option = delivery.SendRequireTLS
	case strings.EqualFold(name, "smtputf8"):
		option = delivery.SendUTF8Requested
	default:
		return nil
	}
	switch {
	case strings.EqualFold(value, "yes"):
		p.sendOpts |= option
	case strings.EqualFold(value, "no"):
		p.sendOpts &^= option
	default:
		return fmt.Errorf("-O %s: specify %s=yes or %s=no", arg, name, name)
	}
	return nil
}

func (p *parser) setEnvelopeID(arg string) {
	switch {
	case len(arg) > 100:
		p.warn("too long -V option value -- ignored")
	case !printable(arg):
		p.warn("bad syntax in -V option value -- ignored")
	default:
		p.envelopeID = arg
	}
}

func (p *parser) setVerp(arg string) error {
	if arg == "" || arg[0] != 'V' {
		return fmt.Errorf("unsupported: -X%.1s", arg)
	}
	arg = arg[1:]
	if len(arg) != 2 || !strings.Contains(p.verpPermitted, arg[:1]) || !strings.Contains(p.verpPermitted, arg[1:]) {
		return fmt.Errorf("-V requires two characters from %s", p.verpPermitted)
	}
	p.verp = arg
	return nil
}

func (p *parser) setMode(arg string) error {
	letter := byte(0)
	if arg != "" {
		letter = arg[0]
	}
	switch letter {
	case 'd', 'l':
		if p.mode == flushQueue {
			p.warn("ignoring -q option in daemon mode")
		}
		p.mode = daemon
	case 'h', 'H':
		p.mode = ignore
	case 'i':
		p.mode = newAliases
	case 'm':
		p.mode = enqueue
	case 'p':
		p.mode = listQueue
	case 's':
		p.mode = standAlone
	case 'v':
		p.verify = true
	default:
		return fmt.Errorf("unsupported: -b%.1s", arg)
	}
	return nil
}

// oldOption is -o followed by a letter.
func (p *parser) oldOption(arg string) error {
	if arg == "" {
		return nil
	}
	switch arg[0] {
	case 'A':
		if arg == "A" {
			return fmt.Errorf("-oA requires pathname")
		}
		p.aliases = arg[1:]
	case 'i':
		p.dotEnds = false
	}
	return nil
}

func (p *parser) queueRun(arg string) error {
	switch {
	case arg == "":
		return fmt.Errorf("-q is not implemented")
	case arg[0] >= '0' && arg[0] <= '9':
		p.interval = true
	case arg == "R":
		return fmt.Errorf("specify: -qRsitename")
	case arg[0] == 'R':
		p.site = arg[1:]
	case arg == "I":
		return fmt.Errorf("specify: -qIqueueid")
	case arg[0] == 'I':
		p.id = arg[1:]
	default:
		return fmt.Errorf("-q%.1s is not implemented", arg)
	}
	return nil
}

// conflicts refuses options and recipients that do not go together.
func (p *parser) conflicts() error {
	for _, c := range []struct {
		bad  bool
		text string
	}{
		{p.extract && p.mode != enqueue, "-t can be used only in delivery mode"},
		{p.site != "" && p.mode != enqueue, "-qR can be used only in delivery mode"},
		{p.id != "" && p.mode != enqueue, "-qI can be used only in delivery mode"},
		{p.verify && p.extract, "-t option cannot be used with -bv"},
		{p.verify && p.notify != 0, "-N option cannot be used with -bv"},
		{p.verify && p.ret != 0, "-R option cannot be used with -bv"},
		{p.verify && p.verbose == 1, "-v option cannot be used with -bv"},
	} {
		if c.bad {
			return fmt.Errorf("%s", c.text)
		}
	}
	if p.verbose == 1 && p.mode == enqueue {
		p.verbose, p.record = 0, true
	}
	if p.interval && p.mode != daemon {
		p.mode = ignore
	}
	if len(p.recipients) == 0 {
		return nil
	}
	switch {
	case p.mode == enqueue && p.site != "":
		return fmt.Errorf("flush site requires no recipient")
	case p.mode == enqueue && p.id != "":
		return fmt.Errorf("flush queue_id requires no recipient")
	case p.mode == enqueue || p.mode == ignore:
		return nil
	}
	return fmt.Errorf("%s mode requires no recipient", modeNames[p.mode])
}

var modeNames = [...]string{
	listQueue:  "display queue",
	flushQueue: "flush queue",
	daemon:     "daemon",
	newAliases: "alias initialization",
	standAlone: "stand-alone",
	ignore:     "",
}

// The numbers of RFC 3461 RET in the queue file.
const (
	retFull    = 1
	retHeaders = 2
)

func returnCode(word string) int {
	switch strings.ToLower(word) {
	case "full":
		return retFull
	case "hdrs":
		return retHeaders
	}
	return 0
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
