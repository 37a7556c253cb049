package sys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Command is a program to run for somebody, with a text on its standard input.
type Command struct {
	Argv      []string // the program and its arguments; Argv[0] is looked for in the PATH of Env
	Shell     string   // instead: a command line; a shell runs it only where it needs one
	ShellPath string   // with Shell: the shell to use always ("/bin/smrsh -c"); "" for /bin/sh where needed
	Owner     Owner    // who runs it, if this process is root
	Env       []string // its whole environment
	Dir       string   // its working directory; "" for that of this process, or the new root
	Chroot    string   // its root directory; "" for none
	Stdin     func(w io.Writer) error
	TimeLimit time.Duration // for input and run; 0: none
	MaxOutput int           // octets of output that are kept; 0: 4096
}

// An Exit is how a command ended.
type Exit struct {
	Status   int            // exit status, when it exited
	Signal   syscall.Signal // the signal that ended it, or 0
	TimedOut bool           // it was ended because of TimeLimit
	Output   string         // the start of what it wrote to its standard output and error
	Input    error          // what Stdin returned, unless the command stopped reading
}

// OK says that the command ended with status 0.
func (e *Exit) OK() bool { return e.Status == 0 && e.Signal == 0 && !e.TimedOut }

// Run runs the command and waits for its end. An error means that it could not
// be started. The command has descriptors 0 to 2 only and is the leader of a
// new session, all of which is killed at the time limit or when ctx ends.
func (c *Command) Run(ctx context.Context) (*Exit, error) {
	if c.TimeLimit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.TimeLimit)
		defer cancel()
	}
	cmd, err := c.build(ctx)
	if err != nil {
		return nil, err
	}
	out := &head{limit: c.MaxOutput}
	if out.limit == 0 {
		out.limit = 4096
	}
	cmd.Stdout, cmd.Stderr = out, out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	if err := closeInherited(); err != nil {
		stdin.Close()
		return nil, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	if err := cmd.Start(); err != nil {
		stdin.Close()
		return nil, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	input := make(chan error, 1)
	go func() {
		var err error
		if c.Stdin != nil {
			err = c.Stdin(stdin)
		}
		if e := stdin.Close(); err == nil {
			err = e
		}
		input <- err
	}()
	err = cmd.Wait()
	exit := &Exit{Output: out.text.String(), Input: <-input}
	if errors.Is(exit.Input, syscall.EPIPE) || errors.Is(exit.Input, os.ErrClosed) {
		exit.Input = nil
	}
	exit.TimedOut = errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		exit.Signal = ws.Signal()
	} else {
		exit.Status = cmd.ProcessState.ExitCode()
	}
	if err != nil && exit.OK() && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	return exit, nil
}

// outputDelay is how long output of grandchildren is waited for after the
// command itself has ended.
const outputDelay = time.Second

func (c *Command) build(ctx context.Context) (*exec.Cmd, error) {
	argv := c.Argv
	if c.Shell != "" {
		argv = shellArgv(c.Shell, c.ShellPath)
	}
	if len(argv) == 0 {
		return nil, errors.New("run command: no command given")
	}
	path, err := c.find(argv[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Path, cmd.Args, cmd.Err = path, argv, nil
	if argv[0] == systemShell { // it names itself in its messages
		cmd.Args = append([]string{"sh"}, argv[1:]...)
	}
	cmd.Env, cmd.Dir = append([]string{}, c.Env...), c.Dir
	if cmd.Dir == "" && c.Chroot != "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Chroot = c.Chroot
		cmd.SysProcAttr.Credential = &syscall.Credential{
			Uid: uint32(c.Owner.UID), Gid: uint32(c.Owner.GID), Groups: groupList(c.Owner),
		}
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = outputDelay
	return cmd, nil
}

// closeInherited has every descriptor above 2 closed when a program is
// executed, those too that this process was started with.
func closeInherited() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Linux before 5.11.
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, f := range files {
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func groupList(o Owner) []uint32 {
	groups := []uint32{uint32(o.GID)}
	for _, g := range o.Groups {
		groups = append(groups, uint32(g))
	}
	return groups
}

// find returns the path of a program: one without a slash is looked for in the
// directories of the command's own PATH.
func (c *Command) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range c.Env {
		dirs, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range strings.Split(dirs, ":") {
			path := dir + "/" + name
			if st, err := os.Stat(c.Chroot + path); dir != "" && err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("run command %s: %w", name, exec.ErrNotFound)
}

// shellArgv takes a command line apart at blanks if it is simple enough to run
// without a shell. Postfix: the characters that need one are any but letters,
// digits and a few marks; built-in commands of the shell need one, too.
func shellArgv(line, shell string) []string {
	if shell != "" {
		return append(strings.Fields(shell), line)
	}
	const plain = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t"
	words := strings.Fields(line)
	if len(words) > 0 && strings.Trim(line, plain) == "" && !builtin(words[0]) && !strings.Contains(words[0], "=") {
		return words
	}
	return []string{systemShell, "-c", line}
}

// systemShell runs command lines that need a shell.
const systemShell = "/bin/sh"

// builtin says whether word is a command of the shell itself.
func builtin(word string) bool {
	switch word {
	case ".", ":", "!", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else",
		"esac", "eval", "exec", "exit", "export", "fg", "fi", "for", "getopts", "hash", "if", "jobs", "read",
		"readonly", "return", "set", "shift", "then", "times", "trap", "type", "ulimit", "umask", "unalias",
		"unset", "until", "wait", "while":
		return true
	}
	return false
}

// head keeps the first octets that are written to it.
type head struct {
	text  bytes.Buffer
	limit int
}

func (h *head) Write(b []byte) (int, error) {
	if room := h.limit - h.text.Len(); room > 0 {
		h.text.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}
