package tables

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"postern/internal/admin/command"
)

// settle is how long a source must have been left alone: an editor may still
// be writing it.
const settle = 2 * time.Second

var errUnsettled = errors.New("the source was changed just now; it is left for the next time")

// builder is the command that builds the table.
func (t *Table) builder() string {
	if slices.ContainsFunc(t.Parameters, func(name string) bool {
		name, _, _ = strings.Cut(name, " ")
		return name == "alias_maps" || name == "alias_database"
	}) {
		return "postalias"
	}
	return "postmap"
}

// rebuild builds the index of a table from its source. With any mistake in the
// source the old one stays.
func (f *finder) rebuild(t *Table, stderr io.Writer) {
	c := command.New("postern-tables", strings.NewReader(""), io.Discard, stderr)
	if err := c.Load(f.dir); err != nil {
		fmt.Fprintf(stderr, "postern tables: %v\n", err)
		return
	}
	defer c.Done(command.OK)
	if err := f.build(t); err != nil {
		c.Log.Warningf("table %s:%s is not rebuilt: %v", t.Type, t.Source, err)
		return
	}
	c.Log.Infof("rebuilt table %s:%s", t.Type, t.Source)
}

func (f *finder) build(t *Table) error {
	before, err := os.Stat(t.Source)
	if err != nil {
		return err
	}
	if time.Since(before.ModTime()) < settle {
		return errUnsettled
	}
	var said bytes.Buffer
	args := []string{t.builder(), "-c", f.dir, t.Type + ":" + t.Source}
	run := f.Postmap
	if t.builder() == "postalias" {
		run = f.Postalias
	}
	if run(args, strings.NewReader(""), io.Discard, &said, f.Types) != 0 {
		return errors.New(strings.ReplaceAll(strings.TrimSpace(said.String()), "\n", "; "))
	}
	return nil
}
