package master

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"postern/internal/base/sys"
)

// Modes of what is made below the queue directory. The directories decide who
// may connect: public for group setgid_group, private for mail_owner alone.
const (
	socketMode = 0o666
	fifoMode   = 0o622
)

// listen opens the socket or FIFO of an address.
func listen(a address, owner *sys.Owner) (*sys.Listener, error) {
	if a.typ == "inet" {
		tcp, err := net.ResolveTCPAddr("tcp", a.String())
		if err != nil {
			return nil, err
		}
		return sys.ListenTCP(tcp)
	}
	if err := classDirectory(filepath.Dir(a.path), owner); err != nil {
		return nil, err
	}
	var l *sys.Listener
	var err error
	switch a.typ {
	case "fifo":
		l, err = sys.ListenFIFO(a.path, fifoMode)
	case "unix-dgram":
		l, err = sys.ListenUnixgram(a.path, socketMode)
	default: // unix and pass
		l, err = sys.ListenUnix(a.path, socketMode)
	}
	if err != nil {
		return nil, err
	}
	if owner != nil {
		if err := os.Lchown(a.path, owner.UID, owner.GID); err != nil {
			l.Close()
			return nil, fmt.Errorf("own socket: %w", err)
		}
	}
	return l, nil
}

// classDirectory makes "public" or "private" if it is missing. "postfix check"
// looks after its owner and mode.
func classDirectory(dir string, owner *sys.Owner) error {
	err := os.Mkdir(dir, 0o700)
	if os.IsExist(err) {
		return nil
	}
	if err == nil && owner != nil {
		err = os.Chown(dir, owner.UID, -1)
	}
	return err
}
