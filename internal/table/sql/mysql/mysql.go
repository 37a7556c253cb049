// Package mysql is the table type mysql: a query to a MySQL or MariaDB server.
//
// Postfix: mysql_table(5).
package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"

	"postern/internal/table"
	"postern/internal/table/database"
	"postern/internal/table/sql"
)

// Type returns the type mysql.
func Type() table.Type {
	return table.Type{Name: "mysql", Fold: true, Database: true, Open: open}
}

// client is what all connections of a table are made with.
type client struct {
	config           *mysqldriver.Config
	tls              database.TLS
	port             string
	socket           string // for localhost; "": wherever servers have it
	requireResultSet bool
}

// unsafeCharsets have characters whose second octet is a quote or a backslash
// of ASCII, so that quoting octet by octet would not hold.
var unsafeCharsets = []string{"big5", "cp932", "gb18030", "gbk", "sjis", "ucs2", "utf16", "utf16le", "utf32"}

func open(name string, o *table.Opener) (table.Table, error) {
	c, err := database.Load("mysql", name, o)
	if err != nil {
		return nil, err
	}
	m := &client{config: mysqldriver.NewConfig(), port: "3306"}
	m.read(c)
	hosts := c.List("hosts", "localhost")
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	var list []database.Host
	for _, h := range hosts {
		network, _, err := m.address(h)
		if err != nil {
			c.Failf("%w", err)
		}
		list = append(list, database.Host{Name: h, Local: network == "unix"})
	}
	pool := database.NewPool(c.Spec, list, o.Logger(), m.dial)
	pool.Retry, pool.Idle = c.Seconds("retry_interval", 60, 1), c.Seconds("idle_interval", 60, 1)
	d := sql.Dialect{Backtick: true, Hash: true, DashBlank: true}
	return sql.New(c, o, d, func() string { return sql.Legacy(c) }, pool)
}

// read reads the parameters of connections.
func (m *client) read(c *database.Config) {
	charset := strings.ToLower(c.Str("charset", "utf8mb4"))
	if group := c.Str("option_group", "client"); group != "" || c.Has("option_file") {
		options, err := readOptions(c.Str("option_file", ""), group)
		if err != nil {
			c.Failf("%w", err)
		}
		m.apply(options)
		if value := options["default-character-set"]; value != "" && !c.Has("charset") {
			charset = strings.ToLower(value)
		}
	}
	if slices.Contains(unsafeCharsets, charset) {
		c.Failf("charset = %s: keys cannot be quoted safely in it; use utf8mb4, the server converts", charset)
	}
	if strings.Trim(charset, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		c.Failf("charset = %q: not a name", charset)
	}
	if user := c.Str("user", ""); user != "" {
		m.config.User = user
	}
	if c.Has("password") {
		m.config.Passwd = c.Str("password", "")
	}
	if db := c.Str("dbname", ""); db != "" {
		m.config.DBName = db
	}
	for name, p := range map[string]*string{
		"tls_cert_file": &m.tls.Cert, "tls_key_file": &m.tls.Key, "tls_CAfile": &m.tls.CAFile, "tls_CApath": &m.tls.CAPath,
	} {
		if value := c.Str(name, ""); value != "" {
			*p = value
		}
	}
	m.tls.Ciphers = append(m.tls.Ciphers, strings.FieldsFunc(c.Str("tls_ciphers", ""), func(r rune) bool { return r == ':' || r == ',' || r == ' ' })...)
	m.tls.VerifyName = c.Bool("tls_verify_cert", m.tls.VerifyName)
	m.tls.VerifyChain = m.tls.CAFile != "" || m.tls.CAPath != ""
	m.requireResultSet = c.Bool("require_result_set", true)
	m.config.Logger = &mysqldriver.NopLogger{}
	if err := m.config.Apply(mysqldriver.Charset(charset, "")); err != nil {
		c.Failf("%w", err)
	}
}

// address returns the network and the address of a host as configured:
// "unix:/path", "inet:host:port", "host:port", "host".
func (m *client) address(host string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(host, "unix:"); ok {
		if path == "" {
			return "", "", fmt.Errorf("hosts: %q has no path", host)
		}
		return "unix", path, nil
	}
	name := strings.TrimPrefix(host, "inet:")
	name, port, err := database.HostPort(name, m.port)
	if err != nil {
		return "", "", fmt.Errorf("hosts: %q: %w", host, err)
	}
	if name == "localhost" {
		return "unix", m.localSocket(), nil
	}
	return "tcp", net.JoinHostPort(name, port), nil
}

// localSocket returns where the server of this machine listens.
func (m *client) localSocket() string {
	if m.socket != "" {
		return m.socket
	}
	places := []string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}
	for _, path := range places {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return places[0]
}

func (m *client) dial(ctx context.Context, host string) (sql.Session, error) {
	network, addr, err := m.address(host)
	if err != nil {
		return nil, err
	}
	config := m.config.Clone()
	config.Net, config.Addr = network, addr
	switch name, _, _ := net.SplitHostPort(addr); {
	case m.tls.Any():
		if config.TLS, err = m.tls.Config(name); err != nil {
			return nil, err
		}
	case network == "tcp":
		config.TLSConfig = "preferred" // as clients do since MySQL 5.7
	}
	connector, err := mysqldriver.NewConnector(config)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, require: m.requireResultSet}
	// How a quoted text is read is fixed for the session, as the statements of
	// a table do not set it.
	err = s.query(ctx, "SELECT @@SESSION.sql_mode", func(mode string) error {
		s.backslash = !slices.Contains(strings.Split(mode, ","), "NO_BACKSLASH_ESCAPES")
		return nil
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

type session struct {
	conn      driver.Conn
	require   bool // require_result_set
	backslash bool
}

func (s *session) Close() error    { return s.conn.Close() }
func (s *session) Backslash() bool { return s.backslash }

// Query runs a statement; an error that says that the connection or the server
// is of no use becomes an ErrHost.
func (s *session) Query(ctx context.Context, statement string, each func(string) error) error {
	var refused *mysqldriver.MySQLError
	switch err := s.query(ctx, statement, each); {
	case errors.As(err, &refused) && serverIsFine(refused.Number):
		return err
	case errors.As(err, &refused), errors.Is(err, driver.ErrBadConn), errors.Is(err, mysqldriver.ErrInvalidConn), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", database.ErrHost, err)
	default:
		var network net.Error
		if errors.As(err, &network) {
			return fmt.Errorf("%w: %w", database.ErrHost, err)
		}
		return err
	}
}

// serverIsFine says whether an error is about the statement: not one of too
// many connections, shutdown, no memory, aborted, read-only replica.
func serverIsFine(number uint16) bool {
	return !slices.Contains([]uint16{1037, 1038, 1040, 1041, 1053, 1079, 1129, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927, 3169}, number)
}

func (s *session) query(ctx context.Context, statement string, each func(string) error) error {
	rows, err := s.conn.(driver.QueryerContext).QueryContext(ctx, statement, nil)
	if err != nil {
		return err
	}
	err = s.read(rows, each)
	return errors.Join(err, rows.Close())
}

func (s *session) read(rows driver.Rows, each func(string) error) error {
	columns := len(rows.Columns())
	if columns == 0 {
		if s.require {
			return errors.New("query returned no result set (require_result_set = yes)")
		}
		return nil
	}
	row := make([]driver.Value, columns)
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, v := range row {
			if text, ok := asText(v); ok {
				if err := each(text); err != nil {
					return err
				}
			}
		}
	}
	if more, ok := rows.(driver.RowsNextResultSet); ok && more.HasNextResultSet() {
		if err := more.NextResultSet(); err == nil && len(rows.Columns()) > 0 {
			return errors.New("query returned multiple result sets")
		}
	}
	return nil
}

// asText returns a value as the server wrote it; NULL is none.
func asText(v driver.Value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case []byte:
		return string(v), true
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return fmt.Sprint(v), true
}
