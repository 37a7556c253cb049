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
	All           bool                             // keep entries that a later one of the same name replaces
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
		if i, ok := index[s.Key()]; ok {
			o.warnf("%s: line %d: duplicate master.cf entry for service %q (%s) -- using the last entry", path, line.First, s.Name, s.Type)
			if !o.All {
				list[i] = s
				continue
			}
		}
		index[s.Key()] = len(list)
		list = append(list, s)
	}
	return o.enabled(list)
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
	for _, i := range [...]int{0, 7} {
		if fields[i] == "-" {
			return s, fmt.Errorf("field %q has no default value", columns[i])
		}
	}
	if err := s.columns(o); err != nil {
		return s, err
	}
	if strings.ContainsAny(s.Command, "/{}") {
		return s, badField(7, s.Command, "the name of a program in daemon_directory")
	}
	if s.Type != "inet" && (strings.Contains(s.Name, "/") || s.Name == "." || s.Name == "..") {
		return s, badField(0, s.Name, "a file name without a slash")
	}
	s.RawArgs = fields[8:]
	return s, s.arguments()
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
func (s *Service) arguments() error {
	for _, raw := range s.RawArgs {
		arg, _, err := param.Unbrace(raw)
		if err != nil {
			return err
		}
		s.Args = append(s.Args, arg)
	}
	for i := 0; i < len(s.Args); i++ {
		arg := s.Args[i]
		if len(arg) < 2 || arg[0] != '-' {
			break // Postfix: options come before other arguments
		}
		switch {
		case arg == "-o" && i+1 < len(s.Args):
			i++
			if err := s.override(s.Args[i]); err != nil {
				return err
			}
		case arg == "-o":
			return errors.New("option -o: missing \"name=value\"")
		case strings.HasPrefix(arg, "-o"):
			if err := s.override(arg[2:]); err != nil {
				return err
			}
		case arg == "-D":
			s.Debug = true
		case strings.Trim(arg[1:], "v") == "":
			s.Verbose += len(arg) - 1
		}
	}
	return nil
}

func (s *Service) override(text string) error {
	name, value, err := maincf.SplitNameValue(text)
	if err != nil {
		return fmt.Errorf("option -o: %w: %.100q", err, text)
	}
	s.Overrides = append(s.Overrides, Override{name, value})
	return nil
}

// enabled leaves out the services that master_service_disable names.
func (o *Options) enabled(list []Service) ([]Service, error) {
	patterns := param.Split(o.Disable)
	if len(patterns) == 0 {
		return list, nil
	}
	kept := list[:0]
	for _, s := range list {
		off, err := disabled(patterns, s)
		if err != nil {
			return nil, err
		}
		if !off {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// disabled says whether the first pattern that names the service turns it off.
// Postfix: "type" or "name/type", "!" before it; no wildcards, no tables.
func disabled(patterns []string, s Service) (bool, error) {
	for _, p := range patterns {
		pattern, negated := strings.CutPrefix(p, "!")
		name, typ, both := strings.Cut(pattern, "/")
		if !both {
			name, typ = s.Name, pattern
		}
		if !known(typ) {
			return false, fmt.Errorf("parameter master_service_disable: bad value: %.100q; need type or name/type", p)
		}
		if name == s.Name && typ == s.Type {
			return !negated, nil
		}
	}
	return false, nil
}
