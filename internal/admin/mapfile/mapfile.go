// Package mapfile is what postmap and postalias share: they build lookup
// tables from text, and look up, list and change what is in them.
package mapfile

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/proxymap"
	"postern/internal/ipc/reindex"
	"postern/internal/table"
	"postern/internal/table/migration"
	"postern/internal/table/source"
)

// A Dialect is what the two commands differ in.
type Dialect struct {
	Name      string
	Options   string // of the command line, as for getopt
	Usage     string
	Separator string // between key and value where both are printed
	// Parse takes an entry out of a logical line; ok is false when there is
	// none, warning says what is wrong.
	Parse func(text string) (key, value string, warning source.Warning, ok bool)
	// Finish adds entries of its own to a table that is built; may be nil.
	Finish func(c *command.Command, put func(key, value string) error) error
	// Strict makes a line that would be left out, or a source that changes while
	// it is read, an error.
	Strict bool
}

// A run is one run of a command.
type run struct {
	*command.Command
	d Dialect
	options
	opener *table.Opener
	tables []table.Table // those that queries have come to, in order
}

// Run runs the command of dialect d with args, its name first, and returns its
// exit status. types are the table types it can open.
func Run(d Dialect, types []table.Type, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	r := &run{Command: command.New(d.Name, stdin, stdout, stderr), d: d}
	rest, err := command.Getopt(args[1:], d.Options, r.option)
	if err == nil {
		err = r.check()
	}
	var option *command.OptionError
	switch {
	case errors.As(err, &option):
		fmt.Fprintf(stderr, "%s: %v\n", d.Name, err)
		return r.Usage(command.Failure, d.Usage)
	case err != nil:
		return r.Fail(command.Failure, "%v", err)
	case len(rest) == 0:
		return r.Usage(command.Failure, d.Usage)
	}
	r.Unlogged()
	if err := r.Load(command.ConfigDirectory(r.dir)); err != nil {
		return r.Fail(command.Failure, "%v", err)
	}
	if err := r.prepare(types); err != nil {
		return r.Fail(command.Failure, "%v", err)
	}
	found, err := r.act(context.Background(), rest)
	if err != nil {
		return r.Fail(command.Failure, "%v", err)
	}
	if !found {
		return r.Done(command.Failure)
	}
	return r.Done(command.OK)
}

// prepare makes the opener of tables.
func (r *run) prepare(types []table.Type) error {
	o := table.NewOpener(types)
	o.Log = r.Log
	o.DefaultType = r.Common.DefaultDatabaseType
	o.UTF8 = r.utf8(r.Common.SMTPUTF8Enable)
	o.ErrorIsFatal = true
	o.Once = true
	o.Flags = r.flags
	o.Setting = r.Settings()
	o.Proxy = proxymap.Opener(endpoint.New(r.Common.QueueDirectory, "private", r.Common.ProxymapServiceName, proxymap.Protocol,
		endpoint.Times{Timeout: r.Common.IPCTimeout, Idle: r.Common.IPCIdle}))
	r.opener = o
	var build func(typ, path string) error
	if r.mode == 'q' || r.mode == 's' {
		build = reindex.Builder(r.Common.QueueDirectory, r.Common.NonBDBServiceName)
	}
	return migration.Apply(o, &r.Common, build)
}

// act does what the options ask for with each of the tables.
func (r *run) act(ctx context.Context, specs []string) (found bool, err error) {
	for i, spec := range specs {
		if !strings.Contains(spec, ":") {
			specs[i] = r.Common.DefaultDatabaseType + ":" + spec
		}
	}
	switch {
	case r.mode == 'q' && r.key == "-":
		return r.queries(ctx, specs)
	case r.mode == 'q':
		value, found, err := r.query(ctx, specs, r.key)
		if found && r.json {
			err = r.object(r.Out, r.key, value)
		} else if found {
			fmt.Fprintln(r.Out, value)
		}
		return found, err
	case r.mode == 'd':
		return r.deletions(ctx, specs)
	case r.mode == 's':
		return true, r.sequence(ctx, specs)
	}
	for _, spec := range specs {
		if err := r.build(ctx, spec); err != nil {
			return false, err
		}
	}
	return true, nil
}

// query asks one table after the other for key.
func (r *run) query(ctx context.Context, specs []string, key string) (string, bool, error) {
	for i, spec := range specs {
		if i == len(r.tables) {
			t, err := r.opener.Open(spec)
			if err != nil {
				return "", false, err
			}
			r.tables = append(r.tables, t)
		}
		value, found, err := r.tables[i].Lookup(ctx, key)
		if err != nil {
			return "", false, fmt.Errorf("table %s: query error: %w", spec, err)
		}
		if !found {
			continue
		}
		if value == "" {
			r.Log.Warningf("table %s: key %s: empty string result is not allowed", spec, key)
			r.Log.Warningf("table %s should return NO RESULT in case of NOT FOUND", spec)
		}
		value, err = r.text(value)
		if err != nil {
			r.Log.Warningf("table %s: key %s: %v", table.FileName(spec), key, err)
			return "", false, fmt.Errorf("table %s: query error", table.FileName(spec))
		}
		return value, true, nil
	}
	return "", false, nil
}

// text is what -F stored as base64.
func (r *run) text(value string) (string, error) {
	if r.flags&table.ValueIsFile == 0 {
		return value, nil
	}
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", fmt.Errorf("malformed BASE64 value: %.30s", value)
	}
	return string(b), nil
}

// queries looks up what standard input lists.
func (r *run) queries(ctx context.Context, specs []string) (bool, error) {
	any := false
	in, out := bufio.NewReaderSize(r.In, 1<<16), bufio.NewWriterSize(r.Out, 1<<16)
	err := r.keys(in, func(key string) error {
		value, found, err := r.query(ctx, specs, key)
		if err == nil && found {
			any = true
			err = r.pair(out, key, value)
		}
		if in.Buffered() == 0 && err == nil {
			err = out.Flush() // whoever asks may wait for the answer
		}
		return err
	})
	return any, errors.Join(err, out.Flush())
}

// deletions removes a key, or those that standard input lists, from each table.
func (r *run) deletions(ctx context.Context, specs []string) (bool, error) {
	keys := []string{r.key}
	if r.key == "-" {
		keys = nil
		if err := r.keys(bufio.NewReader(r.In), func(key string) error { keys = append(keys, key); return nil }); err != nil {
			return false, err
		}
	}
	any := false
	for _, spec := range specs {
		found, err := r.remove(ctx, spec, keys)
		if err != nil {
			return any, err
		}
		any = any || found
	}
	return any, nil
}

func (r *run) remove(ctx context.Context, spec string, keys []string) (bool, error) {
	t, name, err := r.changeable(spec)
	if err != nil {
		return false, err
	}
	if t.Change == nil {
		return false, fmt.Errorf("%s map requires O_RDONLY access mode", spec)
	}
	c, err := t.Change(name, r.opener)
	if err != nil {
		return false, err
	}
	defer c.Close()
	any := false
	for _, key := range keys {
		found, err := c.Delete(ctx, key)
		if err != nil {
			return any, fmt.Errorf("table %s: delete error: %w", spec, err)
		}
		any = any || found
	}
	return any, c.Commit()
}

// changeable returns the type and name of a table that is to be written.
func (r *run) changeable(spec string) (table.Type, string, error) {
	typeName, name, err := table.SplitSpec(spec)
	if err != nil {
		return table.Type{}, "", err
	}
	if typeName == "proxy" {
		return table.Type{}, "", errors.New("can't create maps via the proxy service")
	}
	if r.opener.Redirect != nil {
		if typeName, err = r.opener.Redirect(typeName, name); err != nil {
			return table.Type{}, "", err
		}
	}
	t, ok := r.opener.Lookup(typeName)
	if !ok {
		return t, "", fmt.Errorf("unsupported dictionary type: %s", typeName)
	}
	return t, name, nil
}

// sequence prints every entry.
func (r *run) sequence(ctx context.Context, specs []string) error {
	// Postfix: only the first table is listed.
	for _, spec := range specs[:1] {
		if strings.HasPrefix(spec, "proxy:") {
			return errors.New("can't sequence maps via the proxy service")
		}
		t, err := r.opener.Open(spec)
		if err != nil {
			return err
		}
		w, ok := table.Base(t).(table.Walker)
		if !ok {
			return fmt.Errorf("table %s: sequence operation is not supported", spec)
		}
		out := bufio.NewWriterSize(r.Out, 1<<16)
		err = w.Walk(ctx, func(key, value string) error { return r.show(out, spec, key, value) })
		err = errors.Join(err, out.Flush())
		if errors.Is(err, table.ErrNoWalk) {
			return fmt.Errorf("table %s: sequence operation is not supported", spec)
		}
		if err != nil {
			return fmt.Errorf("table %s: sequence error: %w", spec, err)
		}
	}
	return nil
}

// show prints one entry.
func (r *run) show(out *bufio.Writer, spec, key, value string) error {
	if key == "" {
		r.Log.Warningf("table %s: empty lookup key value is not allowed", spec)
	}
	if value == "" {
		r.Log.Warningf("table %s: key %s: empty string result is not allowed", spec, key)
		r.Log.Warningf("table %s should return NO RESULT in case of NOT FOUND", spec)
	}
	value, err := r.text(value)
	if err == nil {
		err = r.pair(out, key, value)
	}
	return err
}

// pair prints a key with its value.
func (r *run) pair(out *bufio.Writer, key, value string) error {
	if r.json {
		return r.object(out, key, value)
	}
	out.WriteString(key)
	out.WriteString(r.d.Separator)
	out.WriteString(value)
	return out.WriteByte('\n')
}

// object prints {"key": "value"} (Postfix 3.11).
func (r *run) object(out io.Writer, key, value string) error {
	quote := func(s string) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.Encode(s) // a string has no error
		return strings.TrimSuffix(b.String(), "\n")
	}
	_, err := fmt.Fprintf(out, "{%s: %s}\n", quote(key), quote(value))
	return err
}
