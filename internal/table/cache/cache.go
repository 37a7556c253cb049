// Package cache is the tables that a service changes while it runs, kept in a
// bbolt file that belongs to one process at a time: verify's memory of
// addresses, postscreen's of clients.
//
// A configuration names such a cache as Postfix does, "btree:/path/name",
// "lmdb:/path/name" or "hash:/path/name". The file is /path/name.bolt,
// whatever the type, so that files of Postfix (name.db, name.lmdb) are not
// touched and are there when it comes back.
//
// Changes are collected and written together, so that a change costs no wait
// for the disk. What was not written when the process dies is lost, as caches
// may be; the file stays whole.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/internal/base/errno"
	"postern/internal/table"
)

// Suffix ends the name of a cache file.
const Suffix = ".bolt"

const (
	lockTimeout  = 10 * time.Second       // wait for the process that has the file
	writeDelay   = 100 * time.Millisecond // changes of this time are written together
	maxPending   = 10000                  // more changes are not held; Store waits for the disk
	walkBatch    = 500                    // entries read in one transaction
	maxKeyLength = bolt.MaxKeySize
)

// Cached gives the types called by names the ability to be a cache.
func Cached(types []table.Type, names ...string) []table.Type {
	for i := range types {
		for _, name := range names {
			if types[i].Name == name {
				types[i].Cache = Open
			}
		}
	}
	return types
}

// A store is a cache file that is open.
type store struct {
	path string
	db   *bolt.DB
	log  func(format string, args ...any)

	mu      sync.Mutex
	changes map[string]change // not yet written
	writing map[string]change // being written
	wake    chan struct{}
	done    chan struct{} // closed when the writer has ended
	closed  bool
	flushed *sync.Cond // writing has become nil
}

// A change is a new value, or none: the key is deleted.
type change struct {
	value   string
	deleted bool
}

// Open opens the cache file of name, and creates it. A file that is damaged is
// put aside as name.bolt.damaged and begun anew.
func Open(name string, o *table.Opener) (table.Cache, error) {
	path := name + Suffix
	db, err := open(path)
	if damaged(err) {
		o.Warningf("cache %s is damaged (%v): it is kept as %s.damaged and begun anew", path, err, path)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, err
		}
		db, err = open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", path, err)
	}
	s := &store{
		path: path, db: db, log: o.Warningf,
		changes: map[string]change{}, wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.flushed = sync.NewCond(&s.mu)
	go s.write()
	return s, nil
}

var entries = []byte("entries") // the one bucket

func open(path string) (db *bolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil { // bbolt's way to say that a page makes no sense
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, OpenFile: openFile, NoFreelistSync: true})
	if errors.Is(err, bolt.ErrTimeout) {
		return nil, errors.New("another process has it; share it by \"proxy:\"")
	}
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(entries)
		return err
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

var errDamaged = errors.New("damaged")

func damaged(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, bolt.ErrInvalid) || errors.Is(err, bolt.ErrChecksum) || errors.Is(err, bolt.ErrVersionMismatch)
}

// openFile opens or creates the file. It may run as root in a directory of the
// mail system's user: it follows no link, and gives a new file to the owner of
// the directory.
func openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return nil, errno.LibC(err)
	}
	if err := check(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func check(f *os.File, path string) error {
	var file, dir syscall.Stat_t
	if err := errors.Join(syscall.Fstat(int(f.Fd()), &file), syscall.Stat(filepath.Dir(path), &dir)); err != nil {
		return err
	}
	if file.Mode&syscall.S_IFMT != syscall.S_IFREG || file.Nlink != 1 {
		return errors.New("not a regular file with one name")
	}
	if os.Geteuid() == 0 && file.Uid != dir.Uid {
		if file.Uid != 0 {
			return fmt.Errorf("owned by user %d, not by the owner of its directory", file.Uid)
		}
		return f.Chown(int(dir.Uid), int(dir.Gid))
	}
	return nil
}

// Lookup returns the value of key.
func (s *store) Lookup(_ context.Context, key string) (value string, found bool, err error) {
	s.mu.Lock()
	c, ok := s.changes[key]
	if !ok {
		c, ok = s.writing[key]
	}
	s.mu.Unlock()
	if ok {
		return c.value, !c.deleted, nil
	}
	err = s.view(func(b *bolt.Bucket) {
		if v := b.Get([]byte(key)); v != nil {
			value, found = string(v), true
		}
	})
	return value, found, err
}

// view reads in a transaction of its own.
func (s *store) view(f func(b *bolt.Bucket)) (err error) {
	defer s.contain(&err)
	return s.db.View(func(tx *bolt.Tx) error {
		f(tx.Bucket(entries))
		return nil
	})
}

// contain makes an error of a panic: a damaged file harms nobody else.
func (s *store) contain(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("cache %s: %w: %v", s.path, errDamaged, r)
	}
}

// Store sets the value of key.
func (s *store) Store(_ context.Context, key, value string) error {
	if key == "" || len(key) > maxKeyLength {
		return fmt.Errorf("cache %s: a key of %d octets", s.path, len(key))
	}
	return s.change(key, change{value: value})
}

// Delete removes key and says whether it was there.
func (s *store) Delete(ctx context.Context, key string) (bool, error) {
	_, found, err := s.Lookup(ctx, key)
	if err != nil || !found {
		return false, err
	}
	return true, s.change(key, change{deleted: true})
}

func (s *store) change(key string, c change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.changes) >= maxPending && s.writing != nil && !s.closed {
		s.flushed.Wait()
	}
	if s.closed {
		return fmt.Errorf("cache %s: %w", s.path, os.ErrClosed)
	}
	s.changes[key] = c
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// write is the goroutine that brings changes to the file.
func (s *store) write() {
	defer close(s.done)
	for range s.wake {
		time.Sleep(writeDelay)
		s.flush()
	}
}

// flush writes the changes that there are in one transaction. Changes that
// cannot be written are lost, with a warning.
func (s *store) flush() {
	s.mu.Lock()
	s.writing, s.changes = s.changes, map[string]change{}
	list := s.writing
	s.mu.Unlock()
	if len(list) > 0 {
		if err := s.commit(list); err != nil {
			s.log("cache %s: %d changes are lost: %v", s.path, len(list), err)
		}
	}
	s.mu.Lock()
	s.writing = nil
	s.flushed.Broadcast()
	s.mu.Unlock()
}

func (s *store) commit(list map[string]change) (err error) {
	defer s.contain(&err)
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(entries)
		for key, c := range list {
			var err error
			if c.deleted {
				err = b.Delete([]byte(key))
			} else {
				err = b.Put([]byte(key), []byte(c.value))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Walk lists the entries by key.
func (s *store) Walk(ctx context.Context, each func(key, value string) error) error {
	from := ""
	for {
		batch, err := s.batch(from, walkBatch)
		if err != nil {
			return err
		}
		for _, e := range batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			value, found, err := s.Lookup(ctx, e.Key) // it may have changed
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			if err := each(e.Key, value); err != nil {
				return err
			}
		}
		if len(batch) < walkBatch {
			return nil
		}
		from = batch[len(batch)-1].Key
	}
}

// Next returns the entry after a key.
func (s *store) Next(ctx context.Context, after string) (key, value string, found bool, err error) {
	for {
		list, err := s.batch(after, 1)
		if err != nil || len(list) == 0 {
			return "", "", false, err
		}
		after = list[0].Key
		if value, found, err = s.Lookup(ctx, after); found || err != nil {
			return after, value, found, err
		}
	}
}

// batch returns up to n entries after from. What is new is not in the file yet
// and is waited for at the beginning.
func (s *store) batch(from string, n int) (list []table.Entry, err error) {
	if from == "" {
		s.settle()
	}
	err = s.view(func(b *bolt.Bucket) {
		c := b.Cursor()
		k, v := c.Seek([]byte(from))
		if from != "" && string(k) == from {
			k, v = c.Next()
		}
		for ; k != nil && len(list) < n; k, v = c.Next() {
			list = append(list, table.Entry{Key: string(k), Value: string(v)})
		}
	})
	return list, err
}

// settle waits until the changes made so far are in the file.
func (s *store) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for (len(s.changes) > 0 || s.writing != nil) && !s.closed {
		s.flushed.Wait()
	}
}

// Close writes what is left and gives the file up.
func (s *store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.wake)
	s.flushed.Broadcast()
	s.mu.Unlock()
	<-s.done
	s.flush()
	return s.db.Close()
}
