// Package sqlite is the table type sqlite: a query to a database file.
//
// Postfix: sqlite_table(5).
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"syscall"
	"time"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"postern/internal/table"
	"postern/internal/table/database"
	"postern/internal/table/sql"
)

// Type returns the type sqlite.
func Type() table.Type {
	return table.Type{Name: "sqlite", Fold: true, Database: true, Open: open}
}

// maxConns is how many queries run at once: each has an SQLite of its own, with
// its own memory.
const maxConns = 4

// busyTimeout is how long a query waits while another program writes.
const busyTimeout = 5 * time.Second

func open(name string, o *table.Opener) (table.Table, error) {
	c, err := database.Load("sqlite", name, o)
	if err != nil {
		return nil, err
	}
	path := c.Required("dbpath")
	pool := database.NewPool(c.Spec, []database.Host{{Name: path, Local: true}}, o.Logger(), dial)
	pool.Retry = 0 // a file is looked at again by every lookup
	pool.LimitConns(maxConns)
	t, err := sql.New(c, o, sql.Dialect{Backtick: true, Bracket: true}, func() string { return sql.Legacy(c) }, pool)
	if err != nil {
		return nil, err
	}
	// A file that is not there is a mistake of the administrator's that must
	// not wait for the first lookup.
	s, err := dial(context.Background(), path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Spec, err)
	}
	return t, s.Close()
}

// A session is an open database. It ends when another file has its name.
type session struct {
	db       *sqlite3.Conn
	path     string
	dev, ino uint64
}

func dial(ctx context.Context, path string) (sql.Session, error) {
	s := &session{path: path}
	var err error
	if s.dev, s.ino, err = identity(path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	register()
	// Not to be created; opened for reading only where writing is forbidden.
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "vfs=" + vfsName}).String()
	if s.db, err = sqlite3.OpenFlags(name, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if err := s.db.BusyTimeout(busyTimeout); err != nil {
		s.db.Close()
		return nil, err
	}
	return s, nil
}

func identity(path string) (dev, ino uint64, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, 0, err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return 0, 0, errors.New("not a regular file")
	}
	return uint64(st.Dev), st.Ino, nil
}

func (s *session) Close() error    { return s.db.Close() }
func (s *session) Backslash() bool { return false }

// Query runs the statement.
func (s *session) Query(ctx context.Context, statement string, each func(string) error) (err error) {
	if dev, ino, err := identity(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	} else if err == nil && (dev != s.dev || ino != s.ino) {
		return fmt.Errorf("%w: the file was replaced", database.ErrHost)
	}
	s.db.SetInterrupt(ctx)
	for statement != "" {
		stmt, tail, err := s.db.Prepare(statement)
		if err != nil {
			return err
		}
		if stmt != nil {
			if err := errors.Join(rows(stmt, each), stmt.Close()); err != nil {
				return err
			}
			break // Postfix: what follows the first statement is not run
		}
		statement = tail
	}
	return nil
}

// rows takes the first column of each row. Postfix: unlike the other servers'
// tables, this one does not look at the others.
func rows(stmt *sqlite3.Stmt, each func(string) error) error {
	for stmt.Step() {
		if stmt.ColumnType(0) == sqlite3.NULL {
			continue
		}
		if err := each(stmt.ColumnText(0)); err != nil {
			return err
		}
	}
	return stmt.Err()
}
