// Package table is what every lookup table is: a key goes in, and one of three
// outcomes comes out.
//
// A table is named "type:name" wherever the configuration accepts one. The
// types are an explicit list that a program hands to an Opener; each family of
// types has a folder below this one.
package table

import (
	"context"
	"errors"
)

// A Table answers lookups. A temporary failure is an error; it never means
// that the key is absent. Lookup may be called from several goroutines.
type Table interface {
	// Lookup returns the value of key and whether there is one.
	Lookup(ctx context.Context, key string) (value string, found bool, err error)
	Close() error
}

// Keys says what kind of keys a table takes.
type Keys int

const (
	Fixed   Keys = iota // indexed: the key is folded to lower case, partial keys are tried
	Pattern             // regexp, pcre, cidr: only the whole, unmodified key
)

// A Keyed table says what keys it takes; one that does not is Fixed.
type Keyed interface {
	Keys() Keys
}

// A Walker lists all entries (postmap -s), in an order of the table's own.
type Walker interface {
	Walk(ctx context.Context, each func(key, value string) error) error
}

// ErrNoWalk is the error of Walk where the table in a file has no list.
var ErrNoWalk = errors.New("sequence operation is not supported")

// A Counter says how many entries, or rules, it has.
type Counter interface {
	Entries() int
}

// A Writer is a table that can be changed in place.
type Writer interface {
	Store(ctx context.Context, key, value string) error
	Delete(ctx context.Context, key string) (found bool, err error)
}

// A Type is a kind of table: "cidr", "hash", …
type Type struct {
	Name string
	Fold bool // keys are folded to lower case before they reach the table
	// Database: lookups ask a database. Services leave them to proxymap, so that
	// connections are shared and no password is in a process that faces the network.
	Database bool
	Open     func(name string, o *Opener) (Table, error)
	Create   func(name string, o *Opener) (Builder, error) // postmap: build a new table; nil: it has no built form
	Change   func(name string, o *Opener) (Changer, error) // postmap -i, -d: change an existing one; nil: it cannot be changed
	Cache    func(name string, o *Opener) (Cache, error)   // a table that a service changes while it runs; nil: it cannot be one
}

// A Cache is a table that a service changes while it runs and that may be lost:
// what verify and postscreen remember. Lookups see what was stored before them.
//
// Nothing expires by itself: the caller walks the cache now and then and
// deletes what is too old. Walk does not see a moment frozen: entries that come
// or go meanwhile may be listed or not. each may call any method.
type Cache interface {
	Table
	Writer // Store replaces
	Walker
}

// A Sequencer lists entries one by one for a caller that keeps the place: the
// entry after a key, in the table's order; "" is before the first.
type Sequencer interface {
	Next(ctx context.Context, after string) (key, value string, found bool, err error)
}

// A Changer is a table opened for reading, changing and walking.
type Changer interface {
	Table
	Writer
	Walker
	Commit() error // write, sync, and put in place; before Close
}
