package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/mail/dsn"
	"postern/internal/mail/mailbox"
)

// CommandPath is the PATH of commands that mail is delivered to. Postfix: the
// default of the C library.
const CommandPath = "/usr/bin:/bin"

// statuses are what the exit statuses of sysexits.h mean for mail.
var statuses = [...]struct {
	status dsn.Status
	text   string
}{
	64 - 64: {"5.3.0", "command line usage error"},
	65 - 64: {"5.6.0", "data format error"},
	66 - 64: {"5.3.0", "cannot open input"},
	67 - 64: {"5.1.1", "user unknown"},
	68 - 64: {"5.1.2", "host name unknown"},
	69 - 64: {"5.3.0", "service unavailable"},
	70 - 64: {"5.3.0", "internal software error"},
	71 - 64: {"4.3.0", "system resource problem"},
	72 - 64: {"5.3.0", "critical OS file missing"},
	73 - 64: {"5.2.0", "can't create user output file"},
	74 - 64: {"5.3.0", "input/output error"},
	75 - 64: {"4.3.0", "temporary failure"},
	76 - 64: {"5.5.0", "remote error in protocol"},
	77 - 64: {"5.7.0", "permission denied"},
	78 - 64: {"5.3.5", "local configuration error"},
}

// CommandResult says what the end of a command means; ok is true for success.
// name is the command as the log shows it. A command that could not be started,
// or whose input could not be read from the queue, is tried again.
func CommandResult(name string, exit *sys.Exit, err error) (res dsn.Result, ok bool) {
	if err != nil {
		text := err.Error()
		var e *os.PathError
		if errors.As(err, &e) { // the system's part says it all
			text = fmt.Sprintf("cannot run %s: %s", e.Path, mailbox.ErrorText(e.Err))
		}
		return dsn.Make("4.3.0", "Command failed: "+text), false
	}
	output := printable(exit.Output)
	more := ""
	if output != "" {
		more = ". Command output: " + output
	}
	switch {
	case exit.OK() && exit.Input == nil:
		return dsn.Make("2.0.0", output), true
	case exit.TimedOut:
		res = dsn.Make("5.3.0", fmt.Sprintf("Command time limit exceeded: \"%s\"%s", name, more))
	case exit.Signal != 0:
		res = dsn.Make("4.3.0", fmt.Sprintf("Command died with signal %d: \"%s\"%s", int(exit.Signal), name, more))
	case exit.OK():
		return dsn.Make(mailbox.Status(exit.Input, "4.3.0"), "Command failed: "+exit.Input.Error()), false
	default:
		res = exitResult(name, exit.Status, output, more)
	}
	res.DiagType = "x-unix"
	if res.DiagText == "" {
		res.DiagText = output
	}
	if res.DiagText == "" {
		res.DiagText = "internal software error"
	}
	return res, false
}

// exitResult is the meaning of an exit status. Output that starts with an
// enhanced status code says more than the exit status does.
func exitResult(name string, status int, output, more string) dsn.Result {
	if dsn.Prefix(output) > 0 && output[0] != '2' {
		res := dsn.Split("5.3.0", output)
		res.DiagText = res.Reason
		return res
	}
	if i := status - 64; i >= 0 && i < len(statuses) {
		res := dsn.Make(statuses[i].status, statuses[i].text+more)
		if output == "" {
			res.DiagText = statuses[i].text
		}
		return res
	}
	return dsn.Make("5.3.0", fmt.Sprintf("Command died with status %d: \"%s\"%s", status, name, more))
}

// printable makes a command's output one line of a log or a report. Postfix:
// each control character becomes a blank, the last line end as well.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Exported returns the variables of this process that list names, "NAME", or
// sets, "NAME=value" (export_environment).
func Exported(list string) (env []string) {
	for _, item := range param.Split(list) {
		item, _, err := param.Unbrace(item)
		if err != nil {
			continue
		}
		if strings.Contains(item, "=") {
			env = append(env, item)
		} else if v, ok := os.LookupEnv(item); ok {
			env = append(env, item+"="+v)
		}
	}
	return env
}
