// Package trigger wakes a service of this instance with a request of a few
// octets and waits for no answer: 'W' to pickup, 'F' or 'I' to qmgr.
//
// The service listens on a socket or a FIFO below the queue directory.
package trigger

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Requests that services know. What each means is the service's business.
const (
	Wakeup       = "W" // pickup, qmgr, flush: look for work
	ScanIncoming = "I" // qmgr
	ScanDeferred = "D" // qmgr
	ScanAll      = "A" // qmgr: ignore the time stamps of deferred mail
	FlushDead    = "F" // qmgr: forget which destinations are dead
)

// Send sends request to the service class/service ("public/pickup") below
// queueDir. It waits for at most limit; when the service does not listen it
// fails at once.
func Send(queueDir, class, service, request string, limit time.Duration) error {
	path := filepath.Join(queueDir, class, service)
	info, err := os.Stat(path)
	if err == nil {
		if info.Mode()&fs.ModeNamedPipe != 0 {
			err = sendFIFO(path, request)
		} else {
			err = sendSocket(path, request, limit)
		}
	}
	if err != nil {
		return fmt.Errorf("trigger service %s: %w", path, err)
	}
	return nil
}

func sendSocket(path, request string, limit time.Duration) error {
	c, err := net.DialTimeout("unix", path, limit)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	_, err = c.Write([]byte(request))
	return err
}

// sendFIFO never waits: a full FIFO has plenty of requests already.
func sendFIFO(path, request string) error {
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	_, err = syscall.Write(fd, []byte(request))
	if err == syscall.EAGAIN {
		return nil
	}
	return err
}
