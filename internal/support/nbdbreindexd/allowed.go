package nbdbreindexd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/table/source"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// allowed returns who owns the Berkeley DB file of the table with the source
// path, if all that the safety of a request hangs on is as it has to be.
func (s *Server) allowed(path string) (sys.Owner, error) {
	st, err := os.Stat(path + ".db")
	if err != nil {
		return sys.Owner{}, err
	}
	if !st.Mode().IsRegular() {
		return sys.Owner{}, fmt.Errorf("%s.db is not a regular file", path)
	}
	id := st.Sys().(*syscall.Stat_t)
	owner := sys.Owner{UID: int(id.Uid), GID: int(id.Gid)}
	for _, name := range []string{path, filepath.Dir(path)} {
		if err := safe(name, name == path, owner.UID); err != nil {
			return owner, err
		}
	}
	list, title := s.UserPrefixes, userPrefixes
	if owner.UID == 0 {
		list, title = s.RootPrefixes, rootPrefixes
	}
	if !below(path, list) {
		return owner, fmt.Errorf("table %s is in no directory that %s trusts (%q); if it may be built as uid %d, append %s there", path, title, list, owner.UID, filepath.Dir(path))
	}
	return owner, nil
}

// safe says whether only uid and root can change what is called name.
func safe(name string, regular bool, uid int) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if regular && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	owner := int(st.Sys().(*syscall.Stat_t).Uid)
	switch {
	case owner != 0 && owner != uid:
		return fmt.Errorf("%s belongs to uid %d, but the table's .db file to uid %d; make one user own both", name, owner, uid)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by group or others; run: chmod go-w %s", name, name)
	}
	return nil
}

// below says whether path is in one of the directories of list, or below.
func below(path, list string) bool {
	for _, prefix := range param.Split(list) {
		prefix = strings.TrimRight(prefix, "/")
		if prefix != "" && strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return false
}

// maxEntries is how much of a source is looked at.
const maxEntries = 1000

// commandFor tells aliases from other tables by the source: each key of aliases
// ends with a colon.
func commandFor(o sys.Owner, path string) (command string, err error) {
	var f *os.File
	err = sys.As(o, func() error {
		f, err = os.Open(path)
		return err
	})
	if err != nil {
		return "", err
	}
	defer f.Close()
	return sniff(f, path)
}

func sniff(in io.Reader, path string) (command string, err error) {
	seen := make(map[form]bool)
	r := source.NewReader(in)
	for range maxEntries {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		seen[formOf(line.Text)] = true
	}
	switch {
	case seen[alias] && seen[other]:
		return "", fmt.Errorf("%s looks like aliases in some of its lines and not in others", path)
	case seen[unclear] && !seen[alias] && !seen[other]:
		return "", fmt.Errorf("%s may be aliases or not", path)
	case seen[alias]:
		return "postalias", nil
	}
	return "postmap", nil
}

// A form is what a line of a source can be.
type form int

const (
	other   form = iota
	alias        // its key ends with a colon
	unclear      // the first word has a colon in it
)

// formOf looks at the first word, which may be quoted.
func formOf(text string) form {
	quoted, colon := false, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ' ' || c == '\t':
			if i > 0 && text[i-1] == ':' || strings.HasPrefix(strings.TrimLeft(text[i:], " \t"), ":") {
				return alias
			}
			if colon {
				return unclear
			}
			return other
		case c == ':':
			colon = true
		}
	}
	switch {
	case strings.HasSuffix(text, ":"):
		return alias
	case colon:
		return unclear
	}
	return other
}
