package master

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/service"
)

// options are master's command line.
type options struct {
	config  string        // -c
	debug   bool          // -d: keep descriptors and terminal
	exit    time.Duration // -e
	init    bool          // -i: PID 1 of a container
	stdout  bool          // -s: keep standard output
	test    bool          // -t
	verbose int           // -v
	wait    bool          // -w
	report  bool          // -R, Postern: tell reportFD when start-up is done
}

const usage = "usage: %s [-c config_dir] [-D (debug)] [-d (don't detach from terminal)] [-e exit_time] [-i (init mode)] [-s (keep standard output)] [-t (test)] [-v] [-w (wait for initialization)]"

func parseOptions(args []string) (*options, error) {
	o := &options{}
	bad := fmt.Errorf(usage, args[0])
	rest := args[1:]
	for len(rest) > 0 {
		word := rest[0]
		if len(word) < 2 || word[0] != '-' {
			return nil, bad
		}
		rest = rest[1:]
		for i := 1; i < len(word); i++ {
			switch word[i] {
			case 'c', 'e':
				text := word[i+1:]
				if text == "" {
					if len(rest) == 0 {
						return nil, bad
					}
					text, rest = rest[0], rest[1:]
				}
				if err := o.value(word[i], text); err != nil {
					return nil, err
				}
				i = len(word)
			case 'd':
				o.debug = true
			case 'D': // no debugger is started
			case 'i':
				o.init = true
			case 's':
				o.stdout = true
			case 't':
				o.test = true
			case 'v':
				o.verbose++
			case 'w':
				o.wait = true
			case 'R':
				o.report = true
			default:
				return nil, bad
			}
		}
	}
	return o, nil
}

func (o *options) value(letter byte, text string) error {
	if letter == 'c' {
		o.config = text
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return fmt.Errorf("option -e: bad time: %.100q", text)
	}
	o.exit = time.Duration(n) * time.Second
	return nil
}

// configDirectory is -c, MAIL_CONFIG or the default, as an absolute path.
func (o *options) configDirectory() (string, error) {
	dir := o.config
	if dir == "" {
		dir = os.Getenv("MAIL_CONFIG")
	}
	if dir == "" {
		return service.ConfigDirectory, nil
	}
	return filepath.Abs(dir)
}

// reportFD is where a background master tells that start-up is done.
const reportFD = 3

// startLimit is how long start-up in the background may take.
const startLimit = 30 * time.Second

// startInBackground runs the same command without -w as a process of its own
// and returns when that is ready, or has failed.
func startInBackground(args []string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path:        self,
		Args:        []string{filepath.Base(args[0])},
		Stderr:      os.Stderr,
		Stdout:      os.Stdout,
		ExtraFiles:  []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	for _, a := range args[1:] {
		if a != "-w" {
			cmd.Args = append(cmd.Args, a)
		}
	}
	cmd.Args = append(cmd.Args, "-R")
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 1, err
	}
	r.SetReadDeadline(time.Now().Add(startLimit))
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err == nil && b[0] == service.Ready {
		return 0, nil
	}
	return 1, errors.New("daemon initialization failure")
}

// A startSink also tells standard error what keeps master from starting.
type startSink struct {
	maillog.Sink
	stderr  maillog.Sink
	started atomic.Bool
}

// Write passes the line on.
func (s *startSink) Write(level maillog.Level, tag string, pid int, text string, e maillog.Event) {
	if level != maillog.Info && !s.started.Load() {
		s.stderr.Write(level, "master", pid, text, e)
	}
	s.Sink.Write(level, tag, pid, text, e)
}

// Flush flushes the log.
func (s *startSink) Flush(limit time.Duration) {
	if f, ok := s.Sink.(maillog.Flusher); ok {
		f.Flush(limit)
	}
}
