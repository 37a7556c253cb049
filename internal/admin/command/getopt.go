package command

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Getopt takes options off args as POSIX getopt does: spec lists the letters,
// a letter before ":" has an argument, a "-" alone or the first other word
// ends the options, "--" too. It calls each for every option and returns what
// is left.
func Getopt(args []string, spec string, each func(option byte, arg string) error) ([]string, error) {
	o := Options{Args: args, Spec: spec}
	for {
		option, arg, err := o.Next()
		if err != nil {
			return nil, err
		}
		if option == 0 {
			return o.Args, nil
		}
		if err := each(option, arg); err != nil {
			return nil, err
		}
	}
}

// Options is a command line of which options are taken one by one.
type Options struct {
	Args  []string // what is left
	Spec  string
	group string // letters left of a word such as "-abc"
}

// An OptionError is an option that is unknown or lacks its argument.
type OptionError struct {
	Option  byte
	Missing bool // its argument is missing
}

func (e *OptionError) Error() string {
	if e.Missing {
		return fmt.Sprintf("option requires an argument -- '%c'", e.Option)
	}
	return fmt.Sprintf("invalid option -- '%c'", e.Option)
}

// Complain prints what getopt(3) prints of an option that is wrong, and nothing
// of another error.
func Complain(stderr io.Writer, program string, err error) {
	var bad *OptionError
	if errors.As(err, &bad) {
		fmt.Fprintf(stderr, "%s: %v\n", program, bad)
	}
}

// InGroup says that the next option is in the middle of a word.
func (o *Options) InGroup() bool { return o.group != "" }

// Next takes the next option off; a zero option is the end.
func (o *Options) Next() (option byte, arg string, err error) {
	if o.group == "" {
		if len(o.Args) == 0 || len(o.Args[0]) < 2 || o.Args[0][0] != '-' {
			return 0, "", nil
		}
		word := o.Args[0]
		o.Args = o.Args[1:]
		if word == "--" {
			return 0, "", nil
		}
		o.group = word[1:]
	}
	option = o.group[0]
	o.group = o.group[1:]
	i := strings.IndexByte(o.Spec, option)
	if i < 0 || option == ':' {
		return 0, "", &OptionError{Option: option}
	}
	if i+1 >= len(o.Spec) || o.Spec[i+1] != ':' {
		return option, "", nil
	}
	if o.group != "" {
		arg, o.group = o.group, ""
		return option, arg, nil
	}
	if len(o.Args) == 0 {
		return 0, "", &OptionError{Option: option, Missing: true}
	}
	arg = o.Args[0]
	o.Args = o.Args[1:]
	return option, arg, nil
}
