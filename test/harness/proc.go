package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Stat returns fields of /proc/PID/stat, counted from 0 as proc(5) lists them
// less one; empty ones when the process is gone.
func Stat(pid int, fields ...int) []string {
	out := make([]string, len(fields))
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return out
	}
	// The name, in parentheses, may have blanks: count from its end.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	for n, field := range fields {
		if k := field - 2; k >= 0 && k < len(f) {
			out[n] = f[k]
		}
	}
	return out
}

// Traced says whether a debugger is attached to a process.
func Traced(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && !strings.Contains(string(b), "TracerPid:\t0\n")
}

// Processes lists the living processes of the instance.
func (i *Instance) Processes() []int {
	entries, err := os.ReadDir("/proc")
	i.must(err)
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// After the parenthesised name: state ppid pgrp session …
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(f) > 3 && f[3] == strconv.Itoa(i.master.Process.Pid) && f[0] != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// activity counts how often the threads of all processes have run; -1 while one
// runs, or is about to; 0 when the system does not run.
func (i *Instance) activity() int {
	sum := 0
	if i.master == nil {
		return sum
	}
	for _, pid := range i.Processes() {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, path := range threads {
			b, err := os.ReadFile(path)
			if err != nil {
				return -1 // a thread has just ended
			}
			for line := range strings.Lines(string(b)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
				switch name {
				case "State":
					if value[0] != 'S' {
						return -1
					}
				case "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches":
					n, _ := strconv.Atoi(value)
					sum += n
				}
			}
		}
	}
	return sum
}

// A Session is an SMTP session that is held open.
type Session struct {
	net.Conn
	r *bufio.Reader
}

// Connect connects from an address, any when that is empty, and returns the
// last line of the greeting. A read or write may last as long as the harness waits.
func Connect(addr, from string) (*Session, string, error) {
	s, err := Dial(addr, from)
	if err != nil {
		return nil, "", err
	}
	greeting, err := s.Reply()
	if err != nil {
		s.Close()
		return nil, "", err
	}
	return s, greeting, nil
}

// Dial connects as Connect does and reads nothing.
func Dial(addr, from string) (*Session, error) {
	d := net.Dialer{Timeout: Wait}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(Wait))
	return &Session{c, bufio.NewReaderSize(c, 512)}, nil
}

// Open connects and says EHLO.
func Open(addr string) (*Session, error) {
	s, _, err := Connect(addr, "")
	if err != nil {
		return nil, err
	}
	if _, err := s.Say("EHLO client.example"); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Say sends a command and returns the last line of the reply.
func (s *Session) Say(command string) (string, error) {
	if _, err := fmt.Fprintf(s, "%s\r\n", command); err != nil {
		return "", err
	}
	return s.Reply()
}

// Reply reads a reply and returns its last line.
func (s *Session) Reply() (string, error) {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(line, "\r\n"), nil
		}
	}
}
