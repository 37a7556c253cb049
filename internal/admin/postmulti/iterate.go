package postmulti

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"postern/internal/admin/command"
	"postern/internal/base/errno"
	"postern/internal/config/param"
)

// list prints the instances.
func (p *postmulti) list() int {
	list := p.selected()
	if p.reverse {
		slices.Reverse(list)
	}
	for _, i := range list {
		var err error
		if p.json {
			err = p.object(i)
		} else {
			_, err = fmt.Fprintf(p.Out, "%-15s %-15s %-9s %s\n", dash(i.name), dash(i.group), letter(i.enabled), i.config)
		}
		if err != nil {
			return p.Fail(command.Failure, "%v", err)
		}
	}
	return p.Done(command.OK)
}

func letter(enabled bool) string {
	if enabled {
		return "y"
	}
	return "n"
}

// object prints an instance as a line of JSON. Postfix: 3.11, all values are texts.
func (p *postmulti) object(i *instance) error {
	e := json.NewEncoder(p.Out)
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Name    string `json:"name"`
		Group   string `json:"group"`
		Enabled string `json:"enabled"`
		Config  string `json:"config_directory"`
	}{dash(i.name), dash(i.group), letter(i.enabled), i.config})
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// iterate carries out -p or -x for each instance.
func (p *postmulti) iterate() int {
	list := p.selected()
	if len(list) == 0 {
		return p.Fail(command.Failure, "No matching instances")
	}
	first := p.args[0]
	stops := p.mode == 'p' && slices.Contains(param.Split(p.StopCommands), first)
	controls := p.mode == 'p' && slices.Contains(param.Split(p.Controls), first)
	starts := p.mode == 'p' && slices.Contains(param.Split(p.StartCommands), first)
	if p.reverse || stops {
		slices.Reverse(list)
	}
	status := command.OK
	for _, i := range list {
		args := p.args
		if !i.enabled {
			switch {
			case stops, controls:
				continue
			case starts:
				args = []string{"check"}
			}
		}
		path := args[0]
		if p.mode == 'p' {
			path = filepath.Join(p.Common.CommandDirectory, "postfix")
			args = append([]string{path}, args...)
		}
		if p.execute(path, args, p.environment(i)) != nil {
			status = command.Failure
		}
	}
	return p.Done(status)
}

// execute runs a program with the streams of this command. A command that
// cannot be run is told of.
func (p *postmulti) execute(path string, args, env []string) error {
	if !strings.Contains(path, "/") {
		found, err := lookPath(path, env)
		if err != nil {
			p.Log.Fatalf("execvp %s: %s", path, errno.Text(err))
			return err
		}
		path = found
	}
	cmd := &exec.Cmd{Path: path, Args: args, Env: env, Stdin: p.stdin, Stdout: p.Out, Stderr: p.Err}
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		p.Log.Fatalf("execvp %s: %s", path, errno.Text(err))
	}
	return err
}

// lookPath finds a program in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", syscall.ENOENT
}

// environment is what a command sees: what import_environment lets through,
// and where the instance is. Postfix: these names.
func (p *postmulti) environment(i *instance) []string {
	env := imported(p.Common.ImportEnvironment)
	set := func(name, value string) { env = append(env, name+"="+value) }
	set("PATH", p.Common.CommandDirectory+":"+searchPath())
	set("MAIL_CONFIG", i.config)
	set("MAIL_LOGTAG", p.Common.SyslogName)
	if p.Verbosity() > 0 {
		set("MAIL_VERBOSE", "")
	}
	set("command_directory", p.Common.CommandDirectory)
	set("daemon_directory", p.Common.DaemonDirectory)
	set("config_directory", i.config)
	set("queue_directory", i.queue)
	set("data_directory", i.data)
	set("multi_instance_name", i.name)
	set("multi_instance_group", i.group)
	set("multi_instance_enable", map[bool]string{true: "yes", false: "no"}[i.enabled])
	return env
}

func searchPath() string {
	if path := os.Getenv("PATH"); path != "" {
		return path
	}
	return "/usr/sbin:/usr/bin:/sbin:/bin"
}

// imported is the part of the environment that is passed on; what is set
// below is left out.
func imported(list string) []string {
	own := []string{"PATH", "MAIL_CONFIG", "MAIL_LOGTAG", "MAIL_VERBOSE"}
	var env []string
	for _, item := range param.Split(list) {
		if text, braced, err := param.Unbrace(item); err == nil && braced {
			item = text
		}
		name, _, given := strings.Cut(item, "=")
		if slices.Contains(own, name) {
			continue
		}
		if given {
			env = append(env, item)
		} else if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
