// Package sql is tables that are a query to an SQL database: mysql, pgsql and
// sqlite, each in a folder below.
//
// A query is a template; what replaces %s and its like comes from the network.
// How it is made safe depends on where in the statement it stands, which is
// found out when the table is opened: between quotes the quotes are doubled
// (and backslashes, where the session takes them for escapes), outside quotes
// only numbers pass, and in a comment an expansion is refused.
package sql

import (
	"context"
	"io"

	"postern/internal/table"
	"postern/internal/table/database"
)

// A Session is a connection to a server.
type Session interface {
	io.Closer
	// Backslash says whether a backslash in a quoted text is an escape now.
	Backslash() bool
	// Query calls each with every value, row by row.
	Query(ctx context.Context, statement string, each func(value string) error) error
}

// A Table is a query.
type Table struct {
	*database.Common
	pool *database.Pool[Session]
	// statements are the query without and with backslashes as escapes.
	statements [2]*statement
}

// New reads the query and what is common, and returns the table. legacy is the
// text of the query where the parameter query is not set.
func New(c *database.Config, o *table.Opener, d Dialect, legacy func() string, pool *database.Pool[Session]) (*Table, error) {
	text := ""
	if c.Has("query") {
		text = c.Str("query", "")
	} else {
		text = legacy()
	}
	template, err := database.ParseTemplate("query", text)
	if err != nil {
		c.Failf("%w", err)
		return nil, c.Err()
	}
	t := &Table{pool: pool, Common: database.NewCommon(c, o, template)}
	for i := range t.statements {
		if t.statements[i], err = newStatement(template, d, i == 1); err != nil {
			c.Failf("%w", err)
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Legacy builds the query from the parameters that were there before the
// parameter query.
func Legacy(c *database.Config) string {
	return "SELECT " + c.Required("select_field") + " FROM " + c.Required("table") +
		" WHERE " + c.Required("where_field") + " = '%s' " + c.Str("additional_conditions", "")
}

// Lookup asks a server. Any failure is temporary.
func (t *Table) Lookup(ctx context.Context, key string) (string, bool, error) {
	address, err := t.Eligible(ctx, key)
	if address == nil || err != nil {
		return "", false, err
	}
	if t.statements[0].template.Text == "" {
		t.Log.Warningf("table \"%s\": empty query string -- ignored", t.Spec)
		return "", false, nil
	}
	var answer *database.Answer
	err = t.pool.Do(ctx, func(ctx context.Context, s Session) error {
		statement := t.statements[0]
		if s.Backslash() {
			statement = t.statements[1]
		}
		text, err := statement.text(address)
		if err != nil {
			return err
		}
		answer = t.Answer(address)
		return s.Query(ctx, text, answer.Add)
	})
	if err != nil {
		return "", false, err
	}
	value, found := answer.Value()
	return value, found, nil
}

// Close closes the connections.
func (t *Table) Close() error { return t.pool.Close() }
