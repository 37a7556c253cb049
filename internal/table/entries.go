package table

import (
	"context"
	"fmt"
	"math"
	"os"
)

// An Entry is a key and its value.
type Entry struct {
	Key, Value string
}

// Entries collects what goes into a table that is written as a whole, each key
// once. The formats that are built this way (hash, btree, cdb, lmdb) embed it.
type Entries struct {
	Path string // the file
	Name string // what a message about a key calls it
	List []Entry

	opener *Opener
	index  keyIndex
}

// NewEntries returns an empty collection with the rules of o.Flags for keys
// that are there already.
func NewEntries(path, name string, o *Opener) *Entries {
	e := &Entries{Path: path, Name: name, opener: o}
	e.index.resize(64)
	return e
}

// Expect makes room for n entries.
func (e *Entries) Expect(n int) {
	if len(e.List) == 0 && n > 0 && n < math.MaxUint32/4 {
		e.List = make([]Entry, 0, n)
		e.index.resize(n)
	}
}

// Put adds an entry. A second value for a key is refused with a warning unless
// the flags say otherwise.
func (e *Entries) Put(key, value string) error {
	key = e.fold(key)
	at, dup := e.index.add(e.List, key)
	switch {
	case !dup:
		e.List = append(e.List, Entry{key, value})
	case e.opener.Flags&DupReplace != 0:
		e.List[at].Value = value
	case e.opener.Flags&DupIgnore == 0:
		e.opener.Warningf("%s: duplicate entry: \"%s\"", e.Name, key)
	}
	return nil
}

// Load adds an entry that is in the table already.
func (e *Entries) Load(key, value string) error {
	if _, dup := e.index.add(e.List, key); !dup {
		e.List = append(e.List, Entry{key, value})
	}
	return nil
}

// Delete removes key and says whether it was there.
func (e *Entries) Delete(_ context.Context, key string) (bool, error) {
	at, ok := e.index.remove(e.List, e.fold(key))
	if !ok {
		return false, nil
	}
	last := len(e.List) - 1
	e.List[at] = e.List[last]
	e.List = e.List[:last]
	return true, nil
}

// Store sets the value of key.
func (e *Entries) Store(_ context.Context, key, value string) error { return e.Put(key, value) }

// Lookup returns the value of key.
func (e *Entries) Lookup(_ context.Context, key string) (string, bool, error) {
	at, ok := e.index.find(e.List, e.fold(key))
	if !ok {
		return "", false, nil
	}
	return e.List[at].Value, true, nil
}

// Walk lists the entries in the order in which they came.
func (e *Entries) Walk(_ context.Context, each func(key, value string) error) error {
	for _, x := range e.List {
		if err := each(x.Key, x.Value); err != nil {
			return err
		}
	}
	return nil
}

func (e *Entries) fold(key string) string {
	if e.opener.Flags&KeepCase != 0 {
		return key
	}
	return Fold(key, e.opener.UTF8)
}

// An Encoder writes entries to a file that replaces an old one. It may change
// the order of list.
type Encoder func(t Target, list []Entry) error

// A File is a table file that is changed by writing it anew: what Type.Create
// and Type.Change of an indexed type return.
type File struct {
	*Entries
	Fresh  bool // a file that exists does not pass its mode on
	perm   os.FileMode
	encode Encoder
	locked *os.File
	dirty  bool
}

// CreateFile starts a new table, which messages call name; nothing is written before Commit.
func CreateFile(path, name string, o *Opener, encode Encoder) *File {
	return &File{Entries: NewEntries(path, name, o), perm: o.Perm(), encode: encode}
}

// ChangeFile opens an existing table to change it; load passes its entries on.
// Nobody else can change it until Close.
func ChangeFile(path, name string, o *Opener, load func(f *os.File, e *Entries) error, encode Encoder) (*File, error) {
	f, err := OpenLocked(path)
	if err != nil {
		return nil, err
	}
	t := CreateFile(path, name, o, encode)
	t.locked = f
	if err := load(f, t.Entries); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Put adds an entry.
func (t *File) Put(key, value string) error {
	t.dirty = true
	return t.Entries.Put(key, value)
}

// Store adds an entry.
func (t *File) Store(_ context.Context, key, value string) error { return t.Put(key, value) }

// Delete removes an entry.
func (t *File) Delete(ctx context.Context, key string) (bool, error) {
	found, err := t.Entries.Delete(ctx, key)
	t.dirty = t.dirty || found
	return found, err
}

// Commit puts the new file in place. A table that was opened for change and
// was not changed stays as it is.
func (t *File) Commit() error {
	if t.locked != nil && !t.dirty {
		return nil
	}
	if err := t.encode(Target{t.Path, t.perm, t.Fresh}, t.List); err != nil {
		return err
	}
	t.dirty = false
	return nil
}

// Close forgets what was not committed.
func (t *File) Close() error {
	if t.locked != nil {
		return t.locked.Close()
	}
	return nil
}
