package postfix

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"postern/internal/admin/command"
)

// rotate renames the log file, makes the log service open a new one, and
// compresses the old one.
func (p *postfix) rotate() int {
	file := p.Common.MaillogFile
	if file == "" {
		return p.fatal("empty 'maillog_file' parameter value - logfile rotation failed")
	}
	if strings.HasPrefix(file, "/dev/") {
		return p.fatal("not rotating '%s'", file)
	}
	suffix, err := strftime(p.Suffix, time.Now())
	if err != nil {
		return p.fatal("logfile '%s' rotation failed: %v", file, err)
	}
	old := file + "." + suffix
	if err := p.replace(file, old); err != nil {
		return p.fatal("logfile '%s' rotation failed: %v", file, err)
	}
	return command.OK
}

// lastLines is how long the old log service may still write to the old file.
const lastLines = time.Second

func (p *postfix) replace(file, old string) error {
	if err := os.Rename(file, old); err != nil {
		return err
	}
	if pid, running := p.running(); running {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			return err
		}
		time.Sleep(lastLines)
	}
	out, err := exec.Command(p.Compressor, old).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", p.Compressor, err, out)
	}
	return nil
}

// strftime formats t with the conversions that make sense in a file name.
func strftime(format string, t time.Time) (string, error) {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05",
		'y': "06", 'b': "Jan", 'a': "Mon", 'Z': "MST", 'z': "-0700",
		'F': "2006-01-02", 'T': "15:04:05", 'j': "002",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i == len(format) {
			return "", fmt.Errorf("bad maillog_file_rotate_suffix: %q", format)
		}
		switch c := format[i]; {
		case c == '%':
			b.WriteByte('%')
		case c == 's':
			fmt.Fprint(&b, t.Unix())
		case layouts[c] != "":
			b.WriteString(t.Format(layouts[c]))
		default:
			return "", fmt.Errorf("bad maillog_file_rotate_suffix: unknown conversion %%%c in %q", c, format)
		}
	}
	return b.String(), nil
}
