// Package migration leads the names of Berkeley DB tables, "hash:" and
// "btree:", to tables in another format with the same source: for systems that
// give Berkeley DB up with settings, and other programs, that still name it.
//
// Postfix: 3.11, non_bdb_migration_level and its relatives.
package migration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"postern/internal/config/param"
	"postern/internal/table"
)

// The values of non_bdb_migration_level.
const (
	Disable  = "disable"         // hash and btree are what they say
	Redirect = "enable-redirect" // they are tables of other types
	Reindex  = "enable-reindex"  // and these are built where they are missing
)

// suffixes end the names of the indexed files that can be built.
var suffixes = map[string]string{"cdb": ".cdb", "lmdb": ".lmdb"}

// Legacy says whether a type is one of Berkeley DB.
func Legacy(typ string) bool { return typ == "hash" || typ == "btree" }

// A Mapping says which type takes the place of one of Berkeley DB.
type Mapping struct {
	custom        table.Table // non_bdb_custom_mapping; may be nil
	hash, btree   string      // default_database_type, default_cache_db_type
	known         func(typ string) bool
	customSetting string
}

// New reads the mapping that c asks for; o opens the table of exceptions.
func New(o *table.Opener, c *param.Common) (*Mapping, error) {
	m := &Mapping{hash: c.DefaultDatabaseType, btree: c.DefaultCacheDBType, customSetting: c.NonBDBCustomMapping}
	m.known = func(typ string) bool {
		t, ok := o.Lookup(typ)
		return ok && t.Open != nil
	}
	if c.NonBDBCustomMapping == "" {
		return m, nil
	}
	typ, _, err := table.SplitSpec(c.NonBDBCustomMapping)
	if err == nil && Legacy(typ) {
		err = fmt.Errorf("%q is a table of Berkeley DB itself; use another type", c.NonBDBCustomMapping)
	}
	if err == nil {
		plain := *o
		plain.Redirect = nil
		m.custom, err = plain.With(table.NoProxy).Open(c.NonBDBCustomMapping)
	}
	if err != nil {
		return nil, fmt.Errorf("parameter non_bdb_custom_mapping: %w", err)
	}
	return m, nil
}

// Type returns the type that takes the place of typ for the table name. The
// table of exceptions is asked for "type:name", then for the type.
func (m *Mapping) Type(typ, name string) (string, error) {
	to := m.hash
	from := "default_database_type"
	if typ == "btree" {
		to, from = m.btree, "default_cache_db_type"
	}
	if m.custom != nil {
		for _, key := range []string{typ + ":" + name, typ} {
			value, found, err := m.custom.Lookup(context.Background(), key)
			if err != nil {
				return "", fmt.Errorf("non_bdb_custom_mapping: %w", err)
			}
			if found {
				to, from = value, "non_bdb_custom_mapping"
				break
			}
		}
	}
	switch {
	case Legacy(to):
		return "", fmt.Errorf("%s leads %s:%s to %q, which is of Berkeley DB, too; set it to lmdb or cdb", from, typ, name, to)
	case !m.known(to):
		return "", fmt.Errorf("%s leads %s:%s to the unsupported type %q; set it to lmdb or cdb", from, typ, name, to)
	}
	return to, nil
}

// Suffix ends the names of files of a type that can be built from the source.
func Suffix(typ string) (string, error) {
	if s, ok := suffixes[typ]; ok {
		return s, nil
	}
	return "", fmt.Errorf("tables of type %s are not built from a source", typ)
}

// Check says what is wrong with the settings.
func Check(c *param.Common) error {
	switch c.NonBDBLevel {
	case Disable, Redirect, Reindex:
		return nil
	}
	return fmt.Errorf("parameter non_bdb_migration_level: invalid value %q; need %s, %s or %s", c.NonBDBLevel, Disable, Redirect, Reindex)
}

// Apply has o lead its tables as c says. build, which may be nil, has the table
// typ:path that does not exist yet built in the format that takes its place.
func Apply(o *table.Opener, c *param.Common, build func(typ, path string) error) error {
	if err := Check(c); err != nil || c.NonBDBLevel == Disable {
		return err
	}
	if c.NonBDBLevel == Redirect {
		build = nil
	}
	m, err := New(o, c)
	if err != nil {
		return err
	}
	log := o.Logger()
	o.Redirect = func(typ, name string) (string, error) {
		if !Legacy(typ) {
			return typ, nil
		}
		to, err := m.Type(typ, name)
		if err != nil {
			return "", fmt.Errorf("non-Berkeley-DB migration: %w", err)
		}
		if c.NonBDBLogRedirect {
			log.Infof("redirecting %s:%s to %s:%s", typ, name, to, name)
		}
		if build == nil || !strings.HasPrefix(name, "/") {
			return to, nil
		}
		end, err := Suffix(to)
		if err == nil {
			if _, missing := os.Stat(name + end); errors.Is(missing, fs.ErrNotExist) {
				err = build(typ, name)
			}
		}
		if err != nil {
			return "", fmt.Errorf("non-Berkeley-DB migration: %w", err)
		}
		return to, nil
	}
	return nil
}
