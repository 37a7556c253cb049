package postmulti

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/base/maillog"
	"postern/internal/config/param"
)

// manage carries out an action of -e.
func (p *postmulti) manage() int {
	var err error
	switch p.action {
	case "init":
		err = p.postconf(p.primary.config, "-e", "multi_instance_wrapper = ${command_directory}/postmulti -p --", "multi_instance_enable = yes")
	case "create", "import":
		err = p.create()
	default:
		err = p.change()
	}
	switch {
	case errors.Is(err, errTold):
		return p.Done(command.Failure)
	case err != nil:
		return p.Fail(command.Failure, "%v", err)
	}
	return p.Done(command.OK)
}

// errTold is the failure of a program that has said why.
var errTold = errors.New("a program failed")

// scriptLog is the log of what Postfix has its script postmulti-script do.
func (p *postmulti) scriptLog() *maillog.Logger {
	log, err := p.DirectLog(p.Common.SyslogName+"/postmulti-script", p.Err)
	if err != nil {
		return p.Log
	}
	return log
}

// refuse logs why the script's part of an action is not done.
func (p *postmulti) refuse(format string, args ...any) error {
	log := p.scriptLog()
	log.Fatalf(format, args...)
	log.Flush(flushLimit)
	return errTold
}

// ready says whether several instances are managed at all.
func (p *postmulti) ready() error {
	switch {
	case p.Wrapper == "":
		return p.refuse("multi_instance_wrapper is empty, run 'postmulti -e init' first.")
	case !p.Enable:
		return p.refuse("multi_instance_enable!=yes, run 'postmulti -e init' first.")
	}
	return nil
}

// postconf changes the main.cf in dir.
func (p *postmulti) postconf(dir string, args ...string) error {
	return p.program("postconf", append([]string{"-c", dir}, args...)...)
}

// program runs a command of the mail system.
func (p *postmulti) program(name string, args ...string) error {
	path := filepath.Join(p.Common.CommandDirectory, name)
	if p.execute(path, append([]string{path}, args...), p.environment(p.primary)) != nil {
		return errTold
	}
	return nil
}

// create makes a new instance, or takes one over that has its files already.
func (p *postmulti) create() error {
	i, err := p.wanted()
	if err != nil {
		return err
	}
	for _, other := range p.instances {
		if filepath.Clean(other.config) == filepath.Clean(i.config) {
			return fmt.Errorf("new config_directory=%s is already in use by instance %s, config_directory=%s", i.config, other.config, other.config)
		}
	}
	exists := isFile(i.config+"/main.cf") && isFile(i.config+"/master.cf")
	if p.action == "import" || exists {
		old, err := read(i.config)
		if err != nil {
			return err
		}
		i.queue, i.data = old.queue, old.data
		if p.newName == "" {
			i.name = old.name
		}
	}
	if err := p.conflict(i); err != nil {
		return err
	}
	at, err := p.position()
	if err != nil {
		return err
	}
	if err := p.ready(); err != nil {
		return err
	}
	if p.action == "import" && !exists {
		return p.refuse("'%s' lacks a %s file", i.config, map[bool]string{true: "master.cf", false: "main.cf"}[isFile(i.config+"/main.cf")])
	}
	if !exists {
		if err := p.layOut(i); err != nil {
			return err
		}
	}
	if err := p.assignNames(i.config); err != nil {
		return err
	}
	list := slices.Insert(p.secondary(), at, i.config)
	if err := p.setDirectories(list, "", i.config); err != nil {
		return err
	}
	return p.program("postfix", "-c", i.config, "set-permissions")
}

// wanted is the instance that the arguments ask for. What they leave out is
// named after the instance, beside the primary's.
func (p *postmulti) wanted() (*instance, error) {
	i := &instance{name: p.newName}
	if i.name == "-" {
		i.name = ""
	}
	for _, arg := range p.args {
		name, value, ok := strings.Cut(arg, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, fmt.Errorf("Malformed parameter setting '%.100s'", arg)
		}
		target := map[string]*string{"config_directory": &i.config, "queue_directory": &i.queue, "data_directory": &i.data}[name]
		if target == nil || p.action == "import" && name != "config_directory" {
			return nil, fmt.Errorf("Parameter '%.100s' not valid with action %s", name, p.action)
		}
		if !strings.HasPrefix(value, "/") || strings.ContainsAny(value, " \t\r\n,") {
			return nil, fmt.Errorf("Parameter setting '%s' is not an absolute path", name)
		}
		*target = filepath.Clean(value)
	}
	for _, d := range []struct {
		name         string
		mine, theirs *string
	}{
		{"config_directory", &i.config, &p.primary.config},
		{"queue_directory", &i.queue, &p.primary.queue},
		{"data_directory", &i.data, &p.primary.data},
	} {
		if *d.mine != "" || p.action == "import" && d.name != "config_directory" {
			continue
		}
		if i.name == "" {
			return nil, fmt.Errorf("Missing %s parameter value", d.name)
		}
		*d.mine = filepath.Join(filepath.Dir(filepath.Clean(*d.theirs)), i.name)
	}
	return i, nil
}

// position is where a new instance comes in the list of secondary ones.
func (p *postmulti) position() (int, error) {
	list := p.instances[1:]
	switch {
	case p.all:
		return 0, nil
	case p.name == "" && p.group == "":
		return len(list), nil
	}
	at := slices.IndexFunc(list, p.matches)
	if at < 0 {
		return 0, fmt.Errorf("No matching secondary instances")
	}
	return at, nil
}

// secondary lists the configuration directories of secondary instances.
func (p *postmulti) secondary() []string {
	var list []string
	for _, i := range p.instances[1:] {
		list = append(list, i.config)
	}
	return list
}

// setDirectories writes both lists of directories to the primary's main.cf: the
// managed ones, and the others that users may name, with add and without remove.
func (p *postmulti) setDirectories(managed []string, add, remove string) error {
	settings := []string{"-e", "multi_instance_directories = " + strings.Join(managed, " ")}
	text, err := p.expand("alternate_config_directories")
	if err != nil {
		return err
	}
	old := param.Split(text)
	kept := slices.DeleteFunc(slices.Clone(old), func(dir string) bool { return dir == remove })
	if add != "" && !slices.Contains(kept, add) {
		kept = append(kept, add)
	}
	if !slices.Equal(old, kept) {
		settings = append(settings, "alternate_config_directories = "+strings.Join(kept, " "))
	}
	return p.postconf(p.primary.config, settings...)
}

// expand is the value of a parameter of the primary that is not loaded.
func (p *postmulti) expand(name string) (string, error) {
	var text string
	set := param.NewSet()
	new(param.Common).Params(set)
	set.Str(&text, name, "")
	if err := set.Load(p.Main); err != nil {
		return "", err
	}
	return text, nil
}

// assignNames writes the name and the group to an instance's main.cf; "-"
// clears them.
func (p *postmulti) assignNames(dir string) error {
	settings := []string{"-e"}
	for _, s := range []struct{ name, value string }{{"multi_instance_name", p.newName}, {"multi_instance_group", p.newGrp}} {
		switch s.value {
		case "":
		case "-":
			settings = append(settings, s.name+" =")
		default:
			settings = append(settings, s.name+" = "+s.value)
		}
	}
	if len(settings) == 1 {
		return nil
	}
	return p.postconf(dir, settings...)
}

// change changes an existing instance.
func (p *postmulti) change() error {
	list := p.selected()
	if len(list) == 0 {
		return fmt.Errorf("No instance named %s", p.name)
	}
	i := list[0]
	switch p.action {
	case "enable", "disable":
		if err := p.ready(); err != nil {
			return err
		}
		return p.postconf(i.config, "-e", "multi_instance_enable = "+map[bool]string{true: "yes", false: "no"}[p.action == "enable"])
	case "assign":
		if err := p.assignable(i); err != nil {
			return err
		}
		return p.assignNames(i.config)
	}
	switch {
	case i.primary:
		return fmt.Errorf("Cannot remove the primary instance")
	case p.action == "destroy" && i.enabled:
		return fmt.Errorf("Cannot remove enabled instances")
	}
	if err := p.ready(); err != nil {
		return err
	}
	if p.runs(i) {
		return p.refuse("Instance '%s' is not stopped", i.config)
	}
	rest := slices.DeleteFunc(p.secondary(), func(dir string) bool { return dir == i.config })
	if p.action == "deport" {
		return p.setDirectories(rest, i.config, "")
	}
	if err := p.setDirectories(rest, "", i.config); err != nil {
		return err
	}
	p.remove(i)
	return nil
}

// assignable says whether an instance can get the new name.
func (p *postmulti) assignable(i *instance) error {
	for _, other := range p.instances {
		if p.newName != "-" && other != i && p.newName != "" && other.name == p.newName {
			return fmt.Errorf("instance %s, multi_instance_name=%s conflicts with instance %s, multi_instance_name=%s", i.config, p.newName, other.config, other.name)
		}
	}
	return p.ready()
}

// runs says whether the mail system of an instance runs.
func (p *postmulti) runs(i *instance) bool {
	path := filepath.Join(p.Common.CommandDirectory, "postfix")
	cmd := exec.Command(path, "-c", i.config, "status")
	cmd.Env = p.environment(i)
	return cmd.Run() == nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}
