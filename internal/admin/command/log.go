package command

import (
	"io"
	"os"
	"path/filepath"

	"postern/internal/base/maillog"
)

// DirectLog opens the log of the mail system for a command that must be able to
// log while the system is down: then it writes to maillog_file itself. stderr,
// which may be nil, gets the lines too.
func (c *Command) DirectLog(tag string, stderr io.Writer) (*maillog.Logger, error) {
	if _, err := os.Stat(maillog.DevLog); err != nil && c.Common.MaillogFile == "" {
		// As in many containers; waiting for it would help nobody.
		if stderr == nil {
			stderr = io.Discard
		}
		return maillog.New(maillog.NewStream(stderr, maillog.Command, maillog.Text, ""), tag).WithVerbose(c.verbose), nil
	}
	sink, err := maillog.Open(maillog.Config{
		File:     c.Common.MaillogFile,
		Socket:   filepath.Join(c.Common.QueueDirectory, "public", c.Common.PostlogServiceName),
		Facility: c.Common.SyslogFacility,
		Format:   c.Common.MaillogFormat,
		Host:     c.Common.MyHostname,
		Direct:   true,
	})
	if err != nil {
		return nil, err
	}
	if stderr != nil {
		sink = maillog.Tee(maillog.NewStream(stderr, maillog.Command, maillog.Text, ""), sink)
	}
	return maillog.New(sink, tag).WithVerbose(c.verbose), nil
}
