// Package mastercf is the file master.cf: the services that master runs, one
// logical line each.
//
// A line has eight columns: name, type, private, unprivileged, chroot, wakeup
// time, process limit, command with arguments. A "-" is the default. An
// argument with blanks stands in braces.
package mastercf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/base/lines"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

// MaxFile is the largest master.cf that is read, in octets.
const MaxFile = 16 << 20

// An Override is one "-o name=value" of a command.
type Override struct{ Name, Value string }

// A Service is one entry.
type Service struct {
	Name, Type      string
	Private         bool
	Unprivileged    bool
	Chroot          bool
	Wakeup          time.Duration // 0: never
	WakeupBeforeUse bool          // false for "N?": only once the service has been used
	Limit           int           // sessions at once; 0: no limit
	Command         string        // file name in daemon_directory
	Args            []string      // its arguments without braces, -o and -v among them
	Overrides       []Override    // the -o among Args, in order
	Verbose         int           // the number of -v among Args
	Debug           bool          // -D among Args
	Line            int           // number of its first line
	Fields          [8]string     // the columns as written; the last is the command without arguments
	RawArgs         []string      // the arguments as written, with braces
}

// Key is what tells services apart, "name/type".
func (s *Service) Key() string { return s.Name + "/" + s.Type }

// Options say how entries are read.
type Options struct {
	DefaultLimit  int                              // default_process_limit; 0 means 100
	ChrootDefault bool                             // what "-" means in the chroot column: compatibility_level below 1
	Disable       string                           // master_service_disable, expanded
	Warn          func(format string, args ...any) // may be nil
	// Edit reads the file as postconf does, which shows and mends it: entries
	// that a later one of the same name replaces stay, and so does what only
	// master refuses. Args have "-o" and its value apart.
	Edit bool
}

// Load reads the file. An error names the file and the line.
func Load(path string, o Options) ([]Service, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f, path, o)
}

// Read reads the text of a master.cf; path names it in messages.
func Read(r io.Reader, path string, o Options) ([]Service, error) {
	var list []Service
	index := make(map[string]int)
	in := lines.NewReader(r, MaxFile)
	in.Warn = func(e *lines.Error) { o.warnf("%s: line %d: %v", path, e.Line, e.Err) }
	for {
		line, err := in.Next()
		if err == io.EOF {
			break
		}
		if e := new(lines.Error); errors.As(err, &e) {
			return nil, fmt.Errorf("%s: line %d: %w", path, e.Line, e.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		s, err := parse(line.Text, o)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, line.First, err)
		}
		s.Line = line.First
		if o.ChrootDefault && s.Fields[4] == "-" && !o.Edit {
			o.warnf("%s: line %d: using backwards-compatible default setting chroot=y", path, line.First)
		}
		if i, ok := index[s.Key()]; ok && !o.Edit {
			o.warnf("%s: line %d: duplicate master.cf entry for service %q (%s) -- using the last entry", path, line.First, s.Name, s.Type)
			list[i] = s
			continue
		}
		index[s.Key()] = len(list)
		list = append(list, s)
	}
	return o.enabled(list), nil
}

func (o *Options) warnf(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(format, args...)
	}
}

var columns = [8]string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "maxproc", "command"}

// Types lists the types of service.
var types = [...]string{"inet", "unix", "unix-dgram", "fifo", "pass"}

func parse(text string, o Options) (Service, error) {
	fields := param.Fields(text)
	var s Service
	for i, name := range columns {
		if i >= len(fields) {
			return s, fmt.Errorf("missing %q field", name)
		}
		s.Fields[i] = fields[i]
	}
	s.Name, s.Type, s.Command = fields[0], fields[1], fields[7]
	if !known(s.Type) {
		return s, fmt.Errorf("field %q: bad value: %.100q; need one of %s", "type", s.Type, strings.Join(types[:], ", "))
	}
	if err := s.columns(o); err != nil {
		return s, err
	}
	if err := s.names(); err != nil && !o.Edit {
		return s, err
	}
	s.RawArgs = fields[8:]
	return s, s.arguments(o.Edit)
}

// names checks what the entry calls itself and its program.
func (s *Service) names() error {
	for _, i := range [...]int{0, 7} {
		if s.Fields[i] == "-" {
			return fmt.Errorf("field %q has no default value", columns[i])
		}
	}
	if strings.ContainsAny(s.Command, "/{}") {
		return badField(7, s.Command, "the name of a program in daemon_directory")
	}
	if s.Type != "inet" && (strings.Contains(s.Name, "/") || s.Name == "." || s.Name == "..") {
		return badField(0, s.Name, "a file name without a slash")
	}
	return nil
}

func known(typ string) bool {
	for _, t := range types {
		if t == typ {
			return true
		}
	}
	return false
}

func badField(column int, value, need string) error {
	return fmt.Errorf("field %q: bad value: %.100q; need %s", columns[column], value, need)
}

// columns reads the columns between type and command.
func (s *Service) columns(o Options) (err error) {
	if s.Private, err = yesNo(s.Fields, 2, true); err != nil {
		return err
	}
	if s.Unprivileged, err = yesNo(s.Fields, 3, true); err != nil {
		return err
	}
	if s.Chroot, err = yesNo(s.Fields, 4, o.ChrootDefault); err != nil {
		return err
	}
	wakeup, conditional := strings.CutSuffix(s.Fields[5], "?")
	n, err := number(s.Fields, 5, wakeup, 0)
	if err != nil {
		return err
	}
	s.Wakeup, s.WakeupBeforeUse = time.Duration(n)*time.Second, !conditional
	def := o.DefaultLimit
	if def == 0 {
		def = 100
	}
	s.Limit, err = number(s.Fields, 6, s.Fields[6], def)
	return err
}

func yesNo(fields [8]string, column int, def bool) (bool, error) {
	switch fields[column] {
	case "-":
		return def, nil
	case "y":
		return true, nil
	case "n":
		return false, nil
	}
	return false, badField(column, fields[column], "y, n or -")
}

func number(fields [8]string, column int, text string, def int) (int, error) {
	if text == "-" && text == fields[column] {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 31)
	if err != nil || n < 0 {
		return 0, badField(column, fields[column], "a number or -")
	}
	return int(n), nil
}

// arguments takes the braces off and finds the options that every program has.
// Postfix: options come before other arguments. What is no "name=value" after
// -o is kept where the file is read to be edited.
func (s *Service) arguments(edit bool) error {
	for _, raw := range s.RawArgs {
		arg, _, err := param.Unbrace(raw)
		if err != nil {
			return err
		}
		s.Args = append(s.Args, arg)
	}
	if edit {
		s.apart()
	}
	for i := 0; i < len(s.Args); i++ {
		arg := s.Args[i]
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		var err error
		switch {
		case arg == "-o" && i+1 < len(s.Args):
			i++
			err = s.override(s.Args[i])
		case arg == "-o":
			err = errors.New("option -o: missing \"name=value\"")
		case strings.HasPrefix(arg, "-o"):
			err = s.override(arg[2:])
		case arg == "-D":
			s.Debug = true
		case strings.Trim(arg[1:], "v") == "":
			s.Verbose += len(arg) - 1
		}
		if err != nil && !edit {
			return err
		}
	}
	return nil
}

// apart makes two arguments of each option "-oname=value".
func (s *Service) apart() {
	var args, raw []string
	options := true
	for i := 0; i < len(s.Args); i++ {
		a, r := s.Args[i], s.RawArgs[i]
		options = options && len(a) > 1 && a[0] == '-'
		switch {
		case options && a == "-o" && i+1 < len(s.Args):
			i++
			args, raw = append(args, a, s.Args[i]), append(raw, r, s.RawArgs[i])
		case options && len(a) > 2 && strings.HasPrefix(a, "-o"):
			args, raw = append(args, "-o", a[2:]), append(raw, "-o", a[2:])
		default:
			args, raw = append(args, a), append(raw, r)
		}
	}
	s.Args, s.RawArgs = args, raw
}

func (s *Service) override(text string) error {
	name, value, err := maincf.SplitNameValue(text)
	if err != nil {
		return fmt.Errorf("option -o: %w: %.100q", err, text)
	}
	s.Overrides = append(s.Overrides, Override{name, value})
	return nil
}

// enabled leaves out the services that master_service_disable names. Postfix: a
// pattern that can name none does not keep the system from starting.
func (o *Options) enabled(list []Service) []Service {
	var patterns []string
	for _, p := range param.Split(o.Disable) {
		if !known(p[strings.LastIndexAny(p, "/!")+1:]) {
			o.warnf("parameter master_service_disable: bad value: %.100q; need type or name/type", p)
			continue
		}
		patterns = append(patterns, p)
	}
	if len(patterns) == 0 {
		return list
	}
	kept := list[:0]
	for _, s := range list {
		if !disabled(patterns, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// disabled says whether the first pattern that names the service turns it off.
// Postfix: "type" or "name/type", "!" before it; no wildcards, no tables.
func disabled(patterns []string, s Service) bool {
	for _, p := range patterns {
		pattern, negated := strings.CutPrefix(p, "!")
		name, typ := s.Name, pattern
		if i := strings.LastIndexByte(pattern, '/'); i >= 0 {
			name, typ = pattern[:i], pattern[i+1:]
		}
		if name == s.Name && typ == s.Type {
			return !negated
		}
	}
	return false
}
