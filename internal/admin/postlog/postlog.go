// Package postlog is the command postlog: it writes lines into the log of the
// mail system, for scripts.
package postlog

import (
	"bufio"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"postern/internal/admin/command"
	"postern/internal/base/maillog"
)

const usage = "[-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]"

// maxLine is the longest line that is read from standard input, in octets.
const maxLine = 64 << 10

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New("postlog", stdin, stdout, stderr)
	var dir, tag, priority string
	rest, err := command.Getopt(args[1:], "c:ip:t:v", func(option byte, arg string) error {
		switch option {
		case 'c':
			dir = arg
		case 'p':
			priority = arg
		case 't':
			tag = arg
		case 'v':
			c.Verbose()
		}
		return nil
	})
	if err != nil {
		command.Complain(stderr, "postlog", err)
		return c.Usage(command.Failure, usage)
	}
	level, ok := maillog.ParseLevel(priority)
	if !ok && priority != "" {
		return c.Fail(command.Failure, "bad severity: %q", priority)
	}
	if err := c.Load(command.ConfigDirectory(dir)); err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	if tag == "" {
		if tag = os.Getenv("MAIL_LOGTAG"); tag == "" {
			tag = c.Common.SyslogName + "/postlog"
		}
	}
	log, err := c.DirectLog(tag, terminal(stderr))
	if err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	if len(rest) > 0 {
		log.Logf(level, "%s", strings.Join(rest, " "))
	} else if err := copyLines(log, level, stdin); err != nil {
		log.Errorf("read standard input: %v", err)
	}
	log.Flush(flushLimit)
	if level == maillog.Fatal || level == maillog.Panic {
		time.Sleep(time.Second) // Postfix: as other programs do after what is fatal
	}
	return command.OK
}

// flushLimit is how long the command waits for its lines to be taken.
const flushLimit = 2 * time.Second

// terminal returns w if it is a terminal, else nil.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return w
	}
	return nil
}

func copyLines(log *maillog.Logger, level maillog.Level, in io.Reader) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		log.Logf(level, "%s", s.Text())
	}
	return s.Err()
}
