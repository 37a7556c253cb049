package mapfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"
	"unicode/utf8"

	"postern/internal/base/errno"
	"postern/internal/table"
	"postern/internal/table/source"
)

// build makes a table from its source, or with -i adds to it what stands on
// standard input.
func (r *run) build(ctx context.Context, spec string) error {
	t, name, err := r.changeable(spec)
	if err != nil {
		return err
	}
	in, path := r.In, name
	opener := *r.opener
	opener.FileMode = defaultPerm
	restore := func() error { return nil }
	if !r.incremental {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open %s: %w", name, errno.LibC(err))
		}
		defer f.Close()
		if restore, err = r.like(f, &opener); err != nil {
			return err
		}
		in = f
	}
	if t.Create == nil {
		return errors.Join(fmt.Errorf("unsupported dictionary type: %s does not support bulk-mode creation.", t.Name), restore())
	}
	err = r.write(ctx, t, name, path, in, &opener)
	return errors.Join(err, restore())
}

const defaultPerm = 0o644

// like takes over who else may read the source, and its owner's rights if root
// builds the table of somebody else. restore undoes the latter.
func (r *run) like(f *os.File, o *table.Opener) (restore func() error, err error) {
	restore = func() error { return nil }
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return restore, err
	}
	if !r.defaultMode {
		o.FileMode = 0o600 | st.Mode().Perm()&0o044
	}
	owner := st.Sys().(*syscall.Stat_t)
	if r.asRoot || os.Geteuid() != 0 || owner.Uid == 0 {
		return restore, nil
	}
	uid, gid := os.Geteuid(), os.Getegid()
	restore = func() error {
		return errors.Join(syscall.Seteuid(uid), syscall.Setegid(gid))
	}
	if err := errors.Join(syscall.Setgroups([]int{int(owner.Gid)}), syscall.Setegid(int(owner.Gid)), syscall.Seteuid(int(owner.Uid))); err != nil {
		return restore, fmt.Errorf("take the rights of the owner of %s: %w", f.Name(), err)
	}
	return restore, nil
}

// A target is what entries are put into.
type target interface {
	Put(key, value string) error
	Commit() error
	Close() error
}

func (r *run) write(ctx context.Context, t table.Type, name, path string, in io.Reader, o *table.Opener) error {
	dest, err := r.target(ctx, t, name, o)
	if err != nil {
		return err
	}
	defer dest.Close()
	if t, ok := dest.(interface{ Expect(n int) }); ok {
		t.Expect(estimate(in))
	}
	// What is read stays until it is written: collecting garbage finds little.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	if err := r.entries(path, in, dest.Put); err != nil {
		return err
	}
	if r.d.Finish != nil && !r.incremental {
		put := dest.Put
		if l, ok := dest.(interface{ Load(key, value string) error }); ok {
			put = l.Load // in the case in which they are written
		}
		if err := r.d.Finish(r.Command, put); err != nil {
			return err
		}
	}
	if r.d.Strict {
		if err := unchanged(in); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return dest.Commit()
}

// unchanged says whether what was read is what the file holds now.
func unchanged(in io.Reader) error {
	f, ok := in.(*os.File)
	if !ok {
		return nil
	}
	read, err1 := f.Seek(0, io.SeekCurrent)
	now, err2 := f.Stat()
	named, err3 := os.Stat(f.Name())
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if now.Size() != read || !os.SameFile(now, named) {
		return errors.New("the file changed while it was read")
	}
	return nil
}

// estimate guesses how many entries a source has.
func estimate(in io.Reader) int {
	const line = 48 // octets
	f, ok := in.(*os.File)
	if !ok {
		return 0
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return 0
	}
	return int(min(st.Size(), 1<<32) / line)
}

// target opens a new table, or with -i the old one if there is one.
func (r *run) target(ctx context.Context, t table.Type, name string, o *table.Opener) (target, error) {
	if !r.incremental || t.Change == nil {
		return t.Create(name, o)
	}
	c, err := t.Change(name, o)
	if errors.Is(err, os.ErrNotExist) {
		return t.Create(name, o)
	}
	if err != nil {
		return nil, err
	}
	return adding{ctx, c}, nil
}

// adding is a table that is added to.
type adding struct {
	ctx context.Context
	table.Changer
}

func (a adding) Put(key, value string) error { return a.Store(a.ctx, key, value) }

// entries reads the source and puts its entries.
func (r *run) entries(path string, in io.Reader, put func(key, value string) error) error {
	lines := source.NewReader(in)
	var mistake error
	warn := func(format string, args ...any) {
		r.Log.Warningf(format, args...)
		if mistake == nil && r.d.Strict {
			mistake = fmt.Errorf(format, args...)
		}
	}
	lines.Warn = func(text string) { warn("%s: %s", path, text) }
	for {
		l, err := lines.Next()
		if mistake != nil {
			return mistake
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, errno.LibC(err))
		}
		if r.opener.UTF8 && !utf8.ValidString(l.Text) {
			warn("%s, line %d: non-UTF-8 input \"%s\" -- ignoring this line", path, l.First, l.Text)
			continue
		}
		key, value, warning, ok := r.d.Parse(l.Text)
		if warning != "" {
			warn("%s, line %d: %s", path, l.First, warning)
		}
		if !ok {
			continue
		}
		if r.flags&table.ValueIsFile != 0 {
			if value, err = source.FileValue(value); err != nil {
				warn("%s, line %d: %v: skipping this entry", path, l.First, err)
				continue
			}
		}
		if err := put(key, value); err != nil {
			return fmt.Errorf("table %s: write error: %w", path, err)
		}
	}
}
