// Package database is what the tables that live in a database have in common:
// their configuration, templates with %-expansions, which keys are looked up
// at all, how results become one value, and the hosts and connections of a
// server.
//
// A table is named "type:/path/file", a file in the form of main.cf, or
// "type:name" in the old form whose parameters stand in main.cf as
// "name_parameter".
package database

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/config/maincf"
	"postern/internal/table"
)

// maxConfig is the largest configuration file of a table, in octets.
const maxConfig = 1 << 20

// A Config is the parameters of one table. The first mistake is kept for Err,
// so that parameters are read one after the other without a check each.
type Config struct {
	Spec string // "mysql:/etc/postfix/aliases.cf"

	lookup func(name string) (value, where string, ok bool)
	err    error
}

// Load reads the parameters of the table typeName:name.
func Load(typeName, name string, o *table.Opener) (*Config, error) {
	c := &Config{Spec: typeName + ":" + name}
	if name[0] != '/' && name[0] != '.' {
		c.lookup = func(member string) (string, string, bool) {
			full := name + "_" + member
			if o.Setting == nil {
				return "", "", false
			}
			value, ok := o.Setting(full)
			return value, "main.cf: " + full, ok
		}
		return c, nil
	}
	text, err := o.ReadFile(name, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Spec, err)
	}
	file, err := maincf.Read(bytes.NewReader(text), name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Spec, err)
	}
	for _, w := range file.Warnings() {
		o.Warningf("%s", w)
	}
	c.lookup = file.Lookup
	return c, nil
}

// fail keeps the first mistake.
func (c *Config) fail(where, format string, args ...any) {
	if c.err != nil {
		return
	}
	c.err = fmt.Errorf(format, args...)
	if where != "" {
		c.err = fmt.Errorf("%s: %w", where, c.err)
	}
}

// Failf says that the configuration is wrong.
func (c *Config) Failf(format string, args ...any) { c.fail("", format, args...) }

// Err returns the first mistake.
func (c *Config) Err() error {
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.Spec, c.err)
}

// Has says whether a parameter is set.
func (c *Config) Has(name string) bool {
	_, _, ok := c.lookup(name)
	return ok
}

// Str returns a text, as it stands in the file.
func (c *Config) Str(name, def string) string {
	if value, _, ok := c.lookup(name); ok {
		return value
	}
	return def
}

// Required is Str for a parameter that must not be empty.
func (c *Config) Required(name string) string {
	value, where, _ := c.lookup(name)
	if value == "" {
		c.fail(where, "parameter %s must be set", name)
	}
	return value
}

// Int returns a whole number that is at least min.
func (c *Config) Int(name string, def, min int) int {
	value, where, ok := c.lookup(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(value)
	switch {
	case err != nil:
		c.fail(where, "bad numerical configuration: %s = %s", name, value)
	case n < min:
		c.fail(where, "invalid %s: %d: must be at least %d", name, n, min)
	}
	return n
}

// Seconds returns a time that is given as a number of seconds.
func (c *Config) Seconds(name string, def, min int) time.Duration {
	return time.Duration(c.Int(name, def, min)) * time.Second
}

// Bool returns a yes or no.
func (c *Config) Bool(name string, def bool) bool {
	value, where, ok := c.lookup(name)
	switch {
	case !ok:
		return def
	case strings.EqualFold(value, "yes"):
		return true
	case !strings.EqualFold(value, "no"):
		c.fail(where, "bad boolean configuration: %s = %s; use yes or no", name, value)
	}
	return false
}

// File returns a path whose file can be read now, so that a wrong path is told
// when the table is opened; "" when it is not set.
func (c *Config) File(name string) string {
	path := c.Str(name, "")
	if path == "" {
		return ""
	}
	if f, err := os.Open(path); err != nil {
		_, where, _ := c.lookup(name)
		c.fail(where, "%s: %w", name, err)
	} else {
		f.Close()
	}
	return path
}

// List returns the items of a list.
func (c *Config) List(name, def string) []string {
	return strings.FieldsFunc(c.Str(name, def), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// errLimit is kept apart so that callers can tell an answer that is too large.
var errLimit = errors.New("expansion limit exceeded")
