package service

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Descriptors that a service inherits from master.
const (
	ChannelFD = 3 // a stream between the process and master
	ListenFD  = 4 // the first of the listening sockets
)

// What the process tells master, one octet each.
const (
	Ready     = 'R' // start-up succeeded, connections are served
	Used      = 'U' // a first connection was served, or the loop has gone on for a while
	Busy      = 'B' // all sessions are taken
	Quiescent = 'Q' // no more connections are accepted; others wait in the socket
)

// Drain is what master tells the process: accept no more, finish, exit. The
// end of the stream means that master is gone, and the same.
const Drain = 'D'

// A channel is the process's end of the stream. The zero value is that of a
// process without a master.
type channel struct {
	mu   sync.Mutex
	file *os.File
}

// openChannel takes over ChannelFD. A process that master did not start has
// no socket there.
func openChannel() (*channel, error) {
	var st unix.Stat_t
	if err := unix.Fstat(ChannelFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, errors.New("do not run this command by hand")
	}
	if err := unix.SetNonblock(ChannelFD, true); err != nil {
		return nil, err
	}
	unix.CloseOnExec(ChannelFD)
	return &channel{file: os.NewFile(ChannelFD, "master")}, nil
}

// tell sends one octet. A master that is gone is noticed by wait.
func (c *channel) tell(what byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		c.file.Write([]byte{what})
	}
}

// wait returns when master says Drain or is gone.
func (c *channel) wait() {
	var b [1]byte
	for {
		if _, err := io.ReadFull(c.file, b[:]); err != nil || b[0] == Drain {
			return
		}
	}
}
