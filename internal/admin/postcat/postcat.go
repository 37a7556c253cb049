// Package postcat is the command that prints queue files for people: the
// envelope with a word per record, the header and the body.
package postcat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"postern/internal/admin/command"
	"postern/internal/mail/queue"
)

const usage = "[-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] " +
	"[-h (header text)] [-q (access queue)] [-v] [file(s)...]"

// queues are those that -q searches, in this order.
var queues = [...]queue.Name{queue.Maildrop, queue.Incoming, queue.Active, queue.Deferred, queue.Hold, queue.Saved}

// options say what to print of a file, and how.
type options struct {
	body, envelope, header bool
	offsets                bool // -o
	decimal                bool // -d
	raw                    bool // -r: in the order of the file
	search                 bool // -q
	start                  int64
	verbose                bool
}

// Main runs the command and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New("postcat", stdin, stdout, stderr)
	var o options
	dir := ""
	var badOffset error
	files, err := command.Getopt(args[1:], "bc:dehoqrs:v", func(option byte, arg string) error {
		switch option {
		case 'b':
			o.body = true
		case 'c':
			dir = arg
		case 'd':
			o.decimal = true
		case 'e':
			o.envelope = true
		case 'h':
			o.header = true
		case 'o':
			o.offsets = true
		case 'q':
			o.search = true
		case 'r':
			o.raw = true
		case 's':
			if o.start, badOffset = strconv.ParseInt(arg, 10, 64); badOffset != nil || o.start < 0 {
				badOffset = errors.New("bad offset: " + arg)
			}
		case 'v':
			c.Verbose()
			o.verbose = true
		}
		return nil
	})
	if err != nil {
		command.Complain(stderr, "postcat", err)
		return c.Usage(command.Failure, usage)
	}
	c.Unlogged()
	if badOffset != nil {
		return c.Fail(command.Failure, "%v", badOffset)
	}
	if !o.body && !o.envelope && !o.header {
		o.body, o.envelope, o.header = true, true, true
	}
	if o.search {
		if err := c.Load(command.ConfigDirectory(dir)); err != nil {
			return c.Fail(command.Failure, "%v", err)
		}
	}
	out := bufio.NewWriterSize(stdout, 16<<10)
	err = printAll(c, o, files, out)
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	return c.Done(command.OK)
}

func printAll(c *command.Command, o options, files []string, out *bufio.Writer) error {
	if o.search {
		store := queue.Open(&c.Common)
		defer store.Close()
		for _, name := range files {
			if err := printQueued(c, o, store, name, out); err != nil {
				return err
			}
		}
		return nil
	}
	if len(files) == 0 {
		data, err := readAll(c.In)
		if err != nil {
			return err
		}
		return (&printer{options: o, path: "stdin", out: out, log: c.Log}).print(data)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = (&printer{options: o, path: path, out: out, log: c.Log}).print(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// printQueued prints the message with a queue id, wherever it is.
func printQueued(c *command.Command, o options, store *queue.Store, name string, out *bufio.Writer) error {
	id, err := queue.ParseID(name)
	if err != nil {
		return errors.New("bad mail queue ID: " + name)
	}
	for tries := 0; ; tries++ {
		for _, q := range queues {
			f, err := store.OpenRead(q, id)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			defer f.Close()
			return (&printer{options: o, path: store.Path(q, id), out: out, log: c.Log}).print(f)
		}
		// The message may have moved to a queue that was looked at before.
		if tries > 0 {
			// The C library's text, for who looks for it.
			return fmt.Errorf("open queue file %s: No such file or directory", name)
		}
	}
}

// A readerAt is what records are read from.
type readerAt = io.ReaderAt

// readAll makes standard input seekable: a file is used as it is, and what
// comes through a pipe goes into a temporary file without a name.
func readAll(r io.Reader) (readerAt, error) {
	if f, ok := r.(*os.File); ok {
		if _, err := f.Seek(0, io.SeekCurrent); err == nil {
			return f, nil
		}
	}
	f, err := os.CreateTemp("", "postcat")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
