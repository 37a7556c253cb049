package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"postern/internal/admin/command"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/showq"
)

// list prints the queue, as text or as JSON objects.
func (p *postqueue) list(asJSON bool) error {
	source, err := p.openListing()
	if err != nil {
		return err
	}
	defer source.Close()
	out := bufio.NewWriterSize(p.Out, 16<<10)
	r, err := showq.NewReader(bufio.NewReaderSize(source, 16<<10))
	if err != nil {
		return fmt.Errorf("malformed showq server response: %w", err)
	}
	if asJSON {
		err = printJSON(out, r)
	} else {
		err = newTable(out, p.Common.EnableLongQueueIDs).print(r)
	}
	flushErr := out.Flush()
	if err != nil {
		return err
	}
	if errors.Is(flushErr, syscall.EPIPE) {
		return nil
	}
	return flushErr
}

// openListing connects to the showq service. When the mail system is down, the
// superuser, or the user that the whole instance belongs to, reads the queue by
// running the service.
func (p *postqueue) openListing() (io.ReadCloser, error) {
	path := filepath.Join("public", p.Common.ShowqServiceName)
	c, err := net.DialTimeout("unix", path, p.Common.IPCTimeout)
	if err == nil {
		command.DropGroup()
		c.SetReadDeadline(time.Now().Add(p.Common.IPCTimeout))
		return c, nil
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("Connect to the mail queue service: %w", err)
	}
	if !p.ownsQueue() {
		return nil, fmt.Errorf("Queue report unavailable - mail system is down (%w)", err)
	}
	p.Log.Warningf("Mail system is down -- accessing queue directly (%v)", err)
	return p.runShowq()
}

// ownsQueue says whether the user may read the queue without any help.
func (p *postqueue) ownsQueue() bool {
	if p.uid == 0 {
		return true
	}
	if command.SetID() {
		return false
	}
	info, err := os.Stat("hold")
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == p.uid
}

type showqProcess struct {
	io.ReadCloser
	cmd *exec.Cmd
}

func (s *showqProcess) Close() error {
	s.ReadCloser.Close()
	return s.cmd.Wait()
}

func (p *postqueue) runShowq() (io.ReadCloser, error) {
	c := exec.Command(filepath.Join(p.Common.DaemonDirectory, "showq"), "-u", "-S")
	c.Args[0] = "showq"
	c.Env = append(os.Environ(), "MAIL_CONFIG="+p.Main.Dir())
	c.Stderr = p.Err
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("Error running %s: %w", c.Path, err)
	}
	return &showqProcess{out, c}, nil
}

// serviceUp says whether the service listens; a later call would wait for one
// that does not.
func (p *postqueue) serviceUp(ep *endpoint.Endpoint) bool {
	c, err := net.DialTimeout("unix", ep.Path(), p.Common.IPCTimeout)
	if err != nil {
		p.Log.Debugf("%v", err)
		return false
	}
	c.Close()
	return true
}
