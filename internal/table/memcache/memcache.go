// Package memcache is the table type memcache: a memcached server, before a
// table of another type if there is one (backup).
//
// The server may forget everything at any time. What is found in the backup is
// told to the server; what a service stores goes to both; only the backup can
// be listed.
//
// Postfix: memcache_table(5).
package memcache

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/internal/table"
	"postern/internal/table/database"
	"postern/internal/table/matchlist"
)

// Type returns the type memcache.
func Type() table.Type {
	return table.Type{
		Name: "memcache",
		Fold: true,
		Open: func(name string, o *table.Opener) (table.Table, error) {
			if o.Flags&table.NoUnauth != 0 {
				return nil, fmt.Errorf("memcache:%s map is not allowed for security-sensitive data", name)
			}
			m, backup, err := open(name, o)
			if err != nil || backup == "" {
				return m, err
			}
			if !strings.HasPrefix(backup, "proxy:") {
				o = o.With(o.Flags | table.NoProxy)
			}
			if m.backup, err = o.Open(backup); err != nil {
				return nil, err
			}
			return m, nil
		},
		Cache: openCache,
		Change: func(name string, o *table.Opener) (table.Changer, error) {
			c, err := openCache(name, o)
			return change{c}, err
		},
	}
}

func openCache(name string, o *table.Opener) (table.Cache, error) {
	m, backup, err := open(name, o)
	if err != nil {
		return nil, err
	}
	if backup != "" {
		if m.store, err = o.OpenCache(backup); err != nil {
			return nil, err
		}
		m.backup = m.store
	}
	return m, nil
}

// change is a cache that postmap changes; nothing is left to commit.
type change struct{ table.Cache }

func (change) Commit() error { return nil }

// A memcache is an open table.
type memcache struct {
	*server
	spec    string
	log     table.Logger
	format  *database.Template // key_format
	digest  func([]byte) []byte
	domains *matchlist.List
	flags   int
	ttl     int

	backup table.Table // nil: none
	store  table.Cache // the same, where it can be changed
}

// maxKey is the longest key of a memcached server.
const maxKey = 250

func open(name string, o *table.Opener) (m *memcache, backup string, err error) {
	c, err := database.Load("memcache", name, o)
	if err != nil {
		return nil, "", err
	}
	m = &memcache{spec: c.Spec, log: o.Logger(), flags: c.Int("flags", 0, 0), ttl: c.Int("ttl", 3600, 0)}
	m.server = &server{
		tries:     c.Int("max_try", 2, 1),
		pause:     c.Seconds("retry_pause", 1, 1),
		timeout:   c.Seconds("timeout", 2, 1),
		lineLimit: c.Int("line_size_limit", 1024, 1),
		dataLimit: c.Int("data_size_limit", 10240, 1),
	}
	if m.format, err = database.ParseTemplate("key_format", c.Str("key_format", "%s")); err != nil {
		c.Failf("%w", err)
	}
	if m.network, m.addr, err = address(c.Str("memcache", "inet:localhost:11211")); err != nil {
		c.Failf("memcache: %w", err)
	}
	if m.digest, err = digest(c.Str("key_digest", "")); err != nil {
		c.Failf("%w", err)
	}
	m.domains = database.Domains(c, o)
	return m, c.Str("backup", ""), c.Err()
}

// address takes "inet:host:port" or "unix:path" apart.
func address(text string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok && path != "" {
		return "unix", path, nil
	}
	place, ok := strings.CutPrefix(text, "inet:")
	if !ok {
		return "", "", fmt.Errorf("%q: use inet:host:port or unix:path", text)
	}
	host, port, err := database.HostPort(place, "11211")
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", text, err)
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// digest returns what key_digest names; nil for none.
func digest(name string) (func([]byte) []byte, error) {
	switch strings.ToLower(strings.ReplaceAll(name, "-", "")) {
	case "":
		return nil, nil
	case "md5":
		return func(b []byte) []byte { s := md5.Sum(b); return s[:] }, nil
	case "sha1":
		return func(b []byte) []byte { s := sha1.Sum(b); return s[:] }, nil
	case "sha256":
		return func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }, nil
	case "sha512":
		return func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }, nil
	}
	return nil, fmt.Errorf("key_digest = %s: use md5, sha1, sha256 or sha512", name)
}

// serverKey returns the key that the server has for key; why says why there is
// none.
func (m *memcache) serverKey(ctx context.Context, key string) (name, why string, err error) {
	a := database.SplitAddress(key)
	switch ok, err := database.InDomains(ctx, m.domains, a); {
	case err != nil:
		return "", "", fmt.Errorf("%s: %w", m.spec, err)
	case !ok:
		return "", "its domain does not match", nil
	case key == "" || !m.format.FitsKey(a):
		return "", "it does not fit key_format", nil
	}
	name = m.format.Expand(a, nil)
	if m.digest != nil {
		return hex.EncodeToString(m.digest([]byte(name))), "", nil
	}
	// A space or a line end would make the key another command's argument.
	if name == "" || len(name) > maxKey || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", "the server takes 1 to 250 octets without white space", nil
	}
	return name, "", nil
}

// Lookup asks the server, then the backup.
func (m *memcache) Lookup(ctx context.Context, key string) (string, bool, error) {
	name, why, err := m.serverKey(ctx, key)
	if err != nil || why != "" {
		return "", false, err
	}
	value, found, err := m.get(ctx, name)
	if found {
		return value, true, nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", m.spec, err)
		if m.backup == nil {
			return "", false, err
		}
		m.log.Warningf("%v", err)
	}
	if m.backup == nil {
		return "", false, nil
	}
	value, found, backupErr := m.backup.Lookup(ctx, key)
	if backupErr != nil || !found {
		return "", false, backupErr
	}
	if err == nil {
		m.tell(ctx, name, value)
	}
	return value, true, nil
}

// tell stores a value in the server where the backup has it, so that a failure
// is a warning.
func (m *memcache) tell(ctx context.Context, name, value string) {
	if err := m.set(ctx, name, value, m.flags, m.ttl); err != nil {
		m.log.Warningf("%s: %v", m.spec, err)
	}
}

// Store sets the value of key in the backup and the server.
func (m *memcache) Store(ctx context.Context, key, value string) error {
	name, why, err := m.serverKey(ctx, key)
	if err != nil {
		return err
	}
	if why != "" {
		m.log.Warningf("%s: key \"%s\" is not stored: %s", m.spec, key, why)
		return nil
	}
	if m.store == nil {
		if err := m.set(ctx, name, value, m.flags, m.ttl); err != nil {
			return fmt.Errorf("%s: %w", m.spec, err)
		}
		return nil
	}
	if err := m.store.Store(ctx, key, value); err != nil {
		return err
	}
	m.tell(ctx, name, value)
	return nil
}

// Delete removes key from the backup and the server.
func (m *memcache) Delete(ctx context.Context, key string) (bool, error) {
	name, why, err := m.serverKey(ctx, key)
	if err != nil || why != "" {
		return false, err
	}
	found, err := m.remove(ctx, name)
	if m.store == nil {
		if err != nil {
			return false, fmt.Errorf("%s: %w", m.spec, err)
		}
		return found, nil
	}
	if err != nil {
		m.log.Warningf("%s: %v", m.spec, err)
	}
	return m.store.Delete(ctx, key)
}

var errNoBackup = errors.New("sequence operation is not supported without a backup table")

// Walk lists the backup.
func (m *memcache) Walk(ctx context.Context, each func(key, value string) error) error {
	if m.store == nil {
		return fmt.Errorf("%s: %w", m.spec, errNoBackup)
	}
	return m.store.Walk(ctx, each)
}

// Next lists the backup.
func (m *memcache) Next(ctx context.Context, after string) (key, value string, found bool, err error) {
	next, ok := m.store.(table.Sequencer)
	if !ok {
		return "", "", false, fmt.Errorf("%s: %w", m.spec, errNoBackup)
	}
	return next.Next(ctx, after)
}

// Close closes the connections, and a backup of its own.
func (m *memcache) Close() error {
	m.closeIdle(time.Time{})
	if m.store != nil {
		return m.store.Close()
	}
	return nil
}
