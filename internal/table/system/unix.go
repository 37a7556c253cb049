package system

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/internal/table"
)

// A userDatabase answers from a file of colon-separated lines whose first
// field is the key: /etc/passwd, /etc/group.
type userDatabase struct{ path string }

func openUnix(name string, o *table.Opener) (table.Table, error) {
	switch name {
	case "passwd.byname":
		return userDatabase{"/etc/passwd"}, nil
	case "group.byname":
		return userDatabase{"/etc/group"}, nil
	}
	return nil, fmt.Errorf("unknown table: unix:%s; expected unix:passwd.byname or unix:group.byname", name)
}

// Lookup returns the line of key: "name:password:uid:gid:gecos:home:shell", or
// "name:password:gid:member,member".
func (u userDatabase) Lookup(_ context.Context, key string) (string, bool, error) {
	f, err := os.Open(u.path)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	return find(f, key)
}

func find(f io.Reader, key string) (string, bool, error) {
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if name, _, ok := strings.Cut(line, ":"); ok && name == key && name != "" {
			return strings.TrimSuffix(line, "\n"), true, nil
		}
		if errors.Is(err, io.EOF) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
	}
}

func (userDatabase) Close() error { return nil }
