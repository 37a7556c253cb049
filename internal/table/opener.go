package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"postern/internal/base/errno"
)

// Flags say how a table is to be used. The zero value is right for most
// parameters: keys are folded, everything is allowed.
type Flags int

const (
	FoldKey  Flags = 0         // indexed tables get the key in lower case: the default
	KeepCase Flags = 1 << iota // the key is looked up as it is (postmap -f)

	NoRegexpSubst // $1 in a pattern table's result is refused: the result names a file, a command or a user
	NoProxy       // proxy: is bypassed, the table is opened in this process
	NoUnauth      // refused: tables whose answer comes from a source that anybody may run
	AnyOctets     // keys and values need not be UTF-8 whatever smtputf8_enable says (header and body checks)
	ValueIsFile   // values are files, stored as base64 (postmap -F)
	DupIgnore     // postmap -i, -w: a key that exists keeps its value
	DupReplace    // postmap -r: a key that exists gets the new value
	KeyNUL        // postmap -N: keys and values have a trailing NUL in the file; only such are found
	KeyNoNUL      // postmap -n: they have none
)

// NULs says whether a key may be in a file with a trailing NUL, and without.
func (f Flags) NULs() (with, without bool) { return f&KeyNoNUL == 0, f&KeyNUL == 0 }

// Secure is what decides about privileges: local aliases, virtual user ids and
// mailboxes (Postfix: DICT_FLAG_PARANOID).
const Secure = NoRegexpSubst | NoProxy | NoUnauth

// A Logger takes the warnings of tables.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	Errorf(format string, args ...any)
}

// An Opener opens tables by "type:name". One of a program opens each table
// once, however many parameters name it. Its fields are set before first use.
type Opener struct {
	Log          Logger            // nil: warnings are lost
	DefaultType  string            // default_database_type, for a name without a type
	UTF8         bool              // smtputf8_enable: keys and values must be UTF-8
	ErrorIsFatal bool              // daemon_table_open_error_is_fatal: Open returns the error
	Once         bool              // a file is read as it is when it is opened: what a command does
	Stale        func(spec string) // called when a changed file cannot be opened again (after chroot); may be nil
	// Setting returns the expanded value of a name that main.cf sets; nil: it
	// sets none. Tables in databases may have their parameters there.
	Setting func(name string) (value string, ok bool)
	// Preread has the contents of configuration files that were read while
	// privileges allowed it, by path; others are read when they are wanted.
	Preread map[string][]byte
	// Redirect returns the type that a table is opened with in the place of the
	// one that its name says; nil: that one.
	Redirect func(typ, name string) (string, error)
	// Proxy opens a table in the proxymap service; nil: this program has none,
	// and "proxy:" is refused.
	Proxy func(spec string, f Flags) (Table, error)
	// ShareDatabases: tables in databases are asked for through Proxy even
	// without "proxy:", unless Flags forbid it.
	ShareDatabases bool
	// ProxyCache opens a cache in the proxywrite service; nil as for Proxy.
	ProxyCache func(spec string, f Flags) (Cache, error)
	Flags      Flags       // how the table being opened is used; a Type's Open looks here
	FileMode   os.FileMode // of a table file that is created; 0: 0644

	types  []Type
	shared *shared
}

type shared struct {
	mu     sync.Mutex
	tables map[sharedKey]Table
}

type sharedKey struct {
	spec  string
	flags Flags
}

// NewOpener returns an opener of the given types.
func NewOpener(types []Type) *Opener {
	return &Opener{types: types, DefaultType: "hash", shared: &shared{tables: map[sharedKey]Table{}}}
}

// Types returns the types that the opener knows.
func (o *Opener) Types() []Type { return o.types }

// With returns an opener that shares the tables of o and opens with flags f.
func (o *Opener) With(f Flags) *Opener {
	c := *o
	c.Flags = f
	return &c
}

// Lookup returns the type called name.
func (o *Opener) Lookup(name string) (Type, bool) {
	for _, t := range o.types {
		if t.Name == name {
			return t, true
		}
	}
	return Type{}, false
}

// Open opens "type:name". A table that cannot be opened is replaced by one
// whose lookups fail, so that mail waits until the administrator has repaired
// it; an error is returned for a name without a type, or when ErrorIsFatal is set.
func (o *Opener) Open(spec string) (Table, error) {
	o.shared.mu.Lock()
	t := o.shared.tables[sharedKey{spec, o.Flags}]
	o.shared.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := o.open(spec)
	if err != nil {
		return nil, err
	}
	o.shared.mu.Lock()
	defer o.shared.mu.Unlock()
	if other := o.shared.tables[sharedKey{spec, o.Flags}]; other != nil {
		t.Close()
		return other, nil
	}
	o.shared.tables[sharedKey{spec, o.Flags}] = t
	return t, nil
}

func (o *Opener) open(spec string) (Table, error) {
	typeName, name, err := SplitSpec(spec)
	if err != nil {
		return nil, err
	}
	for typeName == "proxy" && o.Flags&NoProxy != 0 {
		if typeName, name, err = SplitSpec(name); err != nil {
			return nil, err
		}
	}
	if o.Redirect != nil {
		if typeName, err = o.Redirect(typeName, name); err != nil {
			return o.unusable(spec, err)
		}
	}
	t, known := o.Lookup(typeName)
	var tab Table
	if typeName == "proxy" && o.Proxy != nil {
		return o.Proxy(name, o.Flags)
	}
	if t.Database && o.ShareDatabases && o.Proxy != nil && o.Flags&NoProxy == 0 {
		return o.Proxy(typeName+":"+name, o.Flags)
	}
	if !known || t.Open == nil {
		err = unsupported(typeName)
	} else {
		tab, err = t.Open(name, o)
	}
	if err != nil {
		return o.unusable(spec, err)
	}
	return o.wrap(typeName+":"+name, t, tab), nil
}

// unusable is what takes the place of a table that cannot be opened.
func (o *Opener) unusable(spec string, err error) (Table, error) {
	if o.ErrorIsFatal {
		return nil, err
	}
	o.logger().Errorf("%v", err)
	return &surrogate{spec: spec, cause: err, log: o.logger()}, nil
}

// OpenCache opens "type:name" as a cache, which one user changes. "proxy:" asks
// the proxywrite service, so that several processes can share it; any other
// cache belongs to this process alone. The caller closes it.
func (o *Opener) OpenCache(spec string) (Cache, error) {
	typeName, name, err := SplitSpec(spec)
	if err != nil {
		return nil, err
	}
	if typeName == "proxy" && o.ProxyCache != nil {
		return o.ProxyCache(name, o.Flags)
	}
	t, known := o.Lookup(typeName)
	if !known || t.Cache == nil {
		return nil, fmt.Errorf("open cache %s: a table of type %s cannot be changed by a service; use btree, lmdb, hash, memcache or proxy", spec, typeName)
	}
	return t.Cache(name, o)
}

// Number returns the value of a parameter of main.cf that a type reads, not
// below least.
func (o *Opener) Number(name string, def, least int64) (int64, error) {
	if o.Setting == nil {
		return def, nil
	}
	text, ok := o.Setting(name)
	if !ok {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least {
		return 0, fmt.Errorf("bad numerical configuration: %s = %s; expected %d or more", name, text, least)
	}
	return n, nil
}

// Close closes every table that was opened.
func (o *Opener) Close() error {
	o.shared.mu.Lock()
	defer o.shared.mu.Unlock()
	var errs []error
	for k, t := range o.shared.tables {
		errs = append(errs, t.Close())
		delete(o.shared.tables, k)
	}
	return errors.Join(errs...)
}

// Logger returns where the warnings of tables go; it is not nil.
func (o *Opener) Logger() Logger { return o.logger() }

// ReadFile returns the contents of the configuration file of a table, of at
// most limit octets.
func (o *Opener) ReadFile(path string, limit int64) ([]byte, error) {
	if b, ok := o.Preread[path]; ok {
		return b, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, errno.LibC(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d octets", path, limit)
	}
	return b, nil
}

func (o *Opener) logger() Logger {
	if o.Log == nil {
		return silent{}
	}
	return o.Log
}

// Perm returns the mode of a table file that is created.
func (o *Opener) Perm() os.FileMode {
	if o.FileMode == 0 {
		return 0o644
	}
	return o.FileMode
}

// Warningf logs a warning about a table; types use it while they open.
func (o *Opener) Warningf(format string, args ...any) { o.logger().Warningf(format, args...) }

// SplitSpec cuts "type:name".
func SplitSpec(spec string) (typeName, name string, err error) {
	typeName, name, ok := strings.Cut(spec, ":")
	if !ok || typeName == "" || name == "" {
		return "", "", fmt.Errorf("open dictionary: expecting \"type:name\" form instead of %q", spec)
	}
	return typeName, name, nil
}

// FileName returns "type:name" as messages about what is in a table have it:
// with the ending of the file where Postfix has it.
func FileName(spec string) string {
	switch typeName, _, _ := strings.Cut(spec, ":"); typeName {
	case "hash", "btree":
		return spec + ".db"
	case "cdb":
		return spec + ".cdb"
	}
	return spec
}

// A surrogate stands for a table that could not be opened.
type surrogate struct {
	spec  string
	cause error
	log   Logger
}

func (s *surrogate) Lookup(context.Context, string) (string, bool, error) {
	s.log.Warningf("%s is unavailable. %v", s.spec, s.cause)
	return "", false, fmt.Errorf("%s is unavailable: %w", s.spec, s.cause)
}

func (s *surrogate) Close() error { return nil }

type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
func (silent) Errorf(string, ...any)   {}

// A Builder collects the entries of a table that replaces an old one, or is
// added to one, when Commit is called.
type Builder interface {
	Put(key, value string) error
	Commit() error // write, sync, and put in place
	io.Closer      // gives up what was not committed
}

// unsupported says that there is no such type, and whether Postfix has it.
func unsupported(name string) error {
	switch name {
	case "ldap", "mysql", "pgsql", "sqlite", "mongodb", "memcache":
		return fmt.Errorf("unsupported dictionary type: %s (this program or build has no client for it)", name)
	case "nis", "nisplus", "netinfo", "dbm", "sdbm":
		return fmt.Errorf("unsupported dictionary type: %s (obsolete; use lmdb, hash or texthash)", name)
	}
	return fmt.Errorf("unsupported dictionary type: %s", name)
}
