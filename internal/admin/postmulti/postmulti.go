// Package postmulti is the command postmulti: it manages several mail systems
// on one machine, each with a configuration, a queue and a data directory of
// its own.
//
// The primary instance is the one in the default configuration directory; its
// main.cf lists the others. A request is carried out for every instance, or one
// instance is created, taken over, changed or removed. Files are changed by
// postconf and postfix, which the command runs, so that there is one way to do
// so.
package postmulti

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"postern/internal/admin/command"
	"postern/internal/config/param"
)

// flushLimit is how long the command waits for its lines to be taken.
const flushLimit = 2 * time.Second

const usage = "Usage:postmulti -l [-v] [-a] [-g group] [-i instance] | postmulti -p [-v] [-a] [-g group] [-i instance] command... | postmulti -x [-v] [-a] [-i name] [-g group] command... | postmulti -e action [-v] [-a] [-i name] [-g group] [-I name] [-G group] [param=value ...]"

// Config holds the parameters of the command.
type Config struct {
	Directories                           string // multi_instance_directories
	Wrapper                               string // multi_instance_wrapper
	Enable                                bool   // multi_instance_enable
	Group                                 string // multi_instance_group
	StartCommands, StopCommands, Controls string
	MetaDirectory                         string
}

// Params names the main.cf parameters that the command reads.
func Params(s *param.Set) { new(Config).Params(s) }

// Params names the main.cf parameters that the command reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.Directories, "multi_instance_directories", "")
	s.Str(&c.Wrapper, "multi_instance_wrapper", "")
	s.Bool(&c.Enable, "multi_instance_enable", false)
	s.Str(&c.Group, "multi_instance_group", "")
	s.Str(&c.StartCommands, "postmulti_start_commands", "start")
	s.Str(&c.StopCommands, "postmulti_stop_commands", "stop abort drain quick-stop")
	s.Str(&c.Controls, "postmulti_control_commands", "reload flush")
	s.Str(&c.MetaDirectory, "meta_directory", "/etc/postfix", param.MinLen(1))
}

// options is the command line.
type options struct {
	mode    byte   // 'e', 'l', 'p' or 'x'
	action  string // of -e
	all     bool   // -a
	group   string // -g
	name    string // -i
	newName string // -I
	newGrp  string // -G
	reverse bool   // -R
	json    bool   // -j
	args    []string

	selections, assignments, modes int
}

// A postmulti is one run.
type postmulti struct {
	*command.Command
	Config
	*options
	stdin     io.Reader
	primary   *instance
	instances []*instance // the primary one first
}

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return run(args, stdin, stdout, stderr, command.DefaultConfigDirectory)
}

// run is Main for the primary instance in dir.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, dir string) int {
	p := &postmulti{Command: command.New("postmulti", stdin, stdout, stderr), stdin: stdin}
	var err error
	if p.options, err = parse(args[1:], p.Verbose); err != nil {
		command.Complain(stderr, "postmulti", err)
		return p.Fail(command.Failure, usage)
	}
	if err := p.options.check(); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	if other := os.Getenv("MAIL_CONFIG"); other != "" && other != dir {
		return p.Fail(command.Failure, "Non-default configuration directory: MAIL_CONFIG=%s", other)
	}
	if err := p.Load(dir, p.Config.Params); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	if err := p.load(dir); err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	switch p.mode {
	case 'e':
		return p.manage()
	case 'l':
		return p.list()
	}
	return p.iterate()
}

func parse(args []string, verbose func()) (*options, error) {
	o := &options{}
	rest, err := command.Getopt(args, "ae:g:i:G:I:jlpRvx", func(option byte, arg string) error {
		switch option {
		case 'a':
			o.all = true
			o.selections++
		case 'e':
			o.mode, o.action = 'e', arg
			o.modes++
		case 'g':
			o.group = arg
			o.selections++
		case 'i':
			o.name = arg
			o.selections++
		case 'G':
			o.newGrp = arg
			o.assignments++
		case 'I':
			o.newName = arg
			o.assignments++
		case 'j':
			o.json = true
		case 'l', 'p', 'x':
			o.mode = option
			o.modes++
		case 'R':
			o.reverse = true
		case 'v':
			verbose()
		}
		return nil
	})
	o.args = rest
	return o, err
}

// actions are those of -e.
var actions = [...]string{"create", "destroy", "import", "deport", "enable", "disable", "assign", "init"}

// check refuses options that do not go together. Postfix: in these words.
func (o *options) check() error {
	switch {
	case o.modes != 1:
		return fmt.Errorf("Specify exactly one of '-e', '-l', '-p', '-x'")
	case o.selections > 1:
		return fmt.Errorf("Specity no more than one of '-a', '-g', '-i'")
	case o.mode == 'e' && !slices.Contains(actions[:], o.action):
		return fmt.Errorf("Invalid '-e' edit action '%.100s'. Specify 'create', 'destroy', 'import', 'deport', 'enable', 'disable', 'assign' or 'init'", o.action)
	case o.mode != 'e' && o.assignments > 0:
		return fmt.Errorf("Cannot assign instance name or group without '-e assign'")
	case (o.mode == 'p' || o.mode == 'e') && o.reverse:
		return fmt.Errorf("The '-p' and '-e' options preclude the use of '-R'")
	case o.mode == 'l' && len(o.args) > 0:
		return fmt.Errorf("Command not allowed with '-l'")
	case (o.mode == 'p' || o.mode == 'x') && len(o.args) == 0:
		return fmt.Errorf("Command required with '-p' or '-x' option")
	case o.json && o.mode != 'l':
		return fmt.Errorf("The '-j' option requires '-l'")
	case o.mode == 'e':
		return o.checkAction()
	}
	return nil
}

// checkAction looks at what an action of -e needs.
func (o *options) checkAction() error {
	creates := o.action == "create" || o.action == "import"
	switch {
	case !creates && len(o.args) > 0:
		return fmt.Errorf("Parameter overrides not valid with '-e %s'", o.action)
	case !creates && o.action != "init" && o.name == "":
		return fmt.Errorf("Select an instance via '-i name'")
	case !creates && o.action != "assign" && o.assignments > 0:
		return fmt.Errorf("Cannot assign instance name or group with '-e %s'", o.action)
	case o.action == "assign" && o.assignments == 0:
		return fmt.Errorf("Specify new instance name or group with '-e assign'")
	case o.newName != "" && o.newName != "-" && !validName(o.newName):
		return fmt.Errorf("New instance name must start with 'postfix-'")
	case o.newGrp != "" && o.newGrp != "-" && !word(o.newGrp):
		return fmt.Errorf("New instance group must be one word: %.100q", o.newGrp)
	}
	return nil
}
