package mysql

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Limits of option files.
const (
	maxOptionFile  = 1 << 20
	maxOptionDepth = 10 // files that include files
)

// readOptions reads the option files of MySQL: the group client, then the one
// named. Without a file those that the clients of MySQL read are read, where
// they exist.
func readOptions(file, group string) (map[string]string, error) {
	options := map[string]string{}
	if file != "" {
		return options, optionFile(options, file, group, 0)
	}
	for _, path := range []string{"/etc/my.cnf", "/etc/mysql/my.cnf"} {
		if err := optionFile(options, path, group, 0); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
			return nil, err
		}
	}
	return options, nil
}

func optionFile(options map[string]string, path, group string, depth int) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if depth > maxOptionDepth || st.Size() > maxOptionFile {
		return fmt.Errorf("option file %s: too large, or included too deep", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ours := false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			if err := include(options, line, group, depth); err != nil && !errors.Is(err, os.ErrPermission) {
				return err
			}
		case line[0] == '[':
			name := strings.TrimSpace(strings.Trim(line, "[]"))
			ours = name == "client" || name == "client-server" || name == "client-mariadb" || name == group
		case ours:
			name, value, _ := strings.Cut(line, "=")
			name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
			options[name] = unquote(strings.TrimSpace(value))
		}
	}
	return nil
}

// include obeys "!include file" and "!includedir directory".
func include(options map[string]string, line, group string, depth int) error {
	word, path, _ := strings.Cut(line, " ")
	path = strings.TrimSpace(path)
	switch word {
	case "!include":
		return optionFile(options, path, group, depth+1)
	case "!includedir":
		files, err := filepath.Glob(filepath.Join(path, "*.cnf"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := optionFile(options, file, group, depth+1); err != nil && !errors.Is(err, os.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	if i := strings.IndexByte(value, '#'); i > 0 && (value[i-1] == ' ' || value[i-1] == '\t') {
		value = strings.TrimSpace(value[:i])
	}
	return value
}

// apply takes over what the files say; parameters of the table come later.
func (m *client) apply(options map[string]string) {
	for name, value := range options {
		switch name {
		case "user":
			m.config.User = value
		case "password":
			m.config.Passwd = value
		case "database":
			m.config.DBName = value
		case "port":
			m.port = value
		case "socket":
			m.socket = value
		case "ssl-ca":
			m.tls.CAFile = value
		case "ssl-capath":
			m.tls.CAPath = value
		case "ssl-cert":
			m.tls.Cert = value
		case "ssl-key":
			m.tls.Key = value
		case "ssl-verify-server-cert":
			m.tls.VerifyName = value != "0" && !strings.EqualFold(value, "off") && !strings.EqualFold(value, "false")
		}
	}
}
