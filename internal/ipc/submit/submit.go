// Package submit hands a message to the program postdrop, which may write to
// the queue where the caller may not.
package submit

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/postdrop"
	"postern/internal/mail/record"
)

// A Child is postdrop at work for this process.
type Child struct {
	QueueID string
	W       *record.Writer // the record stream; End is the last record

	cmd *exec.Cmd
	in  io.WriteCloser
	out *attr.Codec
}

// Start runs the command, which is postdrop, and returns when it has made its
// file.
func Start(cmd *exec.Cmd) (*Child, error) {
	c := &Child{cmd: cmd}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out, c.W = in, attr.NewReader(bufio.NewReader(out)), record.NewWriter(in)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("unable to execute %s: %w", strings.Join(cmd.Args, " "), err)
	}
	var start postdrop.Start
	if err := c.out.Do(&start); err != nil {
		c.Close()
		return nil, fmt.Errorf("unable to start %s: %w", cmd.Path, err)
	}
	c.QueueID = start.QueueID
	return c, nil
}

// Finish waits for postdrop's answer. Only a status of zero without an error
// means that the message is safe.
func (c *Child) Finish() (postdrop.Result, error) {
	c.W.Flush() // an error shows in the answer, or in W
	var result postdrop.Result
	err := c.out.Do(&result)
	c.Close()
	// Where postdrop has stopped reading, its answer says why.
	if werr := c.W.Err(); werr != nil && (err != nil || result.Status == 0) {
		err = werr
	}
	return result, err
}

// Close makes postdrop give the message up, unless it was finished.
func (c *Child) Close() error {
	if c.cmd.ProcessState != nil {
		return nil
	}
	c.in.Close()
	return c.cmd.Wait()
}
