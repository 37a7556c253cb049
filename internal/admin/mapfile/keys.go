package mapfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/internal/mail/message"
)

// keys calls each with every key on standard input: a line, or with -h and -b
// the header fields and body lines of a message.
func (r *run) keys(in *bufio.Reader, each func(key string) error) error {
	if r.header || r.body {
		return r.message(in, each)
	}
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			if err := each(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}

// Limits with which a message is taken apart: the defaults of
// header_size_limit, mime_boundary_length_limit and mime_nesting_limit.
const (
	fieldLimit    = 102400
	boundaryLimit = 2048
	nestingLimit  = 100
)

func (r *run) message(in *bufio.Reader, each func(key string) error) error {
	h := &messageKeys{run: r, each: each}
	m := message.New(message.Options{
		NoMIME:        !r.mime,
		FieldLimit:    fieldLimit,
		BoundaryLimit: boundaryLimit,
		NestingLimit:  nestingLimit,
	}, h)
	for h.err == nil {
		line, err := in.ReadString('\n')
		if line != "" {
			m.Line([]byte(strings.TrimSuffix(line, "\n")), false)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
	m.End()
	return h.err
}

// messageKeys makes the parts of a message keys.
type messageKeys struct {
	*run
	each func(key string) error
	err  error
}

func (h *messageKeys) look(wanted bool, key []byte) {
	if wanted && h.err == nil {
		h.err = h.each(string(key))
	}
}

func (h *messageKeys) Field(_ message.Section, _ *message.Name, field []byte) {
	h.look(h.header, field)
}

func (h *messageKeys) HeaderEnd() {}

func (h *messageKeys) Body(line []byte, _ bool, _ int64) { h.look(h.body, line) }

func (h *messageKeys) Problem(message.Problem, []byte) {}
