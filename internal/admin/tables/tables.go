// Package tables is the command "postern tables": the lookup tables that a
// configuration names, which services use each, and whether what was built is
// older than the text it was built from. It can build those anew.
package tables

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"postern/internal/admin/command"
	"postern/internal/config/param"
	"postern/internal/table"
	"postern/internal/table/migration"
)

const usage = "usage: postern tables [-c directory] [--json] [--rebuild]"

// A Program is one that reads parameters.
type Program struct {
	Name   string
	Params func(*param.Set)
}

// Knowledge is what the command is told.
type Knowledge struct {
	Programs   []Program // those of master.cf
	Parameters []func(*param.Set)
	Types      []table.Type

	// Postmap and Postalias are the commands that build tables, in the form that
	// builds nothing from a source with a mistake.
	Postmap, Postalias Builder
}

// A Builder is a command that opens tables.
type Builder func(args []string, stdin io.Reader, stdout, stderr io.Writer, types []table.Type) int

// A Table is what is known of one, as --json prints it.
type Table struct {
	Spec       string     `json:"table"` // as the configuration has it
	Type       string     `json:"type"`
	File       string     `json:"file,omitempty"`
	Changed    *time.Time `json:"changed,omitempty"` // when the file was
	Age        *int64     `json:"age,omitempty"`     // in seconds
	Entries    *int       `json:"entries,omitempty"` // nil: not a kind that can be counted
	Source     string     `json:"source,omitempty"`  // what the file was built from
	Stale      bool       `json:"stale"`             // the source is newer than the file, or there is no file
	Error      string     `json:"error,omitempty"`   // why it cannot be used
	Parameters []string   `json:"parameters"`
	Services   []string   `json:"services"`
}

// Main runs the command with args, its name first, and returns its exit status:
// 1 if a table cannot be used or is older than its source.
func Main(args []string, stdout, stderr io.Writer, k Knowledge) int {
	var dir string
	var asJSON, rebuild bool
	for i := 1; i < len(args); i++ {
		switch {
		case args[i] == "--json":
			asJSON = true
		case args[i] == "--rebuild":
			rebuild = true
		case args[i] == "-c" && i+1 < len(args):
			i++
			dir = args[i]
		default:
			fmt.Fprintf(stderr, "postern tables: unexpected argument %.100q; %s\n", args[i], usage)
			return command.Usage
		}
	}
	dir = command.ConfigDirectory(dir)
	f, err := find(dir, k)
	if err != nil {
		fmt.Fprintf(stderr, "postern tables: %v\n", err)
		return command.Failure
	}
	now := time.Now()
	status := command.OK
	for _, t := range f.list {
		f.examine(t, now)
		if rebuild && t.Stale {
			f.rebuild(t, stderr)
			f.examine(t, now)
		}
		if t.Error != "" || t.Stale {
			status = command.Failure
		}
	}
	if asJSON {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(f.tables()); err != nil {
			return command.OSErr
		}
		return status
	}
	if !rebuild {
		for _, t := range f.list {
			t.print(stdout)
		}
	}
	return status
}

// tables is the list; an empty one is not null in JSON.
func (f *finder) tables() []*Table { return append([]*Table{}, f.list...) }

// indexes are the types that are built from a text file, with the ends of
// their files' names.
var indexes = [...]struct{ typ, end string }{{"hash", ".db"}, {"btree", ".db"}, {"cdb", ".cdb"}, {"lmdb", ".lmdb"}}

// distant are types that ask a server: they are not opened to be listed.
var distant = [...]string{"tcp", "socketmap", "mysql", "pgsql", "ldap", "mongodb", "memcache", "sqlite"}

// examine fills in what the file says.
func (f *finder) examine(t *Table, now time.Time) {
	spec := t.Spec
	for strings.HasPrefix(spec, "proxy:") {
		spec = spec[len("proxy:"):]
	}
	typ, name, _ := strings.Cut(spec, ":")
	typ, lost := f.led(typ, name)
	t.Type, t.File, t.Source, t.Stale, t.Error, t.Entries = typ, "", "", false, "", nil
	if strings.HasPrefix(name, "/") {
		t.File = name
	}
	for _, x := range indexes {
		if x.typ == typ && t.File != "" {
			t.File, t.Source = name+x.end, name
		}
	}
	st, err := os.Stat(t.File)
	if err == nil {
		changed, age := st.ModTime().UTC().Truncate(time.Second), int64(now.Sub(st.ModTime())/time.Second)
		t.Changed, t.Age = &changed, &age
	}
	if source, err2 := os.Stat(t.Source); err2 == nil {
		t.Stale = err != nil || source.ModTime().After(st.ModTime())
	}
	switch {
	case lost != nil:
		t.Error = lost.Error()
	case !slices.Contains(distant[:], typ):
		f.count(t, typ+":"+name)
	}
}

// led returns the type that is used in the place of typ (non_bdb_migration_level).
func (f *finder) led(typ, name string) (string, error) {
	o := table.NewOpener(f.Types)
	defer o.Close()
	if err := migration.Apply(o, &f.common, nil); err != nil {
		return typ, err
	}
	if o.Redirect == nil {
		return typ, nil
	}
	to, err := o.Redirect(typ, name)
	if err != nil {
		return typ, err
	}
	return to, nil
}

// count opens the table and counts what is in it.
func (f *finder) count(t *Table, spec string) {
	o := table.NewOpener(f.Types)
	o.DefaultType, o.UTF8 = f.common.DefaultDatabaseType, f.common.SMTPUTF8Enable
	o.ErrorIsFatal, o.Once = true, true
	o.Flags = table.NoProxy
	o.Setting = f.set.Settings(f.main)
	defer o.Close()
	tab, err := o.Open(spec)
	if err != nil {
		t.Error = err.Error()
		return
	}
	n := 0
	switch x := table.Base(tab).(type) {
	case table.Counter:
		n = x.Entries()
	case table.Walker:
		if err := x.Walk(context.Background(), func(string, string) error { n++; return nil }); err != nil {
			t.Error = err.Error()
			return
		}
	default:
		return
	}
	t.Entries = &n
}

// print shows a table to people.
func (t *Table) print(w io.Writer) {
	fmt.Fprint(w, t.Spec)
	if t.File != "" && t.Age != nil {
		fmt.Fprintf(w, ": %s, %s old", t.File, age(*t.Age))
	}
	if t.Entries != nil {
		fmt.Fprintf(w, ", %d entries", *t.Entries)
	}
	fmt.Fprintln(w)
	users := strings.Join(t.Services, ", ")
	if users == "" {
		users = "no service"
	}
	fmt.Fprintf(w, "    %s, used by %s\n", strings.Join(t.Parameters, ", "), users)
	if t.Error != "" {
		fmt.Fprintf(w, "    cannot be used: %s\n", t.Error)
	}
	switch {
	case t.Stale && t.Changed == nil:
		fmt.Fprintf(w, "    %s has not been made from %s; run: %s %s:%s\n", t.File, t.Source, t.builder(), t.Type, t.Source)
	case t.Stale:
		fmt.Fprintf(w, "    %s is newer than %s; run: %s %s:%s\n", t.Source, t.File, t.builder(), t.Type, t.Source)
	}
}

// age is seconds in the largest unit that fits.
func age(seconds int64) string {
	for _, u := range [...]struct {
		name string
		size int64
	}{{"d", 86400}, {"h", 3600}, {"min", 60}} {
		if seconds >= 2*u.size {
			return fmt.Sprintf("%d %s", seconds/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d s", max(seconds, 0))
}
