// Package pgsql is the table type pgsql: a query to a PostgreSQL server.
//
// Postfix: pgsql_table(5).
package pgsql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/table"
	"postern/internal/table/database"
	"postern/internal/table/sql"
)

// Type returns the type pgsql.
func Type() table.Type {
	return table.Type{Name: "pgsql", Fold: true, Database: true, Open: open}
}

// unsafeEncodings have characters whose second octet is a quote or a backslash
// of ASCII, so that quoting octet by octet would not hold.
var unsafeEncodings = []string{"BIG5", "GB18030", "GBK", "JOHAB", "SHIFT_JIS_2004", "SJIS", "UHC", "SHIFTJIS", "MSKANJI", "WIN936", "WIN949", "WIN950", "WIN932", "WINDOWS936", "WINDOWS949", "WINDOWS950", "WINDOWS932"}

// client is what all connections of a table are made with.
type client struct {
	user, password, dbname, encoding string
}

func open(name string, o *table.Opener) (table.Table, error) {
	c, err := database.Load("pgsql", name, o)
	if err != nil {
		return nil, err
	}
	m := &client{user: c.Str("user", ""), password: c.Str("password", ""), encoding: strings.ToUpper(c.Str("encoding", "UTF8"))}
	if slices.Contains(unsafeEncodings, m.encoding) {
		c.Failf("encoding = %s: keys cannot be quoted safely in it; use UTF8, the server converts", m.encoding)
	}
	hosts := c.List("hosts", "localhost")
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	if m.dbname = c.Str("dbname", ""); m.dbname == "" && !slices.ContainsFunc(hosts, isURI) {
		c.Required("dbname")
	}
	var list []database.Host
	for _, h := range hosts {
		if _, err := m.parse(h); err != nil {
			c.Failf("hosts: %w", err)
		}
		list = append(list, database.Host{Name: h}) // Postfix: sockets are not tried first
	}
	pool := database.NewPool(c.Spec, list, o.Logger(), m.dial)
	pool.Retry, pool.Idle = c.Seconds("retry_interval", 60, 1), c.Seconds("idle_interval", 60, 1)
	legacy := func() string {
		if f := c.Str("select_function", ""); f != "" {
			return "SELECT " + f + "('%s')"
		}
		return sql.Legacy(c)
	}
	return sql.New(c, o, sql.Dialect{Dollar: true, EscapeMarks: true}, legacy, pool)
}

func isURI(host string) bool {
	return strings.HasPrefix(host, "postgresql://") || strings.HasPrefix(host, "postgres://")
}

// parse makes the configuration for one host: a URI, "unix:/directory",
// "inet:host:port", "host:port", "host".
func (m *client) parse(host string) (*pgconn.Config, error) {
	if isURI(host) {
		c, err := pgconn.ParseConfig(host)
		if err != nil {
			return nil, err // it hides the password
		}
		return m.finish(c), nil
	}
	settings := map[string]string{"connect_timeout": "10"}
	if dir, ok := strings.CutPrefix(host, "unix:"); ok {
		if dir == "" {
			return nil, fmt.Errorf("%q has no path", host)
		}
		settings["host"] = dir
	} else {
		name, port, err := database.HostPort(strings.TrimPrefix(host, "inet:"), "5432")
		if err != nil {
			return nil, fmt.Errorf("%q: %w", host, err)
		}
		settings["host"], settings["port"] = name, port
	}
	for name, value := range map[string]string{"user": m.user, "password": m.password, "dbname": m.dbname} {
		if value != "" {
			settings[name] = value
		}
	}
	var b strings.Builder
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s='%s' ", name, quote.Replace(settings[name]))
	}
	c, err := pgconn.ParseConfig(b.String())
	if err != nil {
		return nil, fmt.Errorf("%q: not a valid setting of hosts, user, password or dbname", host) // err would show the password
	}
	return m.finish(c), nil
}

func (m *client) finish(c *pgconn.Config) *pgconn.Config {
	c.RuntimeParams["client_encoding"] = m.encoding
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "postfix"
	}
	c.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return c
}

func (m *client) dial(ctx context.Context, host string) (sql.Session, error) {
	config, err := m.parse(host)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &session{conn}, nil
}

type session struct{ conn *pgconn.PgConn }

// closeTimeout bounds the farewell.
const closeTimeout = time.Second

func (s *session) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.conn.Close(ctx)
}

// Backslash is what the server says of the session, whenever it changes.
func (s *session) Backslash() bool {
	return s.conn.ParameterStatus("standard_conforming_strings") != "on"
}

// Query runs a statement; an error that says that the connection or the server
// is of no use becomes an ErrHost.
func (s *session) Query(ctx context.Context, statement string, each func(string) error) error {
	err := s.query(ctx, statement, each)
	var refused *pgconn.PgError
	var network net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		// SQLSTATE: 08 connection, 53 resources, 57 operator intervention, 58 system.
		if slices.Contains([]string{"08", "53", "57", "58"}, refused.Code[:min(2, len(refused.Code))]) {
			return fmt.Errorf("%w: %w", database.ErrHost, err)
		}
		return err
	case s.conn.IsClosed(), errors.As(err, &network):
		return fmt.Errorf("%w: %w", database.ErrHost, err)
	}
	return err
}

func (s *session) query(ctx context.Context, statement string, each func(string) error) error {
	results := s.conn.Exec(ctx, statement)
	any := false
	var failed error
	for failed == nil && results.NextResult() {
		rows := results.ResultReader()
		if any = any || len(rows.FieldDescriptions()) > 0; len(rows.FieldDescriptions()) == 0 {
			continue
		}
		for failed == nil && rows.NextRow() {
			for _, value := range rows.Values() {
				// Postfix: NULL is an empty text here, which is skipped with a warning.
				if failed = each(string(value)); failed != nil {
					break
				}
			}
		}
	}
	if failed != nil {
		s.conn.Conn().Close() // the rest of the answer is of no interest
		return failed
	}
	if err := results.Close(); err != nil {
		return err
	}
	if !any {
		return errors.New("query returned no result set")
	}
	return nil
}
