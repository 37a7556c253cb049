package local

import (
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/base/sys"
	"postern/internal/deliver/agent"
	"postern/internal/mail/mailbox"
)

// command gives the message to a command.
func (s state) command(line string) bool {
	who := s.asWhom()
	if s.seen.again(fmt.Sprintf("command %s:%d %s", s.user, who.UID, line)) {
		return true
	}
	s.into(StepCommand, line)
	if s.req.VerifyOnly() {
		return s.sent("delivers to command: " + line)
	}
	dir, undefined, _, err := s.expand(s.ExecDirectory, s.ExecDirectoryFilter)
	if err != nil || undefined {
		s.req.Log.Warningf("bad parameter value syntax for command_execution_directory: %s", s.ExecDirectory)
		return s.misconfigured()
	}
	delivered := s.delivered
	if !s.deliveredTo["command"] {
		delivered = ""
	}
	form := mailbox.Copy{
		From: true, ReturnPath: true, OrigTo: s.origTo(), Delivered: delivered, Sender: s.req.Sender, Time: time.Now(),
	}
	c := sys.Command{
		Shell: line, ShellPath: s.CommandShell, Owner: who.Owner, Dir: dir, Env: s.environment(who),
		TimeLimit: s.CommandTimeLimit,
		Stdin:     func(w io.Writer) error { return form.To(w, s.req.Content()) },
	}
	if line == "" { // Postfix: the shell has nothing to do
		c.Argv = []string{"/bin/sh", "-c", ""}
	}
	exit, err := c.Run(s.ctx)
	if exit != nil && exit.TimedOut {
		s.req.Log.Warningf("pipe_command_read: read time limit exceeded")
	}
	res, ok := agent.CommandResult(line, exit, err)
	if !ok {
		return s.failed(res)
	}
	return s.sent("delivered to command: " + line)
}

// environment is what a command knows of the message. Values from outside are
// made harmless for a shell (command_expansion_filter).
func (s state) environment(who sys.User) []string {
	r := s.req
	env := []string{"PATH=" + agent.CommandPath}
	env = append(env, agent.Exported(s.Env().Common.ExportEnvironment)...)
	for _, v := range [...][2]string{
		{"HOME", who.Home}, {"LOGNAME", who.Name}, {"SHELL", who.Shell},
	} {
		if v[1] != "" {
			env = append(env, v[0]+"="+v[1])
		}
	}
	for _, v := range [...][2]string{
		{"DOMAIN", s.domain}, {"EXTENSION", s.ext}, {"LOCAL", s.local}, {"USER", s.user}, {"RECIPIENT", s.addr},
		{"SENDER", r.Sender}, {"ORIGINAL_RECIPIENT", s.original.OrigAddr},
		{"ENVID", r.EnvelopeID}, {"CLIENT_ADDRESS", r.ClientAddr}, {"CLIENT_HELO", r.ClientHelo}, {"CLIENT_HOSTNAME", r.ClientName},
		{"CLIENT_PROTOCOL", r.ClientProto},
		{"SASL_METHOD", r.SASLMethod}, {"SASL_SENDER", r.SASLSender}, {"SASL_USERNAME", r.SASLUsername},
	} {
		if v[1] != "" {
			env = append(env, v[0]+"="+s.harmless(v[1]))
		}
	}
	return env
}

// harmless replaces what command_expansion_filter does not list by "_".
func (s state) harmless(text string) string {
	b := []byte(text)
	for i, c := range b {
		if strings.IndexByte(s.CommandFilter, c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}
