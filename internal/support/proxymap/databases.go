package proxymap

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/service"
	"postern/internal/table"
)

// Limits of what is read to find tables.
const (
	maxListFile  = 4 << 20 // a list in a file
	maxTableFile = 1 << 20 // the configuration of a table
	maxNested    = 10      // lists in lists
)

// A finder finds the tables in databases that the configuration names, with or
// without "proxy:". Services leave those to proxymap, so they are approved
// whatever proxy_read_maps says: only root can name them.
type finder struct {
	types map[string]bool // types of databases
	files map[string]bool // lists that were read
	found map[string]bool
}

// databases returns the specs of all tables in databases that main.cf and
// master.cf name.
func databases(e *service.Env) (map[string]bool, error) {
	f := &finder{types: map[string]bool{}, files: map[string]bool{}, found: map[string]bool{}}
	for _, t := range e.Tables.Types() {
		if t.Database {
			f.types[t.Name] = true
		}
	}
	f.parameters(e.Config)
	services, err := mastercf.Load(filepath.Join(e.Common.ConfigDirectory, "master.cf"), mastercf.Options{})
	if errors.Is(err, os.ErrNotExist) {
		return f.found, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		config := e.Config
		for _, o := range s.Overrides {
			config = config.Override(o.Name, o.Value, "master.cf")
		}
		if len(s.Overrides) > 0 {
			f.parameters(config)
		}
	}
	return f.found, nil
}

// parameters looks at every value that is set.
func (f *finder) parameters(c *maincf.Config) {
	set := param.NewSet()
	new(param.Common).Params(set)
	named(set)
	value := set.Settings(c)
	for _, name := range c.Names() {
		if text, ok := value(name); ok {
			f.list(text, 0)
		}
	}
}

// list looks at the items of a list, and into braces and files.
func (f *finder) list(text string, depth int) {
	if depth > maxNested || !strings.ContainsAny(text, ":/") {
		return
	}
	for _, item := range table.Tokens(text) {
		item = bare(strings.TrimLeft(item, "!"))
		for strings.HasPrefix(item, "debug:") {
			item = bare(item[len("debug:"):])
		}
		typeName, _, ok := strings.Cut(item, ":")
		switch brace := strings.IndexByte(item, '{'); {
		case ok && f.types[typeName]:
			f.found[item] = true
		case brace >= 0: // "{ … }", "pipemap:{ … }"
			if inner, err := table.Braced(item[brace:]); err == nil {
				f.list(inner, depth+1)
			}
		case item != "" && item[0] == '/':
			f.file(item, depth)
		}
	}
}

// file looks at a list that stands in a file.
func (f *finder) file(path string, depth int) {
	if f.files[path] {
		return
	}
	f.files[path] = true
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 != 0 || st.Size() > maxListFile {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			f.list(line, depth+1)
		}
	}
}

// preread reads the configuration files of tables while privileges last.
func preread(o *table.Opener, specs map[string]bool) map[string][]byte {
	contents := map[string][]byte{}
	for spec := range specs {
		_, name, err := table.SplitSpec(spec)
		if err != nil || name[0] != '/' && name[0] != '.' {
			continue
		}
		if b, err := o.ReadFile(name, maxTableFile); err == nil {
			contents[name] = b
		}
	}
	return contents
}
