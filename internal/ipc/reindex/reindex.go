// Package reindex is how the service nbdb_reindexd is asked to build a table
// that takes the place of one of Berkeley DB.
package reindex

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
)

// Protocol is what the service announces.
const Protocol = "nbdb_reindex"

// How long a table may take, and how often it is asked for (Postfix).
const (
	timeout  = 30 * time.Second
	maxTries = 2
	delay    = time.Second
)

// A Request names a table of Berkeley DB.
type Request struct {
	Type string // hash or btree
	Path string // of the source
}

// Attrs are "type" and "path".
func (r *Request) Attrs(c *attr.Codec) {
	c.Str("type", &r.Type)
	c.Str("path", &r.Path)
	c.End()
}

// A Reply says whether the table is there now.
type Reply struct {
	Status int    // 0: it is
	Why    string // else why not
}

// Attrs are "status" and "why".
func (r *Reply) Attrs(c *attr.Codec) {
	c.Int("status", &r.Status)
	c.Str("why", &r.Why)
	c.End()
}

// Builder returns a function that asks the service called name below the queue
// directory dir, "" for the working directory.
func Builder(dir, name string) func(typ, path string) error {
	ep := endpoint.New(dir, "private", name, Protocol, endpoint.Times{Timeout: timeout})
	return func(typ, path string) error {
		var err error
		for try := 1; ; try++ {
			var reply Reply
			err = ep.Call(context.Background(), &Request{Type: typ, Path: path}, &reply)
			if err == nil && reply.Status != 0 {
				return errors.New(reply.Why)
			}
			if err == nil || try == maxTries {
				break
			}
			time.Sleep(delay)
		}
		if err != nil {
			return fmt.Errorf("build a table in the place of %s:%s: ask service %s: %w", typ, path, name, err)
		}
		return nil
	}
}
