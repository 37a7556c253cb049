// Package qshape is the command qshape: it counts the messages in the queue by
// domain and age, which shows where mail piles up.
package qshape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"postern/internal/admin/command"
)

const usage = "[-s] [-p] [-m min_subdomains] [-l] [-b bucket_count] [-t bucket_time] [-w terminal_width] [-N batch_msg_count] [-n batch_top_domains] [-c config_dir] [queue_name ...]"

// options is the command line.
type options struct {
	senders, parents, linear bool
	dir                      string
	minSub                   int // subdomains that make a parent worth a line
	buckets                  int
	tick                     int // minutes of the first bucket
	width                    int
	batch, top               int // on a terminal: lines now and then, of so many domains
	queues                   []string
}

func parse(args []string, terminal bool) (*options, error) {
	o := &options{minSub: 5, buckets: 10, tick: 5, width: 80}
	if terminal {
		o.batch, o.top = 1000, 20
	}
	numbers := map[byte]*int{'m': &o.minSub, 'b': &o.buckets, 't': &o.tick, 'w': &o.width, 'N': &o.batch, 'n': &o.top}
	rest, err := command.Getopt(args, "lc:psw:b:t:m:n:N:", func(option byte, arg string) error {
		switch option {
		case 'l':
			o.linear = true
		case 'p':
			o.parents = true
		case 's':
			o.senders = true
		case 'c':
			o.dir = arg
		default:
			n, err := strconv.Atoi(arg)
			if err != nil || n < 0 || n > math.MaxInt32 {
				return fmt.Errorf("-%c %.100s: a number is needed", option, arg)
			}
			if n > 0 && (option != 'w' || n > o.width) && (terminal || option != 'N' && option != 'n') {
				*numbers[option] = n // Postfix: what is too small has no effect
			}
		}
		return nil
	})
	const most = 1000
	if err == nil && o.buckets > most {
		err = fmt.Errorf("-b %d: at most %d are counted", o.buckets, most)
	}
	o.queues = rest
	if len(rest) == 0 {
		o.queues = []string{"incoming", "active"}
	}
	return o, err
}

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f, ok := stdout.(*os.File)
	return run(args, stdin, stdout, stderr, ok && term.IsTerminal(int(f.Fd())), time.Now())
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer, terminal bool, now time.Time) int {
	c := command.New("qshape", stdin, stdout, stderr)
	o, err := parse(args[1:], terminal)
	if err != nil {
		command.Complain(stderr, "qshape", err)
		return c.Usage(command.Failure, usage)
	}
	if err := c.Load(command.ConfigDirectory(o.dir)); err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	s := newShape(o, now)
	status := command.OK
	for _, name := range o.queues {
		if !filepath.IsAbs(name) {
			name = filepath.Join(c.Common.QueueDirectory, name)
		}
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && path != name && errors.Is(err, fs.ErrNotExist):
				return nil // it was delivered meanwhile
			case err != nil:
				return err
			case d.IsDir() || !idName.MatchString(d.Name()):
				return nil
			}
			m, ok := read(path, o.senders)
			if !ok {
				return nil
			}
			s.add(m)
			if o.batch > 0 && s.messages%o.batch == 0 {
				s.print(c.Out, terminal)
			}
			return nil
		})
		if err != nil {
			c.Log.Warningf("%v", err)
			status = command.Failure
		}
	}
	s.print(c.Out, terminal)
	return c.Done(status)
}

// idName matches the names of queue files.
var idName = regexp.MustCompile(`^[A-Za-z0-9]{6,}$`)

// A shape is the count of messages.
type shape struct {
	*options
	now      time.Time
	messages int
	rows     map[string][]int // by domain: in all, then by age
	subs     map[string]int   // domains below a parent
}

// total is the row of all messages.
const total = "TOTAL"

func newShape(o *options, now time.Time) *shape {
	s := &shape{options: o, now: now, rows: make(map[string][]int), subs: make(map[string]int)}
	s.rows[total] = make([]int, o.buckets+1)
	return s
}

// add counts a message, for each of its addresses.
func (s *shape) add(m message) {
	s.messages++
	b := s.bucket(s.now.Sub(m.arrival))
	for _, address := range m.addresses {
		s.count(total, b)
		name := domain(address)
		isNew := s.count(name, b)
		for s.parents {
			parent, ok := parentOf(name)
			if !ok {
				break
			}
			if isNew {
				s.subs[parent]++
			}
			name, isNew = parent, s.count(parent, b)
		}
	}
}

// count counts one address, and says whether it is the first of its row.
func (s *shape) count(name string, bucket int) (first bool) {
	row := s.rows[name]
	if row == nil {
		row, first = make([]int, s.buckets+1), true
		s.rows[name] = row
	}
	row[0]++
	row[bucket]++
	return first
}

// bucket returns which one an age belongs to, from 1 on.
func (s *shape) bucket(age time.Duration) int {
	m := age.Minutes() / float64(s.tick)
	switch {
	case m < 1:
		return 1
	case s.linear:
		return min(int(m+1), s.buckets)
	}
	return min(2+int(math.Log2(m)), s.buckets)
}

// domain is the row of an address.
func domain(address string) string {
	if address == "" {
		return "MAILER-DAEMON"
	}
	name := strings.ToLower(address)
	name = name[strings.LastIndexByte(name, '@')+1:]
	name = strings.ReplaceAll(name, "..", ".")
	if len(name) > 1 {
		name = strings.TrimPrefix(name, ".")
	}
	if len(name) > 1 {
		name = strings.TrimSuffix(name, ".")
	}
	return name
}

// parentOf returns the domain above, with a leading dot; there is none above a
// domain of two labels.
func parentOf(name string) (string, bool) {
	_, rest, ok := strings.Cut(strings.TrimPrefix(name, "."), ".")
	if !ok || !strings.Contains(rest, ".") {
		return "", false
	}
	return "." + rest, true
}
