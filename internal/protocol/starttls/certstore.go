package starttls

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/base/sys"
)

// settle is how long files that change are left alone after the last change.
const settle = time.Second

// A store is the certificates of a server. They are read again when their
// files change.
type store struct {
	files KeyFiles
	paths []string
	log   Logger
	lost  func(path string) // files have changed that may not be read any more; may be nil
	every time.Duration     // how often the files are looked at

	mu      sync.Mutex
	certs   []tls.Certificate // none while they cannot be read
	stamps  []stamp
	watch   *sys.FileWatch // nil where the kernel has none
	checked time.Time
	warned  bool
}

// openStore reads the certificates. Ones that cannot be used are said; the
// store stays empty until their files change.
func openStore(files KeyFiles, log Logger, lost func(string)) *store {
	s := &store{files: files, paths: files.paths(), log: log, lost: lost, every: time.Second}
	var err error
	if s.watch, err = sys.WatchFiles(s.paths); err != nil {
		log.Warningf("changes of TLS certificate files are noticed late: %v", err)
	}
	s.stamps, _ = stamps(s.paths)
	if s.certs, err = files.load(); err != nil {
		log.Warningf("TLS certificates cannot be used: %v; TLS is not available", err)
	}
	return s
}

// current returns the certificates, read again if a file has changed. What
// cannot be read leaves the old ones in use.
func (s *store) current() []tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) < s.every {
		return s.certs
	}
	s.checked = time.Now()
	now, err := stamps(s.paths)
	noticed := s.watch != nil && s.watch.Changed(min(s.every, settle))
	if err != nil && !noticed || err == nil && slices.Equal(now, s.stamps) {
		return s.certs // unchanged, or out of sight
	}
	certs, err := s.files.load()
	switch {
	case err == nil:
		s.log.Infof("TLS certificates reloaded: %s", strings.Join(s.paths, ", "))
		s.certs, s.stamps, s.warned = certs, now, false
	case s.lost != nil && outOfReach(err):
		s.lost(strings.Join(s.paths, ", "))
		s.lost = nil // said once
	case !s.warned:
		s.log.Warningf("TLS certificate files have changed, but cannot be used: %v; going on with those read before", err)
		s.warned = true
	}
	return s.certs
}

// outOfReach says that a file cannot be opened because this process is not what
// it was: it has other rights, or another root. A file that is only missing
// will come back.
func outOfReach(err error) bool {
	var pe *fs.PathError
	if !errors.As(err, &pe) || errors.Is(err, fs.ErrPermission) {
		return errors.Is(err, fs.ErrPermission)
	}
	_, derr := os.Stat(filepath.Dir(pe.Path))
	return errors.Is(err, fs.ErrNotExist) && derr != nil
}

func (s *store) close() {
	if s.watch != nil {
		s.watch.Close()
	}
}
